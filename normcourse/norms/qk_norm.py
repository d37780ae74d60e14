"""QK-norm: normalize queries and keys, so that attention scores cannot grow without bound.

    weights = softmax(rms_norm(q) rms_norm(k)ᵀ / sqrt(D))         softmax over the keys

With gamma = 1 each score lies between -sqrt(D) and sqrt(D), however large q and k are.

Source: Henry, Dachapally, Pawar & Chen, "Query-Key Normalization for Transformers", 2020, with unit
length and a learned factor; Dehghani et al., "Scaling Vision Transformers to 22 Billion
Parameters", 2023, with LayerNorm; here with RMSNorm, as in several language models.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from normcourse.norms._validate import Array, as_floats, as_parameter
from normcourse.norms.method import Method, Shape, draw_input, draw_parameter
from normcourse.norms.precision import working_dtype
from normcourse.norms.rms_norm import rms_norm, rms_norm_backward

_LAYOUT = "(*, T, D), for example (B, heads, T, D)"


def qk_norm_scores(
    q: ArrayLike,
    k: ArrayLike,
    gamma_q: ArrayLike | None = None,
    gamma_k: ArrayLike | None = None,
    *,
    eps: float = 1e-5,
) -> Array:
    """Return the attention weights of RMS-normalized queries and keys.

    Formula:
        weights = softmax(rms_norm(q, gamma_q) rms_norm(k, gamma_k)ᵀ / sqrt(D))

    Args:
        q: queries, array of shape (*, Tq, D).
        k: keys, array of shape (*, Tk, D).
        gamma_q: scale of the queries, array of shape (D,), or None for 1.
        gamma_k: scale of the keys, array of shape (D,), or None for 1.
        eps: added to the mean squares inside the roots.

    Returns:
        The weights, array of shape (*, Tq, Tk); each row sums to 1.

    Raises:
        TypeError: an argument holds no real numbers.
        ValueError: shapes that do not fit, no keys, or eps < 0.

    Differs from torch in:
        torch.nn.functional.scaled_dot_product_attention normalizes nothing before the product.

    Source:
        Henry et al. 2020; Dehghani et al. 2023, section 2.

    Example:
        >>> q, k = [[2.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]]
        >>> qk_norm_scores(q, k, eps=0.0).round(4)  # scores sqrt(2) and 0
        array([[0.8044, 0.1956]])
    """
    q, k, dtype = _arguments(q, k)
    weights, _, _ = _attention(q, k, gamma_q, gamma_k, eps)
    return weights.astype(dtype, copy=False)


def qk_norm_scores_backward(
    dy: ArrayLike,
    q: ArrayLike,
    k: ArrayLike,
    gamma_q: ArrayLike | None = None,
    gamma_k: ArrayLike | None = None,
    *,
    eps: float = 1e-5,
) -> tuple[Array, Array, Array, Array]:
    """Return the gradients of :func:`qk_norm_scores` with respect to q, k, gamma_q and gamma_k.

    Formula, with weights P and scores S = q_hat k_hatᵀ / sqrt(D):
        dS     = P * (dy - sum over keys of dy * P)
        dq_hat = dS k_hat / sqrt(D),  dk_hat = dSᵀ q_hat / sqrt(D)
        and from these :func:`rms_norm_backward`

    Args:
        dy: gradient with respect to the weights, array of shape (*, Tq, Tk).
        q: as in the forward pass.
        k: as in the forward pass.
        gamma_q: as in the forward pass.
        gamma_k: as in the forward pass.
        eps: as in the forward pass.

    Returns:
        dq like ``q``, dk like ``k``, dgamma_q and dgamma_k of shape (D,).

    Raises:
        TypeError: as :func:`qk_norm_scores`.
        ValueError: as the forward pass, or ``dy`` is not shaped like the weights.

    Source:
        Henry et al. 2020.

    Example:
        >>> dy, q, k = [[1.0, 0.0]], [[1.0, 3.0]], [[3.0, 1.0], [1.0, 2.0]]
        >>> dq, dk, dgamma_q, dgamma_k = qk_norm_scores_backward(dy, q, k, eps=0.0)
        >>> dk.round(4), bool(abs(dk[0] @ k[0]) < 1e-12)  # a longer key changes nothing
        (array([[-0.0262,  0.0787],
               [ 0.0186, -0.0093]]), True)
    """
    q, k, _ = _arguments(q, k)
    weights, q_hat, k_hat = _attention(q, k, gamma_q, gamma_k, eps)
    dy = as_floats(dy, "dy")
    if dy.shape != weights.shape:
        raise ValueError(
            f"dy: expected shape (*, Tq, Tk) = {weights.shape}, got {dy.shape}. "
            f"A gradient has the shape of what it is the gradient of."
        )
    ds = weights * (dy - np.sum(dy * weights, axis=-1, keepdims=True))
    ds *= 1 / math.sqrt(q.shape[-1])
    dq, dgamma_q = rms_norm_backward(ds @ k_hat, q, gamma_q, eps=eps)
    dk, dgamma_k = rms_norm_backward(np.swapaxes(ds, -1, -2) @ q_hat, k, gamma_k, eps=eps)
    return dq, dk, dgamma_q, dgamma_k


def _attention(
    q: Array, k: Array, gamma_q: ArrayLike | None, gamma_k: ArrayLike | None, eps: float
) -> tuple[Array, Array, Array]:
    """Return the weights and the normalized queries and keys, in the working dtype."""
    gamma_q = as_parameter(gamma_q, "gamma_q", q.shape[-1:])
    gamma_k = as_parameter(gamma_k, "gamma_k", k.shape[-1:])
    q_hat = rms_norm(q.astype(working_dtype(q), copy=False), gamma_q, eps=eps)
    k_hat = rms_norm(k.astype(working_dtype(k), copy=False), gamma_k, eps=eps)
    scores = q_hat @ np.swapaxes(k_hat, -1, -2)  # (*, Tq, Tk)
    scores *= 1 / math.sqrt(q.shape[-1])
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    return weights, q_hat, k_hat


def _arguments(q: ArrayLike, k: ArrayLike) -> tuple[Array, Array, np.dtype[Any]]:
    """Return queries, keys and the dtype of the weights, or say what does not fit."""
    q = as_floats(q, "q", min_ndim=2, layout=_LAYOUT)
    k = as_floats(k, "k", min_ndim=2, layout=_LAYOUT)
    if q.shape[:-2] != k.shape[:-2] or q.shape[-1] != k.shape[-1] or q.shape[-1] == 0:
        raise ValueError(
            f"q, k: expected (*, Tq, D) and (*, Tk, D) with the same leading axes and D >= 1, got "
            f"{q.shape} and {k.shape}. Keys and queries of one head have one size."
        )
    if k.shape[-2] == 0:
        raise ValueError(f"k: expected at least one key, got shape {k.shape}. Add one.")
    return q, k, np.result_type(q, k)


def _example(rng: np.random.Generator, shape: Shape) -> dict[str, Any]:
    """Return the arguments of one call with one key more than queries."""
    return {
        "q": draw_input(rng, shape),
        "k": draw_input(rng, (*shape[:-2], shape[-2] + 1, shape[-1])),
        "gamma_q": draw_parameter(rng, shape[-1:]),
        "gamma_k": draw_parameter(rng, shape[-1:]),
    }


METHOD = Method(
    name="qk_norm_scores",
    title="QK-norm",
    kind="attention",
    layout="(*, T, D)",
    axes=lambda ndim: (ndim - 1,),
    pooled="D: one root mean square per query and per key",
    parameters=("gamma_q", "gamma_k"),
    state=(),
    gradients=("q", "k", "gamma_q", "gamma_k"),
    formula=r"P = \mathrm{softmax}\left(\frac{\mathrm{RMS}(q)\,\mathrm{RMS}(k)^\top}{\sqrt{D}}"
    r"\right)",
    paper="henry2020query",
    forward=qk_norm_scores,
    backward=qk_norm_scores_backward,
    module="normcourse.modules.qk_norm:QKNorm",
    example=_example,
)

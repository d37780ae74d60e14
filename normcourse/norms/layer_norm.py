"""Layer normalization: one mean per example and position, pooled over its features.

For x of shape (*, D) the axis is the last one; ``normalized_shape`` can name several trailing axes.
Nothing is pooled over examples, so training and inference are the same.

    y = gamma * (x - mean) / sqrt(var + eps) + beta

Source: Ba, Kiros & Hinton, "Layer Normalization", 2016, equations 3 and 4.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from normcourse.norms import core
from normcourse.norms._validate import (
    Array,
    as_floats,
    as_parameter,
    check_eps,
    same_shape,
    trailing_shape,
)
from normcourse.norms.method import Method, per_feature_example
from normcourse.norms.precision import Axes

_LAYOUT = "(*, D), for example (N, D) or (B, T, D)"


def axes(ndim: int) -> Axes:
    """Return the axes that one mean pools: the last one.

    Example:
        >>> axes(2), axes(3)
        ((1,), (2,))
    """
    return (ndim - 1,)


def layer_norm(
    x: ArrayLike,
    gamma: ArrayLike | None = None,
    beta: ArrayLike | None = None,
    *,
    normalized_shape: int | Sequence[int] | None = None,
    eps: float = 1e-5,
) -> Array:
    """Normalize each example over its features, then scale and shift each feature.

    Formula:
        y = gamma * (x - mean) / sqrt(var + eps) + beta

    Args:
        x: array of shape (*, D), or (*, *normalized_shape).
        gamma: scale, array of ``normalized_shape``, or None for 1.
        beta: shift, array of ``normalized_shape``, or None for 0.
        normalized_shape: sizes of the trailing axes that one mean pools; None is the last axis.
        eps: added to the variance inside the root.

    Returns:
        y, like ``x`` in shape and dtype. With D = 1 y is beta.

    Raises:
        TypeError: an argument holds no real numbers.
        ValueError: ``normalized_shape`` is not the end of x's shape, a parameter of another
            shape, or eps < 0.

    Differs from torch in:
        ``normalized_shape`` may be left out.

    Source:
        Ba, Kiros & Hinton 2016, equations 3 and 4.

    Example:
        >>> layer_norm([[2.0, 4.0, 6.0, 8.0]], eps=0.0).round(4)
        array([[-1.3416, -0.4472,  0.4472,  1.3416]])
        >>> layer_norm([[2.0, 4.0, 6.0, 8.0]], [1, 1, 2, 2], [0, 0, 0, 1], eps=0.0).round(4)
        array([[-1.3416, -0.4472,  0.8944,  3.6833]])
    """
    x, axis, gamma, beta = _arguments(x, normalized_shape, gamma, beta)
    out = core.standardize(x, axis, check_eps(eps))
    return core.affine(out.x_hat, gamma, beta).astype(x.dtype, copy=False)


def layer_norm_backward(
    dy: ArrayLike,
    x: ArrayLike,
    gamma: ArrayLike | None = None,
    *,
    normalized_shape: int | Sequence[int] | None = None,
    eps: float = 1e-5,
) -> tuple[Array, Array, Array]:
    """Return the gradients of :func:`layer_norm` with respect to x, gamma and beta.

    Formula, with means over the features:
        dx_hat = gamma * dy
        dx     = inv_std * (dx_hat - mean(dx_hat) - x_hat * mean(dx_hat * x_hat))
        dgamma = sum(dy * x_hat),  dbeta = sum(dy)            sums over all leading axes

    Args:
        dy: gradient with respect to y, like ``x``.
        x: as in the forward pass.
        gamma: as in the forward pass.
        normalized_shape: as in the forward pass.
        eps: as in the forward pass.

    Returns:
        dx like ``x``; dgamma and dbeta of ``normalized_shape``.

    Raises:
        TypeError: as :func:`layer_norm`.
        ValueError: as :func:`layer_norm`, or ``dy`` is not shaped like ``x``.

    Differs from torch in:
        dgamma and dbeta are returned also where gamma is None.

    Source:
        Ba, Kiros & Hinton 2016; chapter 07 derives it.

    Example:
        >>> dy, x = [[1.0, 3.0, 2.0, 4.0]], [[2.0, 4.0, 6.0, 8.0]]
        >>> dx, dgamma, dbeta = layer_norm_backward(dy, x, eps=0.0)
        >>> dx.round(4), dgamma.round(4)
        (array([[-0.1342,  0.4025, -0.4025,  0.1342]]), array([-1.3416, -1.3416,  0.8944,  5.3666]))
    """
    x, axis, gamma, _ = _arguments(x, normalized_shape, gamma, None)
    dy = same_shape(dy, "dy", x, "x")
    out = core.standardize(x, axis, check_eps(eps))
    leading = tuple(range(x.ndim - len(axis)))
    dx_hat, dgamma, dbeta = core.affine_backward(dy, out.x_hat, gamma, shared_over=leading)
    dx = core.standardize_backward(dx_hat, out.x_hat, out.inv_std, axis)
    dtype = x.dtype if gamma is None else gamma.dtype
    return (
        dx.astype(x.dtype, copy=False),
        dgamma.astype(dtype, copy=False),
        dbeta.astype(dtype, copy=False),
    )


def layer_norm_rnn_step(
    x: ArrayLike,
    h: ArrayLike,
    w: ArrayLike,
    u: ArrayLike,
    gamma: ArrayLike | None = None,
    beta: ArrayLike | None = None,
    *,
    eps: float = 1e-5,
) -> Array:
    """Return the next hidden state of a recurrent layer whose summed inputs are layer-normalized.

    Formula:
        h' = tanh(LN(h wᵀ + x uᵀ))

    Args:
        x: input of this time step, array of shape (B, I).
        h: hidden state before it, array of shape (B, H).
        w: hidden to hidden, array of shape (H, H).
        u: input to hidden, array of shape (H, I).
        gamma: scale, array of shape (H,), or None for 1.
        beta: shift, array of shape (H,), or None for 0.
        eps: added to the variance inside the root.

    Returns:
        The new hidden state, array of shape (B, H).

    Raises:
        TypeError: an argument holds no real numbers.
        ValueError: shapes that do not fit, or eps < 0.

    Differs from torch in:
        torch.nn.RNNCell has no normalization; its weight_hh is w and its weight_ih is u.

    Source:
        Ba, Kiros & Hinton 2016, section 3.1, equation 4.

    Example:
        >>> layer_norm_rnn_step([[1.0]], [[0.0, 0.0]], [[0, 0], [0, 0]], [[1.0], [3.0]], eps=0.0)
        array([[-0.76159416,  0.76159416]])
    """
    x = as_floats(x, "x", min_ndim=2, layout="(B, I)")
    h = as_floats(h, "h", min_ndim=2, layout="(B, H)")
    w = as_floats(w, "w", min_ndim=2, layout="(H, H)")
    u = as_floats(u, "u", min_ndim=2, layout="(H, I)")
    hidden, inputs = h.shape[-1], x.shape[-1]
    if w.shape != (hidden, hidden) or u.shape != (hidden, inputs) or h.shape[:-1] != x.shape[:-1]:
        raise ValueError(
            f"x, h, w, u: expected (B, I), (B, H), (H, H), (H, I), got {x.shape}, {h.shape}, "
            f"{w.shape}, {u.shape}. Rows of w and u are the outputs."
        )
    summed = h @ w.T + x @ u.T  # (B, H)
    return np.asarray(np.tanh(layer_norm(summed, gamma, beta, eps=eps)))


def _arguments(
    x: ArrayLike,
    normalized_shape: int | Sequence[int] | None,
    gamma: ArrayLike | None,
    beta: ArrayLike | None,
) -> tuple[Array, Axes, Array | None, Array | None]:
    """Return x, the pooled axes and the parameters, or say what does not fit."""
    x = as_floats(x, "x", min_ndim=1, layout=_LAYOUT)
    shape = trailing_shape(normalized_shape, x)
    axis = tuple(range(x.ndim - len(shape), x.ndim))
    return x, axis, as_parameter(gamma, "gamma", shape), as_parameter(beta, "beta", shape)


METHOD = Method(
    name="layer_norm",
    title="LayerNorm",
    kind="activation",
    layout="(*, D)",
    axes=axes,
    pooled="D: one mean per example and position",
    parameters=("gamma", "beta"),
    state=(),
    gradients=("x", "gamma", "beta"),
    formula=r"y = \gamma_d \frac{x - \mu_n}{\sqrt{\sigma_n^2 + \epsilon}} + \beta_d",
    paper="ba2016layer",
    forward=layer_norm,
    backward=layer_norm_backward,
    module="normcourse.modules.layer_norm:LayerNorm",
    example=per_feature_example("gamma", "beta"),
)

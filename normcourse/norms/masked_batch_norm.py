"""Masked batch normalization: statistics over the real tokens of padded sequences.

For x of shape (B, T, D) one mean pools the real tokens of the whole batch; padding neither enters
the statistics nor gets a value. It is BatchNorm of the (M, D) array of the M real tokens:

    y[mask] = batch_norm(x[mask]),   y elsewhere = 0

Source: Ioffe & Szegedy, "Batch Normalization", 2015, Algorithm 1, over the tokens that exist.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from normcourse.norms._validate import Array, as_floats, as_mask, same_shape
from normcourse.norms.batch_norm import batch_norm, batch_norm_backward
from normcourse.norms.method import Method, Shape, per_feature_example

_LAYOUT = "(*, D), for example (B, T, D)"


def masked_batch_norm(
    x: ArrayLike,
    mask: ArrayLike,
    gamma: ArrayLike | None = None,
    beta: ArrayLike | None = None,
    *,
    running_mean: ArrayLike | None = None,
    running_var: ArrayLike | None = None,
    training: bool = True,
    eps: float = 1e-5,
) -> Array:
    """Normalize each feature over the real tokens; padded positions come out as 0.

    Formula:
        y = mask * (gamma * (x - mean) / sqrt(var + eps) + beta),  moments over mask = True

    Args:
        x: array of shape (*, D), for example (B, T, D). What the padding holds does not matter.
        mask: booleans of shape (*), True for a real token.
        gamma: scale, array of shape (D,), or None for 1.
        beta: shift, array of shape (D,), or None for 0.
        running_mean: array of shape (D,); used when ``training`` is False.
        running_var: array of shape (D,); used when ``training`` is False.
        training: True takes the statistics from the batch, False the running ones.
        eps: added to the variance inside the root.

    Returns:
        y, like ``x``. All padding gives zeros; one real token gives beta there.

    Raises:
        TypeError: an argument holds no real numbers, or a mask with other values than 0 and 1.
        ValueError: shapes that do not fit, one running statistic without the other, or eps < 0.

    Differs from torch in:
        torch has no masked BatchNorm; features are the last axis here, as in Transformers.

    Source:
        Ioffe & Szegedy 2015, Algorithm 1.

    Example:
        >>> import numpy as np
        >>> x = np.array([[[2.0], [4.0], [99.0]], [[6.0], [8.0], [99.0]]])
        >>> mask = np.array([[True, True, False], [True, True, False]])
        >>> masked_batch_norm(x, mask, eps=0.0)[..., 0].round(4)
        array([[-1.3416, -0.4472,  0.    ],
               [ 0.4472,  1.3416,  0.    ]])
    """
    x = as_floats(x, "x", min_ndim=2, layout=_LAYOUT)
    real = as_mask(mask, "mask", x.shape[:-1])
    y = np.zeros_like(x)
    y[real] = batch_norm(  # (M, D)
        x[real],
        gamma,
        beta,
        running_mean=running_mean,
        running_var=running_var,
        training=training,
        eps=eps,
    )
    return y


def masked_batch_norm_backward(
    dy: ArrayLike,
    x: ArrayLike,
    mask: ArrayLike,
    gamma: ArrayLike | None = None,
    *,
    running_mean: ArrayLike | None = None,
    running_var: ArrayLike | None = None,
    training: bool = True,
    eps: float = 1e-5,
) -> tuple[Array, Array, Array]:
    """Return the gradients of :func:`masked_batch_norm` with respect to x, gamma and beta.

    Formula:
        that of :func:`batch_norm_backward` over the real tokens; 0 at the padding

    Args:
        dy: gradient with respect to y, like ``x``; at the padding it does not matter.
        x: as in the forward pass.
        mask: as in the forward pass.
        gamma: as in the forward pass.
        running_mean: as in the forward pass.
        running_var: as in the forward pass.
        training: as in the forward pass.
        eps: as in the forward pass.

    Returns:
        dx like ``x``; dgamma and dbeta of shape (D,).

    Raises:
        TypeError: as :func:`masked_batch_norm`.
        ValueError: as :func:`masked_batch_norm`, or ``dy`` is not shaped like ``x``.

    Source:
        Ioffe & Szegedy 2015, section 3.

    Example:
        >>> import numpy as np
        >>> x, mask = np.array([[2.0], [4.0], [99.0], [6.0], [8.0]]), [1, 1, 0, 1, 1]
        >>> dy = np.array([[1.0], [0.0], [5.0], [0.0], [0.0]])
        >>> dx, dgamma, dbeta = masked_batch_norm_backward(dy, x, mask, eps=0.0)
        >>> dx.ravel().round(4), dgamma.round(4), dbeta
        (array([ 0.1342, -0.1789,  0.    , -0.0447,  0.0894]), array([-1.3416]), array([1.]))
    """
    x = as_floats(x, "x", min_ndim=2, layout=_LAYOUT)
    dy = same_shape(dy, "dy", x, "x")
    real = as_mask(mask, "mask", x.shape[:-1])
    dx = np.zeros_like(x)
    dx[real], dgamma, dbeta = batch_norm_backward(
        dy[real],
        x[real],
        gamma,
        running_mean=running_mean,
        running_var=running_var,
        training=training,
        eps=eps,
    )
    return dx, dgamma, dbeta


def _example(rng: np.random.Generator, shape: Shape) -> dict[str, Any]:
    """Return the arguments of one call in which about a third of the tokens are padding."""
    arguments = per_feature_example("gamma", "beta")(rng, shape)
    return {"x": arguments.pop("x"), "mask": rng.random(shape[:-1]) < 0.7, **arguments}


METHOD = Method(
    name="masked_batch_norm",
    title="masked BatchNorm",
    kind="activation",
    layout="(*, T, D)",
    axes=lambda ndim: tuple(range(ndim - 1)),
    pooled="B and T, real tokens only: one mean per feature",
    parameters=("gamma", "beta"),
    state=("running_mean", "running_var", "num_batches_tracked"),
    gradients=("x", "gamma", "beta"),
    formula=r"y = m\left(\gamma_d \frac{x - \mu_d}{\sqrt{\sigma_d^2 + \epsilon}} + \beta_d\right)",
    paper="ioffe2015batch",
    forward=masked_batch_norm,
    backward=masked_batch_norm_backward,
    module="normcourse.modules.masked_batch_norm:MaskedBatchNorm",
    example=_example,
)

"""RMS normalization: divide each example by the root mean square of its features.

No mean is removed and nothing is shifted; what LayerNorm keeps of the scale invariance stays.

    y = gamma * x / sqrt(mean(x^2) + eps)

Source: Zhang & Sennrich, "Root Mean Square Layer Normalization", 2019, equation 4.
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
from normcourse.norms.layer_norm import axes
from normcourse.norms.method import Method, per_feature_example
from normcourse.norms.precision import Axes

_LAYOUT = "(*, D), for example (N, D) or (B, T, D)"


def rms_norm(
    x: ArrayLike,
    gamma: ArrayLike | None = None,
    *,
    normalized_shape: int | Sequence[int] | None = None,
    eps: float = 1e-5,
) -> Array:
    """Divide each example by its root mean square, then scale each feature.

    Formula:
        y = gamma * x / sqrt(mean(x^2) + eps)

    Args:
        x: array of shape (*, D), or (*, *normalized_shape).
        gamma: scale, array of ``normalized_shape``, or None for 1.
        normalized_shape: sizes of the trailing axes that are pooled; None is the last axis.
        eps: added to the mean square inside the root.

    Returns:
        y, like ``x`` in shape and dtype. Where all values are 0, y is 0.

    Raises:
        TypeError: an argument holds no real numbers.
        ValueError: ``normalized_shape`` is not the end of x's shape, gamma of another shape, or
            eps < 0.

    Differs from torch in:
        torch.nn.RMSNorm has eps=None, the spacing of x's dtype at 1 (1.2e-7 in float32).

    Source:
        Zhang & Sennrich 2019, equation 4; there without eps.

    Example:
        >>> rms_norm([[3.0, 4.0]], eps=0.0).round(4)
        array([[0.8485, 1.1314]])
    """
    x, axis, gamma = _arguments(x, normalized_shape, gamma)
    x_hat, _ = _standardized(x, axis, check_eps(eps))
    return core.affine(x_hat, gamma, None).astype(x.dtype, copy=False)


def rms_norm_backward(
    dy: ArrayLike,
    x: ArrayLike,
    gamma: ArrayLike | None = None,
    *,
    normalized_shape: int | Sequence[int] | None = None,
    eps: float = 1e-5,
) -> tuple[Array, Array]:
    """Return the gradients of :func:`rms_norm` with respect to x and gamma.

    Formula, with the mean over the features and inv_rms = 1 / sqrt(mean(x^2) + eps):
        dx_hat = gamma * dy
        dx     = inv_rms * (dx_hat - x_hat * mean(dx_hat * x_hat))
        dgamma = sum(dy * x_hat)                              sum over all leading axes

    Args:
        dy: gradient with respect to y, like ``x``.
        x: as in the forward pass.
        gamma: as in the forward pass.
        normalized_shape: as in the forward pass.
        eps: as in the forward pass.

    Returns:
        dx like ``x``; dgamma of ``normalized_shape``.

    Raises:
        TypeError: as :func:`rms_norm`.
        ValueError: as :func:`rms_norm`, or ``dy`` is not shaped like ``x``.

    Differs from torch in:
        dgamma is returned also where gamma is None.

    Source:
        Zhang & Sennrich 2019.

    Example:
        >>> dx, dgamma = rms_norm_backward([[1.0, 0.0]], [[3.0, 4.0]], eps=0.0)
        >>> dx.round(4), dgamma.round(4)
        (array([[ 0.181 , -0.1358]]), array([0.8485, 0.    ]))
    """
    x, axis, gamma = _arguments(x, normalized_shape, gamma)
    dy = same_shape(dy, "dy", x, "x")
    x_hat, inv_rms = _standardized(x, axis, check_eps(eps))
    leading = tuple(range(x.ndim - len(axis)))
    dx_hat, dgamma, _ = core.affine_backward(dy, x_hat, gamma, shared_over=leading)
    dx = dx_hat - x_hat * core.mean_product(dx_hat, x_hat, axis)
    dx *= inv_rms
    dtype = x.dtype if gamma is None else gamma.dtype
    return dx.astype(x.dtype, copy=False), dgamma.astype(dtype, copy=False)


def _standardized(x: Array, axis: Axes, eps: float) -> tuple[Array, Array]:
    """Return x divided by its root mean square, and the factor it was multiplied by."""
    inv_rms = core.inverse_std(core.mean_square(x, axis), eps)
    return np.multiply(x, inv_rms, dtype=inv_rms.dtype), inv_rms


def _arguments(
    x: ArrayLike, normalized_shape: int | Sequence[int] | None, gamma: ArrayLike | None
) -> tuple[Array, Axes, Array | None]:
    """Return x, the pooled axes and gamma, or say what does not fit."""
    x = as_floats(x, "x", min_ndim=1, layout=_LAYOUT)
    shape = trailing_shape(normalized_shape, x)
    return x, tuple(range(x.ndim - len(shape), x.ndim)), as_parameter(gamma, "gamma", shape)


METHOD = Method(
    name="rms_norm",
    title="RMSNorm",
    kind="activation",
    layout="(*, D)",
    axes=axes,
    pooled="D: one root mean square per example and position",
    parameters=("gamma",),
    state=(),
    gradients=("x", "gamma"),
    formula=r"y = \gamma_d \frac{x}{\sqrt{\frac{1}{D} \sum_d x_d^2 + \epsilon}}",
    paper="zhang2019root",
    forward=rms_norm,
    backward=rms_norm_backward,
    module="normcourse.modules.rms_norm:RMSNorm",
    example=per_feature_example("gamma"),
)

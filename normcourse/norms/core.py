"""The one idea behind every normalization layer: moments over some axes, standardize, affine.

A method chooses which axes one mean pools. The rest is the same for all of them and is here:

    mean  = average of x over the axes
    var   = average of (x - mean)^2 over the axes          (biased: divided by n)
    x_hat = (x - mean) / sqrt(var + eps)
    y     = gamma * x_hat + beta

Statistics are computed in at least float32 and in two passes: first the mean, then the squares of
what is left. The mean is corrected once by the mean of the residuals, so that float32 data at mean
1e4 keep their digits.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from normcourse.norms.precision import Array, Axes, in_range, working_dtype


class Standardized(NamedTuple):
    """What standardizing gives: ``x_hat``, ``mean`` and ``inv_std`` (both with kept axes)."""

    x_hat: Array
    mean: Array
    inv_std: Array


def centered_moments(x: Array, axis: Axes) -> tuple[Array, Array, Array]:
    """Return ``x - mean``, the mean and the biased variance of ``x`` over ``axis``.

    Formula:
        mean = sum(x) / n,  var = sum((x - mean)^2) / n

    Args:
        x: array of any shape.
        axis: the axes that one mean pools.

    Returns:
        Three arrays in the working dtype (float64 where float32 squares would overflow): centered
        like ``x``; mean and var with the pooled axes kept at size 1. Pooling no values at all
        gives mean 0 and variance 0.

    Example:
        >>> import numpy as np
        >>> x = np.array([[2.0], [4.0], [6.0], [8.0]])
        >>> centered, mean, var = centered_moments(x, axis=(0,))
        >>> centered.ravel(), mean.item(), var.item()
        (array([-3., -1.,  1.,  3.]), 5.0, 5.0)
    """
    if any(x.shape[a] == 0 for a in axis):
        kept = tuple(1 if a in axis else size for a, size in enumerate(x.shape))
        dtype = working_dtype(x)
        return x.astype(dtype), np.zeros(kept, dtype), np.zeros(kept, dtype)
    centered, mean, var = in_range(_two_passes, x, axis)
    return centered, mean, var


def _two_passes(x: Array, axis: Axes, dtype: np.dtype[Any]) -> tuple[Array, Array, Array]:
    mean = np.mean(x, axis=axis, dtype=dtype, keepdims=True)
    centered = np.subtract(x, mean, dtype=dtype)
    residual = np.mean(centered, axis=axis, keepdims=True)  # 0 but for rounding of the mean
    centered -= residual
    var = np.mean(np.square(centered), axis=axis, keepdims=True)
    return centered, mean + residual, var


def mean_square(x: Array, axis: Axes) -> Array:
    """Return the mean of ``x * x`` over ``axis``, with the axes kept and no mean removed.

    Example:
        >>> import numpy as np
        >>> mean_square(np.array([3.0, 4.0]), axis=(0,))
        array([12.5])
    """
    if any(x.shape[a] == 0 for a in axis):
        kept = tuple(1 if a in axis else size for a, size in enumerate(x.shape))
        return np.zeros(kept, working_dtype(x))
    (square,) = in_range(_mean_square, x, axis)
    return square


def _mean_square(x: Array, axis: Axes, dtype: np.dtype[Any]) -> tuple[Array, ...]:
    return (np.mean(np.square(x, dtype=dtype), axis=axis, keepdims=True),)


def moments(x: Array, axis: Axes) -> tuple[Array, Array]:
    """Return the mean and the biased variance of ``x`` over ``axis``, with the axes kept.

    Example:
        >>> import numpy as np
        >>> mean, var = moments(np.array([[2.0, 1.0], [4.0, 1.0]]), axis=(0,))
        >>> mean, var
        (array([[3., 1.]]), array([[1., 0.]]))
    """
    _, mean, var = centered_moments(x, axis)
    return mean, var


def standardize(x: Array, axis: Axes, eps: float = 1e-5) -> Standardized:
    """Shift and scale ``x`` to mean 0 and variance var / (var + eps) over ``axis``.

    Formula:
        x_hat = (x - mean) / sqrt(var + eps)

    Args:
        x: array of any shape.
        axis: the axes that one mean pools.
        eps: added to the variance inside the root.

    Returns:
        ``Standardized(x_hat, mean, inv_std)`` in the working dtype. Where var + eps is 0 (constant
        values and ``eps=0``), x_hat is 0 and inv_std is 0, not NaN.

    Example:
        >>> import numpy as np
        >>> standardize(np.array([2.0, 4.0, 6.0, 8.0]), axis=(0,), eps=0.0).x_hat.round(4)
        array([-1.3416, -0.4472,  0.4472,  1.3416])
    """
    centered, mean, var = centered_moments(x, axis)
    inv_std = inverse_std(var, eps)
    centered *= inv_std
    return Standardized(centered, mean, inv_std)


def inverse_std(var: Array, eps: float) -> Array:
    """Return 1 / sqrt(var + eps), and 0 where var + eps is 0.

    Example:
        >>> import numpy as np
        >>> inverse_std(np.array([4.0, 0.0]), eps=0.0)
        array([0.5, 0. ])
    """
    var = np.asarray(var)
    std: Array = np.sqrt(np.asarray(var + var.dtype.type(eps)))
    inv_std = np.zeros_like(std)
    np.divide(1, std, out=inv_std, where=std > 0)
    return inv_std


def standardize_backward(dx_hat: Array, x_hat: Array, inv_std: Array, axis: Axes) -> Array:
    """Return the gradient with respect to x of ``x_hat = standardize(x)``.

    Formula:
        dx = inv_std * (dx_hat - mean(dx_hat) - x_hat * mean(dx_hat * x_hat))

    The two means are over the pooled axes. They remove from the gradient what no change of x can
    cause in x_hat: a common shift and, at eps = 0, a common scale.

    Args:
        dx_hat: gradient with respect to x_hat, like ``x_hat``.
        x_hat: the standardized values.
        inv_std: 1 / sqrt(var + eps), axes kept.
        axis: the axes that one mean pools.

    Returns:
        dx, like ``x_hat``.

    Example:
        >>> import numpy as np
        >>> out = standardize(np.array([2.0, 4.0, 6.0, 8.0]), axis=(0,), eps=0.0)
        >>> dx = standardize_backward(np.array([1.0, 0.0, 0.0, 0.0]), out.x_hat, out.inv_std, (0,))
        >>> dx.round(4), bool(abs(dx.sum()) < 1e-12)
        (array([ 0.1342, -0.1789, -0.0447,  0.0894]), True)
    """
    if any(x_hat.shape[a] == 0 for a in axis):
        return np.zeros_like(x_hat)
    dx: Array = dx_hat - np.mean(dx_hat, axis=axis, keepdims=True)
    dx -= x_hat * mean_product(dx_hat, x_hat, axis)
    dx *= inv_std
    return dx


def mean_product(a: Array, b: Array, axis: Axes) -> Array:
    """Return the mean of ``a * b`` over ``axis``, with the axes kept; 0 where it pools nothing.

    Example:
        >>> import numpy as np
        >>> mean_product(np.array([1.0, 2.0]), np.array([3.0, 4.0]), axis=(0,))
        array([5.5])
    """
    count = max(math.prod(a.shape[i] for i in axis), 1)
    product: Array = np.sum(a * b, axis=axis, keepdims=True) / count
    return product


def affine(x_hat: Array, gamma: Array | None, beta: Array | None) -> Array:
    """Return ``gamma * x_hat + beta``; a None leaves its step out. Shapes must broadcast.

    Example:
        >>> import numpy as np
        >>> affine(np.array([-1.0, 1.0]), np.array([2.0, 2.0]), np.array([0.5, 0.5]))
        array([-1.5,  2.5])
    """
    y = x_hat if gamma is None else x_hat * gamma.astype(x_hat.dtype, copy=False)
    if beta is None:
        return y
    beta = beta.astype(x_hat.dtype, copy=False)
    return y + beta if y is x_hat else np.add(y, beta, out=y)


def affine_backward(
    dy: Array, x_hat: Array, gamma: Array | None, *, shared_over: Axes
) -> tuple[Array, Array, Array]:
    """Return the gradients of ``y = gamma * x_hat + beta``.

    Formula:
        dx_hat = gamma * dy,  dgamma = sum(dy * x_hat),  dbeta = sum(dy)

    The sums run over every axis along which one gamma is shared.

    Args:
        dy: gradient with respect to y.
        x_hat: what the affine step was given.
        gamma: broadcastable to ``x_hat``, or None for 1.
        shared_over: axes along which gamma and beta are shared.

    Returns:
        dx_hat like ``x_hat``; dgamma and dbeta without the shared axes.

    Example:
        >>> import numpy as np
        >>> dy, x_hat = np.array([[1.0], [2.0]]), np.array([[-1.0], [1.0]])
        >>> dx_hat, dgamma, dbeta = affine_backward(dy, x_hat, np.array([[3.0]]), shared_over=(0,))
        >>> dx_hat.ravel(), dgamma, dbeta
        (array([3., 6.]), array([1.]), array([3.]))
    """
    dy = dy.astype(x_hat.dtype, copy=False)
    dx_hat = dy if gamma is None else dy * gamma.astype(x_hat.dtype, copy=False)
    return dx_hat, np.sum(dy * x_hat, axis=shared_over), np.sum(dy, axis=shared_over)


def per_channel(parameter: Array | None, ndim: int) -> Array | None:
    """Return a (C,) parameter with the axes that let it meet an (N, C, *) array.

    Example:
        >>> import numpy as np
        >>> per_channel(np.ones(3), ndim=4).shape
        (1, 3, 1, 1)
    """
    if parameter is None:
        return None
    return parameter.reshape(1, -1, *(1,) * (ndim - 2))  # (1, C, 1, ...)

"""Instance normalization: one mean per image and channel, pooled over its positions.

For x of shape (N, C, *) the axes are all but the first two: (2,) for (N, C, L), (2, 3) for
(N, C, H, W). It removes the brightness and the contrast of each image, channel by channel.

    y = gamma * (x - mean) / sqrt(var + eps) + beta

Source: Ulyanov, Vedaldi & Lempitsky, "Instance Normalization: The Missing Ingredient for Fast
Stylization", 2016.
"""

from __future__ import annotations

from numpy.typing import ArrayLike

from normcourse.norms import core
from normcourse.norms._validate import Array, as_floats, as_parameter, check_eps, same_shape
from normcourse.norms.method import Method, per_channel_example
from normcourse.norms.precision import Axes

_LAYOUT = "(N, C, *) with at least one position axis, for example (N, C, H, W)"


def axes(ndim: int) -> Axes:
    """Return the axes that one mean pools: all but batch and channel.

    Example:
        >>> axes(3), axes(4)
        ((2,), (2, 3))
    """
    return tuple(range(2, ndim))


def instance_norm(
    x: ArrayLike,
    gamma: ArrayLike | None = None,
    beta: ArrayLike | None = None,
    *,
    eps: float = 1e-5,
) -> Array:
    """Normalize each channel of each image over its positions, then scale and shift it.

    Formula:
        y = gamma * (x - mean) / sqrt(var + eps) + beta

    Args:
        x: array of shape (N, C, *).
        gamma: scale, array of shape (C,), or None for 1.
        beta: shift, array of shape (C,), or None for 0.
        eps: added to the variance inside the root.

    Returns:
        y, like ``x`` in shape and dtype. A map of one position gives beta.

    Raises:
        TypeError: an argument holds no real numbers.
        ValueError: x without position axes, a parameter whose shape is not (C,), or eps < 0.

    Differs from torch in:
        no running statistics (torch has them off by default); a map of one position gives beta
        where torch raises.

    Source:
        Ulyanov, Vedaldi & Lempitsky 2016.

    Example:
        >>> instance_norm([[[2.0, 4.0, 6.0, 8.0], [1.0, 1.0, 3.0, 3.0]]], eps=0.0).round(4)
        array([[[-1.3416, -0.4472,  0.4472,  1.3416],
                [-1.    , -1.    ,  1.    ,  1.    ]]])
    """
    x, gamma, beta = _arguments(x, gamma, beta)
    out = core.standardize(x, axes(x.ndim), check_eps(eps))
    gamma, beta = core.per_channel(gamma, x.ndim), core.per_channel(beta, x.ndim)  # (1, C, 1, ...)
    return core.affine(out.x_hat, gamma, beta).astype(x.dtype, copy=False)


def instance_norm_backward(
    dy: ArrayLike, x: ArrayLike, gamma: ArrayLike | None = None, *, eps: float = 1e-5
) -> tuple[Array, Array, Array]:
    """Return the gradients of :func:`instance_norm` with respect to x, gamma and beta.

    Formula, with means over the positions of one channel of one image:
        dx_hat = gamma * dy
        dx     = inv_std * (dx_hat - mean(dx_hat) - x_hat * mean(dx_hat * x_hat))
        dgamma = sum(dy * x_hat),  dbeta = sum(dy)            sums over images and positions

    Args:
        dy: gradient with respect to y, like ``x``.
        x: as in the forward pass.
        gamma: as in the forward pass.
        eps: as in the forward pass.

    Returns:
        dx like ``x``; dgamma and dbeta of shape (C,).

    Raises:
        TypeError: as :func:`instance_norm`.
        ValueError: as :func:`instance_norm`, or ``dy`` is not shaped like ``x``.

    Differs from torch in:
        dgamma and dbeta are returned also where gamma is None.

    Source:
        Ulyanov, Vedaldi & Lempitsky 2016.

    Example:
        >>> dy, x = [[[1.0, 0.0, 0.0, 0.0]]], [[[2.0, 4.0, 6.0, 8.0]]]
        >>> dx, dgamma, dbeta = instance_norm_backward(dy, x, eps=0.0)
        >>> dx.round(4), dgamma.round(4), dbeta
        (array([[[ 0.1342, -0.1789, -0.0447,  0.0894]]]), array([-1.3416]), array([1.]))
    """
    x, gamma, _ = _arguments(x, gamma, None)
    dy = same_shape(dy, "dy", x, "x")
    out = core.standardize(x, axes(x.ndim), check_eps(eps))
    dx_hat, dgamma, dbeta = core.affine_backward(
        dy, out.x_hat, core.per_channel(gamma, x.ndim), shared_over=(0, *axes(x.ndim))
    )
    dx = core.standardize_backward(dx_hat, out.x_hat, out.inv_std, axes(x.ndim))
    dtype = x.dtype if gamma is None else gamma.dtype
    return (
        dx.astype(x.dtype, copy=False),
        dgamma.astype(dtype, copy=False),
        dbeta.astype(dtype, copy=False),
    )


def _arguments(
    x: ArrayLike, gamma: ArrayLike | None, beta: ArrayLike | None
) -> tuple[Array, Array | None, Array | None]:
    """Return the arguments as arrays, or say which of them does not fit."""
    x = as_floats(x, "x", min_ndim=3, layout=_LAYOUT)
    shape = x.shape[1:2]
    return x, as_parameter(gamma, "gamma", shape), as_parameter(beta, "beta", shape)


METHOD = Method(
    name="instance_norm",
    title="InstanceNorm",
    kind="activation",
    layout="(N, C, L, *)",
    axes=axes,
    pooled="H and W: one mean per image and channel",
    parameters=("gamma", "beta"),
    state=(),
    gradients=("x", "gamma", "beta"),
    formula=r"y = \gamma_c \frac{x - \mu_{n,c}}{\sqrt{\sigma_{n,c}^2 + \epsilon}} + \beta_c",
    paper="ulyanov2016instance",
    forward=instance_norm,
    backward=instance_norm_backward,
    module="normcourse.modules.instance_norm:InstanceNorm",
    example=per_channel_example("gamma", "beta"),
)

"""Group normalization: one mean per example and group of channels, pooled over its positions.

The C channels are cut into G groups of neighbours. For x of shape (N, C, *) the axes are those of
the view (N, G, C / G, *) after the first two. One group pools all channels (the statistics of
LayerNorm), C groups pool one channel each (InstanceNorm). Scale and shift stay per channel.

    y = gamma * (x - mean) / sqrt(var + eps) + beta

Source: Wu & He, "Group Normalization", 2018, section 3.
"""

from __future__ import annotations

from numpy.typing import ArrayLike

from normcourse.norms import core
from normcourse.norms._validate import (
    Array,
    as_floats,
    as_parameter,
    check_eps,
    check_groups,
    check_whole,
    same_shape,
)
from normcourse.norms.method import Method, per_channel_example
from normcourse.norms.precision import Axes

_LAYOUT = "(N, C, *), for example (N, C, H, W)"


def axes(ndim: int) -> Axes:
    """Return the axes that one mean pools, of the view (N, G, C / G, *) of x with ``ndim`` axes.

    Example:
        >>> axes(2), axes(4)
        ((2,), (2, 3, 4))
    """
    return tuple(range(2, ndim + 1))


def group_norm(
    x: ArrayLike,
    num_groups: int,
    gamma: ArrayLike | None = None,
    beta: ArrayLike | None = None,
    *,
    eps: float = 1e-5,
) -> Array:
    """Normalize each group of neighbouring channels of each example, then scale and shift it.

    Formula:
        y = gamma * (x - mean) / sqrt(var + eps) + beta

    Args:
        x: array of shape (N, C, *).
        num_groups: number of groups G, a divisor of C.
        gamma: scale, array of shape (C,), or None for 1.
        beta: shift, array of shape (C,), or None for 0.
        eps: added to the variance inside the root.

    Returns:
        y, like ``x`` in shape and dtype. A group of one value gives beta.

    Raises:
        TypeError: an argument holds no real numbers.
        ValueError: wrong rank, a number of groups that does not divide C, a parameter whose
            shape is not (C,), or eps < 0.

    Differs from torch in:
        a group of one value in a batch of one gives beta where torch raises.

    Source:
        Wu & He 2018, section 3.

    Example:
        >>> x = [[2.0, 4.0, 6.0, 9.0]]  # groups (2, 4) and (6, 9)
        >>> group_norm(x, 2, eps=0.0), group_norm(x, 4, eps=0.0)
        (array([[-1.,  1., -1.,  1.]]), array([[0., 0., 0., 0.]]))
    """
    x, groups, gamma, beta = _arguments(x, num_groups, gamma, beta)
    out = core.standardize(_grouped(x, groups), axes(x.ndim), check_eps(eps))
    x_hat = out.x_hat.reshape(x.shape)  # (N, C, *)
    gamma, beta = core.per_channel(gamma, x.ndim), core.per_channel(beta, x.ndim)  # (1, C, 1, ...)
    return core.affine(x_hat, gamma, beta).astype(x.dtype, copy=False)


def group_norm_backward(
    dy: ArrayLike,
    x: ArrayLike,
    num_groups: int,
    gamma: ArrayLike | None = None,
    *,
    eps: float = 1e-5,
) -> tuple[Array, Array, Array]:
    """Return the gradients of :func:`group_norm` with respect to x, gamma and beta.

    Formula, with means over one group of one example:
        dx_hat = gamma * dy
        dx     = inv_std * (dx_hat - mean(dx_hat) - x_hat * mean(dx_hat * x_hat))
        dgamma = sum(dy * x_hat),  dbeta = sum(dy)            sums over examples and positions

    Args:
        dy: gradient with respect to y, like ``x``.
        x: as in the forward pass.
        num_groups: as in the forward pass.
        gamma: as in the forward pass.
        eps: as in the forward pass.

    Returns:
        dx like ``x``; dgamma and dbeta of shape (C,).

    Raises:
        TypeError: as :func:`group_norm`.
        ValueError: as :func:`group_norm`, or ``dy`` is not shaped like ``x``.

    Differs from torch in:
        dgamma and dbeta are returned also where gamma is None.

    Source:
        Wu & He 2018.

    Example:
        >>> dy, x = [[1.0, 3.0, 2.0, 4.0]], [[2.0, 4.0, 6.0, 8.0]]
        >>> dx, dgamma, dbeta = group_norm_backward(dy, x, 1, eps=0.0)
        >>> dx.round(4), dgamma.round(4)
        (array([[-0.1342,  0.4025, -0.4025,  0.1342]]), array([-1.3416, -1.3416,  0.8944,  5.3666]))
    """
    x, groups, gamma, _ = _arguments(x, num_groups, gamma, None)
    dy = same_shape(dy, "dy", x, "x")
    out = core.standardize(_grouped(x, groups), axes(x.ndim), check_eps(eps))
    dx_hat, dgamma, dbeta = core.affine_backward(
        dy,
        out.x_hat.reshape(x.shape),
        core.per_channel(gamma, x.ndim),
        shared_over=(0, *range(2, x.ndim)),
    )
    dx_hat = _grouped(dx_hat, groups)  # (N, G, C / G, *)
    dx = core.standardize_backward(dx_hat, out.x_hat, out.inv_std, axes(x.ndim)).reshape(x.shape)
    dtype = x.dtype if gamma is None else gamma.dtype
    return (
        dx.astype(x.dtype, copy=False),
        dgamma.astype(dtype, copy=False),
        dbeta.astype(dtype, copy=False),
    )


def groups_for(method: str, num_channels: int) -> int:
    """Return the number of groups with which GroupNorm has the statistics of another method.

    Args:
        method: "layer" (one mean for all channels) or "instance" (one per channel).
        num_channels: number of channels C.

    Returns:
        1 or ``num_channels``.

    Raises:
        ValueError: another method, or fewer than one channel.

    Source:
        Wu & He 2018, section 3.

    Example:
        >>> groups_for("layer", 6), groups_for("instance", 6)
        (1, 6)
    """
    channels = check_whole(num_channels, "num_channels", at_least=1)
    groups = {"layer": 1, "instance": channels}
    if method not in groups:
        raise ValueError(
            f"method: expected one of {sorted(groups)}, got {method!r}. "
            f"BatchNorm pools over the batch and has no number of groups."
        )
    return groups[method]


def _grouped(x: Array, groups: int) -> Array:
    """Return x with its channels cut into groups."""
    n, channels, *positions = x.shape
    return x.reshape(n, groups, channels // groups, *positions)  # (N, G, C / G, *)


def _arguments(
    x: ArrayLike, num_groups: int, gamma: ArrayLike | None, beta: ArrayLike | None
) -> tuple[Array, int, Array | None, Array | None]:
    """Return the arguments as arrays, or say which of them does not fit."""
    x = as_floats(x, "x", min_ndim=2, layout=_LAYOUT)
    groups = check_groups(num_groups, x.shape[1])
    shape = x.shape[1:2]
    return x, groups, as_parameter(gamma, "gamma", shape), as_parameter(beta, "beta", shape)


METHOD = Method(
    name="group_norm",
    title="GroupNorm",
    kind="activation",
    layout="(N, C, *)",
    axes=axes,
    pooled="a group of C, H and W: one mean per image and group",
    parameters=("gamma", "beta"),
    state=(),
    gradients=("x", "gamma", "beta"),
    formula=r"y = \gamma_c \frac{x - \mu_{n,g}}{\sqrt{\sigma_{n,g}^2 + \epsilon}} + \beta_c",
    paper="wu2018group",
    forward=group_norm,
    backward=group_norm_backward,
    module="normcourse.modules.group_norm:GroupNorm",
    example=per_channel_example("gamma", "beta", num_groups=2),
)

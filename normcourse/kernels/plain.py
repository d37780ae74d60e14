"""The same four functions in torch operations: for every device and dtype, and for gradients of
gradients.

It is the oracle beside which the kernels are read, the way out where there is no kernel, and, being
differentiable itself, what the backward pass becomes when it is to be differentiated again.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

from normcourse.kernels.activations import ACTIVATIONS, SLOPES


def rows_forward(
    x: Tensor,
    residual: Tensor | None,
    weight: Tensor,
    bias: Tensor | None,
    *,
    eps: float,
    centered: bool,
    activation: str | None,
    keeps: bool = True,
) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor] | None]:
    """Normalize the rows of x (*, M), or of x + residual; row r takes weight[r % P] of (P, M)."""
    total = x if residual is None else x + residual
    x_hat, mean, inv_std = _standardize(total.view(sizes(x, weight)[:2]), (1,), eps, centered)
    z = x_hat.view(_periods(x, weight)) * weight
    z = (z if bias is None else z + bias).view(x.shape)
    return ACTIVATIONS[activation](z), total, (mean.flatten(), inv_std.flatten())


def rows_backward(
    dy: Tensor,
    x: Tensor,
    mean: Tensor,
    inv_std: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    dtotal: Tensor | None,
    *,
    centered: bool,
    activation: str | None,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return dx, dweight and dbias (P, M) of :func:`rows_forward`."""
    shape, x = x.shape, x.view(sizes(x, weight)[:2])
    root = inv_std.to(x.dtype)[:, None]
    x_hat = (_center(x, mean.to(x.dtype)[:, None], (1,)) if centered else x) * root
    by_period = x_hat.view(_periods(x, weight))  # (R / P, P, M)
    dz = dy.view(_periods(x, weight))
    if activation is not None:
        z = by_period * weight
        dz = dz * SLOPES[activation](z if bias is None else z + bias)
    dx_hat = (dz * weight).flatten(0, 1)
    dx = _dx(dx_hat, x_hat, root, (1,), centered).view(shape)
    dx = dx if dtotal is None else dx + dtotal
    dbias = None if bias is None else dz.sum(0).view(weight.shape)
    return dx, (dz * by_period).sum(0).view(weight.shape), dbias


def pooled_forward(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    given: tuple[Tensor, Tensor] | None,
    *,
    num_groups: int,
    eps: float,
    activation: str | None,
    keeps: bool = True,
) -> tuple[Tensor, Tensor, Tensor, tuple[Tensor, Tensor] | None]:
    """Normalize x (N, C, *) by groups of channels; ``num_groups`` 0 pools over the batch."""
    shape, x = x.shape, x.view(pooled_sizes(x))
    grouped, dim = _grouped(x, num_groups)
    if given is None:
        mean = _mean(grouped, dim)
        distance = _center(grouped, mean, dim)
        var = _mean(distance.square(), dim)
    else:
        mean, var = (one.to(x.dtype)[None, :, None] for one in given)
        distance = grouped - mean
    x_hat = (distance * inverse_std(var, eps)).view(x.shape)
    y = ACTIVATIONS[activation](x_hat * weight[:, None] + bias[:, None]).view(shape)
    mean, var = mean.flatten(), var.flatten()
    return y, mean, var, (mean, inverse_std(var, eps))


def pooled_backward(
    dy: Tensor,
    x: Tensor,
    mean: Tensor,
    inv_std: Tensor,
    weight: Tensor,
    bias: Tensor,
    *,
    num_groups: int,
    given: bool,
    activation: str | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return dx, dweight and dbias (C,) of :func:`pooled_forward`."""
    shape, x = x.shape, x.view(pooled_sizes(x))
    dy = dy.view(x.shape)
    grouped, dim = _grouped(x, num_groups)
    kept = [1 if axis in dim else size for axis, size in enumerate(grouped.shape)]
    root = inv_std.to(x.dtype).view(kept)
    mean = mean.to(x.dtype).view(kept)
    x_hat = (grouped - mean if given else _center(grouped, mean, dim)) * root
    flat, dz = x_hat.view(x.shape), dy
    if activation is not None:
        dz = dz * SLOPES[activation](flat * weight[:, None] + bias[:, None])
    dx_hat = (dz * weight[:, None]).view(grouped.shape)
    dx = dx_hat * root if given else _dx(dx_hat, x_hat, root, dim, centered=True)
    return dx.view(shape), (dz * flat).sum((0, 2)), dz.sum((0, 2))


def inverse_std(var: Tensor, eps: float) -> Tensor:
    """Return 1 / sqrt(var + eps), and 0 where both are 0.

    Example:
        >>> inverse_std(torch.tensor([4.0, 0.0]), eps=0.0)
        tensor([0.5000, 0.0000])
    """
    total = var + eps
    return total.rsqrt() if eps > 0 else total.masked_fill(total == 0, torch.inf).rsqrt()


def rows_moments(x: Tensor, *, eps: float, centered: bool) -> tuple[Tensor, Tensor]:
    """Return mean and inv_std (R,) of the rows of x (*, M), differentiable.

    Example:
        >>> rows_moments(torch.tensor([[2.0, 4.0]]), eps=0.0, centered=True)
        (tensor([3.]), tensor([1.]))
    """
    _, mean, inv_std = _standardize(x, (-1,), eps, centered)
    return mean.flatten(), inv_std.flatten()


def pooled_moments(x: Tensor, *, num_groups: int, eps: float) -> tuple[Tensor, Tensor]:
    """Return mean and inv_std of each group of x (N, C, *), differentiable.

    Example:
        >>> pooled_moments(torch.tensor([[[2.0, 4.0]]]), num_groups=0, eps=0.0)
        (tensor([3.]), tensor([1.]))
    """
    grouped, dim = _grouped(x.view(pooled_sizes(x)), num_groups)
    _, mean, inv_std = _standardize(grouped, dim, eps, centered=True)
    return mean.flatten(), inv_std.flatten()


def _standardize(
    x: Tensor, dim: tuple[int, ...], eps: float, centered: bool
) -> tuple[Tensor, Tensor, Tensor]:
    mean = _mean(x if centered else torch.zeros_like(x), dim)
    distance = _center(x, mean, dim) if centered else x
    inv_std = inverse_std(_mean(distance.square(), dim), eps)
    return distance * inv_std, mean, inv_std


def _center(x: Tensor, mean: Tensor, dim: tuple[int, ...]) -> Tensor:
    """Return x - mean, less what rounding left of the mean."""
    distance = x - mean
    return distance - _mean(distance, dim)


def _dx(
    dx_hat: Tensor, x_hat: Tensor, inv_std: Tensor, dim: tuple[int, ...], centered: bool
) -> Tensor:
    dx = dx_hat - x_hat * _mean(dx_hat * x_hat, dim)
    return inv_std * (dx - _mean(dx_hat, dim) if centered else dx)


def _mean(x: Tensor, dim: tuple[int, ...]) -> Tensor:
    """Return the mean over ``dim``, kept; 0, not NaN, where it pools nothing."""
    count = max(1, torch.Size([x.shape[axis] for axis in dim]).numel())
    return x.sum(dim, keepdim=True) / count


def _grouped(x: Tensor, num_groups: int) -> tuple[Tensor, tuple[int, ...]]:
    """Return x (N, C, S) as (N, G, C / G * S), or as it is for 0 groups, and the pooled axes."""
    return (x, (0, 2)) if num_groups == 0 else (x.reshape(len(x), num_groups, -1), (2,))


def sizes(x: Tensor, weight: Tensor) -> tuple[int, int, int]:
    """Return the rows of x (*, M), their width, and after how many weight (P, M) comes again.

    Example:
        >>> sizes(torch.zeros(5, 4, 3), torch.zeros(3)), sizes(torch.zeros(8, 3), torch.zeros(2, 3))
        ((20, 3, 1), (8, 3, 2))
    """
    width = x.shape[-1]
    if width == 0:
        return x.shape[:-1].numel(), width, weight.shape[:-1].numel()
    return x.numel() // width, width, weight.numel() // width


def pooled_sizes(x: Tensor) -> tuple[int, int, int]:
    """Return N, C and S of x (N, C, *): S positions of every channel.

    Example:
        >>> pooled_sizes(torch.zeros(2, 3, 4, 5)), pooled_sizes(torch.zeros(2, 3))
        ((2, 3, 20), (2, 3, 1))
    """
    number, channels = x.shape[0], x.shape[1]
    if number == 0 or channels == 0:
        return number, channels, math.prod(x.shape[2:])
    return number, channels, x.numel() // (number * channels)


def _periods(x: Tensor, weight: Tensor) -> tuple[int, int, int]:
    """Return the shape (R / P, P, M) of x in which weight (P, M), or (M,), meets its rows."""
    number, width, period = sizes(x, weight)
    return number // period, period, width


_P = ParamSpec("_P")
_R = TypeVar("_R")


def _in_single(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Hand half precision over as float32: the GPU's kernels keep what they were given."""

    @functools.wraps(function)
    def wider(*args: _P.args, **options: _P.kwargs) -> _R:
        half = torch.float16, torch.bfloat16
        wide = [
            one.float() if isinstance(one, Tensor) and one.dtype in half else one for one in args
        ]
        return function(*wide, **options)  # type: ignore[arg-type]

    return wider


rows_moments, pooled_moments = _in_single(rows_moments), _in_single(pooled_moments)
rows_backward, pooled_backward = _in_single(rows_backward), _in_single(pooled_backward)

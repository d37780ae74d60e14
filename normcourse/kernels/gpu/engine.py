"""The GPU kernels as functions of tensors: which kernel, which tile, how many programs.

Every function takes contiguous tensors of one dtype, half precision too, and parameters of the
dtype of the statistics. The three engines (this, :mod:`normcourse.kernels.cpu.engine` and
:mod:`normcourse.kernels.plain`) have the same four functions.
"""

from __future__ import annotations

import contextlib
import math
from typing import Any

import torch
import triton.language as tl
from torch import Tensor

from normcourse.kernels.activations import CODES
from normcourse.kernels.gpu import columns, plans, pools, rows
from normcourse.kernels.plain import inverse_std, pooled_sizes, sizes

TAKES_HALF = True  # float16 and bfloat16 as they are


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
    """Normalize the rows of x (*, M), or of x + residual; row r takes weight[r % P] of (P, M).

    Returns:
        y; the rows that were normalized; what :func:`rows_backward` needs: their mean (0 unless
        ``centered``) and inv_std, (R,) in float64.
    """
    y = torch.empty_like(x)
    total = x if residual is None else torch.empty_like(x)
    num, width, period = sizes(x, weight)
    mean = torch.empty if centered else torch.zeros
    moments = mean(num, dtype=torch.float64, device=x.device), _float64(num, x)
    shift = torch.zeros_like(weight) if bias is None else bias
    tensors = x, x if residual is None else residual, total, weight, shift, y, *moments
    options = eps, centered, residual is not None, CODES[activation]
    with _on(x):
        if width <= plans.longest(x):
            tile = _rows_of_tile(num, width), plans.power(width)
            rows.forward[(plans.ceil(num, tile[0]),)](
                *tensors, num, width, period, *options, *tile, _acc(x), **_warps(*tile)
            )
        else:
            rows.forward_long[(num,)](
                *tensors, width, period, *options, plans.TILE, _acc(x), **_warps(plans.TILE)
            )
    return y, total, moments


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
    """Return dx, dweight and dbias (P, M) of :func:`rows_forward`; x is what was normalized.

    ``dtotal``, the gradient that reaches x + residual by other ways, is added to dx.
    """
    dx = torch.empty_like(x)
    num, width, period = sizes(x, weight)
    examples = num // period
    known = dy, x, mean, inv_std, weight, torch.zeros_like(weight) if bias is None else bias
    tensors = *known, x if dtotal is None else dtotal, dx
    options = centered, dtotal is not None, CODES[activation]
    with _on(x):
        if width <= plans.longest(x):
            tile = _rows_of_tile(examples, width), plans.power(width)
            walkers = plans.walkers(x.device, math.prod(tile))
            parts = min(plans.ceil(examples, tile[0]), plans.ceil(walkers, period))
            sums = weight.new_empty(2, parts, period, width)
            rows.backward[(parts, period)](
                *tensors, sums, examples, width, period, *options, *tile, _acc(x), **_warps(*tile)
            )
        else:
            rows.backward_long[(num,)](
                *tensors, width, period, *options, plans.TILE, _acc(x), **_warps(plans.TILE)
            )
            sums = _column_sums(known, examples, width, period, True, activation)
    dweight, dbias = sums.sum(1).view(2, *weight.shape)
    return dx, dweight, None if bias is None else dbias


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
    """Normalize x (N, C, *) by groups of channels; ``num_groups`` 0 pools over the batch instead.

    Args:
        x: tensor of shape (N, C, *).
        weight: tensor of shape (C,).
        bias: tensor of shape (C,).
        given: mean and biased variance (C,) to use in place of x's own.
        num_groups: groups of neighbouring channels, each pooled within an example; 0: each
            channel is pooled over all examples.
        eps: added to the variance inside the root.
        activation: what is applied to the result.
        keeps: whether a backward pass may follow; here it costs nothing to be ready for it.

    Returns:
        y; the mean and variance of each group in float64; what :func:`pooled_backward` needs.
    """
    shape, x = x.shape, x.view(pooled_sizes(x))
    y = torch.empty_like(x)
    num, channels, size = x.shape
    count = num if num_groups == 0 else channels // num_groups  # segments of a pool
    number = num * channels // count
    if given is None:
        mean, var = _float64(number, x), _float64(number, x)
    else:
        mean, var = (one.to(torch.float64) for one in given)
    options = eps, CODES[activation]
    with _on(x):
        if given is None and _fits(x, count, size):
            tile = plans.power(count), plans.power(size)
            pools.forward[(number,)](
                *(x, weight, bias, y, mean, var, count, size, channels),
                *(eps, num_groups == 0, CODES[activation], *tile, _acc(x)),
                **_warps(*tile),
            )
        elif num_groups == 0 and size == 1:
            _columns_forward(x, weight, bias, y, mean, var, given, options)
        else:
            _lines_forward(x, weight, bias, y, mean, var, given, num_groups, options)
    return y.view(shape), mean, var, (mean, inverse_std(var, eps)) if keeps else None


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
    dy, dx = dy.view(x.shape), torch.empty_like(x)
    num, channels, size = x.shape
    count = num if num_groups == 0 else channels // num_groups
    known = dy, x, mean, inv_std, weight, bias
    with _on(x):
        if not given and _fits(x, count, size):
            tile = plans.power(count), plans.power(size)
            sums = weight.new_empty(2, len(mean), count)
            pools.backward[(len(mean),)](
                *(*known, dx, sums, count, size, channels),
                *(num_groups == 0, CODES[activation], *tile, _acc(x)),
                **_warps(*tile),
            )
            by_channel = sums.sum(2) if num_groups == 0 else sums.view(2, num, channels).sum(1)
            dbias, dweight = by_channel
        elif num_groups == 0 and size == 1:
            dweight, dbias = _columns_backward(known, dx, given, activation)
        else:
            dweight, dbias = _lines_backward(known, dx, num_groups, given, activation)
    return dx.view(shape), dweight, dbias


def _lines_forward(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    y: Tensor,
    mean: Tensor,
    var: Tensor,
    given: object,
    num_groups: int,
    options: tuple[float, int],
) -> None:
    """Pools too large for one program, or statistics that are given: moments, then y."""
    _, channels, size = x.shape
    lines, count, together = _lines(x, num_groups)
    cut = plans.cut_lines(lines, count, size, x.device)
    shape = count, size, channels, cut.some, cut.few
    rest = cut.segments, cut.block, _acc(x)
    if given is None:
        found = _float64((3, lines, cut.parts), x)
        pools.moments[(lines, cut.parts)](x, found, *shape, *rest, **_warps(*rest[:2]))
        _merge(found, mean, var, together * cut.parts, by_item=True)
    pools.apply[(lines, cut.parts)](
        x, mean, var, weight, bias, y, together, *shape, *options, *rest, **_warps(*rest[:2])
    )


def _lines_backward(
    known: tuple[Tensor, ...],
    dx: Tensor,
    num_groups: int,
    given: bool,
    activation: str | None,
) -> tuple[Tensor, Tensor]:
    _, x, _, inv_std, weight, _ = known
    _, channels, size = x.shape
    lines, count, together = _lines(x, num_groups)
    cut = plans.cut_lines(lines, count, size, x.device)
    shape = together, count, size, channels, cut.some, cut.few
    rest = CODES[activation], cut.segments, cut.block, _acc(x)
    sums = weight.new_empty(2, lines, cut.parts)
    grid = lines, cut.parts
    pools.gradient_sums[grid](*known, sums, *shape, *rest, **_warps(*rest[1:3]))
    by_line = sums.sum(2)  # (2, lines)
    gamma = weight.repeat(lines // channels)
    total, product = (by_line * gamma).view(2, -1, together).sum(2)
    slope_and_offset = _coefficients(total, product, inv_std, together * count * size, given)
    pools.apply_gradient[grid](*known, *slope_and_offset, dx, *shape, *rest, **_warps(*rest[1:3]))
    dbias, dweight = by_line.view(2, -1, channels).sum(1)
    return dweight, dbias


def _columns_forward(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    y: Tensor,
    mean: Tensor,
    var: Tensor,
    given: object,
    options: tuple[float, int],
) -> None:
    num, width, _ = x.shape
    some, parts, *tile = plans.cut_rows(num, width, x.device)
    grid = plans.ceil(width, tile[1]), parts
    if given is None:
        found = _float64((3, parts, width), x)
        columns.moments[grid](x, found, num, width, some, *tile, _acc(x), **_warps(*tile))
        _merge(found, mean, var, parts, by_item=False)
    columns.apply[grid](
        *(x, mean, var, weight, bias, y, num, width, some, *options, *tile, _acc(x)),
        **_warps(*tile),
    )


def _columns_backward(
    known: tuple[Tensor, ...], dx: Tensor, given: bool, activation: str | None
) -> tuple[Tensor, Tensor]:
    _, x, _, inv_std, weight, _ = known
    num, width, _ = x.shape
    sums = _column_sums(known, num, width, 1, False, activation)
    product, total = sums.sum(1)[:, 0]
    slope_and_offset = _coefficients(total * weight, product * weight, inv_std, num, given)
    some, parts, *tile = plans.cut_rows(num, width, x.device)
    columns.apply_gradient[(plans.ceil(width, tile[1]), parts)](
        *(*known, *slope_and_offset, dx, num, width, some),
        *(CODES[activation], *tile, _acc(x)),
        **_warps(*tile),
    )
    return product, total


def _column_sums(
    known: tuple[Tensor, ...],
    num: int,
    width: int,
    period: int,
    by_row: bool,
    activation: str | None,
) -> Tensor:
    """Return sums (2, parts, period, C) of dz * x_hat and of dz."""
    x, weight = known[1], known[4]
    some, parts, *tile = plans.cut_rows(num, width, x.device)
    sums = weight.new_empty(2, parts, period, width)
    columns.gradient_sums[(plans.ceil(width, tile[1]), parts, period)](
        *(*known, sums, num, width, period, some),
        *(by_row, CODES[activation], *tile, _acc(x)),
        **_warps(*tile),
    )
    return sums


def _coefficients(
    total: Tensor, product: Tensor, inv_std: Tensor, pooled: int, given: bool
) -> tuple[Tensor, Tensor]:
    """Return slope and offset in dx = inv_std * weight * dz + slope * (x - mean) + offset."""
    if given:  # statistics that do not depend on x
        return torch.zeros_like(inv_std), torch.zeros_like(inv_std)
    share = inv_std / pooled
    return -share * inv_std * product, -share * total


def _merge(found: Tensor, mean: Tensor, var: Tensor, parts: int, *, by_item: bool) -> None:
    """Write mean and var from the moments of parts, those of an item side by side or not."""
    items = len(mean)
    wide, tall = (1, min(plans.power(parts), 1024)) if by_item else (32, 32)
    steps = (parts, 1) if by_item else (1, items)
    columns.merge[(plans.ceil(items, wide),)](found, mean, var, items, parts, *steps, wide, tall)


def _lines(x: Tensor, num_groups: int) -> tuple[int, int, int]:
    """Return the lines of x, the segments of each, and the lines that share a mean."""
    num, channels, _ = x.shape
    return (channels, num, 1) if num_groups == 0 else (num * channels, 1, channels // num_groups)


def _fits(x: Tensor, count: int, size: int) -> bool:
    return plans.power(count) * plans.power(size) <= plans.longest(x)


def _rows_of_tile(num: int, width: int) -> int:
    return min(plans.power(num), max(1, plans.TILE // plans.power(width)))


def _warps(*tile: int) -> dict[str, int]:
    return {"num_warps": plans.warps(math.prod(tile))}


def _acc(x: Tensor) -> Any:
    return tl.float64 if x.dtype == torch.float64 else tl.float32


def _float64(shape: int | tuple[int, ...], x: Tensor) -> Tensor:
    return torch.empty(shape, dtype=torch.float64, device=x.device)


def _on(x: Tensor) -> contextlib.AbstractContextManager[Any]:
    """Return the context in which kernels run on x's device."""
    return torch.cuda.device(x.device) if x.is_cuda else contextlib.nullcontext()

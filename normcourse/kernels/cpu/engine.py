"""The CPU kernels as functions of tensors: shared memory in, new tensors out, threads between.

Every function takes contiguous float32 or float64 tensors of one dtype. The three engines (this,
:mod:`normcourse.kernels.gpu.engine` and :mod:`normcourse.kernels.plain`) have the same four
functions.
"""

from __future__ import annotations

import torch
from torch import Tensor

from normcourse.kernels.activations import CODES
from normcourse.kernels.cpu import columns, groups, planes, rows
from normcourse.kernels.cpu.blocks import block
from normcourse.kernels.cpu.compiled import Task
from normcourse.kernels.cpu.memory import LINE, STREAM_FROM, STREAM_NEW_FROM
from normcourse.kernels.cpu.pages import new_like
from normcourse.kernels.plain import inverse_std, pooled_sizes, sizes
from normcourse.kernels.threads import all_at_once, share


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

    Without a mean to subtract there is no bias, either.

    Returns:
        y; the rows that were normalized; if it ``keeps`` what :func:`rows_backward` needs, their
        mean (0 unless ``centered``) and inv_std, (R,) in float64.
    """
    shape = number, width, _ = sizes(x, weight)
    y, used = new_like(x)
    total = x if residual is None else new_like(x)[0]
    kept = (_float64(number), _float64(number)) if keeps else None
    at = _addresses(x, residual, total, weight, bias, y, *(kept or (None, None)))
    streaming = _large(y, used, activation) and _by_lines(width, y, total)
    options = centered, CODES[activation], streaming
    _run(rows.forward_task, share(number, number * width), number, x, at, (*shape, *options), eps)
    return y, total, kept


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
    shape = number, width, period = sizes(x, weight)
    dx, used = new_like(x)
    dweight = torch.empty_like(weight)
    dbias = None if bias is None else torch.empty_like(bias)
    parts = share(number, number * width)
    sums = _float64(2 * parts * period * width)
    at = _addresses(dy, x, mean, inv_std, weight, bias, dtotal, dx, dweight, dbias, sums)
    streaming = _large(dx, used, activation) and _by_lines(width, dx)
    options = centered, CODES[activation], streaming
    _run(rows.backward_task, parts, number, x, at, (*shape, *options))
    return dx, dweight, dbias


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
) -> tuple[Tensor, Tensor | None, Tensor | None, tuple[Tensor, Tensor] | None]:
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
        keeps: whether a backward pass may follow.

    Returns:
        y; where the batch is pooled, its mean and biased variance (C,), like weight; if it
        ``keeps`` what :func:`pooled_backward` needs, the mean and inv_std of each group in float64.
    """
    y, used = new_like(x)
    num, channels, size = pooled_sizes(x)
    many, kind = num * channels * size, CODES[activation]
    streaming = _large(y, used, activation) and _by_lines(_begins(channels, size, num_groups), y)
    if num_groups == 0 and size == 1:
        how = given, eps, activation, streaming
        return y, *_columns_forward(x.view(num, channels), weight, bias, y, *how)
    count = num if num_groups == 0 else channels // num_groups
    kept, told = _statistics(weight, num * channels // count, given, num_groups == 0, keeps, eps)
    at = _addresses(x, weight, bias, y, *(kept or (None, None)), *told)
    if num_groups == 0 and size < planes.SMALL:
        few = num, size, channels, given is not None, kind, streaming
        _run(planes.forward_task, share(channels, many), channels, x, at, few, eps)
        return y, *told, kept
    if given is not None:
        num_groups, count = channels, 1
    number, options = num * channels // count, (given is not None, kind, streaming)
    shape = num * channels, size, channels, num_groups, count, *options
    _run(groups.forward_task, share(number, many), number, x, at, shape, eps)
    return y, *told, kept


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
    dx, used = new_like(x)
    num, channels, size = pooled_sizes(x)
    streaming = _large(dx, used, activation) and _by_lines(_begins(channels, size, num_groups), dx)
    if num_groups == 0 and size == 1:
        table, how = x.view(num, channels), (given, activation, streaming)
        dweight, dbias = _columns_backward(dy, table, mean, inv_std, weight, bias, dx, *how)
        return dx, dweight, dbias
    many, kind = num * channels * size, CODES[activation]
    dweight, dbias = torch.empty_like(weight), torch.empty_like(bias)
    if num_groups == 0 and size < planes.SMALL:
        at = _addresses(dy, x, mean, inv_std, weight, bias, dx, dweight, dbias)
        few = num, size, channels, given, kind, streaming
        _run(planes.backward_task, share(channels, many), channels, x, at, few)
        return dx, dweight, dbias
    count = num if num_groups == 0 else channels // num_groups
    if given:
        num_groups, count = channels, 1
    sums = _float64(2 * num * channels)
    at = _addresses(dy, x, mean, inv_std, weight, bias, dx, dweight, dbias, sums)
    number, options = num * channels // count, (given, kind, streaming)
    shape = num * channels, size, channels, num_groups, count, *options
    _run(groups.backward_task, share(number, many), number, x, at, shape)
    return dx, dweight, dbias


def _columns_forward(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    y: Tensor,
    given: tuple[Tensor, Tensor] | None,
    eps: float,
    activation: str | None,
    streaming: bool,
) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
    number, width = shape = x.shape
    parts = share(number, number * width)
    mean, var = _doubles(*given) if given else (_float64(width), _float64(width))
    if given is None:
        sums = torch.empty(parts, 2, width, dtype=torch.float64)
        _run(columns.moments_task, parts, number, x, _addresses(x, sums), shape)
        offset, square = sums.sum(0) / number
        torch.add(x[0], offset, out=mean)
        torch.clamp(square - offset * offset, min=0.0, out=var)
    inv_std = inverse_std(var, eps)
    scale = (inv_std * weight).to(x.dtype)
    high, low = _high_and_low(mean, x)
    shift = bias - low * scale
    at = _addresses(x, high, scale, shift, y)
    options = CODES[activation], streaming
    _run(columns.forward_task, parts, number, x, at, (*shape, *options))
    return mean.to(weight.dtype), var.to(weight.dtype), (mean, inv_std)


def _statistics(
    weight: Tensor,
    means: int,
    given: tuple[Tensor, Tensor] | None,
    by_channel: bool,
    keeps: bool,
    eps: float,
) -> tuple[tuple[Tensor, Tensor] | None, tuple[Tensor, Tensor] | tuple[None, None]]:
    """Return room for mean and inv_std in float64, and for mean and variance that are told.

    Where statistics are given, mean and inv_std are those.
    """
    if given is not None:
        mean, var = _doubles(*given)
        return (mean, inverse_std(var, eps)), given
    kept = (_float64(means), _float64(means)) if keeps else None
    told = (torch.empty_like(weight), torch.empty_like(weight)) if by_channel else (None, None)
    return kept, told


def _columns_backward(
    dy: Tensor,
    x: Tensor,
    mean: Tensor,
    inv_std: Tensor,
    weight: Tensor,
    bias: Tensor,
    dx: Tensor,
    given: bool,
    activation: str | None,
    streaming: bool,
) -> tuple[Tensor, Tensor]:
    number, width = shape = x.shape
    parts, kind = share(number, number * width), CODES[activation]
    scale = (inv_std * weight).to(x.dtype)
    high, low = _high_and_low(mean, x)
    shift = bias - low * scale
    sums = torch.empty(parts, 2, width, dtype=torch.float64)
    at = _addresses(dy, x, mean, high, scale, shift, sums)
    _run(columns.gradient_sums_task, parts, number, x, at, (*shape, kind, False))
    total, product = sums.sum(0)
    portion = 0.0 if given else inv_std * weight / number
    slope = (-portion * inv_std * inv_std * product).to(x.dtype)
    offset = (-portion * total).to(x.dtype) - low * slope
    at = _addresses(dy, x, high, scale, shift, slope, offset, dx)
    _run(columns.backward_task, parts, number, x, at, (*shape, kind, streaming))
    return (product * inv_std).to(x.dtype), total.to(x.dtype)


def _high_and_low(mean: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return a float64 mean as the sum of two numbers of x's dtype."""
    high = mean.to(x.dtype)
    return high, (mean - high).to(x.dtype)


def _run(
    task: Task,
    parts: int,
    items: int,
    x: Tensor,
    at: tuple[int, ...],
    numbers: tuple[int, ...],
    eps: float = 0.0,
) -> None:
    """Let all threads do the parts of a task on tensors like x."""
    words = block(parts, items, at, numbers, eps)
    all_at_once(*task.call(x.itemsize), words.buffer_info()[0], parts)


def _addresses(*tensors: Tensor | None) -> tuple[int, ...]:
    """Return where the values lie, 0 for None; the tensors have to outlive their use."""
    return tuple([0 if tensor is None else tensor.data_ptr() for tensor in tensors])


def _float64(size: int) -> Tensor:
    return torch.empty(size, dtype=torch.float64)


def _doubles(*tensors: Tensor) -> tuple[Tensor, ...]:
    return tuple(tensor.to(torch.float64).contiguous() for tensor in tensors)


def _large(out: Tensor, used: bool, activation: str | None) -> bool:
    """Return whether a result is better written past the caches: large, sooner in used memory.

    Not where an activation that costs more than memory does is computed from it.
    """
    least = STREAM_FROM if used else STREAM_NEW_FROM
    return out.nbytes >= least and activation in (None, "relu")


def _by_lines(width: int, *outs: Tensor) -> bool:
    """Return whether all rows of ``width`` values begin with a line of the cache."""
    starts = [out.data_ptr() for out in outs]
    return not any(place % LINE for place in (*starts, width * outs[0].itemsize))


def _begins(channels: int, size: int, num_groups: int) -> int:
    """Return after how many values of (N, C, S) a loop begins a row; 0: anywhere will do."""
    if num_groups == 0 and size < planes.SMALL:
        return channels if size == 1 else 0
    return size

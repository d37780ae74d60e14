"""The CPU kernels as functions of tensors: shared memory in, new tensors out, threads between.

Every function takes contiguous float32 or float64 tensors of one dtype. ``out`` is where the large
result goes; None makes a new tensor. The three engines (this, :mod:`normcourse.kernels.gpu.engine`
and :mod:`normcourse.kernels.plain`) have the same four functions.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from torch import Tensor

from normcourse.kernels.activations import CODES
from normcourse.kernels.cpu import columns, groups, planes, rows
from normcourse.kernels.cpu.memory import STREAM_FROM
from normcourse.kernels.cpu.pages import new_like
from normcourse.kernels.plain import inverse_std
from normcourse.kernels.threads import each, parts

Array = np.ndarray[Any, np.dtype[Any]]


def rows_forward(
    x: Tensor,
    residual: Tensor | None,
    weight: Tensor,
    bias: Tensor,
    *,
    eps: float,
    centered: bool,
    activation: str | None,
    out: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Normalize the rows of x (R, M), or of x + residual; row r takes weight[r % P] of (P, M).

    Returns:
        y; the rows that were normalized; their mean (0 unless ``centered``) and inv_std, (R,) in
        float64.
    """
    number, width = x.shape
    y = new_like(x) if out is None else out
    mean, inv_std = np.empty(number), np.empty(number)
    values, w, b, written = _arrays(x, weight, bias, y)
    if residual is None:
        total, stream, sums = x, _no_rows(x.dtype, width), values
    else:
        total = new_like(x)
        stream, sums = _arrays(residual, total)
    arrays = values, stream, sums, w, b, written, mean, inv_std
    options = eps, centered, CODES[activation], _streams(y)
    each(
        lambda part, start, stop: rows.forward(*arrays, *options, start, stop),
        parts(number, number * width),
    )
    return y, total, torch.from_numpy(mean), torch.from_numpy(inv_std)


def rows_backward(
    dy: Tensor,
    x: Tensor,
    mean: Tensor,
    inv_std: Tensor,
    weight: Tensor,
    bias: Tensor,
    dtotal: Tensor | None,
    *,
    centered: bool,
    activation: str | None,
    out: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return dx, dweight and dbias (P, M) of :func:`rows_forward`; x is what was normalized.

    ``dtotal``, the gradient that reaches x + residual by other ways, is added to dx.
    """
    number, width = x.shape
    dx = new_like(x) if out is None else out
    ranges = parts(number, number * width)
    sums = np.zeros((2, len(ranges), *weight.shape))
    more = _no_rows(x.dtype, width) if dtotal is None else _arrays(dtotal)[0]
    *arrays, written = _arrays(dy, x, mean, inv_std, weight, bias, dx)
    arrays += more, written
    options = centered, CODES[activation], _streams(dx)
    each(
        lambda part, start, stop: rows.backward(
            *arrays, sums[0, part], sums[1, part], *options, start, stop
        ),
        ranges,
    )
    whole = torch.from_numpy(sums[:, 0] if len(ranges) == 1 else sums.sum(1)).to(x.dtype)
    return dx, whole[0], whole[1]


def pooled_forward(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    given: tuple[Tensor, Tensor] | None,
    *,
    num_groups: int,
    eps: float,
    activation: str | None,
    out: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Normalize x (N, C, S) by groups of channels; ``num_groups`` 0 pools over the batch instead.

    Args:
        x: tensor of shape (N, C, S).
        weight: tensor of shape (C,).
        bias: tensor of shape (C,).
        given: mean and biased variance (C,) to use in place of x's own.
        num_groups: groups of neighbouring channels, each pooled within an example; 0: each
            channel is pooled over all examples.
        eps: added to the variance inside the root.
        activation: what is applied to the result.
        out: where the result goes.

    Returns:
        y, and the mean and variance of each group in float64.
    """
    y = new_like(x) if out is None else out
    num, channels, size = x.shape
    many = num * channels * size
    if num_groups == 0 and size == 1:
        mean, var = _doubles(*given) if given else (_float64(channels), _float64(channels))
        _columns_forward(x[..., 0], weight, bias, y[..., 0], mean, var, given, eps, activation)
        return y, mean, var
    values, w, b, written = _arrays(x, weight, bias, y)
    count = num if num_groups == 0 else channels // num_groups
    means = num * channels // count
    moments = _arrays(*_doubles(*given)) if given else (np.empty(means), np.empty(means))
    kind, mean, var = CODES[activation], *map(torch.from_numpy, moments)
    if num_groups == 0 and size < planes.SMALL:
        flat = values.reshape(num, -1), w, b, written.reshape(num, -1), *moments
        last = given is not None, eps, kind
        each(
            lambda part, start, stop: planes.forward(*flat, *last, start, stop),
            parts(channels, many),
        )
        return y, mean, var
    if given is not None:
        num_groups, count, moments = _each_alone(num, channels, *moments)
    arrays = values.reshape(-1, size), w, b, written.reshape(-1, size), *moments
    options = num_groups, count, given is not None, eps, kind, _streams(y)
    each(
        lambda part, start, stop: groups.forward(*arrays, *options, start, stop),
        parts(len(moments[0]), many),
    )
    return y, mean, var


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
    out: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return dx, dweight and dbias (C,) of :func:`pooled_forward`."""
    dx = new_like(x) if out is None else out
    num, channels, size = x.shape
    if num_groups == 0 and size == 1:
        dweight, dbias = _columns_backward(
            dy[..., 0], x[..., 0], mean, inv_std, weight, bias, dx[..., 0], given, activation
        )
        return dx, dweight, dbias
    many, kind = num * channels * size, CODES[activation]
    dys, values, center, root, w, b, written = _arrays(dy, x, mean, inv_std, weight, bias, dx)
    if num_groups == 0 and size < planes.SMALL:
        found = np.empty((2, channels))
        flat = dys.reshape(num, -1), values.reshape(num, -1), center, root, w, b
        pieces = *flat, written.reshape(num, -1), *found, given, kind
        each(
            lambda part, start, stop: planes.backward(*pieces, start, stop),
            parts(channels, many),
        )
        dweight, dbias = torch.from_numpy(found).to(x.dtype)
        return dx, dweight, dbias
    count = num if num_groups == 0 else channels // num_groups
    if given:
        num_groups, count, (center, root) = _each_alone(num, channels, center, root)
    sums = np.empty((num * channels, 2))
    arrays = dys.reshape(-1, size), values.reshape(-1, size), center, root, w, b
    options = written.reshape(-1, size), sums, num_groups, count, given, kind, _streams(dx)
    each(
        lambda part, start, stop: groups.backward(*arrays, *options, start, stop),
        parts(len(center), many),
    )
    dbias, dweight = torch.from_numpy(sums.reshape(num, channels, 2).sum(0).T).to(x.dtype)
    return dx, dweight, dbias


def _each_alone(num: int, channels: int, *moments: Array) -> tuple[int, int, tuple[Array, ...]]:
    """Return groups, their segments and moments where statistics are given: one after the other.

    Segments need nothing of one another then, so they are taken in the order of memory.
    """
    return channels, 1, tuple(np.tile(one, num) for one in moments)


def _columns_forward(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    y: Tensor,
    mean: Tensor,
    var: Tensor,
    given: object,
    eps: float,
    activation: str | None,
) -> None:
    ranges = parts(len(x), x.numel())
    source, target = _arrays(x, y)
    if given is None:
        sums = np.zeros((2, len(ranges), x.shape[1]))
        each(
            lambda part, start, stop: columns.moments(
                source, sums[0, part], sums[1, part], start, stop
            ),
            ranges,
        )
        offset, square = sums.sum(1) / len(x)
        mean.copy_(torch.from_numpy(source[0] + offset))
        var.copy_(torch.from_numpy(np.maximum(square - offset * offset, 0.0)))
    scale = (inverse_std(var, eps) * weight).to(x.dtype)
    high, low = _high_and_low(mean, x)
    arrays = *_arrays(high, scale, bias - low * scale), target
    options = CODES[activation], _streams(y)
    each(lambda part, start, stop: columns.forward(source, *arrays, *options, start, stop), ranges)


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
) -> tuple[Tensor, Tensor]:
    ranges, kind = parts(len(x), x.numel()), CODES[activation]
    scale = (inv_std * weight).to(x.dtype)
    high, low = _high_and_low(mean, x)
    arrays = _arrays(dy, x, high, scale, bias - low * scale)
    sums = np.zeros((2, len(ranges), x.shape[1]))
    (center,) = _arrays(mean)
    each(
        lambda part, start, stop: columns.gradient_sums(
            *arrays[:2], center, *arrays[2:], sums[0, part], sums[1, part], kind, start, stop
        ),
        ranges,
    )
    total, product = torch.from_numpy(sums.sum(1))
    share = 0.0 if given else inv_std * weight / len(x)
    slope = (-share * inv_std * inv_std * product).to(x.dtype)
    offset = (-share * total).to(x.dtype) - low * slope
    more = *_arrays(slope, offset, dx), kind, _streams(dx)
    each(lambda part, start, stop: columns.backward(*arrays, *more, start, stop), ranges)
    return (product * inv_std).to(x.dtype), total.to(x.dtype)


def _high_and_low(mean: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return a float64 mean as the sum of two numbers of x's dtype."""
    high = mean.to(x.dtype)
    return high, (mean - high).to(x.dtype)


def _arrays(*tensors: Tensor) -> tuple[Array, ...]:
    return tuple([(t.detach() if t.requires_grad else t).numpy() for t in tensors])


@functools.lru_cache(maxsize=64)
def _no_rows(dtype: torch.dtype, width: int) -> Array:
    """Return an array of no rows, in place of None: the kernels are compiled once for both."""
    return torch.empty(0, width, dtype=dtype).numpy()


def _float64(size: int) -> Tensor:
    return torch.empty(size, dtype=torch.float64)


def _doubles(*tensors: Tensor) -> tuple[Tensor, ...]:
    return tuple(tensor.to(torch.float64) for tensor in tensors)


def _streams(out: Tensor) -> bool:
    return out.numel() * out.element_size() >= STREAM_FROM

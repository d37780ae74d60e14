"""The CPU kernels as functions of tensors: shared memory in, new tensors out, threads between.

Every function takes contiguous float32 or float64 tensors of one dtype. The three engines (this,
:mod:`normcourse.kernels.gpu.engine` and :mod:`normcourse.kernels.plain`) have the same four
functions.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from normcourse.kernels.activations import CODES
from normcourse.kernels.cpu import columns, groups, planes, rows
from normcourse.kernels.cpu.memory import STREAM_FROM
from normcourse.kernels.cpu.pages import new_like
from normcourse.kernels.plain import inverse_std, sizes
from normcourse.kernels.threads import each, parts

_LIKE = {torch.float32: np.empty(0, np.float32), torch.float64: np.empty(0)}  # to tell the dtype


def rows_forward(
    x: Tensor,
    residual: Tensor | None,
    weight: Tensor,
    bias: Tensor | None,
    *,
    eps: float,
    centered: bool,
    activation: str | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Normalize the rows of x (*, M), or of x + residual; row r takes weight[r % P] of (P, M).

    Without a mean to subtract there is no bias, either.

    Returns:
        y; the rows that were normalized; their mean (0 unless ``centered``) and inv_std, (R,) in
        float64.
    """
    number, width, period = sizes(x, weight)
    y, used = new_like(x)
    total = x if residual is None else new_like(x)[0]
    mean, inv_std = _float64(number), _float64(number)
    at = _addresses(x, residual, total, weight, bias, y, mean, inv_std)
    options = eps, centered, CODES[activation], _streams(y, used)
    each(
        lambda part, start, stop: rows.forward(
            _LIKE[x.dtype], at, number, width, period, *options, start, stop
        ),
        parts(number, number * width),
    )
    return y, total, mean, inv_std


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
    number, width, period = sizes(x, weight)
    dx, used = new_like(x)
    dweight = torch.empty_like(weight)
    dbias = None if bias is None else torch.empty_like(bias)
    like, ranges = _LIKE[x.dtype], parts(number, number * width)
    sums = _float64(2 * len(ranges) * period * width)
    at = _addresses(dy, x, mean, inv_std, weight, bias, dtotal, dx, sums)
    options = centered, CODES[activation], _streams(dx, used)
    each(
        lambda part, start, stop: rows.backward(
            like, at, number, width, period, *options, part, start, stop
        ),
        ranges,
    )
    rows.add_parts(like, _addresses(dweight, dbias, sums), len(ranges), period * width)
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

    Returns:
        y, and the mean and variance of each group in float64.
    """
    y, used = new_like(x)
    num, channels, size = x.shape
    many, kind = num * channels * size, CODES[activation]
    count = num if num_groups == 0 else channels // num_groups
    means = num * channels // count
    mean, var = _doubles(*given) if given else (_float64(means), _float64(means))
    if num_groups == 0 and size == 1:
        how = given is not None, eps, activation, _streams(y, used)
        _columns_forward(x[..., 0], weight, bias, y[..., 0], mean, var, *how)
        return y, mean, var
    like, at = _LIKE[x.dtype], _addresses(x, weight, bias, y, mean, var)
    if num_groups == 0 and size < planes.SMALL:
        last = given is not None, eps, kind
        each(
            lambda part, start, stop: planes.forward(
                like, at, num, size, channels, *last, start, stop
            ),
            parts(channels, many),
        )
        return y, mean, var
    if given is not None:
        num_groups, count = channels, 1
    options = num_groups, count, given is not None, eps, kind, _streams(y, used)
    each(
        lambda part, start, stop: groups.forward(
            like, at, num * channels, size, channels, *options, start, stop
        ),
        parts(num * channels // count, many),
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
) -> tuple[Tensor, Tensor, Tensor]:
    """Return dx, dweight and dbias (C,) of :func:`pooled_forward`."""
    dx, used = new_like(x)
    num, channels, size = x.shape
    if num_groups == 0 and size == 1:
        how = given, activation, _streams(dx, used)
        dweight, dbias = _columns_backward(
            dy[..., 0], x[..., 0], mean, inv_std, weight, bias, dx[..., 0], *how
        )
        return dx, dweight, dbias
    many, kind, like = num * channels * size, CODES[activation], _LIKE[x.dtype]
    dweight, dbias = torch.empty_like(weight), torch.empty_like(bias)
    if num_groups == 0 and size < planes.SMALL:
        at = _addresses(dy, x, mean, inv_std, weight, bias, dx, dweight, dbias)
        each(
            lambda part, start, stop: planes.backward(
                like, at, num, size, channels, given, kind, start, stop
            ),
            parts(channels, many),
        )
        return dx, dweight, dbias
    count = num if num_groups == 0 else channels // num_groups
    if given:
        num_groups, count = channels, 1
    sums = _float64(2 * num * channels)
    at = _addresses(dy, x, mean, inv_std, weight, bias, dx, sums)
    options = num_groups, count, given, kind, _streams(dx, used)
    each(
        lambda part, start, stop: groups.backward(
            like, at, num * channels, size, channels, *options, start, stop
        ),
        parts(num * channels // count, many),
    )
    groups.add_segments(like, _addresses(dweight, dbias, sums), num, channels)
    return dx, dweight, dbias


def _columns_forward(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    y: Tensor,
    mean: Tensor,
    var: Tensor,
    given: bool,
    eps: float,
    activation: str | None,
    streaming: bool,
) -> None:
    like, sizes, ranges = _LIKE[x.dtype], tuple(x.shape), parts(len(x), x.numel())
    if not given:
        sums = torch.empty(len(ranges), 2, x.shape[1], dtype=torch.float64)
        at = _addresses(x, sums)
        each(lambda *part: columns.moments(like, at, *sizes, *part), ranges)
        offset, square = sums.sum(0) / len(x)
        torch.add(x[0], offset, out=mean)
        torch.clamp(square - offset * offset, min=0.0, out=var)
    scale = (inverse_std(var, eps) * weight).to(x.dtype)
    high, low = _high_and_low(mean, x)
    shift = bias - low * scale
    more = _addresses(x, high, scale, shift, y)
    options = CODES[activation], streaming
    each(
        lambda part, start, stop: columns.forward(like, more, *sizes, *options, start, stop), ranges
    )


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
    like, sizes, kind = _LIKE[x.dtype], tuple(x.shape), CODES[activation]
    ranges = parts(len(x), x.numel())
    scale = (inv_std * weight).to(x.dtype)
    high, low = _high_and_low(mean, x)
    shift = bias - low * scale
    sums = torch.empty(len(ranges), 2, x.shape[1], dtype=torch.float64)
    at = _addresses(dy, x, mean, high, scale, shift, sums)
    each(lambda *part: columns.gradient_sums(like, at, *sizes, kind, *part), ranges)
    total, product = sums.sum(0)
    share = 0.0 if given else inv_std * weight / len(x)
    slope = (-share * inv_std * inv_std * product).to(x.dtype)
    offset = (-share * total).to(x.dtype) - low * slope
    more = _addresses(dy, x, high, scale, shift, slope, offset, dx)
    options = kind, streaming
    each(
        lambda part, start, stop: columns.backward(like, more, *sizes, *options, start, stop),
        ranges,
    )
    return (product * inv_std).to(x.dtype), total.to(x.dtype)


def _high_and_low(mean: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return a float64 mean as the sum of two numbers of x's dtype."""
    high = mean.to(x.dtype)
    return high, (mean - high).to(x.dtype)


def _addresses(*tensors: Tensor | None) -> tuple[int, ...]:
    """Return where the values lie, 0 for None; the tensors have to outlive their use."""
    return tuple([0 if tensor is None else tensor.data_ptr() for tensor in tensors])


def _float64(size: int) -> Tensor:
    return torch.empty(size, dtype=torch.float64)


def _doubles(*tensors: Tensor) -> tuple[Tensor, ...]:
    return tuple(tensor.to(torch.float64).contiguous() for tensor in tensors)


def _streams(out: Tensor, used: bool) -> bool:
    """Return whether a result is written past the caches: a large one, sooner in used memory."""
    return out.nbytes >= (STREAM_FROM if used else 2 * STREAM_FROM)

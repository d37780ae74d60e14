"""BatchNorm and GroupNorm on (N, C, S): one mean per group of segments, one weight per segment.

A segment is the S positions of one channel of one example. GroupNorm pools neighbouring segments
of one example, BatchNorm the same channel's segments of all examples; the loops are the same, only
the step from segment to segment differs. Groups are independent; each thread takes a range.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from normcourse.kernels.cpu import vectors as v
from normcourse.kernels.cpu.blocks import every_part, every_part_and_then
from normcourse.kernels.cpu.compiled import SUMS, Task, compiled
from normcourse.kernels.cpu.lines import (
    at_least,
    fetch,
    lanes,
    line_at,
    put,
    spread,
    total_of,
    where_positive,
    whole,
)
from normcourse.kernels.cpu.memory import array_at, doubles_at, on_stack
from normcourse.kernels.cpu.vectors import CHUNK

NEAR = 128 * 2**10  # bytes of a group up to which the next one fits the caches beside it


@compiled()
def _place(group: int, k: int, groups: int, channels: int) -> tuple[int, int]:
    """Return segment and channel of the k-th segment of a group; 0 groups is BatchNorm."""
    if groups == 0:
        return k * channels + group, group
    size = channels // groups
    channel = (group % groups) * size + k
    return (group // groups) * channels + channel, channel


@compiled(SUMS)
def _rest_written(
    segment: Any, high: Any, scale: Any, offset: Any, floor: Any, out: Any, coming: Any, shift: Any
) -> tuple[Any, Any]:
    total, squares = segment.dtype.type(0), segment.dtype.type(0)
    for j in range(out.size):
        out[j] = v.at_least(v.line(segment[j], high, scale, offset), floor)
        d = coming[j] - shift
        total += d
        squares += d * d
    return total, squares


@compiled()
def _write_and_sum(
    segment: Any, high: Any, scale: Any, offset: Any, floor: Any, out: Any, coming: Any,
    shift: Any, streaming: bool,
) -> tuple[float, float]:  # fmt: skip
    """Write a segment and return the sums of another, as :func:`.vectors.near_sums` does."""
    total, squares, end = 0.0, 0.0, whole(segment)
    highs, slopes, offsets = spread(high), spread(scale), spread(offset)
    floors, shifts = spread(floor), spread(shift)
    for a in range(0, end, CHUNK):
        some = some_squares = spread(segment.dtype.type(0))
        for j in range(a, min(a + CHUNK, end), lanes(segment)):
            z = v.line(line_at(segment, j), highs, slopes, offsets)
            put(at_least(z, floors), out, j, streaming)
            d = line_at(coming, j) - shifts
            some = some + d
            some_squares = some_squares + d * d
        total += np.float64(total_of(some))
        squares += np.float64(total_of(some_squares))
    rest = _rest_written(segment[end:], high, scale, offset, floor, out[end:], coming[end:], shift)
    return total + np.float64(rest[0]), squares + np.float64(rest[1])


@compiled()
def _near_mean(x: Any, group: int, count: int, groups: int, channels: int) -> Any:
    """Return the mean of the first sixteenth of every segment of a group, as shift of its sums."""
    some, total = -(-x.shape[1] // v.HEAD), 0.0
    for k in range(count):
        total += np.float64(v.sum_of(x[_place(group, k, groups, channels)[0], :some]))
    return x.dtype.type(total / (count * some))


@compiled()
def _sums(
    x: Any, shift: float, anew: bool, group: int, count: int, groups: int, channels: int
) -> tuple[float, float]:
    """Return the sums of ``x - shift`` and of its square over the segments of a group.

    ``anew``: in float64 alone, for numbers whose squares float32 does not hold.
    """
    total, squares = 0.0, 0.0
    for k in range(count):
        segment = x[_place(group, k, groups, channels)[0]]
        if anew:
            found = v.shifted_sums(segment, shift)
        else:
            found = v.near_sums(segment, x.dtype.type(shift))
        total += found[0]
        squares += found[1]
    return total, squares


@compiled()
def forward(like: Any, at: Any, sizes: Any, eps: float, part: int, start: int, stop: int) -> None:
    """Write y and statistics of groups ``start`` to ``stop``; x and y are (N * C, S).

    ``at`` holds the addresses of x, weight, bias, y, of mean and inv_std in float64, and of mean
    and var in x's dtype; 0 is none. While a group is written, which waits for memory, the next one
    is summed in the same loops. ``given``: mean and inv_std are inputs (C,), as BatchNorm's at
    inference.

    ``sizes``: N * C, S, C, groups, segments of a group, given, kind, streaming.
    """
    number, size, channels, groups, count = sizes[0], sizes[1], sizes[2], sizes[3], sizes[4]
    given, kind, streaming = sizes[5] != 0, sizes[6], sizes[7] != 0
    shape = number, size
    x, y = array_at(at[0], shape, like), array_at(at[3], shape, like)
    weight, bias = array_at(at[1], channels, like), array_at(at[2], channels, like)
    means = channels if given else number // count
    mean, inv_std = doubles_at(at[4], means), doubles_at(at[5], means)
    told_mean, told_var = array_at(at[6], means, like), array_at(at[7], means, like)
    keeps, tells = at[4] != 0, at[6] != 0
    floor = like.dtype.type(v.floor_of(kind))
    shift, total, squares = like.dtype.type(0), 0.0, 0.0
    for group in range(start, stop):
        if given:
            mu, root = mean[group % channels], inv_std[group % channels]
        else:
            if group == start:
                shift = _near_mean(x, group, count, groups, channels)
                total, squares = _sums(x, np.float64(shift), False, group, count, groups, channels)
            origin = np.float64(shift)
            if not v.fine(squares, count * size):
                origin = np.float64(x[_place(group, 0, groups, channels)[0], 0])
                total, squares = _sums(x, origin, True, group, count, groups, channels)
            mu, var = v.from_sums(total, squares, origin, count * size)
            root = v.inverse_root(var, eps)
            if keeps:
                mean[group], inv_std[group] = mu, root
            if tells:
                told_mean[group], told_var[group] = mu, var
        high = like.dtype.type(mu)
        low = like.dtype.type(mu - np.float64(high))
        ahead = not given and group + 1 < stop
        total, squares = 0.0, 0.0
        if ahead:
            shift = _near_mean(x, group + 1, count, groups, channels)
        for k in range(count):
            segment, channel = _place(group, k, groups, channels)
            scale = like.dtype.type(root * np.float64(weight[channel]))
            offset = bias[channel] - low * scale
            coming = _place(group + 1, k, groups, channels)[0] if ahead else segment
            out = y[segment]
            ends = _write_and_sum(
                x[segment], high, scale, offset, floor, out, x[coming], shift, streaming
            )
            total += ends[0]
            squares += ends[1]
            v.activate(out, kind)


@Task
def forward_task(place: Any) -> None:
    """Do :func:`forward` for the parts of a block."""
    every_part(forward, place)


@compiled()
def _before(dy: Any, x: Any, high: Any, scale: Any, offset: Any, kind: int, out: Any) -> Any:
    """Return the gradient with respect to what went into the activation, computed anew."""
    if kind == v.NONE:
        return dy
    if kind == v.RELU:
        v.relu_chain_one(dy, x, high, scale, offset, out)
    else:
        v.affine_one(x, high, scale, offset, x.dtype.type(-np.inf), out)
        v.chain(dy, out, kind)
    return out


@compiled()
def _gradient_sums(
    dy: Any, x: Any, high: Any, inv_std: Any, less: Any, scale: Any, shift: Any, kind: int,
    before: Any,
) -> tuple[float, float]:  # fmt: skip
    """Return the sums of dz and dz * x_hat over a segment, float64 of sums over chunks."""
    total, product = 0.0, 0.0
    for a in range(0, x.size, CHUNK):
        b = min(a + CHUNK, x.size)
        dz = _before(dy[a:b], x[a:b], high, scale, shift, kind, before[: b - a])
        found = v.gradient_chunk(dz, x[a:b], high, inv_std, less)
        total += np.float64(found[0])
        product += np.float64(found[1])
    return total, product


@compiled()
def _write_dx(
    dy: Any, x: Any, high: Any, scale: Any, moved: Any, slope: Any, offset: Any, kind: int,
    before: Any, out: Any, coming_dy: Any, coming_x: Any, streaming: bool,
) -> None:  # fmt: skip
    """Write a segment of dx; past the caches, while the next segments are asked for."""
    end = whole(out) if kind <= v.RELU else 0
    highs, scales, shifts = spread(high), spread(scale), spread(moved)
    slopes, offsets = spread(slope), spread(offset)
    for j in range(0, end, lanes(out)):
        if streaming:
            fetch(coming_dy, j)
            fetch(coming_x, j)
        dz, values = line_at(dy, j), line_at(x, j)
        if kind == v.RELU:
            dz = where_positive(v.line(values, highs, scales, shifts), dz)
        put(scales * dz + v.line(values, highs, slopes, offsets), out, j, streaming)
    for a in range(end, out.size, CHUNK):
        b = min(a + CHUNK, out.size)
        rest = _before(dy[a:b], x[a:b], high, scale, moved, kind, before[: b - a])
        v.gradient_one(rest, x[a:b], high, scale, slope, offset, out[a:b])


@compiled()
def backward(like: Any, at: Any, sizes: Any, eps: float, part: int, start: int, stop: int) -> None:
    """Write dx of groups ``start`` to ``stop`` and, per segment, sums of dz and dz * x_hat.

    ``at`` holds the addresses of dy, x, mean, inv_std, weight, bias, dx, dweight, dbias and of the
    sums (N * C, 2).
    Two passes: no dx can be written before both sums over the whole group are known.

    ``sizes`` are those of :func:`forward`.
    """
    number, size, channels, groups, count = sizes[0], sizes[1], sizes[2], sizes[3], sizes[4]
    given, kind, streaming = sizes[5] != 0, sizes[6], sizes[7] != 0
    shape = number, size
    dy, x = array_at(at[0], shape, like), array_at(at[1], shape, like)
    means = channels if given else number // count
    mean, inv_std = doubles_at(at[2], means), doubles_at(at[3], means)
    weight, bias = array_at(at[4], channels, like), array_at(at[5], channels, like)
    dx, sums = array_at(at[6], shape, like), doubles_at(at[9], (number, 2))
    before = array_at(on_stack(CHUNK), CHUNK, like)
    for group in range(start, stop):
        m = group % channels if given else group
        root = inv_std[m]
        high = like.dtype.type(mean[m])
        low = like.dtype.type(mean[m] - np.float64(high))
        inv_root = like.dtype.type(root)
        less = -low * inv_root
        total, product = 0.0, 0.0
        for k in range(count):
            segment, channel = _place(group, k, groups, channels)
            gamma = np.float64(weight[channel])
            scale = like.dtype.type(root * gamma)
            moved = bias[channel] - low * scale
            found = _gradient_sums(
                dy[segment], x[segment], high, inv_root, less, scale, moved, kind, before
            )
            sums[segment, 0], sums[segment, 1] = found
            total += gamma * found[0]
            product += gamma * found[1]
        share = 0.0 if given else root / (count * size)  # given statistics do not depend on x
        slope = like.dtype.type(-share * root * product)
        offset = like.dtype.type(-share * total) - low * slope
        near = group + 1 < stop and 2 * count * size * like.itemsize <= NEAR
        for k in range(count):
            segment, channel = _place(group, k, groups, channels)
            scale = like.dtype.type(root * np.float64(weight[channel]))
            moved = bias[channel] - low * scale
            coming = _place(group + 1, k, groups, channels)[0] if near else segment
            _write_dx(
                dy[segment], x[segment], high, scale, moved, slope, offset, kind, before,
                dx[segment], dy[coming], x[coming], streaming,
            )  # fmt: skip


@compiled()
def add_segments(like: Any, at: Any, sizes: Any, parts: int) -> None:
    """Write dweight and dbias from the sums of all segments."""
    channels = sizes[2]
    num = sizes[0] // channels
    dweight, dbias = array_at(at[7], channels, like), array_at(at[8], channels, like)
    sums = doubles_at(at[9], (num, channels, 2))
    for c in range(channels):
        total, product = 0.0, 0.0
        for n in range(num):
            total += sums[n, c, 0]
            product += sums[n, c, 1]
        dweight[c], dbias[c] = product, total


@Task
def backward_task(place: Any) -> None:
    """Do :func:`backward` for the parts of a block, and :func:`add_segments` after the last."""
    every_part_and_then(backward, add_segments, place)

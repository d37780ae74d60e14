"""BatchNorm on (M, C), features last: one mean per column, read row by row as memory lies.

Every row touches every column, so threads share rows and their sums are added at the end.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from normcourse.kernels.cpu import vectors as v
from normcourse.kernels.cpu.blocks import every_part
from normcourse.kernels.cpu.compiled import EACH, SUMS, Task, compiled
from normcourse.kernels.cpu.lines import (
    at_least,
    lanes,
    line_at,
    put,
    spread,
    where_positive,
    whole,
)
from normcourse.kernels.cpu.memory import array_at, doubles_at, keep, room_of


@compiled(SUMS)
def add_sums(x: Any, shift: Any, total: Any, squares: Any) -> None:
    """Add x - shift and its square to the float64 sums of each column."""
    for j in range(x.size):
        d = np.float64(x[j]) - np.float64(shift[j])
        total[j] += d
        squares[j] += d * d


@compiled()
def moments(like: Any, at: Any, sizes: Any, eps: float, part: int, start: int, stop: int) -> None:
    """Write the sums (C,) of rows ``start`` to ``stop``, less the first row of all.

    ``at`` holds the addresses of x and of the sums of all parts (parts, 2, C).

    ``sizes``: number and width of rows.
    """
    number, width = sizes[0], sizes[1]
    x, sums = array_at(at[0], (number, width), like), doubles_at(at[1], (part + 1, 2, width))
    total, squares = sums[part, 0], sums[part, 1]
    v.fill(total, 0.0)
    v.fill(squares, 0.0)
    for i in range(start, stop):
        add_sums(x[i], x[0], total, squares)


@Task
def moments_task(place: Any) -> None:
    """Do :func:`moments` for the parts of a block."""
    every_part(moments, place)


@compiled()
def forward(like: Any, at: Any, sizes: Any, eps: float, part: int, start: int, stop: int) -> None:
    """Write ``(x - high) * scale + shift`` of rows ``start`` to ``stop``.

    ``at`` holds the addresses of x, high, scale, shift and y.

    ``sizes``: number and width of rows, kind, streaming.
    """
    number, width, kind, streaming = sizes[0], sizes[1], sizes[2], sizes[3] != 0
    x, y = array_at(at[0], (number, width), like), array_at(at[4], (number, width), like)
    high, scale = array_at(at[1], width, like), array_at(at[2], width, like)
    shift, floor = array_at(at[3], width, like), like.dtype.type(v.floor_of(kind))
    floors = spread(floor)
    for i in range(start, stop):
        row, out = x[i], y[i]
        end = whole(out)
        for j in range(0, end, lanes(out)):
            params = line_at(high, j), line_at(scale, j), line_at(shift, j)
            put(at_least(v.line(line_at(row, j), *params), floors), out, j, streaming)
        v.affine_each(row[end:], high[end:], scale[end:], shift[end:], floor, out[end:])
        v.activate(out, kind)


@Task
def forward_task(place: Any) -> None:
    """Do :func:`forward` for the parts of a block."""
    every_part(forward, place)


@compiled()
def gradient_before(dy: Any, x: Any, high: Any, scale: Any, shift: Any, kind: int, out: Any) -> Any:
    """Return the gradient with respect to what went into the activation, computed anew."""
    if kind == v.NONE:
        return dy
    v.affine_each(x, high, scale, shift, x.dtype.type(-np.inf), out)
    v.chain(dy, out, kind)
    return out


@compiled(SUMS)
def add_gradient_sums(dz: Any, x: Any, mean: Any, total: Any, product: Any) -> None:
    """Add dz and dz * (x - mean) to the float64 sums of each column."""
    for j in range(x.size):
        total[j] += np.float64(dz[j])
        product[j] += np.float64(dz[j]) * (np.float64(x[j]) - mean[j])


@compiled()
def gradient_sums(
    like: Any, at: Any, sizes: Any, eps: float, part: int, start: int, stop: int
) -> None:
    """Write the sums of dz and dz * (x - mean) over rows ``start`` to ``stop``.

    ``at`` holds the addresses of dy, x, mean, high, scale, shift and of the sums of all parts
    (parts, 2, C).

    ``sizes`` are those of :func:`forward`.
    """
    number, width, kind = sizes[0], sizes[1], sizes[2]
    dy, x = array_at(at[0], (number, width), like), array_at(at[1], (number, width), like)
    mean, high = doubles_at(at[2], width), array_at(at[3], width, like)
    scale, shift = array_at(at[4], width, like), array_at(at[5], width, like)
    sums = doubles_at(at[6], (part + 1, 2, width))
    total, product = sums[part, 0], sums[part, 1]
    v.fill(total, 0.0)
    v.fill(product, 0.0)
    room = room_of(width)
    before = array_at(room.ctypes.data, width, like)
    for i in range(start, stop):
        dz = gradient_before(dy[i], x[i], high, scale, shift, kind, before)
        add_gradient_sums(dz, x[i], mean, total, product)
    keep(room)


@Task
def gradient_sums_task(place: Any) -> None:
    """Do :func:`gradient_sums` for the parts of a block."""
    every_part(gradient_sums, place)


@compiled(EACH)
def dx_each(dz: Any, x: Any, high: Any, scale: Any, slope: Any, offset: Any, out: Any) -> None:
    """Write ``scale * dz + slope * (x - high) + offset``."""
    for j in range(out.size):
        out[j] = scale[j] * dz[j] + v.line(x[j], high[j], slope[j], offset[j])


@compiled()
def backward(like: Any, at: Any, sizes: Any, eps: float, part: int, start: int, stop: int) -> None:
    """Write ``scale * dz + slope * (x - high) + offset`` of rows ``start`` to ``stop``.

    ``at`` holds the addresses of dy, x, high, scale, shift, slope, offset and dx.

    ``sizes`` are those of :func:`forward`.
    """
    number, width, kind, streaming = sizes[0], sizes[1], sizes[2], sizes[3] != 0
    dy, x = array_at(at[0], (number, width), like), array_at(at[1], (number, width), like)
    high, scale = array_at(at[2], width, like), array_at(at[3], width, like)
    shift, slope = array_at(at[4], width, like), array_at(at[5], width, like)
    offset, dx = array_at(at[6], width, like), array_at(at[7], (number, width), like)
    room = room_of(width)
    before = array_at(room.ctypes.data, width, like)
    for i in range(start, stop):
        gradient, row, out = dy[i], x[i], dx[i]
        end = whole(out) if kind <= v.RELU else 0
        for j in range(0, end, lanes(out)):
            dz, values = line_at(gradient, j), line_at(row, j)
            highs, scales = line_at(high, j), line_at(scale, j)
            if kind == v.RELU:
                dz = where_positive(v.line(values, highs, scales, line_at(shift, j)), dz)
            tilted = v.line(values, highs, line_at(slope, j), line_at(offset, j))
            put(scales * dz + tilted, out, j, streaming)
        some = high[end:], scale[end:]
        rest = gradient_before(
            gradient[end:], row[end:], *some, shift[end:], kind, before[: width - end]
        )
        dx_each(rest, row[end:], *some, slope[end:], offset[end:], out[end:])
    keep(room)


@Task
def backward_task(place: Any) -> None:
    """Do :func:`backward` for the parts of a block."""
    every_part(backward, place)

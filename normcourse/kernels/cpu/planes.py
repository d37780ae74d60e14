"""BatchNorm on (N, C, S) with small S: neighbouring channels side by side, as vectors.

A segment of 49 values is one and a half vectors and a rest, which costs more than the vectors.
So a block of channels is read example by example, as one contiguous piece, and every place of it
has sums and parameters of its own; those of a channel are added at the end. A block stays near
between its two looks; its pieces lie apart, so the next is asked for while one is read. Blocks are
independent; each thread takes a range of channels.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from normcourse.kernels.cpu import columns
from normcourse.kernels.cpu import vectors as v
from normcourse.kernels.cpu.blocks import every_part
from normcourse.kernels.cpu.compiled import SUMS, Task, compiled
from normcourse.kernels.cpu.lines import (
    at_least,
    fetch,
    lanes,
    line_at,
    put,
    spread,
    where_positive,
    whole_lines,
)
from normcourse.kernels.cpu.memory import array_at, doubles_at, keep, on_stack, room_of

BLOCK = 1024  # values of an example that stand side by side
AT_ONCE = 4  # examples that touch the sums at once
FLUSH = 32  # examples that are summed in x's dtype before float64 takes them
THREE, FIVE = 3 * BLOCK, 5 * BLOCK  # room for as many values at every place
SMALL = 256  # positions below which a channel is a place among others


@compiled()
def _scaled(mean: Any, inv_std: Any, weight: Any, bias: Any, size: int, out: Any) -> None:
    """Write to out (3, M) mean, scale and shift of every place, for :func:`.vectors.line`."""
    kind = weight.dtype.type
    for c in range(mean.size):
        high, scale = kind(mean[c]), kind(inv_std[c] * np.float64(weight[c]))
        shift = bias[c] - kind(mean[c] - np.float64(high)) * scale
        for j in range(c * size, (c + 1) * size):
            out[0, j], out[1, j], out[2, j] = high, scale, shift


@compiled(SUMS)
def _sum(values: Any) -> float:
    total = 0.0
    for j in range(values.size):
        total += values[j]
    return total


@compiled()
def _near_means(x: Any, a: int, b: int, size: int, out: Any) -> None:
    """Write to every place of a block the mean of its channel in the first examples.

    As a shift it is near enough, see :func:`.rows._near_mean`.
    """
    some = -(-x.shape[0] // v.HEAD)
    for c in range((b - a) // size):
        total = 0.0
        for n in range(some):
            total += np.float64(v.sum_of(x[n, a + c * size : a + (c + 1) * size]))
        v.fill(out[c * size : (c + 1) * size], out.dtype.type(total / (some * size)))


@compiled(SUMS)
def _add_sums(x: Any, shift: Any, total: Any, squares: Any) -> None:
    """Add x - shift and its square to the sums of each place, in x's dtype."""
    for j in range(x.size):
        d = x[j] - shift[j]
        total[j] += d
        squares[j] += d * d


@compiled(SUMS)
def _add_sums_of_four(
    x0: Any, x1: Any, x2: Any, x3: Any, shift: Any, total: Any, squares: Any
) -> None:
    """Do so for four examples at once, which touches the sums once."""
    for j in range(shift.size):
        d, e, f, g = x0[j] - shift[j], x1[j] - shift[j], x2[j] - shift[j], x3[j] - shift[j]
        total[j] += (d + e) + (f + g)
        squares[j] += (d * d + e * e) + (f * f + g * g)


@compiled()
def _fetch_piece(row: Any, begin: int, end: int) -> None:
    """Ask for a piece of a row that will be read soon."""
    for j in range(begin, end, lanes(row)):
        fetch(row, j)


@compiled()
def _moments(
    x: Any, a: int, b: int, size: int, shift: Any, total: Any, squares: Any, sums: Any, mean: Any,
    var: Any,
) -> None:  # fmt: skip
    """Write mean and variance of the channels that lie at ``a`` to ``b`` of every example."""
    number, count = x.shape[0], x.shape[0] * size
    _near_means(x, a, b, size, shift)
    v.fill(sums[0], 0.0)
    v.fill(sums[1], 0.0)
    shift, total, squares = shift[: b - a], total[: b - a], squares[: b - a]
    n = 0
    while n < number:
        step = AT_ONCE if n + AT_ONCE <= number else 1
        for k in range(n + step, min(n + 2 * step, number)):
            _fetch_piece(x[k], a, b)
        if step == AT_ONCE:
            _add_sums_of_four(
                x[n, a:b], x[n + 1, a:b], x[n + 2, a:b], x[n + 3, a:b], shift, total, squares
            )
        else:
            _add_sums(x[n, a:b], shift, total, squares)
        n += step
        if n % FLUSH == 0 or n == number:
            v.flush(total, sums[0, : b - a])
            v.flush(squares, sums[1, : b - a])
    for c in range(mean.size):
        j, k = c * size, (c + 1) * size
        origin, first, second = np.float64(shift[j]), _sum(sums[0, j:k]), _sum(sums[1, j:k])
        if not v.fine(second, count):  # where float32 has no such squares, anew
            origin, first, second = np.float64(x[0, a + j]), 0.0, 0.0
            for n in range(number):
                found = v.shifted_sums(x[n, a + j : a + k], origin)
                first += found[0]
                second += found[1]
        mean[c], var[c] = v.from_sums(first, second, origin, count)


@compiled()
def _write(
    x: Any, high: Any, scale: Any, shift: Any, floor: Any, y: Any, coming: Any, streaming: bool
) -> None:
    """Write an example; meanwhile ask for its values in the block that comes."""
    head, tail = whole_lines(y)
    floors = spread(floor)
    for j in range(head, tail, lanes(x)):
        fetch(coming, j)
        params = line_at(high, j), line_at(scale, j), line_at(shift, j)
        put(at_least(v.line(line_at(x, j), *params), floors), y, j, streaming)
    for a, b in ((0, head), (tail, y.size)):
        v.affine_each(x[a:b], high[a:b], scale[a:b], shift[a:b], floor, y[a:b])


@compiled()
def forward(like: Any, at: Any, sizes: Any, eps: float, part: int, start: int, stop: int) -> None:
    """Write y and statistics of channels ``start`` to ``stop``; x and y are (N, C * S).

    ``at`` holds the addresses of x, weight, bias, y, of mean and inv_std in float64, and of mean
    and var in x's dtype; 0 is none. ``given``: mean and inv_std are inputs.

    ``sizes``: N, S, C, given, kind, streaming.
    """
    number, size, channels, given, kind = sizes[0], sizes[1], sizes[2], sizes[3] != 0, sizes[4]
    streaming = sizes[5] != 0
    shape = number, channels * size
    x, y = array_at(at[0], shape, like), array_at(at[3], shape, like)
    weight, bias = array_at(at[1], channels, like), array_at(at[2], channels, like)
    known = doubles_at(at[4], channels), doubles_at(at[5], channels)
    told = array_at(at[6], channels, like), array_at(at[7], channels, like)
    keeps, tells = at[4] != 0, at[6] != 0
    some, floor = max(1, BLOCK // size), x.dtype.type(v.floor_of(kind))
    places = some * size
    room = room_of(3 * some + 2 * places)
    base = room.ctypes.data
    found, sums = doubles_at(base, (3, some)), doubles_at(base + 24 * some, (2, places))
    many = array_at(on_stack(THREE), (3, places), like)
    total = array_at(on_stack(BLOCK), places, like)
    squares = array_at(on_stack(BLOCK), places, like)
    v.fill(total, 0)
    v.fill(squares, 0)
    for c in range(start, stop, some):
        d = min(c + some, stop)
        a, b = c * size, d * size
        mean, var, inv_std = found[0, : d - c], found[1, : d - c], found[2, : d - c]
        if not given:
            _moments(x, a, b, size, many[0], total, squares, sums, mean, var)
        for k in range(c, d):
            if given:
                mean[k - c], inv_std[k - c] = known[0][k], known[1][k]
                continue
            inv_std[k - c] = v.inverse_root(var[k - c], eps)
            if keeps:
                known[0][k], known[1][k] = mean[k - c], inv_std[k - c]
            if tells:
                told[0][k], told[1][k] = mean[k - c], var[k - c]
        _scaled(mean, inv_std, weight[c:d], bias[c:d], size, many)
        high, scale, shift = many[0, : b - a], many[1, : b - a], many[2, : b - a]
        ahead = b if d < stop else a  # at the end, what is near already
        for n in range(number):
            out = y[n, a:b]
            _write(x[n, a:b], high, scale, shift, floor, out, x[n, ahead:], streaming)
            v.activate(out, kind)
    keep(room)


@Task
def forward_task(place: Any) -> None:
    """Do :func:`forward` for the parts of a block."""
    every_part(forward, place)


@compiled(SUMS)
def _add_gradient_sums(
    dz: Any, x: Any, high: Any, root: Any, less: Any, total: Any, product: Any
) -> None:
    """Add dz and dz * x_hat to the sums of each place, in x's dtype."""
    for j in range(x.size):
        total[j] += dz[j]
        product[j] += dz[j] * v.line(x[j], high[j], root[j], less[j])


@compiled(SUMS)
def _add_gradient_sums_of_two(
    dz0: Any, dz1: Any, x0: Any, x1: Any, high: Any, root: Any, less: Any, total: Any, product: Any
) -> None:
    """Do so for two examples at once, which touches the sums once."""
    for j in range(high.size):
        total[j] += dz0[j] + dz1[j]
        first = dz0[j] * v.line(x0[j], high[j], root[j], less[j])
        product[j] += first + dz1[j] * v.line(x1[j], high[j], root[j], less[j])


@compiled()
def _write_dx(
    dy: Any, x: Any, high: Any, scale: Any, shift: Any, slope: Any, offset: Any, kind: int,
    before: Any, dx: Any, coming_dy: Any, coming_x: Any, streaming: bool,
) -> None:  # fmt: skip
    """Write an example, see :func:`.columns.dx_each`; ask for its values in the next block."""
    head, tail = whole_lines(dx) if kind <= v.RELU else (0, 0)
    for j in range(head, tail, lanes(x)):
        fetch(coming_dy, j)
        fetch(coming_x, j)
        dz, values = line_at(dy, j), line_at(x, j)
        highs, scales = line_at(high, j), line_at(scale, j)
        if kind == v.RELU:
            dz = where_positive(v.line(values, highs, scales, line_at(shift, j)), dz)
        line = scales * dz + v.line(values, highs, line_at(slope, j), line_at(offset, j))
        put(line, dx, j, streaming)
    for a, b in ((0, head), (tail, dx.size)):
        some = high[a:b], scale[a:b]
        dz = columns.gradient_before(dy[a:b], x[a:b], *some, shift[a:b], kind, before[: b - a])
        columns.dx_each(dz, x[a:b], *some, slope[a:b], offset[a:b], dx[a:b])


@compiled()
def backward(like: Any, at: Any, sizes: Any, eps: float, part: int, start: int, stop: int) -> None:
    """Write dx, dweight and dbias (C,) of channels ``start`` to ``stop``.

    ``at`` holds the addresses of dy, x, mean, inv_std, weight, bias, dx, dweight and dbias.

    ``sizes`` are those of :func:`forward`.
    """
    number, size, channels, given, kind = sizes[0], sizes[1], sizes[2], sizes[3] != 0, sizes[4]
    streaming = sizes[5] != 0
    shape = number, channels * size
    dy, x = array_at(at[0], shape, like), array_at(at[1], shape, like)
    dx = array_at(at[6], shape, like)
    mean, inv_std = doubles_at(at[2], channels), doubles_at(at[3], channels)
    weight, bias = array_at(at[4], channels, like), array_at(at[5], channels, like)
    dweight, dbias = array_at(at[7], channels, like), array_at(at[8], channels, like)
    some = max(1, BLOCK // size)
    places = some * size
    room = room_of(2 * places + 2 * some)
    base = room.ctypes.data
    sums, unit = doubles_at(base, (2, places)), array_at(base + 16 * places, (2, some), like)
    many = array_at(on_stack(FIVE), (5, places), like)
    standard = array_at(on_stack(THREE), (3, places), like)
    before = array_at(on_stack(BLOCK), places, like)
    totals = array_at(on_stack(BLOCK), places, like)
    products = array_at(on_stack(BLOCK), places, like)
    for out, value in ((unit[0], 1), (unit[1], 0), (totals, 0), (products, 0)):
        v.fill(out, value)  # weight 1 and bias 0
    for c in range(start, stop, some):
        d = min(c + some, stop)
        a, b, width = c * size, d * size, (d - c) * size
        _scaled(mean[c:d], inv_std[c:d], weight[c:d], bias[c:d], size, many)
        _scaled(mean[c:d], inv_std[c:d], unit[0, : d - c], unit[1, : d - c], size, standard)
        high, scale, shift, out = many[0, :width], many[1, :width], many[2, :width], before[:width]
        root, less = standard[1, :width], standard[2, :width]
        v.fill(sums[0], 0.0)
        v.fill(sums[1], 0.0)
        n = 0
        while n < number:
            step = 2 if kind == v.NONE and n + 2 <= number else 1
            for k in range(n + step, min(n + 2 * step, number)):
                _fetch_piece(x[k], a, b)
                _fetch_piece(dy[k], a, b)
            if step == 2:
                _add_gradient_sums_of_two(
                    dy[n, a:b], dy[n + 1, a:b], x[n, a:b], x[n + 1, a:b], high, root, less, totals,
                    products,
                )  # fmt: skip
            else:
                piece = x[n, a:b]
                dz = columns.gradient_before(dy[n, a:b], piece, high, scale, shift, kind, out)
                _add_gradient_sums(dz, piece, high, root, less, totals, products)
            n += step
            if n % FLUSH == 0 or n == number:
                v.flush(totals[:width], sums[0, :width])
                v.flush(products[:width], sums[1, :width])
        for k in range(c, d):
            j = (k - c) * size
            total, product = _sum(sums[0, j : j + size]), _sum(sums[1, j : j + size])
            dweight[k], dbias[k] = product, total
            share = 0.0 if given else inv_std[k] * np.float64(weight[k]) / (number * size)
            tilt = x.dtype.type(-share * inv_std[k] * product)
            low = x.dtype.type(mean[k] - np.float64(high[j]))
            v.fill(many[3, j : j + size], tilt)
            v.fill(many[4, j : j + size], x.dtype.type(-share * total) - low * tilt)
        slope, offset = many[3, :width], many[4, :width]
        ahead = b if d < stop else a
        for n in range(number):
            _write_dx(
                dy[n, a:b], x[n, a:b], high, scale, shift, slope, offset, kind, out, dx[n, a:b],
                dy[n, ahead:], x[n, ahead:], streaming,
            )  # fmt: skip
    keep(room)


@Task
def backward_task(place: Any) -> None:
    """Do :func:`backward` for the parts of a block."""
    every_part(backward, place)

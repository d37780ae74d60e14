"""LayerNorm and RMSNorm on rows: one mean per row, one weight per column.

A row fits the caches, so memory is read once and written once: the second look at a row finds it
near. Rows are independent; each thread takes a range of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from normcourse.kernels.cpu import vectors as v
from normcourse.kernels.cpu.blocks import every_part, every_part_and_then
from normcourse.kernels.cpu.compiled import EACH, SUMS, Task, compiled
from normcourse.kernels.cpu.lines import (
    at_least,
    fetch,
    lanes,
    line_at,
    place,
    put,
    spread,
    total_of,
    whole,
)
from normcourse.kernels.cpu.memory import array_at, doubles_at, keep, room_of

FLUSH = 32  # rows whose weight gradients are summed in x's dtype before float64 takes them


@compiled()
def _near_mean(row: Any) -> Any:
    """Return the mean of the first sixteenth of a row, in its dtype, as shift of its sums."""
    some = row[: -(-row.size // v.HEAD)]
    return row.dtype.type(v.sum_of(some) / some.size)


@compiled(SUMS)
def _rest_written(
    row: Any, high: Any, inv_std: Any, less: Any, weight: Any, bias: Any, floor: Any, out: Any,
    coming: Any, shift: Any,
) -> tuple[Any, Any]:  # fmt: skip
    total, squares = row.dtype.type(0), row.dtype.type(0)
    for j in range(out.size):
        z = v.line(row[j], high, inv_std, less) * weight[j] + bias[j]
        out[j] = v.at_least(z, floor)
        d = coming[j] - shift
        total += d
        squares += d * d
    return total, squares


@compiled()
def _write_and_sum(
    row: Any, high: Any, inv_std: Any, less: Any, weight: Any, bias: Any, floor: Any, out: Any,
    coming: Any, shift: Any, streaming: bool,
) -> tuple[float, float]:  # fmt: skip
    """Write a row and return the sums of the next one, as :func:`.vectors.near_sums` does."""
    total, squares, end = 0.0, 0.0, whole(row)
    highs, slopes, offsets = spread(high), spread(inv_std), spread(less)
    floors, shifts = spread(floor), spread(shift)
    for a in range(0, end, v.CHUNK):
        some = some_squares = spread(row.dtype.type(0))
        for j in range(a, min(a + v.CHUNK, end), lanes(row)):
            x_hat = v.line(line_at(row, j), highs, slopes, offsets)
            z = x_hat * line_at(weight, j) + line_at(bias, j)
            put(at_least(z, floors), out, j, streaming)
            d = line_at(coming, j) - shifts
            some = some + d
            some_squares = some_squares + d * d
        total += np.float64(total_of(some))
        squares += np.float64(total_of(some_squares))
    rest = _rest_written(
        row[end:], high, inv_std, less, weight[end:], bias[end:], floor, out[end:], coming[end:],
        shift,
    )  # fmt: skip
    return total + np.float64(rest[0]), squares + np.float64(rest[1])


@compiled()
def _moments(row: Any, shift: Any, sums: tuple[float, float]) -> tuple[float, float]:
    """Return mean and variance from a row's sums; where float32 has no such squares, anew."""
    origin, total, squares = np.float64(shift), sums[0], sums[1]
    if not v.fine(squares, row.size):
        origin = np.float64(row[0])
        total, squares = v.shifted_sums(row, origin)
    mean, var = v.from_sums(total, squares, origin, row.size)
    return mean, var


@compiled(SUMS)
def _rest_squared(row: Any, inv_std: Any, weight: Any, floor: Any, out: Any, coming: Any) -> Any:
    squares = row.dtype.type(0)
    for j in range(out.size):
        out[j] = v.at_least(row[j] * inv_std * weight[j], floor)  # without a mean, without a bias
        squares += coming[j] * coming[j]
    return squares


@compiled()
def _write_and_square(
    row: Any, inv_std: Any, weight: Any, floor: Any, out: Any, coming: Any, streaming: bool
) -> float:
    """Write a row of a norm without a mean, and return the sum of squares of the next one."""
    squares, end, slopes, floors = 0.0, whole(row), spread(inv_std), spread(floor)
    for a in range(0, end, v.CHUNK):
        some = spread(row.dtype.type(0))
        for j in range(a, min(a + v.CHUNK, end), lanes(row)):
            z = line_at(row, j) * slopes * line_at(weight, j)  # without a mean, without a bias
            put(at_least(z, floors), out, j, streaming)
            some = some + line_at(coming, j) * line_at(coming, j)
        squares += np.float64(total_of(some))
    rest = _rest_squared(row[end:], inv_std, weight[end:], floor, out[end:], coming[end:])
    return squares + np.float64(rest)


@compiled()
def _mean_square(row: Any, squares: float) -> float:
    """Return the mean square from a row's sum; where float32 has no such squares, anew."""
    if not v.fine(squares, row.size):
        squares = v.shifted_sums(row, 0.0)[1]
    mean: float = squares / row.size
    return mean


@compiled()
def _sums(row: Any, centered: bool) -> tuple[Any, tuple[float, float]]:
    """Return the shift of a row's sums, and the sums."""
    shift = _near_mean(row) if centered else row.dtype.type(0)
    return shift, v.near_sums(row, shift)


@compiled()
def _scales(
    row: Any, shift: Any, sums: tuple[float, float], eps: float, centered: bool
) -> tuple[float, float, Any, Any, Any]:
    """Return mean and inv_std of a row from its sums, and what :func:`.vectors.line` takes."""
    mu, var = _moments(row, shift, sums) if centered else (0.0, _mean_square(row, sums[1]))
    root = v.inverse_root(var, eps)
    high, scale = row.dtype.type(mu), row.dtype.type(root)
    return mu, root, high, scale, row.dtype.type(-(mu - np.float64(high)) * root)


@compiled()
def _write(
    row: Any, high: Any, scale: Any, less: Any, weight: Any, bias: Any, floor: Any, out: Any,
    centered: bool,
) -> None:  # fmt: skip
    if centered:
        v.affine(row, high, scale, less, weight, bias, floor, out)
    else:
        v.scaled(row, scale, weight, floor, out)


@compiled()
def _add(x: Any, residual: Any, near: Any, out: Any, copies: bool) -> None:
    """Write a sum; if it ``copies``, then both near, for the next step, and past the caches."""
    if not copies:
        v.add(x, residual, out)
        return
    end = whole(out)
    for rest in (near[end:], out[end:]):
        v.add(x[end:], residual[end:], rest)
    for j in range(0, end, lanes(out)):
        added = line_at(x, j) + line_at(residual, j)
        place(added, near, j)
        put(added, out, j, True)


@compiled()
def forward(like: Any, at: Any, sizes: Any, eps: float, part: int, start: int, stop: int) -> None:
    """Write y, mean and inv_std of rows ``start`` to ``stop``; row r takes weight[r % P].

    ``at`` holds the addresses of x, residual, total, weight, bias, y, mean and inv_std; 0 is none.
    With a residual, ``total = x + residual`` is written too and normalized in x's place. A norm
    without a mean needs no bias; nobody needs mean and inv_std but a backward pass. While a row is
    written, which waits for memory, the next one is summed in the same loop.

    ``sizes``: number and width of rows, period P, centered, kind, streaming.
    """
    number, width, period, centered = sizes[0], sizes[1], sizes[2], sizes[3] != 0
    kind, streaming = sizes[4], sizes[5] != 0
    shape, adds = (number, width), at[1] != 0
    x, total = array_at(at[0], shape, like), array_at(at[2], shape, like)
    residual = array_at(at[1], shape if adds else (0, width), like)
    weight, bias = array_at(at[3], (period, width), like), array_at(at[4], (period, width), like)
    y = array_at(at[5], shape, like)
    mean, inv_std = doubles_at(at[6], number), doubles_at(at[7], number)
    floor, keeps = like.dtype.type(v.floor_of(kind)), at[6] != 0
    copies, room = adds and streaming, room_of(2 * width)  # of a sum that goes past the caches
    rows = array_at(room.ctypes.data, (2, width), like) if copies else total
    if adds:
        _add(x[start], residual[start], rows[0 if copies else start], total[start], copies)
    shift, sums = _sums(rows[0 if copies else start], centered)
    for i in range(start, stop):
        last = i + 1 == stop  # and no row comes: any will do
        j, k = ((i - start) % 2, (i - start + 1) % 2) if copies else (i, i if last else i + 1)
        row, coming, out, p = rows[j], rows[k], y[i], i % period if period > 1 else 0
        mu, root, high, scale, less = _scales(row, shift, sums, eps, centered)
        if keeps:
            mean[i], inv_std[i] = mu, root
        if adds and not last:
            _add(x[i + 1], residual[i + 1], coming, total[i + 1], copies)
        if centered:
            shift = _near_mean(coming)
            sums = _write_and_sum(
                row, high, scale, less, weight[p], bias[p], floor, out, coming, shift, streaming
            )
        else:
            square = _write_and_square(row, scale, weight[p], floor, out, coming, streaming)
            sums = 0.0, square
        v.activate(out, kind)
    keep(room)


@Task
def forward_task(place: Any) -> None:
    """Do :func:`forward` for the parts of a block."""
    every_part(forward, place)


@compiled(SUMS)
def _chunk_sums(
    dz: Any, x: Any, high: Any, inv_std: Any, less: Any, weight: Any, dweight: Any, dbias: Any
) -> tuple[Any, Any]:
    total, product = x.dtype.type(0), x.dtype.type(0)
    for j in range(x.size):
        x_hat = v.line(x[j], high, inv_std, less)
        dx_hat = dz[j] * weight[j]
        dweight[j] += dz[j] * x_hat
        dbias[j] += dz[j]
        total += dx_hat
        product += dx_hat * x_hat
    return total, product


@compiled(SUMS)
def _chunk_product(dz: Any, x: Any, inv_std: Any, weight: Any, dweight: Any) -> Any:
    product = x.dtype.type(0)
    for j in range(x.size):
        x_hat = x[j] * inv_std
        dweight[j] += dz[j] * x_hat
        product += dz[j] * weight[j] * x_hat
    return product


@compiled()
def _gradient_sums(
    dz: Any, x: Any, high: Any, inv_std: Any, less: Any, weight: Any, dweight: Any, dbias: Any,
    centered: bool,
) -> tuple[float, float]:  # fmt: skip
    """Add to the gradients of the parameters; return the sums of dx_hat and dx_hat * x_hat.

    A chunk is summed in x's dtype, in as many parts as vectors hold; float64 adds the chunks. A
    norm without a mean needs neither the first sum nor the gradient of a bias.
    """
    total, product = 0.0, 0.0
    for a in range(0, x.size, v.CHUNK):
        b = min(a + v.CHUNK, x.size)
        if centered:
            sums = _chunk_sums(
                dz[a:b], x[a:b], high, inv_std, less, weight[a:b], dweight[a:b], dbias[a:b]
            )
            total += np.float64(sums[0])
            product += np.float64(sums[1])
        else:
            part = _chunk_product(dz[a:b], x[a:b], inv_std, weight[a:b], dweight[a:b])
            product += np.float64(part)
    return total, product


@compiled(EACH)
def _dx(
    dz: Any, x: Any, high: Any, inv_std: Any, weight: Any, slope: Any, offset: Any,
    out: Any,
) -> None:  # fmt: skip
    for j in range(out.size):
        out[j] = inv_std * dz[j] * weight[j] + v.line(x[j], high, slope, offset)


@compiled(EACH)
def _dx_of_both(
    dz: Any, x: Any, high: Any, inv_std: Any, weight: Any, slope: Any, offset: Any, more: Any,
    out: Any,
) -> None:  # fmt: skip
    for j in range(out.size):
        out[j] = inv_std * dz[j] * weight[j] + v.line(x[j], high, slope, offset) + more[j]


@compiled()
def _write_dx(
    dz: Any, x: Any, high: Any, inv_std: Any, weight: Any, slope: Any, offset: Any, more: Any,
    adds: bool, out: Any, coming_dy: Any, coming_x: Any, streaming: bool,
) -> None:  # fmt: skip
    """Write a row of dx; past the caches, while the next rows are asked for."""
    end, scales, highs = whole(out), spread(inv_std), spread(high)
    slopes, offsets = spread(slope), spread(offset)
    for j in range(0, end, lanes(out)):
        if streaming:
            fetch(coming_dy, j)
            fetch(coming_x, j)
        line = scales * line_at(dz, j) * line_at(weight, j)
        line = line + v.line(line_at(x, j), highs, slopes, offsets)
        put(line + line_at(more, j) if adds else line, out, j, streaming)
    dz, x, weight, out = dz[end:], x[end:], weight[end:], out[end:]
    if adds:
        _dx_of_both(dz, x, high, inv_std, weight, slope, offset, more[end:], out)
    else:
        _dx(dz, x, high, inv_std, weight, slope, offset, out)


@compiled()
def backward(like: Any, at: Any, sizes: Any, eps: float, part: int, start: int, stop: int) -> None:
    """Write dx of rows ``start`` to ``stop``, and float64 dweight and dbias (P, M) of this part.

    ``at`` holds the addresses of dy, x, mean, inv_std, weight, bias, dtotal, dx, dweight, dbias and
    of the sums of all parts (parts, 2, P, M); dtotal at 0 is none.

    ``sizes`` are those of :func:`forward`.
    """
    number, width, period, centered = sizes[0], sizes[1], sizes[2], sizes[3] != 0
    kind, streaming = sizes[4], sizes[5] != 0
    shape, adds = (number, width), at[6] != 0
    dy, x = array_at(at[0], shape, like), array_at(at[1], shape, like)
    mean, inv_std = doubles_at(at[2], number), doubles_at(at[3], number)
    weight, bias = array_at(at[4], (period, width), like), array_at(at[5], (period, width), like)
    dtotal = array_at(at[6], shape if adds else (0, width), like)
    dx = array_at(at[7], shape, like)
    sums = doubles_at(at[10], (part + 1, 2, period, width))
    dweight, dbias = sums[part, 0], sums[part, 1]
    lowest = like.dtype.type(-np.inf)
    room = room_of((1 + 2 * period) * width)
    before = array_at(room.ctypes.data, (1, width), like)
    some_dweight = array_at(room.ctypes.data + 8 * width, (period, width), like)
    some_dbias = array_at(room.ctypes.data + 8 * (1 + period) * width, (period, width), like)
    for p in range(period):
        v.fill(dweight[p], 0.0)
        v.fill(dbias[p], 0.0)
        v.fill(some_dweight[p], 0)
        v.fill(some_dbias[p], 0)
    dzs = dy if kind == v.NONE else before
    for i in range(start, stop):
        p = i % period if period > 1 else 0
        high, scale = like.dtype.type(mean[i]), like.dtype.type(inv_std[i])
        low = like.dtype.type(mean[i] - np.float64(high))
        less = -low * scale
        if kind != v.NONE:  # what went into the activation is cheaper computed than kept
            _write(x[i], high, scale, less, weight[p], bias[p], lowest, before[0], centered)
            v.chain(dy[i], before[0], kind)
        dz, w = dzs[i if kind == v.NONE else 0], weight[p]
        total, product = _gradient_sums(
            dz, x[i], high, scale, less, w, some_dweight[p], some_dbias[p], centered
        )
        slope = like.dtype.type(-inv_std[i] * inv_std[i] * product / width)
        offset = like.dtype.type(-inv_std[i] * total / width) - low * slope
        coming = min(i + 1, stop - 1)
        more = dtotal[i] if adds else dz
        _write_dx(
            dz, x[i], high, scale, w, slope, offset, more, adds, dx[i], dy[coming], x[coming],
            streaming,
        )  # fmt: skip
        if (i - start) % FLUSH == FLUSH - 1 or i == stop - 1:
            for k in range(period):
                v.flush(some_dweight[k], dweight[k])
                v.flush(some_dbias[k], dbias[k])
    keep(room)


@compiled()
def add_parts(like: Any, at: Any, sizes: Any, parts: int) -> None:
    """Write dweight and dbias, if it has an address, from the sums of all parts."""
    size = sizes[1] * sizes[2]
    sums = doubles_at(at[10], (parts, 2, size))
    for k in range(2 if at[9] != 0 else 1):
        out = array_at(at[8 + k], size, like)
        for j in range(size):
            total = sums[0, k, j]
            for part in range(1, parts):
                total += sums[part, k, j]
            out[j] = total


@Task
def backward_task(place: Any) -> None:
    """Do :func:`backward` for the parts of a block, and :func:`add_parts` after the last."""
    every_part_and_then(backward, add_parts, place)

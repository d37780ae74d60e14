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
from normcourse.kernels.cpu.compiled import SUMS, compiled
from normcourse.kernels.cpu.memory import array_at, doubles_at, fetch, keep, room_of

BLOCK = 1024  # values of an example that stand side by side
FLUSH = 32  # examples that are summed in x's dtype before float64 takes them
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
            total += _sum(x[n, a + c * size : a + (c + 1) * size])
        out[c * size : (c + 1) * size] = out.dtype.type(total / (some * size))


@compiled(SUMS)
def _add_sums(x: Any, shift: Any, total: Any, squares: Any) -> None:
    """Add x - shift and its square to the sums of each place, in x's dtype."""
    for j in range(x.size):
        d = x[j] - shift[j]
        total[j] += d
        squares[j] += d * d


@compiled()
def _moments(
    x: Any, a: int, b: int, size: int, shift: Any, few: Any, sums: Any, mean: Any, var: Any
) -> None:
    """Write mean and variance of the channels that lie at ``a`` to ``b`` of every example."""
    number, count = x.shape[0], x.shape[0] * size
    _near_means(x, a, b, size, shift)
    sums[:] = 0.0
    for n in range(number):
        fetch(x[min(n + 1, number - 1), a:b])
        _add_sums(x[n, a:b], shift, few[0], few[1])
        if n % FLUSH == FLUSH - 1 or n == number - 1:
            v.flush(few[0, : b - a], sums[0, : b - a])
            v.flush(few[1, : b - a], sums[1, : b - a])
    for c in range(mean.size):
        j, k = c * size, (c + 1) * size
        origin, total, squares = np.float64(shift[j]), _sum(sums[0, j:k]), _sum(sums[1, j:k])
        if not v.fine(squares, count):  # where float32 has no such squares, anew
            origin, total, squares = np.float64(x[0, a + j]), 0.0, 0.0
            for n in range(number):
                found = v.shifted_sums(x[n, a + j : a + k], origin)
                total += found[0]
                squares += found[1]
        mean[c], var[c] = v.from_sums(total, squares, origin, count)


@compiled()
def forward(
    like: Any, at: Any, number: int, size: int, channels: int, given: bool, eps: float, kind: int,
    start: int, stop: int,
) -> None:  # fmt: skip
    """Write y, mean and var of channels ``start`` to ``stop``; x and y are (N, C * S).

    ``at`` holds the addresses of x, weight, bias, y, mean and var.
    """
    shape = number, channels * size
    x, y = array_at(at[0], shape, like), array_at(at[3], shape, like)
    weight, bias = array_at(at[1], channels, like), array_at(at[2], channels, like)
    mean, var = doubles_at(at[4], channels), doubles_at(at[5], channels)
    some, floor = max(1, BLOCK // size), x.dtype.type(v.floor_of(kind))
    places = some * size
    room = room_of(some + 7 * places)
    base = room.ctypes.data
    inv_std, sums = doubles_at(base, some), doubles_at(base + 8 * some, (2, places))
    many = array_at(base + 8 * (some + 2 * places), (3, places), like)
    few = array_at(base + 8 * (some + 5 * places), (2, places), like)
    few[:] = 0
    for c in range(start, stop, some):
        d = min(c + some, stop)
        a, b = c * size, d * size
        if not given:
            _moments(x, a, b, size, many[0], few, sums, mean[c:d], var[c:d])
        for k in range(c, d):
            inv_std[k - c] = v.inverse_root(var[k], eps)
        _scaled(mean[c:d], inv_std, weight[c:d], bias[c:d], size, many)
        for n in range(x.shape[0]):
            out = y[n, a:b]
            v.affine_each(x[n, a:b], many[0], many[1], many[2], floor, out)
            v.activate(out, kind)
    keep(room)


@compiled(SUMS)
def _add_gradient_sums(
    dz: Any, x: Any, high: Any, root: Any, less: Any, total: Any, product: Any
) -> None:
    """Add dz and dz * x_hat to the sums of each place, in x's dtype."""
    for j in range(x.size):
        total[j] += dz[j]
        product[j] += dz[j] * v.line(x[j], high[j], root[j], less[j])


@compiled()
def backward(
    like: Any, at: Any, number: int, size: int, channels: int, given: bool, kind: int, start: int,
    stop: int,
) -> None:  # fmt: skip
    """Write dx, dweight and dbias (C,) of channels ``start`` to ``stop``.

    ``at`` holds the addresses of dy, x, mean, inv_std, weight, bias, dx, dweight and dbias.
    """
    shape = number, channels * size
    dy, x = array_at(at[0], shape, like), array_at(at[1], shape, like)
    dx = array_at(at[6], shape, like)
    mean, inv_std = doubles_at(at[2], channels), doubles_at(at[3], channels)
    weight, bias = array_at(at[4], channels, like), array_at(at[5], channels, like)
    dweight, dbias = array_at(at[7], channels, like), array_at(at[8], channels, like)
    some = max(1, BLOCK // size)
    places = some * size
    room = room_of(13 * places + 2 * some)
    base = room.ctypes.data
    sums, many = doubles_at(base, (2, places)), array_at(base + 16 * places, (5, places), like)
    standard = array_at(base + 56 * places, (3, places), like)
    few = array_at(base + 80 * places, (2, places), like)
    before = array_at(base + 96 * places, places, like)
    unit = array_at(base + 104 * places, (2, some), like)  # weight 1 and bias 0
    few[:], unit[0], unit[1] = 0, 1, 0
    for c in range(start, stop, some):
        d = min(c + some, stop)
        a, b, width = c * size, d * size, (d - c) * size
        _scaled(mean[c:d], inv_std[c:d], weight[c:d], bias[c:d], size, many)
        _scaled(mean[c:d], inv_std[c:d], unit[0, : d - c], unit[1, : d - c], size, standard)
        high, scale, shift, out = many[0], many[1], many[2], before[:width]
        sums[:] = 0.0
        for n in range(number):
            piece, coming = x[n, a:b], min(n + 1, number - 1)
            fetch(x[coming, a:b])
            fetch(dy[coming, a:b])
            dz = columns.gradient_before(dy[n, a:b], piece, high, scale, shift, kind, out)
            _add_gradient_sums(dz, piece, high, standard[1], standard[2], few[0], few[1])
            if n % FLUSH == FLUSH - 1 or n == number - 1:
                v.flush(few[0, :width], sums[0, :width])
                v.flush(few[1, :width], sums[1, :width])
        for k in range(c, d):
            j = (k - c) * size
            root = inv_std[k]
            total, product = _sum(sums[0, j : j + size]), _sum(sums[1, j : j + size])
            dweight[k], dbias[k] = product, total
            share = 0.0 if given else root * np.float64(weight[k]) / (number * size)
            slope = x.dtype.type(-share * root * product)
            low = x.dtype.type(mean[k] - np.float64(high[j]))
            many[3, j : j + size] = slope
            many[4, j : j + size] = x.dtype.type(-share * total) - low * slope
        for n in range(number):
            piece = x[n, a:b]
            dz = columns.gradient_before(dy[n, a:b], piece, high, scale, shift, kind, out)
            columns.dx_each(dz, piece, high, scale, many[3], many[4], dx[n, a:b])
    keep(room)

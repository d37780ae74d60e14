"""BatchNorm on (N, C, S) with small S: neighbouring channels side by side, as vectors.

A segment of 49 values is one and a half vectors and a rest, which costs more than the vectors.
So a block of channels is read example by example, as one contiguous piece, and every place of it
has sums and parameters of its own; those of a channel are added at the end. A block stays near
between its two looks. Blocks are independent; each thread takes a range of channels.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from normcourse.kernels.cpu import columns
from normcourse.kernels.cpu import vectors as v
from normcourse.kernels.cpu.compiled import SUMS, compiled

BLOCK = 512  # values of an example that stand side by side
SMALL = 256  # positions below which a channel is a place among others


@compiled()
def _spread(values: Any, size: int, out: Any) -> None:
    """Write each value ``size`` times."""
    for c in range(values.size):
        for s in range(size):
            out[c * size + s] = values[c]


@compiled()
def _scaled(mean: Any, inv_std: Any, weight: Any, kind: Any, size: int, out: Any) -> None:
    """Write to out (3, M) the two halves of the mean and the scale of every place."""
    for c in range(mean.size):
        high = kind(mean[c])
        low, scale = kind(mean[c] - np.float64(high)), kind(inv_std[c] * np.float64(weight[c]))
        for j in range(c * size, (c + 1) * size):
            out[0, j], out[1, j], out[2, j] = high, low, scale


@compiled(SUMS)
def _sum(values: Any) -> float:
    total = 0.0
    for j in range(values.size):
        total += values[j]
    return total


@compiled()
def _moments(
    x: Any, a: int, b: int, size: int, shift: Any, total: Any, squares: Any, mean: Any, var: Any
) -> None:
    """Write mean and variance of the channels that lie at ``a`` to ``b`` of every example."""
    for c in range(mean.size):
        for j in range(c * size, (c + 1) * size):
            shift[j] = x[0, a + c * size]
    total[:] = 0.0
    squares[:] = 0.0
    for n in range(x.shape[0]):
        columns.add_sums(x[n, a:b], shift, total, squares)
    for c in range(mean.size):
        j, origin = c * size, np.float64(shift[c * size])
        sums = _sum(total[j : j + size]), _sum(squares[j : j + size])
        mean[c], var[c] = v.from_sums(sums[0], sums[1], origin, x.shape[0] * size)


@compiled()
def forward(
    x: Any, weight: Any, bias: Any, y: Any, mean: Any, var: Any, given: bool, eps: float,
    kind: int, start: int, stop: int,
) -> None:  # fmt: skip
    """Write y, mean and var of channels ``start`` to ``stop``; x and y are (N, C * S)."""
    size = x.shape[1] // weight.size
    some, floor = max(1, BLOCK // size), x.dtype.type(v.floor_of(kind))
    inv_std = np.empty(some)
    many = np.empty((5, some * size), x.dtype)
    total, squares = np.empty(some * size), np.empty(some * size)
    for c in range(start, stop, some):
        d = min(c + some, stop)
        a, b, width = c * size, d * size, (d - c) * size
        if not given:
            _moments(x, a, b, size, many[0], total[:width], squares[:width], mean[c:d], var[c:d])
        for k in range(c, d):
            inv_std[k - c] = v.inverse_root(var[k], eps)
        _scaled(mean[c:d], inv_std, weight[c:d], x.dtype.type, size, many)
        _spread(bias[c:d], size, many[3])
        for n in range(x.shape[0]):
            out = y[n, a:b]
            v.affine_each(x[n, a:b], many[0], many[1], many[2], many[3], floor, out)
            v.activate(out, kind)


@compiled()
def backward(
    dy: Any, x: Any, mean: Any, inv_std: Any, weight: Any, bias: Any, dx: Any, dweight: Any,
    dbias: Any, given: bool, kind: int, start: int, stop: int,
) -> None:  # fmt: skip
    """Write dx, and dweight and dbias (C,) in float64, of channels ``start`` to ``stop``."""
    size = x.shape[1] // weight.size
    some = max(1, BLOCK // size)
    count = x.shape[0] * size
    many, centers = np.empty((6, some * size), x.dtype), np.empty(some * size)
    before = np.empty(some * size, x.dtype)
    sums, products = np.empty(some * size), np.empty(some * size)
    for c in range(start, stop, some):
        d = min(c + some, stop)
        a, b, width = c * size, d * size, (d - c) * size
        _scaled(mean[c:d], inv_std[c:d], weight[c:d], x.dtype.type, size, many)
        _spread(bias[c:d], size, many[3])
        _spread(mean[c:d], size, centers)
        high, low, scale, shift, out = many[0], many[1], many[2], many[3], before[:width]
        total, product = sums[:width], products[:width]
        total[:] = 0.0
        product[:] = 0.0
        for n in range(x.shape[0]):
            piece = x[n, a:b]
            dz = columns.gradient_before(dy[n, a:b], piece, high, low, scale, shift, kind, out)
            columns.add_gradient_sums(dz, piece, centers, total, product)
        for k in range(c, d):
            j = (k - c) * size
            root = inv_std[k]
            dbias[k] = _sum(total[j : j + size])
            dweight[k] = _sum(product[j : j + size]) * root
            share = 0.0 if given else root * np.float64(weight[k]) / count
            many[4, j : j + size] = x.dtype.type(-share * root * dweight[k])
            many[5, j : j + size] = x.dtype.type(-share * dbias[k])
        for n in range(x.shape[0]):
            piece = x[n, a:b]
            dz = columns.gradient_before(dy[n, a:b], piece, high, low, scale, shift, kind, out)
            columns.dx_each(dz, piece, high, low, scale, many[4], many[5], dx[n, a:b])

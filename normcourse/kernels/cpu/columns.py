"""BatchNorm on (M, C), features last: one mean per column, read row by row as memory lies.

Every row touches every column, so threads share rows and their sums are added at the end.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from normcourse.kernels.cpu import vectors as v
from normcourse.kernels.cpu.compiled import EACH, SUMS, compiled
from normcourse.kernels.cpu.memory import fetch, stream


@compiled(SUMS)
def add_sums(x: Any, shift: Any, total: Any, squares: Any) -> None:
    """Add x - shift and its square to the float64 sums of each column."""
    for j in range(x.size):
        d = np.float64(x[j]) - np.float64(shift[j])
        total[j] += d
        squares[j] += d * d


@compiled()
def moments(x: Any, total: Any, squares: Any, start: int, stop: int) -> None:
    """Add rows ``start`` to ``stop``, less the first row of all, to the sums (C,) of a thread."""
    for i in range(start, stop):
        add_sums(x[i], x[0], total, squares)


@compiled()
def forward(
    x: Any, high: Any, scale: Any, shift: Any, y: Any, kind: int, streaming: bool, start: int,
    stop: int,
) -> None:  # fmt: skip
    """Write ``(x - high) * scale + shift`` of rows ``start`` to ``stop``."""
    floor = x.dtype.type(v.floor_of(kind))
    outs = np.empty((1, x.shape[1]), x.dtype) if streaming else y
    for i in range(start, stop):
        out = outs[0 if streaming else i]
        v.affine_each(x[i], high, scale, shift, floor, out)
        v.activate(out, kind)
        if streaming:
            stream(out, y[i], x[min(i + 1, stop - 1)])


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
    dy: Any, x: Any, mean: Any, high: Any, scale: Any, shift: Any, total: Any, product: Any,
    kind: int, start: int, stop: int,
) -> None:  # fmt: skip
    """Add the sums of dz and dz * (x - mean) over rows ``start`` to ``stop``."""
    before = np.empty(x.shape[1], x.dtype)
    for i in range(start, stop):
        dz = gradient_before(dy[i], x[i], high, scale, shift, kind, before)
        add_gradient_sums(dz, x[i], mean, total, product)


@compiled(EACH)
def dx_each(dz: Any, x: Any, high: Any, scale: Any, slope: Any, offset: Any, out: Any) -> None:
    """Write ``scale * dz + slope * (x - high) + offset``."""
    for j in range(out.size):
        out[j] = scale[j] * dz[j] + v.line(x[j], high[j], slope[j], offset[j])


@compiled()
def backward(
    dy: Any, x: Any, high: Any, scale: Any, shift: Any, slope: Any, offset: Any, dx: Any,
    kind: int, streaming: bool, start: int, stop: int,
) -> None:  # fmt: skip
    """Write ``scale * dz + slope * (x - high) + offset`` of rows ``start`` to ``stop``."""
    near, before = np.empty(x.shape[1], x.dtype), np.empty(x.shape[1], x.dtype)
    for i in range(start, stop):
        coming, out = min(i + 1, stop - 1), near if streaming else dx[i]
        if streaming:
            fetch(dy[coming])
        dz = gradient_before(dy[i], x[i], high, scale, shift, kind, before)
        dx_each(dz, x[i], high, scale, slope, offset, out)
        if streaming:
            stream(out, dx[i], x[coming])

"""LayerNorm and RMSNorm on rows: one mean per row, one weight per column.

A row fits the caches, so memory is read once and written once: the second look at a row finds it
near. Rows are independent; each thread takes a range of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from normcourse.kernels.cpu import vectors as v
from normcourse.kernels.cpu.compiled import EACH, SUMS, compiled
from normcourse.kernels.cpu.memory import fetch, stream

FLUSH = 32  # rows whose weight gradients are summed in x's dtype before float64 takes them


@compiled()
def _near_mean(row: Any) -> Any:
    """Return the mean of the first sixteenth of a row, in its dtype, as shift of its sums."""
    some = row[: -(-row.size // v.HEAD)]
    return row.dtype.type(v.sum_of(some) / some.size)


@compiled(SUMS)
def _chunk_written(
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
    coming: Any, shift: Any,
) -> tuple[float, float]:  # fmt: skip
    """Write a row and return the sums of the next one, as :func:`.vectors.near_sums` does."""
    total, squares = 0.0, 0.0
    for a in range(0, row.size, v.CHUNK):
        b = min(a + v.CHUNK, row.size)
        found = _chunk_written(
            row[a:b], high, inv_std, less, weight[a:b], bias[a:b], floor, out[a:b], coming[a:b],
            shift,
        )  # fmt: skip
        total += np.float64(found[0])
        squares += np.float64(found[1])
    return total, squares


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
def _chunk_squared(row: Any, inv_std: Any, weight: Any, floor: Any, out: Any, coming: Any) -> Any:
    squares = row.dtype.type(0)
    for j in range(out.size):
        out[j] = v.at_least(row[j] * inv_std * weight[j], floor)  # without a mean, without a bias
        squares += coming[j] * coming[j]
    return squares


@compiled()
def _write_and_square(
    row: Any, inv_std: Any, weight: Any, floor: Any, out: Any, coming: Any
) -> float:
    """Write a row of a norm without a mean, and return the sum of squares of the next one."""
    squares = 0.0
    for a in range(0, row.size, v.CHUNK):
        b = min(a + v.CHUNK, row.size)
        part = _chunk_squared(row[a:b], inv_std, weight[a:b], floor, out[a:b], coming[a:b])
        squares += np.float64(part)
    return squares


@compiled()
def _mean_square(row: Any, squares: float) -> float:
    """Return the mean square from a row's sum; where float32 has no such squares, anew."""
    if not v.fine(squares, row.size):
        squares = v.shifted_sums(row, 0.0)[1]
    mean: float = squares / row.size
    return mean


@compiled()
def forward(
    x: Any, residual: Any, total: Any, weight: Any, bias: Any, y: Any, mean: Any, inv_std: Any,
    eps: float, centered: bool, kind: int, streaming: bool, start: int, stop: int,
) -> None:  # fmt: skip
    """Write y, mean and inv_std of rows ``start`` to ``stop``; row r takes weight[r % P].

    With a residual, ``total = x + residual`` is written too and normalized in x's place. While a
    row is written, which waits for memory, the next one is summed in the same loop.
    """
    width, period, adds = x.shape[1], weight.shape[0], residual.shape[0] > 0
    floor = x.dtype.type(v.floor_of(kind))
    outs = np.empty((1, width), x.dtype) if streaming else y
    if adds:
        v.add(x[start], residual[start], total[start])
    first = total[start]  # without a residual total is x
    shift, squares, sums = first[0], 0.0, (0.0, 0.0)
    if centered:
        shift = _near_mean(first)
        sums = v.near_sums(first, shift)
    else:
        squares = v.near_sums(first, x.dtype.type(0))[1]
    for i in range(start, stop):
        row, out, p = total[i], outs[0 if streaming else i], i % period if period > 1 else 0
        mu, var = _moments(row, shift, sums) if centered else (0.0, _mean_square(row, squares))
        root = v.inverse_root(var, eps)
        mean[i], inv_std[i] = mu, root
        high, scale = x.dtype.type(mu), x.dtype.type(root)
        less = x.dtype.type(-(mu - np.float64(high)) * root)
        if i + 1 < stop:
            if adds:
                v.add(x[i + 1], residual[i + 1], total[i + 1])
            coming = total[i + 1]
            if centered:
                shift = _near_mean(coming)
                sums = _write_and_sum(
                    row, high, scale, less, weight[p], bias[p], floor, out, coming, shift
                )
            else:
                squares = _write_and_square(row, scale, weight[p], floor, out, coming)
        else:
            v.affine(row, high, scale, less, weight[p], bias[p], floor, out)
        v.activate(out, kind)
        if streaming:
            stream(out, y[i], x[min(i + 1, stop - 1)])


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
def backward(
    dy: Any, x: Any, mean: Any, inv_std: Any, weight: Any, bias: Any, dtotal: Any, dx: Any,
    dweight: Any, dbias: Any, centered: bool, kind: int, streaming: bool, start: int, stop: int,
) -> None:  # fmt: skip
    """Write dx of rows ``start`` to ``stop`` and add to the float64 dweight and dbias (P, M)."""
    width, period, adds = x.shape[1], weight.shape[0], dtotal.shape[0] > 0
    outs = np.empty((1, width), x.dtype) if streaming else dx
    before, lowest = np.empty((1, width), x.dtype), x.dtype.type(-np.inf)
    dzs = dy if kind == v.NONE else before
    some_dweight, some_dbias = np.zeros(weight.shape, x.dtype), np.zeros(weight.shape, x.dtype)
    for i in range(start, stop):
        p = i % period if period > 1 else 0
        high, scale = x.dtype.type(mean[i]), x.dtype.type(inv_std[i])
        low = x.dtype.type(mean[i] - np.float64(high))
        less = -low * scale
        if kind != v.NONE:  # what went into the activation is cheaper computed than kept
            v.affine(x[i], high, scale, less, weight[p], bias[p], lowest, before[0])
            v.chain(dy[i], before[0], kind)
        dz, out, w = dzs[i if kind == v.NONE else 0], outs[0 if streaming else i], weight[p]
        total, product = _gradient_sums(
            dz, x[i], high, scale, less, w, some_dweight[p], some_dbias[p], centered
        )
        slope = x.dtype.type(-inv_std[i] * inv_std[i] * product / width)
        offset = x.dtype.type(-inv_std[i] * total / width) - low * slope
        coming = min(i + 1, stop - 1)
        if streaming:
            fetch(dy[coming])
        if adds:
            _dx_of_both(dz, x[i], high, scale, w, slope, offset, dtotal[i], out)
        else:
            _dx(dz, x[i], high, scale, w, slope, offset, out)
        if streaming:
            stream(out, dx[i], x[coming])
        if (i - start) % FLUSH == FLUSH - 1 or i == stop - 1:
            for k in range(period):
                v.flush(some_dweight[k], dweight[k])
                v.flush(some_dbias[k], dbias[k])

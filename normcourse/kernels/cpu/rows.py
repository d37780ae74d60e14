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

CHUNK = 4096  # values of a row whose products are summed in x's dtype
FLUSH = 32  # rows whose weight gradients are summed in x's dtype before float64 takes them


@compiled()
def forward(
    x: Any, residual: Any, total: Any, weight: Any, bias: Any, y: Any, mean: Any, inv_std: Any,
    eps: float, centered: bool, kind: int, streaming: bool, start: int, stop: int,
) -> None:  # fmt: skip
    """Write y, mean and inv_std of rows ``start`` to ``stop``; row r takes weight[r % P].

    With a residual, ``total = x + residual`` is written too and normalized in x's place.
    """
    width, period, adds = x.shape[1], weight.shape[0], residual.shape[0] > 0
    near = np.empty(width, x.dtype)
    for i in range(start, stop):
        if adds:
            v.add(x[i], residual[i], total[i])
        row = total[i]  # without a residual total is x
        if centered:
            shift = np.float64(row[0])
            sums = v.shifted_sums(row, shift)
            mu, var = v.from_sums(sums[0], sums[1], shift, width)
        else:
            mu, var = 0.0, v.square_sum(row) / width
        scale = v.inverse_root(var, eps)
        mean[i], inv_std[i] = mu, scale
        high = x.dtype.type(mu)
        low = x.dtype.type(mu - np.float64(high))
        p = i % period if period > 1 else 0
        if streaming:
            v.affine(row, high, low, x.dtype.type(scale), weight[p], bias[p], near)
            if kind != v.NONE:
                v.activate(near, kind)
            stream(near, y[i], x[min(i + 1, stop - 1)])
        else:
            v.affine(row, high, low, x.dtype.type(scale), weight[p], bias[p], y[i])
            if kind != v.NONE:
                v.activate(y[i], kind)


@compiled(SUMS)
def _chunk_sums(
    dz: Any, x: Any, high: Any, low: Any, inv_std: Any, weight: Any, dweight: Any, dbias: Any
) -> tuple[Any, Any]:
    total, product = x.dtype.type(0), x.dtype.type(0)
    for j in range(x.size):
        x_hat = v.distance(x[j], high, low) * inv_std
        dx_hat = dz[j] * weight[j]
        dweight[j] += dz[j] * x_hat
        dbias[j] += dz[j]
        total += dx_hat
        product += dx_hat * x_hat
    return total, product


@compiled()
def _sums(
    dz: Any, x: Any, high: Any, low: Any, inv_std: Any, weight: Any, dweight: Any, dbias: Any
) -> tuple[float, float]:
    """Add to the gradients of the parameters; return the sums of dx_hat and dx_hat * x_hat.

    A chunk is summed in x's dtype, in as many parts as vectors hold; float64 adds the chunks.
    """
    if x.size <= CHUNK:
        sums = _chunk_sums(dz, x, high, low, inv_std, weight, dweight, dbias)
        return np.float64(sums[0]), np.float64(sums[1])
    total, product = 0.0, 0.0
    for a in range(0, x.size, CHUNK):
        b = min(a + CHUNK, x.size)
        sums = _chunk_sums(
            dz[a:b], x[a:b], high, low, inv_std, weight[a:b], dweight[a:b], dbias[a:b]
        )
        total += np.float64(sums[0])
        product += np.float64(sums[1])
    return total, product


@compiled(EACH)
def _dx(
    dz: Any, x: Any, high: Any, low: Any, inv_std: Any, weight: Any, slope: Any, offset: Any,
    out: Any,
) -> None:  # fmt: skip
    for j in range(out.size):
        out[j] = inv_std * dz[j] * weight[j] + (slope * v.distance(x[j], high, low) + offset)


@compiled()
def backward(
    dy: Any, x: Any, mean: Any, inv_std: Any, weight: Any, bias: Any, dtotal: Any, dx: Any,
    dweight: Any, dbias: Any, centered: bool, kind: int, streaming: bool, start: int, stop: int,
) -> None:  # fmt: skip
    """Write dx of rows ``start`` to ``stop`` and add to the float64 dweight and dbias (P, M)."""
    width, period, adds = x.shape[1], weight.shape[0], dtotal.shape[0] > 0
    near, before = np.empty(width, x.dtype), np.empty(width, x.dtype)
    some_dweight, some_dbias = np.zeros(weight.shape, x.dtype), np.zeros(weight.shape, x.dtype)
    for i in range(start, stop):
        p = i % period if period > 1 else 0
        high, scale = x.dtype.type(mean[i]), x.dtype.type(inv_std[i])
        low = x.dtype.type(mean[i] - np.float64(high))
        dz = dy[i]
        if kind != v.NONE:  # what went into the activation is cheaper computed than kept
            v.affine(x[i], high, low, scale, weight[p], bias[p], before)
            v.chain(dy[i], before, kind)
            dz = before
        w, dw, db = weight[p], some_dweight[p], some_dbias[p]
        total, product = _sums(dz, x[i], high, low, scale, w, dw, db)
        slope = x.dtype.type(-inv_std[i] * inv_std[i] * product / width)
        offset = x.dtype.type(-inv_std[i] * total / width if centered else 0.0)
        if streaming:
            coming = min(i + 1, stop - 1)
            fetch(dy[coming])
            _dx(dz, x[i], high, low, scale, w, slope, offset, near)
            if adds:
                v.add(near, dtotal[i], near)
            stream(near, dx[i], x[coming])
        else:
            _dx(dz, x[i], high, low, scale, w, slope, offset, dx[i])
            if adds:
                v.add(dx[i], dtotal[i], dx[i])
        if (i - start) % FLUSH == FLUSH - 1 or i == stop - 1:
            _flush(some_dweight, dweight)
            _flush(some_dbias, dbias)


@compiled()
def _flush(some: Any, all_of_them: Any) -> None:
    """Move sums of a few rows into the float64 sums of all."""
    for p in range(some.shape[0]):
        for j in range(some.shape[1]):
            all_of_them[p, j] += some[p, j]
            some[p, j] = 0

"""LayerNorm and RMSNorm on rows: one mean per row, one weight per column.

A row that fits the registers is read once: the second look finds it there. A longer one is walked
in blocks, twice forward and twice backward; the second walk finds it in the L2 cache or reads it
again. Row r takes weight[r % period].
"""

from __future__ import annotations

import triton
import triton.language as tl

from normcourse.kernels.gpu.values import activate, chain, from_sums, halves, inverse_root


@triton.jit
def _take(x_ptr, residual_ptr, at, mask, ADDS: tl.constexpr, ACC: tl.constexpr):
    """Return x, or x + residual rounded to x's dtype, as ACC."""
    x = tl.load(x_ptr + at, mask=mask, other=0.0)
    if ADDS:
        residual = tl.load(residual_ptr + at, mask=mask, other=0.0)
        x = (x.to(ACC) + residual.to(ACC)).to(x.dtype)
    return x.to(ACC)


@triton.jit
def forward(
    x_ptr, residual_ptr, total_ptr, weight_ptr, bias_ptr, y_ptr,
    mean_ptr, inv_std_ptr, num_rows, width, period, eps: tl.constexpr,
    CENTERED: tl.constexpr, ADDS: tl.constexpr, KIND: tl.constexpr, ROWS: tl.constexpr,
    BLOCK: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """Normalize ROWS rows of at most BLOCK values."""
    row = (tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS))[:, None]
    column = tl.arange(0, BLOCK)[None, :]
    there, mask = row < num_rows, (row < num_rows) & (column < width)
    at = row * width + column
    x = _take(x_ptr, residual_ptr, at, mask, ADDS, ACC)
    if ADDS:
        tl.store(total_ptr + at, x, mask=mask)
    if CENTERED:
        first = _take(x_ptr, residual_ptr, row * width, there, ADDS, ACC)
        shift = first + tl.sum(tl.where(mask, x - first, 0.0), 1, keep_dims=True) / width
        offset = tl.where(mask, x - shift, 0.0)
        total = tl.sum(offset, 1, keep_dims=True)
        squares = tl.sum(offset * offset, 1, keep_dims=True)
        mean, var = from_sums(total, squares, shift, width)
        high, low = halves(mean, ACC)
        inv_std = inverse_root(var, eps, ACC)
        x_hat = (x - high - low) * inv_std
        tl.store(mean_ptr + row, mean, mask=there)
    else:
        inv_std = inverse_root(tl.sum(x * x, 1, keep_dims=True) / width, eps, ACC)
        x_hat = x * inv_std
    tl.store(inv_std_ptr + row, inv_std, mask=there)
    own = (row % period) * width + column
    weight = tl.load(weight_ptr + own, mask=mask, other=0.0)
    bias = tl.load(bias_ptr + own, mask=mask, other=0.0)
    tl.store(y_ptr + at, activate(x_hat * weight + bias, KIND), mask=mask)


@triton.jit
def forward_long(
    x_ptr, residual_ptr, total_ptr, weight_ptr, bias_ptr, y_ptr,
    mean_ptr, inv_std_ptr, width, period, eps: tl.constexpr,
    CENTERED: tl.constexpr, ADDS: tl.constexpr, KIND: tl.constexpr, BLOCK: tl.constexpr,
    ACC: tl.constexpr,
):  # fmt: skip
    """Normalize one row of any length, in blocks; the shift is the mean of the first block."""
    row = tl.program_id(0).to(tl.int64)
    start, own = row * width, (row % period) * width
    block = tl.arange(0, BLOCK)
    total, squares = tl.zeros([BLOCK], ACC), tl.zeros([BLOCK], ACC)
    shift = tl.sum(total, 0)
    if CENTERED:
        first = _take(x_ptr, residual_ptr, start, row >= 0, ADDS, ACC)
        mask = block < width
        x = _take(x_ptr, residual_ptr, start + block, mask, ADDS, ACC)
        shift = first + tl.sum(tl.where(mask, x - first, 0.0), 0) / tl.minimum(width, BLOCK)
    for begin in range(0, width, BLOCK):
        column = begin + block
        mask = column < width
        x = _take(x_ptr, residual_ptr, start + column, mask, ADDS, ACC)
        if ADDS:
            tl.store(total_ptr + start + column, x, mask=mask)
        offset = tl.where(mask, x - shift, 0.0)
        total += offset
        squares += offset * offset
    if CENTERED:
        mean, var = from_sums(tl.sum(total, 0), tl.sum(squares, 0), shift, width)
        tl.store(mean_ptr + row, mean)
    else:
        mean = shift.to(tl.float64)
        var = tl.sum(squares, 0).to(tl.float64) / width
    high, low = halves(mean, ACC)
    inv_std = inverse_root(var, eps, ACC)
    tl.store(inv_std_ptr + row, inv_std)
    if ADDS:
        tl.debug_barrier()  # what other threads wrote to total is read below
    for begin in range(0, width, BLOCK):
        column = begin + block
        mask = column < width
        x = tl.load(total_ptr + start + column, mask=mask, other=0.0).to(ACC)
        weight = tl.load(weight_ptr + own + column, mask=mask, other=0.0)
        bias = tl.load(bias_ptr + own + column, mask=mask, other=0.0)
        z = (x - high - low) * inv_std * weight + bias
        tl.store(y_ptr + start + column, activate(z, KIND), mask=mask)


@triton.jit
def backward(
    dy_ptr, x_ptr, mean_ptr, inv_std_ptr, weight_ptr, bias_ptr,
    dtotal_ptr, dx_ptr, sums_ptr, examples, width, period,
    CENTERED: tl.constexpr, ADDS: tl.constexpr, KIND: tl.constexpr, ROWS: tl.constexpr,
    BLOCK: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """Write dx of every so many rows and, to sums (2, parts, period, width), dweight and dbias."""
    part, parts, own = tl.program_id(0), tl.num_programs(0), tl.program_id(1)
    column = tl.arange(0, BLOCK)[None, :]
    inside = column < width
    weight = tl.load(weight_ptr + own * width + column, mask=inside, other=0.0)
    bias = tl.load(bias_ptr + own * width + column, mask=inside, other=0.0)
    dweight, dbias = tl.zeros([ROWS, BLOCK], ACC), tl.zeros([ROWS, BLOCK], ACC)
    for begin in range(part * ROWS, examples, parts * ROWS):
        example = (begin + tl.arange(0, ROWS))[:, None]
        there, mask = example < examples, (example < examples) & inside
        row = example.to(tl.int64) * period + own
        at = row * width + column
        x = tl.load(x_ptr + at, mask=mask, other=0.0).to(ACC)
        dz = tl.load(dy_ptr + at, mask=mask, other=0.0).to(ACC)
        scale = tl.load(inv_std_ptr + row, mask=there, other=0.0).to(ACC)
        if CENTERED:
            mean = tl.load(mean_ptr + row, mask=there, other=0.0)
            high, low = halves(mean, ACC)
            x = x - high - low
        x_hat = tl.where(mask, x * scale, 0.0)
        dz = chain(dz, x_hat * weight + bias, KIND)
        dweight += dz * x_hat
        dbias += dz
        dx_hat = dz * weight
        dx = dx_hat - x_hat * (tl.sum(dx_hat * x_hat, 1, keep_dims=True) / width)
        if CENTERED:
            dx -= tl.sum(dx_hat, 1, keep_dims=True) / width
        dx *= scale
        if ADDS:
            dx += tl.load(dtotal_ptr + at, mask=mask, other=0.0).to(ACC)
        tl.store(dx_ptr + at, dx, mask=mask)
    at = (part.to(tl.int64) * period + own) * width + column
    step = parts.to(tl.int64) * period * width
    tl.store(sums_ptr + at, tl.sum(dweight, 0, keep_dims=True), mask=inside)
    tl.store(sums_ptr + step + at, tl.sum(dbias, 0, keep_dims=True), mask=inside)


@triton.jit
def backward_long(
    dy_ptr, x_ptr, mean_ptr, inv_std_ptr, weight_ptr, bias_ptr,
    dtotal_ptr, dx_ptr, width, period, CENTERED: tl.constexpr,
    ADDS: tl.constexpr, KIND: tl.constexpr, BLOCK: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """Write dx of one row of any length; the parameters' gradients are :mod:`.columns`' work."""
    row = tl.program_id(0).to(tl.int64)
    start, own = row * width, (row % period) * width
    block = tl.arange(0, BLOCK)
    high, low = halves(tl.load(mean_ptr + row), ACC)
    scale = tl.load(inv_std_ptr + row).to(ACC)
    total, product = tl.zeros([BLOCK], ACC), tl.zeros([BLOCK], ACC)
    for begin in range(0, width, BLOCK):
        column = begin + block
        mask = column < width
        x = tl.load(x_ptr + start + column, mask=mask, other=0.0).to(ACC)
        dz = tl.load(dy_ptr + start + column, mask=mask, other=0.0).to(ACC)
        weight = tl.load(weight_ptr + own + column, mask=mask, other=0.0)
        bias = tl.load(bias_ptr + own + column, mask=mask, other=0.0)
        x_hat = tl.where(mask, (x - high - low) * scale, 0.0)
        dx_hat = chain(dz, x_hat * weight + bias, KIND) * weight
        total += dx_hat
        product += dx_hat * x_hat
    share = tl.sum(product, 0) / width
    mean = tl.sum(total, 0) / width
    for begin in range(0, width, BLOCK):
        column = begin + block
        mask = column < width
        x = tl.load(x_ptr + start + column, mask=mask, other=0.0).to(ACC)
        dz = tl.load(dy_ptr + start + column, mask=mask, other=0.0).to(ACC)
        weight = tl.load(weight_ptr + own + column, mask=mask, other=0.0)
        bias = tl.load(bias_ptr + own + column, mask=mask, other=0.0)
        x_hat = (x - high - low) * scale
        dx = chain(dz, x_hat * weight + bias, KIND) * weight - x_hat * share
        if CENTERED:
            dx -= mean
        dx *= scale
        if ADDS:
            dx += tl.load(dtotal_ptr + start + column, mask=mask, other=0.0).to(ACC)
        tl.store(dx_ptr + start + column, dx, mask=mask)

"""BatchNorm on (R, C), as of channels-last images: one mean per column, rows in parts.

A program walks its part of the rows for a block of columns, so that neighbouring threads read
neighbouring values. :func:`gradient_sums` also serves the parameters of long rows, whose mean is
one per row.
"""

from __future__ import annotations

import triton
import triton.language as tl

from normcourse.kernels.gpu.values import activate, chain, from_sums, halves, inverse_root


@triton.jit
def moments(
    x_ptr, found_ptr, num_rows, width, some, ROWS: tl.constexpr,
    BLOCK: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """Write to found (3, parts, C): the number of values, mean and squares of a part's columns."""
    part = tl.program_id(1)
    begin = part * some
    end = tl.minimum(begin + some, num_rows)
    column = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)[None, :]
    row, inside = tl.arange(0, ROWS)[:, None], column < width
    first = tl.load(x_ptr + begin.to(tl.int64) * width + column, mask=inside, other=0.0).to(ACC)
    mask = (begin + row < end) & inside
    at = (begin + row).to(tl.int64) * width + column
    x = tl.load(x_ptr + at, mask=mask, other=0.0).to(ACC)
    seen = tl.minimum(end - begin, ROWS)
    shift = first + tl.sum(tl.where(mask, x - first, 0.0), 0, keep_dims=True) / seen
    total, squares = tl.zeros([ROWS, BLOCK], ACC), tl.zeros([ROWS, BLOCK], ACC)
    for r0 in range(begin, end, ROWS):
        mask = (r0 + row < end) & inside
        at = (r0 + row).to(tl.int64) * width + column
        x = tl.load(x_ptr + at, mask=mask, other=0.0).to(ACC)
        offset = tl.where(mask, x - shift, 0.0)
        total += offset
        squares += offset * offset
    number = end - begin
    mean, var = from_sums(
        tl.sum(total, 0, keep_dims=True), tl.sum(squares, 0, keep_dims=True), shift, number
    )
    own = part.to(tl.int64) * width + column
    step = tl.num_programs(1).to(tl.int64) * width
    tl.store(found_ptr + own, tl.zeros([1, BLOCK], tl.float64) + number, mask=inside)
    tl.store(found_ptr + step + own, mean, mask=inside)
    tl.store(found_ptr + 2 * step + own, var * number, mask=inside)


@triton.jit
def merge(
    found_ptr, mean_ptr, var_ptr, items, parts, item_step,
    part_step, ITEMS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write mean and variance of each item from the moments (3, ...) of its parts, in float64."""
    item = (tl.program_id(0) * ITEMS + tl.arange(0, ITEMS))[None, :]
    part, inside = tl.arange(0, BLOCK)[:, None], item < items
    step = items * parts
    at = item.to(tl.int64) * item_step
    number, total = tl.zeros([BLOCK, ITEMS], tl.float64), tl.zeros([BLOCK, ITEMS], tl.float64)
    for p0 in range(0, parts, BLOCK):
        own, mask = at + (p0 + part).to(tl.int64) * part_step, (p0 + part < parts) & inside
        some = tl.load(found_ptr + own, mask=mask, other=0.0)
        number += some
        total += some * tl.load(found_ptr + step + own, mask=mask, other=0.0)
    count = tl.maximum(tl.sum(number, 0, keep_dims=True), 1.0)
    mean = tl.sum(total, 0, keep_dims=True) / count
    squares = tl.zeros([BLOCK, ITEMS], tl.float64)
    for p0 in range(0, parts, BLOCK):
        own, mask = at + (p0 + part).to(tl.int64) * part_step, (p0 + part < parts) & inside
        some = tl.load(found_ptr + own, mask=mask, other=0.0)
        away = tl.load(found_ptr + step + own, mask=mask, other=0.0) - mean
        squares += tl.load(found_ptr + 2 * step + own, mask=mask, other=0.0) + some * away * away
    tl.store(mean_ptr + item, mean, mask=inside)
    tl.store(var_ptr + item, tl.sum(squares, 0, keep_dims=True) / count, mask=inside)


@triton.jit
def apply(
    x_ptr, mean_ptr, var_ptr, weight_ptr, bias_ptr, y_ptr,
    num_rows, width, some, eps: tl.constexpr, KIND: tl.constexpr,
    ROWS: tl.constexpr, BLOCK: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """Write y of a part of the rows of a block of columns."""
    begin = tl.program_id(1) * some
    end = tl.minimum(begin + some, num_rows)
    column = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)[None, :]
    row, inside = tl.arange(0, ROWS)[:, None], column < width
    mean = tl.load(mean_ptr + column, mask=inside, other=0.0).to(tl.float64)
    var = tl.load(var_ptr + column, mask=inside, other=1.0)
    high, low = halves(mean, ACC)
    weight = tl.load(weight_ptr + column, mask=inside, other=0.0)
    scale = inverse_root(var, eps, ACC) * weight
    bias = tl.load(bias_ptr + column, mask=inside, other=0.0)
    for r0 in range(begin, end, ROWS):
        mask = (r0 + row < end) & inside
        at = (r0 + row).to(tl.int64) * width + column
        x = tl.load(x_ptr + at, mask=mask, other=0.0).to(ACC)
        tl.store(y_ptr + at, activate((x - high - low) * scale + bias, KIND), mask=mask)


@triton.jit
def gradient_sums(
    dy_ptr, x_ptr, mean_ptr, inv_std_ptr, weight_ptr, bias_ptr,
    sums_ptr, num_rows, width, period, some, BY_ROW: tl.constexpr,
    KIND: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """Write to sums (2, parts, period, C) the sums of dz * x_hat and of dz over a part of the rows.

    ``num_rows`` counts the rows that share a weight: row r * period + p takes weight[p].
    """
    part, own = tl.program_id(1), tl.program_id(2)
    begin = part * some
    end = tl.minimum(begin + some, num_rows)
    column = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)[None, :]
    row, inside = tl.arange(0, ROWS)[:, None], column < width
    if not BY_ROW:
        mean = tl.load(mean_ptr + column, mask=inside, other=0.0).to(tl.float64)
        root = tl.load(inv_std_ptr + column, mask=inside, other=0.0).to(ACC)
    weight = tl.load(weight_ptr + own * width + column, mask=inside, other=0.0)
    bias = tl.load(bias_ptr + own * width + column, mask=inside, other=0.0)
    total, product = tl.zeros([ROWS, BLOCK], ACC), tl.zeros([ROWS, BLOCK], ACC)
    for r0 in range(begin, end, ROWS):
        mask = (r0 + row < end) & inside
        this = (r0 + row).to(tl.int64) * period + own
        if BY_ROW:
            mean = tl.load(mean_ptr + this, mask=r0 + row < end, other=0.0)
            root = tl.load(inv_std_ptr + this, mask=r0 + row < end, other=0.0).to(ACC)
        high, low = halves(mean, ACC)
        at = this * width + column
        x = tl.load(x_ptr + at, mask=mask, other=0.0).to(ACC)
        dz = tl.load(dy_ptr + at, mask=mask, other=0.0).to(ACC)
        x_hat = tl.where(mask, (x - high - low) * root, 0.0)
        dz = chain(dz, x_hat * weight + bias, KIND)
        total += dz
        product += dz * x_hat
    at = (part.to(tl.int64) * period + own) * width + column
    step = tl.num_programs(1).to(tl.int64) * period * width
    tl.store(sums_ptr + at, tl.sum(product, 0, keep_dims=True), mask=inside)
    tl.store(sums_ptr + step + at, tl.sum(total, 0, keep_dims=True), mask=inside)


@triton.jit
def apply_gradient(
    dy_ptr, x_ptr, mean_ptr, inv_std_ptr, weight_ptr, bias_ptr,
    slope_ptr, offset_ptr, dx_ptr, num_rows, width, some,
    KIND: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """Write dx of a part of the rows: inv_std * weight * dz + slope * (x - mean) + offset."""
    begin = tl.program_id(1) * some
    end = tl.minimum(begin + some, num_rows)
    column = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)[None, :]
    row, inside = tl.arange(0, ROWS)[:, None], column < width
    high, low = halves(tl.load(mean_ptr + column, mask=inside, other=0.0).to(tl.float64), ACC)
    weight = tl.load(weight_ptr + column, mask=inside, other=0.0)
    bias = tl.load(bias_ptr + column, mask=inside, other=0.0)
    scale = tl.load(inv_std_ptr + column, mask=inside, other=0.0).to(ACC) * weight
    slope = tl.load(slope_ptr + column, mask=inside, other=0.0).to(ACC)
    offset = tl.load(offset_ptr + column, mask=inside, other=0.0).to(ACC)
    for r0 in range(begin, end, ROWS):
        mask = (r0 + row < end) & inside
        at = (r0 + row).to(tl.int64) * width + column
        x = tl.load(x_ptr + at, mask=mask, other=0.0).to(ACC) - high - low
        dz = tl.load(dy_ptr + at, mask=mask, other=0.0).to(ACC)
        dz = chain(dz, x * scale + bias, KIND)
        tl.store(dx_ptr + at, dz * scale + (x * slope + offset), mask=mask)

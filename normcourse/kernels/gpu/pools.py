"""BatchNorm and GroupNorm on (N, C, S): one mean per pool of segments, one weight per segment.

A segment is the S positions of one channel of one example. A *pool* that fits the registers is
read once. A larger one is cut: every *line* of it (for GroupNorm a segment, for BatchNorm all the
segments of a channel) in parts, each the work of one program; no value can be written before all
parts were read, so memory is read twice. The k-th segment of line l is l + k * C.
"""

from __future__ import annotations

import triton
import triton.language as tl

from normcourse.kernels.gpu.values import activate, chain, from_sums, halves, inverse_root


@triton.jit
def _tile(
    pool, count, size, channels, ACROSS: tl.constexpr, SEGMENTS: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Return where the values of a pool lie, which exist, and the channel of each segment."""
    k, position = tl.arange(0, SEGMENTS)[:, None], tl.arange(0, BLOCK)[None, :]
    if ACROSS:  # BatchNorm: the same channel of every example
        segment = pool.to(tl.int64) + k.to(tl.int64) * channels
    else:
        segment = pool.to(tl.int64) * count + k
    return segment * size + position, (k < count) & (position < size), segment % channels


@triton.jit
def forward(
    x_ptr, weight_ptr, bias_ptr, y_ptr, mean_ptr, var_ptr,
    count, size, channels, eps: tl.constexpr, ACROSS: tl.constexpr,
    KIND: tl.constexpr, SEGMENTS: tl.constexpr, BLOCK: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """Normalize a pool of at most SEGMENTS segments of at most BLOCK values."""
    pool = tl.program_id(0)
    at, mask, channel = _tile(pool, count, size, channels, ACROSS, SEGMENTS, BLOCK)
    start = pool.to(tl.int64) * size * (1 if ACROSS else count)
    x = tl.load(x_ptr + at, mask=mask, other=0.0).to(ACC)
    first = tl.load(x_ptr + start).to(ACC)
    pooled = count * size
    shift = first + tl.sum(tl.sum(tl.where(mask, x - first, 0.0), 1), 0) / pooled
    offset = tl.where(mask, x - shift, 0.0)
    total, squares = tl.sum(tl.sum(offset, 1), 0), tl.sum(tl.sum(offset * offset, 1), 0)
    mean, var = from_sums(total, squares, shift, pooled)
    tl.store(mean_ptr + pool, mean)
    tl.store(var_ptr + pool, var)
    high, low = halves(mean, ACC)
    weight = tl.load(weight_ptr + channel)
    scale = inverse_root(var, eps, ACC) * weight
    z = (x - high - low) * scale + tl.load(bias_ptr + channel)
    tl.store(y_ptr + at, activate(z, KIND), mask=mask)


@triton.jit
def backward(
    dy_ptr, x_ptr, mean_ptr, inv_std_ptr, weight_ptr, bias_ptr,
    dx_ptr, sums_ptr, count, size, channels,
    ACROSS: tl.constexpr, KIND: tl.constexpr, SEGMENTS: tl.constexpr, BLOCK: tl.constexpr,
    ACC: tl.constexpr,
):  # fmt: skip
    """Write dx of a pool and, to sums (2, pools, count), sums of dz and dz * x_hat."""
    pool = tl.program_id(0)
    at, mask, channel = _tile(pool, count, size, channels, ACROSS, SEGMENTS, BLOCK)
    x = tl.load(x_ptr + at, mask=mask, other=0.0).to(ACC)
    dz = tl.load(dy_ptr + at, mask=mask, other=0.0).to(ACC)
    high, low = halves(tl.load(mean_ptr + pool).to(tl.float64), ACC)
    root = tl.load(inv_std_ptr + pool).to(ACC)
    weight = tl.load(weight_ptr + channel)
    x_hat = tl.where(mask, (x - high - low) * root, 0.0)
    dz = chain(dz, x_hat * weight + tl.load(bias_ptr + channel), KIND)
    dbias = tl.sum(dz, 1, keep_dims=True)
    dweight = tl.sum(dz * x_hat, 1, keep_dims=True)
    pooled = count * size
    total = tl.sum(tl.sum(dbias * weight, 1), 0) / pooled
    product = tl.sum(tl.sum(dweight * weight, 1), 0) / pooled
    tl.store(dx_ptr + at, root * (dz * weight - x_hat * product - total), mask=mask)
    k = tl.arange(0, SEGMENTS)[:, None]
    own = pool.to(tl.int64) * count + k
    tl.store(sums_ptr + own, dbias, mask=k < count)
    tl.store(sums_ptr + tl.num_programs(0).to(tl.int64) * count + own, dweight, mask=k < count)


@triton.jit
def _part(count, size, some, few):
    """Return the first and last segments and positions of this program's part of a line."""
    part, pieces = tl.program_id(1), tl.cdiv(size, few)
    k_begin, s_begin = (part // pieces) * some, (part % pieces) * few
    return k_begin, s_begin, tl.minimum(k_begin + some, count), tl.minimum(s_begin + few, size)


@triton.jit
def _tile_of_line(
    line, k0, s0, k_end, s_end, size, channels, SEGMENTS: tl.constexpr, BLOCK: tl.constexpr
):
    """Return where the values from segment k0 and position s0 on lie, and which exist."""
    k, position = k0 + tl.arange(0, SEGMENTS)[:, None], s0 + tl.arange(0, BLOCK)[None, :]
    at = (line + k.to(tl.int64) * channels) * size + position
    return at, (k < k_end) & (position < s_end)


@triton.jit
def moments(
    x_ptr, found_ptr, count, size, channels, some, few,
    SEGMENTS: tl.constexpr, BLOCK: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """Write to found (3, lines, parts): the number of values, mean and squares of a part."""
    line = tl.program_id(0).to(tl.int64)
    k_begin, s_begin, k_end, s_end = _part(count, size, some, few)
    start = (line + k_begin.to(tl.int64) * channels) * size + s_begin
    first = tl.load(x_ptr + start).to(ACC)
    at, mask = _tile_of_line(line, k_begin, s_begin, k_end, s_end, size, channels, SEGMENTS, BLOCK)
    x = tl.load(x_ptr + at, mask=mask, other=0.0).to(ACC)
    seen = tl.minimum(k_end - k_begin, SEGMENTS) * tl.minimum(s_end - s_begin, BLOCK)
    shift = first + tl.sum(tl.sum(tl.where(mask, x - first, 0.0), 1), 0) / seen
    total, squares = tl.zeros([SEGMENTS, BLOCK], ACC), tl.zeros([SEGMENTS, BLOCK], ACC)
    for k0 in range(k_begin, k_end, SEGMENTS):
        for s0 in range(s_begin, s_end, BLOCK):
            at, mask = _tile_of_line(line, k0, s0, k_end, s_end, size, channels, SEGMENTS, BLOCK)
            x = tl.load(x_ptr + at, mask=mask, other=0.0).to(ACC)
            offset = tl.where(mask, x - shift, 0.0)
            total += offset
            squares += offset * offset
    number = (k_end - k_begin) * (s_end - s_begin)
    mean, var = from_sums(tl.sum(tl.sum(total, 1), 0), tl.sum(tl.sum(squares, 1), 0), shift, number)
    own = line * tl.num_programs(1) + tl.program_id(1)
    step = tl.num_programs(0).to(tl.int64) * tl.num_programs(1)
    tl.store(found_ptr + own, number.to(tl.float64))
    tl.store(found_ptr + step + own, mean)
    tl.store(found_ptr + 2 * step + own, var * number)


@triton.jit
def apply(
    x_ptr, mean_ptr, var_ptr, weight_ptr, bias_ptr, y_ptr,
    lines, count, size, channels, some, few, eps: tl.constexpr,
    KIND: tl.constexpr, SEGMENTS: tl.constexpr, BLOCK: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """Write y of a part of a line; ``lines`` neighbouring lines share a mean."""
    line = tl.program_id(0).to(tl.int64)
    k_begin, s_begin, k_end, s_end = _part(count, size, some, few)
    pool, channel = line // lines, line % channels
    high, low = halves(tl.load(mean_ptr + pool).to(tl.float64), ACC)
    weight = tl.load(weight_ptr + channel)
    scale = inverse_root(tl.load(var_ptr + pool), eps, ACC) * weight
    bias = tl.load(bias_ptr + channel)
    for k0 in range(k_begin, k_end, SEGMENTS):
        for s0 in range(s_begin, s_end, BLOCK):
            at, mask = _tile_of_line(line, k0, s0, k_end, s_end, size, channels, SEGMENTS, BLOCK)
            x = tl.load(x_ptr + at, mask=mask, other=0.0).to(ACC)
            tl.store(y_ptr + at, activate((x - high - low) * scale + bias, KIND), mask=mask)


@triton.jit
def gradient_sums(
    dy_ptr, x_ptr, mean_ptr, inv_std_ptr, weight_ptr, bias_ptr,
    sums_ptr, lines, count, size, channels, some, few,
    KIND: tl.constexpr, SEGMENTS: tl.constexpr, BLOCK: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """Write to sums (2, lines, parts): sums of dz and of dz * x_hat."""
    line = tl.program_id(0).to(tl.int64)
    k_begin, s_begin, k_end, s_end = _part(count, size, some, few)
    pool, channel = line // lines, line % channels
    high, low = halves(tl.load(mean_ptr + pool).to(tl.float64), ACC)
    root = tl.load(inv_std_ptr + pool).to(ACC)
    weight, bias = tl.load(weight_ptr + channel), tl.load(bias_ptr + channel)
    total, product = tl.zeros([SEGMENTS, BLOCK], ACC), tl.zeros([SEGMENTS, BLOCK], ACC)
    for k0 in range(k_begin, k_end, SEGMENTS):
        for s0 in range(s_begin, s_end, BLOCK):
            at, mask = _tile_of_line(line, k0, s0, k_end, s_end, size, channels, SEGMENTS, BLOCK)
            x = tl.load(x_ptr + at, mask=mask, other=0.0).to(ACC)
            dz = tl.load(dy_ptr + at, mask=mask, other=0.0).to(ACC)
            x_hat = tl.where(mask, (x - high - low) * root, 0.0)
            dz = chain(dz, x_hat * weight + bias, KIND)
            total += dz
            product += dz * x_hat
    own = line * tl.num_programs(1) + tl.program_id(1)
    step = tl.num_programs(0).to(tl.int64) * tl.num_programs(1)
    tl.store(sums_ptr + own, tl.sum(tl.sum(total, 1), 0))
    tl.store(sums_ptr + step + own, tl.sum(tl.sum(product, 1), 0))


@triton.jit
def apply_gradient(
    dy_ptr, x_ptr, mean_ptr, inv_std_ptr, weight_ptr, bias_ptr,
    slope_ptr, offset_ptr, dx_ptr, lines, count, size,
    channels, some, few, KIND: tl.constexpr, SEGMENTS: tl.constexpr,
    BLOCK: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """Write dx of a part of a line: inv_std * weight * dz + slope * (x - mean) + offset."""
    line = tl.program_id(0).to(tl.int64)
    k_begin, s_begin, k_end, s_end = _part(count, size, some, few)
    pool, channel = line // lines, line % channels
    high, low = halves(tl.load(mean_ptr + pool).to(tl.float64), ACC)
    weight, bias = tl.load(weight_ptr + channel), tl.load(bias_ptr + channel)
    scale = tl.load(inv_std_ptr + pool).to(ACC) * weight
    slope, offset = tl.load(slope_ptr + pool).to(ACC), tl.load(offset_ptr + pool).to(ACC)
    for k0 in range(k_begin, k_end, SEGMENTS):
        for s0 in range(s_begin, s_end, BLOCK):
            at, mask = _tile_of_line(line, k0, s0, k_end, s_end, size, channels, SEGMENTS, BLOCK)
            x = tl.load(x_ptr + at, mask=mask, other=0.0).to(ACC) - high - low
            dz = tl.load(dy_ptr + at, mask=mask, other=0.0).to(ACC)
            dz = chain(dz, x * scale + bias, KIND)
            tl.store(dx_ptr + at, dz * scale + (x * slope + offset), mask=mask)

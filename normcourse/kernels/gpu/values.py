"""What every kernel does with a few values: activations, shifted sums, a mean in two parts."""

from __future__ import annotations

import triton
import triton.language as tl

NONE, RELU, SILU, GELU = (tl.constexpr(code) for code in range(4))  # as in activations.CODES


@triton.jit
def activate(z, KIND: tl.constexpr):
    """Return the activation of z."""
    if KIND == RELU:
        z = tl.where(z < 0, 0.0, z)  # a NaN stays one
    elif KIND == SILU:
        z = z / (1.0 + tl.exp(-z))
    elif KIND == GELU:
        z = 0.5 * z * (1.0 + tl.erf(z * 0.7071067811865476))
    return z


@triton.jit
def chain(dy, z, KIND: tl.constexpr):
    """Return dy times the slope of the activation at z."""
    if KIND == RELU:
        dy = tl.where(z > 0, dy, 0.0)
    elif KIND == SILU:
        gate = 1.0 / (1.0 + tl.exp(-z))
        dy = dy * gate * (1.0 + z * (1.0 - gate))
    elif KIND == GELU:
        below = 0.5 + 0.5 * tl.erf(z * 0.7071067811865476)
        dy = dy * (below + z * tl.exp(-0.5 * z * z) * 0.3989422804014327)
    return dy


@triton.jit
def inverse_root(var, eps: tl.constexpr, ACC: tl.constexpr):
    """Return 1 / sqrt(var + eps), and 0 where that sum is 0."""
    total = var.to(ACC) + eps
    return tl.where(total == 0, 0.0, 1.0 / tl.sqrt(tl.where(total == 0, 1.0, total)))


@triton.jit
def halves(mean, ACC: tl.constexpr):
    """Return a float64 mean as the sum of two numbers of the dtype ACC."""
    high = mean.to(ACC)
    return high, (mean - high.to(tl.float64)).to(ACC)


@triton.jit
def from_sums(total, squares, shift, count):
    """Return the float64 mean and the variance from sums of x - shift and of its square.

    The shift lies near the mean, so that the difference loses no digits that matter.
    """
    low = total.to(tl.float64) / count
    var = squares.to(tl.float64) / count - low * low
    return shift.to(tl.float64) + low, tl.where(var < 0, 0.0, var)

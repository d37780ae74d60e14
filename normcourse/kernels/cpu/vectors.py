"""What is done with one row of numbers: sums, the normalization, its gradient.

Each function is one loop over contiguous arrays that the compiler turns into vector instructions.
Sums may be reordered (``SUMS``), which vectors need; :func:`line` may not.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from normcourse.kernels.cpu.compiled import EACH, SUMS, compiled
from normcourse.kernels.cpu.lines import lanes, line_at, spread, total_of, whole

NONE, RELU, SILU, GELU = 0, 1, 2, 3
CHUNK = 512  # values that are summed in x's dtype
HEAD = 16  # a sixteenth of the values gives the shift of their sums
FINE = (1e-30, 1e30)  # a square that float32 holds with all its digits, and a sum of squares


@compiled(SUMS)
def shifted_sums(x: Any, shift: float) -> tuple[float, float]:
    """Return the sums of ``x - shift`` and of its square, in float64.

    With a shift from the data itself one pass is enough: (mean - shift)^2 <= n var, so the
    difference that gives the variance loses at most log2(n) of float64's 53 bits.
    """
    total, squares = 0.0, 0.0
    for j in range(x.size):
        d = np.float64(x[j]) - shift
        total += d
        squares += d * d
    return total, squares


@compiled(SUMS)
def sum_of(x: Any) -> Any:
    """Return the sum in x's dtype."""
    total = x.dtype.type(0)
    for j in range(x.size):
        total += x[j]
    return total


@compiled(SUMS)
def _chunk(x: Any, shift: Any) -> tuple[Any, Any]:
    total, squares = x.dtype.type(0), x.dtype.type(0)
    for j in range(x.size):
        d = x[j] - shift
        total += d
        squares += d * d
    return total, squares


@compiled()
def near_sums(x: Any, shift: Any) -> tuple[float, float]:
    """Return the sums of ``x - shift`` and of its square: x's dtype in a chunk, float64 of chunks.

    Vectors hold twice as many numbers of float32. The shift has to be near the mean, as that of a
    sixteenth of the values is: (mean - shift)^2 <= 15 var, whatever they are, so the difference
    that gives the variance loses four bits at most. Whether float32 can hold the squares is for
    :func:`fine` to say.

    Loops that sum while they write add in the same order, so that a result depends neither on the
    number of threads nor on where its memory lies.
    """
    total, squares, end, shifts = 0.0, 0.0, whole(x), spread(shift)
    for a in range(0, end, CHUNK):
        some = some_squares = spread(x.dtype.type(0))
        for j in range(a, min(a + CHUNK, end), lanes(x)):
            d = line_at(x, j) - shifts
            some = some + d
            some_squares = some_squares + d * d
        total += np.float64(total_of(some))
        squares += np.float64(total_of(some_squares))
    rest = _chunk(x[end:], shift)
    return total + np.float64(rest[0]), squares + np.float64(rest[1])


@compiled()
def from_sums(total: float, squares: float, shift: float, count: int) -> tuple[float, float]:
    """Return mean and biased variance from shifted sums."""
    offset = total / count
    return shift + offset, max(squares / count - offset * offset, 0.0)


@compiled()
def fine(squares: float, count: int) -> bool:
    """Return whether float32 was enough for a sum of ``count`` squares."""
    return FINE[0] * count < squares < FINE[1]


@compiled()
def inverse_root(var: float, eps: float) -> float:
    """Return 1 / sqrt(var + eps), and 0 where that has no value."""
    return 1.0 / math.sqrt(var + eps) if var + eps > 0.0 else 0.0


@compiled()
def fill(out: Any, value: Any) -> None:
    """Write one value everywhere; to a slice of all values takes much longer to compile."""
    for j in range(out.size):
        out[j] = value


@compiled()
def add(a: Any, b: Any, out: Any) -> None:
    """Write ``a + b``."""
    for j in range(out.size):
        out[j] = a[j] + b[j]


@compiled(EACH)
def line(x: Any, high: Any, slope: Any, offset: Any) -> Any:
    """Return ``(x - high) * slope + offset``: how every norm is applied, and its gradient.

    A mean in float64 is ``high``, a number of x's dtype, and a small rest ``low``, which the caller
    puts into the offset: ``(x - mean) * slope = (x - high) * slope - low * slope``. A function of
    its own, so that a sum which may be reordered does not reorder this.
    """
    return (x - high) * slope + offset


@compiled()
def floor_of(kind: int) -> float:
    """Return below what no result lies: 0 for ReLU, which then needs no loop of its own."""
    return 0.0 if kind == RELU else -np.inf


@compiled()
def at_least(z: Any, floor: Any) -> Any:
    """Return z, or ``floor`` where it is smaller; NaN stays."""
    return floor if z < floor else z


@compiled(EACH)
def affine(
    x: Any, high: Any, inv_std: Any, less: Any, weight: Any, bias: Any, floor: Any, out: Any
) -> None:
    """Write ``x_hat * weight + bias`` with one weight per value; see :func:`line` for x_hat."""
    for j in range(out.size):
        out[j] = at_least(line(x[j], high, inv_std, less) * weight[j] + bias[j], floor)


@compiled(EACH)
def scaled(x: Any, inv_std: Any, weight: Any, floor: Any, out: Any) -> None:
    """Write ``x * inv_std * weight``: a norm without a mean, and without a bias."""
    for j in range(out.size):
        out[j] = at_least(x[j] * inv_std * weight[j], floor)


@compiled(EACH)
def affine_one(x: Any, high: Any, scale: Any, shift: Any, floor: Any, out: Any) -> None:
    """Write ``(x - high) * scale + shift`` with one scale for all values."""
    for j in range(out.size):
        out[j] = at_least(line(x[j], high, scale, shift), floor)


@compiled(EACH)
def affine_each(x: Any, high: Any, scale: Any, shift: Any, floor: Any, out: Any) -> None:
    """Write ``(x - high) * scale + shift`` with one mean, scale and shift per value."""
    for j in range(out.size):
        out[j] = at_least(line(x[j], high[j], scale[j], shift[j]), floor)


@compiled()
def activate(z: Any, kind: int) -> None:
    """Replace ``z`` by its activation; ReLU was done on the way, see :func:`floor_of`."""
    if kind == SILU:
        for j in range(z.size):
            z[j] = z[j] / (1 + math.exp(-z[j]))
    elif kind == GELU:
        for j in range(z.size):
            z[j] = z[j] * (0.5 + 0.5 * math.erf(z[j] * math.sqrt(0.5)))


@compiled()
def chain(dy: Any, z: Any, kind: int) -> None:
    """Replace ``z``, what went into the activation, by the gradient with respect to it."""
    if kind == RELU:
        zero = z.dtype.type(0)
        for j in range(z.size):
            slope = dy[j]
            z[j] = slope if z[j] > zero else zero
    elif kind == SILU:
        for j in range(z.size):
            gate = 1 / (1 + math.exp(-z[j]))
            z[j] = dy[j] * gate * (1 + z[j] * (1 - gate))
    elif kind == GELU:
        for j in range(z.size):
            below = 0.5 + 0.5 * math.erf(z[j] * math.sqrt(0.5))
            slope = math.exp(-0.5 * z[j] * z[j]) * math.sqrt(0.5 / math.pi)
            z[j] = dy[j] * (below + z[j] * slope)


@compiled(EACH)
def relu_chain_one(dy: Any, x: Any, high: Any, scale: Any, shift: Any, out: Any) -> None:
    """Write the gradient before a ReLU of :func:`affine_one`: both steps in one loop."""
    zero = out.dtype.type(0)
    for j in range(out.size):
        slope = dy[j]
        out[j] = slope if line(x[j], high, scale, shift) > zero else zero


@compiled(SUMS)
def gradient_chunk(dz: Any, x: Any, high: Any, inv_std: Any, less: Any) -> tuple[Any, Any]:
    """Return the sums of ``dz`` and ``dz * x_hat``: the two reductions of the backward pass.

    In x's dtype, so of a chunk only.
    """
    total, product = x.dtype.type(0), x.dtype.type(0)
    for j in range(x.size):
        total += dz[j]
        product += dz[j] * line(x[j], high, inv_std, less)
    return total, product


@compiled(EACH)
def gradient_one(dz: Any, x: Any, high: Any, a: Any, b: Any, c: Any, out: Any) -> None:
    """Write ``a * dz + b * (x - high) + c``: dx with one weight for all values."""
    for j in range(out.size):
        out[j] = a * dz[j] + line(x[j], high, b, c)


@compiled()
def flush(some: Any, whole: Any) -> None:
    """Move sums of a few rows into the float64 sums of all."""
    for j in range(some.size):
        whole[j] += np.float64(some[j])
        some[j] = 0

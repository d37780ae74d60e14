"""The one formula of the divisive family, with the neighbourhoods as matrices.

    v = x - center @ x
    y = gain * sign(v) |v|^numerator / (constant + pool @ |v|^exponent)^power

The table in :mod:`normcourse.norms.divisive` says which method is which row.

Source: Ren, Liao, Urtasun, Sinz & Zemel, "Normalizing the Normalizers: Comparing and Extending
Network Normalization Schemes", 2017, which holds BatchNorm, LayerNorm and the local ones; with the
exponents of Carandini & Heeger, 2012.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from normcourse.norms._validate import (
    Array,
    as_floats,
    as_parameter,
    as_required,
    check_number,
    check_whole,
    same_shape,
)
from normcourse.norms.precision import wide_dtype

_LAYOUT = "(*, D)"


def divisive_norm_general(
    x: ArrayLike,
    pool: ArrayLike,
    center: ArrayLike | None = None,
    *,
    constant: float,
    numerator: float = 1.0,
    exponent: float = 2.0,
    power: float = 0.5,
    gain: float = 1.0,
) -> Array:
    """Subtract one neighbourhood, divide by another: every divisive normalization.

    Formula:
        v = x - center @ x
        y = gain * sign(v) |v|^numerator / (constant + pool @ |v|^exponent)^power

    Args:
        x: array of shape (*, D).
        pool: weights >= 0, array of shape (D, D); row i says what divides value i.
        center: array of shape (D, D); row i says what is subtracted from value i. None: nothing.
        constant: added to the pool inside the power, >= 0; eps, k or sigma^n.
        numerator: exponent of the value that is divided, >= 1.
        exponent: exponent of the values that are pooled, >= 1.
        power: exponent of the divisor, >= 0.
        gain: factor of the result.

    Returns:
        y, like ``x`` in shape and dtype. Where the divisor is 0, y is 0.

    Raises:
        TypeError: an argument holds no real numbers.
        ValueError: a matrix whose shape is not (D, D), a negative weight, or a number out of
            range.

    Differs from torch in:
        torch has no such function.

    Source:
        Ren et al. 2017; Carandini & Heeger 2012.

    Example:
        >>> import numpy as np
        >>> everything = np.full((4, 4), 1 / 4)  # LayerNorm: subtract and pool all of it
        >>> x = [2.0, 4.0, 6.0, 8.0]
        >>> divisive_norm_general(x, everything, everything, constant=0.0).round(4)
        array([-1.3416, -0.4472,  0.4472,  1.3416])
    """
    terms = _terms(x, pool, center, constant, numerator, exponent, power)
    y = np.sign(terms.v) * np.abs(terms.v) ** terms.numerator * terms.divisor**power * float(gain)
    return y.astype(terms.x.dtype, copy=False)


def divisive_norm_general_backward(
    dy: ArrayLike,
    x: ArrayLike,
    pool: ArrayLike,
    center: ArrayLike | None = None,
    *,
    constant: float,
    numerator: float = 1.0,
    exponent: float = 2.0,
    power: float = 0.5,
    gain: float = 1.0,
) -> Array:
    """Return the gradient of :func:`divisive_norm_general` with respect to x.

    Formula, with s = constant + pool @ |v|^exponent, the numerator m and the exponent n:
        ds = -power * dy * y / s
        dv = gain * m * |v|^(m - 1) * dy / s^power + n * sign(v) |v|^(n - 1) * (poolᵀ @ ds)
        dx = dv - centerᵀ @ dv

    Args:
        dy: gradient with respect to y, like ``x``.
        x: as in the forward pass.
        pool: as in the forward pass.
        center: as in the forward pass.
        constant: as in the forward pass.
        numerator: as in the forward pass.
        exponent: as in the forward pass.
        power: as in the forward pass.
        gain: as in the forward pass.

    Returns:
        dx, like ``x``.

    Raises:
        TypeError: as :func:`divisive_norm_general`.
        ValueError: as the forward pass, or ``dy`` is not shaped like ``x``.

    Source:
        Ren et al. 2017.

    Example:
        >>> import numpy as np
        >>> everything = np.full((4, 4), 1 / 4)
        >>> dy, x = [1.0, 0.0, 0.0, 0.0], [2.0, 4.0, 6.0, 8.0]
        >>> dx = divisive_norm_general_backward(dy, x, everything, everything, constant=0.0)
        >>> dx.round(4)
        array([ 0.1342, -0.1789, -0.0447,  0.0894])
    """
    terms = _terms(x, pool, center, constant, numerator, exponent, power)
    dy = same_shape(dy, "dy", terms.x, "x").astype(terms.v.dtype, copy=False)
    m, n, size, sign = terms.numerator, terms.exponent, np.abs(terms.v), np.sign(terms.v)
    share = dy * float(gain) * terms.divisor**power  # gain * dy / s^power
    ds = -power * share * sign * size**m * terms.divisor
    dv = m * size ** (m - 1) * share + n * sign * size ** (n - 1) * (ds @ terms.pool)
    dx = dv if terms.center is None else dv - dv @ terms.center
    return dx.astype(terms.x.dtype, copy=False)


def window_pool(num_channels: int, size: int) -> Array:
    """Return local response normalization's window of neighbouring channels as a matrix.

    Args:
        num_channels: number of channels C.
        size: channels in the window: c - size // 2 to c + (size - 1) // 2.

    Returns:
        Array of shape (C, C): 1 where channel j is in the window of channel i, 0 elsewhere.

    Raises:
        ValueError: fewer than one channel or a window below one.

    Example:
        >>> window_pool(4, 2)
        array([[1., 0., 0., 0.],
               [1., 1., 0., 0.],
               [0., 1., 1., 0.],
               [0., 0., 1., 1.]])
    """
    channels = np.arange(check_whole(num_channels, "num_channels", at_least=1))
    size = check_whole(size, "size", at_least=1)
    distance = channels - channels[:, None]  # (C, C): j - i
    return ((-(size // 2) <= distance) & (distance <= (size - 1) // 2)).astype(np.float64)


class _Terms(NamedTuple):
    """What forward and backward share; divisor is 1 / (constant + pool @ |v|^exponent)."""

    x: Array
    v: Array
    pool: Array
    center: Array | None
    divisor: Array
    numerator: float
    exponent: float


def _terms(
    x: ArrayLike,
    pool: ArrayLike,
    center: ArrayLike | None,
    constant: float,
    numerator: float,
    exponent: float,
    power: float,
) -> _Terms:
    """Return the centered values and their divisor, or say which argument does not fit."""
    x = as_floats(x, "x", min_ndim=1, layout=_LAYOUT)
    square = x.shape[-1:] * 2
    weights, middle = as_required(pool, "pool", square), as_parameter(center, "center", square)
    if np.any(weights < 0):
        raise ValueError(f"pool: expected weights >= 0, got {weights.min()}. Take np.abs(pool).")
    constant = check_number(constant, "constant", at_least=0, usual="1e-5")
    numerator = check_number(numerator, "numerator", at_least=1, usual="1")
    exponent = check_number(exponent, "exponent", at_least=1, usual="2")
    check_number(power, "power", at_least=0, usual="0.5")
    dtype = wide_dtype(x)
    weights = weights.astype(dtype, copy=False)
    middle = None if middle is None else middle.astype(dtype, copy=False)
    v = x.astype(dtype, copy=False)
    v = v if middle is None else v - v @ middle.T
    s = constant + np.abs(v) ** exponent @ weights.T
    divisor = np.divide(1, s, out=np.zeros_like(s), where=s > 0)
    return _Terms(x, v, weights, middle, divisor, numerator, exponent)

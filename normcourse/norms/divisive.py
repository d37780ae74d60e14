"""Divisive normalization, and the one formula that holds its whole family.

    v = x - center @ x
    y = gain * sign(v) |v|^numerator / (constant + pool @ |v|^exponent)^power

The canonical model of neurons divides a drive by the pooled drives of its neighbours:

    y = gain * drive^n / (sigma^n + pool @ drive^n)

| method | center | pool | constant | numerator, exponent, power |
|---|---|---|---|---|
| canonical | none | any weights | sigma^n | n, n, 1 |
| local response | none | alpha / size in a window of channels | k | 1, 2, beta |
| local contrast | Gaussian window | Gaussian window | eps | 1, 2, 1/2 |
| LayerNorm | 1 / D everywhere | 1 / D everywhere | eps | 1, 2, 1/2 |
| RMSNorm | none | 1 / D everywhere | eps | 1, 2, 1/2 |

Sources: Heeger, "Normalization of cell responses in cat striate cortex", 1992; Carandini & Heeger,
"Normalization as a canonical neural computation", 2012; Ren, Liao, Urtasun, Sinz & Zemel,
"Normalizing the Normalizers: Comparing and Extending Network Normalization Schemes", 2017.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from normcourse.norms._validate import (
    Array,
    as_floats,
    as_required,
    check_number,
    same_shape,
)
from normcourse.norms.method import Method, Shape, draw_input
from normcourse.norms.precision import working_dtype

_LAYOUT = "(*, D)"


def divisive_normalize(
    drive: ArrayLike,
    pool: ArrayLike,
    sigma: float,
    *,
    exponent: float = 2.0,
    gain: float = 1.0,
) -> Array:
    """Divide each drive by a constant and the weighted drives of its neighbours.

    Formula:
        y_i = gain * drive_i^n / (sigma^n + sum_j pool_ij * drive_j^n)

    Args:
        drive: values >= 0, array of shape (*, D).
        pool: weights >= 0, array of shape (D, D); row i says which drives divide drive i.
        sigma: semi-saturation constant, >= 0: the drive at which the answer to a lone input,
            pooled with weight 1, is half its maximum.
        exponent: n, > 0.
        gain: the largest answer of an input pooled with weight 1.

    Returns:
        y, like ``drive`` in shape and dtype. Where numerator and denominator are 0, y is 0.

    Raises:
        TypeError: an argument holds no real numbers.
        ValueError: a negative drive, weight or sigma, an exponent that is not positive, or a
            pool whose shape is not (D, D).

    Differs from torch in:
        torch has no divisive normalization.

    Source:
        Heeger 1992; Carandini & Heeger 2012.

    Example:
        >>> pool = [[1.0, 0.0], [1.0, 1.0]]
        >>> divisive_normalize([3.0, 1.0], pool, sigma=1.0).round(4)  # 9 / (1 + 9), 1 / (1 + 10)
        array([0.9   , 0.0909])
    """
    drive, pool, parts = _canonical(drive, pool, sigma, exponent)
    y = parts.powered * parts.inv_denominator * float(gain)
    return y.astype(drive.dtype, copy=False)


def divisive_normalize_backward(
    dy: ArrayLike,
    drive: ArrayLike,
    pool: ArrayLike,
    sigma: float,
    *,
    exponent: float = 2.0,
    gain: float = 1.0,
) -> tuple[Array, Array, Array]:
    """Return the gradients of :func:`divisive_normalize` with respect to drive, pool and sigma.

    Formula, with p = drive^n, s = sigma^n + pool @ p and y = gain * p / s:
        ds     = -dy * y / s
        ddrive = n * drive^(n - 1) * (gain * dy / s + poolᵀ @ ds)
        dpool  = sum(ds pᵀ),  dsigma = n * sigma^(n - 1) * sum(ds)

    Args:
        dy: gradient with respect to y, like ``drive``.
        drive: as in the forward pass.
        pool: as in the forward pass.
        sigma: as in the forward pass.
        exponent: as in the forward pass, but >= 1: below 1 the slope at 0 is infinite.
        gain: as in the forward pass.

    Returns:
        ddrive like ``drive``, dpool of shape (D, D) and dsigma of shape ().

    Raises:
        TypeError: as :func:`divisive_normalize`.
        ValueError: as the forward pass, ``dy`` is not shaped like ``drive``, or an exponent
            below 1.

    Source:
        Ballé, Laparra & Simoncelli, "Density Modeling of Images using a Generalized Normalization
        Transformation", 2016, learns such a layer.

    Example:
        >>> ddrive, dpool, dsigma = divisive_normalize_backward([1.0], [3.0], [[1.0]], 1.0)
        >>> ddrive.round(4), dpool.round(4)  # y = d² / (1 + d²), y' = 2 d / (1 + d²)²
        (array([0.06]), array([[-0.81]]))
    """
    drive, pool, parts = _canonical(drive, pool, sigma, exponent)
    dy = same_shape(dy, "dy", drive, "drive").astype(parts.powered.dtype, copy=False)
    n = check_number(exponent, "exponent", at_least=1, usual="2")
    inv = parts.inv_denominator
    ds = -dy * float(gain) * parts.powered * inv * inv
    dp = float(gain) * dy * inv + ds @ parts.pool
    ddrive = n * np.power(parts.drive, n - 1) * dp * parts.inv_scale
    flat_ds, flat_p = ds.reshape(-1, len(pool)), parts.powered.reshape(-1, len(pool))
    dpool = flat_ds.T @ flat_p  # (D, D)
    dsigma = np.sum(n * np.power(parts.sigma, n - 1) * parts.inv_scale * ds)
    return (
        ddrive.astype(drive.dtype, copy=False),
        dpool.astype(pool.dtype, copy=False),
        np.asarray(dsigma, drive.dtype),
    )


class _Canonical(NamedTuple):
    """Drive and sigma divided by the largest of them, so that no power overflows."""

    drive: Array
    sigma: Array
    pool: Array
    inv_scale: Array
    powered: Array
    inv_denominator: Array


def _canonical(
    drive: ArrayLike, pool: ArrayLike, sigma: float, exponent: float
) -> tuple[Array, Array, _Canonical]:
    """Return drive and pool as arrays and all that forward and backward share."""
    drive = as_floats(drive, "drive", min_ndim=1, layout=_LAYOUT)
    weights = as_required(pool, "pool", drive.shape[-1:] * 2)
    sigma = check_number(sigma, "sigma", at_least=0, usual="1")
    n = _check_exponent(exponent)
    for name, values in (("drive", drive), ("pool", weights)):
        if np.any(values < 0):
            raise ValueError(
                f"{name}: expected values >= 0, got {values.min()}. Rectify first, for example "
                f"np.maximum({name}, 0)."
            )
    dtype = np.result_type(working_dtype(drive), working_dtype(weights))
    scale = np.maximum(drive.max(axis=-1, keepdims=True, initial=0.0), sigma).astype(
        dtype
    )  # (*, 1)
    inv_scale = np.divide(1, scale, out=np.zeros_like(scale), where=scale > 0)
    u, s, w = drive * inv_scale, sigma * inv_scale, weights.astype(dtype, copy=False)
    powered = np.power(u, n)
    denominator = np.power(s, n) + powered @ w.T
    inv = np.divide(1, denominator, out=np.zeros_like(denominator), where=denominator > 0)
    return drive, weights, _Canonical(u, s, w, inv_scale, powered, inv)


def _check_exponent(exponent: float) -> float:
    """Return the exponent if it is a finite number above 0."""
    n = check_number(exponent, "exponent", at_least=0, usual="2")
    if n == 0:
        raise ValueError("exponent: expected a number > 0, got 0; usual is 2.")
    return n


def _example(rng: np.random.Generator, shape: Shape) -> dict[str, Any]:
    """Return the arguments of one call."""
    features = shape[-1]
    return {
        "drive": np.abs(draw_input(rng, shape)) + 0.1,
        "pool": rng.uniform(0.0, 1.0, (features, features)),
        "sigma": 0.8,
        "exponent": 2.5,
        "gain": 3.0,
    }


METHOD = Method(
    name="divisive_normalize",
    title="divisive normalization",
    kind="activation",
    layout="(*, D)",
    axes=None,
    pooled="a weighted neighbourhood of D",
    parameters=("pool", "sigma"),
    state=(),
    gradients=("drive", "pool", "sigma"),
    formula=r"y_i = g \frac{d_i^n}{\sigma^n + \sum_j w_{ij} d_j^n}",
    paper="carandini2012normalization",
    forward=divisive_normalize,
    backward=divisive_normalize_backward,
    module="normcourse.modules.divisive:DivisiveNorm",
    example=_example,
)

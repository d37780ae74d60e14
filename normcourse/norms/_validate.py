"""Checks of arguments that every method shares.

An error says what came, what was expected and how to mend it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]


def as_floats(value: ArrayLike, name: str, *, min_ndim: int = 0, layout: str = "") -> Array:
    """Return ``value`` as a floating-point array, without copying one that already is.

    Integers become float64. ``layout`` is the wanted shape in words, for the message.
    """
    array = np.asarray(value)
    if array.dtype.kind in "iub":
        array = array.astype(np.float64)
    if array.dtype.kind != "f":
        raise TypeError(
            f"{name}: expected real numbers, got dtype {array.dtype}. "
            f"Convert it first, for example np.asarray({name}, dtype=float)."
        )
    if array.ndim < min_ndim:
        wanted = layout or f"at least {min_ndim} axes"
        raise ValueError(
            f"{name}: expected shape {wanted}, got {array.shape}. "
            f"Add the missing axis, for example {name}[None]."
        )
    return array


def as_parameter(value: ArrayLike | None, name: str, shape: tuple[int, ...]) -> Array | None:
    """Return a parameter (gamma, beta, a running statistic) as floats of ``shape``, or None."""
    if value is None:
        return None
    array = as_floats(value, name)
    if array.shape != shape:
        raise ValueError(
            f"{name}: expected shape {shape}, got {array.shape}. "
            f"Give one value per normalized feature or channel; "
            f"for one number use np.full({shape}, value)."
        )
    return array


def same_shape(value: ArrayLike, name: str, other: Array, other_name: str) -> Array:
    """Return ``value`` as floats with the shape of ``other``."""
    array = as_floats(value, name)
    if array.shape != other.shape:
        raise ValueError(
            f"{name}: expected the shape of {other_name}, {other.shape}, got {array.shape}. "
            f"A gradient has the shape of what it is the gradient of."
        )
    return array


def check_eps(eps: float) -> float:
    """Return ``eps`` if it is a finite number that is not negative."""
    value = _number(eps)
    if value is None or not 0 <= value < np.inf:
        raise ValueError(f"eps: expected a finite number >= 0, got {eps!r}; usual is 1e-5.")
    return value


def check_momentum(momentum: float | None) -> float | None:
    """Return ``momentum`` if it lies in [0, 1] or is None (cumulative average)."""
    if momentum is None:
        return None
    value = _number(momentum)
    if value is None or not 0 <= value <= 1:
        raise ValueError(
            f"momentum: expected a number in [0, 1] or None, got {momentum!r}. It weighs the new "
            f"batch (PyTorch); for a Keras or Flax momentum m use 1 - m."
        )
    return value


def _number(value: object) -> float | None:
    """Return a real number as a float, None for anything else."""
    if isinstance(value, int | float | np.integer | np.floating):
        return float(value)
    return None

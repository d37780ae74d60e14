"""Checks of arguments that every method shares.

An error says what came, what was expected and how to mend it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]


def as_floats(value: ArrayLike, name: str, *, min_ndim: int = 0, layout: str = "") -> Array:
    """Return ``value`` as a floating-point array, without copying one that already is.

    Integers become float64. ``layout`` is the wanted shape in words, for the message.
    """
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(
            f"{name}: expected an array, got rows of different length ({error}). "
            f"Pad them to one length and keep a mask."
        ) from None
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


def as_required(value: ArrayLike | None, name: str, shape: tuple[int, ...]) -> Array:
    """Return a parameter that may not be None as floats of ``shape``."""
    array = as_parameter(value, name, shape)
    if array is None:
        raise ValueError(
            f"{name}: expected an array of shape {shape}, got None. It has no default."
        )
    return array


def same_shape(
    value: ArrayLike,
    name: str,
    other: Array,
    other_name: str,
    *,
    why: str = "A gradient has the shape of what it is the gradient of.",
) -> Array:
    """Return ``value`` as floats with the shape of ``other``."""
    array = as_floats(value, name)
    if array.shape != other.shape:
        raise ValueError(
            f"{name}: expected the shape of {other_name}, {other.shape}, got {array.shape}. {why}"
        )
    return array


def as_mask(value: ArrayLike, name: str, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return a mask of booleans (or of zeros and ones) of ``shape``."""
    mask = np.asarray(value)
    if mask.dtype != np.bool_ and not np.all((mask == 0) | (mask == 1)):
        raise TypeError(
            f"{name}: expected booleans, got dtype {mask.dtype} with values beside 0 and 1. "
            f"True marks a real token, for example positions < lengths[:, None]."
        )
    if mask.shape != shape:
        raise ValueError(
            f"{name}: expected shape {shape}, one value per token, got {mask.shape}. "
            f"Leave out the feature axis."
        )
    return mask.astype(np.bool_, copy=False)


def trailing_shape(normalized_shape: int | Sequence[int] | None, x: Array) -> tuple[int, ...]:
    """Return the sizes of the last axes of ``x`` that are normalized; None means the last one."""
    if normalized_shape is None:
        return x.shape[-1:]
    sizes = normalized_shape if isinstance(normalized_shape, Sequence) else (normalized_shape,)
    wanted = tuple(check_whole(size, "normalized_shape", at_least=0) for size in sizes)
    if not wanted or x.shape[-len(wanted) :] != wanted:
        raise ValueError(
            f"normalized_shape: expected the last sizes of x, whose shape is {x.shape}, got "
            f"{wanted}. Normalize the last axis with {x.shape[-1:]}, or move the axes to the end."
        )
    return wanted


def check_groups(num_groups: int, num_channels: int) -> int:
    """Return ``num_groups`` if it divides the number of channels."""
    groups = check_whole(num_groups, "num_groups", at_least=1)
    if num_channels % groups:
        divisors = [g for g in range(1, num_channels + 1) if num_channels % g == 0]
        raise ValueError(
            f"num_groups: expected a divisor of the {num_channels} channels, got {groups}. "
            f"Choose one of {divisors}."
        )
    return groups


def check_whole(value: int, name: str, *, at_least: int) -> int:
    """Return ``value`` if it is a whole number that is large enough."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < at_least:
        raise ValueError(f"{name}: expected a whole number >= {at_least}, got {value!r}.")
    return int(value)


def check_number(value: float, name: str, *, at_least: float, usual: str) -> float:
    """Return ``value`` if it is a finite number that is large enough."""
    number = _number(value)
    if number is None or not at_least <= number < np.inf:
        raise ValueError(
            f"{name}: expected a finite number >= {at_least:g}, got {value!r}; usual is {usual}."
        )
    return number


def check_eps(eps: float) -> float:
    """Return ``eps`` if it is a finite number that is not negative."""
    return check_number(eps, "eps", at_least=0, usual="1e-5")


def check_momentum(momentum: float | None) -> float | None:
    """Return ``momentum`` if it lies in [0, 1] or is None (cumulative average)."""
    return None if momentum is None else check_fraction(momentum, "momentum", " or None")


def check_fraction(momentum: float, name: str, alternative: str = "") -> float:
    """Return a momentum if it lies in [0, 1]."""
    value = _number(momentum)
    if value is None or not 0 <= value <= 1:
        raise ValueError(
            f"{name}: expected a number in [0, 1]{alternative}, got {momentum!r}. It weighs the "
            f"new batch (PyTorch); for a Keras or Flax momentum m use 1 - m."
        )
    return value


def _number(value: object) -> float | None:
    """Return a real number as a float, None for anything else."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value.item()
    if isinstance(value, int | float | np.integer | np.floating):
        return float(value)
    return None

"""Checks that the modules share. An error says what was expected, what came and the fix."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from normcourse.norms._validate import check_eps, check_momentum

__all__ = [
    "check_channels",
    "check_eps",
    "check_floating",
    "check_momentum",
    "check_size",
    "check_trailing",
    "trailing_shape",
]


def check_size(value: int, name: str) -> int:
    """Return ``value`` if it is a positive whole number."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name}: expected a positive whole number, got {value!r}.")
    return value


def check_floating(x: Tensor, name: str = "x") -> None:
    """Raise unless ``x`` holds real floating-point numbers."""
    if not torch.is_floating_point(x):
        raise TypeError(
            f"{name}: expected a floating-point tensor, got {x.dtype}. "
            f"Convert it first, for example {name}.float()."
        )


def check_channels(x: Tensor, num_channels: int, *, min_ndim: int = 2) -> None:
    """Raise unless ``x`` has shape (N, num_channels, *) with at least ``min_ndim`` axes."""
    check_floating(x)
    if x.ndim < min_ndim or x.shape[1] != num_channels:
        positions = "" if min_ndim == 2 else "with at least one position axis, "
        raise ValueError(
            f"x: expected shape (N, {num_channels}, *), {positions}got {tuple(x.shape)}. "
            f"Channels are axis 1: for (N, L, C) call x.transpose(1, 2); "
            f"for one example without a batch axis x[None]."
        )


def trailing_shape(normalized_shape: int | Sequence[int]) -> tuple[int, ...]:
    """Return ``normalized_shape`` as a tuple of sizes."""
    sizes = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if not sizes:
        raise ValueError(
            "normalized_shape: expected at least one axis, got (). "
            "Name the sizes of the trailing axes, for example the width D."
        )
    return tuple(check_size(size, "normalized_shape") for size in sizes)


def check_trailing(x: Tensor, normalized_shape: tuple[int, ...]) -> None:
    """Raise unless the trailing axes of ``x`` have the sizes of ``normalized_shape``."""
    check_floating(x)
    if tuple(x.shape[-len(normalized_shape) :]) != normalized_shape:
        wanted = ", ".join(str(size) for size in normalized_shape)
        raise ValueError(
            f"x: expected shape (*, {wanted}), got {tuple(x.shape)}. The normalized axes are the "
            f"last ones: move the features there, for example x.movedim(1, -1) for (N, C, *)."
        )

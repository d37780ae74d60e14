"""How every loop is compiled: without Python's lock, and kept for the next run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

SUMS = {"reassoc", "contract", "nsz", "arcp"}  # sums in any order, as vectors need
EACH = {"contract"}  # a * b + c in one step, no other liberty


def compiled(liberties: set[str] | None = None) -> Callable[[Callable[..., Any]], Any]:
    """Return the decorator of a loop; ``liberties`` is what the compiler may do with floats."""
    decorate: Callable[[Callable[..., Any]], Any] = njit(
        nogil=True, cache=True, fastmath=liberties or False, forceinline=True
    )
    return decorate

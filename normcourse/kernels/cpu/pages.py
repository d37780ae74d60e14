"""New memory for large results: whether it has pages yet, and large ones where the system has them.

Memory that the system has not handed out yet has no pages; each one is handed over, and filled with
zeros, when it is first touched. Pages of 4 KiB make that dearer than the norm itself; Linux hands
out 2 MiB at a time where it is told that they are wanted. What was just filled with zeros may still
lie in the caches, and results are better written there than past them. Memory that was used before
has its pages, and no cache holds it.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
from collections.abc import Callable

import torch
from torch import Tensor

LARGE = 4 * 2**20  # bytes of a result from which on it matters


def new_like(x: Tensor) -> tuple[Tensor, bool]:
    """Return a new tensor like x, without values, and whether its memory was used before.

    Of a small one nobody asks: the answer is yes.

    Example:
        >>> y, used = new_like(torch.zeros(2, 3))
        >>> y.shape, used
        (torch.Size([2, 3]), True)
    """
    y = torch.empty_like(x)
    if y.nbytes < LARGE:
        return y, True
    page = mmap.PAGESIZE
    begin = -(-y.data_ptr() // page) * page
    length = (y.data_ptr() + y.nbytes) // page * page - begin
    if _has_pages(begin + length // 2 // page * page):
        return y, True
    advise = _advise()
    if advise is not None:
        advise(begin, length, mmap.MADV_HUGEPAGE)  # a wish: nothing depends on the answer
    return y, False


def _has_pages(place: int) -> bool:
    """Return whether the page at a place is there; yes, where the system cannot be asked."""
    ask = _ask()
    if ask is None:
        return True
    answer = ctypes.c_ubyte(1)
    ask(place, mmap.PAGESIZE, ctypes.byref(answer))
    return bool(answer.value & 1)


@functools.cache
def _ask() -> Callable[..., int] | None:
    """Return the system's ``mincore``, or None where there is none."""
    try:
        function = ctypes.CDLL(None).mincore
    except (AttributeError, OSError, TypeError):
        return None
    function.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]
    return function


@functools.cache
def _advise() -> Callable[[int, int, int], int] | None:
    """Return the system's ``madvise``, or None where there is none or no large pages."""
    if not hasattr(mmap, "MADV_HUGEPAGE"):
        return None
    try:
        function = ctypes.CDLL(None).madvise
    except (AttributeError, OSError):
        return None
    function.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return function

"""New memory for large results, in large pages where the system hands them out on request.

Memory that is asked for anew has no pages yet; each one is handed over, and filled with zeros, when
it is first touched. Pages of 4 KiB make that dearer than the norm itself; Linux hands out 2 MiB at
a time where it is told that they are wanted.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
from collections.abc import Callable

import torch
from torch import Tensor

LARGE = 4 * 2**20  # bytes of a result from which on large pages are asked for


def new_like(x: Tensor) -> Tensor:
    """Return a new tensor like x, without values.

    Example:
        >>> new_like(torch.zeros(2, 3)).shape
        torch.Size([2, 3])
    """
    y = torch.empty_like(x)
    if y.nbytes >= LARGE:
        advise = _advise()
        if advise is not None:
            page = mmap.PAGESIZE
            begin = -(-y.data_ptr() // page) * page
            length = (y.data_ptr() + y.nbytes) // page * page - begin
            advise(begin, length, mmap.MADV_HUGEPAGE)  # a wish: nothing depends on the answer
    return y


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

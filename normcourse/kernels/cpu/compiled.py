"""How every loop is compiled: without Python's lock, and kept for the next run."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from numba import cfunc, config, njit, types

SUMS = {"reassoc", "contract", "nsz", "arcp"}  # sums in any order, as vectors need
EACH = {"contract"}  # a * b + c in one step, no other liberty
_HERE = Path(__file__).parent
_FOREIGN = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_one_at_a_time = threading.RLock()


def compiled(liberties: set[str] | None = None) -> Callable[[Callable[..., Any]], Any]:
    """Return the decorator of a loop; ``liberties`` is what the compiler may do with floats."""
    decorate: Callable[[Callable[..., Any]], Any] = njit(
        nogil=True, cache=True, fastmath=liberties or False, forceinline=True
    )
    return decorate


class Task:
    """Work that any thread can do, Python's or not, on float32 or float64: see :mod:`.blocks`.

    Compiled when it is first needed, for one of the two. Each loop has its own in its file: Numba
    keeps compiled code only of a function that stands in one.
    """

    def __init__(self, function: Callable[[Any], None]) -> None:
        self._function = function
        self._compiled: dict[int, Any] = {}
        self._calls: dict[int, tuple[Any, int]] = {}

    def call(self, itemsize: int) -> tuple[Any, int]:
        """Return it as a foreign function of an address, without Python's lock, and where it is."""
        found = self._calls.get(itemsize)
        return self._made(itemsize) if found is None else found

    def _made(self, itemsize: int) -> tuple[Any, int]:
        with kept():  # one thread compiles; the code lives as long as this
            if itemsize not in self._calls:
                number = types.float32 if itemsize == 4 else types.float64
                signature = types.void(types.CPointer(number))  # the pointer tells the dtype
                made = self._compiled[itemsize] = cfunc(signature, cache=True)(self._function)
                self._calls[itemsize] = _FOREIGN(made.address), made.address
        return self._calls[itemsize]


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Let Numba keep what is compiled meanwhile in a folder with the checksum of all sources.

    Numba looks only at the file of the function itself to see whether what it kept is still fresh,
    but the loops are inlined from file to file.
    """
    with _one_at_a_time:
        before = config.CACHE_DIR
        base = Path(before) if before else _HERE / "__pycache__"
        config.CACHE_DIR = str(base / f"numba-{_checksum()}")
        try:
            yield
        finally:
            config.CACHE_DIR = before


@functools.cache
def _checksum() -> str:
    sources = sorted(path.read_bytes() for path in _HERE.glob("*.py"))
    return f"{zlib.crc32(b''.join(sources)):08x}"

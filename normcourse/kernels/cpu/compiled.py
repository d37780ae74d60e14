"""How every loop is compiled: without Python's lock, and kept for the next run."""

from __future__ import annotations

import contextlib
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
_one_at_a_time = threading.RLock()


def compiled(liberties: set[str] | None = None) -> Callable[[Callable[..., Any]], Any]:
    """Return the decorator of a loop; ``liberties`` is what the compiler may do with floats."""
    decorate: Callable[[Callable[..., Any]], Any] = njit(
        nogil=True, cache=True, fastmath=liberties or False, forceinline=True
    )
    return decorate


class Task:
    """Work that any thread can do, Python's or not: a function of one address, see :mod:`.blocks`.

    Compiled when it is first needed. Each loop writes its own: Numba keeps compiled code only of a
    function that stands in a file, and not of one that another function makes.
    """

    def __init__(self, function: Callable[[int], None]) -> None:
        self._function = function

    @functools.cached_property
    def call(self) -> Any:
        """Return it as a function of the foreign kind, which runs without Python's lock."""
        with kept():
            self._compiled = cfunc(types.void(types.intp), cache=True)(self._function)
        return self._compiled.ctypes


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

"""Arrays at addresses, and a word to the memory that NumPy has no name for: do not keep that.

A call hands over addresses, and each loop makes arrays of them (:func:`array_at`). That costs a
tenth of what an array costs on its way from PyTorch by NumPy into compiled code; and nobody counts
who uses such an array. Numba counts that for its own arrays at every slice, in steps that no other
thread may interrupt, and the processor begins such a step when all that was written has arrived in
memory: a loop over rows would wait there at every row.

A copy of a large array reads and writes at once. A norm reads a row, then writes a row; to keep up
it sums the next row, or asks for it, while it still writes this one, and it writes large results
past the caches: see :mod:`.lines`.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray, types
from numba.core import cgutils
from numba.extending import intrinsic

from normcourse.kernels.cpu.compiled import compiled

LINE = 64  # bytes of a cache line


def last_cache(told: Path = Path("/sys/devices/system/cpu/cpu0/cache")) -> int:
    """Return bytes of the last cache; a usual size where the system does not tell.

    Args:
        told: where Linux tells of the caches, a folder for each.

    Example:
        >>> last_cache(Path("nowhere")) == 32 * 2**20
        True
    """
    found = [0]
    for file in told.glob("index*/size"):
        with contextlib.suppress(OSError, ValueError):
            found.append(int(file.read_text(encoding="ascii").strip().removesuffix("K")) * 1024)
    return max(found) or 32 * 2**20


# Bytes of a result from which on it is written past the caches. From 6 MiB on that costs whoever
# reads it next much less than it saves. Below, the memory may well lie in the last cache, as what
# others wrote there; such lines are overwritten sooner there than past it.
STREAM_FROM = min(6 * 2**20, last_cache() // 4)
# The same in new memory: the system just filled it with zeros, which still lie in the last cache.
STREAM_NEW_FROM = last_cache() // 2


@intrinsic  # type: ignore[untyped-decorator]
def pointer(context: Any, address: Any) -> Any:
    """Return an address as what ``carray`` takes."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], cgutils.voidptr_t)

    return types.voidptr(types.intp), codegen


@compiled()
def array_at(address: int, shape: Any, like: Any) -> Any:
    """Return the array that lies at an address, contiguous, of the dtype of ``like``."""
    return carray(pointer(address), shape, like.dtype)


@compiled()
def doubles_at(address: int, shape: Any) -> Any:
    """Return the float64 array that lies at an address, contiguous."""
    return carray(pointer(address), shape, np.float64)


@compiled()
def room_of(values: int) -> Any:
    """Return memory for as many float64 values; arrays in it are made by its address.

    Numba frees it after the last line that names it, so :func:`keep` has to name it at the end.
    """
    return np.empty(values + 1)


@compiled()
def keep(room: Any) -> None:
    """Be the last that needs a room."""
    room[room.size - 1] = 0.0


@intrinsic(prefer_literal=True)  # type: ignore[untyped-decorator]
def on_stack(context: Any, values: Any) -> Any:
    """Return the address of a line of the cache on the stack, with room for ``values`` float64.

    It is valid until the loop that calls this returns. Only a number that is known when the loop
    is compiled will do. The compiler sees that nothing else lies there, and need not look whether
    what it reads is what it writes.
    """
    if not isinstance(values, types.IntegerLiteral):
        return None

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        line = ir.VectorType(ir.FloatType(), LINE // 4)
        lines = -(-values.literal_value * 8 // LINE)
        place = cgutils.alloca_once(builder, ir.ArrayType(line, lines))
        place.align = LINE
        return builder.ptrtoint(place, args[0].type)

    return types.intp(values), codegen

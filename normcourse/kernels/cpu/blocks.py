"""A block: what a call hands to its threads, as 64-bit words that lie side by side.

    0        the part that is free next; whoever comes takes it
    1, 2     how many parts there are, and how many items (rows, groups, channels) in all
    3        eps, a float64
    4        bytes of a number: 4 or 8
    5 to 14  addresses of arrays
    15 on    sizes and options

Threads take parts from one counter, so a thread that comes late, because its core is busy with
something else, does less, and nobody waits for it. None of them needs Python for it.
"""

from __future__ import annotations

import functools
import struct
from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray, types
from numba.extending import intrinsic

from normcourse.kernels.cpu.compiled import compiled
from normcourse.kernels.cpu.memory import doubles_at, pointer

ADDRESSES, NUMBERS = 10, 10
WORDS = 5 + ADDRESSES + NUMBERS
SINGLE, DOUBLE = np.empty(0, np.float32), np.empty(0)  # to tell the dtype


def block(
    parts: int,
    items: int,
    itemsize: int,
    addresses: Sequence[int],
    numbers: Sequence[int],
    eps: float = 0.0,
) -> array[int]:
    """Return the words of a block.

    Example:
        >>> words = block(4, 100, 8, (64, 128), (3, True))
        >>> words[:7].tolist(), words[15:17].tolist(), len(words) == WORDS
        ([0, 4, 100, 0, 8, 64, 128], [3, 1], True)
    """
    head = 0, parts, items, _bits(eps), itemsize
    room = (0,) * (ADDRESSES - len(addresses))
    return array("q", (*head, *addresses, *room, *numbers, *(0,) * (NUMBERS - len(numbers))))


@functools.lru_cache(maxsize=64)
def _bits(number: float) -> int:
    (bits,) = struct.unpack("q", struct.pack("d", number))
    return int(bits)


@intrinsic  # type: ignore[untyped-decorator]
def _next(context: Any, address: Any) -> Any:
    """Return the first word and add one to it, in a step that no other thread interrupts."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word = ir.IntType(64)
        place = builder.inttoptr(args[0], word.as_pointer())
        return builder.atomic_rmw("add", place, word(1), "monotonic")

    return types.int64(types.intp), codegen


@compiled()
def take(address: int) -> tuple[int, int, int]:
    """Return a part that nobody has taken, and its items from start to stop; -1 if there is none.

    The items are shared out evenly; the first parts have one more where that does not come out.
    """
    words = carray(pointer(address), WORDS, np.int64)
    part = _next(address)
    parts = words[1]
    if part >= parts:
        return -1, 0, 0
    size, longer = words[2] // parts, words[2] % parts
    start = part * size + min(part, longer)
    return part, start, start + size + (1 if part < longer else 0)


@compiled()
def opened(address: int) -> tuple[bool, float, Any, Any]:
    """Return whether a block is about float32, its eps, its addresses and its numbers."""
    words = carray(pointer(address), WORDS, np.int64)
    single, eps = words[4] == 4, doubles_at(address, WORDS)[3]
    return single, eps, words[5 : 5 + ADDRESSES], words[5 + ADDRESSES :]

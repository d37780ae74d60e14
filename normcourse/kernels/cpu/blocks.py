"""A block: what a call hands to its threads, as 64-bit words that lie side by side.

    0        the part that is free next; whoever comes takes it
    1, 2     how many parts there are, and how many items (rows, groups, channels) in all
    3        eps, a float64
    4        how many parts are done
    5 to 16  addresses of arrays
    17 on    sizes and options

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
from numba import carray, njit, types
from numba.extending import intrinsic

from normcourse.kernels.cpu.compiled import compiled
from normcourse.kernels.cpu.memory import doubles_at, pointer

HEAD, ADDRESSES, NUMBERS = 5, 12, 10
WORDS = HEAD + ADDRESSES + NUMBERS


def block(
    parts: int,
    items: int,
    addresses: Sequence[int],
    numbers: Sequence[int],
    eps: float = 0.0,
) -> array[int]:
    """Return the words of a block.

    Example:
        >>> words = block(4, 100, (64, 128), (3, True))
        >>> words[:7].tolist(), words[17:19].tolist(), len(words) == WORDS
        ([0, 4, 100, 0, 0, 64, 128], [3, 1], True)
    """
    head = 0, parts, items, _bits(eps), 0
    room = (0,) * (ADDRESSES - len(addresses))
    return array("q", (*head, *addresses, *room, *numbers, *(0,) * (NUMBERS - len(numbers))))


@functools.lru_cache(maxsize=64)
def _bits(number: float) -> int:
    (bits,) = struct.unpack("q", struct.pack("d", number))
    return int(bits)


@intrinsic  # type: ignore[untyped-decorator]
def _next(context: Any, address: Any) -> Any:
    """Return the word at an address and add one to it, in a step that no other thread interrupts.

    What a thread wrote before its step is there for whoever counts on after it.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word = ir.IntType(64)
        place = builder.inttoptr(args[0], word.as_pointer())
        return builder.atomic_rmw("add", place, word(1), "acq_rel")

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


@intrinsic  # type: ignore[untyped-decorator]
def _address(context: Any, place: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.ptrtoint(args[0], context.get_value_type(types.intp))

    return types.intp(place), codegen


@njit(nogil=True, forceinline=True)  # type: ignore[untyped-decorator]
def every_part(loop: Any, place: Any) -> None:
    """Call ``loop(like, addresses, numbers, eps, part, start, stop)`` until no part is left.

    Args:
        loop: a compiled function.
        place: pointer to a block, of the type of the numbers that it is about.

    Not kept between runs: it becomes a piece of each task, which is.
    """
    every_part_and_then(loop, _nothing, place)


@njit(nogil=True, forceinline=True)  # type: ignore[untyped-decorator]
def every_part_and_then(loop: Any, last: Any, place: Any) -> None:
    """Do so, and call ``last(like, addresses, numbers, parts)`` when all parts are done.

    The thread that ends last does that.
    """
    address, like = _address(place), carray(place, 0)
    words, eps = carray(pointer(address), WORDS, np.int64), doubles_at(address, WORDS)[3]
    at, numbers = words[HEAD : HEAD + ADDRESSES], words[HEAD + ADDRESSES :]
    part, start, stop = take(address)
    while part >= 0:
        loop(like, at, numbers, eps, part, start, stop)
        if _next(address + 8 * (HEAD - 1)) == words[1] - 1:
            last(like, at, numbers, words[1])
        part, start, stop = take(address)


@compiled()
def _nothing(like: Any, at: Any, numbers: Any, parts: int) -> None:
    pass

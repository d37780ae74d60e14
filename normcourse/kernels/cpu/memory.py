"""Arrays at addresses, and a word to the memory that NumPy has no name for: do not keep that.

A call hands over addresses, and each loop makes arrays of them (:func:`array_at`). That costs a
tenth of what an array costs on its way from PyTorch by NumPy into compiled code; and nobody counts
who uses such an array. Numba counts that for its own arrays at every slice, in steps that no other
thread may interrupt, and the processor begins such a step when all that was written has arrived in
memory: a loop over rows would wait there at every row.

A copy of a large array reads and writes at once. A norm reads a row, then writes a row; to keep up
it asks for the next row while it still writes this one (:func:`fetch`), and it writes results too
large for any cache past the caches (:func:`stream`): an ordinary store first reads the line that
it is about to overwrite.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray, types
from numba.core import cgutils
from numba.extending import intrinsic

from normcourse.kernels.cpu.compiled import compiled

LINE = 64  # bytes of a cache line
STAGE = 256  # values that are put together before they are written past the caches


def _stream_from() -> int:
    """Return bytes of a result from which on it is written past the caches: a quarter of the last.

    With what was read for it, and what is read next, it would not stay there.
    """
    try:
        last = os.sysconf("SC_LEVEL3_CACHE_SIZE")
    except (AttributeError, OSError, ValueError):  # no such name here
        last = 0
    return (last if last > 0 else 32 * 2**20) // 4


STREAM_FROM = _stream_from()


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


@intrinsic  # type: ignore[untyped-decorator]
def _fetch_lines(context: Any, address: Any, lines: Any) -> Any:
    """Ask for ``lines`` cache lines from ``address`` on; never faults, changes no value."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        byte, number = ir.IntType(8), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte.as_pointer(), number, number, number])
        prefetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        base = builder.inttoptr(args[0], byte.as_pointer())
        step = context.get_constant(types.intp, LINE)
        with cgutils.for_range(builder, args[1]) as loop:
            place = builder.gep(base, [builder.mul(loop.index, step)])
            builder.call(prefetch, [place, number(0), number(2), number(1)])  # read, into L2, data
        return context.get_dummy_value()

    return types.void(types.uintp, types.intp), codegen


@intrinsic  # type: ignore[untyped-decorator]
def _stream_lines(context: Any, target: Any, source: Any, lines: Any) -> Any:
    """Copy whole lines to an aligned target past the caches."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        line = ir.VectorType(ir.FloatType(), LINE // 4)
        past_caches = builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)])
        target = builder.inttoptr(args[0], line.as_pointer())
        source = builder.inttoptr(args[1], line.as_pointer())
        with cgutils.for_range(builder, args[2]) as loop:
            value = builder.load(builder.gep(source, [loop.index]), align=4)
            store = builder.store(value, builder.gep(target, [loop.index]), align=LINE)
            store.set_metadata("nontemporal", past_caches)
        return context.get_dummy_value()

    return types.void(types.uintp, types.uintp, types.intp), codegen


@compiled()
def fetch(row: Any) -> None:
    """Ask for a row that will be read soon."""
    _fetch_lines(row.ctypes.data, row.size * row.itemsize // LINE)


@compiled()
def stream(row: Any, out: Any) -> None:
    """Copy ``row`` to ``out`` past the caches."""
    size, item = row.size, row.itemsize
    head = min(size, (-(out.ctypes.data // item)) % (LINE // item))  # up to the first whole line
    for j in range(head):
        out[j] = row[j]
    lines = (size - head) * item // LINE
    offset = head * item
    _stream_lines(out.ctypes.data + offset, row.ctypes.data + offset, lines)
    for j in range(head + lines * (LINE // item), size):
        out[j] = row[j]

"""Two words to the memory that NumPy has no name for: fetch this soon, and do not keep that.

A copy of a large array reads and writes at once. A norm reads a row, then writes a row; to keep up
it asks for the next row while it still writes this one (:func:`fetch`), and it writes results too
large for any cache past the caches (:func:`stream`): an ordinary store first reads the line that
it is about to overwrite.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from normcourse.kernels.cpu.compiled import compiled

LINE = 64  # bytes of a cache line
STREAM_FROM = 64 * 2**20  # bytes of a result from which on it is written past the caches


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
def _stream_lines(context: Any, target: Any, source: Any, lines: Any, coming: Any) -> Any:
    """Copy whole lines to an aligned target past the caches; fetch as many from ``coming``."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        byte, number = ir.IntType(8), ir.IntType(32)
        line = ir.VectorType(ir.FloatType(), LINE // 4)
        kind = ir.FunctionType(ir.VoidType(), [byte.as_pointer(), number, number, number])
        prefetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        past_caches = builder.module.add_metadata([ir.Constant(number, 1)])
        target = builder.inttoptr(args[0], line.as_pointer())
        source = builder.inttoptr(args[1], line.as_pointer())
        coming = builder.inttoptr(args[3], line.as_pointer())
        with cgutils.for_range(builder, args[2]) as loop:
            ahead = builder.bitcast(builder.gep(coming, [loop.index]), byte.as_pointer())
            builder.call(prefetch, [ahead, number(0), number(3), number(1)])
            value = builder.load(builder.gep(source, [loop.index]), align=4)
            store = builder.store(value, builder.gep(target, [loop.index]), align=LINE)
            store.set_metadata("nontemporal", past_caches)
        return context.get_dummy_value()

    return types.void(types.uintp, types.uintp, types.intp, types.uintp), codegen


@compiled()
def fetch(row: Any) -> None:
    """Ask for a row that will be read soon."""
    _fetch_lines(row.ctypes.data, row.size * row.itemsize // LINE)


@compiled()
def stream(row: Any, out: Any, coming: Any) -> None:
    """Copy ``row`` to ``out`` past the caches; ``coming`` is the row that will be read next."""
    size, item = row.size, row.itemsize
    head = min(size, (-(out.ctypes.data // item)) % (LINE // item))  # up to the first whole line
    for j in range(head):
        out[j] = row[j]
    lines = (size - head) * item // LINE
    offset = head * item
    _stream_lines(out.ctypes.data + offset, row.ctypes.data + offset, lines, coming.ctypes.data)
    for j in range(head + lines * (LINE // item), size):
        out[j] = row[j]

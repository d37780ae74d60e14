"""A line of the cache in registers: 64 bytes of float32 or float64, with the sums and products.

Numba leaves vectors to the compiler, which makes them of ordinary loops, but not of a loop that
writes past the caches: such a store takes a whole aligned line, and no loop over values promises
that. So here a loop goes over lines itself. An ordinary store first reads the line that it is about
to overwrite; :func:`put` does not.

Stores past the caches reach memory fastest where they are spread among reads, line by line. What
was first put together and then written in one go was a quarter slower.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

from normcourse.kernels.cpu.compiled import compiled
from normcourse.kernels.cpu.memory import LINE

_IR = {32: ir.FloatType(), 64: ir.DoubleType()}


class Line(types.Type):  # type: ignore[misc]
    """Type of a line of numbers of one dtype."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        super().__init__(name=f"Line({dtype})")

    @property
    def vector(self) -> ir.VectorType:
        """Its type in the compiler."""
        return ir.VectorType(_IR[self.dtype.bitwidth], LINE * 8 // self.dtype.bitwidth)


@register_model(Line)
class _Model(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Line) -> None:
        super().__init__(manager, kind, kind.vector)


def _place(context: Any, builder: Any, kind: Any, row: Any, j: Any) -> Any:
    """Return the pointer to ``row[j]`` of a contiguous array."""
    array = context.make_array(kind)(context, builder, row)
    return builder.gep(array.data, [j])


@intrinsic  # type: ignore[untyped-decorator]
def line_at(context: Any, row: Any, j: Any) -> Any:
    """Return the line that begins at ``row[j]``, wherever that lies."""
    line = Line(row.dtype)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = builder.bitcast(_place(context, builder, row, *args), line.vector.as_pointer())
        return builder.load(pointer, align=row.dtype.bitwidth // 8)

    return line(row, types.intp), codegen


def _store(line: Any, row: Any, past_caches: bool) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = _place(context, builder, row, args[1], args[2])
        pointer = builder.bitcast(pointer, line.vector.as_pointer())
        align = LINE if past_caches else row.dtype.bitwidth // 8
        store = builder.store(args[0], pointer, align=align)
        if past_caches:
            number = ir.Constant(ir.IntType(32), 1)
            store.set_metadata("nontemporal", builder.module.add_metadata([number]))
        return context.get_dummy_value()

    return types.void(line, row, types.intp), codegen


@intrinsic  # type: ignore[untyped-decorator]
def _put_past_caches(context: Any, line: Any, row: Any, j: Any) -> Any:
    return _store(line, row, True)


@intrinsic  # type: ignore[untyped-decorator]
def place(context: Any, line: Any, row: Any, j: Any) -> Any:
    """Write a line to ``row[j]`` and on, wherever that lies."""
    return _store(line, row, False)


@compiled()
def put(line: Any, row: Any, j: int, streaming: bool) -> None:
    """Write a line to ``row[j]`` and on; past the caches if ``streaming``, which begins a line."""
    if streaming:
        _put_past_caches(line, row, j)
    else:
        place(line, row, j)


@intrinsic  # type: ignore[untyped-decorator]
def fetch(context: Any, row: Any, j: Any) -> Any:
    """Ask for the line that ``row[j]`` lies in, which will be read soon."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        byte, number = ir.IntType(8), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte.as_pointer(), number, number, number])
        prefetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        pointer = builder.bitcast(_place(context, builder, row, *args), byte.as_pointer())
        builder.call(prefetch, [pointer, number(0), number(2), number(1)])  # read, into L2, data
        return context.get_dummy_value()

    return types.void(row, types.intp), codegen


@intrinsic  # type: ignore[untyped-decorator]
def spread(context: Any, value: Any) -> Any:
    """Return a line of one value."""
    line = Line(value)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        empty, first = ir.Constant(line.vector, ir.Undefined), ir.IntType(32)(0)
        one = builder.insert_element(empty, args[0], first)
        return builder.shuffle_vector(
            one, empty, ir.Constant(ir.VectorType(ir.IntType(32), line.vector.count), None)
        )

    return line(value), codegen


@intrinsic  # type: ignore[untyped-decorator]
def total_of(context: Any, line: Any) -> Any:
    """Return the sum of a line's numbers, pairwise."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        (value,), many = args, line.vector.count
        while many > 1:
            many //= 2
            halves = [
                ir.Constant(ir.VectorType(ir.IntType(32), many), list(range(k, k + many)))
                for k in (0, many)
            ]
            value = builder.fadd(
                *(builder.shuffle_vector(value, value, indices) for indices in halves)
            )
        return builder.extract_element(value, ir.IntType(32)(0))

    return line.dtype(line), codegen


@intrinsic  # type: ignore[untyped-decorator]
def at_least(context: Any, line: Any, floor: Any) -> Any:
    """Return the line, with ``floor`` where it is smaller; NaN stays."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_ordered("<", *args), args[1], args[0])

    return line(line, floor), codegen


@intrinsic  # type: ignore[untyped-decorator]
def where_positive(context: Any, line: Any, chosen: Any) -> Any:
    """Return ``chosen`` where the line is positive, and 0 elsewhere."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        zero = ir.Constant(line.vector, None)
        return builder.select(builder.fcmp_ordered(">", args[0], zero), args[1], zero)

    return line(line, chosen), codegen


def _operator(sign: Callable[[Any, Any], Any], name: str) -> None:
    """Make an operator of lines an instruction; nothing is compiled for it, unlike an overload."""

    @infer_global(sign)
    class _Typed(AbstractTemplate):  # type: ignore[misc]
        def generic(self, args: Any, kws: Any) -> Any:
            a, b = args if len(args) == 2 else (None, None)
            return signature(a, a, b) if isinstance(a, Line) and a == b else None

    @lower_builtin(sign, Line, Line)  # type: ignore[untyped-decorator]
    def lowered(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return getattr(builder, name)(*args, flags=("contract",))


_operator(operator.add, "fadd")
_operator(operator.sub, "fsub")
_operator(operator.mul, "fmul")


@compiled()
def lanes(row: Any) -> int:
    """Return how many values of a row a line holds."""
    count: int = LINE // row.itemsize
    return count


@compiled()
def whole(row: Any) -> int:
    """Return how many values of a row are whole lines; the rest is less than one."""
    count: int = row.size // lanes(row) * lanes(row)
    return count


@compiled()
def whole_lines(row: Any) -> tuple[int, int]:
    """Return from where to where a row is lines of the cache; what is around is less than one."""
    head = min(row.size, (-(row.ctypes.data // row.itemsize)) % lanes(row))
    return head, head + whole(row[head:])

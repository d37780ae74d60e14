"""How values travel between a learner's process and the judge: arrays and plain data, never code.

A message is a header in JSON followed by the raw little-endian bytes of its arrays:

    b"NC1\\n" | header length, 8 bytes | header | array bytes

Decoding trusts nothing: kinds, dtypes, ranks, sizes and depth are checked against fixed limits
before memory is taken. What cannot travel (a tensor, a generator, any other object) arrives as
``Unsupported`` with the name of its type, so that the judge can say what came.

The file stands alone (standard library and NumPy), since the sandboxed worker carries a copy.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

MAGIC = b"NC1\n"
MAX_BYTES = 64 * 1024 * 1024
MAX_HEADER = 4 * 1024 * 1024
MAX_NODES = 20_000
MAX_DEPTH = 16
MAX_RANK = 16
MAX_TEXT = 200_000
_DTYPES = frozenset(
    {"|b1", "|i1", "|u1", "<i2", "<i4", "<i8", "<u2", "<u4", "<u8"}
    | {"<f2", "<f4", "<f8", "<c8", "<c16"}
)


class CodecError(ValueError):
    """A message that is not one of ours: truncated, oversized or lying about itself."""


@dataclass(frozen=True)
class Unsupported:
    """Stands for a value that cannot travel; ``type_name`` says what it was."""

    type_name: str


def encode(value: Any) -> bytes:
    """Return ``value`` as bytes.

    Args:
        value: None, bool, int, float, str, a NumPy array or number, or lists, tuples and dicts
            (with text keys) of these. Anything else is encoded as :class:`Unsupported`.

    Raises:
        CodecError: the value is larger or nested deeper than the limits allow.

    Example:
        >>> decode(encode({"y": np.array([1.0, 2.0]), "n": 3}))
        {'y': array([1., 2.]), 'n': 3}
    """
    blobs: list[bytes] = []
    state = _Budget()
    header = json.dumps(_pack(value, blobs, state, 0), separators=(",", ":")).encode()
    if len(header) > MAX_HEADER:
        raise CodecError(f"header of {len(header)} bytes, at most {MAX_HEADER} allowed")
    return b"".join((MAGIC, len(header).to_bytes(8, "little"), header, *blobs))


def decode(message: bytes) -> Any:
    """Return the value of a message made by :func:`encode`.

    Raises:
        CodecError: the message is malformed in any way.

    Example:
        >>> decode(b"junk")
        Traceback (most recent call last):
        normcourse.checks.codec.CodecError: message does not begin with the magic bytes
    """
    if message[:4] != MAGIC:
        raise CodecError("message does not begin with the magic bytes")
    length = int.from_bytes(message[4:12], "little")
    if len(message) < 12 or length > MAX_HEADER or 12 + length > len(message):
        raise CodecError("header is longer than the message")
    try:
        header = json.loads(message[12 : 12 + length])
    except (ValueError, RecursionError) as error:
        raise CodecError("header is not JSON") from error
    reader = _Reader(memoryview(message)[12 + length :])
    value = _unpack(header, reader, _Budget(), 0)
    if reader.position != len(reader.data):
        raise CodecError("bytes left over after the last array")
    return value


class _Budget:
    """Counts what a message may still hold."""

    def __init__(self) -> None:
        self.nodes, self.bytes = MAX_NODES, MAX_BYTES

    def spend(self, size: int, depth: int) -> None:
        self.nodes -= 1
        self.bytes -= size
        if self.nodes < 0 or self.bytes < 0 or depth > MAX_DEPTH:
            raise CodecError(
                f"value too large: at most {MAX_BYTES // 2**20} MB, {MAX_NODES} items, "
                f"{MAX_DEPTH} levels"
            )


class _Reader:
    """Hands out the array bytes one after the other."""

    def __init__(self, data: memoryview) -> None:
        self.data, self.position = data, 0

    def take(self, size: int) -> memoryview:
        end = self.position + size
        if end > len(self.data):
            raise CodecError("array is longer than the message")
        chunk = self.data[self.position : end]
        self.position = end
        return chunk


def _pack(value: Any, blobs: list[bytes], budget: _Budget, depth: int) -> list[Any]:
    kind = type(value)
    if value is None or kind is bool:
        budget.spend(1, depth)
        return ["plain", value]
    if kind is int and abs(value) < 2**63:
        budget.spend(8, depth)
        return ["plain", value]
    if kind is float:
        budget.spend(8, depth)
        return ["float", value.hex()]
    if kind is str:
        budget.spend(min(len(value), MAX_TEXT), depth)
        return ["plain", value[:MAX_TEXT].encode(errors="replace").decode()]
    if kind is np.ndarray or isinstance(value, np.generic):
        return _pack_array(value, blobs, budget, depth)
    if kind in (list, tuple):
        budget.spend(8, depth)
        return [kind.__name__, [_pack(v, blobs, budget, depth + 1) for v in value]]
    if kind is dict and all(type(k) is str for k in value):
        budget.spend(8, depth)
        items = [[k[:200], _pack(v, blobs, budget, depth + 1)] for k, v in value.items()]
        return ["dict", items]
    if kind is Unsupported:
        return ["unsupported", value.type_name[:200]]
    budget.spend(1, depth)
    return ["unsupported", f"{kind.__module__}.{kind.__qualname__}"[:200]]


def _pack_array(value: Any, blobs: list[bytes], budget: _Budget, depth: int) -> list[Any]:
    array = np.asarray(value)
    if array.dtype.char in "gG":  # long double, which is double on other platforms
        array = array.astype("f8" if array.dtype.char == "g" else "c16")
    dtype = array.dtype.newbyteorder("<")
    if dtype.str not in _DTYPES:
        return ["unsupported", f"numpy array of dtype {array.dtype}"]
    budget.spend(array.size * array.itemsize, depth)
    blobs.append(array.astype(dtype, copy=False).tobytes())  # C order, strides resolved
    return ["array", dtype.str, list(array.shape)]


def _unpack(node: Any, reader: _Reader, budget: _Budget, depth: int) -> Any:
    match node:
        case ["plain", None | bool() | int() | str() as value]:
            budget.spend(len(value) if isinstance(value, str) else 1, depth)
            return value
        case ["float", str(text)] if len(text) < 64:
            budget.spend(8, depth)
            return _float(text)
        case ["array", str(dtype), list(shape)]:
            return _unpack_array(dtype, shape, reader, budget, depth)
        case ["list" | "tuple" as kind, list(items)]:
            budget.spend(8, depth)
            values = [_unpack(item, reader, budget, depth + 1) for item in items]
            return values if kind == "list" else tuple(values)
        case ["dict", list(items)] if all(_is_item(item) for item in items):
            budget.spend(8, depth)
            pairs = [(key, _unpack(item, reader, budget, depth + 1)) for key, item in items]
            if len({key for key, _ in pairs}) != len(pairs):
                raise CodecError("a name occurs twice")
            return dict(pairs)
        case ["unsupported", str(name)] if len(name) <= 200:
            budget.spend(1, depth)
            return Unsupported(name)
    raise CodecError("header holds an unknown kind of value")


def _unpack_array(
    dtype: str, shape: list[Any], reader: _Reader, budget: _Budget, depth: int
) -> np.ndarray[Any, Any]:
    if dtype not in _DTYPES:
        raise CodecError(f"dtype {dtype[:20]!r} is not allowed")
    if len(shape) > MAX_RANK or not all(type(n) is int and 0 <= n < 2**40 for n in shape):
        raise CodecError("shape is not a short list of sizes")
    size = math.prod(shape) * np.dtype(dtype).itemsize
    budget.spend(size, depth)
    flat = np.frombuffer(reader.take(size), dtype=dtype)
    return flat.reshape(shape).copy()


def _float(text: str) -> float:
    try:
        return float.fromhex(text)
    except (ValueError, OverflowError) as error:
        raise CodecError("a number is not written as one") from error


def _is_item(item: Any) -> bool:
    return isinstance(item, list) and len(item) == 2 and isinstance(item[0], str)

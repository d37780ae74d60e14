"""Values travel whole, and a forged message is refused before it costs anything."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from normcourse.checks import codec
from normcourse.checks.codec import CodecError, Unsupported, decode, encode

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63) + 1, 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)
ARRAYS = hnp.arrays(
    st.sampled_from(["f2", "f4", "f8", "i4", "i8", "u1", "?", "c16"]),
    hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
)


def message(header: Any, blob: bytes = b"") -> bytes:
    """Return a message with a header of one's own."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return codec.MAGIC + len(text).to_bytes(8, "little") + text + blob


@given(PLAIN)
@settings(derandomize=True, deadline=None, max_examples=200)
def test_plain_values_return_as_they_went(value: Any) -> None:
    assert decode(encode(value)) == value


@given(ARRAYS)
@settings(derandomize=True, deadline=None, max_examples=200)
def test_arrays_return_with_shape_dtype_and_bytes(array: Any) -> None:
    back = decode(encode({"y": array}))["y"]
    assert back.shape == array.shape
    assert back.dtype == array.dtype.newbyteorder("<")
    assert back.tobytes() == np.ascontiguousarray(array).tobytes()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.0, 1e-310])
def test_odd_floats_travel(value: float) -> None:
    assert repr(decode(encode(value))) == repr(value)


def test_views_and_big_endian_arrays_are_laid_out_anew() -> None:
    x = np.arange(12, dtype=">f8").reshape(3, 4)
    for array in (x, x.T, x[:, ::2], np.broadcast_to(x[0], (2, 4))):
        np.testing.assert_array_equal(decode(encode(array)), array)


class Tensor:
    """Some type that is not ours."""


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (Tensor(), "Tensor"),
        ((n for n in range(3)), "generator"),
        (np.array([None, 1]), "object"),
        (np.array(["a"]), "dtype <U1"),
        (np.ma.masked_array([1.0]), "MaskedArray"),
        (2**80, "int"),
        ({1: 2}, "dict"),
    ],
)
def test_what_cannot_travel_arrives_by_name(value: Any, name: str) -> None:
    back = decode(encode(value))
    assert isinstance(back, Unsupported)
    assert name in back.type_name


def test_a_subclass_with_behaviour_of_its_own_does_not_travel() -> None:
    class Liar(np.ndarray):
        pass

    assert isinstance(decode(encode(np.zeros(3).view(Liar))), Unsupported)


def test_too_much_is_refused_while_encoding() -> None:
    with pytest.raises(CodecError, match="too large"):
        encode(np.broadcast_to(np.float64(0), (2**20, 64)))  # 512 MB from 8 bytes
    deep: list[Any] = []
    for _ in range(40):
        deep = [deep]
    with pytest.raises(CodecError, match="levels"):
        encode(deep)


@pytest.mark.parametrize(
    "forged",
    [
        b"",
        b"NC1\n",
        b"\x80\x04cos\nsystem\n",
        codec.MAGIC + (2**60).to_bytes(8, "little") + b"{}",
        message(b"not json"),
        message(b"[" * 100_000),
        message(["array", "<f8", [3]], b"\0" * 8),
        message(["array", "<f8", [1]], b"\0" * 16),
        message(["array", "<f8", [2**39]]),
        message(["array", "<f8", [-1]]),
        message(["array", "<f8", [1.5]]),
        message(["array", "<f8", [1] * 40], b"\0" * 8),
        message(["array", "|O", [1]], b"\0" * 8),
        message(["array", "<U4", [1]], b"\0" * 16),
        message(["dict", [["a", ["plain", 1]], ["a", ["plain", 2]]]]),
        message(["dict", [["a"]]]),
        message(["float", "zz"]),
        message(["pickle", "gASV"]),
        message({"plain": 1}),
        message(["list", [["plain", 0]] * 30_000]),
    ],
)
def test_forged_messages_are_refused(forged: bytes) -> None:
    with pytest.raises(CodecError):
        decode(forged)


@given(st.binary(max_size=200), st.integers(0, 60), st.integers(0, 255))
@settings(derandomize=True, deadline=None, max_examples=300)
def test_noise_never_does_worse_than_codec_error(noise: bytes, place: int, byte: int) -> None:
    good = bytearray(encode({"y": np.arange(3.0), "n": 1}))
    good[place % len(good)] = byte
    for candidate in (noise, codec.MAGIC + noise, bytes(good)):
        try:
            decode(candidate)
        except CodecError:
            continue

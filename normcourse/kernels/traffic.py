"""Bytes between memory and the processor: how many a norm needs, and how many a program moves.

A norm *needs* to read its input once, or twice where the values that share a mean do not fit into
the cache, and to write its output. A program written step by step *moves* more: each operation
reads its arrays and writes a new one. :class:`Counted` counts that by watching NumPy work.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from normcourse.kernels.cases import Case
from normcourse.kernels.contenders import Textbook, draw

Array = np.ndarray[Any, np.dtype[Any]]
CACHE = 1 << 18  # bytes that a core keeps near, on usual machines


class Traffic(NamedTuple):
    """Bytes read and written."""

    read: int
    written: int

    @property
    def total(self) -> int:
        """Bytes in both directions."""
        return self.read + self.written


def pooled_values(method: str, shape: Sequence[int], groups: int = 32) -> int:
    """Return how many values share one mean (or mean square), and 0 where none is computed.

    Args:
        method: "batch_norm", "batch_norm_inference", "layer_norm", "rms_norm", "instance_norm" or
            "group_norm".
        shape: of x. Layer and RMS norm pool the last axis; the others take (N, C, *).
        groups: of group norm.

    Raises:
        ValueError: another method.

    Example:
        >>> pooled_values("batch_norm", (32, 64, 7, 7)), pooled_values("layer_norm", (128, 768))
        (1568, 768)
    """
    positions = math.prod(shape[2:])
    if method in ("layer_norm", "rms_norm"):
        return shape[-1]
    counts = {
        "batch_norm": shape[0] * positions,
        "batch_norm_inference": 0,
        "instance_norm": positions,
        "group_norm": shape[1] // groups * positions,
    }
    if method not in counts:
        known = ", ".join([*counts, "layer_norm", "rms_norm"])
        raise ValueError(f"method: expected one of {known}, got {method!r}.")
    return counts[method]


def needed(
    method: str,
    what: str,
    shape: Sequence[int],
    *,
    itemsize: int = 4,
    groups: int = 32,
    cache: int = CACHE,
) -> Traffic:
    """Return the bytes that a norm has to move at least, parameters and statistics aside.

    Formula:
        forward  = looks * x + y,   backward = looks * (dy + x) + dx
        looks = 1 if the values that share a mean fit into the cache, else 2

    Args:
        method: as in :func:`pooled_values`.
        what: "forward" or "backward".
        shape: of x.
        itemsize: bytes per value.
        groups: of group norm.
        cache: bytes that stay near between the first and the second look.

    Returns:
        Bytes read and written.

    Raises:
        ValueError: another method or direction.

    Example:
        >>> needed("layer_norm", "forward", (4096, 768)).total / (4096 * 768 * 4)
        2.0
        >>> needed("batch_norm", "backward", (32, 64, 56, 56)).total / (32 * 64 * 56 * 56 * 4)
        5.0
    """
    inputs = {"forward": 1, "backward": 2}
    if what not in inputs:
        raise ValueError(f"what: expected forward or backward, got {what!r}.")
    array = math.prod(shape) * itemsize
    near = inputs[what] * pooled_values(method, shape, groups) * itemsize
    looks = 1 if near <= cache else 2
    return Traffic(looks * inputs[what] * array, array)


class Counted(np.ndarray[Any, np.dtype[Any]]):
    """An array whose every operation is counted: bytes of its inputs, bytes of its result."""

    tally: list[int]

    def __array_finalize__(self, parent: object) -> None:
        """Views and results share one tally."""
        self.tally = getattr(parent, "tally", [0, 0])

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        """Compute with plain arrays and add the bytes of all of them to the tally."""
        plain = [one.view(np.ndarray) if isinstance(one, Counted) else one for one in inputs]
        out = options.get("out")
        if out is not None:
            options["out"] = tuple(np.asarray(one) for one in out)
        result = getattr(ufunc, method)(*plain, **options)
        self.tally[0] += sum(np.asarray(one).nbytes for one in plain if np.ndim(one))
        self.tally[1] += np.asarray(result).nbytes
        return _watched(result, self.tally)


def _watched(array: Any, tally: list[int]) -> Any:
    watched = np.asarray(array).view(Counted)
    watched.tally = tally
    return watched


def moved(function: Callable[..., object], *arrays: Array) -> Traffic:
    """Return the bytes that a NumPy function moves if each operation goes to memory and back.

    Args:
        function: computes with ufuncs, ``sum``, ``mean`` and ``var``; single numbers are free.
        arrays: its arguments.

    Returns:
        Bytes read and written, in all its operations.

    Example:
        >>> moved(lambda x: 2 * x + 1, np.zeros(1000)).total
        32000
    """
    tally = [0, 0]
    function(*(_watched(array, tally) for array in arrays))
    return Traffic(*tally)


def textbook(case: Case) -> tuple[float, float]:
    """Return the arrays of x's size that the formula moves as one writes it in NumPy.

    Args:
        case: a norm and a shape.

    Returns:
        Arrays read and written, forward and backward, if each operation goes to memory and back.

    Example:
        >>> from normcourse.kernels.cases import CASES
        >>> tuple(round(arrays) for arrays in textbook(CASES[2]))
        (15, 21)
    """
    arrays = [one.detach().numpy() for one in draw(case)]
    tally = [0, 0]
    book, weight = Textbook(case), next(one for one in arrays if one.ndim == 1)
    outputs = book.forward(*(_watched(array, tally) for array in arrays))
    forward = sum(tally)
    tally[:] = [0, 0]
    book.backward([_watched(np.ones_like(one), tally) for one in outputs], weight)
    return forward / arrays[0].nbytes, sum(tally) / arrays[0].nbytes

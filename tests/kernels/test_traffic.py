"""Bytes: what a norm needs, against the benchmark's counts; what NumPy moves, against a count."""

from __future__ import annotations

import math

import numpy as np
import pytest

from normcourse.kernels.cases import CASES, Case
from normcourse.kernels.traffic import (
    CACHE,
    Counted,
    Traffic,
    moved,
    needed,
    pooled_values,
    textbook,
)

X = np.random.default_rng(0).normal(3.0, 2.0, (6, 50)).astype(np.float32)
METHOD = {"inference": "batch_norm_inference"}


@pytest.mark.parametrize("what", ["forward", "backward"])
@pytest.mark.parametrize(
    "case", [c for c in CASES if c.method != "add_rms_norm"], ids=lambda case: case.name
)
def test_it_needs_what_the_benchmark_counts(case: Case, what: str) -> None:
    """Where a channel of the batch fits into the cache, batch norm is spared its second look."""
    method = METHOD.get(case.method, case.method)
    found = needed(method, what, case.shape, groups=case.groups).total / case.nbytes
    if case.name == "batch norm, late":
        assert found == {"forward": 2, "backward": 3}[what]
    else:
        assert found == getattr(case, what)


@pytest.mark.parametrize(
    ("method", "values"),
    [
        ("batch_norm", 4 * 30),
        ("batch_norm_inference", 0),
        ("instance_norm", 30),
        ("group_norm", 2 * 30),
        ("layer_norm", 6),
        ("rms_norm", 6),
    ],
)
def test_how_many_values_share_a_mean(method: str, values: int) -> None:
    assert pooled_values(method, (4, 8, 5, 6), groups=4) == values


@pytest.mark.parametrize("itemsize", [2, 4])
def test_a_second_look_where_the_cache_is_too_small(itemsize: int) -> None:
    shape = (3, 1000)
    array = 3000 * itemsize
    fits = 1000 * itemsize
    options = {"itemsize": itemsize}
    assert needed("layer_norm", "forward", shape, cache=fits, **options) == (array, array)
    assert needed("layer_norm", "forward", shape, cache=fits - 1, **options) == (2 * array, array)
    # backward, dy and x have to stay
    assert needed("layer_norm", "backward", shape, cache=2 * fits, **options).read == 2 * array
    assert needed("layer_norm", "backward", shape, cache=2 * fits - 1, **options).read == 4 * array


def test_a_fixed_map_never_looks_twice() -> None:
    assert needed("batch_norm_inference", "forward", (9, 9), cache=0).total == 2 * 81 * 4


def test_errors_say_what_was_expected() -> None:
    with pytest.raises(ValueError, match=r"method: expected one of batch_norm.*got 'norm'"):
        pooled_values("norm", (2, 3))
    with pytest.raises(ValueError, match="what: expected forward or backward, got 'sideways'"):
        needed("layer_norm", "sideways", (2, 3))


def test_moved_by_hand() -> None:
    """x - mean, its square, their mean: three reads of x's size and two writes, and the mean."""
    array, column = X.nbytes, X.shape[0] * X.itemsize

    def variance(x: np.ndarray) -> np.ndarray:
        d = x - mean  # reads x and the mean, writes d
        return np.add.reduce(d * d, axis=-1)  # reads d twice, writes; reads, writes a column

    mean = X.mean(axis=-1, keepdims=True)
    assert moved(variance, X) == Traffic(4 * array + column, 2 * array + column)


def test_watching_changes_no_value() -> None:
    def layer_norm(x: np.ndarray) -> np.ndarray:
        return (x - x.mean(axis=-1, keepdims=True)) / np.sqrt(x.var(axis=-1, keepdims=True) + 1e-5)

    watched = X.view(Counted)
    np.testing.assert_array_equal(np.asarray(layer_norm(watched)), layer_norm(X))
    assert watched.tally[0] > X.nbytes
    assert moved(layer_norm, X).total > 4 * needed("layer_norm", "forward", X.shape).total


def test_the_tally_is_of_one_call() -> None:
    assert moved(np.negative, X) == moved(np.negative, X) == (X.nbytes, X.nbytes)
    assert math.log2(CACHE) == 18


@pytest.mark.parametrize(
    ("method", "forward"),
    [
        # mean 1, variance 1 + 2 + 2 + 1, centred 2, divided 2, scaled 2, shifted 2
        ("layer_norm", 15),
        ("batch_norm", 15),
        ("rms_norm", 7),  # squares 2, mean 1, divided 2, scaled 2
    ],
)
def test_the_textbook_by_hand(method: str, forward: int) -> None:
    """Rows and parameters are small beside x."""
    shape = (40, 50, 8, 8) if method == "batch_norm" else (60, 800)
    case = Case("small", method, shape, 2, 3, "nowhere")
    found, backward = textbook(case)
    assert found == pytest.approx(forward, abs=0.2)
    assert backward > found

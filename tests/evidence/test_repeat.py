"""A recorded seed run anew: what differs is named, and the record stays as it is."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from recorded_specimens import MEASURED, measured

from normcourse.evidence import records, run_full
from normcourse.evidence.repeat import differences, repeat
from normcourse.experiments import Row


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(records, "_FOLDER", tmp_path)
    return tmp_path


def test_same_numbers_and_a_record_left_alone(folder: Path) -> None:
    run_full(MEASURED)
    before = (folder / "measured.json").read_bytes()
    for seed in (0, 7):
        done = repeat(MEASURED, seed)
        assert done.differs == {}
        assert done.seeds == MEASURED.full_seeds
        assert done.all_seeds == done.seconds * MEASURED.full_seeds
    assert (folder / "measured.json").read_bytes() == before


def test_names_the_column_that_differs_and_by_how_much() -> None:
    run_full(MEASURED)

    def louder(seed: int, *, scale: float) -> list[Row]:
        return [{**row, "loss": 1.25 * float(row["loss"])} for row in measured(seed, scale=scale)]

    done = repeat(replace(MEASURED, run=louder), seed=4)
    assert done.differs == {"loss": pytest.approx(0.2, rel=1e-4)}


def test_without_record_or_seed() -> None:
    with pytest.raises(FileNotFoundError, match="normcourse evidence run measured"):
        repeat(MEASURED)
    run_full(MEASURED)
    with pytest.raises(KeyError, match="no seed 99 in the record; there are 0, 1"):
        repeat(MEASURED, 99)


@pytest.mark.parametrize(
    ("now", "then", "found"),
    [
        ([{"a": 1.0}], [{"a": 1.0}], {}),
        ([{"a": math.nan, "b": math.inf}], [{"a": math.nan, "b": math.inf}], {}),
        ([{"a": 3}, {"a": 4}], [{"a": 4}, {"a": 5}], {"a": 0.25}),
        ([{"a": -1.0}], [{"a": 1.0}], {"a": 2.0}),
        ([{"a": 0.0}], [{"a": 2.0}], {"a": 1.0}),
        ([{"a": math.inf}], [{"a": 2.0}], {"a": math.inf}),
        ([{"a": "batch"}], [{"a": "layer"}], {"a": math.inf}),
        ([{"a": 1}], [{"a": 1, "b": 2}], {"b": math.inf}),
        ([{"a": 1}], [{"a": 1}, {"a": 2}], {"rows": math.inf}),
    ],
)
def test_differences(now: list[Row], then: list[Row], found: dict[str, float]) -> None:
    assert differences(now, then) == found

"""A seed once more: does it give the recorded numbers here, and what would all seeds take?"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from normcourse.evidence.records import as_recorded, recorded
from normcourse.experiments import Experiment, Row
from normcourse.experiments.result import Value


@dataclass(frozen=True)
class Repeat:
    """One seed of an experiment, run once more.

    Attributes:
        experiment: its name.
        seconds: what the seed took now.
        before: what it took when it was recorded.
        seeds: of the record.
        differs: of each column that differs, the largest difference over the larger of both
            numbers; infinite for words, for rows that are not there, and where one is not finite.
    """

    experiment: str
    seconds: float
    before: float
    seeds: int
    differs: Mapping[str, float]

    @property
    def all_seeds(self) -> float:
        """Seconds that all seeds of the record would take, one after the other."""
        return self.seconds * self.seeds


def repeat(experiment: Experiment, seed: int = 0) -> Repeat:
    """Run one recorded seed of an experiment anew, on one core, and compare.

    The record is left as it is.

    Args:
        experiment: one that is recorded.
        seed: one of the record.

    Returns:
        What it took, and which columns differ.

    Raises:
        FileNotFoundError: there is no record.
        KeyError: the record lacks this seed.
    """
    record = recorded(experiment.name, experiment=experiment)
    if seed not in record.seconds:
        seeds = ", ".join(map(str, record.seconds))
        raise KeyError(f"{experiment.name}: no seed {seed} in the record; there are {seeds}.")
    rows, seconds = experiment.one_seed(seed, experiment.full)
    then = [row for row in record.rows if row["seed"] == seed]
    return Repeat(
        experiment=experiment.name,
        seconds=seconds,
        before=record.seconds[seed],
        seeds=len(record.seconds),
        differs=differences([as_recorded(row) for row in rows], then),
    )


def differences(now: Iterable[Row], then: Iterable[Row]) -> dict[str, float]:
    """Return the columns in which rows differ, with the largest relative difference of each."""
    now, then = list(now), list(then)
    if len(now) != len(then):
        return {"rows": math.inf}
    found: dict[str, float] = {}
    for new, old in zip(now, then, strict=True):
        for name in {**old, **new}:
            gap = _gap(new.get(name), old.get(name))
            if gap:
                found[name] = max(gap, found.get(name, 0.0))
    return found


def _gap(new: Value | None, old: Value | None) -> float:
    """Return the difference of two values over the larger of both; infinite if not numbers."""
    if new == old or (new != new and old != old):  # NaN is not equal to itself
        return 0.0
    if not (isinstance(new, int | float) and isinstance(old, int | float)):
        return math.inf
    gap = abs(new - old) / max(abs(new), abs(old))
    return gap if math.isfinite(gap) else math.inf

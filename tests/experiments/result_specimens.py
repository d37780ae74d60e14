"""Results that are made up, for rules, and what is asked of every record."""

from __future__ import annotations

from normcourse.evidence import recorded
from normcourse.experiments.experiment import Experiment
from normcourse.experiments.result import Environment, Result, Row


def made_up(rows: list[Row]) -> Result:
    """Return a result that holds these rows, of one seed where they name none."""
    marked = tuple({"seed": 0, **row} for row in rows)
    return Result("made_up", "own", {}, marked, {}, Environment.here(), "")


def assert_recorded(experiment: Experiment, outcomes: dict[str, str]) -> None:
    """Assert that a fresh record of ten seeds gives these outcomes, rule by rule."""
    full = recorded(experiment.name)
    assert len(full.seeds) >= 10
    assert not full.stale
    found = {name: rule(full).outcome for name, rule in experiment.decisions.items()}
    assert found == outcomes

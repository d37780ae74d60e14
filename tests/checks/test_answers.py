"""Whole answers, right and wrong, as people write them: none is misjudged, none is misnamed."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from normcourse.checks import find
from tests.checks.measure import define, verdict

FOLDER = Path(__file__).with_name("answers")


def answers(kind: str) -> list[Any]:
    """Return the answers of a file: the exercise, the code and the names of its mistakes."""
    table: dict[str, Any] = tomllib.loads((FOLDER / f"{kind}.toml").read_text(encoding="utf-8"))
    return [
        pytest.param(name, entry["code"], entry.get("names", []), id=f"{name}-{number}")
        for name, entries in table.items()
        for number, entry in enumerate(entries, 1)
    ]


@pytest.mark.parametrize(("name", "code", "names"), answers("wrong"))
def test_a_wrong_answer_is_rejected_and_its_mistakes_are_named(
    name: str, code: str, names: list[str]
) -> None:
    exercise = find(name)
    feedback = verdict(exercise, define(code)[name])
    assert feedback.status in ("failed", "error"), str(feedback)
    assert sorted(feedback.mistakes) == sorted(names), str(feedback)
    if not names:  # then facts about the output, or a message that states one itself
        told = feedback.evidence or feedback.stage not in ("values", "special", "gradients")
        assert told or exercise.compare is not None, str(feedback)


@pytest.mark.parametrize(("name", "code", "names"), answers("right"))
def test_a_right_answer_passes_however_it_is_written(
    name: str, code: str, names: list[str]
) -> None:
    if "torch" in code:
        pytest.importorskip("torch")
    for seed in range(2):
        feedback = verdict(find(name), define(code)[name], seed)
        assert feedback.passed, str(feedback)

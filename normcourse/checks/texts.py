"""The texts of exercises: statement, stub and solution, as ``make exercises`` wrote them.

They are package data (``checks/data/<chapter>.json``), read by the page, by reset and by solution.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from normcourse.checks.exercise import Exercise

SCHEMA = 1
FOLDER = Path(__file__).parent / "data"


@dataclass(frozen=True)
class Text:
    """What a learner is shown of an exercise, in Markdown and Python."""

    statement: str
    stub: str
    solution: str
    reason: str


@cache
def _chapter(chapter: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((FOLDER / f"{chapter}.json").read_text(encoding="utf-8"))
    if data["schema"] != SCHEMA:
        raise ValueError(f"{chapter}.json: expected schema {SCHEMA}, got {data['schema']!r}.")
    return {record["id"]: record for record in data["exercises"]}


def text_of(exercise: Exercise) -> Text:
    """Return the texts of an exercise.

    Example:
        >>> from normcourse.checks import find
        >>> text_of(find("batch_norm_forward")).stub.splitlines()[0]
        'def batch_norm_forward(x, gamma, beta, eps=1e-5):'
    """
    record = _chapter(exercise.chapter)[exercise.id]
    return Text(*(record[name] for name in ("statement", "stub", "solution", "reason")))


def supplied_code(exercise: Exercise) -> str:
    """Return the right callees that an exercise builds on, as source text."""
    from normcourse.checks import find

    return "\n\n".join(text_of(find(name)).solution for name in exercise.uses)

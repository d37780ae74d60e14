"""The quiz of a chapter: a TOML file in book/quiz/, read and checked.

One ``[[question]]`` per question with ``id``, ``kind`` and ``prompt``; by kind:

- ``choose``: ``[[question.option]]`` with ``text``, ``correct`` and ``why`` for every option;
- ``number``: ``answer``, ``tolerance``, perhaps ``unit``, and ``[[question.wrong]]`` with
  ``value`` and ``why``;
- ``order``: ``items`` in the right order and ``why``.

``explanation`` is shown after any answer.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Choice", "Number", "Order", "Question", "Quiz", "QuizError", "Wrong", "load_quiz"]

SCHEMA = 1


class QuizError(ValueError):
    """A quiz file is not as it must be; the message says where, what and how to mend it."""


@dataclass(frozen=True)
class Choice:
    """One option of a question: right or wrong, and why."""

    text: str
    correct: bool
    why: str


@dataclass(frozen=True)
class Wrong:
    """A wrong number that people find, and why they do."""

    value: float
    why: str


@dataclass(frozen=True)
class Number:
    """The answer to a question for a number."""

    answer: float
    tolerance: float
    unit: str
    wrong: tuple[Wrong, ...]


@dataclass(frozen=True)
class Order:
    """Steps in their right order."""

    items: tuple[str, ...]
    why: str


@dataclass(frozen=True)
class Question:
    """One question with its answer: choices, a number, or an order."""

    id: str
    kind: str
    prompt: str
    explanation: str
    answer: tuple[Choice, ...] | Number | Order


@dataclass(frozen=True)
class Quiz:
    """The questions of one chapter."""

    chapter: str
    questions: tuple[Question, ...]


def load_quiz(path: Path) -> Quiz:
    """Read and check the quiz in ``path``.

    Raises:
        QuizError: the file is missing, not TOML, or a question is incomplete, has an unknown
            key, no right option, or no wrong one.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise QuizError(f"{path}: no such file; write the quiz there or mend the name") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise QuizError(f"{path}: not TOML: {error}") from error
    if data.get("schema") != SCHEMA:
        raise QuizError(f"{path}: schema is {data.get('schema')!r}, write `schema = {SCHEMA}`")
    _known(data, {"schema", "chapter", "question"}, str(path))
    tables = _field(data, "question", list, str(path))
    questions = tuple(_question(item, number, path) for number, item in enumerate(tables, start=1))
    ids = [question.id for question in questions]
    twice = sorted({name for name in ids if ids.count(name) > 1})
    if twice:
        raise QuizError(f"{path}: the id {twice[0]!r} is used twice; give each question its own")
    return Quiz(_field(data, "chapter", str, str(path)), questions)


def _question(item: Any, number: int, path: Path) -> Question:
    where = f"{path}: question {number}"
    if not isinstance(item, dict):
        raise QuizError(f"{where}: expected a [[question]] table, got {item!r}")
    name = _field(item, "id", str, where)
    if not name.replace("-", "_").isidentifier():
        raise QuizError(f"{where}: the id {name!r} must be letters, digits, - and _ only")
    where = f"{where} ({name!r})"
    kind = _field(item, "kind", str, where)
    if kind not in KINDS:
        raise QuizError(f"{where}: kind is {kind!r}, expected one of {', '.join(KINDS)}")
    keys, read = KINDS[kind]
    _known(item, {"id", "kind", "prompt", "explanation", *keys}, where)
    explanation = item.get("explanation", "")
    if not isinstance(explanation, str):
        raise QuizError(f"{where}: 'explanation' is {explanation!r}, expected text")
    return Question(name, kind, _field(item, "prompt", str, where), explanation, read(item, where))


def _choices(item: dict[str, Any], where: str) -> tuple[Choice, ...]:
    options = _field(item, "option", list, where)
    choices = []
    for number, option in enumerate(options, start=1):
        place = f"{where}, option {number}"
        _known(option, {"text", "correct", "why"}, place)
        choices.append(
            Choice(
                _field(option, "text", str, place),
                _field(option, "correct", bool, place),
                _field(option, "why", str, place),
            )
        )
    right = sum(choice.correct for choice in choices)
    if not 0 < right < len(choices):
        raise QuizError(
            f"{where}: {right} of {len(choices)} options are right; "
            "have at least one right and one wrong"
        )
    return tuple(choices)


def _number(item: dict[str, Any], where: str) -> Number:
    answer, tolerance = _float(item, "answer", where), _float(item, "tolerance", where)
    if tolerance < 0:
        raise QuizError(f"{where}: tolerance is {tolerance:g}, must not be negative")
    wrongs = []
    for number, wrong in enumerate(item.get("wrong", []), start=1):
        place = f"{where}, wrong {number}"
        _known(wrong, {"value", "why"}, place)
        value = _float(wrong, "value", place)
        if abs(value - answer) <= tolerance:
            raise QuizError(
                f"{place}: {value:g} is within {tolerance:g} of the answer {answer:g}; "
                "lower the tolerance or drop it"
            )
        wrongs.append(Wrong(value, _field(wrong, "why", str, place)))
    return Number(answer, tolerance, str(item.get("unit", "")), tuple(wrongs))


def _order(item: dict[str, Any], where: str) -> Order:
    items = _field(item, "items", list, where)
    if len(items) < 3 or not all(isinstance(text, str) and text for text in items):
        raise QuizError(f"{where}: items must be at least three texts, got {items!r}")
    if len(set(items)) != len(items):
        raise QuizError(f"{where}: two items are the same; an order needs different ones")
    return Order(tuple(items), _field(item, "why", str, where))


_Reader = Callable[[dict[str, Any], str], "tuple[Choice, ...] | Number | Order"]
KINDS: dict[str, tuple[set[str], _Reader]] = {
    "choose": ({"option"}, _choices),
    "number": ({"answer", "tolerance", "unit", "wrong"}, _number),
    "order": ({"items", "why"}, _order),
}


def _known(table: Any, keys: set[str], where: str) -> None:
    if not isinstance(table, dict):
        raise QuizError(f"{where}: expected a table, got {table!r}")
    unknown = sorted(set(table) - keys)
    if unknown:
        raise QuizError(f"{where}: unknown key {unknown[0]!r}; known: {', '.join(sorted(keys))}")


def _field(table: dict[str, Any], name: str, kind: type, where: str) -> Any:
    value = table.get(name)
    if not isinstance(value, kind) or value in ("", []):
        got = "missing" if value in (None, "", []) else repr(value)
        raise QuizError(f"{where}: {name!r} is {got}, expected a {kind.__name__}; add it")
    return value


def _float(table: dict[str, Any], name: str, where: str) -> float:
    value = table.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        got = "missing" if value is None else repr(value)
        raise QuizError(f"{where}: {name!r} is {got}, expected a number; add it")
    return float(value)

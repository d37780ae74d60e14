"""Gradebooks as CSV: a generic one, Canvas' and Moodle's. No cell is a formula."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from normcourse.checks.letters import cleaned
from normcourse.grading.assignment import Assignment
from normcourse.grading.results import Row

_NUMBER = re.compile(r"^-?\d+(?:\.\d+)?$")
_CANVAS = ("Student", "ID", "SIS User ID", "SIS Login ID", "Section")


class BadTable(ValueError):
    """A roster or gradebook that cannot be used; the message says which column is missing."""


@dataclass(frozen=True)
class Person:
    """A learner as the school knows them; empty where the roster says nothing.

    Args:
        name: for reports.
        email: Moodle's key, and often the login.
        id: the platform's number.
        deadline: their own, seconds since 1970.
    """

    name: str = ""
    email: str = ""
    id: str = ""
    deadline: float | None = None


Roster = Mapping[str, Person]


def read_roster(path: Path) -> dict[str, Person]:
    """Read a roster: CSV with the column ``learner`` and any of name, email, id, deadline.

    Raises:
        BadTable: it cannot be read, or the column or a time is wrong.
    """
    rows = _read(path)
    if not rows or "learner" not in rows[0]:
        raise BadTable(f"{path}: expected a column `learner` (and name, email, id, deadline).")
    return {row["learner"]: _person(path, row) for row in rows}


def _person(path: Path, row: dict[str, str]) -> Person:
    text = row.get("deadline") or ""
    try:
        deadline = datetime.fromisoformat(text) if text else None
    except ValueError:
        raise BadTable(f"{path}: {row['learner']}: {text!r} is no time.") from None
    if deadline is not None and deadline.tzinfo is None:
        raise BadTable(
            f"{path}: {row['learner']}: the deadline {text!r} lacks its zone (Z, +01:00)."
        )
    seconds = deadline.timestamp() if deadline else None
    return Person(row.get("name") or "", row.get("email") or "", row.get("id") or "", seconds)


def generic(rows: Iterable[Row], assignment: Assignment, roster: Roster) -> str:
    """Return one line per learner: points per exercise, total, outcomes, lateness."""
    names = assignment.exercises
    head = ["learner", "name", "email", *names, "total", "maximum", "open", "late_days"]
    lines: list[list[str]] = [head]
    for row in rows:
        person = roster.get(row.learner, Person())
        points = [number(mark.points) for mark in row.marks]
        state = " ".join(mark.exercise for mark in row.open)
        late = number(round(row.late_seconds / 86400, 2))
        own = [row.learner, person.name, person.email]
        total = [number(row.total), number(assignment.maximum)]
        lines.append([*own, *points, *total, state, late])
    return written(lines)


def canvas(
    rows: Iterable[Row], assignment: Assignment, roster: Roster, gradebook: Path | None = None
) -> str:
    """Return Canvas' gradebook with one column filled.

    Args:
        rows: the learners.
        assignment: its title names the column, unless the gradebook has one ``Title (id)``.
        roster: numbers and logins.
        gradebook: exported from Canvas: its lines and columns are kept, which is the safest way.

    Raises:
        BadTable: the gradebook is none of Canvas'.
    """
    marks = {row.learner: number(row.total) for row in rows}
    if gradebook is None:
        lines = [[*_CANVAS, assignment.title]]
        for learner, points in marks.items():
            person = roster.get(learner, Person())
            number_ = person.id or _trailing_id(learner)
            lines.append([person.name or learner, number_, "", person.email, "", points])
        return written(lines)
    table = _read(gradebook)
    columns = list(table[0]) if table else []
    if not {"Student", "ID"} <= set(columns):
        raise BadTable(f"{gradebook}: expected the columns Student and ID of a Canvas gradebook.")
    own = re.compile(re.escape(assignment.title) + r"(?: \(\d+\))?$")
    column = next((c for c in columns if own.match(c)), assignment.title)
    by_id = _by_identity(marks, roster)
    for line in table:
        keys = (line.get("ID"), line.get("SIS Login ID"), line.get("SIS User ID"))
        found = next((by_id[k] for k in keys if k and k in by_id), None)
        if found is not None:
            line[column] = found
    kept = [c for c in columns if c in _CANVAS] + [column]
    return written([kept, *([line.get(c) or "" for c in kept] for line in table)])


def moodle(
    rows: Iterable[Row], assignment: Assignment, roster: Roster, feedback: Mapping[str, str]
) -> str:
    """Return a grade import for Moodle: e-mail, ID number, grade and feedback, nothing else.

    Args:
        rows: the learners.
        assignment: its title names the grade column.
        roster: e-mails (compared by Moodle with their case) and ID numbers.
        feedback: by learner; imported together with the grade or not at all.
    """
    lines = [["Email address", "ID number", assignment.title, "Feedback"]]
    for row in rows:
        person = roster.get(row.learner, Person())
        identity = person.id or _trailing_id(row.learner)
        words = feedback.get(row.learner, "")
        lines.append([person.email, identity, number(row.total), words])
    return written(lines)


def number(value: float | None) -> str:
    """Write points without needless digits; nothing for a mark that is open.

    Example:
        >>> number(2.0), number(1.62), number(None)
        ('2', '1.62', '')
    """
    return "" if value is None else f"{value:.6f}".rstrip("0").rstrip(".")


def safe(cell: str) -> str:
    """Return a cell that no spreadsheet takes for a formula.

    Example:
        >>> safe("=1+1"), safe("-2"), safe("-2+cmd|x"), safe("Ann")
        ("'=1+1", '-2', "'-2+cmd|x", 'Ann')
    """
    text = cleaned(cell).replace("\r", " ")
    dangerous = text.lstrip()[:1] in ("=", "+", "-", "@", "\t", "|", "%") or text[:1] in "\t\n"
    return f"'{text}" if text and dangerous and not _NUMBER.match(text) else text


def written(lines: Iterable[Iterable[str]]) -> str:
    """Return lines as CSV with every cell made safe."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerows([safe(cell) for cell in line] for line in lines)
    return out.getvalue()


def _read(path: Path) -> list[dict[str, str]]:
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            return list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise BadTable(f"{path}: {error}") from None


def _by_identity(marks: Mapping[str, str], roster: Roster) -> dict[str, str]:
    """Return the marks by every name that a gradebook may know a learner by."""
    found: dict[str, str] = {}
    for learner, points in marks.items():
        person = roster.get(learner, Person())
        for name in (learner, _trailing_id(learner), person.email, person.id):
            if name:
                found[name] = points
    return found


def _trailing_id(learner: str) -> str:
    match = re.search(r"_(\d+)$", learner)
    return match.group(1) if match else ""

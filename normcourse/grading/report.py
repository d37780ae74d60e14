"""Writes every report of a run into its folder, each whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from normcourse.grading.formats import file_name, machine_read, pages, tables, write
from normcourse.grading.formats.tables import Person, Roster
from normcourse.grading.results import Class, Results, Row


def write_all(
    results: Results, folder: Path, roster: Roster, *, canvas_gradebook: Path | None = None
) -> Class:
    """Write all reports; returns what the class did.

    Args:
        results: the marks.
        folder: for the reports; the journal lies there too.
        roster: names, e-mails and numbers, by learner.
        canvas_gradebook: exported from Canvas, to be filled in.
    """
    assignment = results.assignment
    whole, names, feedback = Class(), set(), {}
    for row in results.rows():
        whole.add(row)
        name = file_name(row.learner)
        names.add(name)
        person = roster.get(row.learner, Person())
        write(folder / "learners" / f"{name}.html", pages.learner_page(row, assignment, person))
        if row.total is not None:
            document = machine_read.gradescope(row, assignment)
            write(folder / "gradescope" / f"{name}.json", document)
        feedback[row.learner] = _in_brief(row)
    write(folder / "class.html", pages.class_page(whole, assignment))
    write(folder / "results.jsonl", machine_read.json_lines(results))
    write(folder / "results.schema.json", _schema_text())
    write(folder / "grades.csv", tables.generic(results, assignment, roster))
    canvas = tables.canvas(results, assignment, roster, canvas_gradebook)
    write(folder / "canvas.csv", canvas)
    write(folder / "moodle.csv", tables.moodle(results, assignment, roster, feedback))
    write(folder / "junit.xml", machine_read.junit(results, assignment))
    write(folder / "lti_scores.json", machine_read.lti_scores(results, assignment, roster))
    write(folder / "attention.csv", _attention(results))
    write(folder / "feedback.txt", _feedback(results) if whole.learners == 1 else "")
    _drop_stale(folder, names)
    return whole


def _in_brief(row: Row) -> str:
    """Return a line per exercise, for gradebooks that hold feedback."""
    return "; ".join(f"{mark.exercise}: {mark.outcome.replace('_', ' ')}" for mark in row.marks)


def _feedback(rows: Iterable[Row]) -> str:
    return "\n\n".join(machine_read.said(mark) for row in rows for mark in row.marks) + "\n"


def _attention(rows: Iterable[Row]) -> str:
    """Return what an instructor should look at: open marks, answers that go round an exercise."""
    lines = [["learner", "exercise", "attempt", "outcome", "why"]]
    for row in rows:
        for mark in row.marks:
            notes = mark.record["notes"]
            looked = [note for note in notes if note.startswith(("To look at", "Judged a second"))]
            if mark.points is None:
                looked = [" ".join(notes)[-300:]]
            if mark.outcome in ("protocol", "crashed") and not looked:
                looked = [(mark.record["feedback"] or {}).get("message", "")]
            lines += [[row.learner, mark.exercise, mark.attempt, mark.outcome, w] for w in looked]
    return tables.written(lines)


def _drop_stale(folder: Path, names: set[str]) -> None:
    """Remove the reports of learners who are no longer among the submissions."""
    for place, suffix in (("learners", ".html"), ("gradescope", ".json")):
        for path in (folder / place).glob(f"*{suffix}"):
            if path.stem not in names:
                path.unlink()


def schema() -> dict[str, Any]:
    """Return the JSON schema of a line of ``results.jsonl``."""
    path = Path(__file__).parent / "formats" / "results.schema.json"
    return dict(json.loads(path.read_text(encoding="utf-8")))


def _schema_text() -> str:
    return json.dumps(schema(), indent=1) + "\n"


def folder_is_ours(folder: Path) -> bool:
    """Say whether a folder is empty, missing, or holds an earlier run."""
    return not folder.exists() or not any(folder.iterdir()) or (folder / "journal.jsonl").exists()

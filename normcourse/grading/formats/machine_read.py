"""Formats that programs read: JSON Lines, JUnit, Gradescope's results, LTI scores."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree

from normcourse.checks.letters import cleaned
from normcourse.grading.assignment import Assignment
from normcourse.grading.formats.tables import Person, Roster
from normcourse.grading.results import Mark, Results, Row

_FAILURES = ("failed",)
_SKIPPED = ("not_submitted", "not_started")


def json_lines(results: Results) -> Iterator[str]:
    """Yield one record per learner, attempt and exercise; ``schema.json`` describes it."""
    for record in results.records():
        yield json.dumps(record, ensure_ascii=False, sort_keys=True) + "\n"


def said(mark: Mark) -> str:
    """Return what a learner reads about one exercise, as plain text."""
    feedback = mark.feedback()
    notes = [f"Note: {cleaned(note)}" for note in mark.record["notes"]]
    if mark.outcome == "infra_error":
        return "The grader could not judge this exercise; it will be judged again."
    if feedback is None:
        return "\n".join(["Nothing was handed in for this exercise.", *notes])
    late = [f"Counts {mark.share:.0%}: handed in late."] if mark.share < 1 else []
    return "\n".join([cleaned(feedback.text()), *late, *notes])


def gradescope(row: Row, assignment: Assignment, *, seconds: float | None = None) -> str:
    """Return Gradescope's ``results.json`` for one learner.

    Args:
        row: the learner's marks.
        assignment: points and title.
        seconds: how long grading took; left out where it was not measured.

    Raises:
        ValueError: a mark is open; Gradescope has to run the grader again.
    """
    if row.total is None:
        names = ", ".join(mark.exercise for mark in row.open)
        raise ValueError(f"not judged because of the grader itself: {names}")
    tests = [_test(mark, f"{n}") for n, mark in enumerate(row.marks, 1)]
    document: dict[str, Any] = {
        "score": row.total,
        "output": assignment.title,
        "output_format": "text",
        "test_output_format": "text",
        "test_name_format": "text",
        "visibility": "visible",
        "stdout_visibility": "hidden",
        "extra_data": {"sandbox": _sandbox(row)},
        "tests": tests,
    }
    if seconds is not None:
        document["execution_time"] = round(seconds, 3)
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _test(mark: Mark, number: str) -> dict[str, Any]:
    return {
        "name": mark.exercise,
        "number": number,
        "score": mark.points,
        "max_score": mark.worth,
        "status": "passed" if mark.outcome == "passed" else "failed",
        "output": said(mark),
        "output_format": "text",
        "name_format": "text",
        "tags": [mark.outcome],
        "visibility": "visible",
        "extra_data": {"outcome": mark.outcome, "attempt": mark.attempt},
    }


def _sandbox(row: Row) -> str:
    kinds = {str(mark.record["sandbox"].get("kind", "")) for mark in row.marks} - {""}
    return ", ".join(sorted(kinds)) or "no code was run"


def junit(rows: Iterable[Row], assignment: Assignment) -> str:
    """Return JUnit XML: a suite per learner, a case per exercise."""
    root = ElementTree.Element("testsuites", name=cleaned(assignment.title))
    for row in rows:
        outcomes = [mark.outcome for mark in row.marks]
        skipped = sum(outcome in _SKIPPED for outcome in outcomes)
        failures = sum(outcome in _FAILURES for outcome in outcomes)
        counts = {
            "tests": len(outcomes),
            "failures": failures,
            "skipped": skipped,
            "errors": len(outcomes) - failures - skipped - outcomes.count("passed"),
        }
        shown = {key: str(value) for key, value in counts.items()}
        suite = ElementTree.SubElement(root, "testsuite", {"name": cleaned(row.learner), **shown})
        for mark in row.marks:
            _case(suite, row.learner, mark)
    ElementTree.indent(root, " ")
    text = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def _case(suite: ElementTree.Element, learner: str, mark: Mark) -> None:
    case = ElementTree.SubElement(suite, "testcase", classname=cleaned(learner), name=mark.exercise)
    if mark.outcome == "passed":
        return
    kind = "skipped" if mark.outcome in _SKIPPED else "error"
    kind = "failure" if mark.outcome in _FAILURES else kind
    words = said(mark)
    problem = ElementTree.SubElement(
        case, kind, message=words.splitlines()[0][:200], type=mark.outcome
    )
    problem.text = words


def lti_scores(rows: Iterable[Row], assignment: Assignment, roster: Roster) -> str:
    """Return scores for LTI 1.3 Assignment and Grade Services; the platform's tool posts them.

    A learner with an open mark is "Pending" and has no score, so that nothing counts yet.
    """
    scores = []
    for row in rows:
        person = roster.get(row.learner, Person())
        moment = datetime.fromtimestamp(row.submitted, UTC)
        score: dict[str, Any] = {
            "userId": person.id or row.learner,
            "timestamp": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "activityProgress": "Completed",
            "gradingProgress": "FullyGraded" if row.total is not None else "Pending",
        }
        if row.total is not None:
            score |= {"scoreGiven": row.total, "scoreMaximum": assignment.maximum}
            passed = sum(mark.outcome == "passed" for mark in row.marks)
            score["comment"] = f"{passed} of {len(row.marks)} exercises passed"
        scores.append(score)
    return json.dumps(scores, indent=1, ensure_ascii=False) + "\n"

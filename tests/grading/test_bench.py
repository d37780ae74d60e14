"""What grading costs: answers with a due outcome, a crowd that is watched, a page of the record."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

from normcourse.grading.bench import page, records
from normcourse.grading.bench.answers import EXERCISE, HOSTILE, answer, answers, crowd
from normcourse.grading.bench.crowd import large_class
from normcourse.grading.sandbox import Kind
from tests.grading.conftest import Judge

MACHINE = {
    "processor": "a processor of these tests",
    "cores": 3,
    "system": "a system",
    "python": "1.2",
    "numpy": "3.4",
    "date": "2001-02-03",
    "command": "python -m normcourse.grading.bench",
}


PARTS: dict[str, dict[str, Any]] = {
    "classes": {
        "machine": MACHINE,
        "one notebook, s": 1.5,
        "rows": [{"notebooks": 2000, "jobs": 2, "s": 60.0}],
    },
    "compared": {
        "machine": MACHINE,
        "notebooks": 20,
        "rows": [
            {"grader": "ours", "jobs": 1, "turns": [1.0, 2.0, 4.0]},
            {"grader": "nbgrader", "version": "0.0", "jobs": 1, "turns": [30.0, 42.0, 80.0]},
            {"grader": "otter-grader", "version": "0.1", "jobs": 1, "turns": [55.0]},
        ],
    },
    "large": {
        "machine": MACHINE,
        "learners": 10_000,
        "jobs": 2,
        "seconds": 500.0,
        "tenths": [{"until s": 50.0, "MB": n, "verdicts": 1} for n in (100, 130, 120)],
        "honest": {"passed": 9000, "failed": 800},
        "not as due": 0,
        "hostile": {"never ends": {"timeout": 199, "infra_error": 1}},
        "again": {"seconds": 7.0, "same reports": True},
    },
}


def test_no_two_answers_are_the_same_and_each_has_what_is_due(judge: Judge) -> None:
    made = list(answers(60))
    assert len({code for _, code, _ in made}) == 60
    for wanted in ("passed", "failed", "not_started"):
        code = next(code for _, code, due in made if due == wanted)
        assert judge(f"import numpy as np\n{code}").outcome == wanted
    doubled = next(
        code
        for code, due in (answer(EXERCISE, random.Random(n)) for n in range(100))
        if due == "failed" and "2 * eps" in code
    )
    assert judge(f"import numpy as np\n{doubled}").outcome == "failed"


def test_two_in_a_hundred_are_hostile_and_of_every_kind() -> None:
    kinds = Counter(kind for *_, kind in crowd(600) if kind)
    assert kinds == dict.fromkeys(HOSTILE, 2)


def test_a_crowd_is_graded_watched_and_found_again(kind: Kind, tmp_path: Path) -> None:
    part = large_class(tmp_path, 100, 2, every=0.05)  # some seconds, so ten parts of a few looks
    assert (part["learners"], part["jobs"], part["not as due"]) == (100, 2, 0)
    assert sum(part["honest"].values()) == 98
    assert set(part["hostile"]) == set(list(HOSTILE)[:2])
    assert all("passed" not in came for came in part["hostile"].values())
    assert part["again"]["same reports"]
    assert part["again"]["seconds"] < part["seconds"]
    verdicts = [tenth["verdicts"] for tenth in part["tenths"]]
    assert verdicts == sorted(verdicts)
    assert verdicts[-1] == 100
    assert all(20 < tenth["MB"] < 4000 for tenth in part["tenths"])


def test_an_honest_answer_with_another_verdict_is_counted(tmp_path: Path) -> None:
    from normcourse.grading.bench.crowd import _outcomes

    lines = [{"learner": name, "outcome": due} for name, _, due, kind in crowd(6) if not kind]
    lines[2]["outcome"] = "timeout"
    (tmp_path / "j").write_text("".join(json.dumps(line) + "\n" for line in lines[:-1]))
    came = _outcomes(tmp_path / "j", 6)
    assert came["not as due"] == 2
    assert came["honest"]["missing"] == 1


def test_a_part_that_is_measured_anew_replaces_its_own_alone(tmp_path: Path) -> None:
    file = tmp_path / "recorded.json"
    assert records.recorded(file) == {}
    records.keep({"large": PARTS["large"], "classes": PARTS["classes"]}, file)
    changed = {**PARTS["large"], "seconds": 1.0}
    records.keep({"large": changed}, file)
    assert records.recorded(file) == {"classes": PARTS["classes"], "large": changed}


def test_the_committed_part_of_the_book_is_made_from_the_committed_record() -> None:
    assert page.PAGE.read_text(encoding="utf-8") == page.made()


def test_without_a_record_it_says_so_and_how() -> None:
    text = page.made({})
    assert "Not recorded yet." in text
    assert "--record" in text
    assert "|" not in text


def test_the_page_says_what_the_record_says() -> None:
    text = page.made(PARTS)
    assert text.count("Recorded on 2001-02-03: a processor of these tests, 3 cores") == 3
    assert "| 2,000 | 2 | 60.0 | 2,000 |" in text
    assert "| nbgrader 0.0 | 1 | 3 | 42.00 | 21.0 (20.0) |" in text  # of 30, 21 and 20
    assert "| otter-grader 0.1 | 1 | 1 | 55.00 | 55.0 (55.0) |" in text
    assert "500 s, 20 a second" in text
    assert "100 MB in the first tenth of the time, 120 MB in the last, 130 MB at most" in text
    assert "Each of the 9,800 honest answers got the verdict it was written for." in text
    assert "| never ends | 200 | timeout 199, infra error 1 |" in text
    assert "the same reports, byte for byte" in text


def test_the_page_does_not_hide_a_wrong_verdict() -> None:
    large = {**PARTS["large"], "not as due": 3, "again": {"seconds": 7.0, "same reports": False}}
    text = page.made({"large": large})
    assert "3 of the 9,800 honest answers got another verdict than due." in text
    assert "writes other reports" in text

"""What becomes of the marks: every format is read back, nothing hidden is in what learners read."""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from normcourse.grading import report
from normcourse.grading.assignment import Assignment
from normcourse.grading.batch import Sheet
from normcourse.grading.formats import file_name, kits, tables
from normcourse.grading.formats.tables import BadTable, Person, read_roster
from normcourse.grading.journal import Journal
from normcourse.grading.results import Results
from normcourse.grading.verdict import Verdict
from tests.grading.conftest import RIGHT, Judge

NAMES = ("batch_norm_forward", "affine_to_undo")
INJECTION = '=HYPERLINK("http://x"),<script>alert(1)</script>\u202e\x1b[31m'
ROSTER = {
    "ann": Person('Ann, the "first"', "Ann@school.org", "11"),
    INJECTION: Person("=1+1", "@SUM(A1)", "12"),
}


@pytest.fixture
def results(judge: Judge, tmp_path: Path) -> Iterator[Results]:
    """Ann passes at the second attempt, bob is wrong, one is hostile, zoe has an open mark."""
    wrong = RIGHT.replace("np.sqrt(var + eps)", "(np.sqrt(var) + eps)")
    shouting = RIGHT.replace(
        "return ", "raise ValueError('<img src=x onerror=alert(1)>\\x1b[2J'); return "
    )
    made = {
        ("ann", "attempt1", 1.0): [judge(wrong), judge(wrong, NAMES[1])],
        ("ann", "attempt2", 0.5): [judge(RIGHT), judge(wrong, NAMES[1])],
        (INJECTION, "", 1.0): [judge(shouting), Verdict(NAMES[1], "not_submitted")],
        ("bob", "", 1.0): [judge(wrong), Verdict(NAMES[1], "not_submitted")],
        ("zoe", "", 1.0): [judge(RIGHT), Verdict(NAMES[1], "infra_error", None, ("lost",))],
    }
    assert [v.outcome for v in made["ann", "attempt1", 1.0]] == ["failed", "not_submitted"]
    journal = Journal(tmp_path / "journal.jsonl")
    sheets = []
    for number, ((learner, attempt, share), verdicts) in enumerate(made.items()):
        keys = {v.exercise: f"{number}{v.exercise}" for v in verdicts}
        records = [
            {"schema": 1, "key": keys[v.exercise], "submission": "0" * 64, **v.to_plain()}
            for v in verdicts
        ]
        journal.add(records)
        sheets.append(Sheet(learner, attempt, share, 90000.0 * (share < 1), 1.8e9, keys))
    sheets.sort(key=lambda sheet: (sheet.learner, sheet.attempt))
    yield Results(Assignment(NAMES, "Week 2", {NAMES[0]: 2.0}), sheets, journal)
    journal.close()


@pytest.fixture
def folder(results: Results, tmp_path: Path) -> Path:
    """All reports."""
    report.write_all(results, tmp_path / "out", ROSTER)
    return tmp_path / "out"


def table(text: str) -> list[dict[str, str]]:
    """Return a CSV as records."""
    return list(csv.DictReader(io.StringIO(text)))


def test_the_best_attempt_counts_and_lateness_costs(results: Results) -> None:
    ann = next(row for row in results.rows() if row.learner == "ann")
    assert [(m.attempt, m.outcome, m.points) for m in ann.marks] == [
        ("attempt2", "passed", 1.0),  # 2 points, half of them for lateness
        ("attempt2", "not_submitted", 0.0),
    ]
    assert ann.total == 1.0


def test_the_last_attempt_counts_where_it_is_asked(results: Results) -> None:
    last = Assignment(NAMES, keep="last")
    rows = Results(last, list(reversed(results.sheets)), results.journal).rows()
    ann = next(row for row in rows if row.learner == "ann")
    assert ann.marks[0].attempt == "attempt1"


def test_an_open_mark_leaves_the_total_open(folder: Path) -> None:
    rows = {row["learner"]: row for row in table((folder / "grades.csv").read_text())}
    assert (rows["zoe"]["total"], rows["zoe"]["open"]) == ("", "affine_to_undo")
    assert not (folder / "gradescope" / "zoe.json").exists()
    scores = {s["userId"]: s for s in json.loads((folder / "lti_scores.json").read_text())}
    assert scores["zoe"]["gradingProgress"] == "Pending"
    assert "scoreGiven" not in scores["zoe"]
    assert "zoe,affine_to_undo,,infra_error,lost" in (folder / "attention.csv").read_text()


@pytest.mark.parametrize("name", ["grades.csv", "canvas.csv", "moodle.csv", "attention.csv"])
def test_no_cell_is_a_formula_and_commas_stay_inside(folder: Path, name: str) -> None:
    text = (folder / name).read_text()
    for row in csv.reader(io.StringIO(text)):
        for cell in row:
            assert not re.match(r"\s*[=+@|%]", cell), cell
            assert not re.match(r"\s*-(?!\d+(\.\d+)?$)", cell), cell
            assert not set(cell) & set("\u202e\x1b\r")
    lengths = {len(row) for row in csv.reader(io.StringIO(text))}
    assert len(lengths) == 1


def test_canvas_gradebook_is_filled_by_id(results: Results, tmp_path: Path) -> None:
    exported = tmp_path / "export.csv"
    exported.write_text(
        "Student,ID,SIS User ID,SIS Login ID,Section,Week 1 (77),Week 2 (78),Final Score\n"
        '"First, Ann",11,s11,ann@x,A,3,,\n"Nobody",99,,,A,1,,\n    Points Possible,,,,,3,3,\n'
    )
    filled = table(tables.canvas(results.rows(), results.assignment, ROSTER, exported))
    assert filled[0] == {
        "Student": "First, Ann",
        "ID": "11",
        "SIS User ID": "s11",
        "SIS Login ID": "ann@x",
        "Section": "A",
        "Week 2 (78)": "1",
    }
    assert filled[1]["Week 2 (78)"] == ""
    bad = tmp_path / "bad.csv"
    bad.write_text("a,b\n1,2\n")
    with pytest.raises(BadTable, match="Student and ID"):
        tables.canvas(results.rows(), results.assignment, ROSTER, bad)


def test_moodle_has_the_columns_that_it_takes(folder: Path) -> None:
    rows = table((folder / "moodle.csv").read_text())
    assert list(rows[0]) == ["Email address", "ID number", "Week 2", "Feedback"]
    ann = next(row for row in rows if row["Email address"] == "Ann@school.org")
    assert ann["Week 2"] == "1"
    assert "batch_norm_forward: passed" in ann["Feedback"]


def test_gradescope_document(folder: Path) -> None:
    document: dict[str, Any] = json.loads((folder / "gradescope" / "ann.json").read_text())
    assert document["score"] == 1.0
    assert {t["status"] for t in document["tests"]} <= {"passed", "failed"}
    for test in document["tests"]:
        assert isinstance(test["score"], float | int)
        assert test["visibility"] == "visible"
        assert test["output_format"] == "text"
    assert [t["max_score"] for t in document["tests"]] == [2.0, 1.0]
    assert document["extra_data"]["sandbox"].startswith("bubblewrap")
    assert document["stdout_visibility"] == "hidden"


def test_junit_counts(folder: Path) -> None:
    root = ElementTree.parse(folder / "junit.xml").getroot()
    suites = {suite.get("name"): suite for suite in root}
    assert suites["ann"].attrib == {
        "name": "ann",
        "tests": "2",
        "failures": "0",
        "skipped": "1",
        "errors": "0",
    }
    assert suites["zoe"].get("errors") == "1"


def test_lti_scores(folder: Path) -> None:
    ann = next(
        s for s in json.loads((folder / "lti_scores.json").read_text()) if s["userId"] == "11"
    )
    assert ann == {
        "userId": "11",
        "timestamp": "2027-01-15T08:00:00.000Z",
        "scoreGiven": 1.0,
        "scoreMaximum": 3.0,
        "activityProgress": "Completed",
        "gradingProgress": "FullyGraded",
        "comment": "1 of 2 exercises passed",
    }


def test_json_lines_are_what_the_schema_says(folder: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((folder / "results.schema.json").read_text())
    lines = (folder / "results.jsonl").read_text().splitlines()
    assert len(lines) == 10
    for line in lines:
        jsonschema.validate(json.loads(line), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**json.loads(lines[0]), "outcome": "great"}, schema)


class Tags(HTMLParser):
    """Collects the tags and attributes of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_pages_hold_no_foreign_markup_and_nothing_hidden(folder: Path) -> None:
    pages = [*(folder / "learners").glob("*.html"), folder / "class.html"]
    assert len(pages) == 5
    for page in pages:
        text = page.read_text()
        parser = Tags()
        parser.feed(text)
        for tag, attributes in parser.found:
            assert tag not in ("script", "img", "iframe", "link"), (page, tag)
            assert not any(name.startswith("on") for name in attributes)
        assert "\x1b" not in text
        assert not re.search(r"\bexpected −?\d", text)
        assert 'In case "' not in text


def test_the_class_page_has_no_names_and_counts_right(folder: Path) -> None:
    text = (folder / "class.html").read_text()
    for name in ("ann", "bob", "zoe", "Ann", "HYPERLINK"):
        assert name not in re.sub(r"<style>.*?</style>", "", text, flags=re.S)
    assert "4 learners" in text
    assert "<svg" in text
    assert "aria-label" in text


def test_learners_read_the_cause(results: Results) -> None:
    text = "".join(
        str(mark.feedback()) for row in results.rows() for mark in row.marks if mark.feedback()
    )
    assert "alert(1)" in text  # as text, the learner's own words


def test_file_names_differ_and_stay_inside() -> None:
    names = ["../../etc/passwd", "a/b", "a-b", "A-b", "con", "", "ä", "ü", "x" * 300, INJECTION]
    made = [file_name(name) for name in names]
    assert len({name.lower() for name in made}) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9_.@-]{1,80}", name) for name in made)
    assert not any(name.startswith(".") for name in made)


def test_roster(tmp_path: Path) -> None:
    path = tmp_path / "roster.csv"
    path.write_text(
        "\ufefflearner,name,email,id,deadline\nann,Ann,a@x,1,2026-11-30T12:00:00+01:00\n"
    )
    assert read_roster(path) == {"ann": Person("Ann", "a@x", "1", 1796036400.0)}
    for text, words in (
        ("name\nx\n", "column `learner`"),
        ("learner,deadline\na,2026-11-30\n", "zone"),
    ):
        path.write_text(text)
        with pytest.raises(BadTable, match=words):
            read_roster(path)


# --- kits ----------


def test_gradescope_zip_holds_a_grader_that_runs(kind: object, tmp_path: Path) -> None:
    """The package in the zip, alone on the path, grades a submission as run_autograder does."""
    import os
    import subprocess
    import sys

    data = kits.gradescope_zip('exercises = ["batch_norm_forward"]\n', torch=False)
    source = tmp_path / "source"
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        modes = {i.filename: i.external_attr >> 16 & 0o777 for i in archive.infolist()}
        archive.extractall(source)
    assert modes["run_autograder"] == modes["setup.sh"] == 0o755
    given = tmp_path / "submission"
    given.mkdir()
    (given / "answers.py").write_text(RIGHT)
    words = (
        (source / "run_autograder")
        .read_text()
        .partition("command ")[2]
        .replace("\\\n", " ")
        .split()
    )
    places = {
        "/autograder/submission": given,
        "/autograder/results/results.json": tmp_path / "r.json",
    }
    places |= {"/tmp/graded": tmp_path / "graded"}
    done = subprocess.run(
        [
            *(sys.executable, "-m", "normcourse.grading.command"),
            *(str(places.get(word, word)) for word in words),
        ],
        cwd=source,
        env={
            **os.environ,
            "PYTHONPATH": str(source),
            "NORMCOURSE_GRADING_SECRET": str(source / "secret"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    document = json.loads((tmp_path / "r.json").read_text())
    assert document["score"] == 1.0
    assert isinstance(document["execution_time"], float)


def test_two_zips_have_two_secrets() -> None:
    found = set()
    for _ in range(2):
        data = kits.gradescope_zip("", torch=False)
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            found.add(archive.read("secret"))
            assert not any("solutions" in name or "tests/" in name for name in archive.namelist())
    assert len(found) == 2


def test_github_workflow_is_yaml_that_grades() -> None:
    yaml = pytest.importorskip("yaml")
    text = kits.github_workflow(["batch_norm_forward"], package="normcourse")
    steps = yaml.safe_load(text)["jobs"]["grade"]["steps"]
    grading = next(step["run"] for step in steps if step.get("name") == "Grade")
    assert "normcourse grade . --single" in grading
    assert "--exercise batch_norm_forward --strict" in grading

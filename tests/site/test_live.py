"""Cells run in the page: the same Python and judge, tried under Node with the same files."""

from __future__ import annotations

import hashlib
import io
import json
import math
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from normcourse.checks import all_exercises
from normcourse.checks.exercise import Exercise, Mistake
from normcourse.checks.feedback import STATUSES
from normcourse.checks.page import PRINT_LIMIT, check_cell
from normcourse.checks.progress import BadProgress, Entry, Progress
from normcourse.checks.texts import text_of
from normcourse.site import live_build, npm

from .conftest import EXERCISE, Build, chapter, find, text
from .runtime import ROOT, Live, ask, evaluate, make, node_modules

pytestmark = pytest.mark.xdist_group("npm")  # one installation, one Python
NUMPY = [exercise for exercise in all_exercises() if exercise.runtime == "numpy"]


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Live:
    return make(tmp_path_factory.mktemp("site"))


# --- Python in the page --------------------------------------------------------------------------


def check(exercise: Exercise, code: str) -> dict[str, Any]:
    return {"do": "check", "exercise": exercise.id, "code": code}


def as_code(exercise: Exercise, mistake: Mistake) -> str:
    """The mistake as a cell's code: a function of the exercise's name that makes it."""
    names = [part.split("=")[0].strip() for part in exercise.signature.split(",") if part.strip()]
    return (
        f"from normcourse.checks import find\n"
        f"exercise = find({exercise.id!r})\n"
        f"wrong = exercise.wrong_answer(next(m for m in exercise.mistakes if m.id == "
        f"{mistake.id!r}))\n"
        f"def {exercise.id}(*args):\n"
        f"    return wrong(**dict(zip({names!r}, args)))\n"
    )


def listed_mistake(exercise: Exercise) -> Mistake:
    return next(mistake for mistake in exercise.mistakes if mistake.named_by == "values")


@pytest.fixture(scope="module")
def verdicts(live: Live) -> dict[tuple[str, str], dict[str, Any]]:
    """The verdict on stub, solution and one mistake of every exercise, from one Python."""
    asked = {
        (exercise.id, kind): check(exercise, code)
        for exercise in NUMPY
        for kind, code in (
            ("stub", text_of(exercise).stub),
            ("solution", text_of(exercise).solution),
            ("mistake", as_code(exercise, listed_mistake(exercise))),
        )
    }
    answers = ask(live, list(asked.values()))
    return {key: answer["answer"]["feedback"] for key, answer in zip(asked, answers, strict=True)}


@pytest.mark.parametrize("exercise", NUMPY, ids=lambda exercise: exercise.id)
class TestEveryExercise:
    def test_the_stub_is_not_started(self, exercise: Exercise, verdicts: Any) -> None:
        assert verdicts[exercise.id, "stub"]["status"] == "not_started"

    def test_the_solution_passes(self, exercise: Exercise, verdicts: Any) -> None:
        verdict = verdicts[exercise.id, "solution"]
        assert verdict["status"] == "passed", verdict
        assert verdict["version"] == exercise.version

    def test_a_mistake_is_named(self, exercise: Exercise, verdicts: Any) -> None:
        verdict, mistake = verdicts[exercise.id, "mistake"], listed_mistake(exercise)
        assert verdict["status"] == "failed"
        assert verdict["mistakes"] == [mistake.id]
        assert verdict["causes"] == [mistake.message]


def test_the_words_are_those_of_the_notebook(verdicts: Any) -> None:
    """Message, case, place and causes: all but the last digits of the numbers."""
    exercise = next(exercise for exercise in NUMPY if exercise.id == "batch_norm_forward")
    here = json.loads(
        check_cell(exercise.id, as_code(exercise, listed_mistake(exercise))).to_json()
    )
    there = dict(verdicts[exercise.id, "mistake"])
    for name in ("expected", "got", "max_error"):
        assert math.isclose(here.pop(name), there.pop(name), rel_tol=1e-12)
    assert here == there


CELLS = {
    "value": "print('a', end='')\nnp.arange(3) * 2",
    "versions": "import sys\nsys.version_info[:2], np.__version__",
    "error": "x = 1\nx.shape",
    "syntax": "def f(:",
    "another cell's name": "x",
    "endless": "for i in range(10**5): print(i)",
}


@pytest.fixture(scope="module")
def runs(live: Live) -> dict[str, tuple[str, str]]:
    """What each cell printed and what stopped it, from one Python."""
    answers = ask(live, [{"do": "run", "code": code} for code in CELLS.values()])
    return {
        name: (answer["printed"], answer["answer"]["stopped"])
        for name, answer in zip(CELLS, answers, strict=True)
    }


def test_a_cell_prints_as_in_a_notebook(runs: Any) -> None:
    assert runs["value"] == ("aarray([0, 2, 4])\n", "")
    assert runs["versions"] == ("((3, 14), '2.4.3')\n", "")


def test_what_stops_a_cell_is_told_with_the_line(runs: Any) -> None:
    message = "line 2: x.shape\nAttributeError: 'int' object has no attribute 'shape'"
    assert runs["error"] == ("", message)
    assert runs["syntax"][1].endswith("in line 1: `def f(:`")


def test_a_cell_knows_nothing_of_the_one_before(runs: Any) -> None:
    assert "name 'x' is not defined" in runs["another cell's name"][1]


def test_what_is_printed_is_cut(runs: Any) -> None:
    kept, _, note = runs["endless"][0].partition("\n… ")
    assert (len(kept), runs["endless"][1]) == (PRINT_LIMIT, "")
    assert note == "more was printed than a page shows\n"


# --- what is served ------------------------------------------------------------------------------


def test_the_runtime_is_within_its_budget(live: Live) -> None:
    files = [*live.runtime.iterdir(), live.files / "normcourse.zip"]
    assert sum(path.stat().st_size for path in files) <= live_build.BUDGET


def test_numpy_is_the_file_that_pyodide_names() -> None:
    lock = json.loads((node_modules() / "pyodide" / "pyodide-lock.json").read_text("utf-8"))
    entry = lock["packages"]["numpy"]
    wheel = live_build.RUNTIME / entry["file_name"]
    assert hashlib.sha256(wheel.read_bytes()).hexdigest() == entry["sha256"]
    notice = (live_build.RUNTIME / "NOTICE.md").read_text(encoding="utf-8")
    assert entry["sha256"] in notice
    assert (
        f"pyodide@{json.loads((ROOT / 'package.json').read_text())['dependencies']['pyodide']}"
        in notice
    )


def test_the_list_of_packages_names_numpy_alone(live: Live) -> None:
    lock = json.loads((live.runtime / "pyodide-lock.json").read_text(encoding="utf-8"))
    assert list(lock["packages"]) == ["numpy"]
    assert sorted(path.name for path in live.runtime.glob("*.whl")) == [
        lock["packages"]["numpy"]["file_name"]
    ]


def test_the_package_in_the_page_is_what_judging_needs_and_no_more() -> None:
    with zipfile.ZipFile(io.BytesIO(live_build.archive())) as packed:
        names = packed.namelist()
    folders = {name.rpartition("/")[0] for name in names}
    assert folders == {
        "normcourse",
        "normcourse/checks",
        "normcourse/checks/data",
        "normcourse/norms",
    }
    assert "normcourse/checks/page.py" in names


def test_the_same_sources_give_the_same_folder(tmp_path: Path) -> None:
    made = [live_build.prepare(None, tmp_path, "no network") for _ in range(2)]
    assert made[0] == made[1]
    assert live_build.prepare(None, tmp_path, "another").folder != made[0].folder
    assert live_build.archive() == live_build.archive()


def test_files_of_another_version_go(tmp_path: Path) -> None:
    old = tmp_path / "live" / "0123456789"
    kept = tmp_path / "live" / "pyodide-1"
    for folder in (old, kept):
        folder.mkdir(parents=True)
    live_build.LiveFiles({"a.js": b"1"}, "abcdef0123").write(tmp_path)
    assert sorted(path.name for path in (tmp_path / "live").iterdir()) == [
        "abcdef0123",
        "pyodide-1",
    ]


def test_without_npm_the_page_says_why_nothing_runs(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*places: Path) -> Path:
        raise npm.NpmError("no network")

    monkeypatch.setattr(npm, "install", fail)
    built = build({"index": PAGE}, DATA, normcourse_live=True)
    assert built.complaints == ""
    (made,) = (built.outdir / "live").glob("*/build.js")
    assert made.read_text(encoding="utf-8").splitlines()[1:] == [
        "export const runtime = null;",
        'export const why = "no network";',
        "export const sizes = {};",
    ]
    assert not list(built.outdir.glob("live/pyodide-*"))
    assert f"live/{made.parent.name}/live.js" in built.html()


PAGE = "(terms)=\n# Means\n\n```{live-exercise} mean_of\n```\n"
DATA = {"data/means.json": chapter(EXERCISE)}


def test_the_list_of_the_course_leads_to_the_cards(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(npm, "install", lambda *places: (_ for _ in ()).throw(npm.NpmError("no")))
    pages = {"index": "# Start\n\n```{toctree}\nother\n```\n", "other": PAGE}
    built = build(pages, DATA, normcourse_live=True)
    course = json.loads((built.outdir / "live" / "course.json").read_text(encoding="utf-8"))
    assert course["exercises"] == [
        {"id": "mean_of", "title": "A mean", "chapter": "02_means", "runtime": "numpy",
         "version": 3, "page": "other.html#mean_of"}
    ]  # fmt: skip
    assert course["chapters"] == [{"notebook": "02_means", "title": "Means"}]


def test_the_card_says_what_the_page_can_do_where_cells_run(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(npm, "install", lambda *places: (_ for _ in ()).throw(npm.NpmError("no")))
    card = find(build({"index": PAGE}, DATA, normcourse_live=True).body(), "dl")[0]
    assert "This page an editor takes the place of the code where scripts run" in text(card)
    assert "This page" not in text(find(build({"index": PAGE}, DATA).body(), "dl")[0])


# --- progress: both sides keep the same file ------------------------------------------------------

MOMENTS = [f"2026-0{month}-01T10:00:00+00:00" for month in range(1, 6)]
entries = st.builds(
    Entry,
    version=st.integers(1, 3),
    best=st.sampled_from(sorted(STATUSES)),
    last=st.sampled_from(sorted(STATUSES)),
    updated=st.sampled_from(MOMENTS),
    passed_at=st.sampled_from(["", *MOMENTS]),
    attempts=st.integers(0, 5),
    hints=st.integers(0, 3),
)
records = st.dictionaries(st.sampled_from(["a", "b", "é", "C"]), entries).map(Progress)


def test_page_and_command_line_merge_alike(live: Live) -> None:
    pairs: list[tuple[Progress, Progress]] = []
    settings(max_examples=150, database=None, deadline=None, derandomize=True)(
        given(records, records)(lambda one, other: pairs.append((one, other)))
    )()
    script = """
      const { fromText, merged, toText } = await live("progress.js");
      return data.map(([one, other]) => toText(merged(fromText(one), fromText(other))));
    """
    data = [[one.to_json(), other.to_json()] for one, other in pairs]
    assert evaluate(live, script, data) == [one.merged(other).to_json() for one, other in pairs]


def test_page_and_command_line_record_alike(live: Live) -> None:
    steps = [
        ("a", 1, "failed"), ("a", 1, 2), ("a", 1, "passed"), ("b", 1, 3), ("a", 2, "error"),
        ("b", 1, "not_started"), ("b", 1, "timeout"), ("a", 2, 1), ("a", 2, "passed"),
    ]  # fmt: skip
    here = Progress()
    for number, (name, version, what) in enumerate(steps):
        when = f"2026-01-0{number + 1}T10:00:00+00:00"
        add = here.with_hint if isinstance(what, int) else here.with_verdict
        here = add(name, version, what, when)  # type: ignore[arg-type]
    script = """
      const { empty, toText, withHint, withVerdict } = await live("progress.js");
      return toText(data.reduce((kept, [name, version, what], i) => {
        const add = typeof what === "number" ? withHint : withVerdict;
        return add(kept, name, version, what, `2026-01-0${i + 1}T10:00:00+00:00`);
      }, empty()));
    """
    assert evaluate(live, script, steps) == here.to_json()


GOOD = {"version": 1, "best": "passed", "last": "passed", "updated": ""}
DAMAGED = ["", "{", "[]", "null", '{"schema": 2, "exercises": {}}', '{"schema": 1}'] + [
    json.dumps({"schema": 1, "exercises": exercises})
    for exercises in (
        [],
        {"a": 1},
        {"a": {**GOOD, "best": "great"}},
        {"a": {**GOOD, "version": "1"}},
        {"a": {**GOOD, "hints": "2"}},
        {"a": {name: GOOD[name] for name in ("version", "best", "last")}},
    )
]


def test_page_and_command_line_refuse_the_same_files(live: Live) -> None:
    for damaged in DAMAGED:
        with pytest.raises(BadProgress):
            Progress.from_json(damaged)
    script = """
      const { fromText } = await live("progress.js");
      const told = (text) => {
        try { fromText(text); return "read"; } catch (error) { return error.message; }
      };
      return data.map(told);
    """
    told = evaluate(live, script, DAMAGED)
    assert "read" not in told
    assert told[1] == "it is not JSON"
    assert told[4] == "it is of schema 2, expected 1"


def test_a_typed_number_may_mean_two_things(live: Live) -> None:
    typed = [
        "2048",
        "2,048",
        "0,5",
        "3/4",
        " −1.5 ",
        "12 960",
        "1e3",
        "",
        "two",
        "1/2/3",
        "5/",
        "1/0",
    ]
    script = 'const { readings } = await live("quiz.js"); return data.map(readings);'
    assert evaluate(live, script, typed) == [
        [2048], [2.048, 2048], [0.5, 5], [0.75], [-1.5], [12960], [1000], [], [], [], [], [],
    ]  # fmt: skip

"""The progress file: nothing earned is lost, and a broken file is left as it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from normcourse.checks import progress as store
from normcourse.checks.notebook import check, hint, progress, reset, solution
from normcourse.checks.progress import BadProgress, Entry, Progress

TIMES = st.integers(0, 9).map(lambda n: f"2026-01-0{n + 1}T00:00:00+00:00")


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    status = st.sampled_from(["not_started", "error", "timeout", "failed", "passed"])
    progress_ = Progress()
    for moment in sorted(draw(st.lists(TIMES, min_size=1, max_size=4))):
        progress_ = progress_.with_verdict("e", 1, draw(status), moment)
        progress_ = progress_.with_hint("e", 1, draw(st.integers(0, 3)), moment)
    return progress_.exercises["e"]


PROGRESS = st.dictionaries(st.sampled_from(["a", "b", "c"]), entries(), max_size=3).map(Progress)


@given(PROGRESS, PROGRESS)
@settings(derandomize=True, deadline=None)
def test_merging_loses_no_pass_and_no_exercise(one: Progress, other: Progress) -> None:
    both = one.merged(other)
    assert set(both.exercises) == set(one.exercises) | set(other.exercises)
    for name in both.exercises:
        assert both.passed(name) == (one.passed(name) or other.passed(name))


@given(PROGRESS, PROGRESS)
@settings(derandomize=True, deadline=None)
def test_merging_twice_changes_nothing_more(one: Progress, other: Progress) -> None:
    both = one.merged(other)
    assert both.merged(other) == both
    assert both.merged(one) == both


def test_newest_verdict_wins_and_best_stays() -> None:
    early = Progress().with_verdict("e", 1, "passed", "2026-01-01T00:00:00+00:00")
    late = Progress().with_verdict("e", 1, "failed", "2026-02-01T00:00:00+00:00")
    for merged in (early.merged(late), late.merged(early)):
        assert merged.exercises["e"].last == "failed"
        assert merged.exercises["e"].best == "passed"
        assert merged.exercises["e"].passed_at == "2026-01-01T00:00:00+00:00"


@given(PROGRESS)
@settings(derandomize=True, deadline=None)
def test_text_returns_the_same_progress(kept: Progress) -> None:
    assert Progress.from_json(kept.to_json()) == Progress(dict(sorted(kept.exercises.items())))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"schema": 2, "exercises": {}}',
        '{"schema": 1}',
        '{"schema": 1, "exercises": {"e": {}}}',
        '{"schema": 1, "exercises": {"e": {"version": 1, "best": "won", "last": "won", '
        '"updated": ""}}}',
    ],
)
def test_a_broken_file_is_said_and_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "progress.json"
    path.write_text(text)
    with pytest.raises(BadProgress, match=r"progress\.json"):
        store.load(path)
    monkeypatch.setenv("NORMCOURSE_PROGRESS", str(path))

    def normalized_example() -> object:
        return [-1.342, -0.447, 0.447, 1.342]

    assert check(normalized_example).passed
    assert path.read_text() == text
    assert "not saved" in capsys.readouterr().err


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "progress.json"
    store.save(Progress().with_verdict("e", 1, "passed", "2026"), path)
    before = path.read_text()

    def fail(*args: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        store.save(Progress(), path)
    assert path.read_text() == before
    assert [p.name for p in tmp_path.iterdir()] == ["progress.json"]


def test_notebook_functions_keep_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "deep" / "progress.json"
    monkeypatch.setenv("NORMCOURSE_PROGRESS", str(path))

    def normalized_example() -> object:
        return [0, 0, 0, 0]

    assert not check(normalized_example).passed
    assert "Hint 1 of 3" in str(hint(normalized_example))
    assert "Hint 2 of 3" in str(hint("normalized_example"))
    entry = json.loads(path.read_text())["exercises"]["normalized_example"]
    assert (entry["best"], entry["attempts"], entry["hints"]) == ("failed", 1, 2)
    assert "0 of" in str(progress())
    assert "1.342" in str(solution(normalized_example))
    assert "NotImplementedError" in str(reset(normalized_example))
    assert json.loads(path.read_text())["exercises"] == {}


def test_off_keeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NORMCOURSE_PROGRESS", "off")
    assert store.default_path() is None

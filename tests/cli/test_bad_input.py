"""Bad input: one clear line on stderr, exit code 2, nothing written, nothing judged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import FORWARD, Cli, answers, files, solution


@pytest.fixture
def folder(here: Path) -> Path:
    """A folder with a right answer and many files that hold none."""
    answers(here / "right.py", solution(FORWARD))
    (here / "folder.ipynb").mkdir()
    (here / "notes.txt").write_text("def batch_norm_forward(): pass")
    (here / "broken.ipynb").write_text('{"cells": [{"cell_type": "code", ')
    (here / "list.ipynb").write_text("[1, 2]")
    (here / "empty.ipynb").write_text('{"cells": [], "nbformat": 4}')
    (here / "other.py").write_text("def something_else(): pass\n")
    (here / "latin.py").write_bytes(b"x = '\xe9'\n")
    (here / "bad_progress.json").write_text("{")
    (here / "old_progress.json").write_text(json.dumps({"schema": 99, "exercises": {}}))
    return here


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("check missing.ipynb", "missing.ipynb: no such file"),
        ("check folder.ipynb", "is a folder"),
        ("check notes.txt", "expected a file ending in .ipynb or .py, got '.txt'"),
        ("check broken.ipynb", "broken JSON at line 1"),
        ("check list.ipynb", "not a notebook"),
        ("check empty.ipynb", "no exercise inside"),
        ("check other.py", "no exercise inside"),
        ("check latin.py", "not UTF-8"),
        ("check right.py batch_norm_froward", "Did you mean batch_norm_forward?"),
        ("check right.py xyz", "there is no exercise 'xyz'. `normcourse progress --all` lists"),
        ("check right.py affine_to_undo", "does not define affine_to_undo. It holds batch_norm"),
        ("check right.py --time-limit 0", "--time-limit: expected seconds from 0 to 3600, got 0"),
        ("check right.py --time-limit -3", "got -3"),
        ("check right.py --time-limit nan", "got nan"),
        ("check right.py --time-limit inf", "got inf"),
        ("check right.py --time-limit soon", "--time-limit"),
        ("check right.py --file bad_progress.json", "not JSON"),
        ("check right.py --file old_progress.json", "expected schema 1, got 99"),
        ("check right.py --file folder.ipynb", "is a folder, expected the progress file"),
        ("check right.py --jsno", "No such option: --jsno"),
        ("check", "Missing argument 'FILE'"),
        ("chek right.py", "Did you mean 'check'?"),
        ("grades folder", "Did you mean"),
        ("watch missing.py", "no such file"),
        ("watch right.py nothing", "there is no exercise 'nothing'"),
        ("hint batch_norm_froward", "Did you mean batch_norm_forward?"),
        ("hint batch_norm_forward --number 3", "--number: expected 1 to 1, got 3"),
        ("hint batch_norm_forward --file bad_progress.json", "not JSON"),
        ("solution xyz --yes", "there is no exercise 'xyz'"),
        ("next --file bad_progress.json", "not JSON"),
        ("progress --file old_progress.json", "expected schema 1"),
        ("progress --import missing.json", "no such file"),
        ("progress --import bad_progress.json", "not JSON"),
        ("progress --export folder.ipynb", "is a folder"),
        ("progress --export nowhere/there/x.json --file notes.txt", "not JSON"),
        ("reset xyz", "there is no exercise 'xyz'"),
        ("reset missing.ipynb", "no such file"),
        ("reset other.py --yes", "no exercise inside"),
        ("start right.py", "is a file, expected a folder"),
        ("serve --port 99999", ""),
        ("dev check xyz", "there is no exercise 'xyz'"),
        ("dev check --seeds 0", "--seeds"),
    ],
)
def test_one_line_exit_two_nothing_written(cli: Cli, folder: Path, line: str, words: str) -> None:
    before = files(folder)
    done = cli(*line.split())
    assert done.code == 2, done
    assert done.err.startswith("normcourse: ")
    assert done.err.count("\n") == 1, done.err
    assert words in done.err
    assert done.out == ""
    assert files(folder) == before


def test_an_unreadable_progress_file_is_no_reason_to_lose_it(cli: Cli, folder: Path) -> None:
    done = cli("check", "right.py", "--file", "bad_progress.json")
    assert done.code == 2
    assert (folder / "bad_progress.json").read_text() == "{"


def test_time_limit_of_the_environment_is_bad_input_too(
    cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NORMCOURSE_TIME_LIMIT", "soon")
    done = cli("check", "right.py")
    assert (done.code, done.out) == (2, "")
    assert "NORMCOURSE_TIME_LIMIT: expected seconds > 0, got 'soon'." in done.err


def test_names_from_outside_cannot_write_to_the_terminal(cli: Cli, folder: Path) -> None:
    done = cli("check", "right.py", "x\x1b[2J\ny")
    assert done.code == 2
    assert "\x1b" not in done.err
    assert done.err.count("\n") == 1


def test_progress_that_cannot_be_written_costs_no_verdict(cli: Cli, folder: Path) -> None:
    done = cli("check", "right.py", "--file", "notes.txt/progress.json")
    assert done.code == 0
    assert "1 of 1 passed." in done.out
    assert "normcourse: progress was not saved" in done.err


def test_a_process_that_does_not_start_is_no_verdict(
    cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("normcourse.checks.child._PROGRAM", "raise SystemExit(3)")
    done = cli("check", "right.py")
    assert done.code == 2
    assert "did not start (it exited with code 3)" in done.err
    assert not (folder / "progress.json").exists()

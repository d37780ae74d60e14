"""A learner's folder, the commands run in this process, and terminals made of text."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from normcourse.checks.catalogue import listed
from normcourse.cli import main
from normcourse.terminal.screen import Screen

CHAPTER = [exercise for exercise in listed().values() if exercise.chapter == "batch_norm"]
EXAMPLE, FORWARD, NCHW, UNDO = (exercise.id for exercise in CHAPTER)
WRONG = """\
def batch_norm_forward(x, gamma, beta, eps=1e-5):
    return gamma * (x - x.mean(0)) / np.sqrt(x.var(0, ddof=1) + eps) + beta
"""


@dataclass(frozen=True)
class Done:
    """What a command came to."""

    code: int
    out: str
    err: str


Cli = Callable[..., Done]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder with a progress file of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NORMCOURSE_PROGRESS", str(tmp_path / "progress.json"))
    for name in ("NORMCOURSE_TIME_LIMIT", "NO_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def cli(here: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Return a function that runs a command line in this process."""

    def run(*words: object) -> Done:
        capsys.readouterr()
        code = main([str(word) for word in words])
        captured = capsys.readouterr()
        return Done(code, captured.out, captured.err)

    return run


def answers(path: Path, *codes: str) -> Path:
    """Write a .py file with the imports and these pieces of code."""
    path.write_text("\n\n\n".join(["import numpy as np", *codes]) + "\n", encoding="utf-8")
    return path


def solution(exercise_id: str) -> str:
    """Return the authors' answer."""
    return listed()[exercise_id].solution


def stub(exercise_id: str) -> str:
    """Return what learners begin with."""
    return listed()[exercise_id].stub


class Terminal(io.StringIO):
    """Text that says it is a terminal with UTF-8."""

    encoding = "utf-8"  # type: ignore[assignment]

    def isatty(self) -> bool:
        return True


def fancy_screen(width: int = 80) -> Screen:
    """Return a screen with colours and symbols that writes to text."""
    return Screen(Terminal(), fancy=True, width=width)


def shown(screen: Screen) -> str:
    """Return what was written to a screen."""
    stream = screen.stream
    assert isinstance(stream, io.StringIO)
    return stream.getvalue()


def saying(answer: bool, asked: list[str]) -> Callable[[str], bool]:
    """Return a learner who answers every question alike, and the questions."""

    def confirm(question: str) -> bool:
        asked.append(question)
        return answer

    return confirm


def files(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder with its bytes."""
    paths: Sequence[Path] = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}

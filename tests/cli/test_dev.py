"""dev check proves what it says and finds what is broken; bench measures what it names."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from normcourse.checks import Exercise, Mistake, find
from normcourse.checks.catalogue import Listed, listed
from normcourse.terminal import bench, proof
from tests.cli.conftest import EXAMPLE, FORWARD, UNDO, Cli, answers, solution


def test_dev_check_proves_exercises(cli: Cli) -> None:
    done = cli("dev", "check", EXAMPLE, UNDO, "--seeds", "2")
    assert done.code == 0
    rows = done.out.splitlines()
    assert rows[0].split() == ["exercise", "seeds", "mistakes", "seconds", "verdict"]
    assert rows[2].split()[::4] == [EXAMPLE, "ok"]
    assert "Exercises: 2. " in rows[-1]
    assert rows[-1].endswith("Problems: 0.")


def test_dev_check_knows_every_exercise(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def prove(exercise: Listed, seeds: object) -> proof.Proof:
        return proof.Proof(exercise.id, 1, 0, 0.0, ())

    monkeypatch.setattr(proof, "prove", prove)
    rows = cli("dev", "check").out.splitlines()[2:-2]
    assert [row.split()[0] for row in rows] == list(listed())


def broken(monkeypatch: pytest.MonkeyPatch, full: Exercise) -> proof.Proof:
    """Prove batch_norm_forward with another definition of it."""
    monkeypatch.setattr(proof, "find", lambda name: full)
    return proof.prove(listed()[FORWARD], range(1))


NO_MISTAKE = Mistake("none", "m", wrong=find(FORWARD).reference)
TWIN = Mistake("twin", "m", {"ddof": 1})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mistakes": (NO_MISTAKE,)}, "none is passed, expected it to be rejected"),
        ({"mistakes": (*find(FORWARD).mistakes, TWIN)}, "the mistake twin is named divides_by"),
        ({"reference": lambda x, gamma, beta, eps=1e-5: x}, "the solution does not pass"),
        ({"kind": "repair"}, "the stub is not_started, expected failed or error"),
    ],
)
def test_what_is_broken_is_found(
    monkeypatch: pytest.MonkeyPatch, change: dict[str, object], words: str
) -> None:
    found = broken(monkeypatch, replace(find(FORWARD), **change))  # type: ignore[arg-type]
    assert any(words in problem for problem in found.problems), found.problems


def test_problems_are_listed_and_the_code_is_one(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    full = replace(find(FORWARD), mistakes=(NO_MISTAKE,))
    monkeypatch.setattr(proof, "find", lambda name: full)
    done = cli("dev", "check", FORWARD, "--seeds", "1")
    assert done.code == 1
    assert "problems: 1" in done.out
    assert "expected it to be rejected" in done.out


def test_bench_reports_ratios_and_writes_json(
    cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "warm_times", lambda n: {FORWARD: bench._warm(listed()[FORWARD], n)})
    monkeypatch.setattr(bench, "WARM_LIMIT", 10.0)
    path = answers(here / "a.py", solution(FORWARD))
    monkeypatch.setattr(bench, "_answer_files", lambda folder: {"a right answer": path})
    done = cli("bench", "--repeats", "2", "--json", "times.json")
    assert done.code == 0
    times = json.loads((here / "times.json").read_text())
    assert times["cold"]["python, import numpy"]["ratio"] == 1.0
    assert times["cold"]["python"]["ratio"] < 1.0
    assert times["cold"]["normcourse check: a right answer"]["median"] > 0
    assert times["cold"]["python, import numpy"]["processor_ratio"] == 1.0
    assert times["warm"][FORWARD]["worst"] in {m.id for m in find(FORWARD).mistakes}
    assert not (here / "progress.json").exists()


def test_bench_says_what_is_too_slow(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"right": 0.001, "wrong": 9.0, "unknown": 0.001, "worst": "x"}
    monkeypatch.setattr(bench, "warm_times", lambda n: {FORWARD: row})
    monkeypatch.setattr(bench, "cold_times", lambda n: {})
    done = cli("bench")
    assert done.code == 1
    assert f"Above 50 ms: {FORWARD}." in done.out


def test_bench_files_are_what_they_are_called(cli: Cli, here: Path) -> None:
    """A benchmark of a broken file would measure the wrong thing."""
    paths = bench._answer_files(here)
    codes = {name: cli("check", path).code for name, path in list(paths.items())[:3]}
    assert codes == {"a stub": 1, "a right answer": 0, "a wrong answer": 1}
    assert "not yet right" in cli("check", paths["a wrong answer"]).out

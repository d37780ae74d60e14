"""hint, solution, progress, next and forgetting: small steps, remembered, never lost."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from normcourse import __version__
from normcourse.checks.catalogue import chapters, listed
from normcourse.checks.letters import cleaned
from normcourse.checks.progress import Progress, load, save
from normcourse.terminal.learn import forget, solution
from normcourse.terminal.record import Record
from tests.cli.conftest import (
    EXAMPLE,
    FORWARD,
    NCHW,
    Cli,
    answers,
    fancy_screen,
    saying,
    shown,
)
from tests.cli.conftest import solution as solution_of

TIME = "2026-01-31T10:00:00+00:00"
LATER = "2026-02-01T10:00:00+00:00"


def passed(path: Path, *ids: str, time: str = TIME) -> None:
    """Write a progress file in which these exercises are passed."""
    kept = load(path)
    for name in ids:
        kept = kept.with_verdict(name, 1, "passed", time)
    save(kept, path)


def test_hints_come_one_by_one_and_are_remembered(cli: Cli, here: Path) -> None:
    hints = listed()[FORWARD].hints
    for number in (1, 2, 3, 3):
        done = cli("hint", FORWARD)
        assert done.code == 0
        assert done.out.startswith(f"Hint {number} of 3 for {FORWARD}\n")
        assert hints[number - 1].split()[0] in done.out
        assert load(here / "progress.json").entry(FORWARD).hints == number
    assert f"normcourse solution {FORWARD}" in done.out


def test_a_hint_can_be_read_again(cli: Cli, here: Path) -> None:
    cli("hint", FORWARD)
    cli("hint", FORWARD)
    assert cli("hint", FORWARD, "--number", 1).out.startswith("Hint 1 of 3")
    assert load(here / "progress.json").entry(FORWARD).hints == 2


def test_solution_asks_before_the_exercise_is_passed(here: Path) -> None:
    out, asked = fancy_screen(), list[str]()
    assert solution(FORWARD, Record(), out, saying(False, asked)) == 1
    assert asked == [f"{FORWARD} is not passed yet. Show its solution?"]
    assert f"Not shown. Hint 1 of 3: normcourse hint {FORWARD}" in shown(out)
    assert "np.sqrt" not in shown(out)


def test_solution_is_shown_with_its_reason_after_a_yes_or_a_pass(cli: Cli, here: Path) -> None:
    done = cli("solution", FORWARD, "--yes")
    assert done.code == 0
    assert done.out.startswith(listed()[FORWARD].solution)
    assert "biased variance" in done.out
    passed(here / "progress.json", FORWARD)
    assert cli("solution", FORWARD).out == done.out


def test_without_a_keyboard_a_question_is_no(cli: Cli, here: Path) -> None:
    done = cli("solution", FORWARD)
    assert done.code == 1
    assert "Show its solution? Say so with --yes." in done.err


def test_code_has_colours_on_a_terminal(here: Path) -> None:
    out = fancy_screen()
    passed(here / "progress.json", FORWARD)
    assert solution(FORWARD, Record(), out, saying(False, [])) == 0
    assert re.search("\x1b\\[[0-9;]*m", shown(out))
    assert listed()[FORWARD].solution.splitlines()[0] in cleaned(shown(out))


def test_progress_has_a_bar_per_chapter(cli: Cli, here: Path) -> None:
    members = [one.id for one in listed().values() if one.chapter == "batch_norm"]
    passed(here / "progress.json", *members[: len(members) // 2])
    lines = cli("progress").out.splitlines()
    assert len(lines) >= len(chapters()) + 2
    line = next(line for line in lines if line.startswith("02_batch_norm "))
    assert "[############............]  2 of 4" in line
    assert lines[len(chapters())].endswith(f"2 of {len(listed())}")
    assert lines[len(chapters()) + 1].startswith("Next: ")
    assert lines[-1] == f"Kept in {here / 'progress.json'}"


def test_progress_can_list_every_exercise(cli: Cli, here: Path) -> None:
    passed(here / "progress.json", EXAMPLE)
    cli("hint", FORWARD)
    out = cli("progress", "--all").out
    for name in listed():
        assert f" {name}" in out
    assert f"[ok] {EXAMPLE}  1 tried" in out
    assert f"* {FORWARD}  1 hint\n" in out


def test_a_pass_of_an_older_version_is_said(cli: Cli, here: Path) -> None:
    kept = Progress().with_verdict(EXAMPLE, 0, "passed", TIME)
    save(kept, here / "progress.json")
    assert "the exercise has changed since" in cli("progress", "--all").out


def test_progress_travels_and_no_pass_is_lost(cli: Cli, here: Path) -> None:
    passed(here / "progress.json", EXAMPLE)
    done = cli("progress", "--export", "away.json")
    assert (done.code, done.out) == (0, "Wrote away.json: 1 exercises tried, 1 passed.\n")
    other = load(here / "away.json").with_verdict(FORWARD, 1, "passed", LATER)
    save(other.with_verdict(EXAMPLE, 1, "failed", LATER), here / "away.json")
    done = cli("progress", "--import", "away.json")
    assert done.out == "Read away.json: 2 exercises tried, 2 passed. New here: 1 passed.\n"
    kept = load(here / "progress.json")
    assert (kept.passed(EXAMPLE), kept.passed(FORWARD)) == (True, True)
    assert kept.entry(EXAMPLE).last == "failed", "the newest verdict counts"


def test_export_does_not_overwrite_unasked(cli: Cli, here: Path) -> None:
    (here / "precious.json").write_text("mine")
    passed(here / "progress.json", EXAMPLE)
    done = cli("progress", "--export", "precious.json")
    assert (done.code, done.out) == (1, "Nothing written.\n")
    assert (here / "precious.json").read_text() == "mine"
    assert cli("progress", "--export", "precious.json", "--yes").code == 0
    assert load(here / "precious.json").passed(EXAMPLE)


def test_next_is_the_first_that_is_not_passed(cli: Cli, here: Path) -> None:
    ids = list(listed())
    passed(here / "progress.json", *ids[:3])
    done = cli("next")
    assert done.out.startswith(f"{ids[3]}: {listed()[ids[3]].title}\n")
    assert f"normcourse check my_normcourse/{listed()[ids[3]].notebook}.ipynb {ids[3]}" in done.out
    assert "normcourse start" in done.out
    cli("start")
    assert "normcourse start" not in cli("next").out


def test_forgetting_a_pass_is_asked_for(here: Path) -> None:
    passed(here / "progress.json", EXAMPLE)
    out, asked = fancy_screen(), list[str]()
    assert forget([EXAMPLE], Record(), out, saying(False, asked)) == 1
    assert asked == [f"Forget that {EXAMPLE} is passed?"]
    assert load(here / "progress.json").passed(EXAMPLE)
    assert forget([EXAMPLE], Record(), out, saying(True, asked)) == 0
    assert load(here / "progress.json").entry(EXAMPLE) is None


def test_forgetting_what_is_not_passed_needs_no_question(cli: Cli, here: Path) -> None:
    cli("hint", NCHW)
    passed(here / "progress.json", EXAMPLE)
    done = cli("reset", NCHW)
    assert (done.code, done.err) == (0, "")
    assert list(load(here / "progress.json").exercises) == [EXAMPLE]


def test_progress_may_be_switched_off(
    cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NORMCOURSE_PROGRESS", "off")
    assert cli("hint", FORWARD).code == 0
    assert cli("check", answers(here / "a.py", solution_of(FORWARD))).code == 0
    assert cli("progress").code == 0
    assert [path.name for path in here.iterdir()] == ["a.py"]


def test_version_and_help(cli: Cli) -> None:
    assert cli("--version").out == f"normcourse {__version__}\n"
    assert "Usage: normcourse" in cli("--help").out
    assert cli().out == cli("--help").out
    words = ("start", "check", "hint", "solution", "progress", "next", "reset")
    words += ("watch", "bench", "serve", "dev")
    assert [word for word in words if f"  {word} " not in cli("--help").out] == []
    for word in words:
        done = cli(word, "--help")
        assert done.code == 0
        assert f"Usage: normcourse {word}" in done.out


def test_commands_of_other_parts_are_loaded_when_they_are_meant(cli: Cli) -> None:
    assert "  grade " in cli("--help").out
    done = cli("grade", "--help")
    assert (done.code, "Usage: normcourse grade" in done.out) == (0, True)

"""``normcourse check``: verdicts in words of the terminal, exit codes, what is remembered."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from normcourse.checks.catalogue import chapters, listed
from normcourse.checks.feedback import Feedback
from normcourse.checks.handout import dump, learner_notebook
from normcourse.checks.progress import load
from normcourse.terminal.report import show_summary, show_verdict
from normcourse.terminal.task import Verdict, host_of, is_stub, task_of, verdicts
from tests.cli.conftest import (
    EXAMPLE,
    FORWARD,
    NCHW,
    UNDO,
    WRONG,
    Cli,
    answers,
    fancy_screen,
    shown,
    solution,
    stub,
)


def test_a_right_answer_passes_and_says_what_comes_next(cli: Cli, here: Path) -> None:
    done = cli("check", answers(here / "a.py", solution(FORWARD)))
    assert done.code == 0
    assert f"[ok] {FORWARD}: passed" in done.out
    assert "One thing more: " in done.out
    assert f"1 of 1 passed.\nNext: {NCHW} (about 10 minutes" in done.out
    assert done.err == ""


def test_a_wrong_answer_is_named_in_the_terminal_s_words(cli: Cli, here: Path) -> None:
    done = cli("check", answers(here / "a.py", WRONG))
    assert done.code == 1
    assert f"[x] {FORWARD}: not yet right" in done.out
    assert "Likely cause: You divide by n - 1." in done.out
    assert f"  Hint 1 of 3: normcourse hint {FORWARD}\n" in done.out
    assert f"hint({FORWARD})" not in done.out
    assert done.out.endswith("0 of 1 passed.\n")


def test_after_three_hints_the_solution_is_offered(cli: Cli, here: Path) -> None:
    for _ in range(3):
        cli("hint", FORWARD)
    done = cli("check", answers(here / "a.py", WRONG))
    assert f"  Solution: normcourse solution {FORWARD}\n" in done.out


def test_every_exercise_of_a_file_is_judged_and_stubs_are_listed(cli: Cli, here: Path) -> None:
    codes = [solution(EXAMPLE), WRONG, stub(NCHW), stub(UNDO)]
    done = cli("check", answers(here / "a.py", *codes))
    assert done.code == 1
    places = [done.out.index(f"] {name}") for name in (EXAMPLE, FORWARD)]
    assert places == sorted(places), "in the order of the course"
    assert f"[ ] not started: {NCHW} (10 min), {UNDO} (5 min)" in done.out.replace("\n", " ")
    assert "1 of 4 passed." in done.out


def test_only_what_is_asked_for_is_judged(cli: Cli, here: Path) -> None:
    path = answers(here / "a.py", solution(EXAMPLE), WRONG)
    assert cli("check", path, EXAMPLE).code == 0
    assert cli("check", path, FORWARD, EXAMPLE).code == 1
    assert cli("check", path, EXAMPLE, EXAMPLE).out.count(f"[ok] {EXAMPLE}") == 1


def test_a_stub_alone_leaves_no_trace(cli: Cli, here: Path) -> None:
    done = cli("check", answers(here / "a.py", stub(FORWARD)))
    assert (done.code, done.out.count("[ ] not started")) == (1, 1)
    assert not (here / "progress.json").exists()


def test_stubs_start_no_process_and_import_no_numpy(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("normcourse.checks.host.Child", None)  # would raise when called
    task = task_of(answers(here / "a.py", stub(FORWARD), stub(NCHW)))
    with host_of(task, 1.0) as host:
        assert [verdict.feedback for verdict in verdicts(task, host, 1.0)] == [None, None]


@pytest.mark.parametrize("name", [FORWARD, UNDO])
def test_a_stub_with_other_comments_is_still_a_stub(here: Path, name: str) -> None:
    changed = stub(name).replace("raise NotImplementedError", "raise NotImplementedError  # soon")
    task = task_of(answers(here / "a.py", changed))
    assert is_stub(listed()[name], task.source)


def test_a_stub_that_was_touched_without_an_answer_is_not_started(cli: Cli, here: Path) -> None:
    begun = stub(FORWARD).replace("    raise", "    mean = x.mean(axis=0)\n    raise")
    done = cli("check", answers(here / "a.py", begun))
    assert "not started: batch_norm_forward" in done.out


def test_progress_remembers_verdicts(cli: Cli, here: Path) -> None:
    cli("check", answers(here / "a.py", solution(EXAMPLE), WRONG, stub(NCHW)))
    kept = load(here / "progress.json")
    assert kept.passed(EXAMPLE)
    assert kept.entry(FORWARD).last == "failed"
    assert kept.entry(NCHW) is None
    cli("check", answers(here / "a.py", stub(EXAMPLE), solution(FORWARD)))
    kept = load(here / "progress.json")
    assert kept.passed(EXAMPLE), "a pass is never lost"
    assert kept.entry(EXAMPLE).last == "not_started"
    assert kept.entry(FORWARD).attempts == 2


def test_progress_file_can_be_named(cli: Cli, here: Path) -> None:
    path = answers(here / "a.py", solution(FORWARD))
    cli("check", path, "--file", here / "mine.json")
    assert load(here / "mine.json").passed(FORWARD)
    assert not (here / "progress.json").exists()


def test_known_passes_are_brief_in_a_crowd(cli: Cli, here: Path) -> None:
    path = answers(here / "a.py", solution(EXAMPLE), solution(FORWARD))
    assert "Proven" in cli("check", path).out
    again = cli("check", path)
    assert "Proven" not in again.out
    assert f"[ok] {FORWARD}: passed" in again.out
    assert "Proven" in cli("check", path, FORWARD).out, "asked for by name"


def test_json_is_one_feedback_per_line_and_nothing_else(cli: Cli, here: Path) -> None:
    codes = (solution(EXAMPLE), WRONG, stub(NCHW))
    done = cli("check", answers(here / "a.py", *codes), "--json")
    found = [Feedback.from_json(line) for line in done.out.splitlines()]
    assert done.code == 1
    assert [(f.exercise, f.status) for f in found] == [
        (EXAMPLE, "passed"),
        (FORWARD, "failed"),
        (NCHW, "not_started"),
    ]
    assert found[1].mistakes == ("divides_by_n_minus_1",)


def notebook(path: Path, *cells: str) -> Path:
    """Write a notebook with these code cells."""
    codes = [{"cell_type": "code", "metadata": {}, "source": cell} for cell in cells]
    path.write_text(json.dumps({"cells": codes, "nbformat": 4}), encoding="utf-8")
    return path


def test_a_syntax_error_costs_its_exercise_alone(cli: Cli, here: Path) -> None:
    broken = stub(NCHW).replace("raise NotImplementedError", "return x +* 2")
    path = notebook(here / "a.ipynb", "import numpy as np", broken, solution(FORWARD))
    done = cli("check", path)
    assert done.code == 1
    assert f"[ok] {FORWARD}: passed" in done.out
    assert f"[x] {NCHW}: stopped with an error" in done.out
    assert "syntax error in cell 2: invalid syntax in line" in done.out
    assert "return x +* 2" in done.out


def test_magics_are_left_out_and_mentioned(cli: Cli, here: Path) -> None:
    path = notebook(here / "a.ipynb", "%matplotlib inline\nimport numpy as np", solution(FORWARD))
    done = cli("check", path)
    assert done.code == 0
    assert "Not Python, left out: cell 1 `%matplotlib inline`." in done.out


def test_code_that_does_not_end_outside_the_functions_is_said(cli: Cli, here: Path) -> None:
    path = answers(here / "a.py", solution(FORWARD), "while True:\n    pass")
    done = cli("check", path, "--time-limit", "0.5")
    assert done.code == 0
    assert "only its imports, definitions and assignments were run" in done.out.replace("\n", " ")


@pytest.mark.parametrize("order", [(FORWARD, NCHW), (NCHW, FORWARD)])
def test_what_breaks_one_exercise_leaves_the_others(
    cli: Cli, here: Path, order: tuple[str, str]
) -> None:
    loop = "def batch_norm_forward_nchw(x, gamma, beta, eps=1e-5):\n    while True:\n        pass"
    codes = {FORWARD: solution(FORWARD), NCHW: loop}
    done = cli("check", answers(here / "a.py", *(codes[o] for o in order)), "--time-limit", "0.5")
    assert done.code == 1
    assert f"[ok] {FORWARD}: passed" in done.out
    assert f"[x] {NCHW}: took too long" in done.out


def test_what_the_code_prints_is_text(cli: Cli, here: Path) -> None:
    """No colour, no cursor movement and no markup of the learner's reaches the terminal."""
    lines = WRONG.splitlines()
    lines.insert(1, "    print('[bold red]x[/] \\x1b[2J\\x1b]0;title\\x07 [ok] \\u202egnorw')")
    done = cli("check", answers(here / "a.py", "\n".join(lines)))
    assert "    [bold red]x[/]  [ok] gnorw" in done.out
    assert "\x1b" not in done.out


def test_an_exception_s_text_cannot_forge_lines(cli: Cli, here: Path) -> None:
    text = "x\\n[ok] batch_norm_forward: passed\\x1b[1A"
    code = f"def batch_norm_forward(x, gamma, beta, eps=1e-5):\n    raise ValueError('{text}')"
    done = cli("check", answers(here / "a.py", code))
    assert done.code == 1
    assert "\n[ok]" not in done.out
    assert "\x1b" not in done.out


def test_helpers_beside_the_file_are_found(cli: Cli, here: Path) -> None:
    folder = here / "work"
    folder.mkdir()
    (folder / "helpers.py").write_text("def center(x): return x - x.mean(0)\n")
    code = solution(FORWARD).replace("(x - mean)", "center(x)")
    assert "center" in code
    assert cli("check", answers(folder / "a.py", "from helpers import center", code)).code == 0


def test_a_torch_exercise_without_torch_says_so(
    cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from normcourse.terminal import task

    torch = [one for one in listed().values() if one.runtime == "torch"]
    if not torch:
        pytest.skip("no exercise in PyTorch yet")
    monkeypatch.setattr(task, "_has_torch", lambda: False)
    done = cli("check", answers(here / "a.py", torch[0].solution), torch[0].id)
    assert done.code == 1
    assert "needs PyTorch, which is not installed here" in done.out
    assert not (here / "progress.json").exists()


def test_colours_and_symbols_on_a_terminal() -> None:
    out, kept = fancy_screen(), load(None)
    exercise = listed()[FORWARD]
    failed = Feedback(
        FORWARD, 1, "failed", "the values differ.", causes=("You divide.",), hint="hint(x)"
    )
    show_verdict(out, Verdict(exercise, failed), kept, brief=False)
    show_summary(out, [Verdict(exercise, failed), Verdict(listed()[NCHW], None)], kept)
    text = shown(out)
    assert text.startswith(f"\x1b[31m✗ {FORWARD}: not yet right\x1b[0m\n")
    assert "\x1b[33m  Likely cause: You divide.\x1b[0m" in text
    assert f"\x1b[36m  Hint 1 of 3: normcourse hint {FORWARD}\x1b[0m" in text
    assert "· not started" in text


def test_lines_fit_the_width(cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    done = cli("check", answers(here / "a.py", WRONG, stub(NCHW), stub(UNDO)))
    assert max(map(len, done.out.splitlines())) < 50


def test_the_last_exercise_of_the_course_is_said(cli: Cli, here: Path) -> None:
    entries = {
        name: {"version": 1, "best": "passed", "last": "passed", "updated": "2026-01-01"}
        for name in listed()
    }
    (here / "progress.json").write_text(json.dumps({"schema": 1, "exercises": entries}))
    assert "every exercise" in cli("check", answers(here / "a.py", solution(FORWARD))).out
    assert "Every exercise of the course is passed." in cli("next").out


def test_handed_out_notebooks_are_those_of_the_repository(root: Path) -> None:
    for data in chapters().values():
        path = root / "exercises" / f"{data['notebook']}.ipynb"
        assert dump(learner_notebook(data)) == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("chapter", list(chapters()))
def test_notebooks_are_not_started_and_their_solutions_pass(
    cli: Cli, here: Path, root: Path, chapter: str
) -> None:
    members = [one for one in listed().values() if one.chapter == chapter]
    if any(one.runtime == "torch" for one in members):
        pytest.importorskip("torch")
    name = f"{members[0].notebook}.ipynb"
    done = cli("check", root / "exercises" / name)
    assert (done.code, f"\n0 of {len(members)} passed." in done.out) == (1, True), done.out
    done = cli("check", root / "exercises" / "solutions" / name)
    assert (done.code, f"\n{len(members)} of {len(members)} passed." in done.out) == (0, True), done

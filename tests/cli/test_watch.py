"""watch: judge when saved, answer keys, survive files that are half written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from normcourse.checks.child import Child
from normcourse.checks.letters import cleaned
from normcourse.checks.progress import load
from normcourse.terminal.record import Record
from normcourse.terminal.watch import CLEAR, KEYS, Keys, Watch, watch
from tests.cli.conftest import (
    EXAMPLE,
    FORWARD,
    NCHW,
    WRONG,
    answers,
    fancy_screen,
    shown,
    solution,
    stub,
)


@pytest.fixture
def watching(here: Path) -> Iterator[Watch]:
    """Watch a.py, which holds a right answer, a wrong one and a stub."""
    path = answers(here / "a.py", solution(EXAMPLE), WRONG, stub(NCHW))
    made = Watch(path, (), 5.0, Record(), fancy_screen())
    yield made
    made.close()


def text(watching: Watch) -> str:
    """Return what was written since the screen was last cleared, in one line."""
    return " ".join(cleaned(shown(watching._out).rpartition(CLEAR)[2]).split())


def looks(watching: Watch) -> int:
    """Return how often the screen was cleared to judge."""
    return shown(watching._out).count(CLEAR)


def save(path: Path, *codes: str) -> None:
    """Save the file so that the time of its last change differs."""
    before = path.stat().st_mtime_ns
    answers(path, *codes)
    os.utime(path, ns=(before + 10**9, before + 10**9))


def test_the_first_look_judges_and_shows_keys(watching: Watch) -> None:
    watching.look()
    assert f"✓ {EXAMPLE}: passed" in text(watching)
    assert f"✗ {FORWARD}: not yet right" in text(watching)
    assert "Likely cause" in text(watching)
    assert "1 of 3 passed." in text(watching)
    assert KEYS in text(watching)
    assert watching.code == 1


def test_only_a_save_that_changes_code_is_judged_again(watching: Watch, here: Path) -> None:
    path = here / "a.py"
    for _ in range(3):
        watching.look()
    assert looks(watching) == 1
    os.utime(path, ns=(0, 0))  # saved without a change
    watching.look()
    assert looks(watching) == 1
    save(path, solution(EXAMPLE), solution(FORWARD))
    watching.look()
    assert looks(watching) == 2
    assert f"✓ {FORWARD}: passed" in text(watching)
    assert "One thing more" in text(watching), "a new pass is shown in full"
    assert text(watching).count("Proven") == 1, "an old one is not"
    assert watching.code == 0
    assert load(here / "progress.json").passed(FORWARD)


def test_the_first_wrong_answer_is_shown_in_full_the_others_in_a_line(
    watching: Watch, here: Path
) -> None:
    wrong = "def batch_norm_forward_nchw(x, gamma, beta, eps=1e-5):\n    return x"
    save(here / "a.py", WRONG, wrong)
    watching.look()
    assert f"✗ {NCHW}: not yet right" in text(watching)
    assert text(watching).count("In case") == 1


def test_a_file_that_is_half_written_is_waited_for(watching: Watch, here: Path) -> None:
    watching.look()
    path = here / "a.py"
    path.unlink()
    watching.look()
    assert looks(watching) == 1, "an editor is just replacing it"
    answers(path, solution(FORWARD))
    watching.look()
    assert "1 of 1 passed." in text(watching)
    path.write_bytes(b"\xff\xfe")
    watching.look()
    assert "not UTF-8 text" in text(watching)
    answers(path, "x = 1")
    watching.look()
    assert "no exercise inside" in text(watching)
    answers(path, WRONG)
    watching.look()
    assert "0 of 1 passed." in text(watching)


def test_keys(watching: Watch, here: Path) -> None:
    assert watching.press("h"), "nothing to hint at yet"
    watching.look()
    assert watching.press("h")
    assert f"Hint 1 of 3 for {FORWARD}" in text(watching)
    assert load(here / "progress.json").entry(FORWARD).hints == 1
    assert watching.press("n")
    assert "jupyter lab" in text(watching)
    assert watching.press("x")
    assert watching.press("a")
    assert looks(watching) == 2
    assert "Hint 2 of 3: normcourse hint" in text(watching)
    assert [watching.press(key) for key in "qQ\x03"] == [False, False, False]


def test_with_nothing_wrong_the_hint_is_for_what_is_not_started(
    watching: Watch, here: Path
) -> None:
    save(here / "a.py", solution(EXAMPLE), stub(NCHW))
    watching.look()
    watching.press("h")
    assert f"Hint 1 of 3 for {NCHW}" in text(watching)


def test_next_is_what_the_file_still_holds_then_what_follows_it(
    watching: Watch, here: Path
) -> None:
    watching.look()
    watching.press("n")
    assert f"normcourse hint {NCHW}" in text(watching).rpartition(KEYS)[2]
    save(here / "a.py", solution(FORWARD), solution(NCHW))
    watching.look()
    watching.press("n")
    assert "normcourse hint affine_to_undo" in text(watching).rpartition(KEYS)[2]


def test_the_loop_looks_listens_and_ends(watching: Watch, here: Path) -> None:
    pressed = iter(["", "h", "", "q"])

    def keys(seconds: float) -> str:
        key = next(pressed)
        if key == "h":
            save(here / "a.py", solution(FORWARD))
        return key

    assert watch(watching, keys) == 0
    assert looks(watching) == 2
    assert watching._spare is None, "the waiting process is ended"


def test_an_interrupt_ends_the_waiting_process(watching: Watch) -> None:
    def keys(seconds: float) -> str:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        watch(watching, keys)
    assert watching._spare is None


def test_the_next_save_finds_a_process_that_waits(
    watching: Watch, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Child] = []
    real = Child.__init__

    def count(self: Child, *args: object) -> None:
        started.append(self)
        real(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(Child, "__init__", count)
    watching.look()
    assert len(started) == 2, "one to judge with, one for the next save"
    save(here / "a.py", solution(FORWARD))
    watching.look()
    assert len(started) == 3
    assert watching.code == 0


def test_a_waiting_process_that_died_is_replaced(watching: Watch, here: Path) -> None:
    watching.look()
    assert watching._spare is not None
    watching._spare.end()
    save(here / "a.py", solution(FORWARD))
    watching.look()
    assert watching.code == 0


def test_on_a_plain_output_nothing_is_cleared(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from normcourse.terminal.screen import screen

    path = answers(here / "a.py", solution(FORWARD))
    keys: Keys = lambda seconds: "q"  # noqa: E731
    assert watch(Watch(path, (), 5.0, Record(), screen()), keys) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert out.startswith(str(path))

"""The hostile corpus against the real sandbox: no point, no secret, no neighbour, nothing left."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from normcourse.grading.sandbox import Limits
from normcourse.grading.verdict import Boxes
from tests.grading.conftest import QUICK, RIGHT, Judge
from tests.grading.hostile import ATTACKS, HARMLESS, Attack


def children(process: int) -> list[int]:
    """Return the processes below one, from /proc."""
    found = []
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = place.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == process and fields[0] != "Z":
            pid = int(place.parent.name)
            found += [pid, *children(pid)]
    return found


@pytest.mark.parametrize("attack", ATTACKS, ids=str)
def test_attack_gains_nothing_and_leaves_nothing(
    attack: Attack, judge: Judge, boxes: Boxes
) -> None:
    begun = time.monotonic()
    verdict = judge(attack.code)
    assert verdict.outcome in attack.outcomes, verdict
    assert time.monotonic() - begun < 20
    text = verdict.feedback.to_json() if verdict.feedback else ""
    assert len(text) < 100_000
    _holds_no_secret(verdict.feedback.message if verdict.feedback else "")
    # the neighbour: the same sandbox, or the one that took its place
    after = judge(RIGHT)
    assert after.outcome == "passed", after
    assert not any("second time" in note for note in after.notes)
    sandbox = boxes.get("numpy")._process.pid
    assert len(children(sandbox)) == 2  # its first process and the warm one, nothing else


def _holds_no_secret(text: str) -> None:
    if "FOUND" in text:
        found = text.rpartition("FOUND ")[2]  # after the learner's own line
        for word in ("SECRET", "HOME=", "/root", "judge.py", "reference", "expected'", "PYTEST"):
            assert word not in found, found[:500]


def test_the_corpus_covers_the_list() -> None:
    numbers = {attack.number for attack in ATTACKS}
    elsewhere = {42, 51, 54, 55, 56, 57, 60}  # files, notebooks, names: test_submissions.py
    assert numbers | elsewhere == set(range(1, 61))


@pytest.mark.parametrize("name", HARMLESS)
def test_harmless_answers_pass(name: str, judge: Judge) -> None:
    verdict = judge(HARMLESS[name], limits=Limits())
    assert verdict.outcome == "passed", verdict.feedback


def test_a_file_left_behind_is_gone(judge: Judge) -> None:
    leave = RIGHT + "\nopen('left', 'w').write('the answer')\n"
    assert judge(leave).outcome == "passed"
    look = "import os\ndef batch_norm_forward(x, gamma, beta, eps=1e-5):\n"
    verdict = judge(look + "    raise ValueError(repr(os.listdir('.')))\n")
    assert verdict.feedback is not None
    assert "([])" in verdict.feedback.message


def test_global_generators_begin_alike(judge: Judge) -> None:
    draw = "import numpy as np\ndef batch_norm_forward(x, gamma, beta, eps=1e-5):\n"
    code = draw + "    raise ValueError(str(np.random.rand()))\n"
    assert judge(code).feedback == judge(code).feedback


def test_what_is_in_force_is_recorded(judge: Judge) -> None:
    held = judge(RIGHT).sandbox
    assert held["safe"] is True
    assert held["kind"].startswith("bubblewrap")
    assert held["seccomp"] is True
    assert held["uid"] == 65534


def test_limits_are_those_of_the_exercise(judge: Judge) -> None:
    slow = RIGHT.replace("import numpy as np", "import numpy as np, time").replace(
        "return ", "time.sleep(0.3); return "
    )
    assert judge(slow, limits=Limits(run_seconds=0.5)).outcome == "timeout"
    assert QUICK.run_seconds > 0.5


@pytest.mark.parametrize("trial", range(3))
def test_another_secret_gives_the_same_verdict(judge: Judge, trial: int) -> None:
    secret = bytes([trial]) * 32
    assert judge(RIGHT, secret=secret).outcome == "passed"
    wrong = judge(RIGHT.replace("eps)", "2 * eps)"), secret=secret)
    assert wrong.outcome == "failed"

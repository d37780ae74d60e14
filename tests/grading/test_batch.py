"""A class at a time: resumed after any end, the same whatever the jobs, no failure counted 0."""

from __future__ import annotations

import csv
import json
import os
import random
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from importlib import metadata
from pathlib import Path

import pytest
import typer

from normcourse.checks import find
from normcourse.checks.texts import text_of
from normcourse.grading import assignment as assignments
from normcourse.grading import batch, cgroups, desk, machine, sandbox, selftest, typed
from normcourse.grading import command as command_line
from normcourse.grading.assignment import Assignment, BadAssignment, Late, fingerprint
from normcourse.grading.journal import Journal, JournalInUse
from normcourse.grading.sandbox import Kind, NoSandbox, SandboxLost
from normcourse.grading.secret import BadSecret
from normcourse.grading.secret import load as load_secret
from normcourse.grading.slot import Slot
from normcourse.grading.submissions import Submission
from normcourse.grading.verdict import Boxes, grade, read_papers, seeds
from tests.grading.conftest import QUICK, RIGHT, SECRET
from tests.grading.hostile import answer

CHAPTER = ("normalized_example", "batch_norm_forward", "affine_to_undo")
EXPORTS = ("results.jsonl", "grades.csv", "canvas.csv", "moodle.csv", "junit.xml", "class.html")
ALL = "import numpy as np\n" + "\n".join(text_of(find(name)).solution for name in CHAPTER)


def fill(folder: Path, learners: int) -> Path:
    """Write submissions: right ones, wrong ones, missing ones, and now and then a hostile one."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(5)
    for n in range(learners):
        code = ALL + f"\n# {n}\n"
        if rng.random() < 0.5:
            code = code.replace(
                "np.sqrt(var + eps)", rng.choice(["np.sqrt(var) + eps", "(var + eps)"])
            )
        if n % 7 == 3:
            code = "import os\nos._exit(0)\n" + code
        (folder / f"learner{n:03}.py").write_text(code)
    return folder


def command(given: Path, out: Path, *more: str) -> list[str]:
    """Return the words of one call of the grader."""
    chosen = [word for name in CHAPTER for word in ("--exercise", name)]
    head = [sys.executable, "-m", "normcourse.grading.command", str(given), "--out", str(out)]
    return [*head, *chosen, *more]


def call(given: Path, out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Run the grader to its end."""
    return subprocess.run(
        command(given, out, *more), capture_output=True, text=True, timeout=200, check=False
    )


def exports(out: Path) -> dict[str, bytes]:
    """Return every report's bytes."""
    found = {name: (out / name).read_bytes() for name in EXPORTS}
    found |= {p.name: p.read_bytes() for p in sorted((out / "learners").iterdir())}
    return found


def test_killed_at_any_moment_and_resumed_the_bytes_are_the_same(
    kind: Kind, tmp_path: Path
) -> None:
    given = fill(tmp_path / "in", 12)
    whole = call(given, tmp_path / "whole", "--jobs", "2")
    assert whole.returncode == 0, whole.stderr
    assert "36 verdicts reached, 0 found" in whole.stdout
    rng, out = random.Random(1), tmp_path / "killed"
    for _ in range(3):
        process = subprocess.Popen(
            command(given, out, "--jobs", "1"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        _until_grown(out / "journal.jsonl", process)
        time.sleep(rng.uniform(0.0, 0.3))
        process.send_signal(signal.SIGKILL)
        process.wait()
        _until_unlocked(out)
    resumed = call(given, out, "--jobs", "2")
    assert resumed.returncode == 0, resumed.stderr
    assert ", 0 found" not in resumed.stdout
    assert exports(out) == exports(tmp_path / "whole")
    assert _leftovers() == []


def _until_grown(journal: Path, process: subprocess.Popen[bytes]) -> None:
    """Wait until the grader has written something, or is done."""
    before = journal.stat().st_size if journal.exists() else 0
    while process.poll() is None and (not journal.exists() or journal.stat().st_size <= before):
        time.sleep(0.02)


def _until_unlocked(out: Path) -> None:
    """Wait until the killed grader's processes have let the journal go."""
    for _ in range(100):
        try:
            Journal(out / "journal.jsonl").close()
        except JournalInUse:
            time.sleep(0.1)
        else:
            return
    raise AssertionError("the journal stays locked")


def _leftovers() -> list[str]:
    """Return the processes of graders that have gone."""
    for _ in range(50):
        found = []
        for place in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = place.read_bytes().split(b"\0")
                parent = int((place.parent / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, ValueError, IndexError):
                continue
            if b"normcourse.grading.slot" in words and parent == 1:
                found.append(place.parent.name)
        if not found:
            return []
        time.sleep(0.1)
    return found


def test_jobs_and_a_second_call_change_nothing(kind: Kind, tmp_path: Path) -> None:
    given = fill(tmp_path / "in", 4)
    for jobs in ("1", "3"):
        assert call(given, tmp_path / jobs, "--jobs", jobs).returncode == 0
    assert exports(tmp_path / "1") == exports(tmp_path / "3")
    again = call(given, tmp_path / "1")
    assert "0 verdicts reached, 12 found" in again.stdout
    assert exports(tmp_path / "1") == exports(tmp_path / "3")
    (given / "learner002.py").write_text(ALL + "# new\n")
    changed = call(given, tmp_path / "1")
    assert "3 verdicts reached, 9 found" in changed.stdout
    other = call(given, tmp_path / "1", "--regrade", "affine_to_undo")
    assert "4 verdicts reached, 8 found" in other.stdout


def test_one_learners_poison_leaves_the_marks_of_the_others(kind: Kind, tmp_path: Path) -> None:
    """Hostile answers among honest ones, side by side: the honest ones all pass."""
    given = tmp_path / "in"
    given.mkdir()
    poison = {
        "fork": answer("import os\nwhile True: os.fork()"),
        "memory": answer("return np.ones(50 * 2**30)"),
        "loop": answer("while True: pass"),
        "files": answer("n = 0\nwhile True:\n    open(f'f{n}', 'w').close(); n += 1"),
        "kill": answer("import os\nos.kill(-1, 9)"),
    }
    for name, code in poison.items():
        (given / f"{name}.py").write_text(code)
    for n in range(10):
        (given / f"honest{n}.py").write_text(RIGHT + f"# {n}\n")
    limits = tmp_path / "a.toml"
    limits.write_text(
        'exercises = ["batch_norm_forward"]\n[limits]\nrun_seconds = 2.0\nmemory_mb = 512\n'
    )
    words = [sys.executable, "-m", "normcourse.grading.command", str(given)]
    words += ["--out", str(tmp_path / "out"), "--assignment", str(limits), "--jobs", "2"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    with open(tmp_path / "out" / "grades.csv", newline="") as file:
        marks = {row["learner"]: row["total"] for row in csv.DictReader(file)}
    assert {name for name, total in marks.items() if total == "1"} == {
        f"honest{n}" for n in range(10)
    }
    assert {marks[name] for name in poison} == {"0"}


# --- 67, 68: the grader's own failures ----------


def test_a_lost_sandbox_is_tried_again_and_then_said(kind: Kind, monkeypatch) -> None:
    boxes, lost = Boxes(kind), []
    papers = read_papers({"a.py": RIGHT.encode()}, [])
    inputs = seeds(SECRET, "d", "batch_norm_forward")

    def lose(*words: object) -> None:
        lost.append(1)
        raise SandboxLost("killed by the system")

    with monkeypatch.context() as patched:
        patched.setattr(sandbox.Sandbox, "cell", lose)
        verdict = grade(boxes, papers, "batch_norm_forward", inputs, QUICK)
    assert (verdict.outcome, len(lost)) == ("infra_error", 2)
    again = grade(boxes, papers, "batch_norm_forward", inputs, QUICK)
    assert again.outcome == "passed"
    boxes.close()


def test_a_closed_sandbox_leaves_no_group_and_a_dead_graders_is_swept(kind: Kind) -> None:
    box = sandbox.Sandbox(kind)
    groups = box._group
    if not groups:
        box.close()
        pytest.skip("no control group can be made here")
    assert all(group.is_dir() for group in groups)
    box.close()
    assert not any(group.exists() for group in groups)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    stale = groups[0].parent / f"normcourse-{ended.pid}-0"
    stale.mkdir()
    cgroups.sweep()
    assert not stale.exists()


def test_a_warm_process_that_was_killed_costs_no_mark(kind: Kind) -> None:
    boxes = Boxes(kind)
    papers = read_papers({"a.py": RIGHT.encode()}, [])
    assert grade(boxes, papers, "batch_norm_forward", (1, 2), QUICK).outcome == "passed"
    warm = boxes.get("numpy")  # it has served, so what runs inside is tied to what holds it
    warm._process.kill()
    warm._process.wait()
    gone = select.poll()
    gone.register(warm._control, 0)
    assert gone.poll(60_000)  # and dies a moment later
    verdict = grade(boxes, papers, "batch_norm_forward", (1, 2), QUICK)
    assert verdict.outcome == "passed"
    assert any("second time" in note for note in verdict.notes)
    boxes.close()


def test_an_open_mark_is_no_zero_and_is_judged_again(kind: Kind, tmp_path: Path) -> None:
    given = fill(tmp_path / "in", 2)
    out = tmp_path / "out"
    assert call(given, out).returncode == 0
    lines = (out / "journal.jsonl").read_text().splitlines()
    broken = [json.loads(line) for line in lines]
    broken[0] |= {"outcome": "infra_error", "feedback": None}
    (out / "journal.jsonl").write_text("".join(json.dumps(r) + "\n" for r in broken))
    again = call(given, out)
    assert "1 verdicts reached, 5 found" in again.stdout, again.stderr


def test_a_full_disk_leaves_a_journal_that_can_be_read(tmp_path: Path, monkeypatch) -> None:
    record = {"schema": 1, "key": "a", "outcome": "passed"}
    with Journal(tmp_path / "j") as journal:
        journal.add([record])

        def full(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", full)
            with pytest.raises(OSError, match="No space"):
                journal.add([{**record, "key": "b"}])
        assert "b" not in journal
        journal.add([{**record, "key": "c"}])
    with Journal(tmp_path / "j") as journal:
        assert ("a" in journal, "b" in journal, journal.get("c")["key"]) == (True, False, "c")


def test_a_disk_that_is_really_full_costs_no_verdict(kind: Kind, tmp_path: Path) -> None:
    """A small disk of its own, made larger between two runs of the same command."""
    if os.getuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("mounting a small disk needs root and unshare")
    given, disk = fill(tmp_path / "in", 12), tmp_path / "disk"
    disk.mkdir()
    words = shlex.join(command(given, disk / "out", "--jobs", "2"))
    script = (
        f"mount --make-rprivate / && mount -t tmpfs -o size=64k tmpfs {disk} && "
        f"{words}; echo first $?; mount -o remount,size=20m {disk}; {words}; echo second $?"
    )
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    if "first" not in done.stdout:
        pytest.skip(f"no disk can be mounted here: {done.stderr[-200:]}")
    assert "first 3" in done.stdout
    assert "No space left on device" in done.stderr
    assert "run the same command again" in done.stderr
    assert "Traceback" not in done.stderr
    assert "second 0" in done.stdout
    found = re.search(r"(\d+) verdicts reached, (\d+) found in the journal", done.stdout)
    assert found is not None
    assert int(found[1]) + int(found[2]) == 36
    assert int(found[2]) > 0


def test_a_half_written_line_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with Journal(path) as journal:
        journal.add([{"schema": 1, "key": "a", "outcome": "passed"}])
    whole = path.read_bytes()
    for cut in range(1, len(whole)):
        path.write_bytes(whole + whole[:cut])
        with Journal(path) as journal:
            assert len(journal) == 1
            journal.add([{"schema": 1, "key": "b", "outcome": "failed"}])
        with Journal(path) as journal:
            assert journal.get("b")["outcome"] == "failed"


def test_two_graders_do_not_write_into_one_journal(tmp_path: Path) -> None:
    with Journal(tmp_path / "j"), pytest.raises(JournalInUse):
        Journal(tmp_path / "j")


# --- 71: no sandbox ----------


def test_without_a_sandbox_nothing_runs(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(sandbox.shutil, "which", lambda name: None)
    with pytest.raises(NoSandbox, match=r"apt install bubblewrap.*--unsafe"):
        selftest.choose()
    given = fill(tmp_path / "in", 1)
    done = subprocess.run(
        command(given, tmp_path / "out"),
        env={**os.environ, "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "no sandbox here, so nothing was run" in done.stderr
    assert not (tmp_path / "out" / "grades.csv").exists()


_WORDS = (
    *("in", "--out", "o", "--assignment", "a.toml", "--exercise", "x", "--exercise", "y"),
    *("--chapter", "c", "--roster", "r.csv", "--canvas-gradebook", "g.csv", "--single", "me"),
    *("--jobs", "3", "--scheduler", "tcp://h:1", "--regrade", "x", "--secret", "s"),
    *("--gradescope-result", "j.json", "--unsafe", "--strict"),
)


@pytest.mark.parametrize("words", [_WORDS, ("in", "--out", "o"), ("--out=o", "--jobs=2", "in")])
def test_typer_and_the_way_past_it_understand_the_same(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    ordered: list[desk.Order] = []
    monkeypatch.setattr(desk, "grade", ordered.append)
    app = typer.Typer(add_completion=False)
    app.command()(typed.grade)
    typer.main.get_command(app).main(list(words), "grade", standalone_mode=False)
    assert ordered == [command_line.parsed(words)]
    told = {word for word in _WORDS if word.startswith("--")}
    options = {o for p in typer.main.get_command(app).params for o in p.opts if o[:2] == "--"}
    assert options == told, "an option that is not among the words of this test"


@pytest.mark.parametrize(
    "words",
    [
        ("--help",),
        ("in", "--out", "o", "--help"),
        ("in",),
        ("in", "--out", "o", "--jobs", "0"),
        ("in", "--out", "o", "--jobs", "two"),
        ("in", "--out", "o", "--job", "2"),
        ("a", "b", "--out", "o"),
    ],
)
def test_what_is_not_plain_is_left_to_typer(words: tuple[str, ...]) -> None:
    assert command_line.parsed(words) is None


def test_a_grading_process_proves_the_sandbox_that_it_then_uses(kind: Kind) -> None:
    slot = Slot()
    slot.choose(unsafe=False)
    try:
        assert slot.chosen() == kind
        inputs = seeds(SECRET, "d", "batch_norm_forward")
        task = {
            "files": {"a.py": RIGHT.encode()},
            "problems": [],
            "limits": asdict(QUICK),
            "policy": "fail",
            "exercises": [("batch_norm_forward", inputs)],
        }
        assert slot.grade(task)[0]["outcome"] == "passed"
        first = slot._process
        assert first is not None
        first.kill()
        (again,) = slot.grade(task)  # by another process, with a sandbox of the same kind
        assert again["outcome"] == "passed"
        assert again["sandbox"]["kind"] == str(kind)
        assert slot._process is not first
    finally:
        slot.close()


def test_a_grading_process_that_ends_at_once_is_no_sandbox() -> None:
    slot = Slot()
    slot.choose(unsafe=False)
    assert slot._process is not None
    slot._process.kill()
    with pytest.raises(NoSandbox, match="ended at its start"):
        slot.chosen()
    slot.close()


def test_a_sandbox_that_has_held_serves_the_first_answer(kind: Kind) -> None:
    loaded: list[int] = []
    warm = selftest.proven(meanwhile=lambda: loaded.append(1))
    boxes = Boxes(warm.kind, warm)
    assert loaded == [1]
    assert warm.kind == kind
    assert boxes.get("numpy") is warm
    boxes.close()


@pytest.mark.parametrize("runtime", ["numpy", "torch"])
def test_the_packages_of_a_sandbox_are_those_that_their_lists_name(runtime: str) -> None:
    pytest.importorskip(runtime)
    for name in machine.RUNTIMES[runtime]:
        distribution = metadata.distribution(name)
        listed = {file.parts[0] for file in distribution.files or ()}
        assert machine._first_parts(distribution) == listed


def test_unsafe_is_recorded_and_still_refuses_to_let_code_out(monkeypatch) -> None:
    monkeypatch.setattr(sandbox.shutil, "which", lambda name: None)
    try:
        kind = selftest.choose(unsafe=True)
    except NoSandbox as reason:
        pytest.skip(f"neither Landlock nor seccomp: {reason}")
    assert (kind.name, kind.safe) == ("confined", False)
    boxes = Boxes(kind)
    papers = read_papers({"a.py": RIGHT.encode()}, [])
    verdict = grade(boxes, papers, "batch_norm_forward", (1, 2), QUICK)
    look = answer("import os\nraise ValueError(repr(os.listdir('/proc')))")
    refused = grade(
        boxes, read_papers({"a.py": look.encode()}, []), "batch_norm_forward", (1, 2), QUICK
    )
    boxes.close()
    assert verdict.outcome == "passed"
    assert verdict.sandbox["safe"] is False
    assert refused.feedback is not None
    assert "PermissionError" in refused.feedback.message


def test_a_kind_that_lets_code_out_is_not_taken(monkeypatch, kind: Kind) -> None:
    monkeypatch.setattr(selftest, "escapes", lambda box: ["open a socket"])
    with pytest.raises(NoSandbox, match="open a socket"):
        selftest.choose()


# --- secret, assignment, fingerprints ----------


def test_the_secret_is_made_once_and_never_lies_with_the_results(tmp_path: Path) -> None:
    path, out = tmp_path / "s" / "key", tmp_path / "out"
    assert load_secret(path, results=out) == load_secret(path, results=out)
    assert path.stat().st_mode & 0o077 == 0
    with pytest.raises(BadSecret, match="may not lie"):
        load_secret(out / "key", results=out)
    path.write_text("abcd")
    with pytest.raises(BadSecret, match="at least 32"):
        load_secret(path, results=out)


def test_inputs_depend_on_secret_submission_exercise_and_trial() -> None:
    found = {
        seed
        for secret in (b"a" * 32, b"b" * 32)
        for digest in ("x", "y")
        for name in ("f", "g")
        for seed in seeds(secret, digest, name)
    }
    assert len(found) == 16


@pytest.mark.parametrize(
    ("late", "seconds", "share"),
    [
        (Late(0.9), -5.0, 1.0),
        (Late(0.9), 1.0, 0.9),
        (Late(0.9), 86401.0, 0.81),
        (Late(0.5, per="once"), 10 * 86400.0, 0.5),
        (Late(0.9, days=2), 2 * 86400.0 + 1, 0.0),
        (Late(0.9, grace_minutes=10), 599.0, 1.0),
        (Late(0.9, grace_minutes=10), 601.0, 0.9),
    ],
)
def test_lateness(late: Late, seconds: float, share: float) -> None:
    assert late.share(seconds) == share


def test_own_deadlines_and_marks_of_lateness() -> None:
    given = Assignment(("a",), deadline=1000.0, late=Late(0.5))
    came = Submission("x", "", {}, submitted=1001.0)
    assert given.share(came) == 0.5
    assert given.share(came, deadline=2000.0) == 1.0
    assert given.share(Submission("x", "", {}, submitted=0.0, marked_late=True)) == 0.5


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("exercise = 1", "unknown keys"),
        ('exercises = ["batch_norm_froward"]', "Did you mean batch_norm_forward"),
        ('chapters = ["no"]', "no chapter"),
        ("deadline = 2026-11-30", "with its zone"),
        ('keep = "worst"', "keep: expected"),
        ("[late]\nfactor = 2", "factor from 0 to 1"),
        ("[limits]\nseconds = 2", "seconds"),
        ("[points]\nbatch_norm_forward = -1", "numbers >= 0"),
        ("= 3", "Invalid"),
    ],
)
def test_what_an_assignment_cannot_say(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "a.toml"
    path.write_text(text)
    with pytest.raises(BadAssignment, match=words):
        assignments.load(path)


def test_mending_one_judge_changes_one_fingerprint(monkeypatch) -> None:
    names = ("batch_norm_forward", "batch_norm_forward_nchw", "affine_to_undo")
    before = {name: fingerprint(name) for name in names}
    mended = find("affine_to_undo")
    wrapped = mended.reference

    def reference(*args, **kwargs):
        return wrapped(*args, **kwargs)

    changed = replace(mended, reference=reference)
    monkeypatch.setattr(assignments, "_fingerprints", {})
    monkeypatch.setattr(assignments, "find", lambda n: changed if n == mended.id else find(n))
    after = {name: fingerprint(name) for name in names}
    assert [n for n in names if before[n] != after[n]] == ["affine_to_undo"]


def test_fingerprints_are_the_same_in_another_process() -> None:
    code = "from normcourse.grading.assignment import fingerprint as f\n"
    code += "print(f('stable_variance'), f('batch_norm_forward'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [
        fingerprint("stable_variance"),
        fingerprint("batch_norm_forward"),
    ]


def test_only_a_few_submissions_are_in_memory(kind: Kind) -> None:
    held, most = 0, 0

    def tasks():
        nonlocal held, most
        for n in range(20):
            held += 1
            most = max(most, held)
            yield {
                "learner": str(n),
                "attempt": "",
                "digest": "",
                "policy": "fail",
                "keys": {},
                "files": {},
                "problems": [],
                "limits": {},
                "exercises": [],
            }

    for _ in batch.on_this_machine(kind, 2)(tasks()):
        held -= 1
    assert most <= 5

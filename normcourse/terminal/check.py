"""The command ``check``: judge a file, say what came of it, remember it."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from normcourse.checks import progress as store
from normcourse.checks.host import Host, time_limit_from_environment
from normcourse.checks.progress import Progress
from normcourse.terminal import BadInput
from normcourse.terminal.record import Record
from normcourse.terminal.report import show_summary, show_verdict
from normcourse.terminal.screen import Screen, screen
from normcourse.terminal.task import Task, Verdict, host_of, remarks, task_of, verdicts


def check(
    path: Path,
    ids: Sequence[str] = (),
    *,
    time_limit: float | None = None,
    as_json: bool = False,
    progress_file: Path | None = None,
) -> int:
    """Judge the exercises of a file.

    Args:
        path: a notebook or a .py file.
        ids: exercises to judge; none means all that the file holds.
        time_limit: seconds per exercise; None takes NORMCOURSE_TIME_LIMIT or 10.
        as_json: write one line of Feedback as JSON per exercise, and nothing else.
        progress_file: where progress is kept, if not in the usual place.

    Returns:
        0 if all passed, 1 otherwise.

    Raises:
        BadInput, BadSource, UnknownExercise, BadProgress: nothing was judged or written.
    """
    limit = limit_of(time_limit)
    task = task_of(path, ids)
    with _ended_by_signals(), host_of(task, limit) as host:
        record = Record(progress_file)
        out = screen()
        if as_json:
            return _as_json(task, host, limit, record, out)
        return judge_and_show(task, host, limit, record, out)


def judge_and_show(task: Task, host: Host, limit: float, record: Record, out: Screen) -> int:
    """Write every verdict as it comes, then the summary."""
    before, done = record.kept, list[Verdict]()
    crowd = len(task.begun) > 1 and not task.named
    try:
        for verdict in verdicts(task, host, limit):
            known = before.passed(verdict.exercise.id)
            show_verdict(out, verdict, record.kept, brief=crowd and known)
            done.append(verdict)
    finally:
        remember(record, done)
    for remark in remarks(task, host):
        out.wrapped(remark, "quiet", indent=0)
    show_summary(out, done, record.kept)
    return exit_code(done)


def _as_json(task: Task, host: Host, limit: float, record: Record, out: Screen) -> int:
    done: list[Verdict] = []
    try:
        for verdict in verdicts(task, host, limit):
            print(_json(verdict), file=out.stream, flush=True)
            done.append(verdict)
    finally:
        remember(record, done)
    for remark in remarks(task, host):
        print(f"normcourse: {remark}", file=sys.stderr)
    return exit_code(done)


def _json(verdict: Verdict) -> str:
    if verdict.feedback is not None:
        return verdict.feedback.to_json()
    from normcourse.checks import find
    from normcourse.checks.judge import not_started

    return not_started(find(verdict.exercise.id)).to_json()


def exit_code(done: Sequence[Verdict]) -> int:
    """Return 0 if every verdict is a pass, else 1."""
    return 0 if all(verdict.status == "passed" for verdict in done) else 1


def remember(record: Record, done: Sequence[Verdict]) -> None:
    """Write the verdicts down; an exercise that was never begun leaves no trace."""

    def add(kept: Progress) -> Progress:
        now = store.now()
        for verdict in done:
            known = kept.entry(verdict.exercise.id) is not None
            if verdict.counts and (known or verdict.status != "not_started"):
                one = verdict.exercise
                kept = kept.with_verdict(one.id, one.version, verdict.status, now)
        return kept

    if add(record.kept) != record.kept:
        record.change(add)


def limit_of(seconds: float | None) -> float:
    """Return the time limit in seconds.

    Raises:
        BadInput: it is none.
    """
    try:
        limit = time_limit_from_environment() if seconds is None else seconds
    except ValueError as error:
        raise BadInput(str(error)) from None
    if not 0 < limit <= 3600:
        raise BadInput(f"--time-limit: expected seconds from 0 to 3600, got {limit:g}.")
    return limit


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Leave tidily when the terminal is closed, so that no learner's loop goes on unseen."""

    def leave(signum: int, frame: Any) -> None:
        sys.exit(128 + signum)

    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    try:
        before = {name: signal.signal(getattr(signal, name), leave) for name in names}
    except ValueError:  # not the main thread: the caller sees to it
        yield
        return
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)

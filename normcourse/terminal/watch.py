"""The command ``watch``: check a file whenever it is saved; one key for a hint, next or the end."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from normcourse.checks.child import Child
from normcourse.checks.source import BadSource
from normcourse.terminal import BadInput
from normcourse.terminal.check import exit_code, remember
from normcourse.terminal.learn import hint, next_up
from normcourse.terminal.record import Record
from normcourse.terminal.report import show_summary, show_verdict
from normcourse.terminal.screen import Screen
from normcourse.terminal.task import Task, Verdict, host_of, remarks, task_of, verdicts

PAUSE = 0.3  # seconds between two looks at the file
CLEAR = "\x1b[2J\x1b[3J\x1b[H"
KEYS = "h hint · n next · a again · q quit"
Keys = Callable[[float], str]


class Watch:
    """Judges a file on every save, and answers keys. It knows no terminal: text goes to a screen.

    Args:
        path: the learner's file.
        ids: exercises to judge; none means all that it holds.
        limit: seconds per exercise.
        record: progress.
        out: where to write.
    """

    def __init__(
        self, path: Path, ids: Sequence[str], limit: float, record: Record, out: Screen
    ) -> None:
        self._path, self._ids, self._limit = path, ids, limit
        self._record, self._out = record, out
        self._task: Task | None = None
        self._seen: tuple[int, ...] | None = None
        self._spare: Child | None = None
        self._focus = ""
        self.code = 1

    def close(self) -> None:
        """End the process that waits for the next save."""
        if self._spare is not None:
            self._spare.end()
            self._spare = None

    def look(self) -> None:
        """Judge the file if it was saved since the last look and its code is another."""
        stamp = _stamp(self._path)
        if stamp is None or stamp == self._seen:
            return  # an editor that is just replacing the file will be done at the next look
        self._seen = stamp
        try:
            task = task_of(self._path, self._ids)
        except (BadInput, BadSource) as problem:
            self._task = None
            self._clear()
            self._out.wrapped(str(problem), "bad", indent=0)
            return
        if self._task is None or task.source != self._task.source:
            self._task = task
            self._judge(task)

    def press(self, key: str) -> bool:
        """Answer a key; False means to end."""
        match key.lower():
            case "q" | "\x03" | "\x04":
                return False
            case "h" if self._focus:
                self._out.line()
                hint(self._focus, self._record, self._out)
            case "n":
                self._out.line()
                held = [one.id for one in self._task.exercises] if self._task else []
                others = [name for name in held if name != self._focus]
                next_up(self._record, self._out, others, after=held[-1] if held else "")
            case "a" if self._task is not None:
                self._judge(self._task)
        return True

    def _judge(self, task: Task) -> None:
        """Write the first answer that is not right in full, the others in a line each."""
        self._clear()
        before, done = self._record.kept, list[Verdict]()
        self._focus = ""
        spare, self._spare = self._spare, None
        with host_of(task, self._limit, spare) as host:
            try:
                for verdict in verdicts(task, host, self._limit):
                    self._show(verdict, known=before.passed(verdict.exercise.id))
                    done.append(verdict)
            finally:
                remember(self._record, done)
            self._spare = host.another()
        for remark in remarks(task, host):
            self._out.wrapped(remark, "quiet", indent=0)
        show_summary(self._out, done, self._record.kept)
        self._focus = self._focus or next((v.exercise.id for v in done if v.status != "passed"), "")
        self.code = exit_code(done)
        self._out.line()
        self._out.line(KEYS, "quiet")

    def _show(self, verdict: Verdict, *, known: bool) -> None:
        wrong = verdict.status not in ("passed", "not_started")
        brief = bool(self._focus) if wrong else known
        show_verdict(self._out, verdict, self._record.kept, brief=brief)
        if wrong:
            self._focus = self._focus or verdict.exercise.id

    def _clear(self) -> None:
        if self._out.fancy:
            self._out.stream.write(CLEAR)
        self._out.line(f"{self._path} at {time.strftime('%H:%M:%S')}", "bold")
        self._out.line()
        self._out.stream.flush()


def watch(watching: Watch, keys: Keys) -> int:
    """Look and listen until a key ends it; return the last check's exit code.

    Args:
        watching: what is watched.
        keys: waits as many seconds as it is told for a key and returns it, or nothing.
    """
    try:
        watching.look()
        while True:
            key = keys(PAUSE)
            if key and not watching.press(key):
                return watching.code
            watching.look()
    finally:
        watching.close()


def _stamp(path: Path) -> tuple[int, ...] | None:
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_mtime_ns, facts.st_size, facts.st_ino


@contextmanager
def keyboard() -> Iterator[Keys]:
    """Give single keys as they are pressed; without a keyboard, only the waiting."""
    if not sys.stdin.isatty():
        yield _no_keys
    elif sys.platform == "win32":
        yield _windows_keys
    else:
        import termios
        import tty

        descriptor = sys.stdin.fileno()
        before = termios.tcgetattr(descriptor)
        tty.setcbreak(descriptor)
        try:
            yield _posix_keys
        finally:
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _no_keys(seconds: float) -> str:
    time.sleep(seconds)
    return ""


def _posix_keys(seconds: float) -> str:
    import os
    import select

    ready, _, _ = select.select([sys.stdin], [], [], seconds)
    if not ready:
        return ""
    return os.read(sys.stdin.fileno(), 1).decode("latin-1") or "q"  # the terminal is gone


def _windows_keys(seconds: float) -> str:
    import importlib

    console = importlib.import_module("msvcrt")
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if console.kbhit():
            return str(console.getwch())
        time.sleep(0.02)
    return ""

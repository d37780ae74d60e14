"""What the reader sees: lines, progress, and the output of the programs that are run."""

from __future__ import annotations

import codecs
import os
import queue
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

__all__ = ["COLOURS", "Meter", "Trouble", "duration", "meter", "run", "say", "stream"]

COLOURS = re.compile(r"\x1b\[[0-9;]*m")
HEARTBEAT = 15.0  # seconds between two signs of life where lines cannot be rewritten


class Trouble(Exception):
    """A problem the reader can do something about: the message is shown, the exit code is 1."""


def say(text: str = "") -> None:
    """Print one line now, also into a pipe."""
    print(text, flush=True)


def duration(seconds: float) -> str:
    """A time as people read it.

    >>> duration(3.21), duration(75), duration(3700)
    ('3.2 s', '1 min 15 s', '61 min 40 s')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"


class Meter(Protocol):
    """Progress of one piece of work, used as a context manager."""

    def show(self, text: str) -> None:
        """Say what is going on now."""

    def step(self, text: str, advance: int = 1) -> None:
        """Say what has just been finished."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class PlainMeter:
    """Progress in lines; needs nothing but the standard library.

    On a terminal the line of what is going on is rewritten in place; elsewhere every finished
    piece is a line of its own, and a sign of life follows after ``HEARTBEAT`` quiet seconds.
    """

    def __init__(self, title: str, total: int | None = None) -> None:
        self.title, self.total = title, total
        self.done, self.start = 0, time.monotonic()
        self.last = self.start
        self.rewrite = sys.stdout.isatty()

    def show(self, text: str) -> None:
        now = time.monotonic()
        if self.rewrite:
            width = os.get_terminal_size().columns - 1
            line = f"  {self.title} {self._count()} {text} ({duration(now - self.start)})"
            print(f"\r\x1b[K{line[:width]}", end="", flush=True)
        elif now - self.last >= HEARTBEAT:
            self.last = now
            say(f"  {self._count()} {text} ... {duration(now - self.start)}")

    def step(self, text: str, advance: int = 1) -> None:
        self.done += advance
        if self.rewrite:
            self.show(text)
        else:
            self.last = time.monotonic()
            say(f"  {self._count()} {text}")

    def _count(self) -> str:
        if self.total is None:
            return f"[{self.done}]"
        return f"[{self.done:>{len(str(self.total))}}/{self.total}]"

    def __enter__(self) -> Self:
        if not self.rewrite:
            say(f"{self.title} ...")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.rewrite:
            print("\r\x1b[K", end="", flush=True)
        if kind is None:
            say(f"{self.title}: done in {duration(time.monotonic() - self.start)}")


class BarMeter:
    """Progress as a bar of rich, for a terminal."""

    def __init__(self, title: str, total: int | None = None) -> None:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            SpinnerColumn,
            TextColumn,
            TimeElapsedColumn,
        )

        self.title, self.start = title, time.monotonic()
        self.bar = Progress(
            SpinnerColumn("line"),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[now]}", markup=False),
            transient=True,
        )
        self.task = self.bar.add_task(title, total=total, now="")

    def show(self, text: str) -> None:
        self.bar.update(self.task, now=text)

    def step(self, text: str, advance: int = 1) -> None:
        self.bar.update(self.task, advance=advance, now=text)

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bar.stop()
        if kind is None:
            say(f"{self.title}: done in {duration(time.monotonic() - self.start)}")


def meter(title: str, total: int | None = None) -> Meter:
    """The best display there is: rich's bar on a terminal that has rich, else plain lines."""
    if sys.stdout.isatty():
        try:
            return BarMeter(title, total)
        except ModuleNotFoundError:
            pass
    return PlainMeter(title, total)


def stream(
    command: Sequence[str],
    *,
    cwd: Path,
    log: Path,
    on_line: Callable[[str], None],
    on_idle: Callable[[], None],
    env: Mapping[str, str] | None = None,
) -> int:
    """Run a program, hand over each line of its output (uncoloured), and keep all in ``log``.

    Args:
        command: the program and its arguments.
        cwd: the folder it runs in.
        log: file that receives the whole output.
        on_line: called with each line, without its end.
        on_idle: called about once a second while nothing is printed.
        env: its environment; this one by default.

    Returns:
        The exit code.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    lines: queue.Queue[str | None] = queue.Queue()
    with _start(command, cwd, env) as process, log.open("w", encoding="utf-8") as file:
        reader = threading.Thread(target=_read_lines, args=(process, lines), daemon=True)
        reader.start()
        try:
            while True:
                try:
                    line = lines.get(timeout=1.0)
                except queue.Empty:
                    on_idle()
                    continue
                if line is None:
                    return process.wait()
                file.write(line)
                on_line(line.rstrip())
        except BaseException:  # interrupted: take the program along
            process.terminate()
            raise
        finally:
            reader.join()


def run(
    command: Sequence[str], *, cwd: Path, env: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """Run a program whose output is shown as it comes, and return (exit code, that output)."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    seen = ""
    with _start(command, cwd, env) as process:
        assert process.stdout is not None
        try:
            while chunk := os.read(process.stdout.fileno(), 4096):
                text = decoder.decode(chunk)
                seen += text
                print(text, end="", flush=True)
            return process.wait(), seen
        except BaseException:
            process.terminate()
            raise


def _start(
    command: Sequence[str], cwd: Path, env: Mapping[str, str] | None
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        cwd=cwd,
        env=None if env is None else dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def _read_lines(process: subprocess.Popen[bytes], lines: queue.Queue[str | None]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        lines.put(COLOURS.sub("", line.decode(errors="replace")).replace("\r\n", "\n"))
    lines.put(None)

"""One child process and the pipes to it: started early, asked under a time limit, ended for sure.

Importing this costs the standard library alone, so that a child can start before its parent has
loaded anything.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from normcourse.checks.forked import ONE_THREAD, Forked, may_fork

START_LIMIT = 120.0  # seconds to import NumPy or PyTorch, on a slow disk for the first time
_ROOT = str(Path(__file__).resolve().parents[2])
_PROGRAM = (
    f"import gc, sys; gc.disable(); sys.path.append({_ROOT!r}); "
    "from normcourse.checks.worker import main; "
    "main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])"
)


class NoChild(RuntimeError):
    """The process that runs the learner's code does not start: nothing the learner did."""


@dataclass(frozen=True)
class Settings:
    """What a child is started with.

    Args:
        folder: where it runs: the learner's, so that their own modules and files are found.
        memory_mb: cap on what it may allocate beyond what it imports.
        cpu_seconds: cap on its processor time, the last resort where this process is killed.
        preload: packages to import before any time limit runs.
    """

    folder: Path
    memory_mb: int = 4096
    cpu_seconds: int = 120
    preload: tuple[str, ...] = ()


class Child:
    """One process with its two pipes."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._process = _process(settings)
        self.ready = False
        self.loaded = False  # the learner's file
        self.branched = False  # what is asked now goes to a copy that is thrown away

    def fits(self, settings: Settings) -> bool:
        """Say whether the process is alive, unused and started as ``settings`` ask."""
        return settings == self._settings and not self.loaded and self._process.poll() is None

    def ask(self, request: dict[str, Any], limit: float) -> tuple[dict[str, Any] | None, str]:
        """Send a request and wait for its reply.

        Returns:
            The reply and "", or None and the reason: "timeout", or how the process ended.

        Raises:
            NoChild: the process did not come up.
        """
        from normcourse.checks import codec

        if not self.ready:
            self._await_ready()
        message, reason = self._exchange(codec.encode(request), limit)
        if message is None:
            return None, reason
        try:
            reply = codec.decode(message)
        except codec.CodecError:
            return None, "it sent no result"
        if not isinstance(reply, dict):
            return None, "it sent no result"
        if set(reply) == {"ended"} and request["do"] != "end":
            return None, ended(reply["ended"])
        return reply, ""

    def _await_ready(self) -> None:
        message, reason = self._exchange(b"", START_LIMIT)
        if message != b"ready":
            self.end()
            raise NoChild(
                f"the process that runs your code did not start ({reason or 'no sign of life'}). "
                f"Does `{Path(sys.executable).name} -c 'import numpy'` work? "
                "Else set the course up again with `make course`."
            )
        self.ready = True

    def _exchange(self, body: bytes, limit: float) -> tuple[bytes | None, str]:
        """Write a message, unless it is empty, and read one, both within the limit."""
        answers: list[bytes] = []
        thread = threading.Thread(target=self._write_and_read, args=(body, answers), daemon=True)
        thread.start()
        thread.join(limit)
        if thread.is_alive():
            self.end()
            thread.join(1.0)
            return None, "timeout"
        if answers:
            return answers[0], ""
        with suppress(subprocess.TimeoutExpired):
            return None, ended(self._process.wait(1.0))
        return None, "it closed its channel"

    def _write_and_read(self, body: bytes, answers: list[bytes]) -> None:
        from normcourse.checks.worker import read_message, write_message

        requests, replies = self._process.stdin, self._process.stdout
        assert requests is not None
        assert replies is not None
        with suppress(OSError, ValueError):
            if body:
                write_message(requests, body)  # type: ignore[arg-type]
            answer = read_message(replies)  # type: ignore[arg-type]
            if answer is not None:
                answers.append(answer)

    def end(self) -> None:
        """End the process and all that it started in its session."""
        if hasattr(os, "killpg"):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()


def ended(code: Any) -> str:
    """Say how a process ended.

    Example:
        >>> ended(3), ended(-9)
        ('it exited with code 3', 'it was ended by SIGKILL')
    """
    if not isinstance(code, int):
        return "it ended early"
    if code >= 0:
        return f"it exited with code {code}"
    with suppress(ValueError):
        return f"it was ended by {signal.Signals(-code).name}"
    return f"it was ended by signal {-code}"


def _process(settings: Settings) -> subprocess.Popen[bytes] | Forked:
    """Start the process: a copy of this one where that is safe, else a new interpreter."""
    folder = str(settings.folder.resolve())
    if may_fork() and not settings.preload:
        with suppress(OSError):
            return Forked(folder, settings.memory_mb, settings.cpu_seconds)
    words = [folder, str(settings.memory_mb), str(settings.cpu_seconds), *settings.preload]
    return subprocess.Popen(
        # -P: no module of the folder stands in for one of Python's own
        [sys.executable, "-P", "-c", _PROGRAM, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
        cwd=folder,
        env=_environment(),
        start_new_session=True,
    )


def _environment() -> dict[str, str]:
    """Return the environment of a child: one thread, no windows, no files written by the way."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NORMCOURSE_")}
    ours = {**dict.fromkeys(ONE_THREAD, "1"), "PYTHONDONTWRITEBYTECODE": "1", "MPLBACKEND": "Agg"}
    return {**kept, **ours}

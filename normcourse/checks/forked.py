"""A child made of this process before it knows an answer: NumPy is imported once for both.

Only a fresh process on Linux does this: one thread, NumPy not yet loaded, no reference and no case
in memory. Everywhere else a child is a new interpreter, which costs a second import of NumPy.
"""

from __future__ import annotations

import gc
import io
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import NoReturn

ONE_THREAD = (
    *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"),
    "VECLIB_MAXIMUM_THREADS",
)


def may_fork() -> bool:
    """Say whether this process is fresh enough to be copied."""
    return (
        sys.platform.startswith("linux")
        and "numpy" not in sys.modules
        and "normcourse.checks.exercise" not in sys.modules
        and threading.active_count() == 1
    )


class Forked:
    """A copy of this process that serves a learner's code; answers as ``subprocess.Popen`` does.

    Args:
        folder: where it runs.
        memory_mb: cap on what it may allocate.
        cpu_seconds: cap on its processor time.

    Raises:
        OSError: the system makes no copy.
    """

    def __init__(self, folder: str, memory_mb: int, cpu_seconds: int) -> None:
        for name in ONE_THREAD:  # a thread of the linear algebra would not be copied
            os.environ[name] = "1"
        from normcourse.checks import codec, probes, worker  # noqa: F401  NumPy, for both

        requests, replies = os.pipe(), os.pipe()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        gc.freeze()  # what both have stays shared: no collector of either writes to it
        self.pid = os.fork()
        if self.pid == 0:
            _become_worker(requests[0], replies[1], folder, memory_mb, cpu_seconds)
        os.close(requests[0])
        os.close(replies[1])
        self.stdin = io.FileIO(requests[1], "wb")
        self.stdout = io.FileIO(replies[0], "rb")
        self._code: int | None = None

    def poll(self) -> int | None:
        """Return how the process ended, or None while it runs."""
        if self._code is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:  # somebody else has collected it
                pid, status = self.pid, 0
            self._code = os.waitstatus_to_exitcode(status) if pid else None
        return self._code

    def wait(self, timeout: float = float("inf")) -> int:
        """Wait for the end and return how it came.

        Raises:
            subprocess.TimeoutExpired: the process still runs.
        """
        end = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired("worker", timeout)
            time.sleep(0.001)
        return code

    def kill(self) -> None:
        """End the process."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


def _become_worker(
    requests: int, replies: int, folder: str, memory_mb: int, cpu_seconds: int
) -> NoReturn:
    """Be what a new interpreter would be: streams, folder, path, signals; then serve."""
    try:
        os.setsid()
        os.dup2(requests, 0)
        os.dup2(replies, 1)
        os.closerange(3, 64)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        here = ("", os.getcwd())
        root = str(__file__).rpartition(os.sep + "normcourse" + os.sep)[0]
        sys.path[:] = [*(entry for entry in sys.path if entry not in here), root]
        sys.argv, sys.dont_write_bytecode = [""], True
        for name in [name for name in os.environ if name.startswith("NORMCOURSE_")]:
            del os.environ[name]
        os.environ["MPLBACKEND"] = "Agg"
        os.chdir(folder)
        from normcourse.checks.worker import main

        main(folder, memory_mb, cpu_seconds, [])
    finally:
        os._exit(1)

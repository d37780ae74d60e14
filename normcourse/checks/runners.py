"""Where a learner's code runs: in this interpreter (notebook, browser) or in a child process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from normcourse.checks import codec
from normcourse.checks.exercise import Case, Exercise
from normcourse.checks.probes import TimeLimitReached, Trial, describe_signature, run_trial
from normcourse.checks.source import Source

DEFAULT_TIME_LIMIT = 10.0


def time_limit_from_environment() -> float:
    """Return NORMCOURSE_TIME_LIMIT in seconds, 10 where it is not set.

    Raises:
        ValueError: the variable is not a positive number.
    """
    text = os.environ.get("NORMCOURSE_TIME_LIMIT", "")
    if not text:
        return DEFAULT_TIME_LIMIT
    try:
        limit = float(text)
    except ValueError:
        limit = 0.0
    if not 0 < limit < float("inf"):
        raise ValueError(f"NORMCOURSE_TIME_LIMIT: expected seconds > 0, got {text!r}.")
    return limit


class InProcessRunner:
    """Runs the answer in this interpreter, each call under a time limit.

    The answer shares the interpreter, so a determined one could reach the judge: this is for the
    learner's own information and never counts as a grade.

    Args:
        answer: the learner's function or class.
        exercise: what is asked of it.
        supplied: right callees by name, put into the answer's globals for the time of a call.
        time_limit: seconds for all calls together.
    """

    def __init__(
        self,
        answer: Any,
        exercise: Exercise,
        *,
        supplied: Mapping[str, Any] | None = None,
        time_limit: float = DEFAULT_TIME_LIMIT,
    ) -> None:
        self._answer, self._exercise = answer, exercise
        self._supplied, self._left = dict(supplied or {}), time_limit

    def signature(self) -> dict[str, Any]:
        """Return what can be said of the answer without calling it."""
        return describe_signature(self._answer)

    def run(self, case: Case) -> Trial:
        """Run one case; what the answer returns takes the same road as from another process."""
        if self._left <= 0:
            return Trial("timeout")
        begun = time.perf_counter()
        try:
            with _supply(self._answer, self._supplied), _time_limit(self._left):
                trial = run_trial(self._answer, self._exercise.probe, case.inputs, case.layout)
                trial.value = codec.decode(codec.encode(trial.value))
        except TimeLimitReached:
            trial = Trial("timeout")
        except codec.CodecError as error:
            trial = Trial("raised", error={"type": "ValueError", "message": str(error)})
        self._left -= time.perf_counter() - begun
        return trial


@contextmanager
def _supply(answer: Any, supplied: Mapping[str, Any]) -> Iterator[None]:
    """Put right callees into the answer's globals and take them out again."""
    scope = getattr(answer, "__globals__", None)
    if not supplied or scope is None:
        yield
        return
    before = {name: scope[name] for name in supplied if name in scope}
    scope.update(supplied)
    try:
        yield
    finally:
        for name in supplied:
            scope.pop(name, None)
        scope.update(before)


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raise TimeLimitReached in this thread after ``seconds``, again and again until it leaves."""
    main = threading.current_thread() is threading.main_thread()
    if main and hasattr(signal, "setitimer"):
        with _alarm(seconds):
            yield
    elif sys.platform == "emscripten":
        yield  # the page ends the whole worker
    else:
        with _watchdog(seconds):
            yield


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    def ring(signum: int, frame: Any) -> None:
        raise TimeLimitReached

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, 0.2)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def _watchdog(seconds: float) -> Iterator[None]:
    """The same from a second thread, where there is no alarm; blocking calls outlast it."""
    import ctypes

    raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
    target, done = ctypes.c_ulong(threading.get_ident()), threading.Event()

    def watch() -> None:
        pause = seconds
        while not done.wait(pause):
            raise_in(target, ctypes.py_object(TimeLimitReached))
            pause = 0.2

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        raise_in(target, None)


class LoadError(Exception):
    """The file does not define the answer; the message says why."""


class ChildRunner:
    """Runs the answer of a file in a child process with limits on time and memory.

    A loop, a crash or an exit costs the child, never the caller; a new child takes its place for
    the next call.

    Args:
        source: the code of the learner's file.
        exercise: what is asked.
        supplied: source text of right callees.
        time_limit: seconds for loading and for all calls together, each.
        memory_mb: cap on the child's address space.
    """

    def __init__(
        self,
        source: Source,
        exercise: Exercise,
        *,
        supplied: str = "",
        time_limit: float = DEFAULT_TIME_LIMIT,
        memory_mb: int = 4096,
    ) -> None:
        self._source, self._exercise, self._supplied = source, exercise, supplied
        self._limit, self._left, self._memory = time_limit, time_limit, memory_mb
        self._child: _Child | None = None
        self._definitions_only = False
        self.load_errors: list[str] = []

    def __enter__(self) -> ChildRunner:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    def close(self) -> None:
        """End the child."""
        if self._child is not None:
            self._child.end()
            self._child = None

    def prepare(self) -> None:
        """Start the child before it is needed, so that it loads while the caller does."""
        if self._child is None:
            self._child = _Child(self._memory)

    def signature(self) -> dict[str, Any]:
        """Return what can be said of the answer without calling it.

        Raises:
            LoadError: the file's code does not come to define the answer.
        """
        reply, status = self._ask({"do": "signature", "name": self._exercise.id})
        if reply is None or not isinstance(reply.get("kind"), str):
            raise LoadError(f"the code could not be run: {_STOPPED[status]}")
        if reply["kind"] == "other":
            reasons = [error for error in self.load_errors if "NotImplementedError" not in error]
            reason = f" ({reasons[0]})" if reasons else ""
            raise LoadError(f"`{self._exercise.id}` is not defined after running the file{reason}.")
        return dict(reply)

    def run(self, case: Case) -> Trial:
        """Run one case in the child."""
        if self._left <= 0:
            return Trial("timeout")
        begun = time.perf_counter()
        request = {
            "do": "call",
            "name": self._exercise.id,
            "probe": self._exercise.probe,
            "inputs": case.inputs,
            "layout": case.layout,
        }
        try:
            reply, status = self._ask(request, self._left)
        except LoadError as error:
            return Trial("crashed", error={"message": str(error)})
        self._left -= time.perf_counter() - begun
        if reply is None:
            return Trial(status, error={"message": _STOPPED[status]})
        if set(reply) == {"too_large"}:
            return Trial("raised", error={"type": "ValueError", "message": str(reply["too_large"])})
        return Trial.from_wire(reply)

    def _ask(
        self, request: dict[str, Any], limit: float | None = None
    ) -> tuple[dict[str, Any] | None, str]:
        child = self._loaded()
        reply, status = child.ask(request, self._limit if limit is None else limit)
        if reply is None:
            self.close()
        return reply, status

    def _loaded(self) -> _Child:
        self.prepare()
        assert self._child is not None
        if self._child.loaded:
            return self._child
        cells = [[c.label, c.code] for c in self._source.cells if not c.problem]
        load = {"do": "load", "cells": cells, "definitions_only": self._definitions_only}
        reply, status = self._child.ask(load, self._limit)
        if reply is None:
            self.close()
            if self._definitions_only:
                raise LoadError(f"the code outside the functions does not run: {_STOPPED[status]}")
            self._definitions_only = True  # once more, without loops, calls and prints
            return self._loaded()
        self.load_errors = [str(error) for error in reply.get("errors", [])]
        if self._supplied:
            self._child.ask({"do": "supply", "code": self._supplied}, self._limit)
        self._child.loaded = True
        return self._child


_STOPPED = {
    "timeout": "the time limit was reached",
    "crashed": "the process ended early",
}


class _Child:
    """One process with its two pipes."""

    def __init__(self, memory_mb: int) -> None:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("NORMCOURSE_")}
        environment |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        environment["PYTHONDONTWRITEBYTECODE"] = "1"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "normcourse.checks.worker", str(memory_mb)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )
        self.loaded = False

    def ask(self, request: dict[str, Any], limit: float) -> tuple[dict[str, Any] | None, str]:
        """Send a request and wait for its reply; None with the reason where none comes."""
        assert self._process.stdin is not None
        body = codec.encode(request)
        answers: list[bytes] = []
        worker = threading.Thread(target=self._exchange, args=(body, answers), daemon=True)
        worker.start()
        worker.join(limit + 2.0 * (not self.loaded))  # a fresh child first imports NumPy
        if worker.is_alive():
            self.end()
            worker.join()
            return None, "timeout"
        if not answers:
            return None, "crashed"
        try:
            reply = codec.decode(answers[0])
        except codec.CodecError:
            return None, "crashed"
        return (reply, "") if isinstance(reply, dict) else (None, "crashed")

    def _exchange(self, body: bytes, answers: list[bytes]) -> None:
        from normcourse.checks.worker import read_message, write_message

        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(OSError, ValueError):
            write_message(self._process.stdin, body)  # type: ignore[arg-type]
            answer = read_message(self._process.stdout)  # type: ignore[arg-type]
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

"""Where a learner's code runs: in this interpreter (notebook, browser) or in a child process."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from normcourse.checks import codec
from normcourse.checks.child import Child, Settings
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


class Host:
    """A learner's file in a child process, for one exercise after the other.

    The file is loaded once; each exercise is served by a branch of the process where the platform
    has branches, else by a process of its own. A loop, a crash or an exit costs the process, never
    the caller; a new one takes its place.

    Args:
        source: the code of the learner's file.
        time_limit: seconds for loading it.
        memory_mb: cap on what the code may allocate.
        preload: packages to import before the time limit runs.
    """

    def __init__(
        self,
        source: Source,
        *,
        time_limit: float = DEFAULT_TIME_LIMIT,
        memory_mb: int = 4096,
        preload: tuple[str, ...] = (),
    ) -> None:
        seconds = int(4 * time_limit) + 60
        self._settings = Settings(source.path.parent, memory_mb, seconds, preload)
        self._source, self._limit = source, time_limit
        self._child: Child | None = None
        self._fallen_back = ""
        self.load_errors: list[str] = []

    def __enter__(self) -> Host:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    @property
    def fallen_back(self) -> str:
        """Why only imports, definitions and assignments were run, or empty."""
        return self._fallen_back

    def prepare(self) -> None:
        """Start the process before it is needed, so that it loads while the caller does."""
        if self._child is None:
            self._child = Child(self._settings)

    def close(self) -> None:
        """End the process."""
        if self._child is not None:
            self._child.end()
            self._child = None

    def branch(self) -> Child:
        """Return a process that has the file loaded and that nobody has used.

        Raises:
            LoadError: the file's code does not come to an end.
            NoChild: the process does not start.
        """
        for _ in range(2):  # a second process if the first was lost since it was last used
            child = self._loaded()
            reply, _ = child.ask({"do": "branch"}, 10.0)
            if reply is not None:
                child.branched = bool(reply.get("branched"))
                return child
            self.close()
        raise LoadError("the code outside the functions ends the process that runs it.")

    def leave(self) -> None:
        """End the branch; the next exercise finds the file loaded and untouched."""
        child = self._child
        if child is None:
            return
        if not child.branched or child.ask({"do": "end"}, 10.0)[0] is None:
            self.close()
        child.branched = False

    def _loaded(self) -> Child:
        self.prepare()
        assert self._child is not None
        if self._child.loaded:
            return self._child
        cells = [[c.label, c.code] for c in self._source.cells if not c.problem]
        load = {"do": "load", "cells": cells, "definitions_only": bool(self._fallen_back)}
        reply, reason = self._child.ask(load, self._limit)
        if reply is None:
            self.close()
            if self._fallen_back:
                why = _stopped(reason)
                raise LoadError(f"the code outside the functions does not run: {why}.")
            self._fallen_back = _stopped(reason)  # once more, without loops, calls and prints
            return self._loaded()
        self.load_errors = [str(error) for error in reply.get("errors", [])]
        self._child.loaded = True
        return self._child


class ChildRunner:
    """Runs the answer of a file in a child process with limits on time and memory.

    Args:
        host: the learner's file, or its source text for a host of its own.
        exercise: what is asked.
        supplied: source text of right callees.
        time_limit: seconds for all calls together.
    """

    def __init__(
        self,
        host: Host | Source,
        exercise: Exercise,
        *,
        supplied: str = "",
        time_limit: float = DEFAULT_TIME_LIMIT,
    ) -> None:
        self._owned = isinstance(host, Source)
        self._host = Host(host, time_limit=time_limit) if isinstance(host, Source) else host
        self._exercise, self._supplied = exercise, supplied
        self._limit, self._left = time_limit, time_limit
        self._child: Child | None = None

    def __enter__(self) -> ChildRunner:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the process behind for the next exercise."""
        if self._child is not None:
            self._host.leave()
            self._child = None
        if self._owned:
            self._host.close()

    def signature(self) -> dict[str, Any]:
        """Return what can be said of the answer without calling it.

        Raises:
            LoadError: the file's code does not come to define the answer.
            NoChild: the process does not start.
        """
        reply, reason = self._ask({"do": "signature", "name": self._exercise.id}, self._limit)
        if reply is None or not isinstance(reply.get("kind"), str):
            raise LoadError(f"the code could not be run: {_stopped(reason)}.")
        if reply["kind"] == "other":
            errors = [e for e in self._host.load_errors if "NotImplementedError" not in e]
            reason = f" ({errors[0]})" if errors else ""
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
            reply, reason = self._ask(request, self._left)
        except LoadError as error:
            return Trial("crashed", error={"message": str(error)})
        self._left -= time.perf_counter() - begun
        if reply is None:
            status = "timeout" if reason == "timeout" else "crashed"
            return Trial(status, error={"message": _stopped(reason)})
        if set(reply) == {"too_large"}:
            return Trial("raised", error={"type": "ValueError", "message": str(reply["too_large"])})
        return Trial.from_wire(reply)

    def _ask(self, request: dict[str, Any], limit: float) -> tuple[dict[str, Any] | None, str]:
        if self._child is None:
            child = self._host.branch()
            if self._supplied:
                child.ask({"do": "supply", "code": self._supplied}, self._limit)
            self._child = child
        reply, reason = self._child.ask(request, limit)
        if reply is None:
            self._host.close()
            self._child = None
        return reply, reason


def _stopped(reason: str) -> str:
    return "the time limit was reached" if reason == "timeout" else reason

"""Where a learner's code runs: in this interpreter (notebook, browser) or in a child process."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from normcourse.checks import codec
from normcourse.checks.child import Child
from normcourse.checks.exercise import Case, Exercise
from normcourse.checks.host import (
    DEFAULT_TIME_LIMIT,
    Host,
    LoadError,
    stopped,
    time_limit_from_environment,
)
from normcourse.checks.probes import TimeLimitReached, Trial, describe_signature, run_trial
from normcourse.checks.source import Source

__all__ = [
    "DEFAULT_TIME_LIMIT",
    "ChildRunner",
    "Host",
    "InProcessRunner",
    "LoadError",
    "time_limit_from_environment",
]


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
                probe = case.probe or self._exercise.probe
                trial = run_trial(self._answer, probe, case.inputs, case.layout)
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

    def __exit__(self, kind: type[BaseException] | None, *unused: object) -> None:
        if kind is not None and not issubclass(kind, LoadError):
            self._host.close()  # interrupted: nobody waits for what the code is doing
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
            raise LoadError(f"the code could not be run: {stopped(reason)}.")
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
            "probe": case.probe or self._exercise.probe,
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
            return Trial(status, error={"message": stopped(reason)})
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

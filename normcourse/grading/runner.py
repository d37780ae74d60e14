"""Runs the cases of one exercise in a sandboxed process; what comes back is looked at as forged."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass, field
from typing import Any

from normcourse.checks.exercise import Case, Exercise
from normcourse.checks.probes import OUTPUT_LIMIT, Trial
from normcourse.checks.source import Source
from normcourse.grading.sandbox import Cell, Ended, Limits, Sandbox

_STATUSES = ("returned", "raised", "timeout", "memory")
_OUTCOME = {"timeout": "timeout", "memory": "memory", "crashed": "crashed", "protocol": "protocol"}
_NO_RESULT = "the answer's process sent no result"


class NotLoaded(Exception):
    """The file does not define the answer; the message says why and ``outcome`` what it counts as.

    Args:
        message: what happened.
        outcome: "error", "timeout", "memory", "crashed" or "protocol".
    """

    def __init__(self, message: str, outcome: str = "error") -> None:
        super().__init__(message)
        self.outcome = outcome


@dataclass
class Answer:
    """What a process is given before it sees an input.

    Args:
        exercise: what is asked.
        source: the learner's file.
        files: the learner's other files by path.
        supplied: source text of right callees.
        limits: of time, memory and the rest.
    """

    exercise: Exercise
    source: Source
    files: dict[str, bytes] = field(default_factory=dict)
    supplied: str = ""
    limits: Limits = field(default_factory=Limits)


class SandboxRunner:
    """A runner for :func:`normcourse.checks.judge.judge`; one process for one exercise.

    Args:
        sandbox: the warm one.
        answer: what is to run in it.
    """

    def __init__(self, sandbox: Sandbox, answer: Answer) -> None:
        self._sandbox, self._answer = sandbox, answer
        self._left = answer.limits.run_seconds
        self._cell: Cell | None = None
        self._fate: Trial | None = None
        self._known: dict[str, Any] | None = None
        self.in_force: dict[str, Any] = {}
        self.notes: list[str] = []
        self.fates: dict[str, str] = {}  # case name to the outcome that its end stands for
        self.ended: Ended | None = None

    def close(self) -> None:
        """End the process."""
        if self._cell is not None:
            cell, self._cell = self._cell, None
            self.ended = cell.end()

    def signature(self) -> dict[str, Any]:
        """Load the file and say what can be said of the answer without calling it.

        Raises:
            NotLoaded: the file's code does not come to define the answer.
        """
        if self._known is not None:
            return self._known  # the second set of inputs meets the same process
        errors = self._load()
        name = self._answer.exercise.id
        if self._answer.supplied:
            self._ask_plain({"do": "supply", "code": self._answer.supplied})
        reply = self._ask_plain({"do": "signature", "name": name})
        found = _signature(reply)
        if found is None:
            raise NotLoaded(f"{_NO_RESULT}.", "protocol")
        if found["kind"] == "other":
            reasons = [str(e)[:300] for e in errors if "NotImplementedError" not in str(e)]
            reason = f" ({reasons[0]})" if reasons else ""
            raise NotLoaded(f"`{name}` is not defined after running the file{reason}.")
        self._known = found
        return found

    def run(self, case: Case) -> Trial:
        """Run one case; after a process has ended, every further case has the same end."""
        trial = self._fate or self._run(case)
        if trial.status in _OUTCOME:
            self.fates.setdefault(case.name, trial.status)
        if trial.status == "protocol":
            trial = Trial("crashed", error=trial.error)
        return trial

    def _run(self, case: Case) -> Trial:
        if self._cell is None or self._left <= 0:
            return self._stopped("timeout")
        begun = time.monotonic()
        request = {
            "do": "call",
            "name": self._answer.exercise.id,
            "probe": case.probe or self._answer.exercise.probe,
            "inputs": case.inputs,
            "layout": case.layout,
        }
        reply, reason = self._cell.ask(request, self._left)
        self._left -= time.monotonic() - begun
        if reason:
            return self._stopped(reason)
        if isinstance(reply, dict) and set(reply) == {"too_large"}:
            message = str(reply["too_large"])[:300]
            return Trial("raised", error={"type": "ValueError", "message": message})
        trial = _trial(reply, list(case.inputs))
        return trial or self._stopped("protocol")

    def _stopped(self, reason: str) -> Trial:
        """End the process and say as what its end counts."""
        self.close()
        status, words = _end(reason, self.ended)
        self._fate = Trial(status, error={"message": words})
        return self._fate

    def _load(self) -> list[Any]:
        """Run the file's statements; where they do not end, its definitions alone."""
        limits = self._answer.limits
        cells = [[c.label, c.code] for c in self._answer.source.cells if not c.problem]
        for definitions_only in (False, True):
            self._cell = self._sandbox.cell(self._answer.files, limits)
            self.in_force = self._cell.in_force
            request = {"do": "load", "cells": cells, "definitions_only": definitions_only}
            reply, reason = self._cell.ask(request, limits.load_seconds)
            if not reason and isinstance(reply, dict):
                errors = reply.get("errors")
                return errors if isinstance(errors, list) else []
            self.close()
            status, words = _end(reason or "protocol", self.ended)
            if not definitions_only:
                self.notes.append(
                    f"The code outside the functions did not come to an end ({words}); "
                    "only imports, definitions and assignments were run."
                )
        raise NotLoaded(f"the code outside the functions does not run: {words}.", status)

    def _ask_plain(self, request: dict[str, Any]) -> Any:
        assert self._cell is not None
        reply, reason = self._cell.ask(request, self._answer.limits.load_seconds)
        if reason:
            self.close()
            status, words = _end(reason, self.ended)
            raise NotLoaded(f"the code could not be run: {words}.", status)
        return reply


def _end(reason: str, ended: Ended | None) -> tuple[str, str]:
    """Return the outcome of a process that answers no more, and its words."""
    if reason == "timeout":
        return "timeout", "the time limit was reached"
    if reason == "protocol":
        return "protocol", "it sent something that is no result"
    if ended is None or ended.killed:
        return "crashed", "it closed its channel"
    if ended.code >= 0:
        return "crashed", f"it exited with code {ended.code}"
    name = _signal_name(-ended.code)
    if name == "SIGXCPU":
        return "timeout", "the limit on processor time was reached"
    if name == "SIGKILL":  # not by us: the kernel, short of memory, or past its hard limit
        return "memory", "it was ended by the system (memory or processor time)"
    return "crashed", f"it was ended by {name}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _signature(reply: Any) -> dict[str, Any] | None:
    """Return a reply if it has the form of a signature, else None."""
    if not isinstance(reply, dict) or set(reply) != {"kind", "parameters"}:
        return None
    kind, parameters = reply["kind"], reply["parameters"]
    if kind not in ("class", "function", "other"):
        return None
    if parameters is not None and not _is_parameters(parameters):
        return None
    return {"kind": kind, "parameters": parameters}


def _is_parameters(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) <= 100
        and all(
            isinstance(item, list)
            and len(item) == 3
            and isinstance(item[0], str)
            and len(item[0]) < 200
            and isinstance(item[1], str)
            and isinstance(item[2], bool)
            for item in value
        )
    )


def _trial(reply: Any, arguments: list[str]) -> Trial | None:
    """Return a reply as a trial with each part of the form that the judge relies on, or None."""
    trial = Trial.from_wire(reply)
    if trial.status not in _STATUSES:
        return None
    error = trial.error
    line = error.get("lineno", 0)
    plain: dict[str, Any] = {
        key: str(error.get(key, ""))[:size]
        for key, size in (("type", 200), ("message", 2000), ("line", 300))
        if isinstance(error.get(key, ""), str)
    }
    plain["lineno"] = line if type(line) is int and 0 <= line < 10**7 else 0
    trial.error = plain if error else {}
    trial.output = trial.output[: OUTPUT_LIMIT + 100]
    trial.changed = [name for name in arguments if name in trial.changed]
    return trial

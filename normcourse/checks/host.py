"""A learner's file in a child process, loaded once for all of its exercises.

Importing this costs the standard library alone: the process starts before its parent loads NumPy.
"""

from __future__ import annotations

import os

from normcourse.checks.child import Child, Settings
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
        spare: a process started before, taken if it is alive and started alike, else ended.
    """

    def __init__(
        self,
        source: Source,
        *,
        time_limit: float = DEFAULT_TIME_LIMIT,
        memory_mb: int = 4096,
        preload: tuple[str, ...] = (),
        spare: Child | None = None,
    ) -> None:
        seconds = int(4 * time_limit) + 60
        self._settings = Settings(source.path.parent, memory_mb, seconds, preload)
        self._source, self._limit = source, time_limit
        self._child = spare if spare and spare.fits(self._settings) else None
        if spare is not self._child and spare is not None:
            spare.end()
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

    def another(self) -> Child:
        """Start a process like this one's, for the next time the file is loaded."""
        return Child(self._settings)

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
        if not child.branched or child.ask({"do": "end"}, 5.0)[0] is None:
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
                why = stopped(reason)
                raise LoadError(f"the code outside the functions does not run: {why}.")
            self._fallen_back = stopped(reason)  # once more, without loops, calls and prints
            return self._loaded()
        self.load_errors = [str(error) for error in reply.get("errors", [])]
        self._child.loaded = True
        return self._child


def stopped(reason: str) -> str:
    """Return the reason why no reply came, in words."""
    return "the time limit was reached" if reason == "timeout" else reason

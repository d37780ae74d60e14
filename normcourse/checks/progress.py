"""The progress file: which exercises were tried, passed and with how many hints.

One JSON file per user, the same format on the command line, in the notebook and in the browser:

    {"schema": 1,
     "exercises": {"batch_norm_forward": {"version": 1, "best": "passed", "last": "failed",
                                          "passed_at": "2026-01-31T10:00:00+00:00",
                                          "updated": "2026-01-31T10:05:00+00:00",
                                          "attempts": 3, "hints": 1}}}

``best`` never falls back from "passed"; ``last`` is the newest verdict. Times are UTC.
The path is NORMCOURSE_PROGRESS if set ("off" keeps nothing), else the platform's data folder.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

SCHEMA = 1
_ORDER = ("not_started", "error", "timeout", "failed", "passed")


class BadProgress(ValueError):
    """A progress file that cannot be read; it is left as it is."""


@dataclass(frozen=True)
class Entry:
    """What is known about one exercise."""

    version: int
    best: str
    last: str
    updated: str
    passed_at: str = ""
    attempts: int = 0
    hints: int = 0


@dataclass(frozen=True)
class Progress:
    """What is known about all exercises."""

    exercises: Mapping[str, Entry] = field(default_factory=dict)

    def entry(self, exercise: str) -> Entry | None:
        """Return what is known about an exercise, or None."""
        return self.exercises.get(exercise)

    def passed(self, exercise: str) -> bool:
        """Say whether the exercise was ever passed."""
        entry = self.exercises.get(exercise)
        return entry is not None and entry.best == "passed"

    def with_verdict(self, exercise: str, version: int, status: str, now: str) -> Progress:
        """Return the progress after one more verdict; "not_started" counts as no attempt."""
        old = self.exercises.get(exercise) or Entry(version, "not_started", "not_started", now)
        tried = status != "not_started"
        entry = replace(
            old,
            version=version,
            best=max(old.best, status, key=_ORDER.index),
            last=status,
            updated=now,
            passed_at=old.passed_at or (now if status == "passed" else ""),
            attempts=old.attempts + tried,
        )
        return Progress({**self.exercises, exercise: entry})

    def with_hint(self, exercise: str, version: int, shown: int, now: str) -> Progress:
        """Return the progress after ``shown`` hints of an exercise were read."""
        old = self.exercises.get(exercise) or Entry(version, "not_started", "not_started", now)
        return Progress(
            {**self.exercises, exercise: replace(old, hints=max(old.hints, shown), updated=now)}
        )

    def without(self, exercise: str) -> Progress:
        """Return the progress as if the exercise had never been opened."""
        return Progress({k: v for k, v in self.exercises.items() if k != exercise})

    def merged(self, other: Progress) -> Progress:
        """Return both together: the newest verdict counts, a pass is never lost."""
        ids = {*self.exercises, *other.exercises}
        return Progress({i: _merge(self.entry(i), other.entry(i)) for i in sorted(ids)})

    def to_json(self) -> str:
        """Return the file's text."""
        entries = {name: asdict(self.exercises[name]) for name in sorted(self.exercises)}
        return json.dumps({"schema": SCHEMA, "exercises": entries}, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str, origin: str = "progress") -> Progress:
        """Return the progress that a file's text describes.

        Raises:
            BadProgress: not JSON, another schema, or entries that make no sense.
        """
        try:
            data = json.loads(text)
        except ValueError:
            raise BadProgress(
                f"{origin}: not JSON. Mend or move the file, then try again."
            ) from None
        if not isinstance(data, dict) or data.get("schema") != SCHEMA:
            found = data.get("schema") if isinstance(data, dict) else type(data).__name__
            raise BadProgress(f"{origin}: expected schema {SCHEMA}, got {found!r}.")
        entries = data.get("exercises")
        if not isinstance(entries, dict):
            raise BadProgress(f"{origin}: expected an object under 'exercises'.")
        return cls({str(k): _entry(origin, str(k), v) for k, v in entries.items()})


def default_path() -> Path | None:
    """Return where progress is kept, or None where it is switched off."""
    setting = os.environ.get("NORMCOURSE_PROGRESS", "")
    if setting == "off":
        return None
    if setting:
        return Path(setting).expanduser()
    from platformdirs import user_data_path

    return user_data_path("normcourse", appauthor=False) / "progress.json"


def load(path: Path | None = None) -> Progress:
    """Return the progress kept at ``path``; an absent file is no progress.

    Raises:
        BadProgress: the file cannot be read.
    """
    if path is None or not path.exists():
        return Progress()
    try:
        return Progress.from_json(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise BadProgress(f"{path}: cannot be read ({error}).") from None


def save(progress: Progress, path: Path | None) -> None:
    """Write the progress in one step: after a crash the file is the old one or the new one."""
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}-{time.monotonic_ns()}.part")
    try:
        with part.open("x", encoding="utf-8") as file:
            file.write(progress.to_json())
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def now() -> str:
    """Return the time in the file's form."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _merge(one: Entry | None, other: Entry | None) -> Entry:
    if one is None or other is None:
        present = one or other
        assert present is not None
        return present
    newest, oldest = sorted((one, other), key=lambda e: e.updated, reverse=True)
    passes = sorted(filter(None, (one.passed_at, other.passed_at)))
    return replace(
        newest,
        best=max(one.best, other.best, key=_ORDER.index),
        passed_at=passes[0] if passes else "",
        attempts=max(newest.attempts, oldest.attempts),
        hints=max(one.hints, other.hints),
    )


def _entry(origin: str, exercise: str, data: Any) -> Entry:
    kinds = {"version": int, "best": str, "last": str, "updated": str}
    extra = {"passed_at": str, "attempts": int, "hints": int}
    good = (
        isinstance(data, dict)
        and all(type(data.get(name)) is kind for name, kind in kinds.items())
        and all(type(data[name]) is kind for name, kind in extra.items() if name in data)
        and data["best"] in _ORDER
        and data["last"] in _ORDER
    )
    if not good:
        raise BadProgress(f"{origin}: the entry of {exercise!r} is not one of ours.")
    return Entry(**{name: data[name] for name in (*kinds, *extra) if name in data})

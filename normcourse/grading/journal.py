"""The journal: every verdict written as it is reached, and found again after any end.

One JSON object per line, appended and synced to disk submission by submission. A line that was
being written when the power went is cut off at the next start; the rest stands.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from io import FileIO
from pathlib import Path
from typing import Any

SCHEMA = 1


class JournalInUse(RuntimeError):
    """Another grader is writing into the same folder."""


class Journal:
    """Verdicts by key, on disk; in memory only where each lies.

    Args:
        path: of the file; made where it is not.

    Raises:
        JournalInUse: another process holds it.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: FileIO = FileIO(path, "a+")
        self._lock()
        self._places: dict[str, tuple[int, int]] = {}
        self._end = 0
        self._read()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def __len__(self) -> int:
        return len(self._places)

    def get(self, key: str) -> dict[str, Any]:
        """Return the verdict of a key.

        Raises:
            KeyError: there is none.
        """
        start, size = self._places[key]
        return dict(json.loads(os.pread(self._file.fileno(), size, start)))

    def add(self, records: Iterable[dict[str, Any]]) -> None:
        """Append verdicts and wait until they are on disk."""
        lines = [(r["key"], json.dumps(r, ensure_ascii=False, sort_keys=True)) for r in records]
        encoded = [(key, line.encode("utf-8", "replace") + b"\n") for key, line in lines]
        left = memoryview(b"".join(line for _, line in encoded))
        try:
            while left:
                left = left[self._file.write(left) or 0 :]
            os.fsync(self._file.fileno())
        except OSError:
            os.ftruncate(self._file.fileno(), self._end)  # a full disk: no half lines
            raise
        for key, line in encoded:
            self._places[key] = (self._end, len(line))
            self._end += len(line)

    def close(self) -> None:
        """Let the file go."""
        self._file.close()

    def _lock(self) -> None:
        try:
            import fcntl

            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ImportError:
            return
        except OSError:
            self._file.close()
            raise JournalInUse("another `normcourse grade` is writing here; wait for it") from None

    def _read(self) -> None:
        """Note where each verdict lies; an unfinished last line is cut off."""
        with open(self._file.fileno(), "rb", closefd=False) as lines:
            lines.seek(0)
            for line in lines:
                record = _record(line)
                if record is None and not line.endswith(b"\n"):
                    break
                if record is not None and record["outcome"] != "infra_error":
                    self._places[record["key"]] = (self._end, len(line))
                self._end += len(line)
        os.ftruncate(self._file.fileno(), self._end)


def _record(line: bytes) -> dict[str, Any] | None:
    if not line.endswith(b"\n"):
        return None
    try:
        record = json.loads(line)
    except ValueError:
        return None
    fit = isinstance(record, dict) and record.get("schema") == SCHEMA and "key" in record
    return record if fit else None

"""The progress file as the commands use it: read first, written once, never lost."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from normcourse.checks import progress as store
from normcourse.checks.progress import BadProgress, Progress


class Record:
    """The learner's progress at one path.

    Args:
        path: the file, or None for the platform's own place or NORMCOURSE_PROGRESS.

    Raises:
        BadProgress: the file is there and cannot be read.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path if path is not None else store.default_path()
        if self.path is not None and self.path.is_dir():
            raise BadProgress(f"{self.path}: is a folder, expected the progress file (.json).")
        self.kept = store.load(self.path)

    def change(self, change: Callable[[Progress], Progress]) -> bool:
        """Change the progress and write it; a file that cannot be written is said, no more.

        The file is read again first, since a notebook may have written meanwhile.
        """
        try:
            self.kept = change(store.load(self.path))
            store.save(self.kept, self.path)
        except (BadProgress, OSError) as error:
            print(f"normcourse: progress was not saved: {error}", file=sys.stderr)
            return False
        return True

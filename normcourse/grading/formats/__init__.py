"""What becomes of the marks: files that schools and platforms read. All are pure exports."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path


def write(path: Path, text: str | Iterable[str]) -> None:
    """Write a file, from one text or from parts as they come; whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            for part in [text] if isinstance(text, str) else text:
                file.write(part.encode("utf-8", "replace"))
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def file_name(learner: str) -> str:
    """Return a file name for a learner that every system takes; different learners differ.

    Example:
        >>> file_name("alice"), file_name("../Ann Ö")
        ('alice', 'Ann-6f9abadc')
    """
    plain = re.sub(r"[^A-Za-z0-9_.@-]+", "-", learner).strip("-.")[:60]
    if plain and plain == learner and plain.lower() == plain:
        return plain
    mark = hashlib.sha256(learner.encode("utf-8", "replace")).hexdigest()[:8]
    return f"{plain or 'learner'}-{mark}".replace("--", "-")

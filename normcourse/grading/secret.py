"""The grader's secret: what makes the inputs of a grading run unforeseeable, kept apart from it."""

from __future__ import annotations

import hashlib
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

VARIABLE = "NORMCOURSE_GRADING_SECRET"
_SIZE = 32


class BadSecret(ValueError):
    """A secret file that cannot serve as one; the message says what to do."""


@dataclass(frozen=True)
class Secret:
    """A key and a name for it that gives nothing away."""

    key: bytes

    @property
    def id(self) -> str:
        """The name under which the journal knows the key."""
        return hashlib.sha256(b"normcourse secret" + self.key).hexdigest()[:12]


def default_path() -> Path:
    """Return where the secret lies: the variable names it, else the user's data folder."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named)
    from platformdirs import user_data_path

    return user_data_path("normcourse") / "grading-secret"


def load(path: Path, *, results: Path) -> Secret:
    """Return the secret of a file, made at the first use, readable by its owner alone.

    Args:
        path: of the secret.
        results: folder of the results, which are passed on: the secret may not lie in it.

    Raises:
        BadSecret: it lies in the results, is too short, or cannot be read.
    """
    if path.resolve().is_relative_to(results.resolve()):
        raise BadSecret(f"{path}: the secret may not lie in the folder of the results.")
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(secrets.token_hex(_SIZE))
                file.flush()
                os.fsync(file.fileno())
        text = path.read_text(encoding="ascii").strip()
        key = bytes.fromhex(text)
    except (OSError, ValueError) as error:
        raise BadSecret(f"{path}: not a secret that can be read ({error}).") from None
    if len(key) < _SIZE:
        raise BadSecret(f"{path}: {len(key)} bytes, at least {_SIZE} are needed. Remove the file.")
    return Secret(key)

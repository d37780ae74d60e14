"""normcourse: the companion package of the course on normalization layers.

Importing it costs the standard library and no more; each public name loads what it needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_PUBLIC = {
    "check": "normcourse.checks.notebook",
    "hint": "normcourse.checks.notebook",
    "solution": "normcourse.checks.notebook",
    "progress": "normcourse.checks.notebook",
    "reset": "normcourse.checks.notebook",
}

__all__ = ["__version__", "check", "hint", "progress", "reset", "solution"]

if TYPE_CHECKING:
    from normcourse.checks.notebook import check, hint, progress, reset, solution


def __getattr__(name: str) -> Any:
    """Load a public name when it is first asked for."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'normcourse' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

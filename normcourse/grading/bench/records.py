"""Where measured costs are kept, part by part: each says when, on what and by which command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

NAME = "normcourse/grading/bench/recorded.json"
_FILE = Path(__file__).parent / "recorded.json"
PARTS = ("classes", "compared", "large")


def recorded(file: Path = _FILE) -> dict[str, dict[str, Any]]:
    """Return the parts that were measured and kept; none where nothing was."""
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.exists() else {}


def keep(parts: dict[str, dict[str, Any]], file: Path = _FILE) -> None:
    """Replace the parts that were measured anew; the others stay."""
    kept = {**recorded(file), **parts}
    text = json.dumps({name: kept[name] for name in PARTS if name in kept}, indent=1)
    file.write_text(text + "\n", encoding="utf-8")

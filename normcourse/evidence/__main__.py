"""``python -m normcourse.evidence``: write the evidence page anew from claims and records."""

from __future__ import annotations

import sys
from pathlib import Path

from normcourse.evidence.ledger import Ledger, contradictions
from normcourse.evidence.page import page
from normcourse.experiments import load, names

ROOT = Path(__file__).resolve().parents[2]


def made() -> str:
    """Return the page as it is to be."""
    ledger = Ledger(experiments=map(load, names()))
    for problem in contradictions(ledger.entries):
        print(f"note missing: {problem}", file=sys.stderr)
    return page(ledger, ROOT)


def main() -> int:
    """Write the page into the book."""
    path = ROOT / "book" / "evidence.md"
    path.write_text(made(), encoding="utf-8")
    print(path.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())

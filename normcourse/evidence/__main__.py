"""``python -m normcourse.evidence``: write the evidence page and the surprises anew."""

from __future__ import annotations

import sys
from pathlib import Path

from normcourse.evidence.ledger import Ledger, contradictions
from normcourse.evidence.page import page
from normcourse.evidence.surprises import load_surprises, surprises_page
from normcourse.experiments import load, names

ROOT = Path(__file__).resolve().parents[2]


def made() -> str:
    """Return the page as it is to be."""
    ledger = Ledger(experiments=map(load, names()))
    for problem in contradictions(ledger.entries):
        print(f"note missing: {problem}", file=sys.stderr)
    return page(ledger, ROOT)


def made_surprises() -> str:
    """Return the findings of the page of errata as they are to be."""
    written = {path.stem for path in (ROOT / "book").glob("[0-9][0-9]_*.ipynb")}
    return surprises_page(load_surprises(), Ledger(experiments=map(load, names())), written)


def main() -> int:
    """Write the page and the findings into the book."""
    texts = {"evidence.md": made(), "generated/surprises.md": made_surprises()}
    for name, text in texts.items():
        path = ROOT / "book" / name
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())

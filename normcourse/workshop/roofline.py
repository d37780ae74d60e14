"""The page of measured speeds and its pictures: ``python -m normcourse.workshop.roofline``.

Writes ``book/roofline.md`` (:mod:`normcourse.kernels.page`) and a picture of every part of the
record of the CPU, ``book/generated/roofline-<threads>-<memory>.svg``; ``--check`` compares instead.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from normcourse.figures import share_of_copy
from normcourse.figures._base import CourseFigure
from normcourse.kernels import page
from normcourse.kernels.bench import Record, recorded, shares
from normcourse.kernels.cases import CASES

__all__ = ["files", "main", "picture"]


Shares = dict[str, dict[str, dict[str, float]]]


def picture(part: Record, high: float) -> CourseFigure:
    """Return the picture of a part of the record: everyone's share of the copy, for every case.

    Args:
        part: rows of one number of threads in one kind of memory.
        high: share up to which its axes run.
    """
    return share_of_copy(_shares(part), page.heading(part).lower(), high=high)


def _shares(part: Record) -> Shares:
    both, fresh = ("forward", "backward"), part["memory"] == "fresh"
    return {
        row["case"]: {what: shares(row, what, CASES, fresh=fresh) for what in both}
        for row in part["rows"]
    }


def highest(parts: Sequence[Record]) -> float:
    """Return the largest share in any part, 1 at least."""
    cases = [case for part in parts for case in _shares(part).values()]
    return max([1.0, *(max(way.values()) for case in cases for way in case.values())])


def files() -> dict[Path, str]:
    """Return what is written, by its place."""
    found = {page.PAGE: page.made()}
    parts = (recorded("cpu") or {"parts": []})["parts"]
    for part in parts:
        place = page.PAGE.parent / page.picture_of(part)
        found[place] = picture(part, highest(parts)).svg()
    return found


def main(words: list[str]) -> int:
    """Write all files, or with ``--check`` say which are not as they would be written."""
    wrong = []
    for path, text in files().items():
        if "--check" not in words:
            path.write_text(text, encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            wrong.append(path.name)
    for name in wrong:
        print(f"{name} is not as it would be written: python -m normcourse.workshop.roofline")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

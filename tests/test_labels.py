"""Whatever in the book has a number is referred to by it, and no reference leads nowhere."""

from __future__ import annotations

import re
from functools import cache

import nbformat
import pytest

from tests.chapter_prose import BOOK

# Equations, definitions, tables and figures; exercises have cards and tests of their own.
_NUMBERED = ("eq-", "def-", "tab-", "fig-")
_LABEL = re.compile(r"^\$\$ \((eq-[\w-]+)\)$|^:(?:name|label): (\S+)$", re.MULTILINE)
_REFERENCE = re.compile(r"\{(?:eq|numref|prf:ref|ref)\}`(?:[^`<]*<)?([\w-]+)>?`|\]\(#([\w-]+)\)")


@cache
def pages() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return each page's text and the names of the figures that its cells draw."""
    found = {
        str(path.relative_to(BOOK)): (path.read_text(encoding="utf-8"), ())
        for ending in ("*.md", "*.toml")
        for path in BOOK.rglob(ending)
    }
    for path in BOOK.glob("*.ipynb"):
        cells = nbformat.read(path, as_version=4).cells
        text = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
        drawn = [cell.metadata.get("mystnb", {}).get("figure") for cell in cells]
        text += "\n\n".join(str(figure.get("caption", "")) for figure in drawn if figure)
        found[path.name] = (text, tuple(str(figure["name"]) for figure in drawn if figure))
    return found


def labels() -> list[str]:
    """Return every label of something numbered."""
    written = [
        found[1] or found[2] for text, _ in pages().values() for found in _LABEL.finditer(text)
    ]
    drawn = [name for _, figures in pages().values() for name in figures]
    return written + drawn


def references() -> set[str]:
    """Return every label that text refers to."""
    texts = "\n\n".join(text for text, _ in pages().values())
    return {found[1] or found[2] for found in _REFERENCE.finditer(texts)}


def test_labels_say_what_they_name() -> None:
    assert not [label for label in labels() if not label.startswith(_NUMBERED)]


@pytest.mark.parametrize("kind", _NUMBERED)
def test_every_label_is_referred_to(kind: str) -> None:
    known = [label for label in labels() if label.startswith(kind)]
    assert known
    assert not sorted(set(known) - references())


def test_references_lead_somewhere() -> None:
    asked = {label for label in references() if label.startswith(_NUMBERED)}
    assert not sorted(asked - set(labels()))


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("{eq}`eq-rms`", "eq-rms"),
        ("{numref}`Figure %s <fig-rms>`", "fig-rms"),
        ("{prf:ref}`def-rms-norm`", "def-rms-norm"),
        ("[](#tab-layouts)", "tab-layouts"),
    ],
)
def test_a_reference_is_read(text: str, label: str) -> None:
    found = _REFERENCE.search(text)
    assert found is not None
    assert (found[1] or found[2]) == label

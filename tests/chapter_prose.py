"""The running text of a chapter, with all else blanked out, and the words of the glossary in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import nbformat

BOOK = Path(__file__).parents[1] / "book"
CHAPTERS = sorted(path.stem for path in BOOK.glob("[0-9][0-9]_*.ipynb"))

_FENCE = re.compile(r"^(`{3,})(.*?)$(.*?)^\1[ \t]*$", re.MULTILINE | re.DOTALL)
_TEXT_BLOCKS = ("{admonition}", "{prf:definition}")
_NO_PROSE = re.compile(
    r"\$\$.*?\$\$(?:\s*\([\w-]+\))?"  # formulas on lines of their own
    r"|^#+ [^\n]*$"  # headings
    r"|^:[a-z-]+:[^\n]*$"  # options of directives
    r"|(?:\{[\w:-]+\})?`[^`\n]+`"  # code in a line, citations, references to figures
    r"|\$[^$\n]+\$"  # formulas in a line
    r"|\[[^\]\n]*\]\([^)\n]*\)"  # links
    r'|"[^"\n]*"|“[^”\n]*”',  # what others say
    re.MULTILINE | re.DOTALL,
)
_VERBS = ("debias", "fold", "pool", "recalibrate", "standardize")  # in the glossary

# "A scale and a shift" are the learned ones; either word alone is everyday language too.
_PAIR = re.compile(
    r"\b(scale) +and (?:a |the |one )?(?:learned )?(shift)\b(?! (?:it|each|every)\b)"
)
_OTHERWISE = (  # words within others, which mean something else everywhere
    r"(?:batch|group)(?=(?:(?:,| or| and) (?:layer|instance|group|RMS))*,?(?: or| and)? norm)",
    r"chain rule",
    r"rules? (?:methods )?out",
    r"(?:affine|linear) maps?",
    r"(?:logarithmic|principal) ax[ei]s",
    r"(?:in a|at every) moment",
    r"activation functions?",
)


class Use(NamedTuple):
    """A word of the glossary in a chapter: which, how it is written, where, and whether linked."""

    term: str
    written: str
    start: int
    linked: bool
    bold: bool


def prose(markdown: str) -> str:
    """Return the text with all that is not prose as blanks; links to the glossary stay.

    The title, the question and the summary that open a chapter are a heading too.
    """
    text = _NO_PROSE.sub(_blank, _FENCE.sub(_block, markdown))
    if not markdown.startswith("# "):
        return text
    opening = "\n\n".join(markdown.split("\n\n", 3)[:3])
    return re.sub(r"[^\n]", " ", opening) + text[len(opening) :]


def _block(found: re.Match[str]) -> str:
    """Blank out a block, or of one that holds text its first and last line."""
    if not found[2].startswith(_TEXT_BLOCKS):
        return _blank(found)
    first, last = len(found[1] + found[2]), len(found[0]) - len(found[1] + found[2] + found[3])
    return " " * first + prose(found[3]) + " " * last


def _blank(found: re.Match[str]) -> str:
    keep = found[0].startswith("{term}")
    return found[0] if keep else re.sub(r"[^\n]", " ", found[0])


def glossary() -> list[str]:
    """Return the words of the glossary."""
    page = (BOOK / "glossary.md").read_text(encoding="utf-8")
    return re.findall(r"^(\w.*)$", page.split("```{glossary}")[1].split("```")[0], re.MULTILINE)


def forms(term: str) -> set[str]:
    """Return how a word may be written: the plural too, and what ends a verb of the glossary."""
    if term == "axis":
        return {"axis", "axes"}
    found = {term, f"{term}s", f"{term}es"}
    if term in _VERBS:
        found |= {term.removesuffix("e") + ending for ending in ("ed", "ing")}
    return found


_WORDS = {form.lower(): term for term in glossary() for form in forms(term)}
_ANY = re.compile(
    r"\{term\}`([^`<]+?)(?: <([^>]+)>)?`|(?<![\w-])("
    + "|".join(re.escape(word).replace(r"\ ", r"\s+") for word in sorted(_WORDS, key=len)[::-1])
    + r")(?![\w-])",
    re.IGNORECASE,
)


def chapter_text(name: str) -> str:
    """Return what a chapter's cells of text hold."""
    cells = nbformat.read(BOOK / f"{name}.ipynb", as_version=4).cells
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def uses(markdown: str, otherwise: tuple[str, ...] = ()) -> Iterator[Use]:
    """Yield the words of the glossary in a chapter's prose, in order.

    Args:
        markdown: the chapter's text.
        otherwise: phrases of this chapter that use such a word in another sense.
    """
    text = prose(markdown)
    for phrase in (*_OTHERWISE, *map(re.escape, otherwise)):
        text = re.sub(phrase, lambda found: " " * len(found[0]), text, flags=re.IGNORECASE)
    pairs = {found.start(k) for found in _PAIR.finditer(text) for k in (1, 2)}
    for found in _ANY.finditer(text):
        written = found[1] or found[3]
        word = " ".join((found[2] or written).lower().split())
        term = _WORDS.get(word, word)
        if found[3] and term in ("scale", "shift") and found.start() not in pairs:
            continue
        bold = markdown[: found.start()].endswith("**")
        yield Use(term, written, found.start(), found[1] is not None, bold)

"""Pages of chapter 15 that are made from data: ``python -m normcourse.workshop.choosing``.

Writes the tables ``book/generated/guide.md`` and ``book/generated/pitfalls.md``, which the chapter
includes, and the notebook ``book/pitfalls.ipynb``. ``--check`` compares instead.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import nbformat

from normcourse.checks import guide
from normcourse.experiments.pitfall_cards import CARDS, Card

__all__ = ["files", "guide_table", "main", "pitfall_table", "pitfalls_page"]

BOOK = Path(__file__).parents[2] / "book"
_KINDS = {
    "choice": "A norm that does not fit",
    "mode": "A mode that was forgotten",
    "shape": "An axis that was meant otherwise",
    "numbers": "A number that was copied",
}


def _cite(sources: tuple[str, ...]) -> str:
    return f"{{cite}}`{','.join(sources)}`" if sources else ""


def _link(chapter: str) -> str:
    """Return the number of a chapter as a link, wherever the table is shown."""
    return f"{{chapter}}`{chapter[:2]} <{int(chapter[:2])}>`"


def guide_table() -> str:
    """Return the rules of the guide as a table in Markdown."""
    lines = ["| if | then not | because | chapter |", "|---|---|---|---|"]
    for rule in guide.RULES:
        reason = rule.reason.format(count=f"fewer than {guide.SMALL_BATCH} examples")
        seen = " ".join(filter(None, (_link(rule.chapter), _cite(rule.sources))))
        lines.append(f"| {rule.said} | {', '.join(rule.against)} | {reason} | {seen} |")
    return "\n".join(lines) + "\n"


def pitfall_table() -> str:
    """Return what one sees and what it is, as a table in Markdown."""
    lines = ["| you see | it is | chapter |", "|---|---|---|"]
    for card in sorted(CARDS.values(), key=lambda card: list(_KINDS).index(card.kind)):
        lines.append(f"| {card.symptom} | {card.title} | {_link(card.chapter)} |")
    return "\n".join(lines) + "\n"


def pitfalls_page() -> str:
    """Return the notebook of all pitfalls: words, failing script, mended script, curve."""
    cells = [
        _text(_OPENING),
        _code("import torch\nfrom torch import nn\n\nfrom normcourse import figures\n"
              "from normcourse.evidence import recorded\n"
              "from normcourse.experiments.pitfall_cards import CARDS\n"
              "from normcourse.surgery import fold_batch_norm"),
        _code('record = recorded("pitfalls")\n_ = torch.manual_seed(0)'),
    ]  # fmt: skip
    for kind, heading in _KINDS.items():
        cells.append(_text(f"## {heading}"))
        for name, card in CARDS.items():
            if card.kind == kind:
                cells += _section(name, card)
    for number, cell in enumerate(cells):
        cell["id"] = str(number)
    page = nbformat.from_dict(
        {
            "cells": cells,
            "metadata": {
                "kernelspec": {
                    "display_name": "Python 3",
                    "language": "python",
                    "name": "python3",
                },
                "language_info": {"name": "python"},
            },
            "nbformat": 4,
            "nbformat_minor": 5,
        }
    )
    return str(nbformat.writes(page)) + "\n"


_OPENING = (
    "# Pitfalls, failing and mended\n\n"
    "Sixteen mistakes around normalization layers, each as a script that fails and one that does "
    "not. `fine` at the end says whether it does what it should; read the failing one, and guess "
    "before you go on.\n\n"
    "Under each stands a record: two nets on digits that differ in this one thing, ten seeds, "
    "median and middle half. The nets are small, and their sizes were chosen so that a failure "
    "shows within seconds; how much is lost elsewhere will differ. Chapter "
    "[15](15_choosing.ipynb) says how to tell them apart."
)


def _section(name: str, card: Card) -> list[dict[str, Any]]:
    where = f"[Chapter {card.chapter[:2]}]({card.chapter}.ipynb)"
    cite = f" {_cite(card.sources)}" if card.sources else ""
    figure = {
        "caption": f"Recorded: {card.title}, before and after, against {card.axis}.",
        "name": f"fig-pitfall-{name.replace('_', '-')}",
    }
    shown = f"{{numref}}`{figure['name']}` shows both nets."
    call = f'figures.pitfall(record, "{name}",\n                CARDS["{name}"].axis)'
    return [
        _text(f"### {card.title}\n\n**You see.** {card.symptom}"),
        _code(f'{card.failing}\nprint("fine:", bool(fine))'),
        _text(f"**Why.** {card.diagnosis}\n\n**Cure.** {card.cure} {where}{cite}. {shown}"),
        _code(f'{card.mended}\nprint("fine:", bool(fine))'),
        _code(call, tags=["hide-input"], mystnb={"figure": figure}),
    ]


def _text(source: str) -> dict[str, Any]:
    return {
        "cell_type": "markdown",
        "metadata": {},
        "source": source.rstrip("\n"),
    }


def _code(source: str, **metadata: Any) -> dict[str, Any]:
    return {
        "cell_type": "code",
        "execution_count": None,
        "metadata": dict(sorted(metadata.items())),
        "outputs": [],
        "source": source,
    }


def files() -> dict[Path, str]:
    """Return what each file should hold."""
    return {
        BOOK / "generated" / "guide.md": guide_table(),
        BOOK / "generated" / "pitfalls.md": pitfall_table(),
        BOOK / "pitfalls.ipynb": pitfalls_page(),
    }


def main(arguments: list[str]) -> int:
    """Write the files, or with ``--check`` name those that are not as they should be."""
    stale = [
        path
        for path, text in files().items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]
    for path in stale:
        if "--check" in arguments:
            print(f"{path.name} is not as its sources say")
        else:
            path.write_text(files()[path], encoding="utf-8")
    return int(bool(stale) and "--check" in arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

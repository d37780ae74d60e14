"""The evidence page as Sphinx builds it: one table, an address per claim, the filter beside it."""

from __future__ import annotations

import re
from pathlib import Path

from normcourse.evidence.claims import load_claims
from normcourse.evidence.page import slug

from .conftest import Build, find, text

ROOT = Path(__file__).parents[2]
BIB = (ROOT / "book" / "references.bib").read_text(encoding="utf-8")
CHAPTER = '{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'


def test_a_row_with_an_address_per_claim_and_every_link_leads_somewhere(build: Build) -> None:
    page = (ROOT / "book" / "evidence.md").read_text(encoding="utf-8")
    claims = load_claims()
    chapters = {
        path.name: _with_headings(sorted({c.section for c in claims if c.chapter == path.stem}))
        for path in (ROOT / "book").glob("[0-9][0-9]_*.ipynb")
    }
    built = build(
        {"index": f"{page}\n```{{bibliography}}\n```\n"},
        {"references.bib": BIB, **chapters},
        extensions=["myst_nb", "sphinx_exercise", "sphinxcontrib.bibtex", "normcourse.site"],
        bibtex_bibfiles=["references.bib"],
        bibtex_reference_style="author_year",
        myst_enable_extensions=["attrs_inline", "dollarmath"],
        myst_heading_anchors=3,
    )
    missing = [line for line in built.complaints.splitlines() if "any toctree" not in line]
    assert missing == []
    (table,) = find(built.body(), "table", class_="nc-evidence")
    rows = find(table, "tr")[1:]
    assert len(rows) == len(claims)
    for row, claim in zip(rows, claims, strict=True):
        (number,) = find(row, "span", class_="nc-number")
        assert (number.get("id"), text(number)) == (f"claim-{claim.number}", str(claim.number))
        assert text(find(row, "span", class_="nc-status")[0]) == claim.status
        assert find(row, "span", class_=f"nc-chapter-{int(claim.chapter[:2])}")
        assert len(re.findall(r"\[\d{4}[a-z]?\]", text(row))) >= len(claim.sources)


def _with_headings(sections: list[str]) -> str:
    """Return a notebook that has a title and these sections."""
    import json

    cell = {"cell_type": "markdown", "id": "a", "metadata": {}}
    source = "\n\n".join(["# A chapter", *(f"## {s}" for s in sections if slug(s))])
    return json.dumps({**json.loads(CHAPTER), "cells": [{**cell, "source": source}]})


def test_the_filter_is_on_its_page_alone(build: Build) -> None:
    built = build({"index": "# Home\n\n[](book/evidence.md)\n", "book/evidence": "# Evidence\n"})
    for name in ("evidence.js", "evidence.css"):
        assert name in built.html("book/evidence")
        assert name not in built.html()
        assert (built.outdir / "_static" / name).is_file()

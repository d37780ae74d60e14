"""The page says what the ledger holds, and the committed one is the one that comes out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from myst_parser.mdit_to_docutils.base import default_slugify
from recorded_specimens import MEASURED

from normcourse.evidence import run_full
from normcourse.evidence.__main__ import ROOT, made
from normcourse.evidence.claims import Claim, load_claims
from normcourse.evidence.ledger import Ledger
from normcourse.evidence.page import page, slug

CLAIM = {
    "number": 7,
    "slug": "a-claim",
    "said": "It is often said.",
    "statement": "It is not so.",
    "status": "refuted",
    "chapter": "05_why_batch_norm_works",
    "section": "Why, and √how?",
    "also": ("02_batch_norm",),
    "sources": ("ioffe2015batch",),
    "evidence": "derivation",
}
RUNS = ({"experiment": "measured", "decision": "larger", "about": "claim"},)


def test_the_committed_page_is_the_one_that_comes_out(capsys: pytest.CaptureFixture[str]) -> None:
    """Make it anew by `python -m normcourse.evidence`."""
    committed = (ROOT / "book" / "evidence.md").read_text(encoding="utf-8")
    fresh = made()
    assert capsys.readouterr().err == ""
    for line, expected in zip(committed.splitlines(), fresh.splitlines(), strict=False):
        assert line == expected
    assert committed == fresh


@pytest.fixture
def course(tmp_path: Path) -> Path:
    """Return a course in which chapter 05 alone is written."""
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "05_why_batch_norm_works.ipynb").touch()
    return tmp_path


def written(course: Path, *, scale: float = 2.0, **fields: object) -> str:
    """Return the page of one claim."""
    claim = Claim.model_validate({**CLAIM, **fields})
    experiment = replace(MEASURED, full={"scale": scale})
    return page(Ledger([claim], folder=course, experiments=[experiment]), course)


class TestRow:
    def test_claim_status_and_where_to_read_on(self, course: Path) -> None:
        text = written(course)
        assert "* - [7]{#claim-7 .nc-number} It is often said.\n" in text
        assert "[refuted]{.nc-status .nc-refuted}\n" in text
        assert "  - It is not so.\n  - A derivation.\n" in text
        link = "[Chapter 5](05_why_batch_norm_works.ipynb#why-and-how): Why, and √how?"
        assert f"[{link}]{{.nc-chapter-5}}; also chapter [2]{{.nc-chapter-2}}.\n" in text
        assert "{cite:t}`ioffe2015batch`.\n" in text

    def test_what_is_still_to_come(self, course: Path) -> None:
        text = written(
            course, chapter="08_layer_norm_sequences", evidence="run", rule="Refuted if."
        )
        assert "  - A run to come. Refuted if.\n" in text
        assert "[Chapter 8, still to come]{.nc-chapter-8}" in text

    def test_restated_noted_and_unconfirmed(self, course: Path) -> None:
        text = written(course, restated=True, note="Small nets alone.", unconfirmed=["Doe 1999"])
        assert "[refuted]{.nc-status .nc-refuted}, as restated\n" in text
        assert "It is not so.\n\n    *Small nets alone.*\n" in text
        assert "Could not be confirmed: Doe 1999.\n" in text

    def test_a_run_with_its_effect(self, course: Path) -> None:
        run_full(MEASURED, folder=course)
        text = written(course, evidence="run", runs=RUNS)
        found = "The run speaks for the claim: [measured](#run-measured), 10 seeds."
        assert f"  - {found} [steps: 3]{{.nc-effects}}\n" in text
        assert "For claim [7](#claim-7). Found: **supported**.\n  - steps: 3\n" in text
        assert text.count("{.nc-stale}") == 1  # where it is explained
        stale = written(course, evidence="run", runs=RUNS, scale=9.0)
        assert f"  - {found} [stale]{{.nc-stale}} [steps: 3]{{.nc-effects}}\n" in stale
        assert stale.count("{.nc-stale}") == 3

    def test_a_run_without_record(self, course: Path) -> None:
        text = written(course, evidence="run", runs=RUNS)
        assert "The run is still to come: [measured](#run-measured).\n" in text
        assert "Not recorded yet." in text


def test_addresses_of_headings_are_those_of_myst() -> None:
    headings = {claim.section for claim in load_claims()} | {"A `code`, and μ/σ²: why?"}
    assert {slug(heading) for heading in headings} == set(map(default_slugify, headings))

"""The ledger is whole: every claim has its source, its chapter and its run, and none is at odds."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from pybtex.database import parse_file
from recorded_specimens import MEASURED

from normcourse.evidence import claims as claims_module
from normcourse.evidence import run_full
from normcourse.evidence.claims import (
    CHAPTERS,
    BadClaims,
    Claim,
    Run,
    chapter_named,
    chapter_only,
    choose,
    load_claims,
)
from normcourse.evidence.ledger import Entry, Ledger, contradictions
from normcourse.experiments import load, names

ROOT = Path(__file__).parents[2]
CLAIMS = load_claims()
each_claim = pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: str(claim.number))


@pytest.fixture(scope="module")
def ledger() -> Ledger:
    return Ledger(experiments=map(load, names()))


class TestWhole:
    def test_every_number_once(self) -> None:
        assert [claim.number for claim in CLAIMS] == [*range(1, 65), *range(70, 86)]

    def test_chapters_are_those_of_the_course(self) -> None:
        notebooks = sorted(path.stem for path in (ROOT / "exercises").glob("[0-9][0-9]_*.ipynb"))
        assert list(CHAPTERS) == notebooks

    def test_every_source_is_in_the_bibliography(self) -> None:
        known = set(parse_file(ROOT / "book" / "references.bib").entries)
        named = {key for claim in CLAIMS for key in claim.sources}
        assert named <= known

    @each_claim
    def test_a_claim_without_source_rests_on_a_run(self, claim: Claim) -> None:
        assert claim.sources or claim.unconfirmed or claim.evidence == "run"

    @each_claim
    def test_its_section_is_in_its_chapter(self, claim: Claim) -> None:
        path = ROOT / "book" / f"{claim.chapter}.ipynb"
        if path.exists() and claim.section:
            cells = nbformat.read(path, as_version=4).cells
            text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
            assert claim.section in re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)

    @each_claim
    def test_a_claim_of_a_written_chapter_names_its_section(self, claim: Claim) -> None:
        if (ROOT / "book" / f"{claim.chapter}.ipynb").exists():
            assert claim.section

    def test_every_decision_bears_on_a_claim_or_is_said_to_serve_its_chapter(
        self, ledger: Ledger
    ) -> None:
        assert sorted(ledger.unused()) == sorted(chapter_only())

    def test_every_rule_says_what_supports_and_what_refutes(self, ledger: Ledger) -> None:
        for study in ledger.studies.values():
            for finding in study.findings.values():
                rule = finding.rule.lower()
                place = f"{finding.experiment}.{finding.decision}"
                assert "supported if" in rule, place
                assert "refuted if" in rule, place

    def test_no_verdict_is_at_odds_with_a_status_without_a_note(self, ledger: Ledger) -> None:
        assert contradictions(ledger.entries) == []


ENTRY = {
    "number": 7,
    "slug": "a-claim",
    "said": "It is often said.",
    "statement": "It is not so.",
    "status": "refuted",
    "chapter": "05_why_batch_norm_works",
    "evidence": "derivation",
}


def toml(*entries: dict[str, object]) -> str:
    def value(item: object) -> str:
        return repr(item) if isinstance(item, str) else str(item).lower()

    tables = ("\n".join(f"{name} = {value(item)}" for name, item in e.items()) for e in entries)
    return "".join(f"[[claims]]\n{table}\n" for table in tables)


class TestReading:
    def read(self, folder: Path, text: str) -> tuple[Claim, ...]:
        path = folder / "claims.toml"
        path.write_text(text, encoding="utf-8")
        return load_claims(path)

    def test_in_order_of_number(self, tmp_path: Path) -> None:
        other = {**ENTRY, "number": 3, "slug": "other"}
        read = self.read(tmp_path, toml(ENTRY, other))
        assert [claim.number for claim in read] == [3, 7]
        assert read[1].said == "It is often said."

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"status": "wrong"}, "claim 7, status: Input should be 'established', 'holds under"),
            ({"chapter": "05_why"}, "claim 7: no chapter '05_why'; there are 01_covariate_shift"),
            ({"number": 0}, "claim 0, number: Input should be greater than or equal to 1"),
            ({"slug": "A Claim"}, "claim 7, slug: String should match pattern"),
            ({"said": "no full stop"}, "claim 7, said: String should match pattern"),
            ({"stauts": "refuted"}, "claim 7, stauts: Extra inputs are not permitted"),
            ({"evidence": "run"}, "claim 7: evidence = run: name the runs, or the rule of the"),
            ({"rule": "Some rule."}, "claim 7: rule: say which outcome would mean refuted"),
        ],
    )
    def test_what_is_wrong_is_said_with_its_place(
        self, tmp_path: Path, change: dict[str, object], message: str
    ) -> None:
        with pytest.raises(BadClaims, match=re.escape(f"claims.toml: {message}")):
            self.read(tmp_path, toml({**ENTRY, **change}))

    def test_missing_twice_and_broken(self, tmp_path: Path) -> None:
        without = {name: value for name, value in ENTRY.items() if name != "said"}
        with pytest.raises(BadClaims, match="claim 7, said: Field required"):
            self.read(tmp_path, toml(without))
        with pytest.raises(BadClaims, match="number 7 stands twice"):
            self.read(tmp_path, toml(ENTRY, {**ENTRY, "slug": "other"}))
        with pytest.raises(BadClaims, match="slug 'a-claim' stands twice"):
            self.read(tmp_path, toml(ENTRY, {**ENTRY, "number": 8}))
        with pytest.raises(BadClaims, match=r"claims.toml: .*line 1"):
            self.read(tmp_path, "[[claims]\n")


class TestChoosing:
    def test_by_chapter_status_and_text(self) -> None:
        numbers = {claim.number for claim in choose(CLAIMS, chapter="4")}
        assert {27, 31, 81} <= numbers  # 31 is of chapter 06, which says that 04 has it too
        assert {c.status for c in choose(CLAIMS, status="holds")} == {"holds under conditions"}
        assert [claim.number for claim in choose(CLAIMS, text="BATCH size of 1")] == [31]
        assert choose(CLAIMS) == CLAIMS

    def test_what_there_is_not(self) -> None:
        with pytest.raises(KeyError, match="no status 'good'; there are established, holds under"):
            choose(CLAIMS, status="good")
        for name in ("17", "", "layer"):
            with pytest.raises(KeyError, match=f"no chapter '{name}'"):
                chapter_named(name)


def claim(**fields: object) -> Claim:
    return Claim.model_validate({**ENTRY, **fields})


DECIDED = {"experiment": "measured", "decision": "larger"}
Made = Callable[..., Entry]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """Return an entry of a claim with the recorded experiment ``measured``."""

    def make(record: bool = True, scale: float = 2.0, **fields: object) -> Entry:
        if record:
            run_full(MEASURED, folder=tmp_path)
        experiment = MEASURED if scale == 2.0 else _changed(scale)
        return Ledger([claim(**fields)], folder=tmp_path, experiments=[experiment]).entries[0]

    return make


def _changed(scale: float):  # type: ignore[no-untyped-def]
    from dataclasses import replace

    return replace(MEASURED, full={"scale": scale})


class TestLedger:
    def test_a_finding_has_verdict_effects_and_what_it_was_made_on(self, made: Made) -> None:
        ((run, finding),) = made(runs=[DECIDED]).findings
        assert run == Run(**DECIDED)  # type: ignore[arg-type]
        assert finding.outcome == "supported"
        assert [str(effect.spread) for effect in finding.effects] == ["3 (3 to 3, 10 seeds)"]
        assert (finding.seeds, finding.stale) == (10, False)
        assert finding.rule == "Is it larger? Supported if it is, refuted if not."

    def test_without_a_record_a_run_is_waited_for(self, made: Made) -> None:
        entry = made(record=False, evidence="run", runs=[DECIDED])
        assert entry.waiting
        assert not entry.stale
        assert entry.findings[0][1].outcome is None
        assert made(record=False, evidence="run", rule="Refuted if not.").waiting
        assert not made(record=False).waiting
        assert not made(evidence="run", runs=[DECIDED]).waiting

    def test_other_settings_make_the_entry_stale(self, made: Made) -> None:
        assert made(runs=[DECIDED], scale=5.0).stale

    def test_unknown_experiment_and_decision(self, made: Made) -> None:
        with pytest.raises(KeyError, match="claim 7: no decision 'smaller'; there are larger"):
            made(runs=[{**DECIDED, "decision": "smaller"}])
        with pytest.raises(KeyError, match="claim 7: no experiment 'nothing'; there are measured"):
            made(runs=[{**DECIDED, "experiment": "nothing"}])

    def test_entry_by_number_and_unused_decisions(self, tmp_path: Path) -> None:
        ledger = Ledger([claim()], folder=tmp_path, experiments=[MEASURED])
        assert ledger.entry(7).claim.slug == "a-claim"
        with pytest.raises(KeyError, match="no claim 8; they are numbered 7"):
            ledger.entry(8)
        assert ledger.unused() == [("measured", "larger")]

    @pytest.mark.parametrize(
        ("about", "fields", "at_odds"),
        [
            ("claim", {"status": "refuted"}, True),
            ("claim", {"status": "established"}, False),
            ("claim", {"status": "contested"}, False),
            ("claim", {"status": "refuted", "note": "Small nets alone."}, False),
            ("claim", {"status": "refuted", "restated": True}, False),
            ("statement", {"status": "refuted"}, False),
            ("detail", {"status": "refuted"}, False),
        ],
    )
    def test_contradictions(
        self, made: Made, about: str, fields: dict[str, object], at_odds: bool
    ) -> None:
        entry = made(runs=[{**DECIDED, "about": about}], **fields)
        expected = "claim 7 (refuted): measured.larger is supported about the claim"
        assert contradictions([entry]) == ([expected] if at_odds else [])


def test_no_claim_names_where_it_was_read() -> None:
    text = claims_module.FILE.read_text(encoding="utf-8")
    assert not re.search(r"\bN[0-3]\b", text)

"""Texts about surprises take their numbers from the records, and notice when these change."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from recorded_specimens import MEASURED

from normcourse.evidence import run_full
from normcourse.evidence.__main__ import ROOT, made_surprises
from normcourse.evidence.ledger import Ledger
from normcourse.evidence.surprises import (
    BadSurprises,
    Surprise,
    load_surprises,
    surprises_page,
)

ONE: dict[str, Any] = {
    "title": "It is larger",
    "chapter": "02_batch_norm",
    "section": "The worked example",
    "expected": "It is smaller.",
    "found": "It is {measured.larger.0} times as large.",
    "rules": {"measured.larger": "supported"},
}


def test_the_committed_part_is_the_one_that_comes_out() -> None:
    """Make it anew by `python -m normcourse.evidence`."""
    committed = (ROOT / "book" / "generated" / "surprises.md").read_text(encoding="utf-8")
    assert committed == made_surprises()


def test_the_sections_exist() -> None:
    for surprise in load_surprises():
        path = ROOT / "book" / f"{surprise.chapter}.ipynb"
        if path.is_file():
            heading = f'"## {surprise.section}'
            assert heading in path.read_text(encoding="utf-8"), surprise.title


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """A ledger with one recorded experiment."""
    experiment = replace(MEASURED, full={"scale": 2.0})
    run_full(experiment, folder=tmp_path)
    return Ledger([], folder=tmp_path, experiments=[experiment])


def shown(ledger: Ledger, **fields: Any) -> str:
    """The page of one surprise."""
    return surprises_page([Surprise.model_validate({**ONE, **fields})], ledger, {"02_batch_norm"})


class TestNumbers:
    def test_come_from_the_record(self, ledger: Ledger) -> None:
        middle = ledger.studies["measured"].findings["larger"].effects[0].spread.median
        text = shown(ledger)
        assert f"**Found.** It is {middle:.3g}" in text
        assert "{ref}`measured <run-measured>`, *larger*: supported" in text
        assert "[Chapter 2](02_batch_norm.ipynb#the-worked-example): The worked example" in text

    def test_in_points_with_the_other_sign(self, ledger: Ledger) -> None:
        middle = ledger.studies["measured"].findings["larger"].effects[0].spread.median
        text = shown(ledger, found="It is {measured.larger.0|points,minus}.")
        assert f"It is −{round(100 * float(f'{middle:.3g}'), 1):g}." in text

    @pytest.mark.parametrize("place", ["9", "0|twice"])
    def test_that_are_not_there_are_an_error(self, ledger: Ledger, place: str) -> None:
        with pytest.raises(BadSurprises, match="cannot show"):
            shown(ledger, found=f"It is {{measured.larger.{place}}}.")


class TestVerdicts:
    def test_another_verdict_stops(self, ledger: Ledger) -> None:
        with pytest.raises(BadSurprises, match="is supported now, the text was written for"):
            shown(ledger, rules={"measured.larger": "refuted"})

    def test_a_rule_without_record_stops(self, ledger: Ledger) -> None:
        with pytest.raises(BadSurprises, match=r"no recorded rule measured\.smaller"):
            shown(ledger, rules={"measured.larger": "supported", "measured.smaller": "refuted"})

    def test_every_number_names_its_rule(self) -> None:
        with pytest.raises(ValueError, match=r"name measured\.larger too"):
            Surprise.model_validate({**ONE, "rules": {"measured.smaller": "refuted"}})

    def test_an_unknown_chapter_is_an_error(self) -> None:
        with pytest.raises(ValueError, match="no chapter '20_none'"):
            Surprise.model_validate({**ONE, "chapter": "20_none"})


def test_a_broken_file_is_one_error(tmp_path: Path) -> None:
    path = tmp_path / "surprises.toml"
    path.write_text("[[surprises]\n", encoding="utf-8")
    with pytest.raises(BadSurprises, match=r"surprises\.toml: "):
        load_surprises(path)

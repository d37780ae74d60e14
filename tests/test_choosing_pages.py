"""The tables of chapter 15 and the page of pitfalls are made from their data."""

from __future__ import annotations

import nbformat
import pytest

from normcourse.checks import guide
from normcourse.experiments.pitfall_cards import CARDS
from normcourse.workshop import choosing


def test_files_are_as_their_sources_say() -> None:
    for path, text in choosing.files().items():
        assert path.read_text(encoding="utf-8") == text, "python -m normcourse.workshop.choosing"


def test_a_row_for_each_rule_and_each_pitfall() -> None:
    assert len(choosing.guide_table().splitlines()) == 2 + len(guide.RULES)
    assert len(choosing.pitfall_table().splitlines()) == 2 + len(CARDS)
    assert "{count}" not in choosing.guide_table()


def test_the_page_has_both_scripts_of_each_pitfall() -> None:
    page = nbformat.reads(choosing.pitfalls_page(), as_version=4)
    nbformat.validate(page)
    sources = [cell.source for cell in page.cells if cell.cell_type == "code"]
    for card in CARDS.values():
        for script in (card.failing, card.mended):
            assert sum(source.startswith(script) for source in sources) == 1
    assert len({cell.id for cell in page.cells}) == len(page.cells)


def test_checking_names_what_is_stale(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(choosing, "files", lambda: {tmp_path / "a.md": "new"})  # type: ignore[operator]
    assert choosing.main(["--check"]) == 1
    assert capsys.readouterr().out == "a.md is not as its sources say\n"
    assert choosing.main([]) == 0
    assert choosing.main(["--check"]) == 0

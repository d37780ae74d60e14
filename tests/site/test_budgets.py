"""The page of budgets shows what was measured, and what was measured is within the budgets."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytest.importorskip("playwright", reason="the command that measures drives Chromium")

from normcourse.site.live_build import BUDGET as RUNTIME_BUDGET
from normcourse.site.weight import BUDGET as PAGE_BUDGET
from tests.browser import budgets


@pytest.fixture(scope="module")
def measured() -> Any:
    return json.loads(budgets.FILE.read_text(encoding="utf-8"))


def test_the_page_shows_the_measured_numbers(measured: Any) -> None:
    text = budgets.FILE.with_suffix(".md").read_text(encoding="utf-8")
    assert text == budgets.rendered(measured)
    assert measured["date"] in text
    assert f"{measured['verdict']['cold']:.1f} s" in text


def test_what_was_measured_is_within_the_budgets(measured: Any) -> None:
    assert measured["runtime"]["stored"] <= RUNTIME_BUDGET
    assert max(row["own"] for row in measured["pages"]) <= PAGE_BUDGET
    assert budgets.heaviest(measured) <= PAGE_BUDGET
    assert measured["verdict"]["cold"] > measured["verdict"]["warm"] > 0

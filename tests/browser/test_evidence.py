"""The filter of the evidence page: counts, tells, goes by keyboard, and is not needed."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from normcourse.evidence.claims import choose, load_claims

from .conftest import open_page, settled

PATH = "book/evidence.html"
CLAIMS = load_claims()


@pytest.fixture
def page(chromium: Browser, address: str) -> Iterator[Page]:
    visit = open_page(chromium, address, PATH)
    yield visit.page
    assert visit.complaints == []
    visit.page.context.close()


def shown(page: Page) -> list[int]:
    numbers = page.locator("table.nc-evidence tbody tr:visible .nc-number")
    return [int(text) for text in numbers.all_inner_texts()]


def numbers(**wanted: str) -> list[int]:
    return [claim.number for claim in choose(CLAIMS, **wanted)]


def test_status_chapter_and_words_together(page: Page) -> None:
    count = page.get_by_role("status").filter(has_text="claims")
    expect(count).to_have_text(f"All {len(CLAIMS)} claims")
    page.get_by_label("Status").select_option("refuted")
    assert shown(page) == numbers(status="refuted")
    expect(count).to_have_text(f"{len(shown(page))} of {len(CLAIMS)} claims")
    page.get_by_label("Chapter").select_option("2")
    assert shown(page) == numbers(status="refuted", chapter="2")
    page.get_by_label("Words").fill("IDENTITY starts")
    assert shown(page) == [14]
    page.get_by_role("button", name="Show all").click()
    expect(count).to_have_text(f"All {len(CLAIMS)} claims")
    assert shown(page) == [claim.number for claim in CLAIMS]


def test_by_keyboard(page: Page) -> None:
    page.get_by_label("Words").focus()
    page.keyboard.type("bit for bit")
    assert shown(page) == [79]
    page.keyboard.press("Enter")  # sends nothing away
    assert shown(page) == [79]
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_text(f"All {len(CLAIMS)} claims")).to_be_visible()
    assert len(shown(page)) == len(CLAIMS)


def test_the_choice_is_in_the_address(page: Page, address: str) -> None:
    page.get_by_label("Status").select_option("contested")
    assert page.url.endswith("?status=contested")
    page.reload(wait_until="networkidle")
    settled(page)
    assert shown(page) == numbers(status="contested")
    page.goto(f"{address}/{PATH}?status=nonsense&chapter=99", wait_until="networkidle")
    settled(page)
    assert len(shown(page)) == len(CLAIMS)


def test_a_link_to_a_hidden_claim_shows_it(page: Page) -> None:
    page.get_by_label("Status").select_option("established")
    assert 27 not in shown(page)
    page.evaluate("location.hash = '#claim-27'")
    expect(page.locator("#claim-27")).to_be_in_viewport()


def test_without_a_script_the_table_is_whole(chromium: Browser, address: str) -> None:
    visit = open_page(chromium, address, PATH, java_script_enabled=False)
    assert shown(visit.page) == [claim.number for claim in CLAIMS]
    assert visit.page.locator(".nc-filter").count() == 0
    visit.page.context.close()


def test_a_narrow_screen_shows_each_claim_as_a_block(chromium: Browser, address: str) -> None:
    visit = open_page(chromium, address, PATH, viewport={"width": 390, "height": 844})
    first = visit.page.locator("table.nc-evidence tbody tr").first
    boxes = [cell.bounding_box() for cell in first.locator("td").all()]
    assert all(box is not None and box["width"] > 300 for box in boxes)
    label = first.locator("td").nth(1).evaluate("e => getComputedStyle(e, '::before').content")
    assert re.fullmatch(r'attr\(data-label\)|"What is so"', label)
    visit.page.context.close()

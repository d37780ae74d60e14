"""The site as a whole: its front door, links, keyboard, themes, search."""

from __future__ import annotations

import re
from functools import lru_cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from playwright.sync_api import Browser

from .conftest import PAGES, open_page, settled


class Anchors(HTMLParser):
    """The links of a page and the places in it that a link can name."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.ids.add(values.get("id") or "")
        if tag == "a" and values.get("href"):
            self.links.append(values["href"] or "")


@lru_cache
def anchors(path: Path) -> Anchors:
    """What is in a page, read once."""
    return Anchors(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES)
def test_every_link_within_the_site_leads_somewhere(site: Path, page: str) -> None:
    source = site / page
    dead = []
    for link in anchors(source).links:
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        target = (source.parent / unquote(parts.path)).resolve() if parts.path else source
        if not target.is_file():
            dead.append(link)
        elif parts.fragment and target.suffix == ".html":
            ids = anchors(target).ids
            dead += [] if unquote(parts.fragment) in ids else [link]
    assert dead == []


@pytest.mark.parametrize("page", PAGES)
def test_no_page_names_a_script_style_or_picture_of_another_host(site: Path, page: str) -> None:
    text = (site / page).read_text(encoding="utf-8")
    assert re.findall(r"<(?:script|img|iframe)[^>]*\bsrc=\"(?:https?:)?//[^\"]*", text) == []
    assert re.findall(r"<link[^>]*\bhref=\"(?:https?:)?//[^\"]*", text) == []
    assert "thebe" not in text


def test_the_front_door_leads_to_the_first_page(chromium: Browser, address: str) -> None:
    visit = open_page(chromium, address, "")
    visit.page.wait_for_url(f"{address}/{PAGES[0]}")
    assert visit.complaints == []
    visit.page.context.close()


def test_the_first_tab_stop_skips_to_the_text(chromium: Browser, address: str) -> None:
    visit = open_page(chromium, address, PAGES[0])
    visit.page.keyboard.press("Tab")
    focused = visit.page.locator(":focus")
    assert focused.inner_text() == "Skip to main content"
    assert focused.is_visible()
    visit.page.context.close()


def test_the_theme_follows_the_reader_and_can_be_switched(chromium: Browser, address: str) -> None:
    visit = open_page(chromium, address, PAGES[0], color_scheme="dark")
    page = visit.page
    theme = "() => document.documentElement.dataset.theme"
    paper = "() => getComputedStyle(document.body).backgroundColor"
    assert (page.evaluate(theme), page.evaluate(paper)) == ("dark", "rgb(21, 24, 28)")
    page.locator(".theme-switch-button:visible").first.focus()
    for _ in range(3):
        page.keyboard.press("Enter")
        if page.evaluate(theme) == "light":
            break
    assert page.evaluate(paper) == "rgb(253, 252, 250)"
    page.reload(wait_until="networkidle")
    settled(page)
    assert page.evaluate(theme) == "light"
    page.context.close()


def test_a_link_into_a_closed_fold_opens_it(chromium: Browser, address: str) -> None:
    page = next((name for name in PAGES if "/02_" in name), None)
    assert page is not None
    visit = open_page(chromium, address, page)
    fold = visit.page.locator("details[data-part=solution]").first
    fold.locator(".nc-insight").evaluate("e => e.id = 'inside'")
    visit.page.evaluate("location.hash = '#inside'")
    visit.page.wait_for_function("() => document.querySelector('#inside').checkVisibility()")
    visit.page.context.close()


def test_the_search_finds_a_word_of_the_book(chromium: Browser, address: str) -> None:
    visit = open_page(chromium, address, "search.html?q=variance")
    visit.page.locator("#search-results li a").first.wait_for()
    assert visit.complaints == []
    visit.page.context.close()

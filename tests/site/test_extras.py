"""Open Graph tags, sitemap, the page for lost readers, formulas in turn."""

from __future__ import annotations

import re
import struct
from xml.etree import ElementTree

import pytest

from normcourse.site.extras import CARD_SIZE, lost_page
from normcourse.site.interactive.export import CARD, draw_card

from .conftest import Build

HOME = "https://example.org/course"
PAGES = {
    "index": "# Means & ends\n\nWhat?\n\n*A sum, divided.*\n\n```{toctree}\npart/other\n```\n",
    "part/other": "# Other\n\nText.\n",
}


def graph(html: str) -> dict[str, str]:
    """The Open Graph tags of a page."""
    return dict(re.findall(r'<meta property="(og:[\w:]+)" content="([^"]*)">', html))


def test_every_page_says_its_title_and_its_summary(build: Build) -> None:
    built = build(PAGES, html_title="A book")
    assert graph(built.html()) == {
        "og:type": "article",
        "og:title": "Means &amp; ends",
        "og:site_name": "A book",
        "og:description": "A sum, divided.",
        "og:locale": "en",
    }
    assert "og:description" not in graph(built.html("part/other"))
    assert graph(built.html("search")) == {}


@pytest.mark.parametrize("base", [HOME, f"{HOME}/"])
def test_with_an_address_there_is_a_picture_and_a_list_of_pages(build: Build, base: str) -> None:
    built = build(PAGES, html_baseurl=base)
    tags = graph(built.html("part/other"))
    assert tags["og:url"] == f"{HOME}/part/other.html"
    assert tags["og:image"] == f"{HOME}/_static/card.png"
    assert (built.outdir / "_static" / "card.png").is_file()
    tree = ElementTree.parse(built.outdir / "sitemap.xml")
    places = [element.text for element in tree.iter() if element.tag.endswith("loc")]
    assert places == [f"{HOME}/index.html", f"{HOME}/part/other.html"]


def test_without_an_address_nothing_names_one(build: Build) -> None:
    built = build(PAGES)
    assert not (built.outdir / "sitemap.xml").exists()
    assert "og:image" not in built.html()
    assert "og:url" not in built.html()


def test_a_lost_reader_finds_the_first_page_and_the_search(build: Build) -> None:
    built = build(PAGES, html_baseurl=HOME, html_title="A book & more", root_doc="index")
    text = built.html("404")
    assert '<a href="/course/index.html">A book &amp; more</a>' in text
    assert 'action="/course/search.html"' in text
    assert "http" not in text.replace("https://example.org", "")


def test_a_lost_reader_without_an_address_starts_at_the_root_of_the_host() -> None:
    text = lost_page("", "A book", "book/index.html", "en")
    assert 'href="/book/index.html"' in text
    assert '<html lang="en">' in text


def test_the_card_has_the_size_that_its_tags_say() -> None:
    content = CARD.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", content[16:24]) == CARD_SIZE
    assert len(content) < 100_000
    assert struct.unpack(">II", draw_card()[16:24]) == CARD_SIZE

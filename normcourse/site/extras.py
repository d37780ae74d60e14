"""Around the pages: what a link to them shows elsewhere, a list of them, a page for a lost reader.

- Open Graph tags on every page; those that need an address (picture, canonical place) only where
  ``html.baseurl`` in _config.yml gives one.
- ``sitemap.xml``, with an address only.
- ``404.html``, which most static hosts show for an address that is not there.
"""

from __future__ import annotations

import html
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urljoin, urlsplit

from docutils import nodes

if TYPE_CHECKING:
    from sphinx.application import Sphinx

__all__ = ["lost_page", "open_graph", "register", "sitemap"]

CARD = "_static/card.png"
CARD_SIZE = (1200, 630)
CARD_ALT = "Five blocks of numbers; in each, one method's shaded values share a mean."

LOST = """\
<!DOCTYPE html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<meta name="color-scheme" content="light dark">
<title>Page not found – {title}</title>
<link rel="icon" href="{root}_static/favicon.svg">
<style>
  body {{ max-width: 36rem; margin: 14vh auto 4rem; padding: 0 1.2rem;
    font: 1.15rem/1.6 Charter, "Bitstream Charter", Cambria, Georgia, serif;
    background: light-dark(#fdfcfa, #15181c); color: light-dark(#22282e, #dde2e7); }}
  h1 {{ font-size: 2.2rem; line-height: 1.2; margin: 0 0 1rem; }}
  a {{ color: light-dark(#0a5c92, #86bfea); }}
  form {{ display: flex; gap: 0.5rem; margin: 1.6rem 0; }}
  input, button {{ font: inherit; padding: 0.4rem 0.8rem; border: 1px solid #7c858e;
    border-radius: 8px; background: none; color: inherit; min-width: 0; }}
  input {{ flex: 1; }}
  :is(a, input, button):focus-visible {{ outline: 3px solid currentColor; outline-offset: 2px; }}
</style>
</head>
<body>
<main>
<h1>There is no such page</h1>
<p>The address may be mistyped, or the page has moved. Begin at
<a href="{root}{first}">{title}</a>, or look for a word of it:</p>
<form action="{root}search.html" role="search">
<input type="search" name="q" aria-label="Search the book" required>
<button>Search</button>
</form>
</main>
</body>
</html>
"""


def open_graph(
    title: str, site: str, description: str, language: str, address: str, base: str
) -> str:
    """Return the tags by which other places show a link to a page.

    Args:
        title: of the page.
        site: title of the book.
        description: one line about the page, or "".
        language: as in ``html lang``.
        address: where the page is published, or "" when nobody has said.
        base: where the site is published, or "".

    Returns:
        HTML for the head.

    Example:
        >>> print(open_graph("Means", "A book", "", "en", "", ""))
        <meta property="og:type" content="article">
        <meta property="og:title" content="Means">
        <meta property="og:site_name" content="A book">
        <meta property="og:locale" content="en">
        <BLANKLINE>
    """
    tags = [("og:type", "article"), ("og:title", title), ("og:site_name", site)]
    tags += [("og:description", description)] if description else []
    tags += [("og:locale", language)]
    if base:
        width, height = CARD_SIZE
        tags += [
            ("og:url", address),
            ("og:image", urljoin(base, CARD)),
            ("og:image:width", str(width)),
            ("og:image:height", str(height)),
            ("og:image:alt", CARD_ALT),
        ]
    lines = [_meta("property", name, content) for name, content in tags]
    if base:
        lines.append(_meta("name", "twitter:card", "summary_large_image"))
    return "".join(lines)


def _meta(kind: str, name: str, content: str) -> str:
    return f'<meta {kind}="{name}" content="{html.escape(content)}">\n'


def sitemap(base: str, pages: Iterable[str]) -> str:
    """Return the list of pages that search engines read.

    Example:
        >>> print(sitemap("https://example.org/a/", ["book/b c.html"]))
        <?xml version="1.0" encoding="UTF-8"?>
        <urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">
        <url><loc>https://example.org/a/book/b%20c.html</loc></url>
        </urlset>
        <BLANKLINE>
    """
    lines = [f"<url><loc>{html.escape(urljoin(base, quote(page)))}</loc></url>" for page in pages]
    return "\n".join(
        [
            '<?xml version="1.0" encoding="UTF-8"?>',
            '<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">',
            *lines,
            "</urlset>\n",
        ]
    )


def lost_page(base: str, title: str, first: str, language: str) -> str:
    """Return the page for addresses that are not there.

    It is shown at whatever address was asked for, so its links start at the root of the site;
    without ``base`` that is the root of the host.
    """
    root = urlsplit(base).path if base else "/"
    return LOST.format(
        root=html.escape(root), title=html.escape(title), first=quote(first), language=language
    )


def _base(app: Sphinx) -> str:
    """Return the address of the site with a slash at its end, or ""."""
    base: str = app.config.html_baseurl
    return f"{base.rstrip('/')}/" if base else ""


def _description(doctree: nodes.document) -> str:
    """Return the one-line summary that opens the page."""
    for paragraph in doctree.findall(nodes.paragraph):
        if "nc-summary" in paragraph["classes"]:
            return " ".join(paragraph.astext().split())
    return ""


def add_tags(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Put the Open Graph tags on pages that are documents."""
    if doctree is None or app.builder.format != "html":
        return
    title = app.env.titles[page].astext()
    base = _base(app)
    address = urljoin(base, quote(app.builder.get_target_uri(page))) if base else ""
    site = app.config.html_title or app.config.project
    tags = open_graph(title, site, _description(doctree), app.config.language, address, base)
    context["metatags"] = context.get("metatags", "") + tags


def write_files(app: Sphinx, exception: Exception | None) -> None:
    """Write the page for lost readers, and the list of pages if there is an address."""
    if exception is not None or app.builder.name != "html":
        return
    out, base = Path(app.outdir), _base(app)
    title = app.config.html_title or app.config.project
    first = app.builder.get_target_uri(app.config.root_doc)
    text = lost_page(base, title, first, app.config.language)
    (out / "404.html").write_text(text, encoding="utf-8")
    if base:
        pages = (app.builder.get_target_uri(name) for name in sorted(app.env.found_docs))
        (out / "sitemap.xml").write_text(sitemap(base, pages), encoding="utf-8")


def register(app: Sphinx) -> None:
    """Connect the handlers."""
    app.connect("html-page-context", add_tags, priority=600)
    app.connect("build-finished", write_files, priority=300)  # before a list of all files is made

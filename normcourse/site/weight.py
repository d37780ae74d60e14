"""How heavy each page of the built site is: ``python -m normcourse.site.weight [FOLDER]``.

A page's own bytes are its HTML and the pictures that come with it; style sheets, scripts and fonts
are shared by all pages, loaded once and counted apart. A browser leaves other pictures until a
reader is near; read to its end, a page weighs its whole bytes, which are what has a budget. The
index of figures, which has them all, has none.
"""

from __future__ import annotations

import gzip
import sys
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

__all__ = ["BUDGET", "Weight", "main", "weigh"]

BUDGET = 1_000_000  # bytes of a page beside what all pages share
FREE = ("book/figures.html",)  # pages whose waiting pictures have no budget
SHARED = ("_static", "vendor", "live")


@dataclass(frozen=True)
class Weight:
    """The files of one page and what they weigh, in bytes as stored."""

    page: str
    own: tuple[Path, ...]
    shared: tuple[Path, ...]
    later: tuple[Path, ...] = ()  # pictures that wait until the reader comes near

    @property
    def own_bytes(self) -> int:
        """HTML and the pictures that come with it."""
        return sum(path.stat().st_size for path in self.own)

    @property
    def whole_bytes(self) -> int:
        """HTML and all pictures, those that wait too."""
        return self.own_bytes + sum(path.stat().st_size for path in self.later)

    @property
    def is_heavy(self) -> bool:
        """Whether it weighs more than its budget."""
        return (self.own_bytes if self.page in FREE else self.whole_bytes) > BUDGET

    @property
    def shared_bytes(self) -> int:
        """Style sheets and scripts; fonts and what scripts load come on top."""
        return sum(path.stat().st_size for path in self.shared)

    @property
    def own_compressed(self) -> int:
        """The same as a server would send them."""
        return sum(len(gzip.compress(path.read_bytes())) for path in self.own)


class _Files(HTMLParser):
    """Collects what a page loads by itself: pictures, scripts, style sheets."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.later: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the address of an element that makes the browser load a file."""
        values = dict(attrs)
        loads = tag in ("img", "script") or (
            tag == "link" and values.get("rel") in ("stylesheet", "icon", "preload")
        )
        address = values.get("href" if tag == "link" else "src")
        if loads and address:
            self.addresses.append(address)
            if values.get("loading") == "lazy":
                self.later.add(address)


def weigh(site: Path, page: str) -> Weight:
    """Return the weight of ``page`` (as ``book/index.html``) of the site in folder ``site``."""
    source = site / page
    parser = _Files()
    parser.feed(source.read_text(encoding="utf-8"))
    own: set[Path] = {source.resolve()}
    shared: set[Path] = set()
    later: set[Path] = set()
    for address in parser.addresses:
        path = (source.parent / unquote(urlsplit(address).path)).resolve()
        if path.is_file():
            folder = path.relative_to(site.resolve()).parts[0]
            waits = later if address in parser.later else own
            (shared if folder in SHARED else waits).add(path)
    return Weight(page, tuple(sorted(own)), tuple(sorted(shared)), tuple(sorted(later - own)))


def main(arguments: list[str]) -> int:
    """Print a line per page; return 1 if one is over the budget."""
    site = Path(arguments[0] if arguments else "_build/html")
    pages = sorted(path.relative_to(site).as_posix() for path in site.glob("book/**/*.html"))
    if not pages:
        print(f"{site}: no pages in book/; build the book first (make book)", file=sys.stderr)
        return 2
    weights = [weigh(site, page) for page in pages]
    print(f"{'page':<32}{'own kB':>9}{'gzipped':>9}{'whole kB':>10}{'files':>7}{'shared kB':>11}")
    for weight in weights:
        print(
            f"{weight.page:<32}{weight.own_bytes / 1000:>9.0f}{weight.own_compressed / 1000:>9.0f}"
            f"{weight.whole_bytes / 1000:>10.0f}{len(weight.own):>7}"
            f"{weight.shared_bytes / 1000:>11.0f}"
        )
    heavy = [weight.page for weight in weights if weight.is_heavy]
    for page in heavy:
        print(f"{page}: over the budget of {BUDGET / 1000:.0f} kB", file=sys.stderr)
    return 1 if heavy else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

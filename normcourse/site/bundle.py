"""Fewer requests before a page shows: one style sheet for each set of them, scripts that wait.

The theme and the extensions name some twenty style sheets and ten scripts in the head of every
page; a browser shows nothing before it has them all. When the site is written, the style sheets of
a page are put into one file in their order, without the icons that no page uses, and its scripts
are told to wait until the page is read. The files stay where they were.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from sphinx.application import Sphinx

__all__ = ["bundle", "defer_scripts", "one_style_sheet", "register", "without_icons"]

FOLDER = "_static/bundle"
LINK = re.compile(r"[ \t]*<link\b(?=[^>]*\brel=\"stylesheet\")[^>]*>[ \t]*\n?")
PRELOAD = re.compile(r"[ \t]*<link\b(?=[^>]*\brel=\"preload\")(?=[^>]*\bas=\"font\")[^>]*>\s*?\n?")
HREF = re.compile(r"\bhref=\"([^\"]+)\"")
SCRIPT = re.compile(r"<script (?=[^>]*\bsrc=)(?![^>]*\b(?:defer|async|type)=)([^>]*)>")
IMPORT = re.compile(r"@import\s+(?:url\()?[\"']?([^\"')]+)[\"']?\)?\s*;")
ADDRESS = re.compile(r"url\(\s*([\"']?)([^\"')]+)\1\s*\)")
ICON = re.compile(r"((?:\.fa-[\w-]+:{1,2}before,?)+)\{content:\"[^\"]*\"\}")
AT_ONCE = ("documentation_options.js",)  # read by lines in the page that follow it


def one_style_sheet(site: Path, sheets: list[Path]) -> str:
    """Return the style sheets in one, with the addresses in them as seen from ``FOLDER``."""
    return "\n".join(_style(site, sheet, ()) for sheet in sheets)


def _style(site: Path, sheet: Path, within: tuple[Path, ...]) -> str:
    """Return one style sheet with what it imports in the place of the import."""
    folder = sheet.relative_to(site).parent.as_posix()

    def moved(match: re.Match[str]) -> str:
        address = match[2]
        if re.match(r"[a-z]+:|//|/|#", address):
            return match[0]
        target = posixpath.normpath(posixpath.join(folder, address))
        return f'url("{posixpath.relpath(target, FOLDER)}")'

    def inlined(match: re.Match[str]) -> str:
        path = (sheet.parent / urlsplit(match[1]).path).resolve()
        if not path.is_file() or path in within:
            return match[0]
        return _style(site, path, (*within, sheet))

    text = sheet.read_text(encoding="utf-8").replace('@charset "UTF-8";', "")
    parts = []
    place = 0
    for match in IMPORT.finditer(text):
        parts += [ADDRESS.sub(moved, text[place : match.start()]), inlined(match)]
        place = match.end()
    return "".join([*parts, ADDRESS.sub(moved, text[place:])])


def without_icons(style: str, used: set[str]) -> str:
    """Return a style sheet without the icons of Font Awesome that no page and no script names.

    Example:
        >>> without_icons('.fa-a:before{content:"1"}.fa-b:before{content:"2"}', {"fa-b"})
        '.fa-b:before{content:"2"}'
    """

    def needed(match: re.Match[str]) -> str:
        return match[0] if used & set(re.findall(r"fa-[\w-]+", match[1])) else ""

    return ICON.sub(needed, style)


def icons_used(site: Path) -> set[str]:
    """Return the classes of icons that pages and scripts of the site name."""
    scripts = (path for path in site.rglob("*.js") if "fontawesome" not in path.name)
    named = [*_pages(site), *(path for path in scripts if "fontawesome" not in path.parts)]
    texts = (path.read_text(encoding="utf-8", errors="replace") for path in named)
    return {name for text in texts for name in re.findall(r"\bfa-[\w-]+", text)}


def _pages(site: Path) -> list[Path]:
    apart = ("_static", "_sources", "vendor", "live")
    return [p for p in sorted(site.rglob("*.html")) if p.relative_to(site).parts[0] not in apart]


def defer_scripts(page: str) -> str:
    """Let the scripts of the head wait for the page; they keep their order.

    Example:
        >>> defer_scripts('<script src="a.js"></script><script>x</script></head>')
        '<script defer src="a.js"></script><script>x</script></head>'
    """

    def waiting(match: re.Match[str]) -> str:
        at_once = any(name in match[1] for name in AT_ONCE)
        return match[0] if at_once else f"<script defer {match[1]}>"

    head, end, body = page.partition("</head>")
    return SCRIPT.sub(waiting, head) + end + body


def drop_font_preloads(page: str) -> str:
    """Let the text come before the font of the icons."""
    return PRELOAD.sub("", page)


def bundle(site: Path, page: Path, write: Callable[[str], str]) -> str:
    """Return a page with one style sheet in the place of its first, without the others.

    Args:
        site: folder of the site.
        page: file of the page.
        write: stores a style sheet and returns its path in the site.
    """
    text = page.read_text(encoding="utf-8")
    found = [match for match in LINK.finditer(text) if "media=" not in match[0]]
    sheets = [_local(site, page, match[0]) for match in found]
    if len(found) < 2 or any(sheet is None for sheet in sheets):
        return text
    name = write(one_style_sheet(site, [sheet for sheet in sheets if sheet]))
    up = posixpath.relpath(name, page.relative_to(site).parent.as_posix())
    first = found[0].start()
    for match in reversed(found):
        text = text[: match.start()] + text[match.end() :]
    return text[:first] + f'<link rel="stylesheet" href="{up}">\n' + text[first:]


def _local(site: Path, page: Path, link: str) -> Path | None:
    """Return the file that a link names, None if it is not of this site."""
    address = HREF.search(link)
    parts = urlsplit(address[1] if address else "")
    path = (page.parent / unquote(parts.path)).resolve()
    known = not parts.netloc and path.is_file() and path.is_relative_to(site.resolve())
    return path if known else None


def rewrite(app: Sphinx, exception: Exception | None) -> None:
    """Rewrite every page of the built site; a page that was rewritten stays as it is."""
    if exception is not None or app.builder.name != "html" or not app.config.normcourse_bundle:
        return
    site = Path(app.outdir).resolve()
    kept: dict[str, str] = {}
    icons = icons_used(site)

    def write(text: str) -> str:
        text = without_icons(text, icons)
        if text not in kept:
            name = f"{FOLDER}/{hashlib.sha256(text.encode()).hexdigest()[:12]}.css"
            (site / name).parent.mkdir(parents=True, exist_ok=True)
            (site / name).write_text(text, encoding="utf-8")
            kept[text] = name
        return kept[text]

    used: set[str] = set()
    for page in _pages(site):
        text = drop_font_preloads(defer_scripts(bundle(site, page, write)))
        page.write_text(text, encoding="utf-8")
        used.update(re.findall(rf"{FOLDER}/(\w+\.css)", text))
    for old in (site / FOLDER).glob("*.css"):
        if old.name not in used:
            old.unlink()


def register(app: Sphinx) -> None:
    """Rewrite when all files are there, before a list of them is made."""
    app.add_config_value("normcourse_bundle", False, "html", (bool,))
    app.connect("build-finished", rewrite, priority=700)

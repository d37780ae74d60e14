"""Fewer requests before a page shows: one style sheet for each set of them, scripts that wait.

The theme and the extensions name some twenty style sheets and ten scripts in the head of every
page; a browser shows nothing before it has them all. When the site is written, the style sheets of
a page are put into one file in their order, without the rules that no page can use; its scripts are
asked for once the text is on the screen, but for the few lines that the page itself reads, which
are put into it; its pictures say how large they are, so that no text moves when they come, and but
for the first they come when a reader is near them. The files stay where they were.
"""

from __future__ import annotations

import hashlib
import html
import json
import posixpath
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from sphinx.util.images import get_image_size

from normcourse.site.icons import with_own_icons
from normcourse.site.prune import names_used, prune
from normcourse.site.vendor import FONT

if TYPE_CHECKING:
    from sphinx.application import Sphinx

__all__ = [
    "bundle",
    "one_style_sheet",
    "pages_of",
    "pictures_when_near",
    "register",
    "scripts_after_text",
    "with_sizes",
    "with_text_fonts",
]

FOLDER = "_static/bundle"
LINK = re.compile(r"[ \t]*<link\b(?=[^>]*\brel=\"stylesheet\")[^>]*>[ \t]*\n?")
PRELOAD = re.compile(r"[ \t]*<link\b(?=[^>]*\brel=\"preload\")[^>]*>\s*?\n?")
HREF = re.compile(r"\bhref=\"([^\"]+)\"")
SCRIPT = re.compile(r"<script\b(?=[^>]*\bsrc=)(?![^>]*\basync\b)[^>]*>\s*</script>")
DEFER = re.compile(r"<script (?:defer )?")
TYPE = re.compile(r"\btype=\"([^\"]+)\"")
IN_TIME = ("design-tabs",)  # what looks at the page only when it is told that it has been read
# Scripts in their order, once the text is on the screen; a hidden page paints nothing.
LATE = """
{
  const scripts = SCRIPTS;
  const root = document.documentElement;
  let asked = false;
  const ask = () => {
    if (asked) return;
    asked = true;
    let waiting = scripts.length;
    const came = () => { if (--waiting === 0) root.dataset.scripts = 'run'; };
    for (const [src, type] of scripts) {
      const script = Object.assign(document.createElement('script'), { src, type, async: false });
      script.onload = script.onerror = came;
      document.head.append(script);
    }
  };
  root.dataset.scripts = 'waiting';
  const soon = () => requestAnimationFrame(() => setTimeout(ask));
  const hidden = () => document.visibilityState === 'hidden';
  addEventListener('DOMContentLoaded', () => {
    const tells = window.PerformanceObserver?.supportedEntryTypes?.includes('paint');
    if (!tells || hidden()) return ask();
    new PerformanceObserver(soon).observe({ type: 'paint', buffered: true });
    addEventListener('visibilitychange', () => hidden() && ask());
  });
}
"""
IMPORT = re.compile(r"@import\s+(?:url\()?[\"']?([^\"')]+)[\"']?\)?\s*;")
ADDRESS = re.compile(r"url\(\s*([\"']?)([^\"')]+)\1\s*\)")
IMAGE = re.compile(r"<img\b[^>]*>")
SIZED = re.compile(r"\b(width|height|style)=")
ARTICLE = re.compile(r"<article\b.*?</article>", re.DOTALL)
WAITS = re.compile(r"\bloading=")
ICONS = re.compile(r"\bicons-\w+\.woff")
# Upright and italic, of the letters that every page has.
TEXT_FONTS = [f"vendor/{FONT.folder}/{name}" for name in FONT.files if "-latin-" in name]
SOURCE = re.compile(r"\bsrc=\"([^\"]+)\"")
AT_ONCE = re.compile(  # read by lines in the page that follow it
    r"<script\b[^>]*\bsrc=\"([^\"]*documentation_options\.js)[^\"]*\"[^>]*></script>"
)
NOT_OURS = (
    "fontawesome",
    "vendor",
    "pyodide",
)  # parts of paths of scripts that name no class of ours


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


def pages_of(site: Path) -> list[Path]:
    """Return the files of all pages of a built site."""
    apart = ("_static", "_sources", "vendor", "live")
    return [p for p in sorted(site.rglob("*.html")) if p.relative_to(site).parts[0] not in apart]


def _scripts(site: Path) -> list[str]:
    """Return the scripts of the site that may name a class."""
    found = ((path.relative_to(site).as_posix(), path) for path in sorted(site.rglob("*.js")))
    ours = (path for name, path in found if not any(part in name for part in NOT_OURS))
    return [path.read_text(encoding="utf-8", errors="replace") for path in ours]


def scripts_after_text(page: str) -> str:
    """Let a browser ask for scripts once it shows the text; they keep their order.

    Example:
        >>> page = '<head><script src="a.js"></script><script>x</script></head>'
        >>> page += '<script type="module" src="b.js"></script>'
        >>> text = scripts_after_text(page)
        >>> text.startswith('<head><script>x</script><script>'), text.endswith('</script></head>')
        (True, True)
        >>> '[["a.js", ""], ["b.js", "module"]]' in text
        True
    """
    scripts: list[tuple[str, str]] = []

    def later(match: re.Match[str]) -> str:
        if any(name in match[0] for name in IN_TIME):
            return DEFER.sub("<script defer ", match[0])
        scripts.append((html.unescape(_value(SOURCE, match[0])), _value(TYPE, match[0])))
        return ""

    rest = SCRIPT.sub(later, page)
    if not scripts:
        return page
    body = LATE.replace("SCRIPTS", json.dumps(scripts).replace("</", "<\\/"))
    head, end, tail = rest.partition("</head>")
    return f"{head}<script>{body}</script>{end}{tail}"


def _value(attribute: re.Pattern[str], tag: str) -> str:
    found = attribute.search(tag)
    return found[1] if found else ""


def drop_preloads(page: str) -> str:
    """Let the text come before the fonts of the theme and the scripts, which wait anyway."""
    return PRELOAD.sub("", page)


def with_text_fonts(site: Path, page: Path, text: str) -> str:
    """Ask for the fonts of the text with the style sheet: else the text is laid out twice.

    Browsers wait a tenth of a second for them, as their ``font-display: optional`` says, and then
    show the text in a font of the reader's machine.
    """
    folder = page.relative_to(site).parent.as_posix()
    links = "".join(
        f'<link rel="preload" as="font" type="font/woff2" crossorigin '
        f'href="{posixpath.relpath(font, folder)}">\n'
        for font in TEXT_FONTS
        if (site / font).is_file()
    )
    return LINK.sub(lambda sheet: links + sheet[0], text, count=1)


def inline_options(site: Path, page: Path, text: str) -> str:
    """Put the few lines of Sphinx's options into the page, which would wait for their file."""

    def inlined(match: re.Match[str]) -> str:
        path = _file(site, page, match[1])
        return f"<script>{path.read_text(encoding='utf-8').strip()}</script>" if path else match[0]

    return AT_ONCE.sub(inlined, text)


def with_sizes(site: Path, page: Path, text: str) -> str:
    """Say the size of every picture of the site that does not say it yet."""

    def sized(match: re.Match[str]) -> str:
        source = SOURCE.search(match[0])
        path = _file(site, page, html.unescape(source[1])) if source else None
        size = get_image_size(str(path)) if path and not SIZED.search(match[0]) else None
        if not size:
            return match[0]
        return f'<img width="{size[0]}" height="{size[1]}"{match[0].removeprefix("<img")}'

    return IMAGE.sub(sized, text)


def pictures_when_near(page: str) -> str:
    """Let pictures of the text wait until they are nearly on the screen, but for the first.

    A browser reads a picture the moment that it has come, before it shows the first words.

    Example:
        >>> pictures_when_near('<img src="l"><article><img src="a"><img src="b"></article>')
        '<img src="l"><article><img src="a"><img loading="lazy" src="b"></article>'
    """

    def waiting(match: re.Match[str]) -> str:
        return match[0] if WAITS.search(match[0]) else f'<img loading="lazy"{match[0][4:]}'

    def article(match: re.Match[str]) -> str:
        first = IMAGE.search(match[0])
        end = first.end() if first else len(match[0])
        return match[0][:end] + IMAGE.sub(waiting, match[0][end:])

    return ARTICLE.sub(article, page)


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
    return _file(site, page, address[1] if address else "")


def _file(site: Path, page: Path, address: str) -> Path | None:
    """Return the file of an address in a page, None if it is not of this site."""
    parts = urlsplit(address)
    path = (page.parent / unquote(parts.path)).resolve()
    known = not parts.netloc and path.is_file() and path.is_relative_to(site.resolve())
    return path if known else None


def rewrite(app: Sphinx, exception: Exception | None) -> None:
    """Rewrite every page of the built site; a page that was rewritten stays as it is."""
    if exception is not None or app.builder.name != "html" or not app.config.normcourse_bundle:
        return
    site = Path(app.outdir).resolve()
    pages = {page: page.read_text(encoding="utf-8") for page in pages_of(site)}
    names = names_used(pages.values(), _scripts(site))
    kept: dict[str, str] = {}

    def write(text: str) -> str:
        if text not in kept:
            style = with_own_icons(site, FOLDER, prune(text, names))
            name = f"{FOLDER}/{hashlib.sha256(style.encode()).hexdigest()[:12]}.css"
            (site / name).parent.mkdir(parents=True, exist_ok=True)
            (site / name).write_text(style, encoding="utf-8")
            kept[text] = name
        return kept[text]

    used: set[str] = set()
    for page in pages:
        text = inline_options(site, page, bundle(site, page, write))
        text = with_text_fonts(site, page, drop_preloads(scripts_after_text(text)))
        text = pictures_when_near(with_sizes(site, page, text))
        page.write_text(text, encoding="utf-8")
        used.update(re.findall(rf"{FOLDER}/(\w+\.css)", text))
    for sheet in sorted(used):
        used |= set(ICONS.findall((site / FOLDER / sheet).read_text(encoding="utf-8")))
    for old in (site / FOLDER).iterdir():
        if old.name not in used:
            old.unlink()


def register(app: Sphinx) -> None:
    """Rewrite when all files are there, before a list of them is made."""
    app.add_config_value("normcourse_bundle", False, "html", (bool,))
    app.connect("build-finished", rewrite, priority=700)

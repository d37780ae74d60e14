"""Formulas are typeset when the book is built, so that a page shows them at once, without a script.

MathJax, from npm, turns the TeX of all pages into elements and one style sheet; each formula keeps
its MathML for screen readers. Readers load the style sheet and MathJax's fonts, and none of its
code. Without npm or Node the formulas stay TeX.
"""

from __future__ import annotations

import html
import json
import posixpath
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sphinx.errors import ExtensionError
from sphinx.util import logging

from normcourse.site import npm
from normcourse.site.bundle import pages_of
from normcourse.site.vendor import MATHJAX_PATH

if TYPE_CHECKING:
    from docutils import nodes
    from sphinx.application import Sphinx

__all__ = ["STYLE", "Formula", "formulas_of", "register", "typeset", "with_formulas"]

logger = logging.getLogger(__name__)
STYLE = "vendor/mathjax/chtml.css"
LINK = "<link "
SCRIPT = Path(__file__).parent / "typeset" / "typeset.mjs"
#: A formula as Sphinx writes it for MathJax: in the line, or on its own with its number.
FORMULA = re.compile(
    r"(?P<before><span class=\"math notranslate nohighlight\">)\\\((?P<inline>[^<]*)\\\)(?=</span>)"
    r"|(?P<above><div class=\"math notranslate nohighlight\"[^>]*>\s*"
    r"(?:<span class=\"eqno\">.*?</span>)?)\\\[(?P<display>[^<]*)\\\](?=</div>)",
    re.DOTALL,
)
ERROR = re.compile(r"data-mjx-error=\"([^\"]*)\"")


class Formula(NamedTuple):
    """TeX, and whether it stands on its own line."""

    tex: str
    display: bool


def formulas_of(page: str) -> list[Formula]:
    r"""Return the formulas of a page that are TeX, in their order.

    Example:
        >>> formulas_of(r'<span class="math notranslate nohighlight">\(a &lt; b\)</span>')
        [Formula(tex='a < b', display=False)]
    """
    return [_formula(match) for match in FORMULA.finditer(page)]


def _formula(match: re.Match[str]) -> Formula:
    display = match["display"] is not None
    return Formula(html.unescape(match["display"] if display else match["inline"]), display)


def typeset(
    formulas: Sequence[Formula], node_modules: Path, tex: Mapping[str, Any]
) -> tuple[list[str], str]:
    """Return HTML for each formula, and the style sheet that all of them need.

    Args:
        formulas: to typeset.
        node_modules: where npm put MathJax.
        tex: MathJax's settings for its input, such as macros.

    Raises:
        ValueError: a formula is no TeX that MathJax knows.
        NpmError: Node is missing or failed.
    """
    command, environment = npm.find_node()
    task = json.dumps({"tex": tex, "formulas": formulas})
    try:
        done = subprocess.run(
            [*command, str(SCRIPT), str(node_modules)],
            input=task,
            env=environment,
            capture_output=True,
            encoding="utf-8",
            timeout=600,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise npm.NpmError(f"Node did not run: {error}") from error
    if done.returncode:
        raise npm.NpmError(f"MathJax failed: {done.stderr.strip()[-300:]}")
    answer = json.loads(done.stdout)
    for formula, text in zip(formulas, answer["html"], strict=True):
        wrong = ERROR.search(text)
        if wrong:
            raise ValueError(f"formula {formula.tex!r}: {html.unescape(wrong[1])}")
    return answer["html"], answer["style"]


def with_formulas(page: str, typeset_formulas: Mapping[Formula, str], style: str) -> str:
    """Return a page with each formula in the place of its TeX, and with their style sheet.

    Args:
        page: its HTML.
        typeset_formulas: HTML for each formula of the page.
        style: address of the style sheet, as seen from the page.
    """

    def put(match: re.Match[str]) -> str:
        return (match["before"] or match["above"]) + typeset_formulas[_formula(match)]

    text, count = FORMULA.subn(put, page)
    link = f'<link rel="stylesheet" href="{style}">\n'
    return text.replace(LINK, link + LINK, 1) if count else text


def typeset_pages(app: Sphinx, exception: Exception | None) -> None:
    """Typeset the formulas of all pages of the built site."""
    if exception is not None or app.builder.name != "html" or not _here(app):
        return
    site = Path(app.outdir)
    pages = {path: path.read_text(encoding="utf-8") for path in pages_of(site)}
    found = list(dict.fromkeys(one for page in pages.values() for one in formulas_of(page)))
    if not found:
        return
    try:
        node_modules = npm.install(Path(app.srcdir), site.parent / "npm")
        texts, style = typeset(found, node_modules, app.config.mathjax3_config.get("tex", {}))
    except npm.NpmError as error:
        logger.info("formulas stay TeX: %s", error)  # what is missing was warned of before
        return
    except ValueError as error:
        raise ExtensionError(str(error)) from error
    (site / STYLE).write_text(style, encoding="utf-8")
    table = dict(zip(found, texts, strict=True))
    for path, page in pages.items():
        up = posixpath.relpath(STYLE, path.relative_to(site).parent.as_posix())
        text = with_formulas(page, table, up)
        if text != page:
            path.write_text(text, encoding="utf-8")


def _here(app: Sphinx) -> bool:
    """Return whether formulas are this module's business and not that of another host."""
    return bool(app.config.mathjax_path == MATHJAX_PATH)


def drop_script(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Leave MathJax's script out of every page."""
    if _here(app):
        context["script_files"] = [one for one in context["script_files"] if not _of_mathjax(one)]


def _of_mathjax(script: Any) -> bool:
    """Return whether a script is MathJax or its settings."""
    body = str(getattr(script, "attributes", {}).get("body", ""))
    return "/mathjax" in str(getattr(script, "filename", "") or "") or "window.MathJax" in body


def register(app: Sphinx) -> None:
    """Typeset when all pages are written, before they are rewritten and listed."""
    app.connect("html-page-context", drop_script, priority=950)
    app.connect("build-finished", typeset_pages, priority=650)

"""What every page gets: style, a small script, its opening, buttons as _config.yml allows."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docutils import nodes
from myst_nb.sphinx_ import HideCodeCellNode

from normcourse.site import ASSETS

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.config import Config

__all__ = ["register"]

FRONT_DOOR = """\
<!DOCTYPE html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<meta http-equiv="refresh" content="0; url={page}">
<link rel="icon" href="_static/favicon.svg">
<title>{title}</title>
</head>
<body><p><a href="{page}">{title}</a></p></body>
</html>
"""
TEMPLATES = Path(__file__).parent / "templates"
TEST_MARKER = "# NBVAL_CHECK_OUTPUT"  # a line for nbval, not for readers


def repository_buttons(app: Sphinx, config: Config) -> None:
    """Show the buttons that need a repository when _config.yml names one, else none of them."""
    if config.html_theme != "sphinx_book_theme":
        return
    options = config.html_theme_options
    known = bool(options.get("repository_url"))
    for name in ("use_repository_button", "use_issues_button", "use_edit_page_button"):
        options[name] = known
    if not known:
        options.pop("repository_url", None)
        options["launch_buttons"] = {}


def add_assets(app: Sphinx) -> None:
    """Serve the extension's own style sheet and script from _static."""
    app.config.html_static_path.append(str(ASSETS))
    app.add_css_file("normcourse.css")
    app.add_js_file("normcourse.js", type="module")


def name_toggles(sidebar: str) -> str:
    """Name the toggles of the sidebar, which the theme leaves without text, by their page.

    >>> name_toggles('<a href="e.html">Exercises</a><details><summary>')
    '<a href="e.html">Exercises</a><details><summary aria-label="Pages of: Exercises">'
    """

    def named(match: re.Match[str]) -> str:
        title = html.escape(html.unescape(re.sub(r"<[^>]*>", "", match["title"])).strip())
        return f'{match["before"]}<summary aria-label="Pages of: {title}">'

    toggle = r"(?P<before><a [^>]*>(?P<title>(?:(?!</a>).)*)</a><details[^>]*>)<summary>"
    return re.sub(toggle, named, sidebar, flags=re.DOTALL)


def name_sidebar(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any
) -> None:
    """Let the theme's list of pages pass through ``name_toggles``."""
    listed = context.get("generate_toctree_html")
    if listed:
        context["generate_toctree_html"] = lambda *args, **words: name_toggles(
            str(listed(*args, **words))
        )


def mark_opening(app: Sphinx, doctree: nodes.document) -> None:
    """Mark the one-line summary in italics that opens a page, and the question before it."""
    section = doctree.next_node(nodes.section)
    opening = [node for node in section or [] if not isinstance(node, nodes.title)][:2]
    for position, node in enumerate(opening):
        alone = len(node.children) == 1 and isinstance(node[0], nodes.emphasis)
        if isinstance(node, nodes.paragraph) and alone:
            node["classes"].append("nc-summary")
            if position == 1 and isinstance(opening[0], nodes.paragraph):
                opening[0]["classes"].append("nc-question-asked")
            return


def describe(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Give search engines the page's own one-line summary."""
    for paragraph in doctree.findall(nodes.paragraph) if doctree else ():
        if "nc-summary" in paragraph["classes"]:
            content = html.escape(" ".join(paragraph.astext().split()))
            tag = f'<meta name="description" content="{content}">\n'
            context["metatags"] = context.get("metatags", "") + tag
            return


def drop_test_markers(app: Sphinx, doctree: nodes.document) -> None:
    """Leave out the line that tells nbval to compare the output of a cell."""
    for cell in doctree.findall(nodes.container):
        if cell.get("nb_element") != "cell_code_source":
            continue
        for code in list(cell.findall(nodes.literal_block)):
            lines = code.astext().split("\n")
            text = "\n".join(line for line in lines if line.strip() != TEST_MARKER)
            if text != code.astext():
                code.replace_self(nodes.literal_block(text, text, **code.attributes))


def write_front_door(app: Sphinx, exception: Exception | None) -> None:
    """Lead from the root of the site to its first page, also without scripts or redirection."""
    root = app.config.root_doc
    if exception or app.builder.name != "html" or root == "index":
        return
    title = html.escape(app.env.titles[root].astext())
    page = FRONT_DOOR.format(title=title, page=f"{root}.html", language=app.config.language)
    (Path(app.outdir) / "index.html").write_text(page, encoding="utf-8")


def visit_folded_cell(translator: Any, node: nodes.Element) -> None:
    """Fold a cell under a summary that says what is inside (myst-nb's says "hidden content")."""
    body, classes = translator.body, " ".join(node["classes"])
    body.append(f'<details class="nc-fold nc-code-fold {classes}">\n<summary>')
    body.append(f'<span class="collapsed">{translator.encode(node["prompt_show"])}</span>')
    body.append(f'<span class="expanded">{translator.encode(node["prompt_hide"])}</span>')
    body.append("</summary>\n")


def depart_folded_cell(translator: Any, node: nodes.Element) -> None:
    """Close the fold."""
    translator.body.append("</details>\n")


def visit_citation(translator: Any, node: nodes.citation) -> None:
    """Write entries as a list; their keys (IS15) are left out, text cites author and year."""
    if not isinstance(node.previous_sibling(), nodes.citation):
        translator.body.append('<ul class="nc-bibliography">\n')
    node.children = [child for child in node.children if not isinstance(child, nodes.label)]
    translator.body.append(translator.starttag(node, "li", ""))


def depart_citation(translator: Any, node: nodes.citation) -> None:
    """Close the entry, and the list after the last."""
    translator.body.append("</li>\n")
    if not isinstance(node.next_node(descend=False, siblings=True), nodes.citation):
        translator.body.append("</ul>\n")


def register(app: Sphinx) -> None:
    """Connect the handlers of every page."""
    app.config.templates_path.insert(0, str(TEMPLATES))
    app.connect("config-inited", repository_buttons)
    app.connect("doctree-read", mark_opening)
    app.connect("html-page-context", describe)
    app.connect("html-page-context", name_sidebar, priority=900)  # after the theme's functions
    app.connect("build-finished", write_front_door, priority=400)  # before sphinx-external-toc's
    app.connect("doctree-read", drop_test_markers)
    app.connect("builder-inited", add_assets)
    app.add_node(HideCodeCellNode, override=True, html=(visit_folded_cell, depart_folded_cell))
    app.add_node(nodes.citation, override=True, html=(visit_citation, depart_citation))

"""``{interactive} name``: a figure that the reader can change, with a still picture behind it.

The page holds the still picture with its alternative text, a sentence for readers without scripts,
and the figure's numbers as JSON, all exported by ``normcourse.site.interactive.export``. An ES
module (``assets/name.js``) builds the live figure from these numbers and then hides the picture.
Style sheet and module are loaded by the pages that show the figure, by no others.

    ```{interactive} axes-explorer
    :name: fig-explorer

    A caption of its own, instead of the figure's.
    ```
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective

from normcourse.site.html import Tag
from normcourse.site.interactive.catalogue import CATALOGUE, Entry
from normcourse.site.markdown import inline

if TYPE_CHECKING:
    from sphinx.application import Sphinx

__all__ = ["ASSETS", "DATA", "Interactive", "register"]

ASSETS = Path(__file__).parent / "assets"
DATA = Path(__file__).parent / "data"
FOLDER = "interactive"  # below _static of the built site
FIX = "run `python -m normcourse.site.interactive.export`, which writes it"


class Interactive(SphinxDirective):
    """One interactive figure, with its number and caption."""

    required_arguments = 1
    has_content = True
    option_spec: ClassVar[Any] = {"name": directives.unchanged}

    def run(self) -> list[nodes.Node]:
        """Return the figure, or say what is wrong with its name or its data."""
        name = self.arguments[0]
        entry = CATALOGUE.get(name)
        if entry is None:
            raise self.error(f"interactive: no figure {name!r}; there are {', '.join(CATALOGUE)}")
        try:
            data = self._read(f"{name}.json")
            picture = self._read(f"{name}.svg")
        except OSError as error:
            raise self.error(f"interactive: {error}; {FIX}") from error
        figure = nodes.figure(
            "",
            self._still(name, json.loads(data)["alt"], picture),
            _for_the_page(json.loads(data)),
            Tag("div", {"class": "nci-live", "hidden": "hidden"}),
            self._caption(entry),
            ids=[name],
            classes=["nci"],
        )
        figure["figure"] = name
        self.set_source_info(figure)
        if "name" in self.options:
            figure["ids"] = []
            self.add_name(figure)
        return [Tag("div", {"class": "nci-frame", "data-figure": name}, [figure])]

    def _read(self, file: str) -> str:
        self.env.note_dependency(str(DATA / file))
        return (DATA / file).read_text(encoding="utf-8")

    def _still(self, name: str, alt: str, picture: str) -> Tag:
        """The picture, and what a reader without scripts is told."""
        up = "../" * self.env.docname.count("/")
        width, height = _size(picture)
        image = Tag(
            "img",
            {
                "src": f"{up}_static/{FOLDER}/{name}.svg",
                "alt": alt,
                "class": "nc-figure",
                "width": str(width),
                "height": str(height),
                "loading": "lazy",
            },
        )
        without = (
            "This figure can be changed where scripts run. Here they do not, so you see one state "
            "of it."
        )
        note = Tag("p", {"class": "nci-without"}, [nodes.Text(without)])
        return Tag("div", {"class": "nci-still"}, [image, note])

    def _caption(self, entry: Entry) -> nodes.caption:
        text = " ".join(" ".join(self.content).split()) or entry.caption
        return nodes.caption("", "", *inline(self, text))


def _for_the_page(data: dict[str, Any]) -> Tag:
    """Return the numbers as an element that browsers do not show; nothing in it is markup."""
    shown = {key: value for key, value in data.items() if key != "expected"}
    text = json.dumps(shown, ensure_ascii=False, separators=(",", ":"))
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    attributes = {"type": "application/json", "class": "nci-data"}
    return Tag("script", attributes, [nodes.raw("", text, format="html")])


def _size(picture: str) -> tuple[int, int]:
    """Return width and height of an SVG of matplotlib in CSS pixels.

    >>> _size('<svg width="345.6pt" height="180pt">')
    (461, 240)
    """
    sizes = [picture.split(f'{side}="', 1)[1].split("pt", 1)[0] for side in ("width", "height")]
    width, height = (round(float(size) * 96 / 72) for size in sizes)
    return width, height


def load_scripts(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Load style sheet and modules on the pages that need them."""
    found = (
        [figure["figure"] for figure in doctree.findall(nodes.figure) if "figure" in figure]
        if doctree
        else []
    )
    if found:
        app.add_css_file(f"{FOLDER}/palette.css")
        app.add_css_file(f"{FOLDER}/interactive.css")
    for name in dict.fromkeys(found):
        app.add_js_file(f"{FOLDER}/{name}.js", type="module")


def copy_assets(app: Sphinx, exception: Exception | None) -> None:
    """Put modules, style sheet and still pictures into the built site."""
    if exception is not None or app.builder.format != "html":
        return
    target = Path(app.outdir) / "_static" / FOLDER
    target.mkdir(parents=True, exist_ok=True)
    for source in (*ASSETS.iterdir(), *DATA.glob("*.svg")):
        shutil.copyfile(source, target / source.name)


def register(app: Sphinx) -> None:
    """Add the directive and what its pages load."""
    app.add_directive("interactive", Interactive)
    app.connect("html-page-context", load_scripts)
    app.connect("build-finished", copy_assets, priority=300)  # before a list of all files is made

"""What pages take from npm — the fonts of text and formulas — lies beside them, on no other host.

The packages are pinned by package.json and package-lock.json, installed into ``_build/npm`` once,
and copied into ``vendor/`` of the built site (not into ``_static``, whose scripts and style sheets
Jupyter Book would add to every page). Without npm the book is built all the same: formulas show
as TeX, text in a font of the reader's machine, and one line of the build says so.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sphinx.util import logging
from sphinx.util.console import colorize

from normcourse.site import npm

if TYPE_CHECKING:
    from sphinx.application import Sphinx

__all__ = ["FONT", "MATHJAX", "Package", "VendorHost", "copy_package", "font_faces", "register"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Package:
    """An npm package and what the site takes of it."""

    name: str  # on npm
    folder: str  # below vendor/
    root: str  # below the package
    files: tuple[str, ...]  # files and folders below root


FAMILY = "source-serif-4"
SUBSETS = {  # the blocks of Unicode that each file draws; a browser loads a file when it needs one
    "latin": "U+0000-00FF,U+0131,U+0152-0153,U+02BB-02BC,U+02C6,U+02DA,U+02DC,U+2000-206F,U+20AC,"
    "U+2122,U+2191,U+2193,U+2212,U+2215",
    "greek": "U+0370-03FF",
}
STYLES = ("normal", "italic")

MATHJAX = Package(
    "mathjax",
    "mathjax",
    "es5",
    ("output/chtml/fonts/woff-v2",),  # formulas.py uses the rest when the book is built
)
FONT = Package(
    f"@fontsource-variable/{FAMILY}",
    FAMILY,
    "files",
    tuple(f"{FAMILY}-{subset}-wght-{style}.woff2" for subset in SUBSETS for style in STYLES),
)
MATHJAX_PATH = "../vendor/mathjax"  # as seen from the site's _static folder
FONT_CSS = f"../vendor/{FAMILY}/font.css"


def font_faces() -> str:
    """Return the ``@font-face`` rules of the text font.

    >>> font_faces().count("@font-face")
    4
    """
    rule = (
        "@font-face {{ font-family: 'Course Serif'; font-style: {style}; font-weight: 200 900;\n"
        "  font-display: optional; unicode-range: {range};\n"
        "  src: url({family}-{subset}-wght-{style}.woff2) format('woff2'); }}\n"
    )
    return "".join(
        rule.format(style=style, subset=subset, range=block, family=FAMILY)
        for subset, block in SUBSETS.items()
        for style in STYLES
    )


def copy_package(package: Package, node_modules: Path, vendor: Path) -> Path:
    """Copy the files of ``package`` and its licence below ``vendor``; return their folder.

    A copy of the same version is kept: files are written once, not at every build.
    """
    source, target = node_modules / package.name, vendor / package.folder
    description = (source / "package.json").read_bytes()
    marker = target / "package.json"
    there = all((target / name).exists() for name in package.files)
    if there and marker.is_file() and marker.read_bytes() == description:
        return target
    shutil.rmtree(target, ignore_errors=True)
    for name in package.files:
        original, copy = source / package.root / name, target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if original.is_dir():
            shutil.copytree(original, copy)
        else:
            shutil.copyfile(original, copy)
    shutil.copyfile(source / "LICENSE", target / "LICENSE")
    marker.write_bytes(description)
    return target


class VendorHost:
    """Fetch before the build, copy after it, and leave out what npm could not give."""

    def __init__(self) -> None:
        self.node_modules: Path | None = None

    def fetch(self, app: Sphinx) -> None:
        """Install the npm packages; without them say what is missing, in one line."""
        self.node_modules = None
        if app.builder.format != "html" or app.config.mathjax_path != MATHJAX_PATH:
            return
        try:
            self.node_modules = npm.install(Path(app.srcdir), Path(app.outdir).parent / "npm")
        except npm.NpmError as error:
            notice = f"MathJax and the text font are missing, formulas will show as TeX: {error}"
            logger.info(colorize("yellow", notice))
        else:
            app.add_css_file(FONT_CSS, priority=400)

    def copy(self, app: Sphinx, exception: Exception | None) -> None:
        """Put the files into the built site."""
        if exception is None and self.node_modules is not None:
            vendor = Path(app.outdir) / "vendor"
            copy_package(MATHJAX, self.node_modules, vendor)
            font = copy_package(FONT, self.node_modules, vendor)
            (font / "font.css").write_text(font_faces(), encoding="utf-8")


def register(app: Sphinx) -> None:
    """Connect one host per build."""
    host = VendorHost()
    app.connect("builder-inited", host.fetch)
    app.connect("build-finished", host.copy)

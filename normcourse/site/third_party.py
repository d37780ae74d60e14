"""What the site carries that others wrote: ``{npm-packages}``, a table, and ``licences.txt``.

The table is read from package-lock.json, which npm holds every file to. ``licences.txt`` of the
built site has the words of every licence whose code the site serves: of the packages from npm, and
of the Python packages whose style sheets and scripts Sphinx copies into ``_static``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sphinx.util.docutils import SphinxDirective

from normcourse.site.html import Tag
from normcourse.site.markdown import blocks

if TYPE_CHECKING:
    from docutils import nodes
    from sphinx.application import Sphinx

__all__ = ["SERVED", "LicenceLink", "NpmPackages", "Package", "licences", "packages", "register"]

LOCK = "package-lock.json"
FILE = "licences.txt"
MARK = "normcourse-licences"  # of a page that links to the file
# What a package is for, by the start of its name; the first that fits.
PURPOSES = {
    "@codemirror/": "the editor of exercises and cells",
    "@lezer/": "the editor reads Python with it",
    "@marijn/": "part of the editor",
    "crelt": "part of the editor",
    "style-mod": "part of the editor",
    "w3c-keyname": "part of the editor",
    "@fontsource": "the text font",
    "mathjax": "formulas",
    "pyodide": "Python in the page",
    "esbuild": "puts the editor into one file when the book is built; not served",
    "axe-core": "tests of accessibility; not served",
    "ws": "comes with Pyodide for use outside browsers; not served",
    "@types/": "comes with Pyodide for other compilers; not served",
}
# Python packages whose style sheets, scripts and icons lie in _static of the site.
SERVED = (
    *("sphinx", "sphinx-book-theme", "pydata-sphinx-theme", "jupyter-book", "myst-nb"),
    *("sphinx-copybutton", "sphinx-design", "sphinx-togglebutton", "sphinx-exercise"),
    *("sphinx-proof", "pygments"),
)


class Package(NamedTuple):
    """A package that npm installs."""

    name: str
    version: str
    licence: str
    purpose: str

    @property
    def served(self) -> bool:
        """Whether its code is part of the site."""
        return not self.purpose.endswith("not served")


def packages(lock: Path) -> list[Package]:
    """Return what a lock file pins, in its order; a program for each machine counts once.

    Raises:
        OSError: there is no such file.
        ValueError: it is not a lock file that names licences.
    """
    listed = json.loads(lock.read_text(encoding="utf-8")).get("packages", {})
    found = []
    for place, entry in listed.items():
        name = place.removeprefix("node_modules/")
        if not name or entry.get("optional"):
            continue
        if not entry.get("license"):
            raise ValueError(f"{lock.name}: {name} names no licence; look it up before it is used")
        found.append(Package(name, entry["version"], entry["license"], _purpose(name, entry)))
    return found


def _purpose(name: str, entry: dict[str, Any]) -> str:
    for start, purpose in PURPOSES.items():
        if name.startswith(start):
            return purpose
    return "tools and tests; not served" if entry.get("dev") else "part of the site's scripts"


class NpmPackages(SphinxDirective):
    """The table of the packages that npm installs, with their licences."""

    has_content = False

    def run(self) -> list[nodes.Node]:
        """Return the table, and a line that leads to the words of the licences."""
        lock = Path(self.env.srcdir, LOCK)
        self.env.note_dependency(str(lock))
        try:
            rows = packages(lock)
        except (OSError, ValueError) as error:
            raise self.error(f"npm-packages: {error}") from error
        lines = ["| package | version | licence | what for |", "|---|---|---|---|"]
        lines += [f"| `{p.name}` | {p.version} | {p.licence} | {p.purpose} |" for p in rows]
        return blocks(self, "\n".join(lines))


class LicenceLink(SphinxDirective):
    """A link to the file with the words of all licences, where the build can write it."""

    has_content = False

    def run(self) -> list[nodes.Node]:
        """Return one line."""
        self.env.metadata[self.env.docname][MARK] = FILE
        depth = self.env.docname.count("/")
        link = Tag("a", {"href": "../" * depth + FILE})
        link += blocks(self, "The words of these licences")[0].children
        return [Tag("p", children=[link])]


def write_licences(app: Sphinx, exception: Exception | None) -> None:
    """Write the file if a page links to it; without npm there is nothing from npm in the site."""
    if exception is not None or app.builder.name != "html":
        return
    if any(MARK in known for known in app.env.metadata.values()):
        modules = Path(app.outdir).parent / "npm" / "node_modules"
        text = licences(Path(app.srcdir, LOCK), modules)
        (Path(app.outdir) / FILE).write_text(text, encoding="utf-8")


def licences(lock: Path, node_modules: Path) -> str:
    """Return the words of every licence whose code the site serves, one after the other."""
    rule = "=" * 78
    parts = [*_of_npm(lock, node_modules), *_of_python()]
    return (
        "\n\n".join(f"{rule}\n{title}\n{rule}\n\n{words.strip()}" for title, words in parts) + "\n"
    )


def _of_npm(lock: Path, node_modules: Path) -> Iterator[tuple[str, str]]:
    for package in packages(lock) if lock.is_file() and node_modules.is_dir() else ():
        if package.served:
            files = sorted((node_modules / package.name).glob("LICEN[CS]E*"))
            words = "\n\n".join(path.read_text(encoding="utf-8") for path in files)
            yield f"{package.name} {package.version} ({package.licence})", words or _named(package)


def _named(package: Package) -> str:
    address = f"https://spdx.org/licenses/{package.licence}.html"
    return f"The package has no file with its licence; its words: {address}"


def _of_python() -> Iterator[tuple[str, str]]:
    for name in SERVED:
        try:
            found = distribution(name)
        except PackageNotFoundError:
            continue
        for path in found.files or ():
            if "dist-info" in path.parts[0] and path.name.upper().startswith(("LICEN", "COPYING")):
                yield f"{name} {found.version}", path.read_text(encoding="utf-8")
            elif "LICENSE" in path.name.upper() and "static" in path.parts:
                place = Path(str(found.locate_file(path)))
                yield f"{name}: {'/'.join(path.parts[-3:])}", place.read_text(encoding="utf-8")


def register(app: Sphinx) -> None:
    """Add the directives and write the file before the list of all files is made."""
    app.add_directive("npm-packages", NpmPackages)
    app.add_directive("licence-link", LicenceLink)
    app.connect("build-finished", write_licences, priority=350)

"""The site without a network: a service worker with the list of its files, and a web manifest.

Written when everything else of the site is. The list holds a hash and a size per file, so that a
browser fetches what is new and keeps nothing that arrived broken. Files that no page asks for
(source maps, old font formats, translations) are left out.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from normcourse.site.bundle import FOLDER

if TYPE_CHECKING:
    from sphinx.application import Sphinx

__all__ = ["FileList", "manifest", "register", "service_worker", "sort_files"]

SCRIPT = Path(__file__).parent / "service" / "service-worker.js"
NAME = "sw.js"
MANIFEST = "manifest.webmanifest"
ENDINGS = {
    *(".html", ".css", ".js", ".mjs", ".json", ".svg", ".png", ".ico", ".woff", ".woff2"),
    *(".zip", ".wasm", ".whl", ".ipynb", ".webmanifest", ".pdf", ".txt"),
}
UNUSED = re.compile(
    r"_sources/|_static/(locales/|scripts/fontawesome|vendor/fontawesome/[^/]+/js/)"
    r"|vendor/mathjax/chtml\.css"  # what pages use of it is in their bundle
)
PYTHON = ("live/pyodide-",)  # fetched when cells are used
Files = dict[str, tuple[str, int]]  # path to the start of its SHA-256 and its size
FileList = dict[str, Files]


def sort_files(site: Path) -> FileList:
    """Return the files that a reader may need: ``core`` at once, ``python`` with the cells."""
    sorted_: FileList = {"core": {}, "python": {}}
    for path in _needed(site):
        name = path.relative_to(site).as_posix()
        content = path.read_bytes()
        part = "python" if name.startswith(PYTHON) else "core"
        sorted_[part][name] = (hashlib.sha256(content).hexdigest()[:16], len(content))
    return sorted_


def _needed(site: Path) -> Iterator[Path]:
    for path in sorted(site.rglob("*")):
        name = path.relative_to(site).as_posix()
        hidden = any(part.startswith(".") for part in path.relative_to(site).parts)
        unused = hidden or name == NAME or UNUSED.match(name) is not None or _older_font(site, path)
        if path.suffix in ENDINGS and path.is_file() and not unused:
            yield path


def _older_font(site: Path, path: Path) -> bool:
    """Return whether there is a smaller file in the place of this one."""
    smaller = path.parent.name == "webfonts" and any((site / FOLDER).glob("icons-*.woff"))
    return smaller or (path.suffix == ".woff" and path.with_suffix(".woff2").exists())


def service_worker(files: FileList) -> str:
    """Return the script with the list in front; it changes when any file does."""
    listed = json.dumps(files, separators=(",", ":"), sort_keys=True)
    return f"const FILES = {listed};\n{SCRIPT.read_text(encoding='utf-8')}"


def manifest(title: str, start: str, icon: str, language: str) -> dict[str, Any]:
    """Return what a device needs to install the book like a program."""
    return {
        "name": title,
        "short_name": title.split(",")[0],
        "lang": language,
        "start_url": start,
        "scope": "./",
        "display": "standalone",
        "background_color": "#fdfcfa",
        "theme_color": "#0a5c92",
        "icons": [{"src": icon, "sizes": "any", "type": "image/svg+xml", "purpose": "any"}],
    }


def name_manifest(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any
) -> None:
    """Name the manifest on every page."""
    if app.builder.name == "html" and app.config.normcourse_live:
        source = context["pathto"](MANIFEST, resource=True)
        tag = f'<link rel="manifest" href="{source}">\n'
        context["metatags"] = context.get("metatags", "") + tag


def write(app: Sphinx, exception: Exception | None) -> None:
    """Write both files, when all others are there."""
    if exception is not None or app.builder.name != "html" or not app.config.normcourse_live:
        return
    site, config = Path(app.outdir), app.config
    icon = f"_static/{Path(config.html_favicon or 'favicon.svg').name}"
    described = manifest(
        config.html_title, f"{config.root_doc}.html", icon, config.language or "en"
    )
    text = json.dumps(described, ensure_ascii=False, indent=1)
    (site / MANIFEST).write_text(text + "\n", encoding="utf-8")
    (site / NAME).write_text(service_worker(sort_files(site)), encoding="utf-8")


def register(app: Sphinx) -> None:
    """Connect the handlers."""
    app.connect("html-page-context", name_manifest)
    app.connect("build-finished", write, priority=990)  # after everything that writes files

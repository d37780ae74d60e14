"""Kept for times without a network: the list of files, the script of the worker, the manifest."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from normcourse.site import npm, offline

from .conftest import Build, find, text


def site(folder: Path, **files: str) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return folder


def test_pages_come_at_once_and_python_when_it_is_used(tmp_path: Path) -> None:
    wanted = {"book/a.html": "a", "live/course.json": "{}", "live/0123456789/live.js": "l"}
    python = {"live/pyodide-1/pyodide.asm.wasm": "w"}
    unused = {
        "sw.js": "s", "_sources/book/a.md": "a", "_static/a.js.map": "m", ".buildinfo": "b",
        "_static/vendor/fontawesome/6/js/all.min.js": "f", "vendor/font.woff": "1",
        "vendor/mathjax/chtml.css": "c",
    }  # fmt: skip
    listed = offline.sort_files(
        site(tmp_path, **wanted, **python, **unused, **{"vendor/font.woff2": "2"})
    )
    assert set(listed["core"]) == {*wanted, "vendor/font.woff2"}
    assert set(listed["python"]) == set(python)
    assert listed["core"]["book/a.html"] == (hashlib.sha256(b"a").hexdigest()[:16], 1)


def test_the_script_changes_with_any_file(tmp_path: Path) -> None:
    def script(content: str) -> str:
        return offline.service_worker(offline.sort_files(site(tmp_path, **{"a.html": content})))

    first = script("one")
    assert first != script("two")
    assert first == script("one")
    head, _, _ = first.partition(";\n")
    assert json.loads(head.removeprefix("const FILES = "))["core"]["a.html"][1] == 3


def test_both_files_are_written_and_named(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(npm, "install", lambda *places: (_ for _ in ()).throw(npm.NpmError("no")))
    built = build({"index": "# Means\n"}, normcourse_live=True, html_title="Means, computed")
    described = json.loads((built.outdir / offline.MANIFEST).read_text(encoding="utf-8"))
    assert (described["name"], described["short_name"]) == ("Means, computed", "Means")
    assert described["start_url"] == "index.html"
    assert '<link rel="manifest" href="manifest.webmanifest">' in built.html()
    assert '"index.html"' in (built.outdir / "sw.js").read_text(encoding="utf-8")


def test_without_live_cells_there_is_none(build: Build) -> None:
    built = build({"index": "# Means\n"})
    assert not (built.outdir / "sw.js").exists()
    assert "manifest" not in built.html()


def test_the_place_of_the_progress_holds_words_without_scripts(build: Build) -> None:
    built = build({"index": "# Means\n\n```{progress-overview}\nIn the *terminal*.\n```\n"})
    assert built.complaints == ""
    (place,) = find(built.body(), "div", class_="nc-overview")
    assert "data-progress-overview" in place.attrib
    assert text(place) == "In the terminal."

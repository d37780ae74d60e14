"""Lists that follow the course: figures, chapters by number, packages, the cheat sheet."""

from __future__ import annotations

import json
import re
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

import nbformat.v4 as notebook
import pytest

from normcourse.norms import METHODS, sheet
from normcourse.site import cheat_sheet, third_party

from .conftest import Build, find, text

ROOT = Path(__file__).parents[2]
SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 4 3"><path d="M0 0h4v3z"/></svg>'


def chapter(title: str, name: str, caption: str, *more: Any) -> str:
    """A chapter with one figure."""
    cell = notebook.new_code_cell(
        "draw()",
        outputs=[
            notebook.new_output(
                "execute_result",
                {"image/svg+xml": SVG, "text/plain": "a"},
                metadata={"image/svg+xml": {"alt": f"Alt of {name}."}},
                execution_count=1,
            )
        ],
        execution_count=1,
        metadata={"mystnb": {"figure": {"name": name, "caption": caption}}},
    )
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    cells = [notebook.new_markdown_cell(f"# {title}"), cell, *more]
    return str(notebook.writes(notebook.new_notebook(cells=cells, metadata={"kernelspec": kernel})))


TREE = """\
# Home

```{toctree}
:numbered:
02_means
03_sums
```

```{toctree}
figures
```
"""


class TestFigureIndex:
    def test_every_figure_of_every_chapter_with_caption_and_link(self, build: Build) -> None:
        files = {
            "02_means.ipynb": chapter("Means", "fig-mean", "A mean of $x$."),
            "03_sums.ipynb": chapter("Sums", "fig-sum", "A *sum*."),
        }
        listed = "# Figures\n\n```{figure-index}\n```\n"
        built = build({"index": TREE, "figures": listed}, files)
        assert built.complaints == ""
        body = built.body("figures")
        shown = find(body, "li")
        assert [text(item) for item in shown] == [
            "Figure 2.1A mean of \\(x\\).",
            "Figure 3.1A sum.",
        ]
        for item, page, name in zip(shown, ("02_means", "03_sums"), ("mean", "sum"), strict=True):
            (link,) = find(item, "a")
            assert link.get("href") == f"{page}.html#fig-{name}"
            (image,) = find(link, "img")
            assert image.get("alt") == f"Alt of fig-{name}."
            assert image.get("loading") == "lazy"
            assert (built.outdir / str(image.get("src"))).is_file()

    def test_an_interactive_figure_stands_still_in_the_index(self, build: Build) -> None:
        words = "```{interactive} axes-explorer\n:name: fig-axes\nMove it.\n```"
        one = chapter("Means", "fig-mean", "A mean.", notebook.new_markdown_cell(words))
        pages = {"index": TREE.replace("03_sums\n", ""), "figures": "# F\n\n```{figure-index}\n```"}
        built = build(pages, {"02_means.ipynb": one})
        assert built.complaints == ""
        shown = find(built.body("figures"), "li")
        assert text(shown[1]) == "Figure 2.2, to play withMove it."
        (image,) = find(shown[1], "img")
        assert (built.outdir / str(image.get("src"))).is_file()

    def test_a_build_without_outputs_says_so(self, build: Build) -> None:
        empty = notebook.new_notebook(cells=[notebook.new_markdown_cell("# Means")])
        built = build(
            {"index": "# Home\n\n```{figure-index}\n```\n"},
            {"02_means.ipynb": str(notebook.writes(empty))},
        )
        assert "Means: its figures are not part of this build." in text(built.body())


class TestChapterRole:
    def test_a_link_where_there_is_a_page(self, build: Build) -> None:
        words = "{chapter}`2`, {chapter}`chapter 2 <2>`, {chapter}`3`, {chapter}`chapter 99 <99>`"
        files = {"02_means.ipynb": chapter("All means", "fig-mean", "A mean.")}
        built = build({"index": f"# Home\n\n{words}\n\n```{{toctree}}\n02_means\n```\n"}, files)
        assert built.complaints == ""
        (line, *_) = find(built.body(), "p")
        linked = [(text(a), a.get("href")) for a in find(line, "a")]
        assert linked == [("02 All means", "02_means.html"), ("chapter 2", "02_means.html")]
        assert text(line).startswith("02 All means, chapter 2, 03 ")
        assert text(line).endswith(", chapter 99")

    @pytest.mark.parametrize("target", ["two", "0", "100"])
    def test_anything_but_a_number_is_an_error(self, build: Build, target: str) -> None:
        built = build({"index": f"# Home\n\n{{chapter}}`{target}`\n"})
        assert f"chapter: expected a number such as 11, got '{target}'" in built.complaints


class TestThirdParty:
    @pytest.fixture
    def lock(self, tmp_path: Path) -> Path:
        path = tmp_path / "package-lock.json"
        listed: dict[str, Any] = {
            "": {"license": "BSD-3-Clause"},
            "node_modules/mathjax": {"version": "3.2.2", "license": "Apache-2.0"},
            "node_modules/esbuild": {"version": "1", "license": "MIT", "dev": True},
            "node_modules/@esbuild/linux": {"version": "1", "license": "MIT", "optional": True},
            "node_modules/of-tests": {"version": "2", "license": "MIT", "dev": True},
            "node_modules/new-script": {"version": "3", "license": "MIT"},
        }
        path.write_text(json.dumps({"packages": listed}), encoding="utf-8")
        return path

    def test_packages_are_read_from_the_lock(self, lock: Path) -> None:
        found = third_party.packages(lock)
        assert [(p.name, p.licence, p.served) for p in found] == [
            ("mathjax", "Apache-2.0", True),
            ("esbuild", "MIT", False),
            ("of-tests", "MIT", False),
            ("new-script", "MIT", True),
        ]

    def test_a_package_without_a_licence_is_an_error(self, lock: Path) -> None:
        lock.write_text('{"packages": {"node_modules/a": {"version": "1"}}}', encoding="utf-8")
        with pytest.raises(ValueError, match="a names no licence"):
            third_party.packages(lock)

    def test_the_words_of_what_is_served(self, lock: Path) -> None:
        modules = lock.parent / "node_modules"
        (modules / "mathjax").mkdir(parents=True)
        (modules / "mathjax" / "LICENSE").write_text("Words of Apache.", encoding="utf-8")
        words = third_party.licences(lock, modules)
        assert "mathjax 3.2.2 (Apache-2.0)\n" in words
        assert "Words of Apache." in words
        assert "new-script 3 (MIT)" in words
        assert "https://spdx.org/licenses/MIT.html" in words
        assert "esbuild" not in words
        assert "Bootstrap" in words
        assert "Font Awesome" in words

    def test_every_package_of_the_course_has_a_purpose(self) -> None:
        found = third_party.packages(ROOT / "package-lock.json")
        assert {p.name for p in found} >= {"mathjax", "pyodide", "@codemirror/view"}
        named = json.loads((ROOT / "package.json").read_text(encoding="utf-8"))
        for name in (*named["dependencies"], *named["devDependencies"]):
            (package,) = [p for p in found if p.name == name]
            assert any(name.startswith(start) for start in third_party.PURPOSES), package

    def test_the_table_of_the_look_names_the_licence_of_each(self) -> None:
        """The page is written by hand; the packages themselves are asked."""
        page = (ROOT / "book" / "notices.md").read_text(encoding="utf-8")
        rows = [line for line in page.splitlines() if line.startswith("| ")]
        names = {"sphinx": "Sphinx", "myst-nb": "MyST-NB", "jupyter-book": "Jupyter Book"}
        for package in third_party.SERVED:
            shown = names.get(package, "Pygments" if package == "pygments" else package)
            (row,) = [row for row in rows if re.search(rf"\b{re.escape(shown)}\b(?!-)", row)]
            known = metadata(package)
            told = " ".join(
                [
                    str(known.get("License-Expression") or ""),
                    str(known.get("License") or "")[:40],
                    *(known.get_all("Classifier") or ()),
                ]
            )
            assert ("MIT" in row) == ("MIT" in told) or package == "sphinx-proof", package


class TestCheatSheet:
    def test_every_method_and_its_formula_are_on_the_page(self) -> None:
        page = cheat_sheet.page()
        for row in METHODS.values():
            title = row.title[:1].upper() + row.title[1:]
            assert f"* - {title}\n  - ${row.formula}$\n  - {row.pooled}\n" in page
        for name, formula in sheet.placements().items():
            assert f"- **{name}**: `{formula}`" in page

    def test_page_and_file(self, build: Build) -> None:
        built = build({"index": "# Sheet\n\n```{cheat-sheet}\n```\n"})
        assert built.complaints == ""
        (link,) = find(built.body(), "a", class_="nc-download")
        file = built.outdir / str(link.get("href"))
        assert file.read_bytes().startswith(b"%PDF-")
        assert len(re.findall(rb"/Type /Page\b", file.read_bytes())) == 1

    def test_the_same_registry_gives_the_same_file(self, tmp_path: Path) -> None:
        for name in ("a.pdf", "b.pdf"):
            cheat_sheet.write(tmp_path / name)
        assert (tmp_path / "a.pdf").read_bytes() == (tmp_path / "b.pdf").read_bytes()

    def test_without_matplotlib_there_is_a_line_in_its_place(
        self, build: Build, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(cheat_sheet, "_can_draw", lambda: False)
        built = build({"index": "# Sheet\n\n```{cheat-sheet}\n```\n"})
        assert "This build has no PDF" in text(built.body())
        assert not (built.outdir / cheat_sheet.FILE).exists()

    @pytest.mark.parametrize(("name", "means", "values"), [
        ("batch_norm", 12, 200), ("instance_norm", 96, 25), ("group_norm", 24, 100),
        ("layer_norm", 80, 64), ("rms_norm", 80, 64),
    ])  # fmt: skip
    def test_counts(self, name: str, means: int, values: int) -> None:
        found = sheet.counts(METHODS[name])
        assert (found.means, found.values) == (means, values)

    def test_what_pools_no_whole_axes_cannot_be_counted(self) -> None:
        with pytest.raises(ValueError, match="pools no whole axes"):
            sheet.counts(METHODS["divisive_normalize"])

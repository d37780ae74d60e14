"""Formulas are typeset when the book is built; a page carries them and none of MathJax's code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sphinx.errors import ExtensionError

from normcourse.site import formulas, npm, vendor
from normcourse.site.formulas import Formula, formulas_of, typeset, with_formulas

from .conftest import Build

ROOT = Path(__file__).resolve().parents[2]
TOP = "# Top\n\n```{toctree}\na/other\n```\n"
MATHS: dict[str, Any] = {
    "extensions": ["myst_nb", "sphinx_exercise", "sphinx.ext.mathjax", "normcourse.site"],
    "mathjax3_config": {"tex": {"macros": {"Var": r"\operatorname{Var}"}}},
    "mathjax_path": vendor.MATHJAX_PATH,
    "myst_enable_extensions": ["dollarmath", "amsmath"],
}
HEAD = '<link rel="stylesheet" href="theme.css">\n'
PAGE = r"""<p><span class="math notranslate nohighlight">\(a &lt; b\)</span> and
<div class="math notranslate nohighlight" id="equation-mean">
<span class="eqno">(1)<a class="headerlink" href="#e">#</a></span>\[\begin{split}a\\[1ex]
b\end{split}\]</div></p>"""


@pytest.fixture(scope="module")
def node_modules() -> Path:
    try:
        return npm.install(ROOT, ROOT / "_build" / "npm")
    except npm.NpmError as error:
        pytest.skip(f"MathJax cannot be had: {error}")


@pytest.fixture
def build_here(build: Build, node_modules: Path, monkeypatch: pytest.MonkeyPatch) -> Build:
    """Build with the MathJax that is installed already."""

    def installed(manifest: Path, cache: Path) -> Path:
        return node_modules

    monkeypatch.setattr(npm, "install", installed)
    return build


def test_formulas_of_a_page_are_found_with_their_kind() -> None:
    display = "\\begin{split}a\\\\[1ex]\nb\\end{split}"
    assert formulas_of(PAGE) == [Formula("a < b", False), Formula(display, True)]


def test_each_formula_takes_the_place_of_its_tex_and_the_number_stays() -> None:
    table = {one: f"[{number}]" for number, one in enumerate(formulas_of(PAGE))}
    text = with_formulas(HEAD + PAGE, table, "../own.css")
    assert 'nohighlight">[0]</span>' in text
    assert "#</a></span>[1]</div>" in text
    assert text.startswith('<link rel="stylesheet" href="../own.css">\n' + HEAD)
    assert with_formulas(text, {}, "../own.css") == text


def test_typeset_formulas_keep_their_mathml(node_modules: Path) -> None:
    given = [Formula(r"\Var(x) < 1", False), Formula(r"\frac{a}{b}", True)]
    (inline, display), style = typeset(given, node_modules, MATHS["mathjax3_config"]["tex"])
    assert "<mi>Var</mi>" in inline
    assert "<mo>&lt;</mo>" in inline
    assert "<mfrac>" in display
    assert 'display="true"' in display
    assert "mjx-assistive-mml" in style
    assert "output/chtml/fonts/woff-v2/MathJax_Main-Regular.woff" in style


@pytest.mark.parametrize(
    ("tex", "message"),
    [(r"\meann{x}", r"Undefined control sequence \\meann"), ("a}", "Extra close brace")],
)
def test_a_wrong_formula_is_named(node_modules: Path, tex: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        typeset([Formula("a", False), Formula(tex, False)], node_modules, {})


def test_a_page_shows_its_formulas_without_a_script(build_here: Build) -> None:
    pages = {"index": TOP, "a/other": "# Other\n\n$a$ and\n\n$$\\Var(x)$$ (variance)\n"}
    built = build_here(pages, **MATHS)
    assert built.complaints == ""
    page = built.html("a/other")
    assert page.count("<mjx-container") == 2
    assert page.count("<math ") == 2
    assert not formulas_of(page)
    assert f"../{formulas.STYLE}" in page
    assert "window.MathJax" not in page
    assert (built.outdir / formulas.STYLE).is_file()
    assert formulas.STYLE not in built.html()
    assert not list(built.outdir.glob("vendor/mathjax/**/*.js"))


def test_a_wrong_formula_stops_the_build(build_here: Build) -> None:
    with pytest.raises(ExtensionError, match=r"formula '\\\\meann': Undefined control sequence"):
        build_here({"index": "# A\n\n$\\meann$\n"}, **MATHS)


def test_without_node_formulas_stay_tex(
    build: Build, build_here: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise npm.NpmError("node is missing: install it")

    monkeypatch.setattr(npm, "find_node", missing)
    built = build_here({"index": "# A\n\n$a$\n"}, **MATHS)
    assert formulas_of(built.html()) == [Formula("a", False)]
    assert formulas.STYLE not in built.html()
    assert not (built.outdir / formulas.STYLE).exists()


def test_mathjax_of_another_host_is_left_as_it_is(build: Build) -> None:
    address = "https://example.org/mathjax/own.js"
    html = build({"index": "# A\n\n$a$\n"}, **{**MATHS, "mathjax_path": address}).html()
    assert f'src="{address}"' in html
    assert r"\(a\)" in html

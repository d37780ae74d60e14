"""One style sheet a page with what it can use, scripts that wait, the same page otherwise."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from normcourse.site.bundle import (
    FOLDER,
    TEXT_FONTS,
    bundle,
    drop_preloads,
    inline_options,
    one_style_sheet,
    pictures_when_near,
    scripts_after_text,
    with_sizes,
    with_text_fonts,
)
from normcourse.site.prune import names_used, prune

from .conftest import Build

HEAD = """<html><head>
<link rel="preload" as="font" href="../_static/icons.woff2">
  <link href="../_static/a.css?digest=1" rel="stylesheet" />
<link rel="stylesheet" href="../_static/sub/b.css">
<title>x</title>
<link rel="stylesheet" type="text/css" href="../vendor/font.css" />
</head><body></body></html>"""


def site(folder: Path) -> Path:
    """A small site with style sheets that name other files."""
    files = {
        "_static/a.css": '@import "basic.css";\n.a { background: url(img/a.png) }',
        "_static/basic.css": ".basic { color: red }",
        "_static/sub/b.css": ".b { background: url('../img/b.png'), url(data:image/png;base64,x) }",
        "vendor/font.css": "@font-face { src: url(face.woff2) }",
        "book/page.html": HEAD,
    }
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def test_style_sheets_stand_in_their_order_and_name_their_files_from_there(tmp_path: Path) -> None:
    root = site(tmp_path)
    sheets = [root / name for name in ("_static/a.css", "_static/sub/b.css", "vendor/font.css")]
    text = one_style_sheet(root, sheets)
    order = [text.index(word) for word in (".basic", ".a ", ".b ", "@font-face")]
    assert order == sorted(order)
    addresses = re.findall(r'url\("?([^")]*)"?\)', text)
    assert addresses == [
        "../img/a.png", "../img/b.png", "data:image/png;base64,x", "../../vendor/face.woff2",
    ]  # fmt: skip
    assert "@import" not in text


def test_a_page_names_one_style_sheet_where_the_first_stood(tmp_path: Path) -> None:
    root = site(tmp_path)
    written: list[str] = []

    def write(text: str) -> str:
        written.append(text)
        return f"{FOLDER}/one.css"

    page = bundle(root, root / "book" / "page.html", write)
    assert page.count('rel="stylesheet"') == 1
    link = '<link rel="stylesheet" href="../_static/bundle/one.css">'
    assert page.index("preload") < page.index(link) < page.index("<title>")
    assert len(written) == 1
    (root / "book" / "page.html").write_text(page, encoding="utf-8")
    assert bundle(root, root / "book" / "page.html", write) == page  # once more changes nothing
    assert "preload" not in drop_preloads(page)


def test_a_page_with_a_style_sheet_of_another_host_is_left_alone(tmp_path: Path) -> None:
    root = site(tmp_path)
    page = root / "book" / "page.html"
    page.write_text(HEAD.replace("../vendor/", "https://example.org/"), encoding="utf-8")
    assert bundle(root, page, lambda text: "never") == page.read_text(encoding="utf-8")


def test_scripts_are_asked_for_after_the_text_in_their_order() -> None:
    head = (
        '<script src="a.js?v=1&amp;w" id="x"></script><script>inline</script>'
        '<script src="design-tabs.js"></script><script defer src="b.js"></script>'
        '<script type="module" src="m.js"></script><script async src="own.js"></script>'
    )
    page = f'<head>{head}</head><body><p></p><script src="end.js"></script></body>'
    text = scripts_after_text(page)
    at_once = '<script>inline</script><script defer src="design-tabs.js"></script>'
    assert text.startswith(f'<head>{at_once}<script async src="own.js"></script><script>\n{{')
    assert text.endswith("</script></head><body><p></p></body>")
    order = '[["a.js?v=1&w", ""], ["b.js", ""], ["m.js", "module"], ["end.js", ""]]'
    assert order in text
    assert scripts_after_text(text) == text


def test_what_the_page_reads_at_once_stands_in_it(tmp_path: Path) -> None:
    root = site(tmp_path)
    (root / "_static" / "documentation_options.js").write_text("const A = 1;\n", encoding="utf-8")
    script = '<script src="../_static/documentation_options.js?v=1"></script>'
    page = root / "book" / "page.html"
    assert inline_options(root, page, f"<head>{script}</head>") == (
        "<head><script>const A = 1;</script></head>"
    )
    missing = script.replace("../", "")
    assert inline_options(root, page, missing) == missing


def test_pictures_say_their_size(tmp_path: Path) -> None:
    root = site(tmp_path)
    (root / "_static" / "a b.svg").write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" width="72pt" height="36pt"/>', encoding="utf-8"
    )
    page = root / "book" / "page.html"
    image = '<img alt="x" src="../_static/a%20b.svg" />'
    sized = f'<img width="96" height="48"{image[4:]}'
    assert with_sizes(root, page, image) == sized
    others = (sized, '<img style="width: 3em" src="../_static/a%20b.svg">', '<img src="none.svg">')
    for text in others:
        assert with_sizes(root, page, text) == text


def test_the_fonts_of_the_text_are_asked_for_first_where_the_site_has_them(tmp_path: Path) -> None:
    root = site(tmp_path)
    page = root / "book" / "page.html"
    text = drop_preloads(HEAD)
    assert with_text_fonts(root, page, text) == text
    assert [name.rpartition("-")[2] for name in TEXT_FONTS] == ["normal.woff2", "italic.woff2"]
    for name in TEXT_FONTS:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    asking = with_text_fonts(root, page, text)
    for name in TEXT_FONTS:
        link = f'<link rel="preload" as="font" type="font/woff2" crossorigin href="../{name}">'
        assert asking.count(link) == 1
        assert asking.index(link) < asking.index('rel="stylesheet"')
    assert drop_preloads(asking) == text
    assert with_text_fonts(root, page, drop_preloads(asking)) == asking


def test_pictures_of_the_text_wait_but_for_the_first() -> None:
    page = (
        '<img src="logo.svg"><article><p><img alt="1" src="a.svg"></p><img src="b.svg">'
        '<img loading="eager" src="c.svg"></article><img src="end.svg">'
    )
    text = pictures_when_near(page)
    assert text == page.replace('<img src="b', '<img loading="lazy" src="b')
    assert pictures_when_near(text) == text
    assert pictures_when_near("<article></article>") == "<article></article>"


PAGE = (
    '<p class="used other" id="place"></p><script>node.classList.add("by-script")</script>'
    "<p>not a-name</p>"
)


@pytest.mark.parametrize(
    ("style", "kept"),
    [
        (".used{a:b}", ".used{a:b}"),
        (".unused{a:b}", ""),
        (".used .unused,.other>p{a:b}", ".other>p{a:b}"),
        ("#place{a:b}#gone{a:b}", "#place{a:b}"),
        (".by-script{a:b}.from-file{a:b}.a-name{a:b}", ".by-script{a:b}\n.from-file{a:b}"),
        (".used:not(.unused){a:b}", ".used:not(.unused){a:b}"),
        ('[data-theme=dark] p::after{content:".x"}', '[data-theme=dark] p::after{content:".x"}'),
        (".bs-tooltip-top{a:b}.nc-of-parts{a:b}", ".bs-tooltip-top{a:b}\n.nc-of-parts{a:b}"),
        (".used{a:b}} .other{a:b}", ".used{a:b}"),
        ("@media print{.used{a:b}.unused{a:b}}", "@media print{.used{a:b}}"),
        ("@media print{.unused{a:b}}", ""),
        ("@font-face{src:url(a.woff2)}/* .used */", "@font-face{src:url(a.woff2)}"),
        ("@keyframes turn{to{a:b}}", "@keyframes turn{to{a:b}}"),
        (".fa-used:before{content:'1'}.used.fa-x::before{content:'2'}", ""),
    ],
)  # fmt: skip
def test_rules_that_no_page_can_use_are_left_out(style: str, kept: str) -> None:
    assert prune(style, names_used([PAGE], ["add('from-file')"])) == kept


def test_the_built_site(build: Build) -> None:
    built = build({"index": "# A\n\n```{toctree}\nb\n```\n", "b": "# B\n"}, normcourse_bundle=True)
    names = {
        name: re.findall(r'rel="stylesheet"[^>]*href="([^"]+)"', built.html(name)) for name in "b"
    }
    (address,) = names["b"]
    style = (built.outdir / address).read_text(encoding="utf-8")
    assert ".nc-exercise" in style
    whole = (path.stat().st_size for path in built.outdir.rglob("*.css") if FOLDER not in str(path))
    assert len(style) < sum(whole) / 2
    assert [path.name for path in (built.outdir / FOLDER).iterdir()] == [Path(address).name]

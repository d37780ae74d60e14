"""One style sheet a page with everything in it, scripts that wait, the same page otherwise."""

from __future__ import annotations

import re
from pathlib import Path

from normcourse.site.bundle import (
    FOLDER,
    bundle,
    defer_scripts,
    drop_font_preloads,
    one_style_sheet,
    without_icons,
)

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
    assert "preload" not in drop_font_preloads(page)


def test_a_page_with_a_style_sheet_of_another_host_is_left_alone(tmp_path: Path) -> None:
    root = site(tmp_path)
    page = root / "book" / "page.html"
    page.write_text(HEAD.replace("../vendor/", "https://example.org/"), encoding="utf-8")
    assert bundle(root, page, lambda text: "never") == page.read_text(encoding="utf-8")


def test_scripts_of_the_head_wait_in_their_order() -> None:
    head = (
        '<script src="documentation_options.js"></script><script src="a.js" id="x"></script>'
        '<script type="module" src="m.js"></script><script>inline</script>'
    )
    page = f'<head>{head}</head><body><script src="end.js"></script></body>'
    assert defer_scripts(page) == page.replace('<script src="a.js"', '<script defer src="a.js"')


def test_icons_that_are_used_stay() -> None:
    style = '.fa-up:before{content:"\\f1"}.fa-x::before,.fa-y::before{content:"\\f2"}.fa-solid{a:b}'
    assert without_icons(style, {"fa-y"}) == style.replace('.fa-up:before{content:"\\f1"}', "")


def test_the_built_site(build: Build) -> None:
    built = build({"index": "# A\n\n```{toctree}\nb\n```\n", "b": "# B\n"}, normcourse_bundle=True)
    names = {
        name: re.findall(r'rel="stylesheet"[^>]*href="([^"]+)"', built.html(name)) for name in "b"
    }
    (address,) = names["b"]
    assert ".nc-exercise" in (built.outdir / address).read_text(encoding="utf-8")
    assert [path.name for path in (built.outdir / FOLDER).iterdir()] == [Path(address).name]

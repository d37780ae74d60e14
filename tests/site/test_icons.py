"""Fonts of icons carry what style sheets show, and nothing else changes."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pydata_sphinx_theme
import pytest
from fontTools.ttLib import TTFont

from normcourse.site.icons import NAME, icons_of, subset, with_own_icons

FOLDER = "_static/bundle"
FACE = (
    '@font-face{font-family:Icons;src:url("../webfonts/fa-solid-900.woff2") format("woff2"),'
    'url("../webfonts/fa-solid-900.ttf") format("truetype");unicode-range:U+F000-F8FF}'
)
SHOWN = '.search::before{content:"\\f002"}.list::before{content:"\uf03a"}'


@pytest.fixture(scope="module")
def font() -> bytes:
    static = Path(pydata_sphinx_theme.__file__).parent
    return next(static.rglob("fa-solid-900.ttf")).read_bytes()


@pytest.fixture
def site(tmp_path: Path, font: bytes) -> Path:
    path = tmp_path / "_static" / "webfonts" / "fa-solid-900.ttf"
    path.parent.mkdir(parents=True)
    path.write_bytes(font)
    return tmp_path


def test_what_rules_show_is_found_and_not_what_a_face_stands_for() -> None:
    face = '@font-face{unicode-range:"\\f005"}'
    assert icons_of(face + SHOWN + '.x{content:"\\2713 a"}') == {0xF002, 0xF03A}


def test_a_smaller_font_has_the_signs_as_they_were_and_another_name(font: bytes) -> None:
    made = subset(font, [0xF002, 0xF03A, 0xE123])
    assert made is not None
    assert len(made) < len(font) / 50
    before, after = TTFont(BytesIO(font)), TTFont(BytesIO(made))
    assert set(after.getBestCmap()) == {0xF002, 0xF03A}
    for point in after.getBestCmap():
        old, new = before.getBestCmap()[point], after.getBestCmap()[point]
        assert before["hmtx"][old] == after["hmtx"][new]
        assert (
            before["glyf"][old].getCoordinates(None)[0]
            == (after["glyf"][new].getCoordinates(None)[0])
        )
    assert after["name"].getBestFamilyName() == NAME
    assert "Awesome" in after["name"].getDebugName(0)  # whose it is
    assert made == subset(font, [0xF03A, 0xF002])
    assert subset(font, [0xE123]) is None


def test_a_style_sheet_names_its_own_font(site: Path) -> None:
    text = with_own_icons(site, FOLDER, FACE + SHOWN)
    (made,) = (site / FOLDER).glob("icons-*.woff")
    face = f'src:url("{made.name}") format("woff");unicode-range:U+F000-F8FF}}'
    assert text == f"@font-face{{font-family:Icons;{face}{SHOWN}"
    assert with_own_icons(site, FOLDER, text) == text


def test_a_font_without_any_of_the_icons_is_not_asked_for(site: Path) -> None:
    rule = '.x::before{content:"\\e123"}'
    assert with_own_icons(site, FOLDER, FACE + rule) == rule
    assert not (site / FOLDER).exists()


def test_other_fonts_stay(site: Path) -> None:
    style = '@font-face{src:url("../../vendor/face.woff2")}' + FACE.replace("-900", "-missing")
    assert with_own_icons(site, FOLDER, style + SHOWN) == style + SHOWN

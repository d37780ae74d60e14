"""Fonts of icons with the icons that style sheets name: 3 kB in the place of 150.

Font Awesome has a sign for everything; the book shows thirty of them. When a style sheet is put
together, each font of icons that it names is written anew with those alone. A changed font may not
bear the name of the first, so it is called ``NAME``; its copyright and licence stay in it.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path

__all__ = ["icons_of", "subset", "with_own_icons"]

NAME = "Course Icons"
FACE = re.compile(r"@font-face\s*{[^}]*}\s*")
SOURCES = re.compile(r"\bsrc\s*:[^;}]*")
TRUETYPE = re.compile(r"url\(\"?([^\")]*/webfonts/[^\")]*\.ttf)\"?\)")
PRIVATE = range(0xE000, 0xF900)  # where Unicode leaves room for signs of one's own
ESCAPE = re.compile(r"\\([0-9A-Fa-f]{4,6})")
NAMED = {1: NAME, 3: NAME, 4: NAME, 6: NAME.replace(" ", ""), 16: NAME}  # what name a font bears


def icons_of(style: str) -> set[int]:
    r"""Return the code points of the icons that rules of a style sheet show.

    Example:
        >>> sorted(map(hex, icons_of(r'.a::before{content:"\f002"} .b::after{content:"x"}')))
        ['0xf002']
    """
    rules = FACE.sub("", style)  # a face says for which of them it stands, which shows none
    points = [*map(ord, rules), *(int(digits, 16) for digits in ESCAPE.findall(rules))]
    return {point for point in points if point in PRIVATE}


def subset(font: bytes, points: Iterable[int]) -> bytes | None:
    """Return a TrueType font with some of its signs, as WOFF; None if it has none of them."""
    from fontTools.subset import Options, Subsetter
    from fontTools.ttLib import TTFont

    opened = TTFont(BytesIO(font), lazy=True, recalcTimestamp=False)
    here = set(points) & set(opened.getBestCmap())
    if not here:
        return None
    options = Options(name_IDs=["*"], hinting=False, layout_features=[], notdef_outline=False)
    subsetter = Subsetter(options)
    subsetter.populate(unicodes=here)
    subsetter.subset(opened)
    for record in opened["name"].names:
        record.string = NAMED.get(record.nameID, record.toUnicode())
    opened.flavor = "woff"  # WOFF2 is a tenth smaller, and needs a package more
    file = BytesIO()
    opened.save(file)
    return file.getvalue()


def with_own_icons(site: Path, folder: str, style: str) -> str:
    """Return a style sheet whose fonts of icons lie in ``folder``, without those it does not show.

    Args:
        site: folder of the site.
        folder: of the style sheet and of the new fonts, below ``site``.
        style: text of the style sheet.
    """
    points = icons_of(style)

    def smaller(match: re.Match[str]) -> str:
        face = match[0]
        named = TRUETYPE.search(face)
        path = site / posixpath.normpath(posixpath.join(folder, named[1])) if named else None
        if path is None or not path.is_file():
            return face
        font = subset(path.read_bytes(), points)
        if font is None:
            return ""
        name = f"icons-{hashlib.sha256(font).hexdigest()[:12]}.woff"
        (site / folder / name).parent.mkdir(parents=True, exist_ok=True)
        (site / folder / name).write_bytes(font)
        return SOURCES.sub(f'src:url("{name}") format("woff")', face, count=1)

    return FACE.sub(smaller, style)

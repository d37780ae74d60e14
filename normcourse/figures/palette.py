"""Colours, each with one meaning in the whole book (Okabe & Ito's, told apart by most eyes)."""

from __future__ import annotations

METHOD_COLORS: dict[str, str] = {
    "batch_norm": "#0072B2",  # blue
    "layer_norm": "#D55E00",  # vermillion
    "instance_norm": "#009E73",  # green
    "group_norm": "#CC79A7",  # purple
    "rms_norm": "#E69F00",  # orange
}

RAW = "#6E6E6E"  # data before any normalization
HIGHLIGHT = "#56B4E9"  # what the text points at
CARD = "#FBFAF7"  # background of every figure, in light and dark mode
INK = "#262626"  # text and axes
FAINT = "#D9D6CF"  # grids, and what is left out
OTHER = "#8A8A8A"  # the road not taken: a wrong or a second way, always dashed


def method_color(name: str) -> str:
    """Return the colour of a method, or the ink for one that has none.

    Example:
        >>> method_color("batch_norm"), method_color("unheard_of")
        ('#0072B2', '#262626')
    """
    return METHOD_COLORS.get(name, INK)

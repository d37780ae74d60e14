"""Which values one mean pools, drawn from a row of the registry."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from normcourse.figures._base import CourseFigure, bare, card, figure
from normcourse.figures.palette import FAINT, method_color
from normcourse.norms import Method

Shape = tuple[int, ...]

_GAP = 0.8  # between two maps; a value is a square of side 1
_LONE = 1.6  # side of a value that is a map by itself


def pooled_mask(
    axes: tuple[int, ...],
    shape: Shape,
    *,
    at: Shape | None = None,
    groups: int | None = None,
) -> NDArray[np.bool_]:
    """Return which values share their mean with the value at ``at``.

    Args:
        axes: the axes that one mean pools; with ``groups`` those of the view (N, G, C / G, *).
        shape: shape of the array, (N, C, *).
        at: index of one value; the first one if not given.
        groups: number of channel groups G of that view.

    Returns:
        Booleans of shape ``shape``.

    Raises:
        ValueError: ``groups`` does not divide the channels.

    Example:
        >>> pooled_mask((0,), (2, 3)).astype(int)
        array([[1, 0, 0],
               [1, 0, 0]])
        >>> int(pooled_mask((0, 2, 3), (4, 3, 5, 6)).sum())
        120
        >>> pooled_mask((2,), (2, 4), groups=2).astype(int)
        array([[1, 1, 0, 0],
               [0, 0, 0, 0]])
    """
    view = shape
    if groups is not None:
        if shape[1] % groups:
            raise ValueError(f"groups: expected a divisor of {shape[1]} channels, got {groups}.")
        view = (shape[0], groups, shape[1] // groups, *shape[2:])
    flat = 0 if at is None else int(np.ravel_multi_index(at, shape))
    place = np.unravel_index(flat, view)
    mask = np.ones(view, dtype=bool)
    for axis, index in enumerate(np.indices(view, sparse=True)):
        if axis not in axes:
            mask &= index == place[axis]
    return mask.reshape(shape)


@figure(
    alt=(
        "Arrays with examples as rows and channels as columns, a small map in each place. "
        "Shaded for {row.title}: the values that share one mean."
    )
)
def pooled_axes(
    row: Method,
    shapes: Sequence[Shape] = ((4, 3), (4, 3, 5), (4, 3, 2, 3)),
    *,
    groups: int | None = None,
    letters: Sequence[str] | None = None,
) -> CourseFigure:
    """Draw the values that one mean pools, for arrays of two, three and four axes.

    Args:
        row: the method, a row of ``normcourse.norms.METHODS``.
        shapes: shapes of the arrays, each (N, C, *) with two to four axes.
        groups: number of channel groups, for methods that cut the channels into groups.
        letters: names of the axes, a word per shape such as "NTD"; by default ND, NCL and NCHW.

    Raises:
        ValueError: the method pools no whole axes.
    """
    if row.axes is None:
        raise ValueError(f"row: {row.title} pools no whole axes; choose a method that does.")
    tallest = max(_map_size(shape)[0] for shape in shapes)
    pitch = max(tallest, _LONE) + _GAP  # from one example to the next
    bottom = max(shape[0] for shape in shapes) * pitch - _GAP
    fig = card(2.5)
    ax = fig.subplots()
    bare(ax)
    left = 0.0
    for place, shape in enumerate(shapes):
        names = _letters(shape) if letters is None else tuple(letters[place])
        mask = pooled_mask(row.axes(len(shape)), shape, groups=groups)
        right = _draw_maps(ax, mask, left, pitch, method_color(row.name))
        middle = (left + right) / 2
        ax.text(middle, -1.0, f"({', '.join(names)})", ha="center", weight="bold")
        ax.text(middle, bottom + 1.0, _count_in_words(mask, groups, names), ha="center", va="top")
        left = right + 2.2
    ax.text(-0.8, bottom / 2, "examples", rotation=90, ha="right", va="center")
    ax.set_xlim(-2.4, left - 2.2 + 0.2)
    ax.set_ylim(bottom + 4.4, -2.6)
    ax.set_aspect("equal")
    return fig


def _letters(shape: Shape) -> tuple[str, ...]:
    """Return the names of the axes: (N, D), (N, C, L) or (N, C, H, W)."""
    return {2: ("N", "D"), 3: ("N", "C", "L"), 4: ("N", "C", "H", "W")}[len(shape)]


def _map_size(shape: Shape) -> tuple[int, int]:
    """Return height and width of one map in values; a lone value is a map of 1 x 1."""
    return (shape[2] if len(shape) == 4 else 1, shape[-1] if len(shape) > 2 else 1)


def _draw_maps(ax: Axes, mask: NDArray[np.bool_], left: float, pitch: float, color: str) -> float:
    """Draw one array: a row per example, a column per channel. Return its right edge."""
    num, channels = mask.shape[:2]
    height, width = _map_size(mask.shape)
    cell = _LONE if mask.ndim == 2 else 1.0
    step: float = width * cell + _GAP
    above = (pitch - _GAP - height * cell) / 2
    maps = mask.reshape(num, channels, height, width)
    for n, c, i, j in np.ndindex(maps.shape):
        corner = (left + c * step + j * cell, n * pitch + above + i * cell)
        face, edge = (color, "white") if maps[n, c, i, j] else ("white", FAINT)
        ax.add_patch(Rectangle(corner, cell, cell, facecolor=face, edgecolor=edge))
    return float(left + channels * step - _GAP)


def _count_in_words(mask: NDArray[np.bool_], groups: int | None, names: Sequence[str]) -> str:
    """Return the number of pooled values as a product of sizes, in letters and numbers."""
    every = range(mask.ndim)
    sizes = [int(mask.any(axis=tuple(a for a in every if a != axis)).sum()) for axis in every]
    pooled = [axis for axis in every if sizes[axis] > 1]
    letters = list(names)
    if groups is not None:
        letters[1] += "/G"
    product = "·".join(str(sizes[axis]) for axis in pooled)
    total = f"{product} = {math.prod(sizes)}" if len(pooled) > 1 else str(math.prod(sizes))
    return f"{'·'.join(letters[axis] for axis in pooled) or 'each'} =\n{total} values"

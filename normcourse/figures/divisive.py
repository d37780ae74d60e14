"""Divisive normalization: response curves, pools as matrices, photographs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from normcourse.figures._base import CourseFigure, bare, card, figure
from normcourse.figures.palette import FAINT, HIGHLIGHT, INK, METHOD_COLORS, RAW

Array = NDArray[Any]

_RED = METHOD_COLORS["layer_norm"]
_TONES = (INK, METHOD_COLORS["batch_norm"], _RED, METHOD_COLORS["instance_norm"])
_LINES = ("-", "--", "-.", ":")


@figure(
    alt=(
        "A grey photograph with two squares marked, and the histograms of the values inside: a "
        "bright, wide one and a dark, narrow one."
    )
)
def two_patches(photo: Array, corners: Sequence[tuple[int, int]], size: int) -> CourseFigure:
    """Draw a photograph with two patches and what values they hold.

    Args:
        photo: grey values in [0, 1], array of shape (H, W).
        corners: row and column of the upper left corner of each patch.
        size: height and width of a patch.
    """
    fig = card(2.5)
    left, right = fig.subplots(1, 2, width_ratios=(1.4, 1))
    bare(left)
    left.imshow(photo, cmap="gray", vmin=0, vmax=1)
    for (row, column), color in zip(corners, (_RED, HIGHLIGHT), strict=True):
        box = Rectangle((column, row), size, size, fill=False, edgecolor=color, linewidth=2.2)
        left.add_patch(box)
        values = photo[row : row + size, column : column + size].ravel()
        right.hist(values, bins=np.linspace(0, 1, 26), color=color, alpha=0.85)
    right.set_xlabel("grey value")
    right.set_ylabel("pixels")
    return fig


@figure(
    alt="Curves of {what}; each line has its own label, colour and dashes.",
)
def responses(
    x: Array,
    curves: Mapping[str, Array],
    *,
    xlabel: str = "drive",
    ylabel: str = "response",
    what: str = "the response against the drive",
) -> CourseFigure:
    """Draw some curves over one logarithmic axis.

    Args:
        x: array of shape (K,).
        curves: label to values, arrays of shape (K,); at most four.
        xlabel: what the axis shows, with its unit if it has one.
        ylabel: what the curves show.
        what: the curves in words, for the alt text.
    """
    fig = card(2.8)
    ax = fig.subplots()
    for (label, y), color, line in zip(curves.items(), _TONES, _LINES, strict=False):
        ax.plot(x, y, line, color=color, label=label, linewidth=2)
    ax.set_xscale("log")
    if len(curves) > 1:
        ax.legend(
            loc="lower left",
            bbox_to_anchor=(-0.02, 1.0),
            ncols=min(len(curves), 3),
            fontsize=9,
            columnspacing=1.2,
            handlelength=1.8,
        )
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    return fig


@figure(
    alt=(
        "Square tables of weights, one per method, darker for more: a band for a window, blocks "
        "for groups, an even grey for layer norm."
    )
)
def pool_matrices(pools: Mapping[str, Array]) -> CourseFigure:
    """Draw who counts for whom: row i shows the weights in the pool of neuron i.

    Args:
        pools: name to weights, arrays of shape (D, D).
    """
    fig = card(1.75)
    for ax, (name, pool) in zip(
        fig.subplots(1, len(pools), squeeze=False)[0], pools.items(), strict=True
    ):
        bare(ax)
        ax.imshow(pool / pool.max(), cmap="Greys", vmin=0, vmax=1.25)
        ax.set_xlabel(name, fontsize=9, color=INK)
    return fig


@figure(
    alt=(
        "One photograph three times: as it is, normalized as a whole, and normalized in every "
        "neighbourhood, where the dark parts show as much detail as the bright ones."
    )
)
def three_photographs(photos: Mapping[str, Array]) -> CourseFigure:
    """Draw grey images side by side, each from its 2nd to its 98th percentile.

    Args:
        photos: name to array of shape (H, W).
    """
    fig = card(1.75)
    for ax, (name, photo) in zip(
        fig.subplots(1, len(photos), squeeze=False)[0], photos.items(), strict=True
    ):
        bare(ax)
        low, high = np.percentile(photo, [2, 98])
        ax.imshow(photo, cmap="gray", vmin=low, vmax=high)
        ax.set_xlabel(name, fontsize=9, color=INK)
    return fig


@figure(
    alt=(
        "Local standard deviation of grey values along one row of the photograph, raw in grey and "
        "normalized in red: the one jumps with the scene, the other stays near 1."
    )
)
def local_contrast(before: Array, after: Array) -> CourseFigure:
    """Draw the contrast of each neighbourhood along a row, each divided by its mean.

    Args:
        before: local standard deviations before, array of shape (W,).
        after: the same after normalization, array of shape (W,).
    """
    fig = card(2.4)
    ax = fig.subplots()
    ax.axhline(1, color=FAINT, linewidth=1, zorder=0)
    for values, color, line, name in (
        (before, RAW, "--", "before"),
        (after, _RED, "-", "after"),
    ):
        ax.plot(values / values.mean(), line, color=color, label=name, linewidth=1.8)
    ax.set_ylim(bottom=0)
    ax.legend(loc="upper right")
    ax.set_xlabel("column of the photograph")
    ax.set_ylabel("local std / its mean")
    return fig

"""Features of a batch: their spread, their histograms, how they go together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from normcourse.figures._base import CourseFigure, bare, card, figure, signed
from normcourse.figures.palette import FAINT, INK, METHOD_COLORS, RAW

Array = NDArray[Any]

_BLUE = METHOD_COLORS["batch_norm"]


@figure(
    alt=(
        "One bar per hidden unit, from one standard deviation below its mean to one above. "
        "Centres and lengths differ widely from unit to unit."
    )
)
def feature_spread(x: Array) -> CourseFigure:
    """Draw mean and standard deviation of each feature of a batch.

    Args:
        x: array of shape (N, D).
    """
    return _spread(x, RAW)


@figure(
    alt=(
        "The same bars after batch normalization, same axes: every one is centred at 0 and "
        "reaches from minus 1 to 1. Grey bars behind show the raw units."
    )
)
def feature_spread_normalized(x: Array, y: Array) -> CourseFigure:
    """Draw the spread of each feature after normalization, over the one before.

    Args:
        x: the batch before, array of shape (N, D).
        y: the batch after, array of shape (N, D).
    """
    fig = _spread(x, FAINT)
    _bars(fig.axes[0], y, _BLUE)
    return fig


def _spread(x: Array, color: str) -> CourseFigure:
    fig = card(2.9)
    ax = fig.subplots()
    ax.axhline(0, color=INK, linewidth=0.9, zorder=0)
    _bars(ax, x, color)
    ax.set_xlabel("hidden unit")
    ax.set_ylabel("mean ± std")
    ax.set_xlim(-0.8, x.shape[1] - 0.2)
    return fig


def _bars(ax: Axes, x: Array, color: str) -> None:
    unit = np.arange(x.shape[1])
    mean, std = x.mean(axis=0), x.std(axis=0)
    ax.vlines(unit, mean - std, mean + std, color=color, linewidth=4.5)
    face = color if color == FAINT else "white"
    ax.plot(unit, mean, "o", color=face, markeredgecolor=color, markersize=5)


def _fixed(value: float, digits: int) -> str:
    """Return a number with a real minus sign and without minus zero."""
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")


@figure(
    alt=(
        "A table of numbers, examples as rows and features as columns. One column is shaded; "
        "below each column stand its mean and standard deviation."
    )
)
def batch_table(x: Array, *, feature: int = 1) -> CourseFigure:
    """Draw a small batch as a table, with one feature shaded and the moments below.

    Args:
        x: array of shape (N, D), a few rows and columns.
        feature: the column to shade.
    """
    num, width = x.shape
    fig = card(0.36 * (num + 3) + 0.1)
    ax = fig.subplots()
    bare(ax)
    ax.set_xlim(-1.35, width)
    ax.set_ylim(num + 2.2, -1)
    ax.add_patch(Rectangle((feature, 0), 1, num, facecolor=_BLUE, alpha=0.2, edgecolor="none"))
    ax.hlines(np.arange(num + 1), 0, width, color=FAINT, linewidth=0.8)
    for c in range(width):
        shade = _BLUE if c == feature else INK
        ax.text(c + 0.5, -0.5, f"feature {c}", ha="center", va="center", color=shade)
        for n in range(num):
            ax.text(c + 0.5, n + 0.5, _fixed(x[n, c], 1), ha="center", va="center")
        for line, value in enumerate((x[:, c].mean(), x[:, c].std())):
            ax.text(
                c + 0.5, num + 0.6 + line, _fixed(value, 2), ha="center", va="center", color=shade
            )
    for n in range(num):
        ax.text(-0.15, n + 0.5, f"example {n}", ha="right", va="center", color=RAW)
    for line, name in enumerate(("mean", "std")):
        ax.text(-0.15, num + 0.6 + line, name, ha="right", va="center")
    return fig


@figure(
    alt=(
        "Histograms of three units, raw in grey above, normalized in blue below. Centre and "
        "width change to 0 and 1; lopsided and two-humped shapes stay."
    )
)
def feature_histograms(x: Array, y: Array, features: Sequence[int]) -> CourseFigure:
    """Draw histograms of some features before and after normalization.

    Args:
        x: the batch before, array of shape (N, D).
        y: the batch after, array of shape (N, D).
        features: the columns to draw.
    """
    fig = card(3.3)
    grid = fig.subplots(2, len(features), sharex="row", sharey=True, squeeze=False)
    for row, (values, color) in enumerate(((x, RAW), (y, _BLUE))):
        for ax, feature in zip(grid[row], features, strict=True):
            column = values[:, feature]
            ax.hist(column, bins=20, color=color)
            ax.axvline(column.mean(), color=INK, linewidth=1.2)
            ax.set_yticks([])
            ax.spines["left"].set_visible(False)
    for ax, feature in zip(grid[0], features, strict=True):
        ax.text(0.5, 1.02, f"unit {feature}", transform=ax.transAxes, ha="center", va="bottom")
    grid[0, 0].set_ylabel("before", color=RAW)
    grid[1, 0].set_ylabel("after", color=_BLUE)
    return fig


@figure(
    alt=(
        "Two scatter plots of one unit against another, raw and normalized. The cloud is "
        "centred and rescaled, but as slanted as before: the correlation is the same."
    )
)
def feature_correlation(x: Array, y: Array, pair: tuple[int, int]) -> CourseFigure:
    """Draw two features against each other, before and after normalization.

    Args:
        x: the batch before, array of shape (N, D).
        y: the batch after, array of shape (N, D).
        pair: the two columns.
    """
    fig = card(3.0)
    first, second = pair
    for ax, values, color, when in zip(
        fig.subplots(1, 2), (x, y), (RAW, _BLUE), ("before", "after"), strict=True
    ):
        a, b = values[:, first], values[:, second]
        ax.plot(a, b, "o", color=color, markersize=3, alpha=0.6, markeredgewidth=0)
        ax.set_xlabel(f"unit {first}, {when}")
        ax.set_ylabel(f"unit {second}, {when}")
        correlation = np.corrcoef(a, b)[0, 1]
        words = f"correlation {signed(correlation, 2)}"
        ax.text(0.5, 1.02, words, transform=ax.transAxes, ha="center", va="bottom")
    return fig

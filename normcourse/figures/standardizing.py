"""Standardizing a few numbers: the steps, the divisor of the variance, the place of eps."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

from normcourse.figures._base import CourseFigure, card, figure, signed
from normcourse.figures.palette import FAINT, INK, METHOD_COLORS, OTHER, RAW
from normcourse.norms import core

Array = NDArray[Any]

_BLUE = METHOD_COLORS["batch_norm"]


@figure(
    alt=(
        "Three number lines joined by thin lines: the values, the values minus their mean, and "
        "these divided by the standard deviation, all to one scale."
    )
)
def worked_example(x: ArrayLike) -> CourseFigure:
    """Draw a few numbers, the same minus their mean, and the same divided by their std.

    Args:
        x: a few numbers, array of shape (N,).
    """
    values = np.asarray(x, dtype=float)
    centered, _, _ = core.centered_moments(values, (0,))
    x_hat = core.standardize(values, (0,), eps=0.0).x_hat
    rows = ((values, RAW, "x"), (centered, INK, "x − mean"), (x_hat, _BLUE, "x_hat"))
    fig = card(3.0)
    ax = fig.subplots()
    for level, (row, color, _) in enumerate(rows):
        ax.axhline(level, color=FAINT, linewidth=1, zorder=0)
        ax.plot(row, np.full(row.shape, level), "o", color=color, markersize=9)
        for place, value in enumerate(np.sort(row)):
            crowded = level == 2 and 0 < place < len(row) - 1
            _label(ax, value, level, color, below=crowded)
        if level:
            ax.plot([rows[level - 1][0], row], [level - 1, level], color=FAINT, lw=1, zorder=0)
    ax.set_yticks(range(len(rows)), [name for _, _, name in rows])
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.set_xlabel("value")
    return fig


def _label(ax: Axes, value: float, level: int, color: str, *, below: bool) -> None:
    """Write a value above its dot, or below it and away from 0 where it is crowded."""
    ax.annotate(
        signed(value, 2),
        (value, level),
        xytext=(9 * np.sign(value) if below else 0, -8 if below else 8),
        textcoords="offset points",
        ha="center",
        va="top" if below else "bottom",
        color=color,
        fontsize=10.5,
    )


@figure(
    alt=(
        "Standard deviation of the output against values per mean. Dividing by n gives 1 always; "
        "dividing by n minus 1 gives 0.71 for two values, nearly 1 for many."
    )
)
def variance_divisor(marked: tuple[int, ...] = (2, 4, 8)) -> CourseFigure:
    """Draw the standard deviation of x_hat when the variance is divided by n and by n - 1.

    Args:
        marked: numbers of values to mark on the curve of n - 1.
    """
    n = np.unique(np.geomspace(2, 2000, 200).round())
    fig = card(2.9)
    ax = fig.subplots()
    ax.axhline(1, color=_BLUE)
    ax.plot(n, np.sqrt((n - 1) / n), "--", color=OTHER)
    for count in marked:
        std = np.sqrt((count - 1) / count)
        ax.plot(count, std, "o", color=OTHER)
        ax.text(count * 1.12, std - 0.012, f"n = {count}: {std:.3f}", va="top")
    ax.text(2000, 1.008, "divided by n", color=_BLUE, ha="right", va="bottom")
    ax.text(2000, 0.955, "divided by n − 1", color=INK, ha="right", va="top")
    ax.set_xscale("log")
    ax.set_ylim(0.66, 1.06)
    ax.set_xlabel("values per mean, n")
    ax.set_ylabel("std of x_hat")
    return fig


@figure(
    alt=(
        "Standard deviation of the output against that of the input, log scale. With eps inside "
        "the root it falls below the root of eps; outside, far later."
    )
)
def eps_and_the_root(eps: float = 1e-5) -> CourseFigure:
    """Draw how far features of small spread are scaled up, eps inside or outside the root.

    Args:
        eps: the constant.
    """
    std = np.geomspace(1e-6, 1, 300)
    fig = card(3.0)
    ax = fig.subplots()
    ax.plot(std, std / np.sqrt(std**2 + eps), color=_BLUE)
    ax.plot(std, std / (std + eps), "--", color=OTHER)
    root = np.sqrt(eps)
    ax.axvline(root, color=FAINT, zorder=0)
    ax.plot(root, np.sqrt(0.5), "o", color=_BLUE)
    ax.text(root * 1.6, 0.6, f"std = √eps = {root:.4f}", va="top")
    ax.text(root * 0.3, 0.3, "eps inside", color=_BLUE, ha="right")
    ax.text(eps * 2.2, 0.6, "eps outside", color=INK, ha="left")
    ax.set_xscale("log")
    ax.set_xlabel("std of the feature")
    ax.set_ylabel("std of x_hat")
    return fig

"""Instance normalization: photographs in another light, and digits whose label is their style."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from normcourse.figures._base import CourseFigure, bare, card, figure
from normcourse.figures._curves import Spreads, draw_curve
from normcourse.figures._results import Rows
from normcourse.figures.palette import FAINT, INK, METHOD_COLORS, OTHER, RAW

Array = NDArray[Any]

_GREEN = METHOD_COLORS["instance_norm"]
_BLUE = METHOD_COLORS["batch_norm"]

# The words of the experiments for a net -> what stands beside it, colour, marker, line.
_ARMS: dict[str, tuple[str, str, str, str]] = {
    "none": ("none", RAW, "o", "--"),
    "batch": ("batch norm", _BLUE, "s", "-"),
    "batch, many styles": ("batch norm, many styles", _BLUE, "s", ":"),
    "instance": ("instance, inside", _GREEN, "D", "--"),
    "instance, edges repeated": ("inside, no zeros", _GREEN, "d", ":"),
    "instance first": ("instance, at the input", _GREEN, "D", "-"),
}


@figure(alt="{what}")
def picture_rows(
    rows: Mapping[str, Mapping[str, Array]], what: str, *, pixels: bool = False
) -> CourseFigure:
    """Draw small pictures in rows, with the words of the first row below the last one.

    Args:
        rows: word of a row to word of a column to picture, arrays of shape (3, H, W) in [0, 1].
            Values outside are cut.
        what: the alt text.
        pixels: whether the pictures have few pixels, which are to be seen one by one.
    """
    columns = list(next(iter(rows.values())))
    first = next(iter(rows.values()))[columns[0]]
    wide = 4.5 / len(columns) - 0.12  # inches, beside the words of the rows and the gaps
    fig = card(len(rows) * (wide * first.shape[1] / first.shape[2] + 0.14) + 0.32)
    axes = fig.subplots(len(rows), len(columns), squeeze=False)
    for line, (row, pictures) in zip(axes, rows.items(), strict=True):
        line[0].set_ylabel(row, fontsize=9, color=INK)
        for ax, column in zip(line, columns, strict=True):
            bare(ax)
            seen = np.moveaxis(np.clip(pictures[column], 0, 1), 0, 2)  # (H, W, 3)
            ax.imshow(seen, interpolation="nearest" if pixels else "none")
    for ax, column in zip(axes[-1], columns, strict=True):
        ax.set_xlabel(column, fontsize=9, color=INK)
    return fig


@figure(
    alt=(
        "Difference left after instance norm against the gain of the contrast: exact values rise "
        "only at tiny gains; stored ones also at gains above one, where they are cut."
    )
)
def style_left(curves: Mapping[str, Spreads], tolerance: float) -> CourseFigure:
    """Draw how far a photograph is from itself after normalization, against the gain.

    Args:
        curves: "exact" and "8 bits" to the difference against the gain.
        tolerance: the difference that counts as none.
    """
    fig = card(2.7)
    ax = fig.subplots()
    looks = {"exact": (_GREEN, "D", "-"), "8 bits": (OTHER, "o", "--")}
    for name, curve in curves.items():
        color, marker, line = looks[name]
        draw_curve(ax, curve, color=color, marker=marker, linestyle=line)
        ax.plot([], [], color=color, marker=marker, linestyle=line, label=name)
    ax.axhline(tolerance, color=INK, linewidth=0.9, linestyle=":")
    across = ax.get_yaxis_transform()
    ax.text(0.04, 0.75 * tolerance, "counts as equal", va="top", fontsize=9, transform=across)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_ylim(1e-5, 3)
    ax.legend(loc="lower left")
    ax.set_xlabel("gain of the contrast")
    ax.set_ylabel("difference left, in std")
    return fig


@figure(
    alt=(
        "Standard deviation against mean of one channel, a mark per piece of two photographs. The "
        "brightest pieces are all temple; among the dark ones both mix."
    )
)
def style_plane(moments: Mapping[str, tuple[Array, Array]]) -> CourseFigure:
    """Draw mean and standard deviation of one channel for the pieces of two photographs.

    Args:
        moments: name of a photograph to means and standard deviations, arrays of shape (K,).
    """
    fig = card(2.8)
    ax = fig.subplots()
    for (name, (mean, std)), (color, marker) in zip(
        moments.items(), ((INK, "o"), (RAW, "^")), strict=True
    ):
        ax.plot(mean, std, marker, color=color, markersize=4, alpha=0.75, label=name)
    ax.set_ylim(bottom=0)
    ax.legend(loc="upper right")
    ax.set_xlabel("mean of the green channel")
    ax.set_ylabel("std of the green channel")
    return fig


@figure(
    alt=(
        "Right answers to which style, per kind and net. At the input instance norm is at chance "
        "throughout; inside at chance for exposure only; batch norm near 100 %."
    )
)
def style_as_label(result: Rows, chance: float) -> CourseFigure:
    """Draw how often each net names the style, a small dot per seed and a mark at the median.

    Args:
        result: rows with kind, arm and accuracy in per cent.
        chance: per cent that guessing gets.
    """
    kinds, arms = result.distinct("kind"), result.distinct("arm")
    fig = card(0.21 * len(kinds) * (len(arms) + 1.4) + 0.55)
    ax = fig.subplots()
    ax.axvline(chance, color=INK, linewidth=0.9, linestyle=":")
    places, words = [], []
    for k, kind in enumerate(kinds):
        top = k * (len(arms) + 1.4)
        ax.text(0, top - 0.95, kind, ha="left", va="center", weight="bold", fontsize=9)
        for j, arm in enumerate(arms):
            name, color, marker, _ = _ARMS[arm]
            right = np.array(result.where(kind=kind, arm=arm).values("accuracy"), dtype=float)
            ax.hlines(top + j, 0, np.median(right), color=FAINT, linewidth=1, zorder=0)
            ax.plot(right, np.full(right.size, top + j), ".", color=color, alpha=0.5, markersize=4)
            ax.plot(np.median(right), top + j, marker, color=color, markersize=6)
            places.append(top + j)
            words.append(name)
    ax.set_yticks(places, words, fontsize=9)
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(places[-1] + 0.8, -1.6)
    ax.set_xlim(0, 103)
    ax.set_xlabel("right, %  (dotted: chance)")
    return fig


@figure(
    alt=(
        "Right digits against strength of a foreign style, for contrast, exposure and cast. "
        "Instance norm at the input stays level; batch norm falls furthest."
    )
)
def style_in_the_way(curves: Mapping[str, Mapping[str, Spreads]]) -> CourseFigure:
    """Draw accuracy on digits against how foreign their style is, a panel for each kind.

    Args:
        curves: kind of style to word of a net to accuracy in per cent against strength.
    """
    fig = card(3.3)
    panels = fig.subplots(1, len(curves), sharey=True, squeeze=False)[0]
    for ax, (kind, nets) in zip(panels, curves.items(), strict=True):
        for arm, curve in nets.items():
            _, color, marker, line = _ARMS[arm]
            draw_curve(ax, curve, color=color, marker=marker, linestyle=line)
        ax.text(0.5, 1.02, kind, transform=ax.transAxes, ha="center", va="bottom")
        ax.set_xlim(-0.05, 0.95)
        ax.set_xticks([0, 0.5])
        ax.set_ylim(0, 103)
    for arm in next(iter(curves.values())):
        name, color, marker, line = _ARMS[arm]
        panels[0].plot([], [], color=color, marker=marker, linestyle=line, label=name)
    handles, labels = panels[0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside upper center", ncols=2, fontsize=9, handlelength=3)
    panels[0].set_ylabel("right digits, %")
    panels[len(panels) // 2].set_xlabel("strength of the style, 0 as in training")
    return fig

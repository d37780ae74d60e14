"""Choosing a normalization: the guide, rules of thumb, pitfalls, and what known nets hold."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from normcourse.figures._base import CourseFigure, bare, card, figure
from normcourse.figures._results import Rows
from normcourse.figures.palette import FAINT, HIGHLIGHT, INK, OTHER, RAW, method_color


def _heads(ax: Axes, methods: Sequence[str], at: float) -> None:
    """Write the methods over their columns, each in its colour."""
    for column, method in enumerate(methods):
        color = method_color(f"{method}_norm")
        ax.text(column - 0.1, at, method, ha="left", va="bottom", color=color, fontsize=9.5,
                rotation=45, rotation_mode="anchor")  # fmt: skip


@figure(
    alt=(
        "A grid: answers in rows, five methods in columns, a cross where the answer rules the "
        "method out: three times layer and rms, five times the others."
    )
)
def guide_grid(rows: Sequence[tuple[str, Sequence[str]]], methods: Sequence[str]) -> CourseFigure:
    """Draw which answer to which question rules out which method.

    Args:
        rows: what may be so, and the methods that it rules out.
        methods: the columns.
    """
    fig = card(0.3 * len(rows) + 0.8)
    ax = fig.subplots()
    bare(ax)
    for row, (words, against) in enumerate(rows):
        ax.axhline(row + 0.5, color=FAINT, linewidth=0.8)
        ax.text(-0.8, row, words, ha="right", va="center", fontsize=9)
        for column, method in enumerate(methods):
            out = method in against
            color = method_color(f"{method}_norm") if out else FAINT
            ax.plot(column, row, "X" if out else ".", color=color, markersize=8 if out else 4)
    _heads(ax, methods, -0.7)
    ax.set_xlim(-7.2, len(methods) + 0.3)
    ax.set_ylim(len(rows) - 0.4, -2.3)
    return fig


@figure(
    alt=(
        "Twelve situations in rows, five methods in columns. Numbers in discs rank the methods "
        "that work; small dots mark those that do not."
    )
)
def guide_ranks(situations: Mapping[str, Sequence[str]], methods: Sequence[str]) -> CourseFigure:
    """Draw the rank of each method that works, situation by situation.

    Args:
        situations: name to the methods that work, the first choice first.
        methods: the columns.
    """
    fig = card(0.28 * len(situations) + 0.8)
    ax = fig.subplots()
    bare(ax)
    for row, (name, works) in enumerate(situations.items()):
        ax.axhline(row + 0.5, color=FAINT, linewidth=0.8)
        words = name.partition(":")[0]
        size = 8.8 if len(words) < 46 else 7.8
        words = words if len(words) < 46 else textwrap.fill(words, 1 + 2 * len(words) // 3)
        ax.text(-0.8, row, words, ha="right", va="center", fontsize=size, linespacing=0.95)
        for column, method in enumerate(methods):
            if method not in works:
                ax.plot(column, row, ".", color=FAINT, markersize=4)
                continue
            ax.plot(column, row, "o", color=method_color(f"{method}_norm"), markersize=11)
            rank = str(works.index(method) + 1)
            ax.text(column, row + 0.03, rank, ha="center", va="center", color="white",
                    fontsize=8.5, weight="bold")  # fmt: skip
    _heads(ax, methods, -0.7)
    ax.set_xlim(-8.6, len(methods) + 0.3)
    ax.set_ylim(len(situations) - 0.4, -2.3)
    return fig


@figure(
    alt=(
        "Bars: share of all describable situations in which a rule of thumb names a method that "
        "works. No rule reaches all; always instance is nearly always wrong."
    )
)
def thumb_rules(shares: Mapping[str, float]) -> CourseFigure:
    """Draw how often rules of thumb are right.

    Args:
        shares: words of a rule to its share of situations, 0 to 1.
    """
    fig = card(0.36 * len(shares) + 0.7)
    ax = fig.subplots()
    places = np.arange(len(shares))
    values = 100 * np.array(list(shares.values()))
    ax.barh(places, values, 0.62, color=RAW)
    for place, value in enumerate(values):
        ax.text(value + 1.5, place, f"{value:.0f} %", va="center", fontsize=10)
    ax.set_yticks(places, list(shares))
    ax.invert_yaxis()
    ax.tick_params(axis="y", length=0)
    ax.set_xlim(0, 110)
    ax.set_xticks([0, 50, 100])
    ax.set_xlabel("situations in which it works, %")
    return fig


# ---------------------------------------------------------------- pitfalls

_LOOKS = {
    "mended": (INK, "-", "o"),
    "failing": (OTHER, "--", "s"),
    "failing, zeros": (HIGHLIGHT, ":", "^"),
}


def _panel(ax: Axes, rows: Rows, arms: Sequence[str], size: float) -> None:
    """Draw the share of right answers of each arm; refused ones as crosses at zero."""
    for arm in arms:
        if arm not in rows.distinct("arm"):
            continue
        color, line, marker = _LOOKS[arm]
        curve = rows.curve("x", "right", arm=arm)
        ax.fill_between(curve.x, 100 * curve.low, 100 * curve.high, color=color, alpha=0.2,
                        linewidth=0)  # fmt: skip
        ax.plot(curve.x, 100 * curve.median, line, color=color, marker=marker, markersize=size,
                linewidth=1.6)  # fmt: skip
        told = rows.where(arm=arm)
        if True in told.distinct("refused"):
            refused = sorted({float(x) for x in told.where(refused=True).values("x")})
            refused = refused[:1] if len(refused) > 6 else refused  # one stands for all later
            ax.plot(refused, np.zeros(len(refused)), "X", color="#B00020", markersize=size + 3,
                    clip_on=False, zorder=5)  # fmt: skip
    ax.set_ylim(-4, 104)


@figure(
    alt=(
        "Small panels, one per pitfall, {words}: accuracy of the failing arm, dashed grey, and of "
        "the mended one, solid black; crosses where the layer refuses."
    )
)
def pitfall_panels(
    full: Rows, titles: Mapping[str, str], words: str, *, columns: int = 3
) -> CourseFigure:
    """Draw before and after for some pitfalls.

    Args:
        full: rows with ``pitfall``, ``arm``, ``x``, ``right``, ``refused``.
        titles: word of a pitfall to its short title, in the order of the panels.
        words: what the pitfalls have in common, in few words.
        columns: panels in a row.
    """
    count = -(-len(titles) // columns)
    fig = card(1.5 * count + 0.5)
    axes = np.atleast_1d(fig.subplots(count, columns)).ravel()
    for ax, (name, title) in zip(axes, titles.items(), strict=False):
        _panel(ax, full.where(pitfall=name), ("failing", "mended"), 2.2)
        lines = textwrap.fill(title, 15)
        ax.text(0, 1.05, lines, transform=ax.transAxes, fontsize=8.2, va="bottom", ha="left")
        ax.tick_params(labelsize=7.5)
        ax.set_yticks([0, 50, 100])
        ax.xaxis.set_major_locator(MaxNLocator(3, integer=True))
    for ax in axes[len(titles) :]:
        bare(ax)
    for arm in ("mended", "failing"):
        color, line, marker = _LOOKS[arm]
        axes[0].plot([], [], line, color=color, marker=marker, markersize=3, label=arm)
    axes[0].plot([], [], "X", color="#B00020", label="refused")
    fig.legend(loc="outside upper center", ncols=3, fontsize=9, handletextpad=0.4)
    fig.supylabel("right on test images, %", fontsize=9.5)
    return fig


@figure(
    alt=(
        "Accuracy of one pitfall against {axis}: failing dashed, mended solid, bands for the "
        "middle half of the seeds, crosses where the layer refuses."
    )
)
def pitfall(full: Rows, name: str, axis: str) -> CourseFigure:
    """Draw one pitfall, with all arms that were run.

    Args:
        full: rows with ``pitfall``, ``arm``, ``x``, ``right``, ``refused``.
        name: word of the pitfall.
        axis: what x is.
    """
    fig = card(2.6)
    ax = fig.subplots()
    rows = full.where(pitfall=name)
    _panel(ax, rows, tuple(_LOOKS), 5)
    for arm in _LOOKS:
        if arm in rows.distinct("arm"):
            color, line, marker = _LOOKS[arm]
            ax.plot([], [], line, color=color, marker=marker, label=arm)
    if True in rows.distinct("refused"):
        ax.plot([], [], "X", color="#B00020", label="refused")
    ax.set_xlabel(axis)
    ax.set_ylabel("right on test images, %")
    fig.legend(loc="outside upper center", ncols=4, fontsize=9.5, handletextpad=0.4)
    return fig


@figure(
    alt=(
        "Points lost to each pitfall, largest first, a dot per seed and a stroke for the median: "
        "from around ninety down to about zero for weight decay."
    )
)
def pitfall_costs(costs: Mapping[str, Sequence[float]]) -> CourseFigure:
    """Draw what each pitfall costs, seed by seed.

    Args:
        costs: title of a pitfall to the shares of right answers lost, one per seed.
    """
    ordered = sorted(costs.items(), key=lambda item: -float(np.median(item[1])))
    fig = card(0.21 * len(ordered) + 0.7)
    ax = fig.subplots()
    ax.axvline(0, color=INK, linewidth=0.9)
    for row, (_, lost) in enumerate(ordered):
        ax.axhline(row, color=FAINT, linewidth=0.8, zorder=0)
        ax.plot(100 * np.asarray(lost), np.full(len(lost), row), ".", color=RAW, markersize=6,
                alpha=0.7)  # fmt: skip
        ax.plot(100 * np.median(lost), row, "|", color=INK, markersize=13, markeredgewidth=2.4)
    ax.set_yticks(np.arange(len(ordered)), [title for title, _ in ordered], fontsize=8.3)
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(len(ordered) - 0.4, -0.6)
    ax.set_xlabel("points lost")
    return fig


# ---------------------------------------------------------------- known nets


@figure(
    alt=(
        "Five known nets: number and kind of their norms, and the share of all parameters in them, "
        "from two in a thousand down to four in a hundred thousand."
    )
)
def audit_bars(rows: Sequence[tuple[str, str, int, float]]) -> CourseFigure:
    """Draw what share of a net's parameters its norms hold.

    Args:
        rows: name of the net, kind of norm ("batch_norm"), how many, share of parameters.
    """
    fig = card(0.42 * len(rows) + 0.8)
    ax = fig.subplots()
    for place, (_, kind, count, share) in enumerate(rows):
        ax.plot([1e-6, share], [place, place], color=method_color(kind), linewidth=2.5)
        ax.plot(share, place, "o", color=method_color(kind), markersize=8)
        words = f"{count} × {kind.replace('_norm', '').replace('rms', 'RMS')} norm"
        words = words.replace("RMS norm", "RMSNorm")
        ax.text(share * 1.5, place, words, va="center", color=method_color(kind), fontsize=10)
    ax.set_xscale("log")
    ax.set_xlim(1e-6, 6e-2)
    ax.set_yticks(np.arange(len(rows)), [row[0] for row in rows])
    ax.tick_params(axis="y", length=0)
    ax.invert_yaxis()
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xlabel("share of all parameters that sit in norms")
    return fig

"""Layer normalization: rows of a table, the sphere they land on, what changes nothing."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.patches import Circle, Rectangle
from numpy.typing import NDArray

from normcourse.figures._base import CourseFigure, bare, card, figure, signed
from normcourse.figures._curves import LOOKS, Spreads, draw_curve
from normcourse.figures.palette import FAINT, INK, METHOD_COLORS, RAW
from normcourse.norms import batch_norm, core, layer_norm

Array = NDArray[Any]

_RED = METHOD_COLORS["layer_norm"]
_BLUE = METHOD_COLORS["batch_norm"]


def _fixed(value: float, digits: int) -> str:
    """Return a number with a real minus sign and without minus zero."""
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")


@figure(
    alt=(
        "A table of numbers, examples as rows and features as columns. One row is shaded; to the "
        "right of each row stand its mean and standard deviation."
    )
)
def example_table(x: Array, *, example: int = 1) -> CourseFigure:
    """Draw a small batch as a table, with one example shaded and the moments beside each row.

    Args:
        x: array of shape (N, D), a few rows and columns.
        example: the row to shade.
    """
    num, width = x.shape
    fig = card(0.36 * (num + 1) + 0.1)
    ax = fig.subplots()
    bare(ax)
    ax.set_xlim(-1.35, width + 2.1)
    ax.set_ylim(num, -1)
    ax.add_patch(Rectangle((0, example), width, 1, facecolor=_RED, alpha=0.2, edgecolor="none"))
    ax.hlines(np.arange(num + 1), 0, width, color=FAINT, linewidth=0.8)
    for c in range(width):
        ax.text(c + 0.5, -0.5, f"feature {c}", ha="center", va="center", fontsize=9)
    for k, name in enumerate(("mean", "std")):
        ax.text(width + 0.6 + k, -0.5, name, ha="center", va="center", fontsize=9)
    for n in range(num):
        shade = _RED if n == example else INK
        ax.text(-0.12, n + 0.5, f"example {n}", ha="right", va="center", color=RAW, fontsize=9)
        for c in range(width):
            ax.text(c + 0.5, n + 0.5, _fixed(x[n, c], 1), ha="center", va="center")
        for k, value in enumerate((x[n].mean(), x[n].std())):
            words = _fixed(value, 2)
            ax.text(width + 0.6 + k, n + 0.5, words, ha="center", va="center", color=shade)
    return fig


@figure(
    alt=(
        "Three points of space on a plane. Left, the mean removed: anywhere on it. Right, layer "
        "normalized: all on one circle, each on the ray where it was."
    )
)
def sphere(x: Array) -> CourseFigure:
    """Draw examples of three features on the plane of zero mean, before and after the division.

    Args:
        x: array of shape (N, 3).
    """
    basis = np.array([[1, -1, 0], [1, 1, -2]]) / np.sqrt([[2], [6]])  # (2, 3), spans the plane
    centered = (x - x.mean(axis=1, keepdims=True)) @ basis.T  # (N, 2)
    y = layer_norm(x, eps=0.0) @ basis.T
    fig = card(2.9)
    limit = 1.12 * max(np.abs(centered).max(), np.sqrt(3))
    for ax, points, color, words in zip(
        fig.subplots(1, 2, sharey=True),
        (centered, y),
        (RAW, _RED),
        ("mean removed", "divided by the std"),
        strict=True,
    ):
        for before, after in zip(centered, y, strict=True):
            far = max(np.linalg.norm(before), np.linalg.norm(after))
            end = before / np.linalg.norm(before) * far
            ax.plot([0, end[0]], [0, end[1]], color=FAINT, linewidth=1, zorder=0)
        ax.add_patch(Circle((0, 0), np.sqrt(3), fill=False, edgecolor=_RED, linewidth=1.2))
        ax.plot(*points.T, "o", color=color, markersize=5)
        ax.set_xlim(-limit, limit)
        ax.set_ylim(-limit, limit)
        ax.set_aspect("equal")
        ax.set_xticks([])
        ax.set_yticks([])
        ax.text(0.5, 1.02, words, transform=ax.transAxes, ha="center", va="bottom", color=color)
    return fig


@figure(
    alt=(
        "First output against the gap between two features, for {count} values of eps: a "
        "step from minus 1 to 1, the smoother the larger eps."
    )
)
def two_features(eps: Sequence[float] = (1e-5, 1e-2, 1.0), count: str = "three") -> CourseFigure:
    """Draw what layer norm makes of two features, against the gap between them.

    Args:
        eps: values to draw.
        count: their number in words.
    """
    gap = np.linspace(-4, 4, 801)
    pairs = np.stack([gap / 2, -gap / 2], axis=1)  # (K, 2)
    fig = card(2.7)
    ax = fig.subplots()
    ax.axhline(0, color=FAINT, linewidth=1, zorder=0)
    for value, line in zip(eps, ("-", "--", ":"), strict=True):
        y = layer_norm(pairs, eps=value)[:, 0]
        ax.plot(gap, y, line, color=_RED, label=f"eps = {value:g}")
    ax.legend(loc="lower right")
    ax.set_xlabel("gap between the two features, $x_1 - x_2$")
    ax.set_ylabel("$y_1$")
    return fig


@figure(
    alt=(
        "Normalized values of one example in several batches. Batch norm's move with the company; "
        "layer norm's lie on top of each other."
    )
)
def company(batches: Sequence[Array], features: int = 8) -> CourseFigure:
    """Draw what the first example of each batch becomes; it is the same one in all of them.

    Args:
        batches: arrays of shape (N, D) whose first rows are equal.
        features: how many to draw.
    """
    fig = card(3.2)
    top, bottom = fig.subplots(2, 1, sharex=True, sharey=True)
    for ax, norm, color, words in (
        (top, batch_norm, _BLUE, "batch norm"),
        (bottom, layer_norm, _RED, "layer norm"),
    ):
        ax.axhline(0, color=FAINT, linewidth=1, zorder=0)
        for k, batch in enumerate(batches):
            y = norm(batch)[0, :features]
            ax.plot(np.arange(features) + 0.08 * (k - 1), y, "ovs^D"[k % 5], color=color, ms=5)
        ax.set_ylabel(words, color=color)
    bottom.margins(y=0.12)
    bottom.set_xticks(range(features))
    bottom.set_xlabel("feature of the same example, in other batches")
    return fig


@figure(
    alt=(
        "Bars: share of each gradient part that layer norm's backward pass leaves. None along "
        "the constant vector, eps/(var + eps) along x-hat, all of the rest."
    )
)
def gradient_parts(shares: Mapping[str, Mapping[str, float]]) -> CourseFigure:
    """Draw how much of a gradient's parts comes through, for some values of var / eps.

    Args:
        shares: name of a setting to name of a part to its share, 0 to 1.
    """
    parts = list(next(iter(shares.values())))
    fig = card(2.6)
    ax = fig.subplots()
    thick = 0.8 / len(shares)
    for k, (setting, share) in enumerate(shares.items()):
        place = np.arange(len(parts)) + (k - (len(shares) - 1) / 2) * thick
        tone = 0.35 + 0.65 * k / max(1, len(shares) - 1)
        bars = ax.barh(place, [share[p] for p in parts], thick * 0.9, color=_RED, alpha=tone)
        for bar, part in zip(bars, parts, strict=True):
            words = f"{signed(share[part], 3)}  ({setting})"
            middle = bar.get_y() + bar.get_height() / 2
            inside = share[part] > 0.6
            ax.text(
                share[part] - 0.02 if inside else share[part] + 0.02,
                middle,
                words,
                va="center",
                ha="right" if inside else "left",
                fontsize=9,
                color="white" if inside and tone > 0.6 else INK,
            )
    ax.set_yticks(range(len(parts)), parts)
    ax.set_ylim(len(parts) - 0.4, -0.6)
    ax.set_xlim(0, 1.02)
    ax.set_xlabel("share that comes through")
    return fig


@figure(
    alt=(
        "A table: six changes of weights or inputs as rows, norms as columns. A filled dot "
        "where the output stays, an empty one where it moves."
    )
)
def invariance_table(
    stays: Mapping[str, Mapping[str, bool]], titles: Mapping[str, str]
) -> CourseFigure:
    """Draw which changes each norm undoes.

    Args:
        stays: change to norm to whether the output stayed the same.
        titles: norm to the words above its column.
    """
    changes, norms = list(stays), list(titles)
    fig = card(0.46 * (len(changes) + 1.4))
    ax = fig.subplots()
    bare(ax)
    for row, change in enumerate(changes):
        ax.axhline(row + 0.5, color=FAINT, linewidth=0.8)
        words = textwrap.fill(change, 20)
        ax.text(-0.6, row, words, ha="right", va="center", fontsize=9, linespacing=1.05)
        for column, norm in enumerate(norms):
            color = LOOKS.get(norm, (INK, "o", "-"))[0]
            face = color if stays[change][norm] else "none"
            ax.plot(column, row, "o", markersize=11, markerfacecolor=face, markeredgecolor=color)
    for column, norm in enumerate(norms):
        color = LOOKS.get(norm, (INK, "o", "-"))[0]
        ax.text(column, -0.85, titles[norm], ha="center", va="center", color=color, fontsize=9)
    ax.set_xlim(-3.6, len(norms) - 0.4)
    ax.set_ylim(len(changes) - 0.4, -1.3)
    return fig


@figure(
    alt=(
        "Two histograms of the factor 1 / std over a batch's examples: for batch norm at "
        "inference one spike, for layer norm a wide heap, one value per example."
    )
)
def division_factors(x: Array, running_var: float, eps: float = 1e-5) -> CourseFigure:
    """Draw the factor by which one feature is multiplied, for every example of a batch.

    Args:
        x: array of shape (N, D).
        running_var: the stored variance of that feature in batch norm.
        eps: added to each variance.
    """
    var = core.centered_moments(x, (1,))[2]
    factors = 1 / np.sqrt(np.ravel(var) + eps)  # (N,)
    fig = card(2.5)
    ax = fig.subplots()
    ax.hist(factors, bins=30, color=_RED, alpha=0.85)
    fixed = 1 / np.sqrt(running_var + eps)
    ax.axvline(fixed, color=_BLUE, linewidth=2.5)
    ax.set_ylim(0, 1.3 * ax.get_ylim()[1])
    ax.text(
        0.98,
        0.97,
        "batch norm: one number",
        color=_BLUE,
        ha="right",
        va="top",
        transform=ax.transAxes,
    )
    ax.text(
        0.98,
        0.85,
        "layer norm: one per example",
        color=_RED,
        ha="right",
        va="top",
        transform=ax.transAxes,
    )
    ax.set_xlabel("factor 1 / std")
    ax.set_ylabel("examples")
    return fig


@figure(
    alt=(
        "Test accuracy against batch size, median and middle half of the seeds. Without a norm "
        "and with layer norm level down to 1; batch norm falls at 2."
    )
)
def accuracy_by_batch(curves: Mapping[str, Spreads], titles: Mapping[str, str]) -> CourseFigure:
    """Draw accuracy against batch size.

    Args:
        curves: word for a norm to accuracy in per cent against batch size.
        titles: word to label.
    """
    fig = card(2.9)
    ax = fig.subplots()
    for norm, curve in curves.items():
        color, marker, line = LOOKS[norm]
        draw_curve(ax, curve, color=color, marker=marker, linestyle=line)
        ax.plot([], [], color=color, marker=marker, linestyle=line, label=titles[norm])
    sizes = sorted({float(x) for curve in curves.values() for x in curve.x})
    ax.set_xscale("log", base=2)
    ax.set_xticks(sizes, [f"{size:.0f}" for size in sizes])
    ax.minorticks_off()
    ax.legend(loc="lower right")
    ax.set_xlabel("examples per batch")
    ax.set_ylabel("right on test images, %")
    return fig


@figure(
    alt=(
        "One bar per example, from one standard deviation below its mean to one above: in grey "
        "of many lengths, after layer norm all from minus 1 to 1."
    )
)
def example_spread(x: Array, y: Array | None = None) -> CourseFigure:
    """Draw mean and standard deviation of each example, before and (if given) after.

    Args:
        x: the batch before, array of shape (N, D).
        y: the batch after, array of shape (N, D).
    """
    fig = card(2.7)
    ax = fig.subplots()
    ax.axhline(0, color=INK, linewidth=0.9, zorder=0)
    place = np.arange(len(x))
    for values, color in ((x, RAW if y is None else FAINT), (y, _RED)):
        if values is not None:
            mean, std = values.mean(axis=1), values.std(axis=1)
            ax.vlines(place, mean - std, mean + std, color=color, linewidth=4.5)
            ax.plot(place, mean, "o", color="white", markeredgecolor=color, markersize=5)
    ax.set_xlabel("example")
    ax.set_ylabel("mean ± std")
    return fig

"""One batch in many parts: padding, moments of workers, ghosts, and signals that are rare."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.ticker import NullLocator
from numpy.typing import ArrayLike, NDArray

from normcourse.figures._base import CourseFigure, card, figure, signed
from normcourse.figures._curves import LOOKS, draw_curve
from normcourse.figures._results import Rows
from normcourse.figures.palette import FAINT, INK, METHOD_COLORS, OTHER, RAW
from normcourse.figures.small_batches import NAMES, OPEN, live_dots, percent_axis, size_axis

Array = NDArray[Any]
BLUE = METHOD_COLORS["batch_norm"]
# A norm of the padding experiment: colour, marker, line, name in words.
PADDED = {
    "padded": (OTHER, "x", "--", "batch norm, padding counted"),
    "masked": (BLUE, "s", "-", "batch norm, masked"),
    "layer": (*LOOKS["layer"], "layer norm"),
}


@figure(
    alt=(
        "How far outputs of the same tokens move, against the share of padding. Counting the "
        "padding moves them by whole standard deviations; masked and layer normalization stay."
    )
)
def padding_drift(full: Rows, offset: float = 2.0) -> CourseFigure:
    """Draw how far the outputs of the same real tokens move as padding is added.

    Args:
        full: rows with ``word``, ``offset``, ``padding``, ``drift``.
        offset: which rows.
    """
    fig = card(2.9)
    ax = fig.subplots()
    for word, (color, marker, line, words) in PADDED.items():
        curve = full.curve("padding", "drift", word=word, offset=offset)
        draw_curve(ax, curve, color=color, marker=marker, linestyle=line)
        ax.plot([], [], color=color, marker=marker, linestyle=line, label=words)
    ax.set_xticks([0, 0.25, 0.5, 0.75], ["0", "25", "50", "75"])
    ax.set_xlabel("positions that are padding, %")
    ax.set_ylabel("shift of a token, std")
    ax.legend(loc="upper left")
    return fig


@figure(
    alt=(
        "Error against how far the tokens lie from zero. With padding counted, and with layer "
        "normalization, it climbs; with a mask it stays flat and lowest."
    )
)
def padding_error(full: Rows, live: Rows | None = None) -> CourseFigure:
    """Draw the error on padded sequences in inference mode.

    Args:
        full: rows with ``word``, ``offset``, ``error``.
        live: the same of a live slice, drawn as dots.
    """
    fig = card(3.1)
    ax = fig.subplots()
    for word, (color, marker, line, words) in PADDED.items():
        curve = full.curve("offset", "error", word=word)
        draw_curve(ax, curve, color=color, marker=marker, linestyle=line)
        ax.plot([], [], color=color, marker=marker, linestyle=line, label=words)
        live_dots(ax, live, "offset", "error", color, word=word)
    ax.set_xticks(full.distinct("offset"), [f"{value:g}" for value in full.distinct("offset")])
    ax.set_xlabel("mean of the tokens, in their std")
    percent_axis(ax, "wrong at inference, %", 0.83)
    ax.legend(loc="upper left")
    return fig


@figure(
    alt=(
        "Values of several workers as rows of dots, each with its mean and spread. The spread of "
        "all values is wider than the average of the workers' spreads."
    )
)
def merging_moments(parts: Sequence[ArrayLike]) -> CourseFigure:
    """Draw the values of each worker, those of all, and the average of the workers' variances.

    Args:
        parts: one array of values per worker.
    """
    arrays = [np.asarray(part, dtype=float) for part in parts]
    union = np.concatenate(arrays)
    share = np.array([len(part) for part in arrays]) / len(union)
    within = float(share @ np.array([part.var() for part in arrays]))
    fig = card(0.5 * len(arrays) + 1.9)
    ax = fig.subplots()
    for row, values in enumerate([*arrays, union]):
        is_all = row == len(arrays)
        color = BLUE if is_all else RAW
        ax.plot(values, np.full(values.shape, row), ".", color=color, alpha=0.55, markersize=6)
        _bar(ax, values.mean(), values.std(), row + 0.3, color, "-")
    _bar(ax, union.mean(), np.sqrt(within), len(arrays) + 1.0, OTHER, "--")
    names = [f"worker {k}" for k in range(len(arrays))]
    ax.set_yticks(
        [*range(len(arrays) + 1), len(arrays) + 1],
        [*names, "all values", "variances\naveraged"],
    )
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.set_ylim(len(arrays) + 1.5, -0.5)
    ax.set_xlabel("value, with mean ± std below")
    return fig


def _bar(ax: Any, mean: float, std: float, height: float, color: str, line: str) -> None:
    """Draw a mean and a standard deviation as a bar."""
    ax.plot([mean - std, mean + std], [height] * 2, color=color, linestyle=line, linewidth=2.5)
    ax.plot(mean, height, "|", color=color, markersize=11, markeredgewidth=2)


@figure(
    alt=(
        "Difference from the joined batch on a logarithmic axis. Synchronized statistics lie at "
        "rounding; own statistics always, averaged gradients with unequal shards, near one."
    )
)
def distance_from_joined(full: Rows, live: Rows | None = None) -> CourseFigure:
    """Draw how far nets trained on several workers end from one trained on the joined batch.

    Args:
        full: rows with ``way``, ``shards``, ``scores``.
        live: the same of a live slice, drawn larger.
    """
    looks = {
        "synchronized": (BLUE, "s"),
        "own statistics": (RAW, "o"),
        "averaged gradients": (INK, "^"),
    }
    shards = full.distinct("shards")
    fig = card(3.1)
    ax = fig.subplots()
    for k, (way, (color, marker)) in enumerate(looks.items()):
        for place, division in enumerate(shards):
            values = np.array(full.where(way=way, shards=division).values("scores"), dtype=float)
            across = place + 0.22 * (k - 1) + np.linspace(-0.06, 0.06, len(values))
            ax.plot(
                across, np.maximum(values, 1e-12), marker, color=color, markersize=4.5, alpha=0.8
            )
        ax.plot([], [], marker, color=color, label=way)
    if live is not None:
        for row_way, division, value in zip(
            live.values("way"), live.values("shards"), live.values("scores"), strict=True
        ):
            if division in shards:
                at = shards.index(division) + 0.22 * (list(looks).index(row_way) - 1)
                ax.plot(at, max(value, 1e-12), ".", color=INK, markersize=11, zorder=5)
    ax.set_yscale("log")
    ax.set_ylim(1e-10, 5e4)
    ax.set_yticks([1e-9, 1e-6, 1e-3, 1], ["10⁻⁹", "10⁻⁶", "10⁻³", "1"])
    ax.yaxis.set_minor_locator(NullLocator())
    ax.set_ylabel("largest difference of a score")
    ax.set_xticks(range(len(shards)), [str(division) for division in shards])
    ax.set_xlabel("examples per worker")
    ax.legend(loc="upper center", ncols=2, fontsize=10)
    return fig


@figure(
    alt=(
        "A batch of values in order, cut into ghosts. Each ghost has a mean of its own, scattered "
        "about the mean of the whole batch."
    )
)
def ghost_means(x: ArrayLike, ghost_size: int) -> CourseFigure:
    """Draw the values of one feature in a batch, with the mean and spread of each ghost.

    Args:
        x: values of one feature, in the order of the batch, shape (N,).
        ghost_size: examples per ghost.
    """
    values = np.asarray(x, dtype=float)
    fig = card(2.8)
    ax = fig.subplots()
    ax.axhline(values.mean(), color=BLUE, linewidth=1.5)
    for start in range(0, len(values), ghost_size):
        ghost = values[start : start + ghost_size]
        left, right = start - 0.5, start + len(ghost) - 0.5
        mean, std = ghost.mean(), ghost.std()
        ax.fill_between([left, right], mean - std, mean + std, color=BLUE, alpha=0.15, linewidth=0)
        ax.plot([left, right], [mean, mean], color=BLUE, linestyle="--")
        ax.axvline(right, color=FAINT, linewidth=0.8, zorder=0)
    ax.plot(np.arange(len(values)), values, ".", color=RAW, markersize=7)
    ax.set_xlabel(f"example, in ghosts of {ghost_size}")
    ax.set_ylabel("activation")
    return fig


@figure(
    alt=(
        "Recall of a rare class against its training images, three norms. The curves climb "
        "together; from ten images batch normalization lies on or above no norm."
    )
)
def rare_recall(
    curves: dict[str, Any], kept: Sequence[float], live: dict[str, Any] | None = None
) -> CourseFigure:
    """Draw how often a rare class is recognised.

    Args:
        curves: word of a norm to its curve of recall against images kept.
        kept: the numbers of images.
        live: the same of a live slice, each seed drawn as a dot.
    """
    fig = card(3.1)
    ax = fig.subplots()
    for norm, curve in curves.items():
        color, marker, line = LOOKS[norm]
        draw_curve(ax, curve, color=color, marker=marker, linestyle=line)
        ax.plot([], [], color=color, marker=marker, linestyle=line, label=NAMES[norm])
    for norm, curve in (live or {}).items():
        for values in curve.runs.values():
            ax.plot(curve.x, values, "o", color=LOOKS[norm][0], **OPEN)
    size_axis(ax, kept, "training images of the rare class")
    percent_axis(ax, "recognised, %", 1.03)
    ax.legend(loc="lower right")
    return fig


@figure(
    alt=(
        "Size after batch normalization against how often a feature is on. It grows as the "
        "feature gets rarer and stops where a batch holds it once."
    )
)
def rare_feature(batch_size: int, eps: float = 1e-5) -> CourseFigure:
    """Draw the normalized value of a feature that is 1 in a few examples and 0 in the others.

    Args:
        batch_size: examples per batch, N.
        eps: of the layer.
    """
    share = np.geomspace(1e-4, 0.5, 200)
    ideal = (1 - share) / np.sqrt(share * (1 - share) + eps)
    counts = np.arange(1, batch_size // 2 + 1)
    within = counts / batch_size
    inside = (1 - within) / np.sqrt(within * (1 - within) + eps)
    fig = card(3.1)
    ax = fig.subplots()
    ax.axhline(1, color=RAW, linestyle="--", linewidth=1.5)
    ax.plot(share, ideal, color=BLUE, linestyle=":")
    ax.plot(within, inside, "s", color=BLUE, markersize=5)
    cap = float(inside[0])
    ax.annotate(
        f"once in {batch_size}: {signed(cap, 1)}", (within[0], cap), xytext=(8, 6),
        textcoords="offset points", color=BLUE,
    )  # fmt: skip
    ax.text(0.00012, 1.2, "before", color=RAW, va="bottom")
    ax.text(0.0005, float(np.interp(0.0005, share, ideal)) * 1.25, "running statistics",
            color=BLUE)  # fmt: skip
    ax.set_xscale("log")
    ax.set_xticks([1e-4, 1e-3, 1e-2, 0.1, 0.5], ["0.01", "0.1", "1", "10", "50"])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_yscale("log")
    ax.set_yticks([1, 10, 100], ["1", "10", "100"])
    ax.yaxis.set_minor_locator(NullLocator())
    ax.set_ylim(0.7, 260)
    ax.set_xlabel("examples in which the feature is on, %")
    ax.set_ylabel("value where it is on")
    return fig

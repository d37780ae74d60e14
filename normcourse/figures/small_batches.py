"""When the batch is small or no random draw: company, values per mean, classes, remedies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator
from numpy.typing import ArrayLike, NDArray

from normcourse.figures._base import CourseFigure, card, figure
from normcourse.figures._curves import LOOKS, draw_curve
from normcourse.figures._results import Rows
from normcourse.figures.palette import CARD, FAINT, INK, METHOD_COLORS, OTHER, RAW

BLUE = METHOD_COLORS["batch_norm"]
# A net of the experiment: its name in words, marker and line.
NETS: dict[str, tuple[str, str, str]] = {
    "fc": ("fully connected", "s", "-"),
    "conv 8x8": ("maps of 8×8", "o", "--"),
    "conv 2x2": ("down to 2×2", "v", ":"),
    "conv 1x1": ("down to 1×1", "D", "-."),
}
# How one seed of a live slice is drawn: a small open dot.
OPEN: dict[str, Any] = {
    "markersize": 4.5,
    "markerfacecolor": CARD,
    "markeredgewidth": 1.2,
    "zorder": 5,
}
NAMES = {"batch": "batch norm", "layer": "layer norm", "group": "group norm", "none": "no norm"}


def percent_axis(ax: Axes, label: str, top: float, step: float = 0.2, low: float = 0.0) -> None:
    """Let the y axis run from ``low`` to ``top``, in percent."""
    ax.set_ylim(low, top)
    ticks = np.arange(np.ceil(low / step - 1e-9), np.floor(top / step + 1e-9) + 1) * step
    ax.set_yticks(ticks, [f"{100 * tick + 0.0:.0f}".replace("-", "−") for tick in ticks])
    ax.set_ylabel(label)


def size_axis(ax: Axes, sizes: Sequence[float], label: str) -> None:
    """Let the x axis be logarithmic, with these sizes as its ticks."""
    ax.set_xscale("log")
    ax.set_xticks(list(sizes), [f"{size:g}" for size in sizes])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlabel(label)


def live_dots(ax: Axes, live: Rows | None, x: str, y: str, color: str, **where: Any) -> None:
    """Draw each seed of a live slice as small open dots, where the slice has such rows."""
    if live is None or any(value not in live.distinct(name) for name, value in where.items()):
        return
    curve = live.curve(x, y, **where)
    for values in curve.runs.values():
        ax.plot(curve.x, values, "o", color=color, **OPEN)


@figure(
    alt=(
        "Share of answers that change with the company, against batch size. Batch normalization "
        "falls from nearly half at two images to almost none; layer normalization stays at zero."
    )
)
def answers_by_company(full: Rows, live: Rows | None = None) -> CourseFigure:
    """Draw how often a test image gets another answer in another batch.

    Args:
        full: rows with ``norm``, ``size``, ``changed``.
        live: the same of a live slice, drawn as dots.
    """
    fig = card(2.9)
    ax = fig.subplots()
    for norm, at in (("batch", 8.0), ("layer", 2.0)):
        color, marker, line = LOOKS[norm]
        curve = full.curve("size", "changed", norm=norm)
        draw_curve(ax, curve, color=color, marker=marker, linestyle=line)
        height = float(np.interp(at, curve.x, curve.median))
        ax.text(at * 1.1, height + 0.025, NAMES[norm], color=color)
        live_dots(ax, live, "size", "changed", color, norm=norm)
    size_axis(ax, full.distinct("size"), "images per batch, training mode")
    percent_axis(ax, "answers changed, %", 0.6, low=-0.02)
    return fig


@figure(
    alt=(
        "Two tables of squares, losses as rows and inputs as columns. Under layer normalization "
        "the diagonal is dark alone; under batch normalization squares beside it are shaded too."
    )
)
def gradient_in_company(batch: ArrayLike, layer: ArrayLike) -> CourseFigure:
    """Draw which inputs the gradient of each example's own loss reaches.

    Args:
        batch: norm of the gradient of loss i at input j under batch normalization, shape (N, N).
        layer: the same under layer normalization.
    """
    fig = card(3.0)
    for ax, given, norm in zip(fig.subplots(1, 2), (batch, layer), ("batch", "layer"), strict=True):
        share: NDArray[Any] = np.asarray(given, dtype=float)
        share = share / share.sum(axis=1, keepdims=True)
        ax.imshow(share, cmap="Greys", vmin=0, vmax=1)
        ax.set_xticks(range(len(share)))
        ax.set_yticks(range(len(share)))
        ax.set_xlabel("input of image")
        ax.text(0.5, 1.06, NAMES[norm], color=LOOKS[norm][0], ha="center", transform=ax.transAxes)
        ax.tick_params(length=0)
        if norm == "batch":
            ax.set_ylabel("loss of image")
    return fig


@figure(
    alt=(
        "Error against batch size in two nets. In the fully connected one batch normalization "
        "fails at two images; in the convolutional one it stays level with layer normalization."
    )
)
def error_by_batch_size(full: Rows, live: Rows | None = None) -> CourseFigure:
    """Draw the errors of a fully connected and a convolutional net against the batch size.

    Args:
        full: rows with ``net``, ``norm`` ("batch" or "free"), ``size``, ``error``.
        live: the same of a live slice, drawn as dots.
    """
    fig = card(3.0)
    axes = fig.subplots(1, 2, sharey=True)
    for ax, net in zip(axes, ("fc", "conv 8x8"), strict=True):
        for norm in ("free", "batch"):
            color, marker, line = LOOKS["layer" if norm == "free" else norm]
            curve = full.curve("size", "error", net=net, norm=norm)
            draw_curve(ax, curve, color=color, marker=marker, linestyle=line)
            live_dots(ax, live, "size", "error", color, net=net, norm=norm)
        ax.text(0.95, 0.92, NETS[net][0], ha="right", transform=ax.transAxes)
        size_axis(ax, full.distinct("size"), "images per batch")
        for k, norm in enumerate(("batch", "layer")):
            ax.text(
                0.95, 0.78 - 0.11 * k, NAMES[norm], color=LOOKS[norm][0], ha="right",
                transform=ax.transAxes,
            )  # fmt: skip
    percent_axis(axes[0], "wrong on test images, %", 0.62)
    return fig


@figure(
    alt=(
        "Extra error of batch normalization against values per mean, four nets. Points with "
        "eight values or more lie near zero or below; those with two lie high."
    )
)
def error_by_values(full: Rows) -> CourseFigure:
    """Draw what batch statistics cost against the values in the smallest pool.

    Args:
        full: rows with ``net``, ``norm`` ("batch" or "free"), ``values``, ``error``.
    """
    fig = card(3.3)
    ax = fig.subplots()
    ax.axhline(0, color=FAINT, zorder=0)
    ends = [0.0]
    for net in full.distinct("net"):
        batch = full.curve("values", "error", net=net, norm="batch")
        free = full.curve("values", "error", net=net, norm="free")
        extra = np.array([batch.runs[seed] - free.runs[seed] for seed in batch.runs])
        low, median, high = np.quantile(extra, [0.25, 0.5, 0.75], axis=0)
        ends += [float(low.min()), float(high.max())]
        words, marker, line = NETS[net]
        ax.vlines(batch.x, low, high, color=BLUE, alpha=0.35, linewidth=4)
        ax.plot(batch.x, median, color=BLUE, marker=marker, linestyle=line, label=words)
    size_axis(ax, [2, 8, 32, 128, 512, 2048], "values per mean in the smallest pool")
    percent_axis(ax, "extra error, points", max(ends) + 0.03, 0.1, low=min(ends) - 0.03)
    ax.legend(loc="upper right")
    return fig


@figure(
    alt=(
        "Independent values that a pool is worth, against values pooled. Fully connected units lie "
        "on the diagonal, digit maps above it, signals that move about below it."
    )
)
def pool_worth(full: Rows, live: Rows | None = None) -> CourseFigure:
    """Draw effective against nominal values per mean, both on logarithmic axes.

    Args:
        full: rows with ``net``, ``layer``, ``values``, ``effective``.
        live: the same of a live slice, drawn as dots.
    """
    fig = card(3.1)
    ax = fig.subplots()
    ends = np.array([1.0, 4096.0])
    ax.plot(ends, ends, color=OTHER, linestyle="--", linewidth=1.2, zorder=0)
    shown = (
        ("conv 8x8", "conv1", "o", INK, "digits, maps of 8×8"),
        ("fc", "linear1", "s", BLUE, "digits, hidden units"),
        ("signals", "conv1", "^", RAW, "signals of length 40"),
    )
    for net, layer, marker, color, words in shown:
        curve = full.curve("values", "effective", net=net, layer=layer)
        draw_curve(ax, curve, color=color, marker=marker)
        live_dots(ax, live, "values", "effective", color, net=net, layer=layer)
        ax.plot([], [], color=color, marker=marker, label=words)
    ax.legend(loc="upper left")
    size_axis(ax, [1, 4, 16, 64, 256, 1024, 4096], "values per mean")
    ax.set_yscale("log")
    ax.set_yticks([1, 10, 100, 1000], ["1", "10", "100", "1000"])
    ax.yaxis.set_minor_locator(NullLocator())
    ax.set_ylim(0.8, 40_000)
    ax.set_ylabel("worth in independent values")
    return fig


@figure(
    alt=(
        "Accuracy against classes per batch. With one, batch normalization guesses; with two, its "
        "inference mode beats its training mode by far; layer normalization stays high."
    )
)
def accuracy_by_classes(full: Rows, live: Rows | None = None) -> CourseFigure:
    """Draw what nets answer that were trained on batches of a few classes.

    Args:
        full: rows with ``norm``, ``classes``, ``inference`` and ``alike``; 0 classes, the sorted
            loader, is left out.
        live: the same of a live slice, drawn as dots.
    """
    fig = card(3.1)
    ax = fig.subplots()
    asked = (
        ("layer", "inference", *LOOKS["layer"], "layer norm"),
        ("batch", "inference", *LOOKS["batch"], "batch norm, inference mode"),
        ("batch", "alike", BLUE, "o", ":", "batch norm, training mode"),
    )
    classes = [k for k in full.distinct("classes") if k]
    for norm, column, color, marker, line, words in asked:
        curve = full.curve("classes", column, norm=norm)
        keep = curve.x > 0
        ax.fill_between(
            curve.x[keep], curve.low[keep], curve.high[keep], color=color, alpha=0.18, linewidth=0
        )
        ax.plot(
            curve.x[keep], curve.median[keep], color=color, marker=marker, linestyle=line,
            label=words,
        )  # fmt: skip
        for k in classes:  # without the sorted loader
            live_dots(ax, live, "classes", column, color, norm=norm, classes=k)
    size_axis(ax, classes, "classes per training batch of 32")
    percent_axis(ax, "right, %", 1.03)
    ax.legend(loc="lower right")
    return fig


@figure(
    alt=(
        "Error against images per micro-batch, two tasks. Accumulating fails at two, "
        "renormalization halves that; frozen statistics serve rotated digits, not inverted ones."
    )
)
def remedies_by_size(full: Rows, live: Rows | None = None) -> CourseFigure:
    """Draw what remedies for small batches leave of the error.

    Args:
        full: rows with ``task``, ``remedy``, ``size``, ``error``.
        live: the same of a live slice, drawn as dots.
    """
    looks = {
        "accumulated": (BLUE, "s", "-", "gradients accumulated"),
        "renorm": (INK, "^", "-.", "batch renormalization"),
        "frozen": (RAW, "D", ":", "frozen statistics"),
        "joined": (BLUE, "", "--", "all 32 pooled"),
    }
    fig = card(3.5)
    axes = fig.subplots(1, 2, sharey=True)
    for ax, task in zip(axes, full.distinct("task"), strict=True):
        sizes = full.where(remedy="accumulated").distinct("size")
        for remedy, (color, marker, line, _) in looks.items():
            curve = full.curve("size", "error", task=task, remedy=remedy)
            if remedy == "joined":
                ax.axhspan(curve.low[0], curve.high[0], color=color, alpha=0.18, linewidth=0)
                ax.axhline(curve.median[0], color=color, linestyle=line, linewidth=1.5)
            else:
                draw_curve(ax, curve, color=color, marker=marker, linestyle=line)
                live_dots(ax, live, "size", "error", color, task=task, remedy=remedy)
        ax.text(0.95, 0.93, f"{task} digits", ha="right", transform=ax.transAxes)
        size_axis(ax, sizes, "images per micro-batch")
    percent_axis(axes[0], "wrong on test images, %", 0.62)
    handles = [
        axes[0].plot([], [], color=color, marker=marker, linestyle=line, label=words)[0]
        for color, marker, line, words in looks.values()
    ]
    fig.legend(handles=handles, loc="outside upper center", ncols=2, fontsize=10)
    return fig

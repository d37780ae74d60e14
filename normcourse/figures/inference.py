"""Batch normalization's two modes: what each answers, and which statistics the second one needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from normcourse.figures._base import CourseFigure, card, figure
from normcourse.figures._curves import LOOKS, draw_curve
from normcourse.figures._results import Rows, as_percent, draw_live
from normcourse.figures.palette import FAINT, INK, METHOD_COLORS, OTHER, RAW

BLUE = METHOD_COLORS["batch_norm"]
NAMES = {"batch": "BatchNorm", "layer": "LayerNorm", "rms": "RMSNorm"}


@figure(
    alt=(
        "Probabilities of ten classes for one image. In training mode each class has a cloud of "
        "grey dots, one per batch. Inference mode, where drawn: one blue square."
    )
)
def one_image_in_company(training: ArrayLike, inference: ArrayLike | None = None) -> CourseFigure:
    """Draw what a net says of one image in many batches, and what it says in inference mode.

    Args:
        training: probabilities in training mode, array of shape (batches, classes).
        inference: probabilities in inference mode, array of shape (classes,); None leaves them out.
    """
    clouds = np.asarray(training)
    fig = card(2.9)
    ax = fig.subplots()
    spread = np.linspace(-0.27, 0.27, len(clouds))
    for label, cloud in enumerate(clouds.T):
        ax.plot(label + spread, cloud, ".", color=RAW, markersize=5, alpha=0.6, markeredgewidth=0)
    ax.plot([], [], ".", color=RAW, label="training mode, one dot per batch")
    if inference is not None:
        alone = np.asarray(inference)
        ax.plot(np.arange(len(alone)), alone, "s", color=BLUE, markersize=6, zorder=4)
        ax.plot([], [], "s", color=BLUE, label="inference mode")
    ax.set_xticks(range(clouds.shape[1]))
    ax.set_xlabel("digit that the net sees in the image")
    as_percent(ax, "probability, %", low=-0.03)
    fig.legend(loc="outside upper center", ncols=2, fontsize=9.5, handletextpad=0.3)
    return fig


@figure(
    alt=(
        "Accuracy against batches seen. Momentum 0.1 and recalibrated statistics climb together; "
        "momentum 0.01 lags far behind until some hundred batches, unless debiased."
    )
)
def statistics_in_time(full: Rows, live: Rows | None = None) -> CourseFigure:
    """Draw the accuracy at inference by the batches seen, for four ways to gather statistics.

    Args:
        full: rows with ``batches``, ``way``, ``accuracy``, of one batch size.
        live: the same of a live slice, drawn as dots.
    """
    ways = {
        "recalibrated": (INK, "D", ":"),
        "0.01 debiased": (BLUE, "^", "--"),
        "0.1": (BLUE, "s", "-"),
        "0.01": (OTHER, "o", "--"),
    }
    fig = card(3.1)
    ax = fig.subplots()
    for way, (color, marker, line) in ways.items():
        draw_curve(ax, full.curve("batches", "accuracy", way=way), color=color, marker=marker,
                   linestyle=line)  # fmt: skip
        label = f"momentum {way}" if way[0] == "0" else way
        ax.plot([], [], color=color, marker=marker, linestyle=line, markersize=5, label=label)
        draw_live(ax, live, "batches", "accuracy", way=way)
    ax.set_xscale("log")
    ax.set_xticks([1, 10, 100], ["1", "10", "100"])
    ax.set_xlabel("training batches seen")
    as_percent(ax, "right on test images, %")
    ax.legend(fontsize=9.5, loc="lower right")
    return fig


@figure(
    alt=(
        "Share of the running statistics made of the last k batches. Momentum 0.99 reaches all "
        "with one batch, 0.1 needs about twenty, 0.01 about two hundred."
    )
)
def memory_of_momentum(momenta: Sequence[float]) -> CourseFigure:
    """Draw how far back running statistics reach, for some weights of the new batch.

    Args:
        momenta: PyTorch's momentum: the weight of the new batch.
    """
    batches = np.unique(np.geomspace(1, 1000, 60).round().astype(int))
    styles = ("-", "--", ":", "-.")
    fig = card(2.7)
    ax = fig.subplots()
    for momentum, style in zip(momenta, styles, strict=False):
        share = 1 - (1 - momentum) ** batches
        color = OTHER if momentum > 0.5 else BLUE
        ax.plot(batches, share, style, color=color, label=f"momentum {momentum:g}")
    ax.set_xscale("log")
    ax.set_xticks([1, 10, 100, 1000], ["1", "10", "100", "1000"])
    ax.set_xlabel("last k batches")
    as_percent(ax, "share, %")
    ax.legend(fontsize=9.5, loc="lower right")
    return fig


@figure(
    alt=(
        "Accuracy at inference against batch size. Momentum 0.1 and 0.01 stay high at every size; "
        "0.99 is low for batches of 4 and catches up at 64."
    )
)
def misread_momentum(full: Rows, live: Rows | None = None) -> CourseFigure:
    """Draw the accuracy at inference by batch size, for a momentum read right and read wrong.

    Args:
        full: rows with ``batch_size``, ``way``, ``accuracy``, after as many batches as the text
            says.
        live: the same of a live slice, drawn as dots.
    """
    ways = {"0.1": (BLUE, "s", "-"), "0.01": (BLUE, "^", "--"), "0.99": (OTHER, "o", "--")}
    fig = card(2.8)
    ax = fig.subplots()
    for way, (color, marker, line) in ways.items():
        curve = full.curve("batch_size", "accuracy", way=way)
        draw_curve(ax, curve, color=color, marker=marker, linestyle=line)
        ax.plot([], [], color=color, marker=marker, linestyle=line, markersize=5,
                label=f"momentum {way}")  # fmt: skip
        draw_live(ax, live, "batch_size", "accuracy", way=way)
    _powers(ax, full.distinct("batch_size"))
    ax.set_xlabel("training batch size")
    as_percent(ax, "right on test images, %")
    ax.legend(fontsize=9.5, loc="lower right")
    return fig


@figure(
    alt=(
        "One output on the way from one example to another. BatchNorm at inference draws a "
        "straight line; LayerNorm and RMSNorm bend."
    )
)
def between_two_examples(share: ArrayLike, outputs: Mapping[str, ArrayLike]) -> CourseFigure:
    """Draw one output feature on the straight way from one example to another.

    Args:
        share: how far the input has gone, array of shape (K,), from 0 to 1.
        outputs: word for a normalization to the output, array of shape (K,).
    """
    fig = card(2.9)
    ax = fig.subplots()
    for word, values in outputs.items():
        style = "-" if word == "batch" else "--" if word == "layer" else "-."
        ax.plot(np.asarray(share), np.asarray(values), style, color=LOOKS[word][0],
                label=NAMES[word])  # fmt: skip
    ax.set_xlim(0, 1)
    ax.set_xticks([0, 0.5, 1], ["example A", "half way", "example B"])
    ax.set_xlabel("input")
    ax.set_ylabel("output, one feature")
    fig.legend(loc="outside upper center", ncols=len(outputs), fontsize=9.5)
    return fig


@figure(
    alt=(
        "Largest change of a score by folding, log scale. Inference in float64, float32 and "
        "bfloat16 lies at their rounding; training mode and stale copies lie near 1."
    )
)
def folding_errors(full: Rows) -> CourseFigure:
    """Draw how far a folded net's scores lie from those of the net that it came from.

    Args:
        full: rows of the parts "inference", "training" and "later" with ``net`` and ``error``.
    """
    inference = full.where(part="inference")
    cases: dict[str, Rows] = {
        f"inference, {dtype}": inference.where(dtype=dtype) for dtype in inference.distinct("dtype")
    }
    training = full.where(part="training")
    sizes = training.distinct("batch_size")
    for size in (max(sizes), min(sizes)):
        cases[f"training, batches of {size}"] = training.where(batch_size=size)
    later = full.where(part="later")
    last = max(later.distinct("batches"))
    cases[f"inference, {last} batches later"] = later.where(batches=last)
    fig = card(3.0)
    ax = fig.subplots()
    looks = {"mlp": "s", "conv": "o"}
    for row, rows in enumerate(cases.values()):
        ax.axhline(row, color=FAINT, linewidth=1, zorder=0)
        for place, net in enumerate(rows.distinct("net")):
            values = rows.where(net=net).values("error")
            y = row + (place - 0.5) * 0.3
            ax.plot(values, [y] * len(values), looks[net], color=BLUE, markersize=4, alpha=0.6,
                    fillstyle="full" if net == "mlp" else "none")  # fmt: skip
    for net, name in (("mlp", "fully connected"), ("conv", "convolutional")):
        ax.plot([], [], looks[net], color=BLUE, markersize=4, label=name,
                fillstyle="full" if net == "mlp" else "none")  # fmt: skip
    ax.set_yticks(range(len(cases)), list(cases), fontsize=9.5)
    ax.set_ylim(len(cases) - 0.4, -0.6)
    ax.set_xscale("log")
    ax.set_xlim(1e-16, 1e2)
    ax.set_xticks([1e-15, 1e-10, 1e-5, 1])
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel("difference / spread of scores")
    fig.legend(loc="outside upper center", ncols=2, fontsize=9.5, handletextpad=0.2)
    return fig


@figure(
    alt=(
        "Accuracy against contrast, offset and noise. Stored statistics fall off as the images "
        "change; the batch's own hold for contrast and offset, hardly for noise."
    )
)
def adaptation(full: Rows, live: Rows | None = None, *, size: int = 120) -> CourseFigure:
    """Draw the accuracy under three changes of the images, by two kinds of statistics.

    Args:
        full: rows with ``change``, ``strength``, ``way``, ``batch_size``, ``accuracy``, of one net.
        live: the same of a live slice, drawn as dots.
        size: of the test batches whose own statistics are shown.
    """
    changes = full.distinct("change")
    fig = card(2.9)
    axes = np.atleast_1d(fig.subplots(1, len(changes), sharey=True))
    for ax, change in zip(axes, changes, strict=True):
        for way, color, marker, line in (("stored", OTHER, "o", "--"), ("batch", BLUE, "s", "-")):
            extra = {"batch_size": size} if way == "batch" else {}
            where = {"change": change, "way": way, **extra}
            curve = full.curve("strength", "accuracy", **where)
            draw_curve(ax, curve, color=color, marker=marker, linestyle=line)
            draw_live(ax, live, "strength", "accuracy", **where)
        ax.set_xlabel(change)
    as_percent(axes[0], "right on test images, %")
    for ax in axes[1:]:
        ax.tick_params(axis="y", length=0)
    axes[0].plot([], [], "s-", color=BLUE, markersize=5, label=f"batches of {size}")
    axes[0].plot([], [], "o--", color=OTHER, markersize=5, label="stored statistics")
    fig.legend(loc="outside upper center", ncols=2, fontsize=9.5)
    return fig


@figure(
    alt=(
        "Accuracy against the share of one class in a test batch. Stored statistics stay level; "
        "the batch's own fall from nearly as good to almost nothing right."
    )
)
def skewed_batches(full: Rows, live: Rows | None = None) -> CourseFigure:
    """Draw what batch statistics cost when one class has more than its share.

    Args:
        full: rows with ``share``, ``batch``, ``stored``, of one net and look.
        live: the same of a live slice, drawn as dots.
    """
    fig = card(2.7)
    ax = fig.subplots()
    for column, color, marker, line, label in (
        ("stored", OTHER, "o", "--", "stored statistics"),
        ("batch", BLUE, "s", "-", "the batch's own"),
    ):
        curve = full.curve("share", column)
        draw_curve(ax, curve, color=color, marker=marker, linestyle=line)
        ax.plot([], [], color=color, marker=marker, linestyle=line, markersize=5, label=label)
        draw_live(ax, live, "share", column)
    shares = full.distinct("share")
    ax.set_xticks(shares, [f"{100 * share:.0f}" for share in shares])
    ax.set_xlabel("share of one class in the batch, %")
    as_percent(ax, "right on test images, %")
    ax.legend(fontsize=9.5, loc="lower left")
    return fig


def _powers(ax: Axes, sizes: Sequence[int]) -> None:
    """Show batch sizes on a log axis, each by its number."""
    ax.set_xscale("log")
    ax.set_xticks(sizes, [str(size) for size in sizes])
    ax.set_xticks([], minor=True)

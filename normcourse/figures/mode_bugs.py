"""Bugs of the two modes of batch normalization, each with the curve by which it shows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from normcourse.figures._base import CourseFigure, card, figure
from normcourse.figures._curves import draw_curve
from normcourse.figures._results import Rows, as_percent, draw_live
from normcourse.figures.palette import CARD, INK, METHOD_COLORS, OTHER

BLUE = METHOD_COLORS["batch_norm"]
NETS = {"mlp": "fully connected", "conv": "convolutional"}


@figure(
    alt=(
        "Accuracy in training mode against batch size, two nets. Mixed batches need dozens of "
        "images to come near inference mode; batches of one class fail at nearly every size."
    )
)
def forgotten_eval(full: Rows, live: Rows | None = None) -> CourseFigure:
    """Draw what a net answers in training mode, by batch size and order of the images.

    Args:
        full: rows with ``net``, ``order``, ``batch_size``, ``accuracy``, ``inference``.
        live: the same of a live slice, drawn as dots.
    """
    fig, axes = _panels(full.distinct("net"), 3.0)
    for ax, net in zip(axes, full.distinct("net"), strict=True):
        level = float(np.median(full.where(net=net).values("inference")))
        ax.axhline(level, color=BLUE, linewidth=1.5)
        for order, marker, line in (("mixed", "o", "--"), ("by class", "x", ":")):
            where = {"net": net, "order": order}
            curve = full.curve("batch_size", "accuracy", **where)
            draw_curve(ax, curve, color=OTHER, marker=marker, linestyle=line)
            draw_live(ax, live, "batch_size", "accuracy", **where)
        ax.set_xscale("log")
        ax.set_xlim(0.8, 450)
        ax.set_xticks([1, 10, 100], ["1", "10", "100"])
        ax.set_xlabel("images per batch")
        _name(ax, net)
    as_percent(axes[0], "right on test images, %")
    _keys(fig, axes[0], [("-", BLUE, "", "inference mode"), ("--", OTHER, "o", "mixed"),
                         (":", OTHER, "x", "by class")])  # fmt: skip
    return fig


@figure(
    alt=(
        "Accuracy at inference after evaluation batches in training mode, two nets. Batches of the "
        "same kind change little; one class or paler images pull it down."
    )
)
def polluted_statistics(full: Rows, live: Rows | None = None) -> CourseFigure:
    """Draw what evaluation batches leave behind in the running statistics.

    Args:
        full: rows with ``net``, ``kind``, ``batches``, ``accuracy``.
        live: the same of a live slice, drawn as dots.
    """
    fig, axes = _panels(full.distinct("net"), 3.0)
    looks = {"same kind": ("-", "s"), "paler": ("--", "o"), "one class": (":", "x")}
    for ax, net in zip(axes, full.distinct("net"), strict=True):
        for kind, (line, marker) in looks.items():
            where = {"net": net, "kind": kind}
            color = BLUE if kind == "same kind" else OTHER
            curve = full.curve("batches", "accuracy", **where)
            draw_curve(ax, curve, color=color, marker=marker, linestyle=line)
            draw_live(ax, live, "batches", "accuracy", **where)
        ax.set_xlabel("evaluation batches")
        _name(ax, net)
    as_percent(axes[0], "right on test images, %")
    _keys(fig, axes[0], [(line, BLUE if kind == "same kind" else OTHER, marker, kind)
                         for kind, (line, marker) in looks.items()])  # fmt: skip
    return fig


@figure(
    alt=(
        "Test accuracy by epoch at a small and a large learning rate. Without train() the small "
        "rate learns about as well; at the large rate it drops to chance."
    )
)
def forgotten_train(full: Rows, rates: Sequence[float], live: Rows | None = None) -> CourseFigure:
    """Draw the accuracy by epoch with and without ``train()``, a panel per learning rate.

    Args:
        full: rows with ``rate``, ``loop``, ``epoch``, ``accuracy``, of one net.
        rates: the learning rates to show.
        live: the same of a live slice, drawn as dots.
    """
    fig = card(2.9)
    axes = np.atleast_1d(fig.subplots(1, len(rates), sharey=True))
    looks = {"right": ("-", BLUE, "s"), "train() forgotten": ("--", OTHER, "o")}
    for ax, rate in zip(axes, rates, strict=True):
        for loop, (line, color, marker) in looks.items():
            where = {"rate": rate, "loop": loop}
            curve = full.curve("epoch", "accuracy", **where)
            draw_curve(ax, curve, color=color, marker=marker, linestyle=line)
            draw_live(ax, live, "epoch", "accuracy", **where)
        ax.set_xlabel("epoch")
        ax.text(0.97, 0.06 if rate == min(rates) else 0.5, f"learning rate {rate:g}", ha="right",
                transform=ax.transAxes)  # fmt: skip
    as_percent(axes[0], "right on test images, %")
    _keys(fig, axes[0], [(*look, loop) for loop, look in looks.items()])
    return fig


@figure(
    alt=(
        "Test accuracy by epoch, a line per seed. Without the last batch of one image the lines "
        "climb and stay; with it they jump up and down."
    )
)
def last_batch_of_one(full: Rows, *, size: int = 1) -> CourseFigure:
    """Draw every seed's accuracy by epoch, without and with a short last batch.

    Args:
        full: rows with ``last_batch``, ``epoch``, ``accuracy``, of one net.
        size: of the last batch on the right.
    """
    fig = card(2.8)
    axes = fig.subplots(1, 2, sharey=True)
    pairs = ((0, BLUE, "-", "dropped"), (size, OTHER, "--", f"{size} image" + "s" * (size > 1)))
    for ax, (last, color, line, label) in zip(axes, pairs, strict=True):
        curve = full.curve("epoch", "accuracy", last_batch=last)
        for values in curve.runs.values():
            ax.plot(curve.x, values, line, color=color, linewidth=1.0, alpha=0.8)
        ax.set_xlabel("epoch")
        ax.text(0.97, 0.06, f"last batch: {label}", ha="right", transform=ax.transAxes,
                bbox={"facecolor": CARD, "edgecolor": "none", "pad": 1})  # fmt: skip
    as_percent(axes[0], "right on test images, %")
    return fig


@figure(
    alt=(
        "Accuracy after settling against the size of the last batch, two nets. Short last batches "
        "cost up to dozens of points; recalibrating brings back a part."
    )
)
def last_batch_sizes(late: Rows, live: Rows | None = None) -> CourseFigure:
    """Draw the accuracy by the size of the last batch, as it is and recalibrated.

    Args:
        late: rows with ``net``, ``last_batch``, ``accuracy``, ``recalibrated``, one per seed.
        live: the same of a live slice, drawn as dots.
    """
    fig, axes = _panels(late.distinct("net"), 3.0)
    looks = {"accuracy": ("--", OTHER, "o"), "recalibrated": ("-", BLUE, "s")}
    sizes = sorted(late.distinct("last_batch"))
    for ax, net in zip(axes, late.distinct("net"), strict=True):
        for column, (line, color, marker) in looks.items():
            curve = late.curve("place", column, net=net)
            draw_curve(ax, curve, color=color, marker=marker, linestyle=line)
            draw_live(ax, live, "place", column, net=net)
        ax.set_xticks(range(len(sizes)), [str(size) for size in sizes])
        ax.set_xlabel("images in the last batch")
        _name(ax, net)
    as_percent(axes[0], "right on test images, %")
    names = {"accuracy": "as trained", "recalibrated": "recalibrated"}
    _keys(fig, axes[0], [(*look, names[column]) for column, look in looks.items()])
    return fig


@figure(
    alt=(
        "Old and new task while a head learns. Backbone in inference mode: the old task stays "
        "level. In training mode the old task sinks and the new one gains."
    )
)
def frozen_backbone(full: Rows, live: Rows | None = None) -> CourseFigure:
    """Draw the old and the new task's accuracy while a head learns on a frozen backbone.

    Args:
        full: rows with ``mode``, ``step``, ``old``, ``new``, of one net and look of the images.
        live: the same of a live slice, drawn as dots.
    """
    fig = card(2.9)
    axes = fig.subplots(1, 2, sharey=True)
    looks = {"inference": ("-", BLUE, "s"), "training": ("--", OTHER, "o")}
    for ax, (column, label) in zip(
        axes, (("old", "old task, ten digits"), ("new", "new task, even or odd")), strict=True
    ):
        for mode, (line, color, marker) in looks.items():
            curve = full.curve("step", column, mode=mode)
            draw_curve(ax, curve, color=color, marker=marker, linestyle=line)
            draw_live(ax, live, "step", column, mode=mode)
        ax.set_xscale("symlog", linthresh=1)
        ax.set_xticks([0, 1, 10, 100], ["0", "1", "10", "100"])
        ax.set_xlim(-0.2, 400)
        ax.set_xlabel("steps of the head")
        ax.text(0.97, 0.06, label, ha="right", transform=ax.transAxes)
    as_percent(axes[0], "right on test images, %")
    _keys(fig, axes[0], [(*look, f"backbone in {mode} mode")
                         for mode, look in looks.items()])  # fmt: skip
    return fig


def _panels(nets: Sequence[str], height: float) -> tuple[CourseFigure, list[Axes]]:
    """Return a card with one panel per net, sharing the y axis."""
    fig = card(height)
    return fig, list(np.atleast_1d(fig.subplots(1, len(nets), sharey=True)))


def _name(ax: Axes, net: str) -> None:
    """Write above a panel what net it shows."""
    ax.text(0.5, 1.03, NETS[net], ha="center", transform=ax.transAxes, color=INK)


def _keys(fig: CourseFigure, ax: Axes, keys: Sequence[tuple[str, str, str, str]]) -> None:
    """Put one legend above all panels: (line, colour, marker, label)."""
    for line, color, marker, label in keys:
        ax.plot([], [], line, color=color, marker=marker or None, markersize=5, label=label)
    fig.legend(loc="outside upper center", ncols=len(keys), fontsize=9.5, handletextpad=0.5,
               columnspacing=1.2)  # fmt: skip

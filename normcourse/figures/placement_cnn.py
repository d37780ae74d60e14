"""Placement in convolutional nets: orders, residual blocks, streams, skips, last gammas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.ticker import NullLocator
from numpy.typing import ArrayLike, NDArray

from normcourse.figures._base import CourseFigure, bare, card, figure, signed
from normcourse.figures._curves import draw_curve
from normcourse.figures._results import Rows
from normcourse.figures.palette import CARD, FAINT, HIGHLIGHT, INK, METHOD_COLORS, OTHER, RAW
from normcourse.figures.small_batches import OPEN

Array = NDArray[Any]
BLUE, PURPLE = METHOD_COLORS["batch_norm"], METHOD_COLORS["group_norm"]
# A word of a layer to the face of its box: norms are blue, ReLUs grey, what has weights is white.
_FACES = {"conv": "white", "norm": BLUE, "relu": FAINT, "+": CARD, "dropout": OTHER}
# An arm of the order experiment: its words, colour and marker.
_ORDERS: dict[tuple[str, str], tuple[str, str, str]] = {
    ("norm first", "batch"): ("conv, batch norm, ReLU", BLUE, "s"),
    ("relu first", "batch"): ("conv, ReLU, batch norm", BLUE, "D"),
    ("norm first", "group"): ("conv, group norm, ReLU", PURPLE, "v"),
    ("relu first", "group"): ("conv, ReLU, group norm", PURPLE, "^"),
    ("no norm", "none"): ("conv, ReLU", RAW, "o"),
}
_BIASES: dict[str, tuple[str, str]] = {
    "batch first": ("conv, batch norm, ReLU", BLUE),
    "instance first": ("conv, instance norm, ReLU", METHOD_COLORS["instance_norm"]),
    "group first": ("conv, group norm, ReLU", PURPLE),
    "batch second": ("conv, ReLU, batch norm", BLUE),
    "no norm": ("conv, ReLU", RAW),
}
_SKIPS = {
    "clean": "x",
    "normalized": "norm(x)",
    "activated": "relu(norm(x))",
    "relu on the sum": "relu(x + branch)",
    "halved": "x / 2",
}
_STREAMS: dict[tuple[str, str, str], tuple[str, str, str, str]] = {
    ("post", "none", "ones"): ("post, no norm", RAW, "o", "-"),
    ("pre", "none", "ones"): ("pre, no norm", RAW, "^", "--"),
    ("pre", "batch", "ones"): ("pre, batch norm", BLUE, "^", "--"),
    ("post", "batch", "ones"): ("post, batch norm", BLUE, "o", "-"),
    ("post", "batch", "zeros"): ("post, last gamma 0", INK, "s", ":"),
}


# Labels at the ends of curves that come close: points up or down.
_OFFSETS = {
    "post, no norm": 8,
    "pre, no norm": -8,
    "pre, batch norm": 8,
    "post, batch norm": -8,
}


def _box(ax: Axes, x: float, y: float, word: str, wide: float = 1.0) -> None:
    kind = word.split()[0]
    face = _FACES.get(kind, "white")
    ax.add_patch(
        FancyBboxPatch(
            (x - wide / 2 + 0.06, y - 0.3),
            wide - 0.12,
            0.6,
            boxstyle="round,pad=0,rounding_size=0.12",
            facecolor=face,
            edgecolor=INK,
        )
    )
    color = "white" if kind in ("norm", "dropout") else INK
    ax.text(x, y, word, ha="center", va="center", fontsize=9.5, color=color)


def _arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    look: dict[str, Any] = {
        "arrowstyle": "-|>",
        "mutation_scale": 9,
        "color": INK,
        "shrinkA": 0,
        "shrinkB": 0,
    }
    ax.add_patch(FancyArrowPatch(start, end, **look))


@figure(
    alt=(
        "Rows of boxes: convolutions, norms and ReLUs in two orders. Brackets mark that the units "
        "norm, ReLU, conv and conv, norm, ReLU cut the same chain elsewhere."
    )
)
def layer_chains() -> CourseFigure:
    """Draw the two orders of a plain chain, and where pre-activation cuts the first one."""
    rows: tuple[tuple[str, list[str], list[tuple[int, int, str]]], ...] = (
        (
            "norm first",
            ["conv", "norm", "relu"] * 2 + ["conv"],
            [(0, 2, "conv–norm–relu"), (4, 6, "norm–relu–conv")],
        ),
        ("ReLU first", ["conv", "relu", "norm"] * 2 + ["conv"], [(0, 2, "conv–relu–norm")]),
    )
    fig = card(2.5)
    ax = fig.subplots()
    bare(ax)
    for k, (name, words, marks) in enumerate(rows):
        y = -1.75 * k
        ax.text(-0.65, y, name, ha="right", va="center")
        for place, word in enumerate(words):
            _box(ax, place, y, word, 0.92)
            if place:
                _arrow(ax, (place - 0.6, y), (place - 0.41, y))
        for first, last, what in marks:
            ax.plot([first - 0.4, last + 0.4], [y - 0.48] * 2, color=INK, linewidth=1.4)
            middle = (first + last) / 2
            ax.text(middle, y - 0.56, what, ha="center", va="top", fontsize=9.5)
    ax.set_xlim(-2.1, 6.6)
    ax.set_ylim(-2.75, 0.45)
    return fig


@figure(
    alt=(
        "Histograms of one channel. Convolution's output: {first}. Norm then ReLU: a spike at 0, a "
        "tail. ReLU then norm: spike left of 0, mean 0."
    )
)
def what_is_read(values: Mapping[str, ArrayLike], first: str = "off centre") -> CourseFigure:
    """Draw histograms of one channel, a panel for each order of layers.

    Args:
        values: words to numbers; the first panel is raw.
        first: the shape of the first histogram in words, for the alt text.
    """
    fig = card(2.7)
    axes = np.atleast_1d(fig.subplots(1, len(values), sharey=True))
    for k, (ax, (words, given)) in enumerate(zip(axes, values.items(), strict=True)):
        x = np.asarray(given, dtype=float).ravel()
        low, high = np.quantile(x, [0.001, 0.999])
        ax.hist(x, bins=30, range=(float(low), float(high)), color=BLUE if k else RAW,
                weights=np.full(x.size, 1 / x.size))  # fmt: skip
        ax.axvline(x.mean(), color=INK, linewidth=1.5)
        told = f"mean {signed(x.mean(), 2)}, std {signed(x.std(), 2)}"
        ax.text(0.5, 1.02, told, ha="center", va="bottom", transform=ax.transAxes, fontsize=9.5)
        ax.set_xlabel(words, fontsize=10)
    axes[0].set_ylabel("share of values")
    return fig


def _dots(ax: Axes, values: ArrayLike, y: float, color: str, marker: str = "o") -> None:
    """Draw every seed as a dot in a row, and a bar at the median."""
    x = np.asarray(values, dtype=float)
    rows = y + np.linspace(-0.16, 0.16, len(x))
    ax.plot(x, rows, marker, color=color, markersize=4.5, alpha=0.6, linestyle="none")
    ax.plot([np.median(x)] * 2, [y - 0.3, y + 0.3], color=INK, linewidth=2)


@figure(
    alt=(
        "Accuracy of every seed, a row per order and norm. With both norms ReLU "
        "first is ahead, on digits a little, on signals by ten points and more."
    )
)
def accuracy_by_order(full: Rows, live: Rows | None = None) -> CourseFigure:
    """Draw each seed's accuracy by the order of the layers, a panel per data set.

    Args:
        full: rows with ``data``, ``order``, ``norm``, ``accuracy``.
        live: the same of a live slice, drawn as open dots.
    """
    words = full.distinct("data")
    fig = card(3.3)
    axes = np.atleast_1d(fig.subplots(1, len(words), sharey=True))
    for ax, data in zip(axes, words, strict=True):
        for k, ((order, norm), (_, color, marker)) in enumerate(_ORDERS.items()):
            here = full.where(data=data, order=order, norm=norm)
            _dots(ax, [100 * v for v in here.values("accuracy")], k, color, marker)
            shown = live is not None and data in live.distinct("data")
            if live is not None and shown and [order, norm] in _pairs(live):
                found = live.where(data=data, order=order, norm=norm).values("accuracy")
                ax.plot([100 * v for v in found], [k + 0.36] * len(found), "o", color=color, **OPEN)
        ax.text(0.5, 1.02, data, ha="center", va="bottom", transform=ax.transAxes)
    fig.supxlabel("right on test inputs, %", fontsize=11)
    axes[0].set_yticks(range(len(_ORDERS)), [words for words, _, _ in _ORDERS.values()])
    axes[0].set_ylim(len(_ORDERS) - 0.4, -0.6)
    return fig


def _pairs(rows: Rows) -> list[list[Any]]:
    pairs = zip(rows.values("order"), rows.values("norm"), strict=True)
    return [list(pair) for pair in dict.fromkeys(pairs)]


@figure(
    alt=(
        "Gradient of biases over that of weights, a row per net, on a log scale. With batch or "
        "instance norm directly behind about a millionth; elsewhere about as large."
    )
)
def bias_gradients(full: Rows) -> CourseFigure:
    """Draw the size of the biases' gradients beside that of the weights', every seed.

    Args:
        full: rows with ``arm``, ``optimizer``, ``gradient``.
    """
    return _by_bias(full, "gradient", {"sgd": "o"}, "gradient of biases / of weights")


@figure(
    alt=(
        "How far biases went over how far weights went, a row per net, log scale. Before batch "
        "norm: with SGD nowhere, with Adam about half as far as the weights."
    )
)
def bias_ways(full: Rows) -> CourseFigure:
    """Draw how far biases went in training beside the weights, for both optimizers.

    Args:
        full: rows with ``arm``, ``optimizer``, ``moved``.
    """
    marks = {"sgd": "o", "adam": "^"}
    fig = _by_bias(full, "moved", marks, "way of biases / of weights")
    ax = fig.axes[0]
    for word, marker in marks.items():
        ax.plot([], [], marker, color=INK, linestyle="none", label=word.replace("a", "A", 1)
                if word == "adam" else "SGD")  # fmt: skip
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return fig


def _by_bias(full: Rows, column: str, marks: Mapping[str, str], label: str) -> CourseFigure:
    fig = card(2.8)
    ax = fig.subplots()
    for k, (arm, (_, color)) in enumerate(_BIASES.items()):
        for word, marker in marks.items():
            x = np.array(full.where(arm=arm, optimizer=word).values(column), dtype=float)
            rows = k + np.linspace(-0.2, 0.2, len(x))
            ax.plot(x, rows, marker, color=color, markersize=4.5, alpha=0.6, linestyle="none")
    ax.axvline(1, color=OTHER, linestyle="--", linewidth=1)
    ax.set_xscale("log")
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_yticks(range(len(_BIASES)), [words for words, _ in _BIASES.values()])
    ax.set_ylim(len(_BIASES) - 0.4, -0.6)
    ax.set_xlabel(label)
    return fig


@figure(
    alt=(
        "Two residual blocks. Left, a ReLU behind the addition. Right, norm and ReLU before each "
        "convolution, so that nothing stands on the skip from block to block."
    )
)
def residual_blocks() -> CourseFigure:
    """Draw the post-activation and the pre-activation block, skip and branch apart."""
    kinds = {
        "post-activation": (["conv", "norm", "relu", "conv", "norm γ"], "relu"),
        "pre-activation": (["norm", "relu", "conv", "norm", "relu", "conv"], ""),
    }
    fig = card(4.2)
    for ax, (name, (branch, behind)) in zip(fig.subplots(1, 2), kinds.items(), strict=True):
        bare(ax)
        ax.text(0, 0.9, name, ha="center", va="bottom")
        ax.text(0, 0.62, "x", ha="center", va="center", style="italic")
        total = 7.6
        places = -0.9 - np.arange(len(branch)) * 1.0 - 0.5 * (6 - len(branch))
        _arrow(ax, (-0.8, 0.1), (-0.8, -total + 0.02))
        ax.plot([0, 0, -0.8], [0.35, 0.1, 0.1], color=INK, linewidth=1.2)
        ax.plot([0, 1.0, 1.0], [0.1, 0.1, float(places[0]) + 0.3], color=INK, linewidth=1.2)
        for y, word in zip(places, branch, strict=True):
            _box(ax, 1.0, float(y), word, 1.35)
        for y, below in pairwise(places):
            _arrow(ax, (1.0, float(y) - 0.3), (1.0, float(below) + 0.3))
        end = -total - 0.25
        ax.plot([1.0, 1.0], [float(places[-1]) - 0.3, end], color=INK, linewidth=1.2)
        _arrow(ax, (1.0, end), (-0.55, end))
        ax.plot(-0.8, end, "o", color=CARD, markeredgecolor=INK, markersize=15)
        ax.text(-0.8, end - 0.02, "+", ha="center", va="center", fontsize=13)
        ax.text(-0.98, -3.8, "skip", ha="right", va="center", rotation=90, color=RAW)
        ax.text(1.85, -3.8, "branch", ha="left", va="center", rotation=90, color=RAW)
        if behind:
            _arrow(ax, (-0.8, end - 0.27), (-0.8, end - 0.75))
            _box(ax, -0.8, end - 1.05, behind, 1.35)
            _arrow(ax, (-0.8, end - 1.35), (-0.8, end - 1.8))
        else:
            _arrow(ax, (-0.8, end - 0.27), (-0.8, end - 1.8))
        ax.set_xlim(-1.9, 2.4)
        ax.set_ylim(end - 1.95, 1.35)
    return fig


@figure(
    alt=(
        "Variance of the stream by block, log scale. Without norms it rises a hundred-thousandfold "
        "and more, with batch norm about tenfold; with a last gamma of 0 it is flat."
    )
)
def stream_variance(full: Rows, live: Rows | None = None) -> CourseFigure:
    """Draw the variance of fresh residual streams, block by block.

    Args:
        full: rows with ``kind``, ``norm``, ``start``, ``block``, ``variance``.
        live: the same of a live slice, drawn as open dots.
    """
    fig = card(3.3)
    ax = fig.subplots()
    for key, (words, color, marker, line) in _STREAMS.items():
        kind, norm, start = key
        curve = full.curve("block", "variance", kind=kind, norm=norm, start=start)
        draw_curve(ax, curve, color=color, marker=None, linestyle=line)
        up = _OFFSETS.get(words, 0)
        ax.annotate(
            words,
            (curve.x[-1], curve.median[-1]),
            xytext=(7, up),
            textcoords="offset points",
            va="center",
            color=color,
            fontsize=10,
        )
        ax.plot(curve.x[::6], curve.median[::6], marker, color=color, markersize=5)
        if live is not None and start == "ones":
            seen = live.curve("block", "variance", kind=kind, norm=norm, start=start)
            for values in seen.runs.values():
                ax.plot(seen.x, values, "o", color=color, **{**OPEN, "markersize": 3})
    ax.set_yscale("log")
    ax.yaxis.set_minor_locator(NullLocator())
    ax.set_xlim(0, 35)
    ax.set_xticks([1, 8, 16, 24])
    ax.set_xlabel("block")
    ax.set_ylabel("variance of the stream")
    return fig


@figure(
    alt=(
        "Variance of a branch over that of its block's output, by block. With batch norm it falls "
        "towards zero like one over depth; without norms it stays as large."
    )
)
def share_by_block(full: Rows) -> CourseFigure:
    """Draw the variance of each branch over that of its block's output, with and without norms.

    Args:
        full: rows with ``kind``, ``norm``, ``start``, ``block``, ``share``.
    """
    fig = card(2.8)
    for ax, kind in zip(fig.subplots(1, 2, sharey=True), ("post", "pre"), strict=True):
        for norm, color, line in (("none", RAW, "--"), ("batch", BLUE, "-")):
            curve = full.curve("block", "share", kind=kind, norm=norm, start="ones")
            draw_curve(ax, curve, color=color, marker=None, linestyle=line)
            words = "batch norm" if norm == "batch" else "no norm"
            ax.plot([], [], color=color, linestyle=line, label=words)
        ax.text(0.5, 1.02, f"{kind}-activation", ha="center", transform=ax.transAxes)
        ax.set_xticks([1, 8, 16, 24])
        ax.set_xlabel("block")
        ax.set_yscale("log")
        ax.set_yticks([0.03, 0.1, 0.3, 1, 3], ["0.03", "0.1", "0.3", "1", "3"])
        ax.yaxis.set_minor_locator(NullLocator())
    fig.axes[1].legend(loc="upper right", fontsize=10)
    fig.axes[0].set_ylabel("variance, branch / output")
    return fig


@figure(
    alt=(
        "Input left in the stream by block, log scale: 11 % at the end with a clean skip, 3 % "
        "with a ReLU on the sum, below 1 % otherwise."
    )
)
def kept_by_block(full: Rows, live: Rows | None = None) -> CourseFigure:
    """Draw how much of the input is left in the stream of a fresh net, for each kind of skip.

    Args:
        full: rows with ``skip``, ``block``, ``kept``.
        live: the same of a live slice, drawn as open dots.
    """
    looks = (("s", "-"), ("D", "--"), ("^", ":"), ("v", "-."), ("o", (0, (1, 1))))
    fig = card(3.4)
    ax = fig.subplots()
    for (skip, words), (marker, line) in zip(_SKIPS.items(), looks, strict=True):
        color = BLUE if skip == "clean" else RAW if skip == "relu on the sum" else OTHER
        curve = full.curve("block", "kept", skip=skip)
        ax.fill_between(curve.x, curve.low, curve.high, color=color, alpha=0.18, linewidth=0)
        ax.plot(curve.x, curve.median, color=color, linestyle=line)
        ax.plot(curve.x[::4], curve.median[::4], marker, color=color, markersize=5)
        ax.plot([], [], marker, color=color, linestyle=line, label=words)
        if live is not None and skip in live.distinct("skip"):
            seen = live.curve("block", "kept", skip=skip)
            for values in seen.runs.values():
                ax.plot(seen.x, values, "o", color=color, **{**OPEN, "markersize": 3})
    ax.set_yscale("log")
    ax.set_yticks([0.001, 0.01, 0.1, 1], ["0.1", "1", "10", "100"])
    ax.yaxis.set_minor_locator(NullLocator())
    ax.set_xticks([1, 8, 16, 24])
    ax.set_xlabel("block")
    ax.set_ylabel("input left in the stream, %")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, fontsize=9.5)
    return fig


@figure(
    alt=(
        "Loss at the end against learning rate, last gammas starting at 1 and at 0. Reading means, "
        "zeros lose at every rate; reading places, only zeros train at 0.1."
    )
)
def loss_by_start(full: Rows, live: Rows | None = None) -> CourseFigure:
    """Draw the loss at the end against the rate, a panel per kind of scores.

    Args:
        full: rows with ``kind``, ``head``, ``start``, ``rate``, ``loss``.
        live: the same of a live slice, drawn as open dots.
    """
    names = {"mean": "scores read means", "places": "scores read places"}
    looks = {"ones": (BLUE, "s", "-"), "zeros": (INK, "o", ":")}
    fig = card(3.1)
    for ax, head in zip(fig.subplots(1, 2, sharey=True), names, strict=True):
        for start, (color, marker, line) in looks.items():
            curve = full.curve("rate", "loss", kind="post", head=head, start=start)
            draw_curve(ax, curve, color=color, marker=marker, linestyle=line)
            words = f"last gamma {'1' if start == 'ones' else '0'}"
            ax.plot([], [], color=color, marker=marker, linestyle=line, label=words)
            if live is not None and head in live.distinct("head"):
                seen = live.curve("rate", "loss", kind="post", head=head, start=start)
                for values in seen.runs.values():
                    ax.plot(seen.x, values, "o", color=color, **OPEN)
        ax.set_xscale("log")
        ax.set_xticks(full.distinct("rate"), [f"{rate:g}" for rate in full.distinct("rate")])
        ax.xaxis.set_minor_locator(NullLocator())
        ax.set_yscale("log")
        ax.set_yticks([0.03, 0.1, 0.3, 1, 3], ["0.03", "0.1", "0.3", "1", "3"])
        ax.yaxis.set_minor_locator(NullLocator())
        ax.set_xlabel("learning rate")
        ax.text(0.5, 1.02, names[head], ha="center", va="bottom", transform=ax.transAxes)
    fig.axes[0].set_ylabel("training loss at the end")
    fig.axes[0].legend(loc="lower left", fontsize=10)
    return fig


@figure(
    alt=(
        "Root mean square of the last gammas of {count} blocks against training steps. All start "
        "at 0 and leave it within the first steps, each at its own pace."
    )
)
def gammas_by_step(sizes: Sequence[Sequence[float]], count: int) -> CourseFigure:
    """Draw how the last gammas of residual blocks leave zero.

    Args:
        sizes: a row per step, a value per block.
        count: number of blocks, for the alt text.
    """
    values = np.asarray(sizes, dtype=float)
    fig = card(2.6)
    ax = fig.subplots()
    for k in range(values.shape[1]):
        ax.plot(values[:, k], color=BLUE, alpha=0.35 + 0.6 * k / values.shape[1], linewidth=1.6)
    for word, k in (("first block", 0), ("last block", values.shape[1] - 1)):
        ax.plot([], [], color=BLUE, alpha=0.35 + 0.6 * k / values.shape[1], label=word)
    ax.legend(loc="upper left", fontsize=10)
    ax.set_xlim(0, len(values) - 1)
    ax.set_ylim(bottom=0)
    ax.set_xlabel("step")
    ax.set_ylabel("size of the last gammas")
    return fig


@figure(
    alt=(
        "Variance in inference over variance in training against the share dropped: curves fall "
        "from 1, faster behind a ReLU. Measured marks lie on the curves."
    )
)
def dropout_variance(
    fractions: ArrayLike,
    derived: Mapping[str, ArrayLike],
    measured: Mapping[str, tuple[ArrayLike, ArrayLike]],
) -> CourseFigure:
    """Draw what dropout before a norm does to the variance that it stores.

    Args:
        fractions: shares dropped, shape (K,).
        derived: words to ratios, shape (K,).
        measured: words to shares dropped and ratios measured.
    """
    looks = ((BLUE, "s", "-"), (HIGHLIGHT, "o", "--"))
    fig = card(2.8)
    ax = fig.subplots()
    ax.axhline(1, color=FAINT, linewidth=1, zorder=0)
    for (words, ratio), (color, marker, line) in zip(derived.items(), looks, strict=False):
        ax.plot(np.asarray(fractions), np.asarray(ratio), color=color, linestyle=line)
        if words in measured:
            at, seen = measured[words]
            ax.plot(np.asarray(at), np.asarray(seen), marker, color=color, markersize=5)
        ax.plot([], [], color=color, marker=marker, linestyle=line, label=words)
    ax.set_ylim(0, 1.08)
    ax.set_xlabel("share dropped before the norm")
    ax.set_ylabel("inference / training")
    ax.legend(loc="lower left", fontsize=10)
    return fig

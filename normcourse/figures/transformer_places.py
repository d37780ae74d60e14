"""Where the norm of a Transformer stands: diagrams, fresh nets, training, queries and keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from numpy.typing import ArrayLike, NDArray

from normcourse.figures._base import CourseFigure, bare, card, figure
from normcourse.figures._results import Rows
from normcourse.figures.palette import FAINT, HIGHLIGHT, INK, METHOD_COLORS, OTHER, RAW

_RED = METHOD_COLORS["layer_norm"]
# The word of an experiment for a place -> what the text calls it, colour, marker, line.
PLACES: dict[str, tuple[str, str, str, str]] = {
    "post": ("post", _RED, "o", "-"),
    "pre": ("pre", INK, "s", "-"),
    "res-post": ("res-post", _RED, "^", "--"),
    "sandwich": ("sandwich", INK, "D", "--"),
    "deep": ("deep", HIGHLIGHT, "v", "-."),
}


def _arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float], **look: Any) -> None:
    style = {"arrowstyle": "-|>", "mutation_scale": 10, "color": INK, "linewidth": 1.4, **look}
    ax.add_patch(FancyArrowPatch(start, end, shrinkA=0, shrinkB=0, **style))


def _box(ax: Axes, x: float, y: float, word: str, *, norm: bool) -> None:
    """Draw a part of a block, centered at (x, y)."""
    patch = FancyBboxPatch(
        (x - 0.42, y - 0.24),
        0.84,
        0.48,
        boxstyle="round,pad=0.02,rounding_size=0.1",
        facecolor=_RED if norm else "white",
        edgecolor=_RED if norm else INK,
        zorder=3,
    )
    ax.add_patch(patch)
    color = "white" if norm else INK
    ax.text(x, y, word, ha="center", va="center", color=color, fontsize=9, zorder=4)


@figure(
    alt=(
        "Five blocks, input below. Post and deep: the norm stands on the main line above the sum. "
        "Pre, res-post, sandwich: in the branch before, after, around f."
    )
)
def five_places() -> CourseFigure:
    """Draw one sublayer with its skip connection in five placements."""
    branches: dict[str, Sequence[str]] = {
        "post": ("f",),
        "pre": ("norm", "f"),
        "res-post": ("f", "norm"),
        "sandwich": ("norm", "f", "norm"),
        "deep": ("f",),
    }
    fig = card(3.3)
    ax = fig.subplots()
    bare(ax)
    for k, (place, parts) in enumerate(branches.items()):
        x, branch = 2.05 * k, 2.05 * k + 0.95
        on_path = place in ("post", "deep")
        top = 4.6
        _arrow(ax, (x, 0), (x, 3.1))
        _arrow(ax, (x, 3.1), (x, top))
        if on_path:
            _box(ax, x, 3.85, "norm", norm=True)
        heights = np.linspace(0.95, 2.45, 3)[{1: [1], 2: [0, 2], 3: [0, 1, 2]}[len(parts)]]
        ax.plot([x, branch, branch], [0.35, 0.35, 0.6], color=INK, linewidth=1.4)
        ax.plot([branch, branch], [0.6, 2.9], color=INK, linewidth=1.4)
        ax.plot([branch, branch], [2.9, 3.1], color=INK, linewidth=1.4)
        _arrow(ax, (branch, 3.1), (x + 0.14, 3.1))
        ax.plot(x, 3.1, "o", color="white", markeredgecolor=INK, markersize=11, zorder=5)
        ax.text(x, 3.09, "+", ha="center", va="center", fontsize=10, zorder=6)
        for word, height in zip(parts, heights, strict=True):
            _box(ax, branch, float(height), word, norm=word == "norm")
        if place == "deep":
            ax.text(x - 0.12, 1.7, "α", ha="right", va="center", fontsize=11)
        ax.text(x + 0.45, -0.3, PLACES[place][0], ha="center", va="top", fontsize=10)
    ax.set_xlim(-0.6, 9.8)
    ax.set_ylim(-0.9, 4.7)
    return fig


@figure(
    alt=(
        "Cosine between the first input and the stream, by block. Post-norm falls to almost zero "
        "within {depth} blocks; pre-norm, sandwich and deep keep more of it."
    )
)
def input_left(cosines: Mapping[str, ArrayLike], depth: int) -> CourseFigure:
    """Draw how much of the first input is still in the stream.

    Args:
        cosines: place to mean cosine at block 0, 1, …, array of shape (depth + 1,).
        depth: number of blocks.
    """
    fig = card(3.0)
    ax = fig.subplots()
    ax.axhline(0, color=FAINT, zorder=0)
    ends: dict[str, float] = {}
    for place, values in cosines.items():
        _, color, marker, line = PLACES[place]
        found: NDArray[Any] = np.asarray(values)
        ax.plot(np.arange(depth + 1), found, line, color=color, marker=marker, markersize=4)
        ends[place] = float(found[-1])
    _label_ends(ax, depth, ends, gap=0.075)
    ax.set_xlim(0, 1.22 * depth)
    ax.set_xticks(range(0, depth + 1, 4))
    ax.set_xlabel("block")
    ax.set_ylabel("cosine with the input")
    return fig


def _label_ends(ax: Axes, x: float, ends: Mapping[str, float], *, gap: float) -> None:
    """Write the names of lines beside their ends, moved apart to ``gap`` in data units."""
    log = ax.get_yscale() == "log"
    order = sorted(ends, key=lambda place: ends[place])
    heights = [float(np.log10(ends[place])) if log else ends[place] for place in order]
    placed: list[float] = []
    for height in heights:
        placed.append(max(height, placed[-1] + gap) if placed else height)
    middle = (sum(placed) - sum(heights)) / len(placed) / 2
    for place, height in zip(order, placed, strict=True):
        y = 10 ** (height - middle) if log else height - middle
        name, color, _, _ = PLACES[place]
        ax.annotate(
            name,
            (x, y),
            xytext=(7, 0),
            textcoords="offset points",
            va="center",
            color=color,
            fontsize=10,
            annotation_clip=False,
        )


@figure(
    alt=(
        "Mean square of the stream by block, {depth} blocks, log scale. Post and deep stay at 1; "
        "pre climbs to tens, res-post and sandwich to more than a hundred."
    )
)
def stream_by_block(full: Rows, depth: int) -> CourseFigure:
    """Draw the size of the residual stream of fresh nets, block by block.

    Args:
        full: rows with ``place``, ``depth``, ``block``, ``stream``.
        depth: number of blocks.
    """
    fig = card(3.2)
    ax = fig.subplots()
    ax.set_yscale("log")
    ends = _curves(ax, full, "stream", depth)
    _label_ends(ax, depth, ends, gap=0.16)
    ax.set_xlim(0, 1.2 * depth)
    ax.set_xticks(np.linspace(0, depth, 5).astype(int))
    ax.set_xlabel("block")
    ax.set_ylabel("mean square of the stream")
    return fig


def _curves(ax: Axes, full: Rows, column: str, depth: int, *, live: Rows | None = None) -> Any:
    """Draw a column by block, a line per place, and return where the lines end."""
    ends: dict[str, float] = {}
    for place in full.distinct("place"):
        _, color, marker, line = PLACES[place]
        curve = full.curve("block", column, place=place, depth=depth)
        ax.fill_between(curve.x, curve.low, curve.high, color=color, alpha=0.15, linewidth=0)
        shown = marker if depth <= 16 else None
        ax.plot(curve.x, curve.median, line, color=color, marker=shown, markersize=4)
        if live is not None and depth in live.distinct("depth"):
            for values in live.curve("block", column, place=place, depth=depth).runs.values():
                ax.plot(curve.x, values, ".", color=color, markersize=2.5, alpha=0.6)
        ends[place] = float(curve.median[-1])
    return ends


@figure(
    alt=(
        "Gradient norm by block in fresh nets, a panel per depth, log scale. Post-norm stays large "
        "to the output; pre, res-post and sandwich fall toward it; deep is low."
    )
)
def fresh_gradients(full: Rows, live: Rows | None = None) -> CourseFigure:
    """Draw the gradient by each block's last weights in fresh nets, a panel per depth.

    Args:
        full: rows with ``place``, ``depth``, ``block``, ``gradient``.
        live: the same of a live slice, drawn as dots.
    """
    depths = full.distinct("depth")
    fig = card(3.4)
    axes = np.atleast_1d(fig.subplots(1, len(depths), sharey=True))
    for ax, depth in zip(axes, depths, strict=True):
        ax.set_yscale("log")
        _curves(ax, full, "gradient", depth, live=live)
        ax.set_xticks([1, *(depth * k // 2 for k in (1, 2))])
        ax.text(0.5, 1.02, f"{depth} blocks", ha="center", va="bottom", transform=ax.transAxes)
    axes[0].set_ylabel("gradient norm")
    axes[len(axes) // 2].set_xlabel("block, 1 is next to the input")
    _legend(fig, axes[0], full.distinct("place"))
    return fig


def _legend(fig: CourseFigure, ax: Axes, places: Sequence[str]) -> None:
    for place in places:
        name, color, marker, line = PLACES[place]
        ax.plot([], [], line, color=color, marker=marker, markersize=5, label=name)
    handles, labels = ax.get_legend_handles_labels()
    fig.legend(
        handles, labels, loc="outside upper center", ncols=3, fontsize=9.5, handlelength=2.4,
        columnspacing=1.2,
    )  # fmt: skip


@figure(
    alt=(
        "Gradient at the last block against depth, log scales. Post-norm stays level or rises; "
        "pre, res-post and sandwich fall along a dashed line of slope minus one half."
    )
)
def last_gradient(full: Rows) -> CourseFigure:
    """Draw the gradient by the last block's weights in fresh nets against the depth.

    Args:
        full: rows with ``place``, ``depth``, ``block``, ``gradient``.
    """
    depths = np.array(full.distinct("depth"), dtype=float)
    fig = card(3.0)
    ax = fig.subplots()
    ax.set_xscale("log")
    ax.set_yscale("log")
    ends: dict[str, float] = {}
    for place in full.distinct("place"):
        _, color, marker, line = PLACES[place]
        each = [
            np.array(full.where(place=place, depth=int(d), block=int(d)).values("gradient"))
            for d in depths
        ]
        low, median, high = (np.array([np.quantile(v, q) for v in each]) for q in (0.25, 0.5, 0.75))
        ax.fill_between(depths, low, high, color=color, alpha=0.15, linewidth=0)
        ax.plot(depths, median, line, color=color, marker=marker, markersize=5)
        ends[place] = float(median[-1])
        if place == "pre":
            slope = 0.6 * median[0] * (depths / depths[0]) ** -0.5
            ax.plot(depths, slope, ":", color=OTHER, linewidth=1.2)
            ax.text(0.03, 0.04, "dotted: 1/√depth", color=OTHER, fontsize=9, transform=ax.transAxes)
    _label_ends(ax, depths[-1], ends, gap=0.1)
    ax.set_xlim(3.6, 130)
    ax.set_xticks(depths, [f"{int(d)}" for d in depths])
    ax.minorticks_off()
    ax.set_xlabel("blocks")
    ax.set_ylabel("gradient norm, last block")
    return fig


@figure(
    alt=(
        "Training loss by step at rate {rate:g} for 4 and 16 blocks: post-norm and pre-norm, solid "
        "with warm-up, dotted without; dashed: letter frequencies."
    )
)
def warmup_curves(full: Rows, rate: float, guess: float) -> CourseFigure:
    """Draw the training loss of post-norm and pre-norm nets with and without warm-up.

    Args:
        full: rows with ``place``, ``depth``, ``rate``, ``warmup``, ``step``, ``curve``.
        rate: the learning rate.
        guess: loss of guessing by how often each letter stands.
    """
    curves = full.where(place="post", rate=rate)
    depths = curves.distinct("depth")
    fig = card(3.3)
    axes = np.atleast_1d(fig.subplots(1, len(depths), sharey=True))
    for ax, depth in zip(axes, depths, strict=True):
        ax.axhline(guess, color=OTHER, linestyle="--", linewidth=1)
        for place in ("post", "pre"):
            _, color, marker, _ = PLACES[place]
            for warm in curves.distinct("warmup"):
                found = full.where(place=place, depth=depth, rate=rate, warmup=warm)
                curve = found.curve("step", "curve")
                line = "-" if warm else ":"
                ax.fill_between(
                    curve.x, curve.low, curve.high, color=color, alpha=0.12, linewidth=0
                )
                ax.plot(curve.x, curve.median, line, color=color, marker=marker, markersize=3.5)
        ax.text(0.5, 1.02, f"{depth} blocks", ha="center", va="bottom", transform=ax.transAxes)
        ax.set_xlabel("step")
    for place in ("post", "pre"):
        name, color, marker, _ = PLACES[place]
        for word, line in (("warm-up", "-"), ("none", ":")):
            axes[0].plot([], [], line, color=color, marker=marker, label=f"{name}, {word}")
    handles, labels = axes[0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside upper center", ncols=2, fontsize=9.5)
    across = axes[0].get_yaxis_transform()
    axes[0].text(
        0.98, guess + 0.02, "letter frequencies", color=OTHER, fontsize=9, ha="right", va="bottom",
        transform=across,
    )  # fmt: skip
    axes[0].set_ylabel("training loss, nats")
    axes[0].set_ylim(top=guess + 0.9)
    return fig


@figure(
    alt=(
        "Test loss against learning rate for 4 and 16 blocks, a line per place with warm-up, open "
        "marks without, and the level of guessing by letter frequency."
    )
)
def loss_by_rate(full: Rows, guess: float) -> CourseFigure:
    """Draw the final test loss against the rate, with warm-up as lines, without as open marks.

    Args:
        full: rows with ``place``, ``depth``, ``rate``, ``warmup``, ``loss``.
        guess: loss of guessing by how often each letter stands.
    """
    depths = full.distinct("depth")
    warm = max(full.distinct("warmup"))
    fig = card(3.5)
    axes = np.atleast_1d(fig.subplots(1, len(depths), sharey=True))
    places = full.distinct("place")
    for ax, depth in zip(axes, depths, strict=True):
        ax.axhline(guess, color=OTHER, linestyle="--", linewidth=1)
        here = full.where(depth=depth)
        for k, place in enumerate(places):
            if place not in here.distinct("place"):
                continue
            _, color, marker, line = PLACES[place]
            for some in here.where(place=place).distinct("warmup"):
                curve = here.where(place=place, warmup=some).curve("rate", "loss")
                x = np.arange(len(curve.x)) + 0.09 * (k - (len(places) - 1) / 2)
                if some == warm:
                    ax.vlines(x, curve.low, curve.high, color=color, linewidth=1.2)
                    ax.plot(x, curve.median, line, color=color, marker=marker, markersize=5)
                else:
                    ax.plot(
                        x, curve.median, marker, markerfacecolor="white", color=color,
                        markersize=8, zorder=1,
                    )  # fmt: skip
        rates = full.distinct("rate")
        ax.set_xticks(range(len(rates)), [f"{rate:g}" for rate in rates])
        ax.set_xlabel("learning rate")
        ax.text(0.5, 1.02, f"{depth} blocks", ha="center", va="bottom", transform=ax.transAxes)
    axes[0].set_ylabel("test loss, nats")
    least = float(axes[0].get_ylim()[0])
    axes[0].set_ylim(least, guess + 0.22 * (guess - least))
    axes[0].text(
        0.02, guess + 0.02 * (guess - least), "letter frequencies", color=OTHER, fontsize=9,
        va="bottom", transform=axes[0].get_yaxis_transform(),
    )  # fmt: skip
    _legend(fig, axes[0], places)
    return fig


@figure(
    alt=(
        "Largest attention weight against the factor on the query and key weights. Without a norm "
        "it climbs to 1; with QK-norm it does not move."
    )
)
def sharpest_attention(factors: ArrayLike, largest: Mapping[str, ArrayLike]) -> CourseFigure:
    """Draw how sharp attention becomes as the weights of queries and keys grow.

    Args:
        factors: on both weights, array of shape (K,).
        largest: "plain" and "QK-norm" to the mean largest weight, arrays of shape (K,).
    """
    looks = {"plain": (RAW, "o", "--"), "QK-norm": (METHOD_COLORS["rms_norm"], "P", "-")}
    x = np.asarray(factors)
    fig = card(2.6)
    ax = fig.subplots()
    for name, values in largest.items():
        color, marker, line = looks[name]
        ax.plot(x, np.asarray(values), line, color=color, marker=marker, label=name)
    ax.set_xscale("log", base=2)
    ax.set_xticks(x, [f"{value:g}" for value in x])
    ax.set_ylim(0, 1.03)
    ax.set_xlabel("factor on the weights of queries and keys")
    ax.set_ylabel("largest weight")
    ax.legend(loc="upper left")
    return fig


@figure(
    alt=(
        "How many times larger the stream is after the last of {depth} blocks than after the "
        "first, per place: open marks fresh, filled after training."
    )
)
def growth_after_training(
    fresh: Mapping[str, ArrayLike], trained: Mapping[str, ArrayLike], depth: int
) -> CourseFigure:
    """Draw the growth of the stream before and after training.

    Args:
        fresh: place to growth of fresh nets, a value per seed.
        trained: the same of trained nets.
        depth: number of blocks.
    """
    fig = card(0.36 * len(fresh) + 1.0)
    ax = fig.subplots()
    ax.axvline(1, color=FAINT, zorder=0)
    ax.set_xscale("log")
    for k, (place, values) in enumerate(fresh.items()):
        _, color, marker, _ = PLACES[place]
        before, after = np.asarray(values), np.asarray(trained[place])
        ax.plot(before, np.full(before.size, k), ".", color=RAW, markersize=3)
        ax.plot(after, np.full(after.size, k), ".", color=color, markersize=4, alpha=0.6)
        ax.plot(np.median(before), k, marker, color=RAW, markerfacecolor="white", markersize=9)
        ax.plot(np.median(after), k, marker, color=color, markersize=6)
    ax.set_yticks(range(len(fresh)), [PLACES[place][0] for place in fresh])
    ax.tick_params(axis="y", length=0)
    ticks = (0.5, 1, 2, 5, 10, 20, 50, 100)
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.set_xlim(0.45, 150)
    ax.minorticks_off()
    ax.set_ylim(len(fresh) - 0.5, -0.5)
    ax.set_xlabel("growth of the stream, last block over first")
    return fig


@figure(
    alt=(
        "By block, {depth} blocks: largest attention weight and gradient. Res-post-norm without "
        "QK-norm turns hard and its gradient explodes toward the input; the other three stay calm."
    )
)
def queries_and_keys(full: Rows, depth: int) -> CourseFigure:
    """Draw how sharp attention is and how large the gradient, with and without QK-norm.

    Args:
        full: rows with ``place``, ``depth``, ``qk``, ``block``, ``sharpness``, ``gradient``.
        depth: number of blocks.
    """
    fig = card(3.4)
    left, right = fig.subplots(1, 2)
    orange = METHOD_COLORS["rms_norm"]
    for place in full.distinct("place"):
        name, color, _, line = PLACES[place]
        for qk in (False, True):
            tone, words = (orange, f"{name}, QK-norm") if qk else (color, name)
            shape = "-" if place == "res-post" else line
            for ax, column in ((left, "sharpness"), (right, "gradient")):
                curve = full.curve("block", column, place=place, depth=depth, qk=qk)
                ax.fill_between(curve.x, curve.low, curve.high, color=tone, alpha=0.15, linewidth=0)
                ax.plot(curve.x, curve.median, shape, color=tone, label=words)
    left.set_ylim(0, 1.03)
    left.set_ylabel("largest attention weight")
    right.set_yscale("log")
    right.set_ylabel("gradient norm")
    for ax in (left, right):
        ax.set_xlabel("block")
        ax.set_xticks([1, depth // 2, depth])
    handles, labels = left.get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside upper center", ncols=2, fontsize=9.5, handlelength=2)
    return fig

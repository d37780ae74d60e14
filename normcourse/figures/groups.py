"""Group normalization: what shares a group, the dial, and what small batches leave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray

from normcourse.figures._base import CourseFigure, bare, card, figure
from normcourse.figures._curves import LOOKS
from normcourse.figures._results import Rows
from normcourse.figures.palette import FAINT, INK, METHOD_COLORS, OTHER, RAW
from normcourse.figures.pooling import _draw_maps, pooled_mask
from normcourse.figures.small_batches import live_dots, percent_axis, size_axis

PURPLE, BLUE = METHOD_COLORS["group_norm"], METHOD_COLORS["batch_norm"]
RED, GREEN = METHOD_COLORS["layer_norm"], METHOD_COLORS["instance_norm"]
# A net of the dial's experiment: its name in words, marker and line.
DIAL_NETS: dict[str, tuple[str, str, str]] = {
    "digits": ("digits, mean of each map", "o", "-"),
    "places": ("digits, single places", "s", "--"),
    "signals": ("signals, mean of each map", "^", ":"),
}


def _end_color(groups: int, channels: int) -> str:
    """Return the colour of the method whose statistics this number of groups has."""
    return {1: RED, channels: GREEN}.get(groups, PURPLE)


@figure(
    alt=(
        "One bar per {what}, from one standard deviation below its mean to one above: grey "
        "before normalization, of many heights and lengths; coloured after it, where shown."
    )
)
def bars_of(
    what: str, before: ArrayLike, after: ArrayLike | None = None, *, groups: int = 0
) -> CourseFigure:
    """Draw mean and standard deviation of each row, before and (if given) after.

    Args:
        what: a row in one word, "channel" or "filter".
        before: array of shape (C, K).
        after: the same after normalization.
        groups: if not 0, thin lines part the rows into as many groups.
    """
    rows: NDArray[Any] = np.asarray(before)
    fig = card(2.7)
    ax = fig.subplots()
    ax.axhline(0, color=INK, linewidth=0.9, zorder=0)
    place = np.arange(len(rows))
    for values, color in ((rows, RAW if after is None else FAINT), (after, PURPLE)):
        if values is not None:
            mean, std = np.asarray(values).mean(axis=1), np.asarray(values).std(axis=1)
            at = place if after is None else place + (-0.2 if color == FAINT else 0.2)
            ax.vlines(at, mean - std, mean + std, color=color, linewidth=6 if after is None else 4)
            ax.plot(at, mean, "o", color="white", markeredgecolor=color, markersize=4.5)
    for k in range(1, groups):
        ax.axvline(k * len(rows) / groups - 0.5, color=OTHER, linestyle="--", linewidth=1)
    ax.set_xticks(place)
    ax.set_xlabel(what)
    ax.set_ylabel("mean ± std")
    return fig


@figure(
    alt=(
        "Three times two images of six channels. Shaded: what shares a mean with one group, all "
        "of an image; with two, half of it; with six, one channel."
    )
)
def dial_axes(
    shape: tuple[int, int, int, int] = (2, 6, 2, 3), groups: Sequence[int] = (1, 2, 6)
) -> CourseFigure:
    """Draw the values that one mean pools, for several numbers of groups.

    Args:
        shape: of the array, (N, C, H, W).
        groups: numbers of groups, a row of the picture each.
    """
    pitch = shape[2] + 0.8
    fig = card(3.6)
    for ax, number in zip(fig.subplots(len(groups), 1), groups, strict=True):
        bare(ax)
        mask = pooled_mask((2, 3, 4), shape, groups=number)
        color = _end_color(number, shape[1])
        right = _draw_maps(ax, mask, 0.0, pitch, color)
        bottom = shape[0] * pitch - 0.8
        words = f"{number} group{'s' if number > 1 else ''}:\n{int(mask.sum())} values"
        ax.text(right + 0.8, bottom / 2, words, color=color, va="center", ha="left")
        for n in range(shape[0]):
            middle = n * pitch + shape[2] / 2
            ax.text(-0.6, middle, f"image {n}", ha="right", va="center", color=RAW, fontsize=9)
        ax.set_xlim(-5.2, right + 6.6)
        ax.set_ylim(bottom + 0.1, -0.1)
        ax.set_aspect("equal")
    return fig


@figure(
    alt=(
        "Six numbered channels in two groups, twice. Neighbours: 0 to 2 and 3 to 5. Interleaved: "
        "the even ones and the odd ones."
    )
)
def two_memberships(channels: int = 6, groups: int = 2) -> CourseFigure:
    """Draw which channels form a group if neighbours do, and if every G-th channel does.

    Args:
        channels: number of channels.
        groups: number of groups, at most 2 of them drawn in tones that differ.
    """
    size = channels // groups
    rows = {
        "neighbours: reshape (N, G, C/G, H, W)": [c // size for c in range(channels)],
        "interleaved: reshape (N, C/G, G, H, W)": [c % groups for c in range(channels)],
    }
    fig = card(2.1)
    ax = fig.subplots()
    bare(ax)
    for k, (words, members) in enumerate(rows.items()):
        ax.text(0, 2.1 * k - 0.15, words, ha="left", va="bottom")
        for c, group in enumerate(members):
            tone = (0.95, 0.25)[group % 2]
            ax.add_patch(
                Rectangle((c, 2.1 * k), 0.92, 1, facecolor=PURPLE, alpha=tone, edgecolor=PURPLE)
            )
            ax.text(c + 0.46, 2.1 * k + 0.38, str(c), ha="center", va="center", fontsize=13)
            words = f"group {group}"
            ax.text(c + 0.46, 2.1 * k + 0.78, words, ha="center", va="center", fontsize=9)
    ax.set_xlim(-0.05, channels)
    ax.set_ylim(3.15, -0.8)
    return fig


@figure(
    alt=(
        "Accuracy against the number of groups in three nets. On digits all settings lie close "
        "together, on signals the instance end falls off; batch normalization, dashed, is ahead."
    )
)
def dial_accuracy(full: Rows, live: Rows | None = None) -> CourseFigure:
    """Draw accuracy against the number of groups, one panel per net.

    Args:
        full: rows with ``net``, ``groups`` (0 for batch normalization), ``accuracy``.
        live: the same of a live slice, drawn as dots.
    """
    fig = card(3.4)
    nets = full.distinct("net")
    axes = fig.subplots(1, len(nets), sharey=True)
    groups = [number for number in full.distinct("groups") if number]
    for ax, net in zip(np.atleast_1d(axes), nets, strict=True):
        curve = full.curve("groups", "accuracy", net=net)
        keep = curve.x > 0
        low, median, high = (v[keep] for v in (curve.low, curve.median, curve.high))
        ax.axhspan(curve.low[~keep][0], curve.high[~keep][0], color=BLUE, alpha=0.15, linewidth=0)
        ax.axhline(curve.median[~keep][0], color=BLUE, linestyle="--", linewidth=1.5)
        ax.fill_between(curve.x[keep], low, high, color=PURPLE, alpha=0.18, linewidth=0)
        ax.plot(curve.x[keep], median, color=PURPLE, zorder=2)
        for x, y in zip(curve.x[keep], median, strict=True):
            ax.plot(x, y, "v", color=_end_color(int(x), groups[-1]), markersize=7, zorder=3)
        for number in groups:
            live_dots(ax, live, "groups", "accuracy", PURPLE, net=net, groups=number)
        size_axis(ax, groups, "")
        words = DIAL_NETS[net][0].replace(", ", ",\n")
        ax.text(0.5, 1.03, words, ha="center", va="bottom", transform=ax.transAxes, fontsize=9.5)
    fig.supxlabel("number of groups, of 16 channels", fontsize=11)
    percent_axis(np.atleast_1d(axes)[0], "right on test inputs, %", 1.01, 0.1, low=0.5)
    return fig


@figure(
    alt=(
        "Accuracy lost when channels of trained nets are renumbered, against the number of "
        "groups: nothing with one group or one channel per group, more and more in between."
    )
)
def renumbering_cost(full: Rows) -> CourseFigure:
    """Draw what a new order of the channels costs a trained net.

    Args:
        full: rows with ``net``, ``groups``, ``accuracy``, ``renumbered``.
    """
    fig = card(3.0)
    ax = fig.subplots()
    ax.axhline(0, color=FAINT, zorder=0)
    groups = [number for number in full.distinct("groups") if number]
    top = 0.1
    for net in full.distinct("net"):
        words, marker, line = DIAL_NETS[net]
        before, after = (full.curve("groups", c, net=net) for c in ("accuracy", "renumbered"))
        lost = np.array([before.runs[seed] - after.runs[seed] for seed in before.runs])
        keep = before.x > 0
        low, median, high = np.quantile(lost[:, keep], [0.25, 0.5, 0.75], axis=0)
        top = max(top, float(high.max()))
        ax.fill_between(before.x[keep], low, high, color=PURPLE, alpha=0.15, linewidth=0)
        ax.plot(before.x[keep], median, color=PURPLE, marker=marker, linestyle=line, label=words)
    size_axis(ax, groups, "number of groups, of 16 channels")
    percent_axis(ax, "points lost", top + 0.05, 0.2, low=-0.03)
    ax.legend(loc="upper left", fontsize=10)
    return fig


@figure(
    alt=(
        "Error against how much the loudness of the noise varies, four arms. Two stay flat: kinds "
        "apart, and each channel alone. Two climb together: kinds mixed, and one group."
    )
)
def error_by_company(full: Rows, live: Rows | None = None) -> CourseFigure:
    """Draw what quiet channels lose when they share a group with loud ones.

    Args:
        full: rows with ``arm``, ``loudness``, ``error``.
        live: the same of a live slice, drawn as dots.
    """
    looks = {
        "one group": (RED, "^", "-", "one group"),
        "kinds mixed": (PURPLE, "v", "--", "two groups, kinds mixed"),
        "kinds apart": (PURPLE, "v", "-", "two groups, kinds apart"),
        "each alone": (GREEN, "D", "-", "one channel per group"),
    }
    fig = card(3.1)
    ax = fig.subplots()
    for k, (arm, (color, marker, line, words)) in enumerate(looks.items()):
        curve = full.curve("loudness", "error", arm=arm)
        place = curve.x + 0.04 * (k - 1.5)  # arms that agree stay visible side by side
        ax.fill_between(place, curve.low, curve.high, color=color, alpha=0.18, linewidth=0)
        ax.plot(place, curve.median, color=color, marker=marker, linestyle=line, label=words)
        live_dots(ax, live, "loudness", "error", color, arm=arm)
    ax.set_xticks(full.distinct("loudness"))
    ax.set_xlabel("spread of the noise's loudness (std of its log)")
    percent_axis(ax, "wrong on test images, %", 0.4, 0.1)
    ax.legend(loc="upper left", fontsize=10)
    return fig


def _small(value: float) -> str:
    """Return a number with two decimals, or as a digit and a power of ten where it is tiny.

    Example:
        >>> _small(0.0873), _small(3.4e-7)
        ('0.09', '3·10⁻⁷')
    """
    if value >= 1e-3:
        return f"{value:.2f}"
    digit, power = f"{value:.0e}".split("e")
    return f"{digit}·10" + str(int(power)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


@figure(
    alt=(
        "Table: parts as rows, what changes in the batch as columns. Group norm's layers keep "
        "every bit; a net of them moves its last bits with the batch size."
    )
)
def company_table(full: Rows) -> CourseFigure:
    """Draw how far one image's output moves, in a table.

    Args:
        full: rows with ``norm``, ``part``, ``change``, ``moved``, ``bits``.
    """
    rows = {
        "batch norm, layer": ("batch", "torch layer"),
        "group norm, layer": ("group", "torch layer"),
        "net with group norm": ("group", "net"),
        "convolution alone": ("none", "convolution"),
        "matrix product alone": ("none", "matrix product"),
    }
    changes = {"companions": "other\ncompanions", "place": "other\nplace", "size": "other\nsize"}
    fig = card(2.7)
    ax = fig.subplots()
    bare(ax)
    for k, (words, (norm, part)) in enumerate(rows.items()):
        color = {"batch": BLUE, "group": PURPLE}.get(norm, INK)
        ax.axhline(k - 0.5, color=FAINT, linewidth=0.8)
        ax.text(-0.65, k, words, ha="right", va="center", color=color)
        for column, change in enumerate(changes):
            found = full.where(norm=norm, part=part, change=change)
            moved = max(found.values("moved"))
            same = not any(found.values("bits"))
            shown = "same bits" if same else _small(moved)
            ax.text(column, k, shown, ha="center", va="center", color=RAW if same else INK)
    for column, words in enumerate(changes.values()):
        ax.text(column, -0.62, words, ha="center", va="bottom")
    ax.set_xlim(-2.7, len(changes) - 0.4)
    ax.set_ylim(len(rows) - 0.4, -1.5)
    return fig


@figure(
    alt=(
        "Accuracy of every seed, four kinds of scale and shift. Per channel, per group, per place "
        "and none at all overlap; the median per channel is the lowest."
    )
)
def accuracy_by_affine(full: Rows) -> CourseFigure:
    """Draw each seed's accuracy for scale and shift of several shapes.

    Args:
        full: rows with ``kind``, ``parameters``, ``accuracy``.
    """
    fig = card(2.7)
    ax = fig.subplots()
    kinds = full.distinct("kind")
    for k, kind in enumerate(kinds):
        right = np.array(full.where(kind=kind).values("accuracy"))
        spread = np.linspace(-0.18, 0.18, len(right))
        ax.plot(right, k + spread, "o", color=PURPLE, markersize=4.5, alpha=0.6)
        ax.plot([np.median(right)] * 2, [k - 0.3, k + 0.3], color=INK, linewidth=2)
    counts = [full.where(kind=kind).values("parameters")[0] for kind in kinds]
    names = [kind if kind == "none" else f"per {kind}" for kind in kinds]
    words = [f"{name}\n{count:,} parameters" for name, count in zip(names, counts, strict=True)]
    ax.set_yticks(range(len(kinds)), words)
    ax.set_ylim(len(kinds) - 0.4, -0.6)
    ticks = ax.get_xticks()
    ax.set_xticks(ticks, [f"{100 * tick:.0f}" for tick in ticks])
    ax.set_xlabel("right on test images, %")
    return fig


@figure(
    alt=(
        "Two squares of inputs as columns and outputs as rows, dark where a gradient flows. With "
        "two groups two dark blocks along the diagonal; nothing outside them."
    )
)
def gradient_blocks(jacobians: Mapping[str, ArrayLike], size: int) -> CourseFigure:
    """Draw which inputs of an image each output depends on.

    Args:
        jacobians: words to derivatives of outputs by inputs, shape (K, K), channel by channel.
        size: values per channel; thin lines part the channels.
    """
    fig = card(2.9)
    for ax, (words, given) in zip(
        np.atleast_1d(fig.subplots(1, len(jacobians))), jacobians.items(), strict=True
    ):
        size_of = np.abs(np.asarray(given, dtype=float))
        ax.imshow(size_of / size_of.max(), cmap="Greys", vmin=0, vmax=0.4)
        channels = len(size_of) // size
        for k in range(1, channels):
            for line in (ax.axhline, ax.axvline):
                line(k * size - 0.5, color=FAINT, linewidth=0.7)
        middles = [k * size + (size - 1) / 2 for k in range(channels)]
        ax.set_xticks(middles, [str(k) for k in range(channels)])
        ax.set_yticks(middles, [str(k) for k in range(channels)])
        ax.tick_params(length=0)
        ax.set_xlabel("input, channel")
        ax.text(0.5, 1.05, words, ha="center", color=PURPLE, transform=ax.transAxes)
    fig.axes[0].set_ylabel("output, channel")
    return fig


@figure(
    alt=(
        "Accuracy against batch size in two nets. Batch normalization fails at two images on 1×1 "
        "maps alone; group normalization falls at 32, except with standardized weights."
    )
)
def small_batch_sweep(full: Rows) -> CourseFigure:
    """Draw accuracy against batch size for each norm, one panel per net.

    Args:
        full: rows with ``net``, ``norm``, ``weights``, ``size``, ``accuracy``.
    """
    fig = card(3.6)
    nets = full.distinct("net")
    axes = np.atleast_1d(fig.subplots(1, len(nets), sharey=True))
    names = {"batch": "batch norm", "group": "group norm", "one group": "one group",
             "instance": "instance norm"}  # fmt: skip
    for ax, net in zip(axes, nets, strict=True):
        here = full.where(net=net)
        for norm in here.distinct("norm"):
            color, marker, _ = LOOKS[norm]
            for kind, line, face in (("plain", "-", color), ("standardized", "--", "white")):
                curve = here.curve("size", "accuracy", norm=norm, weights=kind)
                ax.vlines(curve.x, curve.low, curve.high, color=color, alpha=0.35, linewidth=3)
                ax.plot(
                    curve.x, curve.median, color=color, marker=marker, linestyle=line,
                    markerfacecolor=face,
                )  # fmt: skip
        size_axis(ax, here.distinct("size"), "images per batch")
        words = f"maps down to {net.replace('x', '×')}"
        ax.text(0.5, 1.03, words, ha="center", va="bottom", transform=ax.transAxes)
    percent_axis(axes[0], "right on test images, %", 1.02, 0.2)
    handles = [
        axes[0].plot([], [], color=LOOKS[n][0], marker=LOOKS[n][1], label=names[n])[0]
        for n in full.distinct("norm")
    ]
    handles += [
        axes[0].plot([], [], color=INK, linestyle="--", marker="o", markerfacecolor="white",
                     label="standardized weights")[0]
    ]  # fmt: skip
    fig.legend(handles=handles, loc="outside upper center", ncols=2, fontsize=10)
    return fig


@figure(
    alt=(
        "Bars: share of a filter's gradient along the constant and along the filter. Plain "
        "weights have some of both; standardized weights have none."
    )
)
def filter_gradient(shares: Mapping[str, Mapping[str, ArrayLike]]) -> CourseFigure:
    """Draw how much of each filter's gradient lies along two directions.

    Args:
        shares: kind of weights to name of a direction to the share of each filter, 0 to 1.
    """
    fig = card(2.6)
    ax = fig.subplots()
    directions = list(next(iter(shares.values())))
    for k, (kind, parts) in enumerate(shares.items()):
        for d, direction in enumerate(directions):
            share = np.asarray(parts[direction], dtype=float)
            place = d + 0.38 * k - 0.19
            color = RAW if k == 0 else PURPLE
            ax.barh(place, np.mean(share), 0.32, color=color, alpha=0.45)
            ax.plot(share, np.full(len(share), place), "|", color=color, markersize=11)
            if d == 0:
                ax.plot([], [], color=color, linewidth=6, alpha=0.6, label=kind)
    ax.set_yticks(range(len(directions)), directions)
    ax.set_ylim(len(directions) - 0.5, -0.5)
    ax.set_xlim(-0.02, 1.0)
    ax.set_xlabel("share of the gradient's squared length")
    ax.legend(loc="center right")
    return fig

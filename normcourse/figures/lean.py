"""What can be left out of layer norm: parts, pools, losses and seconds, half precision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray

from normcourse.figures._base import CourseFigure, bare, card, figure
from normcourse.figures._curves import LOOKS, draw_curve
from normcourse.figures._results import Rows, draw_live
from normcourse.figures.palette import FAINT, HIGHLIGHT, INK, METHOD_COLORS, RAW
from normcourse.figures.pooling import pooled_mask
from normcourse.norms import layer_norm, rms_norm

RED, ORANGE = METHOD_COLORS["layer_norm"], METHOD_COLORS["rms_norm"]


class Middle(Protocol):
    """Median and quartiles of some seeds."""

    @property
    def median(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...


def _look(norm: str) -> tuple[str, str]:
    """Return colour and marker of a norm; those without a colour of their own are ink."""
    color, marker, _ = LOOKS.get(norm, (INK, "o", "-"))
    return color, marker


@figure(
    alt=(
        "A table, a row per method. Filled dots: subtracts a mean, divides by a size, has scales, "
        "has a shift. Every row but layer norm's lacks something."
    )
)
def parts_table(
    parts: Mapping[str, Sequence[bool]],
    columns: Sequence[str],
    counts: Mapping[str, str],
    last: str,
) -> CourseFigure:
    """Draw which parts each method has.

    Args:
        parts: title of a method to whether it has each part.
        columns: words above the columns.
        counts: title of a method to the words in its last column.
        last: words above that column.
    """
    fig = card(0.42 * len(parts) + 0.9)
    ax = fig.subplots()
    bare(ax)
    for row, (title, has) in enumerate(parts.items()):
        color = {"layer norm": RED, "RMSNorm": ORANGE}.get(title, INK)
        ax.axhline(row + 0.5, color=FAINT, linewidth=0.8)
        ax.text(-0.55, row, title, ha="right", va="center", fontsize=10, color=color)
        for column, there in enumerate(has):
            face = color if there else "none"
            edge = color if there else FAINT
            ax.plot(column, row, "o", markersize=11, markerfacecolor=face, markeredgecolor=edge)
        ax.text(len(columns), row, counts[title], ha="center", va="center", fontsize=10)
    for column, words in enumerate((*columns, last)):
        ax.text(column, -0.75, words, ha="center", va="bottom", fontsize=9, linespacing=1.05)
    ax.set_xlim(-2.9, len(columns) + 0.6)
    ax.set_ylim(len(parts) - 0.45, -1.9)
    return fig


@figure(
    alt=(
        "Points of two features in grey. Layer norm sends all of them to two points, RMSNorm each "
        "along its ray onto a circle."
    )
)
def mean_and_length(x: ArrayLike) -> CourseFigure:
    """Draw points of two features, and where layer norm and RMSNorm put them.

    Args:
        x: array of shape (N, 2).
    """
    points: NDArray[Any] = np.asarray(x, dtype=float)
    fig = card(2.9)
    angle = np.linspace(0, 2 * np.pi, 200)
    names = (("layer norm", layer_norm, RED, "^"), ("RMSNorm", rms_norm, ORANGE, "P"))
    for ax, (title, norm, color, marker) in zip(fig.subplots(1, 2), names, strict=True):
        y = norm(points, eps=0.0)
        for before, after in zip(points, y, strict=True):
            ax.plot(*zip(before, after, strict=True), color=FAINT, linewidth=1, zorder=0)
        ax.plot(points[:, 0], points[:, 1], "o", color=RAW, markersize=4)
        if norm is rms_norm:
            ax.plot(np.sqrt(2) * np.cos(angle), np.sqrt(2) * np.sin(angle), ":", color=color)
        ax.plot(y[:, 0], y[:, 1], marker, color=color, markersize=7, linestyle="none")
        ax.text(0.5, 1.03, title, ha="center", va="bottom", color=color, transform=ax.transAxes)
        ax.set_aspect("equal")
        ax.set_xlim(-3.6, 3.6)
        ax.set_ylim(-3.6, 3.6)
        ax.set_xticks([-2, 0, 2])
        ax.set_yticks([-2, 0, 2])
        ax.set_xlabel("feature 0")
    fig.axes[0].set_ylabel("feature 1")
    return fig


@figure(
    alt=(
        "Two sequences of three tokens with eight features, three times. Shaded: one token's "
        "features for RMSNorm, half of them for QK-norm, a single value for DyT."
    )
)
def token_pools(shape: tuple[int, int, int] = (2, 3, 8), heads: int = 2) -> CourseFigure:
    """Draw which values of sequences (N, T, D) are measured together.

    Args:
        shape: of the array.
        heads: parts that attention cuts the features into.
    """
    one_head = pooled_mask((2,), shape)
    one_head[..., shape[2] // heads :] = False
    rows = (
        ("RMSNorm, ScaleNorm,\nlayer norm", pooled_mask((2,), shape), ORANGE),
        (f"QK-norm,\n{heads} heads", one_head, HIGHLIGHT),
        ("DyT", pooled_mask((), shape), INK),
    )
    fig = card(2.9)
    for ax, (title, mask, color) in zip(fig.subplots(3, 1), rows, strict=True):
        bare(ax)
        for n, t, d in np.ndindex(shape):
            corner = (n * (shape[2] + 1.2) + d, 1.0 * t)
            face, edge = (color, "white") if mask[n, t, d] else ("white", FAINT)
            ax.add_patch(Rectangle(corner, 1, 1, facecolor=face, edgecolor=edge))
        ax.text(-0.7, shape[1] / 2, title, ha="right", va="center", color=INK, fontsize=10)
        ax.set_xlim(-8.2, shape[0] * (shape[2] + 1.2) - 1.0)
        ax.set_ylim(shape[1] + 0.1, -0.1)
        ax.set_aspect("equal")
    return fig


@figure(
    alt=(
        "A row per method, medians with the middle half of ten seeds, against layer norm at the "
        "dotted line. {words}"
    )
)
def against_layer_norm(
    spreads: Mapping[str, Mapping[str, Middle]],
    titles: Mapping[str, str],
    label: str,
    words: str,
    *,
    level: float = 0.0,
    tolerance: float = 0.0,
) -> CourseFigure:
    """Draw how methods differ from layer norm, one mark per series.

    Args:
        spreads: series to method to what it differs by; the first series is drawn filled.
        titles: method to its name.
        label: of the horizontal axis.
        words: what is to be seen, for the alt text.
        level: where layer norm stands.
        tolerance: half the width of the shaded band around it.
    """
    fig = card(0.4 * len(titles) + 1.2)
    ax = fig.subplots()
    ax.axvline(level, color=RED, linestyle=":", linewidth=1.4)
    if tolerance:
        ax.axvspan(level - tolerance, level + tolerance, color=RED, alpha=0.1, linewidth=0)
    offsets = np.linspace(-0.16, 0.16, len(spreads)) if len(spreads) > 1 else np.zeros(1)
    for (series, found), offset, filled in zip(
        spreads.items(), offsets, (True, False, False), strict=False
    ):
        for row, norm in enumerate(titles):
            if norm not in found:
                continue
            color, marker = _look(norm)
            middle, place = found[norm], row + float(offset)
            ax.hlines(place, middle.low, middle.high, color=color, linewidth=3, alpha=0.45)
            face = color if filled else "white"
            ax.plot(middle.median, place, marker, color=color, markerfacecolor=face, markersize=7)
        if len(spreads) > 1:
            face = INK if filled else "white"
            ax.plot([], [], "o", color=INK, markerfacecolor=face, label=series)
    if len(spreads) > 1:
        fig.legend(loc="outside upper right", ncols=2, fontsize=10)
    ax.set_yticks(range(len(titles)), list(titles.values()))
    ax.set_ylim(len(titles) - 0.5, -0.5)
    ax.locator_params(axis="x", nbins=6)
    ax.set_xlabel(label)
    return fig


@figure(
    alt=(
        "Output against input of two layer norms of one net, value by value: straight lines of "
        "many slopes, one per token, in a cloud; a tanh drawn through it."
    )
)
def values_through_layer_norm(
    panels: Mapping[str, tuple[ArrayLike, ArrayLike, float, float]],
) -> CourseFigure:
    """Draw the values of some tokens before and after layer norm, and a tanh through them.

    Args:
        panels: name of a layer to (inputs of shape (N, D), outputs of that shape, alpha and factor
            of the tanh).
    """
    fig = card(2.7)
    axes = np.atleast_1d(fig.subplots(1, len(panels)))
    for ax, (title, (before, after, alpha, factor)) in zip(axes, panels.items(), strict=True):
        x, y = np.asarray(before, dtype=float), np.asarray(after, dtype=float)
        for row in range(len(x)):
            order = x[row].argsort()
            ax.plot(x[row][order], y[row][order], color=RED, linewidth=0.7, alpha=0.35)
        line = np.linspace(x.min(), x.max(), 200)
        ax.plot(line, factor * np.tanh(alpha * line), "--", color=INK, linewidth=2)
        ax.text(0.5, 1.03, title, ha="center", va="bottom", transform=ax.transAxes)
        ax.set_xlabel("value before")
    axes[0].set_ylabel("after layer norm")
    return fig


@figure(
    alt=(
        "Test loss against the alpha that DyT starts from: lowest in the middle, a little above "
        "the band that marks layer norm, and far above it at the largest start."
    )
)
def loss_by_alpha(full: Rows, live: Rows | None, layer: Middle) -> CourseFigure:
    """Draw the test loss against the starting alpha, layer norm as a band.

    Args:
        full: rows with ``start`` and ``loss``, DyT only.
        live: a slice, drawn as dots, or None.
        layer: the loss of layer norm.
    """
    fig = card(2.8)
    ax = fig.subplots()
    ax.axhspan(layer.low, layer.high, color=RED, alpha=0.18, linewidth=0)
    ax.axhline(layer.median, color=RED, linestyle=":", linewidth=1.4)
    curve = full.curve("start", "loss")
    draw_curve(ax, curve, color=INK)
    draw_live(ax, live, "start", "loss")
    ax.set_xscale("log")
    ax.set_xticks(curve.x, [f"{value:g}" for value in curve.x])
    ax.minorticks_off()
    ax.text(curve.x[-1], layer.median, "layer norm", color=RED, ha="right", va="bottom")
    ax.set_xlabel("alpha at the start")
    ax.set_ylabel("test loss, nats per letter")
    return fig


@figure(
    alt=(
        "Two panels against the learning rate. Largest attention score: passes a thousand without "
        "QK-norm, stays near ten with it. Test loss: apart at the largest rate."
    )
)
def scores_by_rate(full: Rows) -> CourseFigure:
    """Draw the largest score and the test loss against the learning rate.

    Args:
        full: rows with ``rate``, ``qk_norm``, ``score`` and ``loss``.
    """
    fig = card(3.0)
    labels = {"score": "largest score", "loss": "test loss, nats per letter"}
    for ax, (column, words) in zip(fig.subplots(1, 2), labels.items(), strict=True):
        for on, color, line in ((False, RAW, "--"), (True, HIGHLIGHT, "-")):
            curve = full.curve("rate", column, qk_norm=on)
            title = "with QK-norm" if on else "without"
            draw_curve(ax, curve, color=color, linestyle=line)
            ax.plot([], [], color=color, linestyle=line, marker="o", label=title)
        ax.set_xscale("log")
        ax.set_xticks(curve.x, [f"{value:g}" for value in curve.x])
        ax.minorticks_off()
        ax.set_xlabel("learning rate")
        ax.set_ylabel(words)
    fig.axes[0].set_yscale("log")
    handles, names = fig.axes[0].get_legend_handles_labels()
    fig.legend(handles, names, loc="outside upper center", ncols=2, fontsize=10)
    return fig


@figure(
    alt=(
        "Error against the spread of the inputs, for float16 and bfloat16. Sums in float16 end in "
        "crosses where they overflow; bfloat16 never does but errs more with width."
    )
)
def half_errors(full: Rows, widths: Sequence[int]) -> CourseFigure:
    """Draw errors in units of rounding; a cross at the top where examples are lost.

    Args:
        full: rows with ``type``, ``width``, ``spread``, ``way``, ``error``, of one norm and mean.
        widths: a line each for sums in half; float32 statistics are drawn for the last.
    """
    fig = card(3.1)
    axes = fig.subplots(1, 2, sharey=True)
    tones = np.linspace(0.45, 1.0, len(widths))
    ways = {"wide": (ORANGE, "-", "P"), "half": (INK, "--", "o"), "one by one": (RAW, ":", "s")}
    top = 1000.0
    for ax, word in zip(axes, ("float16", "bfloat16"), strict=True):
        for way, (color, line, marker) in ways.items():
            for width, tone in zip(widths, tones, strict=True):
                if way == "wide" and width != widths[-1]:
                    continue
                curve = full.curve("spread", "error", type=word, way=way, width=width)
                kept = np.isfinite(curve.median)
                look: Any = {"color": color, "alpha": 1.0 if way == "wide" else tone}
                ax.plot(
                    curve.x[kept], curve.median[kept], line, marker=marker, markersize=4, **look
                )
                lift = top * {"half": 1.0, "one by one": 1.6, "wide": 1.0}[way]
                lost = curve.x[~kept]
                ax.plot(lost, np.full(len(lost), lift), "x", markersize=7, **look)
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_xlabel("spread of the inputs")
        ax.text(0.5, 1.03, word, ha="center", va="bottom", transform=ax.transAxes)
    axes[0].set_ylim(0.7, 3000)
    axes[0].set_yticks([1, 10, 100, top], ["1", "10", "100", "lost"])
    axes[0].minorticks_off()
    axes[0].set_ylabel("error / rounding")
    names = {"wide": "statistics in float32", "half": "sums by pairs",
             "one by one": "sums one by one"}  # fmt: skip
    handles = [
        axes[0].plot([], [], ways[way][1], color=ways[way][0], marker=ways[way][2], label=words)[0]
        for way, words in names.items()
    ]
    fig.legend(handles=handles, loc="outside upper center", ncols=2, fontsize=10)
    return fig


@figure(
    alt=(
        "Bars for three parts of a gradient. Along x-hat neither norm lets anything through; along "
        "the constant RMSNorm does and layer norm does not; the rest passes both."
    )
)
def parts_let_through(shares: Mapping[str, Mapping[str, float]]) -> CourseFigure:
    """Draw how much of a gradient's parts comes through layer norm and RMSNorm.

    Args:
        shares: "layer norm" and "RMSNorm" to name of a part to its share, 0 to 1.
    """
    fig = card(2.5)
    ax = fig.subplots()
    parts = list(next(iter(shares.values())))
    for k, (title, share) in enumerate(shares.items()):
        color = {"layer norm": RED, "RMSNorm": ORANGE}.get(title, INK)
        place = np.arange(len(parts)) + 0.38 * k - 0.19
        ax.barh(place, [share[part] for part in parts], 0.34, color=color)
        for y, part in zip(place, parts, strict=True):
            if share[part] < 0.5:
                ax.text(share[part] + 0.02, y, title, va="center", color=color, fontsize=9)
            else:
                ax.text(0.96, y, title, va="center", ha="right", color="white", fontsize=9)
    ax.set_yticks(range(len(parts)), parts)
    ax.set_ylim(len(parts) - 0.45, -0.55)
    ax.set_xlim(0, 1.02)
    ax.set_xlabel("share that comes through")
    return fig

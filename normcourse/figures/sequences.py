"""Norms in sequences: what is pooled, who sees padding and future, what wandering means cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray

from normcourse.figures._base import CourseFigure, bare, card, figure
from normcourse.figures._results import Rows
from normcourse.figures.palette import FAINT, HIGHLIGHT, INK, METHOD_COLORS, OTHER, RAW
from normcourse.figures.pooling import _draw_maps, pooled_mask

BLUE, RED = METHOD_COLORS["batch_norm"], METHOD_COLORS["layer_norm"]
GREEN, ORANGE = METHOD_COLORS["instance_norm"], METHOD_COLORS["rms_norm"]
# The words of the experiments -> name, colour, marker.
SEQUENCE_LOOKS: dict[str, tuple[str, str, str]] = {
    "none": ("no norm", RAW, "o"),
    "layer": ("layer norm", RED, "^"),
    "batch": ("batch norm", BLUE, "s"),
    "masked": ("batch norm, masked", BLUE, "P"),
    "per position": ("batch norm, per position", BLUE, "D"),
    "over time": ("one sequence, over time", GREEN, "v"),
    "over the past": ("one sequence, its past", GREEN, "<"),
    "layer per place": ("layer norm at each place", RED, "v"),
    "rms": ("RMSNorm", ORANGE, "P"),
    "tanh": ("dynamic tanh", INK, "X"),
}
COMPANIES = {
    "plain": "ordinary text\n8 sequences",
    "mixed": "capitals mixed in\n8 sequences",
    "sorted": "all capitals or none\n8 sequences",
    "single": "ordinary text\n1 sequence",
}


@figure(
    alt=(
        "{lines} lines of text of different lengths, a letter per cell, filled up to the longest; "
        "the filled-up cells are shaded."
    )
)
def padded_lines(words: Sequence[str], lines: int) -> CourseFigure:
    """Draw lines of text in cells, filled up to the longest.

    Args:
        words: the lines.
        lines: how many there are, for the alt text.
    """
    longest = max(len(line) for line in words)
    fig = card(0.42 * lines + 0.5)
    ax = fig.subplots()
    bare(ax)
    for k, line in enumerate(words):
        for t in range(longest):
            real = t < len(line)
            ax.add_patch(
                Rectangle((t, k), 1, 1, facecolor="white" if real else FAINT, edgecolor=FAINT)
            )
            if real:
                ax.text(t + 0.5, k + 0.52, line[t], ha="center", va="center", fontsize=9.5)
        ax.text(-0.5, k + 0.5, f"sequence {k}", ha="right", va="center", color=RAW, fontsize=9)
    ax.text(longest / 2, lines + 0.25, "positions in time", ha="center", va="top", color=RAW)
    ax.set_xlim(-6.0, longest + 0.1)
    ax.set_ylim(lines + 1.0, -0.1)
    return fig


@figure(
    alt=(
        "Three sequences of three positions with four features, four times. Shaded: what shares a "
        "mean in batch norm, batch norm per position, layer norm, and norm over time."
    )
)
def sequence_axes(shape: tuple[int, int, int] = (3, 3, 4)) -> CourseFigure:
    """Draw the values that share one mean, for four choices of axes.

    Args:
        shape: of the array, (B, T, D).
    """
    choices = (
        ("batch norm: B and T", (0, 1), BLUE),
        ("per position: B alone", (0,), BLUE),
        ("layer norm: D", (2,), RED),
        ("over time: T alone", (1,), GREEN),
    )
    fig = card(3.5)
    for ax, (words, axes, color) in zip(np.ravel(fig.subplots(2, 2)), choices, strict=True):
        bare(ax)
        mask = pooled_mask(axes, shape, at=(1, 1, 1))
        right = _draw_maps(ax, mask, 0.0, 1.8, color)
        words = f"{words}\n{int(mask.sum())} values"
        middle = right / 2
        ax.text(middle, -0.7, words, ha="center", va="bottom", color=color, fontsize=10.5)
        for k in range(shape[0]):
            ax.text(-0.4, 1.8 * k + 0.5, f"b = {k}", ha="right", va="center", fontsize=8, color=RAW)
        for t in range(shape[1]):
            place = t * (shape[2] + 0.8) + shape[2] / 2
            ax.text(place, 5.6, f"t = {t}", ha="center", va="top", fontsize=8, color=RAW)
        ax.set_xlim(-2.6, right + 0.1)
        ax.set_ylim(6.8, -3.2)
    return fig


@figure(
    alt=(
        "Distance of two states against the step, logarithmic: without a norm it depends on the "
        "size of the weights; with layer norm all sizes give one curve."
    )
)
def states_apart(plain: Mapping[str, ArrayLike], layer: Mapping[str, ArrayLike]) -> CourseFigure:
    """Draw how far two runs of a recurrent net come apart that start close together.

    Args:
        plain: size of the weights in words to distances, a value per step, without a norm.
        layer: the same with layer normalization.
    """
    fig = card(3.0)
    axes = fig.subplots(1, 2, sharey=True)
    for ax, curves, color, words in (
        (axes[0], plain, RAW, "no norm"),
        (axes[1], layer, RED, "layer norm"),
    ):
        for line, (_name, values) in zip(("-", "--", ":"), curves.items(), strict=False):
            distance = np.maximum(np.asarray(values, dtype=float), 1e-9)
            ax.semilogy(distance, color=color, linestyle=line)
        ax.set_xlabel("step")
        ax.text(0.5, 0.97, words, ha="center", va="top", transform=ax.transAxes, color=color)
    axes[0].set_ylabel("distance of the two states")
    axes[0].set_ylim(1e-9, 300)
    handles = [
        axes[0].plot([], [], color=INK, linestyle=line, label=f"weights {name}")[0]
        for line, name in zip(("-", "--", ":"), plain, strict=False)
    ]
    fig.legend(handles=handles, loc="outside upper center", ncols=3, fontsize=10)
    return fig


def _seeds(ax: Axes, values: ArrayLike, at: float, look: tuple[str, str], *, hollow: bool) -> None:
    """Draw each seed's value in a row of dots, and the median as a bar."""
    color, marker = look
    x: NDArray[Any] = np.asarray(values, dtype=float)
    y = at + np.linspace(-0.13, 0.13, len(x))
    face = "none" if hollow else color
    ax.plot(x, y, linestyle="none", marker=marker, color=color, markerfacecolor=face,
            markersize=4, alpha=0.75)  # fmt: skip
    ax.plot([np.median(x)] * 2, [at - 0.3, at + 0.3], color=INK, linewidth=1.6)


@figure(
    alt=(
        "Test loss of every seed of recurrent nets without a norm, with layer norm and with batch "
        "norm, in three settings: 4 sequences, 32 sequences, and large first weights."
    )
)
def recurrent_losses(full: Rows) -> CourseFigure:
    """Draw the test losses of recurrent nets, a panel per setting.

    Args:
        full: rows with ``norm``, ``size``, ``gain``, ``reading``, ``loss``.
    """
    settings = ((4, 1.0), (32, 1.0), (32, 4.0))
    fig = card(4.2)
    axes = fig.subplots(3, 1, sharex=True)
    for ax, (size, gain) in zip(axes, settings, strict=True):
        for k, norm in enumerate(("none", "layer", "batch")):
            _, color, marker = SEQUENCE_LOOKS[norm]
            reading = "per step" if norm == "batch" else "own"
            rows = full.where(norm=norm, size=size, gain=gain, reading=reading)
            _seeds(ax, rows.values("loss"), k, (color, marker), hollow=False)
        ax.set_yticks(range(3), [SEQUENCE_LOOKS[n][0] for n in ("none", "layer", "batch")])
        ax.set_ylim(2.6, -0.6)
        words = f"{size} sequences per batch"
        words += f", first weights × {gain:g}" if gain > 1 else ""
        ax.text(0, 1.04, words, ha="left", va="bottom", transform=ax.transAxes, fontsize=10)
    axes[-1].set_xlabel("test loss, nats per letter")
    return fig


@figure(
    alt=(
        "Table: norms as rows, by how much real tokens change when the padding is replaced, in "
        "training and in inference mode. Layer norm and masked batch norm: 0 in both."
    )
)
def padding_table(moved: Mapping[str, tuple[float, float]]) -> CourseFigure:
    """Draw by how much padding moves real tokens, in a table.

    Args:
        moved: name of a norm to the largest change in training and in inference mode.
    """
    fig = card(min(0.36 * len(moved) + 0.75, 4.2))
    ax = fig.subplots()
    bare(ax)
    for k, (name, values) in enumerate(moved.items()):
        ax.axhline(k - 0.5, color=FAINT, linewidth=0.8)
        ax.text(0, k, name, ha="left", va="center")
        for column, value in enumerate(values):
            shown = "0" if value == 0 else f"{value:.2g}"
            color = RAW if value == 0 else INK
            ax.text(3.1 + column, k, shown, ha="center", va="center", color=color)
    for column, words in enumerate(("training", "inference")):
        ax.text(3.1 + column, -0.65, words, ha="center", va="bottom")
    ax.set_xlim(-0.05, 4.7)
    ax.set_ylim(len(moved) - 0.4, -1.4)
    return fig


@figure(
    alt=(
        "How far each norm's loss lies behind layer norm's, every seed, in inference mode (filled) "
        "and training mode (hollow), a row per norm; a line at zero."
    )
)
def behind_layer_norm(rows: Mapping[str, tuple[Rows, str]]) -> CourseFigure:
    """Draw the losses of batch norms against layer norm's, within seeds, in both modes.

    Args:
        rows: words to (rows with ``norm``, ``loss``, ``loss_batch`` of one setting, the norm).
    """
    fig = card(min(0.52 * len(rows) + 1.0, 4.2))
    ax = fig.subplots()
    ax.axvline(0, color=RED, linewidth=1.4)
    for k, (found, norm) in enumerate(rows.values()):
        base = np.asarray(found.where(norm="layer").values("loss"), dtype=float)
        _, color, marker = SEQUENCE_LOOKS[norm]
        here = found.where(norm=norm)
        for column, shift, hollow in (("loss", -0.19, False), ("loss_batch", 0.19, True)):
            gap = np.asarray(here.values(column), dtype=float) - base
            x, y = gap, k + shift + np.linspace(-0.09, 0.09, len(gap))
            face = "none" if hollow else color
            ax.plot(x, y, linestyle="none", marker=marker, color=color, markerfacecolor=face,
                    markersize=3.6, alpha=0.75)  # fmt: skip
            ax.plot([np.median(gap)] * 2, [k + shift - 0.16, k + shift + 0.16], color=INK)
    ax.set_yticks(range(len(rows)), list(rows))
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_xlabel("loss above layer norm's, nats per letter")
    ax.plot([], [], marker="s", color=BLUE, linestyle="none", label="inference")
    ax.plot([], [], marker="s", color=BLUE, markerfacecolor="none", linestyle="none",
            label="training mode")  # fmt: skip
    fig.legend(loc="outside upper center", ncols=2, fontsize=10)
    return fig


@figure(
    alt=(
        "Means of forty batches in a row, one panel per company, with a band for independent "
        "values: ordinary and mixed batches scatter a little, sorted ones jump between two levels."
    )
)
def wandering_means(means: Mapping[str, ArrayLike], independent: float) -> CourseFigure:
    """Draw the mean of one feature, batch after batch.

    Args:
        means: company in words to batch means, in standard deviations of single values.
        independent: standard deviation of the mean of as many independent values.
    """
    fig = card(2.8)
    axes = np.atleast_1d(fig.subplots(1, len(means), sharey=True))
    for ax, (words, values) in zip(axes, means.items(), strict=True):
        x: NDArray[Any] = np.asarray(values)
        ax.axhspan(-2 * independent, 2 * independent, color=HIGHLIGHT, alpha=0.3, linewidth=0)
        ax.plot(x - x.mean(), ".", color=RAW, markersize=5)
        ax.set_xlabel("batch")
        ax.text(0.5, 1.03, words, ha="center", va="bottom", transform=ax.transAxes, fontsize=10)
    axes[0].set_ylabel("mean of a feature, in std")
    return fig


@figure(
    alt=(
        "Squares, letters as columns and guesses as rows: dark where a letter moves a guess. Over "
        "time and in a lone batch, also above the diagonal: the future."
    )
)
def who_moves_whom(tables: Mapping[str, ArrayLike]) -> CourseFigure:
    """Draw which letters each guess depends on.

    Args:
        tables: norm in words to how far a change of letter s moves the guess at t, shape (T, T).
    """
    fig = card(2.5)
    axes = np.atleast_1d(fig.subplots(1, len(tables), sharey=True))
    for ax, (words, given) in zip(axes, tables.items(), strict=True):
        table = np.asarray(given, dtype=float)
        size = len(table)
        shown = np.log10(np.maximum(table / table.max(), 1e-4))
        ax.imshow(shown, cmap="Greys", vmin=-4, vmax=0)
        for t in range(size - 1):  # the staircase above the diagonal parts past from future
            ax.plot([t + 0.5, t + 0.5, t + 1.5], [t - 0.5, t + 0.5, t + 0.5], color=HIGHLIGHT)
        ax.plot([size - 0.5] * 2, [size - 1.5, size - 0.5], color=HIGHLIGHT)
        ax.set_xticks([0, size - 1])
        ax.set_yticks([0, size - 1])
        ax.set_xlabel("letter")
        ax.text(0.5, 1.04, words, ha="center", va="bottom", transform=ax.transAxes, fontsize=9.5)
    axes[0].set_ylabel("guess after letter")
    return fig


@figure(
    alt=(
        "Loss in training mode (hollow) and in writing (filled), a row per norm. Statistics over "
        "time train below chance and write above it; layer norm stays there."
    )
)
def foreseen_letters(full: Rows, chance: float) -> CourseFigure:
    """Draw the losses on letters that nobody can foresee.

    Args:
        full: rows with ``norm``, ``sequences``, ``training``, ``writing``.
        chance: the least that one can lose who sees the past alone.
    """
    arms = [(n, s) for n in full.distinct("norm") for s in full.where(norm=n).distinct("sequences")]
    fig = card(min(0.4 * len(arms) + 1.0, 4.2))
    ax = fig.subplots()
    ax.axvline(chance, color=OTHER, linestyle="--", linewidth=1.3)
    ax.text(chance, -0.75, "chance", ha="center", va="bottom", color=OTHER)
    for k, (norm, size) in enumerate(arms):
        _, color, marker = SEQUENCE_LOOKS[norm]
        rows = full.where(norm=norm, sequences=size)
        for column, hollow in (("training", True), ("writing", False)):
            _seeds(ax, rows.values(column), k, (color, marker), hollow=hollow)
    counts = {s: f",\n{s} sequence{'s' if s > 1 else ''}" for _, s in arms}
    names = [SEQUENCE_LOOKS[n][0] + (counts[s] if n == "batch" else "") for n, s in arms]
    ax.set_yticks(range(len(arms)), names)
    ax.set_ylim(len(arms) - 0.4, -0.8)
    ax.set_xlim(0, None)
    ax.set_xlabel("loss, nats per letter")
    ax.plot([], [], marker="o", color=INK, markerfacecolor="none", linestyle="none",
            label="training mode")  # fmt: skip
    ax.plot([], [], marker="o", color=INK, linestyle="none", label="writing")
    fig.legend(loc="outside upper center", ncols=2, fontsize=10)
    return fig


@figure(
    alt=(
        "Test loss of every seed at each learning rate: digits with batch norm and two layer "
        "norms, text with layer norm, batch norm, RMSNorm and none."
    )
)
def swapped_losses(full: Rows) -> CourseFigure:
    """Draw test losses with the usual and the swapped axes, in both domains.

    Args:
        full: rows with ``domain``, ``norm``, ``rate``, ``loss``, ``chance``.
    """
    fig = card(4.2)
    norms = {d: full.where(domain=d).distinct("norm") for d in full.distinct("domain")}
    axes = np.atleast_1d(
        fig.subplots(len(norms), 1, height_ratios=[len(words) for words in norms.values()])
    )
    for ax, (domain, words) in zip(axes, norms.items(), strict=True):
        here = full.where(domain=domain)
        rates = here.distinct("rate")
        chance = here.values("chance")[0]
        for k, norm in enumerate(words):
            _, color, marker = SEQUENCE_LOOKS[norm]
            for rate, hollow in zip(rates, (False, True), strict=False):
                loss = np.asarray(here.where(norm=norm, rate=rate).values("loss"), dtype=float)
                shift = 0.2 if hollow else -0.2
                cut = np.minimum(np.where(np.isfinite(loss), loss, 1e9), 1.08 * chance)
                y = k + shift + np.linspace(-0.09, 0.09, len(cut))
                face = "none" if hollow else color
                ax.plot(cut, y, linestyle="none", marker=marker, color=color,
                        markerfacecolor=face, markersize=3.8, alpha=0.75)  # fmt: skip
        ax.axvline(chance, color=OTHER, linestyle="--", linewidth=1.2)
        ax.margins(x=0.09)  # a number below the last tick would stand beyond the card
        ax.set_yticks(range(len(words)), [SEQUENCE_LOOKS[n][0] for n in words])
        ax.set_ylim(len(words) - 0.4, -0.6)
        shown = f"{domain}: rate {rates[0]:g} (filled), {rates[-1]:g} (hollow)"
        ax.text(0, 1.03, shown, ha="left", va="bottom", transform=ax.transAxes, fontsize=10)
    axes[-1].set_xlabel("test loss, nats; dashed: guessing")
    return fig

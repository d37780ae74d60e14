"""Why BatchNorm works: learning rates, shift, smoothness, scale, noise and depth, as measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, MaxNLocator, NullFormatter, NullLocator
from numpy.typing import NDArray

from normcourse.figures._base import CourseFigure, card, figure
from normcourse.figures._curves import LOOKS, Spreads, draw_curve
from normcourse.figures.palette import FAINT, HIGHLIGHT, INK, METHOD_COLORS, RAW

_BLUE = METHOD_COLORS["batch_norm"]
_CAP = 2.6  # losses above it, infinite ones too, are drawn at it
# kinds of deep nets -> colour, marker, line
_STACKS: dict[str, tuple[str, str, str]] = {
    "plain none": (RAW, "o", "--"),
    "plain batch": (_BLUE, "s", "-"),
    "residual none": (RAW, "D", ":"),
    "residual batch": (_BLUE, "D", ":"),
    "residual alpha": (INK, "^", "-."),
}


class Middle(Protocol):
    """Median and quartiles of a quantity over the seeds."""

    @property
    def median(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...


@dataclass(frozen=True)
class _Clipped:
    """A curve with its values held between two bounds."""

    x: NDArray[Any]
    median: NDArray[Any]
    low: NDArray[Any]
    high: NDArray[Any]


def _clip(curve: Spreads, low: float, high: float) -> _Clipped:
    values = (np.clip(part, low, high) for part in (curve.median, curve.low, curve.high))
    return _Clipped(curve.x, *values)


@figure(
    alt=(
        "Final training loss against learning rate, a panel per depth. Without a norm the usable "
        "valley narrows with depth and vanishes; with BatchNorm it reaches larger rates."
    )
)
def rate_ranges(
    panels: Mapping[int, Mapping[str, Spreads]], goal: float, live: Mapping[int, Any] | None = None
) -> CourseFigure:
    """Draw the loss at the end against the learning rate, with and without BatchNorm.

    Args:
        panels: depth to norm to curve (rate, loss).
        goal: the loss from which a rate counts as usable.
        live: depth to norm to curve of another run, drawn as crosses.
    """
    fig = card(2.9)
    axes = fig.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for ax, (depth, curves) in zip(axes, panels.items(), strict=True):
        ax.axhspan(0, goal, color=FAINT, alpha=0.6, linewidth=0)
        for norm, curve in curves.items():
            color, marker, line = LOOKS[norm]
            draw_curve(ax, _clip(curve, 0, _CAP), color=color, marker=marker, linestyle=line)
        for curve in (live or {}).get(depth, {}).values():
            ax.plot(curve.x, np.clip(curve.median, 0, _CAP), "x", color=INK, markersize=7)
        ax.set_xscale("log")
        ax.set_xlabel("learning rate")
        _name_depth(ax, depth)
    axes[0].set_ylabel("loss at the end")
    axes[0].set_ylim(0, _CAP + 0.2)
    axes[0].set_yticks([0, 1, 2, _CAP], ["0", "1", "2", "lost"])
    _name_norms(axes[0], 0.02, 0.68)
    return fig


def _name_depth(ax: Axes, depth: int) -> None:
    ax.text(0.5, 1.02, f"{depth} layers", transform=ax.transAxes, ha="center", va="bottom")


def _name_norms(ax: Axes, x: float, y: float, step: float = 0.1) -> None:
    """Write "no norm" and "BatchNorm" in their colours, one below the other."""
    for k, (norm, word) in enumerate((("none", "no norm"), ("batch", "BatchNorm"))):
        color = LOOKS[norm][0]
        ax.text(x, y - k * step, word, transform=ax.transAxes, color=color, fontsize=9)


@figure(
    alt=(
        "Steps and processor seconds to a fixed loss by depth. BatchNorm needs fewer of both, the "
        "seconds by less; the deepest net without a norm never arrives."
    )
)
def steps_and_seconds(
    columns: Mapping[str, Mapping[str, Mapping[int, Middle]]],
) -> CourseFigure:
    """Draw how many steps and seconds a net needs to a fixed loss, by depth.

    Args:
        columns: "steps" and "seconds" to norm to depth to a spread; infinite means never.
    """
    fig = card(2.9)
    axes = fig.subplots(1, len(columns))
    for ax, (column, norms) in zip(np.atleast_1d(axes), columns.items(), strict=True):
        known = [s.high for by in norms.values() for s in by.values() if np.isfinite(s.high)]
        never = 1.45 * max(known)
        depths = list(next(iter(norms.values())))
        for norm, by_depth in norms.items():
            color, marker, _ = LOOKS[norm]
            for depth, value in by_depth.items():
                place = depths.index(depth) + (0.13 if norm == "batch" else -0.13)
                ends = np.minimum([value.low, value.high], never)
                ax.plot([place, place], ends, color=color, linewidth=2)
                ax.plot(place, min(value.median, never), marker, color=color)
        ax.set_xticks(range(len(depths)), [str(depth) for depth in depths])
        ax.set_xlim(-0.5, len(depths) - 0.5)
        ax.set_ylim(0, 1.12 * never)
        ticks = [tick for tick in MaxNLocator(4).tick_values(0, max(known)) if tick <= max(known)]
        ax.set_yticks([*ticks, never], [*(f"{tick:g}" for tick in ticks), "never"])
        ax.set_xlabel("hidden layers")
        ax.set_ylabel(f"{column} to the goal")
    _name_norms(np.atleast_1d(axes)[0], 0.05, 0.88)
    return fig


@figure(
    alt=(
        "Steps to a fixed loss against how far inputs shift per step. Noise after BatchNorm shifts "
        "them beyond the net without norm, which still needs more steps, until far noise."
    )
)
def shift_and_speed(kinds: Mapping[str, tuple[Middle, Middle]], never: float) -> CourseFigure:
    """Draw how far a layer's inputs shift, and how many steps the net needs.

    Args:
        kinds: "none", "batch" or "+ noise s" to spreads of the shift and of the steps.
        never: where a net is drawn that never arrives.
    """
    fig = card(3.1)
    ax = fig.subplots()
    for kind, (shift, steps) in kinds.items():
        color, marker, _ = LOOKS.get(kind, (HIGHLIGHT, "P", "-"))
        y = min(steps.median, never)
        ax.plot([shift.low, shift.high], [y, y], color=color)
        ax.plot([shift.median] * 2, np.minimum([steps.low, steps.high], never), color=color)
        ax.plot(shift.median, y, marker, color=color, markersize=9)
        ink = INK if color == HIGHLIGHT else color
        name = {"none": "no norm", "batch": "BatchNorm"}.get(kind, kind)
        place, ha, va = _beside(kind, shift.median == max(m.median for m, _ in kinds.values()))
        ax.annotate(
            name, (shift.median, y), place, textcoords="offset points", ha=ha, va=va, color=ink
        )
    ax.set_xscale("log")
    low, high = ax.get_xlim()
    ax.set_xlim(low / 3, high * 1.5)
    ax.set_ylim(0, 1.1 * never)
    ax.set_xlabel("shift of a unit's mean per step / its std")
    ax.set_ylabel("steps to the goal")
    return fig


def _beside(kind: str, last: bool) -> tuple[tuple[float, float], str, str]:
    """Return offset and alignment of a name: above BatchNorm, left of the last, else right."""
    if kind == "batch":
        return (0, 8), "center", "bottom"
    return ((-9, 0), "right", "center") if last else ((9, 0), "left", "center")


@figure(
    alt=(
        "Loss along the step direction while training. Without a norm the band of losses within "
        "reach of a step is wide and climbs; with BatchNorm it stays narrow."
    )
)
def loss_along_step(panels: Mapping[str, tuple[Spreads, Spreads, Spreads]]) -> CourseFigure:
    """Draw the losses that steps of several sizes would reach, at points of the training.

    Args:
        panels: "none" and "batch" to curves over steps: the loss, the lowest and the highest.
    """
    fig = card(2.8)
    axes = fig.subplots(1, len(panels), sharey=True)
    for ax, (norm, (loss, low, high)) in zip(axes, panels.items(), strict=True):
        color, marker, line = LOOKS[norm]
        ax.fill_between(loss.x, low.median, high.median, color=color, alpha=0.3, linewidth=0)
        ax.plot(loss.x, loss.median, line, color=color, marker=marker, markersize=5)
        ax.set_xlabel("step of the training")
    axes[0].set_ylabel("loss along the line")
    axes[0].set_ylim(bottom=0)
    for ax, word in zip(axes, ("no norm", "BatchNorm"), strict=True):
        ax.text(0.5, 1.02, word, transform=ax.transAxes, ha="center", va="bottom")
    return fig


@figure(
    alt=(
        "Change of the gradient per unit of way during training, a panel per depth, log scale. "
        "BatchNorm lies below at 2 and 8 layers, above at 24."
    )
)
def gradient_changes(panels: Mapping[int, Mapping[str, Spreads]]) -> CourseFigure:
    """Draw how fast the gradient changes along the step, with and without BatchNorm.

    Args:
        panels: depth to norm to curve (step, change per unit of way).
    """
    fig = card(2.9)
    axes = fig.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for ax, (depth, curves) in zip(axes, panels.items(), strict=True):
        for norm, curve in curves.items():
            color, marker, line = LOOKS[norm]
            draw_curve(ax, curve, color=color, marker=marker, linestyle=line)
        ax.set_yscale("log")
        ax.set_xlabel("step")
        _name_depth(ax, depth)
    axes[0].set_ylabel("change per unit of way")
    _name_norms(axes[-1], 0.06, 0.3)
    return fig


@figure(
    alt=(
        "Final loss against the scale of the initial weights. Without a norm one narrow dip; with "
        "BatchNorm low up to scale one, then rising; with the rate rescaled, flat."
    )
)
def scale_sensitivity(arms: Mapping[str, Spreads]) -> CourseFigure:
    """Draw the loss at the end against the scale of the initial weights.

    Args:
        arms: "none", "batch" and "rescaled" to curves (scale, loss).
    """
    looks = {**LOOKS, "rescaled": (INK, "^", ":")}
    fig = card(3.0)
    ax = fig.subplots()
    for arm, curve in arms.items():
        color, marker, line = looks[arm]
        draw_curve(ax, _clip(curve, 0, _CAP), color=color, marker=marker, linestyle=line)
    ax.set_xscale("log")
    ax.set_ylim(0, _CAP + 0.3)
    ax.set_yticks([0, 1, 2, _CAP], ["0", "1", "2", "lost"])
    for x, y, word, arm in (
        (0.01, 2.12, "no norm", "none"),
        (9.0, 1.62, "BatchNorm", "batch"),
        (0.01, 0.42, "BatchNorm, rate × scale²", "rescaled"),
    ):
        ax.text(x, y, word, color=looks[arm][0], va="center", fontsize=10)
    ax.set_xlabel("scale of the initial weights, 1 = He's")
    ax.set_ylabel("loss at the end")
    return fig


@figure(
    alt=(
        "Noise of a batch mean against examples per mean, both log. Measured squares lie on the "
        "line one over the root of n."
    )
)
def noise_of_means(noise: Spreads) -> CourseFigure:
    """Draw how much batch means vary, in units of the standard deviation of one value.

    Args:
        noise: curve (examples per mean, standard deviation of the mean).
    """
    fig = card(2.6)
    ax = fig.subplots()
    n = np.geomspace(noise.x.min() / 1.3, noise.x.max() * 1.3, 50)
    ax.plot(n, 1 / np.sqrt(n), color=FAINT, linewidth=3, zorder=0)
    draw_curve(ax, noise, color=_BLUE, marker="s", linestyle="none")
    ax.text(n[20], 1.15 / np.sqrt(n[20]), "1/√n", ha="left", va="bottom")
    _log_ticks(ax, noise.x)
    ax.set_yscale("log")
    ax.yaxis.set_major_locator(FixedLocator([0.1, 0.2, 0.5]))
    ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    ax.yaxis.set_minor_locator(NullLocator())
    ax.set_xlabel("examples per mean, n")
    ax.set_ylabel("noise of the mean / σ")
    return fig


def _log_ticks(ax: Axes, places: Sequence[float] | NDArray[Any]) -> None:
    """Make the x axis logarithmic with a tick at each of these places."""
    ax.set_xscale("log")
    ax.set_xticks(list(places), [f"{place:g}" for place in places])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_minor_formatter(NullFormatter())


@figure(
    alt=(
        "Training and test loss against examples per mean. With few, both are high and close "
        "together; with many the training loss falls and the gap opens."
    )
)
def noise_and_gap(
    train: Spreads, test: Spreads, without: tuple[Middle, Middle] | None = None
) -> CourseFigure:
    """Draw training and test loss against the number of examples that share a mean.

    Args:
        train: curve (examples per mean, training loss).
        test: curve (examples per mean, test loss).
        without: training and test loss of the net without any norm.
    """
    fig = card(3.0)
    ax = fig.subplots()
    ax.fill_between(train.x, train.median, test.median, color=_BLUE, alpha=0.1, linewidth=0)
    for curve, line, word in ((test, "-", "test"), (train, ":", "training")):
        draw_curve(ax, curve, color=_BLUE, marker="s", linestyle=line, label=word)
    if without is not None:
        for value, word in zip(without, ("training, no norm", "test, no norm"), strict=True):
            ax.axhline(value.median, color=RAW, linestyle="--", linewidth=1.2)
            place = (train.x[-1] * 0.95, value.median)
            ax.text(*place, word, color=RAW, fontsize=9, ha="right", va="bottom")
    _log_ticks(ax, train.x)
    ax.set_xlim(train.x[0] * 0.85, train.x[-1] * 2.1)
    ax.set_ylim(bottom=0)
    ax.set_xlabel("examples per mean, n")
    ax.set_ylabel("loss in inference mode")
    return fig


@figure(
    alt=(
        "Test accuracy of five nets as dots with their middle halves: neither, dropout, BatchNorm, "
        "both with dropout before each norm, both with dropout behind the last."
    )
)
def dropout_arms(arms: Mapping[str, Middle]) -> CourseFigure:
    """Draw the test accuracy of nets with and without BatchNorm and dropout.

    Args:
        arms: name of the net to the spread of its accuracy, a fraction.
    """
    fig = card(2.5)
    ax = fig.subplots()
    for row, (name, value) in enumerate(arms.items()):
        blue = "BatchNorm" in name
        color = _BLUE if blue else RAW
        ax.plot([100 * value.low, 100 * value.high], [row, row], color=color, linewidth=3)
        ax.plot(100 * value.median, row, "s" if blue else "o", color=color, markersize=8)
    ax.set_yticks(range(len(arms)), list(arms))
    ax.set_ylim(len(arms) - 0.5, -0.5)
    ax.set_xlabel("test accuracy, %")
    return fig


@figure(
    alt=(
        "Gradient norm by layer of a fresh deep net, log scale. Plain with BatchNorm it grows "
        "exponentially towards the input along the computed line; plain without it stays level."
    )
)
def gradient_by_layer(stacks: Mapping[str, Spreads], growth: float) -> CourseFigure:
    """Draw the norm of the gradient at every layer of fresh nets.

    Args:
        stacks: "plain none", "plain batch", ... to curves (layer, gradient).
        growth: computed factor per layer, drawn through the last point of "plain batch".
    """
    fig = card(3.1)
    ax = fig.subplots()
    for name, curve in stacks.items():
        color, _, line = _STACKS[name]
        draw_curve(ax, curve, color=color, marker=None, linestyle=line)
    plain = stacks["plain batch"]
    theory = plain.median[-1] * growth ** (plain.x[-1] - plain.x)
    ax.plot(plain.x, theory, color=HIGHLIGHT, linewidth=5, alpha=0.5, zorder=0)
    ax.set_yscale("log")
    for name, word in (
        ("plain none", "plain, no norm"),
        ("plain batch", "plain, BatchNorm"),
        ("residual batch", "residual, BatchNorm"),
    ):
        curve = stacks[name]
        k = len(curve.x) // 2
        above = 3.0 if name == "plain none" else 0.3 if name == "residual batch" else 8.0
        ax.text(curve.x[k], above * curve.median[k], word, color=_STACKS[name][0])
    ax.set_ylim(bottom=0.2 * stacks["residual batch"].median.min())
    ax.set_xlabel("layer (1 is next to the input)")
    ax.set_ylabel("norm of the gradient")
    return fig


@figure(
    alt=(
        "Share of the residual branch in the variance of the sum, by block, log scale. Without "
        "BatchNorm about one half everywhere; with it, falling as one over the block's number."
    )
)
def branch_shares(shares: Mapping[str, Spreads]) -> CourseFigure:
    """Draw how large the residual branch is beside the skip, block by block.

    Args:
        shares: "none" and "batch" to curves (block, share of the variance).
    """
    fig = card(2.8)
    ax = fig.subplots()
    block = shares["batch"].x
    ax.plot(block, 1 / (block + 1), color=HIGHLIGHT, linewidth=5, alpha=0.5, zorder=0)
    for norm, curve in shares.items():
        color, marker, line = LOOKS[norm]
        draw_curve(ax, curve, color=color, marker=marker, linestyle=line)
    k = len(block) // 3
    share = 1 / (block[k] + 1)
    ax.text(block[k] * 1.1, 1.2 * share, "BatchNorm", color=_BLUE)
    ax.text(block[k] * 0.8, 0.6 * share, "1/(l + 1)", ha="right")
    ax.text(block[k], 0.36, "no norm", color=RAW, va="top")
    ax.set_yscale("log")
    ax.yaxis.set_major_locator(FixedLocator([0.02, 0.05, 0.1, 0.2, 0.5, 1.0]))
    ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    ax.yaxis.set_minor_locator(NullLocator())
    ax.set_xlabel("block l")
    ax.set_ylabel("share of the branch")
    return fig


@figure(
    alt=(
        "Final loss at several depths for five kinds of nets. At the greatest depth only residual "
        "nets with BatchNorm or with a learned factor reach a low loss."
    )
)
def deep_losses(stacks: Mapping[str, Mapping[int, Middle]], goal: float) -> CourseFigure:
    """Draw the loss that nets of several kinds end at, by depth.

    Args:
        stacks: kind to depth to spread of the loss at its best rate; infinite means lost.
        goal: the loss that counts as trained.
    """
    words = {
        "plain none": "plain",
        "plain batch": "plain, BatchNorm",
        "residual none": "residual",
        "residual batch": "residual, BatchNorm",
        "residual alpha": "residual, α from 0",
    }
    fig = card(3.3)
    ax = fig.subplots()
    depths = list(next(iter(stacks.values())))
    ax.axhspan(0, goal, color=FAINT, alpha=0.6, linewidth=0)
    for k, (name, values) in enumerate(stacks.items()):
        color, marker, line = _STACKS[name]
        x = np.arange(len(depths)) + 0.07 * (k - 2)
        middle = [min(values[depth].median, _CAP) for depth in depths]
        ax.plot(x, middle, marker=marker, linestyle=line, color=color, label=words[name])
        for place, depth in zip(x, depths, strict=True):
            ends = np.minimum([values[depth].low, values[depth].high], _CAP)
            ax.plot([place, place], ends, color=color, linewidth=2)
    ax.set_xticks(range(len(depths)), [str(depth) for depth in depths])
    ax.set_ylim(0, _CAP + 0.2)
    ax.set_yticks([0, 1, 2, _CAP], ["0", "1", "2", "lost"])
    ax.set_xlabel("layers or blocks")
    ax.set_ylabel("loss at the end")
    fig.legend(loc="outside upper center", ncols=2, frameon=False, fontsize=9)
    return fig

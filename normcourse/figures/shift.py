"""Covariate shift: of the data, and inside a net while it is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator
from numpy.typing import ArrayLike, NDArray

from normcourse.figures._base import CourseFigure, card, figure
from normcourse.figures._curves import LOOKS, Spreads, draw_curve
from normcourse.figures.palette import FAINT, HIGHLIGHT, INK, METHOD_COLORS, OTHER, RAW

_BLUE = METHOD_COLORS["batch_norm"]
_NAMES = {"none": "no norm", "batch": "BatchNorm"}


class Middle(Protocol):
    """Median and quartiles of a quantity over the seeds."""

    @property
    def median(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...


@figure(
    alt=(
        "Grey training points and blue test points on a curve. The line fitted to all training "
        "points misses the test points; the weighted line passes through them."
    )
)
def shifted_fit(
    train: tuple[ArrayLike, ArrayLike],
    test: tuple[ArrayLike, ArrayLike],
    lines: Mapping[str, Callable[[NDArray[Any]], NDArray[Any]]],
) -> CourseFigure:
    """Draw training and test points and two lines fitted to the training points.

    Args:
        train: x and y of the training points.
        test: x and y of the test points.
        lines: name to function of x; the first dashed, the second solid.
    """
    fig = card(3.2)
    ax = fig.subplots()
    ax.plot(*train, "o", color=RAW, markersize=4, alpha=0.45)
    ax.plot(*test, "^", color=HIGHLIGHT, markersize=4.5)
    x = np.linspace(-1.0, 1.9, 2)
    for (name, line), style, color in zip(lines.items(), ("--", "-"), (OTHER, INK), strict=True):
        ax.plot(x, line(x), style, color=color)
        ax.annotate(
            name, (x[1], line(x)[1]), xytext=(5, 0), textcoords="offset points", color=INK,
            va="center", annotation_clip=False,
        )  # fmt: skip
    low = min(np.min(train[1]), np.min(test[1]), *(line(x).min() for line in lines.values()))
    high = max(np.max(train[1]), np.max(test[1]), *(line(x).max() for line in lines.values()))
    room = 0.32 * (high - low)
    ax.set_ylim(low - 0.06 * (high - low), high + room)
    ax.set_xlim(-1.1, 2.75)
    ax.set_xticks([-1, 0, 1, 2])
    ax.text(-1.0, high + 0.8 * room, "▲ test points", color=INK, va="top")
    ax.text(0.75, high + 0.8 * room, "● training points", color=INK, va="top")
    ax.set_xlabel("x")
    ax.set_ylabel("y")
    return fig


@figure(
    alt=(
        "Histogram of the largest mean difference under random relabelling, with two marks: the "
        "shuffled digits lie inside it, the digits in stored order far to its right."
    )
)
def permutation_null(chance: ArrayLike, seen: Mapping[str, float]) -> CourseFigure:
    """Draw what a statistic is by chance, and what it was.

    Args:
        chance: its values after random relabelling.
        seen: name to value.
    """
    values = np.asarray(chance)
    fig = card(2.7)
    ax = fig.subplots()
    counts, _, _ = ax.hist(values, bins=18, color=RAW, alpha=0.55)
    top = float(np.max(counts))
    for place, (name, value) in enumerate(seen.items()):
        ax.plot([value, value], [0, 1.05 * top], color=INK, linestyle=("-", "--")[place % 2])
        ax.text(value, 1.1 * top, name, ha="center", va="bottom")
    ax.set_ylim(0, 1.3 * top)
    ax.set_xlim(0, 1.2 * max(*seen.values(), float(values.max())))
    ax.set_xlabel("largest mean difference, std")
    ax.set_ylabel("relabellings")
    return fig


@figure(
    alt=(
        "Test error, log scale, of a line and a cubic fitted without weights, with known and with "
        "estimated weights, and on test data. Weights help the line, hurt the cubic."
    )
)
def errors_by_weights(errors: Mapping[str, Mapping[str, Middle]]) -> CourseFigure:
    """Draw the error of each model under each way to weight its training points.

    Args:
        errors: model to weighting to spread of the error.
    """
    fig = card(2.9)
    ax = fig.subplots()
    ways = list(next(iter(errors.values())))
    looks = ((INK, "o"), (HIGHLIGHT, "D"))
    for (model, by_way), (color, marker) in zip(errors.items(), looks, strict=True):
        for place, way in enumerate(ways):
            value = by_way[way]
            ax.plot([value.low, value.high], [place, place], color=color, linewidth=2)
            ax.plot(value.median, place, marker, color=color, markersize=7)
        ax.text(by_way[ways[0]].median, -0.55, model, ha="center", va="center", color=INK)
    ax.set_yticks(range(len(ways)), ways)
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(len(ways) - 0.6, -0.95)
    ax.set_xscale("log")
    ax.set_xlabel("test error")
    return fig


@figure(
    alt=(
        "Three quantiles of one unit's values over 100 steps, without a norm and with BatchNorm. "
        "Without, the band wanders; with it, centre and width hardly move."
    )
)
def drift(quantiles: Mapping[str, ArrayLike], steps: ArrayLike) -> CourseFigure:
    """Draw the median of a unit's values and the band around it, step by step.

    Args:
        quantiles: norm to array of shape (3, T): lower, median and upper.
        steps: array of shape (T,).
    """
    x = np.asarray(steps)
    fig = card(2.8)
    axes = fig.subplots(1, len(quantiles), sharey=True)
    for ax, (norm, rows) in zip(axes, quantiles.items(), strict=True):
        low, middle, high = np.asarray(rows)
        color, _, line = LOOKS[norm]
        ax.fill_between(x, low, high, color=color, alpha=0.22, linewidth=0)
        ax.plot(x, middle, line, color=color)
        ax.text(0.03, 0.98, _NAMES[norm], transform=ax.transAxes, va="top", color=color)
        ax.set_xlabel("step")
        ax.set_ylim(-1.05, 1.35)
        ax.set_yticks([-1, 0, 1])
    axes[0].set_ylabel("what the unit gives")
    return fig


@figure(
    alt=(
        "Histograms of one unit of a late layer before training and after it, without a norm and "
        "with BatchNorm."
    )
)
def layer_histograms(values: Mapping[str, Mapping[str, ArrayLike]]) -> CourseFigure:
    """Draw how a unit's values are distributed at several moments.

    Args:
        values: norm to name of a moment to array of shape (N,).
    """
    fig = card(3.0)
    moments = list(next(iter(values.values())))
    axes = fig.subplots(len(moments), len(values), sharex=True, sharey=True, squeeze=False)
    for column, (norm, by_moment) in enumerate(values.items()):
        for row, name in enumerate(moments):
            ax = axes[row, column]
            x = np.asarray(by_moment[name])
            ax.hist(x, bins=np.linspace(-1, 1, 31), density=True, color=LOOKS[norm][0], alpha=0.7)
            ax.axvline(x.mean(), color=INK, linewidth=1.4)
            ax.set_yticks([])
            ax.spines["left"].set_visible(False)
            if column == 0:
                ax.set_ylabel(name)
        axes[0, column].text(
            0.5, 1.04, _NAMES[norm], transform=axes[0, column].transAxes, ha="center",
            va="bottom", color=LOOKS[norm][0],
        )  # fmt: skip
        axes[-1, column].set_xlabel("value")
    return fig


@figure(
    alt=(
        "Shift per step with BatchNorm divided by that without, for five measures, log scale. "
        "Mean and spread lie far below 1, movement and gradient at about 2."
    )
)
def shift_ratios(
    ratios: Mapping[str, Mapping[str, Middle]], live: Mapping[str, Sequence[float]] | None = None
) -> CourseFigure:
    """Draw, measure by measure, how a shift with BatchNorm compares with that without.

    Args:
        ratios: name of a comparison to measure to spread of the ratio; two comparisons at most.
        live: measure to ratios of single seeds of the first comparison, drawn as dots.
    """
    fig = card(3.5)
    ax = fig.subplots()
    ax.axvline(1, color=INK, linewidth=1)
    measures = list(next(iter(ratios.values())))
    looks = (("s", "full"), ("D", "none"))
    for offset, ((_, by_measure), (marker, fill)) in enumerate(
        zip(ratios.items(), looks, strict=False)
    ):
        for place, measure in enumerate(measures):
            value, y = by_measure[measure], place + 0.3 * offset
            ax.plot([value.low, value.high], [y, y], color=_BLUE, linewidth=2)
            ax.plot(value.median, y, marker, color=_BLUE, fillstyle=fill, markersize=7)
    for place, measure in enumerate(measures):
        for value_ in (live or {}).get(measure, ()):
            ax.plot(value_, place - 0.2, ".", color=INK, markersize=5)
    for offset, (name, (marker, _)) in enumerate(zip(ratios, looks, strict=False)):
        symbol = {"s": "■", "D": "◇"}[marker]
        ax.text(0.01, 1.02 + 0.09 * (len(ratios) - 1 - offset), f"{symbol} {name}",
                transform=ax.transAxes, va="bottom", color=_BLUE)  # fmt: skip
    ax.set_yticks(np.arange(len(measures)) + 0.1, measures)
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(len(measures) - 0.45, -0.5)
    ax.set_xscale("log")
    ticks = [0.03, 0.1, 0.3, 1, 3]
    ax.xaxis.set_major_locator(FixedLocator(ticks))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.set_xlabel("shift per step, with / without BatchNorm")
    return fig


@figure(
    alt=(
        "What changed since the start, against the step, with BatchNorm: the mean of a unit and "
        "the shape of its distribution hardly, correlations and each example's value by about 1."
    )
)
def change_since_start(
    curves: Mapping[str, Spreads], label_at: Mapping[str, float]
) -> CourseFigure:
    """Draw how far several properties of a layer's input are from where they began.

    Args:
        curves: name to curve (step, change).
        label_at: name to the height where it is written, right of its line.
    """
    fig = card(3.2)
    ax = fig.subplots()
    looks = ((RAW, "o", ":"), (INK, "D", "-."), (HIGHLIGHT, "^", "--"), (_BLUE, "s", "-"))
    for (name, curve), (color, marker, line) in zip(curves.items(), looks, strict=True):
        draw_curve(ax, curve, color=color, marker=marker, linestyle=line)
        ax.text(1.04 * curve.x[-1], label_at[name], name, color=color, va="center")
    last = max(curve.x[-1] for curve in curves.values())
    ax.set_xlim(0, 1.62 * last)
    ax.set_xticks([tick for tick in (0, 100, 200, 300, 400) if tick <= last])
    ax.set_ylim(bottom=0)
    ax.axhline(0, color=FAINT, linewidth=1, zorder=0)
    ax.set_xlabel("step")
    ax.set_ylabel("change since the start")
    return fig

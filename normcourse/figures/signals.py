"""Signals, gradients and saturation by depth; inputs that are raw, standardized, whitened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

from normcourse.figures._base import CourseFigure, card, figure
from normcourse.figures._curves import Spreads, draw_curve
from normcourse.figures.palette import FAINT, HIGHLIGHT, INK, METHOD_COLORS, RAW

_BLUE = METHOD_COLORS["batch_norm"]
# one setting after the other, smallest first: colour, marker, line
_LOOKS = ((RAW, "o", ":"), (INK, "D", "-"), (HIGHLIGHT, "^", "--"))


def _draw_gains(ax: Axes, curves: Mapping[float, Spreads], live: Mapping[float, Any]) -> None:
    """Draw a curve per gain over the layers, its name at the end of the line."""
    for (gain, curve), (color, marker, line) in zip(curves.items(), _LOOKS, strict=True):
        draw_curve(ax, curve, color=color, marker=marker, linestyle=line, label=f"gain {gain:g}")
        for values in getattr(live.get(gain), "runs", {}).values():
            ax.plot(live[gain].x, values, ".", color=INK, markersize=3.5, zorder=5)
    ax.set_yscale("log")
    last = max(curve.x[-1] for curve in curves.values())
    ax.set_xlim(0, 1.28 * last)
    ax.set_xticks([1, *(tick for tick in (10, 20, 30, 40) if tick <= last)])
    ax.set_xlabel("layer")


@figure(
    alt=(
        "Size of the signal by layer, log scale, for three gains. Straight lines: it falls a "
        "thousandfold at gain 0.8, stays at 1, grows a thousandfold at 1.25."
    )
)
def signal_sizes(
    curves: Mapping[float, Spreads], live: Mapping[float, Any] | None = None
) -> CourseFigure:
    """Draw how large the signal of a linear net is, layer by layer.

    Args:
        curves: gain to curve (layer, size), smallest gain first; three of them.
        live: gain to a curve whose ``runs`` are drawn as dots.
    """
    fig = card(3.0)
    ax = fig.subplots()
    _draw_gains(ax, curves, live or {})
    ax.set_ylabel("size of the signal")
    return fig


@figure(
    alt=(
        "Gradient at each layer, log scale, for three gains, all equal at the last layer. Toward "
        "the first it vanishes at gain 0.8 and explodes at 1.25."
    )
)
def gradient_sizes(curves: Mapping[float, Spreads]) -> CourseFigure:
    """Draw how large the gradient is, layer by layer, in units of that at the last layer.

    Args:
        curves: gain to curve (layer, gradient), smallest gain first; three of them.
    """
    fig = card(3.0)
    ax = fig.subplots()
    for (gain, curve), (color, marker, line) in zip(curves.items(), _LOOKS, strict=True):
        unit = curve.median[-1]
        ax.fill_between(
            curve.x, curve.low / unit, curve.high / unit, color=color, alpha=0.18, linewidth=0
        )
        ax.plot(curve.x, curve.median / unit, line, color=color, marker=marker, markersize=5)
        ax.annotate(
            f"gain {gain:g}",
            (curve.x[0], curve.median[0] / unit),
            xytext=(-7, 0),
            textcoords="offset points",
            ha="right",
            va="center",
            color=color,
        )
    ax.set_yscale("log")
    last = max(curve.x[-1] for curve in curves.values())
    ax.set_xlim(-0.28 * last, last + 1)
    ax.set_xticks([1, *(tick for tick in (10, 20, 30, 40) if tick <= last)])
    ax.set_xlabel("layer")
    ax.set_ylabel("gradient / that at the end")
    return fig


@figure(
    alt=(
        "The curve of tanh and, below it, its slope: 1 at zero, below 0.02 where the curve is "
        "within one percent of its ends. Those two zones are shaded."
    )
)
def tanh_and_slope(threshold: float = 0.99) -> CourseFigure:
    """Draw tanh and its derivative, with the zones where it is saturated.

    Args:
        threshold: absolute value of tanh beyond which it counts as saturated.
    """
    z = np.linspace(-4.5, 4.5, 400)
    edge = np.arctanh(threshold)
    fig = card(3.2)
    axes = fig.subplots(2, 1, sharex=True)
    for ax, values in zip(axes, (np.tanh(z), 1 - np.tanh(z) ** 2), strict=True):
        ax.plot(z, values, color=INK)
        for side in (-1, 1):
            ax.axvspan(side * edge, side * 4.5, color=HIGHLIGHT, alpha=0.35, linewidth=0)
    axes[0].set_ylabel("tanh(z)")
    axes[1].set_ylabel("slope")
    axes[1].set_xlabel("z")
    axes[0].set_xlim(-4.5, 4.5)
    middle = (edge + 4.5) / 2
    axes[0].text(middle, -0.4, "saturated", ha="center", va="center", fontsize=10)
    axes[1].text(
        middle, 0.5, f"below\n{1 - threshold**2:.2f}", ha="center", va="center", fontsize=10
    )
    return fig


@figure(
    alt=(
        "Fraction of saturated tanh units by layer. A third at gain 3 in every layer; none at gain "
        "1, but three quarters in the first layer for raw inputs."
    )
)
def saturation_by_layer(
    curves: Mapping[str, Spreads], label_at: Mapping[str, tuple[float, float]]
) -> CourseFigure:
    """Draw which part of the units is saturated, layer by layer.

    Args:
        curves: name of a setting to curve (layer, fraction); one named with "BatchNorm" is blue.
        label_at: name to the place (layer, fraction) where it is written.
    """
    fig = card(3.1)
    ax = fig.subplots()
    looks = iter(((RAW, "o", ":"), (INK, "D", "-"), (HIGHLIGHT, "^", "--"), (INK, "v", "-.")))
    for name, curve in curves.items():
        color, marker, line = (_BLUE, "s", "-") if "BatchNorm" in name else next(looks)
        draw_curve(ax, curve, color=color, marker=marker, linestyle=line)
        ax.text(*label_at[name], name, color=color, va="center")
    ax.set_xscale("log")
    last = max(curve.x[-1] for curve in curves.values())
    ticks = [tick for tick in (1, 2, 3, 5, 10, 20, 30) if tick <= last]
    ax.set_xticks(ticks, [str(tick) for tick in ticks])
    ax.minorticks_off()
    ax.set_ylim(-0.02, 1)
    ax.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100"])
    ax.set_xlabel("layer")
    ax.set_ylabel("saturated units, %")
    return fig


@figure(
    alt=(
        "Contours of a loss over two weights with ten steps of descent. Raw: a narrow valley, the "
        "path stops far off. Standardized: nearer. Whitened: circles, one step suffices."
    )
)
def descent_paths(moments: Mapping[str, ArrayLike], steps: int = 10) -> CourseFigure:
    """Draw gradient descent on the squared error of two weights, as their inputs make it.

    Args:
        moments: name to second moments of the two inputs, array of shape (2, 2).
        steps: number of steps, each of 1 / (largest eigenvalue).
    """
    fig = card(2.4)
    axes = fig.subplots(1, len(moments), sharey=True)
    grid = np.linspace(-1.5, 1.5, 121)
    w = np.stack(np.meshgrid(grid, grid), axis=-1)  # (121, 121, 2)
    for ax, (name, given) in zip(np.atleast_1d(axes), moments.items(), strict=True):
        h = np.asarray(given, dtype=float)
        loss = np.einsum("abi,ij,abj->ab", w, h, w)
        largest = np.linalg.eigvalsh(h)[-1]
        levels = largest * np.array([0.02, 0.1, 0.3, 0.7, 1.3, 2.1])
        ax.contour(grid, grid, loss, levels=levels, colors=FAINT, linewidths=1.2)
        path = [np.array([1.2, 0.9])]
        for _ in range(steps):
            path.append(path[-1] - 1 / largest * (h @ path[-1]))
        ax.plot(*np.array(path).T, "o-", color=INK, markersize=3.5, linewidth=1.2)
        ax.plot(0, 0, "x", color=HIGHLIGHT, markersize=8, markeredgewidth=2.5)
        ax.set_xlabel("weight 1")
        ax.text(0.5, 1.03, name, transform=ax.transAxes, ha="center", va="bottom")
        ax.set_aspect("equal")
        ax.set_xticks([-1, 0, 1])
    np.atleast_1d(axes)[0].set_ylabel("weight 2")
    return fig


@figure(
    alt=(
        "Three scatter plots of two features: centered, a long tilted cloud; standardized, still "
        "tilted; whitened, round."
    )
)
def whitened_cloud(clouds: Mapping[str, ArrayLike]) -> CourseFigure:
    """Draw two features before and after standardizing and whitening.

    Args:
        clouds: name to array of shape (N, 2).
    """
    fig = card(2.4)
    axes = np.atleast_1d(fig.subplots(1, len(clouds), sharey=True))
    for ax, (name, cloud) in zip(axes, clouds.items(), strict=True):
        x = np.asarray(cloud)
        ax.plot(*x.T, ".", color=RAW, markersize=3.5, alpha=0.7)
        for length, direction in _principal(x):
            ax.annotate(
                "", 2 * length * direction, (0, 0),
                arrowprops={"arrowstyle": "-|>", "color": INK, "linewidth": 1.6,
                            "shrinkA": 0, "shrinkB": 0},
            )  # fmt: skip
        ax.set_xlim(-3.8, 3.8)
        ax.set_ylim(-3.8, 3.8)
        ax.set_xticks([-2, 0, 2])
        ax.set_yticks([-2, 0, 2])
        ax.set_aspect("equal")
        ax.set_xlabel("feature 1")
        ax.text(0.5, 1.03, name, transform=ax.transAxes, ha="center", va="bottom")
    axes[0].set_ylabel("feature 2")
    return fig


def _principal(x: NDArray[Any]) -> Sequence[tuple[float, NDArray[Any]]]:
    """Return standard deviation and direction along each principal axis of centered (N, 2)."""
    values, vectors = np.linalg.eigh(x.T @ x / len(x))
    return [(float(np.sqrt(value)), vectors[:, k]) for k, value in enumerate(values)]

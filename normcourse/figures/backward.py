"""The gradient of BatchNorm: its paths, what it loses, where 1/sigma enters, what decay does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch
from numpy.typing import ArrayLike, NDArray

from normcourse.figures._base import CourseFigure, bare, card, figure, signed
from normcourse.figures._curves import Spreads, draw_curve
from normcourse.figures.palette import FAINT, HIGHLIGHT, INK, METHOD_COLORS, OTHER, RAW

_BLUE = METHOD_COLORS["batch_norm"]
_VERMILLION = METHOD_COLORS["layer_norm"]
Array = NDArray[Any]


class Middle(Protocol):
    """Median and quartiles of a quantity over the seeds."""

    @property
    def median(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...


# name -> place of its centre, text; the arrows point the way of the forward pass
_NODES = {
    "x": (0.0, 1.0, "x"),
    "mean": (1.35, 0.0, "mean"),
    "centered": (2.2, 1.0, "x − mean"),
    "var": (2.8, 0.0, "var"),
    "inv_std": (4.75, 0.0, "inv_std"),
    "x_hat": (5.0, 1.0, "x_hat"),
    "y": (6.6, 1.0, "y"),
}
_EDGES = (
    ("x", "centered", 1),
    ("x", "mean", 2),
    ("mean", "centered", 2),
    ("centered", "x_hat", 1),
    ("centered", "var", 3),
    ("var", "inv_std", 3),
    ("inv_std", "x_hat", 3),
    ("x_hat", "y", 0),
)


def _half_width(name: str) -> float:
    return 0.17 + 0.078 * len(_NODES[name][2])


def _ends(start: str, end: str) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return where an arrow leaves one box and meets another."""
    (x0, y0, _), (x1, y1, _) = _NODES[start], _NODES[end]
    if y0 == y1:
        return (x0 + _half_width(start) + 0.03, y0), (x1 - _half_width(end) - 0.03, y1)
    down = 1 if y0 > y1 else -1
    slope = (x1 - x0) / (y0 - y1)
    cut = 0.2  # half the height of a box
    return (x0 + slope * cut * down, y0 - cut * down), (x1 - slope * cut * down, y1 + cut * down)


@figure(
    alt=(
        "Graph from x to y. Path 1 runs straight through x minus mean; path 2 branches off through "
        "the mean, path 3 through variance and inverse standard deviation."
    )
)
def backward_graph() -> CourseFigure:
    """Draw the steps of the forward pass and the three paths from x to x_hat."""
    fig = card(2.3)
    ax = fig.subplots()
    bare(ax)
    looks = {0: (INK, "-"), 1: (INK, "-"), 2: (_VERMILLION, "--"), 3: (_BLUE, "-.")}
    for start, end, path in _EDGES:
        color, line = looks[path]
        arrow = FancyArrowPatch(
            *_ends(start, end), arrowstyle="-|>", mutation_scale=13, color=color, linestyle=line,
            linewidth=1.8, shrinkA=0, shrinkB=0,
        )  # fmt: skip
        ax.add_patch(arrow)
    for name, (x, y, text) in _NODES.items():
        half = _half_width(name)
        box = FancyBboxPatch(
            (x - half, y - 0.17), 2 * half, 0.34, boxstyle="round,pad=0.03", facecolor="white",
            edgecolor=INK, linewidth=0.9, zorder=3,
        )  # fmt: skip
        ax.add_patch(box)
        ax.text(x, y, text, ha="center", va="center", zorder=4, fontsize=9.5)
    for x, y, text, path in (
        (3.6, 1.42, "1  direct", 1), (0.15, 0.32, "2  mean", 2), (3.85, -0.42, "3  variance", 3)
    ):  # fmt: skip
        ax.text(x, y, text, color=looks[path][0], ha="center", va="center", fontsize=10)
    ax.set_xlim(-0.5, 7.0)
    ax.set_ylim(-0.65, 1.65)
    return fig


def gradient_stages(dx_hat: ArrayLike, x: ArrayLike, eps: float = 0.0) -> Array:
    """Return dx_hat, without its mean, without its x_hat part, divided by the std: (4, N)."""
    d, values = np.asarray(dx_hat, dtype=float), np.asarray(x, dtype=float)
    root = np.sqrt(values.var() + eps)
    x_hat = (values - values.mean()) / root
    centered = d - d.mean()
    projected = centered - x_hat * np.mean(d * x_hat)
    return np.stack([d, centered, projected, projected / root])


@figure(
    alt=(
        "A gradient as an arrow, three times: the part along the constant vector is removed, then "
        "that along x_hat, leaving a tangent, then sigma divides."
    )
)
def removed_directions(dx_hat: ArrayLike, x: ArrayLike) -> CourseFigure:
    """Draw the gradient of three examples losing two directions.

    Args:
        dx_hat: gradient with respect to x_hat, array of shape (3,).
        x: the values, array of shape (3,).
    """
    d, centered, projected, dx = gradient_stages(dx_hat, x)
    values = np.asarray(x, dtype=float)
    x_hat = (values - values.mean()) / values.std()
    one = np.ones(3) / np.sqrt(3)
    side = centered / np.linalg.norm(centered)
    radial = x_hat / np.linalg.norm(x_hat)
    around = np.cross(one, radial)
    fig = card(2.5)
    axes = fig.subplots(1, 3)
    start = np.array([d @ side, d @ one])
    _arrow(axes[0], np.zeros(2), start, RAW, "--")
    _arrow(axes[0], np.zeros(2), np.array([d @ side, 0.0]), INK, "-")
    _arrow(axes[0], start, np.array([d @ side, 0.0]), _VERMILLION, ":")
    axes[0].axvline(0, color=FAINT, linewidth=1.2, zorder=0)
    axes[0].axhline(0, color=FAINT, linewidth=1.2, zorder=0)
    plane = np.stack([around, radial])  # (2, 3)
    tip, flat, last = plane @ centered, plane @ projected, plane @ dx
    for ax in axes[1:]:
        ax.add_patch(Circle((0, 0), np.sqrt(3), fill=False, edgecolor=FAINT, linewidth=1.4))
        _arrow(ax, np.zeros(2), plane @ x_hat, _BLUE, "-")
    _arrow(axes[1], np.zeros(2), tip, INK, "--")
    _arrow(axes[1], np.zeros(2), flat, INK, "-")
    _arrow(axes[1], tip, flat, _VERMILLION, ":")
    _arrow(axes[2], np.zeros(2), flat, INK, "--")
    _arrow(axes[2], np.zeros(2), last, INK, "-")
    for ax, text in zip(axes, ("minus the mean", "minus the part\nalong x_hat", "divided by σ"),
                        strict=True):  # fmt: skip
        bare(ax)
        ax.set_xlim(-2.0, 2.0)
        ax.set_ylim(-2.0, 2.2)
        ax.set_aspect("equal")
        ax.text(0.5, -0.06, text, transform=ax.transAxes, ha="center", va="top", fontsize=10)
    axes[0].text(-0.12, 2.15, "(1, 1, 1)", ha="right", va="top", fontsize=9.5, color=INK)
    for ax in axes[1:]:
        ax.text(0.15, 2.15, "x_hat", ha="left", va="top", fontsize=9.5, color=_BLUE)
    return fig


def _arrow(ax: Axes, start: Array, end: Array, color: str, line: str) -> None:
    ax.annotate(
        "", (float(end[0]), float(end[1])), (float(start[0]), float(start[1])),
        arrowprops={"arrowstyle": "-|>", "color": color, "linestyle": line, "linewidth": 1.8,
                    "shrinkA": 0, "shrinkB": 0, "mutation_scale": 12},
    )  # fmt: skip


@figure(
    alt=(
        "Four rows of bars, one bar per example: the gradient with respect to x_hat, without its "
        "mean, without its part along x_hat, divided by sigma."
    )
)
def gradient_steps(dx_hat: ArrayLike, x: ArrayLike, eps: float = 0.0) -> CourseFigure:
    """Draw what becomes of the gradient of each example.

    Args:
        dx_hat: gradient with respect to x_hat, array of shape (N,).
        x: the values, array of shape (N,).
        eps: the eps of the layer.
    """
    stages = gradient_stages(dx_hat, x, eps)
    names = ("dx_hat", "minus the mean", "minus the part\nalong x_hat", "divided by σ: dx")
    reach = np.abs(stages).max()
    fig = card(3.6)
    ax = fig.subplots()
    bare(ax)
    for level, (row, name) in enumerate(zip(stages, names, strict=True)):
        base = -2.2 * level
        ax.plot([-0.5, len(row) - 0.5], [base, base], color=FAINT, linewidth=1, zorder=0)
        ax.bar(
            np.arange(len(row)), row / reach, 0.5, bottom=base, color=_BLUE if level == 3 else RAW
        )
        ax.text(-0.75, base, name, ha="right", va="center", fontsize=10.5)
        for place, value in enumerate(row):
            up = value >= 0
            at = base + value / reach + (0.08 if up else -0.08)
            text = signed(float(value), 2)
            ax.text(place, at, text, ha="center", va="bottom" if up else "top", fontsize=9.5)
    ax.set_xlim(-3.0, len(stages[0]) - 0.4)
    ax.set_ylim(-2.2 * 3 - 1.0, 1.6)
    return fig


@figure(
    alt=(
        "Fraction of the component along x_hat that eps leaves, against sigma squared over eps, "
        "both logarithmic: a half at 1, a thousandth at 1000."
    )
)
def eps_remainder(marked: Mapping[float, float]) -> CourseFigure:
    """Draw which fraction of the component along x_hat survives.

    Args:
        marked: variance / eps to a measured fraction, drawn as dots on the curve eps / (var + eps).
    """
    ratio = np.geomspace(1e-2, 1e5, 200)
    fig = card(2.8)
    ax = fig.subplots()
    ax.plot(ratio, 1 / (1 + ratio), color=INK)
    for place, value in marked.items():
        ax.plot(place, value, "s", color=_BLUE)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("variance / eps")
    ax.set_ylabel("fraction left along x_hat")
    return fig


@figure(
    alt=(
        "Error of a numerical gradient against its step size, both logarithmic: a V, lowest "
        "near 0.00001. A gradient without the statistics' paths stays high."
    )
)
def gradient_check(steps: ArrayLike, right: ArrayLike, wrong: ArrayLike) -> CourseFigure:
    """Draw how far a numerical gradient is from a right and from a wrong formula.

    Args:
        steps: step sizes, array of shape (K,).
        right: errors of the right formula, array of shape (K,).
        wrong: errors of the wrong one, array of shape (K,).
    """
    fig = card(2.8)
    ax = fig.subplots()
    ax.plot(steps, right, "s-", color=_BLUE, markersize=5)
    ax.plot(steps, wrong, "--", color=OTHER)
    ax.set_xscale("log")
    ax.set_yscale("log")
    middle = int(np.asarray(steps).size // 2)
    x = np.asarray(steps)
    ax.text(x[middle], np.asarray(wrong)[middle] * 0.6, "statistics as constants", va="top",
            ha="center", color=INK)  # fmt: skip
    ax.text(x[middle], np.asarray(right).max() * 0.05, "all three paths", ha="center", color=_BLUE)
    ax.set_xlabel("step of the numerical gradient")
    ax.set_ylabel("largest difference")
    return fig


@figure(
    alt=(
        "Size of gradients against sigma, both logarithmic. That with respect to x_hat is level; "
        "those with respect to x and to the weights fall as one over sigma."
    )
)
def gradients_by_sigma(
    curves: Mapping[str, Spreads], label_at: Mapping[str, float]
) -> CourseFigure:
    """Draw gradients by the standard deviation before the norm, each in units of that at scale 1.

    Args:
        curves: name to curve (sigma, gradient).
        label_at: name to the sigma above which it is written.
    """
    fig = card(3.0)
    ax = fig.subplots()
    looks = ((INK, "o", ":"), (_BLUE, "s", "-"), (HIGHLIGHT, "^", "--"))
    for (name, curve), (color, marker, line) in zip(curves.items(), looks, strict=False):
        draw_curve(
            ax, curve, color=color, marker=marker, linestyle=line, label=name,
            label_at=label_at[name],
        )  # fmt: skip
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("scale of the weights, sigma in proportion")
    ax.set_ylabel("gradient")
    return fig


@figure(
    alt=(
        "Training loss by step, log scale, for four ways to go back. With all paths it falls; with "
        "the mean or both held constant it stays many times higher."
    )
)
def detached_losses(curves: Mapping[str, Spreads], label_at: Mapping[str, float]) -> CourseFigure:
    """Draw the loss of training when parts of the statistics count as constants.

    Args:
        curves: what is detached to curve (step, loss).
        label_at: what is detached to the height where it is written, right of its line.
    """
    fig = card(3.2)
    ax = fig.subplots()
    looks = ((_BLUE, "s", "-"), (HIGHLIGHT, "^", "--"), (RAW, "o", ":"), (INK, "D", "-."))
    for (name, curve), (color, marker, line) in zip(curves.items(), looks, strict=False):
        draw_curve(ax, curve, color=color, marker=marker, linestyle=line)
        ax.text(1.03 * curve.x[-1], label_at[name], name, color=color, va="center")
    last = max(curve.x[-1] for curve in curves.values())
    ax.set_xlim(0, 1.35 * last)
    ax.set_xticks([tick for tick in range(0, 1001, 200) if tick <= last])
    ax.set_yscale("log")
    ax.set_xlabel("step")
    ax.set_ylabel("loss")
    return fig


@figure(
    alt=(
        "Two panels by step: biases before the norm, and how radial the weights' gradient is. Both "
        "stay at zero with the true gradient and grow when statistics are constants."
    )
)
def useless_gradients(biases: Mapping[str, Spreads], radial: Mapping[str, Spreads]) -> CourseFigure:
    """Draw what a gradient that ignores the statistics does for nothing.

    Args:
        biases: "nothing" and "both" to curve (step, size of the biases before the norm).
        radial: the same to curve (step, cosine between weights and their gradient).
    """
    fig = card(2.8)
    axes = fig.subplots(1, 2)
    looks = {"nothing": (_BLUE, "s", "-"), "both": (INK, "D", "-.")}
    names = {"nothing": "true gradient", "both": "constants"}
    for ax, curves, label in (
        (axes[0], biases, "bias before the norm"),
        (axes[1], radial, "radial part of gradient"),
    ):
        for name, curve in curves.items():
            color, marker, line = looks[name]
            draw_curve(ax, curve, color=color, marker=marker, linestyle=line)
            if ax is axes[0]:
                place, side = ((0.97, 0.12), "right") if name == "nothing" else ((0.1, 0.9), "left")
                ax.text(*place, names[name], transform=ax.transAxes, color=color, ha=side)
        ax.set_ylim(bottom=-0.02)
        ax.set_xlabel("step")
        ax.set_ylabel(label, fontsize=10.5)
    return fig


@figure(
    alt=(
        "Loss after training against the scale of the first weights. With one learning rate it "
        "rises with the scale; with the rate times the scale squared it is level."
    )
)
def loss_by_scale(curves: Mapping[str, Spreads]) -> CourseFigure:
    """Draw the loss after some steps by the factor of the weights at the start.

    Args:
        curves: "same" and "matched" to curve (scale, loss).
    """
    fig = card(2.9)
    ax = fig.subplots()
    looks = {"same": (INK, "D", "-."), "matched": (_BLUE, "s", "-")}
    names = {"same": "one learning rate", "matched": "rate · scale²"}
    for name, curve in curves.items():
        color, marker, line = looks[name]
        draw_curve(
            ax, curve, color=color, marker=marker, linestyle=line, label=names[name],
            label_at=6.0, above=name == "same",
        )  # fmt: skip
    ax.set_xscale("log")
    ax.set_ylim(bottom=0)
    ax.set_xlabel("first weights times")
    ax.set_ylabel("loss after training")
    return fig


_WAYS = {
    "decay": (_BLUE, "s", "-"),
    "growing rate": (HIGHLIGHT, "^", "--"),
    "fixed norm": (INK, "o", ":"),
    "no decay": (RAW, "D", "-."),
}


@figure(
    alt=(
        "Three panels by step: length of the weights, effective rate and held-out loss. Decay, "
        "growing rate and fixed norm differ in length and agree in the rest; no decay differs."
    )
)
def three_ways(panels: Mapping[str, Mapping[str, Spreads]]) -> CourseFigure:
    """Draw several ways to train scale-invariant weights.

    Args:
        panels: label of the y axis to way to curve; a label that begins with "length" or "rate" has
            a logarithmic axis.
    """
    fig = card(4.0)
    axes = fig.subplots(len(panels), 1, sharex=True)
    for ax, (label, curves) in zip(np.atleast_1d(axes), panels.items(), strict=True):
        for place, (name, curve) in enumerate(curves.items()):
            color, marker, line = _WAYS[name]
            ax.fill_between(curve.x, curve.low, curve.high, color=color, alpha=0.15, linewidth=0)
            ax.plot(
                curve.x, curve.median, line, color=color, marker=marker, markersize=4 + 2 * place,
                fillstyle="none" if place else "full", linewidth=1.4, markevery=2,
            )  # fmt: skip
        if label.startswith(("length", "rate")):
            ax.set_yscale("log")
        ax.set_ylabel(label, fontsize=10)
    first = np.atleast_1d(axes)[0]
    for place, name in enumerate(next(iter(panels.values()))):
        first.text(
            0.02 + 0.5 * (place % 2), 1.34 - 0.29 * (place // 2), name,
            transform=first.transAxes, color=_WAYS[name][0], va="bottom", fontsize=10,
        )  # fmt: skip
    np.atleast_1d(axes)[-1].set_xlabel("step")
    return fig


@figure(
    alt=(
        "Turn of the weights per step, in radians, against the step. With decay it rises to the "
        "dashed line of sqrt(2 · lr · decay); without decay it remains small."
    )
)
def turn_per_step(curves: Mapping[str, Spreads], balance: float) -> CourseFigure:
    """Draw the angle between the weights before and after one step.

    Args:
        curves: "decay" and "no decay" to curve (step, angle).
        balance: the angle at which growth and decay cancel.
    """
    fig = card(2.8)
    ax = fig.subplots()
    ax.axhline(balance, color=OTHER, linestyle="--")
    for name, curve in curves.items():
        color, marker, line = _WAYS[name]
        draw_curve(ax, curve, color=color, marker=marker, linestyle=line)
        at = curve.x.size // 2
        below = name == "decay"
        ax.text(curve.x[at], curve.median[at] + (-0.14 if below else 0.06) * balance, name,
                color=color, ha="center", va="top" if below else "bottom")  # fmt: skip
    ax.set_ylim(0, 1.25 * balance)
    ax.text(0.98 * max(c.x[-1] for c in curves.values()), 1.04 * balance, "√(2 · lr · decay)",
            ha="right", va="bottom")  # fmt: skip
    ax.set_xlabel("step")
    ax.set_ylabel("turn per step, radians")
    return fig

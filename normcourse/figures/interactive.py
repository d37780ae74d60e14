"""Still pictures of the interactive figures: one state of each, from the same exported numbers."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray

from normcourse.figures._base import _STYLE, CourseFigure, bare, card, figure, signed
from normcourse.figures.palette import FAINT, INK, METHOD_COLORS, RAW, method_color
from normcourse.figures.pooling import pooled_mask

Data = Mapping[str, Any]

BLUE, VERMILLION = METHOD_COLORS["batch_norm"], METHOD_COLORS["layer_norm"]
_SCOPES = {"": "", "position": "each position", "example": "each example"}


@figure(
    alt=(
        "Five copies of a block of three examples, four channels and four positions. In each, one "
        "method's shaded values share one mean."
    )
)
def explorer_still(data: Data) -> CourseFigure:
    """Draw what one mean pools, a block per method.

    Args:
        data: exported numbers of the axes explorer.
    """
    shape = tuple(data["shape"])
    fig = card(3.5)
    ax = fig.subplots()
    bare(ax)
    for place, method in enumerate(data["methods"]):
        scope, shown = next(iter(method["scopes"].items()))
        groups = 2 if method["name"] == "group_norm" else None
        mask = pooled_mask(tuple(shown["axes"]), shape, at=(1, 2, 1), groups=groups)
        left, top = (place % 3) * 12.4, (place // 3) * 13.6
        _block(ax, mask, left, top, method_color(method["name"]))
        ax.text(left + 5.4, top - 1.2, method["title"], ha="center", weight="bold", fontsize=10.5)
        below = _SCOPES[scope] or ("2 groups" if groups else "")
        ax.text(left + 5.4, top + 8.9, below, ha="center", va="top", fontsize=9.5)
    ax.text(24.6, 17.2, "rows: examples\ncolumns: channels\nsquares: positions", va="center",
            fontsize=9.5)  # fmt: skip
    ax.set_xlim(-0.4, 36.2)
    ax.set_ylim(24.4, -3.4)
    ax.set_aspect("equal")
    return fig


def _block(ax: Axes, mask: NDArray[np.bool_], left: float, top: float, color: str) -> None:
    """Draw (N, C, 4): a row per example, a 2x2 map per channel."""
    for n, c, place in np.ndindex(mask.shape):
        corner = (left + 2.7 * c + place % 2 * 1.15, top + 2.9 * n + place // 2 * 1.15)
        face, edge = (color, "white") if mask[n, c, place] else ("white", FAINT)
        ax.add_patch(Rectangle(corner, 1.15, 1.15, facecolor=face, edgecolor=edge))


@figure(
    alt=(
        "Outputs for the four features of one image in three batches. BatchNorm's dots, blue, lie "
        "apart; LayerNorm's diamonds, vermillion, lie on one another."
    )
)
def batch_still(data: Data) -> CourseFigure:
    """Draw the watched image's outputs in different company.

    Args:
        data: exported numbers of the batch composition.
    """
    fig = card(3.0)
    ax = fig.subplots()
    batches = data["expected"]["batches"][:3]
    names = data["features"]
    places = np.arange(len(names))
    for row in range(len(names)):
        ax.axhline(row, color=FAINT, linewidth=1, zorder=0)
    for batch, mark, company in zip(batches, "os^", ("ones", "zeros", "all"), strict=True):
        ax.plot(batch["batch_norm"], places - 0.14, mark, color=BLUE, label=f"BatchNorm, {company}")
        ax.plot(data["expected"]["layer_norm"][0], places + 0.14, "D", color=VERMILLION,
                markersize=6)  # fmt: skip
    ax.plot([], [], "D", color=VERMILLION, markersize=6, label="LayerNorm, all three")
    ax.set_yticks(places, names)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.set_xlim(-2.3, 2.3)
    ax.set_xlabel("output for the watched image")
    fig.legend(loc="outside upper center", ncols=2, fontsize=9.5, handletextpad=0.3)
    return fig


@figure(
    alt=(
        "Batch means, grey dots, jump halfway from 0 to 3. Running means follow: momentum 0.5 "
        "jitters along, 0.1 takes some twenty steps, 0.01 is far behind."
    )
)
def running_still(data: Data) -> CourseFigure:
    """Draw batch means and running means for three momenta.

    Args:
        data: exported numbers of the running statistics.
    """
    means = np.asarray(data["scenarios"]["jump"]).mean(axis=1)
    step = np.arange(1, len(means) + 1)
    fig = card(3.0)
    ax = fig.subplots()
    ax.plot(step, means, ".", color=RAW, alpha=0.55, markeredgewidth=0, markersize=7)
    labels = {0.5: (88, 4.3, "0.5"), 0.1: (84, 1.75, "0.1"), 0.01: (84, 0.1, "0.01")}
    for momentum, style in ((0.5, ":"), (0.1, "-"), (0.01, "--")):
        running, followed = 0.0, []
        for mean in means:
            running = (1 - momentum) * running + momentum * mean
            followed.append(running)
        ax.plot(step, followed, style, color=BLUE)
        x, y, text = labels[momentum]
        ax.text(x, y, f"momentum {text}", color=BLUE, fontsize=10.5)
    ax.text(20, 1.6, "mean of a batch", color=INK, fontsize=10.5, ha="center")
    ax.set_xlabel("training step")
    ax.set_ylabel("mean")
    return fig


@figure(
    alt=(
        "Gradient norm by layer in fresh nets of 64 layers, log scale. BatchNorm without skips "
        "grows exponentially towards the input; the four residual placements do not."
    )
)
def depth_still(data: Data) -> CourseFigure:
    """Draw the gradient norm by layer, deepest nets, one line per stack.

    Args:
        data: exported numbers of the depth figure.
    """
    depth = str(max(data["depths"]))
    styles = {"post": "-", "pre": "--", "res_post": ":", "sandwich": "-."}
    fig = card(3.4)
    ax = fig.subplots()
    for stack in data["stacks"]:
        curve = stack["depths"][depth]["gradient"]
        layer = np.arange(1, len(curve["median"]) + 1)
        color = VERMILLION if stack["name"] in styles else BLUE
        style = styles.get(stack["name"], "-")
        ax.fill_between(layer, curve["low"], curve["high"], color=color, alpha=0.15, linewidth=0)
        ax.plot(layer, curve["median"], style, color=color, label=stack["title"])
    ax.set_yscale("log")
    ax.set_xlabel("layer, 1 is next to the input")
    ax.set_ylabel("gradient norm")
    ax.legend(fontsize=9.5)
    return fig


@figure(
    alt=(
        "A table: twelve situations in rows, five methods in columns. A filled dot marks each "
        "method that nothing speaks against."
    )
)
def choose_still(data: Data) -> CourseFigure:
    """Draw which methods work in the situations of the exercise.

    Args:
        data: exported numbers of the guide.
    """
    cases, methods = data["expected"], data["methods"]
    fig = card(4.1)
    ax = fig.subplots()
    bare(ax)
    for row, (name, right) in enumerate(cases.items()):
        ax.axhline(row + 0.5, color=FAINT, linewidth=0.8)
        ax.text(-0.7, row, _shortened(name), ha="right", va="center", fontsize=8.8)
        for column, method in enumerate(methods):
            color = method_color(f"{method['key']}_norm")
            works = method["key"] in right
            ax.plot(column, row, "o", color=color if works else FAINT,
                    markersize=9 if works else 3)  # fmt: skip
    for column, method in enumerate(methods):
        text = method["title"].removesuffix("Norm")
        ax.text(column, -0.75, text, ha="center", va="bottom", fontsize=8.8, rotation=90)
    ax.set_xlim(-9.3, len(methods) - 0.4)
    ax.set_ylim(len(cases) - 0.4, -3.2)
    return fig


def _shortened(name: str) -> str:
    """Return the beginning of a situation, as far as it stands for the whole."""
    head = name.partition(":")[0]
    return head if len(head) <= 45 else head[:40].rpartition(" ")[0] + " …"


@figure(
    alt=(
        "Four rows of three bars: the gradient, without its mean, without its part along x_hat, "
        "divided by the standard deviation. The bars shrink row by row."
    )
)
def backward_still(data: Data) -> CourseFigure:
    """Draw the three entries of the gradient after each step.

    Args:
        data: exported numbers of the backward figure.
    """
    stages: ArrayLike = data["expected"][0]["stages"]
    names = (
        "dy",
        "minus its mean",
        "minus its part\nalong x_hat",
        "divided by the\nstandard deviation",
    )
    rows = np.asarray(stages)
    fig = card(3.4)
    ax = fig.subplots()
    for level, (row, name) in enumerate(zip(rows, names, strict=True)):
        base = -2.0 * level
        ax.plot([-0.5, 2.8], [base, base], color=FAINT, linewidth=1, zorder=0)
        last = level == len(names) - 1
        ax.bar(np.arange(3), row / 1.6, 0.55, bottom=base, color=BLUE if last else RAW)
        ax.text(-0.75, base, name, ha="right", va="center", fontsize=10.5)
        for place, value in enumerate(row):
            at, side = (value / 1.6 + 0.06, "bottom") if value >= 0 else (value / 1.6 - 0.06, "top")
            ax.text(place, base + at, signed(float(value), 2), ha="center", va=side, fontsize=9.5)
    bare(ax)
    ax.set_xlim(-2.6, 2.9)
    ax.set_ylim(-6.9, 1.4)
    return fig


def social_card(data: Data, title: str) -> bytes:
    """Return the picture that other sites show beside a link: 1200 x 630 pixels, PNG.

    Args:
        data: exported numbers of the axes explorer.
        title: of the book.
    """
    with mpl.rc_context(_STYLE):
        fig = Figure(figsize=(12, 6.3), dpi=100)
        fig.set_layout_engine("none")
        ax = fig.add_axes((0, 0, 1, 1))
        bare(ax)
        for place, method in enumerate(data["methods"]):
            shown = next(iter(method["scopes"].values()))
            groups = 2 if method["name"] == "group_norm" else None
            mask = pooled_mask(
                tuple(shown["axes"]), tuple(data["shape"]), at=(1, 2, 1), groups=groups
            )
            _block(ax, mask, 4.2 + 12.6 * place, 20, method_color(method["name"]))
            ax.text(9.6 + 12.6 * place, 31.4, method["title"], ha="center", fontsize=17)
        ax.text(4, 9.2, title, fontsize=47, weight="bold", color=INK)
        ax.text(4, 14.4, "A course on normalization layers", fontsize=25, color=RAW)
        ax.set_xlim(0, 70)
        ax.set_ylim(36.75, 0)
        buffer = io.BytesIO()
        fig.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


STILLS: dict[str, Callable[[Data], CourseFigure]] = {
    "axes-explorer": explorer_still,
    "batch-composition": batch_still,
    "running-statistics": running_still,
    "depth": depth_still,
    "choose": choose_still,
    "backward": backward_still,
}

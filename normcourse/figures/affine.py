"""What scale and shift do to a normalized feature."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from normcourse.figures._base import CourseFigure, card, figure, signed
from normcourse.figures.palette import FAINT, INK, METHOD_COLORS, OTHER
from normcourse.norms import batch_norm, core

Array = NDArray[Any]

_BLUE = METHOD_COLORS["batch_norm"]


@figure(
    alt=(
        "Four histograms, one per channel, on one axis. Each is centred at its own beta and as "
        "wide as its own gamma; their shapes differ."
    )
)
def affine_per_channel(x: Array, gamma: Array, beta: Array) -> CourseFigure:
    """Draw the distribution of each channel after scale and shift.

    Args:
        x: array of shape (N, C, *).
        gamma: array of shape (C,).
        beta: array of shape (C,).
    """
    y = np.moveaxis(batch_norm(x, gamma, beta), 1, 0).reshape(x.shape[1], -1)  # (C, N·H·W)
    fig = card(3.4)
    axes = fig.subplots(len(y), 1, sharex=True)
    bins = np.linspace(y.min(), y.max(), 80)
    for c, (ax, values) in enumerate(zip(axes, y, strict=True)):
        ax.hist(values, bins=bins, color=_BLUE, alpha=0.85)
        top = ax.get_ylim()[1]
        ax.plot([beta[c], beta[c]], [0, top], color=INK, linewidth=1.4)
        words = f"γ = {signed(gamma[c], 2)}\nβ = {signed(beta[c], 2)}"
        ax.text(1.02, 0.5, words, transform=ax.transAxes, va="center", fontsize=10.5)
        ax.set_yticks([])
        ax.spines["left"].set_visible(False)
        ax.set_ylabel(
            f"channel {c}", rotation=0, labelpad=6, ha="right", va="center", fontsize=10.5
        )
    axes[-1].set_xlabel("y")
    return fig


@figure(
    alt=(
        "Output against input for one feature. With fixed statistics all points lie on the "
        "diagonal; with each batch's own, every batch lies on a line of its own."
    )
)
def affine_undo(
    batches: Sequence[Array], mean: float, var: float, eps: float = 1e-5
) -> CourseFigure:
    """Draw what comes back when gamma and beta are set to undo one pair of statistics.

    Args:
        batches: batches of one feature, arrays of shape (N,).
        mean: the fixed mean.
        var: the fixed variance.
        eps: added to the variance inside the root.
    """
    markers = "o^sDv"
    if len(batches) > len(markers):
        raise ValueError(
            f"batches: expected at most {len(markers)}, got {len(batches)}; "
            f"more could not be told apart."
        )
    gamma, beta = np.sqrt(var + eps), mean
    fig = card(2.7)
    fixed, own = fig.subplots(1, 2, sharex=True, sharey=True)
    for batch, marker in zip(batches, markers, strict=False):
        with_fixed = gamma * (batch - mean) / np.sqrt(var + eps) + beta
        with_own = gamma * core.standardize(batch, (0,), eps).x_hat + beta
        for ax, y, color in ((fixed, with_fixed, _BLUE), (own, with_own, OTHER)):
            if ax is own:
                ends = np.array([batch.argmin(), batch.argmax()])
                ax.plot(batch[ends], y[ends], color=OTHER, linewidth=1)
            ax.plot(
                batch,
                y,
                marker,
                color=color,
                markersize=6,
                markeredgecolor="white",
                markeredgewidth=0.6,
            )
    for ax, words in ((fixed, "fixed statistics"), (own, "each batch's own")):
        low, high = ax.get_xlim()
        ax.plot([low, high], [low, high], color=FAINT, zorder=0)
        ax.set_xlim(low, high)
        ax.set_xlabel("x")
        ax.text(0.03, 0.97, words, transform=ax.transAxes, va="top")
        ax.set_aspect("equal")
    fixed.set_ylabel("what comes back")
    return fig

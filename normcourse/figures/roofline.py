"""The roofline: norms beside a copy of the same bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from normcourse.figures._base import CourseFigure, card, figure
from normcourse.figures.palette import FAINT, HIGHLIGHT, INK, OTHER, RAW

Shares = Mapping[str, Mapping[str, Mapping[str, float]]]
# Who computes -> label, colour, marker, face.
LOOKS: dict[str, tuple[str, str, str, str]] = {
    "NumPy": ("NumPy", RAW, "x", RAW),
    "torch": ("PyTorch", INK, "s", "white"),
    "compiled": ("torch.compile", INK, "^", "white"),
    "Liger": ("Liger-Kernel", INK, "D", "white"),
    "fused": ("ours", INK, "o", HIGHLIGHT),
}


@figure(
    alt=(
        "Share of copy speed that norms reach forward and backward, {where}. A row per norm, a "
        "mark per program; the line at 100 is copying."
    )
)
def share_of_copy(shares: Shares, where: str, *, high: float = 1.0) -> CourseFigure:
    """Draw how near to the speed of a copy each program comes, for every case.

    Args:
        shares: case -> "forward" or "backward" -> program -> share, 1 is as fast as the copy.
        where: threads and memory, for the alternative text.
        high: share up to which the axis runs, so that several pictures can be compared.
    """
    cases = list(shares)
    fig = card(1.3 + 0.27 * len(cases))
    axes = fig.subplots(1, 2, sharey=True)
    seen: dict[str, Any] = {}
    for ax, what in zip(axes, ("forward", "backward"), strict=True):
        ax.axvline(1, color=INK, linewidth=0.9, zorder=0)
        for row, case in enumerate(cases):
            found = shares[case][what]
            ax.plot([0, max(found.values())], [row, row], color=FAINT, zorder=0)
            for name, (label, color, marker, face) in LOOKS.items():
                if name in found:
                    look = {"color": color, "markerfacecolor": face, "markersize": 5.5}
                    (mark,) = ax.plot(found[name], row, marker, linestyle="none", **look)
                    seen.setdefault(label, mark)
        ax.set_xlabel(f"{what}, %")
    _scale(axes, cases, high)
    order: dict[str, Any] = {"ncols": 2 if len(seen) == 4 else 3, "numpoints": 1}
    fig.legend(seen.values(), seen.keys(), loc="outside upper center", fontsize=9.5, **order)
    return fig


def _scale(axes: Sequence[Any], cases: Sequence[str], high: float) -> None:
    """Both panels from 0 to ``high``; a row per case."""
    ticks = np.arange(0, high + 0.01, 0.5 if high > 1.3 else 0.25)
    for ax in axes:
        ax.set_xlim(-0.04, 1.06 * high)
        ax.set_xticks(ticks, [f"{100 * tick:.0f}" for tick in ticks])
    axes[0].set_yticks(range(len(cases)), cases, fontsize=9.5)
    for ax in axes:
        ax.tick_params(axis="y", length=0)
    axes[0].set_ylim(len(cases) - 0.45, -0.55)


@figure(
    alt=(
        "Measured time of norms in copies of the array. NumPy's steps take about ten. Fused "
        "kernels lie nearer to what the bytes ask for, except for few rows."
    )
)
def time_in_copies(
    times: Mapping[str, Mapping[str, float]], need: Mapping[str, float]
) -> CourseFigure:
    """Draw how many copies of its array each norm takes, by who computes it.

    Args:
        times: norm and pass -> program -> copies.
        need: norm and pass -> copies that its bytes ask for.
    """
    fig = card(0.9 + 0.7 * len(times))
    ax = fig.subplots()
    faces = {"NumPy": FAINT, "torch": RAW, "fused": HIGHLIGHT}
    for row, (case, found) in enumerate(times.items()):
        for k, (name, face) in enumerate(faces.items()):
            place, value = row + 0.26 * (k - 1), found[name]
            label = LOOKS[name][0] if row == 0 else None
            bar: dict[str, Any] = {
                "color": face,
                "edgecolor": OTHER,
                "linewidth": 0.8,
                "label": label,
            }
            ax.barh(place, value, height=0.24, **bar)
            ax.text(value + 0.3, place, f"{value:.1f}", ha="left", va="center", fontsize=9)
        ax.plot([need[case]] * 2, [row - 0.42, row + 0.42], color=INK, linewidth=1.4)
    ax.set_yticks(range(len(times)), times)
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(len(times) - 0.45, -0.55)
    ax.set_xlim(0, 1.12 * max(max(found.values()) for found in times.values()))
    ax.set_xlabel("time, in copies of the array")
    fig.legend(loc="outside upper center", ncols=3, fontsize=9.5)
    return fig

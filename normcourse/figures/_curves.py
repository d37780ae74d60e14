"""Curves of measured results: the median as a line, the middle half of the seeds as a band."""

from __future__ import annotations

from typing import Any, Protocol

from matplotlib.axes import Axes
from numpy.typing import NDArray

from normcourse.figures.palette import METHOD_COLORS, RAW

# The words of the experiments for a normalization -> colour, marker, line: never colour alone.
LOOKS: dict[str, tuple[str, str, str]] = {
    "none": (RAW, "o", "--"),
    "batch": (METHOD_COLORS["batch_norm"], "s", "-"),
    "layer": (METHOD_COLORS["layer_norm"], "^", "-"),
    "instance": (METHOD_COLORS["instance_norm"], "D", "-"),
    "group": (METHOD_COLORS["group_norm"], "v", "-"),
    "one group": (METHOD_COLORS["layer_norm"], "^", "-"),
    "rms": (METHOD_COLORS["rms_norm"], "P", "-"),
}


class Spreads(Protocol):
    """Median and middle half over seeds at each place: what an experiment's ``curve`` returns."""

    @property
    def x(self) -> NDArray[Any]: ...
    @property
    def median(self) -> NDArray[Any]: ...
    @property
    def low(self) -> NDArray[Any]: ...
    @property
    def high(self) -> NDArray[Any]: ...


def draw_curve(
    ax: Axes,
    curve: Spreads,
    *,
    color: str,
    label: str | None = None,
    marker: str | None = "o",
    linestyle: str = "-",
    label_at: float | None = None,
    above: bool = True,
) -> None:
    """Draw a median as a line and the middle half of the seeds as a band.

    Args:
        ax: where.
        curve: x, median, low and high, each of shape (K,).
        color: of line, band and label.
        label: written beside the line, in its colour, in place of a legend.
        marker: at each point; None for long curves.
        linestyle: of the line.
        label_at: the x where the label stands; by default that of the last point, to its right.
        above: whether a label inside the picture stands above the line or below it.
    """
    ax.fill_between(curve.x, curve.low, curve.high, color=color, alpha=0.18, linewidth=0)
    ax.plot(curve.x, curve.median, color=color, marker=marker, linestyle=linestyle, markersize=5)
    if label is None:
        return
    at = -1 if label_at is None else int(abs(curve.x - label_at).argmin())
    side = label_at is None
    ax.annotate(
        label,
        (curve.x[at], curve.median[at]),
        xytext=(6, 0) if side else (0, 7 if above else -7),
        textcoords="offset points",
        ha="left" if side else "center",
        va="center" if side else ("bottom" if above else "top"),
        color=color,
        annotation_clip=False,
    )

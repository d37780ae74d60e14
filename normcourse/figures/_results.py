"""What figures of measured results ask of a result; an experiment's ``Result`` has all of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, Self

from matplotlib.axes import Axes
from numpy.typing import NDArray

from normcourse.figures._curves import Spreads
from normcourse.figures.palette import INK


class Runs(Spreads, Protocol):
    """Median and middle half over seeds at each place, and every seed's own values."""

    @property
    def runs(self) -> Mapping[int, NDArray[Any]]: ...


class Rows(Protocol):
    """Tidy rows of several seeds."""

    def where(self, **wanted: Any) -> Self: ...
    def distinct(self, column: str) -> list[Any]: ...
    def values(self, column: str) -> list[Any]: ...
    def curve(self, x: str, y: str, **where: Any) -> Runs: ...


def draw_live(ax: Axes, live: Rows | None, x: str, y: str, **where: Any) -> None:
    """Draw each seed of a live slice as small dots, where the slice has such rows."""
    if live is None or any(value not in live.distinct(name) for name, value in where.items()):
        return
    curve = live.curve(x, y, **where)
    for values in curve.runs.values():
        ax.plot(curve.x, values, ".", color=INK, markersize=4, zorder=5)


def as_percent(ax: Axes, label: str, *, low: float = 0.0) -> None:
    """Let the y axis run from ``low`` to all, in percent."""
    ax.set_ylim(low, 1.03)
    ticks = [tick / 100 for tick in range(0, 101, 20) if tick / 100 >= low]
    ax.set_yticks(ticks, [f"{100 * tick:.0f}" for tick in ticks])
    ax.set_ylabel(label)

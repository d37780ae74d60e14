"""Chapter 16: digits that cancel, epsilon and half precision, bytes, and shares of the time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.ticker import NullLocator
from numpy.typing import ArrayLike

from normcourse.figures._base import CourseFigure, card, figure
from normcourse.figures._curves import LOOKS
from normcourse.figures._results import Rows, draw_live
from normcourse.figures.palette import FAINT, INK, METHOD_COLORS, OTHER, RAW
from normcourse.figures.small_batches import percent_axis, size_axis

RED, BLUE, GREEN = (METHOD_COLORS[f"{name}_norm"] for name in ("layer", "batch", "instance"))
# A way to compute the variance -> colour, marker, line.
WAYS: dict[str, tuple[str, str, str]] = {
    "one pass": (RED, "^", "-"),
    "Welford": (GREEN, "D", "-."),
    "merged": (METHOD_COLORS["group_norm"], "v", "--"),
    "two passes": (BLUE, "s", "-"),
    "one pass, shifted": (METHOD_COLORS["rms_norm"], "P", ":"),
}
DTYPES: dict[str, tuple[str, float]] = {  # dtype -> marker, half a step at 1
    "float16": ("v", 2.0**-11),
    "float32": ("^", 2.0**-24),
    "float64": ("o", 2.0**-53),
}


@figure(
    alt=(
        "Computed variance over true variance for rows of values, against mean over standard "
        "deviation. Up to 1,000 all lie near 1; at 10,000 they are 0, about −10 or 10."
    )
)
def computed_over_true(found: Mapping[float, ArrayLike]) -> CourseFigure:
    """Draw what one pass makes of the variance, one dot per row of values.

    Args:
        found: ratio of mean to standard deviation -> computed over true variance, shape (K,).
    """
    fig = card(2.7)
    ax = fig.subplots()
    ax.axhspan(-1e3, 0, color=FAINT, alpha=0.6, linewidth=0)
    ax.axhline(1, color=INK, linewidth=0.9)
    for place, values in enumerate(found.values()):
        y = np.asarray(values)
        x = place + np.linspace(-0.3, 0.3, len(y))
        color = [RED if value < 0 else RAW for value in y]
        ax.scatter(x, y, s=14, color=color, zorder=3)
    ax.set_yscale("symlog", linthresh=2)
    limit = max(10.0, 1.5 * max(float(np.abs(np.asarray(v)).max()) for v in found.values()))
    ax.set_ylim(-limit, limit)
    ax.set_yticks([-10, -1, 0, 1, 10], ["−10", "−1", "0", "1", "10"])
    ax.yaxis.set_minor_locator(NullLocator())
    ax.set_xticks(range(len(found)), [f"{ratio:,.0f}" for ratio in found])
    ax.set_xlabel("mean / standard deviation")
    ax.set_ylabel("computed / true variance")
    ax.text(-0.4, -2.2, "below 0", color=RED, ha="left", va="top")
    return fig


@figure(
    alt=(
        "A parabola of squared distances from the mean, and what is left of it after squaring near "
        "{mean:,.0f} in float32: dots scattered up to {off:.0f} away."
    )
)
def squares_on_the_grid(mean: float, off: float, points: int = 137) -> CourseFigure:
    """Draw d^2 as it is, and as it comes out of the float32 square of mean + d.

    Args:
        mean: of the values, exact in float32.
        off: half the distance of neighbouring float32 numbers near mean^2.
        points: values drawn between 3 below the mean and 3 above it.
    """
    x = np.float32(mean + np.linspace(-3, 3, points))
    d = x.astype(np.float64) - mean
    kept = np.square(x).astype(np.float64) - mean**2 - 2 * mean * d
    fig = card(2.7)
    ax = fig.subplots()
    ax.plot(d, kept, "o", color=RED, markersize=3)
    ax.plot(d, d**2, color=INK)
    ax.text(0, 9.5, "squared in float32", color=RED, ha="center", va="bottom")
    ax.annotate("$d^2$", (3.0, 9.0), xytext=(6, 0), textcoords="offset points", va="center")
    ax.set_ylim(-1.4 * off, 9 + 1.2 * off)
    ax.set_xlabel("d, distance from the mean")
    ax.set_ylabel("what is left of d²")
    return fig


@figure(
    alt=(
        "Relative error of the one-pass variance against mean over standard deviation, both "
        "logarithmic. Three parallel lines of slope two: float16 high, float32, float64 low."
    )
)
def cancelled_digits(full: Rows, live: Rows | None = None) -> CourseFigure:
    """Draw the error of one pass in each dtype, beside the square law.

    Args:
        full: rows with ``dtype``, ``ratio``, ``method``, ``error``.
        live: the same of a live slice, drawn as dots.
    """
    fig = card(3.2)
    ax = fig.subplots()
    for dtype in full.distinct("dtype"):
        curve = full.curve("ratio", "error", dtype=dtype, method="one pass")
        marker, unit = DTYPES[dtype]
        ends = np.array([curve.x[0], curve.x[-1]])
        ax.plot(ends, unit * ends**2, color=FAINT, zorder=0)
        ax.fill_between(curve.x, curve.low, curve.high, color=RED, alpha=0.2, linewidth=0)
        ax.plot(curve.x, curve.median, color=RED, marker=marker, markersize=6)
        ax.annotate(
            dtype,
            (curve.x[0], curve.median[0]),
            xytext=(9, -3),
            textcoords="offset points",
            ha="left",
            va="center",
            fontsize=9,
        )
        draw_live(ax, live, "ratio", "error", dtype=dtype, method="one pass")
    ax.axhline(1, color=OTHER, linestyle="--", linewidth=1)
    _error_axes(ax, full)
    where = ax.get_yaxis_transform()
    words = "no digit is right"
    ax.text(0.7, 1.6, words, color=OTHER, ha="center", va="bottom", fontsize=10, transform=where)
    return fig


@figure(
    alt=(
        "Relative error of ways to compute a {dtype} variance. One pass rises with the square "
        "of the ratio, Welford and merging with the ratio; two passes and shifted stay low."
    )
)
def ways_to_a_variance(full: Rows, dtype: str = "float32") -> CourseFigure:
    """Draw the error of each way against the ratio of mean to standard deviation.

    Args:
        full: rows with ``dtype``, ``ratio``, ``method``, ``error``.
        dtype: which one.
    """
    fig = card(3.4)
    ax = fig.subplots()
    chosen = full.where(dtype=dtype)
    for name, (color, marker, line) in WAYS.items():
        if name in chosen.distinct("method"):
            curve = chosen.curve("ratio", "error", method=name)
            ax.fill_between(curve.x, curve.low, curve.high, color=color, alpha=0.2, linewidth=0)
            ax.plot(curve.x, curve.median, color=color, marker=marker, linestyle=line, label=name)
    _error_axes(ax, chosen)
    ax.legend(loc="upper left", handlelength=3, fontsize=10)
    return fig


def _error_axes(ax: Any, full: Rows) -> None:
    """Both axes logarithmic: ratios of mean to standard deviation, relative errors."""
    ratios = full.distinct("ratio")
    step = 1 if len(ratios) < 8 else 2
    ticks = sorted(ratios)[::step]
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xticks(ticks, [f"$10^{{{round(np.log10(r))}}}$" if r > 1 else "1" for r in ticks])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_minor_locator(NullLocator())
    ax.set_xlabel("mean / standard deviation")
    ax.set_ylabel("relative error of the variance", fontsize=10.5)


@figure(
    alt=(
        "Output spread against input spread. Each curve rises from 0 to 1 near its eps's root; "
        "marks of float16 leave the curves where values are small."
    )
)
def spread_after_eps(
    sizes: ArrayLike,
    wide: Mapping[float, ArrayLike],
    half: Mapping[float, ArrayLike],
) -> CourseFigure:
    """Draw how large the output is, for several eps.

    Args:
        sizes: standard deviations of the input, shape (K,).
        wide: eps -> standard deviation of the output, statistics in float32, shape (K,).
        half: the same, every step in float16; NaN where no number comes out.
    """
    fig = card(2.9)
    ax = fig.subplots()
    x = np.asarray(sizes)
    for eps, color, marker in zip(wide, (BLUE, RED, GREEN), ("s", "^", "D"), strict=False):
        ax.plot(x, np.asarray(wide[eps]), color=color)
        look: dict[str, Any] = {"color": color, "markersize": 5, "markerfacecolor": "white"}
        ax.plot(x, np.asarray(half[eps]), marker, label=f"eps = {eps:g}", **look)
    ax.set_xscale("log")
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_ylim(-0.05, 1.12)
    ax.set_xlabel("standard deviation of the input")
    ax.set_ylabel("of the output")
    ax.legend(loc="center right", fontsize=10.5)
    return fig


@figure(
    alt=(
        "Arrays read and written per norm, forward and backward. Light bars: written step by step. "
        "Dark bars, many times shorter: needed at least, 2 to 5."
    )
)
def arrays_moved(
    need: Mapping[str, tuple[float, float]], steps: Mapping[str, tuple[float, float]]
) -> CourseFigure:
    """Draw bytes in units of one array of x's size, as needed and as moved step by step.

    Args:
        need: name of a norm -> arrays forward and backward, at least.
        steps: the same, of NumPy code in which each operation goes to memory.
    """
    fig = card(2.9)
    axes = fig.subplots(1, 2, sharey=True)
    names = list(need)
    for k, (ax, what) in enumerate(zip(axes, ("forward", "backward"), strict=True)):
        place = np.arange(len(names))
        few, many = ([table[name][k] for name in names] for table in (need, steps))
        ax.barh(place + 0.2, many, height=0.38, color=FAINT, edgecolor=OTHER, linewidth=0.8)
        ax.barh(place - 0.2, few, height=0.38, color=INK)
        for at, (small, large) in enumerate(zip(few, many, strict=True)):
            ax.text(small + 0.5, at - 0.2, f"{small:.0f}", ha="left", va="center", fontsize=9)
            ax.text(large + 0.5, at + 0.2, f"{large:.0f}", ha="left", va="center", fontsize=9)
        ax.set_xlim(0, 1.2 * max(max(pair) for pair in steps.values()))
        ax.set_xlabel(f"arrays, {what}")
    axes[0].set_yticks(np.arange(len(names)), names)
    axes[0].tick_params(axis="y", length=0)
    axes[0].invert_yaxis()
    return fig


@figure(
    alt=(
        "Time of operations on one large array, in copies of it. ReLU and torch's layer norm take "
        "about one copy, layer norm step by step several, a matrix product most."
    )
)
def in_copies(full: Rows) -> CourseFigure:
    """Draw how many copies of an array each operation takes.

    Args:
        full: rows of ``net`` "memory" with ``norm`` (the operation) and ``copies``.
    """
    chosen = full.where(net="memory")
    names = chosen.distinct("norm")
    fig = card(2.5)
    ax = fig.subplots()
    ax.axvline(1, color=FAINT, zorder=0)
    for row, name in enumerate(names):
        values = np.array(chosen.where(norm=name).values("copies"))
        color = RED if "layer norm" in name else RAW
        ax.plot(values, np.full(len(values), row), ".", color=color, alpha=0.5, markersize=7)
        ax.plot(np.median(values), row, "|", color=color, markersize=16, markeredgewidth=2.5)
    ax.set_yticks(range(len(names)), names)
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_xscale("log")
    ax.set_xticks([1, 2, 5, 10], ["1", "2", "5", "10"])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlabel("time, in copies of the array")
    return fig


@figure(
    alt=(
        "Share of a training step that norms take, against width, for three norms. Left, torch's "
        "layers; right, the course's, which take more. Shares are smaller in wide nets."
    )
)
def share_by_width(full: Rows, live: Rows | None = None) -> CourseFigure:
    """Draw shares of the fully connected net, one panel per kind of layers.

    Args:
        full: rows with ``net``, ``size``, ``norm``, ``layers``, ``pass``, ``share``.
        live: the same of a live slice, drawn as dots.
    """
    fig = card(3.1)
    axes = fig.subplots(1, 2, sharey=True)
    chosen = full.where(net="mlp", **{"pass": "step"})
    now = live and live.where(net="mlp", **{"pass": "step"})
    for ax, layers in zip(axes, ("torch", "course"), strict=True):
        ax.axhline(0.2, color=OTHER, linestyle="--", linewidth=1)
        for norm in chosen.distinct("norm"):
            if norm == "none":
                continue
            color, marker, line = LOOKS[norm]
            curve = chosen.curve("size", "share", norm=norm, layers=layers)
            ax.fill_between(curve.x, curve.low, curve.high, color=color, alpha=0.18, linewidth=0)
            ax.plot(curve.x, curve.median, color=color, marker=marker, linestyle=line, label=norm)
            draw_live(ax, now or None, "size", "share", norm=norm, layers=layers)
        size_axis(ax, chosen.distinct("size"), "")
        ax.tick_params(axis="x", labelsize=9.5)
        words = {"torch": "torch's layers", "course": "the course's layers"}[layers]
        ax.text(0.5, 1.03, words, ha="center", va="bottom", transform=ax.transAxes, fontsize=10)
    axes[0].legend(loc="upper right", fontsize=10, handlelength=2.2)
    fig.supxlabel("width of the four hidden layers", fontsize=11)
    percent_axis(axes[0], "share of the step, %", 0.85, 0.2, low=-0.06)
    return fig


@figure(
    alt=(
        "Share of norms in the time of small nets, training and inference, a mark per norm. It is "
        "largest in narrow nets; folded batch norm lies at 0."
    )
)
def share_by_net(full: Rows, nets: Sequence[tuple[str, int, str]]) -> CourseFigure:
    """Draw the share of torch's norms in several nets, training left and inference right.

    Args:
        full: rows with ``net``, ``size``, ``norm``, ``layers``, ``pass``, ``share``.
        nets: net, size, and what they are called.
    """
    fig = card(3.0)
    axes = fig.subplots(1, 2, sharey=True)
    seen: dict[str, Any] = {}
    for ax, what in zip(axes, ("step", "inference"), strict=True):
        ax.axvline(0.2, color=OTHER, linestyle="--", linewidth=1)
        ax.axvline(0, color=FAINT, zorder=0)
        for row, (net, size, _) in enumerate(nets):
            here = full.where(net=net, size=size, **{"pass": what})
            drawn = [(n, "torch") for n in here.distinct("norm") if n != "none"]
            if "folded" in here.distinct("layers"):
                drawn.append(("batch", "folded"))
            for k, (norm, layers) in enumerate(drawn):
                values = np.array(here.where(norm=norm, layers=layers).values("share"))
                low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
                color, marker, _ = LOOKS[norm]
                y = row + 0.16 * (k - (len(drawn) - 1) / 2)
                ax.plot([low, high], [y, y], color=color, linewidth=1.5)
                face = "white" if layers == "folded" else color
                (mark,) = ax.plot(median, y, marker, color=color, markerfacecolor=face)
                seen.setdefault("batch, folded" if layers == "folded" else norm, mark)
        ax.set_xlim(-0.14, 0.64)
        ax.set_xticks([0, 0.2, 0.4, 0.6], ["0", "20", "40", "60"])
        ax.set_xlabel({"step": "training step, %", "inference": "inference, %"}[what])
    axes[0].set_yticks(range(len(nets)), [words for *_, words in nets])
    axes[0].tick_params(axis="y", length=0)
    axes[0].set_ylim(len(nets) - 0.45, -0.55)
    fig.legend(
        seen.values(), seen.keys(), loc="outside upper center", ncols=3, fontsize=9.5, numpoints=1
    )
    return fig


@figure(
    alt=(
        "Error of half-precision layer norm against the input's spread, two panels. Sums in "
        "float16 are lost where they overflow; float32 statistics stay at rounding."
    )
)
def norm_in_half(sizes: ArrayLike, errors: Mapping[str, Mapping[str, ArrayLike]]) -> CourseFigure:
    """Draw the error of layer norm of half-precision inputs, by how its sums are taken.

    Args:
        sizes: standard deviations of the input, shape (K,).
        errors: dtype -> way to sum -> errors in units of rounding, shape (K,); infinite where no
            number came out.
    """
    fig = card(3.1)
    axes = np.atleast_1d(fig.subplots(1, len(errors), sharey=True))
    x = np.asarray(sizes)
    for ax, (word, ways) in zip(axes, errors.items(), strict=True):
        looks = zip(ways.items(), (RED, BLUE), ("^", "s"), strict=True)
        for (label, found), color, marker in looks:
            y = np.asarray(found)
            kept = np.isfinite(y)
            ax.plot(
                x, np.where(kept, y, np.nan), color=color, marker=marker, markersize=5, label=label
            )
            ax.plot(x[~kept], np.full((~kept).sum(), 12.0), "x", color=color, markersize=6)
        ax.axhline(9, color=FAINT, linewidth=0.8)
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_ylim(0.8, 16)
        ax.set_yticks([1, 2, 5, 12], ["1", "2", "5", "lost"])
        ax.xaxis.set_minor_locator(NullLocator())
        ax.yaxis.set_minor_locator(NullLocator())
        ax.text(0.5, 1.03, word, ha="center", va="bottom", transform=ax.transAxes)
    axes[0].set_ylabel("error, in roundings")
    fig.supxlabel("standard deviation of the input", fontsize=11)
    fig.legend(
        *axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2, fontsize=9.5
    )
    return fig

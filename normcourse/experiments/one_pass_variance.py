"""The variance of the same values, computed in several ways, each in the values' own dtype.

Values lie around a mean between 1 and 2 with a standard deviation that is the mean over ``ratio``,
so that nothing overflows and nothing is lost but digits. Every method computes in the dtype of the
values, with NumPy's own sums; those of float16 run in float32 inside and are rounded once. The
exact variance of the rounded values comes from fractions.

Source: Chan, Golub & LeVeque, "Algorithms for Computing the Sample Variance", 1983.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from normcourse.experiments.experiment import Experiment
from normcourse.experiments.result import Effect, Result, Row, Spread, Verdict, spread

Array = NDArray[Any]
CHUNK = 64  # values of one part that is merged with the others


def _mean(values: Array) -> Array:
    """Return the means over the last axis, summed in the dtype of the values."""
    return np.add.reduce(values, axis=-1) / values.dtype.type(values.shape[-1])  # type: ignore[no-any-return]


def one_pass(x: Array) -> Array:
    """Return mean(x^2) - mean(x)^2 over the last axis.

    Example:
        >>> float(one_pass(np.array([2.0, 4.0, 6.0, 8.0])))
        5.0
    """
    return _mean(x * x) - np.square(_mean(x))


def one_pass_wider(x: Array) -> Array:
    """Return the same difference, with squares and sums in float64."""
    return one_pass(x.astype(np.float64))


def shifted(x: Array) -> Array:
    """Return the same difference of x minus its first value: still one pass."""
    return one_pass(x - x[..., :1])


def two_passes(x: Array) -> Array:
    """Return mean((x - mean)^2)."""
    return _mean(np.square(x - _mean(x)[..., None]))


def welford(x: Array) -> Array:
    """Update mean and sum of squared distances value by value.

    Source:
        Welford, "Note on a Method for Calculating Corrected Sums of Squares and Products", 1962.

    Example:
        >>> float(welford(np.array([2.0, 4.0, 6.0, 8.0])))
        5.0
    """
    mean, squares = x[..., 0], np.zeros_like(x[..., 0])
    for k in range(1, x.shape[-1]):
        gap = x[..., k] - mean
        mean = mean + gap / x.dtype.type(k + 1)
        squares = squares + gap * (x[..., k] - mean)
    return squares / x.dtype.type(x.shape[-1])  # type: ignore[no-any-return]


def merged(x: Array) -> Array:
    """Merge the two-pass moments of parts of ``CHUNK`` values, two by two.

    Example:
        >>> float(merged(np.arange(256.0)) - np.arange(256.0).var())
        0.0
    """
    parts = x.reshape(*x.shape[:-1], -1, min(CHUNK, x.shape[-1]))
    mean, var = _mean(parts), two_passes(parts)
    half, quarter = x.dtype.type(0.5), x.dtype.type(0.25)
    while mean.shape[-1] > 1:  # parts of equal size: every share is a half
        gap = mean[..., 1::2] - mean[..., ::2]
        mean = mean[..., ::2] + half * gap
        var = half * (var[..., ::2] + var[..., 1::2]) + quarter * gap * gap
    return var[..., 0]


METHODS: dict[str, Callable[[Array], Array]] = {
    "one pass": one_pass,
    "one pass, float64": one_pass_wider,
    "one pass, shifted": shifted,
    "two passes": two_passes,
    "Welford": welford,
    "merged": merged,
}


def draw(
    rng: np.random.Generator, dtype: str, ratio: float, *, draws: int, values: int
) -> tuple[Array, Array]:
    """Return values of shape (draws, values) and the exact variance of each row, as float64."""
    mean = rng.uniform(1.2, 1.8, (draws, 1))
    x = (mean * (1 + rng.normal(0, 1, (draws, values)) / ratio)).astype(dtype)
    exact = [statistics.pvariance([float(v) for v in row]) for row in x]  # by fractions
    return x, np.array(exact)


def run(
    seed: int, *, ratios: dict[str, list[float]], methods: list[str], draws: int, values: int
) -> Iterator[Row]:
    """Yield a row per dtype, ratio of mean to standard deviation, and method.

    ``error`` is the median over the draws of the relative error of the variance, ``worst`` the
    largest one, ``negative`` the share of draws whose variance came out below 0.
    """
    for dtype, list_of_ratios in ratios.items():
        for ratio in list_of_ratios:
            rng = np.random.default_rng([seed, int(4 * math.log10(ratio))])
            x, exact = draw(rng, dtype, ratio, draws=draws, values=values)
            for name in methods:
                found = METHODS[name](x).astype(np.float64)
                error = np.abs(found - exact) / exact
                yield {
                    "dtype": dtype,
                    "ratio": ratio,
                    "method": name,
                    "error": float(np.median(error)),
                    "worst": float(error.max()),
                    "negative": float(np.mean(found < 0)),
                }


def error_at(result: Result, dtype: str, ratio: float, method: str) -> Spread:
    """Return the relative error at one place, over the seeds."""
    return result.spread("error", dtype=dtype, ratio=ratio, method=method)


def one_pass_is_fine(result: Result) -> Verdict:
    """Is mean(x^2) - mean(x)^2 good enough in float32?

    Supported if its relative error stays below a thousandth at every ratio of mean to standard
    deviation up to a thousand, refuted if it does not at some. Medians over seeds.
    """
    ratios = [r for r in result.where(dtype="float32").distinct("ratio") if r <= 1000]
    found = {r: error_at(result, "float32", r, "one pass") for r in ratios}
    effects = tuple(Effect(f"relative error, mean {r:.0f} stds", s) for r, s in found.items())
    fine = all(s.median < 1e-3 for s in found.values())
    return Verdict("supported" if fine else "refuted", effects)


def goes_negative(result: Result) -> Verdict:
    """Does a variance below 0 come out of one pass in float32?

    Supported if at some ratio at least a tenth of the draws are negative, refuted if none is at
    any ratio, else mixed. Medians over seeds of the largest share.
    """
    rows = result.where(dtype="float32", method="one pass").rows
    most = spread(
        max(float(row["negative"]) for row in rows if row["seed"] == seed) for seed in result.seeds
    )
    effects = (Effect("largest share of negative variances", most),)
    if most.median >= 0.1:
        return Verdict("supported", effects)
    return Verdict("mixed" if most.high > 0 else "refuted", effects)


def others_hold(result: Result) -> Verdict:
    """Do two passes, Welford's update, and merging keep the digits?

    Supported if in float32 at a mean of a thousand standard deviations the relative error of each
    is below a thousandth, refuted if none is, else mixed. Medians over seeds.
    """
    names = ("two passes", "Welford", "merged")
    found = {name: error_at(result, "float32", 1000.0, name) for name in names}
    effects = tuple(Effect(f"relative error, {name}", s) for name, s in found.items())
    good = [s.median < 1e-3 for s in found.values()]
    return Verdict("supported" if all(good) else "mixed" if any(good) else "refuted", effects)


def grows_with_the_square(result: Result) -> Verdict:
    """Does the error of one pass grow with the square of the ratio?

    Supported if in float32 and in float64 ten times the ratio, from 10 to 100 and from 100 to
    1000, makes the error 50 to 200 times as large; refuted if it is below 20 in each; else mixed.
    Medians over seeds.
    """
    steps = [(dtype, low) for dtype in ("float32", "float64") for low in (10.0, 100.0)]
    found = {}
    for dtype, low in steps:
        at = {
            (row["seed"], row["ratio"]): float(row["error"])
            for row in result.where(dtype=dtype, method="one pass").rows
        }
        found[dtype, low] = spread(at[seed, 10 * low] / at[seed, low] for seed in result.seeds)
    effects = tuple(
        Effect(f"growth from {low:.0f} to {10 * low:.0f} stds, {dtype}", s, "times")
        for (dtype, low), s in found.items()
    )
    medians = [s.median for s in found.values()]
    if all(50 <= m <= 200 for m in medians):
        return Verdict("supported", effects)
    return Verdict("refuted" if max(medians) < 20 else "mixed", effects)


EXPERIMENT = Experiment(
    name="one_pass_variance",
    question="How many digits of a variance survive where the mean is large?",
    run=run,
    live={
        "ratios": {"float32": [10.0, 100.0, 1000.0, 10000.0]},
        "methods": ["one pass", "two passes", "merged"],
        "draws": 8,
        "values": 1024,
    },
    full={
        "ratios": {
            "float16": [1.0, 10.0, 100.0],
            "float32": [1.0, 10.0, 100.0, 1e3, 1e4, 1e5],
            "float64": [1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9],
        },
        "methods": list(METHODS),
        "draws": 40,
        "values": 1024,
    },
    decisions={
        "one_pass_is_fine": one_pass_is_fine,
        "goes_negative": goes_negative,
        "others_hold": others_hold,
        "grows_with_the_square": grows_with_the_square,
    },
)

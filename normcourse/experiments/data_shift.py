"""What does it cost when training and test inputs come from two distributions, and what helps?

Two kinds of rows. ``data`` = "curve": points on y = x³ - x with noise; the training x lie elsewhere
than the test x. A line or a cubic is fitted by least squares, each training point with weight

    "none"       1
    "known"      density of the test x / density of the training x
    "estimated"  the same ratio, from a logistic regression that tells training x from test x
    "test"       fitted to as many labelled test points: what one would like to have

and ``error`` is the mean squared distance to the curve at new test x.

``data`` = "digits": a classifier is trained on images of the first half of scikit-learn's digits in
the order of their file, and tested on images of the second half; or after shuffling. ``shift`` is
the largest standardized mean difference over the pixels, ``p`` that of a permutation test on it.

Sources: Shimodaira 2000 (the curve, the weights); Alpaydin & Kaynak 1998 (digits).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from normcourse.experiments.experiment import Experiment
from normcourse.experiments.result import Effect, Outcome, Result, Row, Spread, Verdict, spread

Array = NDArray[np.float64]

TRAIN, TEST = (0.5, 0.5), (0.0, 0.3)  # mean and standard deviation of x
NOISE = 0.3
DEGREES = {"line": 1, "cubic": 3}
WEIGHTS = ("none", "known", "estimated", "test")


def curve(x: Array) -> Array:
    """Return the curve that the points scatter about."""
    return x**3 - x


def density_ratio(x: Array) -> Array:
    """Return the density of the test x over that of the training x, at x."""
    return _normal(x, *TEST) / _normal(x, *TRAIN)


def estimated_ratio(train: Array, test: Array) -> Array:
    """Return the density ratio at the training x, (N,), from samples of both: odds / odds at large.

    The classifier sees x and x², which is enough for two normal distributions.
    """
    both = np.concatenate([train, test])
    origin = np.concatenate([np.zeros(len(train)), np.ones(len(test))])
    model = LogisticRegression(C=1e3).fit(np.column_stack([both, both**2]), origin)
    log_odds: Array = model.decision_function(np.column_stack([train, train**2]))
    return np.exp(log_odds) * len(train) / len(test)


def effective_size(weights: Array) -> float:
    """Return how many equally weighted examples vary as little: (sum of w)² / sum of w².

    Example:
        >>> effective_size(np.array([1.0, 1.0, 1.0, 0.0]))
        3.0
    """
    return float(weights.sum() ** 2 / np.square(weights).sum())


def largest_mean_difference(a: Array, b: Array, eps: float = 1e-5) -> float:
    """Return the largest standardized mean difference over the features of (N, D) and (M, D)."""
    scale = np.sqrt((a.var(axis=0) + b.var(axis=0)) / 2 + eps)
    return float(np.max(np.abs(a.mean(axis=0) - b.mean(axis=0)) / scale))


def permutation_test(
    a: Array, b: Array, rng: np.random.Generator, *, rounds: int
) -> tuple[float, float]:
    """Return the largest standardized mean difference, and how often chance gives one as large.

    Args:
        a: first sample, shape (N, D).
        b: second sample, shape (M, D).
        rng: draws the permutations.
        rounds: how many.

    Returns:
        the statistic, and p = (1 + rounds that reach it) / (1 + rounds).
    """
    seen, both = largest_mean_difference(a, b), np.concatenate([a, b])
    reached = 0
    for _ in range(rounds):
        order = rng.permutation(len(both))
        mixed = largest_mean_difference(both[order[: len(a)]], both[order[len(a) :]])
        reached += mixed >= seen
    return seen, (1 + reached) / (1 + rounds)


def run(
    seed: int, *, examples: int, models: Sequence[str], images: int, rounds: int
) -> Iterator[Row]:
    """Yield the rows of the curve, then those of the digits.

    Args:
        seed: draws points, images and permutations.
        examples: training points, and as many test points.
        models: words of ``DEGREES``.
        images: how many of each half of the digits.
        rounds: permutations of each test.

    Yields:
        ``data`` "curve" with ``model``, ``weights``, ``error``, ``effective``; ``data`` "digits"
        with ``order`` ("stored" or "shuffled"), ``right``, ``shift``, ``p``.
    """
    rng = np.random.default_rng(seed)
    yield from _curve_rows(rng, examples, models)
    yield from _digit_rows(rng, images, rounds)


def _curve_rows(rng: np.random.Generator, examples: int, models: Sequence[str]) -> Iterator[Row]:
    x, x_test = rng.normal(*TRAIN, examples), rng.normal(*TEST, examples)
    t, t_test = (curve(part) + rng.normal(0, NOISE, examples) for part in (x, x_test))
    new = rng.normal(*TEST, 5000)
    ones = np.ones(examples)
    choices = {
        "none": (x, t, ones),
        "known": (x, t, density_ratio(x)),
        "estimated": (x, t, estimated_ratio(x, x_test)),
        "test": (x_test, t_test, ones),
    }
    for model in models:
        for name, (points, values, weights) in choices.items():
            fitted = np.polyfit(points, values, DEGREES[model], w=np.sqrt(weights))
            yield {
                "data": "curve",
                "model": model,
                "weights": name,
                "error": float(np.square(np.polyval(fitted, new) - curve(new)).mean()),
                "effective": effective_size(weights),
            }


def _digit_rows(rng: np.random.Generator, images: int, rounds: int) -> Iterator[Row]:
    bundle = load_digits()
    x, t = bundle.data / 16, bundle.target
    for order in ("stored", "shuffled"):
        places = np.arange(len(x)) if order == "stored" else rng.permutation(len(x))
        first, second = np.array_split(places, 2)
        train, test = (rng.choice(half, images, replace=False) for half in (first, second))
        shift, p = permutation_test(x[train], x[test], rng, rounds=rounds)
        model: Any = LogisticRegression(max_iter=2000).fit(x[train], t[train])
        yield {
            "data": "digits",
            "order": order,
            "right": float(model.score(x[test], t[test])),
            "shift": shift,
            "p": p,
        }


def _normal(x: Array, mean: float, std: float) -> Array:
    density: Array = np.exp(-np.square((x - mean) / std) / 2) / (std * np.sqrt(2 * np.pi))
    return density


# ------------------------------------------------------------------------------------ decisions


def _error_ratio(result: Result, model: str) -> Spread:
    """Return the spread of error with estimated weights / error without weights."""
    rows = result.where(data="curve", model=model)
    with_, without = (
        {int(row["seed"]): float(row["error"]) for row in rows.where(weights=name).rows}
        for name in ("estimated", "none")
    )
    return spread(with_[seed] / without[seed] for seed in with_)


def weights_help_a_wrong_model(result: Result) -> Verdict:
    """Do importance weights lower the test error of a model that cannot fit the curve?

    Supported if the median ratio of errors of the line, weighted by estimated weights / not
    weighted, is below 0.5, refuted if above 1, else mixed.
    """
    ratio = _error_ratio(result, "line")
    outcome: Outcome = (
        "supported" if ratio.median < 0.5 else "refuted" if ratio.median > 1 else "mixed"
    )
    return Verdict(outcome, (Effect("error of the line, weighted / not", ratio),))


def weights_always_help(result: Result) -> Verdict:
    """Do importance weights lower the test error of every model, also of one that is right?

    Supported if the median ratio of errors is below 0.9 for line and cubic, refuted if it is above
    1.1 for one of them, else mixed.
    """
    ratios = {model: _error_ratio(result, model) for model in DEGREES}
    medians = [ratio.median for ratio in ratios.values()]
    outcome: Outcome = (
        "supported" if max(medians) < 0.9 else "refuted" if max(medians) > 1.1 else "mixed"
    )
    return Verdict(
        outcome,
        tuple(Effect(f"error of the {name}, weighted / not", r) for name, r in ratios.items()),
    )


def stored_order_is_a_shift(result: Result) -> Verdict:
    """Does the order of the digits' file hide a shift that the test finds and that costs accuracy?

    Supported if p is below 0.05 in nine tenths of the seeds for the stored order and in at most
    two tenths of them for the shuffled one, and the accuracy in the stored order is lower (median
    difference above 1 percentage point); refuted if p is below 0.05 in less than half of the seeds
    for the stored order; else mixed.
    """
    digits = result.where(data="digits")
    stored, shuffled = (digits.where(order=order) for order in ("stored", "shuffled"))
    found, chance = (
        sum(float(p) < 0.05 for p in part.values("p")) / len(part.rows)
        for part in (stored, shuffled)
    )
    lost = spread(
        100 * (float(a) - float(b))
        for a, b in zip(shuffled.values("right"), stored.values("right"), strict=True)
    )
    effects = (
        Effect("p, stored order", stored.spread("p")),
        Effect("p, shuffled", shuffled.spread("p")),
        Effect("accuracy lost", lost, "percentage points"),
    )
    if found >= 0.9 and chance <= 0.2 and lost.median > 1:
        return Verdict("supported", effects)
    return Verdict("refuted" if found < 0.5 else "mixed", effects)


EXPERIMENT = Experiment(
    name="data_shift",
    question="What does it cost when training and test inputs differ, and do weights mend it?",
    run=run,
    live={"examples": 200, "models": ["line", "cubic"], "images": 700, "rounds": 99},
    full={"examples": 200, "models": ["line", "cubic"], "images": 700, "rounds": 499},
    full_seeds=20,
    decisions={
        "weights_help_a_wrong_model": weights_help_a_wrong_model,
        "weights_always_help": weights_always_help,
        "stored_order_is_a_shift": stored_order_is_a_shift,
    },
)

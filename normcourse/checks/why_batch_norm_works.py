"""Chapter 05: the numbers behind the explanations of why BatchNorm works."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from normcourse.checks.draws import as_float32
from normcourse.checks.exercise import Case, Exercise, Inputs, Mistake, Stage

_NOTEBOOK = "05_why_batch_norm_works"

# ---------------------------------------------------------------- gradient_change

_SMOOTH_SECTION = "Smoothness: does the gradient hold along a step"


def _change_reference(grads: Any, step_lengths: Any) -> float:
    steps = np.sqrt(np.sum(np.diff(grads, axis=0) ** 2, axis=1))
    return float(np.max(steps / step_lengths))


_NORMS: dict[str, Callable[[Any], Any]] = {
    "l2": lambda d: np.sqrt((d * d).sum(axis=1)),
    "squared": lambda d: (d * d).sum(axis=1),
    "l1": lambda d: np.abs(d).sum(axis=1),
    "max": lambda d: np.abs(d).max(axis=1),
    "mean": lambda d: np.sqrt((d * d).mean(axis=1)),
    "all": lambda d: np.sqrt((d * d).sum()),
}
_PICKS: dict[str, Callable[[Any], Any]] = {
    "max": np.max,
    "mean": np.mean,
    "min": np.min,
    "sum": np.sum,
    "last": lambda values: values[-1],
}


def _change_variant(
    grads: Any,
    step_lengths: Any,
    *,
    between: str = "neighbours",
    norm: str = "l2",
    divide: str = "each",
    pick: str = "max",
) -> Any:
    measure = _NORMS[norm]
    if between == "norms":
        sizes = measure(np.abs(np.diff(measure(grads)))[:, None])
    elif between == "last_axis":
        sizes = measure(np.diff(grads))
    else:
        sizes = measure(np.diff(grads, axis=0) if between == "neighbours" else grads[1:] - grads[0])
    along = np.cumsum(step_lengths)
    divisor = {
        "each": step_lengths,
        "nothing": 1.0,
        "squared": step_lengths**2,
        "way": along,
        "mean": step_lengths.mean(),
        "longest": step_lengths.max(),
        "gradient": np.sqrt((grads[:-1] ** 2).sum(axis=1)),
        "multiply": 1 / step_lengths,
    }[divide]
    return float(_PICKS[pick](np.atleast_1d(sizes / divisor)))


def _change_cases(rng: np.random.Generator) -> Iterator[Case]:
    def line(points: int, size: int) -> Inputs:
        return {
            "grads": rng.normal(1.0, 2.0, (points, size)),
            "step_lengths": np.round(rng.uniform(0.2, 1.8, points - 1), 3),
        }

    three = np.array([[1.0, 0.0], [4.0, 4.0], [4.0, -2.0], [5.0, -2.0]])
    yield Case(
        "four points on a line, two parameters",
        {"grads": three, "step_lengths": np.array([2.0, 4.0, 0.25])},
    )
    yield Case("two points", line(2, 3))
    yield Case("many points, many parameters", line(9, 20))
    yield Case("as many points as parameters", line(5, 5))
    yield Case("one more point than parameters", line(6, 5))
    yield Case("one parameter", line(7, 1))
    turning = np.array([[3.0, 0.0, 4.0], [0.0, 5.0, 0.0], [-3.0, 0.0, -4.0], [0.0, 0.0, 5.0]])
    yield Case(
        "a gradient that turns and keeps its length",
        {"grads": turning, "step_lengths": np.array([0.5, 1.0, 2.0])},
        Stage.SPECIAL,
        about="The norm stays 5 at every point, and yet the gradient changes.",
    )
    yield Case(
        "a gradient that does not change",
        {"grads": np.full((4, 3), 2.0), "step_lengths": np.array([0.5, 1.0, 2.0])},
        Stage.SPECIAL,
        about="On a slope without curvature the answer is 0.",
    )
    yield Case("inputs that must not be written to", line(5, 4), Stage.SPECIAL, layout="read-only")
    yield Case("float32 input", as_float32(line(6, 8)), Stage.NUMERICS)


_GRADIENT_CHANGE = Exercise(
    id="gradient_change",
    title="How fast the gradient changes along a step",
    section=_SMOOTH_SECTION,
    signature="grads, step_lengths",
    outputs=("change",),
    minutes=8,
    difficulty=2,
    hints=(
        "Two neighbouring gradients differ by a vector. What is its length, and what should it be "
        "compared with?",
        "Differences along axis 0, their Euclidean norms along axis 1, each divided by its own "
        "step, and the largest of these. Chapter 05, “Smoothness: does the gradient hold along a "
        "step”.",
        "`np.linalg.norm(np.diff(grads, axis=0), axis=1) / step_lengths`, then its maximum.",
    ),
    insight=(
        "If this number is L, the classical bound lets plain gradient descent use rates up to "
        "2 / L. It is an estimate from below, though: a steep bump between two points goes unseen, "
        "the more easily the longer the steps."
    ),
    cases=_change_cases,
    reference=_change_reference,
    variant=_change_variant,
    mistakes=(
        Mistake(
            "not_divided",
            "You do not divide by the step lengths. A change counts per unit of way.",
            {"divide": "nothing"},
        ),
        Mistake(
            "divided_by_squared_length",
            "You divide by the squared step length. Divide by the length itself.",
            {"divide": "squared"},
        ),
        Mistake(
            "multiplied_by_length",
            "You multiply by the step lengths. A change per unit of way is divided by them.",
            {"divide": "multiply"},
        ),
        Mistake(
            "divided_by_way_so_far",
            "You divide by the way from the start. Each change belongs to its own step.",
            {"divide": "way"},
        ),
        Mistake(
            "divided_by_mean_length",
            "You divide by the mean step length. Each change is divided by its own step.",
            {"divide": "mean"},
        ),
        Mistake(
            "divided_by_longest",
            "You divide the largest change by the largest step. Divide each change by its own "
            "step, then take the largest.",
            {"divide": "longest"},
        ),
        Mistake(
            "relative_to_gradient",
            "You divide by the norm of the gradient. Divide by the length of the step.",
            {"divide": "gradient"},
        ),
        Mistake(
            "mean_of_changes",
            "You return the mean change. Asked is the largest.",
            {"pick": "mean"},
        ),
        Mistake(
            "smallest_change",
            "You return the smallest change. Asked is the largest.",
            {"pick": "min"},
        ),
        Mistake("sum_of_changes", "You add the changes up. Asked is the largest.", {"pick": "sum"}),
        Mistake(
            "last_change",
            "You return the last change. Asked is the largest on the line.",
            {"pick": "last"},
        ),
        Mistake(
            "squared_norm",
            "You take the squared norm of the difference. Take its root.",
            {"norm": "squared"},
        ),
        Mistake(
            "sum_of_absolutes",
            "You add up absolute differences. The norm is Euclidean: the root of the sum of "
            "squares.",
            {"norm": "l1"},
        ),
        Mistake(
            "largest_entry",
            "You take the largest entry of each difference. The norm is Euclidean: the root of "
            "the sum of squares.",
            {"norm": "max"},
        ),
        Mistake(
            "root_mean_square",
            "You take the root of the mean square, which divides by √P. The norm is the root of "
            "the sum of squares.",
            {"norm": "mean"},
        ),
        Mistake(
            "one_norm_for_all",
            "You take one norm over all steps together. Each step has its own: axis 1.",
            {"norm": "all"},
        ),
        Mistake(
            "difference_of_norms",
            "You compare the norms of the gradients. A gradient may turn and keep its norm: take "
            "the norm of the difference.",
            {"between": "norms", "norm": "l2"},
        ),
        Mistake(
            "from_the_first",
            "You compare each gradient with the first. Compare neighbours: t + 1 with t.",
            {"between": "first"},
        ),
        Mistake(
            "diff_along_parameters",
            "You take differences between parameters: `np.diff` works along the last axis unless "
            "told `axis=0`.",
            {"between": "last_axis"},
        ),
    ),
    notebook=_NOTEBOOK,
)

# ---------------------------------------------------------------- batch_mean_noise

_NOISE_SECTION = "Noise of the batch statistics"


def _noise_reference(sigma: float, batch_size: int) -> float:
    return float(sigma / np.sqrt(batch_size))


def _noise_variant(
    sigma: float,
    batch_size: int,
    *,
    root: str = "of n",
    less: int = 0,
    grows: bool = False,
    ignores: bool = False,
) -> float:
    count = np.float64(1 if ignores else batch_size - less)
    if root == "none":
        return float(sigma * count if grows else sigma / count)
    if root == "squared":
        return float(sigma**2 * count if grows else sigma**2 / count)
    if root == "of all":
        return float(np.sqrt(sigma * count if grows else sigma / count))
    return float(sigma * np.sqrt(count) if grows else sigma / np.sqrt(count))


def _noise_cases(rng: np.random.Generator) -> Iterator[Case]:
    yield Case("sigma 3, nine examples", {"sigma": 3.0, "batch_size": 9})
    yield Case("sigma 10, 25 examples", {"sigma": 10.0, "batch_size": 25})
    sigma = float(np.round(rng.uniform(2.0, 5.0), 2))
    yield Case("a batch of seven", {"sigma": sigma, "batch_size": 7})
    yield Case(
        "a batch of one",
        {"sigma": 2.5, "batch_size": 1},
        Stage.SPECIAL,
        about="The mean of one value is that value, so it has the same standard deviation.",
    )
    yield Case("no spread at all", {"sigma": 0.0, "batch_size": 4}, Stage.SPECIAL)
    yield Case(
        "a batch of a million",
        {"sigma": 0.5, "batch_size": 1_000_000},
        Stage.NUMERICS,
        tolerance=1e-9,
    )


_BATCH_MEAN_NOISE = Exercise(
    id="batch_mean_noise",
    title="The noise of a batch mean",
    section=_NOISE_SECTION,
    signature="sigma, batch_size",
    outputs=("noise",),
    minutes=3,
    difficulty=1,
    hints=(
        "The variances of independent numbers add up. What does dividing the sum by n do to its "
        "variance?",
        "The sum of n values has variance n·sigma²; divided by n it has sigma²/n. You want a "
        "standard deviation. Chapter 05, “Noise of the batch statistics”.",
        "The standard deviation of the mean is the root of sigma²/n.",
    ),
    insight=(
        "To halve this noise you need four times the batch. Drawn without replacement from a data "
        "set of M examples the noise is smaller by the factor √((M − n)/(M − 1)): a full batch "
        "has none."
    ),
    cases=_noise_cases,
    reference=_noise_reference,
    variant=_noise_variant,
    mistakes=(
        Mistake(
            "root_missing",
            "You divide sigma by the batch size. The variance falls with n, the standard "
            "deviation with √n.",
            {"root": "none"},
        ),
        Mistake(
            "variance",
            "You return the variance of the mean, sigma²/n. Asked is its root.",
            {"root": "squared"},
        ),
        Mistake(
            "root_of_sigma_too",
            "You take the root of sigma too. sigma is a standard deviation already; only n stands "
            "under the root.",
            {"root": "of all"},
        ),
        Mistake(
            "grows",
            "Your noise grows with the batch. The sum of n values does, their mean does not: "
            "divide by √n.",
            {"grows": True},
        ),
        Mistake(
            "n_minus_1",
            "You use n − 1. sigma is known here, nothing is estimated: the mean of n values has "
            "variance sigma²/n.",
            {"less": 1},
        ),
        Mistake(
            "batch_size_ignored",
            "You return sigma itself, the noise of one value. A mean of n values varies less.",
            {"ignores": True},
        ),
    ),
    notebook=_NOTEBOOK,
)

# ---------------------------------------------------------------- effective_learning_rate

_SCALE_SECTION = "The scale of the weights"


def _rate_reference(lr: float, weight: Any) -> Any:
    return lr / np.sum(np.square(weight), axis=tuple(range(1, weight.ndim)))


def _rate_variant(
    lr: float,
    weight: Any,
    *,
    power: int = 2,
    norm: str = "l2",
    axis: str = "inputs",
    invert: bool = False,
    lr_power: int = 1,
) -> Any:
    axes = {
        "inputs": tuple(range(1, weight.ndim)),
        "all": tuple(range(weight.ndim)),
        "outputs": (0,),
        "last": (weight.ndim - 1,),
        "first_input": (1,),
    }[axis]
    size = {
        "l2": lambda: np.sqrt((weight * weight).sum(axis=axes)),
        "mean": lambda: np.sqrt((weight * weight).mean(axis=axes)),
        "l1": lambda: np.abs(weight).sum(axis=axes),
        "max": lambda: np.abs(weight).max(axis=axes),
        "sum": lambda: weight.sum(axis=axes),
        "std": lambda: weight.std(axis=axes),
    }[norm]()
    size = np.full(len(weight), size) if axis == "all" else size
    return lr**lr_power * (size**power if invert else 1 / size**power)


def _rate_cases(rng: np.random.Generator) -> Iterator[Case]:
    weight = np.array([[3.0, 4.0], [0.0, 0.5], [1.0, -1.0]])
    yield Case("three rows of two weights", {"lr": 2.0, "weight": weight})
    yield Case("four rows of seven weights", {"lr": 0.5, "weight": rng.normal(0.2, 0.3, (4, 7))})
    yield Case("as many rows as columns", {"lr": 1.5, "weight": rng.normal(0.1, 0.5, (3, 3))})
    yield Case(
        "filters of a convolution", {"lr": 0.7, "weight": rng.normal(0.1, 0.3, (5, 2, 3, 4))}
    )
    yield Case(
        "filters of a convolution along one axis",
        {"lr": 0.3, "weight": rng.normal(0.1, 0.4, (2, 3, 5))},
    )
    yield Case("one row", {"lr": 0.1, "weight": rng.normal(0.0, 0.2, (1, 6))})
    base = rng.normal(0.1, 0.5, (1, 4))
    yield Case(
        "the same row at four scales",
        {"lr": 1.0, "weight": base * np.array([[1.0], [2.0], [0.5], [-4.0]])},
        Stage.SPECIAL,
        about="Twice the weights is a quarter of the rate; the sign does not matter.",
    )
    yield Case(
        "a weight that must not be written to",
        {"lr": 0.4, "weight": rng.normal(0.1, 0.5, (4, 3))},
        Stage.SPECIAL,
        layout="read-only",
    )
    yield Case(
        "float32 weights",
        as_float32({"lr": 0.2, "weight": rng.normal(0.1, 0.5, (3, 4, 2))}),
        Stage.NUMERICS,
    )


_EFFECTIVE_LEARNING_RATE = Exercise(
    id="effective_learning_rate",
    title="The learning rate that the direction sees",
    section=_SCALE_SECTION,
    signature="lr, weight",
    outputs=("rate",),
    minutes=7,
    difficulty=2,
    hints=(
        "Double a row of weights before BatchNorm and y stays. What happens to its gradient, and "
        "what to the step seen in units of the row's length?",
        "The gradient falls by the norm, and the same step turns a longer row by less, again by "
        "the norm. All axes but the first belong to one row. Chapter 05, “The scale of the "
        "weights”.",
        "`lr / (weight ** 2).sum(axis=tuple(range(1, weight.ndim)))`.",
    ),
    insight=(
        "Each plain gradient step is orthogonal to the row and so makes it longer, which lowers "
        "this rate: a schedule nobody set. Weight decay shortens the row again, and the two "
        "settle at an angle per step of about √(2 · lr · decay)."
    ),
    cases=_rate_cases,
    reference=_rate_reference,
    variant=_rate_variant,
    mistakes=(
        Mistake(
            "norm_not_squared",
            "You divide by the norm. One factor comes from the smaller gradient and one from the "
            "longer row: divide by the squared norm.",
            {"power": 1},
        ),
        Mistake(
            "fourth_power",
            "You square a squared norm. Divide by the sum of squares itself.",
            {"power": 4},
        ),
        Mistake(
            "multiplied",
            "You multiply by the squared norm. Larger weights turn more slowly: divide by it.",
            {"invert": True},
        ),
        Mistake(
            "whole_tensor",
            "You use the norm of the whole tensor. Each output row is scale-invariant by itself.",
            {"axis": "all"},
        ),
        Mistake(
            "per_input",
            "You sum over the outputs. BatchNorm rescales each output, so a norm belongs to one "
            "output row: keep axis 0.",
            {"axis": "outputs"},
        ),
        Mistake(
            "last_axis_only",
            "You sum over the last axis alone. All axes but the first belong to one filter.",
            {"axis": "last"},
        ),
        Mistake(
            "second_axis_only",
            "You sum over axis 1 alone. All axes but the first belong to one filter.",
            {"axis": "first_input"},
        ),
        Mistake(
            "mean_of_squares",
            "You take the mean of the squares. The norm is made of their sum.",
            {"norm": "mean"},
        ),
        Mistake(
            "sum_of_absolutes",
            "You take the sum of absolute values. The norm is Euclidean: a sum of squares.",
            {"norm": "l1"},
        ),
        Mistake(
            "largest_entry",
            "You take the largest entry. The norm is Euclidean: a sum of squares.",
            {"norm": "max"},
        ),
        Mistake(
            "square_of_sum",
            "You square the sum. Square each weight first, then add.",
            {"norm": "sum"},
        ),
        Mistake(
            "variance_of_weights",
            "You take the variance of the weights. The norm keeps their mean in: a sum of squares.",
            {"norm": "std"},
        ),
        Mistake(
            "lr_squared",
            "You square the learning rate too. Only the norm is squared.",
            {"lr_power": 2},
        ),
    ),
    notebook=_NOTEBOOK,
)

EXERCISES = (_GRADIENT_CHANGE, _BATCH_MEAN_NOISE, _EFFECTIVE_LEARNING_RATE)

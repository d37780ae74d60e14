"""Chapter 02: what BatchNorm computes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from normcourse.checks.exercise import Case, Exercise, Mismatch, Mistake, Outputs, Stage
from normcourse.checks.variants import (
    affine_mistakes,
    normalize,
    spread_mistakes,
    statistics_mistakes,
)
from normcourse.norms.batch_norm import batch_norm

_NOTEBOOK = "02_batch_norm"
_VARIANCE = "The biased variance, and eps inside the root"


def _read_again(mistakes: tuple[Mistake, ...], section: str) -> tuple[Mistake, ...]:
    """Send the learner who makes one of the mistakes to a section."""
    return tuple(replace(mistake, section=section) for mistake in mistakes)


# ---------------------------------------------------------------- normalized_example


def _example_reference() -> Any:
    return batch_norm(np.array([[2.0], [4.0], [6.0], [8.0]]), eps=0.0).ravel()


def _example_cases(rng: np.random.Generator) -> Iterator[Case]:
    yield Case("the four numbers 2, 4, 6, 8", {}, tolerance=6e-3)


def _example_compare(case: Case, expected: Outputs, got: Outputs) -> Mismatch | None:
    """Compare four numbers and explain the first wrong one. Two decimals are enough."""
    value = got["y"]
    try:
        numbers = [float(v) for v in np.asarray(value, dtype=float).ravel()]
    except (TypeError, ValueError):
        return Mismatch("y", message="expected four numbers, such as [-1.0, 0.0, 0.0, 1.0].")
    if len(numbers) != 4:
        return Mismatch("y", message=f"expected four numbers, got {len(numbers)}.")
    for place, (want, have) in enumerate(zip(expected["y"], numbers, strict=True)):
        if not abs(have - want) <= (case.tolerance or 0.0):
            x = 2 * (place + 1)
            why = f"{x} lies {x - 5:+d} from the mean 5; the standard deviation is √5 = 2.236"
            return Mismatch("y", (place,), float(want), have, abs(have - want), why=why)
    return None


def _example_variant(*, ddof: int = 0, center: bool = True, denominator: str = "std") -> Any:
    x = np.array([2.0, 4.0, 6.0, 8.0])
    spread = x.var(ddof=ddof)
    divisor = {"std": np.sqrt(spread), "var": spread, "none": 1.0, "range": 6.0}[denominator]
    return ((x - 5.0 if center else x) / divisor).round(4)


_NORMALIZED_EXAMPLE = Exercise(
    id="normalized_example",
    title="The worked example, by hand",
    section="The worked example",
    signature="",
    minutes=3,
    difficulty=1,
    kind="predict",
    hints=(
        "What is the mean of 2, 4, 6, 8, and how far does each number lie from it?",
        "The variance is the mean of the squared distances: divide by 4, not by 3. "
        "Chapter 02, section “The biased variance, and eps inside the root”.",
        "The distances are −3, −1, 1, 3. Their squares have the mean 5, so divide each distance "
        "by √5.",
    ),
    insight=(
        "Any four equally spaced numbers give these same four results: 2, 4, 6, 8 and "
        "1000, 1001, 1002, 1003 alike. Where they lay and how far apart is exactly what was lost."
    ),
    cases=_example_cases,
    reference=_example_reference,
    variant=_example_variant,
    compare=_example_compare,
    accepts=frozenset({"list"}),
    mistakes=(
        Mistake(
            "divides_by_n_minus_1",
            "You divide the sum of squares by 3. BatchNorm divides by n = 4: the variance is 5, "
            "not 6.67.",
            {"ddof": 1},
        ),
        Mistake(
            "divides_by_variance",
            "You divide by the variance 5. Divide by its root, 2.236.",
            {"denominator": "var"},
        ),
        Mistake(
            "only_centered",
            "You subtract the mean but do not divide by the standard deviation.",
            {"denominator": "none"},
        ),
        Mistake(
            "not_centered",
            "You divide by the standard deviation but do not subtract the mean 5 first.",
            {"center": False},
        ),
        Mistake(
            "divides_by_range",
            "You divide by the range 8 − 2 = 6. That is min-max scaling; "
            "divide by the standard deviation.",
            {"denominator": "range"},
        ),
    ),
    notebook=_NOTEBOOK,
)

# ---------------------------------------------------------------- batch_norm_forward


def _forward_reference(x: Any, gamma: Any, beta: Any, eps: float = 1e-5) -> Any:
    return batch_norm(x, gamma, beta, eps=eps)


def _forward_variant(
    x: Any,
    gamma: Any,
    beta: Any,
    eps: float | None = None,
    *,
    axis: tuple[int, ...] = (0,),
    default_eps: float = 1e-5,
    **faults: Any,
) -> Any:
    eps = default_eps if eps is None else eps
    return normalize(x, gamma, beta, eps, axis=axis, channel_axis=1, **faults)


def _parameters(rng: np.random.Generator, size: int) -> dict[str, Any]:
    """Return gamma of both signs and beta, different in every entry and away from 0 and 1."""
    gamma = np.round(rng.uniform(1.3, 2.6, size) * np.resize([1.0, -1.0], size), 2)
    return {"gamma": gamma, "beta": np.round(rng.uniform(0.4, 1.9, size), 2)}


def _forward_cases(rng: np.random.Generator) -> Iterator[Case]:
    x = np.array([[1.0, 10.0, -2.0], [3.0, 30.0, 0.0], [5.0, 20.0, 1.0], [9.0, 60.0, 7.0]])
    plain = {"gamma": np.ones(3), "beta": np.zeros(3)}
    yield Case("three features, different spread", {"x": x, **plain, "eps": 1e-5})
    yield Case("a gamma and a beta per feature", {"x": x, **_parameters(rng, 3), "eps": 1e-5})
    yield Case(
        "small spread and a large eps",
        {"x": rng.normal(2.0, 0.4, (5, 3)), **_parameters(rng, 3), "eps": 0.3},
    )
    yield Case(
        "eps left to its default",
        {"x": rng.normal(1.0, 2e-3, (6, 2)), **_parameters(rng, 2)},
        about="The default of eps is 1e-5.",
    )
    yield Case(
        "as many rows as features",
        {"x": rng.normal(1.5, 2.0, (4, 4)), **_parameters(rng, 4), "eps": 1e-3},
    )
    yield Case(
        "many rows, one feature",
        {"x": rng.normal(-3.0, 5.0, (50, 1)), **_parameters(rng, 1), "eps": 1e-5},
    )
    one = rng.normal(4.0, 2.0, (1, 3))
    yield Case(
        "a batch of one",
        {"x": one, **_parameters(rng, 3), "eps": 1e-5},
        Stage.SPECIAL,
        about="With one row every value is its own mean, so y is beta.",
    )
    constant = rng.normal(1.0, 1.0, (5, 3))
    constant[:, 1] = 7.0
    yield Case(
        "a feature that never changes",
        {"x": constant, **_parameters(rng, 3), "eps": 1e-5},
        Stage.SPECIAL,
        about="A constant feature has variance 0; eps keeps the division finite.",
    )
    yield Case(
        "an input that must not be written to",
        {"x": rng.normal(0.5, 1.0, (6, 4)), **_parameters(rng, 4), "eps": 1e-5},
        Stage.SPECIAL,
        layout="read-only",
    )
    yield Case(
        "float32 input",
        {
            name: value.astype(np.float32) if isinstance(value, np.ndarray) else value
            for name, value in {
                "x": rng.normal(3.0, 2.0, (7, 3)),
                **_parameters(rng, 3),
                "eps": 1e-5,
            }.items()
        },
        Stage.NUMERICS,
    )
    yield Case(
        "a mean a hundred million times the spread",
        {"x": rng.normal(1e8, 1.0, (8, 3)), **_parameters(rng, 3), "eps": 1e-5},
        Stage.NUMERICS,
        tolerance=1e-3,
        about="Subtract the mean before you square.",
    )


_AXIS_MISTAKES = (
    Mistake(
        "wrong_axis",
        "You average over axis 1, each row on its own. BatchNorm averages each feature over the "
        "batch: axis 0.",
        {"axis": (1,)},
        section="How many values one mean pools",
    ),
    Mistake(
        "one_mean_for_all",
        "You use one mean and one variance for the whole array. BatchNorm has one per feature: "
        "axis 0.",
        {"axis": (0, 1)},
        section="How many values one mean pools",
    ),
)

_DEFAULT_EPS = tuple(
    Mistake(
        f"default_eps_{value:g}",
        f"Your default is eps={value:g}. The exercise asks for eps=1e-5, PyTorch's default.",
        {"default_eps": value},
    )
    for value in (1e-8, 1e-6, 1e-3, 1e-12)
)


def _changes_x(x: Any, gamma: Any, beta: Any, eps: float = 1e-5) -> Any:
    x -= x.mean(axis=0)
    x /= np.sqrt(x.var(axis=0) + eps)
    return gamma * x + beta


_CHANGES_X = Mistake(
    "changes_x",
    "Your function changes its argument x.",
    wrong=_changes_x,
    named_by="judge",
)

_BATCH_NORM_FORWARD = Exercise(
    id="batch_norm_forward",
    title="BatchNorm of a table",
    section="From the loop to torch.nn",
    signature="x, gamma, beta, eps=1e-5",
    minutes=8,
    difficulty=1,
    hints=(
        "Two features have different means. Which axis must a mean run over so that each feature "
        "keeps its own?",
        "Every feature (column) has one mean and one variance: pool axis 0. Keep the axis with "
        "`keepdims=True`. Chapter 02, “How many values one mean pools”.",
        "`mean = x.mean(axis=0, keepdims=True)`, the variance likewise with `var`; then "
        "gamma · (x − mean) / sqrt(var + eps) + beta.",
    ),
    insight=(
        "Your y does not change if you multiply a feature of x by 10 or add 1000 to it (up to "
        "eps). The layer before cannot influence the size of what comes after: chapter 03 shows "
        "what that does to its gradient."
    ),
    cases=_forward_cases,
    reference=_forward_reference,
    variant=_forward_variant,
    mistakes=(
        *_AXIS_MISTAKES,
        *_read_again((*statistics_mistakes("BatchNorm"), *spread_mistakes()), _VARIANCE),
        *_read_again(affine_mistakes(), "Scale and shift"),
        *_DEFAULT_EPS,
        _CHANGES_X,
    ),
    notebook=_NOTEBOOK,
)

# ---------------------------------------------------------------- batch_norm_forward_nchw


def _nchw_variant(
    x: Any,
    gamma: Any,
    beta: Any,
    eps: float | None = None,
    *,
    axis: tuple[int, ...] = (0, 2, 3),
    default_eps: float = 1e-5,
    flatten: str = "",
    **faults: Any,
) -> Any:
    eps = default_eps if eps is None else eps
    if not flatten:
        return normalize(x, gamma, beta, eps, axis=axis, channel_axis=1, **faults)
    # Reshaped without a transpose: rows mix channels and positions.
    count = x.shape[1]
    rows = x.reshape(-1, count) if flatten == "rows" else x.reshape(count, -1).T
    y = normalize(rows, gamma, beta, eps, axis=(0,), channel_axis=1, **faults)
    return y.reshape(x.shape) if flatten == "rows" else y.T.reshape(x.shape)


def _nchw_cases(rng: np.random.Generator) -> Iterator[Case]:
    means = np.array([0.0, 5.0, -3.0]).reshape(1, 3, 1, 1)

    def maps(shape: tuple[int, ...], spread: float = 2.0) -> Any:
        per_channel = rng.normal(0.0, 4.0, (1, shape[1], 1, 1))
        return per_channel + rng.normal(0.0, spread, shape)

    small = means + np.arange(12.0).reshape(2, 3, 2, 1) ** 1.5
    plain = {"gamma": np.ones(3), "beta": np.zeros(3)}
    yield Case("two images, three channels, no affine step", {"x": small, **plain, "eps": 1e-5})
    yield Case(
        "a gamma and a beta per channel",
        {"x": maps((4, 3, 2, 5)), **_parameters(rng, 3), "eps": 1e-5},
    )
    yield Case(
        "small spread and a large eps",
        {"x": maps((3, 2, 4, 5), 0.4), **_parameters(rng, 2), "eps": 0.3},
    )
    yield Case(
        "eps left to its default",
        {"x": maps((2, 3, 4, 2), 2e-3), **_parameters(rng, 3)},
        about="The default of eps is 1e-5.",
    )
    yield Case(
        "batch, channels, height and width all equal",
        {"x": maps((3, 3, 3, 3)), **_parameters(rng, 3), "eps": 1e-3},
    )
    yield Case(
        "one channel",
        {"x": maps((4, 1, 3, 5)), **_parameters(rng, 1), "eps": 1e-5},
    )
    yield Case(
        "one image",
        {"x": maps((1, 4, 3, 2)), **_parameters(rng, 4), "eps": 1e-5},
        Stage.SPECIAL,
        about="One image is enough: a channel still pools H·W values.",
    )
    yield Case(
        "maps of one pixel",
        {"x": maps((6, 3, 1, 1)), **_parameters(rng, 3), "eps": 1e-5},
        Stage.SPECIAL,
        about="With H = W = 1 the layer is BatchNorm of an (N, C) table.",
    )
    yield Case(
        "elements two apart in memory",
        {"x": maps((3, 2, 3, 4)), **_parameters(rng, 2), "eps": 1e-5},
        Stage.SPECIAL,
        layout="strided",
    )
    yield Case(
        "float32 input",
        {
            "x": maps((4, 3, 5, 2)).astype(np.float32),
            **{name: v.astype(np.float32) for name, v in _parameters(rng, 3).items()},
            "eps": 1e-5,
        },
        Stage.NUMERICS,
    )
    yield Case(
        "a mean a hundred million times the spread",
        {"x": 1e8 + maps((3, 2, 2, 4), 1.0), **_parameters(rng, 2), "eps": 1e-5},
        Stage.NUMERICS,
        tolerance=1e-3,
        about="Subtract the mean before you square.",
    )


def _changes_maps(x: Any, gamma: Any, beta: Any, eps: float = 1e-5) -> Any:
    x -= x.mean(axis=(0, 2, 3), keepdims=True)
    x /= np.sqrt(x.var(axis=(0, 2, 3), keepdims=True) + eps)
    return gamma[:, None, None] * x + beta[:, None, None]


def _affine_along_width(x: Any, gamma: Any, beta: Any, eps: float = 1e-5) -> Any:
    mean = x.mean(axis=(0, 2, 3), keepdims=True)
    var = x.var(axis=(0, 2, 3), keepdims=True)
    return gamma * (x - mean) / np.sqrt(var + eps) + beta  # meets the last axis, not the channels


def _everything_along_width(x: Any, gamma: Any, beta: Any, eps: float = 1e-5) -> Any:
    mean, var = x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3))  # (C,) meets the last axis
    return gamma * (x - mean) / np.sqrt(var + eps) + beta


_POOLS = "How many values one mean pools"
_NCHW_MISTAKES = (
    Mistake(
        "per_image",
        "You average over H and W of each image alone: that is InstanceNorm. BatchNorm pools the "
        "batch too: axes (0, 2, 3).",
        {"axis": (2, 3)},
        section=_POOLS,
    ),
    Mistake(
        "per_pixel",
        "You average over the batch at each pixel alone. A channel is one feature wherever it is "
        "seen: pool axes (0, 2, 3).",
        {"axis": (0,)},
        section=_POOLS,
    ),
    Mistake(
        "over_channels",
        "You average over C, H and W of each image: that is LayerNorm's choice. BatchNorm keeps "
        "the channels apart: axes (0, 2, 3).",
        {"axis": (1, 2, 3)},
        section=_POOLS,
    ),
    Mistake(
        "channels_last",
        "You pool axes (0, 1, 2), as if the channels came last. Here they are axis 1: pool "
        "(0, 2, 3).",
        {"axis": (0, 1, 2)},
        section=_POOLS,
    ),
    Mistake(
        "one_mean_for_all",
        "You use one mean and one variance for the whole array. BatchNorm has one per channel: "
        "axes (0, 2, 3).",
        {"axis": (0, 1, 2, 3)},
        section=_POOLS,
    ),
    Mistake(
        "reshape_rows",
        "You reshape to (-1, C) without moving the channels last, so rows mix channels and "
        "pixels. Transpose to (N, H, W, C) first, or pool axes (0, 2, 3) directly.",
        {"flatten": "rows"},
        section=_POOLS,
    ),
    Mistake(
        "reshape_columns",
        "You reshape to (C, -1) without moving the channels first, so a row mixes images and "
        "channels. Transpose to (C, N, H, W) first, or pool axes (0, 2, 3) directly.",
        {"flatten": "columns"},
        section=_POOLS,
    ),
    Mistake(
        "affine_along_width",
        "gamma and beta meet the last axis, the width. Give them the shape (1, C, 1, 1) so that "
        "they meet the channels.",
        wrong=_affine_along_width,
        section="Scale and shift",
    ),
    Mistake(
        "everything_along_width",
        "An array of shape (C,) meets the last axis, the width. Keep the pooled axes with "
        "keepdims=True and give gamma and beta the shape (1, C, 1, 1).",
        wrong=_everything_along_width,
        section=_POOLS,
    ),
)

_BATCH_NORM_FORWARD_NCHW = Exercise(
    id="batch_norm_forward_nchw",
    title="BatchNorm of images",
    section=_POOLS,
    signature="x, gamma, beta, eps=1e-5",
    minutes=10,
    difficulty=2,
    hints=(
        "A convolution uses the same weights at every pixel. Which values of x are then samples of "
        "the same feature?",
        "One mean per channel, pooled over batch, height and width: three axes in one tuple. "
        "Chapter 02, “How many values one mean pools”.",
        "`mean = x.mean(axis=(0, 2, 3), keepdims=True)`, the variance likewise; gamma and beta as "
        "`gamma.reshape(1, -1, 1, 1)`.",
    ),
    insight=(
        "With N images of H × W pixels a mean pools N·H·W values. A batch of two 32 × 32 maps "
        "pools 2048 of them: that is why convolutional nets often bear small batches that would "
        "ruin a fully connected one."
    ),
    cases=_nchw_cases,
    reference=_forward_reference,
    variant=_nchw_variant,
    mistakes=(
        *_NCHW_MISTAKES,
        *_read_again((*statistics_mistakes("BatchNorm"), *spread_mistakes()), _VARIANCE),
        *_read_again(affine_mistakes(), "Scale and shift"),
        *_DEFAULT_EPS,
        Mistake(
            "changes_x",
            "Your function changes its argument x.",
            wrong=_changes_maps,
            named_by="judge",
        ),
    ),
    notebook=_NOTEBOOK,
)

# ---------------------------------------------------------------- affine_to_undo


def _undo_reference(mean: Any, var: Any, eps: float = 1e-5) -> Any:
    return np.sqrt(var + eps), np.array(mean)


def _undo_variant(
    mean: Any,
    var: Any,
    eps: float | None = None,
    *,
    eps_place: str = "inside",
    root: bool = True,
    inverse: bool = False,
    shift: str = "mean",
    order: str = "gamma_beta",
    default_eps: float = 1e-5,
) -> Any:
    eps = default_eps if eps is None else eps
    inside = var + eps if eps_place == "inside" else var
    gamma = np.sqrt(inside) if root else inside
    gamma = gamma + eps if eps_place == "outside" else gamma
    gamma = 1 / gamma if inverse else gamma
    beta = {"mean": mean, "minus": -mean, "over_std": mean / gamma, "zero": mean * 0}[shift]
    return (gamma, beta) if order == "gamma_beta" else (beta, gamma)


def _normalization_itself(mean: Any, var: Any, eps: float = 1e-5) -> Any:
    return 1 / np.sqrt(var + eps), -mean / np.sqrt(var + eps)


def _undo_cases(rng: np.random.Generator) -> Iterator[Case]:
    mean, var = np.array([5.0, -1.0]), np.array([4.0, 0.25])
    yield Case("two features, no eps", {"mean": mean, "var": var, "eps": 0.0})
    yield Case("a large eps", {"mean": mean, "var": np.array([0.09, 0.5]), "eps": 0.3})
    yield Case(
        "five features, eps left to its default",
        {"mean": rng.normal(0.0, 3.0, 5), "var": rng.uniform(1e-9, 1e-7, 5)},
        about="The default of eps is 1e-5.",
    )
    yield Case(
        "a feature that never changes",
        {"mean": np.array([7.0, 2.0]), "var": np.array([0.0, 1.0]), "eps": 1e-5},
        Stage.SPECIAL,
        about="With variance 0 the scale is √eps.",
    )


_AFFINE_TO_UNDO = Exercise(
    id="affine_to_undo",
    title="The affine step that gives x back",
    section="When the affine step undoes it",
    signature="mean, var, eps=1e-5",
    outputs=("gamma", "beta"),
    minutes=5,
    difficulty=2,
    hints=(
        "x_hat = (x − mean) / sqrt(var + eps). Solve it for x: what multiplies x_hat, what is "
        "added?",
        "gamma is what the forward pass divides by, beta what it subtracts; eps belongs to it. "
        "Chapter 02, “When the affine step undoes it”.",
        "x = sqrt(var + eps) · x_hat + mean. Return that factor and that summand, in this order.",
    ),
    insight=(
        "One pair (gamma, beta) undoes one pair of statistics. In training the statistics change "
        "with every batch while gamma and beta stay: no single pair undoes every batch."
    ),
    cases=_undo_cases,
    reference=_undo_reference,
    variant=_undo_variant,
    mistakes=(
        Mistake(
            "eps_missing",
            "You take gamma = sqrt(var). The forward pass divides by sqrt(var + eps), so gamma "
            "must hold eps too.",
            {"eps_place": "nowhere"},
        ),
        Mistake(
            "eps_outside_root",
            "You add eps to the standard deviation. It belongs inside the root: sqrt(var + eps).",
            {"eps_place": "outside"},
        ),
        Mistake(
            "gamma_is_variance",
            "Your gamma is the variance. The forward pass divides by its root, so gamma is the "
            "root.",
            {"root": False},
        ),
        Mistake(
            "gamma_inverted",
            "Your gamma divides once more. To undo a division, multiply: gamma = sqrt(var + eps).",
            {"inverse": True},
        ),
        Mistake(
            "the_normalization_itself",
            "Your gamma and beta normalize once more: 1/std and −mean/std. To undo it, multiply "
            "by the std and add the mean.",
            wrong=_normalization_itself,
        ),
        Mistake(
            "beta_negative",
            "Your beta is −mean. The forward pass subtracts the mean, so beta must add it.",
            {"shift": "minus"},
        ),
        Mistake(
            "beta_scaled",
            "You divide beta by gamma. beta is added after gamma has multiplied: it is the mean "
            "itself.",
            {"shift": "over_std"},
        ),
        Mistake("beta_zero", "Your beta is 0. The mean must come back too.", {"shift": "zero"}),
        Mistake(
            "swapped",
            "You return beta first. The order is gamma, beta.",
            {"order": "beta_gamma"},
        ),
        *_DEFAULT_EPS,
    ),
    notebook=_NOTEBOOK,
)

EXERCISES = (
    _NORMALIZED_EXAMPLE,
    _BATCH_NORM_FORWARD,
    _BATCH_NORM_FORWARD_NCHW,
    _AFFINE_TO_UNDO,
)

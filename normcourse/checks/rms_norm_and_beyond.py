"""Chapter 09: RMSNorm, dynamic tanh, QK-norm: what can be left out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from normcourse.checks.draws import as_float32, gammas, parameters
from normcourse.checks.exercise import Case, Exercise, Inputs, Mistake, Stage
from normcourse.checks.last_axis import (
    backward_cases,
    backward_variant,
    gradient_inputs,
    lost_axis_mistakes,
    pooled_axes,
)
from normcourse.checks.variants import (
    EPS_FIXED,
    affine_mistakes,
    chosen_eps,
    default_eps_mistakes,
)
from normcourse.norms.dynamic_tanh import dynamic_tanh
from normcourse.norms.qk_norm import qk_norm_scores
from normcourse.norms.rms_norm import rms_norm, rms_norm_backward

_NOTEBOOK = "09_rms_norm_and_beyond"
_RMS = "RMSNorm: the mean left out"
_BACKWARD = "Its gradient"
_DYT = "Dynamic tanh: no statistics at all"
_QK = "QK-norm: scores that cannot explode"
_HALF = "In half precision"


def _axis_mistakes() -> tuple[Mistake, ...]:
    """Return the mistakes about what one root mean square pools."""
    return (
        Mistake(
            "batch_axis",
            "You pool axis 0, the batch. RMSNorm pools the features of one example: axis −1.",
            {"pool": "first"},
            section=_RMS,
        ),
        Mistake(
            "leading_axes",
            "You pool every axis but the last. RMSNorm pools the last axis.",
            {"pool": "leading"},
            section=_RMS,
        ),
        Mistake(
            "second_axis",
            "You pool axis 1. That is the features only when x has two axes; the last axis is −1.",
            {"pool": "second"},
            section=_RMS,
        ),
        Mistake(
            "all_but_first",
            "You pool every axis but the first, so the tokens of a sequence share one root mean "
            "square. Each token has its own: axis −1.",
            {"pool": "all_but_first"},
            section=_RMS,
        ),
        Mistake(
            "one_for_all",
            "You pool the whole array. Each example has its own root mean square: axis −1.",
            {"pool": "all"},
            section=_RMS,
        ),
    )


# ---------------------------------------------------------------- rms_norm_forward


def _forward_reference(x: Any, gamma: Any, eps: float = 1e-5) -> Any:
    return rms_norm(x, gamma, eps=eps)


def _forward_variant(
    x: Any,
    gamma: Any,
    eps: float | None = None,
    *,
    pool: str = "last",
    center: str = "nothing",
    moment: str = "mean_square",
    root: bool = True,
    eps_place: str = "inside",
    scale: str = "gamma",
    default_eps: float = 1e-5,
    fixed_eps: float | None = None,
) -> Any:
    """Return a normalized array, right or wrong as the switches say.

    Args:
        x: the input.
        gamma: scale of the last axis.
        eps: the constant.
        pool: which axes one root mean square pools.
        center: where the mean is subtracted: "nothing", "x", "square" or "both".
        moment: "mean_square", "sum", "n_minus_1", "rows", "mean" (not squared) or "absolute".
        root: take the root.
        eps_place: "inside", "outside", "nowhere", "in_sum" or "clamp".
        scale: "gamma", "first", "none", "one_plus" or "before".
        default_eps: the eps that is used where none is given.
        fixed_eps: the eps that is used whatever is given.
    """
    eps = chosen_eps(eps, default_eps, fixed_eps)
    x = x * gamma if scale == "before" else x
    axis = pooled_axes(pool, x.ndim)
    centered = x - x.mean(axis=axis, keepdims=True)
    values = centered if center in ("square", "both") else x
    powers = {"mean": values, "absolute": np.abs(values)}.get(moment, values * values)
    count = np.prod([x.shape[a] for a in axis])
    divisor = {"sum": 1, "n_minus_1": count - 1, "rows": x.shape[0]}.get(moment, count)
    pooled = powers.sum(axis=axis, keepdims=True) / divisor
    pooled = pooled + {"inside": eps, "in_sum": eps / count}.get(eps_place, 0.0)
    size = np.sqrt(pooled) if root and moment != "absolute" else pooled
    size = size + eps if eps_place == "outside" else size
    size = np.maximum(size, eps) if eps_place == "clamp" else size
    x_hat = (centered if center in ("x", "both") else x) / size
    factor = {"gamma": gamma, "first": gamma.ravel()[0], "one_plus": 1 + gamma}.get(scale, 1.0)
    return x_hat * factor


def _forward_cases(rng: np.random.Generator) -> Iterator[Case]:
    def draw(shape: tuple[int, ...], mean: float = 1.0, spread: float = 2.0) -> Inputs:
        return {"x": rng.normal(mean, spread, shape), "gamma": gammas(rng, shape[-1])}

    x = np.array([[3.0, 4.0, 0.0], [1.0, -2.0, 2.0]])
    yield Case("two examples, three features", {"x": x, "gamma": np.ones(3), "eps": 0.0})
    yield Case("a gamma per feature", {**draw((4, 3)), "eps": 0.1})
    yield Case("sequences of token vectors", {**draw((2, 3, 5)), "eps": 0.1})
    yield Case("small values and a large eps", {**draw((3, 5), 0.1, 0.2), "eps": 0.3})
    yield Case(
        "eps left to its default",
        draw((2, 6), 0.0, 2e-3),
        about="The default of eps is 1e-5.",
    )
    yield Case("as many examples as features", {**draw((4, 4)), "eps": 1e-3})
    yield Case("one vector without a batch axis", {**draw((6,)), "eps": 0.1})
    yield Case("four axes", {**draw((2, 4, 3, 5)), "eps": 0.1})
    yield Case(
        "a single feature",
        {**draw((3, 1), 3.0), "eps": 0.1},
        Stage.SPECIAL,
        about="A single value divided by its own size is 1 or −1, up to eps.",
    )
    zeros = draw((3, 4))
    zeros["x"][1] = 0.0
    yield Case(
        "an example of zeros",
        {**zeros, "eps": 0.1},
        Stage.SPECIAL,
        about="eps keeps the division finite: y is 0 there.",
    )
    yield Case(
        "an example whose features are all equal",
        {"x": np.full((2, 5), 3.0), "gamma": gammas(rng, 5), "eps": 0.1},
        Stage.SPECIAL,
        about="LayerNorm makes 0 of it; RMSNorm does not, since it subtracts no mean.",
    )
    yield Case(
        "an input that must not be written to",
        {**draw((4, 6)), "eps": 0.1},
        Stage.SPECIAL,
        layout="read-only",
    )
    yield Case("float32 input", as_float32({**draw((3, 7)), "eps": 0.1}), Stage.NUMERICS)
    yield Case("values of a million", {**draw((3, 4), 0.0, 1e6), "eps": 0.1}, Stage.NUMERICS)


def _keepdims_missing(x: Any, gamma: Any, eps: float = 1e-5) -> Any:
    return gamma * x / np.sqrt((x * x).mean(axis=-1) + eps)


def _new_axis_second(x: Any, gamma: Any, eps: float = 1e-5) -> Any:
    return gamma * x / np.sqrt((x * x).mean(axis=-1)[:, None] + eps)


def _two_axes_only(x: Any, gamma: Any, eps: float = 1e-5) -> Any:
    _, _ = x.shape
    return _forward_reference(x, gamma, eps)


def _changes_x(x: Any, gamma: Any, eps: float = 1e-5) -> Any:
    x /= np.sqrt((x * x).mean(axis=-1, keepdims=True) + eps)
    return gamma * x


_EPS_MISTAKES = (
    Mistake(
        "eps_outside_root",
        "You add eps to the root mean square. It belongs inside the root: sqrt(mean(x²) + eps).",
        {"eps_place": "outside"},
    ),
    Mistake(
        "eps_missing",
        "You leave eps out. Divide by sqrt(mean(x²) + eps), also where eps changes little.",
        {"eps_place": "nowhere"},
    ),
)

_SIZE_MISTAKES = (
    Mistake(
        "mean_subtracted",
        "You subtract the mean, above and below: that is LayerNorm. RMSNorm divides x itself by "
        "sqrt(mean(x²) + eps).",
        {"center": "both"},
    ),
    Mistake(
        "numerator_centered",
        "You subtract the mean from x before dividing. RMSNorm leaves the mean where it is.",
        {"center": "x"},
    ),
    Mistake(
        "divides_by_std",
        "You divide by the standard deviation, which is taken around the mean. The root mean "
        "square is taken around 0: sqrt(mean(x²) + eps).",
        {"center": "square"},
    ),
    Mistake(
        "sum_of_squares",
        "You divide by the length of x, the root of the sum of squares. Take the mean of the "
        "squares: it keeps y at the same size for every D.",
        {"moment": "sum"},
    ),
    Mistake(
        "divides_by_n_minus_1",
        "You divide the sum of squares by D − 1. No mean was estimated; divide by D.",
        {"moment": "n_minus_1"},
    ),
    Mistake(
        "divides_by_examples",
        "You divide the sum of squares by the number of examples. It runs over D features: divide "
        "by D.",
        {"moment": "rows"},
    ),
    Mistake(
        "not_squared",
        "You take the mean of x, not of x². Square first, then average, then take the root.",
        {"moment": "mean"},
    ),
    Mistake(
        "mean_absolute",
        "You divide by the mean absolute value. RMS is root, mean, square: sqrt(mean(x²) + eps).",
        {"moment": "absolute"},
    ),
    Mistake(
        "root_missing",
        "You divide by the mean square. Divide by its root.",
        {"root": False},
    ),
)

_RMS_NORM_FORWARD = Exercise(
    id="rms_norm_forward",
    title="RMSNorm",
    section=_RMS,
    signature="x, gamma, eps=1e-5",
    minutes=6,
    difficulty=1,
    hints=(
        "Read the name backwards: square, mean, root. Over which values does the mean run, and "
        "what is never subtracted?",
        "Every example is divided by the root of its mean square, then each feature is scaled. "
        "Nothing is centered and nothing is shifted. Chapter 09, “RMSNorm: the mean left out”.",
        "`ms = (x * x).mean(axis=-1, keepdims=True)`, then gamma · x / sqrt(ms + eps).",
    ),
    insight=(
        "On inputs of mean 0 RMSNorm and LayerNorm without beta are the same function. Center all "
        "weights, biases and embeddings that write to the residual stream, move each beta into "
        "the bias behind it, and a trained pre-norm net runs on RMSNorm with the same outputs."
    ),
    cases=_forward_cases,
    reference=_forward_reference,
    variant=_forward_variant,
    mistakes=(
        *_axis_mistakes(),
        *_SIZE_MISTAKES,
        *_EPS_MISTAKES,
        Mistake(
            "eps_in_sum",
            "You add eps to the sum of squares, so it is divided by D too. Add it to the mean.",
            {"eps_place": "in_sum"},
        ),
        Mistake(
            "eps_as_floor",
            "You use eps as a lower bound for the divisor. It is added to the mean square, under "
            "the root.",
            {"eps_place": "clamp"},
        ),
        Mistake("gamma_missing", "You do not multiply by gamma.", {"scale": "none"}),
        Mistake(
            "gamma_scalar",
            "You use the first entry of gamma for all. There is one gamma per feature.",
            {"scale": "first"},
        ),
        Mistake(
            "one_plus_gamma",
            "You multiply by 1 + gamma, as some language models store it. Here gamma itself "
            "multiplies.",
            {"scale": "one_plus"},
        ),
        Mistake(
            "gamma_before",
            "You multiply by gamma before taking the root mean square, which then holds it too. "
            "Normalize first.",
            {"scale": "before"},
        ),
        *default_eps_mistakes(),
        EPS_FIXED,
        *lost_axis_mistakes(_keepdims_missing, _new_axis_second, _two_axes_only),
        Mistake(
            "changes_x", "Your function changes its argument x.", wrong=_changes_x, named_by="judge"
        ),
    ),
    notebook=_NOTEBOOK,
)

# ---------------------------------------------------------------- rms_norm_backward


def _backward_reference(dy: Any, x: Any, gamma: Any, eps: float = 1e-5) -> Any:
    return rms_norm_backward(dy, x, gamma, eps=eps)


def _backward_variant(
    dy: Any, x: Any, gamma: Any, eps: float | None = None, *, center: bool = False, **faults: Any
) -> Any:
    return backward_variant(dy, x, gamma, eps, center=center, **faults)[:2]


def _backward_cases(rng: np.random.Generator) -> Iterator[Case]:
    def draw(shape: tuple[int, ...], mean: float = 1.0, spread: float = 2.0) -> Inputs:
        return gradient_inputs(rng, shape, mean, spread)

    x = np.array([[3.0, 4.0, 0.0], [1.0, -2.0, 2.0]])
    yield from backward_cases(rng, x, ("small values", 0.1, 0.2), default_mean=0.0)
    yield Case(
        "a single feature",
        {**draw((3, 1), 3.0, 0.5), "eps": 0.3},
        Stage.SPECIAL,
        about="y is near 1 or −1 whatever x is; what is left of dx comes from eps.",
    )
    zeros = draw((3, 4))
    zeros["x"][1] = 0.0
    yield Case(
        "an example of zeros",
        {**zeros, "eps": 0.1},
        Stage.SPECIAL,
        about="There x_hat is 0, so dx is gamma · dy / sqrt(eps).",
    )
    yield Case(
        "inputs that must not be written to",
        {**draw((4, 6)), "eps": 0.1},
        Stage.SPECIAL,
        layout="read-only",
    )
    yield Case("float32 input", as_float32({**draw((3, 7)), "eps": 0.1}), Stage.NUMERICS)


def _mean_term_kept(dy: Any, x: Any, gamma: Any, eps: float = 1e-5) -> Any:
    dx, dgamma = _backward_reference(dy, x, gamma, eps)
    inv_rms = 1 / np.sqrt((x * x).mean(axis=-1, keepdims=True) + eps)
    return dx - inv_rms * (gamma * dy).mean(axis=-1, keepdims=True), dgamma


def _changes_dy(dy: Any, x: Any, gamma: Any, eps: float = 1e-5) -> Any:
    gradients = _backward_reference(dy, x, gamma, eps)
    dy *= gamma
    return gradients


_SECOND_TERM_MISTAKES = (
    Mistake(
        "rms_constant",
        "You treat the root mean square as a constant. It depends on every feature of x: subtract "
        "x_hat · mean(dx_hat · x_hat).",
        {"statistics": "constants"},
    ),
    Mistake(
        "own_element_only",
        "You differentiate each value by itself alone. The root mean square ties all features "
        "together, so take the mean over them.",
        {"statistics": "own"},
    ),
    Mistake(
        "term_added",
        "You add x_hat · mean(dx_hat · x_hat). Its sign is minus: x_hat shrinks when the root mean "
        "square grows.",
        {"var_factor": -1.0},
    ),
    Mistake(
        "term_halved",
        "Your second term is half of what it should be. The ½ of the root's derivative cancels "
        "against the 2 of x².",
        {"var_factor": 0.5},
    ),
    Mistake(
        "term_doubled",
        "Your second term is twice what it should be. The 2 of x² cancels against the ½ of the "
        "root's derivative.",
        {"var_factor": 2.0},
    ),
    Mistake(
        "power_one_low",
        "Your second term lacks one division by the root mean square: with respect to the mean "
        "square, 1/rms has the derivative −½ · (mean(x²) + eps)^(−3/2).",
        {"var_power": 1},
    ),
    Mistake(
        "power_two_low",
        "Your second term uses (mean(x²) + eps)^(−1/2). The derivative of 1/rms has the power "
        "−3/2.",
        {"var_power": 0},
    ),
    Mistake(
        "factor_lost",
        "Your second term lacks the factor x that differs from feature to feature.",
        {"var_from": "ones"},
    ),
    Mistake(
        "sum_for_mean",
        "You subtract x_hat · sum(dx_hat · x_hat). It is the mean: divide by D.",
        {"count_over": ()},
    ),
    Mistake(
        "divides_by_examples",
        "You divide the sum by the number of examples. It runs over D features: divide by D.",
        {"count": "first"},
    ),
    Mistake(
        "not_divided_by_rms",
        "You forget the division by the root mean square: x_hat changes by 1/rms when x changes "
        "by 1.",
        {"power": 0},
    ),
    Mistake(
        "divided_by_mean_square",
        "You divide dx by the mean square. Divide it by its root.",
        {"power": 2},
    ),
    Mistake(
        "multiplied_by_rms",
        "You multiply dx by the root mean square. Forward divides by it, so backward divides too.",
        {"power": -1},
    ),
    Mistake(
        "layer_norm_gradient",
        "Your gradient is LayerNorm's, with the mean subtracted from x and from dx. RMSNorm "
        "subtracts no mean, neither forward nor backward.",
        {"center": True},
    ),
    Mistake(
        "mean_term_kept",
        "You subtract mean(dx_hat) as LayerNorm's gradient does. RMSNorm takes no mean, so that "
        "term does not exist.",
        wrong=_mean_term_kept,
    ),
    Mistake(
        "divides_by_n_minus_1",
        "You divide the sum of squares by D − 1. RMSNorm divides by D.",
        {"ddof": 1},
    ),
)

_GAMMA_MISTAKES = (
    Mistake(
        "gamma_pulled_out",
        "You multiply by gamma after taking the mean. gamma differs from feature to feature: put "
        "it inside, dx_hat = gamma · dy.",
        {"gamma_in_dx": "outside"},
    ),
    Mistake(
        "gamma_missing_in_dx",
        "You leave gamma out of dx. It multiplies x_hat, so dx_hat = gamma · dy.",
        {"gamma_in_dx": "none"},
    ),
    Mistake(
        "divided_by_gamma",
        "You divide dy by gamma. The gradient of gamma · x_hat is multiplied by gamma.",
        {"gamma_in_dx": "divided"},
    ),
    Mistake(
        "dgamma_with_x",
        "Your dgamma sums dy · x. gamma multiplies x_hat, so dgamma = sum(dy · x_hat).",
        {"dgamma_from": "x"},
    ),
    Mistake(
        "dgamma_with_y",
        "Your dgamma holds gamma once too often. y = gamma · x_hat, so dgamma = sum(dy · x_hat).",
        {"dgamma_from": "y"},
    ),
    Mistake(
        "dgamma_without_x_hat",
        "Your dgamma sums dy alone: that would be the gradient of a shift. dgamma = sum(dy · "
        "x_hat).",
        {"dgamma_from": "ones"},
    ),
    Mistake(
        "mean_over_examples",
        "Your dgamma is a mean over the examples. One gamma serves all of them, so their gradients "
        "add up.",
        {"parameter_sum": "mean"},
    ),
    Mistake(
        "dgamma_over_features",
        "You sum dgamma over the features. Each feature has its own gamma, shared by all examples: "
        "sum over the leading axes.",
        {"parameters_over": "last"},
    ),
    Mistake(
        "dgamma_over_axis_0",
        "You sum dgamma over axis 0 only. All leading axes share one gamma: sum over every axis "
        "but the last.",
        {"parameters_over": "first"},
    ),
)

_RMS_NORM_BACKWARD = Exercise(
    id="rms_norm_backward",
    title="RMSNorm, backward",
    section=_BACKWARD,
    signature="dy, x, gamma, eps=1e-5",
    outputs=("dx", "dgamma"),
    minutes=15,
    difficulty=3,
    hints=(
        "LayerNorm's dx has three terms. Which of them came from the mean that RMSNorm does not "
        "take?",
        "Two terms are left, divided by the root mean square: dx_hat, and the part of it along "
        "x_hat. Chapter 09, “Its gradient”.",
        "With `dx_hat = gamma * dy`: dx = (dx_hat − x_hat · mean(dx_hat · x_hat)) / sqrt(mean(x²) "
        "+ eps), means over axis −1; dgamma = sum(dy · x_hat) over all leading axes.",
    ),
    insight=(
        "At eps = 0 LayerNorm's dx is orthogonal to two directions, the ones and x_hat, RMSNorm's "
        "only to x. With two features nothing is left of LayerNorm's: dx = 0, whatever dy is. "
        "RMSNorm still learns."
    ),
    cases=_backward_cases,
    reference=_backward_reference,
    variant=_backward_variant,
    mistakes=(
        *_axis_mistakes(),
        *_SECOND_TERM_MISTAKES,
        *_EPS_MISTAKES,
        Mistake(
            "derivative_of_eps_outside",
            "Your gradient belongs to a forward pass with eps outside the root. It belongs inside: "
            "sqrt(mean(x²) + eps).",
            {"eps_place": "outside_exact"},
        ),
        *_GAMMA_MISTAKES,
        *default_eps_mistakes(),
        EPS_FIXED,
        Mistake(
            "changes_dy",
            "Your function changes its argument dy.",
            wrong=_changes_dy,
            named_by="judge",
        ),
    ),
    notebook=_NOTEBOOK,
)

# ---------------------------------------------------------------- dynamic_tanh


def _tanh_reference(x: Any, alpha: float, gamma: Any, beta: Any) -> Any:
    return dynamic_tanh(x, alpha, gamma, beta)


_SQUASHES: dict[str, Any] = {
    "tanh": np.tanh,
    "none": lambda z: z,
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "clip": lambda z: np.clip(z, -1, 1),
    "arctan": lambda z: np.arctan(z),
    "softsign": lambda z: z / (1 + np.abs(z)),
    "exponentials": lambda z: (np.exp(z) - np.exp(-z)) / (np.exp(z) + np.exp(-z)),
    "exp_plus": lambda z: (np.exp(2 * z) - 1) / (np.exp(2 * z) + 1),
    "exp_minus": lambda z: (1 - np.exp(-2 * z)) / (1 + np.exp(-2 * z)),
}


def _tanh_variant(
    x: Any,
    alpha: float,
    gamma: Any,
    beta: Any,
    *,
    slope: str = "inside",
    squash: str = "tanh",
    first: str = "",
    scale: str = "gamma",
    shift: str = "beta",
    affine: str = "after",
) -> Any:
    """Return the squashed values, right or wrong as the switches say.

    Args:
        x: the input.
        alpha: slope at 0.
        gamma: scale.
        beta: shift.
        slope: where alpha goes: "inside", "outside", "nowhere", "divides" or "added".
        squash: key of ``_SQUASHES``.
        first: "layer_norm" or "rms_norm" before everything else.
        scale, shift: which parameter is used; see ``variants.affine_mistakes``.
        affine: "after", "before" or "shift_first".
    """
    named = {"gamma": gamma, "beta": beta, "first_gamma": gamma[0], "first_beta": beta[0]}
    g = {**named, "no_scale": 1.0}[scale]
    b = {**named, "no_shift": 0.0, "minus": -beta}[shift]
    if first:
        x = x - x.mean(axis=-1, keepdims=True) if first == "layer_norm" else x
        x = x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + 1e-5)
    x = x * g + b if affine == "before" else x
    z = {"inside": x * alpha, "divides": x / alpha, "added": x + alpha}.get(slope, x)
    y = _SQUASHES[squash](z)
    y = alpha * y if slope == "outside" else y
    if affine == "before":
        return y
    return (y + b) * g if affine == "shift_first" else y * g + b


def _tanh_cases(rng: np.random.Generator) -> Iterator[Case]:
    def draw(shape: tuple[int, ...], alpha: float) -> Inputs:
        x = rng.normal(0.3, 1.5, shape)
        return {"x": x, "alpha": alpha, **parameters(rng, shape[-1])}

    x = np.array([[0.0, 1.0, -2.0], [4.0, -0.5, 0.0]])
    yield Case(
        "two examples, three features",
        {"x": x, "alpha": 0.5, "gamma": np.ones(3), "beta": np.zeros(3)},
    )
    yield Case("a gamma and a beta per feature", draw((4, 3), 0.7))
    yield Case("sequences of token vectors", draw((2, 3, 5), 1.6))
    yield Case("as many examples as features", draw((4, 4), 0.3))
    yield Case("one vector without a batch axis", draw((6,), 0.8))
    yield Case("a negative slope", draw((3, 5), -0.6))
    yield Case(
        "slope 0", draw((2, 4), 0.0), Stage.SPECIAL, about="tanh(0) is 0, so only beta is left."
    )
    yield Case(
        "an example whose features are all equal",
        {"x": np.full((2, 3), 0.8), "alpha": 0.9, **parameters(rng, 3)},
        Stage.SPECIAL,
        about="No mean is subtracted, so it does not vanish.",
    )
    yield Case(
        "an input that must not be written to",
        draw((3, 4), 0.4),
        Stage.SPECIAL,
        layout="read-only",
    )
    yield Case("float32 input", as_float32(draw((3, 7), 0.5)), Stage.NUMERICS)
    far = {"x": np.array([[1e4, 2.0, -1e4], [-3e4, 5e3, 0.1]]), "alpha": 0.8}
    yield Case(
        "values of ten thousand",
        {**far, **parameters(rng, 3)},
        Stage.NUMERICS,
        about="tanh of a large number is 1 or −1; np.exp of it is infinite.",
    )
    yield Case(
        "the largest numbers there are",
        {"x": np.array([[1.7e308, -1.7e308, 1.0]]), "alpha": 3.0, **parameters(rng, 3)},
        Stage.NUMERICS,
    )


def _normalizes_first(method: str, switch: str) -> Mistake:
    return Mistake(
        f"{switch}_first",
        f"You apply {method} before the tanh. Dynamic tanh stands in its place: no statistics are "
        "taken.",
        {"first": switch},
    )


def _changes_tanh(x: Any, alpha: float, gamma: Any, beta: Any) -> Any:
    y = _tanh_reference(x, alpha, gamma, beta)
    x *= alpha
    return y


_DYNAMIC_TANH = Exercise(
    id="dynamic_tanh",
    title="Dynamic tanh",
    section=_DYT,
    signature="x, alpha, gamma, beta",
    minutes=4,
    difficulty=1,
    hints=(
        "A norm divides by a number that it measures. What takes that number's place when nothing "
        "is measured?",
        "alpha, one learned number, scales x before the tanh; gamma and beta follow it, one per "
        "feature. Chapter 09, “Dynamic tanh: no statistics at all”.",
        "`gamma * np.tanh(alpha * x) + beta`; `np.tanh` bears any number, a formula with `np.exp` "
        "may not.",
    ),
    insight=(
        "In every norm an outlier makes its neighbours smaller, since it sits in the divisor that "
        "they share. Here a value of 10³⁰⁰ leaves all others exactly as they were."
    ),
    cases=_tanh_cases,
    reference=_tanh_reference,
    variant=_tanh_variant,
    mistakes=(
        Mistake(
            "alpha_outside",
            "You multiply by alpha after the tanh. It scales x before: tanh(alpha · x).",
            {"slope": "outside"},
        ),
        Mistake(
            "alpha_missing",
            "You leave alpha out. It scales x before the tanh.",
            {"slope": "nowhere"},
        ),
        Mistake(
            "divided_by_alpha",
            "You divide x by alpha. It multiplies: tanh(alpha · x).",
            {"slope": "divides"},
        ),
        Mistake(
            "alpha_added",
            "You add alpha to x. It multiplies: tanh(alpha · x).",
            {"slope": "added"},
        ),
        Mistake(
            "tanh_missing", "You do not squash: take the tanh of alpha · x.", {"squash": "none"}
        ),
        Mistake(
            "sigmoid_for_tanh",
            "You use a sigmoid, which lies between 0 and 1. tanh lies between −1 and 1.",
            {"squash": "sigmoid"},
        ),
        Mistake(
            "clip_for_tanh",
            "You clip to −1 and 1. tanh bends smoothly, so that small differences survive.",
            {"squash": "clip"},
        ),
        Mistake(
            "arctan_for_tanh",
            "You use arctan. tanh is asked: np.tanh.",
            {"squash": "arctan"},
        ),
        Mistake(
            "softsign_for_tanh",
            "You use z / (1 + |z|). tanh is asked: np.tanh.",
            {"squash": "softsign"},
        ),
        Mistake(
            "exponentials_overflow",
            "Your tanh divides differences of exponentials, and both are infinite when x is far "
            "from 0. `np.tanh` bears every number.",
            {"squash": "exponentials"},
        ),
        Mistake(
            "exponential_overflows_above",
            "Your tanh is (e²ᶻ − 1) / (e²ᶻ + 1): infinity over infinity for large z. `np.tanh` "
            "bears every number.",
            {"squash": "exp_plus"},
        ),
        Mistake(
            "exponential_overflows_below",
            "Your tanh is (1 − e⁻²ᶻ) / (1 + e⁻²ᶻ): infinity over infinity for large negative z. "
            "`np.tanh` bears every number.",
            {"squash": "exp_minus"},
        ),
        _normalizes_first("LayerNorm", "layer_norm"),
        _normalizes_first("RMSNorm", "rms_norm"),
        *(m for m in affine_mistakes() if m.id != "affine_before"),
        Mistake(
            "affine_inside",
            "You apply gamma and beta to x, inside the tanh. They come after it.",
            {"affine": "before"},
        ),
        Mistake(
            "changes_x",
            "Your function changes its argument x.",
            wrong=_changes_tanh,
            named_by="judge",
        ),
    ),
    notebook=_NOTEBOOK,
)

# ---------------------------------------------------------------- qk_norm_scores


def _scores_reference(q: Any, k: Any, gamma_q: Any, gamma_k: Any, eps: float = 1e-5) -> Any:
    return qk_norm_scores(q, k, gamma_q, gamma_k, eps=eps)


def _scores_variant(
    q: Any,
    k: Any,
    gamma_q: Any,
    gamma_k: Any,
    eps: float | None = None,
    *,
    normalized: str = "both",
    size: str = "rms",
    pool: str = "features",
    eps_place: str = "inside",
    use_gamma: str = "both",
    divide_by: str = "root_d",
    shares: str = "keys",
    mask: str = "none",
    order: str = "queries_first",
    default_eps: float = 1e-5,
    fixed_eps: float | None = None,
) -> Any:
    """Return attention weights, right or wrong as the switches say.

    Args:
        q: queries, (*, Tq, D).
        k: keys, (*, Tk, D).
        gamma_q: scale of the queries.
        gamma_k: scale of the keys.
        eps: the constant.
        normalized: "both", "queries", "keys" or "none".
        size: "rms", "length" (root of the sum) or "std" (with the mean subtracted).
        pool: "features", "tokens" or "both".
        eps_place: "inside", "outside" or "nowhere".
        use_gamma: "both", "none", "queries", "keys", "q_twice", "k_twice" or "before" the norm.
        divide_by: "root_d", "d", "root_keys", "nothing" or "times".
        shares: softmax over "keys", "queries", "all", "axis_1", "none", "sum" (no exponential) or
            "sum_of_queries" (the largest score of the keys, the sum of the queries).
        mask: "none" or "causal".
        order: "queries_first" or "keys_first" (transposed).
        default_eps: the eps that is used where none is given.
        fixed_eps: the eps that is used whatever is given.
    """
    eps = chosen_eps(eps, default_eps, fixed_eps)
    axis = {"features": (-1,), "tokens": (-2,), "both": (-2, -1)}[pool]

    def norm(a: Any) -> Any:
        a = a - a.mean(axis=axis, keepdims=True) if size == "std" else a
        square = (a * a).sum if size == "length" else (a * a).mean
        squares = square(axis=axis, keepdims=True)
        root = np.sqrt(squares + eps if eps_place == "inside" else squares)
        return a / (root + eps if eps_place == "outside" else root)

    if use_gamma == "before":
        q, k, use_gamma = q * gamma_q, k * gamma_k, "none"
    g_q = {"none": 1.0, "keys": 1.0, "k_twice": gamma_k}.get(use_gamma, gamma_q)
    g_k = {"none": 1.0, "queries": 1.0, "q_twice": gamma_q}.get(use_gamma, gamma_k)
    q = (norm(q) if normalized in ("both", "queries") else q) * g_q
    k = (norm(k) if normalized in ("both", "keys") else k) * g_k
    scores = q @ np.swapaxes(k, -1, -2)
    if order == "keys_first":
        scores = np.swapaxes(scores, -1, -2)
    d = q.shape[-1]
    divisors = {"root_d": np.sqrt(d), "d": d, "nothing": 1.0, "times": 1 / np.sqrt(d)}
    scores = scores / divisors.get(divide_by, np.sqrt(scores.shape[-1]))
    if mask == "causal":
        rows, columns = np.indices(scores.shape[-2:])
        scores = np.where(columns > rows, -np.inf, scores)
    if shares == "none":
        return scores
    over = {"queries": -2, "sum_of_queries": -2, "all": (-2, -1), "axis_1": 1}.get(shares, -1)
    if shares == "sum":
        return scores / scores.sum(axis=-1, keepdims=True)
    top = -1 if shares == "sum_of_queries" else over
    weights = np.exp(scores - scores.max(axis=top, keepdims=True))
    return weights / weights.sum(axis=over, keepdims=True)


def _scores_cases(rng: np.random.Generator) -> Iterator[Case]:
    def draw(
        leading: tuple[int, ...], queries: int, keys: int, d: int, spread: float = 1.5
    ) -> Inputs:
        return {
            "q": rng.normal(0.4 * spread, spread, (*leading, queries, d)),
            "k": rng.normal(-0.3 * spread, spread, (*leading, keys, d)),
            "gamma_q": gammas(rng, d),
            "gamma_k": np.round(rng.uniform(0.4, 1.2, d), 2),
        }

    small = {"q": np.array([[2.0, 0.0], [1.0, 3.0]]), "k": np.array([[1.0, 0.0], [0.0, 1.0]])}
    plain = {"gamma_q": np.ones(2), "gamma_k": np.ones(2)}
    yield Case("two queries, two keys", {**small, **plain, "eps": 0.0})
    yield Case("a gamma for queries and one for keys", {**draw((), 3, 4, 5), "eps": 0.1})
    yield Case("several heads", {**draw((2, 3), 4, 5, 6), "eps": 0.1})
    yield Case("as many queries as keys", {**draw((2,), 4, 4, 3), "eps": 0.1})
    yield Case("as many keys as features", {**draw((3,), 2, 4, 4), "eps": 1e-3})
    yield Case("small vectors and a large eps", {**draw((2,), 3, 4, 5, 0.3), "eps": 0.3})
    yield Case(
        "eps left to its default",
        draw((2,), 3, 4, 5, 2e-3),
        about="The default of eps is 1e-5.",
    )
    yield Case(
        "a single key",
        {**draw((2,), 3, 1, 4), "eps": 0.1},
        Stage.SPECIAL,
        about="There is nothing to choose from: each weight is 1.",
    )
    zero = draw((2,), 3, 4, 5)
    zero["q"][0, 1] = 0.0
    yield Case(
        "a query of zeros",
        {**zero, "eps": 0.1},
        Stage.SPECIAL,
        about="All its scores are 0, so all keys get the same weight.",
    )
    yield Case(
        "inputs that must not be written to",
        {**draw((2,), 3, 4, 5), "eps": 0.1},
        Stage.SPECIAL,
        layout="read-only",
    )
    yield Case("float32 input", as_float32({**draw((2,), 3, 5, 4), "eps": 0.1}), Stage.NUMERICS)
    yield Case(
        "vectors a million times as long",
        {**draw((2,), 3, 4, 5, 1e6), "eps": 0.1},
        Stage.NUMERICS,
        about="How long a query is does not matter: that is what QK-norm is for.",
    )


def _all_axes_reversed(q: Any, k: Any, gamma_q: Any, gamma_k: Any, eps: float = 1e-5) -> Any:
    if q.ndim > 2:
        q @ k.T  # what does not fit is raised here
    return _scores_reference(q, k, gamma_q, gamma_k, eps)


def _changes_q(q: Any, k: Any, gamma_q: Any, gamma_k: Any, eps: float = 1e-5) -> Any:
    weights = _scores_reference(q, k, gamma_q, gamma_k, eps)
    q *= gamma_q
    return weights


_QK_NORM_SCORES = Exercise(
    id="qk_norm_scores",
    title="Attention weights with QK-norm",
    section=_QK,
    signature="q, k, gamma_q, gamma_k, eps=1e-5",
    outputs=("weights",),
    minutes=12,
    difficulty=2,
    hints=(
        "Which of the steps of ordinary attention can let a score grow without bound, and what is "
        "done to q and k before it?",
        "RMSNorm for each query and each key, over its D features; then the products, divided by "
        "√D; then a softmax over the keys. Chapter 09, “QK-norm: scores that cannot explode”.",
        "`scores = q_hat @ np.swapaxes(k_hat, -1, -2) / np.sqrt(D)` with "
        "`q_hat = gamma_q * q / sqrt(mean(q²) + eps)`; then exp(scores) divided by its sum over "
        "axis −1.",
    ),
    insight=(
        "gamma_q and gamma_k act only through their product: swap them, or move all of one into "
        "the other, and no weight changes. Half of these parameters are redundant."
    ),
    cases=_scores_cases,
    reference=_scores_reference,
    variant=_scores_variant,
    mistakes=(
        Mistake(
            "not_normalized",
            "You normalize neither q nor k. Both pass through RMSNorm before the product.",
            {"normalized": "none"},
        ),
        Mistake(
            "keys_not_normalized",
            "You normalize the queries only. The keys pass through RMSNorm too.",
            {"normalized": "queries"},
        ),
        Mistake(
            "queries_not_normalized",
            "You normalize the keys only. The queries pass through RMSNorm too.",
            {"normalized": "keys"},
        ),
        Mistake(
            "unit_length",
            "You divide by the length, the root of the sum of squares. RMSNorm divides by the root "
            "of their mean.",
            {"size": "length"},
        ),
        Mistake(
            "mean_subtracted",
            "You subtract the mean: that is LayerNorm. RMSNorm divides by sqrt(mean(q²) + eps) and "
            "subtracts nothing.",
            {"size": "std"},
        ),
        Mistake(
            "over_tokens",
            "You pool the tokens, axis −2. Each query and each key is normalized over its own "
            "features, axis −1.",
            {"pool": "tokens"},
        ),
        Mistake(
            "over_tokens_and_features",
            "You pool tokens and features together. Each query and each key has its own root mean "
            "square: axis −1.",
            {"pool": "both"},
        ),
        *_EPS_MISTAKES,
        Mistake(
            "gammas_missing",
            "You use neither gamma_q nor gamma_k. Each scales its features after normalizing.",
            {"use_gamma": "none"},
        ),
        Mistake(
            "gammas_before",
            "You multiply by gamma_q and gamma_k before normalizing. They scale the normalized "
            "features.",
            {"use_gamma": "before"},
        ),
        Mistake(
            "gamma_k_missing",
            "You scale the queries only. gamma_k scales the keys.",
            {"use_gamma": "queries"},
        ),
        Mistake(
            "gamma_q_missing",
            "You scale the keys only. gamma_q scales the queries.",
            {"use_gamma": "keys"},
        ),
        Mistake(
            "gamma_q_twice",
            "You use gamma_q for queries and keys. The keys have their own, gamma_k.",
            {"use_gamma": "q_twice"},
        ),
        Mistake(
            "gamma_k_twice",
            "You use gamma_k for queries and keys. The queries have their own, gamma_q.",
            {"use_gamma": "k_twice"},
        ),
        Mistake(
            "not_divided",
            "You do not divide the scores. They are divided by √D.",
            {"divide_by": "nothing"},
        ),
        Mistake(
            "divided_by_d",
            "You divide the scores by D. Divide them by √D.",
            {"divide_by": "d"},
        ),
        Mistake(
            "divided_by_root_of_keys",
            "You divide the scores by the root of the number of keys. Divide them by √D, D being "
            "the number of features.",
            {"divide_by": "root_keys"},
        ),
        Mistake(
            "multiplied_by_root_d",
            "You multiply the scores by √D. Divide them by it.",
            {"divide_by": "times"},
        ),
        Mistake(
            "softmax_over_queries",
            "Your softmax runs over the queries. Each query shares its attention among the keys: "
            "axis −1.",
            {"shares": "queries"},
        ),
        Mistake(
            "divided_by_the_sum_of_queries",
            "You divide by a sum over the queries. Each query shares its attention among the keys: "
            "sum over axis −1, as you take the maximum.",
            {"shares": "sum_of_queries"},
        ),
        Mistake(
            "softmax_over_axis_1",
            "Your softmax runs over axis 1. Those are the keys only where there are two axes; the "
            "last axis is −1.",
            {"shares": "axis_1"},
        ),
        Mistake(
            "softmax_over_all",
            "Your softmax runs over queries and keys at once. The weights of each query sum to 1: "
            "axis −1.",
            {"shares": "all"},
        ),
        Mistake(
            "softmax_missing",
            "You return the scores. The weights are their softmax over the keys.",
            {"shares": "none"},
        ),
        Mistake(
            "exponential_missing",
            "You divide the scores by their sum. The softmax takes their exponentials first.",
            {"shares": "sum"},
        ),
        Mistake(
            "causal_mask",
            "You mask later keys. No mask is asked: every query sees every key.",
            {"mask": "causal"},
        ),
        Mistake(
            "transposed",
            "Your weights have keys as rows. The shape is (…, Tq, Tk), a row for each query.",
            {"order": "keys_first"},
        ),
        *default_eps_mistakes(),
        EPS_FIXED,
        Mistake(
            "all_axes_reversed",
            "`k.T` reverses all axes, which is right for two only. Swap the last two: "
            "`np.swapaxes(k, -1, -2)`.",
            wrong=_all_axes_reversed,
        ),
        Mistake(
            "changes_q", "Your function changes its argument q.", wrong=_changes_q, named_by="judge"
        ),
    ),
    notebook=_NOTEBOOK,
)

# ---------------------------------------------------------------- rms_norm_half


def _half_variant(x: Any, gamma: Any, eps: float | None = None, **faults: Any) -> Any:
    y = _forward_variant(x.astype(np.float64), gamma.astype(np.float64), eps, **faults)
    return y.astype(x.dtype)


def _half_cases(rng: np.random.Generator) -> Iterator[Case]:
    def draw(shape: tuple[int, ...], spread: float, dtype: Any = np.float16) -> Inputs:
        x = rng.uniform(0.6, 1.6, shape) * rng.choice([-1.0, 1.0], shape) * spread
        x[..., 0] = np.abs(x[..., 0]) + 0.7 * spread  # so that no mean is near 0
        return {"x": x.astype(dtype), "gamma": gammas(rng, shape[-1]).astype(dtype)}

    x = np.array([[3.0, 4.0, 0.0], [300.0, 400.0, 0.0]], np.float16)
    yield Case(
        "the same direction at size 5 and at size 500",
        {"x": x, "gamma": np.ones(3, np.float16), "eps": 0.0},
        about="Both examples point the same way, so both give the same y.",
    )
    yield Case("activations of a hundred", {**draw((3, 5), 100.0), "eps": 0.1})
    yield Case("activations of a thousand", {**draw((2, 3, 6), 1000.0), "eps": 0.1})
    yield Case("near the end of float16", {**draw((2, 4), 2e4), "eps": 0.1})
    yield Case(
        "one feature far above the others",
        {
            "x": np.array([[0.5, -1.5, 2000.0, 0.25]], np.float16),
            "gamma": np.array([2.0, -1.5, 0.5, 1.75], np.float16),
            "eps": 0.1,
        },
    )
    yield Case("small values and a large eps", {**draw((3, 5), 0.25), "eps": 0.3})
    yield Case(
        "activations of a thousandth",
        draw((3, 4), 1e-3),
        about="Their squares are as small as eps, which counts here.",
    )
    yield Case("as many examples as features", {**draw((4, 4), 500.0), "eps": 0.1})
    yield Case(
        "an example of zeros",
        {"x": np.zeros((2, 3), np.float16), "gamma": np.ones(3, np.float16), "eps": 0.1},
        Stage.SPECIAL,
    )
    yield Case("float32 input", {**draw((3, 7), 1000.0, np.float32), "eps": 0.1}, Stage.NUMERICS)


def _squares_in_half(x: Any, gamma: Any, eps: float = 1e-5) -> Any:
    rms = np.sqrt((x * x).mean(axis=-1, keepdims=True) + eps)
    return gamma * x / rms


def _clips(x: Any, gamma: Any, eps: float = 1e-5) -> Any:
    x = np.clip(x, -255, 255)
    return _half_variant(x, gamma, eps)


def _largest_for_infinite(x: Any, gamma: Any, eps: float = 1e-5) -> Any:
    square = np.nan_to_num(x * x).astype(np.float32)
    return gamma * x / np.sqrt(square.mean(axis=-1, keepdims=True) + eps)


def _scaled_without_eps(x: Any, gamma: Any, eps: float = 1e-5) -> Any:
    largest = np.abs(x).max(axis=-1, keepdims=True)
    scaled = x / np.where(largest == 0, 1, largest)
    return _half_variant(scaled, gamma, eps)


_RMS_NORM_HALF = Exercise(
    id="rms_norm_half",
    title="Find the bug: large activations become zeros",
    section=_HALF,
    signature="x, gamma, eps=1e-5",
    minutes=5,
    difficulty=2,
    kind="repair",
    hints=(
        "The largest float16 number is 65504. Which of the intermediate results is the first to "
        "exceed it, and what is a number divided by infinity?",
        "Statistics belong in float32, whatever the dtype of x. Chapter 09, “In half precision”.",
        "`wide = x.astype(np.float32)` before you square; everything else with `wide`, and "
        "`.astype(x.dtype)` at the end.",
    ),
    insight=(
        "Squares overflow in float16 from 256 on. bfloat16 has the exponents of float32 and does "
        "not overflow, but only 8 binary digits: each square is off by up to 0.4 %."
    ),
    cases=_half_cases,
    reference=_forward_reference,
    variant=_half_variant,
    mistakes=(
        Mistake(
            "squares_in_half",
            "The squares are still taken in float16: from 256 on they are infinite, and x divided "
            "by infinity is 0. Convert x to float32 before you square it.",
            wrong=_squares_in_half,
        ),
        Mistake(
            "infinity_replaced",
            "You replace infinite squares by the largest float16, which is far too small for them. "
            "Convert x to float32 before you square it.",
            wrong=_largest_for_infinite,
        ),
        Mistake(
            "activations_clipped",
            "You clip x, which changes its direction. Convert it to float32 before you square it.",
            wrong=_clips,
        ),
        Mistake(
            "eps_for_scaled_values",
            "You divide x by its largest value first. Then eps has to be divided by that value's "
            "square; float32 squares need no such care.",
            wrong=_scaled_without_eps,
        ),
        Mistake(
            "mean_subtracted",
            "You subtract the mean: that is LayerNorm. RMSNorm divides x itself.",
            {"center": "both"},
        ),
        Mistake(
            "sum_of_squares",
            "You divide by the root of the sum of squares. Take the mean of the squares.",
            {"moment": "sum"},
        ),
        *_EPS_MISTAKES,
        Mistake("gamma_missing", "You do not multiply by gamma.", {"scale": "none"}),
    ),
    notebook=_NOTEBOOK,
)

EXERCISES = (
    _RMS_NORM_FORWARD,
    _RMS_NORM_BACKWARD,
    _DYNAMIC_TANH,
    _QK_NORM_SCORES,
    _RMS_NORM_HALF,
)

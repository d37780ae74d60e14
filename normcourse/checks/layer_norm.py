"""Chapter 07: LayerNorm, one sample at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from normcourse.checks.draws import as_float32, parameters
from normcourse.checks.exercise import Case, Exercise, Inputs, Mismatch, Mistake, Outputs, Stage
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
    normalize,
    parameter_gradient_mistakes,
    spread_mistakes,
    statistics_gradient_mistakes,
    statistics_mistakes,
)
from normcourse.norms.batch_norm import batch_norm
from normcourse.norms.layer_norm import layer_norm, layer_norm_backward

_NOTEBOOK = "07_layer_norm"
_AXES = "One mean per example"
_TRAILING = "Which axes normalized_shape names"
_BACKWARD = "The backward pass"
_TABLE = "The invariance table"
_CONVENTIONS = "One name, several conventions"


def _guessed(pool: str, x: Any) -> str:
    """Return what to pool, where an answer lets the sizes decide."""
    if pool != "guessed":
        return pool
    return "first" if x.shape[0] == x.shape[-1] else "last"


_AXIS_GUESSED = Mistake(
    "axis_guessed",
    "Your axis depends on which sizes are equal: it is wrong where there are as many examples as "
    "features. Pool axis −1, whatever the sizes.",
    {"pool": "guessed"},
    section=_AXES,
)


# ---------------------------------------------------------------- layer_norm_forward


def _forward_reference(x: Any, gamma: Any, beta: Any, eps: float = 1e-5) -> Any:
    return layer_norm(x, gamma, beta, eps=eps)


def _forward_variant(
    x: Any,
    gamma: Any,
    beta: Any,
    eps: float | None = None,
    *,
    pool: str = "last",
    ddof: int | str = 0,
    default_eps: float = 1e-5,
    fixed_eps: float | None = None,
    **faults: Any,
) -> Any:
    eps = chosen_eps(eps, default_eps, fixed_eps)
    if ddof == "rows":
        ddof = x.shape[-1] - x.shape[0]  # divides by the number of examples
    axis = pooled_axes(_guessed(pool, x), x.ndim)
    return normalize(
        x, gamma, beta, eps, axis=axis, channel_axis=x.ndim - 1, ddof=int(ddof), **faults
    )


def _forward_cases(rng: np.random.Generator) -> Iterator[Case]:
    x = np.array([[1.0, 2.0, 6.0], [10.0, 40.0, 10.0]])
    plain = {"gamma": np.ones(3), "beta": np.zeros(3)}
    yield Case("two examples, three features", {"x": x, **plain, "eps": 0.0})
    yield Case(
        "a gamma and a beta per feature",
        {"x": rng.normal(2.0, 3.0, (4, 3)), **parameters(rng, 3), "eps": 0.1},
    )
    yield Case(
        "sequences of token vectors",
        {"x": rng.normal(-1.0, 2.0, (2, 3, 5)), **parameters(rng, 5), "eps": 0.1},
        about="Each token of each sequence is one example: only the last axis is pooled.",
    )
    yield Case(
        "small spread and a large eps",
        {"x": rng.normal(2.0, 0.4, (3, 5)), **parameters(rng, 5), "eps": 0.3},
    )
    yield Case(
        "eps left to its default",
        {"x": rng.normal(1.0, 2e-3, (2, 6)), **parameters(rng, 6)},
        about="The default of eps is 1e-5.",
    )
    yield Case(
        "as many examples as features",
        {"x": rng.normal(1.5, 2.0, (4, 4)), **parameters(rng, 4), "eps": 1e-3},
    )
    yield Case(
        "one vector without a batch axis",
        {"x": rng.normal(3.0, 2.0, 6), **parameters(rng, 6), "eps": 0.1},
        about="Any number of leading axes is allowed, none among them.",
    )
    yield Case(
        "four axes",
        {"x": rng.normal(0.5, 2.0, (2, 4, 3, 5)), **parameters(rng, 5), "eps": 0.1},
    )
    yield Case(
        "a single feature",
        {"x": rng.normal(4.0, 2.0, (3, 1)), **parameters(rng, 1), "eps": 0.1},
        Stage.SPECIAL,
        about="With one feature every value is its own mean, so y is beta.",
    )
    constant = rng.normal(1.0, 1.0, (3, 5))
    constant[1] = 7.0
    yield Case(
        "an example whose features are all equal",
        {"x": constant, **parameters(rng, 5), "eps": 0.1},
        Stage.SPECIAL,
        about="Equal features have variance 0; eps keeps the division finite, and y is beta.",
    )
    yield Case(
        "an input that must not be written to",
        {"x": rng.normal(0.5, 1.0, (4, 6)), **parameters(rng, 6), "eps": 0.1},
        Stage.SPECIAL,
        layout="read-only",
    )
    yield Case(
        "float32 input",
        as_float32({"x": rng.normal(3.0, 2.0, (3, 7)), **parameters(rng, 7), "eps": 0.1}),
        Stage.NUMERICS,
    )
    yield Case(
        "a mean a hundred million times the spread",
        {"x": rng.normal(1e8, 1.0, (3, 8)), **parameters(rng, 8), "eps": 0.1},
        Stage.NUMERICS,
        tolerance=1e-3,
        about="Subtract the mean before you square.",
    )


def _keepdims_missing(x: Any, gamma: Any, beta: Any, eps: float = 1e-5) -> Any:
    return gamma * (x - x.mean(axis=-1)) / np.sqrt(x.var(axis=-1) + eps) + beta


def _new_axis_second(x: Any, gamma: Any, beta: Any, eps: float = 1e-5) -> Any:
    mean, var = x.mean(axis=-1)[:, None], x.var(axis=-1)[:, None]
    return gamma * (x - mean) / np.sqrt(var + eps) + beta


def _two_axes_only(x: Any, gamma: Any, beta: Any, eps: float = 1e-5) -> Any:
    _, _ = x.shape
    return _forward_reference(x, gamma, beta, eps)


def _gamma_per_example(x: Any, gamma: Any, beta: Any, eps: float = 1e-5) -> Any:
    x_hat = _forward_reference(x, None, None, eps)
    return gamma[:, None] * x_hat + beta[:, None]


def _changes_x(x: Any, gamma: Any, beta: Any, eps: float = 1e-5) -> Any:
    x -= x.mean(axis=-1, keepdims=True)
    x /= np.sqrt(x.var(axis=-1, keepdims=True) + eps)
    return gamma * x + beta


_POOL_MISTAKES = (
    Mistake(
        "batch_axis",
        "You average over axis 0, the batch: that is BatchNorm. LayerNorm averages the features "
        "of one example: axis −1.",
        {"pool": "first"},
    ),
    Mistake(
        "leading_axes",
        "You average over every axis but the last: that is BatchNorm with the channels last. "
        "LayerNorm averages over the last axis.",
        {"pool": "leading"},
    ),
    Mistake(
        "second_axis",
        "You average over axis 1. That is the features only when x has two axes; the last axis "
        "is −1.",
        {"pool": "second"},
    ),
    Mistake(
        "all_but_first",
        "You average over every axis but the first, so the tokens of a sequence share one mean. "
        "Here each token has its own: axis −1.",
        {"pool": "all_but_first"},
    ),
    Mistake(
        "one_mean_for_all",
        "You use one mean for the whole array. LayerNorm has one per example: axis −1.",
        {"pool": "all"},
    ),
)

_LAYER_NORM_FORWARD = Exercise(
    id="layer_norm_forward",
    title="LayerNorm, whatever the leading axes",
    section=_AXES,
    signature="x, gamma, beta, eps=1e-5",
    minutes=8,
    difficulty=1,
    hints=(
        "A sentence of other words stands beside yours in the batch. Should it change what "
        "becomes of your word?",
        "Every example has one mean and one variance, over its own features. Count axes from the "
        "end, so that leading axes do not matter. Chapter 07, “One mean per example”.",
        "`mean = x.mean(axis=-1, keepdims=True)`, the variance likewise with `var`; then "
        "gamma · (x − mean) / sqrt(var + eps) + beta.",
    ),
    insight=(
        "Before gamma and beta no feature can exceed √(D − 1), whatever you feed in: the extreme "
        "is one outlier among D − 1 equal values. For D = 768 the ceiling is 27.7, and an outlier "
        "of a million gives the same y as one of a thousand."
    ),
    cases=_forward_cases,
    reference=_forward_reference,
    variant=_forward_variant,
    mistakes=(
        *_POOL_MISTAKES,
        _AXIS_GUESSED,
        *statistics_mistakes("LayerNorm"),
        *spread_mistakes(),
        Mistake(
            "divides_by_examples",
            "You divide the sum of squares by the number of examples. One variance pools D "
            "features: divide by D.",
            {"ddof": "rows"},
        ),
        *affine_mistakes(),
        *default_eps_mistakes(),
        EPS_FIXED,
        *lost_axis_mistakes(_keepdims_missing, _new_axis_second, _two_axes_only),
        Mistake(
            "gamma_per_example",
            "You give each example a gamma of its own. gamma and beta belong to the features, and "
            "all examples share them.",
            wrong=_gamma_per_example,
        ),
        Mistake(
            "changes_x", "Your function changes its argument x.", wrong=_changes_x, named_by="judge"
        ),
    ),
    notebook=_NOTEBOOK,
)

# ---------------------------------------------------------------- layer_norm_backward


def _backward_reference(dy: Any, x: Any, gamma: Any, eps: float = 1e-5) -> Any:
    return layer_norm_backward(dy, x, gamma, eps=eps)


def _backward_variant(
    dy: Any, x: Any, gamma: Any, eps: float | None = None, *, pool: str = "last", **faults: Any
) -> Any:
    return backward_variant(dy, x, gamma, eps, pool=_guessed(pool, x), **faults)


def _backward_cases(rng: np.random.Generator) -> Iterator[Case]:
    def draw(shape: tuple[int, ...], mean: float = 1.0, spread: float = 2.0) -> Inputs:
        return gradient_inputs(rng, shape, mean, spread)

    x = np.array([[1.0, 2.0, 6.0], [10.0, 40.0, 10.0]])
    yield from backward_cases(rng, x, ("small spread", 2.0, 0.4), default_mean=1.0)
    yield Case(
        "a single feature",
        {**draw((3, 1)), "eps": 0.1},
        Stage.SPECIAL,
        about="With one feature y is beta whatever x is, so dx is 0.",
    )
    constant = draw((3, 5))
    constant["x"][1] = 7.0
    yield Case(
        "an example whose features are all equal",
        {**constant, "eps": 0.1},
        Stage.SPECIAL,
        about="x_hat is 0 there; what is left of dx is (dx_hat − mean(dx_hat)) / sqrt(eps).",
    )
    yield Case(
        "inputs that must not be written to",
        {**draw((4, 6)), "eps": 0.1},
        Stage.SPECIAL,
        layout="read-only",
    )
    yield Case("float32 input", as_float32({**draw((3, 7)), "eps": 0.1}), Stage.NUMERICS)
    yield Case(
        "a mean ten thousand times the spread",
        {**draw((3, 8), 1e4, 1.0), "eps": 0.1},
        Stage.NUMERICS,
    )


def _changes_dy(dy: Any, x: Any, gamma: Any, eps: float = 1e-5) -> Any:
    dx, dgamma, dbeta = _backward_reference(dy, x, gamma, eps)
    dy *= gamma
    return dx, dgamma, dbeta


_LAYER_NORM_BACKWARD = Exercise(
    id="layer_norm_backward",
    title="LayerNorm, backward",
    section=_BACKWARD,
    signature="dy, x, gamma, eps=1e-5",
    outputs=("dx", "dgamma", "dbeta"),
    minutes=20,
    difficulty=3,
    hints=(
        "One value of x moves the mean and the variance of its example. Which other values of y "
        "does it reach, and which not?",
        "The three terms are those of chapter 03, with means over the features in place of the "
        "batch. gamma differs from feature to feature, so it stays inside the means. Chapter 07, "
        "“The backward pass”.",
        "With `dx_hat = gamma * dy`: dx = (dx_hat − mean(dx_hat) − x_hat · mean(dx_hat · x_hat)) / "
        "sqrt(var + eps), means over axis −1. dgamma = sum(dy · x_hat) and dbeta = sum(dy), over "
        "all leading axes.",
    ),
    insight=(
        "dx needs one example at a time; dgamma and dbeta need all of them. They are the only "
        "place where LayerNorm looks across the batch, and the reason why fused kernels compute "
        "them in a second stage."
    ),
    cases=_backward_cases,
    reference=_backward_reference,
    variant=_backward_variant,
    mistakes=(
        Mistake(
            "batch_axis",
            "Your mean and variance run over axis 0, the batch: that is BatchNorm. LayerNorm "
            "pools the features of one example: axis −1.",
            {"pool": "first"},
            section=_AXES,
        ),
        Mistake(
            "leading_axes",
            "Your mean and variance run over every axis but the last: that is BatchNorm with the "
            "channels last. LayerNorm pools the last axis.",
            {"pool": "leading"},
            section=_AXES,
        ),
        Mistake(
            "second_axis",
            "You pool axis 1. That is the features only when x has two axes; the last axis is −1.",
            {"pool": "second"},
            section=_AXES,
        ),
        Mistake(
            "all_but_first",
            "You pool every axis but the first, so the tokens of a sequence share their "
            "statistics. Here each token has its own: axis −1.",
            {"pool": "all_but_first"},
            section=_AXES,
        ),
        Mistake(
            "one_mean_for_all",
            "You pool the whole array. LayerNorm has one mean per example: axis −1.",
            {"pool": "all"},
            section=_AXES,
        ),
        Mistake(
            "divides_by_examples",
            "You divide the two sums by the number of examples. They run over D features: divide "
            "by D.",
            {"count": "first"},
        ),
        Mistake(
            "gamma_pulled_out",
            "You multiply by gamma after taking the means. In BatchNorm gamma is constant within "
            "a mean, here it differs from feature to feature: put it inside, dx_hat = gamma · dy.",
            {"gamma_in_dx": "outside"},
        ),
        Mistake(
            "parameters_over_features",
            "You sum dgamma and dbeta over the features. Each feature has its own gamma, shared "
            "by all examples: sum over the leading axes.",
            {"parameters_over": "last"},
        ),
        Mistake(
            "parameters_over_axis_0",
            "You sum dgamma and dbeta over axis 0 only. All leading axes share one gamma: sum "
            "over every axis but the last.",
            {"parameters_over": "first"},
        ),
        _AXIS_GUESSED,
        *statistics_gradient_mistakes("LayerNorm", "the features"),
        *parameter_gradient_mistakes("the examples"),
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

# ---------------------------------------------------------------- layer_norm_trailing


def _trailing_reference(
    x: Any, normalized_shape: tuple[int, ...], gamma: Any, beta: Any, eps: float = 1e-5
) -> Any:
    return layer_norm(x, gamma, beta, normalized_shape=normalized_shape, eps=eps)


def _trailing_variant(
    x: Any,
    normalized_shape: tuple[int, ...],
    gamma: Any,
    beta: Any,
    eps: float | None = None,
    *,
    pool: str = "trailing",
    default_eps: float = 1e-5,
    fixed_eps: float | None = None,
    **faults: Any,
) -> Any:
    eps = chosen_eps(eps, default_eps, fixed_eps)
    count = len(normalized_shape)
    trailing = tuple(range(x.ndim - count, x.ndim))
    axis = {
        "trailing": trailing,
        "last": (x.ndim - 1,),
        "first": tuple(range(count)),
        "others": tuple(range(x.ndim - count)),
        "all_but_first": tuple(range(1, x.ndim)),
        "all": tuple(range(x.ndim)),
        "as_axes": normalized_shape,
        "by_size": tuple({x.shape.index(size) for size in normalized_shape}),
    }[pool]
    return normalize(x, gamma, beta, eps, axis=axis, channel_axis=trailing, **faults)


def _one_axis_after_the_other(
    x: Any, normalized_shape: tuple[int, ...], gamma: Any, beta: Any, eps: float = 1e-5
) -> Any:
    for axis in range(-len(normalized_shape), 0):
        mean = x.mean(axis=axis, keepdims=True)
        x = (x - mean) / np.sqrt(x.var(axis=axis, keepdims=True) + eps)
    return gamma * x + beta


def _changes_trailing(
    x: Any, normalized_shape: tuple[int, ...], gamma: Any, beta: Any, eps: float = 1e-5
) -> Any:
    y = _trailing_reference(x, normalized_shape, gamma, beta, eps)
    x -= x.mean()
    return y


def _trailing_cases(rng: np.random.Generator) -> Iterator[Case]:
    def draw(
        shape: tuple[int, ...], count: int, mean: float = 1.0, spread: float = 2.0
    ) -> dict[str, Any]:
        named = shape[len(shape) - count :]
        x = rng.normal(mean, spread, shape)
        return {"x": x, "normalized_shape": named, **parameters(rng, named)}

    small = np.array([[[1.0, 2.0, 6.0], [3.0, 0.0, 0.0]], [[5.0, 5.0, 9.0], [20.0, 11.0, 10.0]]])
    plain = {"gamma": np.ones((2, 3)), "beta": np.zeros((2, 3))}
    yield Case(
        "the last two of three axes",
        {"x": small, "normalized_shape": (2, 3), **plain, "eps": 0.0},
    )
    yield Case("the last of two axes", {**draw((4, 5), 1), "eps": 0.1})
    yield Case("a gamma and a beta per pooled place", {**draw((3, 2, 4, 5), 2), "eps": 0.1})
    yield Case("the last three of four axes", {**draw((3, 2, 4, 5), 3), "eps": 0.1})
    yield Case(
        "a leading axis of the same size",
        {**draw((3, 4, 3), 1), "eps": 0.1},
        about="normalized_shape names sizes; which axes they are is said by their place: the last.",
    )
    yield Case("small spread and a large eps", {**draw((3, 4, 2), 2, 2.0, 0.4), "eps": 0.3})
    yield Case(
        "eps left to its default",
        draw((2, 3, 4), 2, 1.0, 2e-3),
        about="The default of eps is 1e-5.",
    )
    yield Case(
        "all axes",
        {**draw((4, 3), 2), "eps": 0.1},
        about="Without leading axes there is one example: one mean for all.",
    )
    yield Case(
        "one pooled value",
        {**draw((3, 4, 1), 1), "eps": 0.1},
        Stage.SPECIAL,
        about="A mean of one value is the value itself, so y is beta.",
    )
    constant = draw((3, 2, 4), 2)
    constant["x"][2] = -5.0
    yield Case(
        "an example of equal values",
        {**constant, "eps": 0.1},
        Stage.SPECIAL,
        about="Equal values have variance 0; eps keeps the division finite, and y is beta.",
    )
    yield Case(
        "elements two apart in memory",
        {**draw((2, 4, 3), 2), "eps": 0.1},
        Stage.SPECIAL,
        layout="strided",
    )
    yield Case("float32 input", as_float32({**draw((3, 5, 2), 2), "eps": 0.1}), Stage.NUMERICS)
    yield Case(
        "a mean a hundred million times the spread",
        {**draw((3, 2, 5), 2, 1e8, 1.0), "eps": 0.1},
        Stage.NUMERICS,
        tolerance=1e-3,
        about="Subtract the mean before you square.",
    )


_LAYER_NORM_TRAILING = Exercise(
    id="layer_norm_trailing",
    title="LayerNorm over several axes",
    section=_TRAILING,
    signature="x, normalized_shape, gamma, beta, eps=1e-5",
    minutes=8,
    difficulty=2,
    hints=(
        "normalized_shape holds sizes, not axis numbers. How many axes does it name, and at which "
        "end of x do they lie?",
        "The pooled axes are the last `len(normalized_shape)` ones. gamma and beta have exactly "
        "these sizes. Chapter 07, “Which axes normalized_shape names”.",
        "`axis = tuple(range(-len(normalized_shape), 0))`, then mean and variance over `axis` with "
        "`keepdims=True`; gamma and beta meet the last axes by themselves.",
    ),
    insight=(
        "With normalized_shape (64, 224, 224) the layer owns 3.2 million gammas and takes images "
        "of one size only. GroupNorm with one group pools the very same values and has 64."
    ),
    cases=_trailing_cases,
    reference=_trailing_reference,
    variant=_trailing_variant,
    mistakes=(
        Mistake(
            "last_axis_only",
            "You average over the last axis only. normalized_shape names as many axes as it has "
            "entries.",
            {"pool": "last"},
        ),
        Mistake(
            "first_axes",
            "You average over the first axes. normalized_shape names the last ones.",
            {"pool": "first"},
        ),
        Mistake(
            "other_axes",
            "You average over the axes that normalized_shape does not name. It names those that "
            "one mean pools.",
            {"pool": "others"},
        ),
        Mistake(
            "all_but_first",
            "You average over every axis but the first. How many axes are pooled is said by the "
            "length of normalized_shape.",
            {"pool": "all_but_first"},
        ),
        Mistake(
            "one_mean_for_all",
            "You use one mean for the whole array. Axes that normalized_shape does not name keep "
            "a mean for each place.",
            {"pool": "all"},
        ),
        Mistake(
            "sizes_as_axes",
            "You take the entries of normalized_shape for axis numbers. They are sizes, those of "
            "the last axes.",
            {"pool": "as_axes"},
        ),
        Mistake(
            "axes_by_size",
            "You look for the axes by their size and find an earlier one of the same size. Their "
            "place says which are meant: the last.",
            {"pool": "by_size"},
        ),
        Mistake(
            "one_axis_after_the_other",
            "You normalize one axis after the other. One mean and one variance pool all named "
            "axes at once.",
            wrong=_one_axis_after_the_other,
        ),
        *statistics_mistakes("LayerNorm"),
        *affine_mistakes(),
        *default_eps_mistakes(),
        EPS_FIXED,
        Mistake(
            "changes_x",
            "Your function changes its argument x.",
            wrong=_changes_trailing,
            named_by="judge",
        ),
    ),
    notebook=_NOTEBOOK,
)

# ---------------------------------------------------------------- invariances

_CHANGES = {
    "W times 3": "the pre-activations become 3 times as large, and so do every mean and every "
    "standard deviation: they cancel",
    "one column of W times 3": "a column of W makes one feature. Batch norm gives each feature its "
    "own mean and variance; in layer norm that feature weighs more in the mean of its example",
    "one vector added to every column of W": "every feature of an example moves by the same "
    "number. Layer norm subtracts it with the mean of the example; for batch norm it differs "
    "from example to example",
    "one example times 3": "layer norm looks at this example alone and divides by its own larger "
    "spread; batch norm mixes it into the mean and variance of all",
    "all examples times 3": "the pre-activations become 3 times as large, and so do every mean "
    "and every standard deviation: they cancel",
    "one vector added to every example": "every example's pre-activations move by the same vector. "
    "Batch norm subtracts it, feature by feature, with its means; within one example it differs "
    "from feature to feature",
}


def _changed(change: str, x: Any, w: Any, vector: Any, column: Any) -> tuple[Any, Any]:
    """Return x and W after a change, both new."""
    x, w = x.copy(), w.copy()
    if change == "W times 3":
        w *= 3
    elif change == "one column of W times 3":
        w[:, 1] *= 3
    elif change == "one vector added to every column of W":
        w += column[:, None]
    elif change == "one example times 3":
        x[1] *= 3
    elif change == "all examples times 3":
        x *= 3
    else:
        x += vector
    return x, w


def _invariances_reference() -> dict[str, bool]:
    """Try each change on numbers: 6 examples, 4 inputs, 5 features, eps = 0."""
    rng = np.random.default_rng(7)
    x, w = rng.normal(1.0, 2.0, (6, 4)), rng.normal(0.5, 1.0, (4, 5))
    vector, column = rng.normal(0.0, 1.0, 4), rng.normal(0.0, 1.0, 4)
    norms: dict[str, Any] = {"batch_norm": batch_norm, "layer_norm": layer_norm}
    table = {}
    for name, norm in norms.items():
        before = norm(x @ w, eps=0.0)
        for change in _CHANGES:
            other_x, other_w = _changed(change, x, w, vector, column)
            after = norm(other_x @ other_w, eps=0.0)
            table[f"{name}: {change}"] = bool(np.allclose(after, before, atol=1e-9))
    return table


def _invariances_cases(rng: np.random.Generator) -> Iterator[Case]:
    yield Case("two norms, six changes", {})


def _invariances_variant(*, answer: str = "right") -> dict[str, bool]:
    table = _invariances_reference()
    if answer == "swapped":
        values = list(table.values())
        return dict(zip(table, values[6:] + values[:6], strict=True))
    if answer == "negated":
        return {key: not value for key, value in table.items()}
    return dict.fromkeys(table, True) if answer == "all_true" else table


def _as_bool(value: Any) -> bool | None:
    """Return a truth value, also one of NumPy's or 0 and 1; None for anything else."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value.item()
    return bool(value) if isinstance(value, bool | int) and value in (0, 1) else None


def _invariances_compare(case: Case, expected: Outputs, got: Outputs) -> Mismatch | None:
    """Explain the first wrong entry and count the others."""
    want, have = expected["answers"], got["answers"]
    if not isinstance(have, dict):
        return Mismatch("answers", message="expected a dict with the keys of the stub.")
    missing = [key for key in want if key not in have]
    unknown = [key for key in have if key not in want]
    if missing or unknown:
        which = f"lacks {missing[0]!r}" if missing else f"has the unknown key {unknown[0]!r}"
        return Mismatch("answers", message=f"your dict {which}. Keep the keys of the stub.")
    unclear = [key for key in want if _as_bool(have[key]) is None]
    if unclear:
        message = f"{unclear[0]!r} is not answered by True or False."
        return Mismatch("answers", message=message)
    wrong = [key for key in want if _as_bool(have[key]) != want[key]]
    if not wrong:
        return None
    key = wrong[0]
    change = key.split(": ")[1]
    others = f" {len(wrong)} of {len(want)} entries are wrong." if len(wrong) > 1 else ""
    says = "stays the same" if want[key] else "changes"
    message = f"{key!r} is {bool(have[key])} in your dict, but the output {says}.{others}"
    return Mismatch("answers", message=message, why=_CHANGES[change])


_INVARIANCES = Exercise(
    id="invariances",
    title="What changes nothing",
    section=_TABLE,
    signature="",
    outputs=("answers",),
    minutes=8,
    difficulty=2,
    kind="predict",
    hints=(
        "A change is undone if every mean and standard deviation follows it. Which values share a "
        "mean in batch norm, which in layer norm?",
        "A column of W belongs to one feature, a row of x to one example. Batch norm pools a "
        "feature, layer norm an example. Chapter 07, “The invariance table”.",
        "Batch norm undoes what scales or shifts one whole feature, layer norm what scales or "
        "shifts one whole example. Scaling everything does both.",
    ),
    insight=(
        "Under batch norm every column of W has a length that does not matter, under layer norm "
        "only W as a whole has. A layer of 512 units gives batch norm 512 effective learning rates "
        "and layer norm one."
    ),
    cases=_invariances_cases,
    reference=_invariances_reference,
    variant=_invariances_variant,
    compare=_invariances_compare,
    mistakes=(
        Mistake(
            "methods_swapped",
            "Your answers for batch norm are those of layer norm and the other way round. Batch "
            "norm pools one feature over all examples, layer norm one example over all features.",
            {"answer": "swapped"},
        ),
        Mistake(
            "true_and_false_swapped",
            "Every entry is the opposite of what is asked: True means that the output stays the "
            "same.",
            {"answer": "negated"},
        ),
        Mistake(
            "all_true",
            "You hold both norms for invariant to everything. A norm undoes only what moves or "
            "scales all values of one mean alike.",
            {"answer": "all_true"},
        ),
    ),
    notebook=_NOTEBOOK,
)

# ---------------------------------------------------------------- layer_norm_like_torch


def _like_torch_cases(rng: np.random.Generator) -> Iterator[Case]:
    x = np.array([[2.0, 4.0, 6.0, 8.0], [1.0, 1.0, 1.0, 5.0]])
    plain = {"gamma": np.ones(4), "beta": np.zeros(4)}
    yield Case("the numbers 2, 4, 6, 8", {"x": x, **plain, "eps": 0.0})
    yield Case(
        "token vectors of eight features",
        {"x": rng.normal(0.0, 2.0, (2, 3, 8)), **parameters(rng, 8), "eps": 0.1},
    )
    yield Case(
        "small spread and a large eps",
        {"x": rng.normal(2.0, 0.4, (3, 5)), **parameters(rng, 5), "eps": 0.3},
    )
    yield Case(
        "activations near the size of eps",
        {"x": rng.normal(0.0, 3e-3, (3, 6)), **parameters(rng, 6)},
        about="Where the variance is near eps it matters on which side of the root eps stands.",
    )
    yield Case(
        "as many examples as features",
        {"x": rng.normal(1.5, 2.0, (4, 4)), **parameters(rng, 4), "eps": 1e-3},
    )
    yield Case(
        "a single feature",
        {"x": rng.normal(4.0, 2.0, (3, 1)), **parameters(rng, 1), "eps": 0.1},
        Stage.SPECIAL,
        about="torch.nn.LayerNorm returns beta here.",
    )
    yield Case(
        "an example whose features are all equal",
        {"x": np.full((2, 3), 4.0), **parameters(rng, 3), "eps": 0.1},
        Stage.SPECIAL,
        about="torch.nn.LayerNorm returns beta here.",
    )
    yield Case(
        "float32 input",
        as_float32({"x": rng.normal(3.0, 2.0, (3, 7)), **parameters(rng, 7), "eps": 0.1}),
        Stage.NUMERICS,
    )


_LAYER_NORM_LIKE_TORCH = Exercise(
    id="layer_norm_like_torch",
    title="Find the bug: a LayerNorm that is not torch's",
    section=_CONVENTIONS,
    signature="x, gamma, beta, eps=1e-5",
    minutes=5,
    difficulty=2,
    kind="repair",
    hints=(
        "Try 2, 4, 6, 8 with gamma 1 and beta 0. By which factor does the answer differ from "
        "−1.342, −0.447, 0.447, 1.342?",
        "There are two differences: one shows for few features, the other where the variance is "
        "small. Chapter 07, “One name, several conventions”.",
        "Take the variance with `var`, without `ddof`, and add eps to it before the root: "
        "gamma · (x − mean) / sqrt(var + eps) + beta.",
    ),
    insight=(
        "With 512 features the n − 1 makes y smaller by 0.1 %, which no training curve shows; with "
        "8 features, as in the heads of a small model, by 6.5 %. Such a layer is found by "
        "comparing outputs, not by looking at losses."
    ),
    cases=_like_torch_cases,
    reference=_forward_reference,
    variant=_forward_variant,
    mistakes=(
        *statistics_mistakes("torch.nn.LayerNorm")[:5],
        *_POOL_MISTAKES[:2],
        *affine_mistakes()[:2],
        *default_eps_mistakes(),
        EPS_FIXED,
    ),
    notebook=_NOTEBOOK,
)

EXERCISES = (
    _LAYER_NORM_FORWARD,
    _LAYER_NORM_BACKWARD,
    _LAYER_NORM_TRAILING,
    _INVARIANCES,
    _LAYER_NORM_LIKE_TORCH,
)

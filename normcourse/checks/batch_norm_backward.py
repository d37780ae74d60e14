"""Chapter 03: what the gradient of BatchNorm loses, and how it is computed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from normcourse.checks.draws import as_float32, gammas
from normcourse.checks.exercise import Case, Exercise, Inputs, Mistake, Stage
from normcourse.checks.variants import (
    default_eps_mistakes,
    normalize_backward,
    parameter_gradient_mistakes,
    statistics_gradient_mistakes,
)
from normcourse.norms import core
from normcourse.norms.batch_norm import batch_norm_backward

_NOTEBOOK = "03_batch_norm_backward"

# ---------------------------------------------------------------- affine_backward

_AFFINE_SECTION = "Backward through the affine step"


def _affine_reference(dy: Any, x_hat: Any, gamma: Any) -> Any:
    return core.affine_backward(dy, x_hat, gamma, shared_over=(0,))


def _affine_variant(
    dy: Any,
    x_hat: Any,
    gamma: Any,
    *,
    gamma_in_dx: str = "times",
    dx_from: str = "dy",
    dgamma_from: str = "x_hat",
    parameters_from: str = "dy",
    parameter_sum: str = "sum",
    axis: tuple[int, ...] = (0,),
    order: str = "dgamma_dbeta",
) -> Any:
    factor = {"times": gamma, "none": 1.0, "divided": 1 / gamma, "first": gamma[0]}[gamma_in_dx]
    dx_hat = {"dy": dy, "x_hat": x_hat, "product": dy * x_hat}[dx_from] * factor
    own = dy if parameters_from == "dy" else dy * gamma
    with_what = {"x_hat": x_hat, "y": x_hat * gamma, "ones": 1.0}[dgamma_from]
    reduce = np.sum if parameter_sum == "sum" else np.mean
    dgamma, dbeta = reduce(own * with_what, axis=axis), reduce(own, axis=axis)
    return (dx_hat, dgamma, dbeta) if order == "dgamma_dbeta" else (dx_hat, dbeta, dgamma)


def _affine_cases(rng: np.random.Generator) -> Iterator[Case]:
    def inputs(rows: int, columns: int) -> Inputs:
        return {
            "dy": rng.normal(0.5, 1.0, (rows, columns)),
            "x_hat": rng.normal(0.2, 1.0, (rows, columns)),
            "gamma": gammas(rng, columns),
        }

    dy = np.array([[1.0, 0.0], [0.0, 2.0], [3.0, -1.0]])
    x_hat = np.array([[-1.0, 0.5], [0.0, 1.0], [1.0, -1.5]])
    yield Case(
        "three examples, two features", {"dy": dy, "x_hat": x_hat, "gamma": np.array([2.0, 3.0])}
    )
    yield Case("gammas of both signs", inputs(5, 4))
    yield Case("as many examples as features", inputs(4, 4))
    yield Case("many examples, one feature", inputs(30, 1))
    yield Case("one example", inputs(1, 3), Stage.SPECIAL)
    zero = inputs(5, 3)
    zero["gamma"][1] = 0.0
    yield Case(
        "a gamma of zero",
        zero,
        Stage.SPECIAL,
        about="Where gamma is 0 nothing flows back to x_hat, and yet gamma has a gradient.",
    )
    yield Case(
        "inputs that must not be written to", inputs(6, 3), Stage.SPECIAL, layout="read-only"
    )
    yield Case("elements two apart in memory", inputs(4, 5), Stage.SPECIAL, layout="strided")
    yield Case("float32 input", as_float32(inputs(7, 4)), Stage.NUMERICS)


def _changes_dy(dy: Any, x_hat: Any, gamma: Any) -> Any:
    dgamma, dbeta = (dy * x_hat).sum(axis=0), dy.sum(axis=0)
    dy *= gamma
    return dy, dgamma, dbeta


_AFFINE_BACKWARD = Exercise(
    id="affine_backward",
    title="Backward through scale and shift",
    section=_AFFINE_SECTION,
    signature="dy, x_hat, gamma",
    outputs=("dx_hat", "dgamma", "dbeta"),
    minutes=8,
    difficulty=2,
    hints=(
        "How many values of y does one entry of gamma touch, and how many does one entry of x_hat?",
        "Each x_hat touches one y, with the factor gamma. Each gamma touches a whole column, so "
        "its gradient is a sum down that column. Chapter 03, “Backward through the affine step”.",
        "dx_hat = gamma · dy, dgamma = `(dy * x_hat).sum(axis=0)`, dbeta = `dy.sum(axis=0)`.",
    ),
    insight=(
        "dbeta is the gradient of a plain bias. A bias placed before BatchNorm would get exactly 0 "
        "instead, since the mean takes it out again: beta is the bias that survives."
    ),
    cases=_affine_cases,
    reference=_affine_reference,
    variant=_affine_variant,
    mistakes=(
        Mistake(
            "gamma_missing",
            "You leave gamma out of dx_hat. y = gamma · x_hat + beta, so dx_hat = gamma · dy.",
            {"gamma_in_dx": "none"},
        ),
        Mistake(
            "divided_by_gamma",
            "You divide dy by gamma. The gradient of gamma · x_hat is multiplied by gamma.",
            {"gamma_in_dx": "divided"},
        ),
        Mistake(
            "gamma_scalar",
            "You use the first entry of gamma for all. There is one gamma per feature.",
            {"gamma_in_dx": "first"},
        ),
        Mistake(
            "dy_missing",
            "Your dx_hat is gamma · x_hat, which belongs to the forward pass. It is gamma · dy.",
            {"dx_from": "x_hat"},
        ),
        Mistake(
            "dx_hat_with_x_hat",
            "Your dx_hat holds x_hat as a factor. The derivative of gamma · x_hat with respect to "
            "x_hat is gamma.",
            {"dx_from": "product"},
        ),
        Mistake(
            "dgamma_without_x_hat",
            "Your dgamma equals dbeta. gamma multiplies x_hat, so dgamma = sum(dy · x_hat).",
            {"dgamma_from": "ones"},
        ),
        Mistake(
            "dgamma_with_y",
            "Your dgamma holds gamma. y = gamma · x_hat + beta, so dgamma = sum(dy · x_hat).",
            {"dgamma_from": "y"},
        ),
        Mistake(
            "parameters_from_dx_hat",
            "You take dgamma and dbeta from dx_hat, which holds gamma already. Take them from dy.",
            {"parameters_from": "dx_hat"},
        ),
        Mistake(
            "mean_over_batch",
            "Your dgamma and dbeta are means over the batch. One gamma serves all examples, so "
            "their gradients add up.",
            {"parameter_sum": "mean"},
        ),
        Mistake(
            "sums_over_features",
            "You sum dgamma and dbeta over the features. Each feature has its own gamma, shared "
            "by the batch: sum over axis 0.",
            {"axis": (1,)},
        ),
        Mistake(
            "not_summed",
            "You do not sum dgamma and dbeta. One gamma serves all examples of the batch: add "
            "their gradients up over axis 0.",
            {"axis": ()},
        ),
        Mistake(
            "summed_over_all",
            "You sum dgamma and dbeta to one number. There is one gamma per feature: sum over "
            "axis 0 alone.",
            {"axis": (0, 1)},
        ),
        Mistake(
            "dgamma_dbeta_swapped",
            "You return dbeta before dgamma. The order is dx_hat, dgamma, dbeta.",
            {"order": "dbeta_dgamma"},
        ),
        Mistake(
            "changes_dy",
            "Your function changes its argument dy.",
            wrong=_changes_dy,
            named_by="judge",
        ),
    ),
    notebook=_NOTEBOOK,
)

# ---------------------------------------------------------------- standardize_backward

_PATHS_SECTION = "The two paths through mean and variance"


def _standardize_reference(dx_hat: Any, x: Any, eps: float = 1e-5) -> Any:
    out = core.standardize(x, (0,), eps)
    return core.standardize_backward(dx_hat, out.x_hat, out.inv_std, (0,))


def _standardize_variant(
    dx_hat: Any,
    x: Any,
    eps: float | None = None,
    *,
    axis: tuple[int, ...] | str = (0,),
    default_eps: float = 1e-5,
    fixed_eps: float | None = None,
    **faults: Any,
) -> Any:
    eps = _eps(eps, default_eps, fixed_eps)
    axis = _axis(axis, x)
    return normalize_backward(dx_hat, x, None, eps, axis=axis, channel_axis=1, **faults)[0]


def _eps(eps: float | None, default: float, fixed: float | None) -> float:
    given = default if eps is None else eps
    return given if fixed is None else fixed


def _axis(axis: tuple[int, ...] | str, x: Any) -> tuple[int, ...]:
    """Return the axis, or the one that comparing lengths would suggest."""
    if not isinstance(axis, str):
        return axis
    return (1,) if x.shape[0] == x.shape[1] else (0,)


def _shapes_and_eps(inputs: Callable[..., Inputs]) -> Iterator[Case]:
    """Yield the cases about eps and the shape of the table."""
    yield Case("small spread and a large eps", {**inputs(6, 4, 0.4), "eps": 0.3})
    yield Case("eps left to its default", inputs(6, 2, 2e-3), about="The default of eps is 1e-5.")
    yield Case("as many examples as features", {**inputs(4, 4), "eps": 1e-3})
    yield Case("many examples, one feature", {**inputs(40, 1), "eps": 1e-5})


def _last_cases(
    rng: np.random.Generator, inputs: Callable[..., Inputs], about_constant: str
) -> Iterator[Case]:
    """Yield the last cases of a gradient: a constant feature, read-only, float32, a large mean."""
    constant = inputs(5, 3)
    constant["x"][:, 1] = 7.0
    yield Case(
        "a feature that never changes",
        {**constant, "eps": 1e-2},
        Stage.SPECIAL,
        about=about_constant,
    )
    yield Case(
        "inputs that must not be written to",
        {**inputs(6, 4), "eps": 1e-5},
        Stage.SPECIAL,
        layout="read-only",
    )
    yield Case("float32 input", as_float32({**inputs(8, 3), "eps": 1e-5}), Stage.NUMERICS)
    yield Case(
        "a mean a million times the spread",
        {**inputs(7, 3), "x": rng.normal(1e6, 1.0, (7, 3)), "eps": 1e-5},
        Stage.NUMERICS,
        about="Subtract the mean before you square or multiply.",
    )


def _standardize_cases(rng: np.random.Generator) -> Iterator[Case]:
    def inputs(rows: int, columns: int, spread: float = 1.5) -> Inputs:
        return {
            "dx_hat": rng.normal(0.5, 1.0, (rows, columns)),
            "x": rng.normal(2.0, spread, (rows, columns)),
        }

    column = np.array([[2.0], [4.0], [6.0], [8.0]])
    yield Case(
        "2, 4, 6, 8 and a gradient at the first alone",
        {"dx_hat": np.array([[1.0], [0.0], [0.0], [0.0]]), "x": column, "eps": 0.0},
    )
    yield Case("five examples, three features", {**inputs(5, 3), "eps": 0.1})
    yield from _shapes_and_eps(inputs)
    same = {"dx_hat": np.tile(rng.normal(2.0, 1.0, 3), (5, 1)), "x": rng.normal(1.0, 2.0, (5, 3))}
    yield Case(
        "the same gradient at every example",
        {**same, "eps": 1e-5},
        Stage.SPECIAL,
        about="To move all of x together changes nothing in x_hat, so dx is 0 here.",
    )
    x = rng.normal(1.0, 2.0, (6, 3))
    yield Case(
        "a gradient along x_hat, without eps",
        {"dx_hat": 3.0 * (x - x.mean(axis=0)) / x.std(axis=0), "x": x, "eps": 0.0},
        Stage.SPECIAL,
        about="To stretch x changes nothing in x_hat when eps is 0, so dx is 0 here.",
    )
    yield Case(
        "one example",
        {**inputs(1, 3), "eps": 1e-5},
        Stage.SPECIAL,
        about="One example is its own mean: x_hat is 0 whatever x is, so dx is 0.",
    )
    yield from _last_cases(
        rng, inputs, "With variance 0 only eps divides: dx is (dx_hat − its mean) / √eps."
    )


_AXES = (
    Mistake(
        "wrong_axis",
        "Your statistics run over the features of each example. BatchNorm's run over the batch: "
        "axis 0.",
        {"axis": (1,)},
    ),
    Mistake(
        "one_mean_for_all",
        "You use one mean and one variance for the whole array. BatchNorm has one per feature: "
        "axis 0.",
        {"axis": (0, 1)},
    ),
    Mistake(
        "divides_by_features",
        "You divide the sums by the number of features. A mean over the batch divides by the "
        "number of examples.",
        {"count_over": (1,)},
    ),
    Mistake(
        "axis_guessed",
        "Your axis depends on which sizes are equal: it is wrong where N = D. Pool axis 0, "
        "whatever the sizes.",
        {"axis": "guess"},
    ),
)

_EPS = (
    Mistake(
        "eps_fixed",
        "You use 1e-5 whatever eps is. Use the argument.",
        {"fixed_eps": 1e-5},
    ),
    *default_eps_mistakes(),
)

_STANDARDIZE_BACKWARD = Exercise(
    id="standardize_backward",
    title="Backward through the standardization",
    section=_PATHS_SECTION,
    signature="dx_hat, x, eps=1e-5",
    outputs=("dx",),
    minutes=20,
    difficulty=4,
    hints=(
        "Raise one x a little. Which other numbers move: its own x_hat, the mean, the variance, "
        "the other x_hat?",
        "Three paths lead to each x: direct, through the mean, through the variance. Their sum "
        "has two means over the batch in it. Chapter 03, “The two paths through mean and "
        "variance”.",
        "dx = (dx_hat − mean(dx_hat) − x_hat · mean(dx_hat · x_hat)) / sqrt(var + eps), both "
        "means over axis 0.",
    ),
    insight=(
        "You computed a projection: at eps = 0 the two subtracted terms are the parts of dx_hat "
        "along the constant vector and along x_hat. Two examples leave no other direction, so a "
        "batch of two rows hands back no gradient at all, up to eps."
    ),
    cases=_standardize_cases,
    reference=_standardize_reference,
    variant=_standardize_variant,
    mistakes=(
        *_AXES,
        *statistics_gradient_mistakes("BatchNorm", "the batch"),
        *_EPS,
    ),
    notebook=_NOTEBOOK,
)

# ---------------------------------------------------------------- batch_norm_backward

_CLOSED_SECTION = "The whole layer in closed form"


def _backward_reference(dy: Any, x: Any, gamma: Any, eps: float = 1e-5) -> Any:
    return batch_norm_backward(dy, x, gamma, eps=eps)


def _backward_variant(
    dy: Any,
    x: Any,
    gamma: Any,
    eps: float | None = None,
    *,
    axis: tuple[int, ...] | str = (0,),
    default_eps: float = 1e-5,
    fixed_eps: float | None = None,
    **faults: Any,
) -> Any:
    eps = _eps(eps, default_eps, fixed_eps)
    return normalize_backward(dy, x, gamma, eps, axis=_axis(axis, x), channel_axis=1, **faults)


def _backward_cases(rng: np.random.Generator) -> Iterator[Case]:
    def inputs(rows: int, columns: int, spread: float = 1.5) -> Inputs:
        return {
            "dy": rng.normal(0.5, 1.0, (rows, columns)),
            "x": rng.normal(2.0, spread, (rows, columns)),
            "gamma": gammas(rng, columns),
        }

    x = np.array([[2.0, 10.0], [4.0, 30.0], [6.0, 20.0], [8.0, 60.0]])
    dy = np.array([[1.0, 0.0], [0.0, 2.0], [0.0, -1.0], [0.0, 0.0]])
    yield Case(
        "four examples, two features",
        {"dy": dy, "x": x, "gamma": np.array([2.0, 3.0]), "eps": 0.0},
    )
    yield Case("gammas of both signs", {**inputs(5, 3), "eps": 0.1})
    yield from _shapes_and_eps(inputs)
    yield Case(
        "one example",
        {**inputs(1, 3), "eps": 1e-5},
        Stage.SPECIAL,
        about="One example is its own mean, so y is beta: dx and dgamma are 0, dbeta is dy.",
    )
    yield Case("two examples", {**inputs(2, 3), "eps": 1e-3}, Stage.SPECIAL)
    yield from _last_cases(
        rng, inputs, "A constant feature has variance 0; eps keeps the division finite."
    )


def _changes_dy_whole(dy: Any, x: Any, gamma: Any, eps: float = 1e-5) -> Any:
    _, dgamma, dbeta = _backward_variant(dy, x, gamma, eps)
    dy *= gamma
    return _standardize_variant(dy, x, eps), dgamma, dbeta


_BATCH_NORM_BACKWARD = Exercise(
    id="batch_norm_backward",
    title="The gradient of BatchNorm",
    section=_CLOSED_SECTION,
    signature="dy, x, gamma, eps=1e-5",
    outputs=("dx", "dgamma", "dbeta"),
    minutes=12,
    difficulty=3,
    uses=("affine_backward", "standardize_backward"),
    hints=(
        "The forward pass is two steps: standardize, then scale and shift. In which order does "
        "the gradient pass them?",
        "Compute x_hat once more, go back through the affine step, then through the "
        "standardization; both are supplied. Chapter 03, “The whole layer in closed form”.",
        "`dx_hat, dgamma, dbeta = affine_backward(dy, x_hat, gamma)`, then "
        "`dx = standardize_backward(dx_hat, x, eps)`.",
    ),
    insight=(
        "In BatchNorm gamma may be pulled out of both means, since it is constant down a column: "
        "dx = gamma / std · (dy − …). In LayerNorm, chapter 07, it varies within a row, and the "
        "same shortcut is the classic bug."
    ),
    cases=_backward_cases,
    reference=_backward_reference,
    variant=_backward_variant,
    mistakes=(
        *_AXES,
        *statistics_gradient_mistakes("BatchNorm", "the batch"),
        *parameter_gradient_mistakes("the batch"),
        Mistake(
            "sums_over_features",
            "You sum dgamma and dbeta over the features. Each feature has its own gamma, shared "
            "by the batch: sum over axis 0.",
            {"shared_over": (1,)},
            section=_AFFINE_SECTION,
        ),
        *_EPS,
        Mistake(
            "changes_dy",
            "Your function changes its argument dy.",
            wrong=_changes_dy_whole,
            named_by="judge",
        ),
    ),
    notebook=_NOTEBOOK,
)

# ---------------------------------------------------------------- batch_norm_backward_nchw

_NCHW_SECTION = "Images: the same sums over more axes"


def _nchw_variant(
    dy: Any,
    x: Any,
    gamma: Any,
    eps: float | None = None,
    *,
    axis: tuple[int, ...] = (0, 2, 3),
    default_eps: float = 1e-5,
    fixed_eps: float | None = None,
    flatten: str = "",
    **faults: Any,
) -> Any:
    eps = _eps(eps, default_eps, fixed_eps)
    if not flatten:
        return normalize_backward(dy, x, gamma, eps, axis=axis, channel_axis=1, **faults)
    # Reshaped without a transpose: rows mix channels and positions.
    dy_rows, rows = (_mixed_rows(values, flatten) for values in (dy, x))
    dx, *others = normalize_backward(dy_rows, rows, gamma, eps, axis=(0,), channel_axis=1, **faults)
    dx = dx.reshape(x.shape) if flatten == "rows" else dx.T.reshape(x.shape)
    return dx, *others


def _mixed_rows(values: Any, flatten: str) -> Any:
    count = values.shape[1]
    return values.reshape(-1, count) if flatten == "rows" else values.reshape(count, -1).T


def _nchw_cases(rng: np.random.Generator) -> Iterator[Case]:
    def inputs(shape: tuple[int, ...], spread: float = 1.5) -> Inputs:
        per_channel = rng.normal(0.0, 4.0, (1, shape[1], 1, 1))
        return {
            "dy": rng.normal(0.5, 1.0, shape),
            "x": per_channel + rng.normal(0.0, spread, shape),
            "gamma": gammas(rng, shape[1]),
        }

    x = np.array([[[[1.0], [3.0]], [[20.0], [10.0]]], [[[5.0], [9.0]], [[40.0], [90.0]]]])
    dy = np.array([[[[1.0], [0.0]], [[0.0], [2.0]]], [[[0.0], [-1.0]], [[3.0], [0.0]]]])
    yield Case(
        "two images of 2 × 1 pixels, two channels",
        {"dy": dy, "x": x, "gamma": np.array([2.0, 3.0]), "eps": 0.0},
    )
    yield Case("gammas of both signs", {**inputs((4, 3, 2, 5)), "eps": 0.1})
    yield Case("small spread and a large eps", {**inputs((3, 2, 4, 5), 0.4), "eps": 0.3})
    yield Case(
        "eps left to its default",
        inputs((2, 3, 4, 2), 2e-3),
        about="The default of eps is 1e-5.",
    )
    yield Case("batch, channels, height and width all equal", {**inputs((3, 3, 3, 3)), "eps": 1e-3})
    yield Case("one channel", {**inputs((4, 1, 3, 5)), "eps": 1e-5})
    yield Case(
        "one image",
        {**inputs((1, 4, 3, 2)), "eps": 1e-5},
        Stage.SPECIAL,
        about="One image is enough: a channel still pools H·W values.",
    )
    yield Case(
        "maps of one pixel",
        {**inputs((6, 3, 1, 1)), "eps": 1e-5},
        Stage.SPECIAL,
        about="With H = W = 1 the layer is BatchNorm of an (N, C) table.",
    )
    yield Case(
        "elements two apart in memory",
        {**inputs((3, 2, 3, 4)), "eps": 1e-5},
        Stage.SPECIAL,
        layout="strided",
    )
    yield Case(
        "inputs that must not be written to",
        {**inputs((2, 3, 2, 4)), "eps": 1e-5},
        Stage.SPECIAL,
        layout="read-only",
    )
    yield Case("float32 input", as_float32({**inputs((4, 3, 5, 2)), "eps": 1e-5}), Stage.NUMERICS)


def _gamma_along_width(dy: Any, x: Any, gamma: Any, eps: float = 1e-5) -> Any:
    _, dgamma, dbeta = _nchw_variant(dy, x, gamma, eps)
    return _nchw_variant(dy * gamma, x, np.ones_like(gamma), eps)[0], dgamma, dbeta


def _changes_dy_maps(dy: Any, x: Any, gamma: Any, eps: float = 1e-5) -> Any:
    _, dgamma, dbeta = _nchw_variant(dy, x, gamma, eps)
    dy *= gamma[:, None, None]
    return _nchw_variant(dy, x, np.ones_like(gamma), eps)[0], dgamma, dbeta


_NO_AXES = {"axis": (0, 2, 3), "count_over": None, "shared_over": None}  # rows have two axes alone
_NCHW_MISTAKES = (
    Mistake(
        "per_image",
        "Your statistics belong to one image alone: that is InstanceNorm. BatchNorm pools the "
        "batch too: axes (0, 2, 3).",
        {"axis": (2, 3)},
    ),
    Mistake(
        "per_pixel",
        "Your statistics belong to one pixel alone. A channel is one feature wherever it is seen: "
        "pool axes (0, 2, 3).",
        {"axis": (0,)},
    ),
    Mistake(
        "over_channels",
        "Your statistics pool C, H and W of each image: that is LayerNorm's choice. BatchNorm "
        "keeps the channels apart: axes (0, 2, 3).",
        {"axis": (1, 2, 3)},
    ),
    Mistake(
        "one_mean_for_all",
        "You use one mean and one variance for the whole array. BatchNorm has one per channel: "
        "axes (0, 2, 3).",
        {"axis": (0, 1, 2, 3)},
    ),
    Mistake(
        "divides_by_batch_size",
        "You divide the sums by N. One mean pools N·H·W values.",
        {"count_over": (0,)},
    ),
    Mistake(
        "divides_by_pixels",
        "You divide the sums by H·W. One mean pools N·H·W values.",
        {"count_over": (2, 3)},
    ),
    Mistake(
        "reshape_rows",
        "You reshape to (-1, C) without moving the channels last, so rows mix channels and "
        "pixels. Transpose to (N, H, W, C) first, or sum over axes (0, 2, 3) directly.",
        {"flatten": "rows", **_NO_AXES},
    ),
    Mistake(
        "reshape_columns",
        "You reshape to (C, -1) without moving the channels first, so a row mixes images and "
        "channels. Transpose to (C, N, H, W) first, or sum over axes (0, 2, 3) directly.",
        {"flatten": "columns", **_NO_AXES},
    ),
    Mistake(
        "parameters_per_pixel",
        "You sum dgamma and dbeta over the batch alone. One gamma serves all pixels too: sum over "
        "axes (0, 2, 3).",
        {"shared_over": (0,)},
    ),
    Mistake(
        "parameters_per_image",
        "You sum dgamma and dbeta over the pixels alone. One gamma serves all images too: sum "
        "over axes (0, 2, 3).",
        {"shared_over": (2, 3)},
    ),
    Mistake(
        "gamma_along_width",
        "gamma meets the last axis, the width. Give it the shape (1, C, 1, 1) so that it meets "
        "the channels.",
        wrong=_gamma_along_width,
    ),
)

_BATCH_NORM_BACKWARD_NCHW = Exercise(
    id="batch_norm_backward_nchw",
    title="The gradient of BatchNorm for images",
    section=_NCHW_SECTION,
    signature="dy, x, gamma, eps=1e-5",
    outputs=("dx", "dgamma", "dbeta"),
    minutes=12,
    difficulty=3,
    uses=("affine_backward", "standardize_backward", "batch_norm_backward"),
    hints=(
        "Seen from one channel, what is a batch of images but a longer batch of examples?",
        "Move the channels last, stack all positions as rows, use the (N, D) function, and undo "
        "both steps in reverse order. Chapter 03, “Images: the same sums over more axes”.",
        "`rows = x.transpose(0, 2, 3, 1).reshape(-1, C)`, dy likewise; back with "
        "`.reshape(N, H, W, C).transpose(0, 3, 1, 2)`.",
    ),
    insight=(
        "One pixel's gradient reaches all N·H·W pixels of its channel, in every image of the "
        "batch, through two numbers: the mean of dx_hat and that of dx_hat · x_hat. Workers that "
        "share a batch exchange just these two per channel in backward."
    ),
    cases=_nchw_cases,
    reference=_backward_reference,
    variant=_nchw_variant,
    mistakes=(
        *_NCHW_MISTAKES,
        *statistics_gradient_mistakes("BatchNorm", "batch and pixels"),
        *parameter_gradient_mistakes("batch and pixels"),
        *_EPS,
        Mistake(
            "changes_dy",
            "Your function changes its argument dy.",
            wrong=_changes_dy_maps,
            named_by="judge",
        ),
    ),
    notebook=_NOTEBOOK,
)

# ---------------------------------------------------------------- normalized_linear_backward

_DETACHED_SECTION = "What if the statistics are detached"


def _linear_reference(dy: Any, x: Any, weight: Any, gamma: Any, eps: float = 1e-5) -> Any:
    dz, dgamma, dbeta = batch_norm_backward(dy, x @ weight, gamma, eps=eps)
    return dz @ weight.T, x.T @ dz, dgamma, dbeta


def _linear_variant(
    dy: Any,
    x: Any,
    weight: Any,
    gamma: Any,
    eps: float | None = None,
    *,
    default_eps: float = 1e-5,
    fixed_eps: float | None = None,
    axis: tuple[int, ...] = (0,),
    **faults: Any,
) -> Any:
    eps = _eps(eps, default_eps, fixed_eps)
    dz, dgamma, dbeta = normalize_backward(
        dy, x @ weight, gamma, eps, axis=axis, channel_axis=1, **faults
    )
    return dz @ weight.T, x.T @ dz, dgamma, dbeta


def _linear_cases(rng: np.random.Generator) -> Iterator[Case]:
    def inputs(rows: int, columns: int, units: int, scale: float = 1.0) -> Inputs:
        return {
            "dy": rng.normal(0.5, 1.0, (rows, units)),
            "x": rng.normal(1.0, 1.0, (rows, columns)),
            "weight": scale * rng.normal(0.0, 1.0, (columns, units)),
            "gamma": gammas(rng, units),
        }

    x = np.array([[2.0, 0.0], [4.0, 1.0], [6.0, 0.0], [8.0, -1.0]])
    yield Case(
        "four examples, two inputs, one unit",
        {
            "dy": np.array([[1.0], [0.0], [0.0], [0.0]]),
            "x": x,
            "weight": np.array([[1.0], [-1.0]]),
            "gamma": np.array([2.0]),
            "eps": 0.1,
        },
    )
    yield Case("three units", {**inputs(6, 4, 3), "eps": 0.1})
    yield Case("small weights and a large eps", {**inputs(7, 3, 2, 0.3), "eps": 0.3})
    yield Case(
        "eps left to its default", inputs(6, 2, 4, 2e-3), about="The default of eps is 1e-5."
    )
    yield Case("as many examples as inputs and units", {**inputs(4, 4, 4), "eps": 1e-3})
    same = inputs(6, 3, 2)
    same["dy"][:] = same["dy"][0]
    yield Case(
        "the same gradient at every example",
        {**same, "eps": 1e-5},
        Stage.SPECIAL,
        about="A shift common to all examples is taken out again: dx and dweight are 0 here.",
    )
    yield Case(
        "inputs that must not be written to",
        {**inputs(5, 3, 4), "eps": 1e-5},
        Stage.SPECIAL,
        layout="read-only",
    )
    yield Case("float32 input", as_float32({**inputs(8, 3, 2), "eps": 1e-5}), Stage.NUMERICS)


def _given_fault_named(mistakes: tuple[Mistake, ...]) -> tuple[Mistake, ...]:
    """Return the mistakes with other words for the one that the given code holds."""
    still = Mistake(
        "statistics_constant",
        "The fault is still in: each row of dz depends on its own row of dy alone. Which numbers "
        "does one example share with all the others?",
        {"statistics": "constants"},
    )
    return tuple(still if mistake.id == still.id else mistake for mistake in mistakes)


_NORMALIZED_LINEAR_BACKWARD = Exercise(
    id="normalized_linear_backward",
    title="Find the bug: weights that grow for no reason",
    section=_DETACHED_SECTION,
    signature="dy, x, weight, gamma, eps=1e-5",
    outputs=("dx", "dweight", "dgamma", "dbeta"),
    minutes=10,
    difficulty=3,
    kind="repair",
    hints=(
        "dgamma and dbeta are right, dx and dweight are not. Which line stands between the two "
        "pairs?",
        "Add the same number to every row of dy: the true dz does not change, this one does. "
        "Which path from z to z_hat is missing? Chapter 03, “What if the statistics are detached”.",
        "dz needs the two means over the batch: (dz_hat − mean(dz_hat) − z_hat · "
        "mean(dz_hat · z_hat)) / std with dz_hat = gamma · dy.",
    ),
    insight=(
        "At eps = 0 each column of the repaired dweight is orthogonal to that column of weight: "
        "no step can shrink the loss by scaling the weights. The faulty gradient has such a part, "
        "so it pushes the weights outward or inward for nothing."
    ),
    cases=_linear_cases,
    reference=_linear_reference,
    variant=_linear_variant,
    mistakes=(
        Mistake(
            "wrong_axis",
            "Your statistics run over the units of each example. BatchNorm's run over the batch: "
            "axis 0.",
            {"axis": (1,)},
        ),
        *_given_fault_named(statistics_gradient_mistakes("BatchNorm", "the batch")),
        *parameter_gradient_mistakes("the batch"),
        *_EPS,
    ),
    notebook=_NOTEBOOK,
)

EXERCISES = (
    _AFFINE_BACKWARD,
    _STANDARDIZE_BACKWARD,
    _BATCH_NORM_BACKWARD,
    _BATCH_NORM_BACKWARD_NCHW,
    _NORMALIZED_LINEAR_BACKWARD,
)

"""Chapter 10: InstanceNorm, and the style of another image."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from normcourse.checks.draws import as_float32, parameters
from normcourse.checks.exercise import Case, Exercise, Inputs, Mistake, Stage
from normcourse.checks.variants import (
    EPS_FIXED,
    affine_mistakes,
    chosen_eps,
    default_eps_mistakes,
    normalize,
    spread_mistakes,
    statistics_mistakes,
)
from normcourse.norms.adaptive_instance_norm import adaptive_instance_norm
from normcourse.norms.instance_norm import instance_norm

_NOTEBOOK = "10_instance_norm"
_AXES = "One mean per image and channel"
_STYLE = "The style of another image"


def _maps(rng: np.random.Generator, shape: tuple[int, ...], spread: float = 2.0) -> Any:
    """Return maps whose means and spreads differ from image to image and channel to channel."""
    means = rng.normal(0.0, 3.0, (*shape[:2], 1, 1))
    spreads = spread * rng.uniform(0.6, 1.6, (*shape[:2], 1, 1))
    return means + spreads * rng.normal(0.0, 1.0, shape)


# ---------------------------------------------------------------- instance_norm_forward


def _forward_reference(x: Any, gamma: Any, beta: Any, eps: float = 1e-5) -> Any:
    return instance_norm(x, gamma, beta, eps=eps)


def _forward_variant(
    x: Any,
    gamma: Any,
    beta: Any,
    eps: float | None = None,
    *,
    axis: tuple[int, ...] = (2, 3),
    default_eps: float = 1e-5,
    fixed_eps: float | None = None,
    **faults: Any,
) -> Any:
    eps = chosen_eps(eps, default_eps, fixed_eps)
    return normalize(x, gamma, beta, eps, axis=axis, channel_axis=1, **faults)


def _forward_cases(rng: np.random.Generator) -> Iterator[Case]:
    def draw(shape: tuple[int, ...], spread: float = 2.0) -> Inputs:
        return {"x": _maps(rng, shape, spread), **parameters(rng, shape[1])}

    dark = np.array([[[1.0, 2.0], [3.0, 6.0]], [[0.0, 4.0], [4.0, 8.0]], [[5.0, 5.0], [7.0, 1.0]]])
    small = np.stack([dark, 10 * dark + 3])  # the second image: more contrast, brighter
    plain = {"gamma": np.ones(3), "beta": np.zeros(3)}
    yield Case(
        "an image and the same with more contrast",
        {"x": small, **plain, "eps": 0.0},
        about="Gain and brightness of an image vanish, so both give the same y.",
    )
    yield Case("a gamma and a beta per channel", {**draw((2, 3, 4, 5)), "eps": 0.1})
    yield Case("small spread and a large eps", {**draw((3, 2, 4, 5), 0.4), "eps": 0.3})
    yield Case(
        "eps left to its default", draw((2, 3, 4, 2), 2e-3), about="The default of eps is 1e-5."
    )
    yield Case("images, channels, height and width all equal", {**draw((3, 3, 3, 3)), "eps": 0.1})
    yield Case("one channel", {**draw((4, 1, 3, 5)), "eps": 0.1})
    yield Case(
        "one image",
        {**draw((1, 4, 3, 2)), "eps": 0.1},
        about="For one image InstanceNorm and BatchNorm pool the same values.",
    )
    yield Case(
        "maps of one pixel",
        {**draw((4, 3, 1, 1)), "eps": 0.1},
        Stage.SPECIAL,
        about="One pixel is its own mean: y is beta, whatever the image shows.",
    )
    flat = draw((2, 3, 2, 4))
    flat["x"][1, 2] = 6.0
    yield Case(
        "a map of one colour",
        {**flat, "eps": 0.1},
        Stage.SPECIAL,
        about="A map without contrast has variance 0; eps keeps the division finite.",
    )
    yield Case(
        "an input that must not be written to",
        {**draw((2, 4, 3, 5)), "eps": 0.1},
        Stage.SPECIAL,
        layout="read-only",
    )
    yield Case("float32 input", as_float32({**draw((2, 3, 5, 4)), "eps": 0.1}), Stage.NUMERICS)
    far = draw((2, 3, 4, 3), 1.0)
    far["x"] = far["x"] + 1e8
    yield Case(
        "a mean a hundred million times the spread",
        {**far, "eps": 0.1},
        Stage.NUMERICS,
        tolerance=1e-3,
        about="Subtract the mean before you square.",
    )


def _keepdims_missing(x: Any, gamma: Any, beta: Any, eps: float = 1e-5) -> Any:
    x_hat = (x - x.mean(axis=(2, 3))) / np.sqrt(x.var(axis=(2, 3)) + eps)
    return gamma.reshape(1, -1, 1, 1) * x_hat + beta.reshape(1, -1, 1, 1)


def _affine_along_width(x: Any, gamma: Any, beta: Any, eps: float = 1e-5) -> Any:
    return gamma * _forward_reference(x, None, None, eps) + beta


def _affine_along_batch(x: Any, gamma: Any, beta: Any, eps: float = 1e-5) -> Any:
    x_hat = _forward_reference(x, None, None, eps)
    return gamma.reshape(-1, 1, 1, 1) * x_hat + beta.reshape(-1, 1, 1, 1)


def _changes_x(x: Any, gamma: Any, beta: Any, eps: float = 1e-5) -> Any:
    y = _forward_reference(x, gamma, beta, eps)
    x -= x.mean(axis=(2, 3), keepdims=True)
    return y


_POOL_MISTAKES = (
    Mistake(
        "batch_too",
        "You pool the batch too: that is BatchNorm. InstanceNorm keeps the images apart: "
        "axes (2, 3).",
        {"axis": (0, 2, 3)},
    ),
    Mistake(
        "channels_too",
        "You pool the channels too, one mean per image: that is GroupNorm with one group. "
        "InstanceNorm keeps the channels apart: axes (2, 3).",
        {"axis": (1, 2, 3)},
    ),
    Mistake(
        "rows_only",
        "You average over the height only, column by column. A map has one mean: axes (2, 3).",
        {"axis": (2,)},
    ),
    Mistake(
        "columns_only",
        "You average over the width only, row by row. A map has one mean: axes (2, 3).",
        {"axis": (3,)},
    ),
    Mistake(
        "channels_last",
        "You pool axes (1, 2), as if the channels came last. Here they are axis 1: pool (2, 3).",
        {"axis": (1, 2)},
    ),
    Mistake(
        "per_pixel_over_channels",
        "You average over the channels at each pixel. InstanceNorm averages over the pixels of "
        "each channel: axes (2, 3).",
        {"axis": (1,)},
    ),
    Mistake(
        "per_pixel_over_batch",
        "You average over the batch at each pixel. InstanceNorm averages over the pixels of each "
        "image: axes (2, 3).",
        {"axis": (0,)},
    ),
    Mistake(
        "one_mean_for_all",
        "You use one mean for the whole array. InstanceNorm has one per image and channel: axes "
        "(2, 3).",
        {"axis": (0, 1, 2, 3)},
    ),
)

_INSTANCE_NORM_FORWARD = Exercise(
    id="instance_norm_forward",
    title="InstanceNorm of images",
    section=_AXES,
    signature="x, gamma, beta, eps=1e-5",
    minutes=6,
    difficulty=1,
    hints=(
        "One photograph is taken in bright light, another in dim light. Which values may share a "
        "mean if the light is to vanish from both?",
        "Every channel of every image has one mean and one variance, over its pixels: N·C of them. "
        "Chapter 10, “One mean per image and channel”.",
        "`mean = x.mean(axis=(2, 3), keepdims=True)`, the variance likewise; gamma and beta as "
        "`gamma.reshape(1, -1, 1, 1)`.",
    ),
    insight=(
        "Put global average pooling right behind InstanceNorm, and it returns beta for every "
        "image: the mean of each map is what was removed. The two layers together erase the "
        "picture."
    ),
    cases=_forward_cases,
    reference=_forward_reference,
    variant=_forward_variant,
    mistakes=(
        *_POOL_MISTAKES,
        *statistics_mistakes("InstanceNorm"),
        *spread_mistakes(),
        *affine_mistakes(),
        *default_eps_mistakes(),
        EPS_FIXED,
        Mistake(
            "keepdims_missing",
            "Your mean loses the axes of the map and then meets x along the wrong ones. Keep them "
            "with `keepdims=True`.",
            wrong=_keepdims_missing,
        ),
        Mistake(
            "affine_along_width",
            "gamma and beta meet the last axis, the width. Give them the shape (1, C, 1, 1) so "
            "that they meet the channels.",
            wrong=_affine_along_width,
        ),
        Mistake(
            "affine_along_batch",
            "gamma and beta meet the images. Give them the shape (1, C, 1, 1) so that they meet "
            "the channels.",
            wrong=_affine_along_batch,
        ),
        Mistake(
            "changes_x", "Your function changes its argument x.", wrong=_changes_x, named_by="judge"
        ),
    ),
    notebook=_NOTEBOOK,
)

# ---------------------------------------------------------------- adaptive_instance_norm


def _style_reference(content: Any, style: Any, eps: float = 1e-5) -> Any:
    return adaptive_instance_norm(content, style, eps=eps)


def _style_variant(
    content: Any,
    style: Any,
    eps: float | None = None,
    *,
    roles: str = "content_first",
    ddof: int = 0,
    eps_place: str = "inside",
    style_eps: bool = True,
    pool: tuple[int, ...] = (2, 3),
    style_pool: tuple[int, ...] = (),
    style_image: str = "own",
    removes: str = "mean_and_std",
    scale: str = "std",
    shift: str = "style",
    order: str = "scale_first",
    one_pass: bool = False,
    default_eps: float = 1e-5,
    fixed_eps: float | None = None,
) -> Any:
    """Return content with the moments of style, right or wrong as the switches say.

    Args:
        content: what is shown.
        style: what it is to look like.
        eps: the constant.
        roles: "content_first" or "style_first" (swapped).
        ddof: what is taken from n in both variances.
        eps_place: "inside" the roots, "outside" or "nowhere".
        style_eps: eps in the style's standard deviation too.
        pool: axes of all moments.
        style_pool: axes of the style's moments, if others.
        style_image: "own" or "first" (the first style for all contents).
        removes: "mean_and_std", "mean", "std" or "nothing" of the content.
        scale: "std", "var", "inverse" or "none" of the style.
        shift: mean of the "style", of the "content", or "none".
        order: "scale_first" or "shift_first".
        one_pass: variances as E[x^2] - E[x]^2.
        default_eps: the eps that is used where none is given.
        fixed_eps: the eps that is used whatever is given.
    """
    eps = chosen_eps(eps, default_eps, fixed_eps)
    if roles == "style_first":
        content, style = style, content
    style = np.repeat(style[:1], len(style), axis=0) if style_image == "first" else style

    def moments(x: Any, axis: tuple[int, ...], eps: float) -> tuple[Any, Any]:
        var = x.var(axis=axis, keepdims=True, ddof=ddof)
        if one_pass:
            var = (x * x).mean(axis=axis, keepdims=True) - x.mean(axis=axis, keepdims=True) ** 2
        root = np.sqrt(var + eps if eps_place == "inside" else var)
        std = root + eps if eps_place == "outside" else root
        return x.mean(axis=axis, keepdims=True), std

    mean, std = moments(content, pool, eps)
    style_mean, style_std = moments(style, style_pool or pool, eps if style_eps else 0.0)
    y = content - mean if removes in ("mean_and_std", "mean") else content
    y = y / std if removes in ("mean_and_std", "std") else y
    factor = {"std": style_std, "var": style_std**2, "inverse": 1 / style_std}.get(scale, 1.0)
    summand = {"style": style_mean, "content": mean}.get(shift, 0.0)
    return (y + summand) * factor if order == "shift_first" else y * factor + summand


def _style_cases(rng: np.random.Generator) -> Iterator[Case]:
    def draw(content: tuple[int, ...], positions: tuple[int, ...], spread: float = 2.0) -> Inputs:
        other = _maps(rng, (*content[:2], *positions), 0.7 * spread)
        return {"content": _maps(rng, content, spread), "style": other}

    small = {
        "content": np.array([[[[2.0, 4.0], [6.0, 8.0]], [[0.0, 0.0], [1.0, 3.0]]]]),
        "style": np.array([[[[9.0, 13.0]], [[-4.0, 6.0]]]]),
    }
    yield Case("one image, two channels, a style of two pixels", {**small, "eps": 0.0})
    yield Case("three pairs of images", {**draw((3, 2, 4, 5), (4, 5)), "eps": 0.1})
    yield Case("a style of another size", {**draw((2, 3, 4, 5), (3, 2)), "eps": 0.1})
    yield Case("small contrast and a large eps", {**draw((2, 3, 4, 3), (5, 2), 0.4), "eps": 0.3})
    yield Case(
        "eps left to its default",
        draw((2, 3, 4, 2), (3, 5), 2e-3),
        about="The default of eps is 1e-5.",
    )
    yield Case(
        "images, channels, height and width all equal", {**draw((3,) * 4, (3, 3)), "eps": 0.1}
    )
    own = _maps(rng, (2, 3, 4, 5))
    yield Case(
        "an image as its own style",
        {"content": own, "style": own.copy(), "eps": 0.1},
        about="The same statistics are taken away and given back: y is the content.",
    )
    flat = draw((2, 3, 3, 4), (2, 5))
    flat["content"][1, 2] = 6.0
    yield Case(
        "a content map of one colour",
        {**flat, "eps": 0.1},
        Stage.SPECIAL,
        about="Where the content has no contrast, y is the style's mean.",
    )
    dull = draw((2, 2, 3, 4), (3, 4))
    dull["style"][0, 1] = -2.0
    yield Case(
        "a style map of one colour",
        {**dull, "eps": 0.1},
        Stage.SPECIAL,
        about="The style's standard deviation is √eps there: both roots hold eps.",
    )
    yield Case(
        "inputs that must not be written to",
        {**draw((2, 3, 2, 4), (3, 3)), "eps": 0.1},
        Stage.SPECIAL,
        layout="read-only",
    )
    yield Case(
        "float32 input", as_float32({**draw((2, 3, 5, 4), (2, 6)), "eps": 0.1}), Stage.NUMERICS
    )

    far = draw((2, 3, 4, 3), (3, 5), 1.0)
    far["content"] = far["content"] + 1e7
    yield Case(
        "a content of mean ten million",
        {**far, "eps": 0.1},
        Stage.NUMERICS,
        about="Subtract the mean before you square.",
    )


def _changes_content(content: Any, style: Any, eps: float = 1e-5) -> Any:
    y = _style_reference(content, style, eps)
    content -= content.mean(axis=(2, 3), keepdims=True)
    return y


_ADAPTIVE_INSTANCE_NORM = Exercise(
    id="adaptive_instance_norm",
    title="The contrast and colours of another image",
    section=_STYLE,
    signature="content, style, eps=1e-5",
    minutes=8,
    difficulty=2,
    hints=(
        "InstanceNorm removes mean and standard deviation from each map of the content. What could "
        "stand in for gamma and beta?",
        "Standardize the content per image and channel; then multiply by the style's standard "
        "deviation and add its mean, measured over the style's own pixels. Chapter 10, “The style "
        "of another image”.",
        "`std = np.sqrt(x.var(axis=(2, 3), keepdims=True) + eps)` for both; "
        "y = style_std · (content − mean) / std + style_mean.",
    ),
    insight=(
        "Nothing is lost on the way: give the result the content as its style, and the content "
        "comes back (at eps = 0). What AdaIN exchanges are 2·C numbers per image, and no pixel "
        "changes its place."
    ),
    cases=_style_cases,
    reference=_style_reference,
    variant=_style_variant,
    mistakes=(
        Mistake(
            "roles_swapped",
            "You give the style the statistics of the content. The content is standardized, the "
            "style lends mean and standard deviation.",
            {"roles": "style_first"},
        ),
        Mistake(
            "divides_by_n_minus_1",
            "You divide the variances by n − 1, as the authors' own code does. Here both are "
            "biased: mean((x − mean)²).",
            {"ddof": 1},
        ),
        Mistake(
            "eps_outside_root",
            "You add eps to the standard deviations. It belongs inside the roots: sqrt(var + eps).",
            {"eps_place": "outside"},
        ),
        Mistake(
            "eps_missing",
            "You leave eps out. Both standard deviations are sqrt(var + eps).",
            {"eps_place": "nowhere"},
        ),
        Mistake(
            "eps_missing_in_style",
            "The style's standard deviation lacks eps. Both are sqrt(var + eps), so that an image "
            "in its own style stays as it is.",
            {"style_eps": False},
        ),
        Mistake(
            "batch_too",
            "You pool the images of the batch together. Every image has statistics of its own: "
            "axes (2, 3).",
            {"pool": (0, 2, 3)},
        ),
        Mistake(
            "channels_too",
            "You pool the channels together, so colours are lost. Every channel has statistics of "
            "its own: axes (2, 3).",
            {"pool": (1, 2, 3)},
        ),
        Mistake(
            "one_style_for_the_batch",
            "You pool the styles of the batch. Content i takes the statistics of style i: axes "
            "(2, 3).",
            {"style_pool": (0, 2, 3)},
        ),
        Mistake(
            "style_channels_pooled",
            "You pool the style's channels, so its colours are lost. Every channel has statistics "
            "of its own: axes (2, 3).",
            {"style_pool": (1, 2, 3)},
        ),
        Mistake(
            "first_style_for_all",
            "You give all contents the first style. Content i takes the statistics of style i.",
            {"style_image": "first"},
        ),
        Mistake(
            "content_only_centered",
            "You subtract the content's mean but do not divide by its standard deviation.",
            {"removes": "mean"},
        ),
        Mistake(
            "content_not_centered",
            "You divide by the content's standard deviation but do not subtract its mean.",
            {"removes": "std"},
        ),
        Mistake(
            "content_not_standardized",
            "You scale and shift the content as it is. Standardize it first.",
            {"removes": "nothing"},
        ),
        Mistake(
            "scaled_by_variance",
            "You multiply by the style's variance. Multiply by its root.",
            {"scale": "var"},
        ),
        Mistake(
            "divided_by_style",
            "You divide by the style's standard deviation. Multiply by it.",
            {"scale": "inverse"},
        ),
        Mistake(
            "style_scale_missing",
            "You add the style's mean but do not multiply by its standard deviation.",
            {"scale": "none"},
        ),
        Mistake(
            "content_mean_kept",
            "You add the content's own mean back. Add the style's.",
            {"shift": "content"},
        ),
        Mistake(
            "style_mean_missing",
            "You do not add the style's mean.",
            {"shift": "none"},
        ),
        Mistake(
            "shifted_before_scaled",
            "You add the style's mean before multiplying, so the mean is scaled too. Multiply "
            "first.",
            {"order": "shift_first"},
        ),
        Mistake(
            "one_pass_variance",
            "Your variance is mean(x²) − mean(x)², the difference of two huge numbers when the "
            "mean is large. Subtract the mean first, then square.",
            {"one_pass": True},
        ),
        *default_eps_mistakes(),
        EPS_FIXED,
        Mistake(
            "changes_content",
            "Your function changes its argument content.",
            wrong=_changes_content,
            named_by="judge",
        ),
    ),
    notebook=_NOTEBOOK,
)

EXERCISES = (_INSTANCE_NORM_FORWARD, _ADAPTIVE_INSTANCE_NORM)

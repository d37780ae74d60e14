"""Chapter 11: GroupNorm, its gradient, and weight standardization."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from normcourse.checks.draws import as_float32, gammas, parameters
from normcourse.checks.exercise import Case, Exercise, Inputs, Mistake, Stage
from normcourse.checks.variants import (
    EPS_FIXED,
    affine_mistakes,
    chosen_eps,
    default_eps_mistakes,
    normalize,
    normalize_backward,
    parameter_gradient_mistakes,
    spread_mistakes,
    statistics_gradient_mistakes,
    statistics_mistakes,
)
from normcourse.norms.group_norm import group_norm, group_norm_backward, groups_for
from normcourse.norms.standardize_weight import standardize_weight

_NOTEBOOK = "11_group_norm"
_GROUPS = "Groups of neighbouring channels"
_BACKWARD = "The gradient, group by group"
_DIAL = "From layer to instance"
_WEIGHTS = "Weight standardization"


def _view(values: Any, num_groups: int, groups: str) -> Any:
    """Return (N, C, *) as (N, G, C / G, *), right or wrong as the switch says.

    Args:
        values: array of shape (N, C, *).
        num_groups: G.
        groups: "neighbours"; "interleaved": channel c in group c mod G; or "size": G taken for
            the number of channels in a group.
    """
    n, channels, *positions = values.shape
    if groups == "size":
        num_groups = channels // num_groups
    if groups == "interleaved":
        view = values.reshape(n, channels // num_groups, num_groups, *positions)
        return view.swapaxes(1, 2)
    return values.reshape(n, num_groups, channels // num_groups, *positions)


def _back(view: Any, shape: tuple[int, ...], groups: str) -> Any:
    """Return the view in its own shape again."""
    return (view.swapaxes(1, 2) if groups == "interleaved" else view).reshape(shape)


def _axes(pool: str, ndim: int) -> tuple[int, ...]:
    """Return the axes of a view (N, G, C / G, *) that a right or wrong answer pools."""
    positions = tuple(range(3, ndim))
    return {
        "group": (2, *positions),
        "pixel": (2,),
        "channel": positions,
        "image": (1, 2, *positions),
        "batch": (0, 2, *positions),
        "batch_channel": (0, *positions),
        "other_groups": (1,),
        "across_groups": (1, *positions),
        "all": tuple(range(ndim)),
    }[pool]


# ---------------------------------------------------------------- group_norm_forward


def _forward_reference(x: Any, num_groups: int, gamma: Any, beta: Any, eps: float = 1e-5) -> Any:
    return group_norm(x, num_groups, gamma, beta, eps=eps)


def _forward_variant(
    x: Any,
    num_groups: int,
    gamma: Any,
    beta: Any,
    eps: float | None = None,
    *,
    groups: str = "neighbours",
    pool: str = "group",
    default_eps: float = 1e-5,
    fixed_eps: float | None = None,
    **faults: Any,
) -> Any:
    eps = chosen_eps(eps, default_eps, fixed_eps)
    view = _view(x, num_groups, groups)
    gamma, beta = (_view(p[None], num_groups, groups)[0] for p in (gamma, beta))  # (G, C / G)
    axis = _axes(pool, view.ndim)
    y = normalize(view, gamma, beta, eps, axis=axis, channel_axis=(1, 2), **faults)
    return _back(y, x.shape, groups)


def _channels(rng: np.random.Generator, shape: tuple[int, ...], spread: float = 2.0) -> Any:
    """Return values whose means and spreads differ from channel to channel."""
    ones = (1,) * (len(shape) - 2)
    means = rng.normal(0.0, 1.5 * spread, (*shape[:2], *ones))
    return means + spread * rng.uniform(0.5, 1.5, means.shape) * rng.normal(0.0, 1.0, shape)


def _forward_cases(rng: np.random.Generator) -> Iterator[Case]:
    def draw(shape: tuple[int, ...], groups: int, spread: float = 2.0) -> Inputs:
        x = _channels(rng, shape, spread)
        return {"x": x, "num_groups": groups, **parameters(rng, shape[1])}

    small = np.array([[1.0, 2.0], [4.0, 3.0], [0.0, 8.0], [10.0, 30.0], [0.0, 20.0], [50.0, 10.0]])
    plain = {"num_groups": 2, "gamma": np.ones(6), "beta": np.zeros(6)}
    yield Case(
        "one image, six channels, two groups", {"x": small.reshape(1, 6, 1, 2), **plain, "eps": 0.0}
    )
    yield Case("a gamma and a beta per channel", {**draw((2, 6, 3, 5), 3), "eps": 0.1})
    yield Case("four channels in a group", {**draw((2, 8, 2, 3), 2), "eps": 0.1})
    yield Case(
        "one group",
        {**draw((2, 6, 2, 3), 1), "eps": 0.1},
        about="One group pools a whole image: LayerNorm's statistics.",
    )
    yield Case(
        "as many groups as channels",
        {**draw((2, 5, 3, 2), 5), "eps": 0.1},
        about="Groups of one channel: InstanceNorm.",
    )
    yield Case("small spread and a large eps", {**draw((2, 6, 4, 3), 2, 0.4), "eps": 0.3})
    yield Case(
        "eps left to its default", draw((2, 6, 2, 3), 3, 2e-3), about="The default of eps is 1e-5."
    )
    yield Case(
        "sequences instead of images",
        {**draw((2, 6, 5), 2), "eps": 0.1},
        about="Any number of position axes is allowed.",
    )
    yield Case(
        "no positions at all",
        {**draw((4, 6), 2), "eps": 0.1},
        about="Any number of position axes is allowed, none among them.",
    )
    yield Case(
        "groups of a single value",
        {**draw((3, 4), 4), "eps": 0.1},
        Stage.SPECIAL,
        about="A single value is its own mean, so y is beta.",
    )
    flat = draw((2, 6, 2, 3), 2)
    flat["x"][1, 3:] = 4.0
    yield Case(
        "a group of equal values",
        {**flat, "eps": 0.1},
        Stage.SPECIAL,
        about="Equal values have variance 0; eps keeps the division finite, and y is beta.",
    )
    yield Case(
        "float32 input that must not be written to",
        as_float32({**draw((2, 6, 4, 3), 2), "eps": 0.1}),
        Stage.NUMERICS,
        layout="read-only",
    )
    far = draw((2, 6, 2, 3), 3, 1.0)
    far["x"] = far["x"] + 1e8
    yield Case(
        "a mean a hundred million times the spread",
        {**far, "eps": 0.1},
        Stage.NUMERICS,
        tolerance=1e-3,
        about="Subtract the mean before you square.",
    )


def _four_axes_only(x: Any, num_groups: int, gamma: Any, beta: Any, eps: float = 1e-5) -> Any:
    _, _, _, _ = x.shape
    return _forward_reference(x, num_groups, gamma, beta, eps)


def _channels_by_images(x: Any, num_groups: int, gamma: Any, beta: Any, eps: float = 1e-5) -> Any:
    n, channels, *positions = x.shape
    x.reshape(n, num_groups, channels // n, *positions)
    return _forward_reference(x, num_groups, gamma, beta, eps)


def _batch_cut_into_groups(
    x: Any, num_groups: int, gamma: Any, beta: Any, eps: float = 1e-5
) -> Any:
    rows = x.reshape(num_groups, -1)
    rows = (rows - rows.mean(1, keepdims=True)) / np.sqrt(rows.var(1, keepdims=True) + eps)
    shape = (1, -1, *(1,) * (x.ndim - 2))
    return gamma.reshape(shape) * rows.reshape(x.shape) + beta.reshape(shape)


def _gamma_per_group(x: Any, num_groups: int, gamma: Any, beta: Any, eps: float = 1e-5) -> Any:
    size = x.shape[1] // num_groups
    gamma, beta = (np.repeat(p[:num_groups], size) for p in (gamma, beta))
    return _forward_reference(x, num_groups, gamma, beta, eps)


def _affine_along_last_axis(
    x: Any, num_groups: int, gamma: Any, beta: Any, eps: float = 1e-5
) -> Any:
    return gamma * _forward_reference(x, num_groups, None, None, eps) + beta


def _changes_x(x: Any, num_groups: int, gamma: Any, beta: Any, eps: float = 1e-5) -> Any:
    y = _forward_reference(x, num_groups, gamma, beta, eps)
    x *= 2
    return y


_GROUPING_MISTAKES = (
    Mistake(
        "interleaved",
        "You cut the channels as (C/G, G), so that every G-th channel meets in a group. Groups are "
        "neighbours: (G, C/G).",
        {"groups": "interleaved"},
        section=_GROUPS,
    ),
    Mistake(
        "groups_as_size",
        "You take num_groups for the number of channels in a group. It is the number of groups; "
        "each holds C / num_groups channels.",
        {"groups": "size"},
        section=_GROUPS,
    ),
    Mistake(
        "per_pixel",
        "You average over the channels of a group at each pixel alone. A group has one mean per "
        "image, over its channels and all positions.",
        {"pool": "pixel"},
        section=_GROUPS,
    ),
    Mistake(
        "per_channel",
        "You average over the positions of each channel alone: that is InstanceNorm. The channels "
        "of a group share one mean.",
        {"pool": "channel"},
        section=_GROUPS,
    ),
    Mistake(
        "whole_image",
        "You average over all channels of an image: that is one group. Each group has its own "
        "mean.",
        {"pool": "image"},
        section=_GROUPS,
    ),
    Mistake(
        "batch_too",
        "You pool the batch too. GroupNorm looks at one image at a time.",
        {"pool": "batch"},
        section=_GROUPS,
    ),
    Mistake(
        "batch_per_channel",
        "You pool batch and positions of each channel: that is BatchNorm. GroupNorm pools the "
        "channels of a group, image by image.",
        {"pool": "batch_channel"},
        section=_GROUPS,
    ),
    Mistake(
        "other_groups",
        "You average over the groups at each place. Average over what lies within a group: its "
        "channels and all positions.",
        {"pool": "other_groups"},
        section=_GROUPS,
    ),
    Mistake(
        "across_groups",
        "You average over the groups and the positions. Average over what lies within a group: its "
        "channels and all positions.",
        {"pool": "across_groups"},
        section=_GROUPS,
    ),
    Mistake(
        "one_mean_for_all",
        "You use one mean for the whole array. GroupNorm has one per image and group.",
        {"pool": "all"},
        section=_GROUPS,
    ),
)

_GROUP_NORM_FORWARD = Exercise(
    id="group_norm_forward",
    title="GroupNorm",
    section=_GROUPS,
    signature="x, num_groups, gamma, beta, eps=1e-5",
    minutes=12,
    difficulty=2,
    hints=(
        "Six channels, two groups: which channels belong together, and how many values of one "
        "image share a mean?",
        "Give the group an axis of its own: (N, G, C/G, *). One mean pools everything behind the "
        "first two axes. Chapter 11, “Groups of neighbouring channels”.",
        "`g = x.reshape(n, num_groups, -1)`, mean and variance over axis −1 with `keepdims=True`, "
        "back with `.reshape(x.shape)`; gamma and beta in the shape (1, C, 1, …).",
    ),
    insight=(
        "With C = 4 and G = 2 number and size of the groups are the same, so a layer that mixes "
        "them up passes every test. Of 18 wrong group norms found in public solutions to one "
        "course 3 make that mistake; the most frequent, with 6, is a mean at each pixel."
    ),
    cases=_forward_cases,
    reference=_forward_reference,
    variant=_forward_variant,
    mistakes=(
        *_GROUPING_MISTAKES,
        *statistics_mistakes("GroupNorm"),
        *spread_mistakes(),
        *affine_mistakes(),
        *default_eps_mistakes(),
        EPS_FIXED,
        Mistake(
            "channels_by_images",
            "You divide C by the number of images. A group holds C / num_groups channels.",
            wrong=_channels_by_images,
        ),
        Mistake(
            "batch_cut_into_groups",
            "You cut the whole batch into num_groups pieces. Every image is cut into groups of its "
            "own: keep the axis N.",
            wrong=_batch_cut_into_groups,
        ),
        Mistake(
            "gamma_per_group",
            "You use one gamma and one beta per group. Statistics are per group, gamma and beta "
            "per channel.",
            wrong=_gamma_per_group,
        ),
        Mistake(
            "affine_along_last_axis",
            "gamma and beta meet the last axis. Give them the shape (1, C, 1, …) so that they meet "
            "the channels.",
            wrong=_affine_along_last_axis,
        ),
        Mistake(
            "four_axes_only",
            "Your function works for images of four axes only. The shape is (N, C, *): take what "
            "follows C as it comes.",
            wrong=_four_axes_only,
        ),
        Mistake(
            "changes_x", "Your function changes its argument x.", wrong=_changes_x, named_by="judge"
        ),
    ),
    notebook=_NOTEBOOK,
)

# ---------------------------------------------------------------- group_norm_backward


def _backward_reference(dy: Any, x: Any, num_groups: int, gamma: Any, eps: float = 1e-5) -> Any:
    return group_norm_backward(dy, x, num_groups, gamma, eps=eps)


def _backward_variant(
    dy: Any,
    x: Any,
    num_groups: int,
    gamma: Any,
    eps: float | None = None,
    *,
    groups: str = "neighbours",
    pool: str = "group",
    count: str = "",
    parameters_over: str = "batch_channel",
    default_eps: float = 1e-5,
    fixed_eps: float | None = None,
    **faults: Any,
) -> Any:
    eps = chosen_eps(eps, default_eps, fixed_eps)
    view = _view(x, num_groups, groups)
    own = _view(gamma[None], num_groups, groups)[0]  # (G, C / G)
    if count:
        faults["count_over"] = _axes(count, view.ndim)
    over = {"examples": (0,), "image": (1, 2)}.get(parameters_over)
    dx, *of_parameters = normalize_backward(
        _view(dy, num_groups, groups),
        view,
        own,
        eps,
        axis=_axes(pool, view.ndim),
        channel_axis=(1, 2),
        shared_over=over or _axes(parameters_over, view.ndim),
        **faults,
    )
    dx = _back(dx, x.shape, groups)
    if parameters_over == "batch_channel":
        return dx, *(_back(p[None], (1, x.shape[1]), groups)[0] for p in of_parameters)
    if parameters_over == "examples":
        return dx, *(_back(p[None], (1, *x.shape[1:]), groups)[0] for p in of_parameters)
    if parameters_over == "channel":
        return dx, *(_back(p, x.shape[:2], groups) for p in of_parameters)
    return dx, *of_parameters


def _backward_cases(rng: np.random.Generator) -> Iterator[Case]:
    def draw(shape: tuple[int, ...], groups: int, spread: float = 2.0) -> Inputs:
        dy = rng.normal(0.5, 1.5, shape)
        x, gamma = _channels(rng, shape, spread), gammas(rng, shape[1])
        return {"dy": dy, "x": x, "num_groups": groups, "gamma": gamma}

    x = np.array([[1.0, 2.0], [4.0, 3.0], [0.0, 8.0], [10.0, 30.0], [0.0, 20.0], [50.0, 10.0]])
    dy = np.array([[1.0, 0.0], [2.0, -1.0], [0.0, 3.0], [1.0, 1.0], [-2.0, 0.0], [0.0, 2.0]])
    small = {"dy": dy.reshape(1, 6, 1, 2), "x": x.reshape(1, 6, 1, 2), "num_groups": 2}
    yield Case("one image, six channels, two groups", {**small, "gamma": np.ones(6), "eps": 0.0})
    yield Case("a gamma per channel", {**draw((2, 6, 3, 5), 3), "eps": 0.1})
    yield Case("four channels in a group", {**draw((3, 8, 2, 3), 2), "eps": 0.1})
    yield Case("one group", {**draw((2, 6, 2, 3), 1), "eps": 0.1})
    yield Case("as many groups as channels", {**draw((2, 5, 3, 2), 5), "eps": 0.1})
    yield Case("small spread and a large eps", {**draw((2, 6, 4, 3), 2, 0.4), "eps": 0.3})
    yield Case(
        "eps left to its default", draw((2, 6, 2, 3), 3, 2e-3), about="The default of eps is 1e-5."
    )
    yield Case("sequences instead of images", {**draw((2, 6, 5), 2), "eps": 0.1})
    yield Case(
        "no positions at all",
        {**draw((4, 6), 2), "eps": 0.1},
        about="Any number of position axes is allowed, none among them.",
    )
    yield Case("volumes", {**draw((2, 6, 2, 1, 3), 3), "eps": 0.1})
    yield Case(
        "groups of a single value",
        {**draw((3, 4), 4), "eps": 0.1},
        Stage.SPECIAL,
        about="y is beta whatever x is, so dx is 0.",
    )
    yield Case(
        "inputs that must not be written to",
        {**draw((2, 6, 3, 2), 3), "eps": 0.1},
        Stage.SPECIAL,
        layout="read-only",
    )
    yield Case("float32 input", as_float32({**draw((2, 6, 4, 3), 2), "eps": 0.1}), Stage.NUMERICS)


def _four_axes_only_backward(
    dy: Any, x: Any, num_groups: int, gamma: Any, eps: float = 1e-5
) -> Any:
    _, _, _, _ = x.shape
    return _backward_reference(dy, x, num_groups, gamma, eps)


def _changes_dy(dy: Any, x: Any, num_groups: int, gamma: Any, eps: float = 1e-5) -> Any:
    gradients = _backward_reference(dy, x, num_groups, gamma, eps)
    dy *= 2
    return gradients


_GROUP_NORM_BACKWARD = Exercise(
    id="group_norm_backward",
    title="GroupNorm, backward",
    section=_BACKWARD,
    signature="dy, x, num_groups, gamma, eps=1e-5",
    outputs=("dx", "dgamma", "dbeta"),
    minutes=20,
    difficulty=4,
    hints=(
        "Two things are shared here, and not by the same values. Who shares a mean, and who shares "
        "a gamma?",
        "dx_hat = gamma · dy is formed channel by channel; then both means run over one group of "
        "one image. dgamma and dbeta sum over images and positions. Chapter 11, “The gradient, "
        "group by group”.",
        "Reshape x_hat and dx_hat to (N, G, −1): dx = (dx_hat − mean(dx_hat) − x_hat · mean(dx_hat "
        "· x_hat)) / std over axis −1, and back. dgamma sums dy · x_hat over axes (0, 2, …) of "
        "(N, C, *).",
    ),
    insight=(
        "Of 32 wrong gradients found in public solutions to one course, 18 are the exact gradient "
        "of a wrong forward pass: a numerical check against one's own forward calls them right. "
        "Yours was compared with the reference."
    ),
    cases=_backward_cases,
    reference=_backward_reference,
    variant=_backward_variant,
    mistakes=(
        *_GROUPING_MISTAKES,
        Mistake(
            "gamma_pulled_out",
            "You multiply by gamma after taking the means. The channels of a group have different "
            "gammas: put it inside, dx_hat = gamma · dy.",
            {"gamma_in_dx": "outside"},
        ),
        Mistake(
            "divides_by_channels",
            "You divide the two sums by the number of channels in a group. They run over its "
            "positions too.",
            {"count": "pixel"},
        ),
        Mistake(
            "divides_by_positions",
            "You divide the two sums by the number of positions. They run over the channels of the "
            "group too.",
            {"count": "channel"},
        ),
        Mistake(
            "divides_by_image",
            "You divide the two sums by all values of an image. They run over one group of it.",
            {"count": "image"},
        ),
        Mistake(
            "divides_by_batch_too",
            "You divide the two sums by the values of a group in all images. They run over one "
            "image.",
            {"count": "batch"},
        ),
        Mistake(
            "parameters_per_group",
            "Your dgamma and dbeta have one entry per group. gamma and beta are per channel: sum "
            "over images and positions only.",
            {"parameters_over": "batch"},
        ),
        Mistake(
            "parameters_per_image_and_group",
            "Your dgamma and dbeta have one entry per image and group, as a reused layer norm "
            "gives. gamma and beta are per channel and shared by all images.",
            {"parameters_over": "group"},
        ),
        Mistake(
            "parameters_per_image",
            "Your dgamma and dbeta are not summed over the images. All images share one gamma: sum "
            "over the batch too.",
            {"parameters_over": "channel"},
        ),
        Mistake(
            "parameters_over_batch_only",
            "Your dgamma and dbeta are not summed over the positions. All positions share one "
            "gamma.",
            {"parameters_over": "examples"},
        ),
        *statistics_gradient_mistakes("GroupNorm", "the group"),
        *parameter_gradient_mistakes("images and positions"),
        *default_eps_mistakes(),
        EPS_FIXED,
        Mistake(
            "four_axes_only",
            "Your function works for images of four axes only. The shape is (N, C, *): take what "
            "follows C as it comes.",
            wrong=_four_axes_only_backward,
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

# ---------------------------------------------------------------- groups_for


def _groups_reference(method: str, num_channels: int) -> int:
    return groups_for(method, num_channels)


def _groups_variant(method: str, num_channels: int, *, answer: str = "number") -> Any:
    layer = method == "layer"
    return {
        "number": 1 if layer else num_channels,
        "size": num_channels if layer else 1,
        "one": 1,
        "channels": num_channels,
        "half": num_channels // 2 if layer else num_channels,
        "usual": min(32, num_channels),
    }[answer]


def _groups_cases(rng: np.random.Generator) -> Iterator[Case]:
    yield Case("LayerNorm's statistics for 6 channels", {"method": "layer", "num_channels": 6})
    yield Case("InstanceNorm for 6 channels", {"method": "instance", "num_channels": 6})
    yield Case("LayerNorm's statistics for 64 channels", {"method": "layer", "num_channels": 64})
    yield Case("InstanceNorm for 64 channels", {"method": "instance", "num_channels": 64})
    yield Case(
        "one channel",
        {"method": "instance", "num_channels": 1},
        Stage.SPECIAL,
        about="With one channel both are the same: one group of one channel.",
    )


_GROUPS_FOR = Exercise(
    id="groups_for",
    title="Both ends of the dial",
    section=_DIAL,
    signature="method, num_channels",
    outputs=("num_groups",),
    minutes=3,
    difficulty=1,
    hints=(
        "InstanceNorm keeps every channel apart, LayerNorm pools them all. How many groups is "
        "that?",
        "num_groups counts groups; a group's size is C / num_groups. Chapter 11, “From layer to "
        "instance”.",
        "One group holds all channels (layer); as many groups as channels hold one each "
        "(instance).",
    ),
    insight=(
        "Only the statistics agree at the layer end: GroupNorm with one group still has a gamma "
        "per channel, LayerNorm over (C, H, W) one per place. At the instance end the two layers "
        "are the same, gamma included."
    ),
    cases=_groups_cases,
    reference=_groups_reference,
    variant=_groups_variant,
    accepts=frozenset({"list"}),
    mistakes=(
        Mistake(
            "size_of_a_group",
            "You return the number of channels in a group. Asked is the number of groups: 1 for "
            "layer, C for instance.",
            {"answer": "size"},
        ),
        Mistake(
            "always_one",
            "You return 1 for both. One group pools all channels; InstanceNorm pools each alone: "
            "C groups.",
            {"answer": "one"},
        ),
        Mistake(
            "always_all",
            "You return C for both. C groups keep all channels apart; LayerNorm pools them: 1 "
            "group.",
            {"answer": "channels"},
        ),
        Mistake(
            "half_of_the_channels",
            "C / 2 groups pool pairs of channels. LayerNorm pools all of them: 1 group.",
            {"answer": "half"},
        ),
        Mistake(
            "usual_default",
            "32 groups are GroupNorm's usual setting, between the two ends. Asked are the ends: 1 "
            "and C.",
            {"answer": "usual"},
        ),
    ),
    notebook=_NOTEBOOK,
)

# ---------------------------------------------------------------- standardize_weight


def _weight_reference(weight: Any, eps: float = 1e-5) -> Any:
    return standardize_weight(weight, eps=eps)


def _weight_variant(
    weight: Any,
    eps: float | None = None,
    *,
    axis: tuple[int, ...] = (1, 2, 3),
    size: str = "",
    default_eps: float = 1e-5,
    fixed_eps: float | None = None,
    **faults: Any,
) -> Any:
    eps = chosen_eps(eps, default_eps, fixed_eps)
    w_hat = normalize(weight, None, None, eps, axis=axis, channel_axis=0, **faults)
    fan_in = math.prod(weight.shape[1:])
    return w_hat / math.sqrt(fan_in) if size == "fan_in" else w_hat


def _weight_cases(rng: np.random.Generator) -> Iterator[Case]:
    def draw(shape: tuple[int, ...], spread: float = 2.0) -> Any:
        means = rng.normal(0.0, spread, (shape[0], shape[1], 1, 1))
        return means + rng.normal(0.0, spread, shape)

    small = np.array([[[[1.0, 2.0]], [[5.0, 0.0]]], [[[10.0, 0.0]], [[0.0, 30.0]]]])
    yield Case("two filters of four weights", {"weight": small, "eps": 0.0})
    yield Case("filters of a small net", {"weight": draw((4, 3, 2, 5)), "eps": 0.1})
    yield Case("small weights and a large eps", {"weight": draw((3, 2, 3, 4), 0.3), "eps": 0.3})
    yield Case(
        "eps left to its default",
        {"weight": draw((3, 4, 3, 2), 2e-3)},
        about="The default of eps is 1e-5.",
    )
    yield Case("filters of one pixel", {"weight": draw((5, 4, 1, 1)), "eps": 0.1})
    yield Case(
        "one input channel",
        {"weight": draw((3, 1, 2, 4)), "eps": 0.1},
        about="As in the first layer of a net for grey images, or in a depthwise convolution.",
    )
    yield Case("all sizes equal", {"weight": draw((3, 3, 3, 3)), "eps": 0.1})
    yield Case("a single filter", {"weight": draw((1, 3, 2, 3)), "eps": 0.1})
    yield Case(
        "filters of one weight",
        {"weight": draw((4, 1, 1, 1)), "eps": 0.1},
        Stage.SPECIAL,
        about="A single weight is its own mean: 0 is left.",
    )
    equal = draw((3, 2, 2, 2))
    equal[1] = 0.5
    yield Case(
        "a filter of equal weights",
        {"weight": equal, "eps": 0.1},
        Stage.SPECIAL,
        about="Equal weights have variance 0; eps keeps the division finite.",
    )
    yield Case(
        "a weight that must not be written to",
        {"weight": draw((4, 2, 3, 3)), "eps": 0.1},
        Stage.SPECIAL,
        layout="read-only",
    )
    yield Case(
        "float32 weights", as_float32({"weight": draw((4, 3, 3, 2)), "eps": 0.1}), Stage.NUMERICS
    )
    yield Case(
        "weights of mean ten million",
        {"weight": 1e7 + draw((3, 2, 3, 2), 1.0), "eps": 0.1},
        Stage.NUMERICS,
        about="Subtract the mean before you square.",
    )


def _changes_weight(weight: Any, eps: float = 1e-5) -> Any:
    weight -= weight.mean(axis=(1, 2, 3), keepdims=True)
    return weight / np.sqrt(weight.var(axis=(1, 2, 3), keepdims=True) + eps)


_STANDARDIZE_WEIGHT = Exercise(
    id="standardize_weight",
    title="Weight standardization",
    section=_WEIGHTS,
    signature="weight, eps=1e-5",
    outputs=("w_hat",),
    minutes=6,
    difficulty=2,
    hints=(
        "Which weights are summed up into one output channel, and which belong to another?",
        "A filter is weight[o], of shape (I, kH, kW). Each has one mean and one variance. Chapter "
        "11, “Weight standardization”.",
        "`axis = (1, 2, 3)`: (weight − mean) / sqrt(var + eps) with `keepdims=True`, `np.var` as "
        "it is.",
    ),
    insight=(
        "A filter whose weights sum to 0 gives 0 wherever all its inputs are equal: it sees "
        "differences, never brightness. Standardized filters share this with edge detectors, "
        "whatever they learn."
    ),
    cases=_weight_cases,
    reference=_weight_reference,
    variant=_weight_variant,
    mistakes=(
        Mistake(
            "per_kernel",
            "You standardize each kH × kW kernel alone. A filter's kernels, one per input channel, "
            "share one mean: axes (1, 2, 3).",
            {"axis": (2, 3)},
        ),
        Mistake(
            "per_input_channel",
            "You pool the outputs too, one mean per input channel. Each output filter has its own: "
            "axes (1, 2, 3).",
            {"axis": (0, 2, 3)},
        ),
        Mistake(
            "per_position",
            "You pool the input channels at each place of the kernel. A filter has one mean: axes "
            "(1, 2, 3).",
            {"axis": (1,)},
        ),
        Mistake(
            "over_outputs",
            "You pool the outputs, axis 0. Each output filter is standardized over its own "
            "weights: axes (1, 2, 3).",
            {"axis": (0,)},
        ),
        Mistake(
            "whole_weight",
            "You use one mean for the whole weight. Each output filter has its own: axes "
            "(1, 2, 3).",
            {"axis": (0, 1, 2, 3)},
        ),
        Mistake(
            "divided_by_root_of_fan_in",
            "You divide by the root of the fan-in as well, as some nets do. Here the standard "
            "deviation of a filter is 1.",
            {"size": "fan_in"},
        ),
        *statistics_mistakes("Weight standardization"),
        *default_eps_mistakes(),
        EPS_FIXED,
        Mistake(
            "changes_weight",
            "Your function changes its argument weight.",
            wrong=_changes_weight,
            named_by="judge",
        ),
    ),
    notebook=_NOTEBOOK,
)

# ---------------------------------------------------------------- group_norm_like_torch


def _like_torch_cases(rng: np.random.Generator) -> Iterator[Case]:
    def draw(shape: tuple[int, ...], groups: int, spread: float = 2.0) -> Inputs:
        x = _channels(rng, shape, spread)
        return {"x": x, "num_groups": groups, **parameters(rng, shape[1])}

    small = np.array([[1.0, 3.0], [2.0, 2.0], [0.0, 4.0], [10.0, 30.0], [0.0, 20.0], [50.0, 10.0]])
    plain = {"num_groups": 2, "gamma": np.ones(6), "beta": np.zeros(6)}
    yield Case(
        "one image, six channels, two groups",
        {"x": small.reshape(1, 6, 1, 2), **plain, "eps": 0.0},
        about="The first three channels hold small numbers and the last three large ones: each "
        "half has a mean of its own.",
    )
    yield Case("three groups of two", {**draw((2, 6, 3, 5), 3), "eps": 0.1})
    yield Case("two groups of four", {**draw((3, 8, 2, 3), 2), "eps": 0.1})
    yield Case("one group", {**draw((2, 6, 2, 3), 1), "eps": 0.1})
    yield Case("as many groups as channels", {**draw((2, 5, 3, 2), 5), "eps": 0.1})
    yield Case("small spread and a large eps", {**draw((2, 6, 4, 3), 2, 0.4), "eps": 0.3})
    yield Case(
        "eps left to its default", draw((2, 6, 2, 3), 3, 2e-3), about="The default of eps is 1e-5."
    )
    yield Case("maps of one pixel", {**draw((3, 6, 1, 1), 2), "eps": 0.1}, Stage.SPECIAL)
    yield Case("float32 input", as_float32({**draw((2, 6, 4, 3), 2), "eps": 0.1}), Stage.NUMERICS)


_GROUP_NORM_LIKE_TORCH = Exercise(
    id="group_norm_like_torch",
    title="Find the bugs: groups that are no groups",
    section=_GROUPS,
    signature="x, num_groups, gamma, beta, eps=1e-5",
    minutes=8,
    difficulty=3,
    kind="repair",
    hints=(
        "Write the numbers 0 to 5 into the six channels and print what the reshape makes of them. "
        "Which channels stand together?",
        "There are two bugs: which channels form a group, and which values of a group share a "
        "mean. Chapter 11, “Groups of neighbouring channels”.",
        "The view is (N, G, C/G, H, W); mean and variance run over its axes (2, 3, 4).",
    ),
    insight=(
        "Interleaved groups are a layer in their own right and train without complaint. The fault "
        "shows when weights come from another library, or when neighbouring channels belong "
        "together, as behind a grouped convolution."
    ),
    cases=_like_torch_cases,
    reference=_forward_reference,
    variant=_forward_variant,
    mistakes=(
        *_GROUPING_MISTAKES,
        *statistics_mistakes("torch.nn.GroupNorm")[:5],
        *affine_mistakes()[:2],
        *default_eps_mistakes(),
        EPS_FIXED,
    ),
    notebook=_NOTEBOOK,
)

EXERCISES = (
    _GROUP_NORM_FORWARD,
    _GROUP_NORM_BACKWARD,
    _GROUPS_FOR,
    _STANDARDIZE_WEIGHT,
    _GROUP_NORM_LIKE_TORCH,
)

"""What LayerNorm and RMSNorm share: they pool the last axis and are asked about the same shapes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from normcourse.checks.draws import gammas
from normcourse.checks.exercise import Case, Inputs, Mistake
from normcourse.checks.variants import Array, Axes, chosen_eps, normalize_backward


def pooled_axes(pool: str, ndim: int) -> Axes:
    """Return the axes that a right or wrong answer pools.

    Example:
        >>> pooled_axes("last", 3), pooled_axes("all_but_first", 3)
        ((2,), (1, 2))
    """
    return {
        "last": (ndim - 1,),
        "first": (0,),
        "second": (1,),
        "leading": tuple(range(ndim - 1)),
        "all_but_first": tuple(range(1, ndim)),
        "all": tuple(range(ndim)),
    }[pool]


def backward_variant(
    dy: Array,
    x: Array,
    gamma: Array,
    eps: float | None = None,
    *,
    pool: str = "last",
    count: str = "",
    parameters_over: str = "leading",
    default_eps: float = 1e-5,
    fixed_eps: float | None = None,
    **faults: Any,
) -> tuple[Array, Array, Array]:
    """Return dx, dgamma and dbeta over the last axis, right or wrong as the switches say.

    Args:
        dy: gradient with respect to y.
        x: the input of the forward pass.
        gamma: scale of the last axis.
        eps: the constant.
        pool: key of :func:`pooled_axes`, the axes that one mean pools.
        count: key of the axes whose sizes divide, if not those that are pooled.
        parameters_over: key of the axes that dgamma and dbeta sum over.
        default_eps: the eps that is used where none is given.
        fixed_eps: the eps that is used whatever is given.
        faults: switches of ``variants.normalize_backward``.
    """
    eps = chosen_eps(eps, default_eps, fixed_eps)
    if count:
        faults["count_over"] = pooled_axes(count, x.ndim)
    return normalize_backward(
        dy,
        x,
        gamma,
        eps,
        axis=pooled_axes(pool, x.ndim),
        channel_axis=x.ndim - 1,
        shared_over=pooled_axes(parameters_over, x.ndim),
        **faults,
    )


def gradient_inputs(
    rng: np.random.Generator, shape: tuple[int, ...], mean: float = 1.0, spread: float = 2.0
) -> Inputs:
    """Return an upstream gradient, an x and a gamma for the last axis."""
    x = rng.normal(mean, spread, shape)
    return {"dy": rng.normal(0.5, 1.5, shape), "x": x, "gamma": gammas(rng, shape[-1])}


def backward_cases(
    rng: np.random.Generator, x: Array, small: tuple[str, float, float], default_mean: float
) -> Iterator[Case]:
    """Yield the cases of a backward pass over the last axis, up to four axes.

    Args:
        rng: what draws.
        x: two examples of three features, for the first case.
        small: name, mean and spread of the case with a large eps.
        default_mean: mean of x where eps is left to its default.
    """

    def draw(shape: tuple[int, ...], mean: float = 1.0, spread: float = 2.0) -> Inputs:
        return gradient_inputs(rng, shape, mean, spread)

    dy = np.array([[1.0, 0.0, 2.0], [3.0, -1.0, 0.0]])
    name, mean, spread = small
    yield Case("two examples, three features", {"dy": dy, "x": x, "gamma": np.ones(3), "eps": 0.0})
    yield Case("a gamma per feature", {**draw((4, 3)), "eps": 0.1})
    yield Case("sequences of token vectors", {**draw((2, 3, 5)), "eps": 0.1})
    yield Case(f"{name} and a large eps", {**draw((3, 5), mean, spread), "eps": 0.3})
    yield Case(
        "eps left to its default",
        draw((2, 6), default_mean, 2e-3),
        about="The default of eps is 1e-5.",
    )
    yield Case("as many examples as features", {**draw((4, 4)), "eps": 1e-3})
    yield Case(
        "one vector without a batch axis",
        {**draw((6,)), "eps": 0.1},
        about="Without leading axes dgamma is dy · x_hat: there is nothing to sum over.",
    )
    yield Case("four axes", {**draw((2, 4, 3, 5)), "eps": 0.1})


def lost_axis_mistakes(
    keepdims_missing: Callable[..., Any],
    new_axis_second: Callable[..., Any],
    two_axes_only: Callable[..., Any],
) -> tuple[Mistake, ...]:
    """Return the mistakes about the axis that a mean takes away."""
    return (
        Mistake(
            "keepdims_missing",
            "Your mean loses the last axis and then meets x along the wrong one. Keep it with "
            "`keepdims=True`.",
            wrong=keepdims_missing,
        ),
        Mistake(
            "new_axis_second",
            "`[:, None]` puts the lost axis in second place, which fits two axes only. "
            "`keepdims=True` or `[..., None]` puts it last.",
            wrong=new_axis_second,
        ),
        Mistake(
            "two_axes_only",
            "Your function works for an x of two axes only. Any leading axes are allowed; count "
            "from the end, with axis −1.",
            wrong=two_axes_only,
        ),
    )

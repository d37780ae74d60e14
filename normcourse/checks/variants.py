"""Normalization with switches: right by default, wrong in the ways learners are.

Each keyword is one decision that a learner takes when writing a normalization layer. Exercises turn
a keyword into a mistake; two keywords together are two mistakes at once. The judge runs these on
the inputs that the learner's code had and compares.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from normcourse.checks.exercise import Mistake

Array = NDArray[Any]
Axes = tuple[int, ...]


def normalize(
    x: Array,
    gamma: Array | None,
    beta: Array | None,
    eps: float,
    *,
    axis: Axes,
    channel_axis: int,
    ddof: int = 0,
    eps_place: str = "inside",
    denominator: str = "std",
    center: bool = True,
    scale: str = "gamma",
    shift: str = "beta",
    affine: str = "after",
    one_pass: bool = False,
) -> Array:
    """Return a normalized array, right or wrong as the switches say.

    Args:
        x: the input.
        gamma: scale along ``channel_axis``.
        beta: shift along ``channel_axis``.
        eps: the constant.
        axis: the axes that one mean pools.
        channel_axis: the axis that gamma and beta belong to.
        ddof: what is taken from n in the variance.
        eps_place: "inside" the root, "outside" or "nowhere".
        denominator: "std", "var" or "none".
        center: subtract the mean.
        scale: "gamma", "beta" (swapped), "first_gamma" (one number for all) or "no_scale".
        shift: "beta", "gamma" (swapped), "first_beta", "no_shift" or "minus".
        affine: "after", "before" normalizing, or "shift_first": gamma * (x_hat + beta).
        one_pass: variance as E[x^2] - E[x]^2.
    """
    shape = tuple(x.shape[channel_axis] if a == channel_axis % x.ndim else 1 for a in range(x.ndim))
    parameters = {"gamma": gamma, "beta": beta}
    g, b = (_parameter(parameters, which, shape) for which in (scale, shift))
    if affine == "before":
        x = x * g + b
    mean = x.mean(axis=axis, keepdims=True)
    if one_pass:
        var = (x * x).mean(axis=axis, keepdims=True) - mean * mean
    else:
        var = x.var(axis=axis, keepdims=True, ddof=ddof)
    x_hat: Array = (x - mean if center else x) / _denominator(var, eps, eps_place, denominator)
    if affine == "before":
        return x_hat
    y: Array = (x_hat + b) * g if affine == "shift_first" else x_hat * g + b
    return y


def _denominator(var: Array, eps: float, eps_place: str, kind: str) -> Array:
    if kind == "none":
        return np.ones_like(var)
    inside = var + eps if eps_place == "inside" else var
    root = np.sqrt(inside) if kind == "std" else inside
    divisor: Array = root + eps if eps_place == "outside" else root
    return divisor


def _parameter(parameters: dict[str, Array | None], which: str, shape: tuple[int, ...]) -> Any:
    """Return the parameter that a switch names, ready to meet x."""
    sign = -1.0 if which == "minus" else 1.0
    value = parameters.get("beta" if which == "minus" else which.removeprefix("first_"))
    if value is None:
        return 1.0 if which in ("gamma", "no_scale") else 0.0
    if which.startswith("first_"):
        return value.ravel()[0]
    return sign * value.reshape(shape)


def statistics_mistakes(method: str) -> tuple[Mistake, ...]:
    """Return the mistakes about variance and eps that every normalization shares."""
    return (
        Mistake(
            "divides_by_n_minus_1",
            f"You divide by n − 1. {method} normalizes with the biased variance, "
            "mean((x − mean)²).",
            {"ddof": 1},
        ),
        Mistake(
            "eps_outside_root",
            "You add eps to the standard deviation. It belongs inside the root: sqrt(var + eps).",
            {"eps_place": "outside"},
        ),
        Mistake(
            "eps_missing",
            "You leave eps out. Divide by sqrt(var + eps), also where eps changes little.",
            {"eps_place": "nowhere"},
        ),
        Mistake(
            "divides_by_variance",
            "You divide by the variance. Divide by its root, the standard deviation.",
            {"denominator": "var"},
        ),
        Mistake(
            "only_centered",
            "You subtract the mean but do not divide by sqrt(var + eps).",
            {"denominator": "none"},
        ),
        Mistake(
            "not_centered",
            "You divide by the standard deviation but do not subtract the mean.",
            {"center": False},
        ),
        Mistake(
            "one_pass_variance",
            "Your variance is mean(x²) − mean(x)², the difference of two huge numbers when the "
            "mean is large. Subtract the mean first, then square.",
            {"one_pass": True},
        ),
    )


def affine_mistakes() -> tuple[Mistake, ...]:
    """Return the mistakes about gamma and beta that every affine step shares."""
    return (
        Mistake(
            "gamma_missing",
            "You do not multiply by gamma.",
            {"scale": "no_scale"},
        ),
        Mistake("beta_missing", "You do not add beta.", {"shift": "no_shift"}),
        Mistake(
            "beta_subtracted", "You subtract beta. The affine step adds it.", {"shift": "minus"}
        ),
        Mistake(
            "gamma_beta_swapped",
            "You swap gamma and beta: gamma multiplies, beta is added.",
            {"scale": "beta", "shift": "gamma"},
        ),
        Mistake(
            "gamma_scalar",
            "You use the first entry of gamma for all. There is one gamma per feature or channel.",
            {"scale": "first_gamma"},
        ),
        Mistake(
            "beta_scalar",
            "You use the first entry of beta for all. There is one beta per feature or channel.",
            {"shift": "first_beta"},
        ),
        Mistake(
            "affine_before",
            "You apply gamma and beta before normalizing, which then removes them again. "
            "Normalize first.",
            {"affine": "before"},
        ),
        Mistake(
            "beta_before_gamma",
            "You add beta before multiplying by gamma, so beta is scaled too. "
            "It is gamma · x_hat + beta.",
            {"affine": "shift_first"},
        ),
    )

"""Normalization with switches: right by default, wrong in the ways learners are.

Each keyword is one decision that a learner takes when writing a normalization layer. Exercises turn
a keyword into a mistake; two keywords together are two mistakes at once. The judge runs these on
the inputs that the learner's code had and compares.
"""

from __future__ import annotations

import math
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
    channel_axis: int | Axes,
    ddof: int = 0,
    spread: str = "variance",
    eps_place: str = "inside",
    denominator: str = "std",
    center: bool = True,
    scale: str = "gamma",
    shift: str = "beta",
    affine: str = "after",
    one_pass: bool = False,
    given: tuple[Array, Array] | None = None,
) -> Array:
    """Return a normalized array, right or wrong as the switches say.

    Args:
        x: the input.
        gamma: scale along ``channel_axis``.
        beta: shift along ``channel_axis``.
        eps: the constant.
        axis: the axes that one mean pools.
        channel_axis: the axis or axes that gamma and beta belong to.
        ddof: what is taken from n in the variance.
        spread: "variance", "sum" (not divided by n), "square" (not centered) or "of_all" (one
            variance for the whole array).
        eps_place: "inside" the root, "outside" or "nowhere".
        denominator: "std", "var" or "none".
        center: subtract the mean.
        scale: "gamma", "beta" (swapped), "first_gamma" (one number for all) or "no_scale".
        shift: "beta", "gamma" (swapped), "first_beta", "no_shift" or "minus".
        affine: "after", "before" normalizing, or "shift_first": gamma * (x_hat + beta).
        one_pass: variance as E[x^2] - E[x]^2.
        given: mean and variance to use in place of x's own, axes kept, as inference does.
    """
    shape = parameter_shape(x.shape, channel_axis)
    parameters = {"gamma": gamma, "beta": beta}
    g, b = (_parameter(parameters, which, shape) for which in (scale, shift))
    if affine == "before":
        x = x * g + b
    mean = x.mean(axis=axis, keepdims=True)
    if given is not None:
        mean, var = given
    elif one_pass:
        var = (x * x).mean(axis=axis, keepdims=True) - mean * mean
    else:  # the judge tries hundreds of these, and x.var would take the mean once more
        gap = x if spread == "square" else x - mean
        count = 1 if spread == "sum" else _sizes(x, axis) - ddof
        var = (gap * gap).sum(axis=axis, keepdims=True) / count
        var = np.full_like(mean, x.var(ddof=ddof)) if spread == "of_all" else var
    x_hat: Array = (x - mean if center else x) / _denominator(var, eps, eps_place, denominator)
    if affine == "before":
        return x_hat
    y: Array = (x_hat + b) * g if affine == "shift_first" else x_hat * g + b
    return y


def parameter_shape(shape: tuple[int, ...], channel_axis: int | Axes) -> tuple[int, ...]:
    """Return the shape in which gamma and beta meet an array: 1 but for their own axes.

    Example:
        >>> parameter_shape((2, 3, 4), -1), parameter_shape((2, 3, 4), (1, 2))
        ((1, 1, 4), (1, 3, 4))
    """
    axes = channel_axis if isinstance(channel_axis, tuple) else (channel_axis,)
    kept = {axis % len(shape) for axis in axes}
    return tuple(size if axis in kept else 1 for axis, size in enumerate(shape))


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


def spread_mistakes() -> tuple[Mistake, ...]:
    """Return the mistakes of a sum of squares that is not yet a variance."""
    return (
        Mistake(
            "variance_not_divided",
            "Your variance is a sum of squares. Divide it by n, the number of values it pools.",
            {"spread": "sum"},
        ),
        Mistake(
            "variance_not_centered",
            "Your variance is the mean of x². Subtract the mean before you square.",
            {"spread": "square"},
        ),
        Mistake(
            "one_variance_for_all",
            "Your mean pools the right axes, your variance the whole array. Give `var` the same "
            "axis.",
            {"spread": "of_all"},
        ),
    )


def default_eps_mistakes() -> tuple[Mistake, ...]:
    """Return the mistakes of another default for eps, as other libraries have it."""
    return tuple(
        Mistake(
            f"default_eps_{value:g}",
            f"Your default is eps={value:g}. The exercise asks for eps=1e-5, PyTorch's default.",
            {"default_eps": value},
        )
        for value in (1e-8, 1e-6, 1e-3, 1e-12)
    )


EPS_FIXED = Mistake(
    "eps_fixed",
    "You use 1e-5 whatever eps is. Use the argument.",
    {"fixed_eps": 1e-5},
)


def chosen_eps(eps: float | None, default: float, fixed: float | None) -> float:
    """Return the eps that an answer uses: the one given, its default, or one of its own."""
    if fixed is not None:
        return fixed
    return default if eps is None else eps


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


def normalize_backward(
    dy: Array,
    x: Array,
    gamma: Array | None,
    eps: float,
    *,
    axis: Axes,
    channel_axis: int | Axes,
    center: bool = True,
    ddof: int = 0,
    var_ddof: int = 0,
    eps_place: str = "inside",
    statistics: str = "follow",
    mean_sign: float = 1.0,
    mean_divided: bool = True,
    var_factor: float = 1.0,
    var_power: int = 2,
    var_from: str = "x_hat",
    power: int = 1,
    times_n: bool = False,
    count_over: Axes | None = None,
    gamma_in_dx: str = "inside",
    dgamma_from: str = "x_hat",
    parameters_from: str = "dy",
    parameter_sum: str = "sum",
    shared_over: Axes | None = None,
    order: str = "dgamma_dbeta",
) -> tuple[Array, Array, Array]:
    """Return dx, dgamma and dbeta of a normalization, right or wrong as the switches say.

    Right is, with means over ``axis`` and inv_std = 1 / sqrt(var + eps):

        dx_hat = gamma * dy
        dx     = inv_std * (dx_hat - mean(dx_hat) - x_hat * mean(dx_hat * x_hat))
        dgamma = sum(dy * x_hat),  dbeta = sum(dy)     over all axes that share one gamma

    A group norm is given its view (N, G, C / G, *) with ``channel_axis=(1, 2)``.

    Args:
        dy: gradient with respect to y.
        x: the input of the forward pass.
        gamma: scale along ``channel_axis``, or None for 1.
        eps: the constant.
        axis: the axes that one mean pools.
        channel_axis: the axis or axes that gamma and beta belong to.
        center: False is RMSNorm: no mean is taken, the variance is the mean square.
        ddof: what is taken from n in the variance.
        var_ddof: what is taken from n in mean(dx_hat * x_hat); with ``ddof`` = 1 as well it is
            the derivative of a forward pass that divides by n - 1.
        eps_place: "inside" the root, "outside", "outside_exact" (the derivative of a forward pass
            with eps outside) or "nowhere".
        statistics: which of them follow x: "follow" (both), "constants" (detached),
            "mean_constant", "var_constant" or "own" (only through the element itself).
        mean_sign: factor of mean(dx_hat).
        mean_divided: False leaves a sum in place of mean(dx_hat).
        var_factor: factor of x_hat * mean(dx_hat * x_hat).
        var_power: of inv_std within the variance term, in (x - mean) * inv_std**2 * mean(...).
        var_from: what the variance term holds twice: "x_hat", "x" (not centered, in the mean) or
            "ones" (the factor x - mean is lost).
        power: of inv_std before the bracket.
        times_n: n in front of the bracket, as in N·dx_hat − sum − …, and no division by it.
        count_over: the axes whose sizes give the divisor of the two means; () leaves sums.
        gamma_in_dx: "inside" the means, "outside" them (pulled out), "twice", "none" or "divided".
        dgamma_from: what dy is multiplied by: "x_hat", "x", "centered", "y" or "ones".
        parameters_from: "dy" or "dx_hat", which holds gamma already.
        parameter_sum: "sum" or "mean".
        shared_over: the axes that dgamma and dbeta sum over; all but ``channel_axis`` if None.
        order: "dgamma_dbeta" or "dbeta_dgamma".
    """
    channel_axes = (channel_axis,) if isinstance(channel_axis, int) else channel_axis
    channel_axes = tuple(a % x.ndim for a in channel_axes)
    g = 1.0 if gamma is None else gamma.reshape(parameter_shape(x.shape, channel_axes))
    count = _sizes(x, axis)
    centered = x - x.mean(axis=axis, keepdims=True) if center else x
    var = (centered * centered).sum(axis=axis, keepdims=True) / (count - ddof)
    std = _denominator(var, eps, eps_place.removesuffix("_exact"), "std")
    x_hat = centered / std

    divisor = count if count_over is None else _sizes(x, count_over)
    upstream = {"outside": dy, "none": dy, "divided": dy / g}.get(gamma_in_dx, dy * g)
    along = {"x_hat": centered, "x": x, "ones": centered}[var_from]
    spread = centered if var_from != "ones" else np.ones_like(centered)
    if eps_place == "outside_exact":
        var_factor = var_factor * std / np.sqrt(var)  # d sqrt(var) keeps no eps
    mean_term = mean_sign * _summed(upstream, axis, statistics) / (divisor if mean_divided else 1)
    inner = _summed(upstream * along, axis, statistics) / (divisor - var_ddof)
    var_term = var_factor * spread * std ** -float(var_power) * inner
    dx: Array = upstream
    if center and statistics not in ("constants", "mean_constant"):
        dx = dx - mean_term
    if statistics not in ("constants", "var_constant"):
        dx = dx - var_term
    dx = dx * std ** -float(power)
    dx = dx * g if gamma_in_dx in ("outside", "twice") else dx
    dx = dx * count if times_n else dx

    factor = {"x_hat": x_hat, "x": x, "centered": centered, "y": x_hat * g, "ones": 1.0}
    own = dy if parameters_from == "dy" else dy * g
    if shared_over is None:
        shared_over = tuple(a for a in range(x.ndim) if a not in channel_axes)
    reduce = np.sum if parameter_sum == "sum" else np.mean
    dgamma = reduce(own * factor[dgamma_from], axis=shared_over)
    dbeta = reduce(own, axis=shared_over)
    return (dx, dgamma, dbeta) if order == "dgamma_dbeta" else (dx, dbeta, dgamma)


def _sizes(x: Array, axis: Axes) -> int:
    return math.prod(x.shape[a] for a in axis)


def _summed(values: Array, axis: Axes, statistics: str) -> Array:
    """Return the sum over the axes, or the values themselves where each sees only its own."""
    return values if statistics == "own" else values.sum(axis=axis, keepdims=True)


def statistics_gradient_mistakes(method: str, over: str) -> tuple[Mistake, ...]:
    """Return the mistakes about the path through mean and variance that every backward shares.

    Args:
        method: name in the messages, such as "BatchNorm".
        over: what one mean pools, such as "the batch" or "the features".
    """
    return (
        Mistake(
            "statistics_constant",
            "You treat mean and variance as constants: dx = dx_hat / std. Both depend on x, and "
            "two terms follow from that.",
            {"statistics": "constants"},
        ),
        Mistake(
            "mean_term_missing",
            f"You leave out the path through the mean: subtract the mean of dx_hat over {over}.",
            {"statistics": "mean_constant"},
        ),
        Mistake(
            "variance_term_missing",
            "You leave out the path through the variance: subtract x_hat · mean(dx_hat · x_hat). "
            "A product of two separate means is 0 and does not replace it.",
            {"statistics": "var_constant"},
        ),
        Mistake(
            "own_element_only",
            "You differentiate each value by itself alone. Mean and variance tie all values over "
            f"{over} together, so sum over them.",
            {"statistics": "own"},
        ),
        Mistake(
            "mean_term_added",
            "You add the mean of dx_hat. Its sign is minus: x_hat falls when the mean rises.",
            {"mean_sign": -1.0},
        ),
        Mistake(
            "variance_term_added",
            "You add x_hat · mean(dx_hat · x_hat). Its sign is minus: x_hat shrinks when the "
            "variance grows.",
            {"var_factor": -1.0},
        ),
        Mistake(
            "variance_term_halved",
            "Your variance term is half of what it should be. The ½ of the root's derivative "
            "cancels against the 2 of (x − mean)².",
            {"var_factor": 0.5},
        ),
        Mistake(
            "variance_term_doubled",
            "Your variance term is twice what it should be. The 2 of (x − mean)² cancels against "
            "the ½ of the root's derivative.",
            {"var_factor": 2.0},
        ),
        Mistake(
            "variance_power_one_low",
            "Your variance term lacks one division by std: the derivative of 1/std with respect to "
            "the variance is −½ · (var + eps)^(−3/2).",
            {"var_power": 1},
        ),
        Mistake(
            "variance_power_two_low",
            "Your variance term uses (var + eps)^(−1/2). The derivative of 1/sqrt(var + eps) has "
            "the power −3/2.",
            {"var_power": 0},
        ),
        Mistake(
            "x_for_x_hat",
            "Your mean in the variance term multiplies dx_hat by x. It takes x − mean.",
            {"var_from": "x"},
        ),
        Mistake(
            "factor_lost",
            "Your variance term lacks the factor x − mean that differs from value to value.",
            {"var_from": "ones"},
        ),
        Mistake(
            "sums_for_means",
            "You subtract sums where means belong: divide both by the number of pooled values.",
            {"count_over": ()},
        ),
        Mistake(
            "mean_not_divided",
            "You subtract the sum of dx_hat. The mean passes 1/n of it to each value: divide by n.",
            {"mean_divided": False},
        ),
        Mistake(
            "variance_term_n_minus_1",
            f"Your variance term divides by n − 1. {method}'s variance is a mean over n values, "
            "and so is this term.",
            {"var_ddof": 1},
        ),
        Mistake(
            "times_n",
            "Your dx is n times too large. In n · dx_hat − sum(dx_hat) − x_hat · "
            "sum(dx_hat · x_hat) everything is divided by n at the end.",
            {"times_n": True},
        ),
        Mistake(
            "not_divided_by_std",
            "You forget the division by std: x_hat changes by 1/std when x changes by 1.",
            {"power": 0},
        ),
        Mistake(
            "divided_by_variance",
            "You divide dx by the variance. Divide it by its root, sqrt(var + eps).",
            {"power": 2},
        ),
        Mistake(
            "multiplied_by_std",
            "You multiply dx by std. Forward divides by std, so backward divides too.",
            {"power": -1},
        ),
        Mistake(
            "divides_by_n_minus_1",
            f"You divide by n − 1 in the variance. {method} normalizes with the biased variance.",
            {"ddof": 1},
        ),
        Mistake(
            "derivative_of_n_minus_1",
            "Your gradient belongs to a forward pass that divides its variance by n − 1. "
            f"{method} divides by n.",
            {"ddof": 1, "var_ddof": 1},
        ),
        Mistake(
            "eps_outside_root",
            "You add eps to the standard deviation. It belongs inside the root: sqrt(var + eps).",
            {"eps_place": "outside"},
        ),
        Mistake(
            "derivative_of_eps_outside",
            "Your gradient belongs to a forward pass with eps outside the root. It belongs "
            "inside: sqrt(var + eps).",
            {"eps_place": "outside_exact"},
        ),
        Mistake(
            "eps_missing",
            "You leave eps out. Use sqrt(var + eps), as the forward pass does.",
            {"eps_place": "nowhere"},
        ),
    )


def parameter_gradient_mistakes(over: str) -> tuple[Mistake, ...]:
    """Return the mistakes about dgamma, dbeta and gamma's part in dx.

    Args:
        over: what shares one gamma, such as "the batch".
    """
    return (
        Mistake(
            "gamma_missing_in_dx",
            "You leave gamma out of dx. It multiplies x_hat, so dx_hat = gamma · dy.",
            {"gamma_in_dx": "none"},
        ),
        Mistake(
            "gamma_twice_in_dx",
            "Your dx holds gamma twice. It multiplies x_hat once, so dx_hat = gamma · dy and no "
            "more.",
            {"gamma_in_dx": "twice"},
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
            "dgamma_with_centered",
            "Your dgamma sums dy · (x − mean). gamma multiplies x_hat, which is also divided by "
            "sqrt(var + eps).",
            {"dgamma_from": "centered"},
        ),
        Mistake(
            "dgamma_with_y",
            "Your dgamma holds gamma once too often. y = gamma · x_hat + beta, so "
            "dgamma = sum(dy · x_hat).",
            {"dgamma_from": "y"},
        ),
        Mistake(
            "dgamma_without_x_hat",
            "Your dgamma equals dbeta. gamma multiplies x_hat, so dgamma = sum(dy · x_hat).",
            {"dgamma_from": "ones"},
        ),
        Mistake(
            "parameters_from_dx_hat",
            "You take dgamma and dbeta from dx_hat, which holds gamma already. Take them from dy.",
            {"parameters_from": "dx_hat"},
        ),
        Mistake(
            "mean_over_batch",
            f"Your dgamma and dbeta are means over {over}. One gamma serves all of them, so their "
            "gradients add up.",
            {"parameter_sum": "mean"},
        ),
        Mistake(
            "dgamma_dbeta_swapped",
            "You return dbeta before dgamma. The order is dx, dgamma, dbeta.",
            {"order": "dbeta_dgamma"},
        ),
    )

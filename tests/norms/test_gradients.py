"""Every hand-written gradient against differences of its own forward pass, in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from normcourse import norms
from normcourse.norms import Method

from .cases import Array, arguments, assert_close, backward, every_case, upstream

STEP = 1e-3
WEIGHTS = {-2: 1 / 12, -1: -8 / 12, 1: 8 / 12, 2: -1 / 12}  # error of order STEP^4


def differences(loss: Callable[[Array], float], value: Array) -> Array:
    """Return the gradient of ``loss`` by central differences of fourth order."""
    value = np.array(value, np.float64)
    gradient = np.zeros_like(value)
    for place in np.ndindex(value.shape):
        kept = value[place]
        for steps, weight in WEIGHTS.items():
            value[place] = kept + steps * STEP
            gradient[place] += weight * loss(value) / STEP
        value[place] = kept
    return gradient


def frozen_renorm(drawn: dict[str, Any]) -> Callable[..., Array]:
    """Return batch renormalization with r and d held at their values for these arguments.

    They are constants in the gradient, so the differences must hold them too.
    """
    x = drawn["x"]
    axis, shape = (0, *range(2, x.ndim)), (1, -1, *(1,) * (x.ndim - 2))
    std = np.sqrt(x.var(axis) + 1e-5)
    old_std = np.sqrt(drawn["running_var"] + 1e-5)
    r = np.clip(std / old_std, 1 / drawn["r_max"], drawn["r_max"]).reshape(shape)
    shift = (x.mean(axis) - drawn["running_mean"]) / old_std
    d = np.clip(shift, -drawn["d_max"], drawn["d_max"]).reshape(shape)

    def forward(x: Array, gamma: Array, beta: Array, **_: Any) -> Array:
        x_hat = norms.batch_norm(x) * r + d
        return x_hat * gamma.reshape(shape) + beta.reshape(shape)

    return forward


@every_case()
def test_gradients_are_differences(method: Method, shape: tuple[int, ...]) -> None:
    drawn = arguments(method, shape, seed=20)
    forward = frozen_renorm(drawn) if method.name == "batch_renorm" else method.forward
    dy = upstream(method.forward(**drawn))
    gradients = backward(method, dy, drawn)
    assert tuple(gradients) == method.gradients
    for name, gradient in gradients.items():
        expected = differences(
            lambda value, name=name: float(np.sum(dy * forward(**{**drawn, name: value}))),
            drawn[name],
        )
        assert_close(gradient, expected, 1e-8, f"d{name}")


def test_the_frozen_renorm_is_renorm() -> None:
    drawn = arguments(norms.METHODS["batch_renorm"], (5, 4, 3))
    y = frozen_renorm(drawn)(**drawn)
    assert_close(norms.batch_renorm(**drawn), y, 1e-13)
    clipped = norms.batch_renorm(**{**drawn, "r_max": 100.0, "d_max": 100.0})
    assert np.abs(clipped - y).max() > 0.1  # so that the bounds are really at work


def complex_layer_norm(x: Array, gamma: Array, beta: Array, eps: float) -> Array:
    """Layer normalization written so that complex numbers pass through: no abs, no conjugate."""
    centered = x - x.mean(-1, keepdims=True)
    var = np.mean(centered * centered, axis=-1, keepdims=True)
    return gamma * centered / np.sqrt(var + eps) + beta


@pytest.mark.parametrize("eps", [1e-5, 0.3])
def test_layer_norm_by_complex_steps(eps: float) -> None:
    """A complex step has no cancellation: the derivative is exact to rounding."""
    rng = np.random.default_rng(21)
    x, dy = 3 + rng.standard_normal((2, 5)), rng.standard_normal((2, 5))
    gamma, beta = rng.uniform(0.5, 2, 5), rng.standard_normal(5)
    dx = np.zeros_like(x)
    for place in np.ndindex(x.shape):
        step = np.zeros_like(x, complex)
        step[place] = 1e-200j
        dx[place] = np.sum(dy * complex_layer_norm(x + step, gamma, beta, eps).imag) / 1e-200
    assert_close(
        norms.layer_norm(x, gamma, beta, eps=eps), complex_layer_norm(x, gamma, beta, eps), 1e-14
    )
    assert_close(norms.layer_norm_backward(dy, x, gamma, eps=eps)[0], dx, 1e-14)


@pytest.mark.parametrize("center", [True, False], ids=["centered", "raw"])
def test_the_general_divisive_gradient(center: bool) -> None:
    rng = np.random.default_rng(22)
    x, dy = rng.standard_normal((3, 4)), rng.standard_normal((3, 4))
    pool = rng.uniform(0, 1, (4, 4))
    middle = rng.uniform(0, 0.4, (4, 4)) if center else None
    options = {"constant": 0.7, "numerator": 2.0, "exponent": 3.0, "power": 0.6, "gain": 1.7}
    dx = norms.divisive_norm_general_backward(dy, x, pool, middle, **options)
    expected = differences(
        lambda value: float(
            np.sum(dy * norms.divisive_norm_general(value, pool, middle, **options))
        ),
        x,
    )
    assert_close(dx, expected, 1e-8)

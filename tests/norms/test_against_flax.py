"""Against JAX and Flax, where they are installed: `pip install flax`.

Flax differs: channels are the last axis, eps is 1e-6 but for BatchNorm, momentum (0.99) weighs the
old value, the running variance is the biased one, and the variance is E[x²] − E[x]² unless asked
otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from normcourse import norms

from .cases import Array, assert_close

jax = pytest.importorskip("jax", reason="the extra `flax` is not installed")
linen = pytest.importorskip("flax.linen", reason="the extra `flax` is not installed")
jax.config.update("jax_enable_x64", True)

EXACT: dict[str, Any] = {
    "epsilon": 0.25,
    "use_fast_variance": False,
    "dtype": "float64",
    "param_dtype": "float64",
}


def channels_last(x: Array) -> Array:
    return np.moveaxis(x, 1, -1)


def apply(
    layer: Any, x: Array, parameters: dict[str, Array], dy: Array
) -> tuple[Array, Array, dict[str, Array]]:
    """Return Flax' y, dx and gradients of its parameters."""
    y, pull = jax.vjp(lambda p, x: layer.apply({"params": p}, x), parameters, x)
    gradients, dx = pull(dy)
    return np.asarray(y), np.asarray(dx), {k: np.asarray(g) for k, g in gradients.items()}


CHANNEL_LAYERS: dict[str, tuple[Callable[..., Any], Callable[..., Any], Any]] = {
    "instance_norm": (
        norms.instance_norm,
        norms.instance_norm_backward,
        lambda: linen.InstanceNorm(**EXACT),
    ),
    "group_norm": (
        lambda x, *a, **k: norms.group_norm(x, 2, *a, **k),
        lambda dy, x, *a, **k: norms.group_norm_backward(dy, x, 2, *a, **k),
        lambda: linen.GroupNorm(num_groups=2, **EXACT),
    ),
}


@pytest.mark.parametrize("name", CHANNEL_LAYERS)
def test_channel_layers(name: str) -> None:
    forward, backward, make = CHANNEL_LAYERS[name]
    rng = np.random.default_rng(50)
    x, dy = 1 + rng.standard_normal((3, 4, 5, 2)), rng.standard_normal((3, 4, 5, 2))
    gamma, beta = rng.uniform(0.5, 2, 4), rng.standard_normal(4)
    y, dx, gradients = apply(
        make(), channels_last(x), {"scale": gamma, "bias": beta}, channels_last(dy)
    )
    assert_close(channels_last(forward(x, gamma, beta, eps=0.25)), y, 1e-12)
    found = backward(dy, x, gamma, eps=0.25)
    assert_close(channels_last(found[0]), dx, 1e-12)
    assert_close(found[1], gradients["scale"], 1e-12)
    assert_close(found[2], gradients["bias"], 1e-12)


def test_layer_and_rms_norm() -> None:
    rng = np.random.default_rng(51)
    x, dy = 1 + rng.standard_normal((2, 3, 5)), rng.standard_normal((2, 3, 5))
    gamma, beta = rng.uniform(0.5, 2, 5), rng.standard_normal(5)
    y, dx, gradients = apply(linen.LayerNorm(**EXACT), x, {"scale": gamma, "bias": beta}, dy)
    assert_close(norms.layer_norm(x, gamma, beta, eps=0.25), y, 1e-12)
    found = norms.layer_norm_backward(dy, x, gamma, eps=0.25)
    for mine, theirs in zip(found, (dx, gradients["scale"], gradients["bias"]), strict=True):
        assert_close(mine, theirs, 1e-12)
    y, dx, gradients = apply(linen.RMSNorm(**EXACT), x, {"scale": gamma}, dy)
    assert_close(norms.rms_norm(x, gamma, eps=0.25), y, 1e-12)
    found = norms.rms_norm_backward(dy, x, gamma, eps=0.25)
    for mine, theirs in zip(found, (dx, gradients["scale"]), strict=True):
        assert_close(mine, theirs, 1e-12)


def test_batch_norm_over_steps() -> None:
    rng = np.random.default_rng(52)
    gamma, beta = rng.uniform(0.5, 2, 3), rng.standard_normal(3)
    layer = linen.BatchNorm(use_running_average=False, momentum=0.9, **EXACT)
    state: Any = {"mean": np.zeros(3), "var": np.ones(3)}
    mean, var, count = np.zeros(3), np.ones(3), 20
    for _ in range(3):
        x, dy = 2 + 3 * rng.standard_normal((4, 3, 5)), rng.standard_normal((4, 3, 5))

        def run(parameters: Any, x: Any, state: Any = state) -> Any:
            variables = {"params": parameters, "batch_stats": state}
            return layer.apply(variables, x, mutable=["batch_stats"])

        parameters = {"scale": gamma, "bias": beta}
        y, pull, updated = jax.vjp(run, parameters, channels_last(x), has_aux=True)
        gradients, dx = pull(channels_last(dy))
        state = updated["batch_stats"]
        assert_close(channels_last(norms.batch_norm(x, gamma, beta, eps=0.25)), y, 1e-12)
        found = norms.batch_norm_backward(dy, x, gamma, eps=0.25)
        assert_close(channels_last(found[0]), dx, 1e-12)
        assert_close(found[1], gradients["scale"], 1e-12)
        momentum = norms.to_pytorch_momentum(0.9)
        mean, unbiased = norms.update_running_stats(mean, var, x, momentum=momentum)
        var = 0.9 * var + (unbiased - 0.9 * var) * (count - 1) / count  # Flax stores the biased one
        assert_close(mean, state["mean"], 1e-12)
        assert_close(var, state["var"], 1e-12)


def test_defaults_that_differ() -> None:
    """The numbers that the page on conventions quotes."""
    assert linen.BatchNorm().momentum == 0.99
    assert linen.BatchNorm().use_fast_variance
    assert linen.BatchNorm().epsilon == 1e-5
    for layer in (linen.LayerNorm(), linen.GroupNorm(), linen.InstanceNorm(), linen.RMSNorm()):
        assert layer.epsilon == 1e-6

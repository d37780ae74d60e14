"""One made-up example of each figure of chapters 01 and 03."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from normcourse import figures
from normcourse.experiments.result import Curve, Spread

_RNG = np.random.default_rng(0)
_LAYERS = np.array([1, 2, 3, 5, 10, 20, 30])
_STEPS = np.arange(0, 601, 50)


def curve(x: list[float] | np.ndarray, y: list[float] | np.ndarray) -> Curve:
    """Return a curve of two seeds, a tenth below and above y."""
    places, middle = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    runs = {0: 0.9 * middle, 1: 1.1 * middle}
    return Curve(places, middle, 0.9 * middle, 1.1 * middle, runs)


def middle(value: float) -> Spread:
    """Return a spread of three seeds about a value."""
    return Spread(value, 0.8 * value, 1.25 * value, 3)


GAINS = {gain: curve(_LAYERS, gain**_LAYERS) for gain in (0.8, 1.0, 1.25)}
SATURATED = {
    "gain 1": curve(_LAYERS, 0.01 / _LAYERS),
    "gain 3": curve(_LAYERS, np.full(7, 0.3)),
    "gain 1, raw inputs": curve(_LAYERS, 0.7 / _LAYERS**3),
    "gain 3, BatchNorm": curve(_LAYERS, np.full(7, 0.01)),
}
SATURATED_AT = {
    "gain 1": (1.1, 0.1),
    "gain 3": (9.0, 0.35),
    "gain 1, raw inputs": (1.25, 0.7),
    "gain 3, BatchNorm": (8.0, 0.07),
}
CLOUD = _RNG.normal(size=(60, 2)) @ np.array([[1.0, 0.2], [0.0, 0.2]])
MOMENTS = {"raw": np.diag([4.0, 0.2]), "standardized": [[1.0, 0.5], [0.5, 1.0]]}
POINTS = (_RNG.normal(0.5, 0.5, 40), _RNG.normal(0.0, 0.3, 40))
CHANCE = 0.12 + 0.02 * _RNG.normal(size=99)
VALUES = np.tanh(_RNG.normal(size=90))
ERRORS = {
    "line": {"none": middle(0.2), "known": middle(0.005), "test": middle(0.005)},
    "cubic": {"none": middle(0.001), "known": middle(0.003), "test": middle(0.002)},
}
RATIOS = {
    "tanh, standardized inputs": {"mean": middle(0.4), "gradient of\nthe weights": middle(2.0)},
    "tanh, raw inputs": {"mean": middle(0.05), "gradient of\nthe weights": middle(0.7)},
}
SINCE = {
    "mean, std": curve(_STEPS, 0.03 * np.ones(13)),
    "shape, std": curve(_STEPS, 0.08 * np.ones(13)),
    "an example's\nvalue, std": curve(_STEPS, 1.1 * np.tanh(_STEPS / 50)),
    "correlations,\nrelative": curve(_STEPS, 1.2 * np.tanh(_STEPS / 50)),
}
SINCE_AT = {
    "mean, std": 0.02,
    "shape, std": 0.13,
    "an example's\nvalue, std": 0.98,
    "correlations,\nrelative": 1.25,
}
FALLING = {
    name: curve(_STEPS, 2 * np.exp(-_STEPS / 100) + floor)
    for name, floor in (("nothing", 0.01), ("std", 0.02), ("mean", 0.2), ("both", 0.25))
}
SCALES = np.array([0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0])
WAYS = {
    way: curve(_STEPS[1:], 1 + place + np.exp(-_STEPS[1:] / 200))
    for place, way in enumerate(("decay", "growing rate", "fixed norm", "no decay"))
}

EXAMPLES: dict[str, Callable[[], figures.CourseFigure]] = {
    "signal_sizes": lambda: figures.signal_sizes(GAINS, live={0.8: curve([1, 5], [0.8, 0.3])}),
    "gradient_sizes": lambda: figures.gradient_sizes(GAINS),
    "tanh_and_slope": figures.tanh_and_slope,
    "saturation_by_layer": lambda: figures.saturation_by_layer(SATURATED, SATURATED_AT),
    "descent_paths": lambda: figures.descent_paths(MOMENTS),
    "whitened_cloud": lambda: figures.whitened_cloud({"centered": CLOUD, "whitened": 2 * CLOUD}),
    "shifted_fit": lambda: figures.shifted_fit(
        (POINTS[0], POINTS[0] ** 3), (POINTS[1], POINTS[1] ** 3),
        {"unweighted": lambda x: x - 0.3, "weighted": lambda x: -x},
    ),
    "permutation_null": lambda: figures.permutation_null(
        CHANCE, {"shuffled": 0.13, "stored": 0.29}
    ),
    "errors_by_weights": lambda: figures.errors_by_weights(ERRORS),
    "drift": lambda: figures.drift(
        {"none": [[-0.4, -0.3], [0.0, 0.2], [0.4, 0.6]],
         "batch": [[-0.8, -0.8], [0.0, 0.0], [0.8, 0.8]]},
        [0, 100],
    ),
    "layer_histograms": lambda: figures.layer_histograms(
        {norm: {f"step {k}": VALUES for k in (0, 20, 100)} for norm in ("none", "batch")}
    ),
    "shift_ratios": lambda: figures.shift_ratios(RATIOS, live={"mean": [0.3, 0.5]}),
    "change_since_start": lambda: figures.change_since_start(SINCE, SINCE_AT),
    "backward_graph": figures.backward_graph,
    "removed_directions": lambda: figures.removed_directions([1.5, -0.5, 0.4], [1.0, 2.0, 5.0]),
    "gradient_steps": lambda: figures.gradient_steps([1.0, 0.0, 0.0, 0.0], [2.0, 4.0, 6.0, 8.0]),
    "eps_remainder": lambda: figures.eps_remainder({1.0: 0.5, 100.0: 0.01}),
    "gradient_check": lambda: figures.gradient_check(
        np.geomspace(1e-10, 1e-1, 10), np.geomspace(1e-9, 1e-2, 10), np.full(10, 0.5)
    ),
    "gradients_by_sigma": lambda: figures.gradients_by_sigma(
        {"dx_hat": curve(SCALES, np.ones(7)), "dx": curve(SCALES, 3 / SCALES)},
        {"dx_hat": 10.0, "dx": 0.3},
    ),
    "detached_losses": lambda: figures.detached_losses(
        FALLING, {"nothing": 0.008, "std": 0.022, "mean": 0.15, "both": 0.3}
    ),
    "useless_gradients": lambda: figures.useless_gradients(
        {"nothing": curve(_STEPS, 0 * _STEPS), "both": curve(_STEPS, _STEPS / 1000)},
        {"nothing": curve(_STEPS, 0 * _STEPS), "both": curve(_STEPS, _STEPS / 1500)},
    ),
    "loss_by_scale": lambda: figures.loss_by_scale(
        {"same": curve(SCALES, 0.1 + 0.1 * np.log1p(SCALES)),
         "matched": curve(SCALES, 0.1 * np.ones(7))}
    ),
    "three_ways": lambda: figures.three_ways({"length": WAYS, "rate": WAYS, "held-out loss": WAYS}),
    "turn_per_step": lambda: figures.turn_per_step(
        {"decay": curve(_STEPS[1:], 0.1 * np.tanh(_STEPS[1:] / 100)),
         "no decay": curve(_STEPS[1:], 0.01 * np.ones(12))},
        balance=0.1,
    ),
}  # fmt: skip

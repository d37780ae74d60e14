"""One made-up example of each figure of chapter 05."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from normcourse import figures
from normcourse.experiments.result import Curve, Spread


def curve(x: Any, y: Any) -> Curve:
    """Return a curve of two seeds, a tenth below and above y."""
    places, middle = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    runs = {0: 0.9 * middle, 1: 1.1 * middle}
    return Curve(places, middle, 0.9 * middle, 1.1 * middle, runs)


def middle(value: float) -> Spread:
    """Return a spread of three seeds about a value."""
    return Spread(value, 0.9 * value, 1.1 * value, 3)


RATES = [0.02, 0.2, 2.0]
VALLEYS = {
    depth: {
        "none": curve(RATES, [1.0, 0.1 * depth, math.inf]),
        "batch": curve(RATES, [1.2, 0.2, 0.1]),
    }
    for depth in (2, 8, 20)
}
QUICKEST = {
    column: {
        "none": {2: middle(30 * k), 8: middle(75 * k), 20: Spread(math.inf, math.inf, math.inf, 3)},
        "batch": {2: middle(15 * k), 8: middle(20 * k), 20: middle(70 * k)},
    }
    for column, k in (("steps", 1.0), ("seconds", 0.001))
}
KINDS = {
    "none": (middle(0.2), middle(60)),
    "batch": (middle(0.02), middle(16)),
    "+ noise 0.5": (middle(0.4), middle(26)),
    "+ noise 1.0": (middle(22), Spread(math.inf, 100.0, math.inf, 3)),
}
STEPS = [0, 10, 50, 100]
LINE = {
    norm: (curve(STEPS, [2.3, 2, 1, 0.5]), curve(STEPS, [2, 1.8, 0.8, 0.4]), curve(STEPS, high))
    for norm, high in (("none", [2.4, 3, 6, 5]), ("batch", [2.3, 2, 1, 0.5]))
}
CHANGES = {
    depth: {"none": curve(STEPS, [20, 30, 60, 80]), "batch": curve(STEPS, [2 * depth, 9, 6, 4])}
    for depth in (2, 8, 24)
}
SCALES = {
    "none": curve([0.01, 1.0, 100.0], [2.3, 0.1, math.inf]),
    "batch": curve([0.01, 1.0, 100.0], [0.1, 0.2, 1.4]),
    "rescaled": curve([0.01, 1.0, 100.0], [0.2, 0.2, 0.2]),
}
PARTS = [4, 8, 16, 32, 128]
NOISE = curve(PARTS, 1 / np.sqrt(PARTS))
TRAIN, TEST = curve(PARTS, [1.4, 1.0, 0.7, 0.5, 0.3]), curve(PARTS, [1.5, 1.2, 1.0, 1.0, 1.1])
ARMS = {"neither": middle(0.5), "BatchNorm": middle(0.52), "BatchNorm, dropout": middle(0.55)}
LAYERS = np.arange(1, 50, 2)
STACKS = {
    "plain none": curve(LAYERS, np.full(25, 0.06)),
    "plain batch": curve(LAYERS, 0.06 * 1.2 ** (49 - LAYERS)),
    "residual batch": curve(LAYERS, 0.1 / LAYERS**0.6),
}
SHARES = {"none": curve(LAYERS, np.full(25, 0.5)), "batch": curve(LAYERS, 1 / (LAYERS + 1))}
DEEP = {
    name: {4: middle(0.1), 16: middle(0.2), 48: Spread(end, end, end, 3)}
    for name, end in (
        ("plain none", 2.3),
        ("plain batch", 2.0),
        ("residual none", math.inf),
        ("residual batch", 0.05),
        ("residual alpha", 0.06),
    )
}

EXAMPLES: dict[str, Callable[[], figures.CourseFigure]] = {
    "branch_shares": lambda: figures.branch_shares(SHARES),
    "deep_losses": lambda: figures.deep_losses(DEEP, 0.3),
    "dropout_arms": lambda: figures.dropout_arms(ARMS),
    "gradient_by_layer": lambda: figures.gradient_by_layer(STACKS, 1.2),
    "gradient_changes": lambda: figures.gradient_changes(CHANGES),
    "loss_along_step": lambda: figures.loss_along_step(LINE),
    "noise_and_gap": lambda: figures.noise_and_gap(TRAIN, TEST, (middle(0.4), middle(1.3))),
    "noise_of_means": lambda: figures.noise_of_means(NOISE),
    "rate_ranges": lambda: figures.rate_ranges(VALLEYS, 0.3, {8: VALLEYS[8]}),
    "scale_sensitivity": lambda: figures.scale_sensitivity(SCALES),
    "shift_and_speed": lambda: figures.shift_and_speed(KINDS, 120.0),
    "steps_and_seconds": lambda: figures.steps_and_seconds(QUICKEST),
}

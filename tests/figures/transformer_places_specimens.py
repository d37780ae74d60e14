"""A figure of every kind in chapter 14, with small made-up content."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from normcourse import figures
from normcourse.experiments import Result, Row
from normcourse.experiments.placement_nets import PLACES
from normcourse.experiments.result import Environment


def _made_up(rows: list[Row]) -> Result:
    """Rows as they are for seed 0, a little larger for seed 1."""
    words = ("stream", "gradient", "loss", "curve", "sharpness")
    two = [
        {"seed": seed, **{k: v * (1 + 0.1 * seed) if k in words else v for k, v in row.items()}}
        for seed in (0, 1)
        for row in rows
    ]
    return Result("made_up", "own", {}, tuple(two), {}, Environment.here(), "")


START = _made_up(
    [
        {"place": place, "depth": depth, "block": block, "stream": 1.0 + block, **gradient}
        for place in PLACES
        for depth in (4, 16)
        for block in range(depth + 1)
        for gradient in ([{"gradient": 1.0 / block}] if block else [{}])
    ]
)
QK = _made_up(
    [
        {"place": place, "depth": 4, "qk": qk, "block": block, "sharpness": 0.3, "gradient": 2.0}
        for place in ("res-post", "sandwich")
        for qk in (False, True)
        for block in range(1, 5)
    ]
)
_NETS = [
    {"place": place, "depth": depth, "rate": rate, "warmup": warm}
    for place in ("post", "pre", "deep")
    for depth in (4, 16)
    for rate in (0.001, 0.01)
    for warm in (0, 40)
]
NETS = _made_up([{**net, "loss": 2.9 + float(net["rate"])} for net in _NETS])  # type: ignore[arg-type]
CURVES = _made_up([{**net, "step": step, "curve": 4 / step} for net in _NETS for step in (1, 2)])
_GROWTH = {place: np.array([1.0, 2.0, 3.0]) for place in PLACES}

EXAMPLES: dict[str, Callable[[], figures.CourseFigure]] = {
    "five_places": figures.five_places,
    "fresh_gradients": lambda: figures.fresh_gradients(START, START.where(depth=4)),
    "growth_after_training": lambda: figures.growth_after_training(_GROWTH, _GROWTH, 16),
    "input_left": lambda: figures.input_left({p: [1.0, 0.5, 0.2] for p in PLACES}, 2),
    "last_gradient": lambda: figures.last_gradient(START),
    "loss_by_rate": lambda: figures.loss_by_rate(NETS, 3.2),
    "queries_and_keys": lambda: figures.queries_and_keys(QK, 4),
    "sharpest_attention": lambda: figures.sharpest_attention(
        [1, 2, 4], {"plain": [0.2, 0.5, 0.9], "QK-norm": [0.2, 0.2, 0.2]}
    ),
    "stream_by_block": lambda: figures.stream_by_block(START, 16),
    "warmup_curves": lambda: figures.warmup_curves(CURVES, 0.01, 3.2),
}

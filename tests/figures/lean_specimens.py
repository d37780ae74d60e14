"""A figure of every kind in chapter 09, with small made-up content."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from normcourse import figures
from normcourse.experiments import Result, Row, Spread
from normcourse.experiments.result import Environment

_RNG = np.random.default_rng(9)
POINTS = _RNG.normal(size=(6, 2))
EXTRA = {
    "equal steps": {"rms": Spread(0.01, 0.0, 0.02, 10), "dyt": Spread(0.1, 0.05, 0.2, 10)},
    "equal time": {"rms": Spread(-0.01, -0.02, 0.0, 10)},
}
TITLES = {"rms": "RMSNorm", "dyt": "DyT"}


def _made_up(rows: list[Row]) -> Result:
    """Rows as they are for seed 0, a tenth larger for seed 1."""
    two = [
        {
            "seed": seed,
            **row,
            **{k: float(row[k]) * (1 + 0.1 * seed) for k in ("loss",) if k in row},
        }
        for seed in (0, 1)
        for row in rows
    ]
    return Result("made_up", "own", {}, tuple(two), {}, Environment.here(), "")


ALPHAS = _made_up([{"start": start, "loss": 2.5 + abs(start - 0.5)} for start in (0.1, 0.5, 2.0)])
SCORES = _made_up(
    [
        {"rate": rate, "qk_norm": on, "score": 10.0 if on else 1e4 * rate, "loss": 2.5 + rate}
        for rate in (0.01, 0.1)
        for on in (False, True)
    ]
)
HALF = _made_up(
    [
        {
            "type": word,
            "width": width,
            "spread": size,
            "way": way,
            "error": 1.0
            if way == "wide"
            else (np.inf if word == "float16" and size > 1 else width / 32),
        }
        for word in ("float16", "bfloat16")
        for width in (64, 1024)
        for size in (0.1, 1.0, 64.0)
        for way in ("wide", "half", "one by one")
    ]
)

EXAMPLES: dict[str, Callable[[], figures.CourseFigure]] = {
    "against_layer_norm": lambda: figures.against_layer_norm(
        EXTRA, TITLES, "nats", "DyT stands apart.", tolerance=0.02
    ),
    "half_errors": lambda: figures.half_errors(HALF, (64, 1024)),
    "loss_by_alpha": lambda: figures.loss_by_alpha(ALPHAS, ALPHAS, Spread(2.5, 2.4, 2.6, 10)),
    "mean_and_length": lambda: figures.mean_and_length(POINTS),
    "parts_table": lambda: figures.parts_table(
        {"layer norm": (True, True), "DyT": (False, True)},
        ("mean", "shift"),
        {"layer norm": "64", "DyT": "65"},
        "numbers",
    ),
    "parts_let_through": lambda: figures.parts_let_through(
        {
            "layer norm": {"constant": 0.0, "the rest": 1.0},
            "RMSNorm": {"constant": 1.0, "the rest": 1.0},
        }
    ),
    "scores_by_rate": lambda: figures.scores_by_rate(SCORES),
    "token_pools": figures.token_pools,
    "values_through_layer_norm": lambda: figures.values_through_layer_norm(
        {"first": (POINTS, POINTS / 2, 1.0, 2.0), "last": (POINTS, POINTS, 0.5, 2.0)}
    ),
}

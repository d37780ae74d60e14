"""A figure of every kind in chapter 13, with small made-up content."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from normcourse import figures
from normcourse.experiments import Result, Row
from normcourse.experiments.result import Environment

_X = np.random.default_rng(13).normal(size=50)


def _made_up(rows: list[Row]) -> Result:
    """Rows as they are for seed 0, a tenth larger for seed 1."""
    grown = ("accuracy", "loss", "kept", "variance", "share", "gradient", "moved")
    two = [
        {
            "seed": seed,
            **{k: v * (1 + 0.1 * seed) if k in grown else v for k, v in row.items()},  # type: ignore[operator]
        }
        for seed in (0, 1)
        for row in rows
    ]
    return Result("made_up", "own", {}, tuple(two), {}, Environment.here(), "")


ORDER = _made_up(
    [
        {"data": data, "order": order, "norm": norm, "accuracy": right}
        for data in ("digits", "signals")
        for order, norm, right in (
            ("norm first", "batch", 0.8),
            ("relu first", "batch", 0.82),
            ("norm first", "group", 0.7),
            ("relu first", "group", 0.71),
            ("no norm", "none", 0.5),
        )
    ]
)
BIAS = _made_up(
    [
        {"arm": arm, "optimizer": word, "gradient": size, "moved": size}
        for word in ("sgd", "adam")
        for arm, size in (
            ("batch first", 1e-7),
            ("instance first", 1e-7),
            ("group first", 1.0),
            ("batch second", 0.7),
            ("no norm", 5.0),
        )
    ]
)
STREAM = _made_up(
    [
        {
            "kind": kind,
            "norm": norm,
            "start": start,
            "block": block,
            "variance": (float(block) if norm == "batch" else 2.0**block) * size,
            "share": 1 / (block + 1),
        }
        for kind, norm, start, size in (
            ("post", "none", "ones", 1.0),
            ("pre", "none", "ones", 0.5),
            ("post", "batch", "ones", 1.0),
            ("pre", "batch", "ones", 2.0),
            ("post", "batch", "zeros", 0.005),
        )
        for block in (1, 8, 24)
    ]
)
KEPT = _made_up(
    [
        {"skip": skip, "block": block, "kept": share**block}
        for skip, share in (
            ("clean", 0.9),
            ("normalized", 0.6),
            ("activated", 0.5),
            ("relu on the sum", 0.8),
            ("halved", 0.4),
        )
        for block in (1, 8, 24)
    ]
)
GAMMA = _made_up(
    [
        {"kind": "post", "head": head, "start": start, "rate": rate, "loss": loss}
        for head in ("mean", "places")
        for start, loss in (("ones", 0.2), ("zeros", 0.3))
        for rate in (0.01, 0.1)
    ]
)

EXAMPLES: dict[str, Callable[[], figures.CourseFigure]] = {
    "accuracy_by_order": lambda: figures.accuracy_by_order(ORDER, ORDER),
    "bias_gradients": lambda: figures.bias_gradients(BIAS),
    "bias_ways": lambda: figures.bias_ways(BIAS),
    "dropout_variance": lambda: figures.dropout_variance(
        [0.0, 0.5], {"mean 0": [1.0, 0.5]}, {"mean 0": ([0.5], [0.51])}
    ),
    "gammas_by_step": lambda: figures.gammas_by_step([[0.0, 0.0], [0.1, 0.2]], 2),
    "kept_by_block": lambda: figures.kept_by_block(KEPT, KEPT),
    "layer_chains": figures.layer_chains,
    "loss_by_start": lambda: figures.loss_by_start(GAMMA, GAMMA),
    "residual_blocks": figures.residual_blocks,
    "share_by_block": lambda: figures.share_by_block(STREAM),
    "stream_variance": lambda: figures.stream_variance(STREAM, STREAM),
    "what_is_read": lambda: figures.what_is_read({"conv": _X}),
}

"""A figure of every kind in chapter 16, with small made-up content."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from normcourse import figures
from normcourse.experiments import Result, Row
from normcourse.experiments.result import Environment


def _made_up(rows: list[Row]) -> Result:
    """The same rows for two seeds."""
    two = tuple({"seed": seed, **row} for seed in (0, 1) for row in rows)
    return Result("made_up", "own", {}, two, {}, Environment.here(), "")


VARIANCES = _made_up(
    [
        {"dtype": dtype, "ratio": ratio, "method": name, "error": unit * ratio**power}
        for dtype, unit in (("float32", 6e-8), ("float64", 1e-16))
        for ratio in (1.0, 100.0, 1e4)
        for name, power in (("one pass", 2), ("Welford", 1), ("two passes", 0))
    ]
)
SHARES = _made_up(
    [
        {
            "net": net,
            "size": size,
            "norm": norm,
            "layers": layers,
            "pass": what,
            "share": 0.0 if norm == "none" or layers == "folded" else 4 / size,
        }
        for net, size, norms in (
            ("mlp", 32, ("batch", "layer")),
            ("mlp", 512, ("batch", "layer")),
            ("conv", 16, ("batch", "group")),
        )
        for norm in ("none", *norms)
        for layers in (("none",) if norm == "none" else ("torch", "course", "folded"))
        for what in ("step", "inference")
        if layers != "folded" or (norm, what) == ("batch", "inference")
    ]
    + [
        {"net": "memory", "norm": name, "copies": copies}
        for name, copies in (("copy", 1.0), ("layer norm, torch", 1.2), ("matrix product", 9.0))
    ]
)
SIZES = np.geomspace(1e-4, 10, 11)

EXAMPLES: dict[str, Callable[[], figures.CourseFigure]] = {
    "arrays_moved": lambda: figures.arrays_moved(
        {"layer": (2.0, 3.0), "batch": (3.0, 5.0)}, {"layer": (15.0, 24.0), "batch": (15.0, 25.0)}
    ),
    "cancelled_digits": lambda: figures.cancelled_digits(VARIANCES, VARIANCES),
    "computed_over_true": lambda: figures.computed_over_true(
        {10.0: np.ones(8), 1e4: np.linspace(-6, 9, 8)}
    ),
    "in_copies": lambda: figures.in_copies(SHARES),
    "norm_in_half": lambda: figures.norm_in_half(
        [0.1, 1.0, 64.0],
        {
            word: {"sums in half": [3.0, 2.0, last], "sums in float32": [1.0, 1.0, 1.0]}
            for word, last in (("float16", np.inf), ("bfloat16", 4.0))
        },
    ),
    "share_of_copy": lambda: figures.share_of_copy(
        {
            name: {
                "forward": {"NumPy": 0.1, "torch": 0.5, "compiled": 0.4, "fused": share},
                "backward": {"NumPy": 0.1, "torch": 0.3, "Liger": 0.4, "fused": 0.6},
            }
            for name, share in (("layer norm", 0.7), ("batch norm", 1.2))
        },
        "two threads, fresh memory",
        high=1.2,
    ),
    "share_by_net": lambda: figures.share_by_net(
        SHARES, [("mlp", 32, "fully\nconnected"), ("conv", 16, "convolutional")]
    ),
    "share_by_width": lambda: figures.share_by_width(SHARES, SHARES),
    "spread_after_eps": lambda: figures.spread_after_eps(
        SIZES,
        {eps: SIZES / np.sqrt(SIZES**2 + eps) for eps in (1e-2, 1e-5, 1e-8)},
        {eps: SIZES / np.sqrt(SIZES**2 + eps) for eps in (1e-2, 1e-5, 1e-8)},
    ),
    "time_in_copies": lambda: figures.time_in_copies(
        {
            "layer norm,\nforward": {"NumPy": 9.0, "torch": 1.4, "fused": 1.3},
            "batch norm,\nforward": {"NumPy": 12.0, "torch": 5.0, "fused": 1.6},
        },
        {"layer norm,\nforward": 1.0, "batch norm,\nforward": 1.5},
    ),
    "squares_on_the_grid": lambda: figures.squares_on_the_grid(1e4, 4.0),
    "ways_to_a_variance": lambda: figures.ways_to_a_variance(VARIANCES),
}

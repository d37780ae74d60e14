"""Made-up results for the figures of chapter 06, and each figure drawn from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from normcourse import figures
from normcourse.experiments.result import Environment, Result, Row

_RNG = np.random.default_rng(6)
_HERE = Environment("3", "2", "2", "any", "any", 1, "2026-01-01")


def result(name: str, rows: Iterable[Row], seeds: int = 4) -> Result:
    """Return a result with a little noise on every measured number."""
    measured = {"error", "changed", "inference", "alike", "drift", "recall", "effective"}
    several = [
        {
            "seed": seed,
            **{k: v * _RNG.uniform(0.95, 1.05) if k in measured else v for k, v in row.items()},
        }
        for seed in range(seeds)
        for row in rows
    ]
    return Result(name, "own", {}, tuple(several), {}, _HERE, "")


COMPANY = result(
    "company",
    [
        {"norm": norm, "size": size, "changed": (norm == "batch") * 0.9 / size}
        for norm in ("batch", "layer")
        for size in (2, 4, 8, 16, 32, 64, 128, 256)
    ],
)
SMALL = result(
    "small_batches",
    [
        {"net": net, "norm": norm, "size": size, "values": size * positions,
         "error": 0.1 + (norm == "batch") * 0.6 / (size * positions)}
        for net, positions in (("fc", 1), ("conv 8x8", 64), ("conv 2x2", 4), ("conv 1x1", 1))
        for norm in ("batch", "free")
        for size in (2, 4, 8, 32)
    ],
)  # fmt: skip
WORTH = result(
    "effective_values",
    [
        {"net": net, "layer": layer, "values": n * positions, "effective": n * positions * factor}
        for net, layer, positions, factor in (
            ("fc", "linear1", 1, 1.0),
            ("conv 8x8", "conv1", 64, 1.8),
            ("signals", "conv1", 40, 0.3),
        )
        for n in (1, 4, 16, 64)
    ],
)
CLASSES = result(
    "sorted_batches",
    [
        {"norm": norm, "classes": k, "inference": 0.09 * k if norm == "batch" else 0.95,
         "alike": 0.08 * k}
        for norm in ("batch", "layer")
        for k in (0, 1, 2, 3, 5, 10)
    ],
)  # fmt: skip
REMEDIES = result(
    "small_batch_remedies",
    [
        *(
            {"task": task, "remedy": remedy, "size": size, "error": 0.05 + cost / size}
            for task in ("rotated", "inverted")
            for remedy, cost in (("accumulated", 0.8), ("renorm", 0.4), ("frozen", 0.1))
            for size in (2, 4, 8)
        ),
        *(
            {"task": task, "remedy": "joined", "size": 32, "error": 0.06}
            for task in ("rotated", "inverted")
        ),
    ],
)
PADDING = result(
    "padding",
    [
        *(
            {"word": word, "offset": 2.0, "padding": share,
             "drift": 3 * share * (word == "padded")}
            for word in ("padded", "masked", "layer")
            for share in (0.0, 0.1, 0.25, 0.5, 0.75, 0.9)
        ),
        *(
            {"word": word, "offset": offset, "error": 0.1 + 0.1 * offset * (word != "masked")}
            for word in ("padded", "masked", "layer")
            for offset in (0.0, 1.0, 2.0, 4.0)
        ),
    ],
)  # fmt: skip
WORKERS = result(
    "sync_batch_norm",
    [
        {"shards": shards, "way": way, "scores": 0.0 if way == "synchronized" else 0.5}
        for shards in ("8+8", "3+13", "2+5+9")
        for way in ("synchronized", "own statistics", "averaged gradients")
    ],
)
RARE = result(
    "rare_signals",
    [
        {"norm": norm, "kept": kept, "recall": base + 0.004 * kept}
        for norm, base in (("none", 0.2), ("batch", 0.3), ("layer", 0.25))
        for kept in (5, 10, 20, 40, 140)
    ],
)
PARTS = [_RNG.normal(center, 0.6, size) for center, size in ((-2, 8), (1.5, 20), (3, 4))]
GHOSTED = _RNG.normal(1.0, 2.0, 22)
GRADIENTS = np.eye(5) + 0.2


def _recall() -> figures.CourseFigure:
    curves = {norm: RARE.curve("kept", "recall", norm=norm) for norm in RARE.distinct("norm")}
    return figures.rare_recall(curves, RARE.distinct("kept"))


EXAMPLES: dict[str, Callable[[], figures.CourseFigure]] = {
    "accuracy_by_classes": lambda: figures.accuracy_by_classes(CLASSES, CLASSES),
    "answers_by_company": lambda: figures.answers_by_company(COMPANY, COMPANY),
    "distance_from_joined": lambda: figures.distance_from_joined(WORKERS, WORKERS),
    "error_by_batch_size": lambda: figures.error_by_batch_size(SMALL, SMALL),
    "error_by_values": lambda: figures.error_by_values(SMALL),
    "ghost_means": lambda: figures.ghost_means(GHOSTED, 8),
    "gradient_in_company": lambda: figures.gradient_in_company(GRADIENTS, np.eye(5)),
    "merging_moments": lambda: figures.merging_moments(PARTS),
    "padding_drift": lambda: figures.padding_drift(PADDING),
    "padding_error": lambda: figures.padding_error(PADDING, PADDING),
    "pool_worth": lambda: figures.pool_worth(WORTH, WORTH),
    "rare_feature": lambda: figures.rare_feature(32),
    "rare_recall": _recall,
    "remedies_by_size": lambda: figures.remedies_by_size(REMEDIES, REMEDIES),
}

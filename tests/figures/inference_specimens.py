"""Made-up results in the shape of those of chapter 04, and a picture of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from normcourse import figures
from normcourse.experiments import Result, Row
from normcourse.experiments.result import Environment

_RNG = np.random.default_rng(4)


def result(rows: Iterable[Row]) -> Result:
    """Return a result of these rows for three seeds; numbers of the form 0.x differ by seed."""
    made = tuple(
        {"seed": seed}
        | {
            name: value - 0.02 * seed if name in _MEASURED and isinstance(value, float) else value
            for name, value in row.items()
        }
        for row in rows
        for seed in range(3)
    )
    return Result("made_up", "own", {}, made, {}, Environment.here(), "")


_MEASURED = {"accuracy", "recalibrated", "old", "new", "batch", "stored", "inference"}

IN_TIME = result(
    {"batches": batches, "way": way, "accuracy": 0.3 + 0.1 * place + 0.001 * batches}
    for place, way in enumerate(("0.01", "0.1", "0.01 debiased", "recalibrated"))
    for batches in (1, 10, 100)
)
BY_MOMENTUM = result(
    {"batch_size": size, "way": way, "accuracy": 0.5 + 0.2 * place + 0.002 * size}
    for place, way in enumerate(("0.99", "0.01", "0.1"))
    for size in (4, 8, 64)
)
FOLDED = result(
    {"net": net, "error": error, **case}
    for net in ("mlp", "conv")
    for error, case in (
        (1e-15, {"part": "inference", "dtype": "float64"}),
        (1e-6, {"part": "inference", "dtype": "float32"}),
        (2.0, {"part": "training", "batch_size": 4}),
        (0.5, {"part": "training", "batch_size": 360}),
        (1e-6, {"part": "later", "batches": 0}),
        (3.0, {"part": "later", "batches": 20}),
    )
)
CHANGED = result(
    {"change": change, "strength": strength, "accuracy": 0.9 - 0.4 * strength * place, **way}
    for change in ("contrast", "offset", "noise")
    for strength in (0.0, 0.5, 1.0)
    for place, way in enumerate(({"way": "batch", "batch_size": 120}, {"way": "stored"}))
)
SKEWED = result({"share": share, "batch": 0.95 - share / 2, "stored": 0.95} for share in (0.1, 1.0))
NO_EVAL = result(
    {"net": net, "order": order, "batch_size": size, "accuracy": top - 1 / size, "inference": 0.95}
    for net in ("mlp", "conv")
    for order, top in (("mixed", 0.9), ("by class", 0.7))
    for size in (2, 8, 360)
)
POLLUTED = result(
    {"net": net, "kind": kind, "batches": batches, "accuracy": 0.95 - 0.004 * batches * place}
    for net in ("mlp", "conv")
    for place, kind in enumerate(("same kind", "paler", "one class"))
    for batches in (0, 10, 40)
)
NO_TRAIN = result(
    {"rate": rate, "loop": loop, "epoch": epoch, "accuracy": 0.9 - 0.3 * place - 0.1 / epoch}
    for rate in (0.1, 1.0)
    for place, loop in enumerate(("right", "train() forgotten"))
    for epoch in (1, 2, 3)
)
LAST = result(
    {"net": net, "last_batch": size, "place": place, "epoch": epoch,
     "accuracy": 0.9 - 0.2 * (size == 1), "recalibrated": 0.92}
    for net in ("mlp", "conv")
    for place, size in enumerate((0, 1, 32))
    for epoch in (1, 2)
)  # fmt: skip
FROZEN = result(
    {"mode": mode, "step": step, "old": 0.9 - 0.002 * step * place, "new": 0.5 + 0.003 * step}
    for place, mode in enumerate(("inference", "training"))
    for step in (0, 1, 10, 100)
)
CLOUD = _RNG.dirichlet(np.ones(10), size=20)
SHARE = np.linspace(0, 1, 9)

EXAMPLES: dict[str, Callable[[], figures.CourseFigure]] = {
    "adaptation": lambda: figures.adaptation(CHANGED, CHANGED),
    "between_two_examples": lambda: figures.between_two_examples(
        SHARE, {"batch": SHARE, "layer": SHARE**2, "rms": np.sqrt(SHARE)}
    ),
    "folding_errors": lambda: figures.folding_errors(FOLDED),
    "forgotten_eval": lambda: figures.forgotten_eval(NO_EVAL, NO_EVAL),
    "forgotten_train": lambda: figures.forgotten_train(NO_TRAIN, (0.1, 1.0), NO_TRAIN),
    "frozen_backbone": lambda: figures.frozen_backbone(FROZEN, FROZEN),
    "last_batch_of_one": lambda: figures.last_batch_of_one(LAST.where(net="conv")),
    "last_batch_sizes": lambda: figures.last_batch_sizes(LAST.where(epoch=1)),
    "memory_of_momentum": lambda: figures.memory_of_momentum((0.1, 0.01, 0.99)),
    "misread_momentum": lambda: figures.misread_momentum(BY_MOMENTUM),
    "one_image_in_company": lambda: figures.one_image_in_company(CLOUD, CLOUD[0]),
    "polluted_statistics": lambda: figures.polluted_statistics(POLLUTED, POLLUTED),
    "skewed_batches": lambda: figures.skewed_batches(SKEWED, SKEWED),
    "statistics_in_time": lambda: figures.statistics_in_time(IN_TIME, IN_TIME),
}

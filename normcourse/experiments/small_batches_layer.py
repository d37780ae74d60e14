"""How small may a batch be for layer norm, and how small for batch norm?

A fully connected net reads the same number of digits in batches of different sizes. Each norm gets
the learning rate that serves it best at each size: the rate is chosen by the loss on images that
are neither trained on nor tested with.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from normcourse.experiments.data import load_digits
from normcourse.experiments.experiment import Experiment
from normcourse.experiments.models import mlp
from normcourse.experiments.result import Effect, Result, Row, Verdict, spread
from normcourse.experiments.train import accuracy, mean_loss, train

_CHOOSING = 300  # images that choose the learning rate


def run(
    seed: int,
    *,
    norms: Sequence[str],
    batch_sizes: Sequence[int],
    rates: Sequence[float],
    examples: int,
    depth: int,
    width: int,
) -> list[Row]:
    """Return the test accuracy of each norm at each batch size.

    Args:
        seed: draws split, weights and batches.
        norms: words of ``NORMS``; "batch" is left out at batch size 1, where it is not defined.
        batch_sizes: examples per step.
        rates: learning rates to choose from.
        examples: digits seen in all, whatever the batch size.
        depth: hidden layers.
        width: units in each.
    """
    rows: list[Row] = []
    digits = load_digits(torch.Generator().manual_seed(seed))
    held_x, held_t = digits.train_x[:_CHOOSING], digits.train_t[:_CHOOSING]
    x, t = digits.train_x[_CHOOSING:], digits.train_t[_CHOOSING:]
    for norm in norms:
        for size in batch_sizes:
            if norm == "batch" and size == 1:
                continue
            best = (math.inf, 0.0, 0.0)
            for rate in rates:
                generator = torch.Generator().manual_seed(seed)
                net = mlp(generator, 64, 10, depth=depth, width=width, norm=norm)
                train(
                    net,
                    x,
                    t,
                    steps=max(1, examples // size),
                    generator=generator,
                    batch_size=size,
                    lr=rate,
                )
                loss = mean_loss(net, held_x, held_t)
                right = accuracy(net, digits.test_x, digits.test_t)
                best = min(best, (loss if math.isfinite(loss) else math.inf, rate, right))
            rows.append(
                {"norm": norm, "batch_size": size, "rate": best[1], "accuracy": 100 * best[2]}
            )
    return rows


def drop(result: Result, norm: str, small: int, large: int) -> list[float]:
    """Return for each seed how many points of accuracy the small batch costs."""
    by_seed = [
        {
            int(row["batch_size"]): float(row["accuracy"])
            for row in result.where(norm=norm, seed=seed).rows
        }
        for seed in result.seeds
    ]
    return [sizes[large] - sizes[small] for sizes in by_seed]


def suits_small_batches(result: Result) -> Verdict:
    """Decide whether layer norm bears small batches.

    Supported if in the median over the seeds the smallest batch costs layer norm at most 2 points
    against batches of 32; refuted if it costs more than 5; else mixed.
    """
    smallest = min(result.distinct("batch_size"))
    layer = spread(drop(result, "layer", smallest, 32))
    second = min(result.where(norm="batch").distinct("batch_size"))
    batch = spread(drop(result, "batch", second, 32))
    effects = (
        Effect(f"layer norm, batch size {smallest} against 32: points lost", layer, "points"),
        Effect(f"batch norm, batch size {second} against 32: points lost", batch, "points"),
    )
    if layer.median <= 2:
        return Verdict("supported", effects)
    return Verdict("refuted" if layer.median > 5 else "mixed", effects)


EXPERIMENT = Experiment(
    name="small_batches_layer",
    question="How small may a batch be for layer norm, and how small for batch norm?",
    run=run,
    live={
        "norms": ["batch", "layer"],
        "batch_sizes": [2, 32],
        "rates": [0.1],
        "examples": 2000,
        "depth": 2,
        "width": 32,
    },
    full={
        "norms": ["none", "batch", "layer"],
        "batch_sizes": [1, 2, 4, 8, 32],
        "rates": [0.03, 0.1, 0.3],
        "examples": 2000,
        "depth": 2,
        "width": 32,
    },
    decisions={"suits_small_batches": suits_small_batches},
)

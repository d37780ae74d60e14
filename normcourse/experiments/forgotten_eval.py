"""What do answers look like when ``eval()`` was forgotten?

A trained net answers the test images in training mode: every batch is normalized by its own
statistics. Same weights, same images; only who shares a batch changes.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch

from normcourse.experiments.experiment import Experiment
from normcourse.experiments.result import Effect, Result, Row, Verdict, spread
from normcourse.experiments.train import accuracy
from normcourse.experiments.trained import share_right, trained_net


def run(seed: int, *, nets: list[str], batch_sizes: list[int], steps: int) -> Iterator[Row]:
    """Yield one row per net, order of the images and batch size; ``refused`` where it raised."""
    for name in nets:
        net, digits, generator = trained_net(seed, name, steps)
        x, t = digits.test_x, digits.test_t
        orders = {
            "mixed": torch.randperm(len(x), generator=generator),
            "by class": t.argsort(stable=True),
        }
        inference = accuracy(net, x, t)
        for order, indices in orders.items():
            for size in batch_sizes:
                row: Row = {"net": name, "order": order, "batch_size": size, "refused": False}
                forgotten = copy.deepcopy(net).train()  # its running statistics move: a fresh copy
                try:
                    row["accuracy"] = share_right(forgotten, x, t, torch.split(indices, size))
                except ValueError:  # one value per channel
                    row["refused"] = True
                yield row | {"inference": inference}


def depends_on_company(result: Result) -> Verdict:
    """Do a trained net's answers hang on the batch when ``eval()`` is forgotten?

    Supported if every net loses 5 points or more in mixed batches of 8 and 20 or more in batches
    of one class of 24; refuted if no net loses 1 point in either; else mixed.
    """
    losses = {
        (net, order, size): spread(
            100 * (float(row["inference"]) - float(row["accuracy"]))
            for row in result.where(net=net, order=order, batch_size=size).rows
        )
        for net in result.distinct("net")
        for order, size in (("mixed", 8), ("by class", 24))
    }
    effects = tuple(
        Effect(f"lost by {net}, {order} batches of {size}", loss, "points")
        for (net, order, size), loss in losses.items()
    )
    if all(
        loss.median >= (5 if order == "mixed" else 20) for (_, order, _), loss in losses.items()
    ):
        return Verdict("supported", effects)
    small = all(loss.median < 1 for loss in losses.values())
    return Verdict("refuted" if small else "mixed", effects)


EXPERIMENT = Experiment(
    name="forgotten_eval",
    question="What do answers look like when eval() was forgotten?",
    run=run,
    live={"nets": ["mlp"], "batch_sizes": [2, 8, 24, 72, 360], "steps": 300},
    full={"nets": ["mlp", "conv"], "batch_sizes": [1, 2, 4, 8, 24, 72, 180, 360], "steps": 300},
    decisions={"depends_on_company": depends_on_company},
)

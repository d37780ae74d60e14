"""What does a short last batch do to the answers after each epoch?

Every epoch ends with one batch of a given size, then the net answers the test images: with its
running statistics, and once more after these were recalibrated. What recalibration mends was in the
statistics; what it leaves is in the weights.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from normcourse.experiments.data import Digits, load_digits
from normcourse.experiments.experiment import Experiment
from normcourse.experiments.result import Effect, Result, Row, Verdict, spread
from normcourse.experiments.train import accuracy
from normcourse.experiments.trained import BATCH, NETS, RATE
from normcourse.surgery import recalibrate

IMAGES = 512  # training images that recalibration sees
SETTLED = 3  # epochs after which the right loop has learned most


def run(seed: int, *, nets: list[str], sizes: list[int], epochs: int) -> Iterator[Row]:
    """Yield one row per net, size of the last batch (0: none) and epoch; ``refused`` ends it."""
    for name in nets:
        for size in sizes:
            yield from _one_training(seed, name, size, epochs)


def _one_training(seed: int, name: str, size: int, epochs: int) -> Iterator[Row]:
    generator = torch.Generator().manual_seed(seed)
    digits = load_digits(generator)
    net = NETS[name](generator)
    optimizer = torch.optim.SGD(net.parameters(), lr=RATE)
    for epoch in range(1, epochs + 1):
        row: Row = {"net": name, "last_batch": size, "epoch": epoch, "refused": False}
        try:
            _epoch(net, digits, optimizer, generator, size)
        except ValueError:  # one value per channel
            yield row | {"refused": True}
            return
        mended = recalibrate(copy.deepcopy(net), [digits.train_x[:IMAGES]])
        yield row | {
            "accuracy": accuracy(net, digits.test_x, digits.test_t),
            "recalibrated": accuracy(mended, digits.test_x, digits.test_t),
        }


def _epoch(
    net: nn.Module,
    digits: Digits,
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
    size: int,
) -> None:
    """Make one step per full batch, then one with the last."""
    net.train()
    order = torch.randperm(len(digits.train_x), generator=generator)
    full = (len(order) - BATCH) // BATCH * BATCH  # room for a last batch of up to BATCH
    batches: list[Tensor] = [*torch.split(order[:full], BATCH)]
    if size:
        batches.append(order[full : full + size])
    for batch in batches:
        loss = nn.functional.cross_entropy(net(digits.train_x[batch]), digits.train_t[batch])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()


def settled(result: Result) -> Result:
    """Return the rows of the epochs after which accuracy has settled."""
    return result.keep(lambda row: int(row["epoch"]) > SETTLED and not row["refused"])


def settled_means(result: Result) -> Result:
    """Return one row per seed, net and size: means over the settled epochs.

    Its ``place`` counts the sizes from 0, the smallest first.
    """
    late = settled(result)
    sizes = sorted(late.distinct("last_batch"))
    cases = dict.fromkeys((r["seed"], r["net"], r["last_batch"]) for r in late.rows)
    rows: list[Row] = []
    for seed, net, size in cases:
        chosen = late.where(seed=seed, net=net, last_batch=size)
        rows.append(
            {
                "seed": seed,
                "net": net,
                "last_batch": size,
                "place": sizes.index(size),
                "accuracy": chosen.spread("accuracy").median,
                "recalibrated": chosen.spread("recalibrated").median,
            }
        )
    return replace(result, rows=tuple(rows))


def _lost(result: Result, column: str) -> list[float]:
    """Return the points below the loop without a last batch, at the smallest that runs, by seed."""
    means = settled_means(result)
    smallest = min(size for size in means.distinct("last_batch") if size)
    dropped, short = (
        {int(row["seed"]): float(row[column]) for row in means.where(last_batch=size).rows}
        for size in (0, smallest)
    )
    return [100 * (dropped[seed] - short[seed]) for seed in sorted(dropped)]


def spoils_inference(result: Result) -> Verdict:
    """Does the smallest last batch that runs at all spoil the answers after an epoch?

    Supported if it costs every net 5 points or more, as a mean over the settled epochs; refuted if
    it costs no net 1 point; else mixed.
    """
    return _verdict(result, "accuracy", "lost")


def spoils_weights(result: Result) -> Verdict:
    """Is the loss still there once the running statistics are recalibrated?

    Supported if 5 points or more stay lost in every net; refuted if less than 1 point does in any:
    then all of it was in the statistics; else mixed.
    """
    return _verdict(result, "recalibrated", "left after recalibrating")


def _verdict(result: Result, column: str, name: str) -> Verdict:
    losses = {net: spread(_lost(result.where(net=net), column)) for net in result.distinct("net")}
    effects = tuple(Effect(f"{name}, {net}", loss, "points") for net, loss in losses.items())
    if all(loss.median >= 5 for loss in losses.values()):
        return Verdict("supported", effects)
    small = all(loss.median < 1 for loss in losses.values())
    return Verdict("refuted" if small else "mixed", effects)


EXPERIMENT = Experiment(
    name="last_batch",
    question="What does a short last batch do to the answers after each epoch?",
    run=run,
    live={"nets": ["mlp"], "sizes": [0, 1, 2], "epochs": 8},
    full={"nets": ["mlp", "conv"], "sizes": [0, 1, 2, 4, 16], "epochs": 8},
    decisions={"spoils_inference": spoils_inference, "spoils_weights": spoils_weights},
)

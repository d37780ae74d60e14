"""What does training look like when ``train()`` was forgotten after the first validation?

The mirror of a forgotten ``eval()``: from the second epoch on, batch normalization is a fixed
affine map made of the statistics of the first.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import nn

from normcourse.experiments.data import Digits, load_digits
from normcourse.experiments.experiment import Experiment
from normcourse.experiments.result import Effect, Result, Row, Verdict, spread
from normcourse.experiments.train import accuracy, mean_loss
from normcourse.experiments.trained import BATCH, NETS, batch_norms

LOOPS = {"right": True, "train() forgotten": False}  # whether each epoch calls train()


def run(seed: int, *, nets: list[str], rates: list[float], epochs: int) -> Iterator[Row]:
    """Yield one row per net, learning rate, loop and epoch; a diverged loss is infinite."""
    for name in nets:
        for rate in rates:
            for loop in LOOPS:
                yield from _one_training(seed, name, rate, loop, epochs)


def _one_training(seed: int, name: str, rate: float, loop: str, epochs: int) -> Iterator[Row]:
    generator = torch.Generator().manual_seed(seed)
    digits = load_digits(generator)
    net = NETS[name](generator)
    optimizer = torch.optim.SGD(net.parameters(), lr=rate)
    net.train()
    for epoch in range(1, epochs + 1):
        if LOOPS[loop]:
            net.train()
        loss = _epoch(net, digits, optimizer, generator)
        net.eval()  # validation; who calls train() again?
        yield {
            "net": name,
            "rate": rate,
            "loop": loop,
            "epoch": epoch,
            "train_loss": loss,
            "test_loss": _finite(mean_loss(net, digits.test_x, digits.test_t)),
            "accuracy": accuracy(net, digits.test_x, digits.test_t),
            "batches_tracked": int(batch_norms(net)[0].num_batches_tracked or 0),
        }


def _epoch(
    net: nn.Module,
    digits: Digits,
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
) -> float:
    """Make one step per batch, in the mode the net is in; return the mean loss."""
    losses = []
    order = torch.randperm(len(digits.train_x), generator=generator)
    for batch in torch.split(order[: len(order) // BATCH * BATCH], BATCH):
        loss = nn.functional.cross_entropy(net(digits.train_x[batch]), digits.train_t[batch])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    return _finite(sum(losses) / len(losses))


def _finite(loss: float) -> float:
    return loss if math.isfinite(loss) else math.inf


def costs_accuracy(result: Result) -> Verdict:
    """Does forgetting ``train()`` cost accuracy at the end of training?

    Supported if at the largest learning rate the right loop ends above 90 % and the other ends 5
    points or more lower, in every net; refuted if it ends less than 1 point lower at every rate;
    else mixed.
    """
    last = result.where(epoch=max(result.distinct("epoch")))
    largest = max(result.distinct("rate"))
    lost = {
        (net, rate): _lost(last.where(net=net, rate=rate))
        for net in result.distinct("net")
        for rate in result.distinct("rate")
    }
    effects = tuple(
        Effect(f"lost by {net} at rate {rate:g}", spread(values), "points")
        for (net, rate), values in lost.items()
    )
    medians = {place: spread(values).median for place, values in lost.items()}
    learns = all(
        last.spread("accuracy", net=net, rate=largest, loop="right").median > 0.9
        for net in result.distinct("net")
    )
    if learns and all(m >= 5 for (_, rate), m in medians.items() if rate == largest):
        return Verdict("supported", effects)
    return Verdict("refuted" if all(m < 1 for m in medians.values()) else "mixed", effects)


def _lost(result: Result) -> list[float]:
    """Return the points between the two loops, seed by seed."""
    right, wrong = (
        {int(row["seed"]): float(row["accuracy"]) for row in result.where(loop=loop).rows}
        for loop in LOOPS
    )
    return [100 * (right[seed] - wrong[seed]) for seed in sorted(right)]


EXPERIMENT = Experiment(
    name="forgotten_train",
    question="What does training look like when train() was forgotten after the first validation?",
    run=run,
    live={"nets": ["mlp"], "rates": [0.1, 1.0], "epochs": 6},
    full={"nets": ["mlp", "conv"], "rates": [0.1, 0.3, 1.0], "epochs": 12},
    decisions={"costs_accuracy": costs_accuracy},
)

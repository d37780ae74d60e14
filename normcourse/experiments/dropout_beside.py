"""Does BatchNorm make dropout needless, and do the two get along?

A net is trained on MNIST-1D without either, with one, and with both: dropout before every
normalized layer but the first, or once, behind the last. In inference mode:

    train_loss, test_loss, train_accuracy, test_accuracy
    shift          variance that reaches the last BatchNorm / the variance it stored
    recalibrated   test accuracy once the stored statistics are taken anew without dropout

Source: Li et al. 2019 (variance shift).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from normcourse.experiments.batch_noise import DEPTH, RATE, WIDTH, scores, some_signals
from normcourse.experiments.deep_digits import MAKERS, outcome
from normcourse.experiments.experiment import Experiment
from normcourse.experiments.models import mlp
from normcourse.experiments.result import Effect, Result, Row, Spread, Verdict, spread
from normcourse.experiments.train import accuracy, train


class Dropout(nn.Module):
    """In training mode set a fraction of the values to 0 and scale the others up.

    Args:
        generator: draws which.
        fraction: set to 0.

    Example:
        >>> y = Dropout(torch.Generator().manual_seed(0), 0.5)(torch.ones(1000))
        >>> sorted(set(y.tolist())), 0.9 < y.mean().item() < 1.1
        ([0.0, 2.0], True)
    """

    def __init__(self, generator: torch.Generator, fraction: float) -> None:
        super().__init__()
        self.generator = generator
        self.fraction = fraction

    def forward(self, x: Tensor) -> Tensor:
        """Return x with a part of it dropped."""
        if not self.training:
            return x
        kept = torch.rand(x.shape, generator=self.generator) >= self.fraction
        return x * kept / (1 - self.fraction)


def build(
    generator: torch.Generator, norm: str, where: str, fraction: float, seed: int
) -> nn.Sequential:
    """Return an ``mlp`` for MNIST-1D with dropout layers.

    Args:
        generator: draws the weights.
        norm: "none" or "batch".
        where: dropout after every activation ("every"), the last one ("last") or none ("no").
        fraction: dropped.
        seed: of what is dropped.
    """
    net = mlp(generator, 40, 10, depth=DEPTH, width=WIDTH, norm=MAKERS[norm])
    draws = torch.Generator().manual_seed(seed + 1)  # not the one that draws the weights
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for name, layer in net.named_children():
        layers[name] = layer
        last = name == f"act{DEPTH}"
        if name.startswith("act") and (where == "every" or (where == "last" and last)):
            layers[name.replace("act", "drop")] = Dropout(draws, fraction)
    return nn.Sequential(layers)


def run(
    seed: int, *, arms: Sequence[Mapping[str, Any]], examples: int, steps: int
) -> Iterator[Row]:
    """Yield a row per arm, each with ``norm``, ``where`` and ``fraction``."""
    for arm in arms:
        generator = torch.Generator().manual_seed(seed)
        signals = some_signals(generator, examples)
        net = build(generator, arm["norm"], arm["where"], arm["fraction"], seed)
        train(
            net,
            signals.train_x,
            signals.train_t,
            steps=steps,
            generator=generator,
            batch_size=128,
            lr=RATE,
        )
        row: Row = {**arm, **scores(net, signals)}
        if arm["norm"] == "batch":
            row["shift"] = variance_shift(net, signals.train_x)
            recalibrate(net, signals.train_x)
            row["recalibrated"] = accuracy(net, signals.test_x, signals.test_t)
        yield row


@torch.no_grad()
def variance_shift(net: nn.Sequential, x: Tensor) -> float:
    """Return the variance that the last BatchNorm meets in inference mode over the stored one."""
    layer = net.get_submodule(f"norm{DEPTH}")
    assert isinstance(layer, nn.BatchNorm1d)
    assert layer.running_var is not None
    net.eval()
    for name, part in net.named_children():
        if name == f"norm{DEPTH}":
            break
        x = part(x)
    return float(x.var(dim=0).mean() / layer.running_var.mean())


@torch.no_grad()
def recalibrate(net: nn.Sequential, x: Tensor) -> None:
    """Take the stored statistics anew, from all of x at once and without dropout."""
    net.eval()
    for part in net.children():
        if isinstance(part, nn.BatchNorm1d):
            assert part.running_mean is not None
            assert part.running_var is not None
            part.running_mean.copy_(x.mean(dim=0))
            part.running_var.copy_(x.var(dim=0))
        x = part(x)


def arm(result: Result, column: str, norm: str, where: str) -> list[float]:
    """Return a column of an arm, seed by seed."""
    return [float(value) for value in result.where(norm=norm, where=where).values(column)]


def _gain(over: Sequence[float], under: Sequence[float]) -> Spread:
    return spread(100 * (a - b) for a, b in zip(over, under, strict=True))


def dropout_needless(result: Result) -> Verdict:
    """Does a net with BatchNorm do without dropout?

    Three comparisons of test accuracy with that of BatchNorm alone: dropout alone, and BatchNorm
    with dropout in either place. Supported if none of them is ahead (median difference at most 0),
    refuted if one is ahead in three quarters of the seeds (lower quartile above 0), else mixed.
    """
    alone = arm(result, "test_accuracy", "batch", "no")
    gains = {
        "dropout alone": _gain(arm(result, "test_accuracy", "none", "every"), alone),
        "both, dropout before each": _gain(arm(result, "test_accuracy", "batch", "every"), alone),
        "both, dropout behind the last": _gain(
            arm(result, "test_accuracy", "batch", "last"), alone
        ),
    }
    return Verdict(
        outcome(
            all(value.median <= 0 for value in gains.values()),
            any(value.low > 0 for value in gains.values()),
        ),
        tuple(
            Effect(f"test accuracy, {name} − BatchNorm alone", value, "points")
            for name, value in gains.items()
        ),
    )


def variance_shifts(result: Result) -> Verdict:
    """Does dropout before BatchNorm leave it with a stored variance that inference does not have?

    Supported if with dropout before it the variance in inference is below 0.9 of the stored one
    (median) and taking the statistics anew raises the test accuracy in three quarters of the seeds,
    refuted if the variance is within 5 % of the stored one, else mixed.
    """
    shift = spread(arm(result, "shift", "batch", "every"))
    gain = _gain(
        arm(result, "recalibrated", "batch", "every"),
        arm(result, "test_accuracy", "batch", "every"),
    )
    return Verdict(
        outcome(shift.median < 0.9 and gain.low > 0, abs(shift.median - 1) < 0.05),
        (
            Effect("variance in inference / stored, dropout before", shift),
            Effect("the same, dropout behind", spread(arm(result, "shift", "batch", "last"))),
            Effect("test accuracy, statistics taken anew − stored", gain, "points"),
        ),
    )


_ARMS = [
    {"norm": "none", "where": "no", "fraction": 0.0},
    {"norm": "none", "where": "every", "fraction": 0.2},
    {"norm": "batch", "where": "no", "fraction": 0.0},
    {"norm": "batch", "where": "every", "fraction": 0.2},
    {"norm": "batch", "where": "last", "fraction": 0.5},
]
EXPERIMENT = Experiment(
    name="dropout_beside",
    question="Does BatchNorm make dropout needless, and do the two get along?",
    run=run,
    live={"arms": _ARMS, "examples": 4000, "steps": 100},
    full={"arms": _ARMS, "examples": 2000, "steps": 1000},
    decisions={"dropout_needless": dropout_needless, "variance_shifts": variance_shifts},
)

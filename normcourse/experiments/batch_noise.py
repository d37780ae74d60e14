"""What does the noise of the batch statistics do to training and generalization?

A net is trained on MNIST-1D with batches of one size. Its statistics come from parts of the batch:
of 4 examples, of 8 and so on up to the whole. Only the noise of the statistics differs, not that of
the gradient's batch. Losses and accuracies are those in inference mode:

    train_loss, test_loss, train_accuracy, test_accuracy
    noise       standard deviation, over parts of many batches, of the mean that a unit of the first
                layer gets, divided by the unit's own; mean over units
    expected    1 / sqrt(part)

Sources: Luo et al. 2019 (noise as a regularizer); Hoffer et al. 2017 (statistics of parts).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from normcourse.experiments.data import Signals, load_mnist1d
from normcourse.experiments.deep_digits import outcome, ratio
from normcourse.experiments.experiment import Experiment
from normcourse.experiments.models import MakeNorm, mlp
from normcourse.experiments.result import Effect, Result, Row, Verdict, spread
from normcourse.experiments.train import accuracy, mean_loss, train

WIDTH, DEPTH, RATE = 128, 3, 0.1
DRAWS = 50  # batches from which the noise is measured


class PartNorm(nn.BatchNorm1d):
    """BatchNorm over (N, D) with the statistics of parts of the batch, all parts at once.

    Args:
        num_features: D.
        part: examples per part; it divides N in training mode.

    Example:
        >>> layer = PartNorm(1, part=2)
        >>> layer(torch.tensor([[2.0], [4.0], [6.0], [8.0]])).detach().flatten().round(decimals=3)
        tensor([-1.,  1., -1.,  1.])
    """

    def __init__(self, num_features: int, *, part: int) -> None:
        super().__init__(num_features)
        self.part = part

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalized batch; in training mode move the running statistics."""
        if not self.training:
            return super().forward(x)
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.momentum is not None
        parts = x.view(-1, self.part, x.shape[1])  # (N / part, part, D)
        mean = parts.mean(dim=1, keepdim=True)  # (N / part, 1, D)
        var = parts.var(dim=1, correction=0, keepdim=True)
        with torch.no_grad():
            unbiased = var * self.part / (self.part - 1)
            self.running_mean.lerp_(mean.mean(dim=(0, 1)), self.momentum)
            self.running_var.lerp_(unbiased.mean(dim=(0, 1)), self.momentum)
        x_hat = ((parts - mean) * (var + self.eps).rsqrt()).view_as(x)
        return x_hat * self.weight + self.bias


def run(
    seed: int, *, parts: Sequence[int], batch_size: int, examples: int, steps: int
) -> Iterator[Row]:
    """Yield a row per part, and one with ``norm`` none and no part."""
    for part in (None, *parts):
        generator = torch.Generator().manual_seed(seed)
        signals = some_signals(generator, examples)
        net = mlp(
            generator,
            40,
            10,
            depth=DEPTH,
            width=WIDTH,
            norm="none" if part is None else _maker(part),
        )
        train(
            net,
            signals.train_x,
            signals.train_t,
            steps=steps,
            generator=generator,
            batch_size=batch_size,
            lr=RATE,
        )
        row: Row = {"norm": "none" if part is None else "batch", **scores(net, signals)}
        if part is not None:
            noise = mean_noise(net, signals.train_x, part, generator)
            row |= {"part": part, "noise": noise, "expected": 1 / math.sqrt(part)}
        yield row


def some_signals(generator: torch.Generator, examples: int) -> Signals:
    """Return MNIST-1D with so many of its training signals, drawn by the generator."""
    signals = load_mnist1d()
    kept = torch.randperm(len(signals.train_x), generator=generator)[:examples]
    return signals._replace(train_x=signals.train_x[kept], train_t=signals.train_t[kept])


def scores(net: nn.Module, signals: Signals) -> Row:
    """Return losses and accuracies of both parts of the data, in inference mode."""
    row: Row = {}
    for word, x, t in (
        ("train", signals.train_x, signals.train_t),
        ("test", signals.test_x, signals.test_t),
    ):
        row[f"{word}_loss"] = mean_loss(net, x, t)
        row[f"{word}_accuracy"] = accuracy(net, x, t)
    return row


def _maker(part: int) -> MakeNorm:
    return lambda num_features: PartNorm(num_features, part=part)


@torch.no_grad()
def mean_noise(net: nn.Sequential, x: Tensor, part: int, generator: torch.Generator) -> float:
    """Return how much the mean of a first-layer unit over ``part`` examples varies, in its std."""
    values = net.get_submodule("linear1")(x.flatten(1))  # (M, D)
    draws = [torch.randperm(len(x), generator=generator)[:part] for _ in range(DRAWS)]
    means = torch.stack([values[draw].mean(dim=0) for draw in draws])  # (DRAWS, D)
    return float((means.std(dim=0) / values.std(dim=0)).mean())


def gap(result: Result, part: int) -> list[float]:
    """Return, seed by seed, test loss minus training loss."""
    chosen = result.where(norm="batch", part=part)
    return [float(row["test_loss"]) - float(row["train_loss"]) for row in chosen.rows]


def weaker_with_batch(result: Result) -> Verdict:
    """Does the regularizing effect of batch statistics fade as more examples share a mean?

    Supported if the gap between test and training loss for the smallest part is less than half of
    that for the largest (median of the ratio over seeds) and grows from each size to the next
    (medians), refuted if it is no smaller for the smallest than for the largest, else mixed.
    """
    parts = sorted(result.where(norm="batch").distinct("part"))
    value = ratio(gap(result, parts[0]), gap(result, parts[-1]))
    medians = [spread(gap(result, part)).median for part in parts]
    return Verdict(
        outcome(value.median < 0.5 and medians == sorted(medians), value.median >= 1),
        (Effect(f"gap of the loss, {parts[0]} / {parts[-1]} examples per mean", value),),
    )


def helps_generalization(result: Result) -> Verdict:
    """Does noise in the batch statistics lower the test loss, beside that of the whole batch?

    Supported if for some smaller part the test loss is lower than with the whole batch in three
    quarters of the seeds, refuted if for every smaller part it is higher in three quarters, else
    mixed.
    """
    parts = sorted(result.where(norm="batch").distinct("part"))
    losses = {part: result.where(norm="batch", part=part).values("test_loss") for part in parts}
    whole = losses.pop(parts[-1])
    lower = {
        part: sum(a < b for a, b in zip(values, whole, strict=True)) / len(whole)
        for part, values in losses.items()
    }
    best = min(losses, key=lambda part: spread(losses[part]).median)
    return Verdict(
        outcome(max(lower.values()) >= 0.75, max(lower.values()) <= 0.25),
        (
            Effect(
                f"test loss, {best} examples per mean / whole batch", ratio(losses[best], whole)
            ),
            Effect(
                f"test loss, {parts[0]} examples per mean / whole batch",
                ratio(losses[parts[0]], whole),
            ),
            Effect(
                "test loss, whole batch / no norm",
                ratio(whole, result.where(norm="none").values("test_loss")),
            ),
        ),
    )


EXPERIMENT = Experiment(
    name="batch_noise",
    question="What does the noise of the batch statistics do to training and generalization?",
    run=run,
    live={"parts": [4, 16, 128], "batch_size": 128, "examples": 4000, "steps": 150},
    full={
        "parts": [4, 8, 16, 32, 128],
        "batch_size": 128,
        "examples": 4000,
        "steps": 500,
    },
    decisions={
        "weaker_with_batch": weaker_with_batch,
        "helps_generalization": helps_generalization,
    },
)

"""What happens in training when the gradient ignores that the statistics depend on the batch?

The forward pass of BatchNorm stays as it is. In the backward pass its mean, its standard deviation
or both count as constants, as if they came from elsewhere.

    loss    mean of the last batches
    bias    root mean square of the biases before the norms: they have no effect on the output
    norm    root mean square over units of the norm of a unit's incoming weights, all hidden layers
    radial  mean over units of abs(cosine) between a unit's weights and their gradient: the part of
            the gradient that only changes the scale of the weights, which has no effect either

Sources: Ioffe & Szegedy 2015, section 2 (the bias that grows without end).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from normcourse.experiments.data import load_digits
from normcourse.experiments.experiment import Experiment
from normcourse.experiments.models import mlp
from normcourse.experiments.result import Effect, Result, Row, Spread, Verdict, spread
from normcourse.experiments.train import train

DETACHED = ("nothing", "mean", "std", "both")
RECENT = 20  # batches that one loss averages


class DetachedBatchNorm(nn.Module):
    """BatchNorm of (N, D) by batch statistics, some of which the gradient takes for constants.

    Args:
        num_features: number of features D.
        detached: "nothing", "mean", "std" or "both".
        eps: added to the variance inside the root.
    """

    def __init__(self, num_features: int, detached: str, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(num_features))
        self.bias = nn.Parameter(torch.zeros(num_features))
        self.detached, self.eps = detached, eps

    def forward(self, x: Tensor) -> Tensor:
        """Return weight * (x - mean) / std + bias."""
        mean = x.mean(dim=0)
        std = (x.var(dim=0, correction=0) + self.eps).sqrt()
        if self.detached in ("mean", "both"):
            mean = mean.detach()
        if self.detached in ("std", "both"):
            std = std.detach()
        return self.weight * (x - mean) / std + self.bias


def run(
    seed: int,
    *,
    detached: Sequence[str],
    depth: int,
    width: int,
    lr: float,
    checkpoints: Sequence[int],
) -> Iterator[Row]:
    """Yield a row per way and checkpoint.

    Args:
        seed: draws split, weights and batches, the same for every way.
        detached: words of ``DETACHED``.
        depth: hidden layers, with biases before their norms.
        width: units in each.
        lr: learning rate.
        checkpoints: numbers of steps made, rising.

    Yields:
        ``detached``, ``step``, ``loss``, ``bias``, ``norm``, ``radial``.
    """
    for way in detached:
        generator = torch.Generator().manual_seed(seed)
        digits = load_digits(generator)
        make = functools.partial(DetachedBatchNorm, detached=way)
        net = mlp(generator, 64, 10, depth=depth, width=width, norm=make)
        x, t = digits.train_x, digits.train_t
        losses: list[float] = []
        for step in checkpoints:
            steps = step + 1 - len(losses)  # the last one leaves its gradient in the net
            losses += train(net, x, t, steps=steps, lr=lr, generator=generator)
            recent = losses[-RECENT:]
            loss = sum(recent) / len(recent)
            yield {"detached": way, "step": step, "loss": loss, **_measures(net)}


def _measures(net: nn.Sequential) -> dict[str, float]:
    """Return the size of biases and weights of the hidden layers, and how radial gradients are."""
    hidden = [name for name, _ in net.named_children() if name.startswith("linear")]
    biases = torch.cat([net.get_parameter(f"{name}.bias").detach() for name in hidden])
    norms, cosines = [], []
    for name in hidden:
        weight = net.get_parameter(f"{name}.weight")
        assert weight.grad is not None
        norms.append(weight.detach().norm(dim=1))
        cosine = nn.functional.cosine_similarity(weight.detach(), weight.grad, dim=1)
        cosines.append(cosine.abs())
    return {
        "bias": biases.square().mean().sqrt().item(),
        "norm": torch.cat(norms).square().mean().sqrt().item(),
        "radial": torch.cat(cosines).mean().item(),
    }


# ------------------------------------------------------------------------------------ decisions


def _at_end(result: Result, column: str, way: str) -> dict[int, float]:
    chosen = result.where(detached=way, step=max(result.distinct("step")))
    return {int(row["seed"]): float(row[column]) for row in chosen.rows}


def _ratio(result: Result, column: str, way: str) -> Spread:
    """Return the spread over seeds of a column at the end, over that with nothing detached."""
    ours, plain = (_at_end(result, column, name) for name in (way, "nothing"))
    return spread(ours[seed] / plain[seed] for seed in ours)


def training_blows_up(result: Result) -> Verdict:
    """Does training blow up when mean and std both count as constants?

    Supported if at the last checkpoint, in half of the seeds or more, the loss is no number or
    above where it began, or the weights have grown tenfold; refuted if in none; else mixed.
    """
    loss, norm = (_at_end(result, column, "both") for column in ("loss", "norm"))
    start = result.where(detached="both", step=min(result.distinct("step")))
    first = {int(row["seed"]): row for row in start.rows}
    blown = [
        not loss[seed] <= float(first[seed]["loss"]) or norm[seed] > 10 * float(first[seed]["norm"])
        for seed in loss
    ]
    share = sum(blown) / len(blown)
    effects = (Effect("weights, both detached / nothing", _ratio(result, "norm", "both")),)
    return Verdict("supported" if share >= 0.5 else "mixed" if share else "refuted", effects)


def learns_worse(result: Result) -> Verdict:
    """Is the loss higher after the same steps when mean and std both count as constants?

    Supported if the ratio of losses at the last checkpoint has a median above 1.5, refuted if below
    1.1, else mixed.
    """
    ratios = {way: _ratio(result, "loss", way) for way in ("both", "mean", "std")}
    both = ratios["both"].median
    return Verdict(
        "supported" if both > 1.5 else "refuted" if both < 1.1 else "mixed",
        tuple(Effect(f"loss, {name} detached / nothing", value) for name, value in ratios.items()),
    )


EXPERIMENT = Experiment(
    name="detached_statistics",
    question="What happens in training when the gradient takes the statistics for constants?",
    run=run,
    live={
        "detached": ["nothing", "both"],
        "depth": 3,
        "width": 64,
        "lr": 0.2,
        "checkpoints": [0, 50, 100, 200],
    },
    full={
        "detached": list(DETACHED),
        "depth": 3,
        "width": 64,
        "lr": 0.2,
        "checkpoints": [0, 10, 20, 50, 100, 150, 200, 300, 400, 500, 600],
    },
    decisions={"training_blows_up": training_blows_up, "learns_worse": learns_worse},
)

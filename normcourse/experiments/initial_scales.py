"""How does training depend on the scale that the weights are drawn with?

All hidden weights are He's times a scale. Three arms: ``none``, ``batch``, and ``rescaled``: with
BatchNorm, and the rate of the hidden weights multiplied by the square of the scale.

    first     loss of the first batch
    gradient  norm of the first gradient of a middle layer's weights
    loss      mean training loss of the last ten steps; infinite if the run was lost

Sources: van Laarhoven 2017; Arora et al. 2019 (the effective rate).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from normcourse.experiments.deep_digits import (
    BATCH_SIZE,
    LOST,
    deep_net,
    end_loss,
    outcome,
    ratio,
    task,
)
from normcourse.experiments.experiment import Experiment
from normcourse.experiments.result import Effect, Result, Row, Verdict, spread
from normcourse.experiments.train import train

ARMS = ("none", "batch", "rescaled")
GOAL = 0.5


def run(
    seed: int, *, scales: Sequence[float], rate: float, depth: int, steps: int
) -> Iterator[Row]:
    """Yield a row per arm and scale."""
    for arm in ARMS:
        for scale in scales:
            generator = torch.Generator().manual_seed(seed)
            digits = task(generator)
            net = deep_net(generator, "none" if arm == "none" else "batch", depth, scale=scale)
            weights = [net.get_parameter(f"linear{k}.weight") for k in range(1, depth + 1)]
            watch = _Watch(weights, scale**2 if arm == "rescaled" else 1.0)
            losses = train(
                net,
                digits.train_x,
                digits.train_t,
                steps=steps,
                generator=generator,
                batch_size=BATCH_SIZE,
                lr=rate,
                stop_at=LOST,
                watch=watch,
            )
            row: Row = {
                "arm": arm,
                "scale": scale,
                "first": losses[0],
                "loss": end_loss(losses, steps),
            }
            yield row if math.isnan(watch.gradient) else {**row, "gradient": watch.gradient}


class _Watch:
    """Note the first gradient of the middle weights, and multiply all gradients by a factor."""

    def __init__(self, weights: Sequence[Tensor], factor: float) -> None:
        self._weights, self._factor = weights, factor
        self.gradient = math.nan

    def __call__(self, step: int, loss: float) -> None:
        for k, weight in enumerate(self._weights):
            assert weight.grad is not None
            if step == 0 and k == len(self._weights) // 2:
                self.gradient = weight.grad.norm().item()
            weight.grad.mul_(self._factor)


def usable(result: Result, arm: str) -> list[float]:
    """Return, seed by seed, the fraction of scales with which training ends at the goal."""
    chosen = result.where(arm=arm)
    return [
        sum(float(row["loss"]) <= GOAL for row in chosen.rows if row["seed"] == seed)
        / len(chosen.distinct("scale"))
        for seed in chosen.seeds
    ]


def at(result: Result, arm: str, scale: float, column: str = "loss") -> list[float]:
    """Return a column of an arm at the scale nearest to the one given, seed by seed."""
    nearest = min(result.distinct("scale"), key=lambda s: abs(math.log(s / scale)))
    return [float(v) for v in result.where(arm=arm, scale=nearest).values(column)]


def robust_to_scale(result: Result) -> Verdict:
    """Does BatchNorm make training less sensitive to the scale of the initial weights?

    A scale is usable if training with it ends at the goal or below. Supported if the usable
    fraction of the scales is at least twice as large with BatchNorm as without (median over seeds),
    refuted if it is no larger, else mixed.
    """
    value = ratio(usable(result, "batch"), usable(result, "none"))
    return Verdict(
        outcome(value.median >= 2, value.median <= 1),
        (
            Effect("usable scales, with / without", value),
            Effect("usable fraction of the scales, with", spread(usable(result, "batch"))),
            Effect("usable fraction of the scales, without", spread(usable(result, "none"))),
        ),
    )


def harmless_when_large(result: Result) -> Verdict:
    """With BatchNorm, are larger initial weights harmless?

    Supported if at the largest scale the loss at the end is less than 1.25 times that at scale 1
    (median over seeds), refuted if it is more than twice that, else mixed.
    """
    value = ratio(at(result, "batch", max(result.distinct("scale"))), at(result, "batch", 1.0))
    return Verdict(
        outcome(value.median < 1.25, value.median > 2),
        (Effect("loss at the end, largest scale / scale 1", value),),
    )


def rate_explains_scale(result: Result) -> Verdict:
    """Is the learning rate all that the scale of weights before BatchNorm changes?

    The rate of these weights is multiplied by the square of the scale. Supported if then, over the
    scales from 0.1 on, the largest and the smallest loss at the end differ by less than a quarter
    (median over seeds), refuted if by more than a factor of 2, else mixed. (Smaller scales are left
    out: there eps is no longer small against the variance.)
    """
    chosen = result.where(arm="rescaled").keep(lambda row: float(row["scale"]) >= 0.1)
    by_seed = [[float(r["loss"]) for r in chosen.rows if r["seed"] == s] for s in chosen.seeds]
    value = ratio([max(losses) for losses in by_seed], [min(losses) for losses in by_seed])
    return Verdict(
        outcome(value.median < 1.25, value.median > 2),
        (Effect("largest / smallest loss at the end, rate times scale squared", value),),
    )


EXPERIMENT = Experiment(
    name="initial_scales",
    question="How does training depend on the scale that the weights are drawn with?",
    run=run,
    live={"scales": [0.1, 0.3, 1.0, 3.0, 10.0], "rate": 0.1, "depth": 6, "steps": 60},
    full={
        "scales": [round(10 ** (-2 + 4 * k / 19), 4) for k in range(20)],
        "rate": 0.1,
        "depth": 6,
        "steps": 80,
    },
    decisions={
        "robust_to_scale": robust_to_scale,
        "harmless_when_large": harmless_when_large,
        "rate_explains_scale": rate_explains_scale,
    },
)

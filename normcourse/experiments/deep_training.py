"""Which deep nets can be trained at all: with BatchNorm, with skips, with both, with neither?

The stacks of ``deep_start``, and one more: residual without any norm, each branch times a learned
number that starts at 0. Each is trained with several rates:

    loss         mean training loss of the last ten steps; infinite if the run was lost

Sources: De & Smith 2020 (the learned number, SkipInit); Zhang et al. 2019 (no norm is needed).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from normcourse.experiments.deep_digits import BATCH_SIZE, LOST, end_loss, outcome, task
from normcourse.experiments.deep_start import stack
from normcourse.experiments.experiment import Experiment
from normcourse.experiments.result import Effect, Result, Row, Spread, Verdict, spread
from normcourse.experiments.train import train

WIDTH = 64
GOAL = 0.3


def run(
    seed: int,
    *,
    stacks: Sequence[str],
    depths: Sequence[int],
    rates: Sequence[float],
    steps: int,
) -> Iterator[Row]:
    """Yield a row per stack, depth and rate."""
    for name in stacks:
        for depth in depths:
            for rate in rates:
                generator = torch.Generator().manual_seed(seed)
                digits = task(generator)
                losses = train(
                    stack(generator, name, depth, WIDTH),
                    digits.train_x,
                    digits.train_t,
                    steps=steps,
                    generator=generator,
                    batch_size=BATCH_SIZE,
                    lr=rate,
                    stop_at=LOST,
                )
                yield {
                    "stack": name,
                    "depth": depth,
                    "rate": rate,
                    "loss": end_loss(losses, steps),
                }


def best(result: Result, name: str, depth: int) -> Spread:
    """Return the lowest loss of a stack over the rates, chosen for each seed."""
    chosen = result.where(stack=name, depth=depth)
    return spread(
        min(float(row["loss"]) for row in chosen.rows if row["seed"] == seed)
        for seed in chosen.seeds
    )


def depth_without_skips(result: Result) -> Verdict:
    """Does BatchNorm alone, without skips, make the deepest nets trainable?

    Supported if the deepest plain net with BatchNorm ends at the goal or below (median over seeds
    of the best rate), refuted if it does not and the residual one with BatchNorm does, else mixed.
    """
    deepest = max(result.distinct("depth"))
    plain, residual = (best(result, f"{kind} batch", deepest) for kind in ("plain", "residual"))
    return Verdict(
        outcome(plain.median <= GOAL, residual.median <= GOAL < plain.median),
        (
            Effect(f"loss at depth {deepest}, plain with BatchNorm", plain),
            Effect(f"loss at depth {deepest}, residual with BatchNorm", residual),
        ),
    )


def essential_for_depth(result: Result) -> Verdict:
    """Is BatchNorm essential to train the deepest nets?

    Supported if of all stacks only those with BatchNorm end at the goal or below at the greatest
    depth (median over seeds of the best rate), refuted if one without it does, mixed if none does.
    """
    deepest = max(result.distinct("depth"))
    losses = {name: best(result, name, deepest) for name in result.distinct("stack")}
    there = {name for name, value in losses.items() if value.median <= GOAL}
    without = {name for name in there if not name.endswith("batch")}
    return Verdict(
        outcome(bool(there) and not without, bool(without)),
        tuple(Effect(f"loss at depth {deepest}, {name}", value) for name, value in losses.items()),
    )


_STACKS = ["plain none", "plain batch", "residual none", "residual batch", "residual alpha"]
EXPERIMENT = Experiment(
    name="deep_training",
    question="Which deep nets can be trained at all?",
    run=run,
    live={"stacks": _STACKS, "depths": [16], "rates": [0.1], "steps": 50},
    full={
        "stacks": _STACKS,
        "depths": [4, 16, 48],
        "rates": [0.03, 0.3],
        "steps": 80,
    },
    decisions={
        "depth_without_skips": depth_without_skips,
        "essential_for_depth": essential_for_depth,
    },
)

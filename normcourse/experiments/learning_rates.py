"""Which learning rates train a net with and without BatchNorm, at three depths, and how fast?

A net with given depth is trained by plain SGD with each of a row of rates, twice as large each:

    loss      mean training loss of the last ten steps; infinite if the run was lost
    steps     steps until ten of them have a mean loss of at most GOAL; infinite if never
    seconds   processor seconds of these steps

Sources: Ioffe & Szegedy 2015 (larger rates, fewer steps); Bjorck et al. 2018 (rates).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import torch

from normcourse.experiments.deep_digits import (
    BATCH_SIZE,
    LOST,
    MAKERS,
    deep_net,
    end_loss,
    first_below,
    outcome,
    ratio,
    task,
)
from normcourse.experiments.experiment import Experiment
from normcourse.experiments.result import Effect, Result, Row, Verdict
from normcourse.experiments.train import train

GOAL = 0.3  # chance is ln 10 = 2.3


def run(seed: int, *, depths: Sequence[int], rates: Sequence[float], steps: int) -> Iterator[Row]:
    """Yield a row per depth, norm and rate: ``loss``, ``steps`` and ``seconds``."""
    for depth in depths:
        for norm in MAKERS:
            for rate in rates:
                generator = torch.Generator().manual_seed(seed)
                digits = task(generator)
                net = deep_net(generator, norm, depth)
                start = time.process_time()
                losses = train(
                    net,
                    digits.train_x,
                    digits.train_t,
                    steps=steps,
                    generator=generator,
                    batch_size=BATCH_SIZE,
                    lr=rate,
                    stop_at=LOST,
                )
                each = (time.process_time() - start) / len(losses)
                needed = first_below(losses, GOAL)
                yield {
                    "depth": depth,
                    "norm": norm,
                    "rate": rate,
                    "loss": end_loss(losses, steps),
                    "steps": needed,
                    "seconds": needed * each,
                }


def largest_rates(result: Result, depth: int, norm: str) -> list[float]:
    """Return, seed by seed, the largest rate that ends at the goal or below; 0 if none does."""
    chosen = result.where(depth=depth, norm=norm)
    return [
        max(
            (float(row["rate"]) for row in _of(chosen, seed) if float(row["loss"]) <= GOAL),
            default=0.0,
        )
        for seed in chosen.seeds
    ]


def quickest(result: Result, column: str, depth: int, norm: str) -> list[float]:
    """Return, seed by seed, the fewest ``steps`` or ``seconds`` to the goal over all rates."""
    chosen = result.where(depth=depth, norm=norm)
    return [min(float(row[column]) for row in _of(chosen, seed)) for seed in chosen.seeds]


def _of(result: Result, seed: int) -> list[Row]:
    return [row for row in result.rows if row["seed"] == seed]


def larger_rate(result: Result) -> Verdict:
    """Does BatchNorm allow larger learning rates?

    A rate is usable if training with it ends at the goal or below. Supported if at every depth the
    largest usable rate with BatchNorm is at least twice that without (median of the ratio over
    seeds; a net without any usable rate counts as 0), refuted if at every depth it is no larger,
    else mixed.
    """
    depths = result.distinct("depth")
    ratios = [
        ratio(largest_rates(result, depth, "batch"), largest_rates(result, depth, "none"))
        for depth in depths
    ]
    medians = [value.median for value in ratios]
    return Verdict(
        outcome(min(medians) >= 2, max(medians) <= 1),
        tuple(
            Effect(f"largest usable rate at depth {depth}, with / without", value)
            for depth, value in zip(depths, ratios, strict=True)
        ),
    )


def fewer_steps(result: Result) -> Verdict:
    """Does a net with BatchNorm need fewer steps to the goal, each net at its best rate?

    Supported if at every depth the median of steps without / with is at least 1.25, refuted if at
    every depth at most 1, else mixed.
    """
    return _quicker(result, "steps")


def fewer_seconds(result: Result) -> Verdict:
    """Does a net with BatchNorm need less time to the goal, each net at its best rate?

    In processor seconds. Supported if at every depth the median of seconds without / with is at
    least 1.25, refuted if at every depth at most 1, else mixed.
    """
    return _quicker(result, "seconds")


def _quicker(result: Result, column: str) -> Verdict:
    depths = result.distinct("depth")
    ratios = [
        ratio(quickest(result, column, depth, "none"), quickest(result, column, depth, "batch"))
        for depth in depths
    ]
    medians = [value.median for value in ratios]
    return Verdict(
        outcome(min(medians) >= 1.25, max(medians) <= 1),
        tuple(
            Effect(f"{column} to the goal at depth {depth}, without / with", value)
            for depth, value in zip(depths, ratios, strict=True)
        ),
    )


EXPERIMENT = Experiment(
    name="learning_rates",
    question="Which learning rates train a net with and without BatchNorm, and how fast?",
    run=run,
    live={"depths": [8], "rates": [0.02 * 4**k for k in range(6)], "steps": 80},
    full={"depths": [2, 8, 20], "rates": [0.02 * 2**k for k in range(11)], "steps": 100},
    decisions={
        "larger_rate": larger_rate,
        "fewer_steps": fewer_steps,
        "fewer_seconds": fewer_seconds,
    },
)

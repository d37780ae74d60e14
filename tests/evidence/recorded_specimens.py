"""An experiment that is quick, needs its seed, and has every kind of value; and a slow one."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from normcourse.experiments import Effect, Experiment, Result, Row, Verdict
from normcourse.experiments.result import Outcome


def measured(seed: int, *, scale: float) -> Iterator[Row]:
    rng = np.random.default_rng(seed)
    yield {"norm": "batch", "loss": scale * rng.random(), "steps": 3, "diverged": False}
    yield {"norm": "none", "loss": math.inf if seed % 2 else -math.inf, "diverged": True}


def larger(result: Result) -> Verdict:
    """Is it larger?

    Supported if it is, refuted if not.
    """
    steps = result.spread("steps")
    outcome: Outcome = "supported" if steps.median > 2 else "refuted"
    return Verdict(outcome, (Effect("steps", steps),))


MEASURED = Experiment(
    "measured", "Is it?", measured, {"scale": 1.0}, {"scale": 2.0}, decisions={"larger": larger}
)


def slow(seed: int, *, marks: str) -> Iterator[Row]:
    """Leave a mark per seed begun, and take a while from the fifth on."""
    with (Path(marks) / "begun").open("a") as file:
        file.write(f"{seed} {os.getpid()}\n")
    if seed >= 4 and (Path(marks) / "wait").exists():
        time.sleep(60)
    yield {"value": seed**2}


def slow_experiment(marks: Path) -> Experiment:
    decisions = {"a rule that cannot travel": lambda result: larger(result)}
    settings = {"marks": str(marks)}
    return Experiment("slow", "?", slow, settings, settings, decisions=decisions)

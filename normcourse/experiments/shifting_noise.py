"""Is a net with BatchNorm harmed when its layers' inputs are made to shift on purpose?

After every BatchNorm stands a layer that scales and shifts each unit by numbers drawn anew at every
step. Such a net is compared with one with BatchNorm alone and one without, at several rates:

    shift     how far the mean of a unit moves in one step, in units of its standard deviation:
              mean over the units that a middle layer is given, median over the steps looked at
    loss      mean training loss of the last ten steps; infinite if the run was lost
    steps     steps until ten of them have a mean loss of at most GOAL; infinite if never
    accuracy  on the test images, the noise off

Source: Santurkar et al. 2018, whose noise also differs from example to example.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

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
from normcourse.experiments.models import MakeNorm
from normcourse.experiments.result import Effect, Result, Row, Verdict, spread
from normcourse.experiments.train import accuracy, train

GOAL = 0.5
EVERY = 5  # steps between two looks at the shift
TINY = 1e-3  # keeps units that are 0 throughout from dividing by 0


class ShiftingNoise(nn.Module):
    """Scale and shift each unit by random numbers of this step; in inference mode do nothing.

    Formula:
        y = (1 + strength * u) * x + strength * v, u and v uniform in (-1, 1), one per unit

    Args:
        generator: draws u and v at every call.
        strength: how far scale and shift may be from 1 and 0.

    Example:
        >>> layer = ShiftingNoise(torch.Generator().manual_seed(0), 0.5)
        >>> x = torch.randn(200, 3)
        >>> bool((layer(x).mean(dim=0) - x.mean(dim=0)).abs().max() > 0.1)
        True
        >>> layer.eval()(x) is x
        True
    """

    def __init__(self, generator: torch.Generator, strength: float) -> None:
        super().__init__()
        self.generator = generator
        self.strength = strength

    def forward(self, x: Tensor) -> Tensor:
        """Return x, (N, D), with each unit scaled and shifted."""
        if not self.training:
            return x
        u, v = 2 * torch.rand(2, x.shape[1], generator=self.generator) - 1  # (D,) each
        y: Tensor = (1 + self.strength * u) * x + self.strength * v
        return y


def run(
    seed: int, *, strengths: Sequence[float], rates: Sequence[float], depth: int, steps: int
) -> Iterator[Row]:
    """Yield a row per kind of net and rate.

    ``norm`` is none or batch, ``strength`` that of the noise after it, 0 for no noise.
    """
    kinds = [("none", 0.0), ("batch", 0.0), *(("batch", strength) for strength in strengths)]
    for norm, strength in kinds:
        for rate in rates:
            generator = torch.Generator().manual_seed(seed)
            digits = task(generator)
            net = deep_net(generator, _maker(norm, strength, seed), depth)
            watch = _Shift(net.get_submodule(f"act{(depth + 1) // 2}"))
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
            yield {
                "norm": norm,
                "strength": strength,
                "rate": rate,
                "loss": end_loss(losses, steps),
                "steps": first_below(losses, GOAL),
                "shift": watch.median(),
                "accuracy": accuracy(net, digits.test_x, digits.test_t),
            }


def _maker(norm: str, strength: float, seed: int) -> str | MakeNorm:
    if not strength:
        return MAKERS[norm]
    generator = torch.Generator().manual_seed(seed + 1)  # not the one that draws the weights

    def make(num_features: int) -> nn.Module:
        return nn.Sequential(nn.BatchNorm1d(num_features), ShiftingNoise(generator, strength))

    return make


class _Shift:
    """Compare what a layer gives at one step with what it gives at the next, now and then."""

    def __init__(self, layer: nn.Module) -> None:
        self._seen: list[Tensor] = []
        self._shifts: list[float] = []
        self._before: tuple[Tensor, Tensor] | None = None
        layer.register_forward_hook(self._keep)

    def _keep(self, _layer: nn.Module, _inputs: Any, output: Tensor) -> None:
        self._seen = [output.detach()]

    def __call__(self, step: int, loss: float) -> None:
        """Look at this step if it is one of those to be looked at, or the one after."""
        if step % EVERY > 1:
            return
        mean, std = self._seen[0].mean(dim=0), self._seen[0].std(dim=0)
        if step % EVERY == 1 and self._before is not None:
            old_mean, old_std = self._before
            self._shifts.append(((mean - old_mean).abs() / (old_std + TINY)).mean().item())
        self._before = (mean, std)

    def median(self) -> float:
        """Return the median shift, 0 if the run ended before the first."""
        return spread(self._shifts).median if self._shifts else 0.0


def best(result: Result, column: str, norm: str, strength: float) -> list[float]:
    """Return, seed by seed, a column of the run that reached the goal in the fewest steps.

    Where none reached it, that of the run with the lowest loss.
    """
    chosen = result.where(norm=norm, strength=strength)
    return [
        float(
            min(
                (row for row in chosen.rows if row["seed"] == seed),
                key=lambda row: (row["steps"], row["loss"]),
            )[column]
        )
        for seed in chosen.seeds
    ]


def needs_steady_inputs(result: Result) -> Verdict:
    """Does a net with BatchNorm train fast only as long as its layers' inputs shift less?

    Looked at are the strengths of noise with which the inputs shift more than in the net without
    any norm (median over seeds of the ratio above 1), each net at its best rate. Supported if all
    of them need more steps to the goal than the net without (median of the ratio above 1), refuted
    if one of them needs fewer in three quarters of the seeds, else mixed. Mixed too if no noise
    shifts more.
    """
    without = {column: best(result, column, "none", 0.0) for column in ("shift", "steps")}
    noisy = [
        value
        for value in sorted(result.where(norm="batch").distinct("strength"))
        if value > 0 and ratio(best(result, "shift", "batch", value), without["shift"]).median > 1
    ]
    steps = {
        value: ratio(best(result, "steps", "batch", value), without["steps"]) for value in noisy
    }
    effects = [
        Effect(
            "shift, BatchNorm / none", ratio(best(result, "shift", "batch", 0.0), without["shift"])
        ),
        Effect(
            "steps, BatchNorm / none", ratio(best(result, "steps", "batch", 0.0), without["steps"])
        ),
    ]
    for value in noisy:
        shift = ratio(best(result, "shift", "batch", value), without["shift"])
        effects.append(Effect(f"shift, BatchNorm and noise {value:g} / none", shift))
        effects.append(Effect(f"steps, BatchNorm and noise {value:g} / none", steps[value]))
    return Verdict(
        outcome(
            bool(noisy) and all(value.median > 1 for value in steps.values()),
            any(value.high < 1 for value in steps.values()),
        ),
        tuple(effects),
    )


EXPERIMENT = Experiment(
    name="shifting_noise",
    question="Does BatchNorm still help when its outputs are made to shift at every step?",
    run=run,
    live={"strengths": [0.5], "rates": [0.08, 0.32], "depth": 8, "steps": 100},
    full={
        "strengths": [0.25, 0.5, 1.0],
        "rates": [0.08, 0.16, 0.32, 0.64],
        "depth": 8,
        "steps": 120,
    },
    decisions={"needs_steady_inputs": needs_steady_inputs},
)

"""How do loss and gradient change along the direction of a training step?

While a net is trained, it is halted now and then. From its weights w the loss and its gradient are
taken along a line in the direction of the negative gradient g of 256 images, at points of two
kinds, and the weights are put back:

    low, high       smallest and largest loss at steps of size rate * norm(g), rate in REACH
    turned          norm(g(w - 0.08 g) - g) / norm(g)
    change          largest norm of the difference of neighbouring gradients per unit of way
    change_far      the same for steps of a size relative to the weights, norm(w) times FAR

Sources: Santurkar et al. 2018 (loss, gradient predictiveness, smoothness along the step).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from normcourse.experiments.deep_digits import (
    BATCH_SIZE,
    LOST,
    MAKERS,
    deep_net,
    outcome,
    ratio,
    task,
)
from normcourse.experiments.experiment import Experiment
from normcourse.experiments.result import Effect, Result, Row, Verdict
from normcourse.experiments.train import train

REACH = (0.02, 0.04, 0.08, 0.16)
FAR = (0.0025, 0.005, 0.01, 0.02)
MARK = 0.08  # the rate at which ``turned`` is taken
SEEN = 256


class _Halt:
    """Called between gradient and step: look along the line, and leave everything as it was."""

    def __init__(self, net: nn.Module, x: Tensor, t: Tensor, steps: Sequence[int]) -> None:
        self._net, self._x, self._t, self._steps = net, x, t, steps
        self.rows: list[Row] = []

    def __call__(self, step: int, loss: float) -> None:
        if step not in self._steps:
            return
        parameters = list(self._net.parameters())
        kept = [(p.detach().clone(), p.grad) for p in parameters]
        buffers = [buffer.clone() for buffer in self._net.buffers()]
        self.rows.append({"step": step, **self._look()})
        with torch.no_grad():
            for parameter, (value, gradient) in zip(parameters, kept, strict=True):
                parameter.copy_(value)
                parameter.grad = gradient
            for buffer, value in zip(self._net.buffers(), buffers, strict=True):
                buffer.copy_(value)

    def _look(self) -> Row:
        start = nn.utils.parameters_to_vector(self._net.parameters()).detach()
        loss, gradient = self._at(start)
        size = gradient.norm().item()
        near = [(rate * size, *self._at(start - rate * gradient)) for rate in REACH]
        rates = [part * start.norm().item() / size for part in FAR]
        far = [(rate * size, *self._at(start - rate * gradient)) for rate in rates]
        turned = near[REACH.index(MARK)][2] - gradient
        losses = [loss, *(value for _, value, _ in near)]
        return {
            "loss": loss,
            "gradient": size,
            "low": min(losses),
            "high": max(losses),
            "turned": turned.norm().item() / size,
            "change": gradient_change([(0.0, loss, gradient), *near]),
            "change_far": gradient_change([(0.0, loss, gradient), *far]),
        }

    def _at(self, weights: Tensor) -> tuple[float, Tensor]:
        """Return loss and gradient in training mode with these weights."""
        with torch.no_grad():  # vector_to_parameters would leave views of one vector
            at = 0
            for p in self._net.parameters():
                p.copy_(weights[at : at + p.numel()].view_as(p))
                at += p.numel()
        loss = nn.functional.cross_entropy(self._net(self._x), self._t)
        parts = torch.autograd.grad(loss, list(self._net.parameters()))
        return loss.item(), torch.cat([part.flatten() for part in parts])


def gradient_change(points: Sequence[tuple[float, float, Tensor]]) -> float:
    """Return the largest change of the gradient between neighbours, per unit of way.

    Args:
        points: (way from the start, loss, gradient), in the order of the way.

    Example:
        >>> zero, gradient = torch.zeros(2), torch.tensor([3.0, 4.0])
        >>> gradient_change([(0.0, 1.0, zero), (2.0, 1.0, gradient)])
        2.5
    """
    changes = [
        (after - before).norm().item() / (b - a)
        for (a, _, before), (b, _, after) in itertools.pairwise(points)
    ]
    return float(max(changes))


def run(
    seed: int, *, depths: Sequence[int], rates: Sequence[float], looks: Sequence[int]
) -> Iterator[Row]:
    """Yield a row per depth, norm, rate of the training (the path) and step looked at."""
    for depth in depths:
        for norm in MAKERS:
            for rate in rates:
                generator = torch.Generator().manual_seed(seed)
                digits = task(generator)
                x, t = digits.train_x, digits.train_t
                net = deep_net(generator, norm, depth)
                halt = _Halt(net, x[:SEEN], t[:SEEN], looks)
                train(
                    net,
                    x,
                    t,
                    steps=max(looks) + 1,
                    generator=generator,
                    batch_size=BATCH_SIZE,
                    lr=rate,
                    stop_at=LOST,
                    watch=halt,
                )
                for row in halt.rows:
                    if all(math.isfinite(float(value)) for value in row.values()):
                        yield {"depth": depth, "norm": norm, "rate": rate, **row}


def along_path(result: Result, column: str, depth: int, norm: str, rate: float) -> list[float]:
    """Return, seed by seed, the geometric mean of a column over the steps looked at."""
    chosen = result.where(depth=depth, norm=norm, rate=rate)
    means = []
    for seed in chosen.seeds:
        logs = [math.log(float(row[column])) for row in chosen.rows if row["seed"] == seed]
        means.append(math.exp(sum(logs) / len(logs)))
    return means


def smoother(result: Result) -> Verdict:
    """Does the gradient change less along the step, per unit of way, with BatchNorm?

    For every depth and path, by both kinds of steps (``change``, ``change_far``). Supported if
    without / with has a median of at least 1.25 everywhere, refuted if nowhere above 1, else mixed:
    it depends on where one looks.
    """
    ratios = {
        (column, depth, rate): ratio(
            along_path(result, column, depth, "none", rate),
            along_path(result, column, depth, "batch", rate),
        )
        for column in ("change", "change_far")
        for depth in result.distinct("depth")
        for rate in result.distinct("rate")
    }
    medians = [value.median for value in ratios.values()]
    return Verdict(
        outcome(min(medians) >= 1.25, max(medians) <= 1),
        tuple(
            Effect(f"{column} at depth {depth}, path of rate {rate:g}, without / with", value)
            for (column, depth, rate), value in ratios.items()
        ),
    )


def smoother_at_the_start(result: Result) -> Verdict:
    """Before the first step, does the gradient change less along it, at every depth?

    Supported if without / with has a median of at least 1.25 at every depth (``change``), refuted
    if at every depth at most 1, else mixed.
    """
    start = result.where(step=0, rate=result.distinct("rate")[0])
    ratios = {
        depth: ratio(
            start.where(depth=depth, norm="none").values("change"),
            start.where(depth=depth, norm="batch").values("change"),
        )
        for depth in result.distinct("depth")
    }
    medians = [value.median for value in ratios.values()]
    return Verdict(
        outcome(min(medians) >= 1.25, max(medians) <= 1),
        tuple(
            Effect(f"change at the start, depth {depth}, without / with", value)
            for depth, value in ratios.items()
        ),
    )


def depends_on_path(result: Result) -> Verdict:
    """Without any norm, does the smoothness found depend on the path that was walked?

    Supported if at some depth the slowest path's ``change`` differs from the fastest path's by a
    factor of 1.5 or more (median over seeds), refuted if at every depth by less than 1.1, else
    mixed.
    """
    rates = sorted(result.distinct("rate"))
    ratios = {
        depth: ratio(
            along_path(result, "change", depth, "none", rates[0]),
            along_path(result, "change", depth, "none", rates[-1]),
        )
        for depth in result.distinct("depth")
    }
    factors = [max(value.median, 1 / value.median) for value in ratios.values()]
    return Verdict(
        outcome(max(factors) >= 1.5, max(factors) < 1.1),
        tuple(
            Effect(f"change without norm at depth {depth}, slow path / fast path", value)
            for depth, value in ratios.items()
        ),
    )


EXPERIMENT = Experiment(
    name="step_landscape",
    question="How do loss and gradient change along the direction of a training step?",
    run=run,
    live={"depths": [8], "rates": [0.08], "looks": [0, 5, 20, 50]},
    full={"depths": [2, 8, 24], "rates": [0.02, 0.08], "looks": [0, 10, 25, 50, 75, 100]},
    decisions={
        "smoother": smoother,
        "smoother_at_the_start": smoother_at_the_start,
        "depends_on_path": depends_on_path,
    },
)

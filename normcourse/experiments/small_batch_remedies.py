"""Remedies for batches of two: a trained net goes on learning where memory holds few images.

A net with batch normalization, trained on digits in batches of 64, goes on with digits that are
turned by a quarter, or whose ink is inverted. Every step uses 32 images, but only a few fit into
memory at a time: the step is made of micro-batches whose gradients are added up. That leaves the
gradient of a plain net as it is; batch statistics stay those of a micro-batch.

Sources: Ioffe 2017 (batch renormalization); Peng et al. 2018 (synchronized batch normalization);
He et al. 2016 (frozen batch normalization when fine-tuning).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from normcourse.experiments.data import load_digits
from normcourse.experiments.experiment import Experiment
from normcourse.experiments.models import mlp
from normcourse.experiments.result import Effect, Result, Row, Spread, Verdict, spread
from normcourse.experiments.train import accuracy, train
from normcourse.modules import BatchNorm, BatchRenorm, FrozenBatchNorm

WIDTH, DEPTH, STEP = 64, 2, 32
REMEDIES: dict[str, Callable[[int], nn.Module]] = {
    "joined": BatchNorm,  # all 32 images pool, as with synchronized batch normalization
    "accumulated": BatchNorm,
    "renorm": BatchRenorm,
    "frozen": FrozenBatchNorm,
}
TASKS: dict[str, Callable[[Tensor], Tensor]] = {
    "rotated": lambda x: torch.rot90(x, dims=(2, 3)),
    "inverted": lambda x: 1 - x,
}


def run(
    seed: int,
    *,
    tasks: list[str],
    remedies: list[str],
    sizes: list[int],
    steps: int,
    before: int,
    lr: float,
) -> Iterator[Row]:
    """Yield a row per task, remedy and images per micro-batch: the share of wrong answers.

    Args:
        seed: of weights and batches.
        tasks: words of ``TASKS``.
        remedies: words of ``REMEDIES``.
        sizes: images per micro-batch; "joined" has one row, with all of a step's images.
        steps: steps on the new task.
        before: steps on the digits as they are.
        lr: learning rate of both.
    """
    generator = torch.Generator().manual_seed(seed)
    digits = load_digits(generator)
    first = mlp(generator, 64, 10, depth=DEPTH, width=WIDTH, norm="batch")
    train(first, digits.train_x, digits.train_t, steps=before, lr=lr, generator=generator)
    kept = {name: value.clone() for name, value in first.state_dict().items()}
    for task in tasks:
        x, test_x = TASKS[task](digits.train_x), TASKS[task](digits.test_x)
        first.load_state_dict(kept)
        untouched = 1 - accuracy(first, test_x, digits.test_t)
        yield {"task": task, "remedy": "none", "size": STEP, "error": untouched}
        for remedy in remedies:
            for size in [STEP] if remedy == "joined" else sizes:
                draws = torch.Generator().manual_seed(seed)
                net = mlp(draws, 64, 10, depth=DEPTH, width=WIDTH, norm=REMEDIES[remedy])
                net.load_state_dict(kept)
                for layer in net.modules():
                    if isinstance(layer, FrozenBatchNorm):
                        layer.requires_grad_(True)  # only the statistics are frozen
                _go_on(net, x, digits.train_t, size, steps, lr, draws)
                error = 1 - accuracy(net, test_x, digits.test_t)
                yield {"task": task, "remedy": remedy, "size": size, "error": error}


def _go_on(
    net: nn.Module,
    x: Tensor,
    t: Tensor,
    size: int,
    steps: int,
    lr: float,
    generator: torch.Generator,
) -> None:
    """Train by steps of ``STEP`` images whose gradients come from micro-batches of ``size``."""
    optimizer = torch.optim.SGD(net.parameters(), lr=lr)
    net.train()
    for _ in range(steps):
        batch = torch.randperm(len(x), generator=generator)[:STEP]
        optimizer.zero_grad()
        for part in torch.split(batch, size):
            loss = nn.functional.cross_entropy(net(x[part]), t[part], reduction="sum") / STEP
            loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()


def against_joined(result: Result, remedy: str, task: str) -> Spread:
    """Return how much more often a remedy errs than statistics over all images of a step.

    At the smallest micro-batch, per seed.
    """
    smallest = min(result.where(remedy="accumulated").distinct("size"))
    errors = [
        {int(row["seed"]): float(row["error"]) for row in chosen.rows}
        for chosen in (
            result.where(task=task, remedy=remedy, size=smallest),
            result.where(task=task, remedy="joined"),
        )
    ]
    return spread(errors[0][seed] - errors[1][seed] for seed in errors[0])


def accumulating(result: Result) -> Verdict:
    """Does accumulating gradients mend small batches for batch normalization?

    Supported if with the smallest micro-batch it errs at most 2 points more than with statistics
    over the whole step on every task, refuted if 5 points or more on every task, else mixed.
    """
    costs = {task: against_joined(result, "accumulated", task) for task in result.distinct("task")}
    effects = tuple(Effect(f"extra error, {task}", found) for task, found in costs.items())
    if all(found.median <= 0.02 for found in costs.values()):
        return Verdict("supported", effects)
    if all(found.median >= 0.05 for found in costs.values()):
        return Verdict("refuted", effects)
    return Verdict("mixed", effects)


def remedies(result: Result) -> Verdict:
    """Are there remedies for small batches that keep batch normalization?

    Supported if on every task either batch renormalization or frozen statistics recover at least
    half of what the smallest micro-batch costs, refuted if neither does on any task, else mixed.
    Medians; where micro-batches cost less than 5 points there is nothing to recover: mixed.
    """
    effects, recovered = [], []
    for task in result.distinct("task"):
        costs = {
            word: against_joined(result, word, task) for word in ("accumulated", "renorm", "frozen")
        }
        effects += [Effect(f"extra error, {task}, {word}", found) for word, found in costs.items()]
        harm = costs["accumulated"].median
        best = min(costs["renorm"].median, costs["frozen"].median)
        recovered.append(None if harm < 0.05 else best <= harm / 2)
    if all(recovered) and None not in recovered:
        return Verdict("supported", tuple(effects))
    if not any(recovered) and None not in recovered:
        return Verdict("refuted", tuple(effects))
    return Verdict("mixed", tuple(effects))


EXPERIMENT = Experiment(
    name="small_batch_remedies",
    question="What helps a net with batch normalization where memory holds two images?",
    run=run,
    live={
        "tasks": ["rotated"],
        "remedies": list(REMEDIES),
        "sizes": [2],
        "steps": 40,
        "before": 150,
        "lr": 0.1,
    },
    full={
        "tasks": list(TASKS),
        "remedies": list(REMEDIES),
        "sizes": [2, 4, 8],
        "steps": 100,
        "before": 300,
        "lr": 0.1,
    },
    decisions={"accumulating": accumulating, "remedies": remedies},
)

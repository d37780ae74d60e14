"""What do evaluation batches leave behind when ``no_grad`` was taken for ``eval``?

Batches pass a trained net in training mode under ``no_grad``. No weight changes; the running
statistics do. After some batches the net answers all test images in inference mode.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from normcourse.experiments.data import Digits
from normcourse.experiments.experiment import Experiment
from normcourse.experiments.result import Effect, Result, Row, Verdict, spread
from normcourse.experiments.train import accuracy
from normcourse.experiments.trained import SHIFTS, trained_net

SIZE = 32

Draw = Callable[[Digits, torch.Generator], Tensor]


def _any(digits: Digits, generator: torch.Generator) -> Tensor:
    """Return a batch of test images."""
    return digits.test_x[torch.randperm(len(digits.test_x), generator=generator)[:SIZE]]


def _zeros(digits: Digits, generator: torch.Generator) -> Tensor:
    """Return a batch of test images of the digit 0."""
    of_class = digits.test_x[digits.test_t == 0]
    return of_class[torch.randint(len(of_class), (SIZE,), generator=generator)]


KINDS: dict[str, Draw] = {
    "same kind": _any,
    "one class": _zeros,
    "paler": lambda digits, generator: SHIFTS["pale"](_any(digits, generator)),
}


def run(seed: int, *, nets: list[str], batches: list[int], steps: int) -> Iterator[Row]:
    """Yield one row per net, kind of evaluation batch and number of them."""
    for name in nets:
        net, digits, generator = trained_net(seed, name, steps)
        for kind, draw in KINDS.items():
            used = copy.deepcopy(net).train()
            for passed in range(max(batches) + 1):
                if passed in batches:
                    yield {
                        "net": name,
                        "kind": kind,
                        "batches": passed,
                        "accuracy": accuracy(used, digits.test_x, digits.test_t),
                        "weights_moved": _moved(used.parameters(), net.parameters()),
                        "statistics_moved": _moved(used.buffers(), net.buffers()),
                    }
                with torch.no_grad():  # no eval(): the bug
                    used(draw(digits, generator))


def _moved(now: Iterator[Tensor | nn.Parameter], before: Iterator[Tensor | nn.Parameter]) -> float:
    """Return the largest change of any floating point number."""
    pairs = zip(now, before, strict=True)
    return max((a - b).abs().max().item() for a, b in pairs if a.is_floating_point())


def _lost(result: Result, net: str, kind: str) -> list[float]:
    """Return the points that the most batches of a kind cost, seed by seed."""
    chosen = result.where(net=net, kind=kind)
    ends = [chosen.where(batches=end) for end in (0, max(result.distinct("batches")))]
    first, last = ({int(r["seed"]): float(r["accuracy"]) for r in end.rows} for end in ends)
    return [100 * (first[seed] - last[seed]) for seed in sorted(first)]


def no_grad_protects(result: Result) -> Verdict:
    """Does ``no_grad`` alone keep evaluation from changing the model?

    Refuted if running statistics move while no weight does, and some kind of batch costs a net 5
    points or more in inference mode; supported if nothing moves; else mixed.
    """
    moved = [float(row["statistics_moved"]) for row in result.rows if row["batches"]]
    weights = max(result.values("weights_moved"))
    losses = {
        (net, kind): spread(_lost(result, net, kind))
        for net in result.distinct("net")
        for kind in result.distinct("kind")
    }
    effects = tuple(
        Effect(f"lost by {net} to batches: {kind}", loss, "points")
        for (net, kind), loss in losses.items()
    )
    if max(moved) == 0 and weights == 0:
        return Verdict("supported", effects)
    hurt = min(moved) > 0 and weights == 0 and max(s.median for s in losses.values()) >= 5
    return Verdict("refuted" if hurt else "mixed", effects)


def same_kind_is_harmless(result: Result) -> Verdict:
    """Do evaluation batches of the same kind as the training data leave the answers as good?

    Supported if they cost every net less than 1 point; refuted if some net loses 5; else mixed.
    """
    losses = {n: spread(_lost(result, n, "same kind")) for n in result.distinct("net")}
    effects = tuple(Effect(f"lost by {net}", loss, "points") for net, loss in losses.items())
    worst = max(loss.median for loss in losses.values())
    return Verdict("supported" if worst < 1 else "refuted" if worst >= 5 else "mixed", effects)


EXPERIMENT = Experiment(
    name="polluted_statistics",
    question="What do evaluation batches leave behind when no_grad was taken for eval?",
    run=run,
    live={"nets": ["mlp"], "batches": [0, 5, 10, 20, 40], "steps": 300},
    full={"nets": ["mlp", "conv"], "batches": [0, 1, 2, 5, 10, 20, 40], "steps": 300},
    decisions={
        "no_grad_protects": no_grad_protects,
        "same_kind_is_harmless": same_kind_is_harmless,
    },
)

"""A last gamma that starts at zero: does it help, and does it block the gradient?

Residual nets learn digits by SGD with momentum. The last gammas of their branches start at 1
("ones") or at 0 ("zeros"), so that each block begins as relu(x). The scores read the mean of each
map, or its single places. Each is trained at several rates; held-out images choose the best. Nets
without skips stand beside them ("plain"): conv, norm, relu, with gamma at 0.

    early, loss    mean training loss of ten steps, after a quarter of the training and at its end
    held           loss on images neither trained on nor tested with
    accuracy       share of right answers on test images
    gradient       norm of the first step's gradient with respect to the last scales
    rest           the same for all other weights and scales of the branches
    at_end         root mean square of the last scales after training

Sources: Goyal et al. 2017, section 5.1; He et al. 2019 (bag of tricks); De & Smith 2020.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from normcourse.experiments.deep_digits import LOST, end_loss, outcome
from normcourse.experiments.experiment import Experiment
from normcourse.experiments.group_dial import load_data
from normcourse.experiments.residual_digits import blocks, finite, last_scale, residual_net
from normcourse.experiments.result import Effect, Result, Row, Spread, Verdict, spread
from normcourse.experiments.train import accuracy, mean_loss, train

BATCH_SIZE, MOMENTUM = 32, 0.9


class First:
    """Norms of the first step's gradients: of the last scales, and of the rest of the branches."""

    def __init__(self, net: nn.Sequential) -> None:
        self.last = [last_scale(block) for block in blocks(net)]
        ids = {id(scale) for scale in self.last}
        self.others = [p for b in blocks(net) for p in b.parameters() if id(p) not in ids]
        self.scales = self.rest = math.nan

    def __call__(self, step: int, loss: float) -> None:
        if step == 0:
            self.scales, self.rest = _norm(self.last), _norm(self.others)


def _norm(parameters: Sequence[Tensor]) -> float:
    grads = [p.grad.square().sum() for p in parameters if p.grad is not None]
    return float(torch.stack(grads).sum().sqrt()) if grads else 0.0


def run(
    seed: int,
    *,
    arms: Sequence[Mapping[str, Any]],
    starts: Sequence[str],
    rates: Sequence[float],
    steps: int,
) -> Iterator[Row]:
    """Yield a row per arm, start and rate.

    Args:
        seed: of split, weights and batches.
        arms: each with ``kind`` ("post", "plain"), ``depth`` and ``head`` ("mean", "places").
        starts: "ones", "zeros".
        rates: learning rates to choose from.
        steps: of training.
    """
    data = load_data("digits", torch.Generator().manual_seed(seed))
    for arm in arms:
        for start in starts if arm["kind"] != "plain" else ["zeros"]:
            for rate in rates:
                generator = torch.Generator().manual_seed(seed)
                net = residual_net(generator, **arm, zero=start == "zeros")
                first = First(net)
                losses = train(
                    net,
                    data.x,
                    data.t,
                    steps=steps,
                    batch_size=BATCH_SIZE,
                    lr=rate,
                    momentum=MOMENTUM,
                    generator=generator,
                    watch=first,
                    stop_at=LOST,
                )
                yield {
                    **arm,
                    "start": start,
                    "rate": rate,
                    "early": end_loss(losses[: steps // 4], steps // 4),
                    "loss": end_loss(losses, steps),
                    "held": finite(mean_loss(net, data.held_x, data.held_t)),
                    "accuracy": accuracy(net, data.test_x, data.test_t),
                    "gradient": first.scales,
                    "rest": first.rest,
                    "at_end": finite(_size(first.last)),
                }


def _size(parameters: Sequence[Tensor]) -> float:
    values = torch.cat([p.detach().flatten() for p in parameters])
    return values.square().mean().sqrt().item()


# ------------------------------------------------------------------------------------ decisions


def at_best(result: Result, column: str, head: str, depth: int, start: str) -> list[float]:
    """Return a column of post-activation nets at the rate of the lowest held-out loss, per seed."""
    chosen = result.where(kind="post", head=head, depth=depth, start=start)
    return [
        float(min(of_seed, key=lambda row: float(row["held"]))[column])
        for of_seed in ([r for r in chosen.rows if r["seed"] == seed] for seed in chosen.seeds)
    ]


def gain(result: Result, column: str, head: str, depth: int, *, factor: float = 1.0) -> Spread:
    """Return zeros − ones of a column, seed by seed, each at its best rate."""
    zeros, ones = (at_best(result, column, head, depth, start) for start in ("zeros", "ones"))
    return spread(factor * _minus(a, b) for a, b in zip(zeros, ones, strict=True))


def _minus(a: float, b: float) -> float:
    return 0.0 if a == b else a - b  # two runs that were lost are equal


def _nets(result: Result) -> list[tuple[str, int]]:
    rows = result.where(kind="post").rows
    return sorted({(str(row["head"]), int(row["depth"])) for row in rows})


def zeros_train_worse(result: Result) -> Verdict:
    """Does a residual net whose last gammas start at zero train worse?

    Post-activation blocks, each start at its best rate. Supported if the loss at the end is higher
    with zeros in three quarters of the seeds for every head and depth (lower quartile of zeros −
    ones above 0), refuted if for none it is higher in the median, else mixed.
    """
    found = {net: gain(result, "loss", *net) for net in _nets(result)}
    return Verdict(
        outcome(all(s.low > 0 for s in found.values()), all(s.median <= 0 for s in found.values())),
        tuple(
            Effect(f"loss, zeros − ones, {depth} blocks, scores read {head}", s)
            for (head, depth), s in found.items()
        ),
    )


def zeros_help(result: Result) -> Verdict:
    """Does a last gamma of zero help the deepest net?

    Post-activation blocks, each start at its best rate. Supported if for both heads test accuracy
    is 1 point or more higher with zeros in the median, refuted if for both it is no higher, else
    mixed.
    """
    deepest = max(depth for _, depth in _nets(result))
    heads = [head for head, depth in _nets(result) if depth == deepest]
    found = {head: gain(result, "accuracy", head, deepest, factor=100) for head in heads}
    return Verdict(
        outcome(
            all(s.median >= 1 for s in found.values()), all(s.median <= 0 for s in found.values())
        ),
        tuple(
            Effect(f"test accuracy, zeros − ones, {deepest} blocks, scores read {h}", s, "points")
            for h, s in found.items()
        ),
    )


def zeros_bear_larger_rates(result: Result) -> Verdict:
    """Do nets whose last gammas start at zero bear larger rates?

    Post-activation blocks. Supported if for both heads the deepest net ends the training at the
    largest rate with a lower loss with zeros in three quarters of the seeds (upper quartile of
    zeros − ones below 0), refuted if for both with no lower one in the median, else mixed.
    """
    deepest = max(depth for _, depth in _nets(result))
    largest = max(result.distinct("rate"))
    found = {}
    for head in (head for head, depth in _nets(result) if depth == deepest):
        here = result.where(kind="post", head=head, depth=deepest, rate=largest)
        zeros, ones = (
            [float(v) for v in here.where(start=start).values("loss")]
            for start in ("zeros", "ones")
        )
        found[head] = spread(_minus(a, b) for a, b in zip(zeros, ones, strict=True))
    return Verdict(
        outcome(
            all(s.high < 0 for s in found.values()), all(s.median >= 0 for s in found.values())
        ),
        tuple(
            Effect(f"loss at rate {largest:g}, zeros − ones, {deepest} blocks, scores read {h}", s)
            for h, s in found.items()
        ),
    )


def zeros_block(result: Result) -> Verdict:
    """Does a scale of zero block the gradient, in a residual net?

    Supported if in the first step the last gammas of post-activation blocks get no gradient at some
    depth, or still are below 0.01 after training (root mean square) at the largest rate; refuted
    if in every seed and net they get one and are above 0.01 then; else mixed.
    """
    largest = max(result.distinct("rate"))
    rows = result.where(kind="post", start="zeros", rate=largest).rows
    stuck = [float(r["gradient"]) == 0 or float(r["at_end"]) < 0.01 for r in rows]
    effects = (
        Effect("first gradient of the last gammas", spread(float(r["gradient"]) for r in rows)),
        Effect(
            "first gradient of the rest of the branches", spread(float(r["rest"]) for r in rows)
        ),
        Effect("last gammas after training", spread(float(r["at_end"]) for r in rows)),
    )
    return Verdict(outcome(any(stuck), not any(stuck)), effects)


def blocks_without_skip(result: Result) -> Verdict:
    """Does a scale of zero block the gradient where there is no skip?

    Conv, norm, relu with gamma = beta = 0. Supported if in every seed gamma gets no gradient at all
    and is 0 after training, refuted if in every seed it gets one, else mixed.
    """
    rows = result.where(kind="plain", start="zeros").rows
    stuck = [float(r["gradient"]) == 0 and float(r["at_end"]) == 0 for r in rows]
    free = [float(r["gradient"]) > 0 for r in rows]
    effects = (
        Effect("first gradient of gamma, no skip", spread(float(r["gradient"]) for r in rows)),
        Effect("gamma after training, no skip", spread(float(r["at_end"]) for r in rows)),
        Effect("loss at the end, no skip", spread(float(r["loss"]) for r in rows)),
    )
    return Verdict(outcome(all(stuck), all(free)), effects)


_ARMS: list[dict[str, Any]] = [
    {"kind": "post", "depth": 6, "head": "mean"},
    {"kind": "post", "depth": 6, "head": "places"},
    {"kind": "plain", "depth": 1, "head": "mean"},
]
EXPERIMENT = Experiment(
    name="zero_gamma",
    question="Does a last gamma of zero help a residual net, or does it block the gradient?",
    run=run,
    live={"arms": [_ARMS[1]], "starts": ["ones", "zeros"], "rates": [0.03, 0.3], "steps": 40},
    full={
        "arms": _ARMS,
        "starts": ["ones", "zeros"],
        "rates": [0.01, 0.03, 0.1, 0.3],
        "steps": 80,
    },
    decisions={
        "zeros_train_worse": zeros_train_worse,
        "zeros_help": zeros_help,
        "zeros_bear_larger_rates": zeros_bear_larger_rates,
        "zeros_block": zeros_block,
        "blocks_without_skip": blocks_without_skip,
    },
)

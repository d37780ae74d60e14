"""What does the scale of the weights before BatchNorm change, and what not?

All hidden weights of a net are multiplied by one number. With BatchNorm the output stays; what
reaches each place on the way back is measured before the first step, and the net is then trained
at one learning rate, or at one that is multiplied by the square of that number ("matched").

    std       root mean square over units of the standard deviation before the norm, layer 2
    dx_hat    root mean square of the loss' gradient with respect to x_hat, layer 2
    dx        the same with respect to the norm's input
    dweight   norm of the gradient of the layer's weights
    output    largest difference of a probability from that at scale 1
    loss      mean over the last 20 batches of the training

Sources: Ioffe & Szegedy 2015, section 3.3; van Laarhoven 2017; Arora, Li & Lyu 2019.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from normcourse.experiments.data import load_digits
from normcourse.experiments.experiment import Experiment
from normcourse.experiments.models import mlp
from normcourse.experiments.result import Effect, Outcome, Result, Row, Spread, Verdict, spread
from normcourse.experiments.weight_decay_rate import Way, hidden_weights, train_hidden

RECENT = 20  # batches that one loss averages


def run(
    seed: int,
    *,
    norms: Sequence[str],
    scales: Sequence[float],
    depth: int,
    width: int,
    lr: float,
    steps: int,
) -> Iterator[Row]:
    """Yield a row per norm, scale and rule for the learning rate.

    Args:
        seed: draws split, weights and batches, the same for every scale.
        norms: words of ``NORMS``.
        scales: factors of the hidden weights; 1 comes first.
        depth: hidden layers, with tanh.
        width: units in each.
        lr: learning rate.
        steps: of training.

    Yields:
        ``norm``, ``scale``, ``rate`` ("same", or "matched" for scales other than 1 with BatchNorm)
        and the quantities of the head of this file; a run that diverges has an infinite loss.
    """
    for norm in norms:
        at_one: Tensor | None = None
        for scale in scales:
            generator = torch.Generator().manual_seed(seed)
            digits = load_digits(generator)
            sizes = {"depth": depth, "width": width}
            net = mlp(generator, 64, 10, **sizes, norm=norm, activation="tanh").double()
            with torch.no_grad():
                for weight in hidden_weights(net):
                    weight.mul_(scale)
            x, t = digits.train_x.double(), digits.train_t
            measures, p = _backward(net, x, t)
            at_one = p if at_one is None else at_one
            measures["output"] = (p - at_one).abs().max().item()
            rules = {"same": lr} if scale == 1 or norm == "none" else {"same": lr, "matched": 0.0}
            for rule in rules:
                own = lr if rule == "same" else lr * scale**2
                loss = _train(copy.deepcopy(net), x, t, own, depth, steps, lr, seed)
                yield {"norm": norm, "scale": scale, "rate": rule, **measures, "loss": loss}


def _backward(net: nn.Sequential, x: Tensor, t: Tensor) -> tuple[dict[str, float], Tensor]:
    """Return what layer 2 receives on the way back, and the probabilities of the batch."""
    net = copy.deepcopy(net).train()
    kept: dict[str, Tensor] = {}
    for name, part in net.named_children():
        x = part(x)
        if name in ("linear2", "norm2"):
            kept[name] = x
            x.retain_grad()
    nn.functional.cross_entropy(x, t).backward()  # type: ignore[no-untyped-call]
    before, after = kept["linear2"].grad, kept["norm2"].grad
    assert before is not None
    assert after is not None
    dweight = net.get_parameter("linear2.weight").grad
    assert dweight is not None
    measures = {
        "std": kept["linear2"].detach().var(dim=0, correction=0).mean().sqrt().item(),
        "dx_hat": after.square().mean().sqrt().item(),  # gamma is 1
        "dx": before.square().mean().sqrt().item(),
        "dweight": dweight.norm().item(),
    }
    return measures, x.detach().softmax(dim=1)


def _train(
    net: nn.Sequential,
    x: Tensor,
    t: Tensor,
    own: float,
    depth: int,
    steps: int,
    lr: float,
    seed: int,
) -> float:
    """Return the loss after training with a rate of its own for the hidden weights."""
    way = Way(lambda _: [own] * depth)
    generator = torch.Generator().manual_seed(seed)
    training = train_hidden(net, x, t, way, steps=steps, lr=lr, generator=generator)
    losses = [loss for loss, _ in training]
    if len(losses) < steps:
        return math.inf
    recent = losses[-RECENT:]
    return sum(recent) / len(recent)


# ------------------------------------------------------------------------------------ decisions


def slope(result: Result, column: str) -> Spread:
    """Return the slope of log(column) against log(std) over the scales, spread over seeds."""
    chosen = result.where(norm="batch", rate="same")
    slopes = []
    for seed in chosen.seeds:
        rows = chosen.where(seed=seed)
        x, y = (np.log(np.array(rows.values(name), dtype=float)) for name in ("std", column))
        slopes.append(float(np.polyfit(x, y, 1)[0]))
    return spread(slopes)


def sigma_in_x_hat(result: Result) -> Verdict:
    """Is the gradient with respect to x_hat proportional to 1/sigma?

    Its slope against sigma, both as logarithms, is -1 if so. Supported if it lies within 0.1 of
    that (median over seeds), refuted if within 0.1 of 0, else mixed. The slope with respect to x
    stands beside it.
    """
    hat, x = slope(result, "dx_hat"), slope(result, "dx")
    outcome: Outcome = "mixed"
    if abs(hat.median + 1) < 0.1:
        outcome = "supported"
    elif abs(hat.median) < 0.1:
        outcome = "refuted"
    effects = (Effect("slope of dL/dx_hat", hat), Effect("slope of dL/dx", x))
    return Verdict(outcome, effects)


def large_weights_are_harmless(result: Result) -> Verdict:
    """With BatchNorm, does a larger initial scale of the weights do no harm?

    Supported if at the same learning rate the loss after training at the largest scale is less
    than 1.1 times that at scale 1 (median over seeds), refuted if it is more than 1.5 times that,
    else mixed. The ratio with a matched learning rate stands beside it.
    """
    largest = max(result.distinct("scale"))
    same, matched = (_loss_ratio(result, scale=largest, rate=rate) for rate in ("same", "matched"))
    outcome: Outcome = "mixed"
    if same.median < 1.1:
        outcome = "supported"
    elif same.median > 1.5:
        outcome = "refuted"
    effects = (
        Effect(f"loss at scale {largest:g} / at 1", same),
        Effect(f"the same, learning rate times {largest**2:g}", matched),
        Effect("slope of the weights' gradient", slope(result, "dweight")),
    )
    return Verdict(outcome, effects)


def _loss_ratio(result: Result, **wanted: Any) -> Spread:
    ours, first = (
        {int(row["seed"]): float(row["loss"]) for row in result.where(norm="batch", **choice).rows}
        for choice in (wanted, {"scale": 1.0, "rate": "same"})
    )
    return spread(ours[seed] / first[seed] for seed in ours)


EXPERIMENT = Experiment(
    name="weight_scale",
    question="What does the scale of the weights before BatchNorm change, and what not?",
    run=run,
    live={
        "norms": ["batch"],
        "scales": [1.0, 0.1, 10.0],
        "depth": 3,
        "width": 48,
        "lr": 0.1,
        "steps": 100,
    },
    full={
        "norms": ["batch", "none"],
        "scales": [1.0, 0.1, 0.3, 3.0, 10.0, 30.0, 100.0],
        "depth": 3,
        "width": 48,
        "lr": 0.1,
        "steps": 200,
    },
    decisions={
        "sigma_in_x_hat": sigma_in_x_hat,
        "large_weights_are_harmless": large_weights_are_harmless,
    },
)

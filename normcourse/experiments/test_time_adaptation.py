"""Do the test batch's own statistics help when the test images look different?

A trained net meets images of another contrast, brightness or noise. It answers with its stored
running statistics, with those of each test batch, or after recalibration on the changed images
without labels. Then the cost: batches in which one class has more than its share.

Sources: Li et al., "Revisiting Batch Normalization For Practical Domain Adaptation", 2016; Nado et
al., "Evaluating Prediction-Time Batch Normalization for Robustness under Covariate Shift", 2020.
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
from normcourse.experiments.trained import SHIFTS, share_right, trained_net
from normcourse.surgery import recalibrate

SIZE = 32  # of the batches with one class in excess

# name -> function of image, strength and noise of the image's shape
CHANGES: dict[str, Callable[[Tensor, float, Tensor], Tensor]] = {
    "contrast": lambda x, strength, noise: x * strength,
    "offset": lambda x, strength, noise: x + strength,
    "noise": lambda x, strength, noise: x + strength * noise,
}


def run(
    seed: int,
    *,
    nets: list[str],
    changes: dict[str, list[float]],
    batch_sizes: list[int],
    shares: list[float],
    steps: int,
) -> Iterator[Row]:
    """Yield rows of two parts: "change" of the images, and "skew" of the classes in a batch."""
    for name in nets:
        net, digits, generator = trained_net(seed, name, steps)
        noise = torch.randn(digits.test_x.shape, generator=generator)
        order = torch.randperm(len(noise), generator=generator)
        for change, strengths in changes.items():
            for strength in strengths:
                x = CHANGES[change](digits.test_x, strength, noise)
                row: Row = {"net": name, "part": "change", "change": change, "strength": strength}
                for answer in _three_ways(net, x, digits.test_t, order, batch_sizes):
                    yield row | answer
        for look in ("same", "dim"):
            for share in shares:
                row = {"net": name, "part": "skew", "look": look, "share": share}
                yield row | _skewed(net, digits, look, share, generator)


def _three_ways(
    net: nn.Module, x: Tensor, t: Tensor, order: Tensor, batch_sizes: list[int]
) -> Iterator[Row]:
    """Yield the accuracy by stored statistics, by each batch's own, and after recalibration."""
    yield {"way": "stored", "accuracy": accuracy(net, x, t)}
    for size in batch_sizes:
        batches = [batch for batch in torch.split(order, size) if len(batch) == size]
        right = share_right(copy.deepcopy(net).train(), x, t, batches)
        yield {"way": "batch", "batch_size": size, "accuracy": right}
    adapted = recalibrate(copy.deepcopy(net), [x])
    yield {"way": "recalibrated", "accuracy": accuracy(adapted, x, t)}


def _skewed(
    net: nn.Module, digits: Digits, look: str, share: float, generator: torch.Generator
) -> Row:
    """Return both ways' accuracy over ten batches, each with this share of another class."""
    x, t = SHIFTS[look](digits.test_x), digits.test_t
    batches = [_with_share(t, label, share, generator) for label in range(10)]
    used, stored = copy.deepcopy(net).train(), copy.deepcopy(net).eval()
    return {"batch": share_right(used, x, t, batches), "stored": share_right(stored, x, t, batches)}


def _with_share(t: Tensor, label: int, share: float, generator: torch.Generator) -> Tensor:
    """Return the indices of a batch in which one class has this share."""
    count = round(share * SIZE)
    parts = []
    for wanted, size in ((t == label, count), (t != label, SIZE - count)):
        found = wanted.nonzero().flatten()
        drawn = torch.randint(len(found), (size,), generator=generator)
        parts.append(found[drawn])
    return torch.cat(parts)


def _gain(result: Result, way: str, **where: str | float | int) -> list[float]:
    """Return the points that a way gains on stored statistics, seed by seed."""
    chosen = result.where(part="change", **where)
    stored = {int(r["seed"]): float(r["accuracy"]) for r in chosen.where(way="stored").rows}
    rows = chosen.where(way=way)
    if way == "batch":
        rows = rows.where(batch_size=max(rows.distinct("batch_size")))
    other = {int(row["seed"]): float(row["accuracy"]) for row in rows.rows}
    return [100 * (other[seed] - stored[seed]) for seed in sorted(stored)]


def helps_under_change(result: Result) -> Verdict:
    """Do the largest test batches' own statistics help at the strongest change of each kind?

    Supported if they gain 5 points or more for every kind of change and net; refuted if they gain
    less than 1 for every one; else mixed.
    """
    part = result.where(part="change")
    gains = {}
    for net in part.distinct("net"):
        for change in part.distinct("change"):
            strengths = part.where(change=change).distinct("strength")
            far = min(strengths) if change == "contrast" else max(strengths)
            gained = _gain(result, "batch", net=net, change=change, strength=far)
            gains[net, change, far] = spread(gained)
    effects = tuple(
        Effect(f"gained by {net}, {change} {far:g}", gain, "points")
        for (net, change, far), gain in gains.items()
    )
    if all(gain.median >= 5 for gain in gains.values()):
        return Verdict("supported", effects)
    none = all(gain.median < 1 for gain in gains.values())
    return Verdict("refuted" if none else "mixed", effects)


def skew_costs(result: Result) -> Verdict:
    """On unchanged images, does a batch's own statistics fail when one class has most of it?

    Supported if at the largest share every net loses 20 points or more against stored statistics,
    and loses more there than at the smallest share; refuted if no net loses 5; else mixed.
    """
    part = result.where(part="skew", look="same")
    ends = min(part.distinct("share")), max(part.distinct("share"))
    losses = {
        (net, share): spread(
            100 * (float(row["stored"]) - float(row["batch"]))
            for row in part.where(net=net, share=share).rows
        )
        for net in part.distinct("net")
        for share in ends
    }
    effects = tuple(
        Effect(f"lost by {net}, share {share:g}", loss, "points")
        for (net, share), loss in losses.items()
    )
    nets = part.distinct("net")
    if all(losses[n, ends[1]].median >= max(20, losses[n, ends[0]].median) for n in nets):
        return Verdict("supported", effects)
    small = all(losses[net, ends[1]].median < 5 for net in nets)
    return Verdict("refuted" if small else "mixed", effects)


EXPERIMENT = Experiment(
    name="test_time_adaptation",
    question="Do the test batch's own statistics help when the test images look different?",
    run=run,
    live={
        "nets": ["mlp"],
        "changes": {"contrast": [0.1, 0.3, 1.0]},
        "batch_sizes": [8, 120],
        "shares": [0.1, 0.5, 1.0],
        "steps": 300,
    },
    full={
        "nets": ["mlp", "conv"],
        "changes": {
            "contrast": [0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0],
            "offset": [0.0, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0],
            "noise": [0.0, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0],
        },
        "batch_sizes": [8, 32, 120],
        "shares": [0.1, 0.25, 0.5, 0.75, 1.0],
        "steps": 300,
    },
    decisions={"helps_under_change": helps_under_change, "skew_costs": skew_costs},
)

"""Small batches: four kinds of statistics, with and without standardized weights.

Convolutional nets on digits see the same number of images whatever the batch size. In one the maps
shrink to 2x2, in the other to 1x1: there batch normalization has as many values per mean as images
in the batch, while one of four groups of 32 channels has eight. Every arm has the learning rate
that serves it best at each batch size, by the loss on images neither trained on nor tested with.

Sources: Wu & He, "Group Normalization", 2018; Qiao et al., "Micro-Batch Training with
Batch-Channel Normalization and Weight Standardization", 2019.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import nn

from normcourse.experiments.data import load_digits
from normcourse.experiments.experiment import Experiment
from normcourse.experiments.models import MakeNorm, conv_net
from normcourse.experiments.result import Effect, Result, Row, Spread, Verdict, spread
from normcourse.experiments.train import accuracy, mean_loss, train
from normcourse.modules import WSConv2d

CHANNELS, GROUPS = 32, 4
DEPTHS = {"2x2": 3, "1x1": 4}  # the word of a net says how large its smallest maps are
# torch's own layers: the same functions as the course's, in one kernel each
LAYERS: dict[str, MakeNorm] = {
    "batch": nn.BatchNorm2d,
    "group": lambda channels: nn.GroupNorm(GROUPS, channels),
    "one group": lambda channels: nn.GroupNorm(1, channels),
    "instance": lambda channels: nn.GroupNorm(channels, channels),
}
_CHOOSING = 300  # images that choose the learning rate


def standardize_weights(net: nn.Sequential) -> None:
    """Put a convolution with standardized weight in the place of each, from the same weights."""
    for name, layer in net.named_children():
        if isinstance(layer, nn.Conv2d):
            new = WSConv2d(layer.in_channels, layer.out_channels, 3, layer.stride[0], 1)
            new.load_state_dict(layer.state_dict())
            setattr(net, name, new)


def values_per_mean(net: str, norm: str, size: int) -> int:
    """Return how many values one mean pools in the smallest maps of a net.

    Example:
        >>> [values_per_mean("1x1", norm, 2) for norm in LAYERS]
        [2, 8, 32, 1]
    """
    positions = int(64 // 4 ** (DEPTHS[net] - 1))
    channels = {"batch": 1, "group": CHANNELS // GROUPS, "one group": CHANNELS, "instance": 1}
    return positions * channels[norm] * (size if norm == "batch" else 1)


def run(
    seed: int,
    *,
    nets: dict[str, list[int]],
    norms: dict[str, list[str]],
    weights: list[str],
    rates: dict[str, list[float]],
    examples: int,
) -> Iterator[Row]:
    """Yield a row per net, norm, kind of weights and batch size: the share of right answers.

    Args:
        seed: of split, weights and batches.
        nets: word of a net to its batch sizes.
        norms: word of a net to the words of its norms.
        weights: "plain", "standardized".
        rates: batch size to the learning rates to choose from.
        examples: digits seen in all, whatever the batch size.
    """
    digits = load_digits(torch.Generator().manual_seed(seed))
    held_x, held_t = digits.train_x[:_CHOOSING], digits.train_t[:_CHOOSING]
    x, t = digits.train_x[_CHOOSING:], digits.train_t[_CHOOSING:]
    for word, sizes in nets.items():
        for norm in norms[word]:
            for kind in weights:
                for size in sizes:
                    best = (math.inf, 0.0, 0.0)
                    for rate in rates[str(size)]:
                        generator = torch.Generator().manual_seed(seed)
                        net = conv_net(
                            generator, 10, channels=CHANNELS, depth=DEPTHS[word], norm=LAYERS[norm]
                        )
                        if kind == "standardized":
                            standardize_weights(net)
                        train(
                            net, x, t, steps=examples // size, batch_size=size, lr=rate,
                            generator=generator,
                        )  # fmt: skip
                        loss = mean_loss(net, held_x, held_t)
                        right = accuracy(net, digits.test_x, digits.test_t)
                        best = min(best, (loss if math.isfinite(loss) else math.inf, rate, right))
                    yield {
                        "net": word,
                        "norm": norm,
                        "weights": kind,
                        "size": size,
                        "values": values_per_mean(word, norm, size),
                        "rate": best[1],
                        "accuracy": best[2],
                    }


def ahead(result: Result, net: str, norm: str, against: str, size: int, kind: str) -> Spread:
    """Return by how much one norm beats another at a batch size, per seed."""
    rows = result.where(net=net, size=size, weights=kind).rows
    right = {(row["seed"], row["norm"]): float(row["accuracy"]) for row in rows}
    return spread(right[seed, norm] - right[seed, against] for seed in result.seeds)


def by_weights(result: Result, net: str, norm: str, size: int) -> Spread:
    """Return what standardized weights add at a batch size, per seed."""
    rows = result.where(net=net, norm=norm, size=size).rows
    right = {(row["seed"], row["weights"]): float(row["accuracy"]) for row in rows}
    return spread(right[seed, "standardized"] - right[seed, "plain"] for seed in result.seeds)


def group_wins_when_small(result: Result) -> Verdict:
    """Does group normalization beat batch normalization at two images per batch?

    Supported if with plain weights it is 2 points or more ahead in every net, refuted if in none it
    is ahead by more than half a point, else mixed. Medians of differences within seeds.
    """
    found = {
        net: ahead(result, net, "group", "batch", 2, "plain") for net in result.distinct("net")
    }
    effects = tuple(
        Effect(f"group beyond batch norm at 2 images, {n}", s) for n, s in found.items()
    )
    if all(s.median >= 0.02 for s in found.values()):
        return Verdict("supported", effects)
    return Verdict(
        "refuted" if all(s.median <= 0.005 for s in found.values()) else "mixed", effects
    )


def standardizing_helps(result: Result) -> Verdict:
    """Do standardized weights help group normalization in small batches?

    Supported if at two images they add 1 point or more in every net, refuted if they add at most a
    quarter of a point in every net, else mixed. Medians of differences within seeds.
    """
    nets = result.distinct("net")
    found = {
        (net, norm): by_weights(result, net, norm, 2)
        for net in nets
        for norm in result.where(net=net).distinct("norm")
    }
    effects = tuple(
        Effect(f"standardized weights add, {norm}, {net}", s) for (net, norm), s in found.items()
    )
    added = [found[net, "group"].median for net in nets]
    if all(points >= 0.01 for points in added):
        return Verdict("supported", effects)
    return Verdict("refuted" if all(points <= 0.0025 for points in added) else "mixed", effects)


EXPERIMENT = Experiment(
    name="group_small_batches",
    question="Which statistics bear small batches, and do standardized weights help?",
    run=run,
    live={
        "nets": {"1x1": [2]},
        "norms": {"1x1": ["batch", "group"]},
        "weights": ["plain", "standardized"],
        "rates": {"2": [0.1]},
        "examples": 512,
    },
    full={
        "nets": {"2x2": [2, 32], "1x1": [2, 8, 32]},
        "norms": {
            "2x2": ["batch", "group", "instance"],
            "1x1": ["batch", "group", "one group"],
        },
        "weights": ["plain", "standardized"],
        "rates": {"2": [0.03, 0.1, 0.3], "8": [0.1, 0.3, 1.0], "32": [0.3, 1.0, 3.0]},
        "examples": 1024,
    },
    decisions={
        "group_wins_when_small": group_wins_when_small,
        "standardizing_helps": standardizing_helps,
    },
)

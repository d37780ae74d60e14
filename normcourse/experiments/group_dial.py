"""The dial of group normalization, from one group to one channel per group.

Convolutional nets on digits and on the signals of MNIST-1D, with 16 channels in every layer. Their
scores read the mean of each map, those of one net its single places. Only the number of groups
differs; batch normalization stands beside it. Each setting gets the learning rate that serves it
best on inputs that are neither trained on nor tested with.

After training the channels are renumbered, in weights, norms and the layers that read them. In a
net without groups that changes nothing.

Source: Wu & He, "Group Normalization", 2018 (the number of groups on ImageNet).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from normcourse.experiments.data import load_digits, load_mnist1d
from normcourse.experiments.experiment import Experiment
from normcourse.experiments.models import MakeNorm, conv_net
from normcourse.experiments.result import Effect, Result, Row, Spread, Verdict, spread
from normcourse.experiments.train import accuracy, mean_loss, train

CHANNELS, DEPTH, MIDDLE = 16, 3, 4
RENUMBERINGS = 5
# Word of a net to its data and whether its scores read the mean of each map.
NETS = {"digits": ("digits", True), "places": ("digits", False), "signals": ("signals", True)}
_CHOOSING = {"digits": 300, "signals": 500}  # inputs that choose the learning rate


class Data(NamedTuple):
    """Inputs (N, 1, *) and labels (N,) to train on, to choose a rate by, and to test with."""

    dims: int
    x: Tensor
    t: Tensor
    held_x: Tensor
    held_t: Tensor
    test_x: Tensor
    test_t: Tensor


def load_data(word: str, generator: torch.Generator) -> Data:
    """Return "digits" or "signals", split by the generator.

    Example:
        >>> data = load_data("digits", torch.Generator().manual_seed(0))
        >>> data.dims, len(data.held_x), len(data.test_x)
        (2, 300, 360)
    """
    held = _CHOOSING[word]
    if word == "digits":
        x, t, test_x, test_t = load_digits(generator)
    else:
        x, t, test_x, test_t = load_mnist1d()
        order = torch.randperm(len(x), generator=generator)
        x, t = x[order], t[order]
    return Data(x.ndim - 2, x[held:], t[held:], x[:held], t[:held], test_x, test_t)


def make_net(
    generator: torch.Generator, make: MakeNorm, *, dims: int, pooled: bool
) -> nn.Sequential:
    """Return a net for data of ``load_data``; without pooling its scores read 2x2 maps of digits.

    Example:
        >>> g = torch.Generator().manual_seed(0)
        >>> net = make_net(g, lambda channels: nn.GroupNorm(4, channels), dims=2, pooled=False)
        >>> net(torch.zeros(3, 1, 8, 8)).shape
        torch.Size([3, 10])
    """
    net = conv_net(generator, 10, channels=CHANNELS, depth=DEPTH, dims=dims, norm=make)
    if not pooled:
        net.pool = nn.Identity()
        scores = nn.Linear(4 * CHANNELS, 10)
        with torch.no_grad():
            scores.weight.normal_(0, scores.in_features**-0.5, generator=generator)
            scores.bias.zero_()
        net.scores = scores
    return net


def fit(
    data: Data, make: MakeNorm, seed: int, *, rates: list[float], steps: int, pooled: bool = True
) -> tuple[float, nn.Sequential]:
    """Train a net at each rate; return the best by the loss on held-out inputs, and its rate."""
    best: tuple[float, float, nn.Sequential | None] = (math.inf, rates[0], None)
    for rate in rates:
        generator = torch.Generator().manual_seed(seed)
        net = make_net(generator, make, dims=data.dims, pooled=pooled)
        train(net, data.x, data.t, steps=steps, batch_size=32, lr=rate, generator=generator)
        loss = mean_loss(net, data.held_x, data.held_t)
        if best[2] is None or loss < best[0]:
            best = (loss, rate, net)
    assert best[2] is not None
    return best[1], best[2]


@torch.no_grad()
def renumber(net: nn.Sequential, generator: torch.Generator) -> None:
    """Give the channels of every layer a new order, in place.

    Rows of each convolution, its bias, scale and shift of its norm and the columns of the layer
    that reads them move together, so that without groups the net computes what it did before.
    """
    for k in range(1, DEPTH + 1):
        order = torch.randperm(CHANNELS, generator=generator)
        conv, norm = net.get_submodule(f"conv{k}"), net.get_submodule(f"norm{k}")
        reader = net.get_submodule(f"conv{k + 1}" if k < DEPTH else "scores")
        for layer in (conv, norm):
            for value in layer.state_dict().values():
                if value.ndim:
                    value.copy_(value[order])
        weight = reader.state_dict()["weight"].unflatten(1, (CHANNELS, -1))
        weight.copy_(weight[:, order])


def run(
    seed: int,
    *,
    steps: dict[str, int],
    groups: list[int],
    rates: list[float],
) -> Iterator[Row]:
    """Yield a row per net and number of groups, and one per net with batch normalization.

    ``accuracy`` is the share of right answers on test inputs, ``renumbered`` that after the
    channels were given a new order, the mean of five. Batch normalization has 0 groups.
    """
    for word, num_steps in steps.items():
        name, pooled = NETS[word]
        data = load_data(name, torch.Generator().manual_seed(seed))
        for number in (*groups, 0):
            make = _norm(number, data.dims)
            rate, net = fit(data, make, seed, rates=rates, steps=num_steps, pooled=pooled)
            generator = torch.Generator().manual_seed(seed)
            right, moved = accuracy(net, data.test_x, data.test_t), []
            for _ in range(RENUMBERINGS):
                renumber(net, generator)
                moved.append(accuracy(net, data.test_x, data.test_t))
            yield {
                "net": word,
                "groups": number,
                "rate": rate,
                "accuracy": right,
                "renumbered": sum(moved) / len(moved),
            }


def _norm(groups: int, dims: int) -> MakeNorm:
    # torch's own layers: the same functions as the course's, in one kernel each
    batch = nn.BatchNorm1d if dims == 1 else nn.BatchNorm2d
    return (lambda channels: nn.GroupNorm(groups, channels)) if groups else batch


def gain(result: Result, net: str, groups: int, against: int) -> Spread:
    """Return by how much one number of groups beats another, per seed, in shares of all inputs."""
    rows = result.where(net=net).rows
    right = {(row["seed"], row["groups"]): float(row["accuracy"]) for row in rows}
    return spread(right[seed, groups] - right[seed, against] for seed in result.seeds)


def loss_by_order(result: Result, net: str, groups: int) -> Spread:
    """Return the accuracy that a new order of the channels costs, per seed."""
    rows = result.where(net=net, groups=groups).rows
    return spread(float(row["accuracy"]) - float(row["renumbered"]) for row in rows)


def middle_is_best(result: Result) -> Verdict:
    """Is the middle of the dial better than both of its ends?

    Supported if in every net four groups are 1 point or more above one group and above as many
    groups as channels, refuted if in every net they are no better than one of the two, else mixed.
    Medians of differences within seeds. The middle was fixed beforehand: the root of 16 channels.
    """
    ends = {"one group": 1, "one channel per group": CHANNELS}
    found = {
        (net, name): gain(result, net, MIDDLE, end)
        for net in result.distinct("net")
        for name, end in ends.items()
    }
    effects = tuple(
        Effect(f"{MIDDLE} groups beyond {name}, {net}", s) for (net, name), s in found.items()
    )
    worse = {net: min(found[net, name].median for name in ends) for net in result.distinct("net")}
    if all(least >= 0.01 for least in worse.values()):
        return Verdict("supported", effects)
    return Verdict("refuted" if all(least <= 0 for least in worse.values()) else "mixed", effects)


def near_batch_norm(result: Result) -> Verdict:
    """Does group normalization come within half a point of batch normalization?

    Supported if in every net four groups are at most half a point below batch normalization at 32
    inputs per batch, refuted if 2 points or more in every net, else mixed. Medians of differences
    within seeds.
    """
    found = {net: gain(result, net, MIDDLE, 0) for net in result.distinct("net")}
    effects = tuple(Effect(f"{MIDDLE} groups beyond batch norm, {n}", s) for n, s in found.items())
    if all(s.median >= -0.005 for s in found.values()):
        return Verdict("supported", effects)
    if all(s.median <= -0.02 for s in found.values()):
        return Verdict("refuted", effects)
    return Verdict("mixed", effects)


def order_matters(result: Result) -> Verdict:
    """Does the order of the channels belong to a trained net with groups?

    Supported if in every net a new order costs 5 points or more at every number of groups between
    the ends, and at the ends less than a tenth of a point; refuted if less than 1 point everywhere;
    else mixed. Medians over seeds.
    """
    groups = [number for number in result.distinct("groups") if number]
    costs = {(n, g): loss_by_order(result, n, g) for n in result.distinct("net") for g in groups}
    effects = tuple(
        Effect(f"points of a new order, {n}, {g} groups", s) for (n, g), s in costs.items()
    )
    between = [s.median for (_, g), s in costs.items() if 1 < g < CHANNELS]
    ends = [s.median for (_, g), s in costs.items() if g in (1, CHANNELS)]
    if min(between) >= 0.05 and max(map(abs, ends)) < 0.001:
        return Verdict("supported", effects)
    return Verdict("refuted" if max(*between, *ends) < 0.01 else "mixed", effects)


def means_are_missed(result: Result) -> Verdict:
    """Is one channel per group the worst because the scores read the very means it takes away?

    Supported if on digits it is 2 points or more below four groups where the scores read the mean
    of each map, and less than 1 point below where they read single places; refuted if it is 2
    points below there too, or is not where they read means; else mixed. Medians of differences
    within seeds.
    """
    lost = {net: gain(result, net, MIDDLE, CHANNELS) for net in ("digits", "places")}
    effects = (
        Effect("one channel per group below four groups, scores read means", lost["digits"]),
        Effect("one channel per group below four groups, scores read places", lost["places"]),
    )
    if lost["digits"].median >= 0.02 and lost["places"].median < 0.01:
        return Verdict("supported", effects)
    if lost["digits"].median < 0.02 or lost["places"].median >= 0.02:
        return Verdict("refuted", effects)
    return Verdict("mixed", effects)


EXPERIMENT = Experiment(
    name="group_dial",
    question="How many groups, from one to as many as there are channels?",
    run=run,
    live={"steps": {"digits": 100}, "groups": [1, 4, 16], "rates": [1.0]},
    full={
        "steps": {"digits": 200, "places": 200, "signals": 500},
        "groups": [1, 2, 4, 8, 16],
        "rates": [0.3, 1.0, 3.0],
    },
    decisions={
        "middle_is_best": middle_is_best,
        "near_batch_norm": near_batch_norm,
        "order_matters": order_matters,
        "means_are_missed": means_are_missed,
    },
)

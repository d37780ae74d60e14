"""Before or after the ReLU: the order of norm and ReLU behind each convolution.

Small convolutional nets read digits and the signals of MNIST-1D. From net to net only the order
of the layers differs, and the norm:

    norm first    conv, norm, relu
    relu first    conv, relu, norm
    no norm       conv, relu

Every net has the learning rate that serves it best on inputs neither trained on nor tested with.

    accuracy   share of right answers on test inputs, by running statistics where there are some
    passed     share of ReLU outputs above 0 on training inputs, the mean of the three layers
    silent     share of channels whose ReLU gives 0 for every training input and place

Sources: Ioffe & Szegedy 2015 (norm first); Mishkin et al. 2017 (both orders on ImageNet).
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from normcourse.experiments.deep_digits import outcome
from normcourse.experiments.experiment import Experiment
from normcourse.experiments.group_dial import Data, load_data
from normcourse.experiments.models import MakeNorm, conv_net
from normcourse.experiments.residual_digits import finite
from normcourse.experiments.result import Effect, Result, Row, Spread, Verdict, spread
from normcourse.experiments.train import accuracy, mean_loss, train

CHANNELS, DEPTH, GROUPS, BATCH_SIZE = 16, 3, 4, 32
ORDERS = ("norm first", "relu first")


def make_norm(word: str, dims: int) -> MakeNorm:
    """Return torch's layer for "batch" or "group": the course's functions, in one kernel each."""
    if word == "group":
        return lambda channels: nn.GroupNorm(GROUPS, channels)
    return nn.BatchNorm1d if dims == 1 else nn.BatchNorm2d


def make_net(generator: torch.Generator, order: str, norm: str, *, dims: int) -> nn.Sequential:
    """Return a ``conv_net`` whose norms stand where the order says.

    Args:
        generator: draws the weights, the same for every order.
        order: word of ``ORDERS``, or "no norm".
        norm: "batch" or "group".
        dims: 1 for signals, 2 for images.

    Example:
        >>> net = make_net(torch.Generator().manual_seed(0), "relu first", "batch", dims=2)
        >>> [name for name, _ in net.named_children()][:4]
        ['conv1', 'act1', 'norm1', 'conv2']
    """
    plain = conv_net(generator, 10, channels=CHANNELS, depth=DEPTH, dims=dims)
    make = make_norm(norm, dims)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for name, layer in plain.named_children():
        if name.startswith("norm"):
            continue
        layers[name] = layer
        if name.startswith({"norm first": "conv", "relu first": "act"}.get(order, "no")):
            layers[f"norm{name[-1]}"] = make(CHANNELS)
    return nn.Sequential(layers)


def fit(
    data: Data, order: str, norm: str, seed: int, *, rates: Sequence[float], steps: int
) -> tuple[float, nn.Sequential]:
    """Train a net at each rate; return the best by the loss on held-out inputs, and its rate."""
    best: tuple[float, float, nn.Sequential | None] = (math.inf, rates[0], None)
    for rate in rates:
        generator = torch.Generator().manual_seed(seed)
        net = make_net(generator, order, norm, dims=data.dims)
        train(net, data.x, data.t, steps=steps, batch_size=BATCH_SIZE, lr=rate, generator=generator)
        loss = finite(mean_loss(net, data.held_x, data.held_t))
        if best[2] is None or loss < best[0]:
            best = (loss, rate, net)
    assert best[2] is not None
    return best[1], best[2]


@torch.no_grad()
def activity(net: nn.Sequential, x: Tensor) -> tuple[float, float]:
    """Return which share of the ReLUs' outputs is above 0, and which share of channels never is."""
    was_training = net.training
    net.eval()
    passed, silent = [], []
    for name, layer in net.named_children():
        x = layer(x)
        if name.startswith("act"):
            above = x.transpose(0, 1).flatten(1) > 0  # (C, N·positions)
            passed.append(above.float().mean().item())
            silent.append((~above.any(dim=1)).float().mean().item())
    net.train(was_training)
    return sum(passed) / len(passed), sum(silent) / len(silent)


def run(
    seed: int,
    *,
    steps: dict[str, int],
    arms: Sequence[Sequence[str]],
    rates: Sequence[float],
) -> Iterator[Row]:
    """Yield a row per data set and arm.

    Args:
        seed: of split, weights and batches.
        steps: "digits", "signals" to steps of training.
        arms: pairs of an order and a norm.
        rates: learning rates to choose from.
    """
    for word, num_steps in steps.items():
        data = load_data(word, torch.Generator().manual_seed(seed))
        for order, norm in arms:
            rate, net = fit(data, order, norm, seed, rates=rates, steps=num_steps)
            passed, silent = activity(net, data.x)
            yield {
                "data": word,
                "order": order,
                "norm": norm,
                "rate": rate,
                "accuracy": accuracy(net, data.test_x, data.test_t),
                "passed": passed,
                "silent": silent,
            }


# ------------------------------------------------------------------------------------ decisions


def column(result: Result, name: str, data: str, order: str, norm: str) -> list[float]:
    """Return a column of one net, seed by seed."""
    return [float(v) for v in result.where(data=data, order=order, norm=norm).values(name)]


def ahead(result: Result, data: str, norm: str, *, of: str = "relu first") -> Spread:
    """Return by how many points the original order is ahead of another, seed by seed."""
    first = column(result, "accuracy", data, "norm first", norm)
    other = column(result, "accuracy", data, of, norm if of != "no norm" else "none")
    return spread(100 * (a - b) for a, b in zip(first, other, strict=True))


def _pairs(result: Result) -> list[tuple[str, str]]:
    norms = [norm for norm in result.distinct("norm") if norm != "none"]
    return [(data, norm) for data in result.distinct("data") for norm in norms]


def order_is_critical(result: Result) -> Verdict:
    """Does it matter much whether the norm stands before or after the ReLU?

    Compared are norm first and relu first, each at its best rate. Supported if for every data set
    and norm one of them is 2 points or more ahead (median of differences within seeds, both
    quartiles on one side of 0); refuted if everywhere the median difference is smaller than the
    spread over seeds (the larger middle half of the two accuracies); else mixed.
    """
    found = {pair: ahead(result, *pair) for pair in _pairs(result)}
    wide = {pair: max(_middle_half(result, *pair, order) for order in ORDERS) for pair in found}
    effects = tuple(
        Effect(f"norm first − relu first, {data}, {norm} norm", value, "points")
        for (data, norm), value in found.items()
    )
    clear = all(abs(s.median) >= 2 and s.low * s.high > 0 for s in found.values())
    small = all(abs(s.median) < wide[pair] for pair, s in found.items())
    return Verdict(outcome(clear, small), effects)


def _middle_half(result: Result, data: str, norm: str, order: str) -> float:
    seen = spread(column(result, "accuracy", data, order, norm))
    return 100 * (seen.high - seen.low)


def original_is_better(result: Result) -> Verdict:
    """Is the original order, norm before ReLU, the more accurate one?

    Supported if it is half a point or more ahead for every data set and norm, refuted if it is
    ahead for none, else mixed. Medians of differences within seeds.
    """
    found = {pair: ahead(result, *pair) for pair in _pairs(result)}
    return Verdict(
        outcome(
            all(s.median >= 0.5 for s in found.values()),
            all(s.median <= 0 for s in found.values()),
        ),
        tuple(
            Effect(f"norm first − relu first, {data}, {norm} norm", value, "points")
            for (data, norm), value in found.items()
        ),
    )


def norm_matters_more(result: Result) -> Verdict:
    """Does it matter more whether there is a batch norm than on which side of the ReLU?

    Supported if on every data set the net without a norm is further behind the original order than
    the orders are apart (sizes of the median differences within seeds), refuted if on none, else
    mixed.
    """
    words = result.distinct("data")
    order = {data: ahead(result, data, "batch") for data in words}
    left = {data: ahead(result, data, "batch", of="no norm") for data in words}
    more = [left[data].median > abs(order[data].median) for data in words]
    effects = [Effect(f"norm first − no norm, {data}", left[data], "points") for data in words]
    effects += [Effect(f"norm first − relu first, {data}", order[data], "points") for data in words]
    return Verdict(outcome(all(more), not any(more)), tuple(effects))


def norm_first_keeps_channels(result: Result) -> Verdict:
    """Does a norm before the ReLU keep channels from falling silent?

    Supported if with batch norm on every data set relu first has a larger share of silent channels
    by 2 points or more, and norm first at most 1 %; refuted if relu first has no larger share on
    any; else mixed. Medians over seeds.
    """
    words = result.distinct("data")
    first, other = (
        {d: spread(100 * v for v in column(result, "silent", d, order, "batch")) for d in words}
        for order in ORDERS
    )
    supported = all(other[d].median - first[d].median >= 2 and first[d].median <= 1 for d in words)
    effects = [Effect(f"silent channels, norm first, {d}", first[d], "%") for d in words]
    effects += [Effect(f"silent channels, relu first, {d}", other[d], "%") for d in words]
    refuted = all(other[d].median <= first[d].median for d in words)
    return Verdict(outcome(supported, refuted), tuple(effects))


_ARMS = [
    ["norm first", "batch"],
    ["relu first", "batch"],
    ["norm first", "group"],
    ["relu first", "group"],
    ["no norm", "none"],
]
EXPERIMENT = Experiment(
    name="norm_order",
    question="Before or after the ReLU: does the order of norm and activation matter?",
    run=run,
    live={"steps": {"digits": 60}, "arms": [_ARMS[0], _ARMS[1], _ARMS[4]], "rates": [0.3]},
    full={
        "steps": {"digits": 100, "signals": 160},
        "arms": _ARMS,
        "rates": [0.3, 1.0, 3.0],
    },
    decisions={
        "order_is_critical": order_is_critical,
        "original_is_better": original_is_better,
        "norm_matters_more": norm_matters_more,
        "norm_first_keeps_channels": norm_first_keeps_channels,
    },
)

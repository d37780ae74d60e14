"""Small batches, in a fully connected net and in convolutional ones.

The nets see the same number of digits whatever the batch size, with a learning rate in proportion
to it, so that only the statistics differ. Beside each stands the same net with a norm that does not
look at the batch, which tells what the batch size alone does. What differs between the nets is how
many values the smallest pool of a mean holds: N in the fully connected one, N·H·W in the others.

Sources: Wu & He, "Group Normalization", 2018 (error against batch size); Goyal et al., "Accurate,
Large Minibatch SGD", 2017 (learning rate in proportion to the batch size).
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from normcourse.experiments.data import load_digits
from normcourse.experiments.experiment import Experiment
from normcourse.experiments.models import NORMS, mlp
from normcourse.experiments.result import Effect, Result, Row, Spread, Verdict, spread
from normcourse.experiments.train import accuracy, train
from normcourse.surgery import recalibrate

# A net's word -> number of convolutions; 0 is the fully connected net. The words say how large the
# smallest normalized map is: each convolution after the first halves height and width.
NETS: dict[str, int] = {"fc": 0, "conv 8x8": 1, "conv 2x2": 3, "conv 1x1": 4}
CHANNELS, WIDTH = 8, 64
RATE_PER_EXAMPLE = 0.1 / 32
FEW, ENOUGH = 2, 8  # values per mean: the rules below speak of these
HARM, NONE = 0.05, 0.02  # of all answers


def make_net(generator: torch.Generator, net: str, norm: str) -> nn.Sequential:
    """Return a net of ``NETS`` for digits; "free" is layer normalization, over whole maps too.

    Example:
        >>> net = make_net(torch.Generator().manual_seed(0), "conv 2x2", "batch")
        >>> net(torch.zeros(2, 1, 8, 8)).shape
        torch.Size([2, 10])
    """
    depth = NETS[net]
    if depth == 0:
        word = "layer" if norm == "free" else norm
        return mlp(generator, 64, 10, depth=2, width=WIDTH, norm=word)
    word = "one group" if norm == "free" else norm
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for k in range(1, depth + 1):
        stride = 1 if k == 1 else 2
        conv = nn.Conv2d(1 if k == 1 else CHANNELS, CHANNELS, 3, stride=stride, padding=1)
        _draw(conv, math.sqrt(2), generator)
        layers[f"conv{k}"] = conv
        layers[f"norm{k}"] = NORMS[word](CHANNELS)
        layers[f"act{k}"] = nn.ReLU()
    layers["flatten"] = nn.Flatten()
    layers["scores"] = nn.Linear(CHANNELS * positions(net), 10)
    _draw(layers["scores"], 1.0, generator)
    return nn.Sequential(layers)


def positions(net: str) -> int:
    """Return H·W of the smallest map that is normalized: 1 for the fully connected net."""
    depth = NETS[net]
    return int(64 // 4 ** (depth - 1)) if depth else 1


@torch.no_grad()
def _draw(layer: nn.Module, gain: float, generator: torch.Generator) -> None:
    assert isinstance(layer, nn.Conv2d | nn.Linear)
    layer.weight.normal_(0, gain / math.sqrt(layer.weight[0].numel()), generator=generator)
    assert layer.bias is not None
    layer.bias.zero_()


def run(seed: int, *, nets: list[str], sizes: list[int], examples: int) -> Iterator[Row]:
    """Yield a row per net, norm and batch size: the share of wrong answers on test images.

    ``error`` is that of inference mode; with batch normalization ``error_own`` is that of batches
    of the training's size which bring their own statistics, and ``error_renewed`` that of inference
    mode after the running statistics were computed anew from all training images. The net that goes
    down to maps of 1x1 also gets group normalization, two channels to a group: two values per mean.
    """
    for net in nets:
        for norm in ("batch", "free", "group") if net == "conv 1x1" else ("batch", "free"):
            for size in sizes:
                generator = torch.Generator().manual_seed(seed)
                digits = load_digits(generator)
                model = make_net(generator, net, norm)
                train(
                    model,
                    digits.train_x,
                    digits.train_t,
                    steps=examples // size,
                    batch_size=size,
                    lr=RATE_PER_EXAMPLE * size,
                    generator=generator,
                )
                row: Row = {
                    "net": net,
                    "norm": norm,
                    "size": size,
                    "values": size * positions(net),
                    "error": 1 - accuracy(model, digits.test_x, digits.test_t),
                }
                if norm == "batch":
                    row["error_own"] = _error_own(model, digits.test_x, digits.test_t, size)
                    recalibrate(model, torch.split(digits.train_x, 256))
                    row["error_renewed"] = 1 - accuracy(model, digits.test_x, digits.test_t)
                yield row


@torch.no_grad()
def _error_own(net: nn.Module, x: Tensor, t: Tensor, size: int) -> float:
    """Return the share of wrong answers in training mode; the running statistics are put back."""
    kept = {name: buffer.clone() for name, buffer in net.named_buffers()}
    net.train()
    parts = [part for part in torch.split(x, size) if len(part) == size]
    guesses = torch.cat([net(part).argmax(1) for part in parts])
    for name, buffer in net.named_buffers():
        buffer.copy_(kept[name])
    wrong: float = (guesses != t[: len(guesses)]).float().mean().item()
    return wrong


def excess(result: Result, net: str, size: int) -> Spread:
    """Return how much more often batch normalization errs than the norm that ignores the batch."""
    here = result.where(net=net, size=size)
    error = {(row["seed"], row["norm"]): float(row["error"]) for row in here.rows}
    return spread(error[seed, "batch"] - error[seed, "free"] for seed in here.seeds)


def batch_of_two(result: Result) -> Verdict:
    """Does the smallest batch harm batch normalization, whatever the net?

    Supported if it costs 5 points or more against the norm that ignores the batch in every net,
    refuted if less than 2 points in every net, else mixed. Medians of differences within seeds.
    """
    smallest = min(result.distinct("size"))
    costs = {net: excess(result, net, smallest) for net in result.distinct("net")}
    effects = tuple(
        Effect(f"extra error at batch size {smallest}, {net}", cost) for net, cost in costs.items()
    )
    if all(cost.median >= HARM for cost in costs.values()):
        return Verdict("supported", effects)
    if all(cost.median < NONE for cost in costs.values()):
        return Verdict("refuted", effects)
    return Verdict("mixed", effects)


def values_per_mean(result: Result) -> Verdict:
    """Is it the number of values per mean, N·H·W, that decides, not the number of images?

    Supported if every net with at most 2 values per mean loses 5 points or more, and none with 8
    or more loses 2; refuted if one with at most 2 loses less than 2 points, or one with 8 or more
    loses 5; else mixed. Medians of differences within seeds, in the net's smallest pool.
    """
    found: dict[str, list[Spread]] = {"few": [], "enough": []}
    for net, size in sorted({(str(row["net"]), int(row["size"])) for row in result.rows}):
        values = size * positions(net)
        if values <= FEW:
            found["few"].append(excess(result, net, size))
        if values >= ENOUGH:
            found["enough"].append(excess(result, net, size))
    few = min(found["few"], key=lambda cost: cost.median)
    enough = max(found["enough"], key=lambda cost: cost.median)
    effects = (
        Effect(f"smallest extra error with at most {FEW} values per mean", few),
        Effect(f"largest extra error with {ENOUGH} or more", enough),
    )
    if few.median >= HARM and enough.median < NONE:
        return Verdict("supported", effects)
    if few.median < NONE or enough.median >= HARM:
        return Verdict("refuted", effects)
    return Verdict("mixed", effects)


EXPERIMENT = Experiment(
    name="small_batches",
    question="What does a small batch cost batch normalization, and is it images that count?",
    run=run,
    live={"nets": ["fc", "conv 8x8"], "sizes": [2, 16], "examples": 1000},
    full={"nets": list(NETS), "sizes": [2, 4, 8, 32], "examples": 1920},
    decisions={"batch_of_two": batch_of_two, "values_per_mean": values_per_mean},
)

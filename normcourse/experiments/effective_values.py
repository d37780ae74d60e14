"""How many independent values is a pool worth?

A channel's mean over N·H·W values would have a variance of var(x) / (N·H·W) if they were
independent. They are not: neighbouring positions see nearly the same patch, and every image brings
the same positions. The number of independent values that would fluctuate as much,
var(x) / var(batch mean), is measured here for fresh nets without any norm, over many batches drawn
with repetition: for layers over digits, and for one over the randomly shifted signals of MNIST-1D.

Source: the variance of a mean of correlated values, any textbook of statistics.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from normcourse.experiments.data import load_digits, load_mnist1d
from normcourse.experiments.experiment import Experiment
from normcourse.experiments.models import conv_net
from normcourse.experiments.result import Effect, Result, Row, Verdict
from normcourse.experiments.small_batches import CHANNELS, make_net


def run(seed: int, *, layers: list[list[str]], sizes: list[int], batches: int) -> Iterator[Row]:
    """Yield a row per layer and batch size: nominal and effective number of values per mean.

    Args:
        seed: of weights and batches.
        layers: pairs of a net's word, "signals" or one of ``NETS``, and the name of a layer in it.
        sizes: batch sizes N.
        batches: how many batches of each size.
    """
    for net, name in layers:
        generator = torch.Generator().manual_seed(seed)
        if net == "signals":
            model, x = conv_net(generator, 10, dims=1, channels=CHANNELS), load_mnist1d().train_x
        else:
            x = load_digits(generator).train_x
            model = make_net(generator, net, "none")
        values = _before_norm(model, x, name)
        per_image = values.flatten(2).mean(dim=2) if values.ndim > 2 else values  # (M, C)
        spread_of_values = values.transpose(0, 1).flatten(1).var(dim=1, correction=0)  # (C,)
        for size in sizes:
            drawn = torch.randint(len(values), (batches, size), generator=generator)
            means = per_image[drawn].mean(dim=1)  # (batches, C)
            worth = spread_of_values.sum() / means.var(dim=0).sum()
            yield {
                "net": net,
                "layer": name,
                "positions": values[0, 0].numel(),
                "size": size,
                "values": size * values[0, 0].numel(),
                "effective": worth.item(),
            }


@torch.no_grad()
def _before_norm(net: nn.Sequential, x: Tensor, name: str) -> Tensor:
    """Return what the layer of that name gives, shape (M, C, *)."""
    for child, layer in net.named_children():
        x = layer(x)
        if child == name:
            return x
    raise KeyError(f"no layer {name!r}; there are {[child for child, _ in net.named_children()]}.")


def independent(result: Result) -> Verdict:
    """Do N·H·W pooled values hold a mean at least as still as that many independent ones?

    Supported if in every layer the effective number is at least 80 % of the nominal one, refuted
    if in every layer with more than one position it is less than half, else mixed. Medians over
    seeds, at the largest batch size.
    """
    largest = result.where(size=max(result.distinct("size")))
    places = {(row["net"], row["layer"]): int(row["positions"]) for row in largest.rows}
    effects, shares = [], {}
    for net, layer in places:
        rows = largest.where(net=net, layer=layer)
        worth, nominal = rows.spread("effective"), rows.values("values")[0]
        effects.append(Effect(f"effective values of {nominal}, {net}, {layer}", worth))
        shares[net, layer] = worth.median / nominal
    maps = [share for layer, share in shares.items() if places[layer] > 1]
    if all(share >= 0.8 for share in shares.values()):
        return Verdict("supported", tuple(effects))
    if maps and all(share < 0.5 for share in maps):
        return Verdict("refuted", tuple(effects))
    return Verdict("mixed", tuple(effects))


_LAYERS = [
    ["fc", "linear1"],
    ["conv 8x8", "conv1"],
    ["conv 2x2", "conv2"],
    ["conv 2x2", "conv3"],
    ["conv 1x1", "conv4"],
    ["signals", "conv1"],
]

EXPERIMENT = Experiment(
    name="effective_values",
    question="How many independent values are the N·H·W values of a pool worth?",
    run=run,
    live={"layers": _LAYERS, "sizes": [2, 8, 32], "batches": 400},
    full={"layers": _LAYERS, "sizes": [1, 2, 4, 8, 16, 32, 64], "batches": 2000},
    live_seeds=5,
    full_seeds=20,
    decisions={"independent": independent},
)

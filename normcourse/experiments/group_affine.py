"""Whose are scale and shift? A pair per channel, per group, per place, or none.

The net for digits of ``group_dial`` with four groups in every norm. Statistics are the same in all
arms; only the shape of scale and shift differs.

Source: Wu & He, "Group Normalization", 2018, section 3.1 (scale and shift per channel).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from normcourse.experiments.experiment import Experiment
from normcourse.experiments.group_dial import DEPTH, MIDDLE, fit, load_data
from normcourse.experiments.models import MakeNorm
from normcourse.experiments.result import Effect, Result, Row, Spread, Verdict, spread
from normcourse.experiments.train import accuracy

KINDS = ("channel", "group", "place", "none")
_SIDES = (8, 4, 2)  # of the maps that the three norms of the net see


class AffineOf(nn.Module):
    """Group statistics with scale and shift per channel, per group or per channel and place.

    Args:
        kind: word of ``KINDS``.
        channels: number of channels.
        side: height and width of the maps, which "place" is tied to.

    Example:
        >>> {kind: sum(p.numel() for p in AffineOf(kind, 16, 4).parameters()) for kind in KINDS}
        {'channel': 32, 'group': 8, 'place': 512, 'none': 0}
    """

    def __init__(self, kind: str, channels: int, side: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(MIDDLE, channels, affine=False)
        shape = {
            "channel": (MIDDLE, channels // MIDDLE, 1, 1),
            "group": (MIDDLE, 1, 1, 1),
            "place": (MIDDLE, channels // MIDDLE, side, side),
            "none": (0,),
        }[kind]
        self.weight = nn.Parameter(torch.ones(shape))
        self.bias = nn.Parameter(torch.zeros(shape))

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalized input (N, C, H, W), scaled and shifted."""
        y: Tensor = self.norm(x)
        if not self.weight.numel():
            return y
        groups = torch.unflatten(y, 1, (MIDDLE, -1))  # (N, G, C / G, H, W)
        scaled: Tensor = self.weight * groups + self.bias
        return scaled.flatten(1, 2)


def run(seed: int, *, kinds: list[str], rates: list[float], steps: int) -> Iterator[Row]:
    """Yield a row per kind: its parameters and the share of right answers on test images."""
    data = load_data("digits", torch.Generator().manual_seed(seed))
    for kind in kinds:
        rate, net = fit(data, _maker(kind), seed, rates=rates, steps=steps)
        norms = [net.get_submodule(f"norm{k}") for k in range(1, DEPTH + 1)]
        yield {
            "kind": kind,
            "parameters": sum(p.numel() for norm in norms for p in norm.parameters()),
            "rate": rate,
            "accuracy": accuracy(net, data.test_x, data.test_t),
        }


def _maker(kind: str) -> MakeNorm:
    sides = itertools.cycle(_SIDES)  # a net asks for its norms from the first to the last
    return lambda channels: AffineOf(kind, channels, next(sides))


def below(result: Result, kind: str) -> Spread:
    """Return by how much a kind is below scale and shift per channel, per seed."""
    right = {(row["seed"], row["kind"]): float(row["accuracy"]) for row in result.rows}
    return spread(right[seed, "channel"] - right[seed, kind] for seed in result.seeds)


def per_channel_is_best(result: Result) -> Verdict:
    """Is a scale and a shift per channel better than the other kinds?

    Supported if every other kind is 1 point or more below, refuted if none is more than half a
    point below, else mixed. Medians of differences within seeds.
    """
    found = {kind: below(result, kind) for kind in result.distinct("kind") if kind != "channel"}
    effects = tuple(Effect(f"per {kind}: below per channel", s) for kind, s in found.items())
    if all(s.median >= 0.01 for s in found.values()):
        return Verdict("supported", effects)
    refuted = all(s.median <= 0.005 for s in found.values())
    return Verdict("refuted" if refuted else "mixed", effects)


EXPERIMENT = Experiment(
    name="group_affine",
    question="Should scale and shift belong to channels, to groups or to places?",
    run=run,
    live={"kinds": ["channel", "group"], "rates": [1.0], "steps": 50},
    full={"kinds": list(KINDS), "rates": [0.3, 1.0, 3.0], "steps": 200},
    decisions={"per_channel_is_best": per_channel_is_best},
)

"""What a fresh residual net adds to its stream, block by block, with and without batch norm.

One batch of digits goes once forward and back through nets of residual blocks:

    post    relu(x + norm(conv(relu(norm(conv(x))))))
    pre     x + conv(relu(norm(conv(relu(norm(x))))))

    variance   of a block's output, over the batch and all places, the mean of the channels
    share      variance of what the branch adds / variance of the sum
    gradient   norm of the loss' gradient with respect to the block's output

Sources: He et al. 2016 (both blocks); De & Smith 2020 (variance by depth, branches damped).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from normcourse.experiments.deep_digits import outcome, task
from normcourse.experiments.experiment import Experiment
from normcourse.experiments.residual_digits import blocks, residual_net
from normcourse.experiments.result import Effect, Result, Row, Spread, Verdict, spread
from normcourse.modules import PostActivationBlock

SEEN = 64


def spread_of(x: Tensor) -> float:
    """Return the variance over batch and places of (N, C, H, W), the mean of the channels."""
    return x.detach().var(dim=(0, 2, 3), correction=0).mean().item()


def run(seed: int, *, stacks: Sequence[Sequence[str]], depth: int, every: int) -> Iterator[Row]:
    """Yield a row per stack and every so many blocks, counted from 1.

    Args:
        seed: draws images and weights.
        stacks: triples of "post" or "pre", "batch" or "none", and "ones" or "zeros": whether the
            last scale of a branch starts at 0.
        depth: number of blocks.
        every: the step from one reported block to the next.
    """
    for kind, norm, start in stacks:
        generator = torch.Generator().manual_seed(seed)
        digits = task(generator)
        net = residual_net(generator, kind, depth, norm=norm, zero=start == "zeros", stride=1)
        added = _watch_branches(net)
        outputs = _streams(net, digits.train_x[:SEEN], digits.train_t[:SEEN])
        for k in range(1, depth + 1, every):
            y = outputs[k - 1]
            assert y.grad is not None
            yield {
                "kind": kind,
                "norm": norm,
                "start": start,
                "block": k,
                "variance": spread_of(y),
                "share": added[k - 1] / spread_of(y),
                "gradient": y.grad.norm().item(),
            }


def _watch_branches(net: nn.Sequential) -> list[float]:
    """Return a list that a forward pass fills with the variance of what each branch adds."""
    added: list[float] = []

    def keep(_layer: nn.Module, _given: Any, y: Tensor) -> None:
        added.append(spread_of(y))

    for block in blocks(net):
        last = "norm2" if isinstance(block, PostActivationBlock) else "conv2"
        block.get_submodule(last).register_forward_hook(keep)
    return added


def _streams(net: nn.Sequential, x: Tensor, t: Tensor) -> list[Tensor]:
    """Return the output of every block, with the loss' gradient."""
    outputs = []
    for name, part in net.named_children():
        x = part(x)
        if name.startswith("block"):
            x.retain_grad()
            outputs.append(x)
    cross_entropy(x, t).backward()  # type: ignore[no-untyped-call]
    return outputs


# ------------------------------------------------------------------------------------ decisions


def over(result: Result, column: str, block: int, base: int, **stack: str) -> Spread:
    """Return a column at one block over that at another, seed by seed."""
    above, below = (
        [float(v) for v in result.where(block=k, **stack).values(column)] for k in (block, base)
    )
    return spread(a / b for a, b in zip(above, below, strict=True))


def _power(of: Spread, power: float) -> Spread:
    return Spread(of.median**power, of.low**power, of.high**power, of.seeds)


def _middle_and_last(result: Result) -> tuple[int, int]:
    """Return the last block reported and the one in the middle of the depth."""
    places = result.distinct("block")
    last = max(places)
    return min(places, key=lambda k: abs(k - last / 2)), last


def grows_without_norm(result: Result) -> Verdict:
    """Does the stream of a fresh residual net without norms grow by a constant factor per block?

    Supported if in both kinds of block the variance grows by a factor of 1.2 or more per block, as
    a root over the second half of the depth, and by a factor within 20 % of it over the first half
    (medians over seeds); refuted if in both by less than 1.05 per block; else mixed.
    """
    middle, last = _middle_and_last(result)
    effects, steady, still = [], [], []
    for kind in ("post", "pre"):
        late = over(result, "variance", last, middle, kind=kind, norm="none")
        early = over(result, "variance", middle, 1, kind=kind, norm="none")
        rate = _power(late, 1 / (last - middle))
        first = early.median ** (1 / (middle - 1))
        effects.append(Effect(f"growth per block, {kind}, no norm", rate))
        steady.append(rate.median >= 1.2 and abs(first / rate.median - 1) < 0.2)
        still.append(rate.median < 1.05)
    return Verdict(outcome(all(steady), all(still)), tuple(effects))


def grows_linearly_with_norm(result: Result) -> Verdict:
    """Does batch norm in the branches leave the stream a growth in proportion to depth?

    Supported if in both kinds of block twice the depth has 1.6 to 2.4 times the variance (the last
    block over the middle one, scaled to a doubling; medians over seeds), refuted if in both it has
    less than 1.1 or more than 4 times, else mixed.
    """
    middle, last = _middle_and_last(result)
    effects, linear, other = [], [], []
    for kind in ("post", "pre"):
        ratio = over(result, "variance", last, middle, kind=kind, norm="batch", start="ones")
        power = math.log(2) / math.log(last / middle)
        twice = _power(ratio, power)
        effects.append(Effect(f"variance at twice the depth, {kind}, batch norm", twice))
        linear.append(1.6 <= twice.median <= 2.4)
        other.append(not 1.1 <= twice.median <= 4)
    return Verdict(outcome(all(linear), all(other)), tuple(effects))


def fading(result: Result, **stack: str) -> Spread:
    """Return the mean share of the last quarter of blocks over that of the first, per seed."""
    curve = result.curve("block", "share", **stack)
    quarter = max(1, len(curve.x) // 4)
    return spread(run[-quarter:].mean() / run[:quarter].mean() for run in curve.runs.values())


def branches_fade(result: Result) -> Verdict:
    """Does a branch with batch norm add an ever smaller share of the stream?

    Compared is the mean share of the last quarter of the blocks with that of the first. Supported
    if in both kinds of block it falls below a quarter with batch norm and stays above a half
    without (medians over seeds), refuted if in both it falls no further with than without, else
    mixed.
    """
    effects, fade, alike = [], [], []
    for kind in ("post", "pre"):
        with_norm = fading(result, kind=kind, norm="batch", start="ones")
        without = fading(result, kind=kind, norm="none")
        effects.append(Effect(f"share, last / first quarter, {kind}, batch norm", with_norm))
        effects.append(Effect(f"share, last / first quarter, {kind}, no norm", without))
        fade.append(with_norm.median < 0.25 and without.median > 0.5)
        alike.append(with_norm.median >= without.median)
    return Verdict(outcome(all(fade), all(alike)), tuple(effects))


_STACKS = [
    ["post", "none", "ones"],
    ["pre", "none", "ones"],
    ["post", "batch", "ones"],
    ["pre", "batch", "ones"],
    ["post", "batch", "zeros"],
    ["pre", "batch", "zeros"],
]
EXPERIMENT = Experiment(
    name="residual_variance",
    question="How does the variance of a residual stream grow in a fresh net?",
    run=run,
    live={"stacks": _STACKS[:4], "depth": 16, "every": 3},
    full={"stacks": _STACKS, "depth": 24, "every": 1},
    decisions={
        "grows_without_norm": grows_without_norm,
        "grows_linearly_with_norm": grows_linearly_with_norm,
        "branches_fade": branches_fade,
    },
)

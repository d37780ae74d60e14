"""What the skip of a residual block carries: x as it came, or something else.

Fresh nets of pre-activation blocks with batch norm read digits. The branch is the same in every
arm; the skip, or the sum, differs:

    clean            x
    halved           x / 2
    normalized       norm(x), with a gamma and a beta of its own
    activated        relu(norm(x)), what the branch reads
    relu on the sum  relu(x + branch)

    kept       squared correlation between what enters the first block and what leaves a block, over
               batch and places, the mean of the channels: how much of the input is still there
    gradient   norm of the loss' gradient with respect to the block's output

Source: He et al., "Identity Mappings in Deep Residual Networks", 2016 (skips that scale, gate or
normalize).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from normcourse.experiments.deep_digits import outcome, task
from normcourse.experiments.experiment import Experiment
from normcourse.experiments.residual_digits import SKIPS, residual_net
from normcourse.experiments.result import Effect, Result, Row, Spread, Verdict, spread

SEEN = 64


def kept(before: Tensor, after: Tensor) -> float:
    """Return the squared correlation of two arrays (N, C, H, W), the mean of the channels.

    A channel that does not vary in one of them counts as 0.

    Example:
        >>> x = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
        >>> round(kept(x, 5 - 2 * x), 6), kept(x, torch.zeros_like(x))
        (1.0, 0.0)
    """
    rows = [v.detach().double().transpose(0, 1).flatten(1) for v in (before, after)]  # (C, K)
    a, b = (v - v.mean(dim=1, keepdim=True) for v in rows)
    sizes = a.square().sum(dim=1) * b.square().sum(dim=1)
    products = (a * b).sum(dim=1).square()
    share = torch.where(sizes > 0, products / sizes.clamp_min(1e-300), torch.zeros_like(sizes))
    return float(share.mean())


def run(seed: int, *, skips: Sequence[str], depth: int, every: int) -> Iterator[Row]:
    """Yield a row per skip and every so many blocks, counted from 1."""
    for skip in skips:
        generator = torch.Generator().manual_seed(seed)
        digits = task(generator)
        net = residual_net(generator, "pre", depth, skip=skip, stride=1)
        x, entered, outputs = digits.train_x[:SEEN], digits.train_x, []
        for name, part in net.named_children():
            if name == "block1":
                entered = x
            x = part(x)
            if name.startswith("block"):
                x.retain_grad()
                outputs.append(x)
        cross_entropy(x, digits.train_t[:SEEN]).backward()  # type: ignore[no-untyped-call]
        for block in range(1, depth + 1, every):
            output = outputs[block - 1]
            assert output.grad is not None
            yield {
                "skip": skip,
                "block": block,
                "kept": kept(entered, output),
                "gradient": output.grad.norm().item(),
            }


# ------------------------------------------------------------------------------------ decisions


def at_the_end(result: Result, skip: str) -> list[float]:
    """Return how much of the input is left behind the last block, seed by seed."""
    last = max(result.distinct("block"))
    return [float(v) for v in result.where(skip=skip, block=last).values("kept")]


def beyond(result: Result, skip: str) -> Spread:
    """Return how many times as much a clean skip keeps to the end as another, seed by seed."""
    pairs = zip(at_the_end(result, "clean"), at_the_end(result, skip), strict=True)
    return spread(clean / max(other, 1e-12) for clean, other in pairs)


def clean_keeps_the_input(result: Result) -> Verdict:
    """Does only a skip that carries x as it came keep the input through a deep fresh net?

    Supported if behind the last block every other skip keeps less than half of what the clean one
    does in three quarters of the seeds (lower quartile of clean / other above 2), refuted if each
    keeps at least as much in the median, else mixed.
    """
    words = [skip for skip in result.distinct("skip") if skip != "clean"]
    found = {skip: beyond(result, skip) for skip in words}
    clean = spread(at_the_end(result, "clean"))
    return Verdict(
        outcome(all(s.low > 2 for s in found.values()), all(s.median <= 1 for s in found.values())),
        (
            Effect("squared correlation with the input, clean skip", clean),
            *(Effect(f"kept, clean / {skip}", s) for skip, s in found.items()),
        ),
    )


def norm_on_the_skip_halves(result: Result) -> Verdict:
    """Does a norm on the skip halve what is left of the input in every block?

    Each block then adds a branch of variance about 1 to a skip of variance 1. Supported if from the
    first to the eighth block what is kept falls by a factor of 0.4 to 0.6 per block (geometric
    mean, median over seeds), refuted if by 0.8 or more, else mixed. In a clean net beside it that
    factor is told too.
    """
    factors = {skip: _per_block(result, skip) for skip in ("normalized", "clean")}
    seen = factors["normalized"].median
    return Verdict(
        outcome(0.4 <= seen <= 0.6, seen >= 0.8),
        tuple(Effect(f"left of the input per block, {w}", s) for w, s in factors.items()),
    )


def _per_block(result: Result, skip: str) -> Spread:
    first = min(result.distinct("block"))
    last = max(block for block in result.distinct("block") if block <= 8)
    early, late = (
        [float(v) for v in result.where(skip=skip, block=k).values("kept")] for k in (first, last)
    )
    pairs = zip(early, late, strict=True)
    return spread((b / max(a, 1e-12)) ** (1 / (last - first)) for a, b in pairs)


EXPERIMENT = Experiment(
    name="clean_skip",
    question="What does the skip of a residual block carry through a deep net?",
    run=run,
    live={"skips": ["clean", "normalized"], "depth": 8, "every": 1},
    full={"skips": list(SKIPS), "depth": 24, "every": 1},
    decisions={
        "clean_keeps_the_input": clean_keeps_the_input,
        "norm_on_the_skip_halves": norm_on_the_skip_halves,
    },
)

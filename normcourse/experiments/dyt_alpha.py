"""How much does it matter where DyT's alpha starts?

The small Transformer of ``leaner_norms`` with y = gamma * tanh(alpha * x) + beta in the place of
every norm. Alpha is learned, one number per layer; only its first value differs. Layer norm stands
beside it.

    loss      nats per letter of test text at the end
    size      alpha times the standard deviation of what the layer reads, on test text, before the
              first step and after the last: the median over layers
    alpha     at the end: the median over layers

Source: Zhu, Chen, He, LeCun & Liu, "Transformers without Normalization", 2025.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from normcourse.experiments.experiment import Experiment
from normcourse.experiments.leaner_norms import (
    BATCH_SIZE,
    LENGTH,
    SAME,
    TEST_LETTERS,
    as_good,
    make_net,
)
from normcourse.experiments.result import Effect, Result, Row, Spread, Verdict, spread
from normcourse.experiments.text import in_order, load_text
from normcourse.experiments.transformer import MakeNorm, language_loss, train_language
from normcourse.modules import DynamicTanh

LAYER = 0.0  # the "alpha" of rows with layer norm


def starting_at(alpha: float) -> MakeNorm:
    """Return the maker of DyT layers whose slope starts at ``alpha``.

    Example:
        >>> starting_at(0.25)(8).alpha.item()
        0.25
    """
    return lambda width: DynamicTanh(width, alpha=alpha)


@torch.no_grad()
def sizes(net: nn.Module, letters: Tensor) -> list[float]:
    """Return alpha times the standard deviation of the input, for each DyT layer of a net."""
    found: list[float] = []

    def look(layer: nn.Module, inputs: tuple[Tensor, ...], _: Tensor) -> None:
        if isinstance(layer, DynamicTanh):
            found.append((layer.alpha * inputs[0].std()).item())

    layers = [layer for layer in net.modules() if isinstance(layer, DynamicTanh)]
    handles = [layer.register_forward_hook(look) for layer in layers]
    net(letters)
    for handle in handles:
        handle.remove()
    return found


def run(
    seed: int, *, alphas: Sequence[float], depth: int, rate: float, steps: int
) -> Iterator[Row]:
    """Yield a row per starting alpha, after one for layer norm, whose ``alpha`` is 0."""
    text = load_text()
    letters = in_order(text.test, length=LENGTH)[:32]
    for start in (LAYER, *alphas):
        generator = torch.Generator().manual_seed(seed)
        make = starting_at(start) if start else "layer"
        net = make_net(generator, make, depth=depth)
        before = sizes(net, letters)
        train_language(
            net,
            text.train,
            steps=steps,
            length=LENGTH,
            generator=generator,
            batch_size=BATCH_SIZE,
            lr=rate,
            warmup=20,
        )
        loss = language_loss(net, text.test[:TEST_LETTERS], length=LENGTH)
        row: Row = {"start": start, "loss": loss}
        if start:
            ends = [m.alpha.item() for m in net.modules() if isinstance(m, DynamicTanh)]
            row |= {
                "alpha": float(np.median(ends)),
                "size_before": float(np.median(before)),
                "size_after": float(np.median(sizes(net, letters))),
            }
        yield row


def beyond_layer_norm(result: Result, start: float) -> Spread:
    """Return by how many nats DyT from this alpha is worse than layer norm, seed by seed."""
    dyt, layer = (_losses(result, value) for value in (start, LAYER))
    return spread(dyt[seed] - layer[seed] for seed in result.seeds)


def _losses(result: Result, start: float) -> dict[int, float]:
    return {int(row["seed"]): float(row["loss"]) for row in result.where(start=start).rows}


def _starts(result: Result) -> list[float]:
    return [start for start in result.distinct("start") if start != LAYER]


def replaces_layer_norm(result: Result) -> Verdict:
    """At the same budget, does DyT do what layer norm does?

    Supported if from some starting alpha its test loss is at most 0.02 nats per letter higher
    (median of differences within seeds); refuted if from every one it is more than that higher in
    three seeds of four; else mixed.
    """
    extra = {start: beyond_layer_norm(result, start) for start in _starts(result)}
    effects = tuple(
        Effect(f"from alpha {a:g}, beyond layer norm", s, "nats") for a, s in extra.items()
    )
    found = [as_good(s) for s in extra.values()]
    if "supported" in found:
        return Verdict("supported", effects)
    return Verdict("refuted" if all(word == "refuted" for word in found) else "mixed", effects)


def start_matters(result: Result) -> Verdict:
    """Does the loss depend on where alpha starts, although alpha is learned?

    Supported if from the worst start the test loss is more than 0.1 nats per letter higher than
    from the best in three seeds of four, each by its median; refuted if the median difference is at
    most 0.02; else mixed.
    """
    ordered = sorted(_starts(result), key=lambda a: result.spread("loss", start=a).median)
    best, worst = ordered[0], ordered[-1]
    low, high = _losses(result, best), _losses(result, worst)
    gap = spread(high[seed] - low[seed] for seed in result.seeds)
    effects = (Effect(f"from alpha {worst:g} beyond from {best:g}", gap, "nats"),)
    if gap.low > 0.1:
        return Verdict("supported", effects)
    return Verdict("refuted" if gap.median <= SAME else "mixed", effects)


def training_mends_the_start(result: Result) -> Verdict:
    """Does training bring alpha to one place wherever it starts?

    Supported if the largest alpha at the end is at most twice the smallest (medians over seeds, per
    start); refuted if starts keep at least half of their ratio, on a scale of doublings; else
    mixed.
    """
    starts = sorted(_starts(result))
    ends = {start: result.spread("alpha", start=start) for start in starts}
    effects = tuple(Effect(f"alpha at the end, from {a:g}", s) for a, s in ends.items())
    medians = [s.median for s in ends.values()]
    apart = np.log2(max(medians) / min(medians))
    if apart <= 1:
        return Verdict("supported", effects)
    return Verdict("refuted" if apart >= np.log2(starts[-1] / starts[0]) / 2 else "mixed", effects)


EXPERIMENT = Experiment(
    name="dyt_alpha",
    question="How much does it matter where DyT's alpha starts?",
    run=run,
    live={"alphas": [0.1, 0.5, 2.0], "depth": 6, "rate": 0.01, "steps": 40},
    full={"alphas": [0.1, 0.5, 2.0], "depth": 6, "rate": 0.01, "steps": 120},
    decisions={
        "replaces_layer_norm": replaces_layer_norm,
        "start_matters": start_matters,
        "training_mends_the_start": training_mends_the_start,
    },
)

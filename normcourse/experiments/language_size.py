"""Deeper nets and longer sequences: does batch normalization fail on text there?

The causal Transformer of ``language_norms`` on ordinary text, batch against layer normalization,
with depth as one dial and length as the other. Eight sequences make a batch at every size, so that
longer ones bring more values per mean.

Equal steps at one learning rate, layer normalization's own best: in a trial of 400 steps on a seed
outside the record it did better at 0.02 than at 0.005 and 0.05, at all three sizes. Batch
normalization was up to 0.03 nats better at 0.05, so that the rate, if anything, is to its harm.

Sources: Shen et al., "PowerNorm: Rethinking Batch Normalization in Transformers", 2020; Ioffe &
Szegedy 2015.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from normcourse.experiments.experiment import Experiment
from normcourse.experiments.result import Effect, Result, Row, Spread, Verdict, spread
from normcourse.experiments.sequence_norms import (
    Batch,
    Draw,
    draws,
    fit,
    language_net,
    loss_in,
    norm_layers,
    pieces_of,
    wander,
)
from normcourse.experiments.text import load_text

SEQUENCES, TEST = 8, 128  # per batch, and to test with


def draw_from(text: Tensor, length: int, generator: torch.Generator) -> Draw:
    """Return what draws batches of sequences, each from a place of its own."""

    def draw() -> Batch:
        return pieces_of(
            text, length=length, sequences=SEQUENCES, places=SEQUENCES, generator=generator
        )

    return draw


def run(seed: int, *, sizes: list[list[int]], lr: float, steps: int) -> Iterator[Row]:
    """Yield a row per size and norm: losses in nats, and how far batch means wander.

    ``loss`` is the loss on test text in inference mode, ``loss_batch`` that in training mode.
    ``wander`` tells how far the means of batches wander in the trained net, ``independent`` how far
    those of as many independent values would.

    Args:
        seed: of weights and text.
        sizes: number of blocks and letters per sequence of each.
        lr: largest learning rate.
        steps: of training.
    """
    text = load_text()
    for depth, length in sizes:
        for word in ("layer", "batch"):
            generator = torch.Generator().manual_seed(seed)
            net = language_net(seed, word, len(text.letters), length=length, depth=depth)
            draw = draw_from(text.train, length, generator)
            fit(net, draw, steps=steps, lr=lr)
            seen = (batch.letters for batch in draws(draw, 20))
            means = wander(net, norm_layers(net, word), seen)
            tested = torch.Generator().manual_seed(1000 + seed)  # the same for every norm
            test = list(draws(draw_from(text.test, length, tested), TEST // SEQUENCES))
            yield {
                "depth": depth,
                "length": length,
                "norm": word,
                "loss": loss_in(net, test, training=False),
                "loss_batch": loss_in(net, test, training=True),
                "wander": means.mean,
                "independent": means.independent,
            }


def behind(result: Result) -> Spread:
    """Return by how much batch norm's loss in inference exceeds layer norm's, for one size."""
    loss = {(row["seed"], row["norm"]): float(row["loss"]) for row in result.rows}
    return spread(loss[seed, "batch"] - loss[seed, "layer"] for seed in result.seeds)


def inference_above_training(result: Result) -> Spread:
    """Return by how much batch norm's loss in inference exceeds that in training, for one size."""
    rows = result.where(norm="batch").rows
    return spread(float(row["loss"]) - float(row["loss_batch"]) for row in rows)


def times_independent(result: Result, norm: str = "layer") -> Spread:
    """Return how many times as far means wander as those of independent values, for one size."""
    rows = result.where(norm=norm).rows
    return spread(float(row["wander"]) / float(row["independent"]) for row in rows)


def by_depth(result: Result) -> dict[str, Result]:
    """Return the rows of each number of blocks at the usual length, fewest first."""
    usual = result.where(length=min(result.distinct("length")))
    return {f"{n} blocks": usual.where(depth=n) for n in sorted(usual.distinct("depth"))}


def by_length(result: Result) -> dict[str, Result]:
    """Return the rows of each length at the usual depth, shortest first."""
    usual = result.where(depth=min(result.distinct("depth")))
    return {f"{n} letters": usual.where(length=n) for n in sorted(usual.distinct("length"))}


def _fails(sizes: dict[str, Result]) -> Verdict:
    gaps = {size: behind(rows) for size, rows in sizes.items()}
    effects = tuple(
        Effect(f"batch norm behind layer norm, {size}", gap, "nats") for size, gap in gaps.items()
    )
    first, *_, last = (gap.median for gap in gaps.values())
    if max(gap.median for gap in gaps.values()) <= 0.03:
        return Verdict("refuted", effects)
    return Verdict("supported" if last >= 0.1 and last - first >= 0.05 else "mixed", effects)


def depth_fails(result: Result) -> Verdict:
    """Does batch normalization fall behind layer normalization on text in deeper nets?

    Supported if in the deepest net its loss in inference is 0.1 nats or more above that of layer
    normalization, and 0.05 or more further above than in the shallowest; refuted if at every depth
    it is at most 0.03 above; else mixed. Medians of differences within seeds.
    """
    return _fails(by_depth(result))


def length_fails(result: Result) -> Verdict:
    """Does batch normalization fall behind layer normalization on longer sequences of text?

    Supported if at the greatest length its loss in inference is 0.1 nats or more above that of
    layer normalization, and 0.05 or more further above than at the smallest; refuted if at every
    length it is at most 0.03 above; else mixed. Medians of differences within seeds.
    """
    return _fails(by_length(result))


def modes_part(result: Result) -> Verdict:
    """Is batch normalization worse in inference than in training mode in deep nets or at length?

    Supported if in the deepest net or at the greatest length its loss in inference is 0.03 nats or
    more above that in training mode; refuted if at no depth and no length; else mixed. Medians of
    differences within seeds.
    """
    deep, long = by_depth(result), by_length(result)
    found = {size: inference_above_training(rows) for size, rows in {**deep, **long}.items()}
    effects = tuple(
        Effect(f"inference above training mode, {size}", gap, "nats") for size, gap in found.items()
    )
    apart = {size for size, gap in found.items() if gap.median >= 0.03}
    if not apart:
        return Verdict("refuted", effects)
    held = apart & {list(deep)[-1], list(long)[-1]}
    return Verdict("supported" if held else "mixed", effects)


def wandering_grows(result: Result) -> Verdict:
    """Do the means of batches wander further in deeper nets?

    Supported if with layer normalization they wander one and a half times as far in the deepest net
    as in the shallowest, in standard deviations of single values; refuted if at most 1.1 times as
    far; else mixed. Medians.
    """
    found = {size: times_independent(rows) for size, rows in by_depth(result).items()}
    effects = tuple(
        Effect(f"means wander, times independent values, {n}", s) for n, s in found.items()
    )
    first, *_, deepest = (one.median for one in found.values())
    if deepest >= 1.5 * first:
        return Verdict("supported", effects)
    return Verdict("refuted" if deepest <= 1.1 * first else "mixed", effects)


EXPERIMENT = Experiment(
    name="language_size",
    question="Does batch normalization fail on text in deeper nets, or on longer sequences?",
    run=run,
    live={"sizes": [[1, 32], [2, 32], [1, 64]], "lr": 2e-2, "steps": 40},
    full={"sizes": [[2, 32], [8, 32], [2, 128]], "lr": 2e-2, "steps": 200},
    decisions={
        "depth_fails": depth_fails,
        "length_fails": length_fails,
        "modes_part": modes_part,
        "wandering_grows": wandering_grows,
    },
)

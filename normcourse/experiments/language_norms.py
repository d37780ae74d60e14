"""Batch and layer normalization in a small causal Transformer over letters.

The text is Python's language reference, half of its sequences in capitals. Three ways to make a
batch of it: every sequence ordinary ("plain"), capitals drawn for each sequence ("mixed"), or drawn
for the whole batch ("sorted"). Mixed and sorted batches hold the same text and as many values per
mean; only the company differs, and with it how far the statistics of batches wander. A fourth, one
ordinary sequence alone ("single"), has few values per mean.

Tested on text of another part, in batches made alike, in both modes. How far batch means wander is
measured in the fresh net and in the trained one, in standard deviations of single values.

Sources: Shen et al., "PowerNorm: Rethinking Batch Normalization in Transformers", 2020 (batch
statistics of language wander); Ioffe & Szegedy 2015; Ba, Kiros & Hinton 2016.
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
from normcourse.experiments.text import Text, load_text

LENGTH, TEST = 32, 256
SEQUENCES = {"plain": 8, "mixed": 8, "sorted": 8, "single": 1}  # per batch


def capitals(text: Text) -> Tensor:
    """Return the number of each letter's capital, its own where it has none, shape (letters,).

    Example:
        >>> text = load_text()
        >>> upper = capitals(text)
        >>> "".join(text.letters[upper[text.letters.index(c)]] for c in "aZ1")
        'AZ1'
    """
    number = {letter: k for k, letter in enumerate(text.letters)}
    return torch.tensor([number.get(letter.upper(), k) for letter, k in number.items()])


def draw_from(text: Tensor, upper: Tensor, company: str, generator: torch.Generator) -> Draw:
    """Return what draws batches of a text: "plain", "mixed", "sorted" or "single"."""
    sequences = SEQUENCES[company]

    def draw() -> Batch:
        batch = pieces_of(
            text, length=LENGTH, sequences=sequences, places=sequences, generator=generator
        )
        if company not in ("mixed", "sorted"):
            return batch
        loud = torch.rand(sequences if company == "mixed" else 1, generator=generator) < 0.5
        loud = loud.expand(sequences)[:, None]  # (B, 1)
        letters = torch.where(loud, upper[batch.letters], batch.letters)
        targets = torch.where(loud, upper[batch.targets], batch.targets)
        return Batch(letters, targets, batch.mask)

    return draw


def run(
    seed: int, *, arms: dict[str, list[str]], steps: int, lr: float, depth: int
) -> Iterator[Row]:
    """Yield a row per company and norm: losses in nats, and how far batch means wander.

    ``loss`` is the loss on test text in inference mode, ``loss_batch`` that in training mode.
    ``wander_fresh`` and ``wander`` tell how far batch means wander before and after training,
    ``independent`` how far those of as many independent values would.

    Args:
        seed: of weights and text.
        arms: company to words of norms.
        steps: of training.
        lr: largest learning rate.
        depth: number of blocks.
    """
    text = load_text()
    upper = capitals(text)
    for company, words in arms.items():
        for word in words:
            generator = torch.Generator().manual_seed(seed)
            net = language_net(seed, word, len(text.letters), length=LENGTH, depth=depth)
            draw = draw_from(text.train, upper, company, generator)
            layers = norm_layers(net, word)
            fresh = wander(net, layers, (batch.letters for batch in draws(draw, 20)))
            fit(net, draw, steps=steps, lr=lr)
            after = wander(net, layers, (batch.letters for batch in draws(draw, 20)))
            tested = torch.Generator().manual_seed(1000 + seed)  # the same for every norm
            test = list(
                draws(draw_from(text.test, upper, company, tested), TEST // SEQUENCES[company])
            )
            yield {
                "company": company,
                "norm": word,
                "loss": loss_in(net, test, training=False),
                "loss_batch": loss_in(net, test, training=True),
                "wander_fresh": fresh.mean,
                "wander": after.mean,
                "independent": after.independent,
            }


def behind(result: Result, company: str, norm: str = "batch") -> Spread:
    """Return by how much a norm's loss in inference exceeds layer normalization's, per seed."""
    rows = result.where(company=company).rows
    loss = {(row["seed"], row["norm"]): float(row["loss"]) for row in rows}
    return spread(loss[seed, norm] - loss[seed, "layer"] for seed in result.seeds)


def times_independent(result: Result, company: str, norm: str = "layer") -> Spread:
    """Return how many times as far means wander as those of independent values, trained net."""
    rows = result.where(company=company, norm=norm).rows
    return spread(float(row["wander"]) / float(row["independent"]) for row in rows)


def batch_norm_fails(result: Result) -> Verdict:
    """Does batch normalization fail on ordinary text, eight sequences at a time?

    Supported if its loss in inference is 0.1 nats or more above that of layer normalization,
    refuted if at most 0.03 above, else mixed. Median of differences within seeds.
    """
    found = behind(result, "plain")
    effects = (Effect("batch norm behind layer norm, ordinary text", found, "nats"),)
    if found.median >= 0.1:
        return Verdict("supported", effects)
    return Verdict("refuted" if found.median <= 0.03 else "mixed", effects)


def wandering_hurts(result: Result) -> Verdict:
    """At as many values per mean, does batch normalization fall behind where statistics wander?

    Supported if in sorted batches means wander at least one and a half times as far as in mixed
    ones, in the net with layer normalization, and batch normalization is 0.1 nats or more further
    behind layer normalization there; refuted if they do wander so and it is at most 0.03 further
    behind; else mixed. Medians, of differences within seeds.
    """
    far = {c: times_independent(result, c) for c in ("mixed", "sorted")}
    gaps = {c: behind(result, c) for c in ("mixed", "sorted")}
    effects = (
        *(Effect(f"means wander, times independent values, {c}", s) for c, s in far.items()),
        *(Effect(f"batch norm behind layer norm, {c}", s, "nats") for c, s in gaps.items()),
    )
    further = gaps["sorted"].median - gaps["mixed"].median
    if far["sorted"].median < 1.5 * far["mixed"].median or 0.03 < further < 0.1:
        return Verdict("mixed", effects)
    return Verdict("supported" if further >= 0.1 else "refuted", effects)


def count_decides(result: Result) -> Verdict:
    """Does batch normalization fail on text because few values share a mean?

    Supported if it is 0.1 nats or more behind layer normalization with one sequence per batch and
    at most 0.03 behind with eight, whatever the company; refuted if with eight sorted sequences it
    is at least as far behind as with a single one, or if with a single one it is at most 0.03
    behind; else mixed. Medians of differences within seeds.
    """
    gaps = {c: behind(result, c) for c in ("single", "mixed", "sorted")}
    effects = tuple(
        Effect(f"batch norm behind layer norm, {c}", s, "nats") for c, s in gaps.items()
    )
    single, mixed, all_alike = (gaps[c].median for c in ("single", "mixed", "sorted"))
    if single <= 0.03 or all_alike >= single:
        return Verdict("refuted", effects)
    held = single >= 0.1 and max(mixed, all_alike) <= 0.03
    return Verdict("supported" if held else "mixed", effects)


def modes_part(result: Result) -> Verdict:
    """Is batch normalization worse in inference than in training mode on text?

    Supported if in every company its loss in inference is 0.03 nats or more above that in training
    mode, refuted if in none, else mixed. Medians of differences within seeds.
    """
    found = {}
    for company in result.distinct("company"):
        rows = result.where(company=company, norm="batch").rows
        found[company] = spread(float(r["loss"]) - float(r["loss_batch"]) for r in rows)
    effects = tuple(
        Effect(f"inference above training mode, {c}", s, "nats") for c, s in found.items()
    )
    worse = [s.median >= 0.03 for s in found.values()]
    return Verdict("supported" if all(worse) else "mixed" if any(worse) else "refuted", effects)


def positions_mend(result: Result) -> Verdict:
    """Do statistics for each position give back what batch normalization loses in sorted batches?

    Supported if they are at most 0.03 nats behind layer normalization, refuted if 0.1 or more, else
    mixed. Median of differences within seeds.
    """
    found = behind(result, "sorted", "per position")
    effects = (Effect("per position behind layer norm, sorted", found, "nats"),)
    if found.median <= 0.03:
        return Verdict("supported", effects)
    return Verdict("refuted" if found.median >= 0.1 else "mixed", effects)


EXPERIMENT = Experiment(
    name="language_norms",
    question="When does batch normalization fail in a small Transformer over letters?",
    run=run,
    live={
        "arms": {"mixed": ["layer", "batch"], "sorted": ["layer", "batch"]},
        "steps": 80,
        "lr": 5e-3,
        "depth": 1,
    },
    full={
        "arms": {
            "plain": ["layer", "batch"],
            "mixed": ["layer", "batch"],
            "sorted": ["layer", "batch", "per position"],
            "single": ["layer", "batch"],
        },
        "steps": 120,
        "lr": 5e-3,
        "depth": 2,
    },
    decisions={
        "batch_norm_fails": batch_norm_fails,
        "wandering_hurts": wandering_hurts,
        "count_decides": count_decides,
        "modes_part": modes_part,
        "positions_mend": positions_mend,
    },
)

"""Lines of text, padded to one length: is padding what batch normalization fails by?

A causal Transformer reads lines of Python's language reference, each cut at a random length so that
short ones are as many as long ones by ratio, sixteen at a time, filled up to the longest with a
letter that means nothing. Attention looks back and padding stands at the end, so
only a norm can carry it to real letters. Batch normalization counts it or masks it; layer
normalization looks at one letter.

Sources: Ioffe & Szegedy 2015, over the tokens that exist; Shen et al. 2020.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from normcourse.experiments.experiment import Experiment
from normcourse.experiments.result import Effect, Result, Row, Spread, Verdict, spread
from normcourse.experiments.sequence_norms import (
    Batch,
    Draw,
    fit,
    language_net,
    lines_of,
    loss_in,
    padded,
)
from normcourse.experiments.text import load_text

LEAST, MOST, SEQUENCES, TEST = 4, 48, 16, 256


def draw_lines(lines: list[torch.Tensor], padding: int, generator: torch.Generator) -> Draw:
    """Return what draws padded batches of lines."""

    def draw() -> Batch:
        chosen = torch.randint(len(lines), (SEQUENCES,), generator=generator).tolist()
        share = torch.rand(SEQUENCES, generator=generator)
        lengths = (LEAST * (MOST / LEAST) ** share).round().int().tolist()
        return padded([lines[k][:n] for k, n in zip(chosen, lengths, strict=True)], padding)

    return draw


def run(seed: int, *, norms: list[str], steps: int, lr: float) -> Iterator[Row]:
    """Yield a row per norm: losses in nats on test lines, and the share of padding.

    ``loss`` is that in inference mode, ``loss_batch`` that in training mode.
    """
    text = load_text()
    newline = text.letters.index("\n")
    padding = len(text.letters)
    train, test = (
        lines_of(part, newline, least=LEAST, most=MOST) for part in (text.train, text.test)
    )
    for word in norms:
        generator = torch.Generator().manual_seed(seed)
        net = language_net(seed, word, padding + 1, length=MOST, depth=2)
        fit(net, draw_lines(train, padding, generator), steps=steps, lr=lr)
        draw = draw_lines(test, padding, torch.Generator().manual_seed(1000 + seed))
        batches = [draw() for _ in range(TEST // SEQUENCES)]
        real = sum(int(batch.mask.sum()) for batch in batches)
        yield {
            "norm": word,
            "loss": loss_in(net, batches, training=False),
            "loss_batch": loss_in(net, batches, training=True),
            "padding": 1 - real / sum(batch.mask.numel() for batch in batches),
        }


def behind(result: Result, norm: str, against: str) -> Spread:
    """Return by how much one norm's loss in inference exceeds another's, per seed."""
    loss = {(row["seed"], row["norm"]): float(row["loss"]) for row in result.rows}
    return spread(loss[seed, norm] - loss[seed, against] for seed in result.seeds)


def padding_is_why(result: Result) -> Verdict:
    """Does batch normalization fail on padded lines, and is the padding why?

    Supported if counting the padding leaves it 0.05 nats or more behind layer normalization and a
    mask brings it within 0.02; refuted if it is at most 0.02 behind without a mask, or still 0.05
    behind with one; else mixed. Medians of differences within seeds.
    """
    counted, masked = behind(result, "batch", "layer"), behind(result, "masked", "layer")
    effects = (
        Effect("batch norm behind layer norm, padding counted", counted, "nats"),
        Effect("batch norm behind layer norm, padding masked", masked, "nats"),
        Effect("share of padding", result.spread("padding")),
    )
    if counted.median <= 0.02 or masked.median >= 0.05:
        return Verdict("refuted", effects)
    held = counted.median >= 0.05 and masked.median <= 0.02
    return Verdict("supported" if held else "mixed", effects)


EXPERIMENT = Experiment(
    name="padded_language",
    question="Is padding what batch normalization fails by in a Transformer over lines of text?",
    run=run,
    live={"norms": ["layer", "batch", "masked"], "steps": 60, "lr": 5e-3},
    full={"norms": ["layer", "batch", "masked"], "steps": 100, "lr": 5e-3},
    decisions={"padding_is_why": padding_is_why},
)

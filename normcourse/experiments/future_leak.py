"""Letters that nobody can foresee, and nets that foresee them: statistics over time leak.

Letters are drawn at random, each of four as likely as the others and independent of all before it.
Guessing the next one costs log 4 nats on average, for anyone who sees the past alone. A causal
Transformer, whose attention cannot look ahead, is trained on fresh letters; only its norm differs.
Whatever it gets below log 4 came through the statistics. Then every guess is made anew with the
letters before it alone, as in writing: there the future is not there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from normcourse.experiments.experiment import Experiment
from normcourse.experiments.result import Effect, Result, Row, Spread, Verdict
from normcourse.experiments.sequence_norms import (
    Batch,
    batch_loss,
    fit,
    language_net,
    scores_of,
)

LETTERS, LENGTH, TEST = 4, 8, 256
CHANCE = math.log(LETTERS)  # nats: nobody who sees the past alone can do better on average


def random_letters(sequences: int, generator: torch.Generator) -> Batch:
    """Return independent letters, each as likely as the others.

    Example:
        >>> random_letters(3, torch.Generator().manual_seed(0)).letters.shape
        torch.Size([3, 8])
    """
    drawn = torch.randint(LETTERS, (sequences, LENGTH + 1), generator=generator)
    mask = torch.ones(sequences, LENGTH, dtype=torch.bool)
    return Batch(drawn[:, :-1], drawn[:, 1:], mask)


@torch.no_grad()
def loss_at_once(net: nn.Module, batches: list[Batch]) -> float:
    """Return the loss in training mode, whole sequences at a time, as training sees it."""
    kept = {name: buffer.clone() for name, buffer in net.named_buffers()}
    net.train()
    loss = sum(batch_loss(net, batch).item() for batch in batches) / len(batches)
    for name, buffer in net.named_buffers():
        buffer.copy_(kept[name])
    return loss


@torch.no_grad()
def loss_when_writing(net: nn.Module, batches: list[Batch]) -> float:
    """Return the loss where each letter is guessed from those before it alone, inference mode."""
    letters, targets, mask = (torch.cat(parts) for parts in zip(*batches, strict=True))
    net.eval()
    losses: list[Tensor] = []
    for t in range(LENGTH):
        upto = Batch(letters[:, : t + 1], targets[:, : t + 1], mask[:, : t + 1])
        last = scores_of(net, upto)[:, -1]
        losses.append(nn.functional.cross_entropy(last, targets[:, t]))
    return torch.stack(losses).mean().item()


def run(seed: int, *, arms: dict[str, list[int]], steps: int, lr: float) -> Iterator[Row]:
    """Yield a row per norm and number of sequences: the losses of training and of writing.

    ``training`` is the loss in training mode on fresh letters, ``writing`` that of guessing from
    the letters before alone, both in nats.

    Args:
        seed: of weights and letters.
        arms: word of a norm to numbers of sequences per batch.
        steps: of training.
        lr: largest learning rate.
    """
    for word, sizes in arms.items():
        for size in sizes:
            generator = torch.Generator().manual_seed(seed)
            net = language_net(seed, word, LETTERS, length=LENGTH, depth=1)

            def draw(size: int = size, generator: torch.Generator = generator) -> Batch:
                return random_letters(size, generator)

            fit(net, draw, steps=steps, lr=lr)
            batches = [draw() for _ in range(max(1, TEST // size))]
            yield {
                "norm": word,
                "sequences": size,
                "training": loss_at_once(net, batches),
                "writing": loss_when_writing(net, batches),
            }


def below_chance(result: Result, norm: str, size: int) -> Spread:
    """Return by how much the training loss lies below what the past alone allows, in nats."""
    rows = result.where(norm=norm, sequences=size)
    loss = rows.spread("training")
    return Spread(CHANCE - loss.median, CHANCE - loss.high, CHANCE - loss.low, loss.seeds)


def statistics_leak(result: Result) -> Verdict:
    """Do statistics over time let a causal net see the future while it trains?

    Supported if the training loss falls 0.05 nats or more below chance with statistics over time,
    and less than 0.01 below with layer normalization and with statistics over the past; refuted if
    it falls less than 0.01 below with statistics over time; else mixed. Medians over seeds.
    """
    sizes = {
        norm: result.where(norm=norm).distinct("sequences") for norm in result.distinct("norm")
    }
    found = {
        norm: below_chance(result, norm, max(sizes[norm]))
        for norm in ("over time", "layer", "over the past")
    }
    effects = tuple(Effect(f"below chance, {norm}", s, "nats") for norm, s in found.items())
    if found["over time"].median < 0.01:
        return Verdict("refuted", effects)
    honest = max(found["layer"].median, found["over the past"].median) < 0.01
    held = found["over time"].median >= 0.05 and honest
    return Verdict("supported" if held else "mixed", effects)


def batch_norm_leaks(result: Result) -> Verdict:
    """Does batch normalization leak the future in training, the more the fewer the sequences?

    Supported if the training loss lies 0.05 nats or more below chance at the smallest number of
    sequences and less than half as far at the largest; refuted if less than 0.01 at the smallest;
    else mixed. Medians over seeds.
    """
    sizes = result.where(norm="batch").distinct("sequences")
    found = {size: below_chance(result, "batch", size) for size in sizes}
    effects = tuple(
        Effect(f"below chance, batch norm, {size} sequences", s, "nats")
        for size, s in found.items()
    )
    few, many = found[min(sizes)].median, found[max(sizes)].median
    if few < 0.01:
        return Verdict("refuted", effects)
    return Verdict("supported" if few >= 0.05 and many < few / 2 else "mixed", effects)


def writing_pays(result: Result) -> Verdict:
    """Does a net that learned to use the leak do worse than chance when it has to write?

    Supported if with statistics over time the loss of writing is 0.05 nats or more above chance,
    refuted if less than 0.01, else mixed. Medians over seeds.
    """
    size = max(result.where(norm="over time").distinct("sequences"))
    loss = result.where(norm="over time", sequences=size).spread("writing")
    above = Spread(loss.median - CHANCE, loss.low - CHANCE, loss.high - CHANCE, loss.seeds)
    effects = (Effect("above chance in writing, over time", above, "nats"),)
    if above.median >= 0.05:
        return Verdict("supported", effects)
    return Verdict("refuted" if above.median < 0.01 else "mixed", effects)


EXPERIMENT = Experiment(
    name="future_leak",
    question="Can a causal net foresee letters that are drawn at random?",
    run=run,
    live={"arms": {"layer": [16], "over time": [16]}, "steps": 100, "lr": 5e-3},
    full={
        "arms": {
            "layer": [16],
            "over the past": [16],
            "over time": [16],
            "per position": [16],
            "batch": [1, 2, 4, 16],
        },
        "steps": 200,
        "lr": 5e-3,
    },
    decisions={
        "statistics_leak": statistics_leak,
        "batch_norm_leaks": batch_norm_leaks,
        "writing_pays": writing_pays,
    },
)

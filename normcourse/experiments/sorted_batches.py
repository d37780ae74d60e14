"""Batches of a few classes only: what a norm over the batch learns from them.

A loader that goes through the classes one after the other gives batches that are no random draw,
and so does one whose batches hold a few classes drawn at random. The net is trained on such batches
and then asked in inference mode, in training mode on batches made as those of the training and on
batches from all classes, and in inference mode once more after the running statistics were computed
anew from shuffled images.

Source: Ioffe, "Batch Renormalization", 2017 (batches that are not independent draws).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from normcourse.experiments.data import load_digits
from normcourse.experiments.experiment import Experiment
from normcourse.experiments.models import mlp
from normcourse.experiments.result import Effect, Result, Row, Spread, Verdict, spread
from normcourse.experiments.train import Draw, accuracy, train
from normcourse.surgery import recalibrate

BATCH, WIDTH, DEPTH = 32, 64, 2
CLASSES = 10


def some_classes(t: Tensor, num_classes: int, size: int, generator: torch.Generator) -> Tensor:
    """Return the indices of a batch that holds ``num_classes`` classes, drawn at random.

    Example:
        >>> t = torch.arange(10).repeat(20)
        >>> batch = some_classes(t, 2, 8, torch.Generator().manual_seed(0))
        >>> len(batch), len(t[batch].unique())
        (8, 2)
    """
    chosen = torch.randperm(CLASSES, generator=generator)[:num_classes]
    parts = []
    for k, label in enumerate(chosen):
        members = torch.nonzero(t == label).flatten()
        count = size // num_classes + (k < size % num_classes)
        parts.append(members[torch.randperm(len(members), generator=generator)[:count]])
    return torch.cat(parts)


def run(
    seed: int, *, classes: list[int], norms: list[str], steps: int, lr: float, checks: int
) -> Iterator[Row]:
    """Yield a row per norm and number of classes per batch; 0 is the loader sorted by class.

    ``inference`` is the accuracy on the test images in inference mode, ``renewed`` that after the
    running statistics were computed anew; ``alike`` that in training mode on batches composed as in
    training (of one class for the sorted loader), ``mixed`` that in training mode on random ones.
    """
    for norm in norms:
        for num_classes in classes:
            generator = torch.Generator().manual_seed(seed)
            digits = load_digits(generator)
            net = mlp(generator, 64, CLASSES, depth=DEPTH, width=WIDTH, norm=norm)

            train(
                net,
                digits.train_x,
                digits.train_t,
                steps=steps,
                lr=lr,
                draw=_loader(digits.train_t, num_classes, generator),
                generator=generator,
            )
            asked = {"alike": num_classes or 1, "mixed": CLASSES}
            row: Row = {"norm": norm, "classes": num_classes}
            row["inference"] = accuracy(net, digits.test_x, digits.test_t)
            for name, k in asked.items():
                row[name] = _accuracy_of_batches(
                    net, digits.test_x, digits.test_t, k, checks, generator
                )
            if norm == "batch":
                shuffled = torch.randperm(len(digits.train_x), generator=generator)
                recalibrate(net, torch.split(digits.train_x[shuffled], 256))
                row["renewed"] = accuracy(net, digits.test_x, digits.test_t)
            yield row


def _loader(t: Tensor, num_classes: int, generator: torch.Generator) -> Draw:
    """Return what gives the batch of a step: of some classes, or the next in order of class."""
    if num_classes:
        return lambda step: some_classes(t, num_classes, BATCH, generator)
    order = torch.argsort(t, stable=True)
    whole = len(order) // BATCH  # batches per round
    return lambda step: order[step % whole * BATCH :][:BATCH]


@torch.no_grad()
def _accuracy_of_batches(
    net: nn.Module, x: Tensor, t: Tensor, k: int, checks: int, generator: torch.Generator
) -> float:
    """Return the accuracy in training mode over some batches of k classes."""
    kept = {name: buffer.clone() for name, buffer in net.named_buffers()}
    net.train()
    right = []
    for _ in range(checks):
        batch = some_classes(t, k, BATCH, generator)
        right.append(net(x[batch]).argmax(1) == t[batch])
    for name, buffer in net.named_buffers():
        buffer.copy_(kept[name])
    return float(torch.cat(right).float().mean())


def gap(result: Result, norm: str, classes: int) -> Spread:
    """Return accuracy on batches like those of the training minus that in inference mode."""
    rows = result.where(norm=norm, classes=classes).rows
    return spread(float(row["alike"]) - float(row["inference"]) for row in rows)


def one_class(result: Result) -> Verdict:
    """Do batches of one class each ruin batch normalization, where layer normalization learns?

    Supported if with one class per batch it is 10 points or more behind layer normalization in
    inference mode, and with all ten less than 2; refuted if the first is less than 2; else mixed.
    Medians of differences within seeds.
    """
    one, all_ = behind_layer(result, 1), behind_layer(result, CLASSES)
    effects = (
        Effect("accuracy behind layer normalization, one class per batch", one),
        Effect("accuracy behind layer normalization, all classes", all_),
    )
    if one.median >= 0.1 and all_.median < 0.02:
        return Verdict("supported", effects)
    return Verdict("refuted" if one.median < 0.02 else "mixed", effects)


def train_eval_gap(result: Result) -> Verdict:
    """Do nets trained on batches of two classes do well on such batches and fail in inference mode?

    Supported if batch normalization's accuracy on such batches in training mode is 10 points or
    more above that in inference mode, refuted if it is less than 2 points above or below it, else
    mixed. Medians of differences within seeds.
    """
    batch = gap(result, "batch", 2)
    effects = (
        Effect("gap of batch normalization, two classes per batch", batch),
        Effect("gap of batch normalization, all classes", gap(result, "batch", CLASSES)),
    )
    if batch.median >= 0.1:
        return Verdict("supported", effects)
    return Verdict("refuted" if batch.median < 0.02 else "mixed", effects)


def behind_layer(result: Result, classes: int) -> Spread:
    """Return by how much batch normalization is behind layer normalization in inference mode."""
    right = {
        norm: {
            int(row["seed"]): float(row["inference"])
            for row in result.where(norm=norm, classes=classes).rows
        }
        for norm in ("layer", "batch")
    }
    return spread(right["layer"][seed] - right["batch"][seed] for seed in right["batch"])


def sorted_loader(result: Result) -> Verdict:
    """Does a loader sorted by class spoil inference through the running statistics?

    Supported if batch normalization is 10 points or more behind layer normalization in inference
    mode and running statistics from shuffled images give back at least half of that; refuted if it
    is less than 5 points behind; else mixed. Medians of differences within seeds.
    """
    behind = behind_layer(result, 0)
    batch = result.where(norm="batch", classes=0).rows
    back = spread(float(row["renewed"]) - float(row["inference"]) for row in batch)
    effects = (
        Effect("accuracy behind layer normalization, sorted loader", behind),
        Effect("accuracy gained by new running statistics", back),
    )
    if behind.median < 0.05:
        return Verdict("refuted", effects)
    mended = behind.median >= 0.1 and back.median >= behind.median / 2
    return Verdict("supported" if mended else "mixed", effects)


EXPERIMENT = Experiment(
    name="sorted_batches",
    question="What does batch normalization learn from batches of a few classes?",
    run=run,
    live={"classes": [0, 10], "norms": ["batch"], "steps": 200, "lr": 0.1, "checks": 20},
    full={
        "classes": [0, 1, 2, 3, 5, 10],
        "norms": ["batch", "layer"],
        "steps": 440,
        "lr": 0.1,
        "checks": 60,
    },
    decisions={
        "one_class": one_class,
        "train_eval_gap": train_eval_gap,
        "sorted_loader": sorted_loader,
    },
)

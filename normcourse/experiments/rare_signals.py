"""A rare class under batch statistics: does batch normalization suppress what is seldom seen?

One class of the digits is thinned out to a small share of the training images. How often is it
recognised on test images, compared with nets that have no norm or layer normalization? Each net
has a choice of learning rates; the one that errs least on the *other* classes counts, so that the
rare class has no say in the choice.

Source: none that supports the claim was found; the experiment is this course's own.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from normcourse.experiments.data import load_digits
from normcourse.experiments.experiment import Experiment
from normcourse.experiments.models import mlp
from normcourse.experiments.result import Effect, Result, Row, Spread, Verdict, spread
from normcourse.experiments.train import train

WIDTH, DEPTH = 64, 2


def run(
    seed: int,
    *,
    norms: list[str],
    kept: list[int],
    rates: list[float],
    steps: int,
    batch_size: int,
) -> Iterator[Row]:
    """Yield a row per norm, learning rate and number of images kept of the rare class.

    The rare class is the seed's last digit. ``recall`` is the share of its test images that are
    recognised, ``error`` the share of wrong answers on those of the other classes; ``share`` is
    that of the rare class among the training images.
    """
    rare = seed % 10
    for norm in norms:
        for rate in rates:
            for images in kept:
                generator = torch.Generator().manual_seed(seed)
                digits = load_digits(generator)
                members = torch.nonzero(digits.train_t == rare).flatten()
                others = torch.nonzero(digits.train_t != rare).flatten()
                chosen = torch.cat([members[:images], others])
                net = mlp(generator, 64, 10, depth=DEPTH, width=WIDTH, norm=norm)
                train(
                    net,
                    digits.train_x[chosen],
                    digits.train_t[chosen],
                    steps=steps,
                    batch_size=batch_size,
                    lr=rate,
                    generator=generator,
                )
                with torch.no_grad():
                    guesses = net.eval()(digits.test_x).argmax(1)
                is_rare = digits.test_t == rare
                yield {
                    "norm": norm,
                    "rate": rate,
                    "kept": images,
                    "share": min(images, len(members)) / len(chosen),
                    "recall": (guesses[is_rare] == rare).float().mean().item(),
                    "error": (guesses != digits.test_t)[~is_rare].float().mean().item(),
                }


def best_rate(result: Result, norm: str) -> float:
    """Return the learning rate with the fewest errors on the classes that are not rare."""
    rates: list[float] = result.distinct("rate")
    return min(rates, key=lambda rate: result.spread("error", norm=norm, rate=rate).median)


def recall_gained(result: Result, norm: str, against: str, kept: int) -> Spread:
    """Return the recall with one norm minus that with another, per seed, each at its best rate."""
    recall: dict[str, dict[int, float]] = {}
    for word in (norm, against):
        rows = result.where(norm=word, rate=best_rate(result, word), kept=kept).rows
        recall[word] = {int(row["seed"]): float(row["recall"]) for row in rows}
    return spread(recall[norm][seed] - recall[against][seed] for seed in recall[norm])


def suppression(result: Result) -> Verdict:
    """Does batch normalization suppress a rare class?

    Judged at the smallest number of images where the net without norm recognises the rare class at
    least one time in ten. Supported if batch normalization recognises it at least 5 points less
    often than the net without norm; refuted if it is not 2 points below it; else mixed. Medians of
    differences within seeds.
    """
    plain = result.where(norm="none", rate=best_rate(result, "none"))
    enough = [k for k in plain.distinct("kept") if plain.spread("recall", kept=k).median >= 0.1]
    kept = min(enough) if enough else max(plain.distinct("kept"))
    none = recall_gained(result, "batch", "none", kept)
    effects = [Effect(f"recall gained over no norm, {kept} images", none)]
    if "layer" in result.distinct("norm"):
        layer = recall_gained(result, "batch", "layer", kept)
        effects.append(Effect(f"recall gained over layer normalization, {kept} images", layer))
    if none.median <= -0.05:
        return Verdict("supported", tuple(effects))
    return Verdict("refuted" if none.median > -0.02 else "mixed", tuple(effects))


EXPERIMENT = Experiment(
    name="rare_signals",
    question="Does batch normalization suppress a class that is seldom seen?",
    run=run,
    live={
        "norms": ["none", "batch"],
        "kept": [10],
        "rates": [0.1],
        "steps": 300,
        "batch_size": 32,
    },
    full={
        "norms": ["none", "batch", "layer"],
        "kept": [5, 10, 20, 40, 140],
        "rates": [0.1, 0.3],
        "steps": 500,
        "batch_size": 32,
    },
    decisions={"suppression": suppression},
)

"""When style is the label: what is left of it after instance normalization?

Each digit is shown in one of four styles, and the net is to say in which: four contrasts, four
exposures, or four colour casts. Chance is 25 %. Instance normalization stands after each
convolution, or before everything.

Two ways past a norm after a convolution are looked for. Zeros around an image are no part of its
style, so a border tells them apart; ``"instance, edges repeated"`` has no such border. And a
convolution mixes the channels, so that their gains are no common factor any more.

Source: Nam & Kim, "Batch-Instance Normalization for Adaptively Style-Invariant Neural Networks",
2018 (that style can be the label).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from normcourse.experiments.data import load_digits
from normcourse.experiments.experiment import Experiment
from normcourse.experiments.result import Effect, Result, Row, Verdict, spread
from normcourse.experiments.styled_digits import (
    ARMS,
    CHOOSING,
    KINDS,
    Part,
    best_net,
    percent_right,
    styled,
)

CHANCE = 25.0
STRENGTHS = (0.0, 0.25, 0.5, 0.75)  # the four contrasts and exposures
CASTS = ((0, 1, 2), (2, 1, 0), (1, 2, 0), (0, 2, 1))  # the four orders of the channels
CAST_STRENGTH = 0.5


def in_styles(x: Tensor, kind: str, generator: torch.Generator) -> Part:
    """Return each digit in a random one of the four styles, and which one that was."""
    t = torch.randint(4, (len(x),), generator=generator)
    if kind == "cast":
        strength, order = torch.full((len(x),), CAST_STRENGTH), torch.tensor(CASTS)[t]
    else:
        strength, order = torch.tensor(STRENGTHS)[t], torch.tensor(CASTS)[torch.zeros_like(t)]
    return Part(styled(x, kind, strength, order), t)


def run(
    seed: int, *, kinds: Sequence[str], arms: Sequence[str], rates: list[float], steps: int
) -> Iterator[Row]:
    """Yield for each kind of style and each net how often it names the style of test images.

    Args:
        seed: draws split, styles, weights and batches.
        kinds: words of ``KINDS``.
        arms: words of ``ARMS``.
        rates: learning rates to choose from.
        steps: of training, with batches of 64.
    """
    generator = torch.Generator().manual_seed(seed)
    digits = load_digits(generator)
    for kind in kinds:
        every = in_styles(digits.train_x, kind, generator)
        test = in_styles(digits.test_x, kind, generator)
        choose = Part(every.x[:CHOOSING], every.t[:CHOOSING])
        learn = Part(every.x[CHOOSING:], every.t[CHOOSING:])
        for arm in arms:
            net, rate = best_net(seed, ARMS[arm], learn, choose, rates=rates, steps=steps)
            yield {"kind": kind, "arm": arm, "rate": rate, "accuracy": percent_right(net, test)}


def _medians(result: Result, arm: str) -> tuple[list[float], tuple[Effect, ...]]:
    """Return an arm's median for each kind, and the effects that say so."""
    spreads = {
        kind: result.spread("accuracy", kind=kind, arm=arm) for kind in result.distinct("kind")
    }
    effects = tuple(Effect(f"{arm}, {kind}: right", one, "%") for kind, one in spreads.items())
    return [one.median for one in spreads.values()], effects


def first_destroys(result: Result) -> Verdict:
    """Does instance normalization of the input destroy a class that is style?

    Supported if for every kind the net with it first stays within 5 points of chance while batch
    normalization alone has 80 % or more; refuted if for some kind it has 80 % itself; else mixed.
    """
    first, one = _medians(result, "instance first")
    batch, two = _medians(result, "batch")
    if all(value <= CHANCE + 5 for value in first) and all(value >= 80 for value in batch):
        return Verdict("supported", one + two)
    return Verdict("refuted" if max(first) >= 80 else "mixed", one + two)


def inside_destroys(result: Result) -> Verdict:
    """Does instance normalization after each convolution, zero padding and all, destroy it too?

    Supported if for every kind that net stays within 5 points of chance; refuted if for some kind
    it has 80 % or more; else mixed.
    """
    inside, effects = _medians(result, "instance")
    if all(value <= CHANCE + 5 for value in inside):
        return Verdict("supported", effects)
    return Verdict("refuted" if max(inside) >= 80 else "mixed", effects)


def border_tells(result: Result) -> Verdict:
    """Is it the border of zeros by which contrast gets past the norm after a convolution?

    Supported if repeating the edge in place of zeros takes 20 points or more in the median over
    the seeds; refuted if it takes less than 5; else mixed.
    """
    chosen = result.where(kind="contrast")
    zeros, repeated = (
        {int(row["seed"]): float(row["accuracy"]) for row in chosen.where(arm=arm).rows}
        for arm in ("instance", "instance, edges repeated")
    )
    lost = spread(zeros[seed] - repeated[seed] for seed in sorted(zeros))
    effects = (Effect("contrast: points lost without the zeros", lost, "points"),)
    if lost.median >= 20:
        return Verdict("supported", effects)
    return Verdict("refuted" if lost.median < 5 else "mixed", effects)


EXPERIMENT = Experiment(
    name="style_label",
    question="When style is the label, what is left of it after instance normalization?",
    run=run,
    live={
        "kinds": ["contrast"],
        "arms": ["batch", "instance", "instance first"],
        "rates": [0.1],
        "steps": 150,
    },
    full={
        "kinds": list(KINDS),
        "arms": list(ARMS),
        "rates": [0.1, 0.3],
        "steps": 200,
    },
    decisions={
        "first_destroys": first_destroys,
        "inside_destroys": inside_destroys,
        "border_tells": border_tells,
    },
)

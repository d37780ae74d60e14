"""When style is in the way: digits in a light that the net was not trained in.

Nets learn to read digits as they are, and are tested on the same kind of digits with less contrast,
less light or a colour cast. Beside them stands a net with batch normalization that was trained on
digits in all these styles: the remedy that needs to know them beforehand.

Sources: Pan et al., "Two at Once: Enhancing Learning and Generalization Capacities via IBN-Net",
2018 (instance normalization for images of another look).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from normcourse.experiments.data import load_digits
from normcourse.experiments.experiment import Experiment
from normcourse.experiments.result import Effect, Result, Row, Spread, Verdict, spread
from normcourse.experiments.styled_digits import (
    ARMS,
    CHOOSING,
    KINDS,
    Part,
    best_net,
    orders,
    percent_right,
    styled,
)

MANY = "batch, many styles"  # the word of the net that was trained in all of them
AT = 0.75  # the strength that the rules look at
STRONGEST = 0.9  # of the styles that ``MANY`` is trained in


def in_strength(x: Tensor, kind: str, strength: float, generator: torch.Generator) -> Tensor:
    """Return all digits in one kind of style at one strength; a cast has a random order each."""
    return styled(x, kind, torch.full((len(x),), strength), orders(len(x), generator))


def in_many(x: Tensor, generator: torch.Generator) -> Tensor:
    """Return each digit in a style of random kind and strength."""
    strength = STRONGEST * torch.rand(len(x), generator=generator)
    order, kind = orders(len(x), generator), torch.randint(3, (len(x),), generator=generator)
    every = torch.stack([styled(x, name, strength, order) for name in KINDS])  # (3, N, 3, 8, 8)
    return every[kind, torch.arange(len(x))]


def run(
    seed: int,
    *,
    arms: Sequence[str],
    strengths: Sequence[float],
    rates: list[float],
    steps: int,
) -> Iterator[Row]:
    """Yield for each net its right answers in every style.

    Args:
        seed: draws split, styles, weights and batches.
        arms: words of ``ARMS``, and ``MANY``.
        strengths: of the test styles; 0 is the digits as they are.
        rates: learning rates to choose from.
        steps: of training, with batches of 64.
    """
    generator = torch.Generator().manual_seed(seed)
    digits = load_digits(generator)
    plain, many = digits.train_x.expand(-1, 3, -1, -1), in_many(digits.train_x, generator)
    tests = {
        (kind, strength): in_strength(digits.test_x, kind, strength, generator)
        for kind in KINDS
        for strength in strengths
    }
    for name in arms:
        x, arm = (many, ARMS["batch"]) if name == MANY else (plain, ARMS[name])
        choose = Part(x[:CHOOSING], digits.train_t[:CHOOSING])
        learn = Part(x[CHOOSING:], digits.train_t[CHOOSING:])
        net, rate = best_net(seed, arm, learn, choose, rates=rates, steps=steps)
        for (kind, strength), test in tests.items():
            right = percent_right(net, Part(test, digits.test_t))
            yield {
                "arm": name,
                "kind": kind,
                "strength": strength,
                "rate": rate,
                "accuracy": right,
            }


def lost(result: Result, arm: str, kind: str) -> Spread:
    """Return how many points a net loses at strength ``AT``, over the seeds."""
    chosen = result.where(arm=arm, kind=kind)
    plain, shifted = (
        {int(row["seed"]): float(row["accuracy"]) for row in chosen.where(strength=at).rows}
        for at in (0.0, AT)
    )
    return spread(plain[seed] - shifted[seed] for seed in sorted(plain))


def _losses(result: Result, arm: str) -> tuple[list[float], tuple[Effect, ...]]:
    """Return an arm's median loss for each kind, and the effects that say so."""
    spreads = {kind: lost(result, arm, kind) for kind in KINDS}
    effects = tuple(Effect(f"{arm}, {kind}: lost", one, "points") for kind, one in spreads.items())
    return [one.median for one in spreads.values()], effects


def saves_content(result: Result) -> Verdict:
    """Does instance normalization of the input save the digit where the style is new?

    Supported if for every kind the net with it first loses at most 2 points and batch
    normalization alone 10 or more; refuted if for some kind the first loses 10 or more; else mixed.
    """
    first, one = _losses(result, "instance first")
    batch, two = _losses(result, "batch")
    if max(first) <= 2 and min(batch) >= 10:
        return Verdict("supported", one + two)
    return Verdict("refuted" if max(first) >= 10 else "mixed", one + two)


def inside_saves(result: Result) -> Verdict:
    """Does instance normalization after each convolution save it as well?

    Supported if for every kind that net loses at most 2 points; refuted if for some kind it loses
    10 or more; else mixed.
    """
    inside, effects = _losses(result, "instance")
    if max(inside) <= 2:
        return Verdict("supported", effects)
    return Verdict("refuted" if max(inside) >= 10 else "mixed", effects)


def many_styles_do(result: Result) -> Verdict:
    """Does training in many styles do what instance normalization of the input does?

    Supported if at strength ``AT`` batch normalization trained in many styles is at most 2 points
    behind for every kind; refuted if it is 10 or more behind for some kind; else mixed.
    """
    behind = {}
    for kind in KINDS:
        chosen = result.where(kind=kind, strength=AT)
        first, many = (
            {int(row["seed"]): float(row["accuracy"]) for row in chosen.where(arm=arm).rows}
            for arm in ("instance first", MANY)
        )
        behind[kind] = spread(first[seed] - many[seed] for seed in sorted(first))
    effects = tuple(
        Effect(f"{kind}: many styles behind instance first", one, "points")
        for kind, one in behind.items()
    )
    medians = [one.median for one in behind.values()]
    if max(medians) <= 2:
        return Verdict("supported", effects)
    return Verdict("refuted" if max(medians) >= 10 else "mixed", effects)


EXPERIMENT = Experiment(
    name="style_shift",
    question="Does instance normalization save the digit where the light is new?",
    run=run,
    live={
        "arms": ["batch", "instance first"],
        "strengths": [0.0, 0.75],
        "rates": [0.1],
        "steps": 150,
    },
    full={
        "arms": [*ARMS, MANY],
        "strengths": [0.0, 0.25, 0.5, 0.75, 0.9],
        "rates": [0.1, 0.3],
        "steps": 300,
    },
    decisions={
        "saves_content": saves_content,
        "inside_saves": inside_saves,
        "many_styles_do": many_styles_do,
    },
)

"""The task that several experiments share: deep nets of 64 units read standardized digits."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from normcourse.experiments.data import Digits, load_digits
from normcourse.experiments.models import MakeNorm, mlp
from normcourse.experiments.result import Outcome, Spread, spread

PIXELS, CLASSES, WIDTH = 64, 10, 64
BATCH_SIZE = 128
LOST = 50.0  # a loss from which no run comes back in time
LAST = 10  # steps that one number of a training curve is the mean of

# With and without, by torch.nn, whose seconds are those that a reader would wait.
MAKERS: dict[str, str | MakeNorm] = {"none": "none", "batch": nn.BatchNorm1d}


def task(generator: torch.Generator) -> Digits:
    """Return the digits, shifted and scaled by mean and spread of all training pixels.

    Example:
        >>> digits = task(torch.Generator().manual_seed(0))
        >>> abs(digits.train_x.mean().item()) < 1e-5, round(digits.train_x.std().item(), 3)
        (True, 1.0)
    """
    digits = load_digits(generator)
    mean, std = digits.train_x.mean(), digits.train_x.std()
    return digits._replace(
        train_x=(digits.train_x - mean) / std, test_x=(digits.test_x - mean) / std
    )


def deep_net(
    generator: torch.Generator, norm: str | MakeNorm, depth: int, *, scale: float = 1.0
) -> nn.Sequential:
    """Return an ``mlp`` for the digits with He's weights, times ``scale``.

    Args:
        generator: draws the weights.
        norm: word of ``MAKERS`` or a function as ``mlp`` takes it.
        depth: hidden layers.
        scale: factor on the weights of the hidden layers.
    """
    make = MAKERS[norm] if isinstance(norm, str) else norm
    gain = scale * math.sqrt(2)
    return mlp(generator, PIXELS, CLASSES, depth=depth, width=WIDTH, norm=make, gain=gain)


def end_loss(losses: Sequence[float], steps: int) -> float:
    """Return the mean of the last losses of a run, infinity if it stopped early.

    Example:
        >>> end_loss([3.0] + 10 * [1.0], 11), end_loss([3.0, 60.0], 11)
        (1.0, inf)
    """
    if len(losses) < steps or not math.isfinite(losses[-1]):
        return math.inf
    last = losses[-LAST:]
    return sum(last) / len(last)


def first_below(losses: Sequence[float], goal: float) -> float:
    """Return after how many steps the mean of ten losses is at most ``goal``, infinity if never.

    Example:
        >>> first_below([2.0] * 5 + [0.0] * 20, 1.0), first_below([2.0] * 20, 1.0)
        (10, inf)
    """
    for step in range(LAST, len(losses) + 1):
        if sum(losses[step - LAST : step]) / LAST <= goal:
            return step
    return math.inf


def ratio(over: Sequence[float], under: Sequence[float]) -> Spread:
    """Return the spread of ratios, pair by pair; two that never came count as equal.

    Example:
        >>> ratio([4.0, math.inf, math.inf], [2.0, 1.0, math.inf]).median
        2.0
    """
    return spread(_ratio(a, b) for a, b in zip(over, under, strict=True))


def _ratio(a: float, b: float) -> float:
    if a == b:
        return 1.0
    return a / b if b else math.inf


def outcome(supported: bool, refuted: bool) -> Outcome:
    """Return the word for a rule's two conditions; neither of them is "mixed"."""
    return "supported" if supported else "refuted" if refuted else "mixed"

"""What can be left out of layer norm? A small Transformer with leaner norms.

The same causal Transformer over letters is trained with layer norm, with less than that, and
without any norm, at one learning rate. Every part is written out in tensor operations of the same
kind, so that none is ahead by its code alone; layer norm and RMSNorm of ``torch.nn``, where a
kernel may do it all at once, are timed beside them.

    loss      nats per letter of test text after so many steps
    seconds   processor seconds of a step, the median of several; the nets take turns

Seconds are compared within a seed only: as ratios.

Sources: Zhang & Sennrich 2019 (RMSNorm); Nguyen & Salazar 2019 (ScaleNorm); Xu et al. 2019 (layer
norm without scale and shift); Henry et al. 2020 (queries and keys); Zhu et al. 2025 (DyT).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import nn

from normcourse.experiments.experiment import Experiment
from normcourse.experiments.result import Effect, Outcome, Result, Row, Spread, Verdict, spread
from normcourse.experiments.text import Text, load_text, windows
from normcourse.experiments.transformer import (
    CharTransformer,
    MakeNorm,
    language_loss,
    next_letter_loss,
    train_language,
)
from normcourse.modules import DynamicTanh, LayerNorm, RMSNorm, ScaleNorm

LENGTH, WIDTH, BATCH_SIZE = 32, 32, 8
TEST_LETTERS = 8192
SAME = 0.02  # nats per letter; a difference below it counts as none

MAKERS: dict[str, MakeNorm] = {
    "layer": lambda width: LayerNorm(width),
    "layer, plain": lambda width: LayerNorm(width, elementwise_affine=False),
    "rms": lambda width: RMSNorm(width),
    "scale": lambda width: ScaleNorm(width),
    "dyt": lambda width: DynamicTanh(width, alpha=0.5),
    "layer + qk": lambda width: LayerNorm(width),
    "none": lambda width: nn.Identity(),
}
# What torch.nn has of these: its own code, timed only.
TORCH: dict[str, MakeNorm] = {"layer": nn.LayerNorm, "rms": lambda width: nn.RMSNorm(width, 1e-5)}


def make_net(
    generator: torch.Generator, norm: str | MakeNorm, *, depth: int, queries: bool = False
) -> CharTransformer:
    """Return a pre-norm net over the letters of the text.

    Args:
        generator: draws the weights, the same for every norm.
        norm: word of ``MAKERS``, or a function from the width to a layer.
        depth: number of blocks.
        queries: normalize queries and keys as well, by RMSNorm.

    Example:
        >>> net = make_net(torch.Generator().manual_seed(0), "scale", depth=1)
        >>> net(torch.zeros(2, 5, dtype=torch.int64)).shape
        torch.Size([2, 5, 94])
    """
    make = MAKERS[norm] if isinstance(norm, str) else norm
    return CharTransformer(
        generator,
        len(load_text().letters),
        length=LENGTH,
        depth=depth,
        width=WIDTH,
        norm=make,
        qk_norm=MAKERS["rms"] if queries or norm == "layer + qk" else None,
    )


def run(
    seed: int,
    *,
    norms: Sequence[str],
    depth: int,
    rate: float,
    marks: Sequence[int],
    rounds: int,
) -> Iterator[Row]:
    """Yield ``loss`` per norm and mark (in steps), then ``seconds`` per norm and code.

    Args:
        seed: draws weights and batches.
        norms: words of ``MAKERS``.
        depth: blocks of the net.
        rate: of Adam, after twenty steps of warm-up.
        marks: after which steps the test loss is taken, in order.
        rounds: steps that are timed.
    """
    text = load_text()
    for norm in norms:
        generator = torch.Generator().manual_seed(seed)
        net = make_net(generator, norm, depth=depth)
        for step, loss in _losses(net, text, generator, rate, marks):
            yield {"norm": norm, "code": "written out", "step": step, "loss": loss}
    coded = [(norm, "written out") for norm in norms]
    coded += [(norm, "torch") for norm in TORCH if norm in norms]
    for (norm, code), seconds in zip(
        coded, _seconds(coded, text, seed, depth, rounds), strict=True
    ):
        yield {"norm": norm, "code": code, "seconds": seconds}


def _losses(
    net: nn.Module,
    text: Text,
    generator: torch.Generator,
    rate: float,
    marks: Sequence[int],
) -> list[tuple[int, float]]:
    """Train a net and return (steps made, test loss) at each mark."""
    found: list[tuple[int, float]] = []

    def watch(step: int, _: float) -> None:
        if step in marks:
            found.append((step, language_loss(net, text.test[:TEST_LETTERS], length=LENGTH)))

    train_language(
        net,
        text.train,
        steps=marks[-1] + 1,
        length=LENGTH,
        generator=generator,
        batch_size=BATCH_SIZE,
        lr=rate,
        warmup=20,
        watch=watch,
    )
    return found


def _seconds(
    coded: Sequence[tuple[str, str]], text: Text, seed: int, depth: int, rounds: int
) -> list[float]:
    """Return the median seconds of a step for each (norm, code); they take turns."""
    steps = [_step(norm, code, text, seed, depth) for norm, code in coded]
    taken: list[list[float]] = [[] for _ in coded]
    for turn in range(rounds + 2):
        for k in range(len(coded)):
            place = (k + turn) % len(coded)  # nobody is always first
            start = time.process_time()
            steps[place]()
            if turn >= 2:
                taken[place].append(time.process_time() - start)
    return [float(np.median(seconds)) for seconds in taken]


def _step(norm: str, code: str, text: Text, seed: int, depth: int) -> Callable[[], None]:
    """Return a function that makes one step of training, always on the same batch."""
    generator = torch.Generator().manual_seed(seed)
    queries = norm == "layer + qk"
    make = TORCH[norm] if code == "torch" else MAKERS[norm]
    net = make_net(generator, make, depth=depth, queries=queries)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    pieces = windows(text.train, length=LENGTH + 1, count=BATCH_SIZE, generator=generator)

    def step() -> None:
        optimizer.zero_grad()
        next_letter_loss(net, pieces).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def extra_loss(result: Result, norm: str, against: str = "layer", step: int = 0) -> Spread:
    """Return by how many nats one norm is worse than another at equal steps, seed by seed.

    Args:
        result: of this experiment.
        norm: its word.
        against: the other's.
        step: the mark; 0 is the one that ``equal_steps`` names.

    Returns:
        The differences; infinite for a seed that was lost before the mark.
    """
    step = step or equal_steps(result)
    left, right = _by_seed(result, "loss", norm, step), _by_seed(result, "loss", against, step)
    return spread(left.get(seed, math.inf) - right[seed] for seed in result.seeds)


def equal_steps(result: Result) -> int:
    """Return the mark at which norms are compared: the middle one, so that there are later ones."""
    marks = sorted(result.distinct("step"))
    return int(marks[len(marks) // 2])


def time_ratio(
    result: Result, norm: str, against: str = "layer", code: str = "written out"
) -> Spread:
    """Return the seconds of a step with one norm in those with another, seed by seed."""
    left, right = (
        {
            int(row["seed"]): float(row["seconds"])
            for row in result.where(norm=n, code=code).rows
            if "seconds" in row
        }
        for n in (norm, against)
    )
    return spread(left[seed] / right[seed] for seed in result.seeds)


def extra_loss_at_equal_time(result: Result, norm: str, against: str = "layer") -> Spread:
    """Return by how many nats a norm is worse when it has the time that another needs.

    The other makes ``equal_steps``; this one makes as many as fit into the same seconds, by the
    median of the ratios, and its loss is read between the two marks beside that number.
    """
    step = equal_steps(result)
    allowed = step / time_ratio(result, norm, against).median
    marks = sorted(result.distinct("step"))
    columns = [_by_seed(result, "loss", norm, int(mark)) for mark in marks]
    reference = _by_seed(result, "loss", against, step)
    extra = []
    for seed in result.seeds:
        losses = [column.get(seed, math.inf) for column in columns]
        lost = not math.isfinite(losses[-1])
        extra.append(math.inf if lost else np.interp(allowed, marks, losses) - reference[seed])
    return spread(extra)


def _by_seed(result: Result, column: str, norm: str, step: int) -> dict[int, float]:
    """Return seed to value for the seeds that got as far as ``step``."""
    rows = [row for row in result.where(norm=norm).rows if row.get("step") == step]
    return {int(row["seed"]): float(row[column]) for row in rows}


def as_good(extra: Spread) -> Outcome:
    """Return the verdict on "no worse": by the median, and against it by the lower quartile."""
    if extra.median <= SAME:
        return "supported"
    return "refuted" if extra.low > SAME else "mixed"


def rms_is_as_good(result: Result) -> Verdict:
    """Is RMSNorm as good as layer norm at equal steps?

    Supported if its test loss is at most 0.02 nats per letter higher (median of differences within
    seeds), refuted if in three seeds of four it is more than that higher, else mixed.
    """
    extra = extra_loss(result, "rms")
    return Verdict(as_good(extra), (Effect("RMSNorm beyond layer norm", extra, "nats"),))


def rms_is_faster(result: Result) -> Verdict:
    """Does a step with RMSNorm take less time than one with layer norm?

    Supported if it takes at most 97 % of it in both kinds of code, written out and that of
    ``torch.nn``; refuted if in both it takes at least as long; else mixed. Medians of ratios of
    processor seconds within seeds.
    """
    ratios = {code: time_ratio(result, "rms", code=code) for code in ("written out", "torch")}
    effects = tuple(Effect(f"RMSNorm / layer norm, {code}", s) for code, s in ratios.items())
    medians = [s.median for s in ratios.values()]
    if max(medians) <= 0.97:
        return Verdict("supported", effects)
    return Verdict("refuted" if min(medians) >= 1 else "mixed", effects)


def rms_wins_at_equal_time(result: Result) -> Verdict:
    """With the time that layer norm takes, written out alike, does RMSNorm get further?

    Supported if its test loss is lower in three seeds of four, refuted if it is higher in three of
    four, else mixed.
    """
    extra = extra_loss_at_equal_time(result, "rms")
    effects = (Effect("RMSNorm beyond layer norm, equal time", extra, "nats"),)
    if extra.high < 0:
        return Verdict("supported", effects)
    return Verdict("refuted" if extra.low > 0 else "mixed", effects)


def affine_can_go(result: Result) -> Verdict:
    """Does layer norm without scale and shift do as well?

    Supported if its test loss at equal steps is at most 0.02 nats per letter higher (median of
    differences within seeds), refuted if in three seeds of four it is more than that higher, else
    mixed.
    """
    extra = extra_loss(result, "layer, plain")
    return Verdict(as_good(extra), (Effect("plain beyond layer norm", extra, "nats"),))


def one_scale_is_enough(result: Result) -> Verdict:
    """Does ScaleNorm, with one number for all features, do as well as RMSNorm?

    Supported if its test loss at equal steps is at most 0.02 nats per letter higher (median of
    differences within seeds), refuted if in three seeds of four it is more than that higher, else
    mixed.
    """
    extra = extra_loss(result, "scale", "rms")
    return Verdict(as_good(extra), (Effect("ScaleNorm beyond RMSNorm", extra, "nats"),))


def queries_gain(result: Result) -> Verdict:
    """Does normalizing queries and keys as well make the net better at this rate?

    Supported if the test loss at equal steps is lower by more than 0.02 nats per letter in three
    seeds of four, refuted if the median gain is at most 0.02, else mixed.
    """
    extra = extra_loss(result, "layer + qk")
    effects = (Effect("with QK-norm beyond without", extra, "nats"),)
    if extra.high < -SAME:
        return Verdict("supported", effects)
    return Verdict("refuted" if extra.median >= -SAME else "mixed", effects)


def only_layer_norm_will_do(result: Result) -> Verdict:
    """Does this Transformer need layer norm, no other norm being as good?

    Supported if RMSNorm, ScaleNorm and DyT each have a test loss at equal steps that is more than
    0.02 nats per letter higher in three seeds of four; refuted if one of them is at most 0.02
    higher (median); else mixed.
    """
    extra = {norm: extra_loss(result, norm) for norm in ("rms", "scale", "dyt")}
    effects = tuple(Effect(f"{norm} beyond layer norm", s, "nats") for norm, s in extra.items())
    found = [as_good(s) for s in extra.values()]
    if all(word == "refuted" for word in found):
        return Verdict("supported", effects)
    return Verdict("refuted" if "supported" in found else "mixed", effects)


def norms_are_needed(result: Result) -> Verdict:
    """Is this a net that needs a norm at all? Otherwise comparing norms says little.

    Supported if without any norm the test loss at equal steps is more than 0.1 nats per letter
    higher than with layer norm in three seeds of four, refuted if the median is at most 0.02
    higher, else mixed.
    """
    extra = extra_loss(result, "none")
    effects = (Effect("no norm beyond layer norm", extra, "nats"),)
    if extra.low > 0.1:
        return Verdict("supported", effects)
    return Verdict("refuted" if extra.median <= SAME else "mixed", effects)


EXPERIMENT = Experiment(
    name="leaner_norms",
    question="What can be left out of layer norm, at equal steps and at equal time?",
    run=run,
    live={"norms": ["layer", "rms"], "depth": 6, "rate": 0.01, "marks": [40, 60, 80], "rounds": 5},
    full={
        "norms": list(MAKERS),
        "depth": 6,
        "rate": 0.01,
        "marks": [90, 120, 150],
        "rounds": 6,
    },
    decisions={
        "rms_is_as_good": rms_is_as_good,
        "rms_is_faster": rms_is_faster,
        "rms_wins_at_equal_time": rms_wins_at_equal_time,
        "affine_can_go": affine_can_go,
        "one_scale_is_enough": one_scale_is_enough,
        "queries_gain": queries_gain,
        "only_layer_norm_will_do": only_layer_norm_will_do,
        "norms_are_needed": norms_are_needed,
    },
)

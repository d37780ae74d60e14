"""Small Transformers with their norm in five places, trained with and without warm-up.

Nets over the letters of Python's language reference, of 4 and of 16 blocks, each at several
learning rates. With a warm-up the rate grows linearly from 0 over the first steps and then stays;
without, it is there from the first step. Adam, and nothing else against instability: no clipping.

    end         mean training loss of the last steps, on letters hardly ever seen before; it
                chooses a net's rate
    loss        nats per letter on a part of the test text
    growth      how many times larger the stream is after the last block than after the first

Sources: Xiong et al., "On Layer Normalization in the Transformer Architecture", 2020; Liu et al.,
"Understanding the Difficulty of Training Transformers", 2020 (warm-up and where the norm stands).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from normcourse.experiments.experiment import Experiment
from normcourse.experiments.placement_nets import SideBySide, fresh, train_side_by_side
from normcourse.experiments.result import Effect, Result, Row, Spread, Verdict, spread
from normcourse.experiments.text import guessing_loss, in_order, load_text

WIDTH, HEADS, LENGTH, BATCH_SIZE = 24, 2, 16, 8
LAST = 20  # steps whose mean loss stands for the end of training
TESTED = 400  # pieces of the test text, a multiple of 50
MARGIN = 0.1  # nats below guessing by frequency that count as having learned something


def run(
    seed: int,
    *,
    places: Mapping[str, Sequence[int]],
    bare: Sequence[str],
    rates: Sequence[float],
    warmup: int,
    steps: int,
) -> Iterator[Row]:
    """Yield a row per net, and for nets that are also trained without warm-up rows of its curve.

    Args:
        seed: draws weights and letters.
        places: word of a place to the numbers of blocks.
        bare: places that are trained without warm-up too.
        rates: learning rates.
        warmup: steps of the warm-up.
        steps: steps in all.
    """
    text = load_text()
    pieces = in_order(text.test, length=LENGTH + 1)
    pieces = pieces[torch.linspace(0, len(pieces) - 1, TESTED).long()]
    for place, depths in places.items():
        arms = [
            (rate, warm) for warm in ([0] if place in bare else []) + [warmup] for rate in rates
        ]
        for depth in depths:
            generator = torch.Generator().manual_seed(seed)
            sizes = {"depth": depth, "width": WIDTH, "heads": HEADS, "length": LENGTH}
            net = fresh(generator, len(text.letters), place, **sizes)
            nets = SideBySide(net, place, len(arms))
            losses = train_side_by_side(
                nets,
                text.train,
                rates=[rate for rate, _ in arms],
                warmups=[warm for _, warm in arms],
                steps=steps,
                length=LENGTH,
                batch_size=BATCH_SIZE,
                generator=torch.Generator().manual_seed(seed),
            )
            tested, grown = _tested(nets, pieces), _growth(nets, pieces)
            for k, (rate, warm) in enumerate(arms):
                arm: Row = {"place": place, "depth": depth, "rate": rate, "warmup": warm}
                yield {
                    **arm,
                    "end": _finite(losses[-LAST:, k].mean()),
                    "loss": _finite(tested[k]),
                    "growth": _finite(grown[k]),
                }
                for block in range(steps // LAST) if place in bare else ():
                    part = losses[block * LAST : (block + 1) * LAST, k]
                    yield {**arm, "step": (block + 1) * LAST, "curve": _finite(part.mean())}


def _finite(value: Tensor) -> float:
    """Return a number; infinity for what is none."""
    number = value.item()
    return number if math.isfinite(number) else math.inf


@torch.no_grad()
def _tested(nets: SideBySide, pieces: Tensor) -> Tensor:
    """Return the loss of each net on these pieces, shape (K,)."""
    batches = pieces.split(50)  # type: ignore[no-untyped-call]
    means = torch.stack([nets.losses(batch) for batch in batches])
    return means.mean(0)


@torch.no_grad()
def _growth(nets: SideBySide, pieces: Tensor) -> Tensor:
    """Return the stream's mean square after the last block over that after the first, (K,)."""
    _, first, *_, last = nets.streams(pieces[:50, :-1])
    return last.square().flatten(1).mean(1) / first.square().flatten(1).mean(1)


def nets_of(result: Result) -> Result:
    """Return the rows of nets, without those of curves."""
    return result.keep(lambda row: "loss" in row)


def warmups_of(result: Result) -> tuple[int, int]:
    """Return the two numbers of steps of warm-up: none, and some."""
    return 0, max(int(value) for value in nets_of(result).distinct("warmup"))


def best_rate(result: Result, place: str, depth: int, warmup: int) -> float:
    """Return the rate at which the median net's training ends lowest; the larger one of two."""
    chosen = nets_of(result).where(place=place, depth=depth, warmup=warmup)
    ends = {rate: chosen.spread("end", rate=rate).median for rate in chosen.distinct("rate")}
    return float(max(ends, key=lambda rate: (-ends[rate], rate)))


def losses(result: Result, place: str, depth: int, warmup: int, rate: float) -> list[float]:
    """Return the test loss of one kind of net, a value per seed."""
    chosen = nets_of(result).where(place=place, depth=depth, warmup=warmup, rate=rate)
    return [float(value) for value in chosen.values("loss")]


def best_losses(result: Result, place: str, depth: int) -> list[float]:
    """Return the test loss with warm-up at the rate that serves the place best, per seed."""
    _, warm = warmups_of(result)
    return losses(result, place, depth, warm, best_rate(result, place, depth, warm))


def helped(result: Result, place: str, depth: int, rate: float) -> Spread:
    """Return how many nats of test loss the warm-up saves at one rate; lost runs end at guessing.

    A run without warm-up that was lost counts as one that guesses by frequency.
    """
    none, warm = warmups_of(result)
    least = guessing_loss(load_text())
    pairs = zip(
        losses(result, place, depth, none, rate),
        losses(result, place, depth, warm, rate),
        strict=True,
    )
    return spread(min(a, least) - min(b, least) for a, b in pairs)


def failed(result: Result, place: str, depth: int, warmup: int) -> float:
    """Return the share of nets, over all rates and seeds, that learned no more than frequencies."""
    chosen = nets_of(result).where(place=place, depth=depth, warmup=warmup)
    goal = guessing_loss(load_text()) - MARGIN
    ended = [float(value) for value in chosen.values("loss")]
    return sum(loss > goal for loss in ended) / len(ended)


def _share(result: Result, place: str, depth: int, warmup: int) -> Effect:
    """Return the share of lost nets with the spread of its values per seed."""
    each = [failed(result.where(seed=seed), place, depth, warmup) for seed in nets_of(result).seeds]
    name = f"share of rates that fail without warm-up, {place}, {depth} blocks"
    return Effect(name, spread(each))


def post_needs_warmup(result: Result) -> Verdict:
    """Does Post-Norm need a warm-up, and Pre-Norm not?

    Each depth is looked at where Post-Norm with warm-up does best, and both places at that rate.
    Supported if at every depth the warm-up saves Post-Norm 0.1 nats or more and Pre-Norm less than
    0.05; refuted if at every depth it saves Post-Norm no more than Pre-Norm; else mixed. Medians of
    differences within seeds.
    """
    effects, saved = [], []
    _, warm = warmups_of(result)
    for depth in nets_of(result).where(place="post").distinct("depth"):
        rate = best_rate(result, "post", depth, warm)
        pair = [helped(result, place, depth, rate) for place in ("post", "pre")]
        saved.append([found.median for found in pair])
        effects += [
            Effect(f"nats that warm-up saves, {place}, {depth} blocks, rate {rate:g}", found)
            for place, found in zip(("post", "pre"), pair, strict=True)
        ]
    if all(post >= 0.1 and pre < 0.05 for post, pre in saved):
        return Verdict("supported", tuple(effects))
    outcome = "refuted" if all(post <= pre for post, pre in saved) else "mixed"
    return Verdict(outcome, tuple(effects))  # type: ignore[arg-type]


def pre_is_more_stable(result: Result) -> Verdict:
    """Without warm-up, does Post-Norm fail at more rates than Pre-Norm?

    A net fails that ends less than 0.1 nats below guessing by how often each letter stands.
    Supported if at every depth ten per cent more of the Post-Norm nets fail, or more, over all
    rates and seeds; refuted if at every depth no more fail; else mixed.
    """
    effects, more = [], []
    none, _ = warmups_of(result)
    for depth in nets_of(result).where(place="post").distinct("depth"):
        post, pre = (failed(result, place, depth, none) for place in ("post", "pre"))
        more.append(post - pre)
        effects += [_share(result, place, depth, none) for place in ("post", "pre")]
    if all(value >= 0.1 for value in more):
        return Verdict("supported", tuple(effects))
    outcome = "refuted" if all(value <= 0 for value in more) else "mixed"
    return Verdict(outcome, tuple(effects))  # type: ignore[arg-type]


def post_ends_better(result: Result) -> Verdict:
    """With warm-up, and each at its best rate, does Post-Norm end better than Pre-Norm?

    Supported if at some depth Post-Norm ends 0.02 nats lower or more, refuted if at every depth it
    ends 0.02 nats higher or more, else mixed. Medians of differences within seeds.
    """
    found = {
        depth: _behind(result, "post", depth)
        for depth in nets_of(result).where(place="post").distinct("depth")
    }
    effects = tuple(
        Effect(f"nats of Post-Norm above Pre-Norm, {depth} blocks", s) for depth, s in found.items()
    )
    if any(s.median <= -0.02 for s in found.values()):
        return Verdict("supported", effects)
    refuted = all(s.median >= 0.02 for s in found.values())
    return Verdict("refuted" if refuted else "mixed", effects)


def inside_keeps_up(result: Result) -> Verdict:
    """Do the places with a norm at the end of the branch end as well as Pre-Norm?

    Supported if Res-Post-Norm and Sandwich end less than 0.05 nats above Pre-Norm at every depth
    they were trained at, refuted if both end 0.05 or more above it at each, else mixed. With
    warm-up, each at its best rate; medians of differences within seeds.
    """
    found = {
        (place, depth): _behind(result, place, depth)
        for place in ("res-post", "sandwich")
        for depth in nets_of(result).where(place=place).distinct("depth")
    }
    effects = tuple(
        Effect(f"nats of {place} above Pre-Norm, {depth} blocks", s)
        for (place, depth), s in found.items()
    )
    level = [s.median < 0.05 for s in found.values()]
    if all(level):
        return Verdict("supported", effects)
    return Verdict("mixed" if any(level) else "refuted", effects)


def _behind(result: Result, place: str, depth: int) -> Spread:
    """Return how many nats a place ends above Pre-Norm, each at its best rate with warm-up."""
    pairs = zip(best_losses(result, place, depth), best_losses(result, "pre", depth), strict=True)
    return spread(a - b for a, b in pairs)


EXPERIMENT = Experiment(
    name="placement_training",
    question="Which place of the norm trains, at 4 and 16 blocks, with and without warm-up?",
    run=run,
    live={
        "places": {"post": [4], "pre": [4]},
        "bare": ["post", "pre"],
        "rates": [3e-3],
        "warmup": 20,
        "steps": 80,
    },
    full={
        "places": {
            "post": [4, 16],
            "pre": [4, 16],
            "res-post": [4],
            "sandwich": [4, 16],
            "deep": [4, 16],
        },
        "bare": ["post", "pre"],
        "rates": [1e-3, 3e-3, 1e-2],
        "warmup": 40,
        "steps": 160,
    },
    decisions={
        "post_needs_warmup": post_needs_warmup,
        "pre_is_more_stable": pre_is_more_stable,
        "post_ends_better": post_ends_better,
        "inside_keeps_up": inside_keeps_up,
    },
)

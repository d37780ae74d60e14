"""The other places of the norm, as ``placement_training`` trains post- and pre-norm.

Post-norm with and without warm-up is in that record. Here are the two places with a norm at the end
of the branch, and DeepNorm, at both depths and with both, over the same rates; pre-norm is trained
again beside them, for differences within seeds.

Sources: Kim et al., "Peri-LN: Revisiting Normalization Layer in the Transformer Architecture", 2025
(norms at the end of the branch); Wang et al., "DeepNet: Scaling Transformers to 1,000 Layers", 2022
(DeepNorm).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from normcourse.experiments.experiment import Experiment
from normcourse.experiments.placement_training import (
    best_rate,
    failed,
    helped,
    inside_keeps_up,
    nets_of,
    warmups_of,
)
from normcourse.experiments.placement_training import run as train_and_test
from normcourse.experiments.result import Effect, Result, Row, Verdict, spread

OTHERS = ("res-post", "sandwich", "deep")


def run(
    seed: int,
    *,
    places: Mapping[str, Sequence[int]],
    rates: Sequence[float],
    warmup: int,
    steps: int,
) -> Iterator[Row]:
    """Yield the rows of nets of ``placement_training``, each also trained without warm-up."""
    nets = train_and_test(
        seed, places=places, bare=list(places), rates=rates, warmup=warmup, steps=steps
    )
    yield from (row for row in nets if "loss" in row)


def with_post(training: Result, others: Result) -> Result:
    """Return all five places: post-norm of ``placement_training`` beside those of this experiment.

    Args:
        training: of ``placement_training``.
        others: of this experiment, at the same rates and with as long a warm-up.
    """
    return replace(others, rows=nets_of(training.where(place="post")).rows + others.rows)


def need_no_warmup(result: Result) -> Verdict:
    """Do res-post-norm, sandwich norm and DeepNorm train as well without a warm-up?

    Each place at each depth is looked at where it does best with warm-up. Supported if the warm-up
    saves less than 0.05 nats in every case; refuted if it saves 0.1 or more for each place at the
    greatest depth; else mixed. Medians of differences within seeds.
    """
    _, warm = warmups_of(result)
    saved: dict[tuple[str, int], float] = {}
    effects = []
    for place, depth in _cases(result):
        rate = best_rate(result, place, depth, warm)
        found = helped(result, place, depth, rate)
        saved[place, depth] = found.median
        words = f"nats that warm-up saves, {place}, {depth} blocks, rate {rate:g}"
        effects.append(Effect(words, found))
    return _judge(saved, level=0.05, apart=0.1, effects=effects)


def as_stable_as_pre(result: Result) -> Verdict:
    """Without warm-up, do they fail at no more rates than pre-norm?

    A net fails that ends less than 0.1 nats below guessing by how often each letter stands.
    Supported if in every case, place and depth, less than five per cent more of the nets fail than
    of pre-norm's, over all rates and seeds; refuted if ten per cent more fail, or more, for each
    place at the greatest depth; else mixed.
    """
    none, _ = warmups_of(result)
    more: dict[tuple[str, int], float] = {}
    effects = []
    for place, depth in _cases(result):
        more[place, depth] = failed(result, place, depth, none) - failed(result, "pre", depth, none)
        each = [
            failed(result.where(seed=seed), place, depth, none) for seed in nets_of(result).seeds
        ]
        words = f"share of rates that fail without warm-up, {place}, {depth} blocks"
        effects.append(Effect(words, spread(each)))
    return _judge(more, level=0.05, apart=0.1, effects=effects)


def _cases(result: Result) -> list[tuple[str, int]]:
    """Return each place but pre-norm with each of its depths."""
    nets = nets_of(result)
    return [
        (place, depth) for place in OTHERS for depth in nets.where(place=place).distinct("depth")
    ]


def _judge(
    found: Mapping[tuple[str, int], float], *, level: float, apart: float, effects: list[Effect]
) -> Verdict:
    """Return supported if all lie below ``level``, refuted if the deepest reach ``apart``."""
    if all(value < level for value in found.values()):
        return Verdict("supported", tuple(effects))
    greatest = max(depth for _, depth in found)
    deepest = [value for (_, depth), value in found.items() if depth == greatest]
    refuted = all(value >= apart for value in deepest)
    return Verdict("refuted" if refuted else "mixed", tuple(effects))


EXPERIMENT = Experiment(
    name="placement_deeper",
    question="Do the other places of the norm train at 4 and 16 blocks, also without warm-up?",
    run=run,
    live={
        "places": {"pre": [4], "res-post": [4], "sandwich": [4], "deep": [4]},
        "rates": [1e-2],
        "warmup": 20,
        "steps": 60,
    },
    full={
        "places": {place: [4, 16] for place in ("pre", *OTHERS)},
        "rates": [1e-3, 3e-3, 1e-2],
        "warmup": 40,
        "steps": 160,
    },
    decisions={
        "inside_keeps_up": inside_keeps_up,
        "need_no_warmup": need_no_warmup,
        "as_stable_as_pre": as_stable_as_pre,
    },
)

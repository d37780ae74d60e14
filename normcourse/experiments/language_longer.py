"""Text for longer: does batch normalization catch up in a Transformer over letters?

The nets and batches of ``language_norms``, eight sequences per batch of ordinary text or all in
capitals or none, trained for several numbers of steps; each training has its own warming up and
cooling down.

Sources: Shen et al., "PowerNorm: Rethinking Batch Normalization in Transformers", 2020.
"""

from __future__ import annotations

from collections.abc import Iterator

from normcourse.experiments.experiment import Experiment
from normcourse.experiments.language_norms import behind
from normcourse.experiments.language_norms import run as train_and_test
from normcourse.experiments.result import Effect, Result, Row, Verdict


def run(
    seed: int, *, companies: list[str], steps: list[int], lr: float, depth: int
) -> Iterator[Row]:
    """Yield a row of ``language_norms`` per number of steps, company and norm, with ``steps``."""
    arms = {company: ["layer", "batch"] for company in companies}
    for number in steps:
        for row in train_and_test(seed, arms=arms, steps=number, lr=lr, depth=depth):
            yield {**row, "steps": number}


def catches_up(result: Result) -> Verdict:
    """Does batch normalization catch up with layer normalization on ordinary text?

    Supported if after the most steps its loss in inference lies at most 0.03 nats above, and after
    the fewest more than that; refuted if after the most it lies no less far above than after the
    fewest; else mixed. Medians of differences within seeds.
    """
    steps = result.distinct("steps")
    gaps = {number: behind(result.where(steps=number), "plain") for number in steps}
    effects = tuple(
        Effect(f"batch norm behind layer norm, {n} steps", s, "nats") for n, s in gaps.items()
    )
    few, many = gaps[min(steps)].median, gaps[max(steps)].median
    if many >= few:
        return Verdict("refuted", effects)
    return Verdict("supported" if many <= 0.03 < few else "mixed", effects)


def sorted_stays_behind(result: Result) -> Verdict:
    """Does batch normalization stay behind in sorted batches when training goes on?

    Supported if after the most steps its loss in inference lies 0.1 nats or more above that of
    layer normalization, refuted if at most 0.03, else mixed. Medians of differences within seeds.
    """
    steps = result.distinct("steps")
    gaps = {number: behind(result.where(steps=number), "sorted") for number in steps}
    effects = tuple(
        Effect(f"batch norm behind layer norm, sorted, {n} steps", s, "nats")
        for n, s in gaps.items()
    )
    left = gaps[max(steps)].median
    if left >= 0.1:
        return Verdict("supported", effects)
    return Verdict("refuted" if left <= 0.03 else "mixed", effects)


EXPERIMENT = Experiment(
    name="language_longer",
    question="Does batch normalization catch up on text when training goes on?",
    run=run,
    live={"companies": ["plain"], "steps": [30, 60], "lr": 5e-3, "depth": 1},
    full={"companies": ["plain", "sorted"], "steps": [120, 480], "lr": 5e-3, "depth": 2},
    decisions={"catches_up": catches_up, "sorted_stays_behind": sorted_stays_behind},
)

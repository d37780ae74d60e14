"""Which running statistics serve at inference, and from when on?

One training run, watched: every way to gather running statistics sees the same batches, since
training never uses them. At some steps the net answers the test images with each of them.

Sources: Ioffe & Szegedy, "Batch Normalization", 2015, Algorithm 2; Wu & Johnson, "Rethinking
'Batch' in BatchNorm", 2021.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from normcourse.experiments.data import load_digits
from normcourse.experiments.experiment import Experiment
from normcourse.experiments.result import Effect, Result, Row, Verdict, spread
from normcourse.experiments.train import accuracy, mean_loss, train
from normcourse.experiments.trained import NETS, batch_norms
from normcourse.modules import BatchNorm
from normcourse.surgery import recalibrate

Pair = tuple[Tensor, Tensor]  # mean and unbiased variance, each of shape (C,)

MOMENTA = (0.5, 0.1, 0.01, 0.99)  # the weight of the new batch; the last is Keras' 0.99 misread
DEBIASED = 0.01
RATE = 0.1


class Tracker:
    """What one batch normalization would remember, in every way at once."""

    def __init__(self, norm: BatchNorm) -> None:
        self.norm = norm
        self.count = 0
        start = (torch.zeros(norm.num_features), torch.ones(norm.num_features))
        self.ways: dict[str, Pair] = {_word(m): start for m in MOMENTA} | {"all batches": start}
        norm.register_forward_pre_hook(self._see)

    def _see(self, norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """Take up the moments of a training batch."""
        if not norm.training:
            return
        x = inputs[0].detach()
        pooled = (0, *range(2, x.ndim))
        batch = x.mean(pooled), x.var(pooled)  # (C,), the n - 1 variance
        self.count += 1
        for way, old in self.ways.items():
            weight = 1 / self.count if way == "all batches" else float(way)
            self.ways[way] = (old[0].lerp(batch[0], weight), old[1].lerp(batch[1], weight))

    def debiased(self) -> Pair:
        """Return the slowest average without what is left in it of the start, 0 and 1."""
        mean, var = self.ways[_word(DEBIASED)]
        left = (1 - DEBIASED) ** self.count
        return mean / (1 - left), (var - left) / (1 - left)

    def install(self, pair: Pair) -> None:
        """Give the layer these running statistics."""
        assert self.norm.running_mean is not None
        assert self.norm.running_var is not None
        self.norm.running_mean.copy_(pair[0])
        self.norm.running_var.copy_(pair[1])


def _word(momentum: float) -> str:
    return str(momentum)


def run(seed: int, *, net: str, batch_sizes: list[int], steps: list[int]) -> Iterator[Row]:
    """Yield one row per batch size, number of batches seen, and way to gather statistics."""
    for batch_size in batch_sizes:
        yield from _one_training(seed, net, batch_size, steps)


def _one_training(seed: int, name: str, batch_size: int, steps: list[int]) -> list[Row]:
    generator = torch.Generator().manual_seed(seed)
    digits = load_digits(generator)
    net = NETS[name](generator)
    trackers = [Tracker(norm) for norm in batch_norms(net)]
    rows: list[Row] = []

    def answer(way: str, batches: int) -> None:
        rows.append(
            {
                "net": name,
                "batch_size": batch_size,
                "batches": batches,
                "way": way,
                "accuracy": accuracy(net, digits.test_x, digits.test_t),
                "loss": mean_loss(net, digits.test_x, digits.test_t),
            }
        )

    def watch(step: int, _loss: float) -> None:
        if step + 1 not in steps:
            return
        for way in trackers[0].ways:
            for tracker in trackers:
                tracker.install(tracker.ways[way])
            answer(way, step + 1)
        for tracker in trackers:
            tracker.install(tracker.debiased())
        answer(f"{DEBIASED} debiased", step + 1)
        _recalibrated(net, trackers, digits.train_x)
        answer("recalibrated", step + 1)

    train(
        net,
        digits.train_x,
        digits.train_t,
        steps=max(steps),
        generator=generator,
        batch_size=batch_size,
        lr=RATE,
        watch=watch,
    )
    return rows


def _recalibrated(net: nn.Module, trackers: list[Tracker], x: Tensor) -> None:
    """Recalibrate on the training images without the trackers taking note."""
    kept = [(tracker.count, dict(tracker.ways)) for tracker in trackers]
    recalibrate(net, torch.split(x, 256))
    for tracker, (count, ways) in zip(trackers, kept, strict=True):
        tracker.count, tracker.ways = count, ways


def _behind(result: Result, way: str, batch_size: int, batches: int) -> list[float]:
    """Return by how many points a way lies behind recalibrated statistics, seed by seed."""
    there = result.where(batch_size=batch_size, batches=batches)
    values = {
        name: {int(row["seed"]): float(row["accuracy"]) for row in there.where(way=name).rows}
        for name in (way, "recalibrated")
    }
    return [100 * (values["recalibrated"][s] - values[way][s]) for s in sorted(values[way])]


def slow_start(result: Result) -> Verdict:
    """After about thirty batches, does momentum 0.01 answer badly because of its start?

    Supported if it lies 10 points or more behind recalibrated statistics and half of that or less
    once the start is taken out; refuted if it lies less than 2 points behind; else mixed.
    """
    size = max(result.distinct("batch_size"))
    early = min(result.distinct("batches"), key=lambda batches: abs(batches - 30))
    slow = spread(_behind(result, "0.01", size, early))
    mended = spread(_behind(result, "0.01 debiased", size, early))
    effects = (
        Effect("momentum 0.01 behind recalibrated", slow, "points"),
        Effect("without the start", mended, "points"),
    )
    if slow.median >= 10 and mended.median <= slow.median / 2:
        return Verdict("supported", effects)
    return Verdict("refuted" if slow.median < 2 else "mixed", effects)


def misread_momentum(result: Result) -> Verdict:
    """At the end of training, does 0.99 taken for PyTorch's momentum spoil inference?

    Supported if it lies 5 points or more behind recalibrated statistics at the smallest and at the
    largest batch; refuted if it lies less than 1 point behind at both; else mixed: it depends on
    the batch size.
    """
    last = max(result.distinct("batches"))
    sizes = sorted(result.distinct("batch_size"))
    small, large = (spread(_behind(result, "0.99", size, last)) for size in (sizes[0], sizes[-1]))
    effects = (
        Effect(f"0.99 behind, batches of {sizes[0]}", small, "points"),
        Effect(f"0.99 behind, batches of {sizes[-1]}", large, "points"),
    )
    if min(small.median, large.median) >= 5:
        return Verdict("supported", effects)
    return Verdict("refuted" if max(small.median, large.median) < 1 else "mixed", effects)


EXPERIMENT = Experiment(
    name="running_statistics",
    question="Which running statistics serve at inference, and from when on?",
    run=run,
    live={"net": "mlp", "batch_sizes": [4, 64], "steps": [1, 3, 10, 30, 100]},
    full={"net": "mlp", "batch_sizes": [4, 16, 64], "steps": [1, 3, 10, 30, 100, 300, 600]},
    decisions={"slow_start": slow_start, "misread_momentum": misread_momentum},
)

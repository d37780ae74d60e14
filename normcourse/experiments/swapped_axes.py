"""The axes swapped on purpose: layer normalization for images, batch normalization for text.

Images: digits in a convolutional net with batch normalization, with one mean per image ("layer"),
or with one mean per image and position, over the channels ("layer per place"). Text: Python's
language reference in a causal Transformer with layer normalization, batch normalization, RMSNorm
or no norm at all; dynamic tanh can be had too.

Every norm is trained at every learning rate on offer. A run has diverged where its loss is no
number or ends above that of guessing without looking.

Sources: Ba, Kiros & Hinton 2016; Ioffe & Szegedy 2015; Zhang & Sennrich 2019; Zhu et al. 2025.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from normcourse.experiments.data import load_digits
from normcourse.experiments.experiment import Experiment
from normcourse.experiments.models import MakeNorm, conv_net
from normcourse.experiments.result import Effect, Result, Row, Spread, Verdict, spread
from normcourse.experiments.sequence_norms import Batch, Draw, fit, loss_in, pieces_of
from normcourse.experiments.text import guessing_loss, load_text
from normcourse.experiments.train import accuracy, mean_loss, train
from normcourse.experiments.transformer import CharTransformer, FeaturesFirst
from normcourse.modules import DynamicTanh

LENGTH, SEQUENCES, TEST = 32, 8, 512
USUAL = {"images": "batch", "text": "layer"}
SWAPPED = {"images": "layer", "text": "batch"}


class FeaturesLast(nn.Module):
    """Layer normalization over the channels of each place of an image (N, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalized images, shape (N, C, H, W)."""
        y: Tensor = self.norm(x.movedim(1, -1))  # (N, H, W, C)
        return y.movedim(-1, 1)


IMAGE_NORMS: dict[str, MakeNorm] = {
    "batch": nn.BatchNorm2d,
    "layer": lambda channels: nn.GroupNorm(1, channels),
    "layer per place": FeaturesLast,
}
TEXT_NORMS: dict[str, MakeNorm] = {
    "layer": nn.LayerNorm,
    "batch": lambda width: FeaturesFirst(nn.BatchNorm1d(width)),
    "rms": nn.RMSNorm,
    "tanh": lambda width: DynamicTanh(width, alpha=1.0),
    "none": lambda width: nn.Identity(),
}


def run(
    seed: int,
    *,
    images: list[str],
    image_rates: list[float],
    image_steps: int,
    text: list[str],
    text_rates: list[float],
    text_steps: int,
) -> Iterator[Row]:
    """Yield a row per domain, norm and learning rate.

    ``loss`` is the test loss in inference mode in nats, infinite where training met no number,
    ``chance`` that of guessing without looking, ``overfit`` by how much the loss of training inputs
    lies below it. For images ``accuracy`` is the share of right answers.
    """
    digits = load_digits(torch.Generator().manual_seed(seed))
    for norm in images:
        for rate in image_rates:
            generator = torch.Generator().manual_seed(seed)
            net = conv_net(generator, 10, channels=16, depth=3, norm=IMAGE_NORMS[norm])
            train(
                net, digits.train_x, digits.train_t, steps=image_steps, batch_size=32, lr=rate,
                generator=generator,
            )  # fmt: skip
            loss = _finite(mean_loss(net, digits.test_x, digits.test_t))
            seen = _finite(mean_loss(net, digits.train_x, digits.train_t))
            yield {
                "domain": "images",
                "norm": norm,
                "rate": rate,
                "loss": loss,
                "chance": math.log(10),
                "overfit": loss - seen if math.isfinite(loss) else 0.0,
                "accuracy": accuracy(net, digits.test_x, digits.test_t),
            }
    yield from _text_rows(seed, text, text_rates, text_steps)


def _text_rows(seed: int, norms: list[str], rates: list[float], steps: int) -> Iterator[Row]:
    text = load_text()
    chance = guessing_loss(text)
    for norm in norms:
        for rate in rates:
            generator = torch.Generator().manual_seed(seed)
            net = CharTransformer(
                generator, len(text.letters), length=LENGTH, depth=2, width=32,
                norm=TEXT_NORMS[norm],
            )  # fmt: skip
            losses = fit(net, _draw(text.train, SEQUENCES, generator), steps=steps, lr=rate)
            tested = torch.Generator().manual_seed(1000 + seed)
            test, known = (_draw(part, TEST, tested)() for part in (text.test, text.train))
            loss = loss_in(net, [test], training=False) if len(losses) == steps else math.inf
            seen = loss_in(net, [known], training=False)
            yield {
                "domain": "text",
                "norm": norm,
                "rate": rate,
                "loss": loss,
                "chance": chance,
                "overfit": loss - seen if math.isfinite(loss) else 0.0,
            }


def _draw(text: Tensor, sequences: int, generator: torch.Generator) -> Draw:
    def draw() -> Batch:
        return pieces_of(
            text, length=LENGTH, sequences=sequences, places=sequences, generator=generator
        )

    return draw


def _finite(loss: float) -> float:
    return loss if math.isfinite(loss) else math.inf


def best_loss(result: Result, domain: str, norm: str) -> dict[int, float]:
    """Return seed to the test loss at the rate whose median over the seeds is lowest."""
    rows = result.where(domain=domain, norm=norm)
    rate = min(rows.distinct("rate"), key=lambda r: rows.spread("loss", rate=r).median)
    return {int(row["seed"]): float(row["loss"]) for row in rows.where(rate=rate).rows}


def diverged(result: Result, domain: str, norm: str) -> float:
    """Return the share of runs, at all rates, that ended no better than guessing."""
    rows = result.where(domain=domain, norm=norm).rows
    return sum(not float(r["loss"]) < float(r["chance"]) for r in rows) / len(rows)


def behind(result: Result, domain: str, norm: str) -> Spread:
    """Return by how much a norm's best loss exceeds that of the usual norm, per seed."""
    found, usual = (best_loss(result, domain, word) for word in (norm, USUAL[domain]))
    return spread(found[seed] - usual[seed] for seed in found)


def swapping_hurts(result: Result) -> Verdict:
    """Does swapping the axes cost quality or stability, in both domains?

    Supported if in both domains the swapped norm's best loss lies 0.03 nats or more above the usual
    norm's, or it diverges more often by a tenth of all runs; refuted if in neither; else mixed.
    Medians of differences within seeds.
    """
    effects, hurts = [], []
    for domain in USUAL:
        cost = behind(result, domain, SWAPPED[domain])
        more = diverged(result, domain, SWAPPED[domain]) - diverged(result, domain, USUAL[domain])
        effects.append(Effect(f"swapped behind usual, {domain}", cost, "nats"))
        effects.append(Effect(f"share diverged more, {domain}", spread([more])))
        hurts.append(cost.median >= 0.03 or more >= 0.1)
    outcome = "supported" if all(hurts) else "mixed" if any(hurts) else "refuted"
    return Verdict(outcome, tuple(effects))  # type: ignore[arg-type]


def layer_norm_required(result: Result) -> Verdict:
    """Does the Transformer train worse with every other norm than with layer normalization?

    Supported if every other norm's best loss lies 0.03 nats or more above, refuted if with at least
    one other norm it lies at most 0.01 above, else mixed. Medians of differences within seeds; no
    norm at all is reported and does not count as another norm.
    """
    words = [w for w in result.where(domain="text").distinct("norm") if w != USUAL["text"]]
    found = {word: behind(result, "text", word) for word in words}
    effects = tuple(Effect(f"behind layer norm, {w}", s, "nats") for w, s in found.items())
    others = [s.median for word, s in found.items() if word != "none"]
    if all(gap >= 0.03 for gap in others):
        return Verdict("supported", effects)
    return Verdict("refuted" if min(others) <= 0.01 else "mixed", effects)


EXPERIMENT = Experiment(
    name="swapped_axes",
    question="What does it cost to swap the axes of batch and layer normalization?",
    run=run,
    live={
        "images": ["batch", "layer"],
        "image_rates": [0.3],
        "image_steps": 60,
        "text": ["layer", "batch"],
        "text_rates": [5e-3],
        "text_steps": 60,
    },
    full={
        "images": ["batch", "layer", "layer per place"],
        "image_rates": [0.3, 3.0],
        "image_steps": 100,
        "text": ["layer", "batch", "rms", "none"],
        "text_rates": [5e-3, 5e-2],
        "text_steps": 80,
    },
    decisions={"swapping_hurts": swapping_hurts, "layer_norm_required": layer_norm_required},
)

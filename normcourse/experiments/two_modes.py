"""Which normalizations have two modes, and which are a fixed affine map at inference?

Every layer of the course's table sees some batches in training mode. Then its two modes are
compared on one fresh batch, and inference mode is asked whether it is affine: whether the output
half way between two inputs is half way between their outputs.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from normcourse.experiments.experiment import Experiment
from normcourse.experiments.models import NORMS
from normcourse.experiments.result import Effect, Result, Row, Verdict

SHAPE = (16, 12, 12)  # (N, C, L); LayerNorm and RMSNorm pool the last axis


@torch.no_grad()
def run(seed: int, *, norms: list[str], batches: int) -> Iterator[Row]:
    """Yield one row per normalization; differences are relative to the spread of the output."""
    generator = torch.Generator().manual_seed(seed)
    data = [_draw(generator) for _ in range(batches + 2)]
    for word in norms:
        layer = NORMS[word](SHAPE[1])
        for batch in data[2:]:
            layer.train()(batch)
        first, second = data[:2]
        trained = layer(first)
        layer.eval()
        y = layer(first)
        between = layer((first + second) / 2)
        company = layer(torch.cat([first[:1], second[1:]]))[:1]
        yield {
            "norm": word,
            "buffers": sum(1 for _ in layer.buffers()),
            "mode_difference": _difference(trained, y),
            "company_difference": _difference(company, y[:1]),
            "affine_departure": _difference(between, (y + layer(second)) / 2),
        }


def _draw(generator: torch.Generator) -> Tensor:
    """Return a batch whose channels have means and spreads of their own."""
    channels = torch.linspace(-2, 2, SHAPE[1])[:, None]  # (C, 1)
    return channels + channels.exp() * torch.randn(SHAPE, generator=generator)


def _difference(a: Tensor, b: Tensor) -> float:
    """Return the root mean square of a - b in units of the spread of b."""
    return ((a - b).square().mean().sqrt() / b.std()).item()


def only_batch_norm_is_affine(result: Result) -> Verdict:
    """At inference, is BatchNorm a fixed affine map and every other normalization none?

    Supported if BatchNorm departs from affine by less than 1e-5 in every seed and every other by
    more than 0.01; refuted if another departs by less than 1e-5 or BatchNorm by more than 0.01.
    """
    return _only_batch(result, "affine_departure", "departure from affine")


def only_batch_norm_has_modes(result: Result) -> Verdict:
    """Do the modes differ for BatchNorm alone?

    Supported if BatchNorm's outputs differ by more than 0.01 between the modes in every seed and
    every other's by less than 1e-5; refuted if some other's differ by more than 0.01 or
    BatchNorm's by less than 1e-5.
    """
    return _only_batch(result, "mode_difference", "difference between the modes", large=True)


def _only_batch(result: Result, column: str, name: str, *, large: bool = False) -> Verdict:
    """Compare BatchNorm with the rest: small against large, or the other way round."""
    words = result.distinct("norm")
    effects = tuple(Effect(f"{name}, {w}", result.spread(column, norm=w)) for w in words)
    batch = result.where(norm="batch").values(column)
    rest = result.keep(lambda row: row["norm"] not in ("batch", "none")).values(column)
    high, low = (batch, rest) if large else (rest, batch)
    if min(high) > 0.01 and max(low) < 1e-5:
        return Verdict("supported", effects)
    return Verdict("refuted" if max(low) > 0.01 or min(high) < 1e-5 else "mixed", effects)


EXPERIMENT = Experiment(
    name="two_modes",
    question="Which normalizations have two modes, and which are a fixed affine map at inference?",
    run=run,
    live={"norms": ["batch", "layer", "rms", "instance", "group"], "batches": 30},
    full={"norms": ["batch", "layer", "rms", "instance", "group"], "batches": 100},
    decisions={
        "only_batch_norm_is_affine": only_batch_norm_is_affine,
        "only_batch_norm_has_modes": only_batch_norm_has_modes,
    },
)

"""Layer norm and RMSNorm in half precision: where do the statistics overflow, and how far off are
they?

Inputs of a given width, mean and spread, rounded to float16 or bfloat16. Three ways to compute:

    wide         statistics in float32, the result rounded
    half         every operation rounded to half, sums by pairs
    one by one   the same, sums one term after the other

    error    largest deviation from the exact result of the rounded input, in units of the largest
             deviation that rounding the exact result to that type makes; infinite where something
             is not finite, or where all of an example became 0
    lost     share of examples for which that is so

No scale, no shift, eps = 1e-5. PyTorch's own reductions of half tensors sum in float32 inside, so
sums in half are written out here.

Source: Micikevicius et al., "Mixed Precision Training", 2018 (reductions in float32).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from normcourse.experiments.experiment import Experiment
from normcourse.experiments.result import Effect, Result, Row, Verdict
from normcourse.norms import layer_norm, rms_norm

TYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16}
EPS = 1e-5
Total = Callable[[Tensor], Tensor]


def by_pairs(x: Tensor) -> Tensor:
    """Return the sum over the last axis in x's own dtype, neighbours first; shape (N, 1).

    Example:
        >>> by_pairs(torch.full((1, 4096), 1.0, dtype=torch.float16)).item()
        4096.0
    """
    while x.shape[-1] > 1:
        if x.shape[-1] % 2:
            x = torch.cat([x, torch.zeros_like(x[..., :1])], dim=-1)
        x = x[..., ::2] + x[..., 1::2]
    return x


def one_by_one(x: Tensor) -> Tensor:
    """Return the sum over the last axis in x's own dtype, term after term; shape (N, 1).

    Example:
        >>> one_by_one(torch.full((1, 4096), 1.0, dtype=torch.float16)).item()
        2048.0
    """
    total = torch.zeros_like(x[..., :1])
    for column in x.split(1, dim=-1):  # type: ignore[no-untyped-call]
        total = total + column
    return total


def in_half(x: Tensor, norm: str, total: Total) -> Tensor:
    """Return the norm of x with every operation rounded to x's dtype."""
    width = x.shape[-1]
    centered = x - total(x) / width if norm == "layer" else x
    mean_square = total(centered * centered) / width
    root = (mean_square + EPS).sqrt()
    return centered / root


def in_single(x: Tensor, norm: str) -> Tensor:
    """Return the norm of x with statistics in float32, rounded to x's dtype at the end."""
    wide = x.float()
    centered = wide - wide.mean(-1, keepdim=True) if norm == "layer" else wide
    mean_square = centered.square().mean(-1, keepdim=True)
    return (centered * (mean_square + EPS).rsqrt()).to(x.dtype)


WAYS: dict[str, Callable[[Tensor, str], Tensor]] = {
    "wide": in_single,
    "half": lambda x, norm: in_half(x, norm, by_pairs),
    "one by one": lambda x, norm: in_half(x, norm, one_by_one),
}


def exact(x: Tensor, norm: str) -> Tensor:
    """Return the norm of x in float64."""
    forward = {"layer": layer_norm, "rms": rms_norm}[norm]
    return torch.from_numpy(forward(x.double().numpy(), eps=EPS))


def run(
    seed: int,
    *,
    types: Sequence[str],
    widths: Sequence[int],
    spreads: Sequence[float],
    means: Sequence[float],
    examples: int,
) -> Iterator[Row]:
    """Yield a row per type, norm, width, spread, mean (in spreads) and way."""
    for width in widths:
        noise = torch.randn(examples, width, generator=torch.Generator().manual_seed(seed))
        for size in spreads:
            for mean in means:
                for word in types:
                    x = (size * (noise + mean)).to(TYPES[word])
                    for norm in ("layer", "rms"):
                        wanted = exact(x, norm)
                        unit = (wanted.to(x.dtype).double() - wanted).abs().amax(-1)
                        for way, forward in WAYS.items():
                            y = forward(x, norm).double()
                            off = (y - wanted).abs().amax(-1) / unit
                            gone = ~y.isfinite().all(-1) | (y == 0).all(-1)
                            off[gone] = torch.inf
                            yield {
                                "type": word,
                                "norm": norm,
                                "width": width,
                                "spread": size,
                                "mean": mean,
                                "way": way,
                                "error": float(off.sort().values[examples // 2]),
                                "lost": gone.double().mean().item(),
                            }


def needs_float32(result: Result) -> Verdict:
    """In float16, does layer norm need its statistics in float32?

    Supported if sums in float16, by pairs, lose an example at some width and spread while those in
    float32 lose none, and where nothing is lost the error in units of rounding is at least twice
    that of float32 statistics at some width and spread; refuted if neither happens; else mixed.
    Medians over seeds, mean 0.
    """
    return _needed(result, "float16", "lost")


def bfloat16_needs_it_too(result: Result) -> Verdict:
    """In bfloat16, which does not overflow here, is the error larger all the same?

    Supported if nothing is lost and sums in bfloat16, by pairs, have at least twice the error of
    float32 statistics at every width and spread; refuted if at none; else mixed. Medians over
    seeds, mean 0.
    """
    ratios = _ratios(result, "bfloat16")
    lost = max(result.where(type="bfloat16", norm="layer", way="half", mean=0.0).values("lost"))
    effects = _effects(result, "bfloat16")
    if not lost and min(ratios) >= 2:
        return Verdict("supported", effects)
    return Verdict("refuted" if max(ratios) < 2 else "mixed", effects)


def overflow_at_the_expected_size(result: Result) -> Verdict:
    """Does float16 lose an example where its sum of squares passes 65504?

    Supported if at mean 0, for layer norm with sums by pairs, all examples are lost wherever
    width times variance is at least twice 65504 and none where it is at most half of that; refuted
    if some are kept above or lost below; there is no mixed.
    """
    rows = result.where(type="float16", norm="layer", way="half", mean=0.0).rows
    above, below = [], []
    for row in rows:
        load = float(row["width"]) * float(row["spread"]) ** 2 / 65504
        if load >= 2:
            above.append(float(row["lost"]))
        if load <= 0.5:
            below.append(float(row["lost"]))
    right = all(share == 1 for share in above) and all(share == 0 for share in below)
    chosen = result.where(type="float16", norm="layer", way="half", mean=0.0)
    effects = (Effect("share of examples lost, all sizes", chosen.spread("lost")),)
    return Verdict("supported" if right else "refuted", effects)


def _places(result: Result, word: str) -> list[tuple[int, float]]:
    chosen = result.where(type=word, norm="layer", way="half", mean=0.0)
    return sorted({(int(row["width"]), float(row["spread"])) for row in chosen.rows})


def _error(result: Result, word: str, way: str, width: int, size: float) -> float:
    chosen = result.where(type=word, norm="layer", way=way, mean=0.0)
    return chosen.spread("error", width=width, spread=size).median


def _ratios(result: Result, word: str) -> list[float]:
    """Return the error with sums in half, in that with float32 statistics, where none is lost."""
    both = [
        (_error(result, word, "half", *place), _error(result, word, "wide", *place))
        for place in _places(result, word)
    ]
    return [half / wide for half, wide in both if half != float("inf")]


def _effects(result: Result, word: str) -> tuple[Effect, ...]:
    places = _places(result, word)
    shown = [places[0], places[-1]]
    return tuple(
        Effect(
            f"error, {way}, width {width}, spread {size:g}",
            result.spread(
                "error", type=word, norm="layer", way=way, mean=0.0, width=width, spread=size
            ),
        )
        for width, size in shown
        for way in ("half", "wide")
    )


def _needed(result: Result, word: str, column: str) -> Verdict:
    rows = {
        way: result.where(type=word, norm="layer", way=way, mean=0.0).values(column)
        for way in ("half", "wide")
    }
    overflows = max(rows["half"]) > 0 and max(rows["wide"]) == 0
    blurred = max(_ratios(result, word)) >= 2
    effects = _effects(result, word)
    if overflows and blurred:
        return Verdict("supported", effects)
    return Verdict("mixed" if overflows or blurred else "refuted", effects)


EXPERIMENT = Experiment(
    name="half_precision",
    question="Where do statistics in half precision overflow, and how far off are they?",
    run=run,
    live={
        "types": ["float16", "bfloat16"],
        "widths": [1024],
        "spreads": [1.0, 4.0, 16.0],
        "means": [0.0],
        "examples": 16,
    },
    full={
        "types": ["float16", "bfloat16"],
        "widths": [64, 1024, 4096],
        "spreads": [0.01, 0.1, 1.0, 4.0, 16.0, 64.0, 256.0],
        "means": [0.0],
        "examples": 16,
    },
    decisions={
        "needs_float32": needs_float32,
        "bfloat16_needs_it_too": bfloat16_needs_it_too,
        "overflow_at_the_expected_size": overflow_at_the_expected_size,
    },
)

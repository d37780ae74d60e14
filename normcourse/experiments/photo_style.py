"""What does instance normalization undo in a photograph, and what does it leave?

Both bundled photographs are changed in ways whose strength is drawn, and normalized once as they
were and once changed. ``before`` and ``after`` are how far the two lie apart, without and with
instance normalization: the root of the mean squared difference, in standard deviations of the
channel. The changes are

    "contrast"  0.5 + g·(x - 0.5)          "exposure"  g·x          "cast"  g_c·x + b_c
    "power"     x^p, a curve of tones      "shadow"    one side darker than the other
    "blur"      the mean of a window       "stripes"   a fine pattern laid over the picture

Rows with ``part`` "gain" ask how weak a contrast may be: ``after`` against the gain, for exact
values and for values that were cut to [0, 1] and rounded to 8 bits, as a camera stores them.

Source: Ulyanov, Vedaldi & Lempitsky, "Instance Normalization: The Missing Ingredient for Fast
Stylization", 2016.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from normcourse.experiments.data import load_photographs
from normcourse.experiments.experiment import Experiment
from normcourse.experiments.result import Effect, Result, Row, Spread, Verdict
from normcourse.norms import instance_norm

Array = NDArray[Any]
Rng = np.random.Generator

AFFINE = ("contrast", "exposure", "cast")
TOLERANCE = 0.01  # of a standard deviation: what counts as equal


def contrast(x: Array, gain: float) -> Array:
    """Return the picture with its distance from middle grey times ``gain``."""
    y: Array = 0.5 + gain * (x - 0.5)
    return y


def exposure(x: Array, gain: float) -> Array:
    """Return the picture with ``gain`` times the light."""
    return gain * x


def cast(x: Array, gains: ArrayLike, offsets: ArrayLike) -> Array:
    """Return the picture (C, H, W) with a gain and an offset of its own in every channel."""
    shape = (-1, 1, 1)
    y: Array = np.reshape(gains, shape) * x + np.reshape(offsets, shape)
    return y


def shadow(x: Array, darkest: float) -> Array:
    """Return the picture with light that falls from 1 on the left to ``darkest`` on the right."""
    return x * np.linspace(1.0, darkest, x.shape[-1])


def blur(x: Array, half: int) -> Array:
    """Return the mean over windows of 2·half + 1 pixels a side; the border is repeated."""
    for axis in (1, 2):
        width = [(half, half) if axis == k else (0, 0) for k in range(3)]
        sums = np.cumsum(np.pad(x, width, mode="edge"), axis=axis)
        zero = np.zeros_like(np.take(sums, [0], axis=axis))
        sums = np.concatenate([zero, sums], axis=axis)
        size, count = 2 * half + 1, x.shape[axis]
        upper = np.take(sums, np.arange(size, size + count), axis=axis)
        x = (upper - np.take(sums, np.arange(count), axis=axis)) / size
    return x


def stripes(x: Array, height: float) -> Array:
    """Return the picture under slanted stripes of five pixels."""
    rows, columns = np.indices(x.shape[1:])
    y: Array = x + height * np.sin(2 * np.pi * (rows + columns) / 5)
    return y


def _cast(x: Array, rng: Rng) -> Array:
    return cast(x, rng.uniform(0.4, 1.2, 3), rng.uniform(-0.1, 0.2, 3))


CHANGES: dict[str, Callable[[Array, Rng], Array]] = {
    "contrast": lambda x, rng: contrast(x, rng.uniform(0.3, 0.7)),
    "exposure": lambda x, rng: exposure(x, rng.uniform(0.3, 0.7)),
    "cast": _cast,
    "power": lambda x, rng: x ** rng.uniform(2.0, 3.0),
    "shadow": lambda x, rng: shadow(x, rng.uniform(0.2, 0.4)),
    "blur": lambda x, rng: blur(x, int(rng.integers(2, 5))),
    "stripes": lambda x, rng: stripes(x, rng.uniform(0.1, 0.2)),
}


def planes(width: int) -> dict[str, Array]:
    """Return the two photographs as arrays (3, H, W).

    Example:
        >>> planes(80)["flower"].shape
        (3, 53, 80)
    """
    return {name: np.moveaxis(x, 2, 0) for name, x in load_photographs(width=width).items()}


def normalized(x: Array) -> Array:
    """Return one picture (C, H, W) after instance normalization."""
    y: Array = instance_norm(x[None])[0]
    return y


def apart(a: Array, b: Array, std: Array | float = 1.0) -> float:
    """Return the root of the mean squared difference, in units of ``std``."""
    return float(np.sqrt(np.square((a - b) / std).mean()))


def as_stored(x: Array) -> Array:
    """Return the values cut to [0, 1] and rounded to 256 levels."""
    y: Array = np.rint(255 * np.clip(x, 0, 1)) / 255
    return y


def run(seed: int, *, width: int, gains: Sequence[float]) -> Iterator[Row]:
    """Yield the rows of the changes, then those of the gain.

    Args:
        seed: draws the strength of every change.
        width: of the photographs.
        gains: of the contrast, for the rows of the second part.
    """
    rng = np.random.default_rng(seed)
    for photo, x in planes(width).items():
        std = x.std(axis=(1, 2), keepdims=True)
        target = normalized(x)
        for name, change in CHANGES.items():
            changed = change(x, rng)
            yield {
                "part": "change",
                "photo": photo,
                "change": name,
                "before": apart(changed, x, std),
                "after": apart(normalized(changed), target),
            }
        for gain in gains:
            dim = contrast(x, gain) + rng.uniform(-0.5, 0.5) / 255
            for kind, values in (("exact", dim), ("8 bits", as_stored(dim))):
                after = apart(normalized(values), target)
                yield {
                    "part": "gain",
                    "photo": photo,
                    "kind": kind,
                    "gain": gain,
                    "after": after,
                }


def left(result: Result, change: str) -> Spread:
    """Return what share of a change is left after instance normalization."""
    before = result.spread("before", part="change", change=change)
    after = result.spread("after", part="change", change=change)
    one = before.median
    return Spread(after.median / one, after.low / one, after.high / one, after.seeds)


def removes_affine(result: Result) -> Verdict:
    """Do photographs with another contrast, exposure or cast become equal?

    Supported if in every seed and photograph the difference left is at most ``TOLERANCE``; refuted
    if for one of the three the median is above ten times that; else mixed.
    """
    changes = [result.where(part="change", change=change) for change in AFFINE]
    spreads = [rows.spread("after") for rows in changes]
    effects = tuple(
        Effect(f"{change}: difference left", spread, "standard deviations")
        for change, spread in zip(AFFINE, spreads, strict=True)
    )
    if all(max(rows.values("after")) <= TOLERANCE for rows in changes):
        return Verdict("supported", effects)
    far = any(spread.median > 10 * TOLERANCE for spread in spreads)
    return Verdict("refuted" if far else "mixed", effects)


def removes_texture(result: Result) -> Verdict:
    """Is texture removed too: sharpness, and a pattern laid over the picture?

    Supported if of both changes at most a tenth is left in the median; refuted if of both more than
    half is left; else mixed.
    """
    shares = {change: left(result, change) for change in ("blur", "stripes")}
    effects = tuple(Effect(f"{change}: share left", share) for change, share in shares.items())
    if all(share.median <= 0.1 for share in shares.values()):
        return Verdict("supported", effects)
    stays = all(share.median > 0.5 for share in shares.values())
    return Verdict("refuted" if stays else "mixed", effects)


_GAINS = [0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 1.5, 2.0, 3.0, 5.0]

EXPERIMENT = Experiment(
    name="photo_style",
    question="What does instance normalization undo in a photograph, and what does it leave?",
    run=run,
    live={"width": 160, "gains": [0.01, 0.1, 1.0]},
    full={"width": 160, "gains": _GAINS},
    decisions={"removes_affine": removes_affine, "removes_texture": removes_texture},
)

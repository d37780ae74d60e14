"""A figure of every kind in chapter 10, with small made-up content."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from normcourse import figures
from normcourse.experiments.result import Curve, Environment, Result, Row

_RNG = np.random.default_rng(10)
_PICTURE = _RNG.uniform(-0.1, 1.1, size=(3, 6, 8))
_GAIN = np.array([0.01, 0.1, 1.0])
_LEFT = Curve(_GAIN, np.array([0.3, 0.02, 0.003]), _GAIN / 9, _GAIN, {})
_STRENGTH = np.array([0.0, 0.5, 0.9])
_RIGHT = Curve(_STRENGTH, np.array([97.0, 90.0, 30.0]), 80 - _STRENGTH, 99 + 0 * _STRENGTH, {})
_ARMS = ("none", "batch", "instance", "instance, edges repeated", "instance first")
_ROWS: list[Row] = [
    {"seed": seed, "kind": kind, "arm": arm, "accuracy": 25.0 + 10 * k + seed}
    for seed in range(3)
    for kind in ("contrast", "cast")
    for k, arm in enumerate(_ARMS)
]
LABELS = Result("made_up", "own", {}, tuple(_ROWS), {}, Environment.here(), "")

EXAMPLES: dict[str, Callable[[], figures.CourseFigure]] = {
    "picture_rows": lambda: figures.picture_rows(
        {"a": {"one": _PICTURE, "two": _PICTURE}}, "Two pictures, side by side."
    ),
    "style_as_label": lambda: figures.style_as_label(LABELS, 25.0),
    "style_in_the_way": lambda: figures.style_in_the_way(
        {kind: {"batch": _RIGHT, "instance": _RIGHT} for kind in ("contrast", "light", "cast")}
    ),
    "style_left": lambda: figures.style_left({"exact": _LEFT, "8 bits": _LEFT}, 0.01),
    "style_plane": lambda: figures.style_plane(
        {"a": (_GAIN / 2, _GAIN / 4), "b": (_GAIN, _GAIN / 3)}
    ),
}

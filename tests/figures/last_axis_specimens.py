"""A figure of every kind in chapters 07 and 12, with small made-up content."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from normcourse import figures
from normcourse.experiments.result import Curve

_RNG = np.random.default_rng(7)
_X = _RNG.normal(1.0, 2.0, size=(12, 4))
_PHOTO = _RNG.uniform(size=(24, 32))
_PLACE = np.array([1.0, 4.0, 32.0])
_CURVE = Curve(_PLACE, np.array([90.0, 92.0, 88.0]), _PLACE + 80, _PLACE + 90, {})
_DRIVE = np.geomspace(0.1, 10, 20)

EXAMPLES: dict[str, Callable[[], figures.CourseFigure]] = {
    "accuracy_by_batch": lambda: figures.accuracy_by_batch({"layer": _CURVE}, {"layer": "LN"}),
    "company": lambda: figures.company([_X, np.vstack([_X[:1], _X[6:]])], features=4),
    "division_factors": lambda: figures.division_factors(_X, running_var=2.0),
    "example_spread": lambda: figures.example_spread(_X),
    "example_table": lambda: figures.example_table(_X[:4, :3]),
    "gradient_parts": lambda: figures.gradient_parts({"eps = 0": {"constant": 0.0, "rest": 1.0}}),
    "invariance_table": lambda: figures.invariance_table(
        {"W times 3": {"batch": True, "layer": False}}, {"batch": "batch", "layer": "layer"}
    ),
    "local_contrast": lambda: figures.local_contrast(_DRIVE, np.ones(20)),
    "pool_matrices": lambda: figures.pool_matrices({"one": np.eye(4), "all": np.ones((4, 4))}),
    "responses": lambda: figures.responses(_DRIVE, {"a": _DRIVE, "b": 1 / _DRIVE}),
    "sphere": lambda: figures.sphere(_X[:, :3]),
    "three_photographs": lambda: figures.three_photographs({"a": _PHOTO, "b": _PHOTO}),
    "two_features": figures.two_features,
    "two_patches": lambda: figures.two_patches(_PHOTO, ((0, 0), (10, 10)), size=6),
}

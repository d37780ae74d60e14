"""A figure of every kind in chapter 11, with small made-up content."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from normcourse import figures
from normcourse.experiments import Result, Row
from normcourse.experiments.result import Environment

_RNG = np.random.default_rng(11)
_X = _RNG.normal(1.0, 2.0, size=(6, 20))


def _made_up(rows: list[Row]) -> Result:
    """Rows as they are for seed 0, a little better for seed 1."""
    two = [
        {
            "seed": seed,
            **{k: v + 0.01 * seed if k in ("accuracy", "error") else v for k, v in row.items()},
        }
        for seed in (0, 1)
        for row in rows
    ]
    return Result("made_up", "own", {}, tuple(two), {}, Environment.here(), "")


DIAL = _made_up(
    [
        {
            "net": net,
            "groups": groups,
            "accuracy": 0.9,
            "renumbered": 0.9 - 0.1 * (groups in (2, 4)),
        }
        for net in ("digits", "signals")
        for groups in (1, 2, 4, 16, 0)
    ]
)
CONTENT = _made_up(
    [
        {"arm": arm, "loudness": amount, "error": 0.02 + 0.1 * amount * (arm == "one group")}
        for arm in ("kinds apart", "kinds mixed", "one group", "each alone")
        for amount in (0.0, 1.0, 2.0)
    ]
)
COMPANY = _made_up(
    [
        {"norm": norm, "part": part, "change": change, "moved": moved, "bits": moved > 0}
        for norm, part, moved in (
            ("batch", "torch layer", 0.25),
            ("group", "torch layer", 0.0),
            ("group", "net", 3.4e-7),
            ("none", "convolution", 4e-7),
            ("none", "matrix product", 2e-7),
        )
        for change in ("companions", "place", "size")
    ]
)
AFFINE = _made_up(
    [
        {"kind": kind, "parameters": count, "accuracy": 0.95}
        for kind, count in (("channel", 96), ("group", 24), ("place", 2688), ("none", 0))
    ]
)
SWEEP = _made_up(
    [
        {"net": net, "norm": norm, "weights": kind, "size": size, "accuracy": 0.8}
        for net, norms in (("2x2", ("batch", "group", "instance")), ("1x1", ("batch", "one group")))
        for norm in norms
        for kind in ("plain", "standardized")
        for size in (2, 32)
    ]
)

EXAMPLES: dict[str, Callable[[], figures.CourseFigure]] = {
    "accuracy_by_affine": lambda: figures.accuracy_by_affine(AFFINE),
    "bars_of": lambda: figures.bars_of("channel", _X, _X - _X.mean(), groups=2),
    "company_table": lambda: figures.company_table(COMPANY),
    "dial_accuracy": lambda: figures.dial_accuracy(DIAL, DIAL),
    "dial_axes": figures.dial_axes,
    "error_by_company": lambda: figures.error_by_company(CONTENT, CONTENT),
    "filter_gradient": lambda: figures.filter_gradient(
        {"plain": {"constant": [0.2, 0.3]}, "standardized": {"constant": [0.0, 0.0]}}
    ),
    "gradient_blocks": lambda: figures.gradient_blocks({"one group": np.eye(8)}, 2),
    "renumbering_cost": lambda: figures.renumbering_cost(DIAL),
    "small_batch_sweep": lambda: figures.small_batch_sweep(SWEEP),
    "two_memberships": figures.two_memberships,
}

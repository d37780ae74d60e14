"""A figure of every kind in chapter 08, with small made-up content."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from normcourse import figures
from normcourse.experiments import Result, Row
from normcourse.experiments.result import Environment


def _made_up(rows: list[Row]) -> Result:
    """Rows as they are for seed 0, a little worse for seed 1."""
    two = [
        {"seed": seed, **{k: v + 0.01 * seed if "loss" in k else v for k, v in row.items()}}
        for seed in (0, 1)
        for row in rows
    ]
    return Result("made_up", "own", {}, tuple(two), {}, Environment.here(), "")


LANGUAGE = _made_up(
    [
        {"company": company, "norm": norm, "loss": 2.5 + gap, "loss_batch": 2.6 + gap}
        for company in ("mixed", "sorted")
        for norm, gap in (("layer", 0.0), ("batch", 0.3), ("masked", 0.1))
    ]
)
FUTURE = _made_up(
    [
        {"norm": norm, "sequences": size, "training": 1.3 - low, "writing": 1.4 + low}
        for norm, size, low in (("layer", 16, 0.0), ("over time", 16, 1.0), ("batch", 1, 0.2))
    ]
)
RECURRENT = _made_up(
    [
        {"norm": norm, "size": size, "gain": gain, "reading": reading, "loss": 2.5}
        for norm, reading in (("none", "own"), ("layer", "own"), ("batch", "per step"))
        for size, gain in ((4, 1.0), (32, 1.0), (32, 4.0))
    ]
)
SWAPPED = _made_up(
    [
        {"domain": domain, "norm": norm, "rate": rate, "loss": loss, "chance": 2.3}
        for domain, norm, loss in (
            ("images", "batch", 0.2), ("images", "layer", 0.3),
            ("text", "layer", 1.9), ("text", "none", float("inf")),
        )
        for rate in (0.1, 1.0)
    ]
)  # fmt: skip
_STEPS = np.arange(1, 9.0)

EXAMPLES: dict[str, Callable[[], figures.CourseFigure]] = {
    "behind_layer_norm": lambda: figures.behind_layer_norm(
        {
            "mixed": (LANGUAGE.where(company="mixed"), "batch"),
            "sorted": (LANGUAGE.where(company="sorted"), "masked"),
        }
    ),
    "foreseen_letters": lambda: figures.foreseen_letters(FUTURE, 1.386),
    "padded_lines": lambda: figures.padded_lines(["def", "return"], 2),
    "padding_table": lambda: figures.padding_table({"batch norm": (0.4, 0.0)}),
    "recurrent_losses": lambda: figures.recurrent_losses(RECURRENT),
    "sequence_axes": figures.sequence_axes,
    "states_apart": lambda: figures.states_apart(
        {"×1": 1e-6 * _STEPS, "×4": _STEPS}, {"×1": 1e-6 * _STEPS, "×4": 1e-6 * _STEPS}
    ),
    "swapped_losses": lambda: figures.swapped_losses(SWAPPED),
    "wandering_means": lambda: figures.wandering_means(
        {"mixed": 0.1 * np.sin(_STEPS), "sorted": np.sin(_STEPS)}, 0.06
    ),
    "who_moves_whom": lambda: figures.who_moves_whom(
        {"layer": np.tril(np.ones((4, 4))), "over time": np.ones((4, 4))}
    ),
}

"""A figure of every kind in chapter 15, with small made-up content."""

from __future__ import annotations

from collections.abc import Callable

from normcourse import figures
from normcourse.experiments import Result, Row
from normcourse.experiments.pitfall_cards import CARDS
from normcourse.experiments.result import Environment

METHODS = ("batch", "group", "layer", "rms", "instance")


def _made_up(names: tuple[str, ...]) -> Result:
    """Two seeds of two arms; the failing one of the first pitfall is refused at the end."""
    rows: list[Row] = [
        {
            "seed": seed,
            "pitfall": name,
            "arm": arm,
            "x": x,
            "right": (0.9 if arm == "mended" else 0.3) - 0.01 * seed,
            "refused": name == names[0] and arm == "failing" and x == 40,
        }
        for seed in (0, 1)
        for name in names
        for arm in ("failing", "mended")
        for x in (0, 20, 40)
    ]
    return Result("made_up", "own", {}, tuple(rows), {}, Environment.here(), "")


KINDS = {
    kind: {name: card.short for name, card in CARDS.items() if card.kind in kind}
    for kind in (("choice",), ("mode",), ("shape", "numbers"))
}
CHOICES = KINDS[("choice",)]

EXAMPLES: dict[str, Callable[[], figures.CourseFigure]] = {
    "guide_grid": lambda: figures.guide_grid(
        [("images, contrast neutral", ("instance",)), ("fewer than 8 per batch", ("batch",))],
        METHODS,
    ),
    "guide_ranks": lambda: figures.guide_ranks(
        {"photographs, 128 per device": ("batch", "group"), "a language model": ("layer",)},
        METHODS,
    ),
    "thumb_rules": lambda: figures.thumb_rules({"always batch": 0.4, "always layer": 0.6}),
    "pitfall_panels": lambda: figures.pitfall_panels(
        _made_up(tuple(KINDS[("shape", "numbers")])),
        KINDS[("shape", "numbers")],
        "slips with shapes and numbers",
    ),
    "pitfall": lambda: figures.pitfall(_made_up(tuple(CHOICES)), "tiny_batches", "training step"),
    "pitfall_costs": lambda: figures.pitfall_costs(
        {card.title: (0.05 * k, 0.05 * k + 0.02) for k, card in enumerate(CARDS.values())}
    ),
    "audit_bars": lambda: figures.audit_bars(
        [("ResNet-50", "batch_norm", 53, 2e-3), ("LLaMA 7B", "rms_norm", 65, 4e-5)]
    ),
}

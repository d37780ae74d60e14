"""Chapter 15: which normalization, where. The rules themselves are data: :mod:`guide`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from normcourse.checks.exercise import Case, Exercise, Mismatch, Mistake, Outputs
from normcourse.checks.guide import CALM, METHODS, SITUATIONS, Situation, objections, rank

_NOTEBOOK = "15_choosing"
_GUIDE = "A guide in seven questions"
_RULES = "Rules of thumb, and where they fail"


def situation(**differs: Any) -> Situation:
    """Return a situation that says only what is not calm: images, 64 per batch, no difficulty."""
    return {**CALM, **differs}


def _reasons_against(s: Situation, *, without: tuple[str, ...] = ()) -> dict[str, str]:
    """Return for each method that does not work here the first reason.

    Args:
        s: the situation.
        without: questions that are not asked.
    """
    found: dict[str, str] = {}
    for rule in objections(s, without=without):
        for method in rule.against:
            found.setdefault(method, rule.words(s))
    return found


def right_methods(s: Situation) -> list[str]:
    """Return the methods that nothing speaks against, in the order of the guide.

    Example:
        >>> right_methods(situation(batch=2))
        ['group', 'layer', 'rms']
    """
    return [one.method for one in rank(s) if one.works]


# ---------------------------------------------------------------- choose_norm


def _reference(situation: Situation) -> str:
    return right_methods(situation)[0]


def _variant(
    situation: Situation,
    *,
    free: str = "asked",
    contrast: str = "asked",
    batch: str = "asked",
    shift: str = "asked",
    padded: str = "asked",
    causal: str = "asked",
    prefer: str = "batch",
    rule: str = "",
) -> str:
    """Return the first method that nothing speaks against, of the questions that are asked."""
    if rule == "by_data":
        return {"images": "batch", "tokens": "layer", "table": "batch"}[str(situation["data"])]
    if rule:
        return rule
    asked = {
        "free": free,
        "contrast": contrast,
        "batch": batch,
        "shift": shift,
        "padded": padded,
        "causal": causal,
    }
    without = tuple(question for question, how in asked.items() if how == "ignored")
    against = _reasons_against(situation, without=without)
    preferred = sorted(METHODS, key=lambda method: method != prefer)
    return next((method for method in preferred if method not in against), "batch")


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    for name, row in SITUATIONS.items():
        yield Case(name, {"situation": row})
    for number in range(1, 7):
        yield Case(f"a situation drawn at random, number {number}", {"situation": _drawn(rng)})


def _drawn(rng: np.random.Generator) -> Situation:
    """Draw situations until one has a right answer and a wrong one beside instance norm."""
    while True:
        data = str(rng.choice(["images", "tokens", "table"]))
        drawn = situation(
            data=data,
            batch=int(rng.choice([1, 2, 4, 16, 32, 200])),
            padded=bool(data == "tokens" and rng.random() < 0.5),
            causal=bool(data == "tokens" and rng.random() < 0.5),
            shift=bool(rng.random() < 0.3),
            contrast=str(rng.choice(["neutral", "nuisance", "label"]))
            if data == "images"
            else "neutral",
            free=bool(rng.random() < 0.25),
        )
        if 0 < len(right_methods(drawn)) < len(METHODS) - 1:
            return drawn


def _compare(case: Case, expected: Outputs, got: Outputs) -> Mismatch | None:
    """Accept every method that nothing speaks against; say why another one does not work."""
    answer = got["method"]
    listed = ", ".join(f'"{method}"' for method in METHODS)
    if not isinstance(answer, str):
        message = f"expected one of {listed}, got {type(answer).__name__}."
        return Mismatch("method", message=message)
    method = answer.lower().replace("_", "").replace(" ", "").removesuffix("norm")
    if method not in METHODS:
        return Mismatch("method", message=f'expected one of {listed}, got "{answer}".')
    row = case.inputs["situation"]
    against = _reasons_against(row)
    if method not in against:
        return None
    right = [f'"{other}"' for other in right_methods(row)]
    would = f"{' or '.join(right)} would do."
    message = f'"{method}" does not work here: {against[method]}. {would}'
    return Mismatch("method", message=message)


_CHOOSE_NORM = Exercise(
    id="choose_norm",
    title="Which normalization works here?",
    section=_GUIDE,
    signature="situation",
    outputs=("method",),
    minutes=12,
    difficulty=3,
    kind="predict",
    hints=(
        "Some entries leave one method only. Which two, and which method does each of them leave?",
        "First the two that decide alone: a norm that must be free, and what contrast means. Then "
        "what speaks against BatchNorm. Chapter 15, “A guide in seven questions”.",
        "free or contrast as the label: batch. Contrast as a nuisance: instance. For the rest a "
        "norm of each example alone works, so one of “layer” or “rms” does.",
    ),
    insight=(
        "Most questions ask about BatchNorm. That is the price of statistics shared between "
        "examples; what it buys is a fixed map at inference, which can be folded away and erases "
        "nothing that is special about one input."
    ),
    cases=_cases,
    reference=_reference,
    variant=_variant,
    compare=_compare,
    mistakes=(
        *(
            Mistake(
                f"always_{method}",
                f'You always answer "{method}". Each method has a situation in which it fails: '
                "look at the entries.",
                {"rule": method},
                section=_RULES,
            )
            for method in METHODS
        ),
        Mistake(
            "by_data_alone",
            "You decide by the kind of data alone: images and tables batch, tokens layer. Batch "
            "size, shift, contrast and cost count more.",
            {"rule": "by_data"},
            section=_RULES,
        ),
        Mistake(
            "free_ignored",
            "You do not look at `free`. A norm that must cost nothing at inference has to be "
            "folded away, and only BatchNorm can.",
            {"free": "ignored", "prefer": "layer"},
        ),
        Mistake(
            "contrast_ignored",
            "You do not look at `contrast`. Norms of one image remove its contrast, which may be "
            "wanted or fatal.",
            {"contrast": "ignored"},
        ),
        Mistake(
            "batch_ignored",
            "You do not look at `batch`. BatchNorm's statistics need more than a few examples.",
            {"batch": "ignored"},
        ),
        Mistake(
            "shift_ignored",
            "You do not look at `shift`. Running statistics of other data do not fit.",
            {"shift": "ignored"},
        ),
        Mistake(
            "padded_ignored",
            "You do not look at `padded`. Statistics over positions pool the padding too.",
            {"padded": "ignored"},
        ),
        Mistake(
            "causal_ignored",
            "You do not look at `causal`. Statistics over positions let each one see the future.",
            {"causal": "ignored"},
        ),
    ),
    notebook=_NOTEBOOK,
)

EXERCISES = (_CHOOSE_NORM,)

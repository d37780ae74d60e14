"""Feedback reads the same everywhere and carries nothing that could act."""

from __future__ import annotations

import json

import pytest

from normcourse.checks.feedback import STATUSES, Feedback

FAILED = Feedback(
    "batch_norm_forward",
    1,
    "failed",
    "the values of y differ; its shape is right.",
    stage="values",
    case="three features, different spread",
    setting="x of shape (4, 3), float64",
    expected=-0.70710678,
    got=-0.61237243,
    worst="y[0, 1]",
    max_error=0.0947343,
    mistakes=("divides_by_n_minus_1",),
    causes=("You divide by n − 1.",),
    next='chapter 02, "Scale and shift"',
    hint="hint(batch_norm_forward)",
    output="seen\n",
)


def test_text_has_every_part_in_order() -> None:
    text = FAILED.text(width=200)
    parts = [
        "✗ batch_norm_forward: not yet right",
        'In case "three features, different spread" (x of shape (4, 3), float64): the values',
        "expected −0.7071, got −0.6124 at y[0, 1] (off by 0.09473)",
        "Likely cause: You divide by n − 1.",
        'Next: chapter 02, "Scale and shift" · hint(batch_norm_forward)',
        "Your code printed:\n    seen",
    ]
    places = [text.index(part) for part in parts]
    assert places == sorted(places)


def test_ascii_text_is_ascii() -> None:
    text = FAILED.text(ascii_only=True)
    assert text.isascii()
    assert text.startswith("[x] batch_norm_forward")
    assert "expected -0.7071" in text


def test_lines_are_no_longer_than_asked() -> None:
    assert max(map(len, FAILED.text(width=60).splitlines())) <= 60


@pytest.mark.parametrize("status", STATUSES)
def test_json_returns_the_same_record(status: str) -> None:
    feedback = Feedback("a", 2, status, "m", proven=("one", "two"), evidence=("e",))
    assert Feedback.from_json(feedback.to_json()) == feedback


def test_json_of_another_schema_is_refused() -> None:
    data = json.loads(FAILED.to_json()) | {"schema": 99}
    with pytest.raises(ValueError, match="expected schema 1, got 99"):
        Feedback.from_json(json.dumps(data))


def test_not_finite_numbers_are_text_in_json() -> None:
    feedback = Feedback("a", 1, "failed", "m", got=float("nan"), expected=float("inf"))
    data = json.loads(feedback.to_json())
    assert (data["got"], data["expected"]) == ("nan", "inf")


def test_html_carries_no_markup_of_the_learner() -> None:
    feedback = Feedback(
        "a", 1, "error", "<script>alert(1)</script> `<b>`", output="<img src=x onerror=alert(1)>"
    )
    page = feedback._repr_html_()
    assert "<script" not in page
    assert "<img" not in page
    assert "&lt;script&gt;" in page
    assert "<code>&lt;b&gt;</code>" in page


def test_terminal_codes_are_stripped() -> None:
    feedback = Feedback("a", 1, "passed", "m", output="\x1b[31mred\x1b[0m\x07\x1b]0;title\x07")
    assert "\x1b" not in feedback.text()
    assert "\x07" not in feedback.text()
    assert "red" in feedback.text()


def test_redacted_feedback_tells_no_numbers() -> None:
    hidden = FAILED.redact()
    text = str(hidden)
    assert "0.7071" not in text
    assert "three features" not in text
    assert "You divide by n − 1." in text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.1234567, "0.1235"),
        (-1.0, "−1"),
        (123456.0, "123456"),
        (1e-9, "1.00e-09"),
        (3, "3"),
        (float("nan"), "NaN"),
        (float("-inf"), "−infinity"),
        ("layer", "layer"),
        (True, "True"),
    ],
)
def test_numbers_read_the_same_on_every_platform(value: object, text: str) -> None:
    feedback = Feedback("a", 1, "failed", "m", expected=value, got=0, worst="y")
    assert f"expected {text}, got 0" in feedback.text()

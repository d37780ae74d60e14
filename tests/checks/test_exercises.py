"""The judges are measured instruments: every stub, solution, style and mistake is tried."""

from __future__ import annotations

import importlib
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from normcourse.checks import all_exercises
from normcourse.checks.diagnose import caught, same_outputs
from normcourse.checks.exercise import Exercise, Mistake
from normcourse.checks.judge import call_by_name
from normcourse.checks.texts import text_of
from tests.checks.measure import adapt, define, verdict

EXERCISES = all_exercises()
BY_ID = pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.id)
SEEDS = 5
PAIRS_PER_EXERCISE = 12


MISTAKES = [
    pytest.param(exercise, mistake, id=f"{exercise.id}-{mistake.id}")
    for exercise in EXERCISES
    for mistake in exercise.mistakes
]


def pairs() -> list[Any]:
    """Return a sample of mistakes that can be made together, spread over each exercise."""
    params = []
    for exercise in EXERCISES:
        switches = [m for m in exercise.mistakes if m.faults and m.named_by == "values"]
        both = [
            pair
            for pair in combinations(switches, 2)
            if not set(pair[0].faults) & set(pair[1].faults)
        ]
        step = max(1, len(both) // PAIRS_PER_EXERCISE)
        for one, other in both[::step][:PAIRS_PER_EXERCISE]:
            params.append(
                pytest.param(exercise, one, other, id=f"{exercise.id}-{one.id}-{other.id}")
            )
    return params


def styles() -> list[Any]:
    """Return every right answer in another style."""
    params = []
    for chapter in dict.fromkeys(exercise.chapter for exercise in EXERCISES):
        module = importlib.import_module(f"tests.checks.styles.{chapter}")
        for name, answers in module.STYLES.items():
            exercise = next(e for e in EXERCISES if e.id == name)
            for answer in answers:
                params.append(pytest.param(exercise, answer, id=f"{name}-{answer.__name__}"))
    return params


@BY_ID
def test_stub_is_not_started_or_a_bug_to_find(exercise: Exercise) -> None:
    answer = define(text_of(exercise).stub)[exercise.id]
    status = verdict(exercise, answer).status
    if exercise.kind == "repair":
        assert status in ("failed", "error"), "a find-the-bug stub runs and is wrong"
    else:
        assert status == "not_started"


@BY_ID
@pytest.mark.parametrize("seed", range(SEEDS))
def test_solution_passes(exercise: Exercise, seed: int) -> None:
    answer = define(text_of(exercise).solution)[exercise.id]
    feedback = verdict(exercise, answer, seed)
    assert feedback.passed, str(feedback)


@pytest.mark.parametrize(("exercise", "mistake"), MISTAKES)
def test_mistake_is_rejected_by_name(exercise: Exercise, mistake: Mistake) -> None:
    feedback = verdict(exercise, adapt(exercise, exercise.wrong_answer(mistake)))
    assert feedback.status in ("failed", "error"), str(feedback)
    if mistake.named_by == "values":
        assert feedback.mistakes == (mistake.id,), str(feedback)
        assert mistake.message in str(feedback.causes)
    else:
        assert feedback.message


@pytest.mark.parametrize(("exercise", "one", "other"), pairs())
def test_two_mistakes_are_named_as_two_or_as_one_that_looks_the_same(
    exercise: Exercise, one: Mistake, other: Mistake
) -> None:
    """A pair may coincide with a single mistake (one hides the other); then that one is named."""
    feedback = verdict(exercise, adapt(exercise, exercise.wrong_answer(one, other)))
    cases = exercise.ordered_cases()
    if not any(caught(exercise, case, one, other) for case in cases):
        assert feedback.passed  # the two cancel: dividing and multiplying back, say
        return
    assert feedback.status in ("failed", "error")
    assert feedback.mistakes, str(feedback)
    named = [next(m for m in exercise.mistakes if m.id == i) for i in feedback.mistakes]
    for case in cases:
        assert agree(exercise, case, named, [one, other]), f"{feedback.mistakes} in {case.name}"


def agree(exercise: Exercise, case: Any, some: list[Mistake], others: list[Mistake]) -> bool:
    """Say whether two sets of mistakes give the same outputs in a case."""
    outputs = []
    for mistakes in (some, others):
        try:
            outputs.append(call_by_name(exercise, exercise.wrong_answer(*mistakes), case))
        except Exception as error:
            outputs.append(type(error))
    one, other = outputs
    if isinstance(one, type) or isinstance(other, type):
        return one == other
    return same_outputs(exercise, case, one, other)


@pytest.mark.parametrize(("exercise", "answer"), styles())
def test_right_answer_in_another_style_passes(exercise: Exercise, answer: Any) -> None:
    for seed in range(2):
        feedback = verdict(exercise, answer, seed)
        assert feedback.passed, str(feedback)


@BY_ID
def test_styles_are_enough(exercise: Exercise) -> None:
    module = importlib.import_module(f"tests.checks.styles.{exercise.chapter}")
    wanted = 6 if exercise.id.endswith(("_forward", "_backward", "_nchw")) else 3
    if exercise.kind == "predict":
        wanted = 1
    assert len(module.STYLES.get(exercise.id, [])) >= wanted


@BY_ID
def test_mistakes_are_many_and_distinct(exercise: Exercise) -> None:
    ids = [mistake.id for mistake in exercise.mistakes]
    assert len(ids) == len(set(ids))
    if exercise.id.endswith(("_forward", "_backward", "_nchw")):
        assert len(ids) >= 6
    messages = [mistake.message for mistake in exercise.mistakes]
    assert len(messages) == len(set(messages))


@BY_ID
def test_variant_without_faults_is_right(exercise: Exercise) -> None:
    if exercise.variant is None:
        return
    for seed in range(3):
        feedback = verdict(exercise, adapt(exercise, exercise.wrong_answer()), seed)
        assert feedback.passed, str(feedback)


@BY_ID
def test_texts_follow_the_rules(exercise: Exercise) -> None:
    assert len(exercise.hints) == 3
    for text in exercise.hints:
        assert 4 <= len(text.split()) <= 45, text
    assert exercise.hints[0].rstrip().endswith("?"), "the first hint is a question"
    assert exercise.insight
    assert 1 <= exercise.difficulty <= 4
    assert 1 <= exercise.minutes <= 60
    text = text_of(exercise)
    assert text.statement
    assert text.reason
    for mistake in exercise.mistakes:
        assert len(mistake.message.split()) <= 60, mistake.message


@BY_ID
def test_cases_have_speaking_names_and_repeat_with_the_seed(exercise: Exercise) -> None:
    cases, again = exercise.ordered_cases(3), exercise.ordered_cases(3)
    names = [case.name for case in cases]
    assert len(names) == len(set(names))
    for case, twin in zip(cases, again, strict=True):
        assert case.name == twin.name
        for name, value in case.inputs.items():
            if isinstance(value, np.ndarray):
                np.testing.assert_array_equal(value, twin.inputs[name])

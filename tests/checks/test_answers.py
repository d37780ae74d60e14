"""Whole answers, right and wrong, as people write them: none is misjudged, none is misnamed."""

from __future__ import annotations

import pytest

from normcourse.checks import find
from tests.checks.measure import Answer, answers, define, verdict


@pytest.mark.parametrize("answer", answers("wrong"), ids=lambda answer: answer.exercise)
def test_a_wrong_answer_is_rejected_and_its_mistakes_are_named(answer: Answer) -> None:
    exercise = find(answer.exercise)
    feedback = verdict(exercise, define(answer.code)[answer.exercise])
    assert feedback.status in ("failed", "error"), str(feedback)
    assert sorted(feedback.mistakes) == sorted(answer.names), str(feedback)
    if not answer.names:  # then facts about the output, or a message that states one itself
        told = feedback.evidence or feedback.stage not in ("values", "special", "gradients")
        assert told or exercise.compare is not None, str(feedback)


@pytest.mark.parametrize("answer", answers("right"), ids=lambda answer: answer.exercise)
def test_a_right_answer_passes_however_it_is_written(answer: Answer) -> None:
    if "torch" in answer.code:
        pytest.importorskip("torch")
    for seed in range(2):
        feedback = verdict(find(answer.exercise), define(answer.code)[answer.exercise], seed)
        assert feedback.passed, str(feedback)

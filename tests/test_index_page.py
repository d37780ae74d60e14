"""The entry page shows what the judge really says."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from normcourse import check
from normcourse.checks import all_exercises
from normcourse.site.quiz_data import Number, load_quiz

_PAGE = Path(__file__).parents[1] / "book" / "index.md"


def test_the_message_on_the_entry_page_is_the_judges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NORMCOURSE_PROGRESS", "off")
    page = _PAGE.read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    (said,) = re.findall(r"```text\n(.*?)\n```", page, flags=re.DOTALL)
    scope = {"np": np}
    exec(code, scope)
    assert (
        said.split() == str(check(scope["batch_norm_forward"])).split()
    )  # lines are shorter there


def test_the_time_of_the_whole_book_is_the_sum_of_the_table() -> None:
    page = _PAGE.read_text(encoding="utf-8")
    rows = re.findall(r"^\| \[\d\d .*\| (\d+) \| (\d+) \| (\d+) \|$", page, flags=re.MULTILINE)
    _, exercises, minutes = (sum(map(int, column)) for column in zip(*rows, strict=True))
    solving = sum(exercise.minutes for exercise in all_exercises())
    assert exercises == len(all_exercises())
    line = (
        f"about {minutes / 60:.0f} hours altogether, {solving / 60:.0f} of them for the exercises."
    )
    assert line in page, f"book/index.md should say: {line}"


def test_the_self_test_has_five_questions_that_say_what_to_read() -> None:
    name = "before_you_begin"
    assert f"```{{quiz}} {name}\n" in _PAGE.read_text(encoding="utf-8")
    questions = load_quiz(_PAGE.parent / "quiz" / f"{name}.toml").questions
    assert len(questions) == 5
    for question in questions:
        assert "*Missed it?*" in question.explanation, question.id
        assert "](" in question.explanation, question.id


def test_the_answers_of_the_self_test_are_what_numpy_says() -> None:
    questions = load_quiz(_PAGE.parent / "quiz" / "before_you_begin.toml").questions
    found = {q.id: q.answer.answer for q in questions if isinstance(q.answer, Number)}
    x = np.zeros((8, 16, 5, 5))
    a, step = 2.0, 1e-6
    slope = ((3 * (a + step)) ** 2 - (3 * (a - step)) ** 2) / (2 * step)
    assert found["variance-of-four"] == np.var([2, 4, 6, 8])
    assert found["means-over-axes"] == x.mean(axis=(0, 2, 3)).size
    assert found["chain-rule"] == pytest.approx(slope)

"""What a learner's code may do, and the one clear message it gets."""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np
import pytest

import normcourse
from normcourse.checks import UnknownExercise, find
from normcourse.checks.exercise import Case, Exercise, Stage
from normcourse.checks.feedback import Feedback
from normcourse.checks.judge import judge
from normcourse.checks.notebook import check
from normcourse.checks.runners import InProcessRunner

EXERCISE = find("batch_norm_forward")


def right(x: Any, gamma: Any, beta: Any, eps: float = 1e-5) -> Any:
    return gamma * (x - x.mean(0)) / np.sqrt(x.var(0) + eps) + beta


def read(answer: Any, *, exercise: Exercise = EXERCISE, time_limit: float = 10.0) -> Feedback:
    return judge(exercise, InProcessRunner(answer, exercise, time_limit=time_limit))


def returning(value: Any) -> Any:
    def answer(x: Any, gamma: Any, beta: Any, eps: float = 1e-5) -> Any:
        return value(x, gamma, beta, eps) if callable(value) else value

    return answer


# What comes back: (what the learner returns, status, stage, words in the message)
RETURNS = {
    "none": (None, "returns", "returned None"),
    "list": (lambda *a: right(*a).tolist(), "returns", "y is a list, expected a NumPy array"),
    "tuple": (lambda *a: (right(*a),), "returns", "y is a tuple"),
    "text": ("normalized", "returns", "y is a str"),
    "number": (3.0, "shape", "y has shape (), expected (4, 3)"),
    "generator": (lambda *a: (row for row in right(*a)), "returns", "generator"),
    "object array": (lambda *a: right(*a).astype(object), "returns", "dtype object"),
    "masked array": (lambda *a: np.ma.masked_array(right(*a)), "returns", "MaskedArray"),
    "one axis more": (lambda *a: right(*a)[None], "shape", "axis of size 1 is too many"),
    "transposed": (lambda *a: right(*a).T, "shape", "(3, 4), expected (4, 3)"),
    "integers": (lambda *a: right(*a).astype(int), "dtype", "y holds integers"),
    "float32": (lambda *a: right(*a).astype(np.float32), "dtype", "y is float32, expected float64"),
    "complex": (lambda *a: right(*a) + 0j, "dtype", "complex numbers"),
    "nan": (lambda *a: right(*a) * np.nan, "finite", "not finite"),
    "the input": (lambda x, *a: x, "values", "values of y differ"),
}


@pytest.mark.parametrize(("value", "stage", "words"), RETURNS.values(), ids=RETURNS)
def test_each_kind_of_return_gets_its_message(value: Any, stage: str, words: str) -> None:
    feedback = read(returning(value))
    assert feedback.status == "failed"
    assert feedback.stage == stage
    assert words in str(feedback).replace("\n  ", " ")


def test_torch_tensor_is_named() -> None:
    torch = pytest.importorskip("torch")
    feedback = read(returning(lambda *a: torch.tensor(right(*a))))
    assert "torch tensor" in feedback.message
    assert ".numpy()" in feedback.message


def test_error_shows_the_learners_own_line() -> None:
    def answer(x: Any, gamma: Any, beta: Any, eps: float = 1e-5) -> Any:
        return x + np.ones(7)

    feedback = read(answer)
    assert (feedback.status, feedback.stage) == ("error", "returns")
    assert "return x + np.ones(7)" in feedback.message
    assert "could not be broadcast" in feedback.message


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda x, gamma: x, "yours are (x, gamma)"),
        (lambda x, gamma, beta, eps, mode: x, "yours are (x, gamma, beta, eps, mode)"),
        (lambda x, *, gamma, beta, eps=0: x, "yours are"),
        (lambda: 0, "yours are ()"),
        (type("batch_norm_forward", (), {}), "is a class, expected"),
    ],
)
def test_wrong_parameters_are_said_before_anything_runs(answer: Any, words: str) -> None:
    feedback = read(answer)
    assert (feedback.status, feedback.stage) == ("error", "signature")
    assert words in feedback.message
    assert "def batch_norm_forward(x, gamma, beta, eps=1e-5)" in feedback.message


def test_extra_parameters_with_defaults_are_fine() -> None:
    assert read(lambda x, gamma, beta, eps=1e-5, axis=0: right(x, gamma, beta, eps)).passed


def test_not_started_is_not_wrong() -> None:
    def answer(x: Any, gamma: Any, beta: Any, eps: float = 1e-5) -> Any:
        raise NotImplementedError

    feedback = read(answer)
    assert feedback.status == "not_started"
    assert "8 minutes" in feedback.message


@pytest.mark.parametrize("kind", ["loop", "sleep", "swallow"])
def test_code_that_does_not_end_is_stopped(kind: str) -> None:
    def answer(x: Any, gamma: Any, beta: Any, eps: float = 1e-5) -> Any:
        if kind == "sleep":
            time.sleep(60)
        while kind == "loop":
            pass
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                while time.monotonic() < deadline:
                    pass
            except Exception:
                continue
        return None

    begun = time.monotonic()
    feedback = read(answer, time_limit=0.3)
    assert feedback.status == "timeout"
    assert "time limit" in feedback.message
    assert time.monotonic() - begun < 20


def test_slow_code_as_a_whole_is_stopped() -> None:
    def answer(x: Any, gamma: Any, beta: Any, eps: float = 1e-5) -> Any:
        time.sleep(0.2)
        return right(x, gamma, beta, eps)

    assert read(answer, time_limit=0.5).status == "timeout"


def raises(error: BaseException) -> Any:
    def answer(x: Any, gamma: Any, beta: Any, eps: float = 1e-5) -> Any:
        raise error

    return answer


@pytest.mark.parametrize("error", [SystemExit(0), GeneratorExit(), RecursionError("deep")])
def test_exits_are_verdicts(error: BaseException) -> None:
    feedback = read(raises(error))
    assert feedback.status == "error"
    assert type(error).__name__ in feedback.message


def test_an_error_that_lies_about_itself_is_survived() -> None:
    class Liar(Exception):
        def __str__(self) -> str:
            raise SystemExit

    assert "Liar" in read(raises(Liar())).message


def test_endless_recursion_is_an_error() -> None:
    def answer(x: Any, gamma: Any, beta: Any, eps: float = 1e-5) -> Any:
        return answer(x, gamma, beta, eps)

    assert "RecursionError" in read(answer).message


def test_changed_argument_is_seen() -> None:
    def answer(x: Any, gamma: Any, beta: Any, eps: float = 1e-5) -> Any:
        y = right(x, gamma, beta, eps)
        if x.flags.writeable:
            x[:] = 0
        return y

    feedback = read(answer)
    assert feedback.stage == "inputs"
    assert "changes its argument x" in feedback.message


def test_writing_into_a_read_only_argument_is_named() -> None:
    def answer(x: Any, gamma: Any, beta: Any, eps: float = 1e-5) -> Any:
        x -= x.mean(0)
        return gamma * x / np.sqrt(x.var(0) + eps) + beta

    feedback = read(answer)
    assert feedback.stage == "inputs"
    assert "writes into its argument" in feedback.message
    assert "x -= x.mean(0)" in feedback.message


def test_prints_are_kept_apart_and_cut() -> None:
    def answer(x: Any, gamma: Any, beta: Any, eps: float = 1e-5) -> Any:
        print("x" * 10_000_000)
        print("also on stderr", file=sys.stderr)
        return right(x, gamma, beta, eps)

    feedback = read(answer)
    assert feedback.passed
    assert feedback.output.startswith("xxx")
    assert len(feedback.output) < 30_000


def test_patched_comparisons_gain_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("allclose", "isclose", "array_equal"):
        monkeypatch.setattr(np, name, lambda *a, **k: True)
    monkeypatch.setattr(np.testing, "assert_allclose", lambda *a, **k: None)
    assert read(returning(lambda x, *a: x)).status == "failed"


def test_results_that_change_are_noticed() -> None:
    calls: list[int] = []

    def drifting(x: Any, gamma: Any, beta: Any, eps: float = 1e-5) -> Any:
        calls.append(1)
        return right(x, gamma, beta, eps) + 1e-3 * len(calls)

    def random(x: Any, gamma: Any, beta: Any, eps: float = 1e-5) -> Any:
        return np.random.default_rng().normal(size=x.shape)

    for answer in (drifting, random):
        assert "another result" in read(answer).message


def test_later_state_is_noticed() -> None:
    calls: list[int] = []

    def answer(x: Any, gamma: Any, beta: Any, eps: float = 1e-5) -> Any:
        calls.append(1)
        return right(x, gamma, beta, eps) + (len(calls) > 11)

    feedback = read(answer)
    assert feedback.stage == "inputs"
    assert "another result" in feedback.message


def test_an_unknown_wrong_answer_gets_evidence() -> None:
    feedback = read(lambda x, gamma, beta, eps=1e-5: 1.07 * right(x, gamma, beta, eps))
    assert feedback.mistakes == ()
    assert feedback.evidence == ("every value of y is 1.07 times the expected one.",)
    assert feedback.max_error is not None


EVIDENCE = {
    "unchanged": (lambda x, g, b, eps=1e-5: x, "y equals x, unchanged"),
    "constant": (lambda x, g, b, eps=1e-5: 0 * x + 2, "every value of y is 2"),
    "shifted": (lambda x, g, b, eps=1e-5: right(x, g, b, eps) + 0.5, "+0.5 away"),
    "sign": (lambda x, g, b, eps=1e-5: -right(x, g, b, eps), "right but for its sign"),
    "moved": (lambda x, g, b, eps=1e-5: right(x, g, b, eps)[::-1], "in other places"),
    "one column": (
        lambda x, g, b, eps=1e-5: right(x, g, b, eps) + np.arange(x.shape[1]) * x**2,
        "along axis 1 of y, 0 is right",
    ),
    "median": (
        lambda x, g, b, eps=1e-5: g * (x - np.median(x, 0)) / np.sqrt(x.var(0) + eps) + b,
        "has no axis with mean 0",
    ),
    "half variance": (
        lambda x, g, b, eps=1e-5: g * (x - x.mean(0)) / np.sqrt(0.3 * x.var(0) + eps + x**2) + b,
        "right",
    ),
}


@pytest.mark.parametrize(("answer", "words"), EVIDENCE.values(), ids=EVIDENCE)
def test_evidence_comes_from_the_learners_own_output(answer: Any, words: str) -> None:
    feedback = read(answer)
    assert feedback.status == "failed"
    assert words in " ".join(feedback.evidence), feedback.evidence


def test_special_cases_come_after_plain_values() -> None:
    stages = [case.stage for case in EXERCISE.ordered_cases()]
    assert stages == sorted(stages)
    assert stages[0] == Stage.VALUES


def test_a_case_that_wants_an_error() -> None:
    exercise = Exercise(
        id="half",
        title="Half",
        notebook="02_batch_norm",
        section="The worked example",
        signature="x",
        minutes=1,
        difficulty=1,
        hints=("a?", "b", "c"),
        insight="i",
        cases=lambda rng: iter(
            [
                Case("two", {"x": 2.0}),
                Case("text", {"x": "two"}, Stage.SPECIAL, raises="TypeError", about="Refuse text."),
            ]
        ),
        reference=lambda x: np.float64(x / 2),
    )

    def value_error(x: Any) -> Any:
        if isinstance(x, str):
            raise ValueError("no")
        return x / 2

    assert read(lambda x: x / 2, exercise=exercise).passed
    assert "expected a TypeError" in read(value_error, exercise=exercise).message
    lenient = read(lambda x: 1.0 if isinstance(x, str) else x / 2, exercise=exercise)
    assert lenient.stage == "special"
    assert "expected a TypeError" in lenient.message


def test_check_in_the_notebook() -> None:
    def normalized_example() -> Any:
        return [-1.342, -0.447, 0.447, 1.342]

    feedback = check(normalized_example)
    assert feedback.passed
    assert "passed" in feedback._repr_html_()
    assert normcourse.check is check


@pytest.mark.parametrize("wrong", ["batch_norm_forward", 3, None])
def test_check_of_no_function_says_what_to_write(wrong: Any) -> None:
    with pytest.raises(TypeError, match="without quotes"):
        check(wrong)


def test_unknown_exercise_names_the_nearest() -> None:
    def batch_norm_foward(x: Any) -> Any:
        return x

    with pytest.raises(UnknownExercise, match="Did you mean batch_norm_forward"):
        check(batch_norm_foward)


def test_same_answer_same_text() -> None:
    answer = returning(lambda x, g, b, eps: g * (x - x.mean(0)) / (x.std(0, ddof=1) + eps) ** 1.5)
    assert str(read(answer)) == str(read(answer))


def test_time_limit_from_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    from normcourse.checks.runners import time_limit_from_environment

    monkeypatch.setenv("NORMCOURSE_TIME_LIMIT", "3")
    assert time_limit_from_environment() == 3.0
    monkeypatch.setenv("NORMCOURSE_TIME_LIMIT", "soon")
    with pytest.raises(ValueError, match="expected seconds"):
        time_limit_from_environment()

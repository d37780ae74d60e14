"""Why an answer is wrong: known mistakes run on the same inputs, then the output's own facts."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np

from normcourse.checks.evidence import facts
from normcourse.checks.exercise import Case, Exercise, Mistake, Outputs
from normcourse.checks.judge import (
    Attempt,
    call_by_name,
    compare_values,
    expected_outputs,
    is_words,
    tolerance_of,
    viewed,
)

_ARRAY = (np.ndarray, np.floating)


def diagnose(
    exercise: Exercise, failing: Attempt, attempts: list[Attempt]
) -> tuple[tuple[Mistake, ...], list[str]]:
    """Return the mistakes that explain the answer, and evidence where none does.

    A mistake explains an answer if it gives the same outputs in every case that was tried, or
    fails with the same kind of error where the answer fails. Single mistakes come first, then
    pairs. A mistake that explains the failing case but not all the others is reported only if it
    explains most of the wrong outputs, and more of them than any other: where both are right it
    says nothing that they agree.
    """
    others = [attempt for attempt in attempts if attempt is not failing]
    partial: list[tuple[float, tuple[Mistake, ...]]] = []
    for candidate in _candidates(exercise, failing):
        explained = [attempt for attempt in others if _explains(exercise, candidate, attempt)]
        if len(explained) == len(others):
            return candidate, []
        telling = sum(attempt.wrong for attempt in explained)
        score = telling / (telling + len(others) - len(explained))
        if len(candidate) == 1:
            partial.append((score, candidate))
    best = max((score for score, _ in partial), default=0.0)
    leaders = [c for score, c in partial if score == best]
    if best >= 0.5 and len(leaders) == 1:
        return leaders[0], []
    return (), facts(exercise, failing)


def _candidates(exercise: Exercise, failing: Attempt) -> Iterator[tuple[Mistake, ...]]:
    """Yield what explains the failing case: single mistakes, then pairs that can be made at once.

    Hundreds of pairs are tried, so those that cannot give the outputs are left out first.
    """
    by_value = [m for m in exercise.mistakes if m.named_by == "values"]
    alone = [m for m in by_value if _explains(exercise, (m,), failing)]
    for mistake in alone:
        yield (mistake,)
    switches = [m for m in by_value if m.faults]
    idle = {m.id for m in switches if _is_idle(m, failing.case)}
    touched = {m.id: _touched(exercise, failing, m) for m in switches if m.id not in idle}
    wrong = _wrong(exercise, failing, failing.got)
    for one, other in combinations(switches, 2):
        if set(one.faults) & set(other.faults):
            continue
        if {one.id, other.id} & idle:  # then the other must have done it alone
            if any(m.id not in idle and m in alone for m in (one, other)):
                yield (one, other)
        elif _may_give(touched[one.id], touched[other.id], wrong) and _explains(
            exercise, (one, other), failing
        ):
            yield (one, other)


def _is_idle(mistake: Mistake, case: Case) -> bool:
    """Say whether a mistake is only about defaults that the case does not take."""
    defaults = [name.removeprefix("default_") for name in mistake.faults if "default_" in name]
    return len(defaults) == len(mistake.faults) and all(name in case.inputs for name in defaults)


def _may_give(one: set[str] | None, other: set[str] | None, wrong: set[str] | None) -> bool:
    """Say whether two mistakes may together spoil just these outputs; None is not known.

    What one of them touches alone stays wrong; what both touch they may put right. Two that touch
    nothing here may still do so together: another eps, and eps at another place.
    """
    if one is None or other is None or not one | other:
        return True
    return wrong is not None and one ^ other <= wrong <= one | other


def _touched(exercise: Exercise, attempt: Attempt, mistake: Mistake) -> set[str] | None:
    """Return which outputs a mistake makes wrong, or None where that cannot be told."""
    try:
        return _wrong(
            exercise,
            attempt,
            call_by_name(exercise, exercise.wrong_answer(mistake), attempt.case),
        )
    except Exception:
        return None


def _wrong(exercise: Exercise, attempt: Attempt, outputs: Outputs | None) -> set[str] | None:
    """Return the names of wrong outputs, or None where they are not judged one by one."""
    if outputs is None or exercise.view is not None or exercise.compare is not None:
        return None
    case, expected = attempt.case, attempt.expected
    if set(outputs) != set(expected):
        return None
    return {
        name
        for name, want in expected.items()
        if not same_outputs(exercise, case, {name: want}, {name: outputs[name]})
    }


def _explains(exercise: Exercise, candidate: tuple[Mistake, ...], attempt: Attempt) -> bool:
    """Say whether the mistakes give what the learner's code gave."""
    case, trial = attempt.case, attempt.trial
    try:
        wrong = call_by_name(exercise, exercise.wrong_answer(*candidate), case)
    except Exception as error:
        return trial.status == "raised" and trial.error.get("type") == type(error).__name__
    if case.raises:
        return trial.status == "returned"  # both let pass what has no answer
    if trial.status != "returned" or attempt.got is None:
        return False
    return same_outputs(exercise, case, wrong, attempt.got)


def same_outputs(exercise: Exercise, case: Case, one: Outputs, other: Outputs) -> bool:
    """Say whether two sets of outputs agree in names, shapes and values."""
    if exercise.is_table:
        return all(_equal(one[name], other.get(name)) for name in one)
    if exercise.view is None and _far_apart(one, other, tolerance_of(case)):
        return False
    words = [name for name in one if is_words(one[name]) or is_words(other.get(name))]
    if set(one) != set(other) or any(one[name] != other[name] for name in words):
        return False
    one, other = ({n: v for n, v in outputs.items() if n not in words} for outputs in (one, other))
    if not _same_shapes(one, other):
        return False
    if any(np.asarray(one[n]).dtype.kind not in "biuf" for n in one):
        return False
    one, other = (viewed(exercise, case.inputs, outputs) for outputs in (one, other))
    return compare_values(one, other, case) is None


def _far_apart(one: Outputs, other: Outputs, tolerance: float) -> bool:
    """Say quickly that outputs differ, as most do; what is not finite is left to a closer look."""
    with np.errstate(all="ignore"):
        for name, want in one.items():
            have = other.get(name)
            if not (isinstance(want, _ARRAY) and isinstance(have, _ARRAY)):
                continue
            if want.dtype.kind == have.dtype.kind == "f" and want.shape == have.shape and want.size:
                gap, scale = abs(want - have).max(), max(1.0, abs(want).max())
                if gap > tolerance * scale:  # never true of NaN
                    return True
    return False


def caught(exercise: Exercise, case: Case, *mistakes: Mistake) -> bool:
    """Say whether a case tells an answer with these mistakes from a right one."""
    if case.raises:
        try:
            call_by_name(exercise, exercise.wrong_answer(*mistakes), case)
        except Exception as error:
            return type(error).__name__ != case.raises
        return True
    try:
        wrong = call_by_name(exercise, exercise.wrong_answer(*mistakes), case)
    except Exception:
        return True
    expected = expected_outputs(exercise, case)
    if exercise.compare is not None and (exercise.is_table or _same_shapes(expected, wrong)):
        return exercise.compare(case, expected, wrong) is not None
    return not same_outputs(exercise, case, expected, wrong)


def _same_shapes(one: Outputs, other: Outputs) -> bool:
    return all(np.shape(one[name]) == np.shape(other[name]) for name in one)


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        same_shape = np.shape(one) == np.shape(other)
        return same_shape and bool(np.all(np.asarray(one) == np.asarray(other)))
    return bool(one == other)

"""Facts about a wrong output, computed from the output itself, for answers no mistake explains."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from normcourse.checks.exercise import Exercise
from normcourse.checks.judge import Attempt, is_words, tolerance_of, viewed, working_dtype

_LIMIT = 2


def facts(exercise: Exercise, attempt: Attempt) -> list[str]:
    """Return up to two sentences that narrow a wrong answer down; at least one if it returned.

    Args:
        exercise: what was asked.
        attempt: the failing case with what was expected and what came.
    """
    if attempt.got is None or exercise.is_table:
        return []
    expected, got = attempt.expected, attempt.got
    if exercise.view is not None:
        if any(np.shape(got[name]) != np.shape(want) for name, want in expected.items()):
            return []
        expected, got = (viewed(exercise, attempt.case.inputs, o) for o in (expected, got))
    found: list[str] = []
    right: list[str] = []
    for name, want in expected.items():
        if is_words(want):
            continue
        want, have = np.asarray(want, dtype=float), np.asarray(got[name])
        if have.shape != want.shape or have.dtype.kind not in "biuf":
            continue
        have = have.astype(float)
        tolerance = tolerance_of(attempt.case) * max(1.0, float(np.abs(want).max(initial=0.0)))
        if np.all(np.abs(have - want) <= tolerance):
            right.append(name)
            continue
        found += _of_output(attempt, name, want, have, tolerance)
    if right and found:
        found.insert(0, f"{_list(right)} {_be(right)} right")
    return [fact + "." for fact in found[:_LIMIT]]


def _of_output(attempt: Attempt, name: str, want: Any, have: Any, tolerance: float) -> list[str]:
    """Return the facts about one output, the most telling first."""
    if not np.isfinite(have).all():
        return []
    sources = {n: v for n, v in attempt.case.inputs.items() if isinstance(v, np.ndarray)}
    for source, value in sources.items():
        if value.shape == have.shape and np.abs(have - value).max(initial=0.0) <= tolerance:
            return [f"{name} equals {source}, unchanged"]
    if want.size < 2:
        return [f"{name} is off by {have.ravel()[0] - want.ravel()[0]:+.4g}"]
    if np.abs(have - have.ravel()[0]).max() <= tolerance:
        return [f"every value of {name} is {have.ravel()[0]:.4g}"]
    for fact in (_factor, _offset, _moved):
        sentence = fact(name, want, have, tolerance)
        if sentence:
            return [sentence]
    found = _pooled_axes(attempt, name, want, have) or _gradient_sum(attempt, name, want, have)
    sliced = _slices(name, want, have, tolerance)
    share = int((np.abs(have - want) <= tolerance).sum())
    count = "no value" if share == 0 else f"{share} of {want.size} values"
    return [*found, sliced or f"{count} of {name} {'are' if share > 1 else 'is'} right"]


def _factor(name: str, want: Any, have: Any, tolerance: float) -> str:
    power = float((want * want).sum())
    if power == 0:
        return ""
    factor = float((want * have).sum()) / power
    if np.abs(have - factor * want).max() > tolerance:
        return ""
    if abs(factor + 1) < 1e-9:
        return f"{name} is right but for its sign"
    near_one = f"{factor:.4g}" == "1"
    return f"every value of {name} is {factor:.{8 if near_one else 4}g} times the expected one"


def _offset(name: str, want: Any, have: Any, tolerance: float) -> str:
    gap = have - want
    if np.abs(gap - gap.ravel()[0]).max() > tolerance:
        return ""
    return f"every value of {name} is {gap.ravel()[0]:+.4g} away from the expected one"


def _moved(name: str, want: Any, have: Any, tolerance: float) -> str:
    if want.ndim < 2 or np.unique(want.round(6)).size < 5:  # few values agree by chance
        return ""
    if np.abs(np.sort(have, axis=None) - np.sort(want, axis=None)).max() > tolerance:
        return ""
    return (
        f"{name} holds the right values in other places: `reshape` keeps the order in memory, "
        f"`transpose` moves axes"
    )


def _slices(name: str, want: Any, have: Any, tolerance: float) -> str:
    """Name the axis along which some entries are right and others wrong."""
    good = np.abs(have - want) <= tolerance
    for axis in range(want.ndim):
        others = tuple(a for a in range(want.ndim) if a != axis)
        right = good.all(axis=others)
        if right.any() and not right.all():
            rights, wrongs = (np.flatnonzero(m).tolist() for m in (right, ~right))
            return (
                f"along axis {axis} of {name}, {_list(rights)} {_be(rights)} right and "
                f"{_list(wrongs)} {_be(wrongs)} wrong"
            )
    return ""


def _pooled_axes(attempt: Attempt, name: str, want: Any, have: Any) -> list[str]:
    """Say over which axes the output has mean 0, if not over those it should have."""
    inputs = attempt.case.inputs
    want, have = (_without_affine(inputs, values) for values in (want, have))
    if name != "y" or want is None or have is None or want.ndim < 2:
        return []
    should, does = _zero_mean_axes(want), _zero_mean_axes(have, _rounding(attempt))
    after = " before gamma and beta" if "gamma" in inputs else ""
    if not should:
        return []
    if does and set(does) != set(should):
        return [
            f"{name}{after} has mean 0 over {_axes(does)}, expected over {_axes(should)}: "
            f"the statistics pool the wrong axes"
        ]
    if not does:
        return [f"{name}{after} has no axis with mean 0, expected over {_axes(should)}"]
    spread, wanted = (float(np.mean(v.var(axis=should))) for v in (have, want))
    if abs(spread - wanted) > 1e-6:
        return [
            f"the mean over {_axes(should)} is 0 as it should be, but the variance there is "
            f"{spread:.4g} on average, expected {wanted:.4g}"
        ]
    return []


def _gradient_sum(attempt: Attempt, name: str, want: Any, have: Any) -> list[str]:
    """Say whether dx adds up to 0 where it should: the mean takes a common shift of x out."""
    should, does = _zero_mean_axes(want), _zero_mean_axes(have, _rounding(attempt))
    if name != "dx" or not should:
        return []
    if not does:
        return [
            f"{name} does not add up to 0 over {_axes(should)}, as it must where x can be shifted "
            f"without effect: look at the path through the mean"
        ]
    if does != should:
        return [
            f"{name} adds up to 0 over {_axes(does)}, expected over {_axes(should)}: the means "
            f"pool the wrong axes"
        ]
    return [
        f"{name} adds up to 0 over {_axes(should)} as it should: look at the path through the "
        f"variance, and at the factors"
    ]


def _without_affine(inputs: dict[str, Any], values: Any) -> Any:
    """Return the values with gamma and beta undone, or None where that cannot be told."""
    for parameter, undo in (("beta", np.subtract), ("gamma", np.divide)):
        if parameter not in inputs:
            continue
        array = np.asarray(inputs[parameter], dtype=float)
        if array.ndim != 1 or values.ndim < 2:
            return None
        if values.ndim > 2 and values.shape[1] == array.size:
            array = array.reshape(1, -1, *(1,) * (values.ndim - 2))
        elif values.shape[-1] != array.size:
            return None
        if undo is np.divide and (array == 0).any():
            return None
        values = undo(values, array)
    return values


def _rounding(attempt: Attempt) -> float:
    """Return how far from 0 a mean may lie that is 0 but for the rounding of the inputs' dtype."""
    return max(1e-6, 4.0 * float(np.finfo(working_dtype(attempt.case.inputs)).eps))


def _zero_mean_axes(values: Any, rounding: float = 1e-6) -> tuple[int, ...]:
    """Return the smallest set of axes over which every mean is 0."""
    for count in range(1, values.ndim + 1):
        for axes in combinations(range(values.ndim), count):
            pools = int(np.prod([values.shape[a] for a in axes]))
            if pools > 1 and np.abs(values.mean(axis=axes)).max() < rounding:
                return axes
    return ()


def _axes(axes: tuple[int, ...]) -> str:
    return f"axis {axes[0]}" if len(axes) == 1 else f"axes {axes}"


def _list(things: Sequence[Any]) -> str:
    if len(things) > 4:
        return f"{', '.join(map(str, things[:3]))} … {things[-1]}"
    *head, last = map(str, things)
    return f"{', '.join(head)} and {last}" if head else last


def _be(things: Sequence[Any]) -> str:
    return "is" if len(things) == 1 else "are"

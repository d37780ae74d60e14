"""Facts about a wrong output, computed from the output itself, for answers no mistake explains."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np

from normcourse.checks.exercise import Exercise
from normcourse.checks.judge import Attempt, is_words, tolerance_of

_LIMIT = 2


def facts(exercise: Exercise, attempt: Attempt) -> list[str]:
    """Return up to two sentences that narrow a wrong answer down; at least one if it returned.

    Args:
        exercise: what was asked.
        attempt: the failing case with what was expected and what came.
    """
    if attempt.got is None or exercise.is_table or exercise.view is not None:
        return []
    found: list[str] = []
    right: list[str] = []
    for name, want in attempt.expected.items():
        if is_words(want):
            continue
        want, have = np.asarray(want, dtype=float), attempt.got[name]
        if have.shape != want.shape or have.dtype.kind not in "biuf":
            continue
        have = have.astype(float)
        tolerance = tolerance_of(attempt.case) * max(1.0, float(np.abs(want).max(initial=0.0)))
        if np.all(np.abs(have - want) <= tolerance):
            right.append(name)
            continue
        found += _of_output(attempt, name, want, have, tolerance)
    if right and found:
        found.insert(0, f"{' and '.join(right)} {'is' if len(right) == 1 else 'are'} right")
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
    found = _pooled_axes(attempt, name, want, have) or _gradient_sum(name, want, have)
    sliced = _slices(name, want, have, tolerance)
    share = int((np.abs(have - want) <= tolerance).sum())
    return [*found, *([sliced] if sliced else [f"{share} of {want.size} values are right"])]


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
    should, does = _zero_mean_axes(want), _zero_mean_axes(have)
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


def _gradient_sum(name: str, want: Any, have: Any) -> list[str]:
    """Say whether dx adds up to 0 where it should: the mean takes a common shift of x out."""
    should, does = _zero_mean_axes(want), _zero_mean_axes(have)
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


def _zero_mean_axes(values: Any) -> tuple[int, ...]:
    """Return the smallest set of axes over which every mean is 0."""
    for count in range(1, values.ndim + 1):
        for axes in combinations(range(values.ndim), count):
            pools = int(np.prod([values.shape[a] for a in axes]))
            if pools > 1 and np.abs(values.mean(axis=axes)).max() < 1e-6:
                return axes
    return ()


def _axes(axes: tuple[int, ...]) -> str:
    return f"axis {axes[0]}" if len(axes) == 1 else f"axes {axes}"


def _list(numbers: list[int]) -> str:
    if len(numbers) > 4:
        return f"{', '.join(map(str, numbers[:3]))} … {numbers[-1]}"
    *head, last = map(str, numbers)
    return f"{', '.join(head)} and {last}" if head else last


def _be(numbers: list[int]) -> str:
    return "is" if len(numbers) == 1 else "are"

"""The judge: walks the cases from the smallest to the hardest and stops at the first that fails.

The judge never runs the learner's code itself; a runner does, here or in another process, and
hands back trials. What is compared are plain arrays, with comparisons of our own.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Protocol

import numpy as np

from normcourse.checks.codec import Unsupported
from normcourse.checks.exercise import Case, Exercise, Inputs, Mismatch, Outputs, Stage
from normcourse.checks.feedback import Feedback
from normcourse.checks.probes import Trial, find_probe

TOLERANCES = {"float64": 1e-6, "float32": 1e-4, "float16": 4e-3}
_NEW_ARRAY = "Write into a new array: `x = x - mean` makes one, `x -= mean` does not."
_FURTHER_CASES = 24  # tried after a failure, so that a mistake is told from its neighbours


class Runner(Protocol):
    """Runs the learner's answer, wherever it lives."""

    def signature(self) -> dict[str, Any]:
        """Return what ``probes.describe_signature`` says of the answer."""
        ...

    def run(self, case: Case) -> Trial:
        """Return what one case came to."""
        ...


@dataclass
class Finding:
    """The first thing that is wrong: at which stage, said how, and where."""

    stage: Stage
    message: str
    mismatch: Mismatch | None = None
    status: str = "failed"


@dataclass
class Attempt:
    """One case with what was expected, what came, and whether that is wrong."""

    case: Case
    expected: Outputs
    trial: Trial
    got: Outputs | None = None
    wrong: bool = False


def judge(exercise: Exercise, runner: Runner, *, seed: int = 0, explain: bool = True) -> Feedback:
    """Return the verdict on an answer.

    Args:
        exercise: what was asked.
        runner: runs the learner's answer.
        seed: of the cases; the same seed gives the same feedback.
        explain: look for the cause of a failure. Without it the verdict is the same, sooner.

    Returns:
        Feedback with status "passed" or with the first failing case, its likely cause and what
        to do next.
    """
    finding = examine_signature(exercise, runner.signature())
    if finding is not None:
        return _failed(exercise, finding, seed)
    attempts: list[Attempt] = []
    cases = exercise.ordered_cases(seed)
    for number, case in enumerate(cases):
        attempt = _attempt(exercise, runner, case)
        if number == 0 and _not_started(attempt.trial):
            return not_started(exercise, seed)
        attempts.append(attempt)
        finding = examine(exercise, attempt)
        if finding is not None and explain:
            return _diagnosed(exercise, runner, finding, attempts, cases[number + 1 :], seed)
        if finding is not None:
            return _failed(exercise, finding, seed, attempt)
    finding, seen_in = _habits(exercise, runner, attempts)
    if finding is not None:
        return _failed(exercise, finding, seed, seen_in)
    return _passed(exercise, cases, attempts, seed)


def examine_signature(exercise: Exercise, signature: dict[str, Any]) -> Finding | None:
    """Say whether the answer is of the right kind and can be called as the exercise asks."""
    wanted = exercise.asks_for
    form = f"`{'class' if wanted == 'class' else 'def'} {exercise.id}({exercise.signature})`"
    if signature["kind"] != wanted:
        came = {"class": "a class", "function": "a function"}.get(signature["kind"], "a value")
        message = f"{exercise.id} is {came}, expected {form}. Pass the {wanted} itself."
        return Finding(Stage.SIGNATURE, message, status="error")
    parameters = signature["parameters"]
    if parameters is None or any(kind == "rest" for _, kind, _ in parameters):
        return None
    wanted_count, wanted_required = _count(exercise.signature)
    places = [default for _, kind, default in parameters if kind == "positional"]
    needed = sum(not default for default in places)
    forced = [name for name, kind, default in parameters if kind == "keyword" and not default]
    if forced or needed > wanted_required or len(places) < wanted_count:
        own = ", ".join(_parameter(*p) for p in parameters)
        message = f"expected the parameters ({exercise.signature}), yours are ({own}). "
        return Finding(Stage.SIGNATURE, message + f"Begin with {form}.", status="error")
    return None


def examine(exercise: Exercise, attempt: Attempt) -> Finding | None:
    """Say what is wrong with one attempt, or None. Fills in ``attempt.got``."""
    case, trial = attempt.case, attempt.trial
    if trial.status != "returned":
        return _examine_stop(case, trial)
    if case.raises:
        message = f"expected a {case.raises}, your function returned a value. {case.about}".strip()
        return Finding(case.stage, message)
    got, message = name_outputs(exercise, attempt)
    if got is None:
        return Finding(Stage.RETURNS, message)
    attempt.got = got
    if exercise.is_table:
        assert exercise.compare is not None
        return _found(case, exercise.compare(case, attempt.expected, got))
    for check in (_words, _shapes, _dtypes, _finite):
        finding = check(exercise, attempt)
        if finding is not None:
            return finding
    if exercise.compare is not None:
        return _found(case, exercise.compare(case, attempt.expected, got))
    expected = viewed(exercise, case.inputs, attempt.expected)
    mismatch = compare_values(expected, viewed(exercise, case.inputs, got), case)
    return _found(case, mismatch, of_view=exercise.view is not None)


def name_outputs(exercise: Exercise, attempt: Attempt) -> tuple[Outputs | None, str]:
    """Return what came back as named outputs, or None and the reason."""
    names, value = attempt.case.outputs or exercise.outputs, attempt.trial.value
    listed = ", ".join(names)
    if value is None:
        return None, f"your function returned None. Does it end with `return {listed}`?"
    if len(names) == 1:
        if isinstance(value, dict) and set(value) == set(names):
            value = value[names[0]]
        items = [value]
    elif isinstance(value, dict) and set(value) == set(names):
        items = [value[name] for name in names]
    elif isinstance(value, tuple | list) and len(value) == len(names):
        items = list(value)
    else:
        count = len(value) if isinstance(value, tuple | list) else 1
        things = "one value" if count == 1 else f"{count} values"
        return None, f"expected {len(names)} values ({listed}), got {things}. Return ({listed})."
    if exercise.is_table:
        return dict(zip(names, items, strict=True)), ""
    named: Outputs = {}
    for name, item in zip(names, items, strict=True):
        if is_words(attempt.expected.get(name)):
            named[name] = item
            continue
        array, message = _as_array(exercise, name, item)
        if array is None:
            return None, message
        named[name] = array
    return named, ""


def compare_values(expected: Outputs, got: Outputs, case: Case) -> Mismatch | None:
    """Return the worst difference if it is beyond the tolerance.

    The error is the largest absolute difference relative to max(1, max abs expected).
    """
    worst: Mismatch | None = None
    tolerance = tolerance_of(case)
    for name, value in _arrays_of(expected).items():
        want, have = np.asarray(value), np.asarray(got[name])
        gap = _gap(want, have)
        finite = np.abs(want[np.isfinite(want)])
        scale = max(1.0, float(finite.max(initial=0.0)))
        error = float(gap.max(initial=0.0))
        if not error <= tolerance * scale and (worst is None or not error <= worst.error):
            flat = int(np.argmax(np.where(np.isnan(gap), np.inf, gap)))
            index = tuple(int(i) for i in np.unravel_index(flat, want.shape))
            worst = Mismatch(name, index, want[index].item(), have[index].item(), error)
    return worst


def _gap(want: Any, have: Any) -> Any:
    """Return the absolute differences; equal infinities and two NaN differ by 0."""
    wide = np.complex128 if "c" in (want.dtype.kind, have.dtype.kind) else np.float64
    with np.errstate(invalid="ignore", over="ignore"):
        gap = np.abs(have.astype(wide) - want.astype(wide))
    return np.where((have == want) | (np.isnan(have) & np.isnan(want)), 0.0, gap)


@lru_cache(maxsize=64)
def tolerance_of(case: Case) -> float:
    """Return the tolerance of a case: its own, or that of its narrowest floating input."""
    if case.tolerance is not None:
        return case.tolerance
    return TOLERANCES[str(working_dtype(case.inputs))]


def working_dtype(inputs: Inputs) -> np.dtype[Any]:
    """Return the narrowest floating dtype among the input arrays, float64 if there is none."""
    kinds = [a.dtype for a in _arrays(inputs) if a.dtype.kind == "f"]
    return min(kinds, key=lambda d: d.itemsize, default=np.dtype(np.float64))


def expected_outputs(exercise: Exercise, case: Case) -> Outputs:
    """Return the right outputs of a case, computed in float64."""
    widened = replace(case, inputs=_widened(case.inputs))
    return call_by_name(exercise, exercise.reference, widened)


def call_by_name(exercise: Exercise, function: Callable[..., Any], case: Case) -> Outputs:
    """Call a reference or a wrong answer on copies and name what it returns.

    By name where the exercise is a plain call, else through the probe that the learner's code has.
    """
    probe, names = case.probe or exercise.probe, case.outputs or exercise.outputs
    inputs = {name: _fresh(item) for name, item in case.inputs.items()}
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        value = function(**inputs) if probe == "call" else find_probe(probe)(function, inputs)
    if isinstance(value, dict) and set(value) == set(names):
        return value
    return {names[0]: value} if len(names) == 1 else dict(zip(names, value, strict=True))


def is_words(value: Any) -> bool:
    """Say whether an output is text or yes and no, which is right or wrong as a whole."""
    return isinstance(value, str | bool)


def _arrays_of(outputs: Outputs) -> Outputs:
    return {name: value for name, value in outputs.items() if not is_words(value)}


def viewed(exercise: Exercise, inputs: Inputs, outputs: Outputs) -> Outputs:
    """Return what of the outputs is compared."""
    if exercise.view is None:
        return outputs
    with np.errstate(all="ignore"):
        return exercise.view(_widened(inputs), outputs)


def not_started(exercise: Exercise, seed: int = 0) -> Feedback:
    """Return the feedback for an answer that is still the stub."""
    return Feedback(
        exercise.id,
        exercise.version,
        "not_started",
        f"about {exercise.minutes} minutes. Write `{exercise.id}({exercise.signature})`, "
        f"then check again.",
        next=_chapter(exercise),
        hint=f"hint({exercise.id})",
        seed=seed,
    )


def not_loaded(exercise: Exercise, message: str, *, output: str = "") -> Feedback:
    """Return the feedback for code that does not define the answer."""
    return Feedback(
        exercise.id,
        exercise.version,
        "error",
        message,
        stage=Stage.LOADS.name.lower(),
        next=_chapter(exercise),
        hint=f"hint({exercise.id})",
        output=output,
    )


def _attempt(exercise: Exercise, runner: Runner, case: Case) -> Attempt:
    expected = {} if case.raises else expected_outputs(exercise, case)
    return Attempt(case, expected, runner.run(case))


def _not_started(trial: Trial) -> bool:
    return trial.status == "raised" and trial.error.get("type") == "NotImplementedError"


def _examine_stop(case: Case, trial: Trial) -> Finding | None:
    """Say what a call that returned nothing came to."""
    kind = str(trial.error.get("type", ""))
    text = str(trial.error.get("message", ""))
    if case.layout == "read-only" and "read-only" in text:
        line = f" in `{trial.error['line']}`" if trial.error.get("line") else ""
        message = f"your function writes into its argument{line}. {_NEW_ARRAY}"
        return Finding(Stage.INPUTS, message)
    if trial.status == "raised" and case.raises and kind == case.raises:
        return None
    if trial.status == "timeout":
        message = "your code ran into the time limit. Is there a loop that does not end?"
        return Finding(Stage.RETURNS, message, status="timeout")
    if trial.status == "memory":
        message = "your code asked for more memory than there is. Which array grows so large?"
        return Finding(Stage.RETURNS, message, status="error")
    if trial.status == "crashed":
        message = f"your code ended the process that ran it ({text or 'no reason given'})."
        return Finding(Stage.RETURNS, message, status="error")
    if trial.status == "raised" and kind == "Unusable":
        return Finding(Stage.RETURNS, text)
    where = f" in your line {trial.error.get('lineno')}" if trial.error.get("lineno") else ""
    line = f": `{trial.error['line']}`" if trial.error.get("line") else ""
    if kind in ("SystemExit", "KeyboardInterrupt", "GeneratorExit"):
        message = f"your code raised {kind}{where}{line}. A function returns, it does not exit."
        return Finding(Stage.RETURNS, message, status="error")
    wanted = f", expected a {case.raises}" if case.raises else ""
    message = f"your code raised {kind}{where}{line} ({text}){wanted}."
    return Finding(Stage.RETURNS, message, status="error")


def _as_array(exercise: Exercise, name: str, item: Any) -> tuple[Any, str]:
    """Return one output as an array, or None and the reason."""
    if isinstance(item, Unsupported):
        if item.type_name.startswith("torch."):
            fix = f"Work with the NumPy array you were given, or return `{name}.numpy()`."
            return None, f"{name} is a torch tensor, expected a NumPy array. {fix}"
        return None, f"{name} is of type {item.type_name}, expected a NumPy array of numbers."
    if item is None:
        return None, f"{name} is None, expected an array. Is it assigned on every path?"
    if isinstance(item, list | tuple) and "list" not in exercise.accepts:
        kind = type(item).__name__
        return None, f"{name} is a {kind}, expected a NumPy array. Return `np.array({name})`."
    if isinstance(item, str | dict):
        return None, f"{name} is a {type(item).__name__}, expected a NumPy array of numbers."
    try:
        array = np.asarray(item)
    except ValueError:
        return None, f"{name} is a list whose rows have different lengths, expected an array."
    if array.dtype.kind not in "biufc":
        return None, f"{name} has dtype {array.dtype}, expected numbers."
    return array, ""


def _words(exercise: Exercise, attempt: Attempt) -> Finding | None:
    assert attempt.got is not None
    for name, want in attempt.expected.items():
        have = attempt.got[name]
        if is_words(want) and (type(have) is not type(want) or have != want):
            message = f"{name}: expected {_said(want)}, got {_said(have)}."
            return Finding(attempt.case.stage, message)
    return None


def _said(value: Any) -> str:
    """Return an output in words, as a sentence holds it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value) if isinstance(value, str | int | float) else type(value).__name__


def _shapes(exercise: Exercise, attempt: Attempt) -> Finding | None:
    assert attempt.got is not None
    for name, want in _arrays_of(attempt.expected).items():
        want, have = np.asarray(want), attempt.got[name]
        if have.shape != want.shape:
            message = f"{name} has shape {have.shape}, expected {want.shape}."
            if have.size == want.size and _squeezed(have) == _squeezed(want):
                message += " The numbers may be right; an axis of size 1 is too many or missing."
            return Finding(Stage.SHAPE, message)
    return None


def _dtypes(exercise: Exercise, attempt: Attempt) -> Finding | None:
    assert attempt.got is not None
    floor = working_dtype(attempt.case.inputs)
    for name, want in _arrays_of(attempt.expected).items():
        have, wanted_kind = attempt.got[name].dtype, np.asarray(want).dtype.kind
        if wanted_kind != "f" or ("list" in exercise.accepts and have.kind in "iu"):
            continue
        if have.kind != "f":
            words = {"b": "booleans", "i": "integers", "u": "integers", "c": "complex numbers"}
            message = f"{name} holds {words[have.kind]} ({have}), expected {floor}."
            return Finding(Stage.DTYPE, message + " Was a result written into an integer array?")
        if have.itemsize < floor.itemsize and "float32" not in exercise.accepts:
            message = f"{name} is {have}, expected {floor} as the input: digits are lost on the way"
            return Finding(Stage.DTYPE, message + ". Look for a cast or a `dtype=`.")
    return None


def _finite(exercise: Exercise, attempt: Attempt) -> Finding | None:
    assert attempt.got is not None
    for name, want in _arrays_of(attempt.expected).items():
        want, have = np.asarray(want), attempt.got[name]
        bad = ~np.isfinite(have) & np.isfinite(want)
        if bad.any():
            index = tuple(int(i) for i in np.argwhere(bad)[0])
            mismatch = Mismatch(name, index, want[index].item(), have[index].item())
            count = int(bad.sum())
            message = f"{count} of {have.size} values of {name} are not finite numbers."
            return Finding(Stage.FINITE, message, mismatch)
    return None


def _found(case: Case, mismatch: Mismatch | None, *, of_view: bool = False) -> Finding | None:
    if mismatch is None:
        return None
    message = mismatch.message or f"the values of {mismatch.name} differ; its shape is right."
    if of_view and not mismatch.message:
        message = f"not as it should be: {mismatch.name}."
    return Finding(case.stage, message, mismatch)


def _habits(
    exercise: Exercise, runner: Runner, attempts: list[Attempt]
) -> tuple[Finding | None, Attempt | None]:
    """Look at what only shows beside right values: changed arguments, changing results."""
    for attempt in attempts:
        if attempt.trial.changed:
            names = " and ".join(attempt.trial.changed)
            message = f"the values are right, but your function changes its argument {names}. "
            return Finding(Stage.INPUTS, message + _NEW_ARRAY), attempt
    first = next((a for a in attempts if a.got is not None), None)
    if first is not None and not _repeats(exercise, runner, first):
        message = "the same input gave another result the second time. Keep no state between calls."
        return Finding(Stage.INPUTS, message), first
    return None, None


def _repeats(exercise: Exercise, runner: Runner, attempt: Attempt) -> bool:
    trial = runner.run(attempt.case)
    if trial.status != "returned" or attempt.got is None:
        return False
    again, _ = name_outputs(exercise, replace(attempt, trial=trial))
    if again is None:
        return False
    words = [n for n in again if exercise.is_table or is_words(attempt.expected.get(n))]
    if not all(_alike(again[n], attempt.got[n]) for n in words):
        return False
    if exercise.is_table:
        return True
    before, again = ({n: o[n] for n in o if n not in words} for o in (attempt.got, again))
    if any(np.shape(again[n]) != np.shape(before[n]) for n in again):
        return False
    if compare_values(before, again, attempt.case) is None:
        return True
    shapes = {name: np.shape(want) for name, want in attempt.expected.items()}
    if exercise.view is None or any(np.shape(again[n]) != shapes.get(n) for n in again):
        return False
    want, have = (viewed(exercise, attempt.case.inputs, o) for o in (before, again))
    return compare_values(want, have, attempt.case) is None


def _alike(one: Any, other: Any) -> bool:
    """Say whether two plain values are the same, NaN included."""
    try:
        return bool(np.array_equal(one, other, equal_nan=True))
    except TypeError:  # text and mixed values know no NaN
        return bool(np.array_equal(one, other))


def _diagnosed(
    exercise: Exercise,
    runner: Runner,
    finding: Finding,
    attempts: list[Attempt],
    rest: list[Case],
    seed: int,
) -> Feedback:
    """Return the feedback on a failed case, with its cause or with evidence."""
    from normcourse.checks.diagnose import diagnose  # needed only when something failed

    failing = attempts[-1]
    if failing.trial.status in ("timeout", "crashed", "memory") or finding.stage is Stage.INPUTS:
        return _failed(exercise, finding, seed, failing)  # the finding says it all
    if failing.got is not None and not _repeats(exercise, runner, failing):
        message = "the same input gives another result each time. Keep no state between calls."
        return _failed(exercise, replace_message(finding, message), seed, failing)
    for case in rest[:_FURTHER_CASES]:
        attempt = _attempt(exercise, runner, case)
        if attempt.trial.status in ("timeout", "crashed", "memory"):
            break
        attempt.wrong = examine(exercise, attempt) is not None
        attempts.append(attempt)
    mistakes, evidence = diagnose(exercise, failing, attempts)
    about = failing.case.about
    if about and about not in finding.message:
        finding = replace(finding, message=f"{finding.message} {about}")
    feedback = _failed(exercise, finding, seed, failing)
    section = next((m.section for m in mistakes if m.section), exercise.section)
    return replace(
        feedback,
        mistakes=tuple(m.id for m in mistakes),
        causes=tuple(m.message for m in mistakes),
        evidence=tuple(evidence),
        next=_chapter(exercise, section),
    )


def replace_message(finding: Finding, message: str) -> Finding:
    """Return the finding with another message and without numbers that would not repeat."""
    return replace(finding, message=message, mismatch=None)


def _failed(
    exercise: Exercise, finding: Finding, seed: int, attempt: Attempt | None = None
) -> Feedback:
    mismatch = finding.mismatch
    numbers: dict[str, Any] = {}
    if mismatch is not None and not mismatch.message:
        place = f"[{', '.join(map(str, mismatch.index))}]" if mismatch.index else ""
        error = mismatch.error if np.isfinite(mismatch.error) else None
        numbers = {
            "expected": mismatch.expected,
            "got": mismatch.got,
            "worst": f"{mismatch.name}{place}",
            "max_error": error,
        }
    why = f" {mismatch.why[0].upper()}{mismatch.why[1:]}." if mismatch and mismatch.why else ""
    return Feedback(
        exercise.id,
        exercise.version,
        finding.status,
        finding.message + why,
        stage=finding.stage.name.lower(),
        case=attempt.case.name if attempt else "",
        setting=setting(attempt.case) if attempt else "",
        next=_chapter(exercise),
        hint=f"hint({exercise.id})",
        output=attempt.trial.output if attempt else "",
        seed=seed,
        **numbers,
    )


def _passed(exercise: Exercise, cases: list[Case], attempts: list[Attempt], seed: int) -> Feedback:
    names = list(dict.fromkeys(case.name for case in cases))
    return Feedback(
        exercise.id,
        exercise.version,
        "passed",
        f"{len(cases)} {'case agrees' if len(cases) == 1 else 'cases agree'} with the reference.",
        insight=exercise.insight,
        proven=tuple(names),
        output=attempts[0].trial.output,
        seed=seed,
    )


def setting(case: Case) -> str:
    """Return a case's inputs in brief: its first array and its numbers.

    Example:
        >>> setting(Case("", {"x": np.zeros((4, 3)), "gamma": np.ones(3), "eps": 0.3}))
        'x of shape (4, 3), float64, eps = 0.3'
    """
    parts: list[str] = []
    for name, value in case.inputs.items():
        if isinstance(value, np.ndarray) and not parts:
            parts.append(f"{name} of shape {value.shape}, {value.dtype}")
        elif isinstance(value, float):
            parts.append(f"{name} = {value:g}".replace("e-0", "e-").replace("e+0", "e"))
        elif isinstance(value, bool | int | str):
            parts.append(f"{name} = {value!r}")
    return ", ".join(parts)


def _chapter(exercise: Exercise, section: str = "") -> str:
    return f'chapter {exercise.notebook[:2]}, "{section or exercise.section}"'


def _count(signature: str) -> tuple[int, int]:
    """Return how many parameters a signature has and how many of them lack a default."""
    names = [part.strip() for part in signature.split(",") if part.strip()]
    return len(names), sum("=" not in name for name in names)


def _parameter(name: str, kind: str, default: bool) -> str:
    stars = {"rest": "*", "options": "**"}.get(kind, "")
    return f"{stars}{name}=…" if default else f"{stars}{name}"


def _arrays(inputs: Inputs) -> list[Any]:
    found: list[Any] = []
    for value in inputs.values():
        if isinstance(value, np.ndarray):
            found.append(value)
        elif isinstance(value, list | tuple):
            found += [item for item in value if isinstance(item, np.ndarray)]
    return found


def _widened(inputs: Inputs) -> Inputs:
    """Return the inputs with every narrower float array as float64."""

    def wide(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return value.astype(np.float64) if value.dtype.kind == "f" else value
        if isinstance(value, list):
            return [wide(item) for item in value]
        return value

    return {name: wide(value) for name, value in inputs.items()}


def _fresh(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, list):
        return [_fresh(item) for item in value]
    return value


def _squeezed(array: Any) -> tuple[int, ...]:
    return tuple(size for size in array.shape if size != 1)

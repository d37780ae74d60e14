"""What a learner calls in a notebook: check, hint, solution, progress and reset.

Each returns an object that shows itself: as HTML in Jupyter, as text elsewhere.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from normcourse.checks import find
from normcourse.checks import progress as store
from normcourse.checks.catalogue import listed
from normcourse.checks.exercise import Exercise
from normcourse.checks.feedback import Feedback, _escape, _inline
from normcourse.checks.judge import judge, not_started
from normcourse.checks.progress import BadProgress, Progress
from normcourse.checks.runners import InProcessRunner, time_limit_from_environment
from normcourse.checks.source import same_code
from normcourse.checks.texts import supplied_code, text_of

Answer = Callable[..., Any] | type | str


@dataclass(frozen=True)
class Note:
    """A short text with perhaps some code, shown as HTML or as text."""

    title: str
    paragraphs: tuple[str, ...] = ()
    code: str = ""

    def __str__(self) -> str:
        code = [self.code] if self.code else []
        return "\n\n".join([self.title, *code, *self.paragraphs])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        code = f"<pre><code>{_escape(self.code)}</code></pre>" if self.code else ""
        body = "".join(f"<p style='margin:.3em 0'>{_inline(p)}</p>" for p in self.paragraphs)
        style = "border-left:4px solid #56B4E9;padding:.4em .9em;margin:.5em 0;max-width:46em"
        title = f"<p style='margin:.2em 0'><strong>{_inline(self.title)}</strong></p>"
        return f'<div class="nc-note" style="{style}">{title}{code}{body}</div>'


def check(answer: Callable[..., Any] | type) -> Feedback:
    """Judge an answer and say what is right, what is wrong and why.

    Args:
        answer: the function or class you wrote, not its name and not a call of it.

    Returns:
        Feedback; the last line of a cell shows it.

    Raises:
        TypeError: not a function or class.
        UnknownExercise: no exercise has the answer's name.

    Example:
        >>> def normalized_example():
        ...     raise NotImplementedError
        >>> check(normalized_example).status
        'not_started'
    """
    if not callable(answer) or not hasattr(answer, "__name__"):
        raise TypeError(
            f"check: expected your function or class, got {type(answer).__name__}. "
            f"Write check(batch_norm_forward), without quotes and without a call."
        )
    exercise = find(answer.__name__)
    feedback = verdict_on(exercise, answer)
    _remember(
        lambda kept: kept.with_verdict(exercise.id, exercise.version, feedback.status, store.now())
    )
    return feedback


def hint(answer: Answer) -> Note:
    """Return the next hint of an exercise; there are three, from a question to almost the line."""
    exercise = _exercise_of(answer)
    entry = _kept().entry(exercise.id)
    shown = min((entry.hints if entry else 0) + 1, len(exercise.hints))
    _remember(lambda kept: kept.with_hint(exercise.id, exercise.version, shown, store.now()))
    title = f"Hint {shown} of {len(exercise.hints)} for `{exercise.id}`"
    return Note(title, exercise.hints[:shown][-1:])


def solution(answer: Answer) -> Note:
    """Return the authors' solution of an exercise and the reason for it."""
    exercise = _exercise_of(answer)
    text = text_of(exercise)
    return Note(f"A solution of `{exercise.id}`", (text.reason,), text.solution)


def progress() -> Note:
    """Return how far you are, chapter by chapter."""
    kept, lines, done = _kept(), [], 0
    exercises = list(listed().values())
    for notebook in dict.fromkeys(exercise.notebook for exercise in exercises):
        members = [e for e in exercises if e.notebook == notebook]
        passed = [e for e in members if kept.passed(e.id)]
        done += len(passed)
        marks = "".join("■" if e in passed else "□" for e in members)
        lines.append(f"{notebook}: {marks} {len(passed)} of {len(members)}")
    return Note(f"{done} of {len(exercises)} exercises passed", tuple(lines))


def reset(answer: Answer) -> Note:
    """Forget your verdicts and hints of one exercise and show its stub again.

    Your code is not touched: copy the stub over it if you want to begin anew.
    """
    exercise = _exercise_of(answer)
    _remember(lambda kept: kept.without(exercise.id))
    return Note(f"`{exercise.id}` is as if never opened. Its stub:", (), text_of(exercise).stub)


def verdict_on(exercise: Exercise, answer: Any) -> Feedback:
    """Judge an answer in this interpreter: the stub is not started, the rest is for the judge."""
    if _is_stub(exercise, answer):
        return not_started(exercise)
    supplied: dict[str, Any] = {}
    if exercise.uses:
        exec(supplied_code(exercise), supplied_scope := _scope(exercise))
        supplied = {name: supplied_scope[name] for name in exercise.uses}
    runner = InProcessRunner(
        answer, exercise, supplied=supplied, time_limit=time_limit_from_environment()
    )
    return judge(exercise, runner)


def _scope(exercise: Exercise) -> dict[str, Any]:
    import numpy

    scope: dict[str, Any] = {"np": numpy, "__name__": "supplied"}
    if exercise.runtime == "torch":
        import torch

        scope |= {"torch": torch, "nn": torch.nn}
    return scope


def _is_stub(exercise: Exercise, answer: Any) -> bool:
    try:
        return same_code(inspect.getsource(answer), text_of(exercise).stub)
    except (OSError, TypeError):
        return False


def _exercise_of(answer: Answer) -> Exercise:
    return find(answer if isinstance(answer, str) else getattr(answer, "__name__", repr(answer)))


def _kept() -> Progress:
    try:
        return store.load(store.default_path())
    except BadProgress as error:
        print(error, file=sys.stderr)
        return Progress()


def _remember(change: Callable[[Progress], Progress]) -> None:
    """Change the progress file; a verdict is never lost to a file that cannot be written."""
    path = store.default_path()
    if path is None:
        return
    try:
        store.save(change(store.load(path)), path)
    except (BadProgress, OSError) as error:
        print(f"Progress was not saved: {error}", file=sys.stderr)

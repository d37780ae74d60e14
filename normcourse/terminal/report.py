"""What a learner reads of a verdict on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from normcourse.checks.catalogue import Listed, listed
from normcourse.checks.progress import Progress
from normcourse.terminal.screen import Screen
from normcourse.terminal.task import Verdict

_COLOURS = {"passed": "good", "failed": "bad", "error": "bad", "timeout": "bad"}
_LABELS = {"  Likely cause:": "label", "  Cause ": "label", "  Next:": "link"}


def show_verdict(screen: Screen, verdict: Verdict, kept: Progress, *, brief: bool) -> None:
    """Write one verdict, unless there is nothing to say of it yet.

    Args:
        screen: where to.
        verdict: what came of the exercise.
        kept: progress, for the number of the next hint.
        brief: one line is enough.
    """
    feedback = verdict.feedback
    if feedback is None or feedback.status == "not_started":
        return
    text = replace(feedback, hint="").text(ascii_only=not screen.fancy, width=screen.width)
    first, *others = text.split("\n")
    screen.line(first, _COLOURS[feedback.status])
    if brief:
        return
    for line in others:
        style = next((style for label, style in _LABELS.items() if line.startswith(label)), "")
        screen.line(line, style)
    if feedback.hint:  # a line of its own, to be copied whole
        screen.line(f"  {help_for(feedback.exercise, kept)}", "link")
    screen.line()


def help_for(exercise: str, kept: Progress) -> str:
    """Return the command that helps next: for the next hint, or the solution after the last."""
    count, shown = len(listed()[exercise].hints), hints_shown(exercise, kept)
    if shown == count:
        return f"Solution: normcourse solution {exercise}"
    return f"Hint {shown + 1} of {count}: normcourse hint {exercise}"


def hints_shown(exercise: str, kept: Progress) -> int:
    """Return how many hints of an exercise were read."""
    tried = kept.entry(exercise)
    return min(tried.hints, len(listed()[exercise].hints)) if tried else 0


def show_summary(screen: Screen, verdicts: Sequence[Verdict], kept: Progress) -> None:
    """Write what is not started, the count, and what comes next."""
    waiting = [v.exercise for v in verdicts if v.status == "not_started"]
    if waiting:
        names = ", ".join(f"{exercise.id} ({exercise.minutes} min)" for exercise in waiting)
        mark = "·" if screen.fancy else "[ ]"
        screen.wrapped(f"{mark} not started: {names}", "quiet", indent=0)
    passed = sum(v.status == "passed" for v in verdicts)
    open_ones = [v for v in verdicts if v.status not in ("passed", "not_started")]
    screen.line(f"{passed} of {len(verdicts)} passed.", "good" if passed == len(verdicts) else "")
    if open_ones:
        return
    following = waiting[0] if waiting else next_exercise(kept, verdicts[-1].exercise.id)
    if following is None:
        screen.line("That was the last one: every exercise of the course is passed.", "good")
    else:
        screen.wrapped(f"Next: {described(following)}.", "link", indent=0)


def next_exercise(kept: Progress, after: str = "") -> Listed | None:
    """Return the next exercise that is not passed, from the one after ``after`` on, or None."""
    ids = list(listed())
    start = ids.index(after) + 1 if after else 0
    return next(
        (listed()[name] for name in ids[start:] + ids[:start] if not kept.passed(name)), None
    )


def described(exercise: Listed) -> str:
    """Return an exercise in a few words.

    Example:
        >>> described(listed()["batch_norm_forward"])
        'batch_norm_forward (about 8 minutes, difficulty 1 of 4) in 02_batch_norm.ipynb'
    """
    return (
        f"{exercise.id} (about {exercise.minutes} minutes, difficulty {exercise.difficulty} of 4) "
        f"in {exercise.notebook}.ipynb"
    )

"""The commands around solving: hint, solution, progress, next and forgetting a verdict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from normcourse.checks import progress as store
from normcourse.checks.catalogue import Listed, chapters, entry, listed
from normcourse.checks.progress import BadProgress, Progress
from normcourse.terminal import BadInput
from normcourse.terminal.record import Record
from normcourse.terminal.report import described, help_for, hints_shown, next_exercise
from normcourse.terminal.screen import Screen

Confirm = Callable[[str], bool]
BAR = 24


def hint(exercise_id: str, record: Record, out: Screen, *, number: int | None = None) -> int:
    """Write the next hint of an exercise, or one that was read before, and remember it."""
    exercise = entry(exercise_id)
    count, shown = len(exercise.hints), hints_shown(exercise_id, record.kept)
    chosen = min(shown + 1, count) if number is None else number
    if not 1 <= chosen <= min(shown + 1, count):
        raise BadInput(f"--number: expected 1 to {min(shown + 1, count)}, got {chosen}.")
    out.line(f"Hint {chosen} of {count} for {exercise_id}", "bold")
    out.wrapped(exercise.hints[chosen - 1])
    record.change(lambda kept: kept.with_hint(exercise_id, exercise.version, chosen, store.now()))
    if chosen < count:
        out.line(f"One more: normcourse hint {exercise_id}", "quiet")
    else:
        out.line(f"That was the last. The answer: normcourse solution {exercise_id}", "quiet")
    return 0


def solution(exercise_id: str, record: Record, out: Screen, confirm: Confirm) -> int:
    """Write the authors' solution and its reason, after asking where it is not yet passed."""
    exercise = entry(exercise_id)
    if not record.kept.passed(exercise_id) and not confirm(
        f"{exercise_id} is not passed yet. Show its solution?"
    ):
        out.line(f"Not shown. {help_for(exercise_id, record.kept)}")
        return 1
    out.code(exercise.solution)
    out.line()
    for paragraph in exercise.reason.split("\n\n"):
        out.wrapped(paragraph, indent=0)
    return 0


def next_up(record: Record, out: Screen, here: Sequence[str] = (), after: str = "") -> int:
    """Write which exercise comes next and how to open it.

    Args:
        record: progress.
        out: where to write.
        here: ids that come first, those of the file at hand.
        after: id from which the course goes on.
    """
    waiting = [name for name in here if not record.kept.passed(name)]
    exercise = listed()[waiting[0]] if waiting else next_exercise(record.kept, after)
    if exercise is None:
        out.line("Every exercise of the course is passed.", "good")
        return 0
    place = own_copy(exercise)
    out.line(f"{exercise.id}: {exercise.title}", "bold")
    out.wrapped(
        f"about {exercise.minutes} minutes, difficulty {exercise.difficulty} of 4, "
        f'{_tools(exercise)}, chapter {exercise.notebook[:2]}, "{exercise.section}"'
    )
    path = place or Path("my_normcourse") / f"{exercise.notebook}.ipynb"
    if place is None:
        out.line("  normcourse start                  makes your own copy of the notebooks")
    out.line(f"  jupyter lab {path}", "link")
    out.line(f"  normcourse check {path} {exercise.id}", "link")
    out.line(f"  normcourse hint {exercise.id}", "link")
    return 0


def own_copy(exercise: Listed) -> Path | None:
    """Return the learner's notebook of an exercise, if there is one here or in my_normcourse/."""
    name = Path(f"{exercise.notebook}.ipynb")
    places = (Path("my_normcourse") / name, name)
    return next((place for place in places if place.is_file()), None)


def overview(record: Record, out: Screen, *, every: bool = False) -> int:
    """Write a bar per chapter, with ``every`` each exercise too."""
    kept = record.kept
    width = max(len(data["notebook"]) for data in chapters().values())
    for name, data in chapters().items():
        members = [exercise for exercise in listed().values() if exercise.chapter == name]
        done = sum(kept.passed(exercise.id) for exercise in members)
        style = "good" if done == len(members) else ""
        bar = _bar(done, len(members), out.fancy)
        out.line(f"{data['notebook']:<{width}}  {bar}  {done} of {len(members)}", style)
        for exercise in members if every else ():
            _row(exercise, kept, out)
    total, done = len(listed()), sum(kept.passed(name) for name in listed())
    out.line(f"{'all':<{width}}  {_bar(done, total, out.fancy)}  {done} of {total}", "bold")
    following = next_exercise(kept)
    if following is not None:
        out.wrapped(f"Next: {described(following)}.", "link", indent=0)
    if record.path is not None:
        out.line(f"Kept in {record.path}", "quiet")
    return 0


def _row(exercise: Listed, kept: Progress, out: Screen) -> None:
    tried = kept.entry(exercise.id)
    if tried is None:
        out.line(f"    · {exercise.id}", "quiet")
        return
    mark, style = ("✓", "good") if tried.best == "passed" else ("✗", "bad")
    if tried.best == "not_started":
        mark, style = "·", "quiet"
    facts = [f"{tried.attempts} tried"] if tried.attempts else []
    facts += [f"{tried.hints} hint{'s' * (tried.hints > 1)}"] if tried.hints else []
    older = " (the exercise has changed since)" if tried.version != exercise.version else ""
    out.line(f"    {mark} {exercise.id}  {', '.join(facts)}{older}".rstrip(), style)


def _bar(done: int, total: int, fancy: bool) -> str:
    full = BAR * done // total if total else 0
    return "█" * full + "░" * (BAR - full) if fancy else f"[{'#' * full}{'.' * (BAR - full)}]"


def export_progress(path: Path, record: Record, out: Screen, confirm: Confirm) -> int:
    """Write the progress to a file that a notebook, a browser or another machine can read."""
    text = record.kept.to_json()
    if path.is_dir():
        raise BadInput(f"{path}: is a folder, expected the name of a file.")
    if path.exists() and path.read_bytes() != text.encode() and not confirm(f"Overwrite {path}?"):
        out.line("Nothing written.")
        return 1
    try:
        store.save(record.kept, path)
    except OSError as error:
        raise BadInput(f"{path}: cannot be written ({error.strerror}).") from None
    out.line(f"Wrote {path}: {_count(record.kept)}.")
    return 0


def import_progress(path: Path, record: Record, out: Screen) -> int:
    """Add another progress file to this one: the newest verdict counts, no pass is lost."""
    if not path.is_file():
        raise BadProgress(f"{path}: no such file.")
    other, before = store.load(path), record.kept
    if not record.change(lambda kept: kept.merged(other)):
        return 1
    new = sum(record.kept.passed(name) and not before.passed(name) for name in other.exercises)
    out.line(f"Read {path}: {_count(other)}. New here: {new} passed.")
    return 0


def forget(ids: Sequence[str], record: Record, out: Screen, confirm: Confirm) -> int:
    """Forget the verdicts and hints of exercises; a pass only after asking."""
    for exercise_id in ids:
        entry(exercise_id)
    passed = [exercise_id for exercise_id in ids if record.kept.passed(exercise_id)]
    if passed and not confirm(f"Forget that {', '.join(passed)} is passed?"):
        out.line("Nothing forgotten.")
        return 1

    def without(kept: Progress) -> Progress:
        for exercise_id in ids:
            kept = kept.without(exercise_id)
        return kept

    record.change(without)
    out.line(f"{', '.join(ids)}: as if never opened. Your code is untouched.")
    return 0


def _count(kept: Progress) -> str:
    passed = sum(kept.passed(name) for name in kept.exercises)
    return f"{len(kept.exercises)} exercises tried, {passed} passed"


def _tools(exercise: Listed) -> str:
    return "NumPy" if exercise.runtime == "numpy" else "PyTorch"

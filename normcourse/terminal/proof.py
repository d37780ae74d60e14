"""The command ``dev check``: the judges proven on every stub, solution and listed mistake."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from normcourse.checks import Exercise, Mistake, find
from normcourse.checks.catalogue import Listed, entry, listed
from normcourse.checks.feedback import Feedback
from normcourse.checks.judge import judge
from normcourse.checks.runners import InProcessRunner
from normcourse.checks.texts import supplied_code
from normcourse.terminal.screen import Screen

SEEDS = 20


@dataclass(frozen=True)
class Proof:
    """What was found of one exercise's judge.

    Args:
        exercise: its id.
        seeds: how many seeds the solution was judged with.
        mistakes: how many mistakes were tried.
        seconds: what it took.
        problems: what is not as it must be, each in a sentence.
    """

    exercise: str
    seeds: int
    mistakes: int
    seconds: float
    problems: tuple[str, ...]


def dev_check(ids: Sequence[str], out: Screen, *, seeds: int = SEEDS) -> int:
    """Prove exercises, all by default, and write a table; 1 if anything is not as it must be.

    Raises:
        UnknownExercise: an id that no exercise has.
    """
    chosen = [entry(exercise_id) for exercise_id in ids] or list(listed().values())
    proofs = []
    for number, exercise in enumerate(chosen, 1):
        _busy(out, f"{number}/{len(chosen)} {exercise.id}")
        proofs.append(prove(exercise, range(seeds)))
    _busy(out, "")
    out.table(
        ("exercise", "seeds", "mistakes", "seconds", "verdict"),
        [
            (p.exercise, str(p.seeds), str(p.mistakes), f"{p.seconds:.2f}", _verdict(p))
            for p in proofs
        ],
    )
    problems = [f"{p.exercise}: {problem}" for p in proofs for problem in p.problems]
    out.line()
    for problem in problems:
        out.wrapped(problem, "bad")
    tried = sum(p.mistakes for p in proofs)
    out.line(
        f"Exercises: {len(proofs)}. Mistakes tried: {tried}. Problems: {len(problems)}.",
        "bad" if problems else "good",
    )
    return 1 if problems else 0


def prove(exercise: Listed, seeds: Sequence[int]) -> Proof:
    """Judge the stub, the solution with every seed, and every listed mistake."""
    begun, full = time.perf_counter(), find(exercise.id)
    problems = [*_of_stub(exercise, full), *_of_solution(exercise, full, seeds)]
    for mistake in full.mistakes:
        problems += _of_mistake(full, mistake)
    seconds = time.perf_counter() - begun
    return Proof(exercise.id, len(seeds), len(full.mistakes), seconds, tuple(problems))


def _of_stub(exercise: Listed, full: Exercise) -> list[str]:
    status = verdict_on(full, defined(exercise.stub)[exercise.id]).status
    wanted = ("failed", "error") if full.kind == "repair" else ("not_started",)
    return [] if status in wanted else [f"the stub is {status}, expected {' or '.join(wanted)}."]


def _of_solution(exercise: Listed, full: Exercise, seeds: Sequence[int]) -> list[str]:
    answer = defined(exercise.solution)[exercise.id]
    for seed in seeds:
        feedback = verdict_on(full, answer, seed)
        if not feedback.passed:
            return [f"the solution does not pass with seed {seed}: {feedback.message}"]
    return []


def _of_mistake(full: Exercise, mistake: Mistake) -> list[str]:
    feedback = verdict_on(full, by_place(full, full.wrong_answer(mistake)))
    if feedback.status not in ("failed", "error"):
        return [f"the mistake {mistake.id} is {feedback.status}, expected it to be rejected."]
    if mistake.named_by == "values" and feedback.mistakes != (mistake.id,):
        named = " + ".join(feedback.mistakes) or "nothing"
        return [f"the mistake {mistake.id} is named {named}."]
    return []


def verdict_on(exercise: Exercise, answer: Any, seed: int = 0) -> Feedback:
    """Judge a callable in this process."""
    supplied: dict[str, Any] = {}
    if exercise.uses:
        scope = defined(supplied_code(exercise))
        supplied = {name: scope[name] for name in exercise.uses}
    return judge(exercise, InProcessRunner(answer, exercise, supplied=supplied), seed=seed)


def defined(code: str) -> dict[str, Any]:
    """Run source text of ours with the imports that the notebooks begin with."""
    import numpy

    scope: dict[str, Any] = {"np": numpy, "__name__": "answers"}
    if "torch" in code or "nn." in code:
        import torch

        scope |= {"torch": torch, "nn": torch.nn, "F": torch.nn.functional}
    exec(compile(code, "<answer>", "exec"), scope)
    return scope


def by_place(exercise: Exercise, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a wrong answer that takes its arguments by place, whatever it calls them."""
    if exercise.kind == "class":
        return function
    names = [part.split("=")[0].strip() for part in exercise.signature.split(",") if part.strip()]
    return lambda *args: function(**dict(zip(names, args, strict=False)))


def _verdict(proof: Proof) -> str:
    return f"problems: {len(proof.problems)}" if proof.problems else "ok"


def _busy(out: Screen, text: str) -> None:
    """Show on a terminal what is being proven, on a line that is written over."""
    if out.fancy:
        out.stream.write(f"\r\x1b[K{text}")
        out.stream.flush()

"""The judges measured: kill table, accept table and automatic mutants, written to pages.

``python -m tests.checks.measure`` writes ``book/judges.md`` and a page per chapter; a test compares
them. Mutants that compute the same as the solution are listed in ``equivalents.toml``, each with
its reason.
"""

from __future__ import annotations

import importlib
import sys
import tomllib
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from normcourse.checks import all_exercises
from normcourse.checks.diagnose import caught
from normcourse.checks.exercise import Exercise, Mistake
from normcourse.checks.feedback import Feedback
from normcourse.checks.judge import judge
from normcourse.checks.mutants import survivors
from normcourse.checks.runners import InProcessRunner
from normcourse.checks.texts import supplied_code, text_of

ROOT = Path(__file__).resolve().parents[2]
BOOK = ROOT / "book"
EQUIVALENTS = Path(__file__).with_name("equivalents.toml")
ANSWERS = Path(__file__).with_name("answers")


def define(code: str) -> dict[str, Any]:
    """Run source text as a learner's cell would be run."""
    scope: dict[str, Any] = {"np": np, "__name__": "answers"}
    if "torch" in code or "nn." in code:
        import torch

        scope |= {"torch": torch, "nn": torch.nn, "F": torch.nn.functional}
    exec(compile(code, "<answer>", "exec"), scope)
    return scope


def verdict(
    exercise: Exercise,
    answer: Any,
    seed: int = 0,
    time_limit: float = 10.0,
    *,
    explain: bool = True,
) -> Feedback:
    """Judge a callable as the notebook does."""
    supplied: dict[str, Any] = {}
    if exercise.uses:
        scope = define(supplied_code(exercise))
        supplied = {name: scope[name] for name in exercise.uses}
    runner = InProcessRunner(answer, exercise, supplied=supplied, time_limit=time_limit)
    return judge(exercise, runner, seed=seed, explain=explain)


def adapt(exercise: Exercise, function: Any) -> Any:
    """Return a function of *args for a wrong answer written with keywords of any name."""
    names = [part.split("=")[0].strip() for part in exercise.signature.split(",") if part.strip()]

    def answer(*args: Any) -> Any:
        return function(**dict(zip(names, args, strict=False)))

    return answer if exercise.asks_for == "function" else function


def styles_of(exercise: Exercise) -> list[Any]:
    """Return right answers in other styles."""
    styles: dict[str, list[Any]] = importlib.import_module(
        f"tests.checks.styles.{exercise.chapter}"
    ).STYLES
    return styles.get(exercise.id, [])


def equivalents(exercise: Exercise) -> dict[str, str]:
    """Return the mutants of an exercise that compute the same, with the reasons."""
    table: dict[str, dict[str, str]] = tomllib.loads(EQUIVALENTS.read_text(encoding="utf-8"))
    return table.get(exercise.id, {})


def surviving_mutants(exercise: Exercise) -> tuple[list[str], int]:
    """Return the keys of mutants that the judge lets pass, and how many were made."""

    def passes(code: str) -> bool:
        try:
            answer = define(code)[exercise.id]
        except Exception:
            return False
        return verdict(exercise, answer, time_limit=2.0, explain=False).passed

    alive, count = survivors(text_of(exercise).solution, passes)
    return [mutant.key for mutant in alive], count


@dataclass(frozen=True)
class Measured:
    """What was measured on one exercise."""

    exercise: Exercise
    cases: tuple[str, ...]
    kills: tuple[tuple[bool, ...], ...]
    named: tuple[bool, ...]
    accepted: tuple[bool, ...]
    mutants: int
    alive: tuple[str, ...]

    @property
    def equivalent(self) -> int:
        """How many survivors are known to compute the same."""
        return sum(key in equivalents(self.exercise) for key in self.alive)


def measure(exercise: Exercise) -> Measured:
    """Try every mistake, style and mutant of an exercise."""
    cases = exercise.ordered_cases()
    kills, named = [], []
    for mistake in exercise.mistakes:
        kills.append(tuple(caught(exercise, case, mistake) for case in cases))
        named.append(_is_named(exercise, mistake))
    accepted = tuple(verdict(exercise, style).passed for style in styles_of(exercise))
    alive, count = surviving_mutants(exercise)
    names = tuple(case.name for case in cases)
    return Measured(
        exercise, names, tuple(kills), tuple(named), accepted, count, tuple(sorted(alive))
    )


def _is_named(exercise: Exercise, mistake: Mistake) -> bool:
    feedback = verdict(exercise, adapt(exercise, exercise.wrong_answer(mistake)))
    if mistake.named_by == "judge":
        return feedback.status != "passed" and bool(feedback.message)
    return feedback.mistakes == (mistake.id,)


def pages(measured: list[Measured]) -> dict[str, str]:
    """Return the pages as MyST Markdown by their place in the book."""
    chapters: dict[str, list[Measured]] = {}
    for one in measured:
        chapters.setdefault(one.exercise.notebook, []).append(one)
    return {
        "judges.md": _overview(measured, chapters),
        **{f"judges/{name}.md": _of_chapter(name, group) for name, group in chapters.items()},
    }


def _overview(measured: list[Measured], chapters: dict[str, list[Measured]]) -> str:
    mistakes = sum(len(m.kills) for m in measured)
    named = sum(sum(m.named) for m in measured)
    styles = sum(len(m.accepted) for m in measured)
    accepted = sum(sum(m.accepted) for m in measured)
    made = sum(m.mutants for m in measured)
    equal = sum(m.equivalent for m in measured)
    alive = sum(len(m.alive) for m in measured) - equal
    share = 1 - alive / (made - equal)
    whole = {kind: answers(kind) for kind in ("wrong", "right")}
    told = sum(bool(answer.names) for answer in whole["wrong"])
    lines = [
        "# How good are the judges?",
        "",
        "*A judge is a measuring instrument, so it is measured: with every mistake it lists, with "
        "right answers in many styles, and with automatic mutants of the solution.*",
        "",
        f"- **Mistakes**: {mistakes} listed wrong answers; {named} rejected and called by name.",
        f"- **Styles**: {styles} right answers written in other ways; {accepted} accepted.",
        f"- **Mutants**: {made} solutions with one small change (an operator, an axis, a constant, "
        f"a dropped term); {equal} of them compute the same as the solution. Of the other "
        f"{made - equal}, {made - equal - alive} are rejected ({share:.1%}).",
        f"- **Whole answers**: {len(whole['wrong'])} wrong functions, written as learners do and "
        f"not made from the list. All are rejected; {told} are explained by one mistake or two, "
        f"the others by facts about their output. {len(whole['right'])} right ones in odd styles; "
        "all are accepted. What they brought to light was mended: the two numbers say what the "
        "judges hold now, not how they would do on the next.",
        "",
        "The numbers come from the tests, which run all of it on every change.",
        "",
    ]
    for name, group in chapters.items():
        link = f"[Mistakes × cases of chapter {name[:2]}](judges/{name}.md)"
        lines += [f"## Chapter {name[:2]}", "", *_summary(group), "", f"{link}.", ""]
    return "\n".join(lines).rstrip() + "\n"


def _of_chapter(name: str, group: list[Measured]) -> str:
    lines = [
        f"# The judges of chapter {name[:2]}",
        "",
        "*Each mistake that the judges know, and the cases that tell it from a right answer: ✗. "
        "The first of them is the one that a learner reads.*",
        "",
    ]
    for one in group:
        lines += _details(one)
    return "\n".join(lines).rstrip() + "\n"


@dataclass(frozen=True)
class Answer:
    """A whole answer: the exercise, the code and the mistakes that the judge must name."""

    exercise: str
    code: str
    names: tuple[str, ...]


def answers(kind: str) -> list[Answer]:
    """Return the "wrong" or the "right" answers of ``answers``."""
    table: dict[str, Any] = tomllib.loads((ANSWERS / f"{kind}.toml").read_text(encoding="utf-8"))
    return [
        Answer(exercise, entry["code"], tuple(entry.get("names", ())))
        for exercise, entries in table.items()
        for entry in entries
    ]


def _summary(group: list[Measured]) -> list[str]:
    rows = [
        "| exercise | cases | mistakes named | styles accepted | mutants rejected | equivalent |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for m in group:
        real = m.mutants - m.equivalent
        rows.append(
            f"| `{m.exercise.id}` | {len(m.cases)} | {sum(m.named)} of {len(m.kills)} "
            f"| {sum(m.accepted)} of {len(m.accepted)} "
            f"| {m.mutants - len(m.alive)} of {real} | {m.equivalent} |"
        )
    return rows


def _details(m: Measured) -> list[str]:
    numbers = range(1, len(m.cases) + 1)
    rows = [
        "| mistake | " + " | ".join(map(str, numbers)) + " |",
        "|---|" + ":-:|" * len(m.cases),
    ]
    for mistake, kills in zip(m.exercise.mistakes, m.kills, strict=True):
        marks = " | ".join("✗" if kill else "·" for kill in kills)
        rows.append(f"| {mistake.id.replace('_', ' ')} | {marks} |")
    cases = [f"{n}. {name}" for n, name in enumerate(m.cases, 1)]
    styles = "; ".join(
        (style.__doc__ or style.__name__).splitlines()[0].rstrip(".")
        for style in styles_of(m.exercise)
    )
    parts = [f"## `{m.exercise.id}`", "", *cases, ""]
    return [*parts, *((*rows, "") if m.kills else ()), f"Accepted styles: {styles}.", ""]


def main() -> int:
    """Measure everything and write the pages."""
    warnings.simplefilter("ignore")
    measured = []
    for exercise in all_exercises():
        measured.append(measure(exercise))
        print(f"{exercise.id}: {list(set(measured[-1].alive) - set(equivalents(exercise)))}")
    (BOOK / "judges").mkdir(exist_ok=True)
    for place, text in pages(measured).items():
        (BOOK / place).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

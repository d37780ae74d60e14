"""What an exercise is: one record that says what is asked, how it is tried and what goes wrong.

An exercise file reads like a specification: cases from the smallest to the hardest, a reference
(a thin adapter around ``normcourse.norms``) and the mistakes that learners make.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np

Inputs = dict[str, Any]
Outputs = dict[str, Any]


class Stage(IntEnum):
    """The one order of judging; the first stage that fails is what the learner reads."""

    LOADS = 1
    SIGNATURE = 2
    RETURNS = 3
    SHAPE = 4
    DTYPE = 5
    FINITE = 6
    VALUES = 7
    SPECIAL = 8
    GRADIENTS = 9
    NUMERICS = 10
    INPUTS = 11


@dataclass(frozen=True, eq=False)
class Case:
    """One call of the learner's code.

    Args:
        name: a sentence or phrase that a learner understands.
        inputs: argument name to value, in the order of the signature. An argument left out takes
            its default.
        stage: VALUES, SPECIAL, GRADIENTS or NUMERICS; says when the case is tried.
        tolerance: largest error relative to max(1, max abs expected), or None for the dtype's.
        layout: how arrays lie in memory: "plain", "strided", "fortran" or "read-only".
        raises: name of the exception that is the right answer here, or empty.
        about: one sentence for the learner who fails here and nowhere before.
        probe: how the answer is called here, if not as in the exercise's other cases.
        outputs: names of what this probe returns, if not the exercise's.
    """

    name: str
    inputs: Inputs
    stage: Stage = Stage.VALUES
    tolerance: float | None = None
    layout: str = "plain"
    raises: str = ""
    about: str = ""
    probe: str = ""
    outputs: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Mistake:
    """A wrong answer that learners give, and what to tell them.

    Args:
        id: short name, unique in the exercise.
        message: what was done and what is asked instead, at most two sentences.
        faults: keyword arguments that turn ``Exercise.variant`` into this mistake; mistakes with
            different keywords combine, so that two at once are named as two.
        wrong: a whole wrong function, where no keyword describes it.
        section: heading in the chapter to read again, if not the exercise's own.
        named_by: "values" (outputs match) or "judge" (the judge's own message names it, such as
            a changed argument).
    """

    id: str
    message: str
    faults: Mapping[str, Any] = field(default_factory=dict)
    wrong: Callable[..., Any] | None = None
    section: str = ""
    named_by: str = "values"

    def __post_init__(self) -> None:
        if bool(self.faults) == (self.wrong is not None):
            raise ValueError(f"mistake {self.id!r}: give either faults or wrong")


@dataclass(frozen=True, eq=False)
class Mismatch:
    """Where and how outputs differ from what is right.

    Args:
        name: output that differs.
        index: place of the largest difference, or () for a number.
        expected: right value there.
        got: learner's value there.
        error: largest difference.
        message: for properties and tables: what does not hold, in a sentence.
        why: reason that explains a table's entry.
    """

    name: str
    index: tuple[int, ...] = ()
    expected: Any = None
    got: Any = None
    error: float = float("nan")
    message: str = ""
    why: str = ""


Compare = Callable[[Case, Outputs, Outputs], Mismatch | None]


@dataclass(frozen=True, eq=False)
class Exercise:
    """One autograded exercise. Its id is the name of the function or class the learner writes.

    Args:
        id: name the learner defines.
        title: what it is called in lists.
        notebook: file name of its chapter without ending, such as "02_batch_norm".
        section: heading in the chapter that teaches it.
        signature: the parameters as the stub has them.
        minutes: how long it takes.
        difficulty: 1 (warm-up) to 4 (hard).
        hints: three: a question, a direction, almost the line.
        insight: what is told after a pass and stood nowhere before.
        cases: from a random generator to the named cases.
        reference: the right answer, called with a case's inputs by name.
        outputs: names of what is returned, in order.
        mistakes: what learners do wrong.
        variant: a right answer with switches; its keywords are the mistakes' faults. Where a
            class is asked for, it takes the switches alone and returns a class.
        kind: "function", "class", "predict" or "repair".
        runtime: "numpy" or "torch".
        probe: key of ``probes.PROBES``: how the answer is called.
        view: from a case's inputs and the outputs to what is compared, where many outputs are
            right and share a property; None compares the outputs themselves.
        compare: how outputs are compared; None compares values. In a "predict" exercise it gets
            what was returned as it is and explains each entry, else arrays of the right shape.
        accepts: allowances beyond the rule: "list", "float32", "scalar".
        uses: ids of exercises whose right answer is supplied to the learner's code.
        version: raised when the task changes, so that old verdicts are told apart.
    """

    id: str
    title: str
    notebook: str
    section: str
    signature: str
    minutes: int
    difficulty: int
    hints: tuple[str, str, str]
    insight: str
    cases: Callable[[np.random.Generator], Iterable[Case]]
    reference: Callable[..., Any]
    outputs: tuple[str, ...] = ("y",)
    mistakes: tuple[Mistake, ...] = ()
    variant: Callable[..., Any] | None = None
    kind: str = "function"
    runtime: str = "numpy"
    probe: str = "call"
    view: Callable[[Inputs, Outputs], Outputs] | None = None
    compare: Compare | None = None
    accepts: frozenset[str] = frozenset()
    uses: tuple[str, ...] = ()
    version: int = 1

    @property
    def chapter(self) -> str:
        """Name of the chapter, such as "batch_norm"."""
        return self.notebook.partition("_")[2]

    @property
    def asks_for(self) -> str:
        """What the learner writes: "class" or "function"."""
        return "class" if self.kind == "class" or self.id[0].isupper() else "function"

    @property
    def is_table(self) -> bool:
        """Whether ``compare`` gets what was returned as it is."""
        return self.kind == "predict" and self.compare is not None

    def ordered_cases(self, seed: int = 0) -> list[Case]:
        """Return the cases for a seed, in the order of judging."""
        cases = list(self.cases(np.random.default_rng(seed)))
        return sorted(cases, key=lambda case: case.stage)  # stable: keeps the author's order

    def wrong_answer(self, *mistakes: Mistake) -> Callable[..., Any]:
        """Return a function or class that makes the given mistakes, all at once."""
        if len(mistakes) == 1 and mistakes[0].wrong is not None:
            return mistakes[0].wrong
        variant = self.variant
        if variant is None or any(mistake.wrong is not None for mistake in mistakes):
            names = [mistake.id for mistake in mistakes]
            raise ValueError(f"{self.id}: mistakes {names} do not combine")
        faults: dict[str, Any] = {}
        for mistake in mistakes:
            faults |= mistake.faults
        if self.asks_for == "class":
            return variant(**faults)  # type: ignore[no-any-return]
        return lambda *args, **kwargs: variant(*args, **kwargs, **faults)

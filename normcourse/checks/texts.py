"""The texts of exercises: statement, stub and solution, as ``make exercises`` wrote them.

They are package data (``checks/data/<chapter>.json``), read by the page, by reset and by solution.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from normcourse.checks.catalogue import Listed, entry

if TYPE_CHECKING:
    from normcourse.checks.exercise import Exercise


def text_of(exercise: Exercise) -> Listed:
    """Return the texts of an exercise.

    Example:
        >>> from normcourse.checks import find
        >>> text_of(find("batch_norm_forward")).stub.splitlines()[0]
        'def batch_norm_forward(x, gamma, beta, eps=1e-5):'
    """
    return entry(exercise.id)


def supplied_code(exercise: Exercise) -> str:
    """Return the right callees that an exercise builds on, as source text."""
    return "\n\n".join(entry(name).solution for name in exercise.uses)

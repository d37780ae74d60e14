"""What the learner's commands do. ``normcourse.cli`` is their front, ``app`` lists them.

Each command is a function of plain arguments that returns its exit code and writes to a
:class:`~normcourse.terminal.screen.Screen`: 0 all is as asked for, 1 something is not, 2 bad input.
"""

from __future__ import annotations

__all__ = ["BadInput"]


class BadInput(ValueError):
    """Something on the command line that cannot be: one line on stderr, exit code 2."""

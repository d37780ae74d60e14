"""The command ``normcourse``: what a learner types.

The commands live in :mod:`normcourse.terminal`; typer reads the command line. Its import costs as
much as half of NumPy, so the plain ``check FILE [IDS]``, typed again and again, goes past it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence


def main(words: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        words: the command line without the program's name; that of the process by default.

    Returns:
        0 if all is as asked for, 1 if something is not, 2 on bad input, 130 when interrupted.
    """
    from normcourse.checks.catalogue import UnknownExercise
    from normcourse.checks.child import NoChild
    from normcourse.checks.progress import BadProgress
    from normcourse.checks.source import BadSource
    from normcourse.terminal import BadInput

    given = list(sys.argv[1:] if words is None else words)
    try:
        return _run(given)
    except (BadInput, BadProgress, BadSource, NoChild, UnknownExercise) as problem:
        return _refuse(str(problem))
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of a pipe has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _run(words: list[str]) -> int:
    if len(words) > 1 and words[0] == "check" and not any(w.startswith("-") for w in words):
        from pathlib import Path

        from normcourse.terminal.check import check

        return check(Path(words[1]), words[2:])
    from normcourse.terminal.app import run

    return run(words)


def _refuse(message: str) -> int:
    from normcourse.checks.letters import cleaned

    print(f"normcourse: {' '.join(cleaned(message).split())}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())

"""The command ``normcourse``: what a learner types.

The commands live in :mod:`normcourse.terminal`; typer reads the command line. Its import costs as
much as NumPy's, so the plain ``check FILE [IDS]``, typed again and again, goes past it, and so does
a plain ``grade``, whose sandboxes start the sooner.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn


def main(words: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        words: the command line without the program's name; that of the process by default.

    Returns:
        0 if all is as asked for, 1 if something is not, 2 on bad input, 130 when interrupted.
    """
    given = list(sys.argv[1:] if words is None else words)
    try:
        return _run(given, leave=words is None)
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of a pipe has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as problem:
        if not _is_bad_input(problem):
            raise
        return _refuse(str(problem))


def _run(words: list[str], *, leave: bool) -> int:
    if len(words) > 1 and words[0] == "check" and not any(w.startswith("-") for w in words):
        import gc

        gc.disable()  # a tenth of the time of the imports below, in a process that soon ends
        from pathlib import Path

        from normcourse.terminal.check import check

        try:
            code = check(Path(words[1]), words[2:])
        finally:
            gc.enable()
        return _leave(code) if leave else code
    if words[:1] == ["grade"]:
        from normcourse.grading.command import parsed
        from normcourse.grading.desk import grade

        order = parsed(words[1:])
        if order is not None:
            code = grade(order)
            return _leave(code) if leave else code
    from normcourse.terminal.run import run

    return run(words)


def _leave(code: int) -> NoReturn:
    """End this process without taking NumPy apart first, which costs a tenth of the whole."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


def _is_bad_input(problem: Exception) -> bool:
    from normcourse.checks.catalogue import UnknownExercise
    from normcourse.checks.child import NoChild
    from normcourse.checks.progress import BadProgress
    from normcourse.checks.source import BadSource
    from normcourse.terminal import BadInput

    return isinstance(problem, BadInput | BadProgress | BadSource | NoChild | UnknownExercise)


def _refuse(message: str) -> int:
    from normcourse.checks.letters import cleaned

    print(f"normcourse: {' '.join(cleaned(message).split())}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())

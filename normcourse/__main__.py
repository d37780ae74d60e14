"""``python -m normcourse``: course, book, test, lint, exercises and the learner's commands.

The first group sets the project up and must therefore run on a bare Python; the rest belongs to
:mod:`normcourse.cli`. This file also has to be readable by the Python that is too old for us.
"""

from __future__ import annotations

import sys

OLDEST = (3, 11)


def main() -> int:
    """Hand the words of the command line to the workshop or to the learner's commands."""
    if sys.version_info < OLDEST:
        sys.stderr.write(
            "normcourse needs Python {}.{} or newer; this is Python {}.{} ({}).\n"
            "Name a newer one:  make course PYTHON=python3.12   or   "
            "python3.12 -m normcourse course\n".format(
                *OLDEST, *sys.version_info[:2], sys.executable
            )
        )
        return 1
    from normcourse.workshop import WORDS

    words = sys.argv[1:]
    if words and words[0] in WORDS:
        from normcourse.workshop.commands import main as workshop

        return workshop(words)
    try:
        from normcourse.cli import main as command_line
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] == "normcourse":
            raise
        sys.stderr.write(
            f"The learner's commands need the package {missing.name!r}, which this Python "
            f"({sys.executable}) does not have.\n"
            "Set the course up first with  make course  or  python -m normcourse course  and then "
            "use the Python of its environment (.venv).\n"
        )
        return 2
    return command_line() or 0


if __name__ == "__main__":
    sys.exit(main())

"""Run one command line: find the command, say in one line what cannot be read."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import typer

from normcourse.terminal import BadInput
from normcourse.terminal.app import app

# Commands of other parts of the package: word -> module and function. They are loaded for
# themselves, for the help and to say which command was meant.
_ELSEWHERE = {
    "grade": ("normcourse.grading.typed", "grade"),
    "grade-kit": ("normcourse.grading.typed", "kit"),
}


def run(words: Sequence[str]) -> int:
    """Run one command line and return its exit code.

    Raises:
        BadInput: an unknown command or option, or a value that cannot be.
    """
    refusal: Any = typer.BadParameter.__mro__[2]  # ClickException, wherever typer keeps it
    given = list(words) or ["--help"]
    _add_commands(given)
    try:
        code = typer.main.get_command(app).main(given, "normcourse", standalone_mode=False)
    except typer.Abort:
        print("\nStopped.", file=sys.stderr)
        return 130
    except refusal as problem:
        raise BadInput(f"{problem.format_message()} (`normcourse --help`)") from None
    return code if isinstance(code, int) else 0


def _add_commands(words: Sequence[str]) -> None:
    """Add the commands that live elsewhere, unless the command line means one of those here."""
    known = {
        command.name or getattr(command.callback, "__name__", "")
        for command in app.registered_commands
    }
    if words[0] in {*known, "dev", "evidence", "--version"}:
        return
    for name, (module, function) in _ELSEWHERE.items():
        if name not in known and _exists(module):
            app.command(name)(getattr(import_module(module), function))


def _exists(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # not even its package is there
        return False

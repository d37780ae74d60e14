"""Proves the sandbox before it is used: code that tries to get out, run in the ordinary way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from normcourse.grading.sandbox import (
    Kind,
    Limits,
    NoSandbox,
    Sandbox,
    SandboxLost,
    kinds,
)

_ATTEMPTS = '''
import os, socket, sys

def attempts(course, outside):
    """Return for each attempt to get out what came of it: "refused" is what is wanted."""
    def listing(path):
        os.listdir(path)
    def reading(path):
        open(path).read(1)
    def writing():
        open(os.path.join(os.path.dirname(os.__file__), "written"), "w")
    def connecting():
        socket.create_connection(("127.0.0.1", 9), timeout=0.5)
    def forking():
        if os.fork() == 0:
            os._exit(0)
    def importing():
        __import__("normcourse.norms")
    tries = {
        "start a process": forking,
        "run a program": lambda: os.execv(sys.executable, [sys.executable, "-c", ""]),
        "open a socket": connecting,
        "read the grader's files": lambda: listing(course),
        "read other files": lambda: reading(outside),
        "read about processes": lambda: listing("/proc/1"),
        "write outside its folder": writing,
        "signal another process": lambda: os.kill(os.getppid() or 1, 0),
        "import the references": importing,
    }
    came = {}
    for name, attempt in tries.items():
        try:
            attempt()
        except (OSError, ImportError):
            came[name] = "refused"
        else:
            came[name] = "DONE"
    return came
'''


def escapes(sandbox: Sandbox) -> list[str]:
    """Return what code in the sandbox could do and should not.

    Raises:
        SandboxLost: the attempt told nothing.
    """
    cell = sandbox.cell({}, Limits())
    load = {"do": "load", "cells": [["attempts", _ATTEMPTS]], "definitions_only": False}
    cell.ask(load, 10.0)
    inputs = {"course": str(__file__).rpartition("/")[0], "outside": "/etc/passwd"}
    call = {"do": "call", "name": "attempts", "probe": "call", "inputs": inputs, "layout": "plain"}
    reply, reason = cell.ask(call, 10.0)
    cell.end()
    came: Any = reply.get("value") if isinstance(reply, dict) else None
    if not isinstance(came, dict) or not came:
        raise SandboxLost(f"the sandbox does not run code ({reason or reply})")
    missing = [] if cell.in_force.get("seccomp") else ["use every system call"]
    return [name for name, what in came.items() if what != "refused"] + missing


def proven(*, unsafe: bool = False, meanwhile: Callable[[], None] = lambda: None) -> Sandbox:
    """Return a warm sandbox of the strongest kind that works here, after it has held.

    Args:
        unsafe: whether one without namespaces will do.
        meanwhile: called while it starts.

    Raises:
        NoSandbox: there is none; the message says what to do.
    """
    reasons = []
    for kind in kinds(unsafe=unsafe):
        sandbox: Sandbox | None = None
        try:
            sandbox = Sandbox(kind)
            meanwhile()
            out = escapes(sandbox)
        except (SandboxLost, OSError) as error:
            reasons.append(f"{kind}: {error}")
        else:
            if not out:
                return sandbox
            reasons.append(f"{kind}: lets code {', '.join(out)}")
        if sandbox is not None:
            sandbox.close()
    raise NoSandbox(_refusal(reasons, unsafe=unsafe))


def choose(*, unsafe: bool = False) -> Kind:
    """Return the strongest kind of sandbox that works here and holds; see :func:`proven`."""
    sandbox = proven(unsafe=unsafe)
    sandbox.close()
    return sandbox.kind


def _refusal(reasons: list[str], *, unsafe: bool) -> str:
    tried = "; ".join(reasons) or "bubblewrap (bwrap) is not installed"
    more = (
        ""
        if unsafe
        else (
            " Where namespaces cannot be had (inside some containers), --unsafe grades with "
            "Landlock, seccomp and limits alone, and every record says so."
        )
    )
    return (
        f"There is no sandbox here, so nothing was run. Tried: {tried}. "
        "Install bubblewrap (Debian, Ubuntu: sudo apt install bubblewrap; Fedora: sudo dnf install "
        "bubblewrap) on a Linux whose user namespaces are on, or run as root. On other systems use "
        f"a Linux machine or virtual machine.{more}"
    )

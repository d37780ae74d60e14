"""The environment of the course: made once, repaired when it is not whole, left alone otherwise.

A stamp beside the environment says which requirements it holds. It is taken away before anything
is installed and written when everything is in place, so an interrupted set-up is seen and finished
by the next command.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Mapping
from pathlib import Path

from normcourse.workshop.console import PlainMeter, Trouble, say, stream

__all__ = ["LIGHT_END", "ensure", "fingerprint", "is_ready", "requirements", "venv_python"]

#: Pins of what the requirements bring along.
CONSTRAINTS = "constraints.txt"
#: The line of requirements.txt up to which a light install reads.
LIGHT_END = "# --- a light install (LIGHT=1) ends here ---"
PIP_NEXT = re.compile(r"^(Collecting|Installing collected) ")
PIP_NOW = re.compile(r"^ *(Downloading|Building wheel|Preparing metadata|Getting requirements) ")


def venv_python(root: Path) -> Path:
    """The Python of ``.venv``, where Windows and the others keep it."""
    return root / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def requirements(root: Path, *, light: bool) -> list[str]:
    """The pinned requirements, without comments; a light install leaves PyTorch and tests out."""
    text = (root / "requirements.txt").read_text(encoding="utf-8")
    if light:
        text, mark, _ = text.partition(LIGHT_END)
        if not mark:
            raise Trouble(f"requirements.txt has no line {LIGHT_END!r}")
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return [line for line in lines if line]


def fingerprint(root: Path) -> str:
    """What an environment is made from: the requirements, the package's own, and the place."""
    digest = hashlib.sha256(str(root.resolve()).encode())
    for name in ("requirements.txt", CONSTRAINTS, "pyproject.toml"):
        digest.update((root / name).read_bytes())
    return digest.hexdigest()


def _without_venv(env: Mapping[str, str]) -> bool:
    return env.get("NORMCOURSE_NO_VENV", "") not in ("", "0")


def _stamp(root: Path, env: Mapping[str, str]) -> Path:
    if not _without_venv(env):
        return root / ".venv" / "normcourse.json"
    place = hashlib.sha256(sys.prefix.encode()).hexdigest()[:12]
    return root / "_build" / f"environment-{place}.json"


def is_ready(root: Path, *, light: bool, env: Mapping[str, str] = os.environ) -> bool:
    """Whether the last set-up was finished, from these very files; full includes light."""
    try:
        found = json.loads(_stamp(root, env).read_text(encoding="utf-8"))
        whole = found["fingerprint"] == fingerprint(root) and (light or found["mode"] == "full")
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return whole and (_without_venv(env) or venv_python(root).exists())


def ensure(root: Path, *, light: bool = False, env: Mapping[str, str] = os.environ) -> Path:
    """Make the environment if it is missing or not whole, and return its Python.

    Args:
        root: the folder of the course.
        light: leave PyTorch and the test tools out.
        env: ``NORMCOURSE_NO_VENV`` installs into the Python that runs; ``TORCH_INDEX`` is one
            more place for pip to look for PyTorch.

    Raises:
        Trouble: pip or venv failed; the message says what to do.
    """
    python = Path(sys.executable) if _without_venv(env) else venv_python(root)
    if is_ready(root, light=light, env=env):
        return python
    stamp = _stamp(root, env)
    stamp.unlink(missing_ok=True)
    mode = "light" if light else "full"
    say(f"Setting up the environment ({mode}): once, a few minutes, needs the network.")
    if not _without_venv(env):
        _make_venv(root, python)
    _install(root, python, light=light, env=env)
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.write_text(json.dumps({"mode": mode, "fingerprint": fingerprint(root)}), encoding="utf-8")
    return python


def _works(python: Path, *words: str) -> bool:
    """Whether this Python starts and can do what the words ask."""
    try:
        return subprocess.run([str(python), *words], capture_output=True).returncode == 0
    except OSError:
        return False


def _make_venv(root: Path, python: Path) -> None:
    """Create ``.venv``; keep one that works, replace one that does not."""
    if _works(python, "-m", "pip", "--version"):
        return
    folder = root / ".venv"
    if folder.exists():
        say("  .venv is not whole; making it anew")
        shutil.rmtree(folder)
    try:
        venv.create(folder, with_pip=True)
    except subprocess.CalledProcessError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise Trouble(
            "Python could not make a virtual environment with pip in it. On Debian and Ubuntu: "
            "sudo apt-get install python3-venv; then run the same command again."
        ) from error


def _install(root: Path, python: Path, *, light: bool, env: Mapping[str, str]) -> None:
    wanted = requirements(root, light=light)
    extra = ["--extra-index-url", env["TORCH_INDEX"]] if env.get("TORCH_INDEX") else []
    pins = ("-c", CONSTRAINTS)
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder) / "requirements.txt"
        listed.write_text("\n".join(wanted) + "\n", encoding="utf-8")
        _pip(root, python, "Installing what the course needs", "-r", str(listed), *pins, *extra)
    _pip(root, python, "Installing the package normcourse", "--no-deps", "-e", ".")


def _pip(root: Path, python: Path, title: str, *words: str) -> None:
    log = root / "_build" / "log" / f"pip-{title.rpartition(' ')[2]}.txt"
    command = [str(python), "-m", "pip", "install", "--disable-pip-version-check", *words]
    now, errors = "asking for the packages", list[str]()
    with PlainMeter(title) as display:

        def on_line(line: str) -> None:
            nonlocal now
            if line.startswith("ERROR"):
                errors.append(line)
            elif PIP_NEXT.match(line):
                now = _shorten(line)
                display.step(now, advance=line.startswith("Collecting"))
            elif line.startswith("WARNING: Retrying"):
                now = "no answer from the network, trying again"
                display.show(now)
            elif PIP_NOW.match(line):
                now = _shorten(line.strip())
                display.show(now)

        def on_idle() -> None:
            display.show(now)

        code = stream(command, cwd=root, log=log, on_line=on_line, on_idle=on_idle)
        if code:
            reason = errors[0] if errors else f"pip ended with code {code}"
            raise Trouble(
                f"{title} failed. {reason}\n"
                f"Is the network there, and enough disk space? The whole output is in {log}.\n"
                "The same command continues where this one stopped."
            )


def _shorten(line: str, width: int = 100) -> str:
    """One line of pip without what follows the first package.

    >>> _shorten("Collecting numpy==2.4.6 (from -r requirements.txt (line 3))")
    'Collecting numpy==2.4.6'
    >>> _shorten("Installing collected packages: a, b, c")
    'Installing collected packages: 3 of them'
    """
    head, colon, names = line.partition("packages: ")
    if colon:
        return f"{head}{colon}{names.count(',') + 1} of them"
    return line.partition(" (from ")[0][:width]

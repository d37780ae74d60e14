"""What a sandbox needs of this machine: the interpreter, its libraries, NumPy, and nothing more.

Only these are visible inside. The course package is not among them, wherever it is installed: every
``site-packages`` is hidden, and what an exercise may import is put into a folder of its own.
"""

from __future__ import annotations

import os
import re
import sys
import sysconfig
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib import metadata

RUNTIMES = {"numpy": ("numpy",), "torch": ("numpy", "torch")}
_LOADED = ("numpy", "numpy.random", "numpy.linalg", "numpy.fft")
PRELOAD = {
    "numpy": _LOADED,
    "torch": (*_LOADED, "torch", "torch._dynamo", "normcourse.checks.torch.probes"),
}
_NAME = re.compile(r"^[A-Za-z0-9._-]+")


def interpreter() -> str:
    """Return the interpreter itself, not the link to it in a virtual environment."""
    return os.path.realpath(getattr(sys, "_base_executable", sys.executable))


@cache
def system_paths() -> tuple[str, ...]:
    """Return the files and folders that the interpreter needs, without its packages."""
    stdlib = Path(os.path.realpath(sysconfig.get_paths()["stdlib"]))
    paths = [interpreter(), "/etc/ld.so.cache"]
    paths += [f"/usr/{name}" for name in ("lib", "lib32", "lib64", "libx32")]
    paths.append(str(stdlib.parent))  # the standard library beside the libraries it was built with
    return tuple(p for n, p in enumerate(paths) if os.path.exists(p) and p not in paths[:n])


@cache
def hidden_paths() -> tuple[str, ...]:
    """Return the folders of installed packages that lie below the system paths."""
    roots = {Path(path) for path in system_paths() if os.path.isdir(path)}
    roots |= {Path("/usr/lib"), Path("/usr/local/lib")}
    found = {
        str(folder)
        for root in roots
        for pattern in ("*-packages", "python*/*-packages")
        for folder in root.glob(pattern)
        if folder.is_dir() and not folder.is_symlink()
    }
    return tuple(sorted(path for path in found if _below(path, system_paths())))


def _below(path: str, roots: tuple[str, ...]) -> bool:
    return any(path.startswith(f"{root}/") for root in roots)


@cache
def packages(runtime: str) -> tuple[Path, ...]:
    """Return the files and folders of the packages that a runtime offers, with what they need.

    Raises:
        ModuleNotFoundError: a package of the runtime is not installed here.
    """
    from importlib import metadata  # costs a fifth of NumPy, and only who builds a sandbox asks

    paths: dict[Path, None] = {}
    for name in RUNTIMES[runtime]:
        try:
            metadata.distribution(name)
        except metadata.PackageNotFoundError:
            raise ModuleNotFoundError(
                f"{name} is not installed here and exercises of the kind {runtime!r} need it: "
                f"pip install {name}"
            ) from None
        for distribution in _closure(name):
            paths.update(dict.fromkeys(_top_level(distribution)))
    return tuple(paths)


def _closure(name: str) -> list[metadata.Distribution]:
    """Return a distribution and those that it requires and that are installed."""
    from importlib import metadata

    found: dict[str, metadata.Distribution] = {}
    waiting = [name]
    while waiting:
        wanted = waiting.pop()
        key = re.sub(r"[-_.]+", "-", wanted).lower()
        if key in found or key in ("setuptools", "normcourse"):
            continue
        try:
            found[key] = metadata.distribution(wanted)
        except metadata.PackageNotFoundError:
            continue
        waiting += list(_required(found[key]))
    return list(found.values())


def _required(distribution: metadata.Distribution) -> Iterator[str]:
    for line in distribution.requires or ():
        match = _NAME.match(line)
        if match and "extra ==" not in line:
            yield match.group()


def _top_level(distribution: metadata.Distribution) -> list[Path]:
    """Return the entries of ``site-packages`` that belong to a distribution."""
    names = {name for name in _first_parts(distribution) if name != ".."}
    names = {n for n in names if not n.endswith((".dist-info", ".pth", "__pycache__"))}
    places = (Path(str(distribution.locate_file(name))) for name in sorted(names))
    return [place for place in places if place.exists()]


def _first_parts(distribution: metadata.Distribution) -> set[str]:
    """Return the first part of the path of each file; from the list itself, which is sooner."""
    record = distribution.read_text("RECORD")
    if not record or '"' in record:
        return {file.parts[0] for file in distribution.files or ()}
    return {line.partition(",")[0].partition("/")[0] for line in record.splitlines() if line}

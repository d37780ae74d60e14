"""A control group around each sandbox where this user may make one: memory and tasks as a whole.

Only a second line: each answer's process has limits of its own and cannot start another. Where no
hierarchy can be written to, there is none and the record says so.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path

MEMORY_MB = 6144
TASKS = 128
_ROOT = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")
_number = count()

Group = tuple[Path, ...]


def create() -> Group:
    """Return the folders of a new group with its limits set, or nothing."""
    name = f"normcourse-{os.getpid()}-{next(_number)}"
    made: list[Path] = []
    for controller, limits in (
        ("memory", {"memory.limit_in_bytes": MEMORY_MB * 2**20}),
        ("pids", {"pids.max": TASKS}),
    ):
        parent = _ROOT / controller
        if not (parent / "cgroup.procs").exists():  # version 2, or none at all
            continue
        folder = parent / name
        try:
            folder.mkdir()
            made.append(folder)
            for key, value in limits.items():
                (folder / key).write_text(str(value), encoding="ascii")
        except OSError:
            continue
    return tuple(made) or _create_in_version_2(name)


def _create_in_version_2(name: str) -> Group:
    """Use the part of the unified hierarchy that was handed to this user, if there is one."""
    parent = _parent_in_version_2()
    if parent is None:
        return ()
    folder = parent / name
    try:
        folder.mkdir()
        for key, value in {"memory.max": MEMORY_MB * 2**20, "pids.max": TASKS}.items():
            (folder / key).write_text(str(value), encoding="ascii")
    except OSError:
        _removed(folder)
        return ()
    return (folder,)


def _parent_in_version_2() -> Path | None:
    """Return the folder beside this process's own group, if it hands on memory and tasks.

    A group with processes in it may not hand on controllers, so a new group is a sibling.
    """
    try:
        lines = _OWN.read_text(encoding="ascii").splitlines()
        own = next(line[3:] for line in lines if line.startswith("0::"))
        parent = (_ROOT / own.lstrip("/")).parent
        handed_on = (parent / "cgroup.subtree_control").read_text(encoding="ascii").split()
    except (OSError, StopIteration):
        return None
    inside = parent == _ROOT or _ROOT in parent.parents
    return parent if inside and {"memory", "pids"} <= set(handed_on) else None


def entrance(group: Group) -> Callable[[], None] | None:
    """Return what a new process does first to be in the group, None where there is no group."""
    if not group:
        return None

    def enter() -> None:
        for folder in group:
            with suppress(OSError):
                (folder / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")

    return enter


def remove(group: Group, *, patience: float = 2.0) -> None:
    """Remove a group; its processes were killed and may take a moment to be gone."""
    deadline = time.monotonic() + patience
    for folder in group:
        while not _removed(folder) and time.monotonic() < deadline:
            time.sleep(0.005)


def sweep() -> None:
    """Remove the groups of graders that were killed themselves."""
    unified = _parent_in_version_2()
    for parent in (_ROOT / "memory", _ROOT / "pids", *([unified] if unified else [])):
        for folder in parent.glob("normcourse-*-*"):
            owner = folder.name.split("-")[1]
            if owner.isdecimal() and not Path(f"/proc/{owner}").exists():
                _removed(folder)


def _removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:  # a process is still in it
        return False
    return True

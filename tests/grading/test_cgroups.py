"""Control groups: where this user may write, limits are set; nowhere else is anything touched."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from normcourse.grading import cgroups


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hierarchy in place of the system's."""
    monkeypatch.setattr(cgroups, "_ROOT", tmp_path)
    monkeypatch.setattr(cgroups, "_OWN", tmp_path / "own")
    return tmp_path


def _version_2(root: Path, own: str, handed_on: str) -> Path:
    """Write what the unified hierarchy shows a process in the group ``own``."""
    (root / "own").write_text(f"0::{own}\n", encoding="ascii")
    group = root / own.lstrip("/")
    group.mkdir(parents=True, exist_ok=True)
    (group.parent / "cgroup.subtree_control").write_text(handed_on, encoding="ascii")
    return group


class TestVersion2:
    def test_a_sibling_with_both_limits(self, root: Path) -> None:
        own = _version_2(root, "/user.slice/grader.scope", "cpu memory pids\n")
        (folder,) = cgroups.create()
        assert folder.parent == own.parent
        assert folder.name.startswith(f"normcourse-{os.getpid()}-")
        limit = (folder / "memory.max").read_text(encoding="ascii")
        assert int(limit) == cgroups.MEMORY_MB * 2**20
        assert (folder / "pids.max").read_text(encoding="ascii") == str(cgroups.TASKS)

    @pytest.mark.parametrize("handed_on", ["", "cpu", "memory", "pids cpu"])
    def test_none_where_a_controller_is_not_handed_on(self, root: Path, handed_on: str) -> None:
        own = _version_2(root, "/user.slice/grader.scope", handed_on)
        assert cgroups.create() == ()
        assert [path.name for path in own.parent.iterdir() if path.is_dir()] == [own.name]

    def test_none_at_the_root_of_a_namespace(self, root: Path) -> None:
        """A container sees its own group as the root: there is no sibling to make."""
        (root / "own").write_text("0::/\n", encoding="ascii")
        assert cgroups.create() == ()

    def test_none_where_nothing_is_mounted(self, root: Path) -> None:
        assert cgroups.create() == ()
        assert list(root.iterdir()) == []

    def test_groups_of_graders_that_are_gone_are_swept(self, root: Path) -> None:
        own = _version_2(root, "/user.slice/grader.scope", "memory pids")
        gone = subprocess.run(
            [sys.executable, "-c", "import os; print(os.getpid())"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        left, living = (own.parent / f"normcourse-{pid}-0" for pid in (gone, os.getpid()))
        left.mkdir()
        living.mkdir()
        cgroups.sweep()
        assert not left.exists()
        assert living.exists()


class TestVersion1:
    def test_one_group_in_each_hierarchy(self, root: Path) -> None:
        for controller in ("memory", "pids"):
            (root / controller).mkdir()
            (root / controller / "cgroup.procs").touch()
        memory, tasks = cgroups.create()
        limit = (memory / "memory.limit_in_bytes").read_text(encoding="ascii")
        assert int(limit) == cgroups.MEMORY_MB * 2**20
        assert (tasks / "pids.max").read_text(encoding="ascii") == str(cgroups.TASKS)


def test_a_process_enters_and_the_group_goes_away() -> None:
    """On this machine's own hierarchy, where it may be written to."""
    group = cgroups.create()
    if not group:
        pytest.skip("no control group may be made here")
    enter = cgroups.entrance(group)
    command = [sys.executable, "-c", "print(open('/proc/self/cgroup').read())"]
    said = subprocess.run(command, preexec_fn=enter, capture_output=True, text=True, check=True)
    assert group[0].name in said.stdout
    cgroups.remove(group)
    assert not any(folder.exists() for folder in group)

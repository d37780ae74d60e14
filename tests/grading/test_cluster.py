"""The same work over a real Dask scheduler with two workers, one of which is killed on the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from normcourse.grading.cluster import NoCluster, on_cluster
from normcourse.grading.sandbox import Kind
from tests.grading.test_batch import call, command, exports, fill

pytest.importorskip("distributed", reason="the extra `cluster` is not installed")
PORT = 28786


def start(*words: str) -> subprocess.Popen[bytes]:
    """Start a process of Dask."""
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "distributed.cli.dask_" + words[0], *words[1:]],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process of Dask with what it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """A scheduler; it ends with the test."""
    scheduler = start(
        *("scheduler", "--host", "127.0.0.1", "--port", str(PORT), "--no-dashboard"),
    )
    yield f"tcp://127.0.0.1:{PORT}"
    end(scheduler)


def worker(address: str, folder: Path) -> subprocess.Popen[bytes]:
    """Start one worker with one thread, without the nanny that would start it again."""
    options = ("--no-nanny", "--nthreads", "1", "--no-dashboard", "--local-directory", str(folder))
    return start("worker", address, *options)


def test_a_worker_killed_on_the_way_changes_nothing(
    kind: Kind, address: str, tmp_path: Path
) -> None:
    given = fill(tmp_path / "in", 10)
    workers = [worker(address, tmp_path / f"w{n}") for n in range(2)]
    out = tmp_path / "cluster"
    try:
        grading = subprocess.Popen(
            command(given, out, "--scheduler", address),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        journal, deadline = out / "journal.jsonl", time.monotonic() + 90
        while not journal.exists() or not journal.stat().st_size:
            assert time.monotonic() < deadline, grading.communicate(timeout=1)
            time.sleep(0.02)
        end(workers[0])
        said, errors = grading.communicate(timeout=120)
    finally:
        for one in workers:
            end(one)
    assert grading.returncode == 0, errors
    assert "30 verdicts reached" in said
    assert call(given, tmp_path / "here").returncode == 0
    assert exports(out) == exports(tmp_path / "here")


def test_nobody_at_the_address_is_said() -> None:
    with pytest.raises(NoCluster, match="no scheduler with workers answers"):
        on_cluster("tcp://127.0.0.1:1", unsafe=False, patience=0.5)

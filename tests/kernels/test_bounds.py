"""The kernels for the CPU touch nothing beside their arrays."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.skipif(sys.platform != "linux", reason="memory is protected as on Linux")
def test_nothing_outside_the_arrays_is_touched() -> None:
    """In a process of its own, which a step outside would end with SIGSEGV."""
    pytest.importorskip("numba", reason='needs Numba (pip install "normcourse[fast]")')
    done = subprocess.run(
        [sys.executable, "-m", "tests.kernels.guarded"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout == "1440 calls\n"

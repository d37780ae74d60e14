"""The benchmark scripts run; what they measure is not asserted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def test_bench_norms(tmp_path: Path, root: Path) -> None:
    file = tmp_path / "numbers.json"
    command = [sys.executable, "-m", "tests.benchmarks.bench_norms", "--quick", "--json", str(file)]
    done = subprocess.run(
        [*command, "--only", "batch_norm,rms_norm,weight_norm"],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(done.stdout.splitlines()) == 4
    numbers = json.loads(file.read_text(encoding="utf-8"))
    assert numbers["batch_norm"]["both"]["over_torch"] > 0
    assert numbers["batch_norm"]["forward"]["peak"] >= 1  # the result itself

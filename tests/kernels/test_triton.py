"""The GPU kernels: right in Triton's interpreter, compiled for a GPU, right on one that is here."""

from __future__ import annotations

import ast
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from normcourse import kernels
from normcourse.kernels import engines

HERE = Path(__file__).parent
CHECKS = HERE / "gpu_kernels.py"
PARTS = {
    "values": ("test_values_and_gradients",),
    "in parts": ("test_values_and_gradients_in_parts",),
    "far from 0": ("test_big_means_keep_their_digits",),
    "activations": ("test_activations",),
    "residual": ("test_residual_add",),
}
needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None,
    reason='needs Triton (pip install "normcourse[gpu]", Linux only)',
)
needs_cuda = pytest.mark.skipif(
    kernels.why_not("cuda") is not None, reason=kernels.why_not("cuda") or ""
)


def names_of_checks() -> list[str]:
    """Return the tests of gpu_kernels.py."""
    tree = ast.parse(CHECKS.read_text(encoding="utf-8"))
    names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    return [name for name in names if name.startswith("test_")]


def run(words: list[str], tmp_path: Path, **environment: str) -> str:
    """Return what a process of its own prints; fail with all of it."""
    variables = {**os.environ, "TRITON_CACHE_DIR": str(tmp_path / "triton"), **environment}
    done = subprocess.run(
        [sys.executable, *words], env=variables, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    return done.stdout


def pytest_words(*names: str) -> list[str]:
    """Return the words that run these tests of gpu_kernels.py."""
    nodes = [f"{CHECKS}::{name}" for name in names]
    return ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *nodes]


@needs_triton
@pytest.mark.parametrize("part", [*PARTS, "rest"])
def test_right_in_the_interpreter(part: str, tmp_path: Path) -> None:
    taken = {name for names in PARTS.values() for name in names}
    assert taken <= set(names_of_checks())
    rest = [name for name in names_of_checks() if name not in taken]
    shown = run(pytest_words(*PARTS.get(part, rest)), tmp_path, TRITON_INTERPRET="1")
    assert " passed" in shown
    assert " skipped" not in shown


@needs_triton
def test_every_kernel_compiles_for_a_gpu(tmp_path: Path) -> None:
    shown = run([str(HERE / "gpu_compiles.py")], tmp_path, TRITON_INTERPRET="0")
    lines = [line.split() for line in shown.splitlines()]
    assert [line[1] for line in lines if line[0] == "rows"] == [
        *("forward", "forward_long", "backward", "backward_long")
    ]
    assert len(lines) == 15
    assert all(int(size) > 0 for line in lines for size in line[2:])


@needs_triton
@needs_cuda
def test_right_on_the_gpu_that_is_here(tmp_path: Path) -> None:
    assert " passed" in run(pytest_words(*names_of_checks()), tmp_path, TRITON_INTERPRET="0")


class Elsewhere:
    """What the switch asks of a tensor on CUDA."""

    is_cuda = True
    is_cpu = False
    device = torch.device("cuda")


@needs_triton
def test_a_tensor_on_cuda_is_taken_by_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "_cuda_reason", lambda device: None)
    assert engines.engine_for(Elsewhere()).__name__ == "normcourse.kernels.gpu.engine"
    assert kernels.why_not("cuda") is None


def test_a_tensor_on_cuda_is_computed_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "_cuda_reason", lambda device: "something is missing")
    engines._say.cache_clear()
    with pytest.warns(UserWarning, match='backend="fused": something is missing'):
        assert engines.engine_for(Elsewhere()) is None


def test_without_triton_one_line_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "_has", lambda package: False)
    engines._cuda_reason.cache_clear()
    try:
        assert kernels.why_not("cuda") == (
            'the fused kernels for the GPU need Triton (pip install "normcourse[gpu]", Linux only):'
            " computed in plain torch operations"
        )
    finally:
        engines._cuda_reason.cache_clear()


@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA is here")
def test_without_cuda_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "_has", lambda package: True)
    engines._cuda_reason.cache_clear()
    try:
        expected = "torch finds no CUDA here: computed in plain torch operations"
        assert kernels.why_not("cuda") == expected
    finally:
        engines._cuda_reason.cache_clear()


def test_a_device_that_is_too_old_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "_has", lambda package: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    engines._cuda_reason.cache_clear()
    try:
        reason = kernels.why_not("cuda")
    finally:
        engines._cuda_reason.cache_clear()
    assert reason is not None
    assert "need compute capability 8.0, this device has 7.5" in reason

"""The benchmark compares equal computations and counts bytes as it says; no time is asserted."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from normcourse.kernels import bench, gpu_bench, liger
from normcourse.kernels.cases import CASES, Case
from normcourse.kernels.contenders import Textbook, draw, eager, fused
from normcourse.kernels.gpu_cases import GPU_CASES, GpuCase
from normcourse.terminal.screen import Screen

pytest.importorskip("numba", reason='needs Numba (pip install "normcourse[fast]")')


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_all_contenders_compute_the_same(case: Case) -> None:
    rest = (40,) if len(case.shape) == 2 else (8, 5, 7)
    small = replace(case, shape=(6, *rest), groups=4)
    tensors = draw(small)
    expected, found, book = eager(small)(*tensors), fused(small)(*tensors), Textbook(small)
    arrays = [one.detach().numpy() for one in tensors]
    for by_torch, ours, by_numpy in zip(expected, found, book.forward(*arrays), strict=True):
        torch.testing.assert_close(ours, by_torch, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(by_numpy, by_torch.detach().numpy(), rtol=1e-5, atol=1e-5)
    dys = [torch.randn_like(one) for one in expected]
    gradients = torch.autograd.grad(expected, tensors, dys)
    for one, other in zip(torch.autograd.grad(found, tensors, dys), gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=2e-5)
    weight = next(one for one in arrays if one.ndim == 1)
    dx, dweight, _ = book.backward([one.numpy() for one in dys], weight)
    np.testing.assert_allclose(dx, gradients[0].numpy(), rtol=1e-5, atol=1e-5)
    of_weight = next(one for one in gradients if one.ndim == 1)
    np.testing.assert_allclose(dweight, of_weight.numpy(), rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize(
    ("method", "forward", "backward"),
    [("layer_norm", 2, 3), ("batch_norm", 3, 5), ("inference", 2, 3), ("add_rms_norm", 4, 4)],
)
def test_bytes_are_counted_as_the_method_needs(method: str, forward: int, backward: int) -> None:
    counted = {(case.forward, case.backward) for case in CASES if case.method == method}
    assert counted == {(forward, backward)}


def test_a_new_array_is_charged_once_for_each() -> None:
    best = {"best": 8.0}
    seconds = {"copy": {"torch": {"best": 2.0}}, "new copy": {"torch": {"best": 3.0}}}
    seconds["fused"] = {"forward": best, "backward": best}
    row = {"case": "add + RMS norm", "seconds": seconds}
    assert bench.shares(row, "forward") == {"fused": 4 / 8}
    assert bench.shares(row, "forward", fresh=True) == {"fused": (4 + 2) / 8}
    assert bench.shares(row, "backward", fresh=True) == {"fused": (4 + 1) / 8}
    row = {"case": "batch norm", "seconds": seconds}
    assert bench.shares(row, "forward", fresh=True) == {"fused": (3 + 1) / 8}
    seconds["new copy"]["torch"] = {"best": 1.0}  # a chance, no gift
    assert bench.shares(row, "forward", fresh=True) == bench.shares(row, "forward")


def test_a_run_from_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a new folder" / "record.json"
    options = {"threads": (1,), "rounds": 2, "compiles": False, "names": ("batch norm, late",)}
    assert bench.bench(Screen(sys.stdout, width=200), **options, json_file=file) == 0
    record = json.loads(file.read_text(encoding="utf-8"))
    assert [part["memory"] for part in record["parts"]] == ["fresh", "reused"]
    for row in [row for part in record["parts"] for row in part["rows"]]:
        everyone = {"copy", "new copy", "NumPy", "torch", "fused", "nothing"}
        assert set(row["seconds"]) == everyone
        assert set(row["seconds"]["new copy"]) > {"torch"}
        assert set(row["calls"]) == {"NumPy", "torch", "fused", "nothing"}
        assert set(row["calls"]["fused"]) == {"forward", "backward"}
    assert {"processor", "cores", "torch", "numba", "date"} <= set(record["machine"])
    shown = capsys.readouterr().out
    assert "batch norm, late, backward" in shown
    assert "torch / fused" in shown


def test_a_gpu_that_is_not_there_is_said_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    if gpu_bench.missing() is None:
        pytest.skip("CUDA is here")
    assert bench.bench(Screen(sys.stdout, width=200), device="cuda") == 1
    shown = capsys.readouterr().out
    assert shown.startswith("GPU: not measured; ")
    assert shown.count("\n") == 1


def test_an_unknown_device() -> None:
    with pytest.raises(ValueError, match="device: expected one of 'all', 'cpu', 'cuda', got 'tpu'"):
        bench.bench(Screen(sys.stdout), device="tpu")


def small(case: GpuCase) -> GpuCase:
    """The same in a size for the processor."""
    rest = (40,) if len(case.shape) == 2 else (8, 5, 7)
    return replace(case, shape=(6, *rest), groups=4)


@pytest.mark.parametrize("case", GPU_CASES, ids=lambda case: case.name)
def test_contenders_on_the_gpu_compute_the_same(case: GpuCase) -> None:
    case = small(case)
    tensors = gpu_bench.draw(case, "cpu")
    assert {one.dtype for one in tensors} == {case.kind}
    assert case.channels_last == (not tensors[0].is_contiguous())
    tolerance = (
        {"rtol": 1e-5, "atol": 2e-5} if case.dtype == "float32" else {"rtol": 0.02, "atol": 0.1}
    )
    expected, found = eager(case)(*tensors), fused(case)(*tensors)
    dys = [torch.randn_like(one) for one in expected]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, **tolerance)
    pairs = [torch.autograd.grad(outputs, tensors, dys) for outputs in (found, expected)]
    for one, other in zip(*pairs, strict=True):
        torch.testing.assert_close(one, other, **tolerance)


def test_a_measured_case_has_everyone_in_both_directions() -> None:
    rows = gpu_bench.measure(small(GPU_CASES[0]), "cpu", rounds=2, compiles=False)
    assert list(rows) == ["fresh", "reused"]
    for row in rows.values():
        assert set(row["seconds"]) == {"copy", "new copy", "torch", "fused"}
        assert set(row["seconds"]["fused"]) == {"forward", "backward"}
        found = bench.shares(row, "forward", GPU_CASES)
        assert set(found) == {"torch", "fused"}
        fresh = bench.shares(row, "forward", GPU_CASES, fresh=True)
        assert all(0 < found[name] <= fresh[name] for name in found)


class Liger:
    """Liger-Kernel's functions, with its names and the order of its arguments, in torch's own."""

    @staticmethod
    def liger_layer_norm(X: Tensor, W: Tensor, B: Tensor, eps: float) -> Tensor:
        return F.layer_norm(X, W.shape, W, B, eps)

    @staticmethod
    def liger_rms_norm(
        X: Tensor, W: Tensor, eps: float, offset: float = 0.0, casting_mode: str = "llama",
        in_place: bool = True,
    ) -> Tensor:  # fmt: skip
        assert not in_place, "the gradient that comes in is used again"
        return F.rms_norm(X, W.shape, W, eps)

    @staticmethod
    def liger_fused_add_rms_norm(
        X: Tensor, R: Tensor, W: Tensor, eps: float, offset: float = 0.0,
        casting_mode: str = "llama", in_place: bool = True,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        assert not in_place, "the gradient that comes in is used again"
        return F.rms_norm(X + R, W.shape, W, eps), X + R

    @staticmethod
    def liger_group_norm(
        X: Tensor, affine_scaling_weight: Tensor, affine_shifting_bias: Tensor, num_channels: int,
        num_groups: int, eps: float,
    ) -> Tensor:  # fmt: skip
        assert num_channels == X.shape[1]
        return F.group_norm(X, num_groups, affine_scaling_weight, affine_shifting_bias, eps)


@pytest.fixture
def with_liger(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if Liger-Kernel were installed."""
    monkeypatch.setattr(liger, "version", lambda: "0.0 of these tests")
    monkeypatch.setitem(sys.modules, "liger_kernel.transformers.functional", Liger)


@pytest.mark.usefixtures("with_liger")
@pytest.mark.parametrize("case", GPU_CASES, ids=lambda case: case.name)
def test_liger_takes_part_in_what_it_has(case: GpuCase) -> None:
    case = small(case)
    function = liger.liger(case)
    has_it = case.method in ("layer_norm", "rms_norm", "add_rms_norm", "group_norm")
    assert (function is not None) == (has_it and case.activation is None)
    if function is None:
        return
    tensors = gpu_bench.draw(case, "cpu")
    for one, other in zip(function(*tensors), eager(case)(*tensors), strict=True):
        torch.testing.assert_close(one, other)
    rows = gpu_bench.measure(case, "cpu", rounds=1, compiles=False)
    assert set(rows["reused"]["seconds"]["Liger"]) == {"forward", "backward"}
    assert rows["reused"]["left out"] == {}


@pytest.mark.usefixtures("with_liger")
def test_liger_that_fails_is_left_out_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*tensors: Tensor) -> Tensor:
        raise RuntimeError("too wide")

    monkeypatch.setattr(Liger, "liger_layer_norm", fails)
    row = gpu_bench.measure(small(GPU_CASES[0]), "cpu", rounds=1, compiles=False)["fresh"]
    assert row["left out"] == {"Liger": "RuntimeError: too wide"}
    assert "Liger" not in row["seconds"]
    other = gpu_bench.measure(small(GPU_CASES[4]), "cpu", rounds=1, compiles=False)["fresh"]
    heads, lines = bench.table([row, other], GPU_CASES, fresh=True)
    place = heads.index("Liger %")
    assert [line[place] == bench.NONE for line in lines] == [True, True, False, False]


def test_without_liger_it_takes_no_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liger, "version", lambda: None)
    assert [liger.liger(case) for case in GPU_CASES] == [None] * len(GPU_CASES)


def test_bytes_on_the_gpu_are_counted_as_on_the_processor() -> None:
    counted = {case.method: (case.forward, case.backward) for case in CASES}
    assert {c.name: (c.forward, c.backward) for c in GPU_CASES} == {
        c.name: counted[c.method] for c in GPU_CASES
    }
    assert all(case.nbytes >= 100 * 2**20 for case in GPU_CASES)

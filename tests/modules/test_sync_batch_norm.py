"""SyncBatchNorm over real processes is BatchNorm on the joined batch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from sync_worker import CASES, EPS, STEPS, Case, layer, second_gradient
from torch import nn

from normcourse.modules import BatchNorm, SyncBatchNorm

WORKER = Path(__file__).with_name("sync_worker.py")


@pytest.fixture(scope="module", params=[2, 3], ids=["2_workers", "3_workers"])
def workers(request, tmp_path_factory) -> list[dict[str, Any]]:
    """What each worker saw; the processes run once for all tests."""
    world, folder = request.param, tmp_path_factory.mktemp("workers")
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "error", str(WORKER), str(rank), str(world), str(folder)],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(world)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=100)
        assert process.returncode == 0, errors
    return [torch.load(folder / f"worker-{rank}.pt") for rank in range(world)]


def joined(case: Case, world: int) -> dict[str, Any]:
    """Return what BatchNorm sees on the joined batches."""
    module = layer(case, BatchNorm)
    seen: dict[str, Any] = {"y": [], "dx": [], "dw": []}
    for step in range(STEPS):
        x, upstream = (torch.cat(shards) for shards in case.batch(world, step))
        x.requires_grad_()
        module.zero_grad()
        y = module(x)
        y.backward(upstream)
        seen["y"].append(y.detach())
        seen["dx"].append(x.grad)
        seen["dw"].append([p.grad.clone() for p in module.parameters()])
    x, upstream = (torch.cat(shards) for shards in case.batch(world, 0))
    seen["ddx"] = second_gradient(module, x, upstream)
    seen["state"] = dict(module.state_dict())
    if module.track_running_stats:
        seen["inference"] = module.eval()(x).detach()
    return seen


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_it_is_batch_norm_on_the_joined_batch(case: Case, workers: list[dict[str, Any]]) -> None:
    expected = joined(case, len(workers))
    seen = [worker["cases"][case.name] for worker in workers]
    loose = {"rtol": 2e-4, "atol": 2e-4} if case.dtype == torch.float32 else {}
    for step in range(STEPS):
        for key in ("y", "dx"):
            actual = torch.cat([one[key][step] for one in seen])
            torch.testing.assert_close(actual, expected[key][step], **loose)
        for i, gradient in enumerate(expected["dw"][step]):  # each worker has its own part
            total = torch.stack([one["dw"][step][i] for one in seen]).sum(0)
            torch.testing.assert_close(total, gradient, **loose)
    for one in seen:
        assert list(one["state"]) == list(expected["state"])
        for name, tensor in expected["state"].items():
            torch.testing.assert_close(one["state"][name], tensor)
    for key in ("ddx", "inference"):
        if key in expected:
            actual = torch.cat([one[key] for one in seen])
            torch.testing.assert_close(actual, expected[key], **loose)


def test_a_process_group_pools_its_members_alone(workers: list[dict[str, Any]]) -> None:
    shards, _ = CASES[0].batch(len(workers), 0)
    expected = BatchNorm(3, EPS)(torch.cat(shards[:2]).float())
    actual = torch.cat([worker["pair"] for worker in workers[:2]])
    torch.testing.assert_close(actual, expected.detach())


def test_fewer_than_two_values_in_all_leave_the_running_statistics_alone(workers) -> None:
    for worker in workers:
        for seen in worker["lonely"]:
            torch.testing.assert_close(seen["y"], torch.full_like(seen["y"], 0.5))
            torch.testing.assert_close(seen["mean"], torch.zeros(3))
            torch.testing.assert_close(seen["var"], torch.ones(3))


def test_state_fits_torch_both_ways() -> None:
    module, reference = SyncBatchNorm(3), nn.SyncBatchNorm(3)
    with torch.no_grad():
        reference.weight.fill_(2.0)
        reference.running_var.fill_(3.0)
    module.load_state_dict(reference.state_dict(), strict=True)
    torch.testing.assert_close(module.running_var, torch.full((3,), 3.0))
    module.bias.data.fill_(5.0)
    reference.load_state_dict(module.state_dict(), strict=True)
    torch.testing.assert_close(reference.bias.detach(), torch.full((3,), 5.0))


def test_alone_one_value_per_channel_is_an_error() -> None:
    with pytest.raises(ValueError, match="expected more than 1 value per channel"):
        SyncBatchNorm(3)(torch.zeros(1, 3))

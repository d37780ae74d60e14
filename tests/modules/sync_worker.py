"""One worker of the test of SyncBatchNorm: ``python sync_worker.py rank world folder``.

Every worker trains the same layer on its shard of each case's batches. What it saw goes to
``folder/worker-<rank>.pt``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from normcourse.modules import BatchNorm, SyncBatchNorm

EPS = 0.3
STEPS = 3


@dataclass(frozen=True)
class Case:
    """Shards of a batch, one size per worker and step, and the layer's options."""

    name: str
    rest: tuple[int, ...]  # shape without the batch axis
    shards: Callable[[int, int], list[int]]  # world size, step -> sizes
    options: dict[str, Any] = field(default_factory=dict)
    dtype: torch.dtype = torch.float64
    offset: float = 0.6

    def batch(self, world: int, step: int) -> tuple[list[Tensor], list[Tensor]]:
        """Return the shards of inputs and of upstream gradients."""
        sizes = self.shards(world, step)
        generator = torch.Generator().manual_seed(17 * step + world)
        shape = (sum(sizes), *self.rest)
        x = 1.7 * torch.randn(shape, generator=generator, dtype=torch.float64) + self.offset
        upstream = torch.randn(shape, generator=generator, dtype=torch.float64)
        return (
            list(x.to(self.dtype).split(sizes)),
            list(upstream.to(self.dtype).split(sizes)),
        )


CASES = [
    Case("equal", (3,), lambda world, step: [2] * world),
    Case("unequal", (3,), lambda world, step: [1 + 2 * k + step for k in range(world)]),
    Case("one_empty", (3, 4), lambda world, step: [0, *[2 + step] * (world - 1)]),
    Case("one_value_each", (3,), lambda world, step: [1] * world),
    Case("images", (3, 4, 2), lambda world, step: [3, *[1] * (world - 1)], {"momentum": None}),
    Case("plain", (3, 5), lambda world, step: [2, *[3] * (world - 1)], {"affine": False}),
    Case(
        "stateless",
        (3, 5),
        lambda world, step: [2, *[3] * (world - 1)],
        {"track_running_stats": False},
    ),
    Case(
        "float32_far_from_zero",
        (3, 4),
        lambda world, step: [4, *[2] * (world - 1)],
        dtype=torch.float32,
        offset=1e6,  # steps of 1/16, so that the rounding of the mean counts
    ),
]


def layer(case: Case, kind: type[BatchNorm]) -> BatchNorm:
    """Return a layer with parameters of both signs."""
    module = kind(3, EPS, **{"momentum": 0.3, **case.options}).to(case.dtype)
    if module.weight is not None and module.bias is not None:
        nn.init.constant_(module.weight, -1.4)
        with torch.no_grad():
            module.weight[1], module.bias[2] = 0.7, 0.5
    return module


def second_gradient(module: BatchNorm, x: Tensor, upstream: Tensor) -> Tensor:
    """Return the gradient of the sum of squares of the input's gradient."""
    x = x.detach().requires_grad_()
    (dx,) = torch.autograd.grad(module(x), x, upstream, create_graph=True)
    (ddx,) = torch.autograd.grad(dx.square().sum(), x)
    return ddx


def _train(case: Case, rank: int, world: int) -> dict[str, Any]:
    module = layer(case, SyncBatchNorm)
    seen: dict[str, Any] = {"y": [], "dx": [], "dw": []}
    for step in range(STEPS):
        shards, upstreams = case.batch(world, step)
        x = shards[rank].clone().requires_grad_()
        module.zero_grad()
        y = module(x)
        y.backward(upstreams[rank])
        seen["y"].append(y.detach())
        seen["dx"].append(x.grad)
        seen["dw"].append([p.grad.clone() for p in module.parameters()])
    shards, upstreams = case.batch(world, 0)
    seen["ddx"] = second_gradient(module, shards[rank], upstreams[rank])
    seen["state"] = dict(module.state_dict())
    if module.track_running_stats:
        seen["inference"] = module.eval()(shards[rank]).detach()
    return seen


def _groups(rank: int, world: int) -> Tensor:
    """Return the output of a layer that pools worker 0 and 1 alone."""
    pair = dist.new_group([0, 1])
    if rank > 1:
        return torch.empty(0)
    module = SyncBatchNorm(3, EPS, process_group=pair)
    shards, _ = CASES[0].batch(world, 0)
    return module(shards[rank].float()).detach()


def _lonely(rank: int, total: int) -> dict[str, Any]:
    """Return what a batch of ``total`` values per channel, all on worker 0, gives and leaves."""
    module = SyncBatchNorm(3, EPS)
    nn.init.constant_(module.bias, 0.5)
    y = module(torch.full((total if rank == 0 else 0, 3), 7.0))
    return {"y": y.detach(), "mean": module.running_mean, "var": module.running_var}


def main(rank: int, world: int, folder: Path) -> None:
    """Join the others, run every case, save what was seen."""
    torch.set_num_threads(1)
    store = dist.FileStore(str(folder / "store"), world)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=world)
    seen = {case.name: _train(case, rank, world) for case in CASES}
    seen = {"cases": seen, "pair": _groups(rank, world)}
    seen["lonely"] = [_lonely(rank, total) for total in (0, 1)]
    torch.save(seen, folder / f"worker-{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))

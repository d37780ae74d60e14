"""One of several processes that train one net together: ``python _sync_worker.py RANK FOLDER``.

``FOLDER/jobs.pt`` says what to train; what the first worker ends with goes to ``FOLDER/done.pt``.
It imports the modules alone, so that a process starts as fast as it can.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

import torch
import torch.distributed as dist
from torch import Tensor, nn

from normcourse.modules import BatchNorm, SyncBatchNorm

FEATURES, WIDTH, CLASSES = 6, 8, 3
RATE = 0.2
JOBS, STORE, DONE = "jobs.pt", "store", "done.pt"


class Job(TypedDict):
    """What to train: shards of every step's batch, one per worker, and how."""

    norm: str  # "sync" pools over the workers, "local" does not
    loss: str  # "sum" adds all examples' gradients up, "mean" averages the workers' mean losses
    seed: int
    steps: list[list[tuple[Tensor, Tensor]]]  # step -> worker -> inputs (n, D), labels (n,)
    test: Tensor


class Outcome(TypedDict):
    """What a trained net gives for ``test``, in inference mode, and its running statistics."""

    scores: Tensor
    statistics: Tensor


def make_net(norm: str, seed: int) -> nn.Sequential:
    """Return the net in double precision, the same on every worker."""
    generator = torch.Generator().manual_seed(seed)
    kind = SyncBatchNorm if norm == "sync" else BatchNorm
    net = nn.Sequential(
        nn.Linear(FEATURES, WIDTH), kind(WIDTH), nn.ReLU(), nn.Linear(WIDTH, CLASSES)
    ).double()
    with torch.no_grad():
        for parameter in (*net[0].parameters(), *net[3].parameters()):
            parameter.normal_(0, 0.5, generator=generator)
    return net


def train_together(job: Job, rank: int) -> Outcome:
    """Train on one shard per step; gradients are added up over all workers, if there are any."""
    net = make_net(job["norm"], job["seed"])
    optimizer = torch.optim.SGD(net.parameters(), lr=RATE)
    for shards in job["steps"]:
        x, t = shards[rank]
        total = nn.functional.cross_entropy(net(x), t, reduction="sum")
        share = sum(len(t) for _, t in shards) if job["loss"] == "sum" else len(t) * len(shards)
        optimizer.zero_grad()
        (total / share).backward()  # type: ignore[no-untyped-call]
        if len(shards) > 1:
            _add_up(net)
        optimizer.step()
    return outcome(net, job["test"])


def _add_up(net: nn.Module) -> None:
    """Put the sum of all workers' gradients in the place of each: one message for all of them."""
    gradients = [p.grad for p in net.parameters() if p.grad is not None]
    total = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(total)
    parts = torch.split(total, [gradient.numel() for gradient in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))


@torch.no_grad()
def outcome(net: nn.Sequential, test: Tensor) -> Outcome:
    """Return scores in inference mode and the running mean and variance."""
    buffers = dict(net.named_buffers())
    statistics = torch.cat([buffers["1.running_mean"], buffers["1.running_var"]])
    return {"scores": net.eval()(test), "statistics": statistics}


def joined(steps: Sequence[Sequence[tuple[Tensor, Tensor]]]) -> list[list[tuple[Tensor, Tensor]]]:
    """Return the same steps for one worker that holds every shard."""
    return [
        [(torch.cat([x for x, _ in shards]), torch.cat([t for _, t in shards]))] for shards in steps
    ]


def main(rank: int, folder: Path) -> None:
    """Join the other workers and do every job."""
    torch.set_num_threads(1)
    jobs: list[Job] = torch.load(folder / JOBS)
    world = len(jobs[0]["steps"][0])
    meeting = (folder / STORE).as_uri()
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=world)
    try:
        done = [train_together(job, rank) for job in jobs]
        if rank == 0:
            torch.save(done, folder / DONE)
        dist.barrier()
    finally:
        dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))

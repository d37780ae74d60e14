"""Several processes train one net: is synchronized batch normalization that of the joined batch?

The workers are real processes that speak over torch.distributed (gloo). Each holds its shard of
every batch. Three ways are compared with one process that has the whole batch: synchronized
statistics with gradients summed over all examples, statistics of each worker's own shard with the
same gradients, and synchronized statistics where each worker's *mean* loss counts alike, which is
what averaging gradients over workers does.

Sources: Peng et al. 2018 (synchronized batch normalization); torch.nn.SyncBatchNorm.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from normcourse.experiments import _sync_worker
from normcourse.experiments._sync_worker import FEATURES, Job, Outcome, joined, train_together
from normcourse.experiments.experiment import Experiment
from normcourse.experiments.result import Effect, Result, Row, Verdict

WAYS: dict[str, tuple[str, str]] = {
    "synchronized": ("sync", "sum"),
    "own statistics": ("local", "sum"),
    "averaged gradients": ("sync", "mean"),
}
PATIENCE = 300  # seconds until workers that hang are ended
SAME, OTHER = 1e-6, 1e-3  # of scores and statistics; SyncBN's momentum of 0.1 is a float32


def run(seed: int, *, shards: list[list[int]], steps: int) -> Iterator[Row]:
    """Yield a row per division into shards and per way.

    ``scores`` and ``statistics`` are the largest differences from one process with the joined
    batch: of the scores in inference mode after training, and of the running statistics.

    Args:
        seed: of data and weights.
        shards: examples per worker and step, such as [4, 12] for two workers.
        steps: training steps.
    """
    test = _inputs(torch.Generator().manual_seed(seed + 1000), 64)[0]
    for workers in sorted({len(sizes) for sizes in shards}):
        divisions = [sizes for sizes in shards if len(sizes) == workers]
        jobs = [
            Job(norm=norm, loss=loss, seed=seed, steps=_data(seed, sizes, steps), test=test)
            for sizes in divisions
            for norm, loss in WAYS.values()
        ]
        what = [(sizes, way) for sizes in divisions for way in WAYS]
        for (sizes, way), job, done in zip(what, jobs, on_workers(jobs), strict=True):
            whole = Job(**{**job, "norm": "local", "loss": "sum", "steps": joined(job["steps"])})
            alone = train_together(whole, 0)
            yield {
                "shards": "+".join(map(str, sizes)),
                "equal": len(set(sizes)) == 1,
                "way": way,
                "scores": (done["scores"] - alone["scores"]).abs().max().item(),
                "statistics": (done["statistics"] - alone["statistics"]).abs().max().item(),
            }


def on_workers(jobs: list[Job]) -> list[Outcome]:
    """Start a process per shard, let them do the jobs, and return what the first one ends with.

    Raises:
        RuntimeError: a worker failed; with what it said last.
    """
    world = len(jobs[0]["steps"][0])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        torch.save(jobs, folder / _sync_worker.JOBS)
        # -P: a script's folder would come first on the path, and ours holds a code.py
        command = [sys.executable, "-P", str(_sync_worker.__file__)]
        processes = [
            subprocess.Popen([*command, str(rank), name], stderr=subprocess.PIPE, text=True)
            for rank in range(world)
        ]
        try:
            for process in processes:
                _, errors = process.communicate(timeout=PATIENCE)
                if process.returncode != 0:
                    raise RuntimeError(f"a worker failed: {errors.strip().splitlines()[-1:]}")
        finally:
            for process in processes:
                if process.poll() is None:
                    process.kill()
                process.communicate()
        done: list[Outcome] = torch.load(folder / _sync_worker.DONE)
    return done


def _data(seed: int, sizes: list[int], steps: int) -> list[list[tuple[Tensor, Tensor]]]:
    """Return every step's shards: the same examples however they are divided."""
    generator = torch.Generator().manual_seed(seed)
    batches = []
    for _ in range(steps):
        x, t = _inputs(generator, sum(sizes))
        batches.append(list(zip(torch.split(x, sizes), torch.split(t, sizes), strict=True)))
    return batches


def _inputs(generator: torch.Generator, num: int) -> tuple[Tensor, Tensor]:
    """Return inputs far from zero and a label that they decide."""
    x = torch.randn(num, FEATURES, generator=generator, dtype=torch.float64)
    t = (x[:, 0] > 0).long() + (x[:, 1] > 0.5).long()
    return 2 * x + 3, t


def equals_joined(result: Result) -> Verdict:
    """Is SyncBN batch normalization on the joined batch, unequal shards included?

    Supported if synchronized training ends within a millionth of the joined batch's scores and
    statistics for every division and seed while statistics of own shards end more than 0.001 away;
    refuted if any synchronized run ends more than 0.001 away; else mixed.
    """
    same, own = result.where(way="synchronized"), result.where(way="own statistics")
    worst = [max(map(float, same.values(column))) for column in ("scores", "statistics")]
    effects = (
        Effect("difference of scores, synchronized", same.spread("scores")),
        Effect("the same, statistics of each worker's shard", own.spread("scores")),
    )
    if max(worst) > OTHER:
        return Verdict("refuted", effects)
    told_apart = min(map(float, own.values("scores"))) > OTHER
    return Verdict("supported" if max(worst) <= SAME and told_apart else "mixed", effects)


def averaging(result: Result) -> Verdict:
    """Is averaging the workers' gradients harmless under SyncBN?

    Supported if it ends within a millionth of the joined batch's scores for every division, refuted
    if it does for equal shards and ends more than 0.001 away for every unequal one, else mixed.
    """
    rows = result.where(way="averaged gradients")
    equal, unequal = rows.where(equal=True), rows.where(equal=False)
    effects = (
        Effect("difference of scores, equal shards", equal.spread("scores")),
        Effect("difference of scores, unequal shards", unequal.spread("scores")),
    )
    if max(map(float, rows.values("scores"))) <= SAME:
        return Verdict("supported", effects)
    clear = max(equal.values("scores")) <= SAME and min(unequal.values("scores")) > OTHER
    return Verdict("refuted" if clear else "mixed", effects)


EXPERIMENT = Experiment(
    name="sync_batch_norm",
    question="Is synchronized batch normalization that of the joined batch?",
    run=run,
    live={"shards": [[3, 13]], "steps": 10},
    full={"shards": [[8, 8], [3, 13], [2, 5, 9]], "steps": 20},
    decisions={"equals_joined": equals_joined, "averaging": averaging},
)

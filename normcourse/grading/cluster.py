"""The same work over a Dask scheduler: more machines, the same verdicts, the same journal here.

Each Dask worker grades in processes of its own, with the sandbox that its machine allows; one that
is lost costs nothing but time, its submissions go to another.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

from normcourse.grading.batch import Done, Grader, Task
from normcourse.grading.slot import Slot, pack, unpack
from normcourse.grading.verdict import Verdict

_own = threading.local()


class NoCluster(RuntimeError):
    """The scheduler cannot be used; the message says what to do."""


def grade_there(message: bytes, unsafe: bool) -> str:
    """Grade one submission on a Dask worker; each of its threads keeps a warm process.

    Args:
        message: a packed task.
        unsafe: whether a sandbox without namespaces will do there.

    Returns:
        The records as JSON.
    """
    if not hasattr(_own, "slot"):
        from normcourse.grading.selftest import choose

        _own.slot = Slot(choose(unsafe=unsafe))
    return json.dumps(_own.slot.grade(unpack(message)))


def on_cluster(address: str, *, unsafe: bool, patience: float = 30.0) -> Grader:
    """Return a grader that sends its tasks to a scheduler.

    Args:
        address: of the scheduler, such as ``tcp://10.0.0.1:8786``.
        unsafe: see :func:`grade_there`.
        patience: seconds to wait for the scheduler and a first worker.

    Raises:
        NoCluster: Dask is not installed or nobody answers.
    """
    try:
        from distributed import Client
    except ImportError:
        raise NoCluster('Dask is not installed: pip install "normcourse[cluster]"') from None
    try:
        client: Any = Client(address, timeout=patience)
        client.wait_for_workers(1, timeout=patience)
    except (OSError, TimeoutError) as error:
        raise NoCluster(f"{address}: no scheduler with workers answers ({error}).") from None

    def grade(tasks: Iterator[Task]) -> Iterator[Done]:
        with client:
            yield from _through(client, tasks, unsafe)

    return grade


def _through(client: Any, tasks: Iterator[Task], unsafe: bool) -> Iterator[Done]:
    """Keep twice as many submissions on their way as there are threads."""
    from distributed import as_completed

    running: dict[str, Task] = {}
    finished = as_completed([])
    for task in tasks:
        future = client.submit(grade_there, pack(task), unsafe, pure=False, retries=3)
        running[future.key] = task
        finished.add(future)
        while len(running) >= 2 * max(1, sum(client.nthreads().values())):
            yield _collected(next(finished), running)
    while running:
        yield _collected(next(finished), running)


def _collected(future: Any, running: dict[str, Task]) -> Done:
    task = running.pop(future.key)
    try:
        return task, list(json.loads(future.result()))
    except Exception as error:  # workers that die again and again, a worker without a sandbox
        lost = f"lost on the cluster: {type(error).__name__}: {str(error)[:300]}"
        records = [
            Verdict(name, "infra_error", None, (lost,), seeds=tuple(seeds)).to_plain()
            for name, seeds in task["exercises"]
        ]
        return task, [{**record, "seconds": 0.0} for record in records]

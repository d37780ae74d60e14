"""One process of the benchmark: every case, at one number of threads, in one kind of memory.

    python -m normcourse.kernels.measure THREADS ROUNDS COMPILE NAME...

prints a JSON list. All contenders take turns, so what else the machine does meets all of them; the
order is drawn anew for every round, since the time of one depends on what the one before wrote.
Before each turn other memory is written, so that nobody, the copy least of all, begins with arrays
that the one before left in the caches. The roof is made of copies of one array of the same size in
the same turns: into one that is there, and into a new one, each in the best of several ways. A
function with gradients in Python that does nothing takes part, too. What a call costs before it
moves anything shows on an input of a few values.
"""

from __future__ import annotations

import json
import random
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch._functorch.config as functorch_config

from normcourse.kernels.cases import CASES, Case
from normcourse.kernels.contenders import Textbook, draw, eager, fused, nothing
from normcourse.kernels.cpu.pages import new_like
from normcourse.kernels.threads import each, parts

SWEPT = 64 * 2**20  # bytes written before a turn
Work = Callable[[], object]


def measure(case: Case, *, rounds: int, compiles: bool) -> dict[str, Any]:
    """Return seconds of everyone for one case, and of calls that have next to nothing to do."""
    other = torch.zeros(SWEPT // 4)
    works = {**_copies(case), **_works(case, draw(case), compiles)}
    works["nothing"] = _torch(nothing, draw(case))
    found = _seconds(works, rounds, before=lambda: other.add_(1.0))
    tiny = replace(case, shape=(1, 8) if len(case.shape) == 2 else (1, case.groups, 4, 4))
    calls = _works(tiny, draw(tiny), False)
    calls["nothing"] = _torch(nothing, draw(tiny))
    return {"case": case.name, "seconds": found, "calls": _seconds(calls, rounds)}


def _seconds(
    names: dict[str, dict[str, Work]], rounds: int, before: Work = lambda: None
) -> dict[str, dict[str, dict[str, float]]]:
    """Return best and median of the rounds, in each of which everyone has one turn, in any order.

    ``before`` is called before every turn, and not timed.
    """
    for works in names.values():
        for work in works.values():
            work()  # compiled, and its memory asked for
    seconds: dict[tuple[str, str], list[float]] = {
        (name, what): [] for name, works in names.items() for what in works
    }
    draw_order = random.Random(0)
    for _ in range(rounds):
        for name, what in draw_order.sample(list(seconds), len(seconds)):
            work = names[name][what]
            before()
            begun = time.perf_counter()
            work()
            seconds[name, what].append(time.perf_counter() - begun)
    times: dict[str, dict[str, dict[str, float]]] = {}
    for (name, what), found in seconds.items():
        row = {"best": min(found), "median": statistics.median(found)}
        times.setdefault(name, {})[what] = row
    return times


def _copies(case: Case) -> dict[str, dict[str, Work]]:
    source = torch.zeros(case.shape).flatten() + 1
    target = torch.zeros_like(source)
    a = source.numpy()
    ranges = parts(len(a), len(a))

    def by_numpy(out: torch.Tensor) -> None:
        b = out.numpy()
        each(lambda part, start, stop: np.copyto(b[start:stop], a[start:stop]), ranges)

    there: dict[str, Work] = {
        "NumPy": lambda: by_numpy(target),
        "torch": lambda: target.copy_(source),
    }
    new: dict[str, Work] = {
        "torch": source.clone,
        "large pages, NumPy": lambda: by_numpy(new_like(source)[0]),
        "large pages, torch": lambda: new_like(source)[0].copy_(source),
    }
    return {"copy": there, "new copy": new}


def _works(case: Case, tensors: list[torch.Tensor], compiles: bool) -> dict[str, dict[str, Work]]:
    found = {"NumPy": _numpy(case, tensors), "torch": _torch(eager(case), tensors)}
    if compiles:
        torch._dynamo.reset()
        compiled = torch.compile(eager(case), fullgraph=True, dynamic=False)
        found["compiled"] = _torch(compiled, tensors)
    found["fused"] = _torch(fused(case), tensors)
    return found


def _numpy(case: Case, tensors: list[torch.Tensor]) -> dict[str, Work]:
    arrays = [one.detach().numpy() for one in tensors]
    book = Textbook(case)
    dys = [np.ones(case.shape, np.float32) for _ in book.forward(*arrays)]
    weight = next(one for one in arrays if one.ndim == 1)

    def forward() -> None:
        Textbook(case).forward(*arrays)

    return {"forward": forward, "backward": lambda: book.backward(dys, weight)}


def _torch(
    function: Callable[..., tuple[torch.Tensor, ...]], tensors: list[torch.Tensor]
) -> dict[str, Work]:
    outputs = function(*tensors)
    dys = [torch.ones_like(one) for one in outputs]
    frozen = [one.detach() for one in tensors]  # of which nobody wants gradients

    def forward() -> None:
        function(*frozen)

    def backward() -> None:
        torch.autograd.grad(outputs, tensors, dys, retain_graph=True)

    return {"forward": forward, "backward": backward}


def main(words: list[str]) -> None:
    """Measure the cases named, all without a name, and print JSON."""
    threads, rounds, compiles, *names = words
    torch.set_num_threads(int(threads))
    functorch_config.donated_buffer = False  # a backward pass that can be repeated
    chosen = [case for case in CASES if not names or case.name in names]
    rows = [measure(case, rounds=int(rounds), compiles=compiles == "1") for case in chosen]
    print(json.dumps(rows))


if __name__ == "__main__":
    main(sys.argv[1:])

"""Ranges of independent work on several threads; the kernels release Python's lock."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

GRAIN = 1 << 15  # values below which a second thread costs more than it brings


@functools.lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(thread_name_prefix="normcourse")


def parts(items: int, values: int) -> list[tuple[int, int]]:
    """Split ``range(items)`` into a range for each of torch's threads, fewer for little work.

    Example:
        >>> import torch
        >>> torch.set_num_threads(2)
        >>> parts(5, values=10**6), parts(5, values=10)
        ([(0, 3), (3, 5)], [(0, 5)])
    """
    count = max(1, min(torch.get_num_threads(), items, values // GRAIN))
    size, longer = divmod(items, count)
    edges = [0]
    for part in range(count):
        edges.append(edges[-1] + size + (part < longer))
    return list(itertools.pairwise(edges))


def each(work: Callable[[int, int, int], object], ranges: list[tuple[int, int]]) -> None:
    """Call ``work(part, start, stop)`` for every range, all at the same time."""
    waiting = [_pool().submit(work, part, *ranges[part]) for part in range(1, len(ranges))]
    work(0, *ranges[0])
    for result in waiting:
        result.result()

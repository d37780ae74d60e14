"""Ranges of independent work on several threads; the kernels release Python's lock.

Whoever is free takes the next range: a thread that comes late, because its core is still busy
with something else (threads of PyTorch wait by spinning), then does less, and nobody waits for it.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

GRAIN = 1 << 15  # values below which a second thread costs more than it brings
EACH = 4  # ranges for every thread


@functools.lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(thread_name_prefix="normcourse")


def parts(items: int, values: int) -> list[tuple[int, int]]:
    """Split ``range(items)`` into some ranges for each of torch's threads, fewer for little work.

    Example:
        >>> import torch
        >>> torch.set_num_threads(2)
        >>> parts(16, values=10**6)
        [(0, 2), (2, 4), (4, 6), (6, 8), (8, 10), (10, 12), (12, 14), (14, 16)]
        >>> parts(5, values=10)
        [(0, 5)]
    """
    threads = torch.get_num_threads()
    count = 1 if threads == 1 else min(EACH * threads, items, values // GRAIN)
    if count <= 1:
        return [(0, items)]
    size, longer = divmod(items, count)
    edges = [0]
    for part in range(count):
        edges.append(edges[-1] + size + (part < longer))
    return list(itertools.pairwise(edges))


def each(work: Callable[[int, int, int], object], ranges: list[tuple[int, int]]) -> None:
    """Call ``work(part, start, stop)`` for every range, on all threads."""
    if len(ranges) == 1:
        work(0, *ranges[0])
        return
    left = list(reversed(range(len(ranges))))

    def take() -> None:
        while left:
            try:
                part = left.pop()
            except IndexError:  # another thread was quicker
                return
            work(part, *ranges[part])

    helpers = min(torch.get_num_threads(), len(ranges)) - 1
    waiting = [_pool().submit(take) for _ in range(helpers)]
    take()
    for helper in waiting:
        if not helper.cancel():
            helper.result()

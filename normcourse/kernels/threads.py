"""Independent work on several threads: compiled tasks, and functions in Python.

Whoever is free takes the next range: a thread that comes late, because its core is still busy
with something else (threads of PyTorch wait by spinning), then does less, and nobody waits for it.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

GRAIN = 1 << 15  # values below which a second thread costs more than it brings
EACH = 2  # ranges for every thread
_CALL = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_forked = False  # whether this process is a copy of one that may have had threads


@functools.lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(thread_name_prefix="normcourse")


def share(items: int, values: int) -> int:
    """Return in how many parts ``items`` are shared out: some for each of torch's threads.

    Example:
        >>> import torch
        >>> torch.set_num_threads(2)
        >>> share(16, values=10**6), share(5, values=10)
        (4, 1)
    """
    threads = torch.get_num_threads()
    return 1 if threads == 1 else max(1, min(EACH * threads, items, values // GRAIN))


def all_at_once(call: Any, place: int, block: int, parts: int) -> None:
    """Let as many threads as have a part call a foreign function of the address of a block.

    The function, whose code lies at ``place``, takes part after part until none is left, without
    Python's lock.
    """
    threads = min(torch.get_num_threads(), parts)
    if threads == 1:
        call(block)
        return
    parallel = None if _forked else _parallel()
    if parallel is not None:
        parallel(place, block, threads, 0)
    else:
        _on_own_threads(lambda: call(block), threads)


def parts(items: int, values: int) -> list[tuple[int, int]]:
    """Split ``range(items)`` into some ranges for each of torch's threads, fewer for little work.

    Example:
        >>> import torch
        >>> torch.set_num_threads(2)
        >>> parts(16, values=10**6)
        [(0, 4), (4, 8), (8, 12), (12, 16)]
        >>> parts(5, values=10)
        [(0, 5)]
    """
    count = share(items, values)
    if count <= 1:
        return [(0, items)]
    size, longer = divmod(items, count)
    edges = [0]
    for part in range(count):
        edges.append(edges[-1] + size + (part < longer))
    return list(itertools.pairwise(edges))


def each(work: Callable[[int, int, int], object], ranges: list[tuple[int, int]]) -> None:
    """Call ``work(part, start, stop)`` for every range, on all threads.

    Raises:
        Exception: what ``work`` raised first; the other threads have ended then.
    """
    if len(ranges) == 1:
        work(0, *ranges[0])
        return
    left = list(reversed(range(len(ranges))))
    failed: list[BaseException] = []

    def take() -> None:
        while left and not failed:
            try:
                part = left.pop()
            except IndexError:  # another thread was quicker
                return
            try:
                work(part, *ranges[part])
            except BaseException as error:  # a thread of OpenMP has nobody to tell
                failed.append(error)

    threads = min(torch.get_num_threads(), len(ranges))
    run = None if _forked else _on_threads_of_torch()
    (run or _on_own_threads)(take, threads)
    if failed:
        raise failed[0]


def _on_own_threads(take: Callable[[], None], threads: int) -> None:
    waiting = [_pool().submit(take) for _ in range(threads - 1)]
    take()
    for helper in waiting:
        if not helper.cancel():
            helper.result()


def _on_threads_of_torch() -> Callable[[Callable[[], None], int], None] | None:
    """Return what calls a function on several threads of PyTorch's; None where it cannot be had."""
    parallel = _parallel()
    if parallel is None:
        return None

    def run(take: Callable[[], None], threads: int) -> None:
        call = _CALL(lambda nothing: take())
        parallel(ctypes.cast(call, ctypes.c_void_p), None, threads, 0)

    return run


@functools.lru_cache(maxsize=1)
def _parallel() -> Callable[..., None] | None:
    """Return what calls a foreign function on several threads of PyTorch's, or None.

    PyTorch's threads are OpenMP's. After a call they wait by spinning, and hold the core that a
    thread of ours would need; so they are given our work. GNU's OpenMP, which PyTorch brings on
    Linux, does so by ``GOMP_parallel``.
    """
    found = sorted((Path(torch.__file__).parent / "lib").glob("libgomp*.so*"))
    try:  # none but the one that is loaded
        library = ctypes.CDLL(str(found[0]), mode=os.RTLD_NOW | os.RTLD_NOLOAD)
        parallel = library.GOMP_parallel
    except (IndexError, OSError, AttributeError):
        return None
    parallel.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
    parallel.restype = None
    return parallel


def _after_fork() -> None:
    """Threads are not copied with a process, and OpenMP would wait for them for ever."""
    global _forked
    _forked = True
    _pool.cache_clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

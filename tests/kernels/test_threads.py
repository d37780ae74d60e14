"""Work on several threads: all of it once, errors told, PyTorch's own threads or ours."""

from __future__ import annotations

import multiprocessing
import sys
import threading
from collections.abc import Iterator

import pytest
import torch

from normcourse.kernels import threads

WAYS = ["of torch", "own"]


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if request.param == "own":
        monkeypatch.setattr(threads, "_on_threads_of_torch", lambda: None)
    elif threads._on_threads_of_torch() is None:
        pytest.skip("this PyTorch brings no OpenMP of GNU's")
    torch.set_num_threads(3)
    yield request.param
    torch.set_num_threads(1)


def test_every_range_is_done_once(way: str) -> None:
    ranges = threads.parts(1000, 10**9)
    done: list[tuple[int, int, int]] = []
    for _ in range(50):
        threads.each(lambda *one: done.append(one), ranges)
    assert sorted(done) == sorted([(k, *one) for k, one in enumerate(ranges)] * 50)


def test_several_threads_work_at_once(way: str) -> None:
    together = threading.Barrier(3, timeout=20)
    threads.each(lambda *_: together.wait(), [(0, 1), (1, 2), (2, 3)])


def test_an_error_is_told_and_the_next_call_is_whole(way: str) -> None:
    def work(part: int, start: int, stop: int) -> None:
        if part == 1:
            raise IndexError("part 1")

    ranges = [(k, k + 1) for k in range(8)]
    with pytest.raises(IndexError, match="part 1"):
        threads.each(work, ranges)
    done: list[int] = []
    threads.each(lambda part, *_: done.append(part), ranges)
    assert sorted(done) == list(range(8))


def _in_a_copy(answers: multiprocessing.SimpleQueue) -> None:
    done: list[int] = []
    threads.each(lambda part, *_: done.append(part), [(k, k + 1) for k in range(8)])
    answers.put(sorted(done))


@pytest.mark.skipif(sys.platform != "linux", reason="a process is copied on Linux")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_copy_of_the_process_does_not_wait_for_threads_it_lacks(way: str) -> None:
    threads.each(lambda *_: None, [(0, 1), (1, 2), (2, 3)])
    copied = multiprocessing.get_context("fork")
    answers = copied.SimpleQueue()
    child = copied.Process(target=_in_a_copy, args=(answers,))
    child.start()
    child.join(30)
    alive = child.is_alive()
    child.kill()
    assert not alive
    assert answers.get() == list(range(8))

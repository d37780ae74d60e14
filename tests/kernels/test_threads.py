"""Work on several threads: all of it once, errors told, PyTorch's own threads or ours."""

from __future__ import annotations

import multiprocessing
import sys
import threading
from collections.abc import Iterator

import pytest
import torch

from normcourse import kernels
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


@pytest.fixture
def tasks(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let compiled tasks run on three threads of either kind, however little there is to do."""
    pytest.importorskip("numba", reason='needs Numba (pip install "normcourse[fast]")')
    monkeypatch.setattr(threads, "GRAIN", 1)
    if way == "own":
        monkeypatch.setattr(threads, "_parallel", lambda: None)


@pytest.mark.usefixtures("tasks")
def test_a_task_does_every_part_once() -> None:
    x, weight = torch.randn(23, 5).double(), torch.rand(5).double()
    for _ in range(50):
        torch.set_num_threads(3)
        y = kernels.rms_norm(x, (5,), weight)
        torch.set_num_threads(1)
        assert torch.equal(y, kernels.rms_norm(x, (5,), weight))


@pytest.mark.parametrize("items", [1, 7, 12])
def test_parts_have_all_items_between_them(items: int) -> None:
    pytest.importorskip("numba", reason='needs Numba (pip install "normcourse[fast]")')
    from normcourse.kernels.cpu import blocks

    for parts in range(1, items + 1):
        words = blocks.block(parts, items, (), ())
        place = words.buffer_info()[0]
        taken = [blocks.take(place) for _ in range(parts)]
        assert [part for part, _, _ in taken] == list(range(parts))
        assert [k for _, *ends in taken for k in range(*ends)] == list(range(items))
        assert max(b - a for _, a, b in taken) - min(b - a for _, a, b in taken) <= 1
        assert blocks.take(place) == (-1, 0, 0)


def _norm_in_a_copy(answers: multiprocessing.SimpleQueue) -> None:
    answers.put(float(kernels.rms_norm(torch.ones(23, 5), (5,), eps=0.0).sum()))


@pytest.mark.usefixtures("tasks")
@pytest.mark.skipif(sys.platform != "linux", reason="a process is copied on Linux")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_task_in_a_copy_of_the_process() -> None:
    kernels.rms_norm(torch.ones(23, 5), (5,))
    copied = multiprocessing.get_context("fork")
    answers = copied.SimpleQueue()
    child = copied.Process(target=_norm_in_a_copy, args=(answers,))
    child.start()
    child.join(60)
    alive = child.is_alive()
    child.kill()
    assert not alive
    assert answers.get() == 115.0

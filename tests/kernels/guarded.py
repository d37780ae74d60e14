"""Every fused norm on arrays that end, or begin, where no memory is: one step outside is the end.

    python -m tests.kernels.guarded

The kernels for the CPU take addresses, so nobody tells them where an array ends. Here inputs,
results and scratch lie against a page that may not be touched. Prints how many calls went well.
"""

from __future__ import annotations

import ctypes
import itertools
import math
import mmap
from collections.abc import Callable, Iterator
from unittest import mock

import torch
from torch import Tensor

from normcourse import kernels
from normcourse.kernels import threads
from normcourse.kernels.cpu import engine

PAGE = mmap.PAGESIZE
WIDTHS = (1, 2, 17, 48, 256, 257, 513, 1040, 1601)
MAPS = (
    *((1, 3, 7), (5, 6, 49), (3, 4, 255), (5, 33, 16), (4, 12, 16), (2, 6, 513), (2, 6, 544)),
    *((33, 5, 1), (9, 48, 1)),
)
Call = tuple[tuple[Tensor, ...], tuple[Tensor, ...]]


class Guard:
    """Makes tensors that touch a forbidden page at their end or at their start."""

    def __init__(self) -> None:
        self.front = False
        self.held: list[mmap.mmap] = []
        self._protect = ctypes.CDLL(None, use_errno=True).mprotect
        self._protect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]

    def tensor(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Return a tensor without values."""
        count = math.prod(shape)
        size = count * dtype.itemsize
        pages = -(-size // PAGE) + 2
        memory = mmap.mmap(-1, pages * PAGE)
        base = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        for page in (0, pages - 1):
            if self._protect(base + page * PAGE, PAGE, 0):
                raise OSError(ctypes.get_errno(), "mprotect")
        self.held.append(memory)
        offset = PAGE if self.front else (pages - 1) * PAGE - size
        return torch.frombuffer(memory, dtype=dtype, count=count, offset=offset).view(shape)

    def draw(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Return a tensor of values whose mean is not 0."""
        values = torch.randn(shape, dtype=torch.float64) * 1.7 + 0.6
        return self.tensor(shape, dtype).copy_(values)

    def like(self, other: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """Return a tensor without values, in place of ``torch.empty_like``."""
        return self.tensor(tuple(other.shape), dtype or other.dtype)


def rows(guard: Guard, width: int, dtype: torch.dtype) -> Iterator[Call]:
    """Yield results of the norms of rows, and inputs."""
    shape = (7, width)
    x, r, w, b = (
        guard.draw(s, dtype).requires_grad_() for s in (shape, shape, shape[1:], (width,))
    )
    for activation in (None, "relu", "silu"):
        yield (kernels.layer_norm(x, (width,), w, b, activation=activation),), (x, w, b)
        yield (kernels.rms_norm(x, (width,), w, activation=activation),), (x, w)
    yield kernels.add_layer_norm(x, r, (width,), w, b), (x, r, w, b)
    yield kernels.add_rms_norm(x, r, (width,), w), (x, r, w)


def maps(guard: Guard, shape: tuple[int, ...], dtype: torch.dtype) -> Iterator[Call]:
    """Yield results of the norms of channels, and inputs."""
    channels = shape[1:2]
    x, w, b = (guard.draw(s, dtype).requires_grad_() for s in (shape, channels, channels))
    mean, var = guard.draw(channels, torch.float64), guard.draw(channels, torch.float64).abs_()
    for activation in (None, "relu", "silu"):
        yield (kernels.group_norm(x, channels[0], w, b, activation=activation),), (x, w, b)
        yield (kernels.group_norm(x, 1, w, b, activation=activation),), (x, w, b)
        yield kernels.batch_norm(x, w, b, activation=activation)[:1], (x, w, b)
        given = kernels.batch_norm_inference(x, mean, var, w, b, activation=activation)
        yield (given,), (x, w, b)


def main() -> None:
    """Call everything, forward and backward; a step outside ends the process."""
    torch.manual_seed(0)
    guard, count = Guard(), 0
    kinds: tuple[tuple[Callable[..., Iterator[Call]], tuple[object, ...]], ...]
    kinds = (rows, WIDTHS), (maps, MAPS)
    dtypes = torch.float32, torch.float64
    with (
        mock.patch.object(engine, "new_like", lambda x: (guard.like(x), True)),
        mock.patch.object(engine, "_float64", lambda size: guard.tensor((size,), torch.float64)),
        mock.patch.object(torch, "empty_like", guard.like),
        mock.patch.object(threads, "GRAIN", 1),
    ):
        for front, limit, dtype in itertools.product((False, True), (0, 2**60), dtypes):
            guard.front, engine.STREAM_FROM, engine.STREAM_NEW_FROM = front, limit, limit
            torch.set_num_threads(1 + front)
            for kind, shapes in kinds:
                for shape in shapes:
                    for results, inputs in kind(guard, shape, dtype):
                        dys = [guard.draw(tuple(y.shape), dtype) for y in results]
                        torch.autograd.grad(results, inputs, dys)
                        count += 1
                    guard.held.clear()
    print(f"{count} calls")


if __name__ == "__main__":
    main()

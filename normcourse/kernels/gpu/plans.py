"""How work is cut: sizes of tiles, warps, and the parts of what is too large for one program."""

from __future__ import annotations

import functools
from typing import NamedTuple

import torch
from torch import Tensor

LONGEST = 8192  # float32 values that one program keeps in registers
TILE = 2048  # values that a program handles at a time where it walks
LANES = 16  # values for each thread of a program
RESIDENT = 32  # warps per multiprocessor that a walking kernel is started for


class Parts(NamedTuple):
    """A grid of walks over lines of segments: see :mod:`.pools`."""

    some: int  # segments of a part
    few: int  # positions of a part
    parts: int
    segments: int  # of a tile
    block: int  # positions of a tile


def power(n: int) -> int:
    """Return the smallest power of two that is not below n.

    Example:
        >>> power(1), power(48), power(64)
        (1, 64, 64)
    """
    return 1 << max(0, n - 1).bit_length()


def ceil(a: int, b: int) -> int:
    """Return a / b, rounded up.

    Example:
        >>> ceil(7, 3), ceil(6, 3)
        (3, 2)
    """
    return -(-a // b)


def longest(x: Tensor) -> int:
    """Return how many values of x a program keeps: half as many where they are float64."""
    return LONGEST // 2 if x.dtype == torch.float64 else LONGEST


def warps(values: int) -> int:
    """Return the warps for a tile.

    Example:
        >>> warps(32), warps(2048), warps(8192)
        (1, 4, 16)
    """
    return max(1, min(16, power(values) // (32 * LANES)))


@functools.cache
def multiprocessors(device: torch.device) -> int:
    """Return how many a device has; 3 where there is none, so that work is cut for tests too."""
    if device.type != "cuda":
        return 3
    count: int = torch.cuda.get_device_properties(device).multi_processor_count
    return count


def walkers(device: torch.device, tile: int) -> int:
    """Return how many programs keep a device busy, each with a tile of so many values."""
    return multiprocessors(device) * max(1, RESIDENT // warps(tile))


def cut_rows(num_rows: int, width: int, device: torch.device) -> tuple[int, int, int, int]:
    """Return rows of a part, parts, and rows and columns of a tile, for a walk down columns."""
    block = min(power(width), 128)
    rows = min(power(num_rows), max(1, TILE // block))
    wanted = ceil(walkers(device, rows * block), ceil(width, block))
    some = ceil(ceil(num_rows, wanted), rows) * rows
    return some, ceil(num_rows, some), rows, block


def cut_lines(lines: int, count: int, size: int, device: torch.device) -> Parts:
    """Return how the segments and positions of each line are shared out."""
    block = min(power(size), max(1, TILE // 2))
    segments = min(power(count), max(1, TILE // block))
    wanted = ceil(walkers(device, segments * block), lines)
    some = ceil(ceil(count, wanted), segments) * segments
    pieces = ceil(wanted, ceil(count, some))
    few = ceil(ceil(size, pieces), block) * block
    return Parts(some, few, ceil(count, some) * ceil(size, few), segments, block)

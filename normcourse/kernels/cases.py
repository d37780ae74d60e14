"""What is measured: norms at the sizes of a ResNet and of a Transformer, and the bytes they move.

Bytes are counted in arrays of x's size, for a method that does each step as well as it can:

    forward    read x, write y: 2. Batch norm in training reads x twice, because no y can be
               written before the whole batch was read: 3. Add and norm: two read, two written: 4.
    backward   read dy and x, write dx: 3. Batch norm in training reads dy and x twice: 5.
               Add and norm also reads the gradient of the sum: 4.

A row, or the group of GroupNorm, stays in the cache between the first and the second look; where a
channel of the batch does so too, a kernel can need less than is counted here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """A norm at a size.

    Args:
        name: what it is called in tables.
        method: key of the contenders.
        shape: shape of x.
        forward: arrays of x's size that the forward pass must move.
        backward: the same for the backward pass.
        where: where such a size occurs.
        activation: what the norm is fused with.
        groups: groups of GroupNorm.
    """

    name: str
    method: str
    shape: tuple[int, ...]
    forward: int
    backward: int
    where: str
    activation: str | None = None
    groups: int = 32

    @property
    def nbytes(self) -> int:
        """Bytes of one float32 array of this shape."""
        return 4 * math.prod(self.shape)

    def new_arrays(self, what: str) -> int:
        """Return how many arrays of x's size are new: y, and the sum with a residual; or dx.

        Example:
            >>> [CASES[5].new_arrays(what) for what in ("forward", "backward")]
            [2, 1]
        """
        return 2 if what == "forward" and self.method == "add_rms_norm" else 1


_TOKENS, _WIDE, _FEW = (4096, 768), (2048, 4096), (64, 768)
_EARLY, _LATE = (32, 64, 56, 56), (32, 512, 7, 7)

CASES = (
    Case("layer norm", "layer_norm", _TOKENS, 2, 3, "Transformer, 4096 tokens of 768"),
    Case("layer norm, wide", "layer_norm", _WIDE, 2, 3, "Transformer, 2048 tokens of 4096"),
    Case("layer norm, few rows", "layer_norm", _FEW, 2, 3, "Transformer, 64 tokens of 768"),
    Case("RMS norm", "rms_norm", _TOKENS, 2, 3, "Transformer, 4096 tokens of 768"),
    Case("RMS norm, wide", "rms_norm", _WIDE, 2, 3, "Transformer, 2048 tokens of 4096"),
    Case("add + RMS norm", "add_rms_norm", _TOKENS, 4, 4, "Transformer, 4096 tokens of 768"),
    Case("batch norm", "batch_norm", _EARLY, 3, 5, "ResNet, first stage"),
    Case("batch norm + ReLU", "batch_norm", _EARLY, 3, 5, "ResNet, first stage", "relu"),
    Case("batch norm, late", "batch_norm", _LATE, 3, 5, "ResNet, last stage"),
    Case("batch norm, inference", "inference", _EARLY, 2, 3, "ResNet, first stage"),
    Case("group norm", "group_norm", _EARLY, 2, 3, "ResNet, first stage"),
    Case("group norm + ReLU", "group_norm", _EARLY, 2, 3, "ResNet, first stage", "relu"),
)

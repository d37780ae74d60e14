"""What is measured on a GPU: norms whose arrays are far larger than its caches.

Bytes are counted as in :mod:`.cases`. An array of a few megabytes takes a GPU less time than
Python needs to ask for it; so the arrays here have a hundred megabytes and more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch

from normcourse.kernels.cases import Case


@dataclass(frozen=True)
class GpuCase(Case):
    """A norm at a size, in a dtype and an order of memory.

    Args:
        dtype: of x and of the parameters, by its name in torch.
        channels_last: whether the channels of an image lie side by side.
    """

    dtype: str = "bfloat16"
    channels_last: bool = False

    @property
    def kind(self) -> torch.dtype:
        """The dtype itself."""
        kind: torch.dtype = getattr(torch, self.dtype)
        return kind

    @property
    def nbytes(self) -> int:
        """Bytes of one array of this shape."""
        return self.kind.itemsize * math.prod(self.shape)


_TOKENS, _WIDE = (131072, 1024), (32768, 4096)
_WIDEST, _LONG = (16384, 8192), (2048, 65536)
_EARLY, _LATE = (256, 64, 56, 56), (4096, 512, 7, 7)
_IMAGE = (64, 128, 96, 96)


def _image(
    name: str,
    arrays: tuple[int, int],
    where: str,
    activation: str | None = None,
    *,
    method: str = "batch_norm",
    shape: tuple[int, ...] = _EARLY,
    last: bool = False,
) -> GpuCase:
    """Return a case in float32, on images."""
    case = GpuCase(name, method, shape, *arrays, where, activation)
    return replace(case, dtype="float32", channels_last=last)


GPU_CASES = (
    GpuCase("layer norm", "layer_norm", _TOKENS, 2, 3, "131072 tokens of 1024"),
    GpuCase("layer norm, wide", "layer_norm", _WIDE, 2, 3, "32768 tokens of 4096"),
    GpuCase("layer norm, float32", "layer_norm", _WIDE, 2, 3, "the same", dtype="float32"),
    GpuCase("layer norm, long rows", "layer_norm", _LONG, 2, 3, "2048 rows of 65536"),
    GpuCase("RMS norm", "rms_norm", _TOKENS, 2, 3, "131072 tokens of 1024"),
    GpuCase("RMS norm, wide", "rms_norm", _WIDE, 2, 3, "32768 tokens of 4096"),
    GpuCase("RMS norm, widest", "rms_norm", _WIDEST, 2, 3, "16384 tokens of 8192"),
    GpuCase("add + RMS norm", "add_rms_norm", _WIDE, 4, 4, "32768 tokens of 4096"),
    _image("batch norm", (3, 5), "ResNet, first stage"),
    _image("batch norm + ReLU", (3, 5), "ResNet, first stage", "relu"),
    _image("batch norm, channels last", (3, 5), "ResNet, first stage", last=True),
    _image("batch norm, late", (3, 5), "ResNet, last stage", shape=_LATE),
    _image("batch norm, inference", (2, 3), "ResNet, first stage", method="inference"),
    GpuCase("group norm", "group_norm", _IMAGE, 2, 3, "64 images of 128 channels"),
    GpuCase("group norm + SiLU", "group_norm", _IMAGE, 2, 3, "64 images of 128 channels", "silu"),
)

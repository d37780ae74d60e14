"""What is fast: fused normalization for the CPU (Numba) and the GPU (Triton).

Functions of tensors that read memory once where the mathematics allows it. A module takes them by
``backend="fused"``. Where Numba, Triton or CUDA is missing they compute the same in plain torch
operations and say so once.
"""

from __future__ import annotations

from normcourse.kernels.engines import why_not
from normcourse.kernels.functional import (
    add_layer_norm,
    add_rms_norm,
    batch_norm,
    batch_norm_inference,
    group_norm,
    layer_norm,
    rms_norm,
)

__all__ = [
    "add_layer_norm",
    "add_rms_norm",
    "batch_norm",
    "batch_norm_inference",
    "group_norm",
    "layer_norm",
    "rms_norm",
    "why_not",
]

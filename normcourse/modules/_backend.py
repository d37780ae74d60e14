"""Whether a module computes by the fused kernels."""

from __future__ import annotations

import torch

from normcourse.kernels.engines import check_backend

__all__ = ["check_backend", "runs_fused", "shown"]


def runs_fused(backend: str) -> bool:
    """Return whether the fused kernels are asked for; a compiler at work fuses by itself.

    Example:
        >>> runs_fused("torch"), runs_fused("fused")
        (False, True)
    """
    return backend == "fused" and not torch.compiler.is_compiling()


def shown(backend: str) -> str:
    """Return the end of an ``extra_repr``: the backend where it is not the usual one.

    Example:
        >>> shown("torch"), shown("fused")
        ('', ", backend='fused'")
    """
    return "" if backend == "torch" else f", backend={backend!r}"

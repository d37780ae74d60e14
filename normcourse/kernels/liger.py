"""Liger-Kernel's norms beside ours on a GPU, where that package is installed.

It is a collection of Triton kernels for training language models. Its RMS norm can write the
gradient over the one that came in; here, as for everyone, a result is a new array.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Callable
from typing import Any

from torch import Tensor

from normcourse.kernels.cases import Case

EPS = 1e-5


def version() -> str | None:
    """Return the version of Liger-Kernel that is installed, or None."""
    try:
        return importlib.metadata.version("liger-kernel")
    except importlib.metadata.PackageNotFoundError:
        return None


def liger(case: Case) -> Callable[..., tuple[Tensor, ...]] | None:
    """Return the norm in Liger-Kernel's functions; None where it has none, or is not installed.

    It has layer, RMS and group norm and the added stream; no batch norm, no activation.

    Args:
        case: a norm at a size.
    """
    if version() is None or case.activation is not None:
        return None
    norms = importlib.import_module("liger_kernel.transformers.functional")
    functions: dict[str, Callable[..., Any]] = {
        "layer_norm": lambda x, w, b: (norms.liger_layer_norm(x, w, b, EPS),),
        "rms_norm": lambda x, w: (norms.liger_rms_norm(x, w, EPS, in_place=False),),
        "add_rms_norm": lambda x, r, w: norms.liger_fused_add_rms_norm(
            x, r, w, EPS, in_place=False
        ),
        "group_norm": lambda x, w, b: (
            norms.liger_group_norm(x, w, b, x.shape[1], case.groups, EPS),
        ),
    }
    return functions.get(case.method)

"""Which engine computes a call: Numba or plain torch; and why not the one asked for."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import warnings
from types import ModuleType

import torch
from torch import Tensor

BACKENDS = ("torch", "fused")


def why_not(device: torch.device | str) -> str | None:
    """Return why no fused kernel runs on a device, in one line, or None if one does.

    Example:
        >>> why_not("meta")
        'no fused kernels for tensors on meta: computed in plain torch operations'
    """
    kind = torch.device(device).type
    if kind == "cpu":
        return _cpu_reason()
    return f"no fused kernels for tensors on {kind}: computed in plain torch operations"


def check_backend(backend: str) -> str:
    """Return the backend if there is one of that name: "torch" or "fused".

    Example:
        >>> check_backend("fused")
        'fused'
    """
    if backend not in BACKENDS:
        raise ValueError(
            f"backend: expected one of {', '.join(map(repr, BACKENDS))}, got {backend!r}."
        )
    return backend


def engine_for(x: Tensor) -> ModuleType | None:
    """Return the engine whose kernels take x, or None; say why not, once for each reason."""
    reason = why_not(x.device)
    if reason is not None:
        _say(reason)
        return None
    return importlib.import_module("normcourse.kernels.cpu.engine")


@functools.cache
def _cpu_reason() -> str | None:
    if not _has("numba"):
        return (
            'the fused kernels for the CPU need Numba (pip install "normcourse[fast]"): '
            "computed in plain torch operations"
        )
    return None


def _has(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


@functools.cache
def _say(reason: str) -> None:
    warnings.warn(f'backend="fused": {reason}.', stacklevel=2)

"""Which engine computes a call: Numba, Triton or plain torch; and why not the one asked for."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import warnings
from types import ModuleType

import torch
from torch import Tensor

BACKENDS = ("torch", "fused")
OLDEST = (8, 0)  # compute capability that Triton still supports
_PLAIN = "computed in plain torch operations"


def why_not(device: torch.device | str) -> str | None:
    """Return why no fused kernel runs on a device, in one line, or None if one does.

    Example:
        >>> why_not("meta")
        'no fused kernels for tensors on meta: computed in plain torch operations'
    """
    where = torch.device(device)
    if where.type == "cpu":
        return _cpu_reason()
    if where.type == "cuda":
        return _cuda_reason(where)
    return f"no fused kernels for tensors on {where.type}: {_PLAIN}"


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
    if x.is_cpu and (found := _cpu_engine()) is not None:
        return found
    if x.is_cuda and _cuda_reason(x.device) is None:
        return _engine("gpu")
    _say(why_not(x.device) or _PLAIN)
    return None


@functools.cache
def _engine(kind: str) -> ModuleType:
    return importlib.import_module(f"normcourse.kernels.{kind}.engine")


@functools.cache
def _cpu_engine() -> ModuleType | None:
    return _engine("cpu") if _cpu_reason() is None else None


@functools.cache
def _cpu_reason() -> str | None:
    if not _has("numba"):
        return (
            f'the fused kernels for the CPU need Numba (pip install "normcourse[fast]"): {_PLAIN}'
        )
    return None


def _has(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


@functools.cache
def _say(reason: str) -> None:
    warnings.warn(f'backend="fused": {reason}.', stacklevel=2)


@functools.cache
def _cuda_reason(device: torch.device) -> str | None:
    if not _has("triton"):
        return (
            "the fused kernels for the GPU need Triton "
            f'(pip install "normcourse[gpu]", Linux only): {_PLAIN}'
        )
    if not torch.cuda.is_available():
        return f"torch finds no CUDA here: {_PLAIN}"
    found = torch.cuda.get_device_capability(device)
    if found < OLDEST:
        return (
            f"the fused kernels for the GPU need compute capability {OLDEST[0]}.{OLDEST[1]}, "
            f"this device has {found[0]}.{found[1]}: {_PLAIN}"
        )
    return None

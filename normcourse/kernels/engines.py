"""Which engine computes a call: Numba, Triton or plain torch; and why not the one asked for.

Every module reaches :func:`why_not` and :func:`engine_for`, and with it most recorded runs, which
are stale as soon as the source that they reach changes. So tensors on CUDA, which no recorded run
has, are handled around the two, not in them.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import warnings
from collections.abc import Callable
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


def _or_cuda_reason(
    other: Callable[[torch.device | str], str | None],
) -> Callable[[torch.device | str], str | None]:
    @functools.wraps(other)
    def why_not(device: torch.device | str) -> str | None:
        where = torch.device(device)
        return _cuda_reason(where) if where.type == "cuda" else other(device)

    return why_not


@functools.cache
def _cpu_engine() -> ModuleType:
    return importlib.import_module("normcourse.kernels.cpu.engine")


def _or_cuda_engine(
    other: Callable[[Tensor], ModuleType | None],
) -> Callable[[Tensor], ModuleType | None]:
    @functools.wraps(other)
    def engine_for(x: Tensor) -> ModuleType | None:
        if x.is_cuda and _cuda_reason(x.device) is None:
            return importlib.import_module("normcourse.kernels.gpu.engine")
        if x.is_cpu and _cpu_reason() is None:  # the short way to the same answer
            return _cpu_engine()
        return other(x)

    return engine_for


why_not = _or_cuda_reason(why_not)  # type: ignore[assignment]  # the argument keeps its name
engine_for = _or_cuda_engine(engine_for)  # type: ignore[assignment]

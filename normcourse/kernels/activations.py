"""The activations that a norm can be fused with, as torch computes them."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

CODES: dict[str | None, int] = {None: 0, "relu": 1, "silu": 2, "gelu": 3}

ACTIVATIONS: dict[str | None, Callable[[Tensor], Tensor]] = {
    None: lambda z: z,
    "relu": torch.relu,
    "silu": torch.nn.functional.silu,
    "gelu": torch.nn.functional.gelu,
}


def _silu_slope(z: Tensor) -> Tensor:
    gate = torch.sigmoid(z)
    return gate * (1 + z * (1 - gate))


def _gelu_slope(z: Tensor) -> Tensor:
    below = 0.5 + 0.5 * torch.erf(z * math.sqrt(0.5))
    return below + z * torch.exp(-0.5 * z * z) * math.sqrt(0.5 / math.pi)


SLOPES: dict[str | None, Callable[[Tensor], Tensor]] = {
    "relu": lambda z: (z > 0).to(z.dtype),
    "silu": _silu_slope,
    "gelu": _gelu_slope,
}


def check_activation(activation: str | None) -> str | None:
    """Return the name of an activation that the kernels know.

    Example:
        >>> check_activation("relu")
        'relu'
    """
    if activation not in CODES:
        known = ", ".join(repr(name) for name in CODES)
        raise ValueError(
            f"activation: expected one of {known}, got {activation!r}. "
            f"Apply any other to the result."
        )
    return activation

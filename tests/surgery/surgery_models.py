"""Models, and drawing of parameters and statistics, that the surgery tests share."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn

Model = TypeVar("Model", bound=nn.Module)


def draw(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    """Return double-precision values of mean 0.6 and standard deviation 1.7."""
    generator = torch.Generator().manual_seed(seed)
    return 1.7 * torch.randn(shape, generator=generator, dtype=torch.float64) + 0.6


def trained(model: Model, seed: int = 0) -> Model:
    """Return the model in double precision with random parameters and running statistics."""
    model = model.double()
    for i, (name, tensor) in enumerate(model.state_dict().items()):
        if not tensor.is_floating_point():
            continue
        values = draw(tuple(tensor.shape), 100 * seed + i)
        tensor.copy_(values.abs() + 0.3 if "var" in name else values)
    return model


def assert_same(actual: Tensor, expected: Tensor) -> None:
    """Compare in double precision, relative to the largest expected value."""
    scale = max(1.0, float(expected.detach().abs().max()))
    torch.testing.assert_close(actual, expected, rtol=0.0, atol=1e-10 * scale)

"""Our modules beside their twins in torch.nn, for the tests to loop over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from normcourse import modules as ours

FLOATS = (torch.float64, torch.float32)
TOLERANCE = {torch.float64: 1e-11, torch.float32: 2e-5, torch.bfloat16: 2e-2}


@dataclass(frozen=True)
class Twin:
    """A module of ours, torch's module of the same meaning, and an input shape for both."""

    name: str
    make: Callable[[], nn.Module]
    make_torch: Callable[[], nn.Module]
    shape: tuple[int, ...]
    scale: float = 1.0  # of the float32 tolerance: 1 / sqrt(eps) where every variance is 0

    def __str__(self) -> str:
        return f"{self.name}-{'x'.join(map(str, self.shape))}"

    def pair(self, dtype: torch.dtype, seed: int = 0) -> tuple[nn.Module, nn.Module]:
        """Return both, with the same random parameters away from 0 and 1."""
        reference = randomized(self.make_torch(), dtype, seed)
        module = self.make().to(dtype)
        module.load_state_dict(reference.state_dict(), strict=True)
        return module, reference


def randomized(module: nn.Module, dtype: torch.dtype = torch.float64, seed: int = 0) -> nn.Module:
    """Draw every parameter anew, of both signs and away from 0 and 1."""
    generator = torch.Generator().manual_seed(seed)
    module = module.to(dtype)
    with torch.no_grad():
        for parameter in module.parameters():
            values = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.copy_((1.3 * values).where(values.abs() > 0.2, values + 0.5))
    return module


def draw(
    shape: tuple[int, ...], seed: int, dtype: torch.dtype = torch.float64, *, grad: bool = False
) -> Tensor:
    """Return an input whose mean is not 0 and whose spread is not 1."""
    generator = torch.Generator().manual_seed(1000 + seed)
    values = 1.7 * torch.randn(shape, generator=generator, dtype=torch.float64) + 0.6
    return values.to(dtype).requires_grad_(grad)


def assert_close(actual: Tensor, expected: Tensor, dtype: torch.dtype, scale: float = 1.0) -> None:
    """Compare relative to the largest expected value, at least 1; dtypes must agree."""
    limit = TOLERANCE[dtype] * scale * max(1.0, float(expected.detach().abs().max()))
    torch.testing.assert_close(actual, expected, rtol=0.0, atol=limit)


def train(module: nn.Module, shape: tuple[int, ...], dtype: torch.dtype) -> list[Tensor]:
    """Train four steps on batches of several sizes, then infer: outputs, gradients, state."""
    seen: list[Tensor] = []
    optimizer = torch.optim.SGD([*module.parameters(), torch.zeros(1, requires_grad=True)], lr=0.1)
    for step in range(4):
        x = draw((shape[0] + step, *shape[1:]), step, dtype, grad=True)
        y = module(x)
        upstream = draw(tuple(y.shape), 50 + step, dtype)
        optimizer.zero_grad()
        y.backward(upstream)
        seen += [y.detach(), x.grad, *(p.grad.clone() for p in module.parameters())]
        optimizer.step()
    module.eval()
    x = draw((2, *shape[1:]), 99, dtype, grad=True)
    y = module(x)
    y.backward(draw(tuple(y.shape), 98, dtype))
    seen += [y.detach(), x.grad, *(tensor.clone() for tensor in module.state_dict().values())]
    return seen


def _batch_norms() -> list[Twin]:
    shapes = {
        (7, 3): nn.BatchNorm1d,
        (4, 3, 5): nn.BatchNorm1d,
        (3, 4, 5, 2): nn.BatchNorm2d,
        (2, 3, 2, 4, 5): nn.BatchNorm3d,
    }
    options = {
        "default": {},
        "large_eps": {"eps": 0.3, "momentum": 0.7},
        "cumulative": {"momentum": None},
        "plain": {"affine": False},
        "stateless": {"track_running_stats": False},
    }
    rows = [
        Twin(
            f"batch_norm-{name}",
            lambda c=shape[1], o=option: ours.BatchNorm(c, **o),
            lambda c=shape[1], o=option, kind=kind: kind(c, **o),
            shape,
        )
        for (shape, kind), (name, option) in product(shapes.items(), options.items())
    ]
    return [
        *rows,
        Twin(
            "sync_batch_norm-alone",
            lambda: ours.SyncBatchNorm(3),
            lambda: nn.SyncBatchNorm(3),
            (4, 3, 5),
        ),
    ]


def _instance_norms() -> list[Twin]:
    shapes = {
        (4, 3, 5): nn.InstanceNorm1d,
        (3, 4, 5, 2): nn.InstanceNorm2d,
        (2, 3, 2, 4, 5): nn.InstanceNorm3d,
    }
    options = {
        "default": {},
        "affine": {"affine": True, "eps": 0.3},
        "tracking": {"affine": True, "track_running_stats": True},
        "tracking_none": {"momentum": None, "track_running_stats": True},
    }
    return [
        Twin(
            f"instance_norm-{name}",
            lambda c=shape[1], o=option: ours.InstanceNorm(c, **o),
            lambda c=shape[1], o=option, kind=kind: kind(c, **o),
            shape,
        )
        for (shape, kind), (name, option) in product(shapes.items(), options.items())
    ]


def _layer_norms() -> list[Twin]:
    cases = [
        ((4, 5), 5, {}),
        ((2, 3, 5), (5,), {"eps": 0.3}),
        ((2, 3, 4, 5), (3, 4, 5), {}),
        ((2, 3, 4, 5), [4, 5], {"bias": False}),
        ((4, 5), 5, {"elementwise_affine": False}),
        ((4, 1), 1, {}),
    ]
    rows = [
        Twin(
            f"layer_norm-{i}",
            lambda n=n, o=o: ours.LayerNorm(n, **o),
            lambda n=n, o=o: nn.LayerNorm(n, **o),
            shape,
            scale=316.0 if n == 1 else 1.0,
        )
        for i, (shape, n, o) in enumerate(cases)
    ]
    cases = [
        ((4, 5), 5, {"eps": 1e-5}),
        ((2, 3, 4, 5), (4, 5), {"eps": 0.3}),
        ((2, 3, 5), 5, {"eps": None}),
        ((4, 5), 5, {"eps": 1e-5, "elementwise_affine": False}),
    ]
    return rows + [
        Twin(
            f"rms_norm-{i}",
            lambda n=n, o=o: ours.RMSNorm(n, **o),
            lambda n=n, o=o: nn.RMSNorm(n, **o),
            shape,
        )
        for i, (shape, n, o) in enumerate(cases)
    ]


def _group_norms() -> list[Twin]:
    cases = [
        ((4, 6), 2, {}),
        ((3, 6, 5), 3, {"eps": 0.3}),
        ((2, 6, 3, 4), 1, {}),
        ((2, 6, 3, 4), 6, {"affine": False}),
        ((2, 4, 2, 3, 5), 2, {}),
        ((2, 6), 6, {}),
    ]
    return [
        Twin(
            f"group_norm-{g}-{i}",
            lambda g=g, c=shape[1], o=o: ours.GroupNorm(g, c, **o),
            lambda g=g, c=shape[1], o=o: nn.GroupNorm(g, c, **o),
            shape,
            scale=316.0 if shape == (2, g) else 1.0,
        )
        for i, (shape, g, o) in enumerate(cases)
    ]


def _response_norms() -> list[Twin]:
    cases = [
        ((2, 5, 3), {"size": 1}),
        ((2, 5, 3), {"size": 2, "alpha": 0.7}),
        ((2, 5, 3, 4), {"size": 3, "alpha": 0.9, "beta": 0.6, "k": 2.0}),
        ((2, 5, 2, 3, 4), {"size": 4, "alpha": 0.9}),
        ((2, 3, 4), {"size": 7, "alpha": 0.9}),
    ]
    return [
        Twin(
            f"local_response_norm-{o['size']}",
            lambda o=o: ours.LocalResponseNorm(**o),
            lambda o=o: nn.LocalResponseNorm(**o),
            shape,
        )
        for shape, o in cases
    ]


def _registered(layer: nn.Module, make: Callable[[Tensor], nn.Module]) -> nn.Module:
    parametrize.register_parametrization(layer, "weight", make(layer.weight), unsafe=True)
    return layer


def _spectral(kind: Callable[[], nn.Module], dim: int) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        torch.manual_seed(5)
        return _registered(kind(), lambda weight: ours.SpectralNorm(weight, dim=dim))

    return make


def _spectral_torch(kind: Callable[[], nn.Module], dim: int) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        torch.manual_seed(5)
        return parametrizations.spectral_norm(kind(), dim=dim)

    return make


def _weight_norms() -> list[Twin]:
    layers: list[tuple[str, Callable[[], nn.Module], int, tuple[int, ...]]] = [
        ("linear", lambda: nn.Linear(4, 3), 0, (5, 4)),
        ("conv", lambda: nn.Conv2d(4, 3, 2), 0, (2, 4, 3, 5)),
        ("transposed", lambda: nn.ConvTranspose1d(4, 3, 2), 1, (2, 4, 5)),
    ]
    rows = [
        Twin(
            f"weight_norm-{name}",
            lambda kind=kind, dim=dim: _registered(kind(), lambda _: ours.WeightNorm(dim)),
            lambda kind=kind, dim=dim: parametrizations.weight_norm(kind(), dim=dim),
            shape,
        )
        for name, kind, dim, shape in layers
    ]
    rows.append(
        Twin(
            "weight_norm-whole",
            lambda: _registered(nn.Linear(4, 3), lambda _: ours.WeightNorm(None)),
            lambda: parametrizations.weight_norm(nn.Linear(4, 3), dim=None),
            (5, 4),
        )
    )
    return rows + [
        Twin(f"spectral_norm-{name}", _spectral(kind, dim), _spectral_torch(kind, dim), shape)
        for name, kind, dim, shape in layers
    ]


TWINS = [
    *_batch_norms(),
    *_instance_norms(),
    *_layer_norms(),
    *_group_norms(),
    *_response_norms(),
    *_weight_norms(),
]
"""Every pair."""

PARAMETRIZED = ("weight_norm", "spectral_norm")
LAYERS = [twin for twin in TWINS if not twin.name.startswith(PARAMETRIZED)]
"""The pairs that are layers of their own."""

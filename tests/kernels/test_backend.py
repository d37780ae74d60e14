"""Modules with backend="fused": the same layer by one kernel, and a clear line without one."""

from __future__ import annotations

import copy
import subprocess
import sys
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from normcourse import kernels, modules
from normcourse.kernels import engines

MAKE: dict[str, tuple[Callable[..., nn.Module], tuple[int, ...]]] = {
    "BatchNorm": (lambda **k: modules.BatchNorm(6, **k), (5, 6, 7, 3)),
    "BatchNorm, cumulative": (lambda **k: modules.BatchNorm(6, momentum=None, **k), (5, 6, 7)),
    "BatchNorm, stateless": (
        lambda **k: modules.BatchNorm(6, track_running_stats=False, affine=False, **k),
        (5, 6),
    ),
    "LayerNorm": (lambda **k: modules.LayerNorm((3, 7), **k), (5, 3, 7)),
    "LayerNorm, no bias": (lambda **k: modules.LayerNorm(7, bias=False, **k), (5, 3, 7)),
    "RMSNorm": (lambda **k: modules.RMSNorm(7, **k), (5, 3, 7)),
    "RMSNorm, torch's eps": (lambda **k: modules.RMSNorm(7, eps=None, **k), (5, 3, 7)),
    "GroupNorm": (lambda **k: modules.GroupNorm(3, 6, **k), (5, 6, 7, 3)),
}
EVERY = pytest.mark.parametrize(("make", "shape"), MAKE.values(), ids=MAKE)
needs_numba = pytest.mark.skipif(
    kernels.why_not("cpu") is not None, reason='needs Numba (pip install "normcourse[fast]")'
)


def draw(*shape: int, seed: int = 0) -> Tensor:
    """Return values whose mean is not 0."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) + 0.6


def pair(make: Callable[..., nn.Module]) -> tuple[nn.Module, nn.Module]:
    """Return the module by both backends, with the same parameters."""
    plain, fused = make(), make(backend="fused")
    with torch.no_grad():
        for seed, parameter in enumerate(plain.parameters()):
            parameter.copy_(draw(*parameter.shape, seed=seed))
    fused.load_state_dict(plain.state_dict())
    return plain, fused


@needs_numba
@EVERY
def test_the_same_layer(make: Callable[..., nn.Module], shape: tuple[int, ...]) -> None:
    plain, fused = pair(make)
    for training in (True, True, False):
        x = draw(*shape, seed=9).requires_grad_()
        twin = x.detach().clone().requires_grad_()
        y, expected = fused.train(training)(x), plain.train(training)(twin)
        torch.testing.assert_close(y, expected, rtol=1e-5, atol=2e-6)
        for out in (y, expected):
            out.backward(draw(*shape, seed=10))
        torch.testing.assert_close(x.grad, twin.grad, rtol=1e-5, atol=5e-6)
    for (name, one), other in zip(fused.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-5, atol=1e-5, msg=name)
    for name, tensor in plain.state_dict().items():
        torch.testing.assert_close(fused.state_dict()[name], tensor)


@EVERY
def test_says_its_backend(make: Callable[..., nn.Module], shape: tuple[int, ...]) -> None:
    del shape
    assert "backend" not in repr(make())
    assert "backend='fused'" in repr(make(backend="fused"))
    with pytest.raises(ValueError, match="backend: expected one of 'torch', 'fused', got 'cuda'"):
        make(backend="cuda")


@EVERY
def test_under_a_compiler_it_leaves_fusing_to_it(
    make: Callable[..., nn.Module], shape: tuple[int, ...]
) -> None:
    torch._dynamo.reset()
    plain, fused = pair(make)
    compiled = torch.compile(copy.deepcopy(fused), backend="eager", fullgraph=True)
    x = draw(*shape)
    torch.testing.assert_close(compiled(x), plain(x))


def test_without_kernels_it_computes_all_the_same_and_says_so_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engines, "_has", lambda package: False)
    known = engines._cpu_reason, engines._cpu_engine, engines._say
    for one in known:
        one.cache_clear()
    plain, fused = pair(lambda **k: modules.GroupNorm(3, 6, **k))
    x = draw(5, 6, 7)
    try:
        with pytest.warns(UserWarning, match=r"need Numba \(pip install \"normcourse\[fast\]\"\)"):
            y = fused(x)
        torch.testing.assert_close(y, plain(x))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            fused(x)
    finally:
        for one in known:
            one.cache_clear()


def test_a_device_without_kernels_is_named() -> None:
    assert kernels.why_not("meta") == (
        "no fused kernels for tensors on meta: computed in plain torch operations"
    )


def test_modules_do_not_import_numba() -> None:
    code = "import sys, normcourse.modules; print({'numba', 'triton'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"

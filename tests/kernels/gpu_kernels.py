"""The GPU kernels beside torch in float64; test_triton.py starts this in a process of its own.

With TRITON_INTERPRET=1, from the first import of Triton on, its interpreter runs every kernel step
by step on the CPU; otherwise they run where CUDA is. Sizes are multiples of nothing; every kernel
runs whole and cut in parts.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from normcourse import kernels, modules
from normcourse.kernels import autograd
from normcourse.kernels.gpu import engine, plans

DEVICE = "cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda"
# Of the largest value. Half precision rounds the result, and what reaches it, to 11 and 8 bits.
TOLERANCE = {
    torch.float64: 1e-11,
    torch.float32: 4e-6,
    torch.float16: 2e-3,
    torch.bfloat16: 1.2e-2,
}
ACTIVATIONS = {None: lambda z: z, "relu": torch.relu, "silu": F.silu, "gelu": F.gelu}


@pytest.fixture(autouse=True)
def on_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the kernels of the GPU take all tensors, in the interpreter those of the CPU."""
    monkeypatch.setattr(autograd, "engine_for", lambda x: engine)
    torch.set_default_device(DEVICE)


@pytest.fixture
def cut_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make tiles so small that rows and pools are walked in parts."""
    monkeypatch.setattr(plans, "LONGEST", 8)
    monkeypatch.setattr(plans, "TILE", 16)
    monkeypatch.setattr(plans, "RESIDENT", 1)


@pytest.fixture(params=["whole", "cut"])
def cut(request: pytest.FixtureRequest) -> str:
    """Once in tiles that hold a row or a pool, once in parts."""
    if request.param == "cut":
        request.getfixturevalue("cut_up")
    return request.param


def draw(*shape: int, seed: int, dtype: torch.dtype = torch.float64, mean: float = 0.6) -> Tensor:
    """Return values whose mean is not 0 and whose spread is not 1."""
    generator = torch.Generator("cpu").manual_seed(seed)
    drawn = torch.randn(*shape, generator=generator, dtype=torch.float64, device="cpu")
    return (1.7 * drawn + mean).to(DEVICE, dtype)


def _given(x: Tensor) -> tuple[Tensor, Tensor]:
    mean = draw(x.shape[1], seed=8, dtype=torch.float32).to(x.dtype)
    return mean, (draw(x.shape[1], seed=9, dtype=torch.float32).abs() + 0.2).to(x.dtype)


@dataclass(frozen=True)
class Norm:
    """A kernel, what torch computes for it, a shape and those of the parameters."""

    method: str
    shape: tuple[int, ...]
    parameters: tuple[tuple[int, ...], ...]
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.method}-{'x'.join(map(str, self.shape))}"

    def arguments(self, dtype: torch.dtype, mean: float = 0.6) -> list[Tensor]:
        """Return x and the parameters, wanting gradients."""
        x = draw(*self.shape, seed=1, dtype=dtype, mean=mean)
        rest = (draw(*s, seed=2 + i, dtype=dtype) for i, s in enumerate(self.parameters))
        return [one.requires_grad_() for one in (x, *rest)]

    def fused(self, x: Tensor, *parameters: Tensor, **options: Any) -> Tensor:
        """Return the result of the kernel."""
        if self.method == "group_norm":
            return kernels.group_norm(x, self.options["groups"], *parameters, **options)
        if self.method == "batch_norm":
            return kernels.batch_norm(x, *parameters, **options)[0]
        if self.method == "inference":
            return kernels.batch_norm_inference(x, *_given(x), *parameters, **options)
        return getattr(kernels, self.method)(x, self.parameters[0], *parameters, **options)

    def torch(self, x: Tensor, *parameters: Tensor, eps: float = 1e-5) -> Tensor:
        """Return the result of torch."""
        if self.method == "group_norm":
            return F.group_norm(x, self.options["groups"], *parameters, eps)
        if self.method == "batch_norm":
            return F.batch_norm(x, None, None, *parameters, True, eps=eps)
        if self.method == "inference":
            return F.batch_norm(x, *_given(x), *parameters, False, eps=eps)
        return getattr(F, self.method)(x, self.parameters[0], *parameters, eps=eps)


ROWS = [
    Norm("layer_norm", (2, 3, 37), ((37,), (37,))),
    Norm("layer_norm", (2, 3, 3, 5), ((3, 5), (3, 5))),
    Norm("layer_norm", (6,), ((6,), (6,))),
    Norm("rms_norm", (5, 37), ((37,),)),
    Norm("group_norm", (5, 6, 3, 1), ((6,), (6,)), {"groups": 2}),
    Norm("group_norm", (3, 6), ((6,), (6,)), {"groups": 3}),
]
POOLS = [
    Norm("group_norm", (2, 6, 3, 7), ((6,), (6,)), {"groups": 3}),
    Norm("group_norm", (2, 7, 19), ((7,), (7,)), {"groups": 1}),
    Norm("batch_norm", (5, 3, 3, 7), ((3,), (3,))),
    Norm("batch_norm", (1, 3, 5), ((3,), (3,))),
    Norm("batch_norm", (29, 7), ((7,), (7,))),
    Norm("inference", (3, 5, 3, 7), ((5,), (5,))),
    Norm("inference", (29, 7), ((7,), (7,))),
]
NORMS = ROWS + POOLS
EVERY = pytest.mark.parametrize("norm", NORMS, ids=str)
SUBTRACTING = [n for n in NORMS if n.method not in ("rms_norm", "inference")]


def assert_close(actual: Tensor, expected: Tensor, dtype: torch.dtype, scale: float = 1.0) -> None:
    """Compare with a float64 reference, in units of its largest value."""
    actual, expected = actual.detach().double(), expected.detach().double()
    bound = scale * TOLERANCE[dtype] * max(1.0, float(expected.abs().max()))
    torch.testing.assert_close(actual, expected, rtol=0.0, atol=bound)


def assert_same(
    norm: Norm,
    dtype: torch.dtype,
    activation: str | None = None,
    mean: float = 0.6,
    scale: float = 1.0,
) -> None:
    """Compare values and gradients with torch in float64."""
    mine = norm.arguments(dtype, mean)
    theirs = [one.detach().double().requires_grad_() for one in mine]
    y = norm.fused(*mine, activation=activation)
    expected = ACTIVATIONS[activation](norm.torch(*theirs))
    assert (y.dtype, y.shape) == (dtype, mine[0].shape)
    assert_close(y, expected, dtype)
    dy = draw(*norm.shape, seed=20).to(dtype)
    y.backward(dy)
    expected.backward(dy.double())
    for one, other in zip(mine, theirs, strict=True):
        assert one.grad.dtype == dtype
        assert_close(one.grad, other.grad, dtype, scale)


@pytest.mark.parametrize("dtype", list(TOLERANCE), ids=str)
@EVERY
def test_values_and_gradients(norm: Norm, dtype: torch.dtype) -> None:
    assert_same(norm, dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@EVERY
def test_values_and_gradients_in_parts(norm: Norm, dtype: torch.dtype, cut_up: None) -> None:
    assert_same(norm, dtype, activation="gelu", scale=2)


@pytest.mark.parametrize("norm", SUBTRACTING, ids=str)
@pytest.mark.parametrize("mean", [1e4, -3e5])
def test_big_means_keep_their_digits(norm: Norm, mean: float, cut: str) -> None:
    """float32 data far from 0: what is lost is lost in the data, not in the kernel.

    Twice the tolerance: neighbours that far out are 0.03 apart, and 1 / std magnifies what rounding
    leaves of a gradient that is nearly 0.
    """
    assert_same(norm, torch.float32, mean=mean, scale=2)


@pytest.mark.parametrize("activation", ["relu", "silu", "gelu"])
@EVERY
def test_activations(norm: Norm, activation: str) -> None:
    assert_same(norm, torch.float32, activation, scale=2)


ADDING = {
    "add_layer_norm": (kernels.add_layer_norm, F.layer_norm, 2),
    "add_rms_norm": (kernels.add_rms_norm, F.rms_norm, 1),
}
USES = {"both": (True, True), "y alone": (True, False), "total alone": (False, True)}


@pytest.mark.parametrize("dtype", list(TOLERANCE), ids=str)
@pytest.mark.parametrize("uses", USES.values(), ids=USES)
@pytest.mark.parametrize(("fused", "norm", "count"), ADDING.values(), ids=ADDING)
def test_residual_add(
    fused: Callable[..., tuple[Tensor, Tensor]],
    norm: Callable[..., Tensor],
    count: int,
    uses: tuple[bool, bool],
    dtype: torch.dtype,
    cut: str,
) -> None:
    shapes = [(5, 37), (5, 37), *[(37,)] * count]
    mine = [draw(*s, seed=i, dtype=dtype).requires_grad_() for i, s in enumerate(shapes)]
    theirs = [one.detach().double().requires_grad_() for one in mine]
    outputs = fused(*mine[:2], (37,), *mine[2:], eps=1e-5)
    total = theirs[0] + theirs[1]
    if dtype.itemsize == 2:  # the sum is rounded before it is normalized, as torch would
        total = total + (total.to(dtype).double() - total).detach()
    expected = norm(total, (37,), *theirs[2:], eps=1e-5), total
    upstream = draw(5, 37, seed=30).to(dtype)
    kept = [i for i, use in enumerate(uses) if use]
    for y, reference in zip(outputs, expected, strict=True):
        assert_close(y, reference, dtype)
    torch.autograd.backward([outputs[i] for i in kept], [upstream] * len(kept))
    torch.autograd.backward([expected[i] for i in kept], [upstream.double()] * len(kept))
    for one, other in zip(mine, theirs, strict=True):
        found = torch.zeros_like(one) if one.grad is None else one.grad
        assert_close(found, torch.zeros_like(other) if other.grad is None else other.grad, dtype)


@pytest.mark.parametrize("norm", [ROWS[0], ROWS[4], POOLS[0], POOLS[2], POOLS[4]], ids=str)
def test_second_gradients_of_half_precision(norm: Norm) -> None:
    """A gradient that is differentiated again is computed in float32, by torch."""
    mine = norm.arguments(torch.bfloat16)
    theirs = [one.detach().double().requires_grad_() for one in mine]
    dy = draw(*norm.shape, seed=20).to(torch.bfloat16)
    seconds = []
    for function, tensors, upstream in (
        (norm.fused, mine, dy),
        (norm.torch, theirs, dy.double()),
    ):
        first = torch.autograd.grad(function(*tensors), tensors, upstream, create_graph=True)
        seconds.append(torch.autograd.grad(first[0].square().sum(), tensors[0])[0])
    assert_close(seconds[0], seconds[1], torch.bfloat16, scale=3)


def test_an_outlier_in_front_does_not_spoil_the_variance(cut: str) -> None:
    x = draw(1, 143, seed=1, dtype=torch.float32)
    x[0, 0] = 1e7
    expected = F.layer_norm(x.double(), (143,))
    assert_close(kernels.layer_norm(x, (143,)), expected, torch.float32)
    assert_close(kernels.batch_norm(x.T)[0], expected.T, torch.float32)
    assert_close(kernels.group_norm(x[None], 1)[0], expected, torch.float32)


@pytest.mark.parametrize("size", [3, 20], ids=["rows", "segments"])
def test_constant_values_without_eps_give_the_bias(size: int, cut: str) -> None:
    x = torch.full((2, 4, size), 0.1, requires_grad=True)
    bias = torch.arange(4.0)
    for y in (
        kernels.group_norm(x, 2, None, bias, eps=0.0),
        kernels.batch_norm(x, None, bias, eps=0.0)[0],
    ):
        assert torch.equal(y, bias[:, None].expand(2, 4, size))
        y.backward(torch.ones_like(y))
        assert torch.equal(x.grad, torch.zeros_like(x))


def test_nan_stays_in_its_row(cut: str) -> None:
    x = draw(3, 40, seed=1)
    x[1, 7] = torch.nan
    y = kernels.layer_norm(x, (40,), activation="relu")
    assert y[1].isnan().all()
    assert not y[[0, 2]].isnan().any()


def test_channels_last_stays(cut: str) -> None:
    x = draw(3, 5, 4, 6, seed=1).contiguous(memory_format=torch.channels_last).requires_grad_()
    expected = F.batch_norm(x, None, None, training=True)
    y = kernels.batch_norm(x)[0]
    assert y.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(y, expected)
    dy = draw(3, 5, 4, 6, seed=2)
    one, other = (torch.autograd.grad(out, x, dy)[0] for out in (y, expected))
    torch.testing.assert_close(one, other)


def test_any_strides_are_taken() -> None:
    x = draw(6, 5, 4, seed=1).transpose(0, 2)[:, 1:]
    torch.testing.assert_close(kernels.layer_norm(x, (6,)), F.layer_norm(x, (6,)))
    torch.testing.assert_close(kernels.group_norm(x, 2), F.group_norm(x, 2))
    torch.testing.assert_close(kernels.batch_norm(x)[0], F.batch_norm(x, None, None, training=True))


def test_the_moments_of_the_batch_come_along(cut: str) -> None:
    x = draw(5, 3, 4, 7, seed=1, dtype=torch.float32, mean=1e4)
    _, mean, var = kernels.batch_norm(x)
    torch.testing.assert_close(mean, x.double().mean((0, 2, 3)).float(), rtol=1e-7, atol=0)
    expected = x.double().var((0, 2, 3), correction=0).float()
    torch.testing.assert_close(var, expected, rtol=1e-6, atol=0)


def test_inputs_are_not_changed() -> None:
    for norm in NORMS:
        arguments = norm.arguments(torch.float32)
        before = [one.clone() for one in arguments]
        norm.fused(*arguments)
        assert all(map(torch.equal, arguments, before))


LAYERS = {
    "BatchNorm": (lambda **k: modules.BatchNorm(6, **k), (2, 6, 7, 3)),
    "LayerNorm": (lambda **k: modules.LayerNorm((3, 7), **k), (5, 3, 7)),
    "RMSNorm": (lambda **k: modules.RMSNorm(7, **k), (5, 3, 7)),
    "GroupNorm": (lambda **k: modules.GroupNorm(3, 6, **k), (2, 6, 7, 3)),
}


@pytest.mark.parametrize(("make", "shape"), LAYERS.values(), ids=LAYERS)
def test_modules_take_them(make: Callable[..., torch.nn.Module], shape: tuple[int, ...]) -> None:
    plain, fused = make(), make(backend="fused")
    for training in (True, True, False):
        x = draw(*shape, seed=9, dtype=torch.float32)
        y, expected = fused.train(training)(x), plain.train(training)(x)
        torch.testing.assert_close(y, expected, rtol=1e-5, atol=2e-6)
    for name, tensor in plain.state_dict().items():
        torch.testing.assert_close(fused.state_dict()[name], tensor)


def test_plans_cover_everything_once() -> None:
    for lines, count, size in itertools.product([1, 7, 300], [1, 5, 43], [1, 19, 3136]):
        cut = plans.cut_lines(lines, count, size, torch.device("cpu"))
        assert cut.parts == plans.ceil(count, cut.some) * plans.ceil(size, cut.few)
        assert (cut.parts - 1) // plans.ceil(size, cut.few) * cut.some < count
    for num, width in itertools.product([1, 43, 5000], [1, 37, 1031]):
        some, parts, _, _ = plans.cut_rows(num, width, torch.device("cpu"))
        assert (parts - 1) * some < num <= parts * some

"""The fused kernels: values, gradients, second gradients, odd shapes, big means, empty batches."""

from __future__ import annotations

import ctypes
import itertools
import mmap
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import functional as F

from normcourse import kernels
from normcourse.kernels import threads as threading

pytest.importorskip("numba", reason='needs Numba (pip install "normcourse[fast]")')

TOLERANCE = {torch.float64: 1e-11, torch.float32: 4e-6}
ACTIVATIONS = {None: lambda z: z, "relu": torch.relu, "silu": F.silu, "gelu": F.gelu}


def draw(*shape: int, seed: int, dtype: torch.dtype = torch.float64, mean: float = 0.6) -> Tensor:
    """Return values whose mean is not 0 and whose spread is not 1."""
    generator = torch.Generator().manual_seed(seed)
    return (1.7 * torch.randn(*shape, generator=generator, dtype=torch.float64) + mean).to(dtype)


@dataclass(frozen=True)
class Norm:
    """A kernel, what torch computes for it, a shape and those of the parameters."""

    name: str
    fused: Callable[..., Tensor]
    torch: Callable[..., Tensor]
    shape: tuple[int, ...]
    parameters: tuple[tuple[int, ...], ...]

    def __str__(self) -> str:
        return f"{self.name}-{'x'.join(map(str, self.shape))}"

    @property
    def subtracts(self) -> bool:
        """Whether it subtracts a mean of its own."""
        return self.name not in ("rms_norm", "inference")

    def arguments(self, dtype: torch.dtype, mean: float = 0.6) -> list[Tensor]:
        """Return x and the parameters."""
        x = draw(*self.shape, seed=1, dtype=dtype, mean=mean)
        return [x, *(draw(*s, seed=2 + i, dtype=dtype) for i, s in enumerate(self.parameters))]


def _layer(width: tuple[int, ...]) -> dict[str, Callable[..., Tensor]]:
    return {
        "fused": lambda x, w, b, **k: kernels.layer_norm(x, width, w, b, **k),
        "torch": lambda x, w, b, eps=1e-5: F.layer_norm(x, width, w, b, eps),
    }


def _rms(width: tuple[int, ...]) -> dict[str, Callable[..., Tensor]]:
    return {
        "fused": lambda x, w, **k: kernels.rms_norm(x, width, w, **k),
        "torch": lambda x, w, eps=1e-5: F.rms_norm(x, width, w, eps),
    }


def _group(groups: int) -> dict[str, Callable[..., Tensor]]:
    return {
        "fused": lambda x, w, b, **k: kernels.group_norm(x, groups, w, b, **k),
        "torch": lambda x, w, b, eps=1e-5: F.group_norm(x, groups, w, b, eps),
    }


_BATCH = {
    "fused": lambda x, w, b, **k: kernels.batch_norm(x, w, b, **k)[0],
    "torch": lambda x, w, b, eps=1e-5: F.batch_norm(x, None, None, w, b, True, eps=eps),
}


def _given(x: Tensor) -> tuple[Tensor, Tensor]:
    mean = draw(x.shape[1], seed=8, dtype=x.dtype)
    return mean, draw(x.shape[1], seed=9, dtype=x.dtype).abs() + 0.2


_INFERENCE = {
    "fused": lambda x, w, b, **k: kernels.batch_norm_inference(x, *_given(x), w, b, **k),
    "torch": lambda x, w, b, eps=1e-5: F.batch_norm(x, *_given(x), w, b, False, eps=eps),
}

NORMS = [
    Norm("layer_norm", **_layer((37,)), shape=(7, 13, 37), parameters=((37,), (37,))),
    Norm("layer_norm", **_layer((3, 5)), shape=(2, 3, 3, 5), parameters=((3, 5), (3, 5))),
    Norm("layer_norm", **_layer((1031,)), shape=(71, 1031), parameters=((1031,), (1031,))),
    Norm("layer_norm", **_layer((6,)), shape=(6,), parameters=((6,), (6,))),
    Norm("layer_norm", **_layer((1601,)), shape=(7, 1601), parameters=((1601,), (1601,))),
    Norm("rms_norm", **_rms((37,)), shape=(7, 13, 37), parameters=((37,),)),
    Norm("rms_norm", **_rms((1031,)), shape=(71, 1031), parameters=((1031,),)),
    Norm("rms_norm", **_rms((1601,)), shape=(7, 1601), parameters=((1601,),)),
    Norm("group_norm", **_group(3), shape=(5, 6, 7, 11), parameters=((6,), (6,))),
    Norm("group_norm", **_group(2), shape=(5, 6, 3, 1), parameters=((6,), (6,))),
    Norm("group_norm", **_group(2), shape=(5, 6), parameters=((6,), (6,))),
    Norm("group_norm", **_group(7), shape=(1, 7, 131, 93), parameters=((7,), (7,))),
    Norm("batch_norm", **_BATCH, shape=(5, 6, 7, 11), parameters=((6,), (6,))),
    Norm("batch_norm", **_BATCH, shape=(3, 5, 17, 19), parameters=((5,), (5,))),
    Norm("batch_norm", **_BATCH, shape=(3, 43, 7, 7), parameters=((43,), (43,))),
    Norm("batch_norm", **_BATCH, shape=(43, 7), parameters=((7,), (7,))),
    Norm("batch_norm", **_BATCH, shape=(1, 3, 5), parameters=((3,), (3,))),
    Norm("batch_norm", **_BATCH, shape=(2003, 37), parameters=((37,), (37,))),
    Norm("inference", **_INFERENCE, shape=(5, 6, 7, 11), parameters=((6,), (6,))),
    Norm("inference", **_INFERENCE, shape=(3, 5, 17, 19), parameters=((5,), (5,))),
    Norm("inference", **_INFERENCE, shape=(43, 7), parameters=((7,), (7,))),
]
TINY = [
    Norm("layer_norm", **_layer((4,)), shape=(3, 4), parameters=((4,), (4,))),
    Norm("rms_norm", **_rms((4,)), shape=(3, 4), parameters=((4,),)),
    Norm("group_norm", **_group(2), shape=(1, 4, 17), parameters=((4,), (4,))),
    Norm("group_norm", **_group(2), shape=(3, 4, 1), parameters=((4,), (4,))),
    Norm("batch_norm", **_BATCH, shape=(3, 2, 3), parameters=((2,), (2,))),
    Norm("batch_norm", **_BATCH, shape=(4, 3), parameters=((3,), (3,))),
    Norm("inference", **_INFERENCE, shape=(3, 2, 3), parameters=((2,), (2,))),
    Norm("inference", **_INFERENCE, shape=(4, 3), parameters=((3,), (3,))),
]
EVERY = pytest.mark.parametrize("norm", NORMS, ids=str)
FLOATS = pytest.mark.parametrize("dtype", list(TOLERANCE), ids=str)


def assert_close(actual: Tensor, expected: Tensor, dtype: torch.dtype, scale: float = 1.0) -> None:
    """Compare with a float64 reference, in units of its largest value."""
    actual, expected = actual.detach().double(), expected.detach().double()
    bound = scale * TOLERANCE[dtype] * max(1.0, float(expected.abs().max()))
    torch.testing.assert_close(actual, expected, rtol=0.0, atol=bound)


@pytest.fixture(params=[1, 2, 3])
def threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(threading, "GRAIN", 1)  # the smallest input is shared out, too
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(1)


@FLOATS
@EVERY
def test_values_and_gradients(norm: Norm, dtype: torch.dtype, threads: int) -> None:
    mine = [one.requires_grad_() for one in norm.arguments(dtype)]
    theirs = [one.detach().double().requires_grad_() for one in mine]
    y, expected = norm.fused(*mine), norm.torch(*theirs)
    assert y.dtype == dtype
    assert y.shape == mine[0].shape
    assert_close(y, expected, dtype)
    dy = draw(*norm.shape, seed=20)
    y.backward(dy.to(dtype))
    expected.backward(dy.to(dtype).double())
    for one, other in zip(mine, theirs, strict=True):
        assert_close(one.grad, other.grad, dtype)


@pytest.mark.parametrize("norm", [n for n in NORMS if n.subtracts], ids=str)
@pytest.mark.parametrize("mean", [1e4, -3e5])
def test_big_means_keep_their_digits(norm: Norm, mean: float) -> None:
    """float32 data far from 0: what is lost is lost in the data, not in the kernel."""
    mine = [one.requires_grad_() for one in norm.arguments(torch.float32, mean)]
    theirs = [one.detach().double().requires_grad_() for one in mine]
    y, expected = norm.fused(*mine), norm.torch(*theirs)
    assert_close(y, expected, torch.float32)
    dy = draw(*norm.shape, seed=20).float()
    y.backward(dy)
    expected.backward(dy.double())
    for one, other in zip(mine, theirs, strict=True):
        assert_close(one.grad, other.grad, torch.float32)


@pytest.mark.parametrize("many", [1, 4, 250])
@pytest.mark.parametrize("size", [1e2, 1e7])
def test_outliers_in_front_do_not_spoil_the_variance(many: int, size: float) -> None:
    """The shift is the mean of the first sixteenth; the worst there is costs four bits."""
    x = draw(2, 4000, seed=1, dtype=torch.float32)
    x[:, :many] = size
    expected = F.layer_norm(x.double(), (4000,))
    assert_close(kernels.layer_norm(x, (4000,)), expected, torch.float32)
    assert_close(kernels.batch_norm(x.T)[0], expected.T, torch.float32)


@pytest.mark.parametrize("size", [1e-30, 1e-18, 1e18, 1e30])
@pytest.mark.parametrize("width", [5, 768])
def test_sizes_whose_squares_float32_does_not_hold(size: float, width: int) -> None:
    x = size * draw(3, width, seed=1, dtype=torch.float32)
    expected = F.layer_norm(x.double(), (width,), eps=0.0)
    assert_close(kernels.layer_norm(x, (width,), eps=0.0), expected, torch.float32)


@pytest.mark.parametrize("size", [1e-30, 1e-18, 1e18, 1e30])
def test_mean_squares_of_any_size(size: float) -> None:
    x = size * draw(5, 700, seed=1, dtype=torch.float32)
    expected = F.rms_norm(x.double(), (700,), eps=0.0)
    assert_close(kernels.rms_norm(x, (700,), eps=0.0), expected, torch.float32)


@pytest.mark.parametrize("size", [1e-30, 1e-18, 1e18, 1e30])
@pytest.mark.parametrize("many", [0, 1, 20, 33])
def test_large_maps_of_any_size_with_outliers_in_front(size: float, many: int) -> None:
    """Segments of 529 values: some of the first of each are a thousand times as large."""
    x = size * draw(3, 4, 23, 23, seed=1, dtype=torch.float32)
    x.view(12, 529)[:, :many] *= 1e3
    grouped = x.double().view(3, 2, -1)
    expected = F.layer_norm(grouped, grouped.shape[2:], eps=0.0).view_as(x)
    assert_close(kernels.group_norm(x, 2, eps=0.0), expected, torch.float32)
    channels = x.double().transpose(0, 1).flatten(1)
    expected = F.layer_norm(channels, channels.shape[1:], eps=0.0)
    y = kernels.batch_norm(x, eps=0.0)[0].transpose(0, 1).flatten(1)
    assert_close(y, expected, torch.float32)


@pytest.mark.parametrize("size", [1e-30, 1e-18, 1e18, 1e30])
@pytest.mark.parametrize("many", [0, 1, 3])
def test_small_maps_of_any_size_with_outliers_in_front(size: float, many: int) -> None:
    """Channels of 49 values, 40 examples: some of the first are a thousand times as large."""
    x = size * draw(40, 3, 7, 7, seed=1, dtype=torch.float32)
    x[:many] *= 1e3
    channels = x.double().transpose(0, 1).flatten(1)  # torch's batch norm takes no eps of 0
    y, mean, _ = kernels.batch_norm(x, eps=0.0)
    expected = F.layer_norm(channels, (channels.shape[1],), eps=0.0)
    assert_close(y.transpose(0, 1).flatten(1), expected, torch.float32)
    torch.testing.assert_close(mean.double() / size, channels.mean(1) / size, rtol=0, atol=1e-3)


@pytest.mark.parametrize("activation", list(ACTIVATIONS))
@pytest.mark.parametrize("norm", TINY, ids=str)
def test_first_and_second_gradients(norm: Norm, activation: str | None) -> None:
    arguments = [one.requires_grad_() for one in norm.arguments(torch.float64)]

    def call(*tensors: Tensor) -> Tensor:
        return norm.fused(*tensors, activation=activation)

    assert torch.autograd.gradcheck(call, arguments)
    assert torch.autograd.gradgradcheck(call, arguments)


@FLOATS
@EVERY
@pytest.mark.parametrize("activation", ["relu", "silu", "gelu"])
def test_activations(norm: Norm, activation: str, dtype: torch.dtype) -> None:
    mine = [one.requires_grad_() for one in norm.arguments(dtype)]
    theirs = [one.detach().double().requires_grad_() for one in mine]
    y = norm.fused(*mine, activation=activation)
    expected = ACTIVATIONS[activation](norm.torch(*theirs))
    assert_close(y, expected, dtype)
    dy = draw(*norm.shape, seed=20)
    y.backward(dy.to(dtype))
    expected.backward(dy.to(dtype).double())
    for one, other in zip(mine, theirs, strict=True):
        assert_close(one.grad, other.grad, dtype, scale=2)


ADDING = {
    "add_layer_norm": (kernels.add_layer_norm, F.layer_norm, 2),
    "add_rms_norm": (kernels.add_rms_norm, F.rms_norm, 1),
}
USES = {"both": (1.0, 1.0), "y alone": (1.0, None), "total alone": (None, 1.0)}


@FLOATS
@pytest.mark.parametrize("uses", USES.values(), ids=USES)
@pytest.mark.parametrize(("fused", "norm", "count"), ADDING.values(), ids=ADDING)
def test_residual_add(
    fused: Callable[..., tuple[Tensor, Tensor]],
    norm: Callable[..., Tensor],
    count: int,
    uses: tuple[float | None, float | None],
    dtype: torch.dtype,
) -> None:
    shapes = [(5, 7, 37), (5, 7, 37), *[(37,)] * count]
    mine = [draw(*s, seed=i, dtype=dtype).requires_grad_() for i, s in enumerate(shapes)]
    theirs = [one.detach().double().requires_grad_() for one in mine]
    outputs = fused(*mine[:2], (37,), *mine[2:], eps=1e-5)
    total = theirs[0] + theirs[1]
    expected = norm(total, (37,), *theirs[2:], eps=1e-5), total
    upstream = [None if use is None else draw(5, 7, 37, seed=30) for use in uses]
    for y, reference in zip(outputs, expected, strict=True):
        assert_close(y, reference, dtype)
    loss, reference = (
        sum((y.double() * dy).sum() for y, dy in zip(ys, upstream, strict=True) if dy is not None)
        for ys in (outputs, expected)
    )
    loss.backward()
    reference.backward()
    for one, other in zip(mine, theirs, strict=True):
        found = torch.zeros_like(one) if one.grad is None else one.grad
        assert_close(found, torch.zeros_like(other) if other.grad is None else other.grad, dtype)


@pytest.mark.parametrize(("fused", "norm", "count"), ADDING.values(), ids=ADDING)
def test_residual_add_first_and_second_gradients(
    fused: Callable[..., tuple[Tensor, Tensor]], norm: object, count: int
) -> None:
    shapes = [(3, 4), (3, 4), *[(4,)] * count]
    arguments = [draw(*s, seed=i).requires_grad_() for i, s in enumerate(shapes)]

    def call(x: Tensor, residual: Tensor, *parameters: Tensor) -> tuple[Tensor, Tensor]:
        return fused(x, residual, (4,), *parameters)

    assert torch.autograd.gradcheck(call, arguments)
    assert torch.autograd.gradgradcheck(call, arguments)


EMPTY = {
    "no rows": lambda x: kernels.layer_norm(x, (4,)),
    "no rows, rms": lambda x: kernels.rms_norm(x, (4,)),
    "group norm": lambda x: kernels.group_norm(x, 2),
    "batch norm": lambda x: kernels.batch_norm(x)[0],
}


@pytest.mark.parametrize("shape", [(0, 4), (0, 4, 4), (3, 4, 0, 4)], ids=str)
@pytest.mark.parametrize("call", EMPTY.values(), ids=EMPTY)
def test_empty_batches(call: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> None:
    x = torch.zeros(shape, requires_grad=True)
    y = call(x)
    y.backward(torch.zeros(shape))
    assert y.shape == x.grad.shape == shape


def test_parameters_of_an_empty_batch_get_gradient_zero() -> None:
    weight = torch.ones(4, requires_grad=True)
    kernels.layer_norm(torch.zeros(0, 4), (4,), weight).sum().backward()
    assert weight.grad.tolist() == [0.0] * 4


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
@EVERY
def test_half_precision_is_computed_in_float32(norm: Norm, kind: str) -> None:
    dtype = getattr(torch, kind)
    arguments = [one.to(dtype).requires_grad_() for one in norm.arguments(torch.float64)]
    expected = norm.torch(*(one.detach().double() for one in arguments))
    y = norm.fused(*arguments)
    assert y.dtype == dtype
    torch.testing.assert_close(y.double(), expected, rtol=1e-2, atol=1e-2)
    y.sum().backward()
    assert all(one.grad.dtype == dtype for one in arguments)


@pytest.mark.parametrize("shape", [(3, 5, 4, 6), (2, 5, 3, 4, 2)], ids=str)
def test_channels_last_stays(shape: tuple[int, ...]) -> None:
    memory = torch.channels_last if len(shape) == 4 else torch.channels_last_3d
    x = draw(*shape, seed=1).contiguous(memory_format=memory).requires_grad_()
    expected = F.batch_norm(x, None, None, training=True)
    for y in (kernels.batch_norm(x)[0], kernels.group_norm(x, 1)):
        assert y.is_contiguous(memory_format=memory)
    torch.testing.assert_close(kernels.batch_norm(x)[0], expected)
    torch.testing.assert_close(kernels.group_norm(x, 5), F.group_norm(x, 5))


def test_any_strides_are_taken() -> None:
    x = draw(6, 5, 4, seed=1).transpose(0, 2)[:, 1:]
    torch.testing.assert_close(kernels.layer_norm(x, (6,)), F.layer_norm(x, (6,)))
    torch.testing.assert_close(kernels.group_norm(x, 2), F.group_norm(x, 2))
    torch.testing.assert_close(kernels.batch_norm(x)[0], F.batch_norm(x, None, None, training=True))


@pytest.mark.parametrize("size", [3, 20], ids=["rows", "segments"])
def test_constant_values_without_eps_give_the_bias(size: int) -> None:
    x = torch.full((2, 4, size), 3.0, requires_grad=True)
    bias = torch.arange(4.0)
    for y in (
        kernels.group_norm(x, 2, None, bias, eps=0.0),
        kernels.batch_norm(x, None, bias, eps=0.0)[0],
    ):
        assert torch.equal(y, bias[:, None].expand(2, 4, size))
        y.backward(torch.ones_like(y))
        assert torch.equal(x.grad, torch.zeros_like(x))


def test_nan_stays_in_its_row() -> None:
    x = draw(3, 40, seed=1)
    x[1, 7] = torch.nan
    y = kernels.layer_norm(x, (40,), activation="relu")
    assert y[1].isnan().all()
    assert not y[[0, 2]].isnan().any()


def test_the_moments_of_the_batch_come_along() -> None:
    x = draw(5, 3, 4, 7, seed=1, dtype=torch.float32, mean=1e4)
    _, mean, var = kernels.batch_norm(x)
    torch.testing.assert_close(mean, x.double().mean((0, 2, 3)).float(), rtol=1e-7, atol=0)
    expected = x.double().var((0, 2, 3), correction=0).float()
    torch.testing.assert_close(var, expected, rtol=1e-6, atol=0)


@EVERY
def test_without_gradients_the_values_are_the_same(norm: Norm) -> None:
    """Nothing is kept then, by a way of its own."""
    arguments = [one.requires_grad_() for one in norm.arguments(torch.float32)]
    y = norm.fused(*arguments)
    assert y.requires_grad
    with torch.no_grad():
        plain = norm.fused(*arguments)
    assert not plain.requires_grad
    assert torch.equal(plain, y)


@EVERY
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
def test_a_tangent_is_refused_and_not_lost(norm: Norm) -> None:
    x, *parameters = norm.arguments(torch.float32)
    with forward_ad.dual_level(), torch.no_grad():
        dual = forward_ad.make_dual(x, torch.ones_like(x))
        with pytest.raises(RuntimeError, match=r"forward mode|jvp"):
            norm.fused(dual, *parameters)


def test_inputs_are_not_changed() -> None:
    for norm in NORMS:
        arguments = norm.arguments(torch.float32)
        before = [one.clone() for one in arguments]
        norm.fused(*arguments)
        assert all(map(torch.equal, arguments, before))


# Rows that begin at lines of the cache, which can go past the caches, beside those that cannot.
BY_LINES = [
    Norm("layer_norm", **_layer((48,)), shape=(7, 48), parameters=((48,), (48,))),
    Norm("layer_norm", **_layer((1040,)), shape=(7, 1040), parameters=((1040,), (1040,))),
    Norm("rms_norm", **_rms((48,)), shape=(7, 48), parameters=((48,),)),
    Norm("rms_norm", **_rms((1040,)), shape=(7, 1040), parameters=((1040,),)),
    Norm("group_norm", **_group(3), shape=(5, 6, 4, 8), parameters=((6,), (6,))),
    Norm("group_norm", **_group(2), shape=(2, 4, 16, 34), parameters=((4,), (4,))),
    Norm("batch_norm", **_BATCH, shape=(3, 5, 17, 32), parameters=((5,), (5,))),
    Norm("batch_norm", **_BATCH, shape=(53, 48), parameters=((48,), (48,))),
    Norm("batch_norm", **_BATCH, shape=(4, 43, 4, 4), parameters=((43,), (43,))),
    Norm("inference", **_INFERENCE, shape=(3, 5, 17, 32), parameters=((5,), (5,))),
    Norm("inference", **_INFERENCE, shape=(43, 48), parameters=((48,), (48,))),
]


@pytest.fixture
def go_past(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Lets every result, or none, be written past the caches."""
    from normcourse.kernels.cpu import engine

    def choose(streamed: bool) -> None:
        for name in ("STREAM_FROM", "STREAM_NEW_FROM"):
            monkeypatch.setattr(engine, name, 0 if streamed else 2**60)

    return choose


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_large_results_go_past_the_caches(
    streamed: bool, activation: str | None, go_past: Callable[[bool], None]
) -> None:
    """The same values either way, for starts and ends of rows that are on no line of the cache."""
    go_past(streamed)
    for norm, dtype in itertools.product(NORMS + BY_LINES, TOLERANCE):
        mine = [one.requires_grad_() for one in norm.arguments(dtype)]
        theirs = [one.detach().double().requires_grad_() for one in mine]
        y = norm.fused(*mine, activation=activation)
        expected = ACTIVATIONS[activation](norm.torch(*theirs))
        assert_close(y, expected, dtype)
        dy = draw(*norm.shape, seed=20).to(dtype)
        y.backward(dy)
        expected.backward(dy.double())
        for one, other in zip(mine, theirs, strict=True):
            assert_close(one.grad, other.grad, dtype, 10.0)


@pytest.mark.parametrize("norm", NORMS + BY_LINES, ids=str)
@FLOATS
def test_a_result_does_not_depend_on_how_it_is_written(
    norm: Norm, dtype: torch.dtype, go_past: Callable[[bool], None]
) -> None:
    """To the last bit, whether past the caches or not."""
    for activation in (None, "relu"):
        found = []
        for streamed in (True, False):
            go_past(streamed)
            arguments = [one.requires_grad_() for one in norm.arguments(dtype)]
            y = norm.fused(*arguments, activation=activation)
            dy = draw(*norm.shape, seed=20).to(dtype)
            found.append([y, *torch.autograd.grad(y, arguments, dy)])
        for one, other in zip(*found, strict=True):
            torch.testing.assert_close(one, other, rtol=0.0, atol=0.0)


@pytest.mark.parametrize("norm", [n for n in NORMS + BY_LINES if "batch" not in n.name], ids=str)
def test_a_row_does_not_depend_on_the_rows_around_it(
    norm: Norm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the last bit, whoever computes it: one thread all of them, or each thread a part."""
    monkeypatch.setattr(threading, "GRAIN", 1)
    before, found = torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            arguments = [one.requires_grad_() for one in norm.arguments(torch.float32)]
            y = norm.fused(*arguments)
            found.append((y, *torch.autograd.grad(y, arguments[0], torch.ones_like(y))))
    finally:
        torch.set_num_threads(before)
    for y, dx in found[1:]:
        assert torch.equal(y, found[0][0])
        assert torch.equal(dx, found[0][1])


@FLOATS
@pytest.mark.parametrize("width", [37, 48, 1040, 1601])
@pytest.mark.parametrize("streamed", [True, False])
def test_large_sums_go_past_the_caches(
    width: int, streamed: bool, dtype: torch.dtype, go_past: Callable[[bool], None]
) -> None:
    """The sum with a residual and what is made of it, for rows that begin at lines or not."""
    go_past(streamed)
    x, residual = draw(7, width, seed=1, dtype=dtype), draw(7, width, seed=2, dtype=dtype)
    weight, bias = draw(width, seed=3, dtype=dtype), draw(width, seed=4, dtype=dtype)
    y, total = kernels.add_layer_norm(x, residual, (width,), weight, bias)
    z, same = kernels.add_rms_norm(x, residual, (width,), weight)
    assert torch.equal(total, x + residual)
    assert torch.equal(same, total)
    assert torch.equal(y, kernels.layer_norm(total, (width,), weight, bias))
    assert torch.equal(z, kernels.rms_norm(total, (width,), weight))
    total = total.double()
    expected = F.layer_norm(total, (width,), weight.double(), bias.double())
    assert_close(y, expected, dtype)
    assert_close(z, F.rms_norm(total, (width,), weight.double(), 1e-5), dtype)


def test_the_last_cache_is_the_largest_that_the_system_tells_of(tmp_path: Path) -> None:
    from normcourse.kernels.cpu.memory import last_cache

    for index, size in enumerate(("48K\n", "2048K\n", "491520K\n", "what?\n")):
        (tmp_path / f"index{index}").mkdir()
        (tmp_path / f"index{index}" / "size").write_text(size)
    assert last_cache(tmp_path) == 480 * 2**20


def test_large_pages_are_asked_for_large_results_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from normcourse.kernels.cpu import pages

    asked: list[tuple[int, int, int]] = []
    monkeypatch.setattr(pages, "_advise", lambda: lambda *wish: asked.append(wish) or -1)
    monkeypatch.setattr(pages, "LARGE", 2**20)
    monkeypatch.setattr(pages.mmap, "MADV_HUGEPAGE", 14, raising=False)
    large, small = torch.zeros(2**19), torch.zeros(9)
    assert pages.new_like(small)[0].shape == small.shape
    monkeypatch.setattr(pages, "_has_pages", lambda place: True)
    assert pages.new_like(large)[1]
    assert asked == []
    monkeypatch.setattr(pages, "_has_pages", lambda place: False)
    y, used = pages.new_like(large)
    assert not used
    ((begin, length, wish),) = asked
    assert wish == 14
    assert begin % pages.mmap.PAGESIZE == length % pages.mmap.PAGESIZE == 0
    assert y.data_ptr() <= begin < begin + length <= y.data_ptr() + y.nbytes


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nobody is asked")
def test_whether_memory_was_used_before() -> None:
    from normcourse.kernels.cpu import pages

    with mmap.mmap(-1, 4 * mmap.PAGESIZE) as memory:
        place = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        assert not pages._has_pages(place + 2 * mmap.PAGESIZE)
        memory[2 * mmap.PAGESIZE] = 1
        assert pages._has_pages(place + 2 * mmap.PAGESIZE)
        assert not pages._has_pages(place + 3 * mmap.PAGESIZE)


def test_results_are_the_same_where_no_large_pages_are(monkeypatch: pytest.MonkeyPatch) -> None:
    from normcourse.kernels.cpu import pages

    x = draw(1031, 1031, seed=1, dtype=torch.float32)
    assert x.nbytes >= pages.LARGE
    y = kernels.layer_norm(x, (1031,))
    monkeypatch.setattr(pages, "_advise", lambda: None)
    assert torch.equal(kernels.layer_norm(x, (1031,)), y)
    monkeypatch.setattr(pages, "_ask", lambda: None)
    assert torch.equal(kernels.layer_norm(x, (1031,)), y)


class TestErrors:
    def test_an_unknown_activation(self) -> None:
        with pytest.raises(ValueError, match="activation: expected one of None, 'relu'"):
            kernels.layer_norm(torch.zeros(2, 3), (3,), activation="tanh")

    def test_another_shape(self) -> None:
        with pytest.raises(ValueError, match=r"x: expected shape \(\*, 4\), got \(2, 3\)"):
            kernels.layer_norm(torch.zeros(2, 3), (4,))

    def test_a_residual_of_another_shape(self) -> None:
        with pytest.raises(ValueError, match=r"residual: expected \(2, 3\) of torch.float32"):
            kernels.add_rms_norm(torch.zeros(2, 3), torch.zeros(3), (3,))

    def test_a_parameter_of_another_shape(self) -> None:
        x, three = torch.zeros(2, 4), torch.zeros(3)
        with pytest.raises(ValueError, match=r"weight: expected shape \(4,\) on cpu"):
            kernels.layer_norm(x, (4,), three)
        with pytest.raises(ValueError, match=r"bias: expected shape \(4,\) on cpu.* got \(3,\)"):
            kernels.batch_norm(x, torch.zeros(4), three)
        with pytest.raises(ValueError, match=r"var: expected shape \(4,\) on cpu"):
            kernels.batch_norm_inference(x, torch.zeros(4), three)

    def test_a_tensor_on_another_device(self) -> None:
        x, there = torch.zeros(2, 4), torch.zeros(4, device="meta")
        with pytest.raises(ValueError, match=r"weight: .* on cpu, as x, got \(4,\) on meta"):
            kernels.layer_norm(x, (4,), there)
        with pytest.raises(ValueError, match=r"mean: .* on cpu, as x"):
            kernels.batch_norm_inference(x, there, torch.ones(4))
        with pytest.raises(ValueError, match="residual: expected a tensor on cpu, as x, got meta"):
            kernels.add_rms_norm(x, torch.zeros(2, 4, device="meta"), (4,))

    def test_groups_that_do_not_divide(self) -> None:
        with pytest.raises(ValueError, match="num_groups: expected a divisor of 3 channels, got 2"):
            kernels.group_norm(torch.zeros(2, 3), 2)

"""What every module must do: second gradients, compile, export, autocast, copies, precision."""

from __future__ import annotations

import copy
import inspect
import pickle
import subprocess
import sys

import pytest
import torch
from module_specimens import SPECIMENS, Specimen
from module_twins import assert_close, draw
from torch import Tensor, nn
from torch.func import functional_call

from normcourse import modules as ours

MODES = pytest.mark.parametrize("training", [True, False], ids=["training", "inference"])
EVERY = pytest.mark.parametrize("specimen", SPECIMENS, ids=str)
POOLING = [s for s in SPECIMENS if s.statistics]


def as_tensors(output: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return the outputs of a module as a tuple."""
    return output if isinstance(output, tuple) else (output,)


def test_every_public_class_has_a_specimen() -> None:
    classes = {name for name in ours.__all__ if inspect.isclass(getattr(ours, name))}
    assert classes == {specimen.name.split(".")[0] for specimen in SPECIMENS}


@MODES
@EVERY
def test_first_and_second_gradients(specimen: Specimen, training: bool) -> None:
    module = specimen.module().train(training and specimen.name != "SpectralNorm")
    names = [name for name, _ in module.named_parameters()]
    inputs = [
        x.requires_grad_() if x.is_floating_point() else x for x in specimen.inputs(torch.float64)
    ]
    parameters = [p.detach().clone().requires_grad_() for p in module.parameters()]

    def call(*tensors: Tensor) -> tuple[Tensor, ...]:
        state = dict(zip(names, tensors[len(inputs) :], strict=True))
        return as_tensors(functional_call(module, state, tensors[: len(inputs)]))

    assert torch.autograd.gradcheck(call, (*inputs, *parameters))
    assert torch.autograd.gradgradcheck(call, (*inputs, *parameters))


# torch.compile itself instantiates the base class of every autograd function that it meets.
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@MODES
@EVERY
def test_compiles_without_a_graph_break(specimen: Specimen, training: bool) -> None:
    torch._dynamo.reset()
    eager = specimen.module(torch.float32).train(training)
    module = copy.deepcopy(eager)
    compiled = torch.compile(module, backend="aot_eager", fullgraph=True)
    for _ in range(2):
        x, *rest = specimen.inputs(torch.float32)
        mine, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
        outputs = as_tensors(compiled(mine, *rest))
        expected = as_tensors(eager(theirs, *rest))
        for y, z in zip(outputs, expected, strict=True):
            assert_close(y, z, torch.float32)
        upstream = [draw(tuple(y.shape), 7, y.dtype) for y in outputs]
        torch.autograd.backward(outputs, upstream)
        torch.autograd.backward(expected, upstream)
        assert_close(mine.grad, theirs.grad, torch.float32)
    for name, tensor in eager.state_dict().items():
        torch.testing.assert_close(module.state_dict()[name], tensor)


@MODES
@EVERY
def test_exports(specimen: Specimen, training: bool) -> None:
    module = specimen.module(torch.float32).train(training)
    inputs = specimen.inputs(torch.float32)
    program = torch.export.export(copy.deepcopy(module), inputs)
    for y, expected in zip(
        as_tensors(program.module()(*inputs)),
        as_tensors(module(*inputs)),
        strict=True,
    ):
        assert_close(y, expected, torch.float32)


@pytest.mark.parametrize("kind", [ours.BatchNorm, nn.BatchNorm2d])
def test_exports_with_any_batch_size(kind: type[nn.Module]) -> None:
    module = kind(4).eval()
    batch = torch.export.Dim("batch")
    program = torch.export.export(module, (torch.zeros(2, 4, 3, 3),), dynamic_shapes=({0: batch},))
    x = draw((5, 4, 3, 3), 0, torch.float32)
    torch.testing.assert_close(program.module()(x), module(x))


@MODES
@pytest.mark.parametrize("specimen", POOLING, ids=str)
def test_autocast_keeps_statistics_in_float32(specimen: Specimen, training: bool) -> None:
    module = specimen.module(torch.float32).train(training)
    plain = copy.deepcopy(module)
    inputs = specimen.inputs(torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = as_tensors(module(*inputs))
    for y, expected in zip(outputs, as_tensors(plain(*inputs)), strict=True):
        assert_close(y, expected, torch.float32)


@MODES
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("specimen", POOLING, ids=str)
def test_half_precision_in_and_out(specimen: Specimen, dtype: torch.dtype, training: bool) -> None:
    exact = specimen.module(torch.float64).train(training)
    for parameters in (torch.float32, dtype):  # autocast leaves parameters in float32
        module = copy.deepcopy(exact).to(parameters)
        lowered = [
            x.to(dtype) if x.is_floating_point() else x for x in specimen.inputs(torch.float64)
        ]
        same = [x.double() if x.is_floating_point() else x for x in lowered]
        reference = copy.deepcopy(module).double()
        for y, expected in zip(
            as_tensors(module(*lowered)), as_tensors(reference(*same)), strict=True
        ):
            assert y.dtype == dtype
            assert_close(y.double(), expected, torch.float64, scale=2e9)  # 2 %


@EVERY
def test_copies_and_pickles(specimen: Specimen) -> None:
    module = specimen.module()
    clones = [copy.deepcopy(module)]
    if specimen.pickles:  # torch pickles no parametrized module, only its state
        clones.append(pickle.loads(pickle.dumps(module)))
    inputs = specimen.inputs(torch.float64)
    expected = as_tensors(module(*inputs))
    for clone in clones:
        for y, z in zip(as_tensors(clone(*inputs)), expected, strict=True):
            torch.testing.assert_close(y, z, rtol=0.0, atol=0.0)


@MODES
@pytest.mark.parametrize("specimen", [s for s in SPECIMENS if s.positions], ids=str)
def test_channels_last_stays_channels_last(specimen: Specimen, training: bool) -> None:
    module = specimen.module().train(training)
    (x,) = specimen.inputs(torch.float64)
    expected = copy.deepcopy(module)(x)
    last = x.contiguous(memory_format=torch.channels_last).requires_grad_()
    y = module(last)
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert_close(y, expected, torch.float64)
    y.backward(draw(tuple(y.shape), 1))
    assert last.grad is not None
    assert last.grad.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("make", "make_torch"),
    [
        (lambda: ours.BatchNorm(4), lambda: nn.BatchNorm2d(4)),
        (lambda: ours.GroupNorm(2, 4), lambda: nn.GroupNorm(2, 4)),
        (lambda: ours.LocalResponseNorm(3), lambda: nn.LocalResponseNorm(3)),
    ],
    ids=["batch_norm", "group_norm", "local_response_norm"],
)
def test_memory_format_is_the_one_torch_gives(make, make_torch) -> None:
    for memory_format in (torch.contiguous_format, torch.channels_last):
        x = draw((3, 4, 5, 2), 0, torch.float32).contiguous(memory_format=memory_format)
        assert make()(x).stride() == make_torch()(x).stride()


@pytest.mark.parametrize("name", ["BatchNorm", "MaskedBatchNorm", "DecorrelatedBatchNorm"])
def test_the_mean_is_as_exact_as_float32_can_say(name: str) -> None:
    layer = getattr(ours, name)(5, momentum=1.0)
    generator = torch.Generator().manual_seed(0)
    x = 1e5 + torch.randn(3000, 5, generator=generator)
    layer(x, torch.ones(3000, dtype=torch.bool)) if "Masked" in name else layer(x)
    error = (layer.running_mean.double() - x.double().mean(0)).abs()
    assert float(error.max()) <= 0.55 * 2**-7  # half a step of float32 at 1e5, which is 2^-7


def test_padding_does_not_enter_the_variance() -> None:
    x = (1e6 + draw((2, 40, 3), 0)).float()
    mask = torch.zeros(2, 40, dtype=torch.bool)
    mask[0, :5] = True
    masked, plain = ours.MaskedBatchNorm(3)(x, mask)[mask], ours.BatchNorm(3)(x[mask])
    torch.testing.assert_close(masked, plain, rtol=1e-5, atol=1e-5)


def test_spectral_norm_keeps_float32_under_autocast() -> None:
    weight = draw((4, 5), 0, torch.float32)
    layer = ours.SpectralNorm(weight).eval()
    with torch.autocast("cpu", torch.bfloat16):
        lowered = layer(weight)
    assert_close(lowered, layer(weight), torch.float32)


def test_spectral_norm_serves_two_forwards_before_one_backward() -> None:
    layer = torch.nn.utils.parametrize.register_parametrization(
        nn.Linear(3, 2), "weight", ours.SpectralNorm(torch.eye(2, 3))
    )
    x = draw((4, 3), 0, torch.float32)
    (layer(x).square().sum() - layer(2 * x).sum()).backward()
    assert layer.parametrizations.weight.original.grad is not None


CENTRED = [
    "AdaptiveInstanceNorm",
    "BatchNorm",
    "BatchRenorm",
    "DecorrelatedBatchNorm",
    "GhostBatchNorm",
    "GroupNorm",
    "InstanceNorm",
    "LayerNorm",
    "LocalContrastNorm",
    "MaskedBatchNorm",
    "SyncBatchNorm",
]


@pytest.mark.parametrize("name", CENTRED)
def test_large_mean_keeps_its_digits(name: str) -> None:
    specimen = next(s for s in SPECIMENS if s.name == name)
    exact = specimen.module().train()
    inputs = [x + 1e4 if x.is_floating_point() else x for x in specimen.inputs(torch.float32)]
    wide = [x.double() if x.is_floating_point() else x for x in inputs]
    y, expected = copy.deepcopy(exact).float()(*inputs), exact(*wide)
    # x itself is rounded to 1e4 * 2^-24 = 6e-4 before either; the rest is ours.
    limit = 2e-3 if name == "AdaptiveInstanceNorm" else 1e-4  # its output has mean 1e4 again
    torch.testing.assert_close(y.double(), expected, rtol=0.0, atol=limit)


@pytest.mark.parametrize("name", CENTRED)
def test_constant_values_without_eps_give_no_nan(name: str) -> None:
    specimen = next(s for s in SPECIMENS if s.name == name)
    module = specimen.module().train()
    module.eps = 0.0
    for child in module.children():
        child.eps = 0.0
    inputs = [
        torch.full_like(x, 3.0) if x.is_floating_point() else x
        for x in specimen.inputs(torch.float64)
    ]
    inputs[0].requires_grad_()
    y = module(*inputs)
    y.backward(draw(tuple(y.shape), 3))
    assert inputs[0].grad is not None
    assert bool(y.isfinite().all())
    torch.testing.assert_close(inputs[0].grad, torch.zeros_like(inputs[0]))


@pytest.mark.parametrize("specimen", POOLING, ids=str)
def test_integers_are_refused(specimen: Specimen) -> None:
    module = specimen.make()
    x, *rest = specimen.inputs(torch.float64)
    with pytest.raises(TypeError, match=r"expected a floating-point tensor, got torch.int64"):
        module(x.long(), *rest)


@EVERY
def test_repr_names_the_class_and_its_options(specimen: Specimen) -> None:
    text = repr(specimen.make())
    assert specimen.name.split(".")[0] in text
    if hasattr(specimen.make(), "eps"):
        assert f"eps={specimen.make().eps}" in text


def test_import_needs_no_plotting() -> None:
    code = "import sys, normcourse.modules, normcourse.surgery; print('matplotlib' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"

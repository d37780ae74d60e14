"""Our modules and the NumPy references are the same function with the same gradients."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from normcourse import modules as ours
from normcourse import norms
from normcourse.norms import METHODS
from normcourse.surgery import merge_moments

SHAPES = {
    "(N, C, *)": [(5, 4), (3, 4, 5), (2, 4, 3, 5)],
    "(N, C, L, *)": [(3, 4, 5), (2, 4, 3, 5)],
    "(*, D)": [(5, 4), (2, 3, 4)],
    "(O, *)": [(4, 3), (4, 3, 2)],
    "(N, C, H, W)": [(2, 3, 5, 4)],
    "(*, T, D)": [(3, 4), (2, 3, 4)],
}
SHAPES_OF = {
    "local_response_norm": SHAPES["(N, C, L, *)"],
    "ghost_batch_norm": [(6, 4), (3, 4, 5), (5, 4, 3, 2)],  # two examples or positions per ghost
}
EPS = {"eps": 0.3}
Named = dict[str, Any]
AFFINE = {"weight": "gamma", "bias": "beta"}


def module_call(
    make: Callable[[Named], nn.Module], inputs: tuple[str, ...], state: dict[str, str] | None = None
) -> Callable[[Named], Tensor]:
    """Return a call of a module in double precision, its state taken from named arguments."""

    def call(a: Named) -> Tensor:
        named = {name: a[source] for name, source in (state or {}).items()}
        return functional_call(make(a).double(), named, tuple(a[name] for name in inputs))

    return call


class _Scores(nn.Module):
    """QKNorm.scores as a forward method."""

    def __init__(self, head_dim: int) -> None:
        super().__init__()
        self.norm = ours.QKNorm(head_dim, **EPS)

    def forward(self, q: Tensor, k: Tensor) -> Tensor:
        return self.norm.scores(q, k)


def _batch_renorm(a: Named) -> Tensor:
    layer = ours.BatchRenorm(a["x"].shape[1], r_max=a["r_max"], d_max=a["d_max"], **EPS).double()
    buffers = {name: a[name].detach().clone() for name in ("running_mean", "running_var")}
    return functional_call(layer, {"weight": a["gamma"], "bias": a["beta"], **buffers}, (a["x"],))


def _spectral_norm(a: Named) -> Tensor:
    layer = ours.SpectralNorm(a["weight"]).eval()
    buffers = {"_u": a["u"].detach(), "_v": a["v"].detach()}
    return functional_call(layer, buffers, (a["weight"],))


def _weight_norm(a: Named) -> Tensor:
    return ours.WeightNorm()(a["g"].view(-1, *(1,) * (a["v"].ndim - 1)), a["v"])


def _divisive(a: Named) -> Tensor:
    size = a["drive"].shape[-1]
    layer = ours.DivisiveNorm(size, a["exponent"], gain=a["gain"]).double()
    state = {"pool_root": a["pool"].sqrt(), "log_sigma": a["sigma"].log()}
    return functional_call(layer, state, (a["drive"],))


def _dynamic_tanh(a: Named) -> Tensor:
    layer = ours.DynamicTanh(a["x"].shape[-1]).double()
    state = {"alpha": a["alpha"].view(1), "weight": a["gamma"], "bias": a["beta"]}
    return functional_call(layer, state, (a["x"],))


CALLS: dict[str, Callable[[Named], Tensor]] = {
    "batch_norm": module_call(lambda a: ours.BatchNorm(a["x"].shape[1], **EPS), ("x",), AFFINE),
    "masked_batch_norm": module_call(
        lambda a: ours.MaskedBatchNorm(a["x"].shape[-1], **EPS), ("x", "mask"), AFFINE
    ),
    "ghost_batch_norm": module_call(
        lambda a: ours.GhostBatchNorm(a["x"].shape[1], a["ghost_size"], **EPS), ("x",), AFFINE
    ),
    "batch_renorm": _batch_renorm,
    "layer_norm": module_call(lambda a: ours.LayerNorm(a["x"].shape[-1], **EPS), ("x",), AFFINE),
    "rms_norm": module_call(
        lambda a: ours.RMSNorm(a["x"].shape[-1], **EPS), ("x",), {"weight": "gamma"}
    ),
    "scale_norm": module_call(
        lambda a: ours.ScaleNorm(a["x"].shape[-1], **EPS), ("x",), {"weight": "gamma"}
    ),
    "instance_norm": module_call(
        lambda a: ours.InstanceNorm(a["x"].shape[1], affine=True, **EPS), ("x",), AFFINE
    ),
    "adaptive_instance_norm": module_call(
        lambda a: ours.AdaptiveInstanceNorm(**EPS), ("content", "style")
    ),
    "conditional_instance_norm": module_call(
        lambda a: ours.ConditionalInstanceNorm(a["x"].shape[1], len(a["gamma"]), **EPS),
        ("x", "labels"),
        AFFINE,
    ),
    "group_norm": module_call(
        lambda a: ours.GroupNorm(a["num_groups"], a["x"].shape[1], **EPS), ("x",), AFFINE
    ),
    "weight_norm": _weight_norm,
    "standardize_weight": module_call(lambda a: ours.WeightStandardization(**EPS), ("weight",)),
    "spectral_norm": _spectral_norm,
    "local_response_norm": module_call(
        lambda a: ours.LocalResponseNorm(a["size"], a["alpha"], a["beta"], a["k"]), ("x",)
    ),
    "local_contrast_norm": module_call(lambda a: ours.LocalContrastNorm(a["size"], **EPS), ("x",)),
    "divisive_normalize": _divisive,
    "decorrelated_batch_norm": module_call(
        lambda a: ours.DecorrelatedBatchNorm(a["x"].shape[1], **EPS), ("x",), AFFINE
    ),
    "dynamic_tanh": _dynamic_tanh,
    "qk_norm_scores": module_call(
        lambda a: _Scores(a["q"].shape[-1]),
        ("q", "k"),
        {"norm.q_norm.weight": "gamma_q", "norm.k_norm.weight": "gamma_k"},
    ),
}
WITHOUT_EPS = {
    "weight_norm",
    "spectral_norm",
    "local_response_norm",
    "divisive_normalize",
    "dynamic_tanh",
}
CASES = [
    pytest.param(name, shape, id=f"{name}-{'x'.join(map(str, shape))}")
    for name, method in METHODS.items()
    for shape in SHAPES_OF.get(name, SHAPES[method.layout])
]


def as_tensor(value: Any, *, learned: bool) -> Any:
    """Return an argument of the NumPy function as the module takes it."""
    if isinstance(value, np.ndarray | np.generic | float) and not isinstance(value, bool):
        tensor = torch.from_numpy(np.array(value))
        floating = tensor.is_floating_point()
        return tensor.requires_grad_(learned) if floating else tensor
    return value


def test_every_method_has_a_module_and_a_call() -> None:
    assert set(CALLS) == set(METHODS)
    for method in METHODS.values():
        path, name = method.module.split(":")
        assert issubclass(getattr(importlib.import_module(path), name), nn.Module)
        assert name in ours.__all__


@pytest.mark.parametrize(("name", "shape"), CASES)
def test_outputs_and_gradients_are_those_of_the_reference(
    name: str, shape: tuple[int, ...]
) -> None:
    method, rng = METHODS[name], np.random.default_rng(7)
    arguments = method.example(rng, shape)
    arguments |= {} if name in WITHOUT_EPS else EPS
    expected = method.forward(**arguments)
    upstream = rng.standard_normal(expected.shape)
    tensors = {n: as_tensor(v, learned=n in method.gradients) for n, v in arguments.items()}
    for option in ("alpha", "beta", "k", "exponent", "gain", "r_max", "d_max"):
        if option in arguments and option not in method.gradients:
            tensors[option] = arguments[option]
    y = CALLS[name](tensors)
    y.backward(torch.from_numpy(upstream))
    np.testing.assert_allclose(y.detach().numpy(), expected, rtol=0.0, atol=1e-10)
    shift = {"beta"} & set(method.gradients)  # backwards take no beta, but for LRN's exponent
    first = next(iter(inspect.signature(method.backward).parameters))
    gradients = method.backward(
        **{first: upstream}, **{n: v for n, v in arguments.items() if n not in shift}
    )
    gradients = gradients if isinstance(gradients, tuple) else (gradients,)
    assert len(gradients) == len(method.gradients)
    for argument, gradient in zip(method.gradients, gradients, strict=True):
        actual = tensors[argument].grad
        assert actual is not None
        scale = max(1.0, float(np.abs(gradient).max()))
        np.testing.assert_allclose(actual.numpy(), gradient, rtol=0.0, atol=1e-10 * scale)


RUNNING = [
    ("batch_norm", ours.BatchNorm, "running_var", lambda a: (torch.from_numpy(a["x"]),)),
    ("batch_renorm", ours.BatchRenorm, "running_var", lambda a: (torch.from_numpy(a["x"]),)),
    (
        "masked_batch_norm",
        ours.MaskedBatchNorm,
        "running_var",
        lambda a: (torch.from_numpy(a["x"]), torch.from_numpy(a["mask"])),
    ),
    (
        "decorrelated_batch_norm",
        ours.DecorrelatedBatchNorm,
        "running_cov",
        lambda a: (torch.from_numpy(a["x"]),),
    ),
]


@pytest.mark.parametrize(
    ("name", "kind", "spread", "inputs"), RUNNING, ids=[row[0] for row in RUNNING]
)
def test_inference_uses_the_running_statistics_as_the_reference(name, kind, spread, inputs) -> None:
    method, rng = METHODS[name], np.random.default_rng(3)
    arguments = method.example(rng, SHAPES[method.layout][1])
    for option in ("r_max", "d_max", "running_mean", "running_var"):
        arguments.pop(option, None)
    layer = kind(4, **EPS).double()
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(arguments["gamma"]))
        layer.bias.copy_(torch.from_numpy(arguments["beta"]))
    for _ in range(3):
        layer(*inputs(method.example(rng, (9, 4) if "mask" not in arguments else (3, 5, 4))))
    running = {"running_mean": layer.running_mean.numpy(), spread: getattr(layer, spread).numpy()}
    expected = method.forward(**arguments, **running, training=False, **EPS)
    np.testing.assert_allclose(
        layer.eval()(*inputs(arguments)).detach().numpy(), expected, rtol=0.0, atol=1e-10
    )


@pytest.mark.parametrize("momentum", [0.1, 0.7, None], ids=str)
def test_running_statistics_move_as_the_reference(momentum: float | None) -> None:
    rng = np.random.default_rng(5)
    layer = ours.BatchNorm(4, momentum=momentum).double()
    mean, var = np.zeros(4), np.ones(4)
    for step in range(4):
        x = METHODS["batch_norm"].example(rng, (3, 4, 5))["x"]
        layer(torch.from_numpy(x))
        mean, var = norms.update_running_stats(
            mean, var, x, momentum=momentum, num_batches_tracked=step
        )
    np.testing.assert_allclose(layer.running_mean.numpy(), mean, atol=1e-12)
    np.testing.assert_allclose(layer.running_var.numpy(), var, atol=1e-12)


@pytest.mark.parametrize("momentum", [0.3, None], ids=str)
def test_ghosts_move_the_running_statistics_one_after_the_other(momentum: float | None) -> None:
    rng = np.random.default_rng(5)
    layer = ours.GhostBatchNorm(4, 3, momentum=momentum).double()
    mean, var = np.zeros(4), np.ones(4)
    x = METHODS["batch_norm"].example(rng, (8, 4))["x"]
    layer(torch.from_numpy(x))
    for step, ghost in enumerate((x[:3], x[3:6], x[6:])):
        mean, var = norms.update_running_stats(
            mean, var, ghost, momentum=momentum, num_batches_tracked=step
        )
    np.testing.assert_allclose(layer.running_mean.numpy(), mean, atol=1e-12)
    np.testing.assert_allclose(layer.running_var.numpy(), var, atol=1e-12)
    assert int(layer.num_batches_tracked) == 3


@pytest.mark.parametrize("momentum", [0.3, None], ids=str)
def test_masked_running_statistics_are_those_of_the_real_tokens(momentum: float | None) -> None:
    rng = np.random.default_rng(5)
    masked = ours.MaskedBatchNorm(4, momentum=momentum).double()
    plain = ours.BatchNorm(4, momentum=momentum).double()
    nothing = torch.zeros(2, 5, dtype=torch.bool)
    for _ in range(3):
        x = torch.from_numpy(rng.standard_normal((2, 5, 4)) + 1.0)
        mask = torch.from_numpy(rng.uniform(size=(2, 5)) < 0.7)
        y = masked(x.masked_fill(~mask[..., None], torch.nan), mask)
        torch.testing.assert_close(y[mask], plain(x[mask]))
        assert bool((y[~mask] == 0).all())
        torch.testing.assert_close(masked(x, nothing), torch.zeros_like(x))  # changes no state
        one = nothing.clone()
        one[1, 2] = True
        torch.testing.assert_close(masked(x, one), torch.zeros_like(x))
    for name, tensor in plain.state_dict().items():
        torch.testing.assert_close(masked.state_dict()[name], tensor)


def test_decorrelated_running_covariance_is_that_of_numpy() -> None:
    rng = np.random.default_rng(5)
    layer = ours.DecorrelatedBatchNorm(3, momentum=None).double()
    batches = [rng.standard_normal((7, 3)) @ rng.standard_normal((3, 3)) + 2 for _ in range(3)]
    for x in batches:
        layer(torch.from_numpy(x))
    expected = np.mean([np.cov(x, rowvar=False) for x in batches], axis=0)
    np.testing.assert_allclose(layer.running_cov.numpy(), expected, atol=1e-12)
    np.testing.assert_allclose(
        layer.running_mean.numpy(), np.mean([x.mean(0) for x in batches], axis=0), atol=1e-12
    )
    layer.reset_running_stats()
    torch.testing.assert_close(layer.running_cov, torch.eye(3).double())


@pytest.mark.parametrize("zero_mean", [False, True])
def test_moments_merge_as_the_reference(zero_mean: bool) -> None:
    rng = np.random.default_rng(2)
    counts = np.array([3, 0, 5])
    means = np.zeros((3, 4)) if zero_mean else rng.standard_normal((3, 4))
    variances = rng.uniform(0.1, 2.0, (3, 4))
    expected = norms.merge_moments(counts, means, variances)
    actual = merge_moments(*map(torch.from_numpy, (counts, means, variances)))
    for mine, theirs in zip(actual, expected, strict=True):
        np.testing.assert_allclose(mine.numpy(), theirs, atol=1e-12)


def test_batch_renorm_without_clipping_is_inference() -> None:
    layer = ours.BatchRenorm(4, r_max=1e6, d_max=1e6).double()
    rng = np.random.default_rng(1)
    layer(torch.from_numpy(rng.standard_normal((9, 4)) + 1))
    x = torch.from_numpy(rng.standard_normal((5, 4)))
    expected = layer.eval()(x)
    torch.testing.assert_close(layer.train()(x), expected)

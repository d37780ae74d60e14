"""Every method against torch in float64: values, gradients, options, state."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from normcourse import norms
from normcourse.norms import METHODS, Method

from .cases import (
    FLOATS,
    TOLERANCE,
    arguments,
    assert_close,
    backward,
    every_case,
    upstream,
)
from .oracles import ORACLES, inverse_root, run_oracle


def test_every_method_has_an_oracle() -> None:
    assert set(ORACLES) == set(METHODS)


@pytest.mark.parametrize("dtype", FLOATS)
@every_case()
def test_values_and_gradients(method: Method, shape: tuple[int, ...], dtype: str) -> None:
    drawn = arguments(method, shape, dtype)
    y = method.forward(**drawn)
    dy = upstream(y)
    expected, expected_gradients = run_oracle(method, drawn, dy)
    assert y.dtype == dtype
    assert_close(y, expected, TOLERANCE[dtype], "y")
    for name, gradient in backward(method, dy, drawn).items():
        assert gradient.dtype == dtype, name
        assert_close(gradient, expected_gradients[name], TOLERANCE[dtype], f"d{name}")


@pytest.mark.parametrize("shape", [(6, 3), (4, 3, 5), (2, 3, 4, 5), (2, 3, 2, 3, 4)], ids=str)
@pytest.mark.parametrize("affine", [True, False], ids=["affine", "plain"])
@pytest.mark.parametrize("training", [True, False], ids=["training", "inference"])
def test_batch_norm_in_both_modes(shape: tuple[int, ...], affine: bool, training: bool) -> None:
    rng = np.random.default_rng(2)
    x = 2 + 3 * rng.standard_normal(shape)
    gamma, beta = (rng.uniform(0.5, 2, 3), rng.standard_normal(3)) if affine else (None, None)
    state = {"running_mean": rng.standard_normal(3), "running_var": rng.uniform(0.1, 4, 3)}
    dy = rng.standard_normal(shape)

    tensors = [None if a is None else torch.tensor(a, requires_grad=True) for a in (x, gamma, beta)]
    running = [torch.tensor(value) for value in state.values()]
    y = F.batch_norm(tensors[0], *running, *tensors[1:], training=training, eps=0.3)
    wanted = [t for t in tensors if t is not None]
    expected = torch.autograd.grad(y, wanted, torch.tensor(dy))

    ours = norms.batch_norm(x, gamma, beta, **state, training=training, eps=0.3)
    assert_close(ours, y.detach().numpy(), 1e-12)
    gradients = norms.batch_norm_backward(dy, x, gamma, **state, training=training, eps=0.3)
    for mine, torchs in zip(gradients, expected, strict=False):
        assert_close(mine, torchs.numpy(), 1e-12)


@pytest.mark.parametrize("name", ["masked_batch_norm", "batch_renorm", "decorrelated_batch_norm"])
def test_inference_of_the_relatives(name: str) -> None:
    """In inference each is a fixed affine map, so its gradient is that map's transpose."""
    rng = np.random.default_rng(3)
    x, dy = rng.standard_normal((2, 5, 3)), rng.standard_normal((2, 5, 3))
    gamma, beta = np.array([1.5, -0.5, 2.0]), np.array([0.3, 0.1, -1.0])
    mean, var = np.array([0.1, -0.4, 2.0]), np.array([0.5, 2.0, 1.0])
    plain = {"running_mean": mean, "running_var": var, "training": False}
    if name == "masked_batch_norm":
        mask = rng.random((2, 5)) < 0.6
        flat = norms.batch_norm(x[mask], gamma, beta, **plain)
        y = norms.masked_batch_norm(x, mask, gamma, beta, **plain)
        assert_close(y[mask], flat, 0)
        assert not y[~mask].any()
        dx, dgamma, _ = norms.masked_batch_norm_backward(dy, x, mask, gamma, **plain)
        wanted = norms.batch_norm_backward(dy[mask], x[mask], gamma, **plain)
        assert_close(dx[mask], wanted[0], 0)
        assert_close(dgamma, wanted[1], 0)
        return
    x, dy = np.swapaxes(x, 1, 2), np.swapaxes(dy, 1, 2)  # (N, C, L)
    expected = norms.batch_norm(x, gamma, beta, **plain)
    wanted = norms.batch_norm_backward(dy, x, gamma, **plain)
    if name == "batch_renorm":
        y = norms.batch_renorm(x, mean, var, gamma, beta, training=False)
        found = norms.batch_renorm_backward(dy, x, mean, var, gamma, training=False)
    else:
        state = {"running_mean": mean, "running_cov": np.diag(var), "training": False}
        y = norms.decorrelated_batch_norm(x, gamma, beta, **state)
        found = norms.decorrelated_batch_norm_backward(dy, x, gamma, **state)
    assert_close(y, expected, 1e-13)
    for mine, plain_one in zip(found, wanted, strict=True):
        assert_close(mine, plain_one, 1e-13)


@pytest.mark.parametrize("momentum", [0.1, 0.0, 0.3, 1.0, None], ids=lambda m: f"momentum={m}")
@pytest.mark.parametrize(
    "shape", [(2, 3), (5, 3), (4, 3, 6), (2, 3, 4, 5), (1, 3, 2, 3, 4)], ids=str
)
def test_running_statistics_over_steps(shape: tuple[int, ...], momentum: float | None) -> None:
    layers = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}
    layer = layers[len(shape)](3, eps=0.01, momentum=momentum, dtype=torch.float64)
    mean, var = np.zeros(3), np.ones(3)
    rng = np.random.default_rng(4)
    for step in range(4):
        x = rng.standard_normal(shape) * (step + 1) + 3
        expected = layer(torch.tensor(x)).detach().numpy()
        assert_close(norms.batch_norm(x, eps=0.01), expected, 1e-12, f"step {step}")
        mean, var = norms.update_running_stats(
            mean, var, x, momentum=momentum, num_batches_tracked=step
        )
        assert_close(mean, layer.running_mean.numpy(), 1e-12, f"mean at step {step}")
        assert_close(var, layer.running_var.numpy(), 1e-12, f"var at step {step}")
    layer.eval()
    x = rng.standard_normal((7, *shape[1:]))
    y = norms.batch_norm(x, running_mean=mean, running_var=var, training=False, eps=0.01)
    assert_close(y, layer(torch.tensor(x)).detach().numpy(), 1e-12)


def test_inference_without_running_statistics_uses_the_batch() -> None:
    layer = nn.BatchNorm1d(3, track_running_stats=False, dtype=torch.float64).eval()
    x = np.random.default_rng(5).standard_normal((6, 3))
    y = norms.batch_norm(x, training=False)
    assert_close(y, layer(torch.tensor(x)).detach().numpy(), 1e-12)
    dx = norms.batch_norm_backward(x, x, training=False)[0]
    assert_close(dx, norms.batch_norm_backward(x, x)[0], 0)


@pytest.mark.parametrize("normalized_shape", [(5,), (4, 5), (3, 4, 5), 5], ids=str)
@pytest.mark.parametrize("affine", [True, False], ids=["affine", "plain"])
def test_layer_and_rms_norm_over_trailing_shapes(
    normalized_shape: int | tuple[int, ...], affine: bool
) -> None:
    rng = np.random.default_rng(6)
    x = 1 + 2 * rng.standard_normal((2, 3, 4, 5))
    dy = rng.standard_normal(x.shape)
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else normalized_shape
    gamma, beta = (
        (rng.uniform(0.5, 2, shape), rng.standard_normal(shape)) if affine else (None,) * 2
    )
    options = {"normalized_shape": normalized_shape, "eps": 0.2}

    tensors = [None if a is None else torch.tensor(a, requires_grad=True) for a in (x, gamma, beta)]
    for forward, gradient, reference, inputs in (
        (norms.layer_norm, norms.layer_norm_backward, F.layer_norm, (x, gamma, beta)),
        (norms.rms_norm, norms.rms_norm_backward, F.rms_norm, (x, gamma)),
    ):
        given = tensors[: len(inputs)]
        y = reference(given[0], shape, *given[1:], eps=0.2)
        wanted = [t for t in given if t is not None]
        expected = torch.autograd.grad(y, wanted, torch.tensor(dy))
        assert_close(forward(*inputs, **options), y.detach().numpy(), 1e-12)
        for mine, torchs in zip(gradient(dy, x, gamma, **options), expected, strict=False):
            assert_close(mine, torchs.numpy(), 1e-12)


@pytest.mark.parametrize("groups", [1, 2, 3, 6])
def test_group_norm_for_every_divisor(groups: int) -> None:
    rng = np.random.default_rng(7)
    x, dy = 1 + rng.standard_normal((3, 6, 5)), rng.standard_normal((3, 6, 5))
    tensor = torch.tensor(x, requires_grad=True)
    y = F.group_norm(tensor, groups, eps=1e-3)
    (dx,) = torch.autograd.grad(y, tensor, torch.tensor(dy))
    assert_close(norms.group_norm(x, groups, eps=1e-3), y.detach().numpy(), 1e-12)
    assert_close(norms.group_norm_backward(dy, x, groups, eps=1e-3)[0], dx.numpy(), 1e-12)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 9])
def test_local_response_norm_window(size: int) -> None:
    rng = np.random.default_rng(8)
    x, dy = rng.standard_normal((2, 5, 3, 2)), rng.standard_normal((2, 5, 3, 2))
    tensor = torch.tensor(x, requires_grad=True)
    y = F.local_response_norm(tensor, size, alpha=0.7, beta=0.6, k=1.5)
    (dx,) = torch.autograd.grad(y, tensor, torch.tensor(dy))
    options = {"alpha": 0.7, "beta": 0.6, "k": 1.5}
    assert_close(norms.local_response_norm(x, size, **options), y.detach().numpy(), 1e-12)
    assert_close(norms.local_response_norm_backward(dy, x, size, **options), dx.numpy(), 1e-12)


@pytest.mark.parametrize("output_axis", [0, 1, -1, None])
def test_weight_norm_along_other_axes(output_axis: int | None) -> None:
    rng = np.random.default_rng(9)
    v, dw = rng.standard_normal((2, 3, 4)), rng.standard_normal((2, 3, 4))
    sizes = () if output_axis is None else (v.shape[output_axis],)
    g = rng.uniform(0.5, 2, sizes)
    keep = [1, 1, 1]
    if output_axis is not None:
        keep[output_axis] = -1
    tensors = [torch.tensor(a, requires_grad=True) for a in (v, g)]
    dims = [a for a in range(3) if output_axis is None or a != output_axis % 3]
    length = torch.linalg.vector_norm(tensors[0], dim=dims, keepdim=True)
    weight = tensors[1].reshape(keep) * tensors[0] / length
    dv, dg = torch.autograd.grad(weight, tensors, torch.tensor(dw))
    assert_close(norms.weight_norm(v, g, output_axis=output_axis), weight.detach(), 1e-12)
    found = norms.weight_norm_backward(dw, v, g, output_axis=output_axis)
    assert_close(found[0], dv.numpy(), 1e-12)
    assert_close(found[1], dg.numpy(), 1e-12)


def test_spectral_norm_is_torchs_over_training_steps() -> None:
    torch.manual_seed(0)
    conv = nn.utils.parametrizations.spectral_norm(nn.Conv2d(3, 4, 2, dtype=torch.float64))
    state = conv.parametrizations.weight[0]
    weight = conv.parametrizations.weight.original.detach().numpy()
    v = state._v.numpy().copy()
    for _ in range(3):
        expected = conv.weight.detach().numpy()  # reading it in training does one step
        u, v = norms.power_iteration(weight, v)
        assert_close(u, state._u.numpy(), 1e-12)
        assert_close(norms.spectral_norm(weight, u, v), expected, 1e-12)
    u, v = norms.power_iteration(weight, v, num_iterations=500)
    assert_close(norms.spectral_norm(weight, u, v), norms.spectral_norm(weight), 1e-9)
    largest = np.linalg.svd(norms.spectral_norm(weight).reshape(4, -1), compute_uv=False)[0]
    assert abs(largest - 1) < 1e-12


def test_exact_spectral_norm_has_the_gradient_of_the_singular_value() -> None:
    rng = np.random.default_rng(10)
    weight, dw = rng.standard_normal((4, 2, 3)), rng.standard_normal((4, 2, 3))
    tensor = torch.tensor(weight, requires_grad=True)
    y = tensor / torch.linalg.matrix_norm(tensor.flatten(1), ord=2)
    (expected,) = torch.autograd.grad(y, tensor, torch.tensor(dw))
    assert_close(norms.spectral_norm(weight), y.detach().numpy(), 1e-12)
    assert_close(norms.spectral_norm_backward(dw, weight), expected.numpy(), 1e-12)


def test_decorrelated_gradient_where_eigenvalues_meet() -> None:
    x = np.vstack([np.eye(3), -np.eye(3)])  # covariance I / 3
    dy = np.random.default_rng(11).standard_normal(x.shape)
    tensor = torch.tensor(x, requires_grad=True)
    centered = tensor - tensor.mean(0)
    y = centered @ inverse_root(centered.T @ centered / len(x), 0.1)
    (expected,) = torch.autograd.grad(y, tensor, torch.tensor(dy))
    assert_close(norms.decorrelated_batch_norm(x, eps=0.1), y.detach().numpy(), 1e-12)
    dx = norms.decorrelated_batch_norm_backward(dy, x, eps=0.1)[0]
    assert_close(dx, expected.numpy(), 1e-11)


def test_recurrent_step() -> None:
    rng = np.random.default_rng(12)
    x, h = rng.standard_normal((3, 2)), rng.standard_normal((3, 4))
    w, u = rng.standard_normal((4, 4)), rng.standard_normal((4, 2))
    gamma, beta = rng.uniform(0.5, 2, 4), rng.standard_normal(4)
    summed = F.linear(torch.tensor(h), torch.tensor(w)) + F.linear(torch.tensor(x), torch.tensor(u))
    expected = F.layer_norm(summed, (4,), torch.tensor(gamma), torch.tensor(beta), eps=0.1).tanh()
    assert_close(norms.layer_norm_rnn_step(x, h, w, u, gamma, beta, eps=0.1), expected, 1e-12)

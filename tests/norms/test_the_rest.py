"""Moments, folding, placement, the one divisive formula: values, and torch where it has them."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import nn

from normcourse import norms
from normcourse.norms import precision

from .cases import Array, assert_close


def test_merge_moments_is_associative() -> None:
    rng = np.random.default_rng(60)
    sets = [rng.standard_normal((n, 2, 3)) * n + n for n in (1, 4, 7)]
    counts = [len(values) for values in sets]
    means = np.stack([values.mean(0) for values in sets])
    variances = np.stack([values.var(0) for values in sets])
    first = norms.merge_moments(counts[:2], means[:2], variances[:2])
    stacked = [np.stack([first[i], rest[2]]) for i, rest in enumerate((means, variances))]
    both = norms.merge_moments([sum(counts[:2]), counts[2]], *stacked)
    at_once = norms.merge_moments(counts, means, variances)
    for mine, other in zip(both, at_once, strict=True):
        assert_close(mine, other, 1e-13)


def test_merge_moments_of_nothing() -> None:
    for counts in ([], [0, 0]):
        mean, var = norms.merge_moments(
            counts, np.ones((len(counts), 3)), np.ones((len(counts), 3))
        )
        assert mean.tolist() == [0, 0, 0]
        assert var.tolist() == [0, 0, 0]


def test_merge_moments_weighs_by_share_alone() -> None:
    mean, var = norms.merge_moments([1], [[3.0]], [[0.5]])
    assert (mean.tolist(), var.tolist()) == ([3.0], [0.5])
    for unit in (1.0, 0.125):  # shares of 1 : 3, as counts or as weights
        mean, var = norms.merge_moments([unit, 3 * unit], [[2.0], [6.0]], [[0.0], [8 / 3]])
        assert_close(mean, [5.0], 1e-15)
        assert_close(var, [5.0], 1e-15)


def test_power_iteration_of_nothing() -> None:
    for vector in norms.power_iteration(np.zeros((2, 3)), np.ones(3), eps=0.0):
        assert not vector.any()
    assert not norms.spectral_norm(np.zeros((2, 3))).any()
    assert norms.spectral_norm(np.zeros((0, 3))).shape == (0, 3)


def test_merge_moments_keeps_digits_at_large_means() -> None:
    x = 1e9 + np.array([[2.0], [4.0], [6.0], [8.0]])
    _, var = norms.merge_moments([2, 2], [x[:2].mean(0), x[2:].mean(0)], [[1.0], [1.0]])
    assert_close(var, [5.0], 1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_stable_variance_of_a_long_stream(dtype: str) -> None:
    """Too long to keep, at mean 1e6 in float32 or 1e9 in float64, with empty chunks."""
    offset = 1e6 if dtype == "float32" else 1e9
    rng = np.random.default_rng(61)
    seen: list[Array] = []

    def stream() -> Iterator[Array]:
        for size in (0, 5, 1000, 0, 1, 333):
            chunk = (offset + rng.standard_normal(size)).astype(dtype)
            seen.append(chunk)
            yield chunk

    found = norms.stable_variance(stream())
    exact = np.concatenate(seen).astype(np.float64) - offset
    assert_close(found, exact.var(), 1e-12)
    assert isinstance(found, float)
    assert norms.stable_variance([[7.0]]) == 0.0


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "plain"])
@pytest.mark.parametrize("kind", ["linear", "conv"])
def test_fold_batch_norm(kind: str, bias: bool) -> None:
    torch.manual_seed(0)
    rng = np.random.default_rng(62)
    if kind == "linear":
        layer, norm = nn.Linear(3, 4, bias=bias), nn.BatchNorm1d(4, eps=0.3)
        x = torch.tensor(rng.standard_normal((5, 3)))
    else:
        layer, norm = nn.Conv2d(3, 4, 2, bias=bias), nn.BatchNorm2d(4, eps=0.3)
        x = torch.tensor(rng.standard_normal((2, 3, 5, 4)))
    layer, norm = layer.double(), norm.double().eval()
    for tensor in (norm.weight.data, norm.bias.data, norm.running_mean):
        tensor.copy_(torch.tensor(rng.standard_normal(4)))
    norm.running_var.copy_(torch.tensor(rng.uniform(0.1, 3, 4)))
    expected = norm(layer(x))
    statistics = [norm.weight, norm.bias, norm.running_mean, norm.running_var]
    weight, shift = norms.fold_batch_norm(
        layer.weight.detach().numpy(),
        layer.bias.detach().numpy() if bias else None,
        *(tensor.detach().numpy() for tensor in statistics),
        eps=0.3,
    )
    folded = copy.deepcopy(layer)
    folded.weight.data, folded.bias = torch.tensor(weight), nn.Parameter(torch.tensor(shift))
    assert_close(folded(x).detach().numpy(), expected.detach().numpy(), 1e-12)


def test_affine_to_undo_gives_back_x() -> None:
    x = np.random.default_rng(63).standard_normal((6, 3)) * [1, 2, 3] + [4, 5, 6]
    gamma, beta = norms.affine_to_undo(x.mean(0), x.var(0), eps=0.3)
    assert_close(norms.batch_norm(x, gamma, beta, eps=0.3), x, 1e-13)


D = 6
EVERYWHERE = np.full((D, D), 1 / D)


def test_the_formula_holds_layer_and_rms_norm() -> None:
    x = np.random.default_rng(64).standard_normal((3, D)) + 1
    layer = norms.divisive_norm_general(x, EVERYWHERE, EVERYWHERE, constant=0.2)
    assert_close(layer, norms.layer_norm(x, eps=0.2), 1e-13)
    assert_close(
        norms.divisive_norm_general(x, EVERYWHERE, constant=0.2), norms.rms_norm(x, eps=0.2), 1e-13
    )


@pytest.mark.parametrize("size", [1, 2, 3, 4, 9])
def test_the_formula_holds_local_response_norm(size: int) -> None:
    rng = np.random.default_rng(65)
    x, dy = rng.standard_normal((3, D)), rng.standard_normal((3, D))
    window = norms.window_pool(D, size) * 0.7 / size
    options = {"constant": 1.5, "power": 0.6}
    response = {"alpha": 0.7, "beta": 0.6, "k": 1.5}
    y = norms.divisive_norm_general(x, window, **options)
    assert_close(y, norms.local_response_norm(x, size, **response), 1e-13)
    dx = norms.divisive_norm_general_backward(dy, x, window, **options)
    assert_close(dx, norms.local_response_norm_backward(dy, x, size, **response), 1e-13)


def test_the_formula_holds_local_contrast_norm() -> None:
    """An image of C·H·W values; the window is a matrix between all of them."""
    rng = np.random.default_rng(66)
    channels, height, width = 2, 3, 5
    x, dy = (rng.standard_normal((2, channels, height, width)) for _ in range(2))

    def rows(count: int) -> Array:
        place = np.arange(count)
        distance = place - place[:, None]
        weights = np.exp(-0.5 * (distance / 0.75) ** 2) * (abs(distance) <= 1)
        return weights / weights.sum(1, keepdims=True)

    over_channels = np.full((channels, channels), 1 / channels)
    window = np.kron(over_channels, np.kron(rows(height), rows(width)))
    flat, dy_flat = x.reshape(2, -1), dy.reshape(2, -1)
    y = norms.divisive_norm_general(flat, window, window, constant=0.3)
    assert_close(y.reshape(x.shape), norms.local_contrast_norm(x, 3, eps=0.3), 1e-12)
    dx = norms.divisive_norm_general_backward(dy_flat, flat, window, window, constant=0.3)
    ours = norms.local_contrast_norm_backward(dy, x, 3, eps=0.3)
    assert_close(dx.reshape(x.shape), ours, 1e-12)


def test_the_formula_holds_the_canonical_model() -> None:
    rng = np.random.default_rng(67)
    drive, pool = rng.uniform(0, 3, (3, D)), rng.uniform(0, 1, (D, D))
    y = norms.divisive_norm_general(
        drive, pool, constant=0.8**2.5, numerator=2.5, exponent=2.5, power=1.0, gain=1.7
    )
    ours = norms.divisive_normalize(drive, pool, 0.8, exponent=2.5, gain=1.7)
    assert_close(ours, y, 1e-13)


def test_divisive_normalization_saturates_and_never_overflows() -> None:
    lone = np.array([[0.5], [1e200], [0.0]])
    y = norms.divisive_normalize(lone, [[1.0]], sigma=0.5, exponent=3.0, gain=4.0)
    assert_close(y, [[2.0], [4.0], [0.0]], 1e-15)  # sigma is the drive of half the maximum
    gradients = norms.divisive_normalize_backward(np.ones((3, 1)), lone, [[1.0]], 0.5, exponent=3.0)
    assert all(np.isfinite(gradient).all() for gradient in gradients)


def test_placements() -> None:
    rng = np.random.default_rng(68)
    x, w = rng.standard_normal((2, 4)), rng.standard_normal((4, 4))

    def f(values: Array) -> Array:
        return np.tanh(values @ w)

    def norm(values: Array) -> Array:
        return norms.layer_norm(values, np.full(4, 1.5), np.full(4, 0.2))

    def other(values: Array) -> Array:
        return norms.rms_norm(values)

    assert_close(norms.post_norm(x, f, norm), norm(x + f(x)), 0)
    assert_close(norms.pre_norm(x, f, norm), x + f(norm(x)), 0)
    assert_close(norms.res_post_norm(x, f, norm), x + norm(f(x)), 0)
    assert_close(norms.sandwich_norm(x, f, norm, other), x + other(f(norm(x))), 0)
    assert_close(norms.deep_norm(x, f, norm, alpha=2.5), norm(2.5 * x + f(x)), 0)
    first = x + f(norm(x))
    stack = norms.pre_norm_stack(x, [(f, norm), (np.sin, other)], norm)
    assert_close(stack, norm(first + np.sin(other(first))), 0)
    assert_close(norms.pre_norm_stack(x, [], norm), norm(x), 0)
    assert set(norms.PLACEMENTS) == {
        *("post_norm", "pre_norm", "res_post_norm", "sandwich_norm", "deep_norm"),
    }
    kept = x.copy()
    norms.pre_norm_stack(x, [(f, norm)], norm)
    assert np.array_equal(x, kept)


def test_post_norm_is_the_transformer_of_torch() -> None:
    """One encoder layer of torch, both ways round, from the same sublayers."""
    torch.manual_seed(0)
    x = torch.randn(2, 3, 4, dtype=torch.float64)
    for norm_first, placement in ((False, norms.post_norm), (True, norms.pre_norm)):
        layer = nn.TransformerEncoderLayer(
            4, 2, 8, dropout=0.0, batch_first=True, norm_first=norm_first, dtype=torch.float64
        )
        layer.train()

        def attention(values: Array, layer: nn.TransformerEncoderLayer = layer) -> Array:
            tensor = torch.tensor(values)
            return layer.self_attn(tensor, tensor, tensor)[0].detach().numpy()

        def feed_forward(values: Array, layer: nn.TransformerEncoderLayer = layer) -> Array:
            hidden = torch.relu(layer.linear1(torch.tensor(values)))
            return layer.linear2(hidden).detach().numpy()

        y = placement(x.numpy(), attention, norms.layer_norm)
        y = placement(y, feed_forward, norms.layer_norm)
        assert_close(y, layer(x).detach().numpy(), 1e-12)


def test_dynamic_tanh_never_overflows() -> None:
    for dtype in ("float16", "float32", "float64"):
        largest = np.finfo(dtype).max
        x = np.array([-largest, largest, 0.0], dtype)
        y = norms.dynamic_tanh(x, 1e3)
        assert y.tolist() == [-1, 1, 0]
        for gradient in norms.dynamic_tanh_backward(np.ones_like(x), x, 1e3):
            assert np.isfinite(gradient).all()


def test_qk_norm_scores_stay_bounded() -> None:
    rng = np.random.default_rng(69)
    q, k = 1e6 * rng.standard_normal((2, 3, 8)), 1e6 * rng.standard_normal((2, 5, 8))
    weights = norms.qk_norm_scores(q, k)
    assert_close(weights.sum(-1), np.ones((2, 3)), 1e-14)
    bound = np.sqrt(8)
    assert weights.max() / weights.min() <= np.exp(2 * bound)
    assert_close(weights, norms.qk_norm_scores(q / 1e3, k * 7), 1e-10)
    one = norms.qk_norm_scores([[5.0]], [[2.0], [-3.0]], eps=0.0)  # D = 1: scores 1 and -1
    assert_close(one, [[1 / (1 + np.exp(-2)), 1 / (1 + np.exp(2))]], 1e-15)
    with pytest.raises(ValueError, match="D >= 1"):
        norms.qk_norm_scores(np.ones((2, 0)), np.ones((3, 0)))


def test_working_precision() -> None:
    assert precision.working_dtype(np.zeros(1, np.float16)) == np.float32
    assert precision.wide_dtype(np.full(1, 6e4, np.float16)) == np.float32
    assert precision.wide_dtype(np.zeros(0, np.float32)) == np.float32

"""What defines each method: invariances, identities between methods, output moments."""

from __future__ import annotations

import pytest
import torch
from module_twins import draw, randomized
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from normcourse import modules as m


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0.0, atol=1e-10)


def test_one_group_has_the_statistics_of_layer_norm() -> None:
    x = draw((2, 4, 3, 5), 0)
    close(m.GroupNorm(1, 4).double()(x), m.LayerNorm((4, 3, 5)).double()(x))


def test_as_many_groups_as_channels_is_instance_norm() -> None:
    x = draw((2, 4, 3, 5), 0)
    close(m.GroupNorm(4, 4).double()(x), m.InstanceNorm(4).double()(x))


def test_one_ghost_is_batch_norm_and_ghosts_are_separate() -> None:
    x = draw((6, 3, 4), 0)
    close(m.GhostBatchNorm(3, 6).double()(x), m.BatchNorm(3).double()(x))
    halves = torch.cat([m.BatchNorm(3).double()(half) for half in x.split(3)])
    close(m.GhostBatchNorm(3, 3).double()(x), halves)


def test_batch_renorm_without_corrections_is_batch_norm() -> None:
    x = draw((6, 3, 4), 0)
    close(m.BatchRenorm(3, r_max=1.0, d_max=0.0).double()(x), m.BatchNorm(3).double()(x))


def test_a_full_mask_is_batch_norm_over_tokens() -> None:
    x = draw((2, 5, 3), 0)
    expected = m.BatchNorm(3).double()(x.transpose(1, 2)).transpose(1, 2)
    close(m.MaskedBatchNorm(3).double()(x, torch.ones(2, 5, dtype=torch.bool)), expected)


def test_scale_norm_at_its_start_is_rms_norm() -> None:
    x = draw((5, 7), 0)
    scale_norm = m.ScaleNorm(7, eps=0.0).double()
    scale_norm.weight.data.fill_(7**0.5)  # beyond float32, in which layers start
    close(scale_norm(x), m.RMSNorm(7, eps=0.0).double()(x))


def test_adaptive_instance_norm_has_the_moments_of_the_style() -> None:
    content, style = draw((2, 3, 40), 0), draw((2, 3, 17), 1) * 2 + 1
    y = m.AdaptiveInstanceNorm(eps=0.0)(content, style)
    close(y.mean(2), style.mean(2))
    close(y.var(2, correction=0), style.var(2, correction=0))
    close(m.AdaptiveInstanceNorm(eps=0.0)(content, content), content)


def test_conditional_instance_norm_looks_up_and_mixes_styles() -> None:
    layer, x = randomized(m.ConditionalInstanceNorm(3, 2)), draw((2, 3, 6), 0)
    first, second = (layer(x, torch.tensor([s, s])) for s in (0, 1))
    close(layer(x, torch.tensor([0, 1])), torch.stack([first[0], second[1]]))
    mixture = torch.tensor([[0.25, 0.75], [0.25, 0.75]], dtype=torch.float64)
    close(layer(x, mixture), 0.25 * first + 0.75 * second)


def test_decorrelated_output_has_the_identity_as_covariance_also_when_variances_are_equal() -> None:
    x = draw((9, 3, 2), 0)
    layer = m.DecorrelatedBatchNorm(3, eps=0.0).double()
    y = layer(x).detach().movedim(1, 0).flatten(1)
    close(y @ y.T / y.shape[1], torch.eye(3, dtype=torch.float64))
    again = y.T.clone().requires_grad_()  # equal eigenvalues: no gradient of the eigenvectors
    layer(again).backward(draw(tuple(again.shape), 3))
    assert again.grad is not None
    assert bool(again.grad.isfinite().all())


def test_decorrelated_with_fewer_values_than_channels_is_finite() -> None:
    for eps in (1e-5, 0.0):
        y = m.DecorrelatedBatchNorm(5, eps=eps)(draw((3, 5), 0, torch.float32))
        assert bool(y.isfinite().all())
        assert float(y.detach().abs().max()) < 2.0


def test_dynamic_tanh_is_no_normalization_and_saturates() -> None:
    layer = m.DynamicTanh(2, alpha=0.5).double()
    x = torch.tensor([[1e300, -1e300], [0.2, 0.4]], dtype=torch.float64)
    close(layer(x)[0], torch.tensor([1.0, -1.0], dtype=torch.float64))
    assert not torch.allclose(layer(2 * x)[1], layer(x)[1])


def test_qk_norm_scores_ignore_the_length_of_queries_and_keys() -> None:
    layer = randomized(m.QKNorm(4, eps=0.0))
    q, k = draw((2, 3, 4), 0), draw((2, 5, 4), 1)
    close(layer.scores(100 * q, 0.01 * k), layer.scores(q, k))
    close(layer.scores(q, k).sum(-1), torch.ones(2, 3, dtype=torch.float64))


def test_qk_norm_serves_scaled_dot_product_attention() -> None:
    layer = randomized(m.QKNorm(4))
    q, k, v = draw((2, 3, 4), 0), draw((2, 5, 4), 1), draw((2, 5, 6), 2)
    close(nn.functional.scaled_dot_product_attention(*layer(q, k), v), layer.scores(q, k) @ v)


def test_divisive_norm_saturates_at_gain_and_rectifies() -> None:
    layer = m.DivisiveNorm(2, sigma=2.0, gain=3.0, pool=torch.eye(2)).double()
    y = layer(torch.tensor([1e6, -5.0], dtype=torch.float64))
    torch.testing.assert_close(y, torch.tensor([3.0, 0.0], dtype=torch.float64))
    close(layer.sigma.detach(), torch.tensor(2.0, dtype=torch.float64).log().float().double().exp())
    close(layer.pool.detach(), torch.eye(2, dtype=torch.float64))


def test_local_contrast_of_a_constant_image_is_zero() -> None:
    x = torch.full((1, 2, 5, 6), 7.3)
    close(m.LocalContrastNorm(3, eps=0.0)(x), torch.zeros_like(x))


@pytest.mark.parametrize("zero_row", [0, 2])
def test_weight_norm_of_a_zero_row_is_zero_with_finite_gradients(zero_row: int) -> None:
    v = draw((3, 4), 0)
    v[zero_row] = 0
    g = torch.ones(3, 1, dtype=torch.float64)
    v.requires_grad_()
    g.requires_grad_()
    weight = m.WeightNorm()(g, v)
    weight.backward(draw((3, 4), 1))
    close(weight[zero_row].detach(), torch.zeros(4, dtype=torch.float64))
    assert bool(v.grad.isfinite().all())
    assert bool(g.grad.isfinite().all())


def test_weight_norm_of_the_last_axis_is_not_of_the_whole_weight() -> None:
    v = draw((3, 4), 0)
    g, _ = m.WeightNorm(dim=-1).right_inverse(v)
    close(g, v.norm(dim=0, keepdim=True))
    layer = parametrizations.weight_norm(nn.Linear(4, 3).double(), dim=-1)  # what torch does
    assert layer.parametrizations.weight.original0.shape == ()


def test_weight_standardization_ignores_scale_and_shift_of_a_filter() -> None:
    weight = draw((3, 2, 2, 2), 0)
    layer = m.WeightStandardization(eps=0.0)
    close(layer(5 * weight + 2), layer(weight))
    close(layer(weight).mean((1, 2, 3)), torch.zeros(3, dtype=torch.float64))


def test_ws_conv_is_a_conv_with_the_parametrized_weight_and_with_a_plain_one() -> None:
    conv = m.WSConv2d(4, 6, 3, stride=2, padding=1, dilation=1, groups=2, eps=0.3).double()
    plain = nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2).double()
    plain.load_state_dict(conv.state_dict(), strict=True)
    parametrize.register_parametrization(plain, "weight", m.WeightStandardization(eps=0.3))
    x = draw((2, 4, 5, 7), 0)
    close(conv(x), plain(x))
    close(conv.to_conv2d()(x), conv(x))
    assert type(conv.to_conv2d()) is nn.Conv2d


def test_spectral_norm_reaches_the_largest_singular_value() -> None:
    weight = draw((4, 5), 0)
    layer = m.SpectralNorm(weight, n_power_iterations=50)
    close(torch.linalg.svdvals(layer(weight))[0], torch.tensor(1.0, dtype=torch.float64))
    layer.eval()
    before = layer._u.clone()
    layer(weight)
    close(layer._u, before)


def test_frozen_batch_norm_stays_frozen_in_a_model() -> None:
    net = nn.Sequential(m.FrozenBatchNorm(3), nn.Dropout()).train()
    assert [layer.training for layer in net] == [False, True]
    net(draw((4, 3), 0, torch.float32))
    close(net[0].running_mean, torch.zeros(3))
    assert not any(parameter.requires_grad for parameter in net.parameters())
    nn.BatchNorm1d(3).load_state_dict(net[0].state_dict(), strict=True)


def test_eval_statistics_may_be_given_by_a_batch_when_none_are_tracked() -> None:
    x = draw((5, 3), 0)
    layer = m.BatchNorm(3, track_running_stats=False).double()
    close(layer.eval()(x), layer.train()(x))

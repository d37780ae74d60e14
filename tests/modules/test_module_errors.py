"""Bad input: each message says what was expected, what came and how to mend it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from normcourse import modules as m

X = torch.zeros(2, 4, 3)
MASK = torch.ones(2, 4, dtype=torch.bool)
LABELS = torch.tensor([0, 1])

CASES = {
    "rank": (lambda: m.BatchNorm(3)(torch.zeros(3)), r"\(N, 3, \*\), got \(3,\).*x\[None\]"),
    "channels": (lambda: m.BatchNorm(3)(X), r"\(N, 3, \*\), got \(2, 4, 3\).*transpose\(1, 2\)"),
    "one_value": (lambda: m.BatchNorm(3)(torch.zeros(1, 3)), r"more than 1 value.*eval\(\)"),
    "num_features": (lambda: m.BatchNorm(0), r"num_features: expected a positive whole .* got 0"),
    "num_features_float": (lambda: m.BatchNorm(3.0), r"num_features: .* got 3\.0"),
    "eps": (lambda: m.BatchNorm(3, eps=-1.0), r"eps: expected .*>= 0, got -1\.0"),
    "eps_nan": (lambda: m.LayerNorm(3, eps=float("nan")), r"eps: expected .* got nan"),
    "momentum": (lambda: m.BatchNorm(3, momentum=1.5), r"momentum: expected .* got 1\.5.*Keras"),
    "ghost_size": (lambda: m.GhostBatchNorm(3, 0), r"ghost_size: expected .* got 0"),
    "ghost_left_over": (
        lambda: m.GhostBatchNorm(3, 4)(torch.zeros(5, 3)),
        r"every ghost .* got shape \(5, 3\) with ghost_size=4.*leaves no single",
    ),
    "r_max": (lambda: m.BatchRenorm(3, r_max=0.5), r"r_max >= 1 .* got 0\.5"),
    "d_max": (lambda: m.BatchRenorm(3, d_max=-1.0), r"d_max >= 0, got 3\.0 and -1\.0"),
    "masked_features": (
        lambda: m.MaskedBatchNorm(4)(X, MASK),
        r"\(\*, 4\) with the features last, got \(2, 4, 3\).*transpose",
    ),
    "mask_shape": (
        lambda: m.MaskedBatchNorm(3)(X, MASK[:, :2]),
        r"mask: expected shape \(2, 4\), got \(2, 2\)",
    ),
    "normalized_shape": (lambda: m.LayerNorm(4)(X), r"\(\*, 4\), got \(2, 4, 3\).*movedim"),
    "normalized_shape_rank": (
        lambda: m.LayerNorm((2, 4, 3))(torch.zeros(4, 3)),
        r"\(\*, 2, 4, 3\), got \(4, 3\)",
    ),
    "normalized_shape_empty": (lambda: m.LayerNorm(()), r"at least one axis, got \(\)"),
    "normalized_shape_zero": (lambda: m.RMSNorm((3, 0)), r"normalized_shape: .* got 0"),
    "rms_channels_first": (lambda: m.RMSNorm(4)(X), r"\(\*, 4\), got \(2, 4, 3\)"),
    "scale_norm": (lambda: m.ScaleNorm(4)(X), r"\(\*, 4\), got \(2, 4, 3\)"),
    "instance_2d": (
        lambda: m.InstanceNorm(4)(torch.zeros(2, 4)),
        r"\(N, 4, \*\), with at least one position axis, got \(2, 4\)",
    ),
    "instance_one": (
        lambda: m.InstanceNorm(4)(torch.zeros(2, 4, 1)),
        r"more than 1 position .* got shape \(2, 4, 1\).*GroupNorm",
    ),
    "num_styles": (lambda: m.ConditionalInstanceNorm(4, 0), r"num_styles: .* got 0"),
    "style_count": (
        lambda: m.ConditionalInstanceNorm(4, 2)(X, LABELS[:1]),
        r"style: expected shape \(2,\) .* got \(1,\)",
    ),
    "style_mixture": (
        lambda: m.ConditionalInstanceNorm(4, 2)(X, torch.ones(2, 3)),
        r"style: expected shape \(2, 2\) .* got \(2, 3\)",
    ),
    "content_rank": (lambda: m.AdaptiveInstanceNorm()(X[0], X), r"position axis, got \(4, 3\)"),
    "style_channels": (
        lambda: m.AdaptiveInstanceNorm()(X, torch.zeros(2, 5, 3)),
        r"style: expected .* \(2, 4\) .* got \(2, 5, 3\)",
    ),
    "groups": (lambda: m.GroupNorm(4, 6), r"divisor of num_channels=6, got 4.*\[1, 2, 3, 6\]"),
    "group_channels": (lambda: m.GroupNorm(2, 6)(X), r"\(N, 6, \*\), got \(2, 4, 3\)"),
    "group_one": (
        lambda: m.GroupNorm(4, 4)(torch.zeros(1, 4)),
        r"more than 1 value per group, got shape \(1, 4\) with 4 groups.*fewer",
    ),
    "weight_axes": (
        lambda: m.WeightStandardization()(torch.zeros(3)),
        r"weight: expected shape \(O, \*\) .* got \(3,\)",
    ),
    "iterations": (
        lambda: m.SpectralNorm(torch.ones(2, 2), n_power_iterations=0),
        r"n_power_iterations: .* got 0",
    ),
    "response_rank": (
        lambda: m.LocalResponseNorm(3)(torch.zeros(2, 4)),
        r"\(N, C, \*\) with at least one position axis, got \(2, 4\)",
    ),
    "response_size": (lambda: m.LocalResponseNorm(0), r"size: .* got 0"),
    "response_k": (lambda: m.LocalResponseNorm(3, k=0.0), r"k: expected a positive .* got 0\.0"),
    "contrast_even": (lambda: m.LocalContrastNorm(4), r"size: expected an odd number, got 4"),
    "contrast_rank": (lambda: m.LocalContrastNorm(3)(X), r"\(N, C, H, W\), got \(2, 4, 3\)"),
    "divisive_width": (lambda: m.DivisiveNorm(4)(X), r"\(\*, 4\), got \(2, 4, 3\)"),
    "divisive_sigma": (lambda: m.DivisiveNorm(4, sigma=0.0), r"sigma > 0, got 2\.0 and 0\.0"),
    "divisive_pool": (
        lambda: m.DivisiveNorm(2, pool=-torch.eye(2)),
        r"pool: .* entries >= 0, got \(2, 2\) with smallest -1",
    ),
    "decorrelated_one": (
        lambda: m.DecorrelatedBatchNorm(3)(torch.zeros(1, 3)),
        r"more than 1 value per channel",
    ),
    "tanh_width": (lambda: m.DynamicTanh(4)(X), r"\(\*, 4\), got \(2, 4, 3\)"),
    "head_dim": (lambda: m.QKNorm(4)(X, X), r"\(\*, 4\), got \(2, 4, 3\)"),
    "residual_shape": (
        lambda: m.PreNorm(nn.Linear(3, 1), m.LayerNorm(3))(X),
        r"sublayer: expected the shape of its input, \(2, 4, 3\), got \(2, 4, 1\)",
    ),
    "alpha": (lambda: m.DeepNorm(nn.Identity(), nn.Identity(), 0.0), r"alpha: .* got 0\.0"),
    "even_kernel": (lambda: m.ConvNormReLU(2, 3, 4), r"kernel_size: expected an odd .* got 4"),
    "no_gamma": (
        lambda: m.PostActivationBlock(2, norm=m.InstanceNorm),
        r"norm: expected a layer with a weight .* got InstanceNorm.*zero_init=False",
    ),
}
TYPES = {
    "mask": (lambda: m.MaskedBatchNorm(3)(X, MASK.long()), r"mask: .* got torch.int64.*bool"),
    "style": (
        lambda: m.ConditionalInstanceNorm(4, 2)(X, LABELS.int()),
        r"style: expected int64 .* got torch.int32.*long",
    ),
    "complex": (
        lambda: m.LayerNorm(3)(X.to(torch.complex64)),
        r"expected a floating-point tensor, got torch.complex64",
    ),
    "sublayer": (
        lambda: m.PostNorm(lambda x: (x, None), m.LayerNorm(3))(X),
        r"sublayer: expected a tensor out, got tuple.*first of a tuple",
    ),
}
AXES = {
    "weight_norm": (lambda: m.WeightNorm(2).right_inverse(torch.ones(2, 3)), r"\(2, 3\), got 2"),
    "spectral_norm": (lambda: m.SpectralNorm(torch.ones(2, 3), dim=-3), r"\(2, 3\), got -3"),
}


@pytest.mark.parametrize(("call", "message"), CASES.values(), ids=CASES)
def test_value_errors_say_expected_got_and_the_fix(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(("call", "message"), TYPES.values(), ids=TYPES)
def test_type_errors_say_expected_got_and_the_fix(call, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        call()


@pytest.mark.parametrize(("call", "message"), AXES.values(), ids=AXES)
def test_missing_axes_are_index_errors_as_in_torch(call, message: str) -> None:
    with pytest.raises(IndexError, match=message):
        call()


def test_a_style_out_of_range_is_an_index_error() -> None:
    with pytest.raises(IndexError):
        m.ConditionalInstanceNorm(4, 2)(X, torch.tensor([0, 2]))

"""A folded layer does, in inference mode, what layer and norm did together."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from surgery_models import assert_same, draw, trained
from torch import nn
from torch.nn.utils import parametrizations

from normcourse import modules as m
from normcourse import norms
from normcourse.surgery import fold_batch_norm, fold_batch_norms, fold_layer_norm_affine

Make = Callable[[], nn.Module]
LAYERS: dict[str, tuple[Make, tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(4, 6), (5, 4)),
    "linear_without_bias": (lambda: nn.Linear(4, 6, bias=False), (5, 4)),
    "conv1d": (lambda: nn.Conv1d(4, 6, 3), (2, 4, 7)),
    "conv2d": (lambda: nn.Conv2d(4, 6, (2, 3), bias=False), (2, 4, 5, 6)),
    "conv3d": (lambda: nn.Conv3d(4, 6, 2), (2, 4, 3, 4, 5)),
    "grouped": (lambda: nn.Conv2d(4, 6, 3, groups=2), (2, 4, 5, 6)),
    "depthwise": (lambda: nn.Conv1d(4, 8, 3, groups=4), (2, 4, 7)),
    "dilated_strided": (lambda: nn.Conv2d(4, 6, 2, dilation=2, stride=2), (2, 4, 5, 6)),
    "pointwise": (lambda: nn.Conv2d(4, 6, 1, stride=2), (2, 4, 5, 6)),
    "same_pointwise": (lambda: nn.Conv2d(4, 6, 1, padding="same"), (2, 4, 5, 6)),
    "valid": (lambda: nn.Conv2d(4, 6, 3, padding="valid"), (2, 4, 5, 6)),
    "circular": (lambda: nn.Conv2d(4, 6, 3, padding=1, padding_mode="circular"), (2, 4, 5, 6)),
    "reflect": (lambda: nn.Conv1d(4, 6, 3, padding=1, padding_mode="reflect"), (2, 4, 7)),
    "replicate": (
        lambda: nn.Conv2d(4, 6, 3, padding="same", padding_mode="replicate"),
        (2, 4, 5, 6),
    ),
    "transposed_pointwise": (lambda: nn.ConvTranspose2d(4, 6, 1, groups=2), (2, 4, 5, 6)),
    "transposed_cropped": (
        lambda: nn.ConvTranspose1d(4, 6, 3, dilation=2, padding=4),
        (2, 4, 9),
    ),
    "parametrized": (lambda: parametrizations.weight_norm(nn.Linear(4, 6)), (5, 4)),
    "standardized": (lambda: m.WSConv2d(4, 6, 3, groups=2), (2, 4, 5, 6)),
}
PADDED: dict[str, tuple[Make, tuple[int, ...]]] = {
    "padded": (lambda: nn.Conv2d(4, 6, 3, padding=1), (2, 4, 5, 6)),
    "padded_on_one_axis": (lambda: nn.Conv2d(4, 6, 3, padding=(0, 1)), (2, 4, 5, 6)),
    "padded_pointwise": (lambda: nn.Conv1d(4, 6, 1, padding=1), (2, 4, 7)),
    "same": (lambda: nn.Conv1d(4, 6, 3, padding="same"), (2, 4, 7)),
    "transposed": (lambda: nn.ConvTranspose1d(4, 6, 3), (2, 4, 7)),
    "transposed_3d": (lambda: nn.ConvTranspose3d(4, 6, 2, groups=2), (2, 4, 3, 2, 4)),
    "transposed_strided": (lambda: nn.ConvTranspose2d(4, 6, 2, stride=2), (2, 4, 3, 4)),
    "transposed_output_padding": (
        lambda: nn.ConvTranspose1d(4, 6, 2, dilation=2, padding=2, output_padding=1),
        (2, 4, 7),
    ),
}
EVERY = LAYERS | PADDED


def torch_norm(ndim: int, width: int, **options: object) -> nn.Module:
    kinds = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}
    return kinds[ndim](width, **options)


def widths(name: str) -> tuple[int, int]:
    layer = EVERY[name][0]()
    if isinstance(layer, nn.Linear):
        return layer.in_features, layer.out_features
    return layer.in_channels, layer.out_channels


@pytest.mark.parametrize("affine", [True, False], ids=["affine", "plain"])
@pytest.mark.parametrize("ours", [True, False], ids=["ours", "torch"])
@pytest.mark.parametrize("name", EVERY)
def test_norm_after_the_layer(name: str, ours: bool, affine: bool) -> None:
    make, shape = EVERY[name]
    options = {"affine": affine, "eps": 0.3}
    width = widths(name)[1]
    norm = m.BatchNorm(width, **options) if ours else torch_norm(len(shape), width, **options)
    layer, norm = trained(make()).eval(), trained(norm, 1).eval()
    x = draw(shape, 5)
    folded = fold_batch_norm(layer, norm)
    assert_same(folded(x), norm(layer(x)))
    assert folded.bias is not None
    assert not hasattr(folded, "parametrizations")


@pytest.mark.parametrize("ours", [True, False], ids=["ours", "torch"])
@pytest.mark.parametrize("name", LAYERS)
def test_norm_before_the_layer_where_that_is_exact(name: str, ours: bool) -> None:
    make, shape = LAYERS[name]
    width = widths(name)[0]
    norm = m.BatchNorm(width) if ours else torch_norm(len(shape), width)
    layer, norm = trained(make()).eval(), trained(norm, 1).eval()
    x = draw(shape, 5)
    assert_same(fold_batch_norm(layer, norm, order="before")(x), layer(norm(x)))


@pytest.mark.parametrize("name", PADDED)
def test_norm_before_zero_padding_is_refused_unless_it_shifts_nothing(name: str) -> None:
    make, shape = PADDED[name]
    layer, norm = trained(make()).eval(), trained(m.BatchNorm(4), 1).eval()
    with pytest.raises(ValueError, match=r"layer: expected no zero padding .*padding=0"):
        fold_batch_norm(layer, norm, order="before")
    norm.running_mean.zero_()
    norm.bias.data.zero_()
    x = draw(shape, 5)
    assert_same(fold_batch_norm(layer, norm, order="before")(x), layer(norm(x)))


def test_refusal_is_right_because_no_bias_would_do() -> None:
    layer, norm = trained(nn.Conv1d(1, 1, 3, padding=1)), trained(m.BatchNorm(1), 1).eval()
    border = layer(norm(torch.zeros(1, 1, 5, dtype=torch.float64)))[0, 0]
    assert not torch.allclose(border[0], border[2])


@pytest.mark.parametrize(
    "kind",
    [
        m.SyncBatchNorm,
        m.BatchRenorm,
        m.FrozenBatchNorm,
        lambda width: m.GhostBatchNorm(width, 2),
        nn.SyncBatchNorm,
    ],
)
def test_every_batch_norm_that_is_fixed_in_inference_folds(kind) -> None:
    layer, norm = trained(nn.Linear(4, 6)), trained(kind(6), 1).eval()
    x = draw((5, 4), 5)
    assert_same(fold_batch_norm(layer, norm)(x), norm(layer(x)))


def test_it_is_the_numpy_function() -> None:
    layer, norm = trained(nn.Conv2d(4, 6, 3)), trained(m.BatchNorm(6, eps=0.3), 1)
    folded = fold_batch_norm(layer, norm)
    arrays = [layer.weight, layer.bias, norm.weight, norm.bias, norm.running_mean, norm.running_var]
    weight, bias = norms.fold_batch_norm(*(a.detach().numpy() for a in arrays), eps=0.3)
    np.testing.assert_allclose(folded.weight.detach().numpy(), weight, atol=1e-12)
    np.testing.assert_allclose(folded.bias.detach().numpy(), bias, atol=1e-12)


def test_the_originals_stay_as_they_were() -> None:
    layer, norm = trained(nn.Linear(4, 6)), trained(m.BatchNorm(6), 1)
    before = copy.deepcopy(layer.state_dict()), copy.deepcopy(norm.state_dict())
    fold_batch_norm(layer, norm)
    for module, state in zip((layer, norm), before, strict=True):
        for name, tensor in module.state_dict().items():
            torch.testing.assert_close(tensor, state[name], rtol=0.0, atol=0.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_dtype_and_gradient_flag_are_kept(dtype: torch.dtype) -> None:
    layer = trained(nn.Linear(4, 6)).to(dtype).requires_grad_(False)
    norm = trained(m.BatchNorm(6), 1).to(dtype).eval()
    folded = fold_batch_norm(layer, norm)
    assert folded.weight.dtype == folded.bias.dtype == dtype
    assert not folded.weight.requires_grad
    x = draw((5, 4), 5).to(dtype)
    limit = {torch.float32: 1e-5, torch.bfloat16: 2e-1}[dtype]
    torch.testing.assert_close(folded(x), norm(layer(x)), rtol=limit, atol=limit)


ERRORS = {
    "width_after": (nn.Linear(4, 6), m.BatchNorm(4), "after", r"num_features 6, .* got 4"),
    "width_before": (nn.Linear(4, 6), m.BatchNorm(6), "before", r"num_features 4, .* got 6"),
    "order": (
        nn.Linear(4, 6),
        m.BatchNorm(6),
        "both",
        r"order: .*\['after', 'before'\], got 'both'",
    ),
    "stateless": (
        nn.Linear(4, 6),
        m.BatchNorm(6, track_running_stats=False),
        "after",
        r"running statistics, got track_running_stats=False",
    ),
}


@pytest.mark.parametrize(("layer", "norm", "order", "message"), ERRORS.values(), ids=ERRORS)
def test_bad_pairs(layer, norm, order: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fold_batch_norm(layer, norm, order=order)


def test_bad_kinds() -> None:
    with pytest.raises(TypeError, match=r"layer: expected one of Linear.* got ReLU"):
        fold_batch_norm(nn.ReLU(), m.BatchNorm(6))
    with pytest.raises(TypeError, match=r"norm: .* got LayerNorm.*fold_layer_norm_affine"):
        fold_batch_norm(nn.Linear(4, 6), m.LayerNorm(6))


# --- whole models --------------------------------------------------------------------------------


def test_a_model_loses_every_norm_that_can_go() -> None:
    model = trained(
        nn.Sequential(
            m.ConvNormReLU(3, 4),
            m.PostActivationBlock(4, 6, stride=2, norm=nn.BatchNorm2d),
            m.PreActivationBlock(6),  # norm2 goes into conv1, norm1 has no layer before it
            nn.Conv2d(6, 5, 1),
            nn.ReLU(),
            nn.BatchNorm2d(5),  # after a ReLU: stays
            nn.Conv2d(5, 5, 1),
            nn.GroupNorm(1, 5),  # no fixed map: stays
            nn.Flatten(),
            nn.Linear(5 * 3 * 2, 4),
            nn.Identity(),
            m.BatchNorm(4),
        )
    ).eval()
    x = draw((2, 3, 5, 4), 9)
    folded = fold_batch_norms(model)
    assert_same(folded(x), model(x))
    left = [name for name, part in folded.named_modules() if "BatchNorm" in type(part).__name__]
    assert left == ["2.norm1", "5"]
    assert not folded.training
    assert isinstance(model[0][1], m.BatchNorm)  # the original is whole


def test_a_norm_with_two_sources_stays() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)
            self.norm = nn.BatchNorm1d(3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.norm(self.first(x)) + self.norm(self.second(x))

    model = trained(Shared()).eval()
    folded = fold_batch_norms(model)
    assert isinstance(folded.norm, nn.BatchNorm1d)
    x = draw((5, 3), 3)
    assert_same(folded(x), model(x))


# --- the affine step of LayerNorm and RMSNorm ----------------------------------------------------


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no_bias"])
@pytest.mark.parametrize(
    "make",
    [
        lambda: m.LayerNorm(4),
        lambda: m.LayerNorm(4, bias=False),
        lambda: m.LayerNorm(4, elementwise_affine=False),
        lambda: m.RMSNorm(4),
        lambda: nn.LayerNorm(4),
        lambda: nn.RMSNorm(4),
    ],
    ids=["layer_norm", "without_bias", "plain", "rms_norm", "torch_layer", "torch_rms"],
)
def test_affine_goes_into_all_linear_layers(make: Make, bias: bool) -> None:
    norm = trained(make())
    linears = [trained(nn.Linear(4, n, bias=bias), n) for n in (3, 5)]
    plain, *folded = fold_layer_norm_affine(norm, *linears)
    x = draw((2, 3, 4), 8)
    for linear, new in zip(linears, folded, strict=True):
        assert_same(new(plain(x)), linear(norm(x)))
        shifts = getattr(norm, "bias", None) is not None
        assert (new.bias is not None) == (bias or shifts)
    assert list(plain.parameters()) == []


def test_bad_affine_pairs() -> None:
    with pytest.raises(ValueError, match=r"in_features 4, the norm's width, got 3"):
        fold_layer_norm_affine(m.LayerNorm(4), nn.Linear(3, 2))
    with pytest.raises(ValueError, match=r"normalized_shape \(2, 4\) and 1 layers"):
        fold_layer_norm_affine(m.LayerNorm((2, 4)), nn.Linear(4, 2))
    with pytest.raises(ValueError, match=r"and 0 layers"):
        fold_layer_norm_affine(m.LayerNorm(4))
    with pytest.raises(TypeError, match=r"norm: .* got BatchNorm"):
        fold_layer_norm_affine(m.BatchNorm(4), nn.Linear(4, 2))
    with pytest.raises(TypeError, match=r"linears: .* got Conv1d"):
        fold_layer_norm_affine(m.LayerNorm(4), nn.Conv1d(4, 2, 1))

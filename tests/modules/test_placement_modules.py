"""Wrappers around any sublayer, and convolutional blocks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from module_twins import draw, randomized
from torch import Tensor, nn

from normcourse import modules as m
from normcourse import norms


def f(x: Tensor) -> Tensor:
    return torch.sin(2 * x) + 0.3


def numpy_f(x: np.ndarray) -> np.ndarray:
    return np.sin(2 * x) + 0.3


def numpy_norm(x: np.ndarray) -> np.ndarray:
    return norms.layer_norm(x, eps=0.3)


def norm() -> nn.Module:
    return m.LayerNorm(4, eps=0.3).double()


WRAPPERS = {
    "post_norm": (lambda: m.PostNorm(f, norm()), {}),
    "pre_norm": (lambda: m.PreNorm(f, norm()), {}),
    "res_post_norm": (lambda: m.ResPostNorm(f, norm()), {}),
    "deep_norm": (lambda: m.DeepNorm(f, norm(), 1.7), {"alpha": 1.7}),
}


@pytest.mark.parametrize("name", WRAPPERS)
def test_wrappers_are_the_numpy_functions(name: str) -> None:
    make, options = WRAPPERS[name]
    x = draw((2, 3, 4), 0)
    expected = norms.PLACEMENTS[name](x.numpy(), numpy_f, numpy_norm, **options)
    np.testing.assert_allclose(make()(x).detach().numpy(), expected, atol=1e-12)


def test_sandwich_is_the_numpy_function() -> None:
    x = draw((2, 3, 4), 0)
    layer = m.SandwichNorm(f, norm(), m.RMSNorm(4, eps=0.1).double())
    expected = norms.sandwich_norm(
        x.numpy(), numpy_f, numpy_norm, lambda v: norms.rms_norm(v, eps=0.1)
    )
    np.testing.assert_allclose(layer(x).detach().numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("norm_first", [False, True], ids=["post", "pre"])
def test_wrappers_make_torchs_encoder_layer(norm_first: bool) -> None:
    reference = nn.TransformerEncoderLayer(4, 2, 6, dropout=0.0, norm_first=norm_first)
    reference = randomized(reference, torch.float64)

    class Attention(nn.Module):
        def forward(self, x: Tensor, mask: Tensor) -> Tensor:
            return reference.self_attn(x, x, x, attn_mask=mask, need_weights=False)[0]

    feed_forward = nn.Sequential(reference.linear1, nn.ReLU(), reference.linear2)
    kind = m.PreNorm if norm_first else m.PostNorm
    ours = [kind(Attention(), m.LayerNorm(4)), kind(feed_forward, m.LayerNorm(4))]
    for layer, theirs in zip(ours, (reference.norm1, reference.norm2), strict=True):
        layer.double().norm.load_state_dict(theirs.state_dict(), strict=True)
    x, mask = draw((3, 2, 4), 0), torch.ones(3, 3, dtype=torch.bool).triu(1)
    actual = ours[1](ours[0](x, mask))  # further arguments go to the sublayer
    torch.testing.assert_close(actual, reference(x, src_mask=mask))


def test_a_sublayer_that_is_a_module_is_registered() -> None:
    layer = m.PreNorm(nn.Linear(4, 4), m.LayerNorm(4))
    assert list(layer.state_dict()) == [
        "sublayer.weight",
        "sublayer.bias",
        "norm.weight",
        "norm.bias",
    ]


# --- convolutional blocks ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({}, (5, 8)),
        ({"kernel_size": 5}, (5, 8)),
        ({"stride": 2}, (3, 4)),
        ({"dilation": 2, "groups": 2}, (5, 8)),
    ],
    ids=["3x3", "5x5", "stride", "dilated_grouped"],
)
def test_conv_norm_relu_is_conv_then_norm_then_relu(options, size) -> None:
    block = randomized(m.ConvNormReLU(4, 6, **options))
    conv, batch_norm, relu = block
    assert isinstance(conv, nn.Conv2d)
    assert conv.bias is None
    assert isinstance(batch_norm, m.BatchNorm)
    assert isinstance(relu, nn.ReLU)
    x = draw((2, 4, 5, 8), 0)
    y = block(x)
    assert y.shape == (2, 6, *size)
    reference = nn.BatchNorm2d(6).double()
    reference.load_state_dict(m.BatchNorm(6).state_dict())
    reference.weight, reference.bias = batch_norm.weight, batch_norm.bias
    torch.testing.assert_close(y, reference(conv(x)).clamp(min=0))


def test_conv_norm_relu_takes_any_norm() -> None:
    block = m.ConvNormReLU(4, 6, norm=lambda channels: m.GroupNorm(3, channels))
    assert isinstance(block[1], m.GroupNorm)
    assert block[1].num_channels == 6


def post(block: m.PostActivationBlock, x: Tensor) -> Tensor:
    hidden = block.norm1(block.conv1(x)).clamp(min=0)
    return (block.skip(x) + block.norm2(block.conv2(hidden))).clamp(min=0)


def pre(block: m.PreActivationBlock, x: Tensor) -> Tensor:
    first = block.norm1(x).clamp(min=0)
    skip = x if block.skip is None else block.skip(first)
    return skip + block.conv2(block.norm2(block.conv1(first)).clamp(min=0))


@pytest.mark.parametrize(
    ("kind", "formula"), [(m.PostActivationBlock, post), (m.PreActivationBlock, pre)]
)
@pytest.mark.parametrize(("out", "stride"), [(None, 1), (6, 1), (None, 2), (6, 2)])
def test_blocks_are_their_formula(kind, formula, out, stride) -> None:
    block = randomized(kind(4, out, stride=stride))
    x = draw((3, 4, 5, 7), 0)
    y = block(x)
    assert y.shape == (3, out or 4, *((5, 7) if stride == 1 else (3, 4)))
    torch.testing.assert_close(y, formula(block, x))
    assert all(c.bias is None for c in block.modules() if isinstance(c, nn.Conv2d))


def test_blocks_start_as_their_skip() -> None:
    x = draw((3, 4, 5, 7), 0, torch.float32)
    for stride in (1, 2):
        post_block = m.PostActivationBlock(4, stride=stride)
        torch.testing.assert_close(post_block(x), post_block.skip(x).relu())
        assert bool((post_block.norm2.weight == 0).all())
        assert bool((post_block.norm1.weight == 1).all())
    torch.testing.assert_close(m.PreActivationBlock(4)(x), x)


def test_without_zero_init_blocks_start_with_a_branch() -> None:
    x = draw((3, 4, 5, 7), 0, torch.float32)
    assert not torch.allclose(m.PostActivationBlock(4, zero_init=False)(x), x.relu())
    assert not torch.allclose(m.PreActivationBlock(4, zero_init=False)(x), x)


def branch_moves(block: nn.Module, names: list[str]) -> dict[str, bool]:
    """Whether each parameter of the branch has a gradient other than 0."""
    block(draw((3, 4, 5, 7), 0, torch.float32)).backward(draw((3, 4, 5, 7), 1, torch.float32))
    parameters = dict(block.named_parameters())
    return {name: bool((parameters[name].grad != 0).any()) for name in names}


def test_a_zero_gamma_learns_where_no_relu_follows_and_never_where_one_does() -> None:
    names = ["conv1.weight", "norm1.weight", "norm2.weight", "norm2.bias", "conv2.weight"]
    moves = branch_moves(m.PostActivationBlock(4), names)
    assert moves["norm2.weight"]
    assert moves["norm2.bias"]
    dead = m.PreActivationBlock(4, zero_init=False)
    nn.init.zeros_(dead.norm2.weight)
    assert not any(branch_moves(dead, names).values())
    assert branch_moves(m.PreActivationBlock(4), names)["conv2.weight"]


@pytest.mark.parametrize("kind", [m.PostActivationBlock, m.PreActivationBlock])
def test_all_of_the_branch_learns_after_one_step(kind) -> None:
    block = kind(4)
    optimizer = torch.optim.SGD(block.parameters(), lr=0.1)
    names = ["conv1.weight", "norm1.weight", "norm2.weight", "norm2.bias", "conv2.weight"]
    branch_moves(block, names)
    optimizer.step()
    optimizer.zero_grad()
    assert all(branch_moves(block, names).values())

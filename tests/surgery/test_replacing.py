"""One norm for another, with what it inherits."""

from __future__ import annotations

import pytest
import torch
from surgery_models import assert_same, draw, trained
from torch import nn

from normcourse import modules as m
from normcourse.surgery import replace_norm


def model() -> nn.Sequential:
    shared = nn.BatchNorm2d(4)
    return trained(
        nn.Sequential(nn.Conv2d(3, 4, 1), shared, nn.Sequential(nn.Conv2d(4, 4, 1), shared))
    )


def test_torchs_norms_become_ours_and_back_without_a_change() -> None:
    net, x = model().eval(), draw((2, 3, 4, 5))
    expected = net(x)
    replaced = replace_norm(net, nn.BatchNorm2d, lambda norm: m.BatchNorm(norm.num_features))
    assert replaced is net
    assert isinstance(net[1], m.BatchNorm)
    assert net[1] is net[2][1]  # shared it was, shared it is
    assert not net[1].training
    assert_same(net(x), expected)
    replace_norm(net, m.BatchNorm, lambda norm: nn.BatchNorm2d(norm.num_features))
    assert_same(net(x), expected)


def test_the_affine_step_is_kept_where_it_fits() -> None:
    net = model()
    weight = net[1].weight.detach().clone()
    replace_norm(net, nn.BatchNorm2d, lambda norm: m.GroupNorm(2, norm.num_features))
    assert_same(net[1].weight, weight)
    net = replace_norm(
        model(), nn.BatchNorm2d, lambda norm: m.GroupNorm(2, norm.num_features), keep_affine=False
    )
    assert_same(net[1].weight, torch.ones(4, dtype=torch.float64))
    net = replace_norm(model(), nn.BatchNorm2d, lambda norm: m.LayerNorm((4, 4, 5)))
    assert_same(net[1].weight, torch.ones(4, 4, 5, dtype=torch.float64))


def test_dtype_and_mode_are_those_of_the_old_norm() -> None:
    net = model().to(torch.bfloat16).eval()
    replace_norm(net, nn.BatchNorm2d, lambda norm: m.GroupNorm(2, 4))
    assert net[1].weight.dtype == torch.bfloat16
    assert not net[1].training


def test_synchronization_by_replacement() -> None:
    net = replace_norm(model(), nn.BatchNorm2d, lambda norm: m.SyncBatchNorm(norm.num_features))
    assert isinstance(net[2][1], m.SyncBatchNorm)
    assert list(net.state_dict()) == list(model().state_dict())


def test_a_norm_alone_is_returned_replaced_and_several_types_go_at_once() -> None:
    assert isinstance(
        replace_norm(nn.LayerNorm(3), nn.LayerNorm, lambda _: m.RMSNorm(3)), m.RMSNorm
    )
    net = nn.Sequential(nn.LayerNorm(3), nn.Linear(3, 3), nn.BatchNorm1d(3))
    replace_norm(net, (nn.LayerNorm, nn.BatchNorm1d), lambda _: m.RMSNorm(3))
    assert [type(layer).__name__ for layer in net] == ["RMSNorm", "Linear", "RMSNorm"]


def test_bad_replacements() -> None:
    with pytest.raises(ValueError, match=r"old: .* got LayerNorm; it has BatchNorm2d, Conv2d, Seq"):
        replace_norm(model(), nn.LayerNorm, lambda _: m.RMSNorm(3))
    with pytest.raises(TypeError, match=r"make: expected a function to a module, got int"):
        replace_norm(model(), nn.BatchNorm2d, lambda _: 3)

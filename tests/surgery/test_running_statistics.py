"""Recalibrated statistics are those of the data; frozen ones stay."""

from __future__ import annotations

import copy

import pytest
import torch
from surgery_models import assert_same, draw, trained
from torch import nn

from normcourse import modules as m
from normcourse.surgery import freeze_batch_norm, recalibrate

KINDS = {
    "ours": m.BatchNorm,
    "torch": nn.BatchNorm1d,
    "ghost": lambda c: m.GhostBatchNorm(c, 2),
    "renorm": m.BatchRenorm,
    "sync": m.SyncBatchNorm,
}


@pytest.mark.parametrize("name", KINDS)
def test_statistics_of_unequal_batches_are_those_of_their_union(name: str) -> None:
    batches = [draw((n, 3, 5), n) * n for n in (2, 6, 4)]
    union = torch.cat(batches)
    norm = recalibrate(trained(KINDS[name](3)), iter(batches))
    assert_same(norm.running_mean, union.mean((0, 2)))
    assert_same(norm.running_var, union.var((0, 2)))
    assert int(norm.num_batches_tracked) == 3
    assert norm.momentum == 0.1


def test_masked_statistics_are_those_of_the_real_tokens() -> None:
    class Padded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = m.MaskedBatchNorm(4).double()

        def forward(self, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
            return self.norm(*batch)

    batches = []
    for seed in (1, 2):
        mask = draw((2, 5), seed) > 0.5
        batches.append((draw((2, 5, 4), seed + 5), mask))
    model = recalibrate(Padded(), batches)
    real = torch.cat([x[mask] for x, mask in batches])
    assert_same(model.norm.running_mean, real.mean(0))
    assert_same(model.norm.running_var, real.var(0))


def test_layers_behind_see_batch_statistics_and_no_dropout() -> None:
    model = trained(
        nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(0.9), nn.Linear(3, 4), m.BatchNorm(4))
    )
    model[0].eval()
    modes = [module.training for module in model.modules()]
    batches = [draw((n, 3), n) for n in (4, 7)]
    fresh = nn.BatchNorm1d(3).double()
    fresh.load_state_dict(model[0].state_dict())
    behind = torch.cat([model[2](fresh(x)) for x in batches]).detach()
    recalibrate(model, batches)
    assert_same(model[3].running_mean, behind.mean(0))
    assert_same(model[3].running_var, behind.var(0))
    assert_same(model[0].running_mean, torch.cat(batches).mean(0))
    assert [module.training for module in model.modules()] == modes
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_parameters_stay_and_frozen_norms_too() -> None:
    model = trained(nn.Sequential(m.FrozenBatchNorm(3), m.BatchNorm(3)))
    before = copy.deepcopy(model.state_dict())
    recalibrate(model, [draw((5, 3))])
    moved = {
        name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])
    }
    assert moved == {"1.running_mean", "1.running_var", "1.num_batches_tracked"}


def test_a_norm_that_no_batch_reaches_keeps_its_statistics() -> None:
    model = trained(nn.Sequential(m.BatchNorm(3)))
    model.unused = trained(m.BatchNorm(3), 4)
    model.forward = lambda x: model[0](x)
    before = copy.deepcopy(model.unused.state_dict())
    recalibrate(model, [draw((5, 3))])
    for name, tensor in model.unused.state_dict().items():
        torch.testing.assert_close(tensor, before[name])


def test_a_failing_batch_leaves_statistics_modes_and_hooks_as_they_were() -> None:
    model = trained(nn.Sequential(m.BatchNorm(3, momentum=0.3), nn.Dropout())).train()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=r"\(N, 3, \*\)"):
        recalibrate(model, [draw((5, 3)), draw((5, 4))])
    for name in ("0.running_mean", "0.running_var"):
        torch.testing.assert_close(model.state_dict()[name], before[name])
    assert model[0].momentum == 0.3
    assert model[1].training
    assert not model[0]._forward_pre_hooks


def test_bad_calibrations() -> None:
    with pytest.raises(ValueError, match=r"expected a batch normalization .* got none"):
        recalibrate(nn.Linear(3, 3), [draw((5, 3))])
    with pytest.raises(ValueError, match=r"got none"):
        recalibrate(m.BatchNorm(3, track_running_stats=False), [draw((5, 3))])
    with pytest.raises(ValueError, match=r"batches: expected at least one batch, got none"):
        recalibrate(m.BatchNorm(3), [])


@pytest.mark.parametrize("kind", [m.BatchNorm, nn.BatchNorm1d])
@pytest.mark.parametrize("affine", [True, False], ids=["all", "statistics_only"])
def test_frozen_norms_do_in_training_what_they_did_in_inference(kind, affine: bool) -> None:
    model = trained(nn.Sequential(nn.Linear(3, 4), kind(4), nn.Dropout(0.0)))
    x = draw((5, 3))
    expected = model.eval()(x)
    keys = list(model.state_dict())
    weight = model[1].weight
    frozen = freeze_batch_norm(model, affine=affine).train()
    assert frozen is model
    assert frozen[2].training
    state = copy.deepcopy(frozen[1].state_dict())
    assert_same(frozen(x), expected)
    assert list(frozen.state_dict()) == keys
    for name, tensor in frozen[1].state_dict().items():
        torch.testing.assert_close(tensor, state[name], rtol=0.0, atol=0.0)
    assert frozen[1].weight is weight
    assert weight.requires_grad is not affine


def test_freezing_keeps_plain_and_shared_norms() -> None:
    norm = nn.BatchNorm1d(3, affine=False)
    model = freeze_batch_norm(nn.Sequential(norm, nn.ReLU(), norm))
    assert isinstance(model[0], m.FrozenBatchNorm)
    assert model[0] is model[2]
    assert model[0].weight is None
    assert isinstance(freeze_batch_norm(nn.BatchNorm2d(3)), m.FrozenBatchNorm)
    with pytest.raises(ValueError, match=r"got one with track_running_stats=False"):
        freeze_batch_norm(m.BatchNorm(3, track_running_stats=False))

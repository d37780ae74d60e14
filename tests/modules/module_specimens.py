"""One small instance of every public module, with inputs, for the tests to loop over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from module_twins import draw, randomized
from torch import Tensor, nn
from torch.nn.utils import parametrize

from normcourse import modules as ours


@dataclass(frozen=True)
class Specimen:
    """A module and its inputs. ``statistics``: pools values, in at least float32."""

    name: str
    make: Callable[[], nn.Module]
    inputs: Callable[[torch.dtype], tuple[Tensor, ...]]
    statistics: bool = True
    positions: bool = False  # takes (N, C, H, W) and keeps channels-last
    pickles: bool = True

    def __str__(self) -> str:
        return self.name

    def module(self, dtype: torch.dtype = torch.float64) -> nn.Module:
        """Return the module with random parameters."""
        return randomized(self.make(), dtype)


def images(dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Return images of shape (3, 4, 2, 3)."""
    return (draw((3, 4, 2, 3), 1, dtype),)


def small_images(dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Return images of shape (3, 2, 1, 3)."""
    return (draw((3, 2, 1, 3), 1, dtype),)


def tokens(dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Return tokens of shape (2, 3, 4)."""
    return (draw((2, 3, 4), 2, dtype),)


def _masked(dtype: torch.dtype) -> tuple[Tensor, ...]:
    return draw((2, 3, 4), 2, dtype), torch.tensor([[True, True, False], [True, True, True]])


def _labelled(dtype: torch.dtype) -> tuple[Tensor, ...]:
    return *images(dtype), torch.tensor([1, 0, 1])


def _mixed(dtype: torch.dtype) -> tuple[Tensor, ...]:
    return *images(dtype), draw((3, 2), 5, dtype)


def _styled(dtype: torch.dtype) -> tuple[Tensor, ...]:
    return *images(dtype), draw((3, 4, 2, 2), 6, dtype)


def _positive(dtype: torch.dtype) -> tuple[Tensor, ...]:
    return (draw((2, 3, 4), 7, dtype).abs() + 0.3,)


def _queries(dtype: torch.dtype) -> tuple[Tensor, ...]:
    return draw((2, 3, 4), 8, dtype), draw((2, 5, 4), 9, dtype)


def _parametrized(make: Callable[[Tensor], nn.Module]) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        torch.manual_seed(3)
        layer = nn.Linear(4, 3)
        parametrize.register_parametrization(layer, "weight", make(layer.weight))
        return layer

    return build


def _norm() -> nn.Module:
    return ours.LayerNorm(4)


def _sublayer() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 2), nn.Tanh(), nn.Linear(2, 4))


def _smooth_block(kind: Callable[..., nn.Module]) -> Callable[[], nn.Module]:
    """A block with tanh for ReLU, which has no second derivative to compare."""

    def build() -> nn.Module:
        torch.manual_seed(4)
        block = kind(2, 3)
        if isinstance(block, nn.Sequential):
            block[2] = nn.Tanh()
        else:
            block.relu = nn.Tanh()
        return block

    return build


SPECIMENS = [
    Specimen("BatchNorm", lambda: ours.BatchNorm(4), images, positions=True),
    Specimen("FrozenBatchNorm", lambda: ours.FrozenBatchNorm(4), images, False, positions=True),
    Specimen("GhostBatchNorm", lambda: ours.GhostBatchNorm(4, 2), images, positions=True),
    Specimen("BatchRenorm", lambda: ours.BatchRenorm(4, r_max=1.0, d_max=0.0), images, True, True),
    Specimen("SyncBatchNorm", lambda: ours.SyncBatchNorm(4), images, positions=True),
    Specimen("MaskedBatchNorm", lambda: ours.MaskedBatchNorm(4), _masked),
    Specimen("LayerNorm", lambda: ours.LayerNorm(4), tokens),
    Specimen("RMSNorm", lambda: ours.RMSNorm(4), tokens),
    Specimen("ScaleNorm", lambda: ours.ScaleNorm(4), tokens),
    Specimen("InstanceNorm", lambda: ours.InstanceNorm(4, affine=True), images, positions=True),
    Specimen("ConditionalInstanceNorm", lambda: ours.ConditionalInstanceNorm(4, 2), _labelled),
    Specimen("ConditionalInstanceNorm.mix", lambda: ours.ConditionalInstanceNorm(4, 2), _mixed),
    Specimen("AdaptiveInstanceNorm", lambda: ours.AdaptiveInstanceNorm(), _styled),
    Specimen("GroupNorm", lambda: ours.GroupNorm(2, 4), images, positions=True),
    Specimen("LocalResponseNorm", lambda: ours.LocalResponseNorm(3, alpha=0.9), images, True, True),
    Specimen("LocalContrastNorm", lambda: ours.LocalContrastNorm(3), images),
    Specimen("DivisiveNorm", lambda: ours.DivisiveNorm(4), _positive),
    Specimen("DecorrelatedBatchNorm", lambda: ours.DecorrelatedBatchNorm(4, eps=0.1), images),
    Specimen("DynamicTanh", lambda: ours.DynamicTanh(4), tokens, False),
    Specimen("QKNorm", lambda: ours.QKNorm(4), _queries),
    Specimen("WeightNorm", _parametrized(lambda w: ours.WeightNorm()), tokens, False, False, False),
    Specimen(
        "SpectralNorm", _parametrized(lambda w: ours.SpectralNorm(w)), tokens, False, False, False
    ),
    Specimen(
        "WeightStandardization",
        _parametrized(lambda w: ours.WeightStandardization()),
        tokens,
        False,
        False,
        False,
    ),
    Specimen("WSConv2d", lambda: ours.WSConv2d(4, 3, 2), images, False),
    Specimen("PostNorm", lambda: ours.PostNorm(_sublayer(), _norm()), tokens, False),
    Specimen("PreNorm", lambda: ours.PreNorm(_sublayer(), _norm()), tokens, False),
    Specimen("ResPostNorm", lambda: ours.ResPostNorm(_sublayer(), _norm()), tokens, False),
    Specimen(
        "SandwichNorm", lambda: ours.SandwichNorm(_sublayer(), _norm(), _norm()), tokens, False
    ),
    Specimen("DeepNorm", lambda: ours.DeepNorm(_sublayer(), _norm(), 2.0), tokens, False),
    Specimen("ConvNormReLU", _smooth_block(ours.ConvNormReLU), small_images, False),
    Specimen("PostActivationBlock", _smooth_block(ours.PostActivationBlock), small_images, False),
    Specimen("PreActivationBlock", _smooth_block(ours.PreActivationBlock), small_images, False),
]

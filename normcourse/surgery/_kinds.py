"""Which layers the tools treat alike: ours and torch's."""

from __future__ import annotations

from typing import TypeGuard

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from normcourse.modules import BatchNorm, InstanceNorm

AnyBatchNorm = BatchNorm | _BatchNorm
Convolution = (
    nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d
)
Layer = nn.Linear | Convolution

BATCH_NORMS = (BatchNorm, _BatchNorm)
INSTANCE_NORMS = (InstanceNorm, _InstanceNorm)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, *TRANSPOSED)


def is_batch_norm(module: object) -> TypeGuard[AnyBatchNorm]:
    """Whether ``module`` is a batch normalization over (N, C, *), ours or torch's."""
    return isinstance(module, BATCH_NORMS)


def is_layer(module: object) -> TypeGuard[Layer]:
    """Whether ``module`` is a linear layer or a convolution."""
    return isinstance(module, LAYERS)


def out_features(layer: Layer) -> int:
    """Return the width of the layer's output: what a following norm must have."""
    return layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels


def in_features(layer: Layer) -> int:
    """Return the width of the layer's input: what a preceding norm must have."""
    return layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels

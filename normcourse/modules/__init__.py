"""What is trained: PyTorch modules, one file per method, with the file names of ``norms``.

Parameters and buffers carry torch's names, so a ``state_dict`` fits ``torch.nn`` both ways.
"""

from __future__ import annotations

from normcourse.modules.adaptive_instance_norm import AdaptiveInstanceNorm
from normcourse.modules.batch_norm import BatchNorm
from normcourse.modules.batch_renorm import BatchRenorm
from normcourse.modules.blocks import ConvNormReLU, PostActivationBlock, PreActivationBlock
from normcourse.modules.conditional_instance_norm import ConditionalInstanceNorm
from normcourse.modules.decorrelated_batch_norm import DecorrelatedBatchNorm
from normcourse.modules.divisive import DivisiveNorm
from normcourse.modules.dynamic_tanh import DynamicTanh
from normcourse.modules.frozen_batch_norm import FrozenBatchNorm
from normcourse.modules.ghost_batch_norm import GhostBatchNorm
from normcourse.modules.group_norm import GroupNorm
from normcourse.modules.instance_norm import InstanceNorm
from normcourse.modules.layer_norm import LayerNorm
from normcourse.modules.local_contrast_norm import LocalContrastNorm
from normcourse.modules.local_response_norm import LocalResponseNorm
from normcourse.modules.masked_batch_norm import MaskedBatchNorm
from normcourse.modules.placement import (
    DeepNorm,
    PostNorm,
    PreNorm,
    ResPostNorm,
    SandwichNorm,
)
from normcourse.modules.qk_norm import QKNorm
from normcourse.modules.rms_norm import RMSNorm
from normcourse.modules.scale_norm import ScaleNorm
from normcourse.modules.spectral_norm import SpectralNorm
from normcourse.modules.standardize_weight import WeightStandardization, WSConv2d
from normcourse.modules.sync_batch_norm import SyncBatchNorm
from normcourse.modules.weight_norm import WeightNorm

__all__ = [
    "AdaptiveInstanceNorm",
    "BatchNorm",
    "BatchRenorm",
    "ConditionalInstanceNorm",
    "ConvNormReLU",
    "DecorrelatedBatchNorm",
    "DeepNorm",
    "DivisiveNorm",
    "DynamicTanh",
    "FrozenBatchNorm",
    "GhostBatchNorm",
    "GroupNorm",
    "InstanceNorm",
    "LayerNorm",
    "LocalContrastNorm",
    "LocalResponseNorm",
    "MaskedBatchNorm",
    "PostActivationBlock",
    "PostNorm",
    "PreActivationBlock",
    "PreNorm",
    "QKNorm",
    "RMSNorm",
    "ResPostNorm",
    "SandwichNorm",
    "ScaleNorm",
    "SpectralNorm",
    "SyncBatchNorm",
    "WSConv2d",
    "WeightNorm",
    "WeightStandardization",
]

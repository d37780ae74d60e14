"""What is trained: PyTorch modules, one file per method, with the file names of ``norms``.

Parameters and buffers carry torch's names, so a ``state_dict`` fits ``torch.nn`` both ways.
"""

from __future__ import annotations

from normcourse.modules.adaptive_instance_norm import AdaptiveInstanceNorm
from normcourse.modules.batch_norm import BatchNorm
from normcourse.modules.batch_renorm import BatchRenorm
from normcourse.modules.conditional_instance_norm import ConditionalInstanceNorm
from normcourse.modules.frozen_batch_norm import FrozenBatchNorm
from normcourse.modules.ghost_batch_norm import GhostBatchNorm
from normcourse.modules.group_norm import GroupNorm
from normcourse.modules.instance_norm import InstanceNorm
from normcourse.modules.layer_norm import LayerNorm
from normcourse.modules.masked_batch_norm import MaskedBatchNorm
from normcourse.modules.rms_norm import RMSNorm
from normcourse.modules.scale_norm import ScaleNorm
from normcourse.modules.sync_batch_norm import SyncBatchNorm

__all__ = [
    "AdaptiveInstanceNorm",
    "BatchNorm",
    "BatchRenorm",
    "ConditionalInstanceNorm",
    "FrozenBatchNorm",
    "GhostBatchNorm",
    "GroupNorm",
    "InstanceNorm",
    "LayerNorm",
    "MaskedBatchNorm",
    "RMSNorm",
    "ScaleNorm",
    "SyncBatchNorm",
]

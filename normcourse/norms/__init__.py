"""What is taught: NumPy references, one file per method, and the registry that lists them.

A method is one row, written at the end of its file. Tables, tests and figures loop over the rows;
there are no branches by name.
"""

from __future__ import annotations

from normcourse.norms import (
    adaptive_instance_norm as _adaptive_instance_norm,
)
from normcourse.norms import (
    batch_norm as _batch_norm,
)
from normcourse.norms import (
    batch_renorm as _batch_renorm,
)
from normcourse.norms import (
    conditional_instance_norm as _conditional_instance_norm,
)
from normcourse.norms import (
    decorrelated_batch_norm as _decorrelated_batch_norm,
)
from normcourse.norms import (
    divisive as _divisive,
)
from normcourse.norms import (
    dynamic_tanh as _dynamic_tanh,
)
from normcourse.norms import (
    ghost_batch_norm as _ghost_batch_norm,
)
from normcourse.norms import (
    group_norm as _group_norm,
)
from normcourse.norms import (
    instance_norm as _instance_norm,
)
from normcourse.norms import (
    layer_norm as _layer_norm,
)
from normcourse.norms import (
    local_contrast_norm as _local_contrast_norm,
)
from normcourse.norms import (
    local_response_norm as _local_response_norm,
)
from normcourse.norms import (
    masked_batch_norm as _masked_batch_norm,
)
from normcourse.norms import (
    qk_norm as _qk_norm,
)
from normcourse.norms import (
    rms_norm as _rms_norm,
)
from normcourse.norms import (
    scale_norm as _scale_norm,
)
from normcourse.norms import (
    spectral_norm as _spectral_norm,
)
from normcourse.norms import (
    standardize_weight as _standardize_weight,
)
from normcourse.norms import (
    weight_norm as _weight_norm,
)
from normcourse.norms.adaptive_instance_norm import (
    adaptive_instance_norm,
    adaptive_instance_norm_backward,
)
from normcourse.norms.batch_norm import batch_norm, batch_norm_backward
from normcourse.norms.batch_renorm import batch_renorm, batch_renorm_backward
from normcourse.norms.conditional_instance_norm import (
    conditional_instance_norm,
    conditional_instance_norm_backward,
)
from normcourse.norms.decorrelated_batch_norm import (
    decorrelated_batch_norm,
    decorrelated_batch_norm_backward,
)
from normcourse.norms.divisive import divisive_normalize, divisive_normalize_backward
from normcourse.norms.divisive_general import (
    divisive_norm_general,
    divisive_norm_general_backward,
    window_pool,
)
from normcourse.norms.dynamic_tanh import dynamic_tanh, dynamic_tanh_backward
from normcourse.norms.folding import affine_to_undo, fold_batch_norm
from normcourse.norms.ghost_batch_norm import ghost_batch_norm, ghost_batch_norm_backward
from normcourse.norms.group_norm import group_norm, group_norm_backward, groups_for
from normcourse.norms.instance_norm import instance_norm, instance_norm_backward
from normcourse.norms.layer_norm import layer_norm, layer_norm_backward, layer_norm_rnn_step
from normcourse.norms.local_contrast_norm import local_contrast_norm, local_contrast_norm_backward
from normcourse.norms.local_response_norm import local_response_norm, local_response_norm_backward
from normcourse.norms.masked_batch_norm import masked_batch_norm, masked_batch_norm_backward
from normcourse.norms.method import Method
from normcourse.norms.moments import merge_moments, stable_variance
from normcourse.norms.placement import (
    PLACEMENTS,
    deep_norm,
    deep_norm_constants,
    post_norm,
    pre_norm,
    pre_norm_stack,
    res_post_norm,
    sandwich_norm,
)
from normcourse.norms.qk_norm import qk_norm_scores, qk_norm_scores_backward
from normcourse.norms.rms_norm import rms_norm, rms_norm_backward
from normcourse.norms.running_stats import to_pytorch_momentum, update_running_stats
from normcourse.norms.scale_norm import scale_norm, scale_norm_backward
from normcourse.norms.spectral_norm import power_iteration, spectral_norm, spectral_norm_backward
from normcourse.norms.standardize_weight import standardize_weight, standardize_weight_backward
from normcourse.norms.weight_norm import weight_norm, weight_norm_backward
from normcourse.norms.whitening import whiten

__all__ = [
    "METHODS",
    "PLACEMENTS",
    "Method",
    "adaptive_instance_norm",
    "adaptive_instance_norm_backward",
    "affine_to_undo",
    "batch_norm",
    "batch_norm_backward",
    "batch_renorm",
    "batch_renorm_backward",
    "conditional_instance_norm",
    "conditional_instance_norm_backward",
    "decorrelated_batch_norm",
    "decorrelated_batch_norm_backward",
    "deep_norm",
    "deep_norm_constants",
    "divisive_norm_general",
    "divisive_norm_general_backward",
    "divisive_normalize",
    "divisive_normalize_backward",
    "dynamic_tanh",
    "dynamic_tanh_backward",
    "fold_batch_norm",
    "ghost_batch_norm",
    "ghost_batch_norm_backward",
    "group_norm",
    "group_norm_backward",
    "groups_for",
    "instance_norm",
    "instance_norm_backward",
    "layer_norm",
    "layer_norm_backward",
    "layer_norm_rnn_step",
    "local_contrast_norm",
    "local_contrast_norm_backward",
    "local_response_norm",
    "local_response_norm_backward",
    "masked_batch_norm",
    "masked_batch_norm_backward",
    "merge_moments",
    "post_norm",
    "power_iteration",
    "pre_norm",
    "pre_norm_stack",
    "qk_norm_scores",
    "qk_norm_scores_backward",
    "res_post_norm",
    "rms_norm",
    "rms_norm_backward",
    "sandwich_norm",
    "scale_norm",
    "scale_norm_backward",
    "spectral_norm",
    "spectral_norm_backward",
    "stable_variance",
    "standardize_weight",
    "standardize_weight_backward",
    "to_pytorch_momentum",
    "update_running_stats",
    "weight_norm",
    "weight_norm_backward",
    "whiten",
    "window_pool",
]

METHODS: dict[str, Method] = {
    file.METHOD.name: file.METHOD
    for file in (
        _batch_norm,
        _masked_batch_norm,
        _ghost_batch_norm,
        _batch_renorm,
        _layer_norm,
        _rms_norm,
        _scale_norm,
        _instance_norm,
        _adaptive_instance_norm,
        _conditional_instance_norm,
        _group_norm,
        _weight_norm,
        _standardize_weight,
        _spectral_norm,
        _local_response_norm,
        _local_contrast_norm,
        _divisive,
        _decorrelated_batch_norm,
        _dynamic_tanh,
        _qk_norm,
    )
}

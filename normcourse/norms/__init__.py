"""What is taught: NumPy references, one file per method, and the registry that lists them.

A method is one row, written at the end of its file. Tables, tests and figures loop over the rows;
there are no branches by name. A file is loaded when something of it is first asked for, the
registry when ``METHODS`` is.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
    from normcourse.norms.local_contrast_norm import (
        local_contrast_norm,
        local_contrast_norm_backward,
    )
    from normcourse.norms.local_response_norm import (
        local_response_norm,
        local_response_norm_backward,
    )
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
    from normcourse.norms.spectral_norm import (
        power_iteration,
        spectral_norm,
        spectral_norm_backward,
    )
    from normcourse.norms.standardize_weight import standardize_weight, standardize_weight_backward
    from normcourse.norms.weight_norm import weight_norm, weight_norm_backward
    from normcourse.norms.whitening import whiten

    METHODS: dict[str, Method]

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

# The files that end in a row, in the order of the tables.
_ROWS = (
    "batch_norm",
    "masked_batch_norm",
    "ghost_batch_norm",
    "batch_renorm",
    "layer_norm",
    "rms_norm",
    "scale_norm",
    "instance_norm",
    "adaptive_instance_norm",
    "conditional_instance_norm",
    "group_norm",
    "weight_norm",
    "standardize_weight",
    "spectral_norm",
    "local_response_norm",
    "local_contrast_norm",
    "divisive",
    "decorrelated_batch_norm",
    "dynamic_tanh",
    "qk_norm",
)
# File to public names, where the file is not called like the function.
_FILES: dict[str, tuple[str, ...]] = {
    "folding": (
        "affine_to_undo",
        "fold_batch_norm",
    ),
    "divisive": (
        "divisive_normalize",
        "divisive_normalize_backward",
    ),
    "divisive_general": (
        "divisive_norm_general",
        "divisive_norm_general_backward",
        "window_pool",
    ),
    "group_norm": ("groups_for",),
    "layer_norm": ("layer_norm_rnn_step",),
    "method": ("Method",),
    "moments": (
        "merge_moments",
        "stable_variance",
    ),
    "placement": (
        "PLACEMENTS",
        "deep_norm",
        "deep_norm_constants",
        "post_norm",
        "pre_norm",
        "pre_norm_stack",
        "res_post_norm",
        "sandwich_norm",
    ),
    "qk_norm": (
        "qk_norm_scores",
        "qk_norm_scores_backward",
    ),
    "running_stats": (
        "to_pytorch_momentum",
        "update_running_stats",
    ),
    "spectral_norm": ("power_iteration",),
    "whitening": ("whiten",),
}
_HOME = {name: file for file, names in _FILES.items() for name in names}


class _Norms(ModuleType):
    """This package: ``norms.batch_norm`` is the function, also after its file was imported."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (isinstance(value, ModuleType) and name in __all__):
            super().__setattr__(name, value)


def _load(name: str) -> Any:
    """Load a public name when it is first asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: Any
    if name == "METHODS":
        rows = [import_module(f"{__name__}.{file}").METHOD for file in _ROWS]
        value = {row.name: row for row in rows}
    else:
        file = _HOME.get(name, name.removesuffix("_backward"))
        value = getattr(import_module(f"{__name__}.{file}"), name)
    globals()[name] = value
    return value


if not TYPE_CHECKING:  # a type checker reads the imports above and knows what is missing
    __getattr__ = _load
    sys.modules[__name__].__class__ = _Norms


def __dir__() -> list[str]:
    return sorted(__all__)

"""What is mended: changes to a model that has been, or is about to be, trained.

Fold norms into their neighbours, recalibrate or freeze running statistics, replace one norm by
another, drop biases that a norm cancels. All of it works on our layers and on torch's.
"""

from __future__ import annotations

from normcourse.modules._statistics import merge_moments
from normcourse.surgery.folding import fold_batch_norm, fold_batch_norms, fold_layer_norm_affine
from normcourse.surgery.redundant_biases import drop_redundant_biases, find_redundant_biases
from normcourse.surgery.replacing import replace_norm
from normcourse.surgery.running_statistics import freeze_batch_norm, recalibrate

__all__ = [
    "drop_redundant_biases",
    "find_redundant_biases",
    "fold_batch_norm",
    "fold_batch_norms",
    "fold_layer_norm_affine",
    "freeze_batch_norm",
    "merge_moments",
    "recalibrate",
    "replace_norm",
]

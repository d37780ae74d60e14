"""What is drawn: one function per figure, each a card with an alt text, and nothing but drawing.

A function takes results and returns a ``CourseFigure``; a notebook cell that ends with it shows it.
"""

from __future__ import annotations

from normcourse.figures._base import FIGURES, CourseFigure, figure
from normcourse.figures.affine import affine_per_channel, affine_undo
from normcourse.figures.divisive import (
    local_contrast,
    pool_matrices,
    responses,
    three_photographs,
    two_patches,
)
from normcourse.figures.examples import (
    accuracy_by_batch,
    company,
    division_factors,
    example_spread,
    example_table,
    gradient_parts,
    invariance_table,
    sphere,
    two_features,
)
from normcourse.figures.features import (
    batch_table,
    feature_correlation,
    feature_histograms,
    feature_spread,
    feature_spread_normalized,
)
from normcourse.figures.inference import (
    adaptation,
    between_two_examples,
    folding_errors,
    memory_of_momentum,
    misread_momentum,
    one_image_in_company,
    skewed_batches,
    statistics_in_time,
)
from normcourse.figures.interactive import (
    backward_still,
    batch_still,
    choose_still,
    depth_still,
    explorer_still,
    running_still,
)
from normcourse.figures.learners import mistake_families, tests_that_miss
from normcourse.figures.many_parts import (
    distance_from_joined,
    ghost_means,
    merging_moments,
    padding_drift,
    padding_error,
    rare_feature,
    rare_recall,
)
from normcourse.figures.mode_bugs import (
    forgotten_eval,
    forgotten_train,
    frozen_backbone,
    last_batch_of_one,
    last_batch_sizes,
    polluted_statistics,
)
from normcourse.figures.pooling import pooled_axes, pooled_mask
from normcourse.figures.small_batches import (
    accuracy_by_classes,
    answers_by_company,
    error_by_batch_size,
    error_by_values,
    gradient_in_company,
    pool_worth,
    remedies_by_size,
)
from normcourse.figures.standardizing import eps_and_the_root, variance_divisor, worked_example

__all__ = [
    "FIGURES",
    "CourseFigure",
    "accuracy_by_batch",
    "accuracy_by_classes",
    "adaptation",
    "affine_per_channel",
    "affine_undo",
    "answers_by_company",
    "backward_still",
    "batch_still",
    "batch_table",
    "between_two_examples",
    "choose_still",
    "company",
    "depth_still",
    "distance_from_joined",
    "division_factors",
    "eps_and_the_root",
    "error_by_batch_size",
    "error_by_values",
    "example_spread",
    "example_table",
    "explorer_still",
    "feature_correlation",
    "feature_histograms",
    "feature_spread",
    "feature_spread_normalized",
    "figure",
    "folding_errors",
    "forgotten_eval",
    "forgotten_train",
    "frozen_backbone",
    "ghost_means",
    "gradient_in_company",
    "gradient_parts",
    "invariance_table",
    "last_batch_of_one",
    "last_batch_sizes",
    "local_contrast",
    "memory_of_momentum",
    "merging_moments",
    "misread_momentum",
    "mistake_families",
    "one_image_in_company",
    "padding_drift",
    "padding_error",
    "polluted_statistics",
    "pool_matrices",
    "pool_worth",
    "pooled_axes",
    "pooled_mask",
    "rare_feature",
    "rare_recall",
    "remedies_by_size",
    "responses",
    "running_still",
    "skewed_batches",
    "sphere",
    "statistics_in_time",
    "tests_that_miss",
    "three_photographs",
    "two_features",
    "two_patches",
    "variance_divisor",
    "worked_example",
]

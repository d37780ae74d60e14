"""What is drawn: one function per figure, each a card with an alt text, and nothing but drawing.

A function takes results and returns a ``CourseFigure``; a notebook cell that ends with it shows it.
"""

from __future__ import annotations

from normcourse.figures._base import FIGURES, CourseFigure, figure
from normcourse.figures.affine import affine_per_channel, affine_undo
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
from normcourse.figures.interactive import (
    backward_still,
    batch_still,
    choose_still,
    depth_still,
    explorer_still,
    running_still,
)
from normcourse.figures.learners import mistake_families, tests_that_miss
from normcourse.figures.pooling import pooled_axes, pooled_mask
from normcourse.figures.standardizing import eps_and_the_root, variance_divisor, worked_example

__all__ = [
    "FIGURES",
    "CourseFigure",
    "accuracy_by_batch",
    "affine_per_channel",
    "affine_undo",
    "backward_still",
    "batch_still",
    "batch_table",
    "choose_still",
    "company",
    "depth_still",
    "division_factors",
    "eps_and_the_root",
    "example_spread",
    "example_table",
    "explorer_still",
    "feature_correlation",
    "feature_histograms",
    "feature_spread",
    "feature_spread_normalized",
    "figure",
    "gradient_parts",
    "invariance_table",
    "mistake_families",
    "pooled_axes",
    "pooled_mask",
    "running_still",
    "sphere",
    "tests_that_miss",
    "two_features",
    "variance_divisor",
    "worked_example",
]

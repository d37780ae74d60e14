"""What learners get wrong: counts as bars."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from normcourse.figures._base import CourseFigure, card, figure
from normcourse.figures.palette import HIGHLIGHT, INK, RAW


@figure(
    alt=(
        "Bars, longest first: how many wrong functions had each main cause. Wrong place or absence "
        "of eps leads, then statistics over the wrong elements."
    )
)
def mistake_families(counts: Mapping[str, int]) -> CourseFigure:
    """Draw how often each main cause was found.

    Args:
        counts: cause in a few words to number of functions, in the order to draw.
    """
    fig = card(0.6 + 0.31 * len(counts))
    ax = fig.subplots()
    places = np.arange(len(counts))
    ax.barh(places, list(counts.values()), color=HIGHLIGHT, height=0.65)
    for place, count in enumerate(counts.values()):
        ax.text(count + 0.4, place, str(count), va="center", color=INK, fontsize=10)
    ax.set_yticks(places, list(counts))
    ax.invert_yaxis()
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel("wrong functions")
    return fig


@figure(
    alt=(
        "For each way to test: wrong batch norm forwards, out of 35, that pass. One case 27, all "
        "cases at eps 1e-5 loosely 21, a large eps none."
    )
)
def tests_that_miss(passing: Mapping[str, int], total: int) -> CourseFigure:
    """Draw how many wrong answers each way to test lets pass.

    Args:
        passing: way to test to number of wrong answers that pass.
        total: number of wrong answers.
    """
    fig = card(0.8 + 0.42 * len(passing))
    ax = fig.subplots()
    places = np.arange(len(passing))
    ax.barh(places, [total] * len(passing), color=RAW, alpha=0.18, height=0.6)
    ax.barh(places, list(passing.values()), color=HIGHLIGHT, height=0.6)
    for place, count in enumerate(passing.values()):
        ax.text(count + 0.5, place, str(count), va="center", color=INK, fontsize=10)
    ax.set_yticks(places, list(passing))
    ax.invert_yaxis()
    ax.set_xlim(0, total)
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel("wrong answers that pass")
    return fig

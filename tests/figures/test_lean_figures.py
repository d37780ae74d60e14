"""Figures of chapter 09 draw what they are handed."""

from __future__ import annotations

import numpy as np
import pytest
from lean_specimens import ALPHAS, EXTRA, HALF, POINTS, SCORES, TITLES
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from normcourse import figures
from normcourse.experiments import Spread


def marks(ax: Axes, marker: str) -> list[tuple[float, float]]:
    """Return where lines of one marker have their points."""
    lines = [line for line in ax.lines if line.get_marker() == marker]
    return [
        (float(x), float(y))
        for line in lines
        for x, y in np.array(line.get_xydata(), dtype=float).reshape(-1, 2)
    ]


def test_rms_norm_keeps_the_ray_and_layer_norm_one_bit() -> None:
    layer, rms = figures.mean_and_length(POINTS).axes
    on_circle = np.array(marks(rms, "P"))
    assert np.linalg.norm(on_circle, axis=1) == pytest.approx(np.full(len(POINTS), np.sqrt(2)))
    assert on_circle[:, 0] * POINTS[:, 1] == pytest.approx(on_circle[:, 1] * POINTS[:, 0])
    assert np.abs(np.array(marks(layer, "^"))) == pytest.approx(np.ones((len(POINTS), 2)))


def test_pools_of_a_token_of_a_head_and_of_a_value() -> None:
    fig = figures.token_pools((2, 3, 8), heads=4)
    shaded = [
        sum(
            isinstance(patch, Rectangle) and to_hex(patch.get_facecolor()) != "#ffffff"
            for patch in ax.patches
        )
        for ax in fig.axes
    ]
    assert shaded == [8, 2, 1]


def test_each_series_has_its_mark() -> None:
    (ax,) = figures.against_layer_norm(EXTRA, TITLES, "nats", "Words.").axes
    assert [x for x, _ in marks(ax, "P")] == [0.01, -0.01]
    assert (0.1, 0.84) in [(x, round(y, 2)) for x, y in marks(ax, "o")]


def test_layer_norm_is_a_level_and_seeds_are_dots() -> None:
    (ax,) = figures.loss_by_alpha(ALPHAS, ALPHAS, Spread(2.5, 2.4, 2.6, 10)).axes
    assert [x for x, _ in marks(ax, "o")] == [0.1, 0.5, 2.0]
    assert len(marks(ax, ".")) == 6
    level = next(line for line in ax.lines if line.get_linestyle() == ":")
    assert list(np.asarray(level.get_ydata())) == [2.5, 2.5]


def test_scores_and_losses_share_their_rates() -> None:
    fig = figures.scores_by_rate(SCORES)
    for ax in fig.axes:
        drawn = [line for line in ax.lines if len(np.asarray(line.get_xdata()))]
        assert [list(np.asarray(line.get_xdata())) for line in drawn] == [[0.01, 0.1]] * 2


def test_what_is_lost_is_a_cross() -> None:
    half, brain = figures.half_errors(HALF, (64, 1024)).axes
    assert {x for x, _ in marks(half, "x")} == {64.0}
    assert marks(brain, "x") == []
    assert max(y for _, y in marks(brain, "o")) == 32

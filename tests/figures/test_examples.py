"""Figures of chapter 07 draw what they are handed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from numpy.typing import NDArray

from normcourse import figures
from normcourse.experiments.result import Curve
from normcourse.norms import layer_norm


def _texts(fig: figures.CourseFigure) -> list[str]:
    return [text.get_text() for ax in fig.axes for text in ax.texts]


def _dots(ax: Axes) -> NDArray[Any]:
    return np.array(next(line.get_xydata() for line in ax.lines if line.get_marker() == "o"))


def test_a_table_shows_the_moments_of_its_rows() -> None:
    x = np.array([[1.0, 3.0, 5.0], [-2.0, 0.0, 2.0]])
    texts = _texts(figures.example_table(x, example=0))
    assert {"3.00", "1.63", "0.00"} <= set(texts)
    assert texts.count("1.63") == 2


def test_normalized_examples_lie_on_the_circle() -> None:
    x = np.random.default_rng(0).normal(size=(9, 3))
    before, after = figures.sphere(x).axes
    drawn = _dots(after)
    assert np.linalg.norm(drawn, axis=1) == pytest.approx(np.full(9, np.sqrt(3)))
    raw = _dots(before)
    cross = raw[:, 0] * drawn[:, 1] - raw[:, 1] * drawn[:, 0]
    assert np.abs(cross).max() < 1e-12
    assert np.linalg.norm(raw, axis=1) == pytest.approx(np.sqrt(3) * x.std(axis=1))


def test_two_features_are_a_step() -> None:
    (ax,) = figures.two_features().axes
    curves = [line for line in ax.lines if len(line.get_xdata()) > 100]
    for line, eps in zip(curves, (1e-5, 1e-2, 1.0), strict=True):
        gap, y = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
        assert y == pytest.approx(gap / 2 / np.sqrt(gap**2 / 4 + eps))


def test_layer_norm_does_not_mind_the_company() -> None:
    rng = np.random.default_rng(1)
    batches = [rng.normal(size=(5, 4)) for _ in range(3)]
    for batch in batches:
        batch[0] = (1.0, 2.0, 3.0, 6.0)
    top, bottom = figures.company(batches, features=4).axes
    levels = [[line.get_ydata() for line in ax.lines[1:]] for ax in (top, bottom)]
    assert np.ptp(levels[0], axis=0).max() > 0.1
    assert np.ptp(levels[1], axis=0).max() == 0
    assert levels[1][0] == pytest.approx(layer_norm(batches[0])[0])


def test_filled_dots_are_what_stays() -> None:
    stays = {"up": {"batch": True, "layer": False}, "down": {"batch": False, "layer": True}}
    (ax,) = figures.invariance_table(stays, {"batch": "BN", "layer": "LN"}).axes
    dots = [line for line in ax.lines if line.get_marker() == "o"]
    filled = [dot.get_markerfacecolor() != "none" for dot in dots]
    assert filled == [True, False, False, True]


def test_bars_of_the_gradient_are_the_shares() -> None:
    shares = {"eps = 0": {"constant": 0.0, "rest": 1.0}, "eps = 1": {"constant": 0.0, "rest": 0.9}}
    (ax,) = figures.gradient_parts(shares).axes
    assert [patch.get_width() for patch in ax.patches] == [0.0, 1.0, 0.0, 0.9]


def test_factors_are_those_of_the_examples() -> None:
    x = np.random.default_rng(2).normal(size=(50, 6))
    (ax,) = figures.division_factors(x, running_var=4.0, eps=0.0).axes
    assert sum(patch.get_height() for patch in ax.patches) == 50
    assert ax.lines[0].get_xdata()[0] == 0.5


def test_curves_against_batch_size() -> None:
    place = np.array([2.0, 32.0])
    curve = Curve(place, np.array([50.0, 95.0]), place, place, {})
    (ax,) = figures.accuracy_by_batch({"batch": curve}, {"batch": "batch norm"}).axes
    assert list(ax.lines[0].get_ydata()) == [50.0, 95.0]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["batch norm"]


def test_bars_of_examples() -> None:
    x = np.array([[0.0, 2.0], [1.0, 9.0]])
    (ax,) = figures.example_spread(x, layer_norm(x, eps=0.0)).axes
    drawn = [np.asarray(line.get_ydata()) for line in ax.lines if line.get_marker() == "o"]
    assert [list(y) for y in drawn] == [[1.0, 5.0], [0.0, 0.0]]

"""Figures of chapter 12 draw what they are handed."""

from __future__ import annotations

import numpy as np
import pytest

from normcourse import figures
from normcourse.experiments import load_photographs


def test_curves_are_those_handed_in() -> None:
    x = np.geomspace(0.1, 10, 7)
    curves = {"a": x, "b": x**2, "c": 1 / x}
    (ax,) = figures.responses(x, curves).axes
    for line, y in zip(ax.lines, curves.values(), strict=True):
        assert np.array_equal(line.get_ydata(), y)
    assert ax.get_xscale() == "log"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b", "c"]
    assert len({(line.get_color(), line.get_linestyle()) for line in ax.lines}) == 3


def test_one_curve_needs_no_legend() -> None:
    (ax,) = figures.responses(np.ones(3), {"only": np.ones(3)}).axes
    assert ax.get_legend() is None


def test_patches_show_their_own_values() -> None:
    photo = np.zeros((20, 20))
    photo[:5, :5] = 0.99
    fig = figures.two_patches(photo, ((0, 0), (10, 10)), size=5)
    heights = np.array([patch.get_height() for patch in fig.axes[1].patches])
    assert heights.sum() == 50
    assert heights[24] == 25  # the bright patch, last bin but one of [0, 1]
    assert heights[25] == 25  # the dark one, first bin


def test_pools_keep_their_order() -> None:
    pools = {"one": np.eye(3), "all": np.ones((3, 3))}
    fig = figures.pool_matrices(pools)
    assert [ax.get_xlabel() for ax in fig.axes] == ["one", "all"]
    assert np.array_equal(fig.axes[0].images[0].get_array(), np.eye(3))


def test_photographs_are_cut_at_percentiles() -> None:
    photo = np.linspace(0, 1, 101).reshape(1, -1)
    fig = figures.three_photographs({"a": photo, "b": 2 * photo, "c": photo})
    assert fig.axes[1].images[0].get_clim() == pytest.approx((0.04, 1.96))


def test_contrast_is_relative() -> None:
    (ax,) = figures.local_contrast(np.array([1.0, 3.0]), np.array([2.0, 2.0])).axes
    drawn = [list(line.get_ydata()) for line in ax.lines[1:]]
    assert drawn == [[0.5, 1.5], [1.0, 1.0]]


class TestPhotographs:
    def test_two_of_them_in_range(self) -> None:
        photos = load_photographs()
        assert list(photos) == ["temple", "flower"]
        for photo in photos.values():
            assert photo.shape == (106, 160, 3)
            assert 0 <= photo.min() < photo.max() <= 1

    def test_smaller_ones_are_averages(self) -> None:
        large, small = (load_photographs(width=width)["flower"] for width in (320, 160))
        rows = len(small)
        blocks = large[: 2 * rows].reshape(rows, 2, 160, 2, 3).mean(axis=(1, 3))
        assert small == pytest.approx(blocks)

    @pytest.mark.parametrize("width", [0, 3, 641])
    def test_width(self, width: int) -> None:
        with pytest.raises(ValueError, match="width: expected a divisor of 640"):
            load_photographs(width=width)

"""Figures of chapter 10 draw what they are handed."""

from __future__ import annotations

import numpy as np
import pytest
from style_specimens import LABELS

from normcourse import figures
from normcourse.experiments.result import Curve


def test_pictures_are_cut_and_keep_their_pixels() -> None:
    x = np.array([[[-0.5, 0.25]], [[0.5, 2.0]], [[1.0, 0.0]]])  # (3, 1, 2)
    fig = figures.picture_rows({"a": {"p": x, "q": 0 * x}, "b": {"p": x, "q": x}}, "Four.")
    assert len(fig.axes) == 4
    shown = np.asarray(fig.axes[0].images[0].get_array())
    assert shown.tolist() == [[[0.0, 0.5, 1.0], [0.25, 1.0, 0.0]]]
    assert [ax.get_xlabel() for ax in fig.axes] == ["", "", "p", "q"]
    assert [ax.get_ylabel() for ax in fig.axes] == ["a", "", "b", ""]
    assert fig.alt == "Four."


def test_pictures_stay_light() -> None:
    x = np.random.default_rng(0).uniform(size=(3, 53, 80))
    fig = figures.picture_rows({"a": dict.fromkeys("pqrs", x), "b": dict.fromkeys("pqrs", x)}, "x.")
    assert len(fig.svg()) < 200_000


def test_every_seed_is_drawn() -> None:
    (ax,) = figures.style_as_label(LABELS, 25.0).axes
    seeds = [line for line in ax.lines if line.get_marker() == "."]
    assert len(seeds) == 10
    assert list(np.asarray(seeds[1].get_xdata())) == [35.0, 36.0, 37.0]
    marks = [line for line in ax.lines if line.get_marker() not in (".", "None", None)]
    medians = [float(np.asarray(line.get_xdata())[0]) for line in marks if line not in seeds]
    assert medians == [26.0, 36.0, 46.0, 56.0, 66.0] * 2
    assert [text.get_text() for text in ax.texts] == ["contrast", "cast"]


def test_a_panel_for_each_kind_and_a_look_for_each_net() -> None:
    x = np.array([0.0, 0.5])
    nets = ("none", "batch", "batch, many styles", "instance", "instance first")
    one = {name: Curve(x, x + k, x, x + 9, {}) for k, name in enumerate(nets)}
    fig = figures.style_in_the_way({"contrast": one, "cast": one})
    assert len(fig.axes) == 2
    drawn = [line for line in fig.axes[1].lines if np.asarray(line.get_xdata()).size]
    assert [np.asarray(line.get_ydata())[0] for line in drawn] == [0, 1, 2, 3, 4]
    assert len({(line.get_color(), line.get_linestyle()) for line in drawn}) == 5


def test_the_tolerance_is_where_it_is_said() -> None:
    x = np.array([0.1, 1.0])
    (ax,) = figures.style_left({"exact": Curve(x, x, x, x, {})}, 0.02).axes
    level = [line for line in ax.lines if line.get_linestyle() == ":"]
    assert np.asarray(level[0].get_ydata()) == pytest.approx([0.02, 0.02])


def test_each_piece_is_a_mark() -> None:
    dots = {"temple": (np.array([0.2, 0.3]), np.array([0.1, 0.2]))}
    dots["flower"] = (np.array([0.6]), np.array([0.05]))
    (ax,) = figures.style_plane(dots).axes
    places = [tuple(np.asarray(v).tolist() for v in line.get_data()) for line in ax.lines]
    assert places == [([0.2, 0.3], [0.1, 0.2]), ([0.6], [0.05])]

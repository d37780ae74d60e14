"""Figures of chapter 15 draw what they are handed."""

from __future__ import annotations

import numpy as np
from choosing_specimens import CHOICES, KINDS, METHODS, _made_up

from normcourse import figures


def test_a_cross_for_each_method_that_is_ruled_out() -> None:
    rows = [("one", ("instance",)), ("two", ("batch", "group"))]
    (ax,) = figures.guide_grid(rows, METHODS).axes
    crosses = [line for line in ax.lines if line.get_marker() == "X"]
    places = {
        (float(np.asarray(x.get_xdata())[0]), float(np.asarray(x.get_ydata())[0])) for x in crosses
    }
    assert places == {(4.0, 0.0), (0.0, 1.0), (1.0, 1.0)}


def test_ranks_are_written_in_order() -> None:
    (ax,) = figures.guide_ranks({"a": ("layer", "batch")}, METHODS).axes
    ranks = {
        text.get_position()[0]: text.get_text() for text in ax.texts if text.get_text().isdigit()
    }
    assert ranks == {2: "1", 0: "2"}


def test_refused_answers_are_marked_and_both_arms_drawn() -> None:
    ax = figures.pitfall(_made_up(tuple(CHOICES)), "tiny_batches", "step").axes[0]
    drawn = [line for line in ax.lines if np.asarray(line.get_xdata()).size]
    assert [np.asarray(line.get_xdata()).tolist() for line in drawn] == [
        [0, 20, 40],
        [40],
        [0, 20, 40],
    ] or len(drawn) == 3
    marks = [line for line in drawn if line.get_marker() == "X"]
    assert np.asarray(marks[0].get_xdata()).tolist() == [40]


def test_a_panel_for_each_pitfall() -> None:
    titles = KINDS[("mode",)]
    fig = figures.pitfall_panels(_made_up(tuple(titles)), titles, "slips")
    assert len(fig.axes) == 6
    assert sum(bool(ax.lines) for ax in fig.axes) == len(titles)


def test_costs_are_sorted() -> None:
    (ax,) = figures.pitfall_costs({"small": [0.1, 0.1], "large": [0.5, 0.7]}).axes
    assert [label.get_text() for label in ax.get_yticklabels()] == ["large", "small"]

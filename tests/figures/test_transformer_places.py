"""Figures of chapter 14 draw what they are handed."""

from __future__ import annotations

import numpy as np
import pytest
from transformer_places_specimens import CURVES, NETS, START

from normcourse import figures
from normcourse.experiments.placement_nets import PLACES
from normcourse.figures.transformer_places import PLACES as LOOKS


def test_each_place_has_its_own_look() -> None:
    looks = {LOOKS[place][1:] for place in PLACES}
    assert len(looks) == len(PLACES)


def test_names_beside_lines_do_not_meet() -> None:
    (ax,) = figures.input_left({place: [1.0, 0.5] for place in PLACES}, 1).axes
    heights = sorted(text.xy[1] for text in ax.texts)  # type: ignore[attr-defined]
    assert len(heights) == 5
    assert min(np.diff(heights)) > 0.07


def test_the_stream_is_drawn_from_the_input_on() -> None:
    (ax,) = figures.stream_by_block(START, 16).axes
    first = np.asarray(ax.lines[0].get_ydata(), dtype=float)
    assert first.shape == (17,)
    assert first[0] == pytest.approx(1.05)


def test_gradients_begin_at_the_first_block() -> None:
    axes = figures.fresh_gradients(START).axes
    assert [len(np.asarray(ax.lines[0].get_xdata())) for ax in axes[:2]] == [4, 16]


def test_curves_with_and_without_warm_up() -> None:
    axes = figures.warmup_curves(CURVES, 0.01, 3.2).axes
    drawn = [line for line in axes[1].lines if len(np.asarray(line.get_xdata())) == 2]
    assert {line.get_linestyle() for line in drawn} >= {"-", ":"}


def test_nets_without_warm_up_are_open_marks() -> None:
    ax = figures.loss_by_rate(NETS, 3.2).axes[0]
    open_marks = [line for line in ax.lines if line.get_markerfacecolor() == "white"]
    assert len(open_marks) == 3

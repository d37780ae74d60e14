"""Figures of chapter 05 draw what they are handed."""

from __future__ import annotations

import explanations_specimens as specimens
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex

from normcourse import figures
from normcourse.figures._curves import LOOKS
from normcourse.figures.palette import RAW

_CAP = 2.6


def lines(ax: Axes, color: str) -> list[np.ndarray]:
    """Return the points of every line of a colour."""
    return [np.asarray(line.get_xydata()) for line in ax.lines if to_hex(line.get_color()) == color]


def looks(norm: str) -> str:
    return to_hex(LOOKS[norm][0])


@pytest.mark.parametrize("norm", ["none", "batch"])
class TestCurvesByDepth:
    def test_losses_above_the_cap_are_drawn_at_it(self, norm: str) -> None:
        fig = specimens.EXAMPLES["rate_ranges"]()
        for ax, curves in zip(fig.axes, specimens.VALLEYS.values(), strict=True):
            expected = np.minimum(curves[norm].median, _CAP)
            assert lines(ax, looks(norm))[0][:, 1] == pytest.approx(expected)

    def test_crosses_of_the_live_slice_stand_in_their_panel(self, norm: str) -> None:
        _, middle, _ = specimens.EXAMPLES["rate_ranges"]().axes
        crosses = [line.get_ydata() for line in middle.lines if line.get_marker() == "x"]
        expected = np.minimum(specimens.VALLEYS[8][norm].median, _CAP)
        assert any(np.allclose(cross, expected) for cross in crosses)

    def test_changes(self, norm: str) -> None:
        fig = specimens.EXAMPLES["gradient_changes"]()
        for ax, curves in zip(fig.axes, specimens.CHANGES.values(), strict=True):
            assert lines(ax, looks(norm))[0][:, 1] == pytest.approx(curves[norm].median)
            assert ax.get_yscale() == "log"


def test_what_never_arrives_stands_at_never() -> None:
    fig = specimens.EXAMPLES["steps_and_seconds"]()
    for ax, column in zip(fig.axes, ("steps", "seconds"), strict=True):
        dots = [xy[0] for xy in lines(ax, looks("none")) if len(xy) == 1]
        by_depth = list(specimens.QUICKEST[column]["none"].values())
        assert [dot[1] for dot in dots[:2]] == pytest.approx([s.median for s in by_depth[:2]])
        labels = {
            label.get_text(): tick
            for tick, label in zip(ax.get_yticks(), ax.get_yticklabels(), strict=True)
        }
        assert dots[2][1] == pytest.approx(labels["never"])


def test_kinds_stand_at_their_shift_and_steps() -> None:
    (ax,) = specimens.EXAMPLES["shift_and_speed"]().axes
    dots = [np.asarray(line.get_xydata())[0] for line in ax.lines if len(line.get_xdata()) == 1]
    expected = [(shift.median, min(steps.median, 120)) for shift, steps in specimens.KINDS.values()]
    assert np.array(dots) == pytest.approx(np.array(expected))
    assert {text.get_text() for text in ax.texts} == {
        *("no norm", "BatchNorm", "+ noise 0.5", "+ noise 1.0")
    }


def test_band_of_losses_reaches_from_lowest_to_highest() -> None:
    fig = specimens.EXAMPLES["loss_along_step"]()
    for ax, (loss, low, high) in zip(fig.axes, specimens.LINE.values(), strict=True):
        corners = ax.collections[0].get_paths()[0].vertices
        assert corners[:, 1].max() == high.median.max()
        assert corners[:, 1].min() == low.median.min()
        assert np.asarray(ax.lines[0].get_ydata()) == pytest.approx(loss.median)
    assert fig.axes[0].get_ylim() == fig.axes[1].get_ylim()


def test_arms_of_the_scales() -> None:
    (ax,) = specimens.EXAMPLES["scale_sensitivity"]().axes
    drawn = [np.asarray(line.get_ydata()) for line in ax.lines]
    for y, curve in zip(drawn, specimens.SCALES.values(), strict=True):
        assert y == pytest.approx(np.minimum(curve.median, _CAP))


def test_law_of_the_noise_is_one_over_the_root() -> None:
    (ax,) = specimens.EXAMPLES["noise_of_means"]().axes
    law, seen = (np.asarray(line.get_xydata()) for line in ax.lines)
    assert law[:, 1] == pytest.approx(law[:, 0] ** -0.5)
    assert seen[:, 1] == pytest.approx(specimens.NOISE.median)


def test_gap_lies_between_the_two_losses() -> None:
    (ax,) = specimens.EXAMPLES["noise_and_gap"]().axes
    test, train = (xy for xy in lines(ax, looks("batch")) if len(xy) == len(specimens.PARTS))
    assert test[:, 1] == pytest.approx(specimens.TEST.median)
    assert train[:, 1] == pytest.approx(specimens.TRAIN.median)
    levels = sorted(xy[0, 1] for xy in lines(ax, to_hex(RAW)))
    assert levels == pytest.approx([0.4, 1.3])


def test_accuracies_in_percent() -> None:
    (ax,) = specimens.EXAMPLES["dropout_arms"]().axes
    dots = [line.get_xdata()[0] for line in ax.lines if len(line.get_xdata()) == 1]
    assert dots == pytest.approx([100 * value.median for value in specimens.ARMS.values()])


def test_computed_growth_ends_in_the_last_layer() -> None:
    (ax,) = specimens.EXAMPLES["gradient_by_layer"]().axes
    wide = next(line for line in ax.lines if line.get_linewidth() == 5)
    assert np.asarray(wide.get_ydata()) == pytest.approx(specimens.STACKS["plain batch"].median)


def test_shares() -> None:
    (ax,) = specimens.EXAMPLES["branch_shares"]().axes
    assert lines(ax, looks("none"))[0][:, 1] == pytest.approx(specimens.SHARES["none"].median)
    assert lines(ax, looks("batch"))[0][:, 1] == pytest.approx(1 / (specimens.LAYERS + 1))


def test_every_kind_of_deep_net_is_named_and_lost_ones_stand_at_the_top() -> None:
    fig = figures.deep_losses(specimens.DEEP, 0.3)
    (ax,) = fig.axes
    curves = [line for line in ax.lines if len(line.get_xdata()) == 3]
    assert len(curves) == len(fig.legends[0].get_texts()) == len(specimens.DEEP)
    for line, values in zip(curves, specimens.DEEP.values(), strict=True):
        expected = [min(value.median, _CAP) for value in values.values()]
        assert list(line.get_ydata()) == pytest.approx(expected)

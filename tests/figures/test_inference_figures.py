"""Figures of chapter 04 draw what they are handed."""

from __future__ import annotations

import inference_specimens as specimens
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from normcourse import figures
from normcourse.experiments import Result


def _lines(ax: Axes, color: str | None = None) -> list[Line2D]:
    """Return the lines that hold more than a legend's key."""
    found = [line for line in ax.lines if len(line.get_xdata())]
    return [line for line in found if color is None or line.get_color() == color]


def _medians(ax: Axes) -> list[Line2D]:
    """Return the curves: lines with a marker that are no live dots."""
    return [line for line in _lines(ax) if line.get_marker() not in (".", "None", "")]


class TestCurves:
    @pytest.mark.parametrize(
        ("picture", "result", "x", "y", "by"),
        [
            (figures.misread_momentum, specimens.BY_MOMENTUM, "batch_size", "accuracy", "way"),
            (figures.statistics_in_time, specimens.IN_TIME, "batches", "accuracy", "way"),
        ],
    )
    def test_one_curve_for_each_way(
        self, picture: object, result: Result, x: str, y: str, by: str
    ) -> None:
        (ax,) = picture(result).axes  # type: ignore[operator]
        drawn = {tuple(np.asarray(line.get_ydata()).round(6)) for line in _medians(ax)}
        expected = {
            tuple(result.curve(x, y, **{by: value}).median.round(6))
            for value in result.distinct(by)
        }
        assert drawn == expected

    @pytest.mark.parametrize(
        ("name", "result", "x", "y", "where"),
        [
            ("forgotten_eval", specimens.NO_EVAL, "batch_size", "accuracy", ("net", "order")),
            ("polluted_statistics", specimens.POLLUTED, "batches", "accuracy", ("net", "kind")),
            ("forgotten_train", specimens.NO_TRAIN, "epoch", "accuracy", ("rate", "loop")),
            ("adaptation", specimens.CHANGED, "strength", "accuracy", ("change", "way")),
        ],
    )
    def test_a_panel_for_each_first_word_a_curve_for_each_second(
        self, name: str, result: Result, x: str, y: str, where: tuple[str, str]
    ) -> None:
        panel, line = where
        axes = specimens.EXAMPLES[name]().axes
        assert len(axes) == len(result.distinct(panel))
        for ax, value in zip(axes, result.distinct(panel), strict=True):
            drawn = {tuple(np.asarray(c.get_ydata()).round(6)) for c in _medians(ax)}
            chosen = result.where(**{panel: value})
            expected = {
                tuple(chosen.curve(x, y, **{line: other}).median.round(6))
                for other in result.distinct(line)
            }
            assert drawn == expected

    def test_old_and_new_task(self) -> None:
        for ax, column in zip(
            specimens.EXAMPLES["frozen_backbone"]().axes, ("old", "new"), strict=True
        ):
            for curve, mode in zip(_medians(ax), ("inference", "training"), strict=True):
                expected = specimens.FROZEN.curve("step", column, mode=mode).median
                assert np.asarray(curve.get_ydata()) == pytest.approx(expected)

    def test_live_seeds_are_dots_where_the_slice_has_them(self) -> None:
        one_net = specimens.NO_EVAL.where(net="mlp")
        left, right = figures.forgotten_eval(specimens.NO_EVAL, one_net).axes
        dots = [[line for line in _lines(ax) if line.get_marker() == "."] for ax in (left, right)]
        assert len(dots[0]) == 3 * len(one_net.distinct("order"))
        assert dots[1] == []
        drawn = {tuple(line.get_ydata()) for line in dots[0]}
        runs = one_net.curve("batch_size", "accuracy", order="mixed").runs
        assert {tuple(values) for values in runs.values()} <= drawn


class TestLastBatch:
    def test_a_line_for_each_seed(self) -> None:
        left, right = specimens.EXAMPLES["last_batch_of_one"]().axes
        assert len(_lines(left)) == len(_lines(right)) == 3
        assert max(_lines(right)[0].get_ydata()) < min(_lines(left)[0].get_ydata())

    def test_sizes_are_named(self) -> None:
        left, _ = specimens.EXAMPLES["last_batch_sizes"]().axes
        assert [tick.get_text() for tick in left.get_xticklabels()] == ["0", "1", "32"]
        trained, recalibrated = _medians(left)
        assert list(trained.get_ydata()) == pytest.approx([0.88, 0.68, 0.88])
        assert list(recalibrated.get_ydata()) == pytest.approx([0.9] * 3)


class TestFolding:
    def test_a_row_for_each_case_and_every_seed_a_mark(self) -> None:
        (ax,) = specimens.EXAMPLES["folding_errors"]().axes
        labels = [tick.get_text() for tick in ax.get_yticklabels()]
        assert labels[2:] == [
            "training, batches of 360", "training, batches of 4", "inference, 20 batches later",
        ]  # fmt: skip
        marks = [line for line in _lines(ax) if line.get_marker() in ("s", "o")]
        assert sorted({x for line in marks for x in line.get_xdata()}) == [
            1e-15, 1e-6, 0.5, 2.0, 3.0,
        ]  # fmt: skip
        assert {len(line.get_xdata()) for line in marks} == {3}


class TestMemory:
    def test_share_of_the_last_batches(self) -> None:
        (ax,) = figures.memory_of_momentum((0.1,)).axes
        (line,) = _lines(ax)
        shares = dict(zip(line.get_xdata(), line.get_ydata(), strict=True))
        assert shares[1] == pytest.approx(0.1)
        assert shares[2] == pytest.approx(0.1 + 0.1 * 0.9)
        assert shares[1000] == pytest.approx(1)


class TestCompany:
    def test_a_cloud_for_each_class_and_the_one_answer(self) -> None:
        (ax,) = specimens.EXAMPLES["one_image_in_company"]().axes
        clouds = [line for line in _lines(ax) if line.get_marker() == "."]
        assert np.array([line.get_ydata() for line in clouds]) == pytest.approx(specimens.CLOUD.T)
        (alone,) = [line for line in _lines(ax) if line.get_marker() == "s"]
        assert list(alone.get_ydata()) == list(specimens.CLOUD[0])

    def test_without_inference_there_is_no_square(self) -> None:
        (ax,) = figures.one_image_in_company(specimens.CLOUD).axes
        assert not [line for line in _lines(ax) if line.get_marker() == "s"]


def test_skew_draws_both_columns() -> None:
    (ax,) = figures.skewed_batches(specimens.SKEWED).axes
    stored, batch = _medians(ax)
    assert list(stored.get_ydata()) == pytest.approx([0.93, 0.93])
    assert list(batch.get_ydata()) == pytest.approx([0.88, 0.43])


def test_between_two_examples() -> None:
    (ax,) = specimens.EXAMPLES["between_two_examples"]().axes
    batch, layer, _ = _lines(ax)
    assert list(batch.get_ydata()) == list(specimens.SHARE)
    assert list(layer.get_ydata()) == list(specimens.SHARE**2)

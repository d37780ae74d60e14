"""Figures of chapters 01 and 03 draw what they are handed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import shift_specimens as made
from matplotlib.axes import Axes
from numpy.typing import NDArray

from normcourse import figures
from normcourse.figures.backward import gradient_stages
from normcourse.norms import batch_norm_backward


def lines(ax: Axes, marker: str) -> list[NDArray[Any]]:
    """Return the points of every line with a marker."""
    return [np.array(line.get_xydata()) for line in ax.lines if line.get_marker() == marker]


class TestSignals:
    def test_sizes_and_live_dots(self) -> None:
        (ax,) = made.EXAMPLES["signal_sizes"]().axes
        for marker, gain in (("o", 0.8), ("D", 1.0), ("^", 1.25)):
            np.testing.assert_allclose(lines(ax, marker)[0][:, 1], gain ** made.GAINS[0.8].x)
        np.testing.assert_allclose(lines(ax, ".")[0][:, 1], [0.72, 0.27])

    def test_gradients_are_one_at_the_last_layer(self) -> None:
        (ax,) = made.EXAMPLES["gradient_sizes"]().axes
        for marker in "oD^":
            assert lines(ax, marker)[0][-1, 1] == 1

    def test_saturated_zone_begins_where_tanh_is_at_the_threshold(self) -> None:
        for ax in figures.tanh_and_slope(threshold=0.9).axes:
            edges = sorted(abs(patch.get_x()) for patch in ax.patches)
            assert np.arctanh(0.9) == pytest.approx(edges[0])

    def test_whitened_inputs_need_one_step(self) -> None:
        (ax,) = figures.descent_paths({"whitened": np.eye(2)}, steps=3).axes
        path = lines(ax, "o")[0]
        np.testing.assert_allclose(path, [[1.2, 0.9], [0, 0], [0, 0], [0, 0]], atol=1e-12)

    def test_arrows_are_two_standard_deviations_long(self) -> None:
        cloud = np.array([[3.0, 0.0], [-3.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
        (ax,) = figures.whitened_cloud({"centered": cloud}).axes
        tips = [text.xy for text in ax.texts if text.get_text() == ""]
        lengths = sorted(np.linalg.norm(tip) for tip in tips)
        assert lengths == pytest.approx([2 * np.sqrt(0.5), 2 * np.sqrt(4.5)])


class TestShift:
    def test_fitted_lines(self) -> None:
        (ax,) = made.EXAMPLES["shifted_fit"]().axes
        plain, weighted = (np.array(line.get_xydata()) for line in ax.lines[2:4])
        np.testing.assert_allclose(plain[:, 1], plain[:, 0] - 0.3)
        np.testing.assert_allclose(weighted[:, 1], -weighted[:, 0])

    def test_marks_of_the_null(self) -> None:
        (ax,) = figures.permutation_null([0.1, 0.2], {"seen": 0.4}).axes
        assert ax.lines[0].get_xdata()[0] == 0.4
        assert sum(patch.get_height() for patch in ax.patches) == 2

    def test_errors(self) -> None:
        (ax,) = made.EXAMPLES["errors_by_weights"]().axes
        assert [p[0, 0] for p in lines(ax, "o")] == [0.2, 0.005, 0.005]
        assert [p[0, 0] for p in lines(ax, "D")] == [0.001, 0.003, 0.002]

    def test_ratios(self) -> None:
        (ax,) = made.EXAMPLES["shift_ratios"]().axes
        assert [p[0, 0] for p in lines(ax, "s")] == [0.4, 2.0]
        assert [p[0, 0] for p in lines(ax, "D")] == [0.05, 0.7]
        assert [p[0, 0] for p in lines(ax, ".")] == [0.3, 0.5]

    def test_drift_and_histograms(self) -> None:
        left, right = made.EXAMPLES["drift"]().axes
        assert left.lines[0].get_ydata().tolist() == [0.0, 0.2]
        assert right.lines[0].get_ydata().tolist() == [0.0, 0.0]
        values = {"none": {"step 0": [0.5, 0.5, -0.5]}}
        (ax,) = figures.layer_histograms(values).axes
        assert ax.lines[0].get_xdata()[0] == pytest.approx(1 / 6)
        heights = [patch.get_height() for patch in ax.patches]
        assert sorted(heights)[-2:] == pytest.approx([5, 10])

    def test_since_start(self) -> None:
        (ax,) = made.EXAMPLES["change_since_start"]().axes
        np.testing.assert_allclose(lines(ax, "D")[0][:, 1], 0.08)


class TestBackward:
    def test_stages_end_in_the_gradient(self) -> None:
        rng = np.random.default_rng(0)
        dx_hat, x = rng.normal(size=6), rng.normal(size=6) * 3
        dx, _, _ = batch_norm_backward(dx_hat[:, None], x[:, None], np.ones(1), eps=0.2)
        stages = gradient_stages(dx_hat, x, eps=0.2)
        np.testing.assert_allclose(stages[3], dx[:, 0])
        assert abs(stages[1].sum()) < 1e-12

    def test_bars(self) -> None:
        (ax,) = made.EXAMPLES["gradient_steps"]().axes
        stages = gradient_stages([1.0, 0.0, 0.0, 0.0], [2.0, 4.0, 6.0, 8.0])
        np.testing.assert_allclose([bar.get_height() for bar in ax.patches], stages.ravel())

    def test_what_is_left_is_a_tangent(self) -> None:
        _, middle, last = made.EXAMPLES["removed_directions"]().axes
        x_hat, _, flat, _ = ([*map(float, text.xy)] for text in middle.texts[:4])
        assert np.linalg.norm(x_hat) == pytest.approx(np.sqrt(3))
        assert np.dot(x_hat, flat) == pytest.approx(0, abs=1e-12)
        before, after = (np.array(text.xy) for text in last.texts[1:3])
        std = np.array([1.0, 2.0, 5.0]).std()
        np.testing.assert_allclose(after, before / std, atol=1e-12)

    def test_curve_of_eps(self) -> None:
        (ax,) = made.EXAMPLES["eps_remainder"]().axes
        x, y = np.array(ax.lines[0].get_xydata()).T
        np.testing.assert_allclose(y, 1 / (1 + x))

    @pytest.mark.parametrize(
        ("name", "marker", "expected"),
        [
            ("gradients_by_sigma", "s", 3 / made.SCALES),
            ("detached_losses", "s", made.FALLING["nothing"].median),
            ("loss_by_scale", "s", np.full(7, 0.1)),
            ("turn_per_step", "D", np.full(12, 0.01)),
            ("useless_gradients", "D", np.arange(0, 601, 50) / 1000),
            ("three_ways", "D", made.WAYS["no decay"].median),
        ],
    )
    def test_curves(self, name: str, marker: str, expected: NDArray[Any]) -> None:
        ax = made.EXAMPLES[name]().axes[0]
        np.testing.assert_allclose(lines(ax, marker)[0][:, 1], expected)

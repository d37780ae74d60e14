"""Figures of chapter 06 draw what they are handed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from batch_limits_specimens import (
    CLASSES,
    COMPANY,
    EXAMPLES,
    GHOSTED,
    GRADIENTS,
    PADDING,
    PARTS,
    REMEDIES,
    SMALL,
    WORKERS,
    WORTH,
)
from matplotlib.axes import Axes
from numpy.typing import NDArray

from normcourse import figures
from normcourse.norms import batch_norm


def _lines(ax: Axes) -> list[NDArray[Any]]:
    """Return the y values of every line with more than one point."""
    return [np.asarray(line.get_ydata()) for line in ax.lines if len(line.get_xdata()) > 1]


def _holds(ax: Axes, values: NDArray[Any]) -> bool:
    return any(len(y) == len(values) and np.allclose(y, values) for y in _lines(ax))


def test_company_draws_the_medians() -> None:
    (ax,) = figures.answers_by_company(COMPANY).axes
    for norm in ("batch", "layer"):
        assert _holds(ax, COMPANY.curve("size", "changed", norm=norm).median)


def test_gradients_are_shares_of_each_loss() -> None:
    left, right = figures.gradient_in_company(GRADIENTS, np.eye(5)).axes
    shown = np.asarray(left.images[0].get_array())
    np.testing.assert_allclose(shown.sum(axis=1), np.ones(5))
    np.testing.assert_allclose(shown[0], [0.6, 0.1, 0.1, 0.1, 0.1])
    np.testing.assert_array_equal(np.asarray(right.images[0].get_array()), np.eye(5))


def test_each_net_has_its_panel() -> None:
    for ax, net in zip(figures.error_by_batch_size(SMALL).axes, ("fc", "conv 8x8"), strict=True):
        for norm in ("batch", "free"):
            assert _holds(ax, SMALL.curve("size", "error", net=net, norm=norm).median)


def test_extra_error_is_the_difference_within_seeds() -> None:
    (ax,) = figures.error_by_values(SMALL).axes
    for net in SMALL.distinct("net"):
        batch = SMALL.curve("values", "error", net=net, norm="batch")
        free = SMALL.curve("values", "error", net=net, norm="free")
        extra = np.median([batch.runs[k] - free.runs[k] for k in batch.runs], axis=0)
        assert _holds(ax, extra)
    low, high = ax.get_ylim()
    assert low < min(y.min() for y in _lines(ax)) <= max(y.max() for y in _lines(ax)) < high


def test_worth_against_the_diagonal() -> None:
    (ax,) = figures.pool_worth(WORTH).axes
    assert _holds(ax, WORTH.curve("values", "effective", net="signals", layer="conv1").median)
    diagonal = ax.lines[0]
    np.testing.assert_array_equal(diagonal.get_xdata(), diagonal.get_ydata())


def test_the_sorted_loader_is_left_out() -> None:
    (ax,) = figures.accuracy_by_classes(CLASSES).axes
    curve = CLASSES.curve("classes", "inference", norm="batch")
    assert _holds(ax, curve.median[curve.x > 0])
    assert all(min(line.get_xdata()) > 0 for line in ax.lines if len(line.get_xdata()))


def test_remedies_of_both_tasks() -> None:
    axes = figures.remedies_by_size(REMEDIES).axes[:2]
    for ax, task in zip(axes, ("rotated", "inverted"), strict=True):
        for remedy in ("accumulated", "renorm", "frozen"):
            where = {"task": task, "remedy": remedy}
            assert _holds(ax, REMEDIES.curve("size", "error", **where).median)
        pooled = REMEDIES.curve("size", "error", task=task, remedy="joined").median[0]
        assert _holds(ax, np.array([pooled, pooled]))


def test_padding_draws_drift_and_error() -> None:
    (drift,) = figures.padding_drift(PADDING).axes
    (error,) = figures.padding_error(PADDING).axes
    for word in ("padded", "masked", "layer"):
        where = {"word": word}
        assert _holds(drift, PADDING.curve("padding", "drift", offset=2.0, **where).median)
        assert _holds(error, PADDING.curve("offset", "error", **where).median)


def test_merged_spread_is_wider_than_the_averaged_one() -> None:
    (ax,) = figures.merging_moments(PARTS).axes
    bars = [np.asarray(x.get_xdata()) for x in ax.lines if len(x.get_xdata()) == 2]
    halves = [(right - left) / 2 for left, right in bars]
    union = np.concatenate(PARTS)
    within = sum(len(part) * part.var() for part in PARTS) / len(union)
    expected = [*(part.std() for part in PARTS), union.std(), np.sqrt(within)]
    np.testing.assert_allclose(halves, expected)


def test_workers_draw_every_seed_and_no_difference_is_drawn_at_the_bottom() -> None:
    (ax,) = figures.distance_from_joined(WORKERS).axes
    dots = np.concatenate([y for line in ax.lines if len(y := np.asarray(line.get_ydata())) == 4])
    assert len(dots) == len(WORKERS.rows)
    assert set(dots.tolist()) == {1e-12, 0.5}


def test_every_ghost_has_its_mean() -> None:
    (ax,) = figures.ghost_means(GHOSTED, 8).axes
    means = {round(float(y[0]), 9) for y in _lines(ax) if len(y) == 2 and y[0] == y[1]}
    expected = {round(float(GHOSTED[k : k + 8].mean()), 9) for k in (0, 8, 16)}
    assert expected | {round(float(GHOSTED.mean()), 9)} <= means


def test_rare_feature_is_what_the_layer_gives() -> None:
    (ax,) = figures.rare_feature(16).axes
    squares = next(line for line in ax.lines if line.get_marker() == "s")
    for share, value in zip(squares.get_xdata(), squares.get_ydata(), strict=True):
        column = (np.arange(16) < round(16 * share)).astype(float)[:, None]
        assert batch_norm(column)[0, 0] == pytest.approx(value)


def test_percent_ticks_keep_their_zeros() -> None:
    (ax,) = EXAMPLES["answers_by_company"]().axes
    assert [text.get_text() for text in ax.get_yticklabels()] == ["0", "20", "40", "60"]

"""Every figure has an alt text, renders on the course's card, and shows what it was given."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from normcourse import figures
from normcourse.figures import _base, palette
from normcourse.norms import METHODS

_RNG = np.random.default_rng(0)
_X = _RNG.normal(3.0, 2.0, size=(24, 5))
_Y = (_X - _X.mean(axis=0)) / _X.std(axis=0)
_MAPS = _RNG.normal(size=(6, 4, 3, 2))


def _exported(name: str) -> Any:
    """The numbers of an interactive figure."""
    folder = Path(_base.__file__).parents[1] / "site" / "interactive" / "data"
    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))


EXAMPLES: dict[str, Callable[[], figures.CourseFigure]] = {
    "backward_still": lambda: figures.backward_still(_exported("backward")),
    "batch_still": lambda: figures.batch_still(_exported("batch-composition")),
    "choose_still": lambda: figures.choose_still(_exported("choose")),
    "depth_still": lambda: figures.depth_still(_exported("depth")),
    "explorer_still": lambda: figures.explorer_still(_exported("axes-explorer")),
    "running_still": lambda: figures.running_still(_exported("running-statistics")),
    "affine_per_channel": lambda: figures.affine_per_channel(
        _MAPS, np.array([1.0, 0.5, 2.0, -1.0]), np.array([0.0, 2.0, -3.0, 5.0])
    ),
    "affine_undo": lambda: figures.affine_undo([_X[:8, 0], _X[8:16, 0]], 3.0, 4.0),
    "batch_table": lambda: figures.batch_table(_X[:4, :3]),
    "eps_and_the_root": figures.eps_and_the_root,
    "feature_correlation": lambda: figures.feature_correlation(_X, _Y, (0, 1)),
    "feature_histograms": lambda: figures.feature_histograms(_X, _Y, (0, 2)),
    "feature_spread": lambda: figures.feature_spread(_X),
    "feature_spread_normalized": lambda: figures.feature_spread_normalized(_X, _Y),
    "mistake_families": lambda: figures.mistake_families({"eps": 33, "axes": 23, "other": 3}),
    "pooled_axes": lambda: figures.pooled_axes(METHODS["batch_norm"]),
    "tests_that_miss": lambda: figures.tests_that_miss({"one case": 27, "a large eps": 0}, 35),
    "variance_divisor": figures.variance_divisor,
    "worked_example": lambda: figures.worked_example([2.0, 4.0, 6.0, 8.0]),
}
for _path in sorted(Path(__file__).parent.glob("*_specimens.py")):  # a file for each later part
    EXAMPLES |= importlib.import_module(_path.stem).EXAMPLES


def test_every_figure_has_an_example() -> None:
    assert set(EXAMPLES) == set(figures.FIGURES)
    assert set(EXAMPLES) <= set(figures.__all__)


def test_every_drawing_function_is_registered() -> None:
    """A public function that makes a card but forgot the decorator would have no alt text."""
    package = Path(_base.__file__).parent
    for path in package.glob("[!_]*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                returns = ast.unparse(node.returns) if node.returns else ""
                assert returns != "CourseFigure" or node.name in figures.FIGURES, node.name


@pytest.mark.parametrize("name", sorted(EXAMPLES))
class TestEachFigure:
    def test_alt_text(self, name: str) -> None:
        alt = EXAMPLES[name]().alt
        assert 1 <= len(alt.split()) <= 30
        assert "{" not in alt
        assert not re.match(r"(?i)(an? )?(image|picture|figure|plot) of", alt)
        assert alt.endswith(".")

    def test_renders_as_svg_with_its_alt_text(self, name: str) -> None:
        picture = EXAMPLES[name]()
        data, metadata = picture._repr_mimebundle_()
        assert data["image/svg+xml"].count("<svg") == 1
        assert data["text/plain"] == picture.alt == metadata["image/svg+xml"]["alt"]

    def test_card_size_and_no_title(self, name: str) -> None:
        picture = EXAMPLES[name]()
        assert picture.get_figwidth() == pytest.approx(_base.WIDTH)
        assert picture.get_figheight() <= 4.2
        assert picture.get_suptitle() == ""
        assert all(ax.get_title() == "" for ax in picture.axes)
        red, green, blue, alpha = picture.get_facecolor()
        assert (red, green, blue) == pytest.approx((251 / 255, 250 / 255, 247 / 255))
        assert alpha == 1

    def test_svg_is_reproducible_and_small(self, name: str) -> None:
        svg = EXAMPLES[name]().svg()
        assert svg == EXAMPLES[name]().svg()
        assert len(svg) < 200_000

    def test_text_does_not_overlap_or_leave_the_card(self, name: str) -> None:
        picture = EXAMPLES[name]()
        picture.svg()
        boxes = [
            (text.get_text(), text.get_window_extent().padded(1))
            for ax in picture.axes
            for text in [*ax.texts, ax.xaxis.label, ax.yaxis.label]
            if text.get_text()
        ]
        width, height = picture.bbox.width, picture.bbox.height
        for place, (words, box) in enumerate(boxes):
            assert box.x0 >= 0, words
            assert box.y0 >= 0, words
            assert box.x1 <= width, words
            assert box.y1 <= height, words
            for other, other_box in boxes[place + 1 :]:
                assert not box.overlaps(other_box), (words, other)


class TestAltText:
    @pytest.mark.parametrize("alt", ["", "   ", "word " * 31])
    def test_missing_or_long_is_an_error(self, alt: str) -> None:
        with pytest.raises(ValueError, match="alt: expected 1 to 30 words"):
            _base.figure(alt=alt)

    def test_too_long_once_filled_in(self) -> None:
        with pytest.raises(ValueError, match="got 40"):
            _base.alt_text("{words}", {"words": "word " * 40})

    def test_is_required(self) -> None:
        with pytest.raises(TypeError, match="alt"):
            _base.figure()  # type: ignore[call-arg]


_EXTRA = {
    "batch_norm": {},
    "layer_norm": {},
    "rms_norm": {},
    "instance_norm": {},
    "group_norm": {"num_groups": 2},
}


class TestPooledMask:
    @pytest.mark.parametrize(
        ("name", "shape"),
        [
            (name, shape)
            for name in sorted(set(METHODS) & set(_EXTRA))
            for shape in ((5, 4), (5, 4, 3), (5, 4, 2, 3))
            if name != "instance_norm" or len(shape) > 2  # it needs positions
        ],
    )
    def test_agrees_with_what_the_method_computes(self, name: str, shape: tuple[int, ...]) -> None:
        """Nudging one value moves the outputs that share its mean, and no others."""
        row, extra, at = METHODS[name], _EXTRA[name], tuple(size - 1 for size in shape)
        x = np.random.default_rng(1).normal(size=shape)
        nudged = x.copy()
        nudged[at] += 0.5
        moved = row.forward(nudged, **extra) != row.forward(x, **extra)
        expected = figures.pooled_mask(
            row.axes(len(shape)), shape, at=at, groups=extra.get("num_groups")
        )
        np.testing.assert_array_equal(moved, expected)

    def test_groups(self) -> None:
        mask = figures.pooled_mask((2, 3), (2, 6, 3), at=(1, 4, 0), groups=3)
        expected = np.zeros((2, 6, 3), dtype=bool)
        expected[1, 4:6] = True
        np.testing.assert_array_equal(mask, expected)

    def test_groups_must_divide(self) -> None:
        with pytest.raises(ValueError, match="groups: expected a divisor of 6 channels, got 4"):
            figures.pooled_mask((2,), (2, 6), groups=4)

    def test_a_method_without_axes(self) -> None:
        row = dataclasses.replace(METHODS["batch_norm"], axes=None)
        with pytest.raises(ValueError, match="row: BatchNorm pools no whole axes"):
            figures.pooled_axes(row)


class TestContent:
    def test_worked_example_says_the_numbers(self) -> None:
        texts = [text.get_text() for text in figures.worked_example([2, 4, 6, 8]).axes[0].texts]
        assert texts == ["2", "4", "6", "8", "−3", "−1", "1", "3", "−1.34", "−0.45", "0.45", "1.34"]

    def test_pooled_axes_counts(self) -> None:
        texts = [t.get_text() for t in figures.pooled_axes(METHODS["batch_norm"]).axes[0].texts]
        assert {"N =\n4 values", "N·L =\n4·5 = 20 values", "N·H·W =\n4·2·3 = 24 values"} <= set(
            texts
        )

    def test_pooled_axes_names_a_group_of_channels(self) -> None:
        row = dataclasses.replace(
            METHODS["batch_norm"], axes=lambda ndim: tuple(range(2, ndim + 1))
        )
        picture = figures.pooled_axes(row, ((2, 6), (2, 6, 3)), groups=3)
        texts = [text.get_text() for text in picture.axes[0].texts]
        assert {"D/G =\n2 values", "C/G·L =\n2·3 = 6 values"} <= set(texts)

    def test_affine_undo_fixed_statistics_lie_on_the_diagonal(self) -> None:
        fixed, own = EXAMPLES["affine_undo"]().axes
        for line in [line for line in fixed.lines if line.get_linestyle() == "None"]:
            np.testing.assert_allclose(line.get_ydata(), line.get_xdata(), atol=1e-9)
        points = [line for line in own.lines if line.get_linestyle() == "None"]
        assert max(np.abs(p.get_ydata() - p.get_xdata()).max() for p in points) > 0.1

    def test_affine_undo_refuses_more_batches_than_it_can_tell_apart(self) -> None:
        with pytest.raises(ValueError, match="batches: expected at most 5, got 6"):
            figures.affine_undo([_X[:, 0]] * 6, 0.0, 1.0)


class TestPalette:
    def test_a_colour_means_one_thing(self) -> None:
        colours = [*palette.METHOD_COLORS.values(), palette.RAW, palette.HIGHLIGHT]
        assert len(set(colours)) == len(colours)

    def test_a_method_without_a_colour_is_drawn_in_ink(self) -> None:
        assert palette.method_color("scale_norm") == palette.INK

    @pytest.mark.parametrize(
        "colour", [palette.INK, palette.RAW, palette.METHOD_COLORS["batch_norm"]]
    )
    def test_text_colours_can_be_read_on_the_card(self, colour: str) -> None:
        assert _contrast(colour, palette.CARD) >= 4.5


def _contrast(first: str, second: str) -> float:
    """Return the WCAG contrast ratio of two colours."""
    high, low = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    channels = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_figures_need_neither_pyplot_nor_torch() -> None:
    code = (
        "import sys, normcourse.figures;"
        "print([name for name in ('matplotlib.pyplot', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

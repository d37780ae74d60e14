"""Experiments of chapter 10: photographs in another light, and digits in styles."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
import torch

from normcourse.evidence import recorded
from normcourse.experiments import Result, Row, load_digits
from normcourse.experiments import photo_style as photo
from normcourse.experiments import style_label as label
from normcourse.experiments import style_shift as shift
from normcourse.experiments import styled_digits as styles
from normcourse.experiments.result import Environment


def made_up(rows: list[Row]) -> Result:
    """Return a result that holds these rows."""
    return Result("made_up", "own", {}, tuple(rows), {}, Environment.here(), "")


class TestPhotographs:
    def test_changes_by_hand(self) -> None:
        x = np.array([[[0.0, 1.0]], [[0.5, 0.5]]])
        assert photo.contrast(x, 0.5).tolist() == [[[0.25, 0.75]], [[0.5, 0.5]]]
        assert photo.exposure(x, 0.5).tolist() == [[[0.0, 0.5]], [[0.25, 0.25]]]
        moved = photo.cast(x, [1.0, 2.0], [0.0, 1.0])
        assert moved.tolist() == [[[0.0, 1.0]], [[2.0, 2.0]]]
        assert photo.shadow(x, 0.5).tolist() == [[[0.0, 0.5]], [[0.5, 0.25]]]
        assert photo.as_stored(np.array([-1.0, 0.5, 2.0])).tolist() == [0.0, 128 / 255, 1.0]

    def test_blur_is_the_mean_of_a_window(self) -> None:
        x = np.random.default_rng(0).normal(size=(2, 6, 7))
        y = photo.blur(x, 1)
        assert y.shape == x.shape
        assert y[1, 3, 4] == pytest.approx(x[1, 2:5, 3:6].mean())
        flat = np.full((1, 5, 5), 0.3)
        assert photo.blur(flat, 2) == pytest.approx(flat)

    def test_an_offset_changes_nothing_and_a_gain_only_through_eps(self) -> None:
        x = photo.planes(80)["temple"]
        y = photo.normalized(x)
        assert photo.apart(photo.normalized(x + 0.4), y) < 1e-12
        var = x.var(axis=(1, 2))
        ratio = np.sqrt((var + 1e-5) / (var + 1e-5 / 0.04)) - 1  # what a gain of 0.2 does to y
        spread_of_y = y.std(axis=(1, 2))
        expected = np.sqrt(np.square(ratio * spread_of_y).mean())
        assert photo.apart(photo.normalized(0.2 * x), y) == pytest.approx(expected, rel=1e-6)

    def test_rows(self) -> None:
        rows, _ = photo.EXPERIMENT.one_seed(3, {"width": 80, "gains": [0.1, 1.0]})
        assert len(rows) == 2 * (len(photo.CHANGES) + 4)
        result = made_up(rows)
        assert set(result.distinct("change")) == set(photo.CHANGES)
        at_one = result.where(part="gain", kind="exact", gain=1.0).values("after")
        assert max(at_one) < 1e-9
        assert all(b > 0.1 for b in result.values("before"))

    @pytest.mark.parametrize(
        ("afters", "outcome"),
        [((0.002, 0.009), "supported"), ((0.002, 0.02), "mixed"), ((0.2, 0.3), "refuted")],
    )
    def test_affine(self, afters: tuple[float, float], outcome: str) -> None:
        rows: list[Row] = [
            {"seed": k, "part": "change", "change": change, "before": 1.0, "after": after}
            for k, after in enumerate(afters)
            for change in photo.AFFINE
        ]
        assert photo.removes_affine(made_up(rows)).outcome == outcome

    @pytest.mark.parametrize(
        ("blur", "stripes", "outcome"),
        [(0.02, 0.01, "supported"), (0.4, 0.3, "refuted"), (0.02, 0.4, "mixed")],
    )
    def test_texture(self, blur: float, stripes: float, outcome: str) -> None:
        rows: list[Row] = [
            {"seed": 0, "part": "change", "change": change, "before": 0.5, "after": after}
            for change, after in (("blur", blur), ("stripes", stripes))
        ]
        verdict = photo.removes_texture(made_up(rows))
        assert verdict.outcome == outcome
        assert [e.spread.median for e in verdict.effects] == [blur / 0.5, stripes / 0.5]

    def test_the_record_agrees(self) -> None:
        full = recorded("photo_style")
        assert len(full.seeds) >= 10
        assert not full.stale
        assert photo.removes_affine(full).outcome == "supported"
        assert photo.removes_texture(full).outcome == "refuted"
        live = photo.EXPERIMENT.measure([0], photo.EXPERIMENT.live)
        one = {"part": "change", "photo": "temple", "change": "cast"}
        same = full.where(seed=0, **one).values("after")
        assert live.where(**one).values("after") == pytest.approx(same, abs=1e-9)


class TestStyles:
    X: ClassVar = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2)

    @pytest.mark.parametrize(
        ("kind", "expected"),
        [
            ("contrast", [[0.375, 0.625]] * 3),
            ("exposure", [[0.0, 0.25]] * 3),
            ("cast", [[0.0, 0.625], [0.0, 0.25], [0.0, 1.0]]),
        ],
    )
    def test_values(self, kind: str, expected: list[list[float]]) -> None:
        order = torch.tensor([[2, 0, 1]])
        y = styles.styled(self.X, kind, torch.tensor([0.75]), order)
        assert y[0, :, 0].tolist() == expected
        plain = styles.styled(self.X, kind, torch.tensor([0.0]), order)
        assert plain[0, :, 0].tolist() == [[0.0, 1.0]] * 3

    def test_the_norm_at_the_input_sees_no_style(self) -> None:
        g = torch.Generator().manual_seed(0)
        x = load_digits(g).test_x[:20]
        net = styles.style_net(g, 10, styles.ARMS["instance first"]).eval()
        plain = net(x.expand(-1, 3, -1, -1))
        for kind in styles.KINDS:
            moved = net(shift.in_strength(x, kind, 0.5, g)) - plain
            assert moved.abs().max() < 1e-2 * plain.abs().max()

    def test_behind_a_convolution_it_sees_contrast_at_the_border_alone(self) -> None:
        g = torch.Generator().manual_seed(0)
        x = load_digits(g).test_x[:20]
        seen = {}
        for arm in ("instance", "instance, edges repeated"):
            net = styles.style_net(torch.Generator().manual_seed(1), 10, styles.ARMS[arm]).eval()
            plain = net(x.expand(-1, 3, -1, -1))
            for kind in styles.KINDS:
                moved = net(shift.in_strength(x, kind, 0.5, g)) - plain
                seen[arm, kind] = (moved.abs().max() / plain.abs().max()).item()
        assert seen["instance", "contrast"] > 0.1
        assert seen["instance, edges repeated", "contrast"] < 0.01
        assert seen["instance", "exposure"] < 0.01
        assert seen["instance, edges repeated", "cast"] > 0.1

    def test_labels_are_styles(self) -> None:
        g = torch.Generator().manual_seed(0)
        x = load_digits(g).test_x
        part = label.in_styles(x, "exposure", g)
        brightest = part.x.amax(dim=(1, 2, 3)) / x.amax(dim=(1, 2, 3))
        assert torch.allclose(brightest, 1 - torch.tensor(label.STRENGTHS)[part.t])
        cast = label.in_styles(x, "cast", g)
        weakest = cast.x.sum(dim=(2, 3)).argmin(dim=1)
        assert torch.equal(weakest, torch.tensor([order[2] for order in label.CASTS])[cast.t])
        assert set(part.t.tolist()) == {0, 1, 2, 3}


def labels(**right: float) -> Result:
    """Return rows with these per cents for every kind of style."""
    arms = {"first": "instance first", "inside": "instance", "batch": "batch"}
    arms["repeated"] = "instance, edges repeated"
    return made_up(
        [
            {"seed": seed, "kind": kind, "arm": arms[arm], "accuracy": value}
            for seed in range(3)
            for kind in styles.KINDS
            for arm, value in right.items()
        ]
    )


class TestStyleAsLabel:
    SETTINGS: ClassVar = {
        "kinds": ["contrast", "cast"],
        "arms": ["batch", "instance first"],
        "rates": [0.03, 0.1],
        "steps": 30,
    }

    def test_rows(self) -> None:
        rows, _ = label.EXPERIMENT.one_seed(0, self.SETTINGS)
        assert [(row["kind"], row["arm"]) for row in rows] == [
            (kind, arm) for kind in ("contrast", "cast") for arm in ("batch", "instance first")
        ]
        right = [float(row["accuracy"]) for row in rows]
        assert right[0] > 60
        assert right[1] < 40
        assert rows == label.EXPERIMENT.one_seed(0, self.SETTINGS)[0]
        assert rows != label.EXPERIMENT.one_seed(1, self.SETTINGS)[0]

    @pytest.mark.parametrize(
        ("first", "batch", "outcome"),
        [(29, 95, "supported"), (29, 70, "mixed"), (50, 95, "mixed"), (85, 95, "refuted")],
    )
    def test_first(self, first: float, batch: float, outcome: str) -> None:
        assert label.first_destroys(labels(first=first, batch=batch)).outcome == outcome

    @pytest.mark.parametrize(
        ("inside", "outcome"), [(30, "supported"), (50, "mixed"), (80, "refuted")]
    )
    def test_inside(self, inside: float, outcome: str) -> None:
        assert label.inside_destroys(labels(inside=inside)).outcome == outcome

    @pytest.mark.parametrize(
        ("repeated", "outcome"), [(30, "supported"), (80, "mixed"), (88, "refuted")]
    )
    def test_border(self, repeated: float, outcome: str) -> None:
        verdict = label.border_tells(labels(inside=90, repeated=repeated))
        assert verdict.outcome == outcome
        assert verdict.effects[0].spread.median == 90 - repeated


def shifted(**after: float) -> Result:
    """Return rows in which every net has 95 % on digits as they are and these at ``AT``."""
    arms = {"first": "instance first", "inside": "instance", "batch": "batch", "many": shift.MANY}
    return made_up(
        [
            {"seed": seed, "arm": arms[arm], "kind": kind, "strength": at, "accuracy": value}
            for seed in range(3)
            for arm, right in after.items()
            for kind in styles.KINDS
            for at, value in ((0.0, 95.0), (shift.AT, right))
        ]
    )


class TestStyleInTheWay:
    SETTINGS: ClassVar = {
        "arms": ["batch", "instance first", shift.MANY],
        "strengths": [0.0, 0.75],
        "rates": [0.1],
        "steps": 60,
    }

    def test_rows(self) -> None:
        rows, _ = shift.EXPERIMENT.one_seed(0, self.SETTINGS)
        assert len(rows) == 3 * 3 * 2
        result = made_up(rows)
        first = result.where(arm="instance first")
        assert np.ptp(first.values("accuracy")) < 2
        batch = {kind: shift.lost(result, "batch", kind).median for kind in styles.KINDS}
        assert max(batch.values()) > 5

    def test_many_styles_are_all_kinds(self) -> None:
        g = torch.Generator().manual_seed(0)
        x = load_digits(g).test_x
        y = shift.in_many(x, g)
        floor = y.amin(dim=(1, 2, 3)) > 0  # contrast alone lifts black
        grey = (y[:, 0] == y[:, 1]).flatten(1).all(dim=1)
        shares = [floor.float().mean(), (grey & ~floor).float().mean(), (~grey).float().mean()]
        assert all(0.2 < share < 0.47 for share in shares)

    @pytest.mark.parametrize(
        ("first", "batch", "outcome"),
        [(94, 60, "supported"), (94, 90, "mixed"), (90, 60, "mixed"), (80, 60, "refuted")],
    )
    def test_saves(self, first: float, batch: float, outcome: str) -> None:
        verdict = shift.saves_content(shifted(first=first, batch=batch))
        assert verdict.outcome == outcome
        assert [effect.spread.median for effect in verdict.effects] == [95 - first] * 3 + [
            95 - batch
        ] * 3

    @pytest.mark.parametrize(
        ("inside", "outcome"), [(94, "supported"), (90, "mixed"), (80, "refuted")]
    )
    def test_inside(self, inside: float, outcome: str) -> None:
        assert shift.inside_saves(shifted(inside=inside)).outcome == outcome

    @pytest.mark.parametrize(
        ("many", "outcome"), [(93, "supported"), (90, "mixed"), (80, "refuted")]
    )
    def test_many(self, many: float, outcome: str) -> None:
        assert shift.many_styles_do(shifted(first=94, many=many)).outcome == outcome

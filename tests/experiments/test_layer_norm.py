"""Experiments of chapter 07: what changes nothing, and how small a batch may be."""

from __future__ import annotations

from typing import ClassVar

import pytest

from normcourse.evidence import recorded
from normcourse.experiments import Result, Row
from normcourse.experiments import invariances as inv
from normcourse.experiments import small_batches_layer as small
from normcourse.experiments.result import Environment


def made_up(rows: list[Row]) -> Result:
    """Return a result that holds these rows."""
    return Result("made_up", "own", {}, tuple(rows), {}, Environment.here(), "")


class TestInvariances:
    def test_what_theory_says(self) -> None:
        """Ba et al. 2016, table 1, and the exercise of the chapter."""
        result = inv.EXPERIMENT.measure([0, 1, 2], inv.EXPERIMENT.live)
        stays = {
            norm: [inv.unchanged(result, norm, change) for change in inv.CHANGES]
            for norm in inv.LAYERS
        }
        assert stays == {
            "batch": [True, True, False, True, False, True],
            "layer": [True, False, True, True, True, False],
            "rms": [True, False, False, True, True, False],
            "instance": [True, True, False, True, True, True],
            "group": [True, False, False, True, True, False],
            "weight": [True, True, False, False, False, False],
        }

    def test_the_record_agrees(self) -> None:
        full = recorded("invariances")
        assert len(full.seeds) >= 10
        live = inv.EXPERIMENT.measure([20], inv.EXPERIMENT.live)
        for norm in inv.LAYERS:
            for change in inv.CHANGES:
                same = inv.unchanged(full, norm, change)
                assert same == inv.unchanged(live, norm, change), (norm, change)

    def test_seeds_that_do_not_agree(self) -> None:
        rows: list[Row] = [
            {"seed": seed, "norm": "batch", "change": "W times 3", "moved": moved}
            for seed, moved in enumerate((1e-16, 0.5))
        ]
        with pytest.raises(ValueError, match="the seeds do not agree"):
            inv.unchanged(made_up(rows), "batch", "W times 3")

    @pytest.mark.parametrize(("layer", "outcome"), [(0.0, "supported"), (0.5, "refuted")])
    def test_decision(self, layer: float, outcome: str) -> None:
        rows: list[Row] = [
            {"seed": 0, "norm": norm, "change": change, "moved": moved}
            for change in inv.CHANGES
            for norm, moved in (("batch", 0.0), ("layer", layer))
        ]
        assert inv.one_goal(made_up(rows)).outcome == outcome


class TestSmallBatches:
    SETTINGS: ClassVar = {
        "norms": ["none", "batch", "layer"],
        "batch_sizes": [1, 32],
        "rates": [0.03, 0.1],
        "examples": 64,
        "depth": 1,
        "width": 8,
    }

    def test_rows(self) -> None:
        rows, _ = small.EXPERIMENT.one_seed(0, self.SETTINGS)
        found = [(row["norm"], row["batch_size"]) for row in rows]
        assert found == [("none", 1), ("none", 32), ("batch", 32), ("layer", 1), ("layer", 32)]
        assert all(
            row["rate"] in (0.03, 0.1) and 0 <= float(row["accuracy"]) <= 100 for row in rows
        )
        again, _ = small.EXPERIMENT.one_seed(0, self.SETTINGS)
        other, _ = small.EXPERIMENT.one_seed(1, self.SETTINGS)
        assert rows == again
        assert [r["accuracy"] for r in rows] != [r["accuracy"] for r in other]

    @pytest.mark.parametrize(
        ("layer", "outcome"), [(95.0, "supported"), (91.0, "mixed"), (60.0, "refuted")]
    )
    def test_decision(self, layer: float, outcome: str) -> None:
        rows: list[Row] = [
            {"seed": seed, "norm": norm, "batch_size": size, "accuracy": right}
            for seed in range(3)
            for norm, size, right in (
                ("layer", 1, layer),
                ("layer", 32, 95.0),
                ("batch", 2, 50.0),
                ("batch", 32, 96.0),
            )
        ]
        verdict = small.suits_small_batches(made_up(rows))
        assert verdict.outcome == outcome
        assert [effect.spread.median for effect in verdict.effects] == [95.0 - layer, 46.0]

"""Experiments of chapter 09: leaner norms, DyT's alpha, queries and keys, half precision."""

from __future__ import annotations

import math
from typing import ClassVar

import pytest
import torch
from result_specimens import assert_recorded, made_up
from torch import nn

from normcourse.evidence import recorded
from normcourse.experiments import Experiment, Row
from normcourse.experiments import dyt_alpha as alpha
from normcourse.experiments import half_precision as half
from normcourse.experiments import leaner_norms as leaner
from normcourse.experiments import query_norms as queries
from normcourse.experiments.text import in_order, load_text
from normcourse.modules import LayerNorm, RMSNorm


class TestLeanerNorms:
    SETTINGS: ClassVar = {
        "norms": ["layer", "rms", "layer + qk"],
        "depth": 1,
        "rate": 0.01,
        "marks": [1, 2, 3],
        "rounds": 2,
    }

    def test_rows(self) -> None:
        result = leaner.EXPERIMENT.measure([0], self.SETTINGS)
        losses = [row for row in result.rows if "loss" in row]
        timed = [(row["norm"], row["code"]) for row in result.rows if "seconds" in row]
        assert len(losses) == 9
        assert [row["step"] for row in losses[:3]] == [1, 2, 3]
        assert all(3 < float(row["loss"]) < 6 for row in losses)
        assert timed == [
            *((norm, "written out") for norm in self.SETTINGS["norms"]),  # type: ignore[attr-defined]
            ("layer", "torch"),
            ("rms", "torch"),
        ]
        assert min(result.values("seconds")) > 0

    def test_the_code_changes_no_number(self) -> None:
        letters = load_text().test[:64].view(2, 32)
        for norm, theirs in leaner.TORCH.items():
            nets = [
                leaner.make_net(torch.Generator().manual_seed(1), make, depth=2)
                for make in (norm, theirs)
            ]
            with torch.no_grad():
                assert torch.allclose(nets[0](letters), nets[1](letters), atol=1e-4)

    def test_what_each_word_makes(self) -> None:
        net = leaner.make_net(torch.Generator(), "layer + qk", depth=1)
        kinds = [type(m) for m in net.modules()]
        assert (kinds.count(LayerNorm), kinds.count(RMSNorm)) == (3, 2)
        counts = {
            norm: sum(p.numel() for p in make(leaner.WIDTH).parameters())
            for norm, make in leaner.MAKERS.items()
        }
        assert counts == {
            "layer": 64,
            "layer, plain": 0,
            "rms": 32,
            "scale": 1,
            "dyt": 65,
            "layer + qk": 64,
            "none": 0,
        }

    @staticmethod
    def rows(extra: dict[str, float], *, ratio: float = 1.0, torchs: float = 1.0) -> list[Row]:
        """Losses that fall by 0.001 nats a step; ``extra`` is what a norm has beyond layer norm."""
        losses: list[Row] = [
            {
                "norm": norm,
                "code": "written out",
                "step": step,
                "loss": 3 - 0.001 * step + extra.get(norm, 0.0),
            }
            for norm in leaner.MAKERS
            for step in (50, 100, 150)
        ]
        times: list[Row] = [
            {"norm": norm, "code": code, "seconds": 0.02 * (factor if norm == "rms" else 1.0)}
            for code, factor in (("written out", ratio), ("torch", torchs))
            for norm in leaner.MAKERS
        ]
        return losses + times

    @pytest.mark.parametrize(
        ("extra", "outcome"), [(0.01, "supported"), (0.03, "refuted"), (-0.5, "supported")]
    )
    def test_as_good(self, extra: float, outcome: str) -> None:
        rules = {
            "rms": leaner.rms_is_as_good,
            "layer, plain": leaner.affine_can_go,
            "scale": leaner.one_scale_is_enough,
        }
        for norm, rule in rules.items():
            assert rule(made_up(self.rows({norm: extra}))).outcome == outcome

    def test_between_is_mixed(self) -> None:
        rows = [
            {**row, "seed": seed}
            for seed, extra in enumerate((0.0, 0.03, 0.03, 0.03, 0.0))
            for row in self.rows({"rms": extra})
        ]
        assert leaner.rms_is_as_good(made_up(rows)).outcome == "mixed"

    @pytest.mark.parametrize(
        ("ratio", "torchs", "outcome"),
        [(0.9, 0.95, "supported"), (1.0, 1.1, "refuted"), (0.9, 1.1, "mixed")],
    )
    def test_rms_is_faster(self, ratio: float, torchs: float, outcome: str) -> None:
        rows = self.rows({}, ratio=ratio, torchs=torchs)
        assert leaner.rms_is_faster(made_up(rows)).outcome == outcome

    @pytest.mark.parametrize(("ratio", "outcome"), [(0.8, "supported"), (1.25, "refuted")])
    def test_equal_time(self, ratio: float, outcome: str) -> None:
        result = made_up(self.rows({}, ratio=ratio))
        assert leaner.equal_steps(result) == 100
        more = 100 / ratio - 100
        found = leaner.extra_loss_at_equal_time(result, "rms").median
        assert found == pytest.approx(-0.001 * more)
        assert leaner.rms_wins_at_equal_time(result).outcome == outcome

    @pytest.mark.parametrize(
        ("extra", "outcome"), [(-0.03, "supported"), (-0.01, "refuted"), (0.1, "refuted")]
    )
    def test_queries_gain(self, extra: float, outcome: str) -> None:
        rows = self.rows({"layer + qk": extra})
        assert leaner.queries_gain(made_up(rows)).outcome == outcome

    @pytest.mark.parametrize(
        ("rms", "dyt", "outcome"), [(0.1, 0.1, "supported"), (0.0, 0.1, "refuted")]
    )
    def test_only_layer_norm_will_do(self, rms: float, dyt: float, outcome: str) -> None:
        rows = self.rows({"rms": rms, "scale": 0.1, "dyt": dyt})
        assert leaner.only_layer_norm_will_do(made_up(rows)).outcome == outcome

    def test_a_seed_without_a_mark_was_lost(self) -> None:
        rows = self.rows({})
        rows = [r for r in rows if r["norm"] != "none" or r.get("step", 0) < 100]
        result = made_up(rows)
        assert leaner.extra_loss(result, "none", step=50).median == 0
        gone = (
            leaner.extra_loss(result, "none", step=100),
            leaner.extra_loss_at_equal_time(result, "none"),
        )
        assert [lost.median for lost in gone] == [math.inf, math.inf]
        assert leaner.norms_are_needed(result).outcome == "supported"

    @pytest.mark.parametrize(
        ("extra", "outcome"), [(0.2, "supported"), (0.01, "refuted"), (0.05, "mixed")]
    )
    def test_norms_are_needed(self, extra: float, outcome: str) -> None:
        rows = self.rows({"none": extra})
        assert leaner.norms_are_needed(made_up(rows)).outcome == outcome


class TestAlpha:
    SETTINGS: ClassVar = {"alphas": [0.5], "depth": 1, "rate": 0.01, "steps": 2}

    def test_rows(self) -> None:
        rows, _ = alpha.EXPERIMENT.one_seed(0, self.SETTINGS)
        assert [row["start"] for row in rows] == [0.0, 0.5]
        assert "alpha" not in rows[0]
        assert float(rows[1]["alpha"]) == pytest.approx(0.5, abs=0.05)
        assert 0.3 < float(rows[1]["size_before"]) < 1.5

    def test_sizes_are_alpha_times_the_standard_deviation(self) -> None:
        net = nn.Sequential(alpha.starting_at(2.0)(4), nn.Identity())
        x = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
        assert alpha.sizes(net, x) == [pytest.approx(2 * x.std().item())]
        assert not net[0]._forward_hooks

    @staticmethod
    def rows(extra: tuple[float, float, float], ends: tuple[float, float, float]) -> list[Row]:
        starts: list[Row] = [
            {"start": start, "loss": 2.5 + more, "alpha": end}
            for start, more, end in zip((0.25, 1.0, 4.0), extra, ends, strict=True)
        ]
        return [{"start": 0.0, "loss": 2.5}, *starts]

    @pytest.mark.parametrize(
        ("extra", "replaces", "matters"),
        [
            ((0.01, 0.3, 0.3), "supported", "supported"),
            ((0.03, 0.03, 0.04), "refuted", "refuted"),
            ((0.0, 0.05, 0.05), "supported", "mixed"),
        ],
    )
    def test_loss(self, extra: tuple[float, float, float], replaces: str, matters: str) -> None:
        result = made_up(self.rows(extra, (1.0, 1.0, 1.0)))
        assert alpha.replaces_layer_norm(result).outcome == replaces
        assert alpha.start_matters(result).outcome == matters

    @pytest.mark.parametrize(
        ("ends", "outcome"),
        [
            ((0.8, 1.0, 1.5), "supported"),
            ((0.5, 1.0, 2.0), "refuted"),
            ((0.7, 1.0, 2.0), "mixed"),
        ],
    )
    def test_training_mends_the_start(self, ends: tuple[float, float, float], outcome: str) -> None:
        result = made_up(self.rows((0.0, 0.0, 0.0), ends))
        assert alpha.training_mends_the_start(result).outcome == outcome


class TestQueries:
    def test_rows(self) -> None:
        settings = {"rates": [0.01], "depth": 1, "steps": 2}
        rows, _ = queries.EXPERIMENT.one_seed(0, settings)
        assert [row["qk_norm"] for row in rows] == [False, True]
        assert all(float(row["score"]) > 0 for row in rows)

    def test_normalized_scores_have_a_bound_whatever_the_weights(self) -> None:
        letters = in_order(load_text().test, length=leaner.LENGTH)[:4]
        for normed in (False, True):
            net = leaner.make_net(torch.Generator().manual_seed(0), "rms", depth=1, queries=normed)
            small = queries.largest_score(net, letters)
            with torch.no_grad():
                for layer in net.modules():
                    if isinstance(layer, queries.CausalAttention):
                        layer.project_in.weight.mul_(100)
            large = queries.largest_score(net, letters)
            bound = (leaner.WIDTH / 4) ** 0.5
            if normed:
                assert large == pytest.approx(small, rel=1e-2)
                assert large <= bound + 1e-4
            else:
                assert large == pytest.approx(1e4 * small, rel=1e-3)

    @staticmethod
    def rows(score: float, gains: tuple[float, float]) -> list[Row]:
        return [
            {
                "rate": rate,
                "qk_norm": on,
                "loss": 3.0 - (gain if on else 0.0),
                "score": 10.0 if on else score,
            }
            for rate, gain in zip((0.01, 0.1), gains, strict=True)
            for on in (False, True)
        ]

    @pytest.mark.parametrize(
        ("score", "outcome"), [(200.0, "supported"), (15.0, "refuted"), (50.0, "mixed")]
    )
    def test_scores_stay_bounded(self, score: float, outcome: str) -> None:
        rows = self.rows(score, (0.0, 0.2))
        assert queries.scores_stay_bounded(made_up(rows)).outcome == outcome

    @pytest.mark.parametrize(
        ("gains", "outcome"),
        [((0.0, 0.2), "supported"), ((0.0, 0.01), "refuted"), ((0.1, 0.2), "mixed")],
    )
    def test_helps_at_large_rates_only(self, gains: tuple[float, float], outcome: str) -> None:
        rows = self.rows(100.0, gains)
        assert queries.helps_at_large_rates_only(made_up(rows)).outcome == outcome


class TestHalfPrecision:
    SETTINGS: ClassVar = {
        "types": ["float16", "bfloat16"],
        "widths": [64],
        "spreads": [1.0, 64.0],
        "means": [0.0],
        "examples": 8,
    }

    def test_rows(self) -> None:
        result = half.EXPERIMENT.measure([0], self.SETTINGS)
        assert len(result.rows) == 2 * 2 * 2 * 3
        wide = result.where(way="wide").values("error")
        assert max(wide) <= 1.5
        lost = {
            (row["type"], row["spread"]): row["lost"]
            for row in result.where(way="half", norm="layer").rows
        }
        assert lost == {
            ("float16", 1.0): 0.0,
            ("float16", 64.0): 1.0,  # 64 * 64^2 = 262144
            ("bfloat16", 1.0): 0.0,
            ("bfloat16", 64.0): 0.0,
        }

    @pytest.mark.parametrize("width", [1, 5, 8])
    def test_sums(self, width: int) -> None:
        x = torch.arange(2.0 * width).view(2, width)
        for total in (half.by_pairs, half.one_by_one):
            assert torch.equal(total(x), x.sum(-1, keepdim=True))

    @staticmethod
    def rows(
        word: str, errors: tuple[float, float], lost: tuple[float, float] = (0.0, 0.0)
    ) -> list[Row]:
        """Two sizes, below and above the overflow of float16; float32 statistics err by 1."""
        return [
            {
                "type": word,
                "norm": "layer",
                "width": 1024,
                "spread": spread,
                "mean": 0.0,
                "way": way,
                "error": (math.inf if gone else error) if way == "half" else 1.0,
                "lost": gone if way == "half" else 0.0,
            }
            for spread, error, gone in zip((1.0, 64.0), errors, lost, strict=True)
            for way in ("half", "wide")
        ]

    @pytest.mark.parametrize(
        ("error", "lost", "outcome"),
        [
            (3.0, 1.0, "supported"),
            (1.5, 0.0, "refuted"),
            (3.0, 0.0, "mixed"),
            (1.5, 1.0, "mixed"),
        ],
    )
    def test_needs_float32(self, error: float, lost: float, outcome: str) -> None:
        rows = self.rows("float16", (error, error), (0.0, lost))
        assert half.needs_float32(made_up(rows)).outcome == outcome

    @pytest.mark.parametrize(
        ("errors", "outcome"),
        [((2.0, 3.0), "supported"), ((1.5, 1.9), "refuted"), ((1.5, 3.0), "mixed")],
    )
    def test_bfloat16(self, errors: tuple[float, float], outcome: str) -> None:
        rows = self.rows("bfloat16", errors)
        assert half.bfloat16_needs_it_too(made_up(rows)).outcome == outcome

    @pytest.mark.parametrize(
        ("lost", "outcome"),
        [((0.0, 1.0), "supported"), ((0.1, 1.0), "refuted"), ((0.0, 0.9), "refuted")],
    )
    def test_overflow(self, lost: tuple[float, float], outcome: str) -> None:
        rows = self.rows("float16", (1.0, 1.0), lost)
        assert half.overflow_at_the_expected_size(made_up(rows)).outcome == outcome


class TestRecords:
    """What the chapter says of its records, and ten seeds of each."""

    @pytest.mark.parametrize(
        ("experiment", "outcomes"),
        [
            (
                leaner.EXPERIMENT,
                {
                    "rms_is_as_good": "supported",
                    "rms_is_faster": "mixed",
                    "rms_wins_at_equal_time": "supported",
                    "affine_can_go": "supported",
                    "one_scale_is_enough": "supported",
                    "queries_gain": "refuted",
                    "only_layer_norm_will_do": "refuted",
                    "norms_are_needed": "supported",
                },
            ),
            (
                alpha.EXPERIMENT,
                {
                    "replaces_layer_norm": "mixed",
                    "start_matters": "supported",
                    "training_mends_the_start": "refuted",
                },
            ),
            (
                queries.EXPERIMENT,
                {"scores_stay_bounded": "supported", "helps_at_large_rates_only": "mixed"},
            ),
            (
                half.EXPERIMENT,
                {
                    "needs_float32": "supported",
                    "bfloat16_needs_it_too": "mixed",
                    "overflow_at_the_expected_size": "supported",
                },
            ),
        ],
        ids=lambda value: value.name if isinstance(value, Experiment) else "",
    )
    def test_verdicts(self, experiment: Experiment, outcomes: dict[str, str]) -> None:
        assert_recorded(experiment, outcomes)

    def test_float32_statistics_err_as_little_as_rounding(self) -> None:
        assert max(recorded("half_precision").where(way="wide").values("error")) < 1.01

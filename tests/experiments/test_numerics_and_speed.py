"""Experiments of chapter 16: variances that cancel, and the share of norms in the time of nets."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from result_specimens import assert_recorded, made_up
from torch import nn

from normcourse.evidence import recorded
from normcourse.experiments import Experiment, Row
from normcourse.experiments import norm_share as share
from normcourse.experiments import one_pass_variance as variance


class TestVariance:
    @pytest.mark.parametrize("name", list(variance.METHODS))
    @pytest.mark.parametrize("values", [64, 256])
    def test_every_method_is_the_biased_variance(self, name: str, values: int) -> None:
        x = np.random.default_rng(0).normal(1.0, 2.0, (3, values))
        np.testing.assert_allclose(variance.METHODS[name](x), x.var(axis=-1), rtol=1e-12)

    @pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
    def test_methods_stay_in_the_dtype_of_the_values(self, dtype: str) -> None:
        x = np.linspace(1, 2, 128).astype(dtype)[None]
        for name, method in variance.METHODS.items():
            wide = name == "one pass, float64"
            assert method(x).dtype == (np.float64 if wide else np.dtype(dtype)), name

    def test_the_exact_variance_is_that_of_the_rounded_values(self) -> None:
        x, exact = variance.draw(np.random.default_rng(0), "float32", 1e4, draws=3, values=64)
        assert x.dtype == np.float32
        assert x.shape == (3, 64)
        centered = x.astype(np.float64) - x[:, :1].astype(np.float64)  # exact: neighbours
        np.testing.assert_allclose(exact, centered.var(axis=-1), rtol=1e-12)
        assert x.mean() / math.sqrt(exact.mean()) == pytest.approx(1e4, rel=0.2)

    def test_rows(self) -> None:
        settings: dict[str, Any] = {
            "ratios": {"float32": [10.0, 1000.0], "float64": [1e8]},
            "methods": ["one pass", "two passes"],
            "draws": 4,
            "values": 256,
        }
        rows, _ = variance.EXPERIMENT.one_seed(0, settings)
        error = {(r["dtype"], r["ratio"], r["method"]): float(r["error"]) for r in rows}
        assert len(error) == 6
        assert error["float32", 1000.0, "one pass"] > 100 * error["float32", 10.0, "one pass"]
        assert error["float64", 1e8, "one pass"] > 0.01
        assert max(e for key, e in error.items() if key[2] == "two passes") < 1e-5
        assert all(float(r["worst"]) >= float(r["error"]) for r in rows)

    @staticmethod
    def rows(errors: dict[float, float], dtype: str = "float32", **more: Any) -> list[Row]:
        return [
            {"dtype": dtype, "ratio": r, "method": "one pass", "error": e, "negative": 0.0, **more}
            for r, e in errors.items()
        ]

    @pytest.mark.parametrize(
        ("last", "outcome"), [(9e-4, "supported"), (2e-3, "refuted"), (0.5, "refuted")]
    )
    def test_one_pass_is_fine(self, last: float, outcome: str) -> None:
        rows = self.rows({1.0: 1e-7, 1000.0: last, 1e4: 5.0})
        assert variance.one_pass_is_fine(made_up(rows)).outcome == outcome

    @pytest.mark.parametrize(
        ("negative", "outcome"), [(0.1, "supported"), (0.05, "mixed"), (0.0, "refuted")]
    )
    def test_goes_negative(self, negative: float, outcome: str) -> None:
        rows = self.rows({1.0: 1e-7}) + self.rows({1e4: 5.0}, negative=negative)
        assert variance.goes_negative(made_up(rows)).outcome == outcome

    @pytest.mark.parametrize(
        ("errors", "outcome"),
        [
            ((1e-6, 1e-4, 1e-5), "supported"),
            ((1e-6, 2e-3, 1e-5), "mixed"),
            ((1e-2, 2e-3, 1e-2), "refuted"),
        ],
    )
    def test_others_hold(self, errors: tuple[float, ...], outcome: str) -> None:
        names = ("two passes", "Welford", "merged")
        rows: list[Row] = [
            {"dtype": "float32", "ratio": 1000.0, "method": name, "error": error}
            for name, error in zip(names, errors, strict=True)
        ]
        assert variance.others_hold(made_up(rows)).outcome == outcome

    @pytest.mark.parametrize(
        ("growth", "outcome"), [(100.0, "supported"), (10.0, "refuted"), (30.0, "mixed")]
    )
    def test_grows_with_the_square(self, growth: float, outcome: str) -> None:
        errors = {10.0 * 10.0**k: 1e-9 * growth**k for k in range(3)}
        rows = self.rows(errors) + self.rows(errors, "float64")
        assert variance.grows_with_the_square(made_up(rows)).outcome == outcome


class TestShare:
    SETTINGS: dict[str, Any] = {  # noqa: RUF012
        "nets": {"mlp": [8], "conv": [4], "transformer": [8]},
        "norms": {"mlp": ["rms"], "conv": ["batch", "group"], "transformer": ["layer"]},
        "batch": {"mlp": 4, "conv": 3, "transformer": 2},
        "rounds": 1,
        "memory": [16, 8],
    }

    def test_rows(self) -> None:
        rows, _ = share.EXPERIMENT.one_seed(0, self.SETTINGS)
        timed = [row for row in rows if row["net"] != "memory"]
        kinds = {(r["net"], r["norm"], r["layers"], r["pass"]) for r in timed}
        # a net without norms, ours and torch's, each in two passes, and batch norm folded
        assert len(timed) == len(kinds) == 2 * 3 + (2 * 5 + 1) + 2 * 3
        assert ("conv", "batch", "folded", "inference") in kinds
        for row in timed:
            assert float(row["ms"]) > 0
            assert float(row["share"]) < 1
            assert row["norm"] != "none" or row["share"] == 0
        memory = {row["norm"]: row for row in rows if row["net"] == "memory"}
        assert set(memory) == {key[0] for key in share.memory_works(2, 2, 0)}
        assert memory["copy"]["copies"] == 1
        assert float(memory["matrix product"]["speed"]) > 0

    @pytest.mark.parametrize("kind", ["mlp", "conv", "transformer"])
    def test_both_kinds_of_layers_compute_the_same(self, kind: str) -> None:
        x, _ = share.inputs(kind, 3, torch.Generator().manual_seed(0))
        norms = share.EXPERIMENT.full["norms"][kind]
        makers = share.makers(kind, norms)
        for norm in norms:
            ours, theirs = (
                share.make_net(kind, 8, makers[norm, layers], torch.Generator().manual_seed(1))
                for layers in ("course", "torch")
            )
            if norm == "rms":  # torch's eps is that of the dtype, ours 1e-5
                torch.testing.assert_close(ours(x), theirs(x), rtol=1e-3, atol=1e-3)
            else:
                torch.testing.assert_close(ours(x), theirs(x), rtol=1e-4, atol=1e-5)

    def test_folded_nets_hold_no_norm_and_give_the_same(self) -> None:
        make = share.makers("conv", ["batch"])["batch", "torch"]
        net = share.make_net("conv", 8, make, torch.Generator().manual_seed(1)).eval()
        folded = share.fold_batch_norms(net)
        assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
        x, _ = share.inputs("conv", 3, torch.Generator().manual_seed(0))
        torch.testing.assert_close(folded(x), net(x), rtol=1e-4, atol=1e-5)

    def test_single_operations(self) -> None:
        works = {key[0]: work for key, work in share.memory_works(6, 5, 0).items()}
        torch.testing.assert_close(
            works["layer norm, step by step"](), works["layer norm, torch"](), rtol=1e-4, atol=1e-5
        )

    @staticmethod
    def rows(shares: dict[tuple[str, int, str, str], float], what: str = "step") -> list[Row]:
        return [
            {"net": n, "size": s, "norm": norm, "layers": layers, "pass": what, "share": v, "ms": 1}
            for (n, s, norm, layers), v in shares.items()
        ]

    @pytest.mark.parametrize(
        ("ours", "theirs", "outcome"),
        [(0.2, 0.1, "supported"), (0.5, 0.1, "mixed"), (0.5, 0.3, "refuted")],
    )
    def test_cheap(self, ours: float, theirs: float, outcome: str) -> None:
        found = {("mlp", 8, "layer", "course"): ours, ("mlp", 8, "layer", "torch"): theirs}
        verdict = share.cheap(made_up(self.rows(found)))
        assert verdict.outcome == outcome
        assert [effect.spread.median for effect in verdict.effects] == [theirs, ours]

    @pytest.mark.parametrize(
        ("wide", "outcome"), [(0.2, "supported"), (0.3, "mixed"), (0.4, "refuted")]
    )
    def test_falls_with_width(self, wide: float, outcome: str) -> None:
        ends = {8: 0.4, 64: 0.3, 512: wide}
        rows = self.rows({("mlp", size, "layer", "torch"): v for size, v in ends.items()})
        assert share.falls_with_width(made_up(rows)).outcome == outcome

    @pytest.mark.parametrize(
        ("folded", "layer", "outcome"),
        [(0.01, 0.2, "supported"), (0.01, 0.08, "mixed"), (0.01, 0.03, "refuted")],
    )
    def test_folding_is_free(self, folded: float, layer: float, outcome: str) -> None:
        found = {("mlp", 8, "batch", "folded"): folded, ("mlp", 8, "layer", "torch"): layer}
        rows = self.rows({**found, ("mlp", 8, "batch", "torch"): 0.1}, "inference")
        assert share.folding_is_free(made_up(rows)).outcome == outcome

    @pytest.mark.parametrize(
        ("ratios", "outcome"),
        [((0.9, 0.98), "supported"), ((0.9, 1.1), "mixed"), ((1.0, 1.1), "refuted")],
    )
    def test_rms_is_faster(self, ratios: tuple[float, float], outcome: str) -> None:
        rows: list[Row] = [
            {"net": "mlp", "size": 8, "layers": layers, "pass": "step", "norm": norm, "ms": ms}
            for layers, ratio in zip(("torch", "course"), ratios, strict=True)
            for norm, ms in (("layer", 2.0), ("rms", 2.0 * ratio))
        ]
        assert share.rms_is_faster(made_up(rows)).outcome == outcome

    @pytest.mark.parametrize(
        ("copies", "outcome"), [(1.5, "supported"), (2.0, "mixed"), (3.0, "refuted")]
    )
    def test_memory_bound(self, copies: float, outcome: str) -> None:
        rows: list[Row] = [
            {"net": "memory", "norm": "copy", "copies": 1.0},
            {"net": "memory", "norm": "layer norm, torch", "copies": copies},
        ]
        assert share.memory_bound(made_up(rows)).outcome == outcome


class TestRecords:
    """What the chapter says of its records, and ten seeds of each."""

    @pytest.mark.parametrize(
        ("experiment", "outcomes"),
        [
            (
                variance.EXPERIMENT,
                {
                    "one_pass_is_fine": "refuted",
                    "goes_negative": "supported",
                    "others_hold": "supported",
                    "grows_with_the_square": "supported",
                },
            ),
            (
                share.EXPERIMENT,
                {
                    "cheap": "mixed",
                    "falls_with_width": "supported",
                    "folding_is_free": "mixed",
                    "rms_is_faster": "mixed",
                    "memory_bound": "supported",
                },
            ),
        ],
        ids=lambda value: value.name if isinstance(value, Experiment) else "",
    )
    def test_verdicts(self, experiment: Experiment, outcomes: dict[str, str]) -> None:
        assert_recorded(experiment, outcomes)

    def test_a_seed_of_the_record_comes_out_again(self) -> None:
        full = recorded("one_pass_variance")
        settings = {**full.settings, "ratios": {"float32": [1000.0]}}
        rows, _ = variance.EXPERIMENT.one_seed(0, settings)
        for row in rows:
            told = full.where(seed=0, dtype="float32", ratio=1000.0, method=row["method"])
            assert row["error"] == pytest.approx(told.values("error")[0], rel=0.05, abs=1e-7)

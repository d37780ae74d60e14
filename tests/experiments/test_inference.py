"""Chapter 04: each experiment in miniature, each decision rule on made-up rows."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Any

import pytest
import torch

from normcourse.experiments import Experiment, Result, Row
from normcourse.experiments import folding_error as folding
from normcourse.experiments import forgotten_eval as no_eval
from normcourse.experiments import forgotten_train as no_train
from normcourse.experiments import frozen_backbone as frozen
from normcourse.experiments import last_batch as last
from normcourse.experiments import polluted_statistics as polluted
from normcourse.experiments import running_statistics as running
from normcourse.experiments import test_time_adaptation as adaptation
from normcourse.experiments import two_modes as modes
from normcourse.experiments.result import Environment
from normcourse.experiments.trained import batch_norms, trained_net
from normcourse.norms import update_running_stats

MINIATURES: dict[str, dict[str, Any]] = {
    "folding_error": {
        "nets": ["mlp"], "dtypes": ["float64", "float32"], "batch_sizes": [40], "later": [0, 1],
        "steps": 2,
    },
    "forgotten_eval": {"nets": ["mlp"], "batch_sizes": [1, 8], "steps": 2},
    "forgotten_train": {"nets": ["mlp"], "rates": [0.1], "epochs": 2},
    "frozen_backbone": {"nets": ["mlp"], "shifts": ["dim"], "marks": [0, 2], "steps": 2},
    "last_batch": {"nets": ["mlp"], "sizes": [0, 1, 3], "epochs": 1},
    "polluted_statistics": {"nets": ["mlp"], "batches": [0, 2], "steps": 2},
    "running_statistics": {"net": "mlp", "batch_sizes": [4], "steps": [1, 3]},
    "test_time_adaptation": {
        "nets": ["mlp"], "changes": {"offset": [0.5]}, "batch_sizes": [120], "shares": [1.0],
        "steps": 2,
    },
    "two_modes": {"norms": ["batch", "layer"], "batches": 3},
}  # fmt: skip
COLUMNS = {
    "folding_error": {"net", "part", "dtype", "error", "changed", "rounding", "batch_size",
                      "batches"},
    "forgotten_eval": {"net", "order", "batch_size", "accuracy", "inference", "refused"},
    "forgotten_train": {"net", "rate", "loop", "epoch", "train_loss", "test_loss", "accuracy",
                        "batches_tracked"},
    "frozen_backbone": {"net", "shift", "mode", "step", "old", "new", "weights_moved"},
    "last_batch": {"net", "last_batch", "epoch", "accuracy", "recalibrated", "refused"},
    "polluted_statistics": {"net", "kind", "batches", "accuracy", "weights_moved",
                            "statistics_moved"},
    "running_statistics": {"net", "batch_size", "batches", "way", "accuracy", "loss"},
    "test_time_adaptation": {"net", "part", "change", "strength", "way", "batch_size", "accuracy",
                             "look", "share", "batch", "stored"},
    "two_modes": {"norm", "buffers", "mode_difference", "company_difference",
                  "affine_departure"},
}  # fmt: skip


def _experiment(name: str) -> Experiment:
    found: Experiment = importlib.import_module(f"normcourse.experiments.{name}").EXPERIMENT
    return found


def _mini(name: str) -> Result:
    return _experiment(name).measure([0], MINIATURES[name])


def result(rows: Iterable[Row]) -> Result:
    """Return a result of these rows, the same for two seeds."""
    both = tuple({"seed": seed, **row} for row in rows for seed in (0, 1))
    return Result("made_up", "own", {}, both, {}, Environment.here(), "")


@pytest.mark.parametrize("name", sorted(MINIATURES))
class TestMiniatures:
    def test_columns_and_the_same_for_the_same_seed(self, name: str) -> None:
        first, second = _mini(name), _mini(name)
        assert {column for row in first.rows for column in row} == COLUMNS[name] | {"seed"}
        assert first.rows == second.rows

    def test_settings(self, name: str) -> None:
        """The settings of the miniature are those of the record, other values."""
        experiment = _experiment(name)
        assert experiment.name == name
        assert set(MINIATURES[name]) == set(experiment.full) == set(experiment.live)


class TestTrained:
    def test_the_net_comes_from_the_seed(self) -> None:
        first, second, other = (trained_net(seed, "conv", 1).net for seed in (0, 0, 1))
        assert torch.equal(first.conv1.weight, second.conv1.weight)
        assert not torch.equal(first.conv1.weight, other.conv1.weight)
        assert len(batch_norms(first)) == 3


class TestTracker:
    """What the experiment gathers is what the layer, or the reference, would have."""

    def test_ways(self) -> None:
        layer = torch.nn.BatchNorm1d(3)
        norm = batch_norms(trained_net(0, "mlp", 0).net)[0]
        norm.num_features = 3
        norm.reset_parameters()
        tracker = running.Tracker(norm)
        tracker.ways = {way: (torch.zeros(3), torch.ones(3)) for way in tracker.ways}
        batches = [torch.randn(5, 3, generator=torch.Generator().manual_seed(s)) for s in range(4)]
        pooled = (torch.zeros(3).numpy(), torch.ones(3).numpy())
        for count, batch in enumerate(batches):
            layer(batch)
            tracker._see(norm, (batch,))
            pooled = update_running_stats(
                *pooled, batch.numpy(), momentum=None, num_batches_tracked=count
            )
        torch.testing.assert_close(tracker.ways["0.1"][0], layer.running_mean)
        torch.testing.assert_close(tracker.ways["0.1"][1], layer.running_var)
        for ours, reference in zip(tracker.ways["all batches"], pooled, strict=True):
            torch.testing.assert_close(ours, torch.from_numpy(reference))

    def test_debiased_equals_weights_that_add_up_to_one(self) -> None:
        norm = batch_norms(trained_net(0, "mlp", 0).net)[0]
        tracker = running.Tracker(norm)
        batches = [torch.randn(6, 64, generator=torch.Generator().manual_seed(s)) for s in range(3)]
        for batch in batches:
            tracker._see(norm, (batch,))
        weights = torch.tensor([0.99**2, 0.99, 1.0])
        weights /= weights.sum()
        mean, var = tracker.debiased()
        means, variances = (torch.stack([f(b) for b in batches]) for f in (_mean, _var))
        torch.testing.assert_close(mean, weights @ means, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(var, weights @ variances, rtol=1e-3, atol=1e-4)

    def test_inference_batches_leave_no_trace(self) -> None:
        norm = batch_norms(trained_net(0, "mlp", 0).net)[0].eval()
        tracker = running.Tracker(norm)
        norm(torch.ones(4, 64))
        assert tracker.count == 0


def _mean(batch: torch.Tensor) -> torch.Tensor:
    return batch.mean(0)


def _var(batch: torch.Tensor) -> torch.Tensor:
    return batch.var(0)


class TestMeasured:
    """Facts that hold at any size."""

    def test_parameters_rest_and_statistics_move_under_no_grad(self) -> None:
        seen = _mini("polluted_statistics")
        assert max(seen.values("weights_moved")) == 0
        assert min(seen.where(batches=2).values("statistics_moved")) > 0
        assert max(seen.where(batches=0).values("statistics_moved")) == 0

    def test_one_value_per_mean_is_refused(self) -> None:
        alone = _mini("forgotten_eval").where(batch_size=1)
        assert all(alone.values("refused"))
        assert _mini("last_batch").where(last_batch=1).values("refused") == [True]

    def test_without_train_no_batch_is_tracked_after_the_first_epoch(self) -> None:
        seen = _mini("forgotten_train")
        assert seen.where(loop="right").values("batches_tracked") == [22, 44]
        assert seen.where(loop="train() forgotten").values("batches_tracked") == [22, 22]

    def test_a_backbone_in_inference_mode_keeps_the_old_task(self) -> None:
        old = _mini("frozen_backbone").where(mode="inference").values("old")
        assert old[0] == old[-1]

    def test_both_modes_of_the_backbone_start_alike(self) -> None:
        start = _mini("frozen_backbone").where(step=0)
        assert len(set(start.values("old"))) == len(set(start.values("new"))) == 1

    def test_folded_nets_agree_in_float64(self) -> None:
        exact = _mini("folding_error").where(part="inference", dtype="float64")
        assert max(exact.values("error")) < 1e-12
        assert exact.values("rounding") == [pytest.approx(0, abs=1e-12)]

    def test_a_batch_with_a_share(self) -> None:
        t = torch.arange(50) % 10
        generator = torch.Generator().manual_seed(0)
        for share, count in ((0.25, 8), (1.0, 32)):
            batch = adaptation._with_share(t, 3, share, generator)
            assert len(batch) == 32
            assert int((t[batch] == 3).sum()) == count


def _times(small: float, large: float, early: float = 0.5) -> Result:
    """Return rows in which 0.99 and the slow start lie behind by given points."""
    rows: list[Row] = []
    for size, behind in ((4, small), (64, large)):
        for batches in (30, 100):
            good = {"recalibrated": 0.9, "0.1": 0.9, "0.01 debiased": 0.89}
            bad = {"0.01": 0.9 - early, "0.99": 0.9 - behind / 100}
            rows += [
                {"batch_size": size, "batches": batches, "way": way, "accuracy": accuracy}
                for way, accuracy in {**good, **bad}.items()
            ]
    return result(rows)


class TestRunningStatistics:
    @pytest.mark.parametrize(
        ("early", "outcome"), [(0.5, "supported"), (0.01, "refuted"), (0.05, "mixed")]
    )
    def test_slow_start(self, early: float, outcome: str) -> None:
        verdict = running.slow_start(_times(0, 0, early))
        assert verdict.outcome == outcome
        assert verdict.effects[0].spread.median == pytest.approx(100 * early)

    def test_slow_start_needs_the_start_to_be_the_cause(self) -> None:
        rows = [
            dict(row) | ({"accuracy": 0.5} if row["way"] == "0.01 debiased" else {})
            for row in _times(0, 0).rows
        ]
        assert running.slow_start(_again(rows)).outcome == "mixed"

    @pytest.mark.parametrize(
        ("small", "large", "outcome"),
        [(30, 10, "supported"), (30, 1, "mixed"), (0.5, 0.5, "refuted")],
    )
    def test_misread_momentum(self, small: float, large: float, outcome: str) -> None:
        assert running.misread_momentum(_times(small, large)).outcome == outcome


def _again(rows: Iterable[Row]) -> Result:
    """Return a result of rows that have their seed."""
    return Result("made_up", "own", {}, tuple(rows), {}, Environment.here(), "")


class TestForgottenEval:
    @pytest.mark.parametrize(
        ("mixed", "sorted_", "outcome"),
        [(0.80, 0.2, "supported"), (0.95, 0.95, "refuted"), (0.80, 0.9, "mixed")],
    )
    def test_depends_on_company(self, mixed: float, sorted_: float, outcome: str) -> None:
        rows = [
            {"net": net, "order": order, "batch_size": size, "inference": 0.95, "accuracy": value}
            for net in ("mlp", "conv")
            for order, value in (("mixed", mixed), ("by class", sorted_))
            for size in (8, 24)
        ]
        assert no_eval.depends_on_company(result(rows)).outcome == outcome


def _polluted(same: float, paler: float, moved: float = 1.0) -> Result:
    return result(
        {
            "net": "mlp",
            "kind": kind,
            "batches": batches,
            "accuracy": 0.9 - (lost / 100 if batches else 0),
            "weights_moved": 0.0,
            "statistics_moved": moved if batches else 0.0,
        }
        for kind, lost in (("same kind", same), ("paler", paler))
        for batches in (0, 40)
    )


class TestPollutedStatistics:
    @pytest.mark.parametrize(
        ("paler", "moved", "outcome"),
        [(20, 1.0, "refuted"), (0, 0.0, "supported"), (2, 1.0, "mixed")],
    )
    def test_no_grad_protects(self, paler: float, moved: float, outcome: str) -> None:
        assert polluted.no_grad_protects(_polluted(0, paler, moved)).outcome == outcome

    @pytest.mark.parametrize(
        ("same", "outcome"), [(0.5, "supported"), (6, "refuted"), (3, "mixed")]
    )
    def test_same_kind_is_harmless(self, same: float, outcome: str) -> None:
        assert polluted.same_kind_is_harmless(_polluted(same, 20)).outcome == outcome


class TestForgottenTrain:
    @pytest.mark.parametrize(
        ("right", "wrong", "outcome"),
        [(0.97, 0.1, "supported"), (0.97, 0.968, "refuted"), (0.5, 0.1, "mixed")],
    )
    def test_costs_accuracy(self, right: float, wrong: float, outcome: str) -> None:
        rows = [
            {"net": "mlp", "rate": rate, "loop": loop, "epoch": epoch, "accuracy": value}
            for rate, low in ((0.1, right), (1.0, wrong))
            for loop, value in zip(no_train.LOOPS, (right, low), strict=True)
            for epoch in (1, 2)
        ]
        assert no_train.costs_accuracy(result(rows)).outcome == outcome


def _last(lost: float, left: float) -> Result:
    return result(
        {
            "net": "conv",
            "last_batch": size,
            "epoch": epoch,
            "refused": False,
            "accuracy": 0.9 - (lost / 100 if size == 1 and epoch > last.SETTLED else 0),
            "recalibrated": 0.9 - (left / 100 if size == 1 and epoch > last.SETTLED else 0),
        }
        for size in (0, 1, 8)
        for epoch in range(1, last.SETTLED + 3)
    )


class TestLastBatch:
    @pytest.mark.parametrize(
        ("lost", "outcome"), [(20, "supported"), (0.5, "refuted"), (3, "mixed")]
    )
    def test_rules(self, lost: float, outcome: str) -> None:
        assert last.spoils_inference(_last(lost, 0)).outcome == outcome
        assert last.spoils_weights(_last(30, lost)).outcome == outcome

    def test_means_over_the_settled_epochs(self) -> None:
        means = last.settled_means(_last(20, 10))
        assert means.distinct("place") == [0, 1, 2]
        assert means.where(last_batch=1).values("accuracy") == pytest.approx([0.7, 0.7])
        assert means.where(last_batch=8).values("recalibrated") == pytest.approx([0.9, 0.9])

    def test_a_refused_size_is_left_out(self) -> None:
        rows: list[Row] = [dict(row) for row in _last(20, 10).rows if row["last_batch"] != 1]
        rows += [
            {"seed": s, "net": "conv", "last_batch": 1, "epoch": 1, "refused": True} for s in (0, 1)
        ]
        assert last.settled_means(_again(rows)).distinct("last_batch") == [0, 8]


def _frozen(old: float, new: float, moved: float = 0.0) -> Result:
    return result(
        {
            "net": "mlp",
            "shift": shift,
            "mode": mode,
            "step": step,
            "old": 0.9 - (old / 100 if mode == "training" and step else 0),
            "new": 0.9 - (new / 100 if mode == "training" and step else 0),
            "weights_moved": moved,
        }
        for shift in ("same", "dim")
        for mode in frozen.MODES
        for step in (0, 100)
    )


class TestFrozenBackbone:
    @pytest.mark.parametrize(
        ("old", "moved", "outcome"),
        [(15, 0.0, "refuted"), (0, 0.0, "supported"), (15, 0.1, "mixed"), (3, 0.0, "mixed")],
    )
    def test_requires_grad_freezes(self, old: float, moved: float, outcome: str) -> None:
        assert frozen.requires_grad_freezes(_frozen(old, 0, moved)).outcome == outcome

    @pytest.mark.parametrize(("new", "outcome"), [(5, "supported"), (-5, "refuted"), (1, "mixed")])
    def test_new_task_suffers(self, new: float, outcome: str) -> None:
        assert frozen.new_task_suffers(_frozen(10, new)).outcome == outcome


class TestFoldingError:
    @pytest.mark.parametrize(
        ("double", "single", "changed", "outcome"),
        [
            (1e-15, 1e-6, 0.0, "supported"),
            (1e-15, 1e-6, 0.1, "mixed"),
            (1e-3, 1e-3, 0.0, "refuted"),
        ],
    )
    def test_exact_in_inference(
        self, double: float, single: float, changed: float, outcome: str
    ) -> None:
        rows = [
            {"net": "mlp", "part": "inference", "dtype": d, "error": error, "changed": changed}
            for d, error in (("float64", double), ("float32", single))
        ]
        assert folding.exact_in_inference(result(rows)).outcome == outcome

    @pytest.mark.parametrize(
        ("error", "outcome"), [(0.5, "refuted"), (1e-6, "supported"), (0.01, "mixed")]
    )
    def test_same_in_training(self, error: float, outcome: str) -> None:
        rows = [{"net": "mlp", "part": "training", "batch_size": 8, "error": error}]
        assert folding.same_in_training(result(rows)).outcome == outcome


class TestAdaptation:
    @pytest.mark.parametrize(
        ("gain", "outcome"), [(30, "supported"), (0.5, "refuted"), (3, "mixed")]
    )
    def test_helps_under_change(self, gain: float, outcome: str) -> None:
        rows: list[Row] = []
        for change, near, far in (("contrast", 1.0, 0.1), ("offset", 0.0, 1.0)):
            for strength in (near, far):
                row: Row = {"net": "mlp", "part": "change", "change": change, "strength": strength}
                stored = 0.9 - (gain / 100 if strength == far else 0)
                rows.append(row | {"way": "stored", "accuracy": stored})
                rows.append(row | {"way": "batch", "batch_size": 120, "accuracy": 0.9})
        assert adaptation.helps_under_change(result(rows)).outcome == outcome

    @pytest.mark.parametrize(
        ("lost", "outcome"), [(60, "supported"), (2, "refuted"), (10, "mixed")]
    )
    def test_skew_costs(self, lost: float, outcome: str) -> None:
        rows = [
            {"net": "mlp", "part": "skew", "look": "same", "share": share, "stored": 0.95,
             "batch": 0.95 - lost * share / 100}
            for share in (0.0, 1.0)
        ]  # fmt: skip
        assert adaptation.skew_costs(result(rows)).outcome == outcome


class TestTwoModes:
    @pytest.mark.parametrize(
        ("batch", "layer", "affine", "has_modes"),
        [
            (0.0, 0.5, "supported", "refuted"),
            (0.5, 0.0, "refuted", "supported"),
            (0.001, 0.5, "mixed", "refuted"),
        ],
    )
    def test_rules(self, batch: float, layer: float, affine: str, has_modes: str) -> None:
        rows = [
            {"norm": word, "affine_departure": value, "mode_difference": value}
            for word, value in (("batch", batch), ("layer", layer))
        ]
        assert modes.only_batch_norm_is_affine(result(rows)).outcome == affine
        assert modes.only_batch_norm_has_modes(result(rows)).outcome == has_modes

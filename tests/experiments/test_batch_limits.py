"""The runs of chapter 06: miniatures give what they say, rules judge made-up rows as they say."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
import torch

from normcourse.experiments import (
    company,
    effective_values,
    padding,
    rare_signals,
    small_batch_remedies,
    small_batches,
    sorted_batches,
    sync_batch_norm,
)
from normcourse.experiments._sync_worker import joined, make_net
from normcourse.experiments.experiment import Experiment
from normcourse.experiments.result import Result, Row

MINIATURES = {
    "small_batches": {"nets": ["fc", "conv 1x1"], "sizes": [2, 4], "examples": 24},
    "effective_values": {
        "layers": [["fc", "linear1"], ["conv 2x2", "conv3"], ["signals", "conv1"]],
        "sizes": [2],
        "batches": 10,
    },
    "sorted_batches": {
        "classes": [0, 2],
        "norms": ["batch", "layer"],
        "steps": 6,
        "lr": 0.1,
        "checks": 2,
    },
    "company": {
        "norms": ["batch", "layer"],
        "sizes": [2, 5],
        "images": 2,
        "companies": 3,
        "steps": 4,
    },
    "padding": {
        "words": ["padded", "masked", "layer"],
        "offsets": [2.0],
        "longest": 6,
        "steps": 2,
        "lr": 0.1,
    },
    "rare_signals": {
        "norms": ["none", "batch"],
        "kept": [3],
        "rates": [0.1],
        "steps": 3,
        "batch_size": 8,
    },
    "small_batch_remedies": {
        "tasks": ["rotated"],
        "remedies": ["joined", "accumulated", "renorm", "frozen"],
        "sizes": [2],
        "steps": 2,
        "before": 3,
        "lr": 0.1,
    },
}
COLUMNS = {
    "small_batches": {"net", "norm", "size", "values", "error"},
    "effective_values": {"net", "layer", "positions", "size", "values", "effective"},
    "sorted_batches": {"norm", "classes", "inference", "alike", "mixed"},
    "company": {"norm", "size", "changed", "moved", "leaked"},
    "padding": {"word", "offset"},
    "rare_signals": {"norm", "rate", "kept", "share", "recall", "error"},
    "small_batch_remedies": {"task", "remedy", "size", "error"},
}
MODULES = (
    small_batches,
    effective_values,
    sorted_batches,
    company,
    padding,
    rare_signals,
    small_batch_remedies,
)
EXPERIMENTS: dict[str, Experiment] = {
    module.EXPERIMENT.name: module.EXPERIMENT for module in MODULES
}


def _made_up(experiment: Experiment, rows: Iterable[Row]) -> Result:
    """Return a result of three seeds with the same rows in each."""
    several = [{"seed": seed, **row} for seed in range(3) for row in rows]
    return experiment.result(several, {0: 0.0, 1: 0.0, 2: 0.0}, {}, "own")


@pytest.mark.parametrize("name", sorted(EXPERIMENTS))
def test_a_miniature_has_its_columns_and_repeats_itself(name: str) -> None:
    experiment, settings = EXPERIMENTS[name], MINIATURES[name]
    first, _ = experiment.one_seed(1, settings)
    again, _ = experiment.one_seed(1, settings)
    assert first == again
    assert all(COLUMNS[name] <= set(row) for row in first)
    assert set(experiment.live) == set(experiment.full) == set(settings)


class TestSmallBatches:
    RULES = small_batches.EXPERIMENT

    def _result(self, extra: dict[tuple[str, int], float]) -> Result:
        rows = [
            {"net": net, "norm": norm, "size": size, "error": 0.1 + (norm == "batch") * cost}
            for (net, size), cost in extra.items()
            for norm in ("batch", "free")
        ]
        return _made_up(self.RULES, rows)

    @pytest.mark.parametrize(
        ("fc", "conv", "outcome"),
        [(0.3, 0.2, "supported"), (0.01, 0.0, "refuted"), (0.3, 0.0, "mixed")],
    )
    def test_batch_of_two(self, fc: float, conv: float, outcome: str) -> None:
        result = self._result({("fc", 2): fc, ("conv 8x8", 2): conv, ("fc", 32): 0.4})
        assert small_batches.batch_of_two(result).outcome == outcome

    @pytest.mark.parametrize(
        ("few", "enough", "outcome"),
        [
            (0.3, 0.01, "supported"),
            (0.01, 0.0, "refuted"),
            (0.3, 0.06, "refuted"),
            (0.03, 0.01, "mixed"),
            (0.3, 0.03, "mixed"),
        ],
    )
    def test_values_per_mean(self, few: float, enough: float, outcome: str) -> None:
        """Two images of 2x2 positions are enough values; four hidden units' are neither."""
        result = self._result({("fc", 2): few, ("fc", 4): 0.5, ("conv 2x2", 2): enough})
        assert small_batches.values_per_mean(result).outcome == outcome

    @pytest.mark.parametrize("net", sorted(small_batches.NETS))
    def test_the_smallest_pool_is_what_a_mean_pools(self, net: str) -> None:
        model = small_batches.make_net(torch.Generator().manual_seed(0), net, "batch")
        pools = []
        for layer in model:
            if hasattr(layer, "running_mean"):
                layer.register_forward_hook(
                    lambda _m, x, _y: pools.append(x[0].numel() // x[0].shape[1])
                )
        model(torch.rand(3, 1, 8, 8))
        assert min(pools) == 3 * small_batches.positions(net)


class TestEffectiveValues:
    @pytest.mark.parametrize(
        ("maps", "units", "outcome"),
        [(70.0, 9.0, "supported"), (20.0, 9.0, "refuted"), (45.0, 9.0, "mixed")],
    )
    def test_rule(self, maps: float, units: float, outcome: str) -> None:
        rows = [
            {"net": "conv", "layer": "c", "positions": 8, "size": 8, "values": 64,
             "effective": maps},
            {"net": "fc", "layer": "l", "positions": 1, "size": 8, "values": 8,
             "effective": units},
        ]  # fmt: skip
        result = _made_up(effective_values.EXPERIMENT, rows)
        assert effective_values.independent(result).outcome == outcome

    def test_independent_units_are_worth_what_they_are(self) -> None:
        settings = {"layers": [["fc", "linear1"]], "sizes": [4], "batches": 4000}
        rows, _ = effective_values.EXPERIMENT.one_seed(0, settings)
        assert rows[0]["effective"] == pytest.approx(4, rel=0.15)


class TestSortedBatches:
    def _result(self, batch: dict[int, tuple[float, float, float]]) -> Result:
        rows: list[Row] = []
        for classes, (inference, alike, renewed) in batch.items():
            rows.append({"norm": "batch", "classes": classes, "inference": inference,
                         "alike": alike, "renewed": renewed})  # fmt: skip
            rows.append({"norm": "layer", "classes": classes, "inference": 0.9, "alike": 0.9})
        return _made_up(sorted_batches.EXPERIMENT, rows)

    @pytest.mark.parametrize(
        ("one", "all_", "outcome"),
        [(0.1, 0.9, "supported"), (0.89, 0.9, "refuted"), (0.1, 0.8, "mixed")],
    )
    def test_one_class(self, one: float, all_: float, outcome: str) -> None:
        result = self._result({1: (one, 0.1, one), 10: (all_, 0.9, 0.9)})
        assert sorted_batches.one_class(result).outcome == outcome

    @pytest.mark.parametrize(
        ("inference", "alike", "outcome"),
        [(0.3, 0.9, "supported"), (0.9, 0.3, "refuted"), (0.85, 0.9, "mixed")],
    )
    def test_train_eval_gap(self, inference: float, alike: float, outcome: str) -> None:
        result = self._result({2: (inference, alike, 0.9), 10: (0.9, 0.9, 0.9)})
        assert sorted_batches.train_eval_gap(result).outcome == outcome

    @pytest.mark.parametrize(
        ("inference", "renewed", "outcome"),
        [(0.4, 0.8, "supported"), (0.88, 0.9, "refuted"), (0.4, 0.5, "mixed")],
    )
    def test_sorted_loader(self, inference: float, renewed: float, outcome: str) -> None:
        result = self._result({0: (inference, 0.9, renewed)})
        assert sorted_batches.sorted_loader(result).outcome == outcome

    def test_the_sorted_loader_goes_through_the_classes_in_order(self) -> None:
        t = torch.arange(10).repeat(40)
        draw = sorted_batches._loader(t, 0, torch.Generator())
        labels = torch.cat([t[draw(step)] for step in range(12)])
        assert torch.equal(labels, labels.sort().values)
        assert torch.equal(draw(12), draw(0))

    @pytest.mark.parametrize("classes", [1, 3, 10])
    def test_a_batch_holds_so_many_classes(self, classes: int) -> None:
        t = torch.arange(10).repeat(40)
        batch = sorted_batches.some_classes(t, classes, 32, torch.Generator().manual_seed(0))
        assert len(batch) == len(batch.unique()) == 32
        counts = torch.bincount(t[batch], minlength=10)
        assert (counts > 0).sum() == classes
        assert counts.max() - counts[counts > 0].min() <= 1


class TestCompany:
    def _rows(self, small: float, large: float, layer: float) -> Result:
        rows = [
            {"norm": "batch", "size": 2, "changed": 0.4, "moved": small, "leaked": small},
            {"norm": "batch", "size": 64, "changed": 0.0, "moved": large, "leaked": large},
            {"norm": "layer", "size": 2, "changed": 0.0, "moved": layer, "leaked": layer},
            {"norm": "layer", "size": 64, "changed": 0.0, "moved": layer, "leaked": layer},
        ]
        return _made_up(company.EXPERIMENT, rows)

    @pytest.mark.parametrize(
        ("small", "large", "layer", "outcome"),
        [
            (0.5, 0.1, 0.0, "supported"),
            (0.0, 0.0, 0.0, "refuted"),
            (0.5, 0.1, 0.2, "mixed"),
            (0.1, 0.5, 0.0, "mixed"),
        ],
    )
    def test_rule(self, small: float, large: float, layer: float, outcome: str) -> None:
        assert company.leakage(self._rows(small, large, layer)).outcome == outcome

    def test_the_image_comes_first_and_others_once(self) -> None:
        for image in range(6):
            batch = company._with_others(image, 6, 5, torch.Generator().manual_seed(image))
            assert batch[0] == image
            assert len(batch.unique()) == 5
            assert batch.max() <= 5


class TestPadding:
    def _result(self, padded: float, masked: float, layer: float) -> Result:
        errors = {"padded": padded, "masked": masked, "layer": layer}
        rows: list[Row] = [
            {"word": word, "offset": offset, "error": error}
            for offset in (0.0, 4.0)
            for word, error in errors.items()
        ]
        rows.append({"word": "padded", "offset": 4.0, "padding": 0.5, "drift": 1.0})
        return _made_up(padding.EXPERIMENT, rows)

    @pytest.mark.parametrize(
        ("padded", "outcome"), [(0.3, "supported"), (0.11, "refuted"), (0.13, "mixed")]
    )
    def test_mask_matters(self, padded: float, outcome: str) -> None:
        assert padding.mask_matters(self._result(padded, 0.1, 0.1)).outcome == outcome

    @pytest.mark.parametrize(
        ("masked", "outcome"), [(0.1, "supported"), (0.3, "refuted"), (0.13, "mixed")]
    )
    def test_padding_is_all(self, masked: float, outcome: str) -> None:
        assert padding.padding_is_all(self._result(0.4, masked, 0.1)).outcome == outcome

    def test_only_counted_padding_moves_a_token(self) -> None:
        rows, _ = padding.EXPERIMENT.one_seed(0, MINIATURES["padding"])
        drift = {
            word: [row["drift"] for row in rows if row["word"] == word and "drift" in row]
            for word in padding.WORDS
        }
        assert drift["padded"] == sorted(drift["padded"])
        assert drift["padded"][-1] > 1
        assert max(drift["masked"] + drift["layer"]) < 1e-5

    def test_padding_is_zero_and_lengths_are_within_bounds(self) -> None:
        made = padding.sequences(torch.Generator().manual_seed(0), torch.ones(4, 3), 200, 2.0, 16)
        lengths = made.mask.sum(1)
        assert lengths.min() >= 2
        assert lengths.max() == made.x.shape[1] <= 16
        assert (made.x[~made.mask] == 0).all()
        assert made.x[made.mask].mean() == pytest.approx(3.0, abs=0.1)


class TestRareSignals:
    def _result(self, batch: float) -> Result:
        rows = []
        for kept, none in ((5, 0.02), (20, 0.5)):
            for rate, error in ((0.1, 0.2), (0.3, 0.1)):
                rows.append({"norm": "none", "rate": rate, "kept": kept, "recall": none,
                             "error": error})  # fmt: skip
                recall = batch if rate == 0.3 else 1.0
                rows.append({"norm": "batch", "rate": rate, "kept": kept, "recall": recall,
                             "error": error})  # fmt: skip
        return _made_up(rare_signals.EXPERIMENT, rows)

    @pytest.mark.parametrize(
        ("batch", "outcome"), [(0.4, "supported"), (0.6, "refuted"), (0.47, "mixed")]
    )
    def test_rule_looks_at_the_best_rate_where_the_plain_net_sees_something(
        self, batch: float, outcome: str
    ) -> None:
        result = self._result(batch)
        assert rare_signals.best_rate(result, "batch") == 0.3
        assert rare_signals.suppression(result).outcome == outcome


class TestRemedies:
    def _result(self, accumulated: float, renorm: float, frozen: float) -> Result:
        errors = {"accumulated": accumulated, "renorm": renorm, "frozen": frozen}
        rows: list[Row] = []
        for task in ("rotated", "inverted"):
            rows += [{"task": task, "remedy": w, "size": 2, "error": e} for w, e in errors.items()]
            rows.append({"task": task, "remedy": "accumulated", "size": 8, "error": 0.1})
            rows.append({"task": task, "remedy": "joined", "size": 32, "error": 0.1})
        return _made_up(small_batch_remedies.EXPERIMENT, rows)

    @pytest.mark.parametrize(
        ("accumulated", "outcome"), [(0.11, "supported"), (0.5, "refuted"), (0.13, "mixed")]
    )
    def test_accumulating(self, accumulated: float, outcome: str) -> None:
        result = self._result(accumulated, 0.2, 0.2)
        assert small_batch_remedies.accumulating(result).outcome == outcome

    @pytest.mark.parametrize(
        ("accumulated", "renorm", "frozen", "outcome"),
        [
            (0.5, 0.4, 0.2, "supported"),
            (0.5, 0.45, 0.4, "refuted"),
            (0.12, 0.1, 0.1, "mixed"),
        ],
    )
    def test_remedies(self, accumulated: float, renorm: float, frozen: float, outcome: str) -> None:
        result = self._result(accumulated, renorm, frozen)
        assert small_batch_remedies.remedies(result).outcome == outcome

    def test_micro_batches_add_up_to_the_gradient_of_the_step(self) -> None:
        """Without batch statistics it does not matter how a step is cut."""
        x, t = torch.randn(40, 4, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 3
        ends = []
        for size in (2, 32):
            net = torch.nn.Linear(4, 3)
            torch.nn.init.constant_(net.weight, 0.1)
            torch.nn.init.zeros_(net.bias)
            generator = torch.Generator().manual_seed(1)
            small_batch_remedies._go_on(net, x, t, size, 3, 0.5, generator)
            ends.append(net.weight.detach())
        torch.testing.assert_close(*ends)


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    """One start of two processes for all tests."""
    settings = {"shards": [[2, 2], [2, 4]], "steps": 2}
    return sync_batch_norm.EXPERIMENT.one_seed(0, settings)[0]


class TestWorkers:
    def test_two_processes_end_where_one_does(self, rows: list[Row]) -> None:
        assert len(rows) == 6
        for row in rows:
            close = row["way"] == "synchronized" or (
                row["way"] == "averaged gradients" and row["equal"]
            )
            assert (float(row["scores"]) < 1e-6) == close, row

    def test_rules_on_a_real_start(self, rows: list[Row]) -> None:
        result = _made_up(sync_batch_norm.EXPERIMENT, [dict(row) for row in rows])
        assert sync_batch_norm.equals_joined(result).outcome == "supported"
        assert sync_batch_norm.averaging(result).outcome == "refuted"

    @pytest.mark.parametrize(
        ("same", "own", "outcome"),
        [(1e-8, 0.5, "supported"), (0.2, 0.5, "refuted"), (1e-4, 0.5, "mixed"), (0, 0, "mixed")],
    )
    def test_equals_joined(self, same: float, own: float, outcome: str) -> None:
        rows = [
            {"way": way, "shards": "1+2", "equal": False, "scores": d, "statistics": d}
            for way, d in (("synchronized", same), ("own statistics", own))
        ]
        result = _made_up(sync_batch_norm.EXPERIMENT, rows)
        assert sync_batch_norm.equals_joined(result).outcome == outcome

    @pytest.mark.parametrize(
        ("equal", "unequal", "outcome"),
        [(1e-8, 1e-8, "supported"), (1e-8, 0.3, "refuted"), (0.2, 0.3, "mixed")],
    )
    def test_averaging(self, equal: float, unequal: float, outcome: str) -> None:
        rows = [
            {"way": "averaged gradients", "shards": s, "equal": e, "scores": d, "statistics": d}
            for s, e, d in (("2+2", True, equal), ("1+3", False, unequal))
        ]
        result = _made_up(sync_batch_norm.EXPERIMENT, rows)
        assert sync_batch_norm.averaging(result).outcome == outcome

    def test_a_worker_that_fails_says_why(self) -> None:
        data = sync_batch_norm._data(0, [2, 2], 1)
        job = sync_batch_norm.Job(norm="sync", loss="sum", seed=0, steps=data, test=data[0][0][0])
        broken = [(x[:, :1], t) for x, t in data[0]]
        with pytest.raises(RuntimeError, match=r"a worker failed: .*mat1 and mat2"):
            sync_batch_norm.on_workers([{**job, "steps": [broken]}])

    def test_joined_holds_every_example_once(self) -> None:
        data = sync_batch_norm._data(0, [1, 3], 2)
        whole = joined(data)
        assert [len(shards) for shards in whole] == [1, 1]
        assert torch.equal(whole[1][0][0], torch.cat([x for x, _ in data[1]]))

    def test_every_worker_starts_alike(self) -> None:
        first, second = make_net("sync", 3), make_net("local", 3)
        for a, b in zip(first.parameters(), second.parameters(), strict=True):
            assert torch.equal(a, b)

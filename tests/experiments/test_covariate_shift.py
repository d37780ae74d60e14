"""Experiments of chapter 01: signals by depth, scale of inputs, shift of data and inside."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from normcourse.evidence import recorded
from normcourse.experiments import Experiment, Result, Row, data_shift, input_scale, mlp
from normcourse.experiments import internal_shift as inner
from normcourse.experiments import signal_depth as depth
from normcourse.experiments.result import Environment

EXPERIMENTS = [depth.EXPERIMENT, input_scale.EXPERIMENT, data_shift.EXPERIMENT, inner.EXPERIMENT]


def made_up(rows: list[Row]) -> Result:
    """Return a result that holds these rows."""
    return Result("made_up", "own", {}, tuple(rows), {}, Environment.here(), "")


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


MINIATURES: dict[str, tuple[dict[str, Any], set[str]]] = {
    "signal_depth": (
        {"arms": [{**depth.TANH, "gain": 3.0}], "depth": 3, "width": 16, "examples": 32,
         "layers": [1, 3]},
        {"norm", "activation", "inputs", "gain", "layer", "size", "fed", "gradient", "saturated",
         "passed", "passed_else"},
    ),
    "input_scale": (
        {"prepared": ["whitened"], "target": 0.5, "max_steps": 50, "step_sizes": [1.0, 4.0]},
        {"prepared", "condition", "steps", "loss", "step_size", "right"},
    ),
    "data_shift": (
        {"examples": 60, "models": ["line"], "images": 300, "rounds": 9},
        {"data", "model", "weights", "error", "effective", "order", "right", "shift", "p"},
    ),
    "internal_shift": (
        {"arms": [inner.WITH], "depth": 2, "width": 16, "layers": [2], "checkpoints": [0, 3]},
        {*inner.WITH, "layer", "step", *inner.MEASURES, "total_mean", "total_shape",
         "total_correlation", "total_moved", "loss"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda e: e.name)
class TestEach:
    def test_in_miniature(self, experiment: Experiment) -> None:
        settings, columns = MINIATURES[experiment.name]
        runs = [experiment.measure([5], settings) for _ in range(2)]
        assert runs[0].rows == runs[1].rows
        assert {name for row in runs[0].rows for name in row} == {"seed", *columns}
        assert experiment.measure([6], settings).rows != runs[0].rows

    def test_the_record_is_there_and_every_rule_decides_on_it(self, experiment: Experiment) -> None:
        full = recorded(experiment.name)
        assert not full.stale
        assert len(full.seeds) >= 10
        for rule in experiment.decisions.values():
            assert rule(full).effects


class TestSignalDepth:
    def test_measures_of_one_layer(self) -> None:
        """A net of one unit with known numbers: what it gives, saturation, gradient passed."""
        z = torch.tensor([[0.0], [3.0], [-3.0], [1.0]], requires_grad=True)
        a = torch.tanh(z)
        a.retain_grad()
        (a * torch.tensor([[1.0], [2.0], [2.0], [1.0]])).sum().backward()
        seen = depth._measures(z, z, a, "tanh")
        assert seen["size"] == pytest.approx(math.sqrt(19 / 4))
        assert seen["saturated"] == 0.5
        assert seen["gradient"] == pytest.approx(math.sqrt(10 / 4))
        assert seen["passed"] == pytest.approx(1 - math.tanh(3) ** 2, rel=1e-5)
        other = math.sqrt((1 + (1 - math.tanh(1) ** 2) ** 2) / 2)
        assert seen["passed_else"] == pytest.approx(other, rel=1e-5)

    @staticmethod
    def linear(gradients: dict[float, tuple[float, float]], growth: float = 1.0) -> Result:
        rows: list[Row] = [
            {**depth.LINEAR, "seed": seed, "gain": gain, "layer": layer, "gradient": ends[at],
             "size": (growth * gain) ** layer}
            for seed in range(4)
            for gain, ends in gradients.items()
            for at, layer in enumerate((1, 11))
        ]  # fmt: skip
        return made_up(rows)

    @pytest.mark.parametrize(
        ("down", "up", "outcome"),
        [(1e-3, 1e3, "refuted"), (0.5, 2.0, "supported"), (1e-3, 2.0, "mixed")],
    )
    def test_gradients_without_any_shift(self, down: float, up: float, outcome: str) -> None:
        result = self.linear({0.8: (down, 1.0), 1.0: (1.0, 1.0), 1.25: (up, 1.0)})
        assert depth.shift_makes_gradients_vanish(result).outcome == outcome

    @pytest.mark.parametrize(("growth", "outcome"), [(1.0, "supported"), (1.1, "refuted")])
    def test_growth(self, growth: float, outcome: str) -> None:
        result = self.linear({0.8: (1.0, 1.0), 1.25: (1.0, 1.0)}, growth)
        verdict = depth.gain_to_the_depth(result)
        assert verdict.outcome == outcome
        assert verdict.effects[1].spread.median == pytest.approx(1.25 * growth)

    @pytest.mark.parametrize(
        ("stuck", "passed", "outcome"),
        [(0.6, 0.01, "refuted"), (0.6, 0.4, "mixed"), (0.0, 0.01, "supported")],
    )
    def test_saturation(self, stuck: float, passed: float, outcome: str) -> None:
        rows: list[Row] = [
            {**depth.TANH, "seed": seed, "gain": gain, "layer": 9, "passed": passed,
             "saturated": stuck if gain == 3.0 else 0.0}
            for seed in range(3)
            for gain in (1.0, 3.0)
        ]  # fmt: skip
        assert depth.saturation_needs_large_gradients(made_up(rows)).outcome == outcome


class TestInputScale:
    def test_prepared(self) -> None:
        rng = np.random.default_rng(0)
        x = rng.normal(5.0, 2.0, (50, 3)) @ rng.normal(size=(3, 3))
        other = rng.normal(size=(4, 3))
        white, _ = input_scale.prepare(x, other, "whitened")
        np.testing.assert_allclose(np.cov(white.T, bias=True), np.eye(3), atol=1e-12)
        ready, ready_other = input_scale.prepare(x, other, "standardized")
        np.testing.assert_allclose(ready.std(axis=0), 1, atol=1e-12)
        np.testing.assert_allclose(ready_other, (other - x.mean(axis=0)) / x.std(axis=0))

    def test_descent_reaches_what_the_formula_says(self) -> None:
        """One input that is always 1 and one class of two: the loss is log(1 + exp(-gap))."""
        x, t = np.ones((5, 1)), np.tile([1.0, 0.0], (5, 1))
        steps, loss, w = input_scale._descend(x, t, 1.0, 0.2, 100)
        gap = w[0, 0] - w[0, 1]
        assert loss == pytest.approx(math.log1p(math.exp(-gap)))
        assert loss <= 0.2
        assert input_scale._descend(x, t, 1.0, 0.2, int(steps) - 1)[0] == math.inf

    @pytest.mark.parametrize(
        ("raw", "outcome"), [(math.inf, "supported"), (500.0, "mixed"), (110.0, "refuted")]
    )
    def test_decision(self, raw: float, outcome: str) -> None:
        rows: list[Row] = [
            {"seed": seed, "prepared": how, "steps": steps}
            for seed in range(3)
            for how, steps in (("raw", raw), ("standardized", 100.0))
        ]
        assert input_scale.standardizing_saves_steps(made_up(rows)).outcome == outcome


class TestDataShift:
    def test_ratio_of_densities_is_found(self) -> None:
        rng = np.random.default_rng(1)
        x, test = rng.normal(*data_shift.TRAIN, 4000), rng.normal(*data_shift.TEST, 2000)
        known, found = data_shift.density_ratio(x), data_shift.estimated_ratio(x, test)
        assert known.mean() == pytest.approx(1, abs=0.1)
        assert np.corrcoef(known, found)[0, 1] > 0.98
        assert found.mean() == pytest.approx(1, abs=0.1)

    def test_permutation_test(self) -> None:
        rng = np.random.default_rng(2)
        a, b = rng.normal(size=(60, 3)), rng.normal(size=(50, 3))
        assert data_shift.permutation_test(a, b, rng, rounds=99)[1] > 0.05
        shift, p = data_shift.permutation_test(a, b + np.array([0.0, 2.0, 0.0]), rng, rounds=99)
        assert p == 0.01
        assert shift == pytest.approx(2.0, abs=0.4)

    @staticmethod
    def curve(line: float, cubic: float) -> Result:
        rows: list[Row] = [
            {"seed": seed, "data": "curve", "model": model, "weights": name, "error": error}
            for seed in range(3)
            for model, ratio in (("line", line), ("cubic", cubic))
            for name, error in (("none", 2.0), ("estimated", 2.0 * ratio))
        ]
        return made_up(rows)

    @pytest.mark.parametrize(
        ("line", "outcome"), [(0.1, "supported"), (0.8, "mixed"), (1.2, "refuted")]
    )
    def test_weights_for_a_wrong_model(self, line: float, outcome: str) -> None:
        assert data_shift.weights_help_a_wrong_model(self.curve(line, 1.0)).outcome == outcome

    @pytest.mark.parametrize(
        ("cubic", "outcome"), [(0.5, "supported"), (1.0, "mixed"), (2.0, "refuted")]
    )
    def test_weights_always(self, cubic: float, outcome: str) -> None:
        assert data_shift.weights_always_help(self.curve(0.1, cubic)).outcome == outcome

    @pytest.mark.parametrize(
        ("p", "p_shuffled", "right", "outcome"),
        [
            (0.01, 0.4, 0.90, "supported"),
            (0.01, 0.4, 0.95, "mixed"),
            (0.01, 0.01, 0.90, "mixed"),
            (0.40, 0.4, 0.90, "refuted"),
        ],
    )
    def test_order(self, p: float, p_shuffled: float, right: float, outcome: str) -> None:
        rows: list[Row] = [
            {"seed": seed, "data": "digits", "order": order, "p": value, "right": accuracy}
            for seed in range(5)
            for order, value, accuracy in (("stored", p, right), ("shuffled", p_shuffled, 0.95))
        ]
        assert data_shift.stored_order_is_a_shift(made_up(rows)).outcome == outcome


class TestInternalShift:
    def test_a_moved_batch(self) -> None:
        x = normal(500, 7)
        shift = inner.step_shift(x, 2 * x + 3)
        mean, std = x.mean(dim=0), x.std(dim=0, correction=0)
        far = ((mean + 3).abs() / std).median()
        assert shift["mean_shift"] == pytest.approx(far.item(), rel=1e-4)
        assert shift["spread_shift"] == pytest.approx(math.log(2), rel=1e-4)
        assert inner.total_shift(x, 2 * x + 3)["total_shape"] < 1e-5

    def test_examples_that_change_places_keep_the_distribution(self) -> None:
        """No measure of single units sees it; what moved does."""
        x = normal(400, 5)
        other = x[torch.randperm(400, generator=torch.Generator().manual_seed(1))]
        shift, total = inner.step_shift(x, other), inner.total_shift(x, other)
        assert max(shift[name] for name in ("mean_shift", "spread_shift", "wasserstein")) < 1e-5
        assert shift["moved"] == pytest.approx(math.sqrt(2), abs=0.15)
        assert total["total_correlation"] < 1e-4
        assert total["total_moved"] == pytest.approx(math.sqrt(2), abs=0.15)

    def test_correlations(self) -> None:
        x = normal(4000, 2)
        mixed = torch.stack([x[:, 0], x[:, 0] + x[:, 1]], dim=1)
        again = torch.stack([x[:, 0], -x[:, 0] + x[:, 1]], dim=1)
        assert inner.total_shift(mixed, again)["total_correlation"] == pytest.approx(2, abs=0.1)

    def test_layer_input_and_running_statistics(self) -> None:
        net = mlp(torch.Generator().manual_seed(0), 6, 3, depth=2, width=4, norm="batch")
        x = normal(9, 6, seed=3)
        expected = net.act1(net.norm1(net.linear1(x)))
        kept = net.norm1.running_mean.clone()
        torch.testing.assert_close(inner.layer_input(net, x, 2), expected)
        assert torch.equal(inner.layer_input(net, x, 1), x)
        assert torch.equal(net.norm1.running_mean, kept)

    def test_gradient_shift_takes_the_step_of_earlier_layers_alone(self) -> None:
        before = mlp(torch.Generator().manual_seed(0), 6, 3, depth=3, width=5, activation="tanh")
        x, t = normal(12, 6, seed=1), torch.arange(12) % 3
        later = copy.deepcopy(before)
        with torch.no_grad():
            later.linear2.weight.add_(1.0)
            later.linear3.weight.add_(1.0)
            later.scores.weight.add_(1.0)
        assert inner.gradient_shift(before, later, x, t, 2) == 0
        earlier = copy.deepcopy(before)
        with torch.no_grad():
            earlier.linear1.weight.mul_(2.0)
        gradients = []
        for net in (before, earlier):
            loss = nn.functional.cross_entropy(net(x), t)
            gradients.append(torch.autograd.grad(loss, net.linear2.weight)[0])
        expected = (gradients[1] - gradients[0]).norm() / gradients[0].norm()
        shift = inner.gradient_shift(before, earlier, x, t, 2)
        assert shift == pytest.approx(expected.item(), rel=1e-5)

    @staticmethod
    def shifts(with_: float, without: float, fast: float = 1.0, loss: float = 1.0) -> Result:
        rows: list[Row] = [
            {**arm, "seed": seed, "layer": 8, "step": step, "loss": lost,
             **dict.fromkeys(inner.MEASURES, value * (1 + seed / 100))}
            for seed in range(4)
            for step in (0, 10)
            for arm, value, lost in (
                (inner.WITHOUT, without, 1.0), (inner.WITH, with_, 1.0), (inner.FASTER, fast, loss)
            )
        ]  # fmt: skip
        return made_up(rows)

    @pytest.mark.parametrize(
        ("with_", "outcome"), [(0.3, "supported"), (1.0, "mixed"), (2.0, "refuted")]
    )
    def test_reduces(self, with_: float, outcome: str) -> None:
        verdict = inner.reduces_shift(self.shifts(with_, 1.0))
        assert verdict.outcome == outcome
        assert [e.spread.median for e in verdict.effects] == pytest.approx([with_] * 5)

    def test_reduces_some(self) -> None:
        result = self.shifts(0.3, 1.0)
        rows: list[Row] = [
            {**row, "moved": 2.0 if row["norm"] == "batch" else 1.0} for row in result.rows
        ]
        assert inner.reduces_shift(made_up(rows)).outcome == "mixed"
        assert inner.holds_moments(made_up(rows)).outcome == "supported"

    @pytest.mark.parametrize(
        ("with_", "outcome"), [(0.3, "supported"), (0.8, "mixed"), (2.0, "refuted")]
    )
    def test_moments(self, with_: float, outcome: str) -> None:
        assert inner.holds_moments(self.shifts(with_, 1.0)).outcome == outcome

    @pytest.mark.parametrize(
        ("fast", "loss", "outcome"),
        [(3.0, 0.5, "refuted"), (0.3, 0.5, "supported"), (3.0, 2.0, "mixed")],
    )
    def test_less_is_faster(self, fast: float, loss: float, outcome: str) -> None:
        result = self.shifts(1.0, 1.0, fast, loss)
        assert inner.less_shift_is_faster(result).outcome == outcome

    @pytest.mark.parametrize(
        ("shape", "correlation", "outcome"),
        [(0.05, 0.05, "supported"), (0.05, 0.2, "mixed"), (0.05, 0.9, "refuted")],
    )
    def test_same_distribution(self, shape: float, correlation: float, outcome: str) -> None:
        rows: list[Row] = [
            {**inner.WITH, "seed": seed, "layer": layer, "step": step, "total_moved": 1.0,
             "total_shape": shape if step and layer == 8 else 9.0,
             "total_correlation": correlation if step and layer == 8 else 9.0}
            for seed in range(3)
            for layer in (2, 8)
            for step in (0, 300)
        ]  # fmt: skip
        assert inner.same_distribution(made_up(rows)).outcome == outcome

    @pytest.mark.parametrize(
        ("ready", "outcome"), [(0.1, "supported"), (0.8, "mixed"), (1.5, "refuted")]
    )
    def test_inputs(self, ready: float, outcome: str) -> None:
        rows: list[Row] = [
            {**arm, "seed": seed, "layer": 8, "step": 0, "mean_shift": value}
            for seed in range(3)
            for arm, value in ((inner.RAW, 1.0), (inner.WITHOUT, ready))
        ]
        assert inner.inputs_suffice(made_up(rows)).outcome == outcome

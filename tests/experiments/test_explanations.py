"""Chapter 05's experiments: rules on made-up rows, runs in miniature, layers and measures."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from normcourse.experiments import (
    Experiment,
    Result,
    Row,
    batch_noise,
    deep_digits,
    deep_start,
    deep_training,
    dropout_beside,
    initial_scales,
    learning_rates,
    load,
    shifting_noise,
    step_landscape,
)
from normcourse.modules import GhostBatchNorm

SEEDS = range(4)
BLOCKS = ["plain none", "plain batch", "residual none", "residual batch"]


def made(experiment: Experiment, rows: Iterable[Row]) -> Result:
    """Return a result of four seeds with the same rows."""
    one = list(rows)
    return experiment.result(
        [{"seed": seed, **row} for seed in SEEDS for row in one], {0: 0.0}, {}, "own"
    )


def outcome(rule: str, result: Result) -> str:
    return load(result.experiment).decisions[rule](result).outcome


MINIATURES: dict[str, tuple[dict[str, Any], int, set[str]]] = {
    "learning_rates": (
        {"depths": [1], "rates": [0.1, 1.0], "steps": 12},
        4,
        {"depth", "norm", "rate", "loss", "steps", "seconds"},
    ),
    "shifting_noise": (
        {"strengths": [0.5], "rates": [0.1], "depth": 2, "steps": 12},
        3,
        {"norm", "strength", "rate", "loss", "steps", "shift", "accuracy"},
    ),
    "initial_scales": (
        {"scales": [0.5, 1.0], "rate": 0.1, "depth": 2, "steps": 3},
        6,
        {"arm", "scale", "first", "loss", "gradient"},
    ),
    "step_landscape": (
        {"depths": [1], "rates": [0.05], "looks": [0, 2]},
        4,
        {
            *("depth", "norm", "rate", "step", "loss", "gradient", "low", "high"),
            *("turned", "change", "change_far"),
        },
    ),
    "deep_start": (
        {"stacks": BLOCKS, "depth": 3, "width": 16, "every": 2},
        8,
        {"stack", "layer", "gradient", "variance"},
    ),
    "deep_training": (
        {"stacks": ["plain batch", "residual alpha"], "depths": [2], "rates": [0.1], "steps": 2},
        2,
        {"stack", "depth", "rate", "loss"},
    ),
    "batch_noise": (
        {"parts": [4, 8], "batch_size": 16, "examples": 64, "steps": 2},
        3,
        {"norm", "train_loss", "test_loss", "train_accuracy", "test_accuracy"},
    ),
    "dropout_beside": (
        {
            "arms": [
                {"norm": "none", "where": "every", "fraction": 0.5},
                {"norm": "batch", "where": "last", "fraction": 0.5},
            ],
            "examples": 128,
            "steps": 2,
        },
        2,
        {
            *("norm", "where", "fraction", "train_loss", "test_loss"),
            *("train_accuracy", "test_accuracy"),
        },
    ),
}


@pytest.mark.parametrize("name", sorted(MINIATURES))
def test_in_miniature(name: str) -> None:
    """The rows have the documented columns and are the same for the same seed, not for another."""
    settings, count, columns = MINIATURES[name]
    experiment = load(name)
    first, again, other = (
        [
            {key: value for key, value in row.items() if key not in ("seed", "seconds")}
            for row in experiment.one_seed(seed, settings)[0]
        ]
        for seed in (0, 0, 1)
    )
    assert len(first) == count
    assert all(columns - {"seconds"} <= set(row) for row in first)
    assert first == again
    assert first != other


@pytest.mark.parametrize("name", sorted(MINIATURES))
def test_settings_fit_the_run(name: str) -> None:
    experiment = load(name)
    assert experiment.live.keys() == experiment.full.keys() == MINIATURES[name][0].keys()
    assert experiment.decisions


class TestSharedTask:
    def test_training_pixels_are_standardized_and_test_pixels_alike(self) -> None:
        generator = torch.Generator().manual_seed(0)
        digits = deep_digits.task(generator)
        raw = deep_digits.load_digits(torch.Generator().manual_seed(0))
        assert abs(digits.train_x.mean().item()) < 1e-5
        assert digits.train_x.std().item() == pytest.approx(1, abs=1e-5)
        back = digits.test_x * raw.train_x.std() + raw.train_x.mean()
        torch.testing.assert_close(back, raw.test_x, atol=1e-5, rtol=0)

    def test_first_below_is_the_first(self) -> None:
        losses = [1.0] * 12 + [0.0] * 12
        assert deep_digits.first_below(losses, 0.5) == 17
        assert deep_digits.first_below(losses, 0.0) == 22

    def test_ratio_of_what_never_came(self) -> None:
        value = deep_digits.ratio([math.inf] * 3, [math.inf, 2.0, 2.0])
        assert (value.low, value.median) == (1.0, math.inf)


class TestLearningRates:
    @staticmethod
    def rows(largest: dict[str, float], steps: dict[str, float], depths: Any = (2, 8)) -> list[Row]:
        return [
            {
                "depth": depth,
                "norm": norm,
                "rate": rate,
                "loss": 0.1 if rate <= largest[norm] else math.inf,
                "steps": steps[norm] if rate <= largest[norm] else math.inf,
                "seconds": 2.0 * steps[norm] if norm == "batch" else steps[norm],
            }
            for depth, norm, rate in itertools.product(depths, steps, (0.1, 0.2, 0.4))
        ]

    @pytest.mark.parametrize(
        ("none", "batch", "expected"),
        [(0.1, 0.4, "supported"), (0.4, 0.4, "refuted"), (0.0, 0.1, "supported")],
    )
    def test_larger_rate(self, none: float, batch: float, expected: str) -> None:
        rows = self.rows({"none": none, "batch": batch}, {"none": 20.0, "batch": 20.0})
        assert outcome("larger_rate", made(learning_rates.EXPERIMENT, rows)) == expected

    def test_larger_rate_at_one_depth_only_is_mixed(self) -> None:
        equal = {"none": 20.0, "batch": 20.0}
        rows = self.rows({"none": 0.1, "batch": 0.4}, equal, (2,))
        rows += self.rows({"none": 0.4, "batch": 0.4}, equal, (8,))
        assert outcome("larger_rate", made(learning_rates.EXPERIMENT, rows)) == "mixed"

    def test_fewer_steps_and_yet_more_seconds(self) -> None:
        rows = self.rows({"none": 0.4, "batch": 0.4}, {"none": 30.0, "batch": 20.0})
        result = made(learning_rates.EXPERIMENT, rows)
        assert outcome("fewer_steps", result) == "supported"
        assert outcome("fewer_seconds", result) == "refuted"

    def test_best_rate_is_chosen_for_each_seed(self) -> None:
        rows = self.rows({"none": 0.2, "batch": 0.4}, {"none": 30.0, "batch": 20.0})
        result = made(learning_rates.EXPERIMENT, rows)
        assert learning_rates.quickest(result, "steps", 2, "none") == [30.0] * len(SEEDS)
        assert learning_rates.largest_rates(result, 8, "none") == [0.2] * len(SEEDS)


class TestShiftingNoise:
    @staticmethod
    def rows(kinds: dict[tuple[str, float], tuple[float, float]]) -> list[Row]:
        return [
            {"norm": norm, "strength": s, "rate": rate, "loss": 1.0, "shift": shift, "steps": steps}
            | ({"steps": math.inf, "shift": 99.0} if rate == 0.5 else {})
            for (norm, s), (shift, steps) in kinds.items()
            for rate in (0.1, 0.5)
        ]

    @pytest.mark.parametrize(
        ("noisy", "expected"),
        [
            ((2.0, 50.0), "refuted"),
            ((2.0, 200.0), "supported"),
            ((0.5, 50.0), "mixed"),
            ((2.0, 100.0), "mixed"),
        ],
    )
    def test_needs_steady_inputs(self, noisy: tuple[float, float], expected: str) -> None:
        rows = self.rows(
            {("none", 0.0): (1.0, 100.0), ("batch", 0.0): (0.1, 30.0), ("batch", 0.5): noisy}
        )
        result = made(shifting_noise.EXPERIMENT, rows)
        assert outcome("needs_steady_inputs", result) == expected

    def test_noise_has_the_documented_range_and_is_new_at_every_call(self) -> None:
        layer = shifting_noise.ShiftingNoise(torch.Generator().manual_seed(0), 0.5)
        x = torch.tensor([[0.0] * 500, [1.0] * 500])
        shift, scale = (lambda y: (y[0], y[1] - y[0]))(layer(x))
        assert 0.45 < shift.abs().max() <= 0.5
        assert 0.5 <= scale.min() < 0.55
        assert 1.45 < scale.max() <= 1.5
        assert not torch.equal(layer(x)[0], shift)

    def test_shift_is_measured_between_successive_steps(self) -> None:
        layer = nn.Identity()
        watch = shifting_noise._Shift(layer)
        x = torch.tensor([[-1.0], [1.0], [-1.0], [1.0]])
        for step in range(7):
            layer(x + 3.0 * step * x.std())
            watch(step, 0.0)
        assert watch.median() == pytest.approx(3.0, rel=1e-2)


class TestInitialScales:
    @staticmethod
    def rows(loss: Callable[[str, float], float]) -> list[Row]:
        return [
            {"arm": arm, "scale": scale, "first": 2.3, "gradient": 1.0, "loss": loss(arm, scale)}
            for arm in initial_scales.ARMS
            for scale in (0.01, 0.1, 1.0, 10.0)
        ]

    def test_robust_but_not_harmless_and_explained(self) -> None:
        def loss(arm: str, scale: float) -> float:
            if arm == "none":
                return 0.1 if scale == 1.0 else math.inf
            return 0.1 if arm == "rescaled" or scale <= 1 else 0.3

        result = made(initial_scales.EXPERIMENT, self.rows(loss))
        assert outcome("robust_to_scale", result) == "supported"
        assert outcome("harmless_when_large", result) == "refuted"
        assert outcome("rate_explains_scale", result) == "supported"

    def test_the_other_way_round(self) -> None:
        def loss(arm: str, scale: float) -> float:
            return scale if arm == "rescaled" else 0.1

        result = made(initial_scales.EXPERIMENT, self.rows(loss))
        assert outcome("robust_to_scale", result) == "refuted"
        assert outcome("harmless_when_large", result) == "supported"
        assert outcome("rate_explains_scale", result) == "refuted"

    def test_between(self) -> None:
        def loss(arm: str, scale: float) -> float:
            return 0.15 if scale == 10.0 else 0.1

        result = made(initial_scales.EXPERIMENT, self.rows(loss))
        assert outcome("harmless_when_large", result) == "mixed"
        assert outcome("rate_explains_scale", result) == "mixed"

    def test_gradient_is_one_over_the_scale(self) -> None:
        settings = {"scales": [1.0, 4.0], "rate": 0.1, "depth": 3, "steps": 1}
        rows, _ = initial_scales.EXPERIMENT.one_seed(0, settings)
        small, large = (row for row in rows if row["arm"] == "batch")
        assert small["first"] == pytest.approx(large["first"], rel=1e-3)
        assert small["gradient"] / large["gradient"] == pytest.approx(4, rel=1e-2)


class TestStepLandscape:
    @staticmethod
    def rows(change: Callable[[str, int, float, int], float]) -> list[Row]:
        return [
            {"depth": depth, "norm": norm, "rate": rate, "step": step}
            | dict.fromkeys(("change", "change_far"), change(norm, depth, rate, step))
            for norm, depth, rate, step in itertools.product(
                ("none", "batch"), (2, 24), (0.02, 0.08), (0, 10)
            )
        ]

    @pytest.mark.parametrize(("factor", "expected"), [(2, "supported"), (0.5, "refuted")])
    def test_smoother(self, factor: float, expected: str) -> None:
        rows = self.rows(lambda norm, depth, rate, step: factor if norm == "none" else 1.0)
        result = made(step_landscape.EXPERIMENT, rows)
        assert outcome("smoother", result) == expected
        assert outcome("smoother_at_the_start", result) == expected
        assert outcome("depends_on_path", result) == "refuted"

    def test_where_one_looks(self) -> None:
        def change(norm: str, depth: int, rate: float, step: int) -> float:
            if norm == "batch":
                return 10.0 if depth == 24 and step == 0 else 1.0
            return 4.0 if rate == 0.02 else 2.0

        result = made(step_landscape.EXPERIMENT, self.rows(change))
        assert outcome("smoother", result) == "mixed"
        assert outcome("smoother_at_the_start", result) == "mixed"
        assert outcome("depends_on_path", result) == "supported"

    def test_change_on_a_quadratic_is_its_curvature(self) -> None:
        points = [(way, 0.0, torch.tensor([0.0, 7.0 * way])) for way in (0.0, 0.5, 2.0)]
        assert step_landscape.gradient_change(points) == pytest.approx(7.0)

    def test_looking_changes_nothing(self) -> None:
        """Training with looks gives the losses and the statistics of training without."""
        seen = []
        for looks in ([0, 2, 4], [4]):
            settings = {"depths": [2], "rates": [0.1], "looks": looks}
            rows, _ = step_landscape.EXPERIMENT.one_seed(0, settings)
            seen.append([row for row in rows if row["step"] == 4])
        assert seen[0] == seen[1]


class TestDeepStart:
    @staticmethod
    def rows(factors: dict[str, float], share: dict[str, float]) -> list[Row]:
        return [
            {"stack": stack, "layer": layer, "gradient": factor ** (50 - layer), "variance": 1.0}
            | ({"share": share[stack]} if stack in share else {})
            for stack, factor in factors.items()
            for layer in range(1, 51)
        ]

    def test_rules(self) -> None:
        factors = dict(zip(BLOCKS, (1.01, deep_start.THEORY, 1.4, 1.02), strict=True))
        share = {"residual none": 0.5, "residual batch": 0.02}
        result = made(deep_start.EXPERIMENT, self.rows(factors, share))
        assert deep_start.growth(result, "plain batch").median == pytest.approx(deep_start.THEORY)
        assert outcome("better_flow", result) == "refuted"
        assert outcome("as_computed", result) == "supported"
        assert outcome("damps_branches", result) == "supported"

    def test_rules_the_other_way_round(self) -> None:
        factors = dict(zip(BLOCKS, (0.8, 1.001, 1.0, 1.0), strict=True))
        share = {"residual none": 0.1, "residual batch": 0.1}
        result = made(deep_start.EXPERIMENT, self.rows(factors, share))
        assert outcome("better_flow", result) == "supported"
        assert outcome("as_computed", result) == "refuted"
        assert outcome("damps_branches", result) == "refuted"

    def test_rules_between(self) -> None:
        factors = dict(zip(BLOCKS, (1.1, 1.15, 1.0, 1.0), strict=True))
        share = {"residual none": 0.2, "residual batch": 0.1}
        result = made(deep_start.EXPERIMENT, self.rows(factors, share))
        assert {
            outcome(rule, result) for rule in ("better_flow", "as_computed", "damps_branches")
        } == {"mixed"}

    def test_a_branch_with_alpha_is_the_identity_at_first(self) -> None:
        generator = torch.Generator().manual_seed(0)
        layer = deep_start.ResidualLayer(generator, 5, "none", learn_alpha=True)
        x = torch.randn(7, 5, generator=generator)
        torch.testing.assert_close(layer(x), x)
        layer(x).square().sum().backward()
        assert layer.alpha is not None
        assert layer.alpha.grad is not None
        assert layer.alpha.grad != 0

    def test_the_factor_is_that_of_relu_moments(self) -> None:
        z = np.random.default_rng(0).normal(size=1_000_000)
        relu = np.maximum(z, 0)
        assert np.sqrt(0.5 / relu.var()) == pytest.approx(deep_start.THEORY, rel=3e-3)


class TestDeepTraining:
    @staticmethod
    def rows(losses: dict[str, float]) -> list[Row]:
        return [
            {"stack": name, "depth": depth, "rate": rate, "loss": loss if rate == 0.1 else math.inf}
            for name, loss in losses.items()
            for depth in (4, 48)
            for rate in (0.1, 0.3)
        ]

    @pytest.mark.parametrize(
        ("plain", "residual", "alpha", "depth_alone", "essential"),
        [
            (2.0, 0.1, 0.1, "refuted", "refuted"),
            (0.1, 0.1, 2.0, "supported", "supported"),
            (2.0, 2.0, 2.0, "mixed", "mixed"),
        ],
    )
    def test_rules(
        self, plain: float, residual: float, alpha: float, depth_alone: str, essential: str
    ) -> None:
        losses = {"plain batch": plain, "residual batch": residual, "residual alpha": alpha}
        result = made(deep_training.EXPERIMENT, self.rows(losses))
        assert outcome("depth_without_skips", result) == depth_alone
        assert outcome("essential_for_depth", result) == essential


class TestBatchNoise:
    @staticmethod
    def rows(train: tuple[float, ...], test: tuple[float, ...]) -> list[Row]:
        rows: list[Row] = [{"norm": "none", "train_loss": 0.5, "test_loss": 1.0}]
        for part, a, b in zip((4, 16, 128), train, test, strict=True):
            rows.append({"norm": "batch", "part": part, "train_loss": a, "test_loss": b})
        return rows

    @pytest.mark.parametrize(
        ("train", "test", "weaker", "helps"),
        [
            ((1.0, 0.5, 0.2), (1.1, 0.9, 1.0), "supported", "supported"),
            ((0.2, 0.2, 0.9), (1.2, 1.1, 1.0), "refuted", "refuted"),
            ((0.6, 0.2, 0.2), (1.0, 1.0, 1.0), "mixed", "refuted"),
        ],
    )
    def test_rules(
        self, train: tuple[float, ...], test: tuple[float, ...], weaker: str, helps: str
    ) -> None:
        result = made(batch_noise.EXPERIMENT, self.rows(train, test))
        assert outcome("weaker_with_batch", result) == weaker
        assert outcome("helps_generalization", result) == helps

    def test_lower_in_half_of_the_seeds_is_mixed(self) -> None:
        rows = [
            {"seed": seed, **row}
            for seed in SEEDS
            for row in self.rows((1.0, 0.5, 0.2), (1.1, 0.9 if seed % 2 else 1.05, 1.0))
        ]
        result = batch_noise.EXPERIMENT.result(rows, {0: 0.0}, {}, "own")
        assert outcome("helps_generalization", result) == "mixed"

    def test_parts_are_ghost_batches(self) -> None:
        x = torch.randn(12, 5, generator=torch.Generator().manual_seed(0))
        ours, ghosts = batch_noise.PartNorm(5, part=4), GhostBatchNorm(5, 4)
        torch.testing.assert_close(ours(x), ghosts(x))
        whole, layer = batch_noise.PartNorm(5, part=12), nn.BatchNorm1d(5)
        torch.testing.assert_close(whole(x), layer(x))
        torch.testing.assert_close(whole.running_var, layer.running_var)
        torch.testing.assert_close(whole.eval()(x), layer.eval()(x))

    def test_noise_of_a_mean(self) -> None:
        generator = torch.Generator().manual_seed(0)
        net = batch_noise.mlp(generator, 40, 10, depth=1, width=64)
        x = torch.randn(4000, 40, generator=generator)
        seen = batch_noise.mean_noise(net, x, 16, generator)
        assert seen == pytest.approx(0.25, rel=0.1)


class TestDropoutBeside:
    @staticmethod
    def rows(accuracies: dict[tuple[str, str], float], shift: float, again: float) -> list[Row]:
        return [
            {"norm": norm, "where": where, "test_accuracy": value}
            | ({"shift": shift, "recalibrated": again} if norm == "batch" else {})
            for (norm, where), value in accuracies.items()
        ]

    @pytest.mark.parametrize(
        ("alone", "every", "last", "shift", "again", "needless", "shifts"),
        [
            (0.7, 0.5, 0.6, 1.0, 0.6, "supported", "refuted"),
            (0.5, 0.5, 0.6, 0.7, 0.6, "refuted", "supported"),
            (0.5, 0.4, 0.5, 0.7, 0.4, "supported", "mixed"),
        ],
    )
    def test_rules(
        self,
        alone: float,
        every: float,
        last: float,
        shift: float,
        again: float,
        needless: str,
        shifts: str,
    ) -> None:
        arms = {
            ("none", "every"): 0.5,
            ("batch", "no"): alone,
            ("batch", "every"): every,
            ("batch", "last"): last,
        }
        result = made(dropout_beside.EXPERIMENT, self.rows(arms, shift, again))
        assert outcome("dropout_needless", result) == needless
        assert outcome("variance_shifts", result) == shifts

    def test_where_the_dropout_stands(self) -> None:
        counts = {}
        for where in ("no", "last", "every"):
            generator = torch.Generator().manual_seed(0)
            net = dropout_beside.build(generator, "batch", where, 0.5, 0)
            counts[where] = [name for name, _ in net.named_children() if "drop" in name]
        assert counts == {"no": [], "last": ["drop3"], "every": ["drop1", "drop2", "drop3"]}

    def test_recalibrating_gives_the_statistics_of_all_examples(self) -> None:
        generator = torch.Generator().manual_seed(0)
        net = dropout_beside.build(generator, "batch", "every", 0.5, 0)
        x = torch.randn(300, 1, 40, generator=generator)
        dropout_beside.recalibrate(net, x)
        assert dropout_beside.variance_shift(net, x) == pytest.approx(1, abs=1e-4)

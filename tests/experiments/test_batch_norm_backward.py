"""Experiments of chapter 03: scale of the weights, detached statistics, weight decay."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import nn

from normcourse.evidence import recorded
from normcourse.experiments import Experiment, Result, Row, mlp
from normcourse.experiments import detached_statistics as detached
from normcourse.experiments import weight_decay_rate as decay
from normcourse.experiments import weight_scale as scale
from normcourse.experiments.result import Environment
from normcourse.modules import BatchNorm

EXPERIMENTS = [scale.EXPERIMENT, detached.EXPERIMENT, decay.EXPERIMENT]
MINIATURES: dict[str, tuple[dict[str, Any], set[str]]] = {
    "weight_scale": (
        {"norms": ["batch"], "scales": [1.0, 3.0], "depth": 2, "width": 8, "lr": 0.1, "steps": 2},
        {"norm", "scale", "rate", "std", "dx_hat", "dx", "dweight", "output", "loss"},
    ),
    "detached_statistics": (
        {"detached": ["both"], "depth": 2, "width": 8, "lr": 0.1, "checkpoints": [0, 2]},
        {"detached", "step", "loss", "bias", "norm", "radial"},
    ),
    "weight_decay_rate": (
        {"arms": [["batch", "decay"], ["batch", "no decay"]], "depth": 2, "width": 8, "lr": 0.1,
         "decay": 0.1, "steps": 4, "every": 2, "random_labels": 0.2},
        {"norm", "way", "step", "loss", "held_out", "length", "rate", "angle", "difference"},
    ),
}  # fmt: skip


def made_up(rows: list[Row], settings: dict[str, Any] | None = None) -> Result:
    """Return a result that holds these rows."""
    return Result("made_up", "own", settings or {}, tuple(rows), {}, Environment.here(), "")


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


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


class TestWeightScale:
    def test_one_net_at_two_scales(self) -> None:
        settings = {**scale.EXPERIMENT.live, "scales": [1.0, 4.0], "steps": 30}
        first, same, matched = scale.EXPERIMENT.measure([0], settings).rows
        assert same["std"] == pytest.approx(4 * first["std"], rel=1e-3)
        assert same["dx_hat"] == pytest.approx(first["dx_hat"], rel=1e-3)
        assert same["dx"] == pytest.approx(first["dx"] / 4, rel=1e-3)
        assert same["dweight"] == pytest.approx(first["dweight"] / 4, rel=1e-3)
        assert same["output"] < 1e-3
        assert matched["loss"] == pytest.approx(first["loss"], rel=1e-3)
        assert same["loss"] > 1.1 * first["loss"]

    @pytest.mark.parametrize(
        ("power", "outcome"), [(-1.0, "supported"), (-0.5, "mixed"), (0.0, "refuted")]
    )
    def test_sigma(self, power: float, outcome: str) -> None:
        rows: list[Row] = [
            {"seed": seed, "norm": "batch", "rate": "same", "std": std, "dx": 2 / std,
             "dx_hat": 3 * std**power}
            for seed in range(3)
            for std in (0.1, 1.0, 10.0)
        ]  # fmt: skip
        verdict = scale.sigma_in_x_hat(made_up(rows))
        assert verdict.outcome == outcome
        assert verdict.effects[0].spread.median == pytest.approx(power)
        assert verdict.effects[1].spread.median == pytest.approx(-1)

    @pytest.mark.parametrize(
        ("loss", "outcome"), [(1.0, "supported"), (1.3, "mixed"), (math.inf, "refuted")]
    )
    def test_harmless(self, loss: float, outcome: str) -> None:
        rows: list[Row] = [
            {"seed": seed, "norm": "batch", "scale": a, "rate": rate, "std": a, "dweight": 1 / a,
             "loss": value}
            for seed in range(3)
            for a, rate, value in (
                (1.0, "same", 1.0), (10.0, "same", 5.0), (100.0, "same", loss),
                (100.0, "matched", 1.0),
            )
        ]  # fmt: skip
        assert scale.large_weights_are_harmless(made_up(rows)).outcome == outcome


class TestDetached:
    @pytest.mark.parametrize("way", detached.DETACHED)
    def test_forward_is_that_of_batch_norm(self, way: str) -> None:
        x = normal(9, 4) * 3 + 5
        ours, plain = detached.DetachedBatchNorm(4, way).double(), BatchNorm(4).double()
        torch.testing.assert_close(ours(x), plain(x))

    def test_backward(self) -> None:
        """By hand: with both detached dx is dx_hat / std, with the mean alone the mean stays in."""
        x, dy = normal(9, 4) * 3, normal(9, 4, seed=1)
        x_hat = (x - x.mean(dim=0)) / (x.var(dim=0, correction=0) + 1e-5).sqrt()
        std = (x.var(dim=0, correction=0) + 1e-5).sqrt()
        along = (dy * x_hat).mean(dim=0) * x_hat
        expected = {
            "nothing": (dy - dy.mean(dim=0) - along) / std,
            "mean": (dy - along) / std,
            "std": (dy - dy.mean(dim=0)) / std,
            "both": dy / std,
        }
        for way, dx in expected.items():
            given = x.clone().requires_grad_()
            detached.DetachedBatchNorm(4, way).double()(given).backward(dy)
            torch.testing.assert_close(given.grad, dx, rtol=1e-9, atol=1e-9)

    def test_measures(self) -> None:
        net = mlp(torch.Generator().manual_seed(0), 3, 2, depth=1, width=2)
        with torch.no_grad():
            net.linear1.weight.copy_(torch.tensor([[3.0, 4.0, 0.0], [0.0, 0.0, 1.0]]))
            net.linear1.bias.copy_(torch.tensor([3.0, -4.0]))
        net.linear1.weight.grad = torch.tensor([[-3.0, -4.0, 0.0], [1.0, 1.0, 0.0]])
        seen = detached._measures(net)
        assert seen == pytest.approx(
            {"bias": math.sqrt(12.5), "norm": math.sqrt(13), "radial": 0.5}
        )

    @staticmethod
    def trained(loss: float, norm: float) -> Result:
        rows: list[Row] = [
            {"seed": seed, "detached": way, "step": step, "norm": norm if late else 1.0,
             "loss": loss if late else (0.1 if step else 2.0)}
            for seed in range(4)
            for way in detached.DETACHED
            for step in (0, 9)
            for late in [way == "both" and step == 9]
        ]  # fmt: skip
        return made_up(rows)

    @pytest.mark.parametrize(
        ("loss", "norm", "outcome"),
        [
            (0.2, 2.0, "refuted"),
            (0.2, 50.0, "supported"),
            (3.0, 2.0, "supported"),
            (math.nan, 2.0, "supported"),
        ],
    )
    def test_blows_up(self, loss: float, norm: float, outcome: str) -> None:
        assert detached.training_blows_up(self.trained(loss, norm)).outcome == outcome

    @pytest.mark.parametrize(
        ("loss", "outcome"), [(0.3, "supported"), (0.13, "mixed"), (0.1, "refuted")]
    )
    def test_learns_worse(self, loss: float, outcome: str) -> None:
        assert detached.learns_worse(self.trained(loss, 1.0)).outcome == outcome


class TestDecay:
    def test_angles(self) -> None:
        a = torch.tensor([[2.0, 0.0], [1.0, 0.0], [1.0, 0.0]], dtype=torch.float64)
        b = torch.tensor([[5.0, 0.0], [0.0, 7.0], [1.0, 1e-9]], dtype=torch.float64)
        expected = [0.0, math.pi / 2, 1e-9]
        assert decay.angles(a, b).tolist() == pytest.approx(expected, rel=1e-6)

    def test_a_step_of_sgd_with_decay(self) -> None:
        ours, theirs = (nn.Parameter(normal(3, 4)) for _ in range(2))
        for weight in (ours, theirs):
            weight.grad = normal(3, 4, seed=1)
        decay.step_weights([ours], decay.Way(lambda _: [0.1], decay=0.05), 0)
        torch.optim.SGD([theirs], lr=0.1, weight_decay=0.05).step()
        torch.testing.assert_close(ours, theirs)

    def test_unit_norm(self) -> None:
        weight = nn.Parameter(normal(3, 4))
        weight.grad = normal(3, 4, seed=1)
        moved = weight.detach() - 0.1 * weight.grad
        decay.step_weights([weight], decay.Way(lambda _: [0.1], unit_norm=True), 0)
        torch.testing.assert_close(weight.detach(), moved / moved.norm(dim=1, keepdim=True))

    def test_others_are_trained_without_decay(self) -> None:
        net = mlp(torch.Generator().manual_seed(0), 6, 3, depth=1, width=4, norm="batch").double()
        start = copy.deepcopy(net)
        x, t = normal(64, 6), torch.arange(64) % 3
        way = decay.Way(lambda _: [0.0], decay=1.0)
        generator = torch.Generator().manual_seed(0)
        list(decay.train_hidden(net, x, t, way, steps=1, lr=0.3, generator=generator))
        gradient = torch.autograd.grad(
            nn.functional.cross_entropy(start(x), t), start.scores.weight
        )[0]
        assert torch.equal(net.linear1.weight, start.linear1.weight)
        torch.testing.assert_close(
            net.scores.weight.detach(), (start.scores.weight - 0.3 * gradient).detach()
        )

    def test_three_ways_are_one(self) -> None:
        """The identity of the chapter, to the last digits; without BatchNorm it does not hold."""
        ways = ("decay", "growing rate", "fixed norm")
        arms = [[norm, way] for norm in ("batch", "none") for way in ways]
        settings = {**decay.EXPERIMENT.live, "arms": arms, "steps": 40, "every": 20, "width": 16}
        result = decay.EXPERIMENT.measure([0], settings)
        for way in ways[1:]:
            same = result.where(norm="batch", way=way)
            assert max(same.values("difference")) < 1e-10
            turns = result.where(norm="batch", way="decay").values("angle")
            assert same.values("angle") == pytest.approx(turns)
            assert min(result.where(norm="none", way=way).values("difference")) > 1e-3

    @staticmethod
    def compared(growing: float, plain: float, fixed: float = 1.0, angle: float = 0.1) -> Result:
        rows: list[Row] = [
            {"seed": seed, "norm": "batch", "way": way, "step": step, "difference": difference,
             "held_out": loss, "angle": angle if step == 100 else 9.0}
            for seed in range(3)
            for step in (50, 100)
            for way, difference, loss in (
                ("decay", 0.0, 1.0), ("growing rate", growing, 1.0), ("no decay", plain, 1.0),
                ("fixed norm", 0.0, fixed),
            )
        ]  # fmt: skip
        return made_up(rows, {"lr": 0.1, "decay": 0.05})

    @pytest.mark.parametrize(
        ("growing", "plain", "outcome"),
        [(1e-9, 0.5, "supported"), (1e-9, 1e-4, "mixed"), (0.2, 0.5, "refuted")],
    )
    def test_only_the_rate(self, growing: float, plain: float, outcome: str) -> None:
        verdict = decay.decay_only_sets_the_rate(self.compared(growing, plain))
        assert verdict.outcome == outcome

    @pytest.mark.parametrize(("fixed", "outcome"), [(1.2, "supported"), (1.0, "refuted")])
    def test_regularizes(self, fixed: float, outcome: str) -> None:
        assert decay.decay_regularizes(self.compared(0, 0, fixed)).outcome == outcome

    @pytest.mark.parametrize(
        ("angle", "outcome"), [(0.1, "supported"), (0.13, "mixed"), (0.3, "refuted")]
    )
    def test_balance(self, angle: float, outcome: str) -> None:
        verdict = decay.angle_finds_its_balance(self.compared(0, 0, angle=angle))
        assert verdict.outcome == outcome
        assert verdict.effects[0].spread.median == pytest.approx(angle / 0.1)

"""Experiments of chapter 13: order, biases, residual streams, skips, a last gamma of zero."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import torch
from result_specimens import assert_recorded, made_up
from torch import nn

from normcourse.evidence import recorded
from normcourse.experiments import Experiment, Row
from normcourse.experiments import clean_skip as skips
from normcourse.experiments import norm_order as order
from normcourse.experiments import redundant_bias as bias
from normcourse.experiments import residual_digits as nets
from normcourse.experiments import residual_variance as variance
from normcourse.experiments import zero_gamma as gamma


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class TestNets:
    def test_the_order_is_that_of_its_name(self) -> None:
        kinds = {}
        for word in (*order.ORDERS, "no norm"):
            net = order.make_net(generator(), word, "batch", dims=1)
            kinds[word] = [type(layer).__name__ for layer in net][:4]
        conv, norm, relu = "Conv1d", "BatchNorm1d", "ReLU"
        assert kinds == {
            "norm first": [conv, norm, relu, conv],
            "relu first": [conv, relu, norm, conv],
            "no norm": [conv, relu, conv, relu],
        }

    def test_every_order_starts_from_the_same_weights(self) -> None:
        made = [order.make_net(generator(3), word, "group", dims=2) for word in order.ORDERS]
        first, other = (net.get_submodule("conv2").weight for net in made)
        assert torch.equal(first, other)

    def test_silent_channels_are_counted(self) -> None:
        net = order.make_net(generator(), "no norm", "none", dims=2)
        conv = net.get_submodule("conv1")
        with torch.no_grad():
            conv.bias[:4] = -100.0  # four of sixteen
        passed, silent = order.activity(net, torch.rand(8, 1, 8, 8, generator=generator(1)))
        assert silent >= 4 / 16 / 3
        assert 0 < passed < 1

    @pytest.mark.parametrize("kind", ["post", "pre"])
    def test_zero_branches_add_nothing(self, kind: str) -> None:
        x = torch.rand(4, 1, 8, 8, generator=generator(1))
        deep, flat = (nets.residual_net(generator(2), kind, depth, zero=True) for depth in (5, 1))
        a, b = (net[:-1](x) for net in (deep, flat))  # what the scores read
        assert torch.allclose(a, b)

    def test_a_clean_altered_block_is_the_block(self) -> None:
        blocks = [nets.PreActivationBlock(16, norm=nets.NORMS["batch"], zero_init=False)]
        blocks.append(nets.AlteredBlock("clean", nets.NORMS["batch"]))
        blocks[1].load_state_dict(blocks[0].state_dict())
        x = torch.randn(3, 16, 4, 4, generator=generator())
        assert torch.equal(blocks[0](x), blocks[1](x))

    @pytest.mark.parametrize("skip", nets.SKIPS)
    def test_skips_carry_what_they_say(self, skip: str) -> None:
        block = nets.AlteredBlock(skip, nets.NORMS["batch"])
        nn.init.zeros_(block.conv2.weight)  # only the skip is left
        x = torch.randn(3, 16, 4, 4, generator=generator())
        normal = nn.BatchNorm2d(16)(x)
        expected = {
            "clean": x,
            "halved": x / 2,
            "normalized": normal,
            "activated": normal.relu(),
            "relu on the sum": x.relu(),
        }
        assert torch.allclose(block(x), expected[skip], atol=1e-6)


class TestOrder:
    SETTINGS: ClassVar[dict[str, Any]] = {
        "steps": {"digits": 2},
        "arms": [["norm first", "batch"], ["relu first", "group"], ["no norm", "none"]],
        "rates": [0.1, 0.3],
    }

    def test_rows(self) -> None:
        rows, _ = order.EXPERIMENT.one_seed(0, self.SETTINGS)
        assert [[row["order"], row["norm"]] for row in rows] == self.SETTINGS["arms"]
        assert all(0 <= float(row["accuracy"]) <= 1 and row["rate"] in (0.1, 0.3) for row in rows)

    @staticmethod
    def rows(
        first: float, other: float, without: float = 0.5, silent: tuple[float, float] = (0, 0)
    ) -> list[Row]:
        arms = {
            **{("norm first", norm): (first, silent[0]) for norm in ("batch", "group")},
            **{("relu first", norm): (other, silent[1]) for norm in ("batch", "group")},
            ("no norm", "none"): (without, 0.0),
        }
        return [
            {
                "seed": seed,
                "data": data,
                "order": place,
                "norm": norm,
                "accuracy": right + 0.01 * seed,
                "silent": share,
            }
            for seed in range(3)
            for data in ("digits", "signals")
            for (place, norm), (right, share) in arms.items()
        ]

    @pytest.mark.parametrize(
        ("other", "outcome"),
        [(0.85, "supported"), (0.95, "supported"), (0.899, "refuted"), (0.885, "mixed")],
    )
    def test_order_is_critical(self, other: float, outcome: str) -> None:
        assert order.order_is_critical(made_up(self.rows(0.9, other))).outcome == outcome

    @pytest.mark.parametrize(
        ("other", "outcome"), [(0.89, "supported"), (0.91, "refuted"), (0.897, "mixed")]
    )
    def test_original_is_better(self, other: float, outcome: str) -> None:
        assert order.original_is_better(made_up(self.rows(0.9, other))).outcome == outcome

    @pytest.mark.parametrize(("without", "outcome"), [(0.7, "supported"), (0.895, "refuted")])
    def test_norm_matters_more(self, without: float, outcome: str) -> None:
        result = made_up(self.rows(0.9, 0.91, without))
        assert order.norm_matters_more(result).outcome == outcome

    @pytest.mark.parametrize(
        ("silent", "outcome"),
        [((0.0, 0.05), "supported"), ((0.0, 0.0), "refuted"), ((0.05, 0.2), "mixed")],
    )
    def test_norm_first_keeps_channels(self, silent: tuple[float, float], outcome: str) -> None:
        result = made_up(self.rows(0.9, 0.9, silent=silent))
        assert order.norm_first_keeps_channels(result).outcome == outcome


class TestBias:
    def test_what_a_norm_takes_away(self) -> None:
        settings = {"arms": list(bias._ARMS), "optimizers": ["sgd", "adam"], "steps": 3}
        rows, _ = bias.EXPERIMENT.one_seed(0, settings)
        found = {(row["arm"], row["optimizer"]): row for row in rows}
        for arm in ("batch first", "instance first"):
            assert float(found[arm, "sgd"]["gradient"]) < 1e-5
            assert float(found[arm, "sgd"]["effect"]) < 1e-4
        for arm in ("batch second", "group first", "no norm"):
            assert float(found[arm, "sgd"]["gradient"]) > 0.01
            assert float(found[arm, "sgd"]["effect"]) > 1e-3
        assert float(found["batch first", "adam"]["moved"]) > 0.01

    @staticmethod
    def rows(first: float, others: float, moved: tuple[float, float]) -> list[Row]:
        return [
            {
                "arm": arm,
                "optimizer": word,
                "gradient": first if arm == "batch first" else others,
                "effect": 1e-7 if arm == "batch first" else 0.1,
                "moved": way,
            }
            for arm in ("batch first", "batch second", "group first")
            for word, way in zip(("sgd", "adam"), moved, strict=True)
        ]

    @pytest.mark.parametrize(
        ("first", "outcome"), [(1e-7, "supported"), (0.1, "refuted"), (1e-4, "mixed")]
    )
    def test_useless_before_batch_norm(self, first: float, outcome: str) -> None:
        result = made_up(self.rows(first, 1.0, (0, 0)))
        assert bias.useless_before_batch_norm(result).outcome == outcome

    @pytest.mark.parametrize(
        ("others", "outcome"), [(1e-7, "supported"), (0.5, "refuted"), (1e-3, "mixed")]
    )
    def test_useless_elsewhere(self, others: float, outcome: str) -> None:
        result = made_up(self.rows(1e-7, others, (0, 0)))
        assert bias.useless_elsewhere(result).outcome == outcome

    @pytest.mark.parametrize(
        ("moved", "outcome"),
        [((0, 0.001), "supported"), ((0.5, 0.5), "refuted"), ((0, 0.5), "mixed")],
    )
    def test_stays_where_it_was(self, moved: tuple[float, float], outcome: str) -> None:
        result = made_up(self.rows(1e-7, 1.0, moved))
        assert bias.stays_where_it_was(result).outcome == outcome


class TestVariance:
    def test_rows(self) -> None:
        settings = {"stacks": variance._STACKS, "depth": 3, "every": 2}
        rows, _ = variance.EXPERIMENT.one_seed(0, settings)
        assert len(rows) == 6 * 2
        zeros = [row for row in rows if row["start"] == "zeros"]
        assert all(row["share"] == 0 for row in zeros)
        assert all(float(row["gradient"]) > 0 for row in rows)

    @staticmethod
    def rows(none: float, power: float, fade: float) -> list[Row]:
        rows: list[Row] = []
        for kind in ("post", "pre"):
            for k in range(1, 17):
                base: Row = {"kind": kind, "start": "ones", "block": k}
                rows.append({**base, "norm": "none", "variance": none**k, "share": 0.4})
                grown: Row = {"variance": float(k) ** power, "share": float(k) ** -fade}
                rows.append({**base, "norm": "batch", **grown})
        return rows

    @pytest.mark.parametrize(
        ("factor", "outcome"), [(1.8, "supported"), (1.0, "refuted"), (1.1, "mixed")]
    )
    def test_grows_without_norm(self, factor: float, outcome: str) -> None:
        result = made_up(self.rows(factor, 1.0, 1.0))
        assert variance.grows_without_norm(result).outcome == outcome

    @pytest.mark.parametrize(
        ("power", "outcome"),
        [(1.0, "supported"), (0.0, "refuted"), (3.0, "refuted"), (1.5, "mixed")],
    )
    def test_grows_linearly_with_norm(self, power: float, outcome: str) -> None:
        result = made_up(self.rows(1.8, power, 1.0))
        assert variance.grows_linearly_with_norm(result).outcome == outcome

    @pytest.mark.parametrize(
        ("fade", "outcome"), [(1.0, "supported"), (0.0, "refuted"), (0.3, "mixed")]
    )
    def test_branches_fade(self, fade: float, outcome: str) -> None:
        result = made_up(self.rows(1.8, 1.0, fade))
        assert variance.branches_fade(result).outcome == outcome


class TestSkips:
    def test_rows(self) -> None:
        settings = {"skips": list(nets.SKIPS), "depth": 3, "every": 1}
        result = skips.EXPERIMENT.measure([0], settings)
        assert result.distinct("skip") == list(nets.SKIPS)
        assert all(0 <= float(row["kept"]) <= 1 for row in result.rows)
        first = {s: result.where(skip=s, block=1).values("kept")[0] for s in nets.SKIPS}
        assert first["clean"] == pytest.approx(first["normalized"], abs=0.3)

    def test_kept_by_hand(self) -> None:
        x = torch.tensor([1.0, -1.0, 1.0, -1.0]).reshape(1, 1, 2, 2)
        y = torch.tensor([1.0, 1.0, -1.0, -1.0]).reshape(1, 1, 2, 2)
        assert skips.kept(x, x + y) == pytest.approx(0.5)
        assert skips.kept(x, y) == pytest.approx(0.0)

    @staticmethod
    def rows(normalized: float, halved: float) -> list[Row]:
        factors = {"clean": 0.9, "normalized": normalized, "halved": halved}
        return [
            {"skip": word, "block": k, "kept": factor**k}
            for word, factor in factors.items()
            for k in range(1, 13)
        ]

    @pytest.mark.parametrize(
        ("factors", "outcome"),
        [((0.5, 0.3), "supported"), ((0.9, 0.95), "refuted"), ((0.5, 0.95), "mixed")],
    )
    def test_clean_keeps_the_input(self, factors: tuple[float, float], outcome: str) -> None:
        assert skips.clean_keeps_the_input(made_up(self.rows(*factors))).outcome == outcome

    @pytest.mark.parametrize(
        ("factor", "outcome"), [(0.5, "supported"), (0.9, "refuted"), (0.7, "mixed")]
    )
    def test_norm_on_the_skip_halves(self, factor: float, outcome: str) -> None:
        result = made_up(self.rows(factor, 0.3))
        assert skips.norm_on_the_skip_halves(result).outcome == outcome


class TestGamma:
    def test_rows(self) -> None:
        arms = [
            {"kind": "post", "depth": 1, "head": "places"},
            {"kind": "plain", "depth": 1, "head": "mean"},
        ]
        settings = {"arms": arms, "starts": ["ones", "zeros"], "rates": [0.1], "steps": 40}
        result = gamma.EXPERIMENT.measure([0], settings)
        found = [(row["kind"], row["start"]) for row in result.rows]
        assert found == [("post", "ones"), ("post", "zeros"), ("plain", "zeros")]
        assert gamma.zeros_block(result).outcome == "refuted"
        assert gamma.blocks_without_skip(result).outcome == "supported"

    @staticmethod
    def rows(
        zeros: float, *, right: float = 0.9, large: float = 1.0, gradient: float = 0.1
    ) -> list[Row]:
        """The rate 0.1 is the best; at the rate 0.3 ones end at a loss of 1."""
        return [
            {
                "kind": "post",
                "head": head,
                "depth": 8,
                "start": start,
                "rate": rate,
                "held": rate,
                "loss": (zeros if rate == 0.1 else large)
                if start == "zeros"
                else 10 * (rate - 0.07),
                "accuracy": right if start == "zeros" else 0.9,
                "gradient": gradient,
                "rest": 1.0,
                "at_end": 0.5,
            }
            for head in ("mean", "places")
            for start in ("ones", "zeros")
            for rate in (0.1, 0.3)
        ]

    @pytest.mark.parametrize(("zeros", "outcome"), [(0.5, "supported"), (0.1, "refuted")])
    def test_zeros_train_worse(self, zeros: float, outcome: str) -> None:
        assert gamma.zeros_train_worse(made_up(self.rows(zeros))).outcome == outcome

    @pytest.mark.parametrize(
        ("right", "outcome"), [(0.92, "supported"), (0.9, "refuted"), (0.905, "mixed")]
    )
    def test_zeros_help(self, right: float, outcome: str) -> None:
        assert gamma.zeros_help(made_up(self.rows(0.3, right=right))).outcome == outcome

    @pytest.mark.parametrize(("large", "outcome"), [(0.5, "supported"), (3.0, "refuted")])
    def test_zeros_bear_larger_rates(self, large: float, outcome: str) -> None:
        result = made_up(self.rows(0.3, large=large))
        assert gamma.zeros_bear_larger_rates(result).outcome == outcome

    @pytest.mark.parametrize(("gradient", "outcome"), [(0.0, "supported"), (0.1, "refuted")])
    def test_zeros_block(self, gradient: float, outcome: str) -> None:
        result = made_up(self.rows(0.3, gradient=gradient))
        assert gamma.zeros_block(result).outcome == outcome


class TestRecords:
    """What the chapter says of its records, and ten seeds of each."""

    @pytest.mark.parametrize(
        ("experiment", "outcomes"),
        [
            (
                order.EXPERIMENT,
                {
                    "order_is_critical": "mixed",
                    "original_is_better": "refuted",
                    "norm_matters_more": "supported",
                    "norm_first_keeps_channels": "refuted",
                },
            ),
            (
                bias.EXPERIMENT,
                {
                    "useless_before_batch_norm": "supported",
                    "useless_elsewhere": "refuted",
                    "stays_where_it_was": "mixed",
                },
            ),
            (
                skips.EXPERIMENT,
                {"clean_keeps_the_input": "supported", "norm_on_the_skip_halves": "mixed"},
            ),
            (
                variance.EXPERIMENT,
                {
                    "grows_without_norm": "supported",
                    "grows_linearly_with_norm": "supported",
                    "branches_fade": "supported",
                },
            ),
            (
                gamma.EXPERIMENT,
                {
                    "zeros_train_worse": "mixed",
                    "zeros_help": "mixed",
                    "zeros_bear_larger_rates": "mixed",
                    "zeros_block": "refuted",
                    "blocks_without_skip": "supported",
                },
            ),
        ],
        ids=lambda value: value.name if isinstance(value, Experiment) else "",
    )
    def test_verdicts(self, experiment: Experiment, outcomes: dict[str, str]) -> None:
        assert_recorded(experiment, outcomes)

    def test_a_seed_of_the_record_comes_out_again(self) -> None:
        full = recorded("residual_variance")
        settings = {**full.settings, "stacks": [["pre", "batch", "ones"]]}
        rows, _ = variance.EXPERIMENT.one_seed(0, settings)
        told = full.where(seed=0, kind="pre", norm="batch", start="ones").values("variance")
        assert [row["variance"] for row in rows] == pytest.approx(told, rel=0.02)

"""Experiments of chapter 11: the dial, small batches, company, what shares a group, whose scale."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch
from torch import nn

from normcourse.evidence import recorded
from normcourse.experiments import Experiment, Result, Row
from normcourse.experiments import group_affine as affine
from normcourse.experiments import group_company as company
from normcourse.experiments import group_content as content
from normcourse.experiments import group_dial as dial
from normcourse.experiments import group_small_batches as small
from normcourse.experiments.result import Environment
from normcourse.modules import GroupNorm, WSConv2d


def made_up(rows: list[Row]) -> Result:
    """Return a result that holds these rows, of one seed where they name none."""
    marked = tuple({"seed": 0, **row} for row in rows)
    return Result("made_up", "own", {}, marked, {}, Environment.here(), "")


def dial_rows(
    accuracy: dict[int, float], *, places: dict[int, float] | None = None, cost: float = 0.2
) -> list[Row]:
    """Rows of the dial for digits, signals and places; a new order costs ``cost`` in between."""
    return [
        {
            "net": net,
            "groups": groups,
            "accuracy": right,
            "renumbered": right - (cost if 1 < groups < dial.CHANNELS else 0.0),
        }
        for net in dial.NETS
        for groups, right in ((places or accuracy) if net == "places" else accuracy).items()
    ]


class TestDial:
    SETTINGS: ClassVar = {
        "steps": {"digits": 2, "places": 2},
        "groups": [1, 4, 16],
        "rates": [0.1, 0.3],
    }

    def test_rows(self) -> None:
        rows, _ = dial.EXPERIMENT.one_seed(0, self.SETTINGS)
        found = [(row["net"], row["groups"]) for row in rows]
        assert found == [(net, g) for net in ("digits", "places") for g in (1, 4, 16, 0)]
        assert all(row["rate"] in (0.1, 0.3) for row in rows)
        for row in rows:
            if row["groups"] != 4:  # no groups, or one channel in each: no order
                assert row["renumbered"] == pytest.approx(row["accuracy"], abs=1e-6)

    @pytest.mark.parametrize("groups", [1, 2, 16])
    @pytest.mark.parametrize("pooled", [True, False])
    def test_renumbering_changes_a_net_with_groups_alone(self, groups: int, pooled: bool) -> None:
        generator = torch.Generator().manual_seed(3)
        net = dial.make_net(
            generator, lambda channels: nn.GroupNorm(groups, channels), dims=2, pooled=pooled
        )
        for parameter in net.parameters():  # scale and shift differ from channel to channel
            nn.init.normal_(parameter, std=0.3, generator=generator)
        x = torch.randn(5, 1, 8, 8, generator=generator)
        with torch.no_grad():
            before = net(x)
            dial.renumber(net, generator)
            moved = (net(x) - before).abs().max().item()
        assert (moved > 0.01) if groups == 2 else (moved < 1e-5)

    def test_the_rate_is_chosen_by_the_held_out_loss(self) -> None:
        data = dial.load_data("digits", torch.Generator().manual_seed(0))
        rate, net = dial.fit(data, nn.BatchNorm2d, 0, rates=[1e-6, 0.3], steps=20)
        slow = dial.fit(data, nn.BatchNorm2d, 0, rates=[1e-6], steps=20)[1]
        assert rate == 0.3
        loss = [
            nn.functional.cross_entropy(n.eval()(data.held_x), data.held_t).item()
            for n in (net, slow)
        ]
        assert loss[0] < loss[1]

    @pytest.mark.parametrize(
        ("accuracy", "outcome"),
        [
            ({1: 0.90, 4: 0.92, 16: 0.8, 0: 0.95}, "supported"),
            ({1: 0.93, 4: 0.92, 16: 0.8, 0: 0.95}, "refuted"),
            ({1: 0.915, 4: 0.92, 16: 0.8, 0: 0.95}, "mixed"),
        ],
    )
    def test_middle_is_best(self, accuracy: dict[int, float], outcome: str) -> None:
        assert dial.middle_is_best(made_up(dial_rows(accuracy))).outcome == outcome

    @pytest.mark.parametrize(
        ("batch", "outcome"), [(0.922, "supported"), (0.95, "refuted"), (0.93, "mixed")]
    )
    def test_near_batch_norm(self, batch: float, outcome: str) -> None:
        rows = dial_rows({4: 0.92, 0: batch})
        assert dial.near_batch_norm(made_up(rows)).outcome == outcome

    @pytest.mark.parametrize(
        ("cost", "outcome"), [(0.06, "supported"), (0.005, "refuted"), (0.03, "mixed")]
    )
    def test_order_matters(self, cost: float, outcome: str) -> None:
        rows = dial_rows({1: 0.9, 2: 0.9, 4: 0.9, 16: 0.9, 0: 0.9}, cost=cost)
        assert dial.order_matters(made_up(rows)).outcome == outcome

    @pytest.mark.parametrize(
        ("alone", "places", "outcome"),
        [
            (0.85, 0.92, "supported"),
            (0.85, 0.89, "refuted"),  # as bad where the scores read places
            (0.915, 0.92, "refuted"),  # not bad where they read means
            (0.85, 0.905, "mixed"),
        ],
    )
    def test_means_are_missed(self, alone: float, places: float, outcome: str) -> None:
        rows = dial_rows({4: 0.92, 16: alone}, places={4: 0.92, 16: places})
        assert dial.means_are_missed(made_up(rows)).outcome == outcome


class TestSmallBatches:
    SETTINGS: ClassVar = {
        "nets": {"2x2": [2], "1x1": [2, 8]},
        "norms": {"2x2": ["batch", "instance"], "1x1": ["batch", "group", "one group"]},
        "weights": ["plain", "standardized"],
        "rates": {"2": [0.1], "8": [0.1, 0.3]},
        "examples": 16,
    }

    def test_rows(self) -> None:
        rows, _ = small.EXPERIMENT.one_seed(0, self.SETTINGS)
        assert len(rows) == 2 * 2 * 1 + 3 * 2 * 2
        values = {(row["net"], row["norm"], row["size"]): row["values"] for row in rows}
        assert values["2x2", "batch", 2] == 8
        assert values["2x2", "instance", 2] == 4
        assert values["1x1", "group", 8] == 8
        assert values["1x1", "batch", 8] == 8
        assert all(0 <= float(row["accuracy"]) <= 1 for row in rows)

    def test_standardized_weights_start_from_the_plain_ones(self) -> None:
        nets = [
            small.conv_net(torch.Generator().manual_seed(1), 10, channels=8, norm="group")
            for _ in range(2)
        ]
        small.standardize_weights(nets[1])
        convs = [nets[1].get_submodule(f"conv{k}") for k in (1, 2, 3)]
        assert all(isinstance(conv, WSConv2d) for conv in convs)
        assert [conv.stride for conv in convs] == [(1, 1), (2, 2), (2, 2)]
        same = zip(nets[0].parameters(), nets[1].parameters(), strict=True)
        assert all(torch.equal(a, b) for a, b in same)
        x = torch.rand(3, 1, 8, 8)
        assert nets[0](x).shape == nets[1](x).shape
        assert not torch.allclose(nets[0](x), nets[1](x))

    @staticmethod
    def rows(group: float, batch: float, standardized: float = 0.9) -> list[Row]:
        return [
            {"net": net, "norm": norm, "size": 2, "weights": kind, "accuracy": right}
            for net in ("2x2", "1x1")
            for norm, plain in (("group", group), ("batch", batch))
            for kind, right in (("plain", plain), ("standardized", standardized))
        ]

    @pytest.mark.parametrize(
        ("batch", "outcome"), [(0.87, "supported"), (0.90, "refuted"), (0.89, "mixed")]
    )
    def test_group_wins_when_small(self, batch: float, outcome: str) -> None:
        assert small.group_wins_when_small(made_up(self.rows(0.9, batch))).outcome == outcome

    @pytest.mark.parametrize(
        ("after", "outcome"), [(0.92, "supported"), (0.9, "refuted"), (0.905, "mixed")]
    )
    def test_standardizing_helps(self, after: float, outcome: str) -> None:
        rows = self.rows(0.9, 0.9, standardized=after)
        assert small.standardizing_helps(made_up(rows)).outcome == outcome


class TestCompany:
    def test_layers_and_nets(self) -> None:
        settings = {"norms": ["batch", "group"], "parts": list(company.PARTS), "sizes": [1, 3, 32]}
        result = company.EXPERIMENT.measure([0, 1], settings)
        assert result.distinct("change") == ["companions", "place", "size"]
        for part in ("NumPy layer", "course layer", "torch layer"):
            assert not any(result.where(norm="group", part=part).values("bits"))
        assert max(result.where(norm="group").values("moved")) < 1e-6
        assert min(result.where(norm="batch", change="companions").values("moved")) > 0.01

    def test_the_image_is_where_it_is_said_to_be(self) -> None:
        x = torch.arange(80.0)[:, None]
        for _, batch, place in company.batches(x, [1, 20]):
            assert batch[place].item() == 0.0
            assert len(set(batch.flatten().tolist())) == len(batch)

    @staticmethod
    def rows(group: float, net: float, batch: float = 0.1) -> list[Row]:
        moved = {("group", "torch layer"): group, ("group", "net"): net, ("batch", "net"): batch}
        return [
            {"norm": norm, "part": part, "change": "size", "moved": gap, "bits": gap > 0}
            for (norm, part), gap in moved.items()
        ]

    @pytest.mark.parametrize(
        ("net", "batch", "outcome"),
        [(1e-7, 0.1, "supported"), (1e-3, 0.1, "refuted"), (0.0, 0.0, "mixed")],
    )
    def test_ignores_the_batch(self, net: float, batch: float, outcome: str) -> None:
        assert company.ignores_the_batch(made_up(self.rows(0.0, net, batch))).outcome == outcome

    @pytest.mark.parametrize(
        ("group", "net", "outcome"),
        [(0.0, 0.0, "supported"), (0.0, 1e-7, "mixed"), (1e-7, 0.0, "refuted")],
    )
    def test_to_the_last_bit(self, group: float, net: float, outcome: str) -> None:
        assert company.to_the_last_bit(made_up(self.rows(group, net))).outcome == outcome


class TestContent:
    def test_the_order_of_the_channels_is_all_that_differs(self) -> None:
        inputs = [
            content.with_noise(
                torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(1)),
                1.0,
                mixed,
                torch.Generator().manual_seed(2),
            )
            for mixed in (False, True)
        ]
        nets = [
            content.make_net(1, mixed, torch.Generator().manual_seed(3)) for mixed in (False, True)
        ]
        assert torch.equal(inputs[0][:, 0], inputs[1][:, 0])
        assert torch.equal(inputs[0][:, 4], inputs[1][:, 1])
        assert torch.equal(inputs[0][:, 3], inputs[1][:, 6])
        scores = [net(x) for net, x in zip(nets, inputs, strict=True)]
        assert torch.allclose(scores[0], scores[1], atol=1e-5)  # one group has no order

    @pytest.mark.parametrize(
        ("mixed", "outcome"), [(0.05, "supported"), (0.021, "refuted"), (0.03, "mixed")]
    )
    def test_neighbours_matter(self, mixed: float, outcome: str) -> None:
        rows: list[Row] = [
            {"arm": arm, "loudness": amount, "error": error}
            for amount in (0.0, 2.0)
            for arm, error in (("kinds apart", 0.02), ("kinds mixed", mixed if amount else 0.5))
        ]
        assert content.neighbours_matter(made_up(rows)).outcome == outcome


class TestAffine:
    def test_per_channel_is_group_norm(self) -> None:
        generator = torch.Generator().manual_seed(0)
        ours, theirs = affine.AffineOf("channel", 8, 3), GroupNorm(dial.MIDDLE, 8)
        for parameter, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            nn.init.normal_(parameter, generator=generator)
            other.data.copy_(parameter.data.flatten())
        x = torch.randn(2, 8, 3, 3, generator=generator)
        assert torch.allclose(ours(x), theirs(x), atol=1e-6)

    def test_rows(self) -> None:
        settings = {"kinds": list(affine.KINDS), "rates": [0.3], "steps": 2}
        rows, _ = affine.EXPERIMENT.one_seed(0, settings)
        parameters = {row["kind"]: row["parameters"] for row in rows}
        place = 2 * 16 * (64 + 16 + 4)
        assert parameters == {"channel": 96, "group": 24, "place": place, "none": 0}

    @pytest.mark.parametrize(
        ("others", "outcome"),
        [((0.88, 0.885), "supported"), ((0.9, 0.896), "refuted"), ((0.88, 0.9), "mixed")],
    )
    def test_per_channel_is_best(self, others: tuple[float, float], outcome: str) -> None:
        rows: list[Row] = [
            {"kind": kind, "accuracy": right}
            for kind, right in zip(("channel", "group", "none"), (0.9, *others), strict=True)
        ]
        assert affine.per_channel_is_best(made_up(rows)).outcome == outcome


class TestRecords:
    """What the chapter says of its records, and ten seeds of each."""

    @pytest.mark.parametrize(
        ("experiment", "outcomes"),
        [
            (
                dial.EXPERIMENT,
                {
                    "middle_is_best": "mixed",
                    "near_batch_norm": "mixed",
                    "order_matters": "mixed",
                    "means_are_missed": "refuted",
                },
            ),
            (
                small.EXPERIMENT,
                {"group_wins_when_small": "mixed", "standardizing_helps": "supported"},
            ),
            (
                company.EXPERIMENT,
                {"ignores_the_batch": "supported", "to_the_last_bit": "mixed"},
            ),
            (content.EXPERIMENT, {"neighbours_matter": "supported"}),
            (affine.EXPERIMENT, {"per_channel_is_best": "refuted"}),
        ],
        ids=lambda value: value.name if isinstance(value, Experiment) else "",
    )
    def test_verdicts(self, experiment: Experiment, outcomes: dict[str, str]) -> None:
        full = recorded(experiment.name)
        assert len(full.seeds) >= 10
        assert not full.stale
        found = {name: rule(full).outcome for name, rule in experiment.decisions.items()}
        assert found == outcomes

    def test_no_order_at_the_ends_of_the_dial(self) -> None:
        full = recorded("group_dial")
        for groups in (0, 1, dial.CHANNELS):
            rows = full.where(groups=groups).rows
            assert max(abs(float(r["accuracy"]) - float(r["renumbered"])) for r in rows) < 1e-3

    def test_a_seed_of_the_record_comes_out_again(self) -> None:
        full = recorded("group_content")
        settings = {**full.settings, "arms": ["kinds mixed"], "loudness": [2.0]}
        (row,) = content.EXPERIMENT.one_seed(0, settings)[0]
        told = full.where(seed=0, arm="kinds mixed", loudness=2.0).values("error")[0]
        assert row["error"] == pytest.approx(told, abs=0.03)

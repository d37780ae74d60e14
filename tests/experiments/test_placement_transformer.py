"""Experiments of chapter 14: nets side by side are the nets alone; the rules on made-up rows."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from result_specimens import assert_recorded, made_up

from normcourse.evidence import recorded
from normcourse.experiments import Experiment, Result, Row
from normcourse.experiments import placement_deeper as deeper
from normcourse.experiments import placement_nets as nets
from normcourse.experiments import placement_qk as qk
from normcourse.experiments import placement_start as start
from normcourse.experiments import placement_training as training
from normcourse.experiments.text import guessing_loss, load_text, windows
from normcourse.experiments.transformer import next_letter_loss, train_language
from normcourse.norms import deep_norm_constants

SIZES = {"depth": 2, "width": 8, "heads": 2, "length": 12}


def fresh(place: str, **options: Any) -> nets.CharTransformer:
    generator = torch.Generator().manual_seed(4)
    return nets.fresh(generator, 94, place, **{**SIZES, **options})


class TestNets:
    @pytest.mark.parametrize("place", nets.PLACES)
    def test_each_of_several_is_trained_as_one_alone(self, place: str) -> None:
        text, net = load_text().train, fresh(place)
        arms = [(0.001, 0), (0.01, 4)]
        together = nets.train_side_by_side(
            nets.SideBySide(net, place, 2),
            text,
            rates=[rate for rate, _ in arms],
            warmups=[warm for _, warm in arms],
            steps=8,
            length=12,
            batch_size=3,
            generator=torch.Generator().manual_seed(1),
        )
        for k, (rate, warm) in enumerate(arms):
            alone = train_language(
                copy.deepcopy(net),
                text,
                steps=8,
                length=12,
                generator=torch.Generator().manual_seed(1),
                batch_size=3,
                lr=rate,
                warmup=warm,
            )
            assert together[:, k].tolist() == pytest.approx(alone, abs=1e-4)

    def test_a_lost_net_leaves_the_others_alone(self) -> None:
        text = load_text().train
        pair = nets.SideBySide(fresh("pre"), "pre", 2)
        found = nets.train_side_by_side(
            pair, text, rates=[0.001, 1e30], warmups=[0, 0], steps=5, length=12, batch_size=3,
            generator=torch.Generator().manual_seed(1),
        )  # fmt: skip
        assert not torch.isfinite(found[-1, 1])
        assert torch.isfinite(found[:, 0]).all()

    def test_deep_norm_scales_what_the_paper_scales(self) -> None:
        alpha, beta = deep_norm_constants(2)
        plain, deep = fresh("post"), fresh("deep")
        for one, other in zip(plain.sublayers, deep.sublayers, strict=True):
            assert other.alpha == alpha
            for a, b in zip(one.sublayer.parameters(), other.sublayer.parameters(), strict=True):
                factor = torch.full((len(a), 1), beta)
                if len(a) == 24:  # queries, keys and values
                    factor[:16] = 1.0
                assert torch.allclose(b, factor * a)
        letters = torch.zeros(1, 12, dtype=torch.int64)
        assert not torch.allclose(plain(letters), deep(letters))

    def test_streams_are_what_the_blocks_return(self) -> None:
        net = fresh("sandwich")
        letters = windows(
            load_text().train, length=12, count=2, generator=torch.Generator().manual_seed(0)
        )
        first, middle, last = nets.SideBySide(net, "sandwich", 1).streams(letters)
        assert torch.allclose(first[0], net.embed(letters), atol=1e-6)
        assert torch.allclose(middle[0], net.sublayers[:2](net.embed(letters)), atol=1e-5)
        assert torch.allclose(last[0], net.sublayers(net.embed(letters)), atol=1e-5)


def start_rows(**of: tuple[list[float], list[float]]) -> list[Row]:
    """Rows of nets with two blocks: place to (stream, gradient) at the blocks."""
    return [
        {"place": place, "depth": depth, "block": block, "stream": stream, "gradient": gradient}
        for place, columns in of.items()
        for depth in (4, 64)
        for block, stream, gradient in zip((1, depth), *columns, strict=True)
    ]


class TestStart:
    def test_rows(self) -> None:
        rows, _ = start.EXPERIMENT.one_seed(0, {"places": ["post", "deep"], "depths": [3]})
        found = [(row["place"], row["block"]) for row in rows]
        assert found == [(place, block) for place in ("post", "deep") for block in range(4)]
        for row in rows:
            assert ("gradient" in row) == (row["block"] > 0)
            if row["block"]:
                assert row["stream"] == pytest.approx(1, abs=1e-3)
            if row["block"] == 3:
                assert row["flow"] == 1

    def test_the_gradient_is_that_of_the_blocks_last_weights(self) -> None:
        rows, _ = start.EXPERIMENT.one_seed(2, {"places": ["pre"], "depths": [2]})
        generator = torch.Generator().manual_seed(2)
        sizes = {"depth": 2, "width": start.WIDTH, "heads": start.HEADS, "length": start.LENGTH}
        net = nets.fresh(generator, 94, "pre", **sizes)
        pieces = windows(
            load_text().train,
            length=start.LENGTH + 1,
            count=start.BATCH_SIZE,
            generator=torch.Generator().manual_seed(2),
        )
        next_letter_loss(net, pieces).backward()  # type: ignore[no-untyped-call]
        weight = net.sublayers[-1].sublayer[-1].weight  # type: ignore[index, union-attr]
        assert rows[-1]["gradient"] == pytest.approx(weight.grad.norm().item(), rel=1e-4)

    @pytest.mark.parametrize(
        ("post", "outcome"), [(3.0, "supported"), (1.0, "refuted"), (1.2, "mixed")]
    )
    def test_large_near_the_output(self, post: float, outcome: str) -> None:
        rows = start_rows(post=([1, 1], [1, post]), pre=([1, 2], [5, 1]))
        assert start.large_near_the_output(made_up(rows)).outcome == outcome

    @pytest.mark.parametrize(("first", "outcome"), [(1.9, "supported"), (2.1, "refuted")])
    def test_even_in_pre_norm(self, first: float, outcome: str) -> None:
        rows = start_rows(pre=([1, 2], [first, 1]))
        assert start.even_in_pre_norm(made_up(rows)).outcome == outcome
        rows[0]["gradient"] = 4 - first  # the shallow net the other way round
        assert start.even_in_pre_norm(made_up(rows)).outcome == "mixed"

    @pytest.mark.parametrize(
        ("post", "pre", "outcome"),
        [(3.9, 3.9, "supported"), (4.1, 0.2, "refuted"), (3.9, 4.1, "mixed")],
    )
    def test_controls_gradients(self, post: float, pre: float, outcome: str) -> None:
        rows = start_rows(post=([1, 1], [1, post]), pre=([1, 2], [pre, 1]))
        assert start.controls_gradients(made_up(rows)).outcome == outcome

    @pytest.mark.parametrize(("last", "outcome"), [(1.1, "supported"), (1.0, "refuted")])
    def test_stream_grows(self, last: float, outcome: str) -> None:
        rows = start_rows(pre=([1, last], [1, 1]))
        assert start.stream_grows(made_up(rows)).outcome == outcome

    @pytest.mark.parametrize(
        ("post", "pre", "outcome"),
        [(1.05, 0.95, "supported"), (1.2, 3.0, "refuted"), (1.0, 3.0, "mixed")],
    )
    def test_reset_at_every_block(self, post: float, pre: float, outcome: str) -> None:
        rows = start_rows(post=([1, post], [1, 1]), pre=([1, pre], [1, 1]))
        assert start.reset_at_every_block(made_up(rows)).outcome == outcome


GUESS = guessing_loss(load_text())


def net_rows(loss: dict[tuple[str, int], float], *, rate: float = 0.003) -> list[Row]:
    """Rows of nets of two depths: (place, warm-up) to test loss, the same in both."""
    return [
        {"place": place, "depth": depth, "rate": rate, "warmup": warm, "end": x, "loss": x}
        for (place, warm), x in loss.items()
        for depth in (4, 16)
    ]


class TestTraining:
    def test_rows(self) -> None:
        settings = {
            "places": {"post": [2, 3], "deep": [2]},
            "bare": ["post"],
            "rates": [0.003, 1e30],
            "warmup": 2,
            "steps": training.LAST,
        }
        rows, _ = training.EXPERIMENT.one_seed(0, settings)
        result = made_up(rows)
        found = training.nets_of(result)
        assert len(found.rows) == 2 * 4 + 2
        assert found.where(place="deep").distinct("warmup") == [2]
        assert set(found.where(rate=1e30).values("loss")) == {float("inf")}
        assert max(found.where(rate=0.003).values("loss")) < 6
        curves = result.keep(lambda row: "curve" in row)
        assert curves.distinct("place") == ["post"]
        assert len(curves.rows) == 8

    def test_the_best_rate_is_where_training_ends_lowest(self) -> None:
        rows = net_rows({("post", 9): 2.5}) + net_rows({("post", 9): 2.4}, rate=0.01)
        assert training.best_rate(made_up(rows), "post", 4, 9) == 0.01

    @pytest.mark.parametrize(
        ("post", "pre", "outcome"),
        [
            (2.7, 2.5, "supported"),
            (2.5, 2.5, "refuted"),
            (2.7, 2.7, "refuted"),
            (2.55, 2.5, "mixed"),
        ],
    )
    def test_post_needs_warmup(self, post: float, pre: float, outcome: str) -> None:
        loss = {("post", 0): post, ("post", 9): 2.5, ("pre", 0): pre, ("pre", 9): 2.5}
        assert training.post_needs_warmup(made_up(net_rows(loss))).outcome == outcome

    def test_a_lost_run_counts_as_guessing(self) -> None:
        loss = {("post", 0): float("inf"), ("post", 9): 2.5, ("pre", 0): 2.5, ("pre", 9): 2.5}
        verdict = training.post_needs_warmup(made_up(net_rows(loss)))
        assert verdict.effects[0].spread.median == pytest.approx(GUESS - 2.5)

    @pytest.mark.parametrize(
        ("post", "pre", "outcome"),
        [(GUESS, 2.5, "supported"), (2.5, 2.5, "refuted"), (2.5, GUESS, "refuted")],
    )
    def test_pre_is_more_stable(self, post: float, pre: float, outcome: str) -> None:
        loss = {("post", 0): post, ("post", 9): 2.5, ("pre", 0): pre, ("pre", 9): 2.5}
        assert training.pre_is_more_stable(made_up(net_rows(loss))).outcome == outcome

    @pytest.mark.parametrize(
        ("post", "outcome"), [(2.4, "supported"), (2.6, "refuted"), (2.51, "mixed")]
    )
    def test_post_ends_better(self, post: float, outcome: str) -> None:
        loss = {("post", 9): post, ("pre", 9): 2.5}
        assert training.post_ends_better(made_up(net_rows(loss))).outcome == outcome

    @pytest.mark.parametrize(
        ("inside", "sandwich", "outcome"),
        [(2.5, 2.54, "supported"), (2.6, 2.6, "refuted"), (2.5, 2.6, "mixed")],
    )
    def test_inside_keeps_up(self, inside: float, sandwich: float, outcome: str) -> None:
        loss = {("res-post", 9): inside, ("sandwich", 9): sandwich, ("pre", 9): 2.5}
        assert training.inside_keeps_up(made_up(net_rows(loss))).outcome == outcome


def all_places(
    *, warm: float = 2.5, bare: float = 2.5, shallow: float = 2.5, last: float | None = None
) -> Result:
    """Nets of the four places of ``placement_deeper``; pre-norm ends at 2.5 with and without.

    Args:
        warm: test loss of the other places with warm-up.
        bare: their loss without, at the greater depth.
        shallow: the same at the smaller depth.
        last: that of DeepNorm at the greater depth, if it differs.
    """
    loss = {("pre", 0): 2.5, ("pre", 9): 2.5}
    for place in deeper.OTHERS:
        loss |= {(place, 0): bare, (place, 9): warm}
    rows = net_rows(loss)
    for row in rows:
        if row["place"] == "pre" or row["warmup"]:
            continue
        if row["depth"] == 4:
            row["loss"] = shallow
        elif row["place"] == "deep" and last is not None:
            row["loss"] = last
    return made_up(rows)


class TestOtherPlaces:
    def test_rows(self) -> None:
        settings = {
            "places": {"pre": [2], "res-post": [2, 3]},
            "rates": [0.003, 1e30],
            "warmup": 2,
            "steps": training.LAST,
        }
        rows, _ = deeper.EXPERIMENT.one_seed(0, settings)
        result = made_up(rows)
        assert len(rows) == 3 * 2 * 2
        assert not any("curve" in row for row in rows)
        assert result.where(place="res-post").distinct("depth") == [2, 3]
        assert result.where(place="res-post", depth=3).distinct("warmup") == [0, 2]
        assert set(result.where(rate=1e30).values("loss")) == {float("inf")}

    def test_rows_are_those_of_the_other_experiment(self) -> None:
        """Whether curves are kept or not, a net is the same net."""
        settings = {"rates": [0.003], "warmup": 2, "steps": training.LAST}
        rows, _ = deeper.EXPERIMENT.one_seed(1, {"places": {"sandwich": [2]}, **settings})
        others, _ = training.EXPERIMENT.one_seed(
            1, {"places": {"sandwich": [2]}, "bare": ["sandwich"], **settings}
        )
        assert rows == [row for row in others if "loss" in row]

    @pytest.mark.parametrize(
        ("bare", "shallow", "last", "outcome"),
        [
            (2.54, 2.54, None, "supported"),
            (2.56, 2.5, None, "mixed"),
            (2.5, 2.56, None, "mixed"),
            (2.61, 2.5, None, "refuted"),
            (2.61, 2.5, 2.5, "mixed"),
        ],
    )
    def test_need_no_warmup(
        self, bare: float, shallow: float, last: float | None, outcome: str
    ) -> None:
        result = all_places(bare=bare, shallow=shallow, last=last)
        assert deeper.need_no_warmup(result).outcome == outcome

    def test_each_place_is_looked_at_where_it_does_best(self) -> None:
        """At a worse rate the warm-up saves much; that does not count."""
        rows = list(all_places().rows)
        worse = [{**row, "rate": 0.01, "loss": 3.0 - 0.05 * int(row["warmup"]), "end": 2.9}
                 for row in rows]  # fmt: skip
        verdict = deeper.need_no_warmup(made_up([*rows, *worse]))
        assert verdict.outcome == "supported"
        assert all("rate 0.003" in effect.name for effect in verdict.effects)

    @pytest.mark.parametrize(
        ("bare", "shallow", "last", "outcome"),
        [
            (2.5, 2.5, None, "supported"),
            (GUESS, 2.5, None, "refuted"),
            (GUESS, 2.5, 2.5, "mixed"),
            (2.5, GUESS, None, "mixed"),
        ],
    )
    def test_as_stable_as_pre(
        self, bare: float, shallow: float, last: float | None, outcome: str
    ) -> None:
        result = all_places(bare=bare, shallow=shallow, last=last)
        assert deeper.as_stable_as_pre(result).outcome == outcome

    @pytest.mark.parametrize(("warm", "outcome"), [(2.54, "supported"), (2.6, "refuted")])
    def test_inside_keeps_up(self, warm: float, outcome: str) -> None:
        decide = deeper.EXPERIMENT.decisions["inside_keeps_up"]
        assert decide(all_places(warm=warm)).outcome == outcome


class TestQueriesAndKeys:
    def test_rows(self) -> None:
        rows, _ = qk.EXPERIMENT.one_seed(0, {"places": ["res-post"], "depths": [2]})
        assert [(row["qk"], row["block"]) for row in rows] == [
            (normed, block) for normed in (False, True) for block in (1, 2)
        ]
        assert all(0 < float(row["sharpness"]) <= 1 for row in rows)

    def test_sharpness_is_that_of_the_weights(self) -> None:
        """Zero products give every position that is seen the same weight."""
        attention = qk.CausalAttention(8, 2)
        torch.nn.init.zeros_(attention.project_in.weight)
        x = torch.randn(1, 12, 8)
        expected = sum(1 / seen for seen in range(qk.SEEN, 13)) / (13 - qk.SEEN)
        assert qk.sharpness(attention, x) == pytest.approx(expected)

    @pytest.mark.parametrize(
        ("normed", "outcome"), [(9.0, "supported"), (60.0, "refuted"), (30.0, "mixed")]
    )
    def test_evens_res_post(self, normed: float, outcome: str) -> None:
        rows: list[Row] = [
            {"place": "res-post", "depth": 64, "qk": q, "block": block, "gradient": gradient}
            for q, first in ((False, 100.0), (True, normed))
            for block, gradient in ((1, first), (64, 1.0))
        ]
        assert qk.evens_res_post(made_up(rows)).outcome == outcome

    @pytest.mark.parametrize(
        ("plain", "normed", "outcome"),
        [(0.95, 0.3, "supported"), (0.4, 0.3, "refuted"), (0.95, 0.6, "mixed")],
    )
    def test_attention_sharpens(self, plain: float, normed: float, outcome: str) -> None:
        rows: list[Row] = [
            {"place": "res-post", "depth": 64, "qk": q, "block": 64, "sharpness": sharp}
            for q, sharp in ((False, plain), (True, normed))
        ]
        assert qk.attention_sharpens(made_up(rows)).outcome == outcome


class TestRecords:
    """What the chapter says of its records, and ten seeds of each."""

    @pytest.mark.parametrize(
        ("experiment", "outcomes"),
        [
            (
                start.EXPERIMENT,
                {
                    "large_near_the_output": "supported",
                    "even_in_pre_norm": "mixed",
                    "controls_gradients": "mixed",
                    "stream_grows": "supported",
                    "reset_at_every_block": "mixed",
                },
            ),
            (qk.EXPERIMENT, {"evens_res_post": "supported", "attention_sharpens": "supported"}),
            (
                training.EXPERIMENT,
                {
                    "post_needs_warmup": "mixed",
                    "pre_is_more_stable": "supported",
                    "post_ends_better": "refuted",
                    "inside_keeps_up": "supported",
                },
            ),
            (
                deeper.EXPERIMENT,
                {
                    "inside_keeps_up": "mixed",
                    "need_no_warmup": "supported",
                    "as_stable_as_pre": "mixed",
                },
            ),
        ],
        ids=lambda value: value.name if isinstance(value, Experiment) else "",
    )
    def test_verdicts(self, experiment: Experiment, outcomes: dict[str, str]) -> None:
        assert_recorded(experiment, outcomes)

    def test_a_seed_of_the_record_comes_out_again(self) -> None:
        full = recorded("placement_start")
        rows, _ = start.EXPERIMENT.one_seed(3, {"places": ["sandwich"], "depths": [4]})
        told = full.where(seed=3, place="sandwich", depth=4).values("stream")
        assert [row["stream"] for row in rows] == pytest.approx(told, rel=1e-3)

    @pytest.mark.parametrize("place", ["pre", "sandwich", "deep"])
    def test_nets_in_two_records_are_the_same(self, place: str) -> None:
        """A rate that is too large for DeepNorm is left out: there a last digit grows."""
        for depth in (4, 16):
            for rate in (0.001, 0.003):
                arm = {"place": place, "depth": depth, "rate": rate, "warmup": 40}
                told = [
                    training.nets_of(recorded(name)).where(**arm).values("loss")
                    for name in ("placement_training", "placement_deeper")
                ]
                assert told[0] == pytest.approx(told[1], abs=1e-3)

    def test_where_the_chapter_says_that_a_warm_up_pays(self) -> None:
        nets = deeper.with_post(recorded("placement_training"), recorded("placement_deeper"))
        assert nets.distinct("place") == ["post", "pre", "res-post", "sandwich", "deep"]
        for place, depth in (("post", 4), ("deep", 16)):
            assert training.helped(nets, place, depth, 0.01).median > 0.05
        for place in ("pre", "res-post", "sandwich"):
            for rate in (0.001, 0.003):
                assert -0.075 < training.helped(nets, place, 16, rate).median < -0.03

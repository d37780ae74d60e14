"""Experiments of chapter 08: language, padded lines, recurrent nets, the future, swapped axes."""

from __future__ import annotations

import math
from typing import ClassVar

import pytest
import torch
from result_specimens import assert_recorded, made_up
from torch import nn

from normcourse.experiments import Experiment, Result, Row
from normcourse.experiments import future_leak as future
from normcourse.experiments import language_longer as longer
from normcourse.experiments import language_norms as language
from normcourse.experiments import language_size as size
from normcourse.experiments import padded_language as lines
from normcourse.experiments import recurrent_norms as recurrent
from normcourse.experiments import sequence_norms as sequences
from normcourse.experiments import swapped_axes as swapped
from normcourse.experiments.text import load_text
from normcourse.experiments.transformer import FeaturesFirst


class TestSequenceNorms:
    X = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(1)) * 2 + 1

    @pytest.mark.parametrize(
        ("word", "axes"), [("batch", (0, 1)), ("per position", (0,)), ("over time", (1,))]
    )
    def test_what_is_pooled(self, word: str, axes: tuple[int, ...]) -> None:
        y = sequences.make_norm(word, 5)(4)(self.X)
        mean = self.X.mean(axes, keepdim=True)
        var = self.X.var(axes, correction=0, keepdim=True)
        assert torch.allclose(y, (self.X - mean) / (var + 1e-5).sqrt(), atol=1e-5)

    def test_over_the_past(self) -> None:
        y = sequences.OverPast(4)(self.X)
        for t in range(5):
            past = self.X[:, : t + 1]
            var, mean = torch.var_mean(past, dim=1, correction=0)
            assert torch.allclose(y[:, t], (self.X[:, t] - mean) / (var + 1e-5).sqrt(), atol=1e-4)

    def test_masked_is_batch_norm_of_the_real_tokens(self) -> None:
        mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [1, 0, 0, 0, 0]]).bool()
        norm = sequences.MaskedTokens(4)
        with pytest.raises(ValueError, match="mask"):
            norm(self.X)
        norm.mask = mask
        y = norm(self.X)
        assert torch.allclose(y[mask], nn.BatchNorm1d(4)(self.X[mask]), atol=1e-6)
        assert not y[~mask].any()

    def test_each_position_keeps_its_own_running_statistics(self) -> None:
        norm = sequences.PerPosition(4, 5)
        for _ in range(300):
            norm(self.X)
        short = norm.eval()(self.X[:, :2])
        scale = (self.X[:, :2].var(0, correction=1) + 1e-5).sqrt()
        expected = (self.X[:, :2] - self.X[:, :2].mean(0)) / scale
        assert torch.allclose(short, expected, atol=1e-4)

    def test_no_word_is_unknown(self) -> None:
        with pytest.raises(KeyError):
            sequences.make_norm("nothing", 4)
        net = sequences.language_net(0, "batch", 9, length=8, depth=2)
        assert len(sequences.norm_layers(net, "batch")) == 5

    def test_independent_values_wander_as_they_should(self) -> None:
        g, net = torch.Generator().manual_seed(0), FeaturesFirst(nn.BatchNorm1d(8))
        inputs = [torch.randn(4, 16, 8, generator=g) for _ in range(300)]
        found = sequences.wander(net, [net], inputs)
        assert found.independent == 1 / 8
        assert found.mean == pytest.approx(1 / 8, rel=0.05)
        shared = [x + torch.randn(1, 1, 8, generator=g) for x in inputs]
        assert sequences.wander(net, [net], shared).mean == pytest.approx(
            math.sqrt((1 + 1 / 64) / 2), rel=0.05
        )
        assert int(net.norm.num_batches_tracked) == 0  # nothing of the net has moved

    def test_lines(self) -> None:
        found = sequences.lines_of(
            torch.tensor([1, 2, 3, 9, 4, 9, 5, 6, 7, 8, 9]), 9, least=3, most=4
        )
        assert [line.tolist() for line in found] == [[1, 2, 3, 9], [5, 6, 7, 8]]

    def test_losses_leave_the_net_as_it_is(self) -> None:
        net = sequences.language_net(0, "batch", 9, length=6, depth=1)
        g = torch.Generator().manual_seed(0)
        batch = sequences.pieces_of(
            torch.arange(90) % 9, length=6, sequences=4, places=2, generator=g
        )
        before = {k: v.clone() for k, v in net.state_dict().items()}
        assert sequences.loss_in(net, [batch], training=True) > 0
        assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())

    def test_fit_learns(self) -> None:
        net = sequences.language_net(0, "layer", 9, length=6, depth=1)
        g = torch.Generator().manual_seed(0)

        def draw() -> sequences.Batch:
            return sequences.pieces_of(
                torch.arange(90) % 9, length=6, sequences=4, places=4, generator=g
            )

        losses = sequences.fit(net, draw, steps=60, lr=0.01)
        assert len(losses) == 60
        assert losses[-1] < 0.3 * losses[0]


class TestFutureLeak:
    def test_rows(self) -> None:
        arms = {"layer": [4], "over time": [4], "batch": [1, 4]}
        rows, _ = future.EXPERIMENT.one_seed(0, {"arms": arms, "steps": 2, "lr": 1e-3})
        assert [(r["norm"], r["sequences"]) for r in rows] == [
            ("layer", 4), ("over time", 4), ("batch", 1), ("batch", 4),
        ]  # fmt: skip
        assert rows[0]["training"] == pytest.approx(rows[0]["writing"], abs=1e-5)  # one mode

    def test_a_net_that_knows_nothing_is_at_chance(self) -> None:
        net = sequences.language_net(0, "layer", future.LETTERS, length=future.LENGTH, depth=1)
        nn.init.zeros_(net.scores.weight)
        batches = [future.random_letters(64, torch.Generator().manual_seed(0))]
        assert future.loss_at_once(net, batches) == pytest.approx(future.CHANCE, abs=1e-5)
        assert future.loss_when_writing(net, batches) == pytest.approx(future.CHANCE, abs=1e-5)

    @staticmethod
    def rows(over_time: float, layer: float, few: float, many: float, writing: float) -> list[Row]:
        below = {("over time", 16): over_time, ("layer", 16): layer, ("over the past", 16): 0.0,
                 ("batch", 1): few, ("batch", 16): many}  # fmt: skip
        return [
            {
                "norm": norm,
                "sequences": size,
                "training": future.CHANCE - gap,
                "writing": future.CHANCE + writing,
            }
            for (norm, size), gap in below.items()
        ]

    @pytest.mark.parametrize(
        ("over_time", "layer", "outcome"),
        [(0.5, 0.0, "supported"), (0.0, 0.0, "refuted"), (0.5, 0.2, "mixed")],
    )
    def test_statistics_leak(self, over_time: float, layer: float, outcome: str) -> None:
        made = made_up(self.rows(over_time, layer, 0.1, 0.0, 0.1))
        assert future.statistics_leak(made).outcome == outcome

    @pytest.mark.parametrize(
        ("few", "many", "outcome"),
        [(0.2, 0.01, "supported"), (0.0, 0.0, "refuted"), (0.2, 0.15, "mixed")],
    )
    def test_batch_norm_leaks(self, few: float, many: float, outcome: str) -> None:
        made = made_up(self.rows(0.5, 0.0, few, many, 0.1))
        assert future.batch_norm_leaks(made).outcome == outcome

    @pytest.mark.parametrize(
        ("writing", "outcome"), [(0.2, "supported"), (0.0, "refuted"), (0.03, "mixed")]
    )
    def test_writing_pays(self, writing: float, outcome: str) -> None:
        made = made_up(self.rows(0.5, 0.0, 0.1, 0.0, writing))
        assert future.writing_pays(made).outcome == outcome


class TestLanguage:
    def test_rows(self) -> None:
        arms = {"plain": ["layer"], "sorted": ["batch", "per position"], "single": ["batch"]}
        rows, _ = language.EXPERIMENT.one_seed(
            0, {"arms": arms, "steps": 2, "lr": 1e-3, "depth": 1}
        )
        assert [(r["company"], r["norm"]) for r in rows] == [
            ("plain", "layer"), ("sorted", "batch"), ("sorted", "per position"),
            ("single", "batch"),
        ]  # fmt: skip
        assert rows[0]["loss"] == pytest.approx(float(rows[0]["loss_batch"]), abs=1e-5)
        assert rows[0]["independent"] == pytest.approx(1 / 16)
        assert rows[3]["independent"] == pytest.approx(1 / math.sqrt(32))

    def test_company(self) -> None:
        text = load_text()
        upper = language.capitals(text)
        small = torch.tensor([text.letters.index(c) for c in "abcdefghijklmnopqrstuvwxyz"])

        def shares(company: str) -> list[float]:
            g = torch.Generator().manual_seed(0)
            draw = language.draw_from(text.train, upper, company, g)
            return [torch.isin(draw().letters, small).float().mean().item() for _ in range(20)]

        assert min(shares("plain")) > 0.2
        assert max(shares("sorted")) > 0.5
        assert min(shares("sorted")) == 0.0
        assert sum(0.0 < share < 0.7 for share in shares("mixed")) >= 18

    @staticmethod
    def rows(gaps: dict[str, float], wander: float = 0.3, modes: float = 0.0) -> Result:
        return made_up(
            [
                {
                    "company": company,
                    "norm": norm,
                    "loss": 2.5 + (gap if norm != "layer" else 0.0),
                    "loss_batch": 2.5 + gap - modes,
                    "wander": wander if company == "sorted" else 0.1,
                    "independent": 0.0625,
                }
                for company, gap in gaps.items()
                for norm in ("layer", "batch", "per position")
            ]
        )

    @pytest.mark.parametrize(
        ("gap", "outcome"), [(0.2, "supported"), (0.0, "refuted"), (0.05, "mixed")]
    )
    def test_batch_norm_fails(self, gap: float, outcome: str) -> None:
        assert language.batch_norm_fails(self.rows({"plain": gap})).outcome == outcome

    @pytest.mark.parametrize(
        ("gap", "wander", "outcome"),
        [
            (0.2, 0.3, "supported"),
            (0.02, 0.3, "refuted"),
            (0.2, 0.11, "mixed"),
            (0.06, 0.3, "mixed"),
        ],
    )
    def test_wandering_hurts(self, gap: float, wander: float, outcome: str) -> None:
        made = self.rows({"mixed": 0.0, "sorted": gap}, wander)
        assert language.wandering_hurts(made).outcome == outcome

    @pytest.mark.parametrize(
        ("single", "alike", "outcome"),
        [
            (0.2, 0.0, "supported"),
            (0.1, 0.2, "refuted"),
            (0.02, 0.0, "refuted"),
            (0.2, 0.1, "mixed"),
        ],
    )
    def test_count_decides(self, single: float, alike: float, outcome: str) -> None:
        made = self.rows({"single": single, "mixed": 0.0, "sorted": alike})
        assert language.count_decides(made).outcome == outcome

    @pytest.mark.parametrize(
        ("modes", "outcome"), [(0.1, "supported"), (0.0, "refuted"), (-0.1, "refuted")]
    )
    def test_modes_part(self, modes: float, outcome: str) -> None:
        made = self.rows({"plain": 0.0, "sorted": 0.3}, modes=modes)
        assert language.modes_part(made).outcome == outcome

    @pytest.mark.parametrize(
        ("gap", "outcome"), [(0.2, "refuted"), (0.0, "supported"), (0.05, "mixed")]
    )
    def test_positions_mend(self, gap: float, outcome: str) -> None:
        assert language.positions_mend(self.rows({"sorted": gap})).outcome == outcome


class TestLonger:
    def test_rows(self) -> None:
        rows, _ = longer.EXPERIMENT.one_seed(
            0, {"companies": ["plain"], "steps": [1, 2], "lr": 1e-3, "depth": 1}
        )
        assert [(r["steps"], r["norm"]) for r in rows] == [
            (1, "layer"), (1, "batch"), (2, "layer"), (2, "batch"),
        ]  # fmt: skip

    @pytest.mark.parametrize(
        ("few", "many", "outcome"),
        [(0.2, 0.01, "supported"), (0.1, 0.1, "refuted"), (0.2, 0.1, "mixed")],
    )
    def test_catches_up(self, few: float, many: float, outcome: str) -> None:
        rows: list[Row] = [
            {
                "company": "plain",
                "steps": n,
                "norm": norm,
                "loss": 2.5 + gap * (norm != "layer"),
            }
            for n, gap in ((10, few), (40, many))
            for norm in ("layer", "batch")
        ]
        assert longer.catches_up(made_up(rows)).outcome == outcome

    @pytest.mark.parametrize(
        ("left", "outcome"), [(0.2, "supported"), (0.02, "refuted"), (0.05, "mixed")]
    )
    def test_sorted_stays_behind(self, left: float, outcome: str) -> None:
        rows: list[Row] = [
            {"company": "sorted", "steps": n, "norm": norm, "loss": 2.5 + gap * (norm != "layer")}
            for n, gap in ((10, 0.3), (40, left))
            for norm in ("layer", "batch")
        ]
        assert longer.sorted_stays_behind(made_up(rows)).outcome == outcome


class TestSize:
    SIZES = ((2, 32), (4, 32), (8, 32), (2, 64), (2, 128))

    def test_rows(self) -> None:
        rows, _ = size.EXPERIMENT.one_seed(0, {"sizes": [[1, 32], [3, 16]], "lr": 1e-2, "steps": 2})
        assert [(r["depth"], r["length"], r["norm"]) for r in rows] == [
            (1, 32, "layer"), (1, 32, "batch"), (3, 16, "layer"), (3, 16, "batch"),
        ]  # fmt: skip
        assert rows[0]["independent"] == pytest.approx(1 / 16)
        assert rows[2]["independent"] == pytest.approx(1 / math.sqrt(128))
        for row in rows:  # only batch normalization has two modes
            level = row["loss"] == pytest.approx(float(row["loss_batch"]), abs=1e-5)
            assert level == (row["norm"] == "layer")

    def test_batches(self) -> None:
        g = torch.Generator().manual_seed(0)
        batch = size.draw_from(torch.arange(5000), 7, g)()
        assert torch.equal(batch.letters - batch.letters[:, :1], torch.arange(7).expand(8, 7))
        assert torch.equal(batch.targets, batch.letters + 1)
        assert len(set(batch.letters[:, 0].tolist())) == 8

    @classmethod
    def rows(
        cls,
        gaps: dict[tuple[int, int], float],
        *,
        modes: dict[tuple[int, int], float] | None = None,
        wander: dict[tuple[int, int], float] | None = None,
    ) -> Result:
        rows: list[Row] = []
        for depth, length in cls.SIZES:
            gap = gaps.get((depth, length), 0.0)
            apart = (modes or {}).get((depth, length), 0.0)
            far = (wander or {}).get((depth, length), 0.1)
            rows += [
                {
                    "depth": depth, "length": length, "norm": norm, "independent": 0.05,
                    "loss": 2.5 + (norm == "batch") * gap,
                    "loss_batch": 2.5 + (norm == "batch") * (gap - apart),
                    "wander": far if norm == "layer" else 9.0,
                }
                for norm in ("layer", "batch")
            ]  # fmt: skip
        return made_up(rows)

    def test_quantities(self) -> None:
        here = size.by_depth(self.rows({(8, 32): 0.25}, modes={(8, 32): 0.1}))["8 blocks"]
        assert size.behind(here).median == pytest.approx(0.25)
        assert size.inference_above_training(here).median == pytest.approx(0.1)
        assert size.times_independent(here).median == pytest.approx(2)

    def test_dials(self) -> None:
        deep, long = size.by_depth(self.rows({})), size.by_length(self.rows({}))
        assert list(deep) == ["2 blocks", "4 blocks", "8 blocks"]
        assert list(long) == ["32 letters", "64 letters", "128 letters"]
        assert all(len(one.rows) == 2 for one in (*deep.values(), *long.values()))

    @pytest.mark.parametrize(
        ("first", "middle", "last", "outcome"),
        [
            (0.0, 0.0, 0.2, "supported"),
            (0.02, 0.01, 0.025, "refuted"),
            (0.2, 0.2, 0.2, "mixed"),
            (0.0, 0.0, 0.05, "mixed"),
            (0.2, 0.1, 0.0, "mixed"),
            (0.0, 0.2, 0.0, "mixed"),
        ],
    )
    def test_depth_and_length_fail(
        self, first: float, middle: float, last: float, outcome: str
    ) -> None:
        gaps = (first, middle, last)
        deep = self.rows(dict(zip(self.SIZES[:3], gaps, strict=True)))
        assert size.depth_fails(deep).outcome == outcome
        sizes = (self.SIZES[0], *self.SIZES[3:])
        long = self.rows(dict(zip(sizes, gaps, strict=True)))
        assert size.length_fails(long).outcome == outcome

    @pytest.mark.parametrize(
        ("where", "outcome"),
        [((8, 32), "supported"), ((2, 128), "supported"), ((4, 32), "mixed"), ((2, 64), "mixed")],
    )
    def test_modes_part(self, where: tuple[int, int], outcome: str) -> None:
        assert size.modes_part(self.rows({}, modes={where: 0.05})).outcome == outcome
        assert size.modes_part(self.rows({}, modes={where: -0.05})).outcome == "refuted"

    @pytest.mark.parametrize(
        ("deepest", "outcome"), [(0.2, "supported"), (0.1, "refuted"), (0.13, "mixed")]
    )
    def test_wandering_grows(self, deepest: float, outcome: str) -> None:
        made = self.rows({}, wander={(8, 32): deepest})
        assert size.wandering_grows(made).outcome == outcome


class TestPaddedLines:
    def test_rows(self) -> None:
        rows, _ = lines.EXPERIMENT.one_seed(
            0, {"norms": ["layer", "batch", "masked"], "steps": 2, "lr": 1e-3}
        )
        assert [row["norm"] for row in rows] == ["layer", "batch", "masked"]
        assert len({row["padding"] for row in rows}) == 1
        assert 0.4 < float(rows[0]["padding"]) < 0.8

    @pytest.mark.parametrize(
        ("counted", "masked", "outcome"),
        [
            (0.1, 0.0, "supported"),
            (0.0, 0.0, "refuted"),
            (0.1, 0.1, "refuted"),
            (0.1, 0.03, "mixed"),
        ],
    )
    def test_padding_is_why(self, counted: float, masked: float, outcome: str) -> None:
        losses = {"layer": 2.5, "batch": 2.5 + counted, "masked": 2.5 + masked}
        rows: list[Row] = [{"norm": n, "loss": v, "padding": 0.5} for n, v in losses.items()]
        assert lines.padding_is_why(made_up(rows)).outcome == outcome


class TestRecurrent:
    def test_rows(self) -> None:
        settings = {"norms": ["none", "layer", "batch"], "settings": [[4, 1.0], [4, 4.0]],
                    "rates": [1e-3, 1e-2], "steps": 2}  # fmt: skip
        rows, _ = recurrent.EXPERIMENT.one_seed(0, settings)
        assert [row["reading"] for row in rows] == ["own"] * 4 + ["together", "per step"] * 2
        assert all(
            row["loss"] == row["loss_batch"] for row in rows if row["norm"] == "none"
        ) or all(
            float(row["loss"]) == pytest.approx(float(row["loss_batch"]), abs=1e-4)
            for row in rows
            if row["norm"] != "batch"
        )

    def test_statistics_of_a_step(self) -> None:
        norm = recurrent.StepNorm(4, 3, momentum=1.0)
        g = torch.Generator().manual_seed(0)
        x = [torch.randn(64, 4, generator=g) * (t + 1) + t for t in range(3)]
        for t in range(3):
            norm(x[t], t)
        norm.eval()
        assert norm(x[2], 2).std().item() == pytest.approx(1, abs=0.02)
        assert torch.equal(norm(x[1], 7), norm(x[1], 2))  # behind the last step
        norm.reading = "together"
        together = torch.cat([norm(x[t], t) for t in range(3)])
        assert together.mean().item() == pytest.approx(0, abs=1e-4)
        assert together.std().item() == pytest.approx(1, abs=0.02)

    @staticmethod
    def rows(loss: dict[tuple[str, int, float], float], together: float = 0.0) -> Result:
        return made_up(
            [
                {
                    "norm": norm,
                    "size": size,
                    "gain": gain,
                    "reading": reading,
                    "loss": found + extra,
                }
                for (norm, size, gain), found in loss.items()
                for reading, extra in (
                    (("together", together), ("per step", 0.0))
                    if norm == "batch"
                    else (("own", 0.0),)
                )
            ]
        )

    @pytest.mark.parametrize(
        ("layer", "outcome"), [(2.4, "supported"), (2.6, "refuted"), (2.49, "mixed")]
    )
    def test_layer_norm_helps(self, layer: float, outcome: str) -> None:
        made = self.rows({("none", 4, 1.0): 2.5, ("layer", 4, 1.0): layer})
        assert recurrent.layer_norm_helps(made).outcome == outcome

    @pytest.mark.parametrize(
        ("plain", "layer", "outcome"),
        [
            (0.4, 0.1, "supported"),
            (0.02, 0.0, "refuted"),
            (0.4, 0.39, "refuted"),
            (0.4, 0.2, "mixed"),
        ],
    )
    def test_layer_norm_forgives(self, plain: float, layer: float, outcome: str) -> None:
        made = self.rows(
            {("none", 4, 1.0): 2.5, ("none", 4, 4.0): 2.5 + plain,
             ("layer", 4, 1.0): 2.5, ("layer", 4, 4.0): 2.5 + layer}
        )  # fmt: skip
        assert recurrent.layer_norm_forgives(made).outcome == outcome

    @pytest.mark.parametrize(
        ("batch", "outcome"), [(2.4, "supported"), (2.6, "refuted"), (2.47, "mixed")]
    )
    def test_batch_norm_works(self, batch: float, outcome: str) -> None:
        made = self.rows({("none", 4, 1.0): 2.5, ("layer", 4, 1.0): 2.42, ("batch", 4, 1.0): batch})
        assert recurrent.batch_norm_works(made).outcome == outcome

    @pytest.mark.parametrize(
        ("together", "outcome"), [(0.1, "supported"), (0.0, "refuted"), (0.02, "mixed")]
    )
    def test_steps_differ(self, together: float, outcome: str) -> None:
        made = self.rows({("batch", 4, 1.0): 2.5}, together)
        assert recurrent.steps_differ(made).outcome == outcome


class TestSwapped:
    SETTINGS: ClassVar = {
        "images": ["batch", "layer per place"], "image_rates": [0.1], "image_steps": 2,
        "text": ["layer", "none"], "text_rates": [1e-3, 1e-2], "text_steps": 2,
    }  # fmt: skip

    def test_rows(self) -> None:
        rows, _ = swapped.EXPERIMENT.one_seed(0, self.SETTINGS)
        assert [(r["domain"], r["norm"]) for r in rows] == [
            ("images", "batch"), ("images", "layer per place"),
            *[("text", "layer")] * 2, *[("text", "none")] * 2,
        ]  # fmt: skip
        assert all("accuracy" in row for row in rows if row["domain"] == "images")

    def test_layer_norm_of_a_place(self) -> None:
        x = torch.randn(2, 5, 3, 4)
        y = swapped.FeaturesLast(5)(x)
        assert torch.allclose(y.mean(1), torch.zeros(2, 3, 4), atol=1e-6)
        assert torch.allclose(y.var(1, correction=0), torch.ones(2, 3, 4), atol=1e-3)

    @staticmethod
    def rows(losses: dict[tuple[str, str], float]) -> Result:
        return made_up(
            [
                {"domain": d, "norm": n, "rate": rate, "loss": loss + worse, "chance": 3.0}
                for (d, n), loss in losses.items()
                for rate, worse in ((0.1, 0.0), (1.0, 0.2))
            ]
        )

    @pytest.mark.parametrize(
        ("images", "text", "outcome"),
        [(0.1, 0.1, "supported"), (0.0, 0.0, "refuted"), (0.1, 0.0, "mixed")],
    )
    def test_swapping_hurts(self, images: float, text: float, outcome: str) -> None:
        made = self.rows(
            {("images", "batch"): 0.3, ("images", "layer"): 0.3 + images,
             ("text", "layer"): 2.5, ("text", "batch"): 2.5 + text}
        )  # fmt: skip
        assert swapped.swapping_hurts(made).outcome == outcome

    def test_a_run_that_diverges_counts(self) -> None:
        made = self.rows(
            {("images", "batch"): 0.3, ("images", "layer"): 0.3,
             ("text", "layer"): 2.5, ("text", "batch"): math.inf}
        )  # fmt: skip
        assert swapped.diverged(made, "text", "batch") == 1.0
        assert swapped.swapping_hurts(made).outcome == "mixed"

    @pytest.mark.parametrize(
        ("batch", "rms", "outcome"),
        [(0.1, 0.1, "supported"), (0.1, 0.0, "refuted"), (0.1, 0.02, "mixed")],
    )
    def test_layer_norm_required(self, batch: float, rms: float, outcome: str) -> None:
        made = self.rows(
            {("text", "layer"): 2.5, ("text", "batch"): 2.5 + batch, ("text", "rms"): 2.5 + rms,
             ("text", "none"): 2.4}
        )  # fmt: skip
        assert swapped.layer_norm_required(made).outcome == outcome


class TestRecords:
    """What the chapter says of its records, and ten seeds of each."""

    @pytest.mark.parametrize(
        ("experiment", "outcomes"),
        [
            (
                recurrent.EXPERIMENT,
                {
                    "layer_norm_helps": "mixed",
                    "layer_norm_forgives": "supported",
                    "batch_norm_works": "supported",
                    "steps_differ": "refuted",
                },
            ),
            (lines.EXPERIMENT, {"padding_is_why": "refuted"}),
            (
                language.EXPERIMENT,
                {
                    "batch_norm_fails": "mixed",
                    "wandering_hurts": "supported",
                    "count_decides": "mixed",
                    "modes_part": "mixed",
                    "positions_mend": "refuted",
                },
            ),
            (
                longer.EXPERIMENT,
                {"catches_up": "supported", "sorted_stays_behind": "supported"},
            ),
            (
                size.EXPERIMENT,
                {
                    "depth_fails": "refuted",
                    "length_fails": "refuted",
                    "modes_part": "refuted",
                    "wandering_grows": "mixed",
                },
            ),
            (
                future.EXPERIMENT,
                {
                    "statistics_leak": "supported",
                    "batch_norm_leaks": "supported",
                    "writing_pays": "supported",
                },
            ),
            (
                swapped.EXPERIMENT,
                {"swapping_hurts": "supported", "layer_norm_required": "refuted"},
            ),
        ],
        ids=lambda value: value.name if isinstance(value, Experiment) else "",
    )
    def test_verdicts(self, experiment: Experiment, outcomes: dict[str, str]) -> None:
        assert_recorded(experiment, outcomes)

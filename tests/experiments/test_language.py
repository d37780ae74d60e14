"""The text is the frozen one, and the small Transformer computes what its words say."""

from __future__ import annotations

import hashlib
import math
import re
from importlib.resources import files

import pytest
import torch
from torch import nn

from normcourse.experiments.text import guessing_loss, in_order, load_text, windows
from normcourse.experiments.transformer import (
    FINAL_NORM,
    PLACEMENTS,
    SEQUENCE_NORMS,
    CharTransformer,
    language_loss,
    next_letter_loss,
    train_language,
)

SMALL = {"length": 12, "depth": 2, "width": 8, "heads": 2}


def _seed(value: int) -> torch.Generator:
    return torch.Generator().manual_seed(value)


def _net(**options: object) -> CharTransformer:
    letters = len(load_text().letters)
    return CharTransformer(_seed(0), letters, **{**SMALL, **options})  # type: ignore[arg-type]


class TestText:
    def test_is_the_frozen_one_and_carries_its_licence(self) -> None:
        folder = files("normcourse.experiments") / "text_data"
        words = (folder / "language_reference.txt").read_bytes()
        notice = (folder / "NOTICE.md").read_text(encoding="utf-8")
        assert hashlib.sha256(words).hexdigest() in notice
        licence = (folder / "LICENSE").read_text(encoding="utf-8")
        assert "PYTHON SOFTWARE FOUNDATION LICENSE VERSION 2" in licence
        holder = re.search(r"Copyright © (\d+)-(\d+) Python Software Foundation", notice)
        assert holder
        holders = re.search(r'"Copyright \(c\) ([\d,\s]+)\s+Python Software Foundation', licence)
        assert holders
        years = holders[1].replace(",", " ").split()
        assert (holder[1], holder[2]) == (years[0], years[-1])

    def test_no_letter_is_lost_and_parts_do_not_share_pieces(self) -> None:
        text = load_text()
        words = (
            files("normcourse.experiments") / "text_data" / "language_reference.txt"
        ).read_text()
        assert len(text.train) + len(text.test) == len(words)
        assert "".join(text.letters[i] for i in text.test[:50].tolist()) == words[36864:36914]
        long = {p for p in words.split("\n\n") if len(p) > 60}
        assert sum(len(p) > 60 for p in words.split("\n\n")) == len(long)

    def test_guessing_needs_more_than_the_entropy_of_the_test_letters(self) -> None:
        text = load_text()
        share = torch.bincount(text.test).double() / len(text.test)
        entropy = -(share * share.clamp(min=1e-30).log()).sum().item()
        assert entropy < guessing_loss(text) < math.log(len(text.letters))

    def test_windows_are_pieces_of_the_text(self) -> None:
        text = torch.arange(50)
        pieces = windows(text, length=7, count=400, generator=_seed(0))
        assert pieces.shape == (400, 7)
        assert torch.equal(pieces - pieces[:, :1], torch.arange(7).expand(400, 7))
        assert set(pieces[:, 0].tolist()) == set(range(44))
        with pytest.raises(ValueError, match="length: expected at most 50"):
            windows(text, length=51, count=1, generator=_seed(0))

    def test_in_order(self) -> None:
        assert in_order(torch.arange(7), length=3).tolist() == [[0, 1, 2], [3, 4, 5]]
        with pytest.raises(ValueError, match="length: expected at most 7"):
            in_order(torch.arange(7), length=8)


class TestTransformer:
    @pytest.mark.parametrize("placement", sorted(PLACEMENTS))
    @pytest.mark.parametrize("norm", sorted(SEQUENCE_NORMS))
    def test_sees_no_letter_before_its_time(self, norm: str, placement: str) -> None:
        net = _net(norm=norm, placement=placement).eval()
        letters = torch.randint(94, (3, 12), generator=_seed(1))
        other = letters.clone()
        other[:, 7] = (other[:, 7] + 1) % 94
        with torch.no_grad():
            before, after = net(letters), net(other)
        torch.testing.assert_close(before[:, :7], after[:, :7])
        assert not torch.allclose(before[:, 7:], after[:, 7:])

    @pytest.mark.parametrize("placement", sorted(PLACEMENTS))
    def test_number_of_norms(self, placement: str) -> None:
        made: list[int] = []

        def make(width: int) -> nn.Module:
            made.append(width)
            return nn.Identity()

        _net(norm=make, placement=placement)
        per_sublayer = {"none": 0, "sandwich": 2}.get(placement, 1)
        assert made == [8] * (4 * per_sublayer + (placement in FINAL_NORM))

    def test_weights_come_from_the_generator_and_keep_the_scale(self) -> None:
        first, second = _net(width=64), _net(width=64)
        for a, b in zip(first.parameters(), second.parameters(), strict=True):
            assert torch.equal(a, b)
        weight = first.sublayers[0].sublayer.project_in.weight  # type: ignore[union-attr]
        assert weight.std().item() == pytest.approx(1 / 8, rel=0.05)
        stream = first.embed(torch.randint(94, (64, 12), generator=_seed(2)))
        assert stream.var().item() == pytest.approx(1, rel=0.1)

    def test_queries_and_keys_are_normalized_per_head(self) -> None:
        seen: list[tuple[int, ...]] = []

        class Spy(nn.Module):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                seen.append(tuple(x.shape))
                return x

        net = _net(depth=1, qk_norm=lambda width: Spy())
        net(torch.zeros(3, 12, dtype=torch.int64))
        assert seen == [(3, 2, 12, 4)] * 2

    def test_width_and_heads(self) -> None:
        with pytest.raises(ValueError, match="multiple of heads = 3, got 8"):
            _net(heads=3)

    def test_batch_norm_pools_positions_and_sequences(self) -> None:
        layer = SEQUENCE_NORMS["batch"](5)
        y = layer(torch.randn(4, 6, 5, generator=_seed(0)) * 3 + 2)
        torch.testing.assert_close(y.mean(dim=(0, 1)), torch.zeros(5), atol=1e-5, rtol=0)


class TestTraining:
    def test_learns_and_repeats_itself(self) -> None:
        text = load_text()
        runs = []
        for _ in range(2):
            g = _seed(0)
            net = CharTransformer(g, 94, length=16, depth=1, width=32)
            losses = train_language(net, text.train, steps=60, length=16, generator=g, lr=1e-2)
            runs.append((losses, language_loss(net, text.test[:4000], length=16)))
        assert runs[0] == runs[1]
        assert len(runs[0][0]) == 60
        assert runs[0][1] < guessing_loss(text) < runs[0][0][0]

    def test_warmup_and_annealing(self) -> None:
        rates: list[float] = []
        net = _net(depth=1)
        before = [p.detach().clone() for p in net.parameters()]

        def watch(step: int, loss: float) -> None:
            after = [p.detach() for p in net.parameters()]
            moved = max((a - b).abs().max().item() for a, b in zip(after, before, strict=True))
            rates.append(moved)
            before[:] = [p.clone() for p in after]

        text, g = load_text().train, _seed(0)
        train_language(
            net, text, steps=9, length=12, generator=g, lr=0.01, warmup=4, anneal=True, watch=watch
        )
        # Adam's first step moves by the rate itself: a quarter of it, before the second watch.
        assert rates[0] == 0
        assert rates[1] == pytest.approx(0.0025, rel=1e-3)
        assert rates[1] < rates[2] < rates[4]
        assert rates[8] < rates[5]

    def test_stops(self) -> None:
        text, g = load_text().train, _seed(0)
        losses = train_language(_net(), text, steps=5, length=12, generator=g, stop_at=0.1)
        assert len(losses) == 1

    def test_loss_is_that_of_torch_and_moves_nothing(self) -> None:
        net, text = _net(norm="batch"), load_text().test[:1300]
        kept = {name: value.clone() for name, value in net.state_dict().items()}
        batch = language_loss(net, text, length=12, training=True)
        single = language_loss(net, text, length=12, training=True, batch_size=2)
        assert batch != pytest.approx(single, rel=1e-4)
        assert net.training
        for name, value in net.state_dict().items():
            assert torch.equal(value, kept[name]), name
        pieces = in_order(text, length=13)
        net.eval()
        with torch.no_grad():
            scores = net(pieces[:, :-1]).log_softmax(-1)
        picked = scores.gather(-1, pieces[:, 1:, None])
        assert next_letter_loss(net, pieces).item() == pytest.approx(
            -picked.mean().item(), rel=1e-5
        )

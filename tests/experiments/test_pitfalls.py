"""The pitfalls of chapter 15: each fails for its own reason, and its cure is what it says."""

from __future__ import annotations

import pytest
import torch

from normcourse.experiments import Result, Row, pitfalls
from normcourse.experiments.pitfall_cards import CARDS
from normcourse.experiments.result import Environment
from normcourse.surgery import fold_batch_norm

SWEEPS = {"forgotten_eval", "folded_batch", "layer_norm_axis", "batch_norm_axis", "padding"}


def made_up(rows: list[Row]) -> Result:
    """Return a result that holds these rows, of one seed."""
    marked = tuple({"seed": 0, "refused": False, **row} for row in rows)
    return Result("made_up", "own", {}, marked, {}, Environment.here(), "")


def ended(**right: tuple[float, float]) -> Result:
    """Rows of pitfalls: the failing and the mended arm at the start and where it counts."""
    return made_up(
        [
            {"pitfall": name, "arm": arm, "x": x, "right": value}
            for name, values in right.items()
            for arm, value in zip(pitfalls.ARMS, values, strict=True)
            for x in {pitfalls.HARDEST.get(name, 0), 100}
        ]
    )


@pytest.mark.parametrize("name", pitfalls.PITFALLS)
def test_both_arms_have_the_same_places(name: str) -> None:
    settings = {"pitfalls": [name], "steps": 24}
    rows, _ = pitfalls.EXPERIMENT.one_seed(0, settings)
    places = {
        arm: [row["x"] for row in rows if row["arm"] == arm]
        for arm in dict.fromkeys(row["arm"] for row in rows)
    }
    assert set(pitfalls.ARMS) <= set(places)
    assert sorted(set(places["failing"])) == sorted(places["failing"])
    assert all(sorted(xs) == sorted(places["failing"]) for xs in places.values())
    assert all(0 <= float(row["right"]) <= 1 for row in rows)
    assert {row["pitfall"] for row in rows} == {name}
    assert not any(row["refused"] for row in rows if row["arm"] != "failing")


@pytest.mark.parametrize("name", ["layer_norm_axis", "batch_norm_axis", "last_batch"])
def test_some_pitfalls_are_refused(name: str) -> None:
    rows = list(pitfalls.PITFALLS[name](0, 12))
    refused = [row for row in rows if row["refused"]]
    assert refused
    assert all(row["arm"] == "failing" and row["right"] == 0 for row in refused)


def test_half_precision_gives_no_number_and_its_cure_does() -> None:
    x = torch.rand(16, 3)
    x[:, 0] = 0  # the same in every image
    broken = pitfalls.HalfNorm(torch.float16, 1e-8)(x)
    assert broken[:, 0].isnan().all()
    assert broken[:, 1:].isfinite().all()
    y = pitfalls.HalfNorm(torch.float32, 1e-5)(x)
    assert torch.equal(y[:, 0], torch.zeros(16))
    assert y[:, 1].var(unbiased=False).item() == pytest.approx(1, abs=1e-3)


def test_padding_moves_the_pooled_statistics_alone() -> None:
    x = torch.rand(3, 8, 8)
    longer = torch.nn.functional.pad(x, (0, 8), value=3.0)
    for per_position in (True, False):
        net = pitfalls.PaddedNet(torch.Generator().manual_seed(0), per_position=per_position)
        for conv in net.convs:  # no look at the neighbours: what is left is the norm
            conv.weight.data[..., [0, 2]] = 0
        same = torch.allclose(net(x), net(longer), atol=1e-5)
        assert same == per_position


def test_arms_start_alike() -> None:
    rows = list(pitfalls.tiny_batches(3, 10))
    first = [row["right"] for row in rows if row["x"] == 0]
    assert len(first) == 2
    again = list(pitfalls.tiny_batches(3, 10))
    assert rows == again


@pytest.mark.parametrize(
    ("first", "second", "outcome"),
    [
        ((0.5, 0.9), (0.1, 0.9), "supported"),
        ((0.89, 0.9), (0.95, 0.9), "refuted"),
        ((0.5, 0.9), (0.9, 0.9), "mixed"),
    ],
)
def test_each_fails(first: tuple[float, float], second: tuple[float, float], outcome: str) -> None:
    verdict = pitfalls.each_fails(ended(momentum=first, folded_batch=second))
    assert verdict.outcome == outcome
    assert len(verdict.effects) == 2


@pytest.mark.parametrize(
    ("kept", "outcome"),
    [([0.0] * 5, "supported"), ([0.5] * 5, "refuted"), ([0.0, 0.5, 0.0, 0.0, 0.0], "mixed")],
)
def test_wrong_choice_breaks(kept: list[float], outcome: str) -> None:
    rows = {}
    for name, share in zip(pitfalls.CHOICES, kept, strict=True):
        chance = pitfalls.CHANCE.get(name, 0.1)
        rows[name] = (chance + share * (0.9 - chance), 0.9)
    verdict = pitfalls.wrong_choice_breaks(ended(**rows))
    assert verdict.outcome == outcome
    assert [e.spread.median for e in verdict.effects] == pytest.approx(kept, abs=1e-9)


def test_each_pitfall_has_its_card() -> None:
    assert set(CARDS) == set(pitfalls.PITFALLS)
    assert {name for name, card in CARDS.items() if card.kind == "choice"} == set(pitfalls.CHOICES)
    assert len({card.title for card in CARDS.values()}) == len(CARDS)


@pytest.mark.parametrize("name", CARDS)
@pytest.mark.parametrize("arm", pitfalls.ARMS)
def test_the_failing_script_fails_and_the_mended_one_does_not(name: str, arm: str) -> None:
    script = getattr(CARDS[name], arm)
    assert max(len(line) for line in script.splitlines()) <= 84
    assert len(script.splitlines()) <= 12
    for seed in range(3):
        torch.manual_seed(seed)
        scope = {"torch": torch, "nn": torch.nn, "fold_batch_norm": fold_batch_norm}
        exec(script, scope)
        assert bool(scope["fine"]) == (arm == "mended")

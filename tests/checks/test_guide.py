"""The guide of chapter 15: one table of rules, and nothing in it that leads nowhere."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

from normcourse.checks import choosing, guide

_ROOT = Path(__file__).parents[2]
VALUES = {
    "data": ("images", "tokens", "table"),
    "batch": (1, 2, 7, 8, 64),
    "padded": (False, True),
    "causal": (False, True),
    "shift": (False, True),
    "contrast": ("neutral", "nuisance", "label"),
    "free": (False, True),
}


def every_situation() -> list[guide.Situation]:
    """All situations that the questions can describe."""
    rows = itertools.product(*VALUES.values())
    return [dict(zip(VALUES, row, strict=True)) for row in rows]


def test_situations_that_the_data_allow() -> None:
    rows = list(guide.every_situation())
    assert len({tuple(row.values()) for row in rows}) == len(rows)
    assert all(row["contrast"] == "neutral" for row in rows if row["data"] != "images")
    assert not any(row["padded"] or row["causal"] for row in rows if row["data"] != "tokens")
    assert {row["data"] for row in rows} == set(guide.VALUES["data"])


def test_questions_are_the_entries_of_a_situation() -> None:
    assert list(guide.QUESTIONS) == list(guide.CALM) == list(guide.VALUES) == list(VALUES)
    assert {rule.question for rule in guide.RULES} == set(guide.QUESTIONS)
    assert len(guide.QUESTIONS) == 7  # as the heading of the chapter says


def test_each_rule_rules_out_some_method_somewhere_that_no_other_does() -> None:
    for rule in guide.RULES:
        situations = [s for s in every_situation() if rule.holds(s)]
        assert situations
        alone = [
            s
            for s in situations
            if set(rule.against)
            - {m for other in guide.objections(s) if other is not rule for m in other.against}
        ]
        assert alone, rule


def test_ranking_holds_every_method_once_and_the_working_ones_first() -> None:
    for situation in every_situation():
        ranked = guide.rank(situation)
        assert sorted(one.method for one in ranked) == sorted(guide.METHODS)
        works = [one.works for one in ranked]
        assert works == sorted(works, reverse=True)
        assert [one.method for one in ranked if one.works] == choosing.right_methods(situation)
        assert all(one.reason for one in ranked)


def test_named_situations_have_an_answer_and_a_wrong_one() -> None:
    for name, situation in guide.SITUATIONS.items():
        count = len(choosing.right_methods(situation))
        assert 0 < count < len(guide.METHODS), name


@pytest.mark.parametrize(
    ("size", "words"),
    [(1, "a batch of 1 example is too small"), (3, "a batch of 3 examples is too small")],
)
def test_reasons_name_their_numbers(size: int, words: str) -> None:
    (last,) = [one for one in guide.rank({**guide.CALM, "batch": size}) if one.method == "batch"]
    assert last.reason.startswith(words)


def test_sources_are_in_the_bibliography_and_chapters_have_their_number() -> None:
    keys = set(re.findall(r"^@\w+\{(\w+),$", (_ROOT / "book/references.bib").read_text(), re.M))
    places = [place for order in guide.ORDERS.values() for place in order.values()]
    for entry in (*guide.RULES, *places):
        assert set(entry.sources) <= keys
        if entry.chapter:
            assert (_ROOT / "exercises" / f"{entry.chapter}.ipynb").is_file()
    assert all(rule.sources for rule in guide.RULES)
    assert set(guide.ORDERS) == set(VALUES["data"])

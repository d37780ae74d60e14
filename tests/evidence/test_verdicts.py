"""The table of verdicts says what the rules say, and sums them up as documented."""

from __future__ import annotations

import re

import pytest

from normcourse.evidence import has_record, recorded
from normcourse.evidence.verdicts import Line, status, verdict_table
from normcourse.experiments import load
from normcourse.experiments.result import Outcome, Verdict


def line(outcome: Outcome) -> Line:
    return Line("Does it?", "experiment", "rule", Verdict(outcome, ()))


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        (["supported", "supported"], "established"),
        (["supported", "mixed"], "contested"),
        (["supported", "refuted"], "contested"),
        (["refuted", "refuted"], "refuted"),
        (["refuted", "mixed"], "refuted"),
        (["mixed", "mixed"], "contested"),
    ],
)
def test_what_lines_come_to(outcomes: list[Outcome], expected: str) -> None:
    assert status([line(outcome) for outcome in outcomes]) == expected


class TestTable:
    RULES = ("deep_start.better_flow", "deep_start.damps_branches")

    def test_lines_are_the_verdicts_of_the_record(self) -> None:
        table = verdict_table({"flow & depth": self.RULES})
        lines = table.explanations["flow & depth"]
        rules = load("deep_start").decisions
        result = recorded("deep_start")
        assert [one.verdict for one in lines] == [
            rules["better_flow"](result),
            rules["damps_branches"](result),
        ]
        assert lines[0].question == (
            "Does BatchNorm even out gradients over the layers of a fresh plain net?"
        )

    def test_html_has_a_row_for_each_rule_and_a_name_for_its_group(self) -> None:
        page = verdict_table({"flow & depth": self.RULES, "rest": self.RULES[:1]})._repr_html_()
        assert page.count("<tr>") == 4
        assert re.findall(r'scope="rowgroup" rowspan="(\d)">([^<]+)<', page) == [
            ("2", "flow &amp; depth"),
            ("1", "rest"),
        ]

    def test_plain_text_names_the_outcome_in_words(self) -> None:
        text = repr(verdict_table({"flow": self.RULES}))
        first, second, third = text.splitlines()
        assert first.startswith("flow: ")
        assert re.match(r"  [✓✗~] (for|against|it depends): Does BatchNorm", second)
        assert third.endswith("?")

    def test_unknown_rule(self) -> None:
        assert has_record("deep_start")
        with pytest.raises(KeyError, match="nothing"):
            verdict_table({"flow": ["deep_start.nothing"]})

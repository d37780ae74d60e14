"""Several decision rules in one table: what each explanation predicts, and what the runs say."""

from __future__ import annotations

import html
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from normcourse.evidence.records import recorded
from normcourse.experiments.experiment import load
from normcourse.experiments.result import Outcome, Verdict

Status = Literal["established", "contested", "refuted"]
SPEAKS: dict[Outcome, str] = {"supported": "for", "refuted": "against", "mixed": "it depends"}
MARKS: dict[str, str] = {"for": "✓", "against": "✗", "it depends": "~"}


@dataclass(frozen=True)
class Line:
    """One rule's question and what its recorded result says."""

    question: str
    experiment: str
    decision: str
    verdict: Verdict

    @property
    def speaks(self) -> str:
        """Return "for", "against" or "it depends"."""
        return SPEAKS[self.verdict.outcome]


def status(lines: Sequence[Line]) -> Status:
    """Return what lines of one explanation come to.

    Established if all speak for it, refuted if none does and one speaks against it, else contested.
    """
    words = {line.speaks for line in lines}
    if words == {"for"}:
        return "established"
    return "refuted" if "for" not in words and "against" in words else "contested"


@dataclass(frozen=True)
class VerdictTable:
    """Explanations with their lines; a notebook shows it as a table."""

    explanations: Mapping[str, tuple[Line, ...]]

    def __repr__(self) -> str:
        """Return the table as plain lines."""
        rows = []
        for name, lines in self.explanations.items():
            rows.append(f"{name}: {status(lines)}")
            rows += [f"  {MARKS[line.speaks]} {line.speaks}: {line.question}" for line in lines]
        return "\n".join(rows)

    def _repr_html_(self) -> str:
        """Return the table as HTML."""
        head = "".join(
            f'<th scope="col">{word}</th>'
            for word in ("explanation", "question put to the runs", "the run speaks", "in all")
        )
        body = "".join(
            self._row(name, lines, k)
            for name, lines in self.explanations.items()
            for k in range(len(lines))
        )
        return (
            f'<table class="table verdicts"><thead><tr>{head}</tr></thead>'
            f"<tbody>{body}</tbody></table>"
        )

    @staticmethod
    def _row(name: str, lines: Sequence[Line], k: int) -> str:
        line, span = lines[k], f'rowspan="{len(lines)}"'
        first = f'<th scope="rowgroup" {span}>{html.escape(name)}</th>' if k == 0 else ""
        last = f"<td {span}>{status(lines)}</td>" if k == 0 else ""
        says = f"<td>{MARKS[line.speaks]} {line.speaks}</td>"
        return f"<tr>{first}<td>{html.escape(line.question)}</td>{says}{last}</tr>"


def verdict_table(explanations: Mapping[str, Sequence[str]]) -> VerdictTable:
    """Return a table of what recorded results say to the rules of each explanation.

    Args:
        explanations: name to rules, each "experiment.decision"; "supported" speaks for the
            explanation. The question is the first sentence of the rule's docstring.

    Raises:
        FileNotFoundError: an experiment has no record.
        KeyError: there is no such experiment or rule.
    """
    return VerdictTable(
        {name: tuple(_line(rule) for rule in rules) for name, rules in explanations.items()}
    )


def _line(rule: str) -> Line:
    experiment, decision = rule.split(".")
    decide = load(experiment).decisions[decision]
    question = (inspect.getdoc(decide) or "").partition("\n\n")[0].replace("\n", " ")
    return Line(question, experiment, decision, decide(recorded(experiment)))

"""What is claimed beside what was measured: each claim with the verdicts of its runs."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from normcourse.evidence.claims import Claim, Run, load_claims
from normcourse.evidence.records import has_record, recorded
from normcourse.experiments import Effect, Experiment, Result, load
from normcourse.experiments.result import Outcome


@dataclass(frozen=True)
class Finding:
    """What a decision rule makes of the recorded result of its experiment.

    Attributes:
        experiment: name of the experiment.
        decision: name of the rule.
        rule: the rule in words.
        outcome: its verdict; None where nothing is recorded.
        effects: the numbers that the verdict rests on, with their spread.
        seeds: how many runs there were.
        date: of the record.
        stale: settings or source have changed since.
    """

    experiment: str
    decision: str
    rule: str
    outcome: Outcome | None = None
    effects: tuple[Effect, ...] = ()
    seeds: int = 0
    date: str = ""
    stale: bool = False


@dataclass(frozen=True)
class Entry:
    """A claim with what was found: one (run, finding) pair per run that it names."""

    claim: Claim
    findings: tuple[tuple[Run, Finding], ...]

    @property
    def stale(self) -> bool:
        """Whether a record that this claim rests on is older than its source or settings."""
        return any(finding.stale for _, finding in self.findings)

    @property
    def waiting(self) -> bool:
        """Whether a run that is to decide has not been recorded."""
        runs_missing = any(finding.outcome is None for _, finding in self.findings)
        return runs_missing or (self.claim.evidence == "run" and not self.findings)


@dataclass(frozen=True)
class Study:
    """An experiment with its record, if there is one, and the findings of all its rules."""

    experiment: Experiment
    record: Result | None
    findings: dict[str, Finding]

    @property
    def seconds(self) -> float:
        """What the recorded runs took together."""
        return sum(self.record.seconds.values()) if self.record else 0.0


class Ledger:
    """All claims and all experiments, put together.

    Args:
        claims: by default those of ``claims.toml``.
        folder: where records lie, by default those of the package.
        experiments: by default those that the claims name.

    Raises:
        KeyError: a claim names an experiment or a decision that there is not.
    """

    def __init__(
        self,
        claims: Iterable[Claim] | None = None,
        *,
        folder: Path | None = None,
        experiments: Iterable[Experiment] | None = None,
    ) -> None:
        listed = load_claims() if claims is None else tuple(claims)
        given = _named(listed) if experiments is None else experiments
        self.studies = {one.name: _study(one, folder) for one in given}
        self.entries = tuple(
            Entry(claim, tuple((run, self._finding(claim, run)) for run in claim.runs))
            for claim in listed
        )

    def entry(self, number: int) -> Entry:
        """Return a claim by its number.

        Raises:
            KeyError: there is none.
        """
        for entry in self.entries:
            if entry.claim.number == number:
                return entry
        known = [entry.claim.number for entry in self.entries]
        raise KeyError(f"no claim {number}; they are numbered {_ranges(known)}.")

    def unused(self) -> list[tuple[str, str]]:
        """Return the decisions, as (experiment, decision), that no claim names."""
        named = {(run.experiment, run.decision) for e in self.entries for run in e.claim.runs}
        return [
            (study.experiment.name, decision)
            for study in self.studies.values()
            for decision in study.findings
            if (study.experiment.name, decision) not in named
        ]

    def _finding(self, claim: Claim, run: Run) -> Finding:
        study = self.studies.get(run.experiment)
        if study is None or run.decision not in study.findings:
            known = ", ".join(study.findings if study else self.studies)
            what = f"decision {run.decision!r}" if study else f"experiment {run.experiment!r}"
            raise KeyError(f"claim {claim.number}: no {what}; there are {known}.")
        return study.findings[run.decision]


def _named(claims: Iterable[Claim]) -> Iterator[Experiment]:
    """Yield the experiments that claims name; one that there is not is left to its claim."""
    for name in dict.fromkeys(run.experiment for claim in claims for run in claim.runs):
        with suppress(KeyError):
            yield load(name)


def _study(experiment: Experiment, folder: Path | None) -> Study:
    record = None
    if has_record(experiment.name, folder):
        record = recorded(experiment.name, folder, experiment)
    findings = {}
    for name, rule in experiment.decisions.items():
        words = " ".join((inspect.getdoc(rule) or "").split())
        finding = Finding(experiment.name, name, words)
        if record is not None:
            outcome, effects = rule(record)
            made = record.environment.date
            finding = Finding(
                *(experiment.name, name, words, outcome, effects),
                *(len(record.seeds), made, record.stale),
            )
        findings[name] = finding
    return Study(experiment, record, findings)


def contradictions(entries: Sequence[Entry]) -> list[str]:
    """Return what a reader would stumble over: verdict against status, and no note to say why."""
    return [
        f"claim {entry.claim.number} ({entry.claim.status}): {run.experiment}.{run.decision} is "
        f"{finding.outcome} about the {run.about}"
        for entry in entries
        for run, finding in entry.findings
        if not entry.claim.note and _contradicts(entry.claim, run, finding)
    ]


def _contradicts(claim: Claim, run: Run, finding: Finding) -> bool:
    if finding.outcome is None or run.about == "detail":
        return False
    if run.about == "statement":
        return finding.outcome != "supported"
    if claim.restated:
        return False
    expected = {"established": "supported", "refuted": "refuted"}.get(claim.status)
    return expected is not None and finding.outcome != expected


def _ranges(numbers: Sequence[int]) -> str:
    """Return numbers as text, neighbours joined: "1 to 64, 70 to 85"."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(f"{p[0]} to {p[-1]}" if len(p) > 1 else str(p[0]) for p in parts)

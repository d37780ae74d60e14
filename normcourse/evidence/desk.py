"""What the commands of ``normcourse evidence`` do and print."""

from __future__ import annotations

import json
import math
import shutil
import sys
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

import typer

from normcourse.evidence.claims import STATUSES, Claim, Run, choose, load_claims
from normcourse.evidence.ledger import Entry, Finding, Ledger
from normcourse.evidence.records import Busy, has_record, recorded, run_full
from normcourse.evidence.repeat import Repeat, repeat
from normcourse.evidence.words import bearing, duration, effect_text, percent
from normcourse.experiments import Effect, Experiment, load, names

Report = Callable[[int, int], None]
_WIDEST = 100


def list_claims(
    *, chapter: str = "", status: str = "", text: str = "", as_json: bool = False
) -> int:
    """Print the chosen claims, a line each, and how many there are of each status."""
    try:
        chosen = choose(load_claims(), chapter=chapter, status=status, text=text)
    except KeyError as problem:
        raise typer.BadParameter(str(problem.args[0])) from None
    entries = Ledger(chosen).entries
    if as_json:
        _print(json.dumps([_plain(entry) for entry in entries], indent=1, ensure_ascii=False))
        return 0
    for entry in entries:
        mark = "  [stale]" if entry.stale else ""
        _wrapped(f"{entry.claim.number:3}  {entry.claim.said}", indent=5)
        place = entry.claim.chapter.replace("_", " ")
        _print(f"     {_status(entry.claim)} · {_state(entry)} · chapter {place}{mark}")
    counts = Counter(entry.claim.status for entry in entries)
    said = ", ".join(f"{counts[one]} {one}" for one in STATUSES if counts[one])
    _print(f"{len(entries)} claims" + (f": {said}." if said else "."))
    return 0


def show_claim(number: int, *, as_json: bool = False) -> int:
    """Print one claim with everything that bears on it."""
    claims = load_claims()
    chosen = [claim for claim in claims if claim.number == number]
    if not chosen:
        known = f"{claims[0].number} to {claims[-1].number}"
        raise typer.BadParameter(f"no claim {number}; there are {len(claims)}, within {known}.")
    entry = Ledger(chosen).entries[0]
    claim = entry.claim
    if as_json:
        _print(json.dumps(_plain(entry), indent=1, ensure_ascii=False))
        return 0
    _wrapped(f"{claim.number}. Often said: {claim.said}")
    _wrapped(f"What is so: {claim.statement}", indent=3)
    _wrapped(f"Status: {_status(claim)}. Rests on: {claim.evidence}.", indent=3)
    for run, finding in entry.findings:
        _show_finding(run, finding)
    if claim.rule and not entry.findings:
        _wrapped(f"Rule of the run to come: {claim.rule}", indent=3)
    if claim.note:
        _wrapped(f"Note: {claim.note}", indent=3)
    section = f", “{claim.section}”" if claim.section else ""
    _print("")
    _wrapped(f"Chapter: {claim.chapter}{section}", indent=3)
    _wrapped(f"Sources: {', '.join(claim.sources) or 'none'}", indent=3)
    if claim.unconfirmed:
        _wrapped(f"Could not be confirmed: {'; '.join(claim.unconfirmed)}", indent=3)
    return 0


def _show_finding(run: Run, finding: Finding) -> None:
    _print("")
    rule = finding.rule.replace("``", "`")
    _wrapped(f"{finding.experiment}.{finding.decision}: {rule}", indent=3)
    _wrapped(f"{bearing(run, finding)}.", indent=3)
    for effect in finding.effects:
        _wrapped(f"- {effect_text(effect)}", indent=5)
    if finding.seeds:
        _print(f"   {finding.seeds} seeds, recorded {finding.date}")
    if finding.stale:
        again = f"Anew by: normcourse evidence run {finding.experiment}"
        _wrapped(f"Stale: the code or the settings have changed since. {again}", indent=3)


def run_experiments(chosen: Sequence[str], *, jobs: int = 1, force: bool = False) -> int:
    """Run what has no fresh record, one experiment after the other, and say what it took."""
    try:
        experiments = [load(name) for name in chosen or names()]
    except KeyError as problem:
        raise typer.BadParameter(str(problem.args[0])) from None
    waiting = [one for one in experiments if force or not _is_fresh(one)]
    for one in experiments:
        if one not in waiting:
            seconds = sum(recorded(one.name, experiment=one).seconds.values())
            _print(f"{one.name}: fresh, took {duration(seconds)}")
    total = 0.0
    for number, one in enumerate(waiting, start=1):
        try:
            with _progress(f"{number}/{len(waiting)} {one.name}") as report:
                result = run_full(one, jobs=jobs, on_seed=report)
        except KeyboardInterrupt:
            print("Stopped; what is finished is kept. The same command goes on.", file=sys.stderr)
            return 130
        except BrokenProcessPool:
            print(
                f"normcourse evidence: {one.name}: a process was ended from outside, perhaps for "
                "lack of memory. What is finished is kept; try --jobs 1.",
                file=sys.stderr,
            )
            return 1
        except Busy as problem:
            print(f"normcourse evidence: {problem}", file=sys.stderr)
            return 1
        seconds = sum(result.seconds.values())
        total += seconds
        _print(f"{one.name}: recorded, {len(result.seeds)} seeds, {duration(seconds)} by the clock")
    if waiting:
        _print(f"{len(waiting)} recorded, their seeds add up to {duration(total)}.")
        _print("The page follows by: python -m normcourse.evidence")
    return 0


def repeat_experiments(chosen: Sequence[str], *, seed: int = 0, as_json: bool = False) -> int:
    """Run one recorded seed of each anew, compare it, and say what all seeds would take here."""
    try:
        waiting = [load(name) for name in chosen or filter(has_record, names())]
    except KeyError as problem:
        raise typer.BadParameter(str(problem.args[0])) from None
    done: list[Repeat] = []
    for one in waiting:
        try:
            done.append(repeat(one, seed))
        except KeyError as problem:
            raise typer.BadParameter(str(problem.args[0])) from None
        except FileNotFoundError as problem:
            print(f"normcourse evidence: {problem}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return 130
        line = json.dumps(_plain_repeat(done[-1])) if as_json else _repeat_text(done[-1])
        print(line, flush=True)
    if as_json:
        return 0
    seconds, whole = (sum(getattr(one, name) for one in done) for name in ("seconds", "all_seeds"))
    _print(
        f"{len(done)} repeated in {duration(seconds)}; all their seeds would take about "
        f"{duration(whole)} of one core here."
    )
    return 0


def _repeat_text(done: Repeat) -> str:
    """Return one line about a repeated seed."""
    worst = sorted(done.differs.items(), key=lambda item: item[1], reverse=True)[:3]
    words = ", ".join(f"{name} by {percent(gap)}" for name, gap in worst)
    more = f" and {len(done.differs) - 3} more columns" if len(done.differs) > 3 else ""
    found = f"differs: {words}{more}" if words else "same numbers"
    return (
        f"{done.experiment}: {found}; {duration(done.seconds)} (recorded {duration(done.before)})"
    )


def _plain_repeat(done: Repeat) -> dict[str, Any]:
    differs = {name: gap if math.isfinite(gap) else str(gap) for name, gap in done.differs.items()}
    return {**asdict(done), "differs": differs, "all_seeds": round(done.all_seeds, 3)}


def _is_fresh(experiment: Experiment) -> bool:
    if not has_record(experiment.name):
        return False
    return not recorded(experiment.name, experiment=experiment).stale


@contextmanager
def _progress(title: str) -> Iterator[Report]:
    """Yield what is told of each finished seed: a bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        print(title, file=sys.stderr, flush=True)
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.progress import TimeRemainingColumn as Remaining

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        Remaining(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _plain(entry: Entry) -> dict[str, Any]:
    """Return an entry as JSON can hold it."""
    found = [
        {
            "about": run.about,
            **asdict(replace(finding, effects=())),
            "effects": [_plain_effect(effect) for effect in finding.effects],
        }
        for run, finding in entry.findings
    ]
    return {
        **entry.claim.model_dump(exclude={"runs"}),
        "findings": found,
        "stale": entry.stale,
        "waiting": entry.waiting,
    }


def _plain_effect(effect: Effect) -> dict[str, Any]:
    spread = {
        name: value if math.isfinite(value) else str(value)
        for name, value in effect.spread._asdict().items()
    }
    return {"name": effect.name, "unit": effect.unit, **spread}


def _status(claim: Claim) -> str:
    return f"{claim.status}, as restated" if claim.restated else claim.status


def _state(entry: Entry) -> str:
    if entry.waiting:
        return "run to come"
    outcomes = [str(finding.outcome) for run, finding in entry.findings if run.about != "detail"]
    return ": ".join(filter(None, [entry.claim.evidence, ", ".join(outcomes)]))


def _wrapped(text: str, *, indent: int = 0) -> None:
    width = min(shutil.get_terminal_size((_WIDEST, 24)).columns, _WIDEST)
    first = "" if text[:3].strip().isdigit() else " " * indent
    _print(
        textwrap.fill(
            text,
            max(width, 40),
            initial_indent=first,
            subsequent_indent=" " * indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
    )


def _print(text: str) -> None:
    """Print text; signs that the output cannot show become question marks."""
    coding = sys.stdout.encoding or "ascii"
    print(text.encode(coding, "replace").decode(coding))

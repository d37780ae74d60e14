"""Reports to read in a browser: one for each learner, one for the class. Nothing is fetched."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Iterable

from normcourse.checks.letters import cleaned
from normcourse.grading.assignment import Assignment
from normcourse.grading.formats.tables import Person, number
from normcourse.grading.results import Class, Mark, Row
from normcourse.grading.verdict import OUTCOMES

_STYLE = """
:root { color-scheme: light dark; --ink: #1d1d1d; --paper: #fdfcfa; --rule: #c9c5bd;
  --bar: #0072B2 }
@media (prefers-color-scheme: dark) { :root { --ink: #ececec; --paper: #16181b; --rule: #4a4d52;
  --bar: #56B4E9 } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 52rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; width: 100% } caption { text-align: left; padding: .4rem 0 }
th, td { text-align: left; padding: .25rem .6rem; border-bottom: 1px solid var(--rule) }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums }
code { font-size: .92em } section { margin: 2rem 0 } svg text { fill: var(--ink); font-size: 13px }
svg rect { fill: var(--bar) }
"""
_WORDS = {
    "passed": "passed",
    "failed": "not yet right",
    "error": "stopped with an error",
    "timeout": "took too long",
    "memory": "asked for too much memory",
    "crashed": "ended its process",
    "protocol": "sent no result",
    "not_submitted": "not handed in",
    "not_started": "not started",
    "infra_error": "not judged yet (the grader's fault)",
}


def learner_page(row: Row, assignment: Assignment, person: Person) -> str:
    """Return one learner's report: points, and for each exercise what the course would say."""
    name = person.name or row.learner
    total = "open" if row.total is None else f"{number(row.total)} of {number(assignment.maximum)}"
    lines = [
        [f"<code>{_escape(m.exercise)}</code>", _WORDS[m.outcome], _points(m)] for m in row.marks
    ]
    parts = [
        f"<p>{_escape(name)}: <strong>{total}</strong> points.{_lateness(row)}</p>",
        _table(("Exercise", "Outcome", "Points"), lines, numbers=1),
        *(_detail(mark) for mark in row.marks),
    ]
    return _page(f"{assignment.title}: {name}", parts)


def class_page(whole: Class, assignment: Assignment) -> str:
    """Return the report on the class: pass rates, outcomes and mistakes; no names."""
    lines = []
    for exercise in assignment.exercises:
        counts = whole.outcomes.get(exercise, Counter())
        passed = counts.get("passed", 0)
        rest = ", ".join(f"{_WORDS[o]} {counts[o]}" for o in OUTCOMES[1:] if counts.get(o))
        share = f"{passed / whole.learners:.0%}" if whole.learners else ""
        lines.append([f"<code>{_escape(exercise)}</code>", _escape(rest), str(passed), share])
    parts = [
        f"<p>{whole.learners} learners. {_spread(whole.totals, assignment)}</p>",
        _table(("Exercise", "Others", "Passed", "Share"), lines, numbers=2),
        "<section><h2>Commonest mistakes</h2>",
        _bars(whole),
        "</section>",
    ]
    return _page(f"{assignment.title}: the class", parts)


def _spread(totals: list[float], assignment: Assignment) -> str:
    if not totals:
        return ""
    middle = totals[len(totals) // 2]
    most = number(assignment.maximum)
    return (
        f"Points of {most}: lowest {number(totals[0])}, middle {number(middle)}, "
        f"highest {number(totals[-1])}."
    )


def _bars(whole: Class) -> str:
    """Return a bar chart as SVG, with the same numbers as a table for those who read by ear."""
    found = whole.commonest()
    if not found:
        return "<p>No mistake of the list was recognised.</p>"
    most, height, left = found[0][2], 34, 330
    bars = []
    for place, (exercise, mistake, count) in enumerate(found):
        top, width = place * height, 300 * count / most
        bars.append(
            f'<text x="0" y="{top + 20}">{_escape(f"{exercise}: {mistake}"[:48])}</text>'
            f'<rect x="{left}" y="{top + 6}" width="{width:.1f}" height="20"></rect>'
            f'<text x="{left + width + 6:.1f}" y="{top + 20}">{count}</text>'
        )
    size = height * len(found)
    label = f"Bar chart: learners by mistake; the commonest is {found[0][1]}, {most} learners."
    chart = (
        f'<svg role="img" aria-label="{_escape(label)}" viewBox="0 0 690 {size}" width="100%">'
        f"{''.join(bars)}</svg>"
    )
    lines = [
        [f"<code>{_escape(e)}</code>", _escape(whole.messages[e, m]), str(n)] for e, m, n in found
    ]
    return chart + _table(("Exercise", "What they were told", "Learners"), lines, numbers=1)


def _detail(mark: Mark) -> str:
    feedback = mark.feedback()
    if mark.outcome == "infra_error":
        body = "<p>The grader could not judge this exercise; it will be judged again.</p>"
    elif feedback is None:
        body = "<p>Nothing was handed in for this exercise.</p>"
    else:
        body = feedback._repr_html_()
    notes = "".join(f"<p>Note: {_escape(note)}</p>" for note in mark.record["notes"])
    notes = "" if mark.outcome == "infra_error" else notes
    return f"<section><h2><code>{_escape(mark.exercise)}</code></h2>{body}{notes}</section>"


def _points(mark: Mark) -> str:
    if mark.points is None:
        return "open"
    late = f" (late: {mark.share:.0%})" if mark.share < 1 else ""
    return f"{number(mark.points)} of {number(mark.worth)}{late}"


def _lateness(row: Row) -> str:
    if row.late_seconds <= 0:
        return ""
    return f" The last attempt came {row.late_seconds / 86400:.1f} days after the deadline."


def _table(head: tuple[str, ...], lines: Iterable[list[str]], *, numbers: int) -> str:
    """Return a table whose cells are HTML already; the last ``numbers`` columns are numbers."""
    first = len(head) - numbers

    def row(cells: Iterable[str], tag: str) -> str:
        marked = (
            f"<{tag}{' class=n' if place >= first else ''}>{cell}</{tag}>"
            for place, cell in enumerate(cells)
        )
        return f"<tr>{''.join(marked)}</tr>"

    body = "".join(row(line, "td") for line in lines)
    return f"<table><thead>{row(head, 'th')}</thead><tbody>{body}</tbody></table>"


def _page(title: str, parts: Iterable[str]) -> str:
    shown = _escape(title)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{shown}</title>'
        '<meta name="viewport" content="width=device-width">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "style-src 'unsafe-inline'\">"
        f"<style>{_STYLE}</style></head><body><h1>{shown}</h1>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def _escape(text: str) -> str:
    return html.escape(cleaned(text))

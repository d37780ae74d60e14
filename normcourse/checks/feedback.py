"""What a learner reads after a check: one object, shown as text, HTML or JSON."""

from __future__ import annotations

import json
import math
import re
import textwrap
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from normcourse.checks.letters import cleaned, to_ascii

SCHEMA = 1
STATUSES = ("passed", "failed", "error", "not_started", "timeout")
_MARKS = {"passed": "✓", "failed": "✗", "error": "✗", "not_started": "·", "timeout": "✗"}
_ASCII = {"passed": "[ok]", "failed": "[x]", "error": "[x]", "not_started": "[ ]", "timeout": "[x]"}
_WORDS = {
    "passed": "passed",
    "failed": "not yet right",
    "error": "stopped with an error",
    "not_started": "not started",
    "timeout": "took too long",
}


@dataclass(frozen=True)
class Feedback:
    """The verdict on one answer.

    Args:
        exercise: id of the exercise.
        version: version of the exercise.
        status: one of ``STATUSES``.
        message: what happened, in one or two sentences.
        stage: name of the stage that failed, or empty.
        case: name of the case that failed, or empty.
        setting: the case's inputs in brief, such as "x of shape (4, 3), float64".
        expected: the right value at the worst place.
        got: the learner's value there.
        worst: the worst place, such as "y[0, 1]".
        max_error: largest error.
        mistakes: ids of the mistakes that were recognised.
        causes: their messages.
        evidence: facts computed from the learner's own output.
        next: what to do now.
        hint: link or command that gives a hint.
        insight: after a pass, one thing more.
        proven: after a pass, the names of the cases.
        output: what the code printed.
        seed: seed of the cases.
        schema: version of this record.
    """

    exercise: str
    version: int
    status: str
    message: str
    stage: str = ""
    case: str = ""
    setting: str = ""
    expected: Any = None
    got: Any = None
    worst: str = ""
    max_error: float | None = None
    mistakes: tuple[str, ...] = ()
    causes: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    next: str = ""
    hint: str = ""
    insight: str = ""
    proven: tuple[str, ...] = ()
    output: str = ""
    seed: int = 0
    schema: int = field(default=SCHEMA)

    @property
    def passed(self) -> bool:
        """True if the answer is right."""
        return self.status == "passed"

    def redact(self) -> Feedback:
        """Return a copy without what a hidden case must not tell: its name and its numbers."""
        return replace(
            self, case="", setting="", expected=None, got=None, worst="", max_error=None, proven=()
        )

    def to_json(self) -> str:
        """Return the record as JSON text; numbers that JSON lacks become text ("nan", "inf")."""
        return json.dumps(_plain(asdict(self)), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Feedback:
        """Return the record that :meth:`to_json` wrote."""
        data: dict[str, Any] = json.loads(text)
        if data.get("schema") != SCHEMA:
            raise ValueError(f"feedback: expected schema {SCHEMA}, got {data.get('schema')!r}")
        lists = ("mistakes", "causes", "evidence", "proven")
        for name in lists:
            data[name] = tuple(data[name])
        return cls(**data)

    def text(self, *, ascii_only: bool = False, width: int = 88) -> str:
        """Return the verdict as plain text."""
        mark = (_ASCII if ascii_only else _MARKS)[self.status]
        shown = (lambda text: to_ascii(cleaned(text))) if ascii_only else cleaned
        lines = [f"{mark} {self.exercise}: {_WORDS[self.status]}"]
        lines += [_wrap(shown(paragraph), width) for paragraph in self._paragraphs()]
        if self.output:
            lines += ["  Your code printed:", textwrap.indent(shown(_shorten(self.output)), "    ")]
        return "\n".join(lines)

    def _paragraphs(self) -> list[str]:
        where = f'In case "{self.case}"' + (f" ({self.setting})" if self.setting else "")
        parts = [f"{where}: {self.message}" if self.case else self.message]
        if self.worst:
            parts.append(self.comparison)
        parts += [f"{label}: {cause}" for label, cause in self.labelled_causes]
        parts += [f"Seen in your output: {fact}" for fact in self.evidence]
        if self.proven:
            parts.append("Proven: " + "; ".join(self.proven) + ".")
        if self.insight:
            parts.append(f"One thing more: {self.insight}")
        follow = [part for part in (self.next, self.hint) if part]
        if follow:
            parts.append("Next: " + " · ".join(follow))
        return [part for part in parts if part]

    @property
    def comparison(self) -> str:
        """Expected and got at the worst place, as one line; empty where there is none."""
        if not self.worst:
            return ""
        off = "" if self.max_error is None else f" (off by {_number(self.max_error)})"
        return f"expected {_number(self.expected)}, got {_number(self.got)} at {self.worst}{off}"

    @property
    def labelled_causes(self) -> list[tuple[str, str]]:
        """The causes, each with the words that introduce it."""
        if len(self.causes) == 1:
            return [("Likely cause", self.causes[0])]
        return [(f"Cause {n} of {len(self.causes)}", c) for n, c in enumerate(self.causes, 1)]

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        mark = f"<strong>{_MARKS[self.status]} <code>{_escape(self.exercise)}</code></strong>"
        body = "".join(f"<p style='margin:.3em 0'>{_inline(p)}</p>" for p in self._paragraphs())
        if self.output:
            body += (
                "<details><summary>What your code printed</summary>"
                f"<pre>{_escape(_shorten(self.output))}</pre></details>"
            )
        colour = {"passed": "#009E73", "not_started": "#6E6E6E"}.get(self.status, "#D55E00")
        style = f"border-left:4px solid {colour};padding:.4em .9em;margin:.5em 0;max-width:46em"
        return (
            f'<div class="nc-feedback nc-{self.status}" role="status" style="{style}">'
            f"<p style='margin:.2em 0'>{mark}: {_WORDS[self.status]}</p>{body}</div>"
        )


def _number(value: Any) -> str:
    """Write a number so that it reads the same on every platform: four significant digits."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if math.isnan(value):
        return "NaN"
    sign, size = ("−" if value < 0 else ""), abs(value)
    if math.isinf(size):
        return f"{sign}infinity"
    if isinstance(value, int) or 1e4 <= size < 1e6:
        return f"{sign}{size:.0f}"
    return f"{sign}{size:.4g}" if size == 0 or 1e-3 <= size < 1e4 else f"{sign}{size:.2e}"


def _wrap(paragraph: str, width: int) -> str:
    return textwrap.fill(
        paragraph,
        width,
        initial_indent="  ",
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _shorten(output: str, limit: int = 600) -> str:
    shown = cleaned(output)
    return shown if len(shown) <= limit else shown[:limit] + " …"


def _escape(text: str) -> str:
    import html  # for notebooks and pages alone

    return html.escape(cleaned(text))


def _inline(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", _escape(text))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value

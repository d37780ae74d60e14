"""Findings in words, the same on the terminal and on the page."""

from __future__ import annotations

import math

from normcourse.evidence.claims import Run
from normcourse.evidence.ledger import Finding
from normcourse.experiments.result import Effect

_BEARING = {
    ("claim", "supported"): "The run speaks for the claim",
    ("claim", "refuted"): "The run speaks against the claim",
    ("claim", "mixed"): "The run is mixed about the claim",
    ("statement", "supported"): "The run bears out what is stated",
    ("statement", "refuted"): "The run does not bear out what is stated",
    ("statement", "mixed"): "The run is mixed about what is stated",
}


def bearing(run: Run, finding: Finding) -> str:
    """Return what a finding says about its claim, a clause without a full stop."""
    if finding.outcome is None:
        return "The run is still to come"
    if run.about == "detail":
        return f"Beside it, “{finding.decision.replace('_', ' ')}”: {finding.outcome}"
    return _BEARING[run.about, finding.outcome]


def effect_text(effect: Effect) -> str:
    """Return an effect with its spread.

    Example:
        >>> from normcourse.experiments import spread
        >>> effect_text(Effect("widest rate", spread([1.0, 2.0, 4.0]), "per step"))
        'widest rate: 2 per step (1.5 to 3)'
    """
    name = effect.name.replace("_", " ")
    middle, low, high = (number(value) for value in effect.spread[:3])
    unit = f" {effect.unit}" if effect.unit and effect.unit != "%" else effect.unit
    if low == middle == high:
        return f"{name}: {middle}{unit}"
    return f"{name}: {middle}{unit} ({low} to {high})"


def number(value: float) -> str:
    """Return a number with three digits, as a reader writes it.

    Example:
        >>> number(0.00012345), number(1234.5), number(1e9), number(float("inf"))
        ('0.000123', '1230', '1.00·10^9', 'infinite')
    """
    if math.isinf(value):
        return "infinite" if value > 0 else "minus infinite"
    if value == 0 or 1e-4 <= abs(value) < 1e5:
        short = float(f"{value:.3g}")
        return f"{short:.10f}".rstrip("0").rstrip(".")
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{mantissa}·10^{int(exponent)}"


def percent(share: float) -> str:
    """Return a share in percent, as precise as a reader needs.

    Example:
        >>> percent(0.0123), percent(3e-7), percent(math.inf)
        ('1.23 %', 'less than 0.0001 %', 'more than any number')
    """
    if math.isinf(share):
        return "more than any number"
    return f"{number(100 * share)} %" if share >= 1e-6 else "less than 0.0001 %"


def duration(seconds: float) -> str:
    """Return a time as a reader says it.

    Example:
        >>> duration(3.21), duration(95), duration(4000)
        ('3.2 s', '1 min 35 s', '1 h 07 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        minutes, rest = divmod(int(seconds), 60)
        return f"{minutes} min {rest:02} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02} min"

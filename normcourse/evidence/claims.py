"""The claims as ``claims.toml`` states them: read, checked, with errors that say where and why."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

Status = Literal["established", "holds under conditions", "contested", "refuted"]
STATUSES: tuple[Status, ...] = ("established", "holds under conditions", "contested", "refuted")
Kind = Literal["run", "derivation", "documentation", "literature"]
CHAPTERS = (
    "01_covariate_shift",
    "02_batch_norm",
    "03_batch_norm_backward",
    "04_batch_norm_inference",
    "05_why_batch_norm_works",
    "06_batch_norm_limits",
    "07_layer_norm",
    "08_layer_norm_sequences",
    "09_rms_norm_and_beyond",
    "10_instance_norm",
    "11_group_norm",
    "12_divisive_normalization",
    "13_placement_cnn",
    "14_placement_transformer",
    "15_choosing",
    "16_numerics_and_speed",
)
FILE = Path(__file__).with_name("claims.toml")

Sentence = Annotated[str, Field(min_length=10, pattern=r"[.?!”)]$")]
Slug = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]


class BadClaims(ValueError):
    """The file of claims cannot be read, or an entry is not what an entry must be."""


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)


class Run(_Entry):
    """A decision of an experiment that bears on a claim.

    Attributes:
        experiment: name of the experiment.
        decision: name of one of its decision rules.
        about: what the verdict "supported" speaks for: the claim as it is often said, the
            statement of what is so, or a detail beside them.
    """

    experiment: str
    decision: str
    about: Literal["claim", "statement", "detail"] = "statement"


class Claim(_Entry):
    """One thing that is said about normalization.

    Attributes:
        number: its number, for good.
        slug: a short name, for addresses.
        said: the claim as it is often said.
        statement: what is so.
        status: of the claim as said; of the statement where ``restated``.
        restated: the claim is imprecise rather than wrong, and the status is the statement's.
        chapter: that treats it.
        section: heading there.
        also: other chapters that come back to it.
        sources: keys of book/references.bib.
        unconfirmed: sources that are named for it and could not be looked up.
        evidence: what the status rests on first.
        runs: decisions that bear on it.
        rule: where no run decides yet, what outcome of one would mean refuted.
        note: why a verdict and the status differ, or what limits both.
    """

    number: int = Field(ge=1)
    slug: Slug
    said: Sentence
    statement: Sentence
    status: Status
    restated: bool = False
    chapter: str
    section: str = ""
    also: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    unconfirmed: tuple[str, ...] = ()
    evidence: Kind
    runs: tuple[Run, ...] = ()
    rule: str = ""
    note: str = ""

    @model_validator(mode="after")
    def _is_whole(self) -> Claim:
        unknown = [name for name in (self.chapter, *self.also) if name not in CHAPTERS]
        if unknown:
            raise ValueError(f"no chapter {unknown[0]!r}; there are {', '.join(CHAPTERS)}")
        if self.evidence == "run" and not (self.runs or self.rule):
            raise ValueError("evidence = run: name the runs, or the rule of the run to come")
        if self.rule and "refuted" not in self.rule.lower():
            raise ValueError("rule: say which outcome would mean refuted")
        return self


def load_claims(path: Path = FILE) -> tuple[Claim, ...]:
    """Return the claims in the order of their numbers.

    Args:
        path: a TOML file with a table ``claims`` of arrays.

    Raises:
        BadClaims: with the file, the claim, the field and what is wrong with it.

    Example:
        >>> load_claims()[0].slug
        'covariate-shift-is-why'
    """
    found = [_claim(path, entry) for entry in _read(path).get("claims", [])]
    for name, values in (
        ("number", [claim.number for claim in found]),
        ("slug", [claim.slug for claim in found]),
    ):
        twice = [value for value, count in Counter(values).items() if count > 1]
        if twice:
            raise BadClaims(f"{path.name}: {name} {twice[0]!r} stands twice")
    return tuple(sorted(found, key=lambda claim: claim.number))


def chapter_only(path: Path = FILE) -> tuple[tuple[str, str], ...]:
    """Return the decisions, as (experiment, decision), that serve their chapter and no claim."""
    listed = _read(path).get("chapter_only", {})
    return tuple((name, decision) for name, decisions in listed.items() for decision in decisions)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as problem:
        raise BadClaims(f"{path.name}: {problem}") from None


def _claim(path: Path, entry: dict[str, Any]) -> Claim:
    try:
        return Claim(**entry)
    except ValidationError as problem:
        first = problem.errors()[0]
        place = ".".join(map(str, first["loc"]))
        where = f"claim {entry.get('number', '?')}" + (f", {place}" if place else "")
        message = first["msg"].removeprefix("Value error, ")
        raise BadClaims(f"{path.name}: {where}: {message}") from None


def choose(
    claims: Sequence[Claim], *, chapter: str = "", status: str = "", text: str = ""
) -> tuple[Claim, ...]:
    """Return the claims of a chapter, of a status, or that hold a text.

    Args:
        claims: to choose from.
        chapter: name of a chapter, with or without its number, or the number alone.
        status: one of ``STATUSES``, or the beginning of one.
        text: to be found in claim or statement, in any case.

    Raises:
        KeyError: no chapter or status of that name.
    """
    wanted = chapter_named(chapter) if chapter else ""
    statuses = [known for known in STATUSES if known.startswith(status.lower())]
    if not statuses:
        raise KeyError(f"no status {status!r}; there are {', '.join(STATUSES)}.")
    return tuple(
        claim
        for claim in claims
        if wanted in ("", claim.chapter, *claim.also)
        and claim.status in statuses
        and text.lower() in f"{claim.said} {claim.statement}".lower()
    )


def chapter_named(name: str) -> str:
    """Return the chapter that a number, a name or both mean.

    Raises:
        KeyError: none of them.

    Example:
        >>> chapter_named("5"), chapter_named("layer_norm")
        ('05_why_batch_norm_works', '07_layer_norm')
    """
    for chapter in CHAPTERS:
        number, _, word = chapter.partition("_")
        if name in (chapter, word, number, number.lstrip("0")):
            return chapter
    raise KeyError(f"no chapter {name!r}; there are {', '.join(CHAPTERS)}.")

"""What an experiment returns: tidy rows of every seed, with what they were made on."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

Value = float | int | str | bool
Row = dict[str, Value]
Outcome = Literal["supported", "refuted", "mixed"]


class Spread(NamedTuple):
    """Median of some runs and the middle half of them.

    ``low`` and ``high`` are the quartiles; ``seeds`` says how many runs there were.
    """

    median: float
    low: float
    high: float
    seeds: int

    def __str__(self) -> str:
        return f"{self.median:.3g} ({self.low:.3g} to {self.high:.3g}, {self.seeds} seeds)"


class Curve(NamedTuple):
    """One quantity against another: median and middle half over the seeds, each of shape (K,).

    ``runs`` maps a seed to its own values of shape (K,), NaN where that seed has no row.
    """

    x: NDArray[np.float64]
    median: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    runs: Mapping[int, NDArray[np.float64]]


class Effect(NamedTuple):
    """A number that a verdict rests on: its name in words, its spread, its unit ("" for none)."""

    name: str
    spread: Spread
    unit: str = ""


class Verdict(NamedTuple):
    """What a decision rule makes of a result."""

    outcome: Outcome
    effects: tuple[Effect, ...]


@dataclass(frozen=True)
class Environment:
    """What a result was made on: versions, processor family, cores used, day."""

    python: str
    numpy: str
    torch: str
    system: str
    machine: str
    cores: int
    date: str

    @classmethod
    def here(cls) -> Environment:
        """Return the environment of this process."""
        return cls(
            python=platform.python_version(),
            numpy=np.__version__,
            torch=torch.__version__,
            system=platform.system(),
            machine=platform.machine(),
            cores=os.cpu_count() or 1,
            date=date.today().isoformat(),
        )


def spread(values: Iterable[float]) -> Spread:
    """Return median and quartiles of some numbers; infinite ones stand for diverged runs.

    Raises:
        ValueError: there is no number, or one is NaN.

    Example:
        >>> print(spread([1.0, 2.0, 3.0, 4.0, 100.0]))
        3 (2 to 4, 5 seeds)
        >>> spread([1.0, 2.0, float("inf")]).high
        inf
    """
    array = np.asarray(list(values), dtype=np.float64)
    if array.size == 0 or np.isnan(array).any():
        raise ValueError(f"spread: expected one number or more and no NaN, got {array.tolist()}.")
    # between a finite and an infinite number there is nothing to interpolate
    method: Any = "linear" if np.isfinite(array).all() else "inverted_cdf"
    low, median, high = np.quantile(array, [0.25, 0.5, 0.75], method=method)
    return Spread(float(median), float(low), float(high), int(array.size))


@dataclass(frozen=True)
class Result:
    """Every row of every seed of one experiment.

    Attributes:
        experiment: its name.
        setting: "live" (a slice, for the page), "full" (the record) or a name of your own.
        settings: the arguments that every seed was run with.
        rows: flat dicts; each has its ``seed``.
        seconds: seed to how long it took.
        environment: what it was made on.
        code: hash of the source that made it.
        stale: the source or the settings have changed since (set when a record is read).
    """

    experiment: str
    setting: str
    settings: Mapping[str, Any]
    rows: tuple[Row, ...]
    seconds: Mapping[int, float]
    environment: Environment
    code: str
    stale: bool = field(default=False, compare=False)

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds, in order."""
        return tuple(sorted({int(row["seed"]) for row in self.rows}))

    def where(self, **wanted: Value) -> Result:
        """Return the rows that have these values.

        Raises:
            KeyError: no row has such a column.
            ValueError: no row is left.
        """
        for name in wanted:
            self._known(name)
        return self.keep(lambda row: all(row.get(name) == wanted[name] for name in wanted))

    def keep(self, wanted: Callable[[Row], bool]) -> Result:
        """Return the rows for which ``wanted`` is true.

        Raises:
            ValueError: no row is left.
        """
        left = tuple(row for row in self.rows if wanted(row))
        if not left:
            raise ValueError(f"{self.experiment}: no row is left of {len(self.rows)}.")
        return replace(self, rows=left)

    def distinct(self, column: str) -> list[Any]:
        """Return the different values of a column in the order of their first row."""
        self._known(column)
        return list(dict.fromkeys(row[column] for row in self.rows if column in row))

    def values(self, column: str) -> list[Any]:
        """Return a column, one value per row that has it."""
        self._known(column)
        return [row[column] for row in self.rows if column in row]

    def spread(self, column: str, **wanted: Value) -> Spread:
        """Return median and middle half of a column; with several rows per seed, of their means."""
        chosen = self.where(**wanted) if wanted else self
        by_seed: dict[int, list[float]] = {}
        for row in chosen.rows:
            if column in row:
                by_seed.setdefault(int(row["seed"]), []).append(float(row[column]))
        chosen._known(column)
        return spread(sum(values) / len(values) for values in by_seed.values())

    def curve(self, x: str, y: str, **wanted: Value) -> Curve:
        """Return ``y`` against ``x`` over the seeds, for rows with the wanted values.

        Raises:
            ValueError: a seed has two rows for one ``x``: name what tells them apart.
        """
        chosen = self.where(**wanted) if wanted else self
        places = sorted({float(row[x]) for row in chosen.rows if x in row and y in row})
        chosen._known(x)
        chosen._known(y)
        runs = {seed: np.full(len(places), np.nan) for seed in chosen.seeds}
        for row in chosen.rows:
            if x not in row or y not in row:
                continue
            at = places.index(float(row[x]))
            if not np.isnan(runs[int(row["seed"])][at]):
                raise ValueError(
                    f"{self.experiment}: seed {row['seed']} has two rows at {x} = {row[x]}; "
                    "choose between them by further columns."
                )
            runs[int(row["seed"])][at] = float(row[y])
        columns = [[run[k] for run in runs.values()] for k in range(len(places))]
        spreads = [spread(v for v in column if not np.isnan(v)) for column in columns]
        return Curve(
            np.array(places),
            np.array([s.median for s in spreads]),
            np.array([s.low for s in spreads]),
            np.array([s.high for s in spreads]),
            runs,
        )

    def _known(self, column: str) -> None:
        if not any(column in row for row in self.rows):
            columns = list(dict.fromkeys(name for row in self.rows for name in row))
            raise KeyError(f"{self.experiment}: no column {column!r}; there are {columns}.")

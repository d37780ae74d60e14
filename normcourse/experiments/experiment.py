"""An experiment: one question, one function of a seed, a live slice and a full setting."""

from __future__ import annotations

import importlib
import pkgutil
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from normcourse.experiments.code import code_hash
from normcourse.experiments.result import Environment, Result, Row, Verdict

OnSeed = Callable[[int, int], None]


@dataclass(frozen=True)
class Experiment:
    """One question put to small nets.

    Attributes:
        name: that of its file, and of its record.
        question: what it asks, a sentence.
        run: ``run(seed, **settings)`` returns rows, flat dicts of numbers and words.
        live: settings of the slice that a chapter executes.
        full: settings of the record.
        live_seeds: seeds of the slice, at least three.
        full_seeds: seeds of the record, at least ten.
        decisions: name of a decision rule to the function that makes a verdict of a result.
    """

    name: str
    question: str
    run: Callable[..., Iterable[Row]]
    live: Mapping[str, Any]
    full: Mapping[str, Any]
    live_seeds: int = 3
    full_seeds: int = 10
    decisions: Mapping[str, Callable[[Result], Verdict]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.live_seeds < 3 or self.full_seeds < 10:
            raise ValueError(
                f"{self.name}: expected at least 3 live and 10 full seeds, "
                f"got {self.live_seeds} and {self.full_seeds}."
            )

    def slice(self) -> Result:
        """Run the live slice: seconds, on one core."""
        return self.measure(range(self.live_seeds), self.live, setting="live")

    def measure(
        self,
        seeds: Iterable[int],
        settings: Mapping[str, Any],
        *,
        setting: str = "own",
        on_seed: OnSeed | None = None,
    ) -> Result:
        """Run some seeds one after the other with settings of your own.

        Args:
            seeds: whole numbers; each gives the same rows wherever it is run alone.
            settings: arguments of ``run`` beside the seed.
            setting: what the result calls itself.
            on_seed: called with (seeds done, seeds in all) after each.

        Returns:
            The rows of all seeds.
        """
        wanted = list(seeds)
        rows: list[Row] = []
        seconds: dict[int, float] = {}
        for done, seed in enumerate(wanted, start=1):
            rows_of_seed, seconds[seed] = self.one_seed(seed, settings)
            rows.extend(rows_of_seed)
            if on_seed is not None:
                on_seed(done, len(wanted))
        return self.result(rows, seconds, settings, setting)

    def one_seed(self, seed: int, settings: Mapping[str, Any]) -> tuple[list[Row], float]:
        """Return the rows of one seed, each marked with it, and the seconds it took."""
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # sums in another order would give other digits
        start = time.perf_counter()
        try:
            rows = [{"seed": seed, **row} for row in self.run(seed, **settings)]
        finally:
            torch.set_num_threads(threads)
        return rows, round(time.perf_counter() - start, 3)

    def result(
        self,
        rows: Iterable[Row],
        seconds: Mapping[int, float],
        settings: Mapping[str, Any],
        setting: str,
    ) -> Result:
        """Put rows together with what they were made on."""
        return Result(
            experiment=self.name,
            setting=setting,
            settings=dict(settings),
            rows=tuple(rows),
            seconds=dict(seconds),
            environment=Environment.here(),
            code=code_hash(self.run),
        )


def names() -> list[str]:
    """Return the names of all experiments: the files here that define ``EXPERIMENT``."""
    import normcourse.experiments as package

    found = []
    for module in pkgutil.iter_modules(package.__path__):
        loaded = importlib.import_module(f"normcourse.experiments.{module.name}")
        if isinstance(getattr(loaded, "EXPERIMENT", None), Experiment):
            found.append(module.name)
    return found


def load(name: str) -> Experiment:
    """Return an experiment by its name.

    Raises:
        KeyError: there is none of that name.
    """
    place = f"{__package__}.{name}"
    try:
        experiment = getattr(importlib.import_module(place), "EXPERIMENT", None)
    except ModuleNotFoundError as missing:
        if missing.name != place:
            raise
        experiment = None
    if not isinstance(experiment, Experiment):
        raise KeyError(f"no experiment {name!r}; there are {', '.join(names())}.")
    return experiment

"""Recorded results: one JSON file per experiment, and a journal while it is being made."""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from normcourse.experiments.code import code_hash
from normcourse.experiments.experiment import Experiment, load
from normcourse.experiments.result import Environment, Result, Row

_SCHEMA = 1
_FOLDER = Path(__file__).parent / "results"
_NOT_FINITE = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}
OnSeed = Callable[[int, int], None]


def key(experiment: Experiment) -> str:
    """Return the hash of an experiment's full settings and of the source that it reaches."""
    settings = json.dumps(dict(experiment.full), sort_keys=True)
    text = f"{settings}|{experiment.full_seeds}|{code_hash(experiment.run)}"
    return sha256(text.encode()).hexdigest()[:16]


def has_record(name: str, folder: Path | None = None) -> bool:
    """Return whether a result of this experiment is recorded, fresh or stale."""
    return _file(name, folder).is_file()


def recorded(name: str, folder: Path | None = None, experiment: Experiment | None = None) -> Result:
    """Return the recorded result of an experiment.

    Args:
        name: of the experiment.
        folder: where records lie, by default those of the package.
        experiment: to compare the record with, by default that of the package with this name.

    Returns:
        The result; its ``stale`` says that settings or source have changed since.

    Raises:
        FileNotFoundError: nothing is recorded under this name.
    """
    path = _file(name, folder)
    if not path.is_file():
        raise FileNotFoundError(
            f"no record of {name!r} in {path.parent.name}/; make one by "
            f"`normcourse evidence run {name}`."
        )
    data = json.loads(path.read_text(encoding="utf-8"))
    columns = data["columns"]
    rows = [
        {
            name_: _NOT_FINITE.get(value, value) if isinstance(value, str) else value
            for name_, value in zip(columns, values, strict=True)
            if value is not None
        }
        for values in data["rows"]
    ]
    return Result(
        experiment=data["experiment"],
        setting="full",
        settings=data["settings"],
        rows=tuple(rows),
        seconds={int(seed): value for seed, value in data["seconds"].items()},
        environment=Environment(**data["environment"]),
        code=data["code"],
        stale=data["key"] != key(experiment or load(name)),
    )


def save(result: Result, key_: str, folder: Path | None = None) -> Path:
    """Write a full result; the file is there whole or not at all."""
    columns = list(dict.fromkeys(name for row in result.rows for name in row))
    head = {
        "schema": _SCHEMA,
        "experiment": result.experiment,
        "key": key_,
        "code": result.code,
        "settings": dict(result.settings),
        "environment": asdict(result.environment),
        "seconds": {str(seed): value for seed, value in sorted(result.seconds.items())},
        "columns": columns,
    }
    rows = [_line([_plain(row.get(name)) for name in columns]) for row in result.rows]
    lead = json.dumps(head, indent=1, ensure_ascii=False)[:-2]
    text = lead + ',\n "rows": [\n' + ",\n".join(rows) + "\n ]\n}\n"
    path = _file(result.experiment, folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(text, encoding="utf-8")
    os.replace(new, path)
    return path


def run_full(
    experiment: Experiment,
    *,
    jobs: int = 1,
    folder: Path | None = None,
    on_seed: OnSeed | None = None,
) -> Result:
    """Run the full setting, take up what an interrupted run left, and record the result.

    Args:
        experiment: what to run.
        jobs: processes at a time; the numbers do not depend on it.
        folder: where records lie, by default those of the package.
        on_seed: called with (seeds done, seeds in all) at the start and after each.

    Returns:
        The result, recorded.
    """
    journal = _file(experiment.name, folder).with_suffix(".journal")
    done = _read_journal(journal, key(experiment))
    report = on_seed or (lambda done, total: None)
    report(len(done), experiment.full_seeds)
    journal.parent.mkdir(parents=True, exist_ok=True)
    with journal.open("a", encoding="utf-8") as file:
        if not done:
            file.truncate(0)
            file.write(json.dumps({"key": key(experiment)}) + "\n")
        missing = [seed for seed in range(experiment.full_seeds) if seed not in done]
        for seed, rows, seconds in _run_seeds(experiment, missing, jobs):
            line = {"seed": seed, "seconds": seconds, "rows": [_plain_row(row) for row in rows]}
            file.write(_line(line) + "\n")
            file.flush()
            os.fsync(file.fileno())
            done[seed] = (rows, seconds)
            report(len(done), experiment.full_seeds)
    result = experiment.result(
        [row for seed in sorted(done) for row in done[seed][0]],
        {seed: done[seed][1] for seed in sorted(done)},
        experiment.full,
        "full",
    )
    save(result, key(experiment), folder)
    journal.unlink()
    return recorded(experiment.name, folder, experiment)


def _run_seeds(
    experiment: Experiment, seeds: Iterable[int], jobs: int
) -> Iterator[tuple[int, list[Row], float]]:
    """Yield (seed, rows, seconds) as they are finished."""
    if jobs == 1:
        for seed in seeds:
            rows, seconds = experiment.one_seed(seed, experiment.full)
            yield seed, rows, seconds
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(_one, experiment.name, seed): seed for seed in seeds}
        for future in as_completed(futures):
            rows, seconds = future.result()
            yield futures[future], rows, seconds


def _one(name: str, seed: int) -> tuple[list[Row], float]:
    """Run one seed in a process of its own."""
    experiment = load(name)
    return experiment.one_seed(seed, experiment.full)


def _read_journal(path: Path, key_: str) -> dict[int, tuple[list[Row], float]]:
    """Return the seeds that an interrupted run of the same experiment finished."""
    done: dict[int, tuple[list[Row], float]] = {}
    if not path.is_file():
        return done
    head, *lines = path.read_text(encoding="utf-8").splitlines() or [""]
    with contextlib.suppress(json.JSONDecodeError):  # the last line may be half written
        if json.loads(head) != {"key": key_}:
            return {}
        for line in lines:
            entry = json.loads(line)
            rows = [
                {n: _NOT_FINITE.get(v, v) if isinstance(v, str) else v for n, v in row.items()}
                for row in entry["rows"]
            ]
            done[entry["seed"]] = (rows, entry["seconds"])
    return done


def _file(name: str, folder: Path | None) -> Path:
    return (folder or _FOLDER) / f"{name}.json"


def _plain_row(row: Row) -> dict[str, Any]:
    return {name: _plain(value) for name, value in row.items()}


def _plain(value: Any) -> Any:
    """Return a value as JSON can hold it: six digits, and words for what is no number."""
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else str(value)
    return value


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)

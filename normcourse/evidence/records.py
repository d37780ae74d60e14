"""Recorded results: one JSON file per experiment, and a journal while it is being made."""

from __future__ import annotations

import json
import math
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import closing
from dataclasses import asdict, replace
from hashlib import sha256
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any, TextIO

from normcourse.experiments.code import code_hash
from normcourse.experiments.experiment import Experiment, load
from normcourse.experiments.result import Environment, Result, Row

_SCHEMA = 1
_FOLDER = Path(__file__).parent / "results"
_NOT_FINITE = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}
OnSeed = Callable[[int, int], None]
Done = dict[int, tuple[list[Row], float]]


class Busy(RuntimeError):
    """The experiment is being recorded by another process."""


def key(experiment: Experiment) -> str:
    """Return the hash of an experiment's full settings and of the source that it reaches."""
    return _key(experiment, code_hash(experiment.run))


def _key(experiment: Experiment, code: str) -> str:
    settings = json.dumps(dict(experiment.full), sort_keys=True)
    text = f"{settings}|{experiment.full_seeds}|{code}"
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
        ValueError: the file has another format than this version writes.
    """
    path = _file(name, folder)
    if not path.is_file():
        raise FileNotFoundError(
            f"no record of {name!r} in {path.parent.name}/; make one by "
            f"`normcourse evidence run {name}`."
        )
    data = json.loads(path.read_text(encoding="utf-8"))
    if data.get("schema") != _SCHEMA:
        raise ValueError(
            f"{path.name}: expected schema {_SCHEMA}, got {data.get('schema')!r}; make the record "
            f"anew by `normcourse evidence run {name} --force`."
        )
    return Result(
        experiment=data["experiment"],
        setting="full",
        settings=data["settings"],
        rows=tuple(_row(zip(data["columns"], row, strict=True)) for row in data["rows"]),
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
    rows = [_line([_plain(name, row.get(name)) for name in columns]) for row in result.rows]
    lead = json.dumps(head, indent=1, ensure_ascii=False)[:-2]
    text = lead + ',\n "rows": [\n' + ",\n".join(rows) + "\n ]\n}\n"
    path = _file(result.experiment, folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    _write_whole(path, text)
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

    Raises:
        Busy: another process is recording the same experiment here.
    """
    code = code_hash(experiment.run)  # now: the file may be edited while this runs
    key_ = _key(experiment, code)
    journal = _file(experiment.name, folder).with_suffix(".journal")
    journal.parent.mkdir(parents=True, exist_ok=True)
    report = on_seed or (lambda done, total: None)
    with journal.open("a+", encoding="utf-8") as file:
        _lock(file, experiment.name)
        done = _take_up(file, {"key": key_, **_versions()})
        report(len(done), experiment.full_seeds)
        missing = [seed for seed in range(experiment.full_seeds) if seed not in done]
        with closing(_run_seeds(experiment, missing, jobs)) as finished:
            for seed, rows, seconds in finished:
                _append(file, _entry(seed, rows, seconds))
                done[seed] = (rows, seconds)
                report(len(done), experiment.full_seeds)
        result = experiment.result(
            [row for seed in sorted(done) for row in done[seed][0]],
            {seed: done[seed][1] for seed in sorted(done)},
            experiment.full,
            "full",
        )
        save(replace(result, code=code), key_, folder)
    journal.unlink(missing_ok=True)
    return recorded(experiment.name, folder, experiment)


def _run_seeds(
    experiment: Experiment, seeds: Iterable[int], jobs: int
) -> Generator[tuple[int, list[Row], float], None, None]:
    """Yield (seed, rows, seconds) as they are finished."""
    if jobs == 1:
        for seed in seeds:
            rows, seconds = experiment.one_seed(seed, experiment.full)
            yield seed, rows, seconds
        return
    one_seed = replace(experiment, decisions={}).one_seed  # rules need not travel
    pool = ProcessPoolExecutor(jobs, get_context("spawn"), initializer=_obey_parent)
    try:
        futures = {pool.submit(one_seed, seed, experiment.full): seed for seed in seeds}
        for future in as_completed(futures):
            rows, seconds = future.result()
            yield futures[future], rows, seconds
    finally:
        pool.shutdown(cancel_futures=True)


def _obey_parent() -> None:
    """End with the process that started this one, and without a word when interrupted."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    parent = parent_process()

    def wait() -> None:
        if parent is not None:
            parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _versions() -> dict[str, str]:
    """Return what numbers may depend on beside settings and source."""
    here = Environment.here()
    return {"numpy": here.numpy, "torch": here.torch, "machine": here.machine}


def _take_up(file: TextIO, head: dict[str, str]) -> Done:
    """Return the finished seeds that a journal holds; leave in it those alone, ready for more.

    A journal of other settings, source or versions begins anew; a half-written line is cut off.
    """
    file.seek(0)
    done: Done = {}
    whole = ""
    for line in file.readlines():
        entry = _json(line)
        if entry is None or (not whole and entry != head):
            break
        if whole:
            done[entry["seed"]] = ([_row(row.items()) for row in entry["rows"]], entry["seconds"])
        whole += line
    file.truncate(len(whole.encode()))
    if not whole:
        _append(file, _line(head))
    return done


def _json(line: str) -> Any:
    """Return what a line of a journal holds; None for half a line."""
    try:
        return json.loads(line) if line.endswith("\n") else None
    except json.JSONDecodeError:
        return None


def _entry(seed: int, rows: list[Row], seconds: float) -> str:
    plain = [{name: _plain(name, value) for name, value in row.items()} for row in rows]
    return _line({"seed": seed, "seconds": seconds, "rows": plain})


def _append(file: TextIO, line: str) -> None:
    """Write a line and wait until it is on disk."""
    file.write(line + "\n")
    file.flush()
    os.fsync(file.fileno())


def _lock(file: TextIO, name: str) -> None:
    """Hold a journal while it is written, where the system can."""
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:
        return
    except OSError:
        raise Busy(f"{name}: another process is recording it; wait for it.") from None


def _write_whole(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    new.write_text(text, encoding="utf-8")
    os.replace(new, path)


def _file(name: str, folder: Path | None) -> Path:
    return (folder or _FOLDER) / f"{name}.json"


def _row(pairs: Iterable[tuple[str, Any]]) -> Row:
    """Return a row as it was before it was written; a column that it lacks stays away."""
    return {
        name: _NOT_FINITE.get(value, value) if isinstance(value, str) else value
        for name, value in pairs
        if value is not None
    }


def as_recorded(row: Row) -> Row:
    """Return a row as it comes back from a record: six digits, without what is missing."""
    return _row((name, _plain(name, value)) for name, value in row.items())


def _plain(name: str, value: Any) -> Any:
    """Return a value as JSON can hold it: six digits, and words for what is no number."""
    if hasattr(value, "dtype") and getattr(value, "ndim", 1) == 0:
        value = value.item()
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else str(value)
    if value is None or isinstance(value, int | str):
        return value
    raise TypeError(f"column {name!r}: expected a number or a word, got {value!r:.60}.")


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)

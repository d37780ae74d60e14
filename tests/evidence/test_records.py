"""Records hold every number of every seed, survive an interruption, and say when they are stale."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from recorded_specimens import MEASURED, measured, slow_experiment

from normcourse.evidence import has_record, recorded, records, run_full
from normcourse.experiments import Row

SEEDS = MEASURED.full_seeds


def journal_of(folder: Path, name: str = "measured") -> Path:
    return folder / f"{name}.journal"


class Stop(Exception):
    """What ends a run from outside."""


def interrupt(folder: Path, after: int) -> None:
    """Run until some seeds are done, and no further."""

    def stop(done: int, total: int) -> None:
        if done == after:
            raise Stop

    with pytest.raises(Stop):
        run_full(MEASURED, folder=folder, on_seed=stop)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the list of seeds that are run from now on."""
    seeds: list[int] = []
    one_seed = type(MEASURED).one_seed

    def counting(self: object, seed: int, settings: object) -> object:
        seeds.append(seed)
        return one_seed(MEASURED, seed, settings)  # type: ignore[arg-type]

    monkeypatch.setattr(type(MEASURED), "one_seed", counting)
    return seeds


class TestRoundTrip:
    def test_rows_come_back_with_infinities_words_and_gaps(self, tmp_path: Path) -> None:
        made = run_full(MEASURED, folder=tmp_path)
        assert made == recorded("measured", tmp_path, MEASURED)
        assert made.setting == "full"
        assert made.settings == {"scale": 2.0}
        assert made.seeds == tuple(range(SEEDS))
        assert set(made.seconds) == set(range(SEEDS))
        first, second = made.where(seed=3).rows
        expected = float(f"{2 * np.random.default_rng(3).random():.6g}")
        assert first == {
            "seed": 3,
            "norm": "batch",
            "loss": expected,
            "steps": 3,
            "diverged": False,
        }
        assert second == {"seed": 3, "norm": "none", "loss": math.inf, "diverged": True}
        assert made.where(seed=2, norm="none").values("loss") == [-math.inf]

    def test_numbers_of_numpy_and_nan(self, tmp_path: Path) -> None:
        def run(seed: int) -> list[Row]:
            values = {"f": np.float32(1 / 3), "i": np.int64(7), "b": np.bool_(True)}
            return [{**values, "n": math.nan}]  # type: ignore[dict-item]

        row = run_full(replace(MEASURED, run=run, full={}), folder=tmp_path).rows[0]
        assert row == {
            "seed": 0,
            "f": 0.333333,
            "i": 7,
            "b": True,
            "n": pytest.approx(math.nan, nan_ok=True),
        }

    def test_what_is_no_number_is_refused_with_its_column(self, tmp_path: Path) -> None:
        def run(seed: int) -> list[Row]:
            return [{"losses": [1.0, 2.0]}]  # type: ignore[dict-item]

        with pytest.raises(TypeError, match="column 'losses': expected a number or a word, got"):
            run_full(replace(MEASURED, run=run, full={}), folder=tmp_path)
        assert not has_record("measured", tmp_path)

    def test_a_record_is_one_readable_file_and_no_other_is_left(self, tmp_path: Path) -> None:
        assert not has_record("measured", tmp_path)
        run_full(MEASURED, folder=tmp_path)
        assert has_record("measured", tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["measured.json"]
        data = json.loads((tmp_path / "measured.json").read_text())
        assert data["columns"] == ["seed", "norm", "loss", "steps", "diverged"]
        assert {"python", "torch", "machine", "date"} <= set(data["environment"])

    def test_no_record_and_another_format(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match=r"no record of 'measured' in .*evidence run"):
            recorded("measured", tmp_path, MEASURED)
        run_full(MEASURED, folder=tmp_path)
        path = tmp_path / "measured.json"
        path.write_text(path.read_text().replace('"schema": 1', '"schema": 99'))
        with pytest.raises(ValueError, match="expected schema 1, got 99; make the record anew"):
            recorded("measured", tmp_path, MEASURED)


class TestStale:
    def test_fresh_until_settings_seeds_or_source_change(self, tmp_path: Path) -> None:
        assert not run_full(MEASURED, folder=tmp_path).stale

        def other(seed: int, *, scale: float) -> Iterator[Row]:
            return measured(seed, scale=scale)

        other.__module__ = "normcourse.made_up"
        for changed in (
            replace(MEASURED, full={"scale": 3.0}),
            replace(MEASURED, full_seeds=SEEDS + 1),
            replace(MEASURED, run=other),
        ):
            assert recorded("measured", tmp_path, changed).stale
        for same in (replace(MEASURED, live={"scale": 9.0}), replace(MEASURED, question="!")):
            assert not recorded("measured", tmp_path, same).stale

    def test_source_edited_while_it_runs_makes_the_record_stale(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hashes = iter(["before", *["after"] * 50])
        monkeypatch.setattr(records, "code_hash", lambda function: next(hashes))
        made = run_full(MEASURED, folder=tmp_path)
        assert made.code == "before"
        assert made.stale


class TestInterrupted:
    def test_goes_on_where_it_stopped(self, tmp_path: Path, counted: list[int]) -> None:
        whole = run_full(MEASURED, folder=tmp_path / "whole")
        counted.clear()
        interrupt(tmp_path, after=4)
        assert not has_record("measured", tmp_path)
        told: list[tuple[int, int]] = []
        made = run_full(MEASURED, folder=tmp_path, on_seed=lambda *now: told.append(now))
        assert counted == list(range(SEEDS))
        assert made.rows == whole.rows
        assert told[0] == (4, SEEDS)
        assert told[-1] == (SEEDS, SEEDS)

    @pytest.mark.parametrize("kept", [3, 25])
    def test_half_a_line_costs_its_seed_alone(
        self, tmp_path: Path, counted: list[int], kept: int
    ) -> None:
        """What is written after the half must not be lost either: it is interrupted twice."""
        interrupt(tmp_path, after=3)
        path = journal_of(tmp_path)
        *lines, last = path.read_text().splitlines()
        path.write_text("\n".join([*lines, last[:kept]]))
        counted.clear()
        interrupt(tmp_path, after=6)
        assert counted == [2, 3, 4, 5]
        made = run_full(MEASURED, folder=tmp_path)
        assert counted == list(range(2, SEEDS))
        assert made.rows == run_full(MEASURED, folder=tmp_path / "whole").rows

    def test_a_journal_cut_within_its_head_begins_anew(
        self, tmp_path: Path, counted: list[int]
    ) -> None:
        journal_of(tmp_path).write_text('{"key":"12')
        assert run_full(MEASURED, folder=tmp_path).seeds == tuple(range(SEEDS))
        assert counted == list(range(SEEDS))

    def test_other_settings_begin_anew(self, tmp_path: Path, counted: list[int]) -> None:
        interrupt(tmp_path, after=4)
        changed = replace(MEASURED, full={"scale": 3.0})
        counted.clear()
        run_full(changed, folder=tmp_path)
        assert counted == list(range(SEEDS))
        assert not recorded("measured", tmp_path, changed).stale

    def test_another_torch_begins_anew(
        self, tmp_path: Path, counted: list[int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        interrupt(tmp_path, after=4)
        monkeypatch.setattr("torch.__version__", "0.0")
        counted.clear()
        run_full(MEASURED, folder=tmp_path)
        assert counted == list(range(SEEDS))

    def test_an_old_record_stays_until_the_new_one_is_whole(self, tmp_path: Path) -> None:
        run_full(MEASURED, folder=tmp_path)
        before = (tmp_path / "measured.json").read_bytes()
        interrupt(tmp_path, after=9)
        assert (tmp_path / "measured.json").read_bytes() == before


class TestProcesses:
    def test_two_jobs_give_the_same_numbers_as_one(self, tmp_path: Path) -> None:
        one = run_full(MEASURED, folder=tmp_path / "one")
        two = run_full(MEASURED, folder=tmp_path / "two", jobs=2)
        assert one.rows == two.rows

    @pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
    def test_killed_it_loses_the_seed_it_was_at(self, tmp_path: Path) -> None:
        """SIGKILL in the fifth seed: four are kept, and the run after it makes the other six."""
        (tmp_path / "wait").touch()
        context = multiprocessing.get_context("spawn")
        run = context.Process(target=record_slowly, args=(tmp_path,))
        run.start()
        wait_for(lambda: len(begun(tmp_path)) == 5)
        os.kill(run.pid or 0, signal.SIGKILL)
        run.join()
        (tmp_path / "wait").unlink()
        made = run_full(slow_experiment(tmp_path), folder=tmp_path)
        assert begun(tmp_path) == [0, 1, 2, 3, 4, 4, 5, 6, 7, 8, 9]
        assert made.values("value") == [seed**2 for seed in range(10)]

    @pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
    def test_killed_with_two_jobs_it_leaves_no_process_behind(self, tmp_path: Path) -> None:
        (tmp_path / "wait").touch()
        run = multiprocessing.get_context("spawn").Process(target=record_slowly, args=(tmp_path, 2))
        run.start()
        wait_for(lambda: len(begun(tmp_path)) == 6)
        workers = {int(line.split()[1]) for line in (tmp_path / "begun").read_text().splitlines()}
        os.kill(run.pid or 0, signal.SIGKILL)
        run.join()
        wait_for(lambda: not any(map(alive, workers)))
        (tmp_path / "wait").unlink()
        made = run_full(slow_experiment(tmp_path), folder=tmp_path)
        assert made.values("value") == [seed**2 for seed in range(10)]
        assert len(begun(tmp_path)) == 6 + 6

    def test_two_at_a_time_are_refused(self, tmp_path: Path) -> None:
        pytest.importorskip("fcntl")

        def again(done: int, total: int) -> None:
            if done == 2:
                with pytest.raises(records.Busy, match="another process is recording it"):
                    run_full(MEASURED, folder=tmp_path)

        assert run_full(MEASURED, folder=tmp_path, on_seed=again).seeds == tuple(range(SEEDS))


def record_slowly(folder: Path, jobs: int = 1) -> None:
    run_full(slow_experiment(folder), folder=folder, jobs=jobs)


def begun(folder: Path) -> list[int]:
    """Return the seeds begun so far, in order of their number."""
    path = folder / "begun"
    lines = path.read_text().splitlines() if path.exists() else []
    return sorted(int(line.split()[0]) for line in lines)


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state.rpartition(")")[2].split()[0] != "Z"  # a zombie has ended

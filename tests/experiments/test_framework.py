"""Results are tidy, their spread is honest, and a change of the source behind them is noticed."""

from __future__ import annotations

import importlib.util
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from normcourse import experiments, kernels
from normcourse.experiments import Experiment, Result, Row, Verdict, load, names, spread
from normcourse.experiments.code import code_hash
from normcourse.experiments.result import Environment

INF = math.inf


def result(*rows: Row) -> Result:
    """Return a result that holds these rows."""
    return Result("made_up", "own", {}, rows, {}, Environment.here(), "")


class TestSpread:
    def test_median_and_quartiles(self) -> None:
        assert spread([5.0, 1.0, 3.0, 2.0, 4.0]) == (3.0, 2.0, 4.0, 5)
        assert spread([1.0, 2.0]) == (1.5, 1.25, 1.75, 2)
        assert spread([7.0]) == (7.0, 7.0, 7.0, 1)

    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            ([1.0, 2.0, 3.0, INF], (2.0, 1.0, 3.0)),
            ([1.0, INF, INF, INF], (INF, 1.0, INF)),
            ([INF, INF], (INF, INF, INF)),
            ([-INF, 0.0, INF], (0.0, -INF, INF)),
        ],
    )
    def test_diverged_runs_are_infinite_and_give_no_nan(
        self, values: list[float], expected: tuple[float, float, float]
    ) -> None:
        assert spread(values)[:3] == expected

    @pytest.mark.parametrize("values", [[], [1.0, math.nan]])
    def test_nothing_to_tell(self, values: list[float]) -> None:
        with pytest.raises(ValueError, match="expected one number or more and no NaN"):
            spread(values)

    def test_reads_as_text(self) -> None:
        assert str(spread([1.0, 2.0, INF])) == "2 (1 to inf, 3 seeds)"


class TestResult:
    rows = result(
        {"seed": 1, "norm": "batch", "step": 0, "loss": 4.0},
        {"seed": 1, "norm": "batch", "step": 10, "loss": 2.0},
        {"seed": 1, "norm": "none", "step": 0, "loss": 8.0},
        {"seed": 0, "norm": "batch", "step": 0, "loss": 1.0},
        {"seed": 0, "norm": "batch", "step": 10, "loss": 0.5},
        {"seed": 0, "norm": "none", "widest": 3},
    )

    def test_where_and_keep_choose_rows(self) -> None:
        assert self.rows.where(norm="batch", step=10).values("loss") == [2.0, 0.5]
        assert self.rows.keep(lambda row: row.get("loss", 0) > 3).values("loss") == [4.0, 8.0]
        assert self.rows.where(widest=3).rows == (self.rows.rows[-1],)
        assert self.rows.where(norm="none").experiment == "made_up"

    def test_what_is_not_there_is_said(self) -> None:
        with pytest.raises(KeyError, match=r"no column 'nrom'; there are .*'norm'"):
            self.rows.where(nrom="batch")
        with pytest.raises(ValueError, match="no row is left of 6"):
            self.rows.where(norm="layer")
        with pytest.raises(ValueError, match="no row is left of 6"):
            self.rows.keep(lambda row: False)
        for ask in (self.rows.values, self.rows.distinct, self.rows.spread):
            with pytest.raises(KeyError, match="no column 'accuracy'"):
                ask("accuracy")

    def test_distinct_values_in_order_and_seeds(self) -> None:
        assert self.rows.distinct("norm") == ["batch", "none"]
        assert self.rows.distinct("widest") == [3]
        assert self.rows.seeds == (0, 1)

    def test_spread_is_over_seeds_not_rows(self) -> None:
        # means of the seeds: (4 + 2 + 8) / 3 and (1 + 0.5) / 2
        assert self.rows.spread("loss") == spread([14 / 3, 0.75])
        assert self.rows.spread("loss", norm="batch") == spread([3.0, 0.75])
        assert self.rows.spread("widest") == (3.0, 3.0, 3.0, 1)

    def test_curve_in_order_of_x_with_every_run(self) -> None:
        curve = self.rows.curve("step", "loss", norm="batch")
        np.testing.assert_array_equal(curve.x, [0, 10])
        np.testing.assert_array_equal(curve.median, [2.5, 1.25])
        np.testing.assert_array_equal(curve.runs[1], [4, 2])
        np.testing.assert_array_equal(curve.runs[0], [1, 0.5])

    def test_curve_says_where_a_seed_has_nothing(self) -> None:
        curve = result(
            {"seed": 0, "x": 1, "y": 5.0},
            {"seed": 0, "x": 2, "y": 6.0},
            {"seed": 1, "x": 2, "y": 8.0},
        ).curve("x", "y")
        np.testing.assert_array_equal(curve.runs[1], [np.nan, 8])
        np.testing.assert_array_equal(curve.median, [5, 7])

    def test_curve_needs_one_row_per_seed_and_place(self) -> None:
        with pytest.raises(ValueError, match="seed 1 has two rows at step = 0; choose between"):
            self.rows.curve("step", "loss")
        with pytest.raises(KeyError, match="no column 'epoch'"):
            self.rows.curve("epoch", "loss")


def drawn(seed: int, *, count: int) -> Iterator[Row]:
    generator = torch.Generator().manual_seed(seed)
    for k in range(count):
        yield {"k": k, "value": torch.randn(1, generator=generator).item()}


def any_verdict(result: Result) -> Verdict:
    return Verdict("mixed", ())


DRAWN = Experiment(
    "drawn", "?", drawn, live={"count": 2}, full={"count": 3}, decisions={"any": any_verdict}
)


class TestExperiment:
    def test_slice_has_its_seeds_settings_and_seconds(self) -> None:
        seen = DRAWN.slice()
        assert (seen.setting, seen.settings, seen.seeds) == ("live", {"count": 2}, (0, 1, 2))
        assert [row["k"] for row in seen.rows] == [0, 1] * 3
        assert set(seen.seconds) == {0, 1, 2}
        assert seen.code == code_hash(drawn)
        assert not seen.stale

    def test_a_seed_gives_the_same_rows_alone_and_among_others(self) -> None:
        together = DRAWN.measure([0, 1, 2], {"count": 2})
        alone = DRAWN.measure([2], {"count": 2})
        assert alone.rows == together.where(seed=2).rows
        assert together.rows == DRAWN.measure([0, 1, 2], {"count": 2}).rows
        assert together.where(seed=0).rows != together.where(seed=1).rows

    def test_progress_is_told_after_each_seed(self) -> None:
        told: list[tuple[int, int]] = []
        DRAWN.measure([4, 9], {"count": 1}, on_seed=lambda *now: told.append(now))
        assert told == [(1, 2), (2, 2)]

    def test_one_thread_while_it_runs_and_as_before_afterwards(self) -> None:
        def threads(seed: int) -> list[Row]:
            if seed == 1:
                raise RuntimeError("gave up")
            return [{"threads": torch.get_num_threads()}]

        experiment = Experiment("threads", "?", threads, {}, {})
        before = torch.get_num_threads()
        torch.set_num_threads(2)
        try:
            assert experiment.measure([0], {}).values("threads") == [1]
            with pytest.raises(RuntimeError, match="gave up"):
                experiment.measure([1], {})
            assert torch.get_num_threads() == 2
        finally:
            torch.set_num_threads(before)

    @pytest.mark.parametrize("seeds", [{"live_seeds": 2}, {"full_seeds": 9}])
    def test_too_few_seeds_are_refused(self, seeds: dict[str, int]) -> None:
        with pytest.raises(ValueError, match="at least 3 live and 10 full seeds"):
            Experiment("few", "?", drawn, {}, {}, **seeds)

    def test_every_file_with_an_experiment_is_found_by_its_name(self) -> None:
        assert "depth" in names()
        assert [load(name).name for name in names()] == names()
        with pytest.raises(KeyError, match=r"no experiment 'dpeth'; there are .*depth"):
            load("dpeth")


SOURCE = '''
"""A file of the project."""
from dataclasses import dataclass

WIDTH = 4


def helper(x):
    return x * WIDTH


TABLE = {"a": lambda x: x + 1, "b": lambda x: x + 2}


class Net:
    """A net."""

    depth = 3

    def forward(self, x):
        """Run."""
        return helper(x) + self.depth


@dataclass
class Point:
    x: int = 0


def run(seed, *, slope=2):
    """Yield a row."""
    from normcourse.hashed_other import late

    yield {"y": Net().forward(seed), "p": Point(), "t": TABLE, "l": late(seed)}
'''
OTHER = "def late(x):\n    return x - 1\n"
Hashed = Callable[..., str]


@pytest.fixture
def hashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hashed:
    """Return a function: the hash of ``run`` after some replacements in its file or the other."""
    count = iter(range(100))

    def module(name: str, source: str) -> ModuleType:
        path = tmp_path / f"{name}_{next(count)}.py"
        path.write_text(source)
        spec = importlib.util.spec_from_file_location(f"normcourse.{name}", path)
        assert spec is not None
        assert spec.loader is not None
        made = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, f"normcourse.{name}", made)
        spec.loader.exec_module(made)
        return made

    def hash_after(old: str = "", new: str = "", *, other: str = OTHER) -> str:
        assert old in SOURCE
        module("hashed_other", other)
        return code_hash(module("hashed", SOURCE.replace(old, new)).run)

    return hash_after


class TestCodeHash:
    @pytest.mark.parametrize(
        ("old", "new"),
        [
            pytest.param("WIDTH = 4", "WIDTH = 5", id="constant of a callee"),
            pytest.param("x * WIDTH", "x / WIDTH", id="callee of a method"),
            pytest.param("helper(x) + ", "helper(x) - ", id="method of a class"),
            pytest.param("depth = 3", "depth = 4", id="attribute of a class"),
            pytest.param("x: int = 0", "x: int = 1", id="field of a dataclass"),
            pytest.param("lambda x: x + 1", "lambda x: x + 9", id="first lambda of a table"),
            pytest.param("lambda x: x + 2", "lambda x: x + 9", id="second lambda of a table"),
            pytest.param("slope=2", "slope=3", id="default of an argument"),
            pytest.param('"y": Net', '"z": Net', id="the function itself"),
        ],
    )
    def test_changes_with(self, hashed: Hashed, old: str, new: str) -> None:
        assert hashed(old, new) != hashed()

    def test_changes_with_what_is_imported_within(self, hashed: Hashed) -> None:
        assert hashed(other=OTHER.replace("- 1", "- 2")) != hashed()

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            pytest.param('"""Run."""', '"""Run it."""', id="docstring of a method"),
            pytest.param('"""A net."""\n', "", id="docstring of a class"),
            pytest.param(
                "return x * WIDTH", "return (  # why\n        x * WIDTH\n    )", id="comment"
            ),
            pytest.param("WIDTH = 4", "\n\nOTHER = 7\nWIDTH = 4", id="what is not named"),
        ],
    )
    def test_does_not_change_with(self, hashed: Hashed, old: str, new: str) -> None:
        assert hashed(old, new) == hashed()

    def test_the_fused_kernels_stand_apart(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """An experiment's numbers come from torch, so a faster kernel leaves its record fresh."""
        base = code_hash(load("depth").run)

        def batch_norm(x: torch.Tensor, *rest: object, **options: object) -> torch.Tensor:
            return x

        batch_norm.__qualname__ = kernels.batch_norm.__qualname__
        batch_norm.__module__ = kernels.batch_norm.__module__
        monkeypatch.setattr(kernels, "batch_norm", batch_norm)
        assert code_hash(load("depth").run) == base

    def test_no_experiment_takes_the_fused_kernels(self) -> None:
        folder = Path(experiments.__file__).parent
        paths = [path for path in folder.rglob("*.py") if path.name != "code.py"]  # which says so
        words = {word for path in paths for word in re.findall(r"\w+", path.read_text())}
        assert {"BatchNorm", "train"} <= words
        assert not {"fused", "backend", "kernels"} & words

    def test_is_the_same_in_another_process(self, tmp_path: Path) -> None:
        code = "from normcourse.experiments import code, depth; print(code.code_hash(depth.run))"
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
            cwd=tmp_path,
            env={**os.environ, "PYTHONHASHSEED": "12345"},
        )
        assert done.stdout.strip() == code_hash(load("depth").run)

    def test_constants_of_tables_and_partial_functions(self, hashed: Hashed) -> None:
        table = '{"a": lambda x: x + 1, "b": lambda x: x + 2}'
        base = hashed(table, "[__import__('functools').partial(helper, 1), {1, 2}]")
        assert base == hashed(table, "[__import__('functools').partial(helper, 1), {2, 1}]")
        assert base != hashed(table, "[__import__('functools').partial(helper, 9), {1, 2}]")
        assert base != hashed(table, "[__import__('functools').partial(helper, 1), {1, 9}]")

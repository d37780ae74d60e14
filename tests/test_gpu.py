"""GPU cells without CUDA, with a CUDA that is only played, and what is kept of them."""

from __future__ import annotations

import io
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from normcourse import gpu
from normcourse.terminal.screen import Screen

CELL = "import math\nn = 2\n[{'work': 'copy', 'ms': math.sqrt(n)}, {'work': 'norm', 'ms': 3}]"


class Shell:
    """What the extension asks of IPython."""

    def __init__(self) -> None:
        self.user_ns: dict[str, Any] = {}
        self.magics: dict[str, Callable[[str, str], Any]] = {}

    def register_magic_function(
        self, function: Callable[[str, str], Any], *, magic_kind: str, magic_name: str
    ) -> None:
        assert magic_kind == "cell"
        self.magics[magic_name] = function


class FakeEvent:
    """A CUDA event whose clock counts the events."""

    clock = 0

    def __init__(self, enable_timing: bool) -> None:
        assert enable_timing

    def record(self) -> None:
        FakeEvent.clock += 1
        self.at = FakeEvent.clock

    def elapsed_time(self, end: FakeEvent) -> float:
        return 4.0 * (end.at - self.at)


@pytest.fixture(autouse=True)
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Results are kept in a folder of the test."""
    monkeypatch.setattr(gpu, "RESULTS", tmp_path / "gpu_results")
    return tmp_path / "gpu_results"


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that exists in name."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Played GPU")
    monkeypatch.setattr(torch.cuda, "Event", FakeEvent)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(torch.version, "cuda", "12.9")
    answer = subprocess.CompletedProcess([], 0, stdout="575.1\n575.1\n", stderr="")
    monkeypatch.setattr(subprocess, "run", lambda *args, **options: answer)


def magic(line: str, cell: str = CELL, shell: Shell | None = None) -> Any:
    shell = shell or Shell()
    gpu.load_ipython_extension(shell)
    return shell.magics["gpu"](line, cell)


@pytest.mark.usefixtures("without")
class TestWithoutCuda:
    def test_one_line_where_nothing_is_recorded(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert magic("norms", "raise RuntimeError('was run')\n1") is None
        shown = capsys.readouterr().out.strip()
        assert "\n" not in shown
        assert "no result is recorded yet" in shown
        assert "normcourse bench gpu" in shown

    def test_record_changes_nothing(self, results: Path) -> None:
        assert magic("norms --record") is None
        assert not results.exists()

    def test_times_and_measurements_are_refused(self) -> None:
        assert gpu.device() is None
        for work in (lambda: gpu.seconds(lambda: None), lambda: gpu.measure("norms", CELL, {})):
            with pytest.raises(gpu.NoGpu, match="no CUDA device here"):
                work()

    def test_the_command_says_so(self) -> None:
        out = io.StringIO()
        assert gpu.bench(Screen(out), []) == 1
        assert "No CUDA here" in out.getvalue()


@pytest.mark.usefixtures("cuda")
class TestWithCuda:
    def test_the_cell_runs_among_the_names_of_the_notebook(self, results: Path) -> None:
        shell = Shell()
        shell.user_ns["factor"] = 5
        found = magic("norms", "y = 2 * factor\n[{'y': y}]", shell)
        assert found.rows == [{"y": 10}]
        assert shell.user_ns["y"] == 10
        assert found.device == ("Played GPU", "575.1", "12.9", torch.__version__, found.device[4])
        assert not results.exists()

    def test_a_table_of_text(self) -> None:
        assert repr(magic("norms")) == "work    ms\ncopy  1.41\nnorm     3"

    def test_what_is_recorded_is_shown_as_recorded_elsewhere(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        kept = magic("norms --record")
        assert gpu.recorded("norms") == kept
        capsys.readouterr()
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        assert magic("norms", "# a comment\n" + CELL) is None
        first, *table = capsys.readouterr().out.rstrip().split("\n")
        assert first.startswith("No CUDA here: not run. Recorded on Played GPU, driver 575.1, ")
        assert kept.date in first
        assert "\n".join(table) == repr(kept)
        magic("norms", CELL.replace("n = 2", "n = 4"))
        assert capsys.readouterr().out.rstrip().endswith("The cell has changed since.")

    def test_the_driver_may_be_unknown(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def missing(*args: Any, **options: Any) -> None:
            raise FileNotFoundError("nvidia-smi")

        monkeypatch.setattr(subprocess, "run", missing)
        found = gpu.device()
        assert found is not None
        assert found.driver == "unknown"

    def test_seconds_are_those_of_the_device(self) -> None:
        calls: list[int] = []
        assert gpu.seconds(lambda: calls.append(1), rounds=2) == pytest.approx(4e-3)
        assert len(calls) == 5

    def test_the_command_records_every_cell(self, tmp_path: Path, results: Path) -> None:
        cells = [
            {"cell_type": "markdown", "source": ["%%gpu text\n", "[]"]},
            {"cell_type": "code", "source": ["x = 1"]},
            {"cell_type": "code", "source": f"%%gpu norms\n{CELL}".splitlines(keepends=True)},
        ]
        book = tmp_path / "16.ipynb"
        book.write_text(json.dumps({"cells": cells}), encoding="utf-8")
        out = io.StringIO()
        assert gpu.bench(Screen(out), [book]) == 0
        assert [path.name for path in results.iterdir()] == ["norms.json"]
        record = json.loads((results / "norms.json").read_text(encoding="utf-8"))
        assert set(record) == {"schema", "name", "rows", "device", "date", "source"}
        assert set(record["device"]) == {"name", "driver", "cuda", "torch", "python"}
        assert "copy  1.41" in out.getvalue()


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("x = 1", "End the cell with `rows`"),
        ("", "End the cell with `rows`"),
        ("3", "got int. Make one dict per row"),
        ("[]", "Make one dict per row"),
        ("[{'a': [1]}]", "Make one dict per row"),
    ],
)
def test_a_cell_ends_with_its_result(cell: str, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        gpu.run_cell(cell, {})


@pytest.mark.parametrize("line", ["", "norms --keep"])
def test_the_line_names_the_cell(line: str) -> None:
    with pytest.raises(ValueError, match="expected `%%gpu NAME`"):
        magic(line)


def test_the_magic_in_a_shell_of_ipython(without: None, capsys: pytest.CaptureFixture[str]) -> None:
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell()
    shell.run_line_magic("load_ext", "normcourse.gpu")
    assert shell.run_cell_magic("gpu", "norms", CELL) is None
    assert "no result is recorded yet" in capsys.readouterr().out


def test_gpu_cells_of_the_book_stand_on_their_own() -> None:
    """Each can be run alone by the command, so it imports what it names; no two have one name."""
    names = []
    for name, source in gpu.cells(sorted((Path(__file__).parents[1] / "book").glob("*.ipynb"))):
        names.append(name)
        compile(source, name, "exec")
        assert "import torch" in source
    assert len(set(names)) == len(names)

"""The page of measured speeds says what the records say, and nothing where there are none."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from normcourse.kernels import bench, page
from normcourse.kernels.cases import CASES
from normcourse.kernels.gpu_cases import GPU_CASES
from normcourse.workshop import roofline

SECONDS = {"copy": 2.0, "torch": 5.0, "compiled": 4.0, "fused": 2.5}
MACHINE = {
    "device": "a device of these tests",
    "memory": "1 GiB",
    "driver": "1.2",
    "cuda": "3.4",
    "torch": "5.6",
    "triton": "7.8",
    "python": "9.0",
    "date": "2001-02-03",
    "command": "normcourse bench norms --device cuda",
}


def row(case: str) -> dict[str, Any]:
    """Seconds as a benchmark would write them."""
    times = {
        name: {what: {"best": s, "median": s} for what in ("forward", "backward")}
        for name, s in SECONDS.items()
        if name != "copy"
    }
    copied = {"torch": {"best": SECONDS["copy"], "median": SECONDS["copy"]}}
    new = {"torch": {"best": 8.0, "median": 8.0}}
    calls = {
        name: {what: {"best": 1e-5} for what in ("forward", "backward")}
        for name in (*times, "nothing")
    }
    nothing = {"nothing": calls["nothing"]}
    seconds = {"copy": copied, "new copy": new, **times, **nothing}
    return {"case": case, "seconds": seconds, "calls": calls}


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of records."""
    monkeypatch.setattr(bench, "RESULTS", tmp_path)
    return tmp_path


def test_the_committed_page_is_made_from_the_committed_records() -> None:
    assert page.PAGE.read_text(encoding="utf-8") == page.made()


def test_without_records_it_says_so_and_how(results: Path) -> None:
    text = page.made()
    assert text.count("Not recorded yet.") == 2
    assert "`normcourse bench norms --device cuda --json" in text
    assert "GB/s" not in text


def test_a_record_of_a_gpu_is_shown_with_its_device_and_day(results: Path) -> None:
    rows = [row(case.name) for case in GPU_CASES]
    parts = [{"memory": memory, "rows": rows} for memory in ("fresh", "reused")]
    record = {"rounds": 7, "machine": MACHINE, "parts": parts}
    (results / "gpu.json").write_text(json.dumps(record))
    text = page.made()
    told = [MACHINE[name] for name in MACHINE if name != "command"]
    assert [word for word in told if word not in text] == []
    assert "`normcourse bench norms --device cuda`" in text
    assert text.count("Not recorded yet.") == 1
    lines = [line for line in text.splitlines() if line.startswith("| RMS norm, wide |")]
    moved = 2e-9 * next(c.nbytes for c in GPU_CASES if c.name == "RMS norm, wide")
    there, new = f"{moved / 2.0:,.0f}", f"{moved / 8.0:,.0f}"
    assert lines == [
        f"| RMS norm, wide | forward | {there} | {new} | 160 | 200 | 320 | 2.0 |",
        f"| RMS norm, wide | backward | {there} | {new} | 180 | 225 | 360 | 2.0 |",
        f"| RMS norm, wide | forward | {there} | 40 | 50 | 80 | 2.0 |",
        f"| RMS norm, wide | backward | {there} | 60 | 75 | 120 | 2.0 |",
    ]
    assert "Liger-Kernel was not installed." in text


def test_a_record_of_both_shows_both(results: Path) -> None:
    rows = [row(case.name) for case in CASES]
    part = {"threads": 2, "memory": "fresh", "rows": rows}
    alone = copy.deepcopy(part) | {"threads": 1, "memory": "reused"}
    machine = {
        "processor": "a processor of these tests",
        "cores": 2,
        "system": "Linux",
        "numpy": "1",
        "numba": "2",
        "torch": "3",
        "python": "4",
        "date": "2004-05-06",
        "command": "normcourse bench norms",
    }
    some = [row(case.name) for case in GPU_CASES]
    some[0]["seconds"]["Liger"] = some[0]["seconds"]["torch"]
    device = MACHINE | {"liger": "1.2.3"}
    gpu = {"rounds": 7, "machine": device, "parts": [{"memory": "reused", "rows": some}]}
    record = {"rounds": 9, "machine": machine, "parts": [part, alone], "gpu": gpu}
    (results / "cpu.json").write_text(json.dumps(record))
    text = page.made()
    assert "Not recorded yet." not in text
    assert "### 2 threads, fresh memory" in text
    assert "### One thread, reused memory" in text
    assert "a processor of these tests, 2 cores" in text
    assert "a device of these tests" in text
    assert text.count("| batch norm, late | forward |") == 3
    assert "Liger-Kernel 1.2.3." in text
    lines = [
        line for line in text.splitlines() if line.startswith(("| layer norm |", "| RMS norm |"))
    ]
    assert ["–" in line for line in lines[-4:]] == [False, False, True, True]


def test_every_part_of_the_record_has_its_picture_and_its_words(results: Path) -> None:
    parts = [
        {"threads": threads, "memory": memory, "rows": [row(case.name) for case in CASES]}
        for threads in (1, 2)
        for memory in ("fresh", "reused")
    ]
    record = {"rounds": 9, "machine": {"date": "2001-02-03"}, "parts": parts}
    (results / "cpu.json").write_text(json.dumps(record))
    for part in parts:
        drawn = roofline.picture(part, roofline.highest(parts))
        assert drawn.alt == page.ALT.format(where=page.heading(part).lower())
        assert drawn.axes[0].get_xlim() == drawn.axes[1].get_xlim()
    assert roofline.highest(parts[1::2]) == 5 / 2 * 2.0 / 2.5  # batch norm, backward, ours
    assert roofline.highest(parts) == (4 / 2 * 2.0 + 2 * 6.0) / 2.5  # add + RMS norm, forward


def test_the_committed_pictures_are_drawn_from_the_committed_record() -> None:
    for path, text in roofline.files().items():
        assert path.read_text(encoding="utf-8") == text, "python -m normcourse.workshop.roofline"
    drawn = sorted(page.PAGE.parent.glob("generated/roofline-*.svg"))
    assert drawn == sorted(path for path in roofline.files() if path.suffix == ".svg")

"""What is exported is what its sources say, and enough to test the scripts against."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest

from normcourse.checks import choosing
from normcourse.norms import METHODS
from normcourse.site.interactive import export
from normcourse.site.interactive.catalogue import CATALOGUE

NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?")
PINNED = re.search(
    r"^matplotlib==(\S+)", Path(__file__).parents[2].joinpath("requirements.txt").read_text(), re.M
)


def stored(name: str) -> Any:
    """The committed numbers of a figure."""
    return json.loads((export.DATA / f"{name}.json").read_text(encoding="utf-8"))


def leaves(value: Any) -> tuple[list[float], list[Any]]:
    """All numbers of nested lists and dicts, and everything else, in order."""
    if isinstance(value, bool) or not isinstance(value, dict | list | int | float):
        return [], [value]
    if isinstance(value, int | float):
        return [float(value)], []
    items = value if isinstance(value, list) else [part for pair in value.items() for part in pair]
    parts = [leaves(item) for item in items]
    return [n for numbers, _ in parts for n in numbers], [o for _, others in parts for o in others]


def test_every_figure_of_the_catalogue_is_exported() -> None:
    assert set(export.EXPORTS) == set(CATALOGUE)


@pytest.mark.parametrize("name", CATALOGUE)
def test_the_committed_numbers_are_those_of_their_sources(name: str) -> None:
    """To ten decimals: another processor may round the last digit another way."""
    text, picture = export.export(name)
    numbers, others = leaves(json.loads(text))
    known_numbers, known_others = leaves(stored(name))
    assert others == known_others
    np.testing.assert_allclose(numbers, known_numbers, rtol=1e-9, atol=1e-9)
    if PINNED and mpl.__version__ == PINNED[1]:
        known = (export.DATA / f"{name}.svg").read_text(encoding="utf-8")
        assert len(NUMBER.findall(picture)) == len(NUMBER.findall(known))
        assert len(picture) == pytest.approx(len(known), rel=0.01)


def test_the_palette_of_the_page_is_that_of_the_figures() -> None:
    assert (export.ASSETS / "palette.css").read_text(encoding="utf-8") == export.palette()


def test_the_check_names_what_is_stale(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(export, "files", lambda: {tmp_path / "a.json": "new", tmp_path / "b": "b"})
    (tmp_path / "a.json").write_text("old")
    (tmp_path / "b").write_text("b")
    assert export.main(["--check"]) == 1
    assert capsys.readouterr().out == "a.json is not as its sources say\n"
    assert export.main([]) == 0
    assert export.main(["--check"]) == 0


def test_the_line_of_code_of_each_method_runs_and_gives_the_exported_output() -> None:
    data = stored("axes-explorer")
    x, eps = np.array(data["x"]), data["eps"]
    num, channels, length = x.shape
    checked = 0
    for method in data["methods"]:
        for scope, shown in method["scopes"].items():
            for groups in data["groups"] if method["name"] == "group_norm" else [0]:
                scope_ = {"np": np, "x": x, "N": num, "C": channels, "L": length, "G": groups}
                exec("\n".join(shown["code"]), scope_)
                source = scope_.get("groups", x)
                if method["name"] == "rms_norm":
                    y = x / np.sqrt(scope_["mean_square"] + eps)
                else:
                    mean = scope_["mean"]
                    var = np.square(source - mean).mean(axis=tuple(shown["axes"]), keepdims=True)
                    y = ((source - mean) / np.sqrt(var + eps)).reshape(x.shape)
                key = "/".join(
                    filter(None, [method["name"], scope or (str(groups) if groups else "")])
                )
                np.testing.assert_allclose(y, data["expected"][key], atol=1e-9)
                comment = shown["code"][-1].rpartition("# ")[2]
                sizes = {"N": num, "C": channels, "L": length, "G": groups}
                statistic = scope_["mean_square" if method["name"] == "rms_norm" else "mean"]
                assert eval(comment, sizes) == statistic.shape
                checked += 1
    assert checked == len(data["expected"]) == 9


@pytest.mark.parametrize("name", ["batch_norm", "instance_norm", "group_norm"])
def test_axes_are_those_of_the_registry(name: str) -> None:
    (method,) = [one for one in stored("axes-explorer")["methods"] if one["name"] == name]
    row = METHODS[name]
    assert row.axes is not None
    assert tuple(method["scopes"][""]["axes"]) == row.axes(3)


def test_the_guide_repeats_the_judge_for_every_situation() -> None:
    data = stored("choose")
    names = list(data["fields"])
    rng = np.random.default_rng(0)
    for _ in range(200):
        choice = [int(rng.integers(len(data["fields"][name]))) for name in names]
        place = 0
        for name, k in zip(names, choice, strict=True):
            place = place * len(data["fields"][name]) + k
        situation = {name: data["fields"][name][k] for name, k in zip(names, choice, strict=True)}
        ruled = {
            method
            for digit in data["verdicts"][place]
            for method in data["objections"][data["digits"].index(digit)]["against"]
        }
        order = data["orders"][situation["data"]]
        works = [method for method in order if method not in ruled]
        assert works == choosing.right_methods(situation)


def test_every_figure_whose_script_computes_comes_with_answers() -> None:
    """The depth figure shows a record and computes nothing."""
    assert {name for name in CATALOGUE if "expected" not in stored(name)} == {"depth"}

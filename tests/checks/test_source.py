"""Finding answers in files: what a learner's notebook or .py file defines, broken parts apart."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest

from normcourse.checks.source import BadSource, Source, read_source, same_code


def notebook(folder: Path, *cells: str | list[str]) -> Path:
    """Write a notebook with these code cells, the first after a text cell."""
    text = {"cell_type": "markdown", "metadata": {}, "source": "# Title"}
    codes = [{"cell_type": "code", "metadata": {}, "source": cell} for cell in cells]
    path = folder / "answers.ipynb"
    path.write_text(json.dumps({"cells": [text, *codes], "nbformat": 4}), encoding="utf-8")
    return path


def script(folder: Path, text: str) -> Source:
    """Write a .py file and read it."""
    path = folder / "answers.py"
    path.write_text(text, encoding="utf-8")
    return read_source(path)


def test_the_last_definition_counts(tmp_path: Path) -> None:
    source = read_source(notebook(tmp_path, "def f(): return 1", ["def f():\n", "    return 2\n"]))
    assert source.definition("f") == "def f():\n    return 2"
    assert source.defines("f").label == "cell 3"


def test_classes_coroutines_and_named_lambdas_are_found(tmp_path: Path) -> None:
    source = script(tmp_path, "class A: pass\nasync def b(): pass\nc = lambda x: x\nd = 3\n")
    assert [name for name in "Abcd" if source.defines(name)] == ["A", "b", "c"]


def test_only_the_top_level_counts(tmp_path: Path) -> None:
    source = script(tmp_path, "def outer():\n    def inner(): pass\nclass A:\n    def f(self): 1\n")
    assert source.defines("inner") is None
    assert source.defines("f") is None


def test_a_syntax_error_costs_its_cell_alone(tmp_path: Path) -> None:
    broken = "import numpy as np\ndef f(x):\n    return x +* 2"
    source = read_source(notebook(tmp_path, broken, "def g(x):\n    return x"))
    assert source.defines("f").problem == "invalid syntax in line 3: `return x +* 2`"
    assert source.definition("f") is None
    assert source.definition("g") is not None


def test_a_syntax_error_in_a_python_file_costs_its_function_alone(tmp_path: Path) -> None:
    text = (
        "import numpy as np\n\n\ndef f(x):\n    return (x\n\n\n"
        "@decorated\ndef g(x):\n    return np.sqrt(x)\n\nh = lambda: 1\n"
    )
    source = script(tmp_path, text)
    assert source.defines("f").problem == "'(' was never closed in line 5: `return (x`"
    assert source.definition("g") == "def g(x):\n    return np.sqrt(x)"
    assert source.defines("g").code.splitlines()[7] == "@decorated", "line numbers stay"
    assert source.defines("h").problem == ""


def test_a_file_of_which_nothing_is_left_is_one_problem(tmp_path: Path) -> None:
    source = script(tmp_path, "def f(x:\n    return x\n\ndef g(x)\n    return x\n")
    assert [cell.names for cell in source.cells] == [("f", "g")]
    assert "in line 1" in source.cells[0].problem


@pytest.mark.parametrize(
    ("code", "skipped"),
    [
        ("%matplotlib inline\ndef f(x): return x", ("%matplotlib inline",)),
        ("!pip list\ndef f(x): return x", ("!pip list",)),
        ("files = !ls\ndef f(x): return x", ("files = !ls",)),
        ("t = %timeit -o f(1)\ndef f(x): return x", ("t = %timeit -o f(1)",)),
        ("?f\nf??\ndef f(x): return x", ("?f", "f??")),
        ("if True:\n    %time 1\ndef f(x): return x", ("%time 1",)),
        ("%%time\ndef f(x): return x", ("%%time",)),
        ("def f(x):\n    return (x\n        % 3)", ()),
        ("def f(x):\n    return x \\\n        != 3", ()),
    ],
)
def test_magics_are_left_out_and_reported(
    tmp_path: Path, code: str, skipped: tuple[str, ...]
) -> None:
    source = read_source(notebook(tmp_path, code))
    cell = source.defines("f")
    assert (cell.problem, cell.skipped) == ("", skipped)
    assert len(cell.code.splitlines()) == len(code.splitlines())


def test_cells_in_other_languages_are_left_out(tmp_path: Path) -> None:
    source = read_source(notebook(tmp_path, "%%bash\ndef f(x): return x"))
    assert source.defines("f") is None
    assert source.cells[0].skipped == ("%%bash",)


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("missing.ipynb", None, "no such file"),
        ("notes.txt", b"def f(): pass", "expected a file ending in .ipynb or .py, got '.txt'"),
        ("a.ipynb", b'{"cells": [', "broken JSON at line 1"),
        ("a.ipynb", b"[]", "not a notebook"),
        ("a.ipynb", b'{"cells": 3}', "not a notebook"),
        ("a.ipynb", b"[" * 100_000, "broken JSON"),
        ("a.py", b"x = '\xe9'", "not UTF-8"),
        ("folder.py/", None, "is a folder"),
    ],
)
def test_files_that_are_none_of_ours_are_named(
    tmp_path: Path, name: str, data: bytes | None, words: str
) -> None:
    path = tmp_path / name
    if name.endswith("/"):
        path.mkdir()
    elif data is not None:
        path.write_bytes(data)
    with pytest.raises(BadSource, match=words) as caught:
        read_source(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [b"\xef\xbb\xbfdef f(x):\r\n    return x\r\n", b"def f(x): return x\n# \xe2\x82\xac"],
    ids=["BOM and CRLF", "euro"],
)
def test_encodings_that_editors_write_are_read(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "answers.py"
    path.write_bytes(data)
    assert read_source(path).definition("f") is not None


@pytest.mark.parametrize("code", ["def f(x): return '\x00'", "(" * 5000, "def f(x): '\ud800'"])
def test_text_that_no_parser_takes_is_a_problem_not_a_crash(tmp_path: Path, code: str) -> None:
    cell = read_source(notebook(tmp_path, code)).cells[0]
    assert cell.problem


@pytest.mark.parametrize("cell", [3, None, {}, {"cell_type": "code"}, {"cell_type": "raw"}])
def test_odd_cells_are_no_trouble(tmp_path: Path, cell: object) -> None:
    path = tmp_path / "answers.ipynb"
    path.write_text(json.dumps({"cells": [cell]}))
    assert all(not c.names for c in read_source(path).cells)


def test_a_learner_s_odd_escapes_give_no_warning_of_ours(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert script(tmp_path, 'def f(x):\n    return "\\d"\n').definition("f")


def test_same_code_looks_past_comments_docstrings_and_layout() -> None:
    stub = 'def f(x):\n    """Doc."""\n    raise NotImplementedError'
    assert same_code(stub, "def f( x ):  # mine\n  raise NotImplementedError\n")
    assert not same_code(stub, "def f(x, y):\n    raise NotImplementedError")
    assert not same_code(stub, "def f(x:")

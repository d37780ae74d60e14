"""The cell to try: code and its output on the page, and code that cannot be there refused."""

from __future__ import annotations

import pytest

from normcourse.site.try_it import foreign_imports, output_of

from .conftest import Build, find, text


def page(body: str, options: str = "") -> dict[str, str]:
    return {"index": f"# Means\n\n```{{try-it}}\n{options}{body}\n```\n"}


def test_code_and_output_stand_on_the_page(build: Build) -> None:
    built = build(page("x = np.array([1.0, 3.0])\nprint(x.shape)\nx - x.mean()"))
    assert built.complaints == ""
    (cell,) = find(built.body(), "div", class_="nc-try")
    assert text(find(cell, "div", data_part="stub")[0]).startswith("x = np.array([1.0, 3.0])")
    assert text(find(cell, "div", data_part="output")[0]) == "(2,) array([-1., 1.])"
    assert cell.get("role") == "group"


def test_a_cell_keeps_its_id_unless_its_code_changes(build: Build) -> None:
    def id_of(body: str, options: str = "") -> str:
        return find(build(page(body, options)).body(), "div", class_="nc-try")[0].get(
            "data-try", ""
        )

    assert id_of("1 + 1") == id_of("1 + 1") != id_of("1 + 2")
    assert id_of("1 + 1", ":name: sum\n\n") == id_of("1 + 2", ":name: sum\n\n") == "sum"


REFUSED = {
    "empty": ("", "the cell is empty"),
    "fails": ("x = 1\nx.shape", "the cell stops in line 2: x.shape"),
    "syntax": ("x = (", "line 1 of the cell"),
    "torch": ("import torch\n1", "imports torch; the page's Python has NumPy alone"),
    "silent": ("x = 1", "prints nothing"),
    "name-of-another-cell": ("hidden.shape", "name 'hidden' is not defined"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_not_run_is_an_error_of_the_build(build: Build, name: str) -> None:
    code, complaint = REFUSED[name]
    built = build(page(code))
    assert complaint in built.complaints
    assert built.complaints.count("ERROR: try-it: ") == 1


def test_a_cell_may_be_meant_to_fail(build: Build) -> None:
    built = build(page("np.zeros(2) + np.zeros(3)", ":raises:\n\n"))
    assert built.complaints == ""
    output = text(find(built.body(), "div", data_part="output")[0])
    assert "ValueError: operands could not be broadcast together" in output


def test_the_last_value_is_shown_as_a_notebook_would() -> None:
    assert output_of("a = 2\nprint(a)\na * 3") == ("2\n6\n", "")
    assert output_of("None") == ("", "")
    assert output_of("'text'") == ("'text'\n", "")


def test_the_line_that_stopped_it_is_the_readers_own() -> None:
    _, stopped = output_of("def f(x):\n    return np.linalg.inv(x)\n\nf(np.zeros((2, 2)))")
    assert stopped.startswith("line 2: return np.linalg.inv(x)\n")
    assert stopped.endswith("LinAlgError: Singular matrix")


def test_submodules_and_relative_packages_count_by_their_root() -> None:
    assert foreign_imports("from torch.nn import Linear\nimport numpy.linalg") == {"torch"}

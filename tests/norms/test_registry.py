"""The registry: every row complete, and what it says about pooling true of the function."""

from __future__ import annotations

import importlib.util
import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from normcourse import norms
from normcourse.norms import METHODS, Method

from .cases import SHAPES, arguments, every_method, first_input

FOLDER = Path(norms.__file__).parent


@every_method()
def test_row_is_complete(method: Method) -> None:
    assert method.kind in ("activation", "weight", "attention")
    assert method.layout in SHAPES, "add shapes of this layout to tests/norms/cases.py"
    for text in (method.title, method.pooled, method.formula, method.paper):
        assert text
        assert text == text.strip()
    assert method.formula.count("{") == method.formula.count("}")
    assert method.forward.__name__ == method.name
    assert method.backward.__name__ == f"{method.name}_backward"
    assert getattr(norms, method.name) is method.forward
    assert getattr(norms, f"{method.name}_backward") is method.backward


@every_method()
def test_row_fits_the_signatures(method: Method) -> None:
    forward = list(inspect.signature(method.forward).parameters)
    backward = list(inspect.signature(method.backward).parameters)
    assert set(method.gradients) <= set(forward)
    assert set(method.parameters) <= set(forward)
    assert [name for name in forward if name in method.gradients] == list(method.gradients)
    assert backward[0].startswith("d")
    assert set(backward[1:]) | {"beta"} == set(forward) | {"beta"}
    drawn = arguments(method, SHAPES[method.layout][0])
    assert set(drawn) <= set(forward)
    assert [name for name in forward if name in drawn] == list(drawn)


@every_method()
def test_every_public_function_is_documented(method: Method) -> None:
    for function in (method.forward, method.backward):
        text = inspect.getdoc(function) or ""
        for part in ("Formula", "Args:", "Returns:", "Raises:", "Source:", "Example:", ">>> "):
            assert part in text, f"{function.__name__} lacks {part}"
        for name in inspect.signature(function).parameters:
            assert f"{name}:" in text, f"{function.__name__} does not explain {name}"
    assert "Differs from torch in:" in (inspect.getdoc(method.forward) or "")


def test_eps_has_one_default() -> None:
    """1e-5 everywhere; 1e-12 where it only guards a division, as in torch."""
    for name in norms.__all__:
        function = getattr(norms, name)
        if inspect.isfunction(function) and "eps" in inspect.signature(function).parameters:
            eps = inspect.signature(function).parameters["eps"]
            assert eps.default == (1e-12 if name == "power_iteration" else 1e-5), name
            assert eps.kind is inspect.Parameter.KEYWORD_ONLY, name


def test_public_names() -> None:
    assert all(hasattr(norms, name) for name in norms.__all__)
    assert len(set(norms.__all__)) == len(norms.__all__)
    assert dir(norms) == sorted(norms.__all__)


@pytest.mark.parametrize(
    "statement",
    [
        "from normcourse.norms import batch_norm as function",
        "import normcourse.norms.batch_norm\nfrom normcourse.norms import batch_norm as function",
        "from normcourse.norms import METHODS, batch_norm as function",
    ],
    ids=["function first", "file first", "registry first"],
)
def test_a_name_is_the_function_whatever_was_loaded_before(statement: str) -> None:
    program = f"{statement}\nprint(function([[1.0], [3.0]], eps=0.0).tolist())"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[[-1.0], [1.0]]"


def test_a_method_loads_its_own_file() -> None:
    program = (
        "import sys; from normcourse.norms import rms_norm;"
        "print(sorted(m for m in sys.modules if m.startswith('normcourse.norms.')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "rms_norm" in done.stdout
    assert "batch_norm" not in done.stdout


AXES = [
    "batch_norm",
    "layer_norm",
    "rms_norm",
    "scale_norm",
    "instance_norm",
    "conditional_instance_norm",
    "group_norm",
    "dynamic_tanh",
    "weight_norm",
    "standardize_weight",
]


@pytest.mark.parametrize("name", AXES)
def test_axes_are_what_one_statistic_pools(name: str) -> None:
    """Change one value of x: the outputs that change are those that share its statistics."""
    method = METHODS[name]
    assert method.axes is not None
    for shape in SHAPES[method.layout]:
        drawn = arguments(method, shape)
        x = first_input(method)
        place = tuple(size // 2 for size in shape)
        changed = drawn[x].copy()
        changed[place] += 0.5
        difference = method.forward(**{**drawn, x: changed}) != method.forward(**drawn)
        view = shape
        if name == "group_norm":
            view = (shape[0], 2, shape[1] // 2, *shape[2:])
        mark = np.zeros(shape, bool)
        mark[place] = True
        pooled = mark.reshape(view).any(axis=method.axes(len(shape)), keepdims=True)
        expected = np.broadcast_to(pooled, view).reshape(shape) | mark
        assert np.array_equal(difference, expected), shape


def test_axes_of_the_other_rows() -> None:
    """Rows whose outputs depend on more than one pool: what the row says, in numbers."""
    expected = {
        "masked_batch_norm": (0, 1),
        "ghost_batch_norm": (0, 2),
        "batch_renorm": (0, 2),
        "adaptive_instance_norm": (2,),
        "decorrelated_batch_norm": (0, 2),
        "qk_norm_scores": (2,),
    }
    none = {name for name, method in METHODS.items() if method.axes is None}
    assert set(expected) | set(AXES) | none == set(METHODS)
    for name, axes in expected.items():
        rule = METHODS[name].axes
        assert rule is not None
        assert rule(3) == axes


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_files_are_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 260


def test_norms_need_numpy_alone() -> None:
    """Importing and using the references loads nothing but NumPy and the standard library."""
    program = (
        "import sys, numpy.random; before = set(sys.modules); import normcourse.norms as n;"
        "n.batch_norm(numpy.ones((2, 3)));"
        "tops = {m.partition('.')[0] for m in set(sys.modules) - before};"
        "print(sorted(tops - set(sys.stdlib_module_names) - {'numpy', 'normcourse'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@every_method()
def test_module_path(method: Method) -> None:
    """The PyTorch module that the row names exists, without importing torch here."""
    if not method.module:
        return
    path, _, name = method.module.partition(":")
    spec = importlib.util.find_spec(path)
    assert spec is not None, path
    assert spec.origin is not None
    assert f"class {name}(" in Path(spec.origin).read_text()

"""What the tests loop over: every method of the registry, in every rank its layout has."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from normcourse.norms import METHODS, Method

Array = NDArray[Any]

# All sizes differ where they can; C = 4 so that two groups fit.
SHAPES: dict[str, tuple[tuple[int, ...], ...]] = {
    "(N, C, *)": ((7, 4), (5, 4, 3), (3, 4, 5, 2), (2, 4, 3, 5, 1), (1, 4, 3, 5)),
    "(N, C, L, *)": ((5, 4, 3), (3, 4, 5, 2), (2, 4, 3, 5, 2), (1, 4, 3, 5)),
    "(N, C, H, W)": ((2, 3, 4, 5), (1, 1, 6, 3)),
    "(*, D)": ((6,), (3, 5), (2, 3, 4), (2, 1, 3, 4)),
    "(*, T, D)": ((4, 3), (2, 5, 3), (2, 3, 5, 4)),
    "(O, *)": ((4, 3), (3, 2, 4), (4, 2, 3, 5)),
}

# Largest error relative to max(1, largest expected value), for right implementations of any kind.
TOLERANCE = {"float64": 1e-11, "float32": 2e-5, "float16": 1e-3}

FLOATS = ("float64", "float32")


def label(shape: tuple[int, ...]) -> str:
    """Return a shape as a readable id: 3x4x5."""
    return "x".join(map(str, shape))


def every_method() -> Any:
    """Parametrize over the registry."""
    return pytest.mark.parametrize("method", METHODS.values(), ids=list(METHODS))


def every_case() -> Any:
    """Parametrize over the registry and the shapes of each row's layout."""
    cases = [
        pytest.param(method, shape, id=f"{method.name}-{label(shape)}")
        for method in METHODS.values()
        for shape in SHAPES[method.layout]
    ]
    return pytest.mark.parametrize(("method", "shape"), cases)


def arguments(
    method: Method, shape: tuple[int, ...], dtype: str = "float64", seed: int = 0
) -> dict[str, Any]:
    """Return the arguments of one call, real arrays in ``dtype``."""
    drawn = method.example(np.random.default_rng(seed), shape)
    return {name: as_dtype(value, dtype) for name, value in drawn.items()}


def as_dtype(value: Any, dtype: str) -> Any:
    """Return arrays of real numbers in ``dtype``; masks, labels and options as they are."""
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        return value.astype(dtype)
    return value


def upstream(y: Array, seed: int = 1) -> Array:
    """Return a random gradient with respect to y; never ones, whose true gradient is about 0."""
    return np.random.default_rng(seed).standard_normal(y.shape).astype(y.dtype)


def first_input(method: Method) -> str:
    """Return the name of the array that the method normalizes."""
    return next(iter(inspect.signature(method.forward).parameters))


def backward(method: Method, dy: Array, drawn: dict[str, Any]) -> dict[str, Array]:
    """Return the gradients by the name of what they belong to."""
    accepted = inspect.signature(method.backward).parameters
    given = {name: value for name, value in drawn.items() if name in accepted}
    gradients = method.backward(dy, **given)
    if not isinstance(gradients, tuple):
        gradients = (gradients,)
    return dict(zip(method.gradients, gradients, strict=True))


def error(actual: Any, expected: Any) -> float:
    """Return the largest difference, relative to max(1, largest expected value)."""
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    assert actual.shape == expected.shape, f"shape {actual.shape}, expected {expected.shape}"
    if expected.size == 0:
        return 0.0
    assert np.isfinite(actual).all(), "not finite"
    return float(np.abs(actual - expected).max() / max(1.0, np.abs(expected).max()))


def assert_close(actual: Any, expected: Any, tolerance: float, what: str = "") -> None:
    """Assert that the error is at most ``tolerance``."""
    found = error(actual, expected)
    assert found <= tolerance, f"{what}: error {found:.2e}, allowed {tolerance:.0e}"

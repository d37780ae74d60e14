"""How exact the references are where numbers are hard, as a table for the book.

    python -m tests.norms.numerics          measures and writes book/generated/numerics.{json,md}

The error is that of the low-precision call against the same call in float64 on the same rounded
inputs: largest difference over largest value. A test measures again and compares.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from normcourse.norms import METHODS, Method

from .cases import Array, arguments, backward, first_input

FOLDER = Path(__file__).resolve().parents[2] / "book" / "generated"

SHAPES: dict[str, tuple[int, ...]] = {
    "(N, C, *)": (16, 8, 14, 14),
    "(N, C, L, *)": (16, 8, 14, 14),
    "(N, C, H, W)": (4, 8, 14, 14),
    "(*, D)": (64, 256),
    "(*, T, D)": (4, 16, 64),
    "(O, *)": (32, 16, 3, 3),
}

# Each condition: dtype, what it does to standard normal values, and eps where not the default.
Condition = tuple[str, Callable[[Array], Array], float | None]
CONDITIONS: dict[str, Condition] = {
    "mean 0, std 1": ("float32", lambda z: z, None),
    "mean 1e4, std 1": ("float32", lambda z: 1e4 + z, None),
    "variance 1e-12, eps 0": ("float32", lambda z: 1e-6 * z, 0.0),
    "float16, up to 6e4": ("float16", lambda z: z * (6e4 / np.abs(z).max()), None),
}

ONE_PASS = {"batch_norm": (0, 2, 3), "instance_norm": (2, 3), "layer_norm": (1,)}


def drawn_under(method: Method, condition: Condition) -> dict[str, Any]:
    """Return the arguments of one call whose input meets the condition."""
    dtype, transform, eps = condition
    shape = SHAPES[method.layout]
    drawn = arguments(method, shape, dtype, seed=70)
    x = first_input(method)
    normal = np.random.default_rng(71).standard_normal(shape)
    drawn[x] = transform(np.abs(normal) if x == "drive" else normal).astype(dtype)
    if eps is not None and "eps" in inspect.signature(method.forward).parameters:
        drawn["eps"] = eps
    return drawn


def in_float64(drawn: dict[str, Any]) -> dict[str, Any]:
    """Return the same numbers in float64."""
    return {
        name: value.astype(np.float64)
        if isinstance(value, np.ndarray) and value.dtype.kind == "f"
        else value
        for name, value in drawn.items()
    }


def relative(actual: Array, exact: Array) -> float:
    """Return the largest difference over the largest value; infinite where not finite."""
    if not np.isfinite(actual).all():
        return float("inf")
    return float(np.abs(actual - exact).max() / max(np.abs(exact).max(), 1e-300))


def errors(method: Method, condition: Condition) -> dict[str, float]:
    """Return the errors of y and of the gradient with respect to the input."""
    drawn = drawn_under(method, condition)
    y, exact = method.forward(**drawn), method.forward(**in_float64(drawn))
    dy = np.random.default_rng(72).standard_normal(y.shape).astype(y.dtype)
    first = method.gradients[0]
    dx = backward(method, dy, drawn)[first]
    exact_dx = backward(method, dy.astype(np.float64), in_float64(drawn))[first]
    return {"y": relative(y, exact), "dx": relative(dx, exact_dx)}


def one_pass(x: Array, axis: tuple[int, ...]) -> Array:
    """Standardize with E[x²] − E[x]², in the dtype of x: the mistake to compare with."""
    mean = x.mean(axis, keepdims=True)
    var = np.maximum(np.square(x).mean(axis, keepdims=True) - np.square(mean), 0)
    return (x - mean) / np.sqrt(var + x.dtype.type(1e-5))


def measure() -> dict[str, Any]:
    """Return all errors: method, condition, y or dx; and those of the one-pass variance."""
    table = {
        name: {title: errors(method, condition) for title, condition in CONDITIONS.items()}
        for name, method in METHODS.items()
    }
    lost = {}
    for name, axis in ONE_PASS.items():
        drawn = drawn_under(METHODS[name], CONDITIONS["mean 1e4, std 1"])
        exact = METHODS[name].forward(drawn["x"].astype(np.float64))
        lost[name] = relative(one_pass(drawn["x"], axis), exact)
    return {"errors": table, "one_pass": lost}


def render(measured: dict[str, Any]) -> str:
    """Return the table as Markdown."""
    head = ["method", *(f"{title}: {what}" for title in CONDITIONS for what in ("y", "dx"))]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for name, row in measured["errors"].items():
        cells = [f"{row[title][what]:.0e}" for title in CONDITIONS for what in ("y", "dx")]
        lines.append("| " + " | ".join([METHODS[name].title, *cells]) + " |")
    lost = ", ".join(
        f"{METHODS[name].title} {value:.0e}" for name, value in measured["one_pass"].items()
    )
    return "\n".join(
        [
            "<!-- written by python -m tests.norms.numerics -->",
            "Largest error of the NumPy references against float64 on the same inputs, relative to",
            "the largest value (float32 unless the column says float16, whose own rounding is",
            "5e-04).",
            "",
            *lines,
            "",
            f"With E[x²] − E[x]² in float32 at mean 1e4, y would be off by: {lost}.",
            "",
        ]
    )


def main() -> None:
    """Measure and write both files."""
    measured = measure()
    FOLDER.mkdir(parents=True, exist_ok=True)
    text = json.dumps(measured, indent=1) + "\n"
    (FOLDER / "numerics.json").write_text(text, encoding="utf-8")
    (FOLDER / "numerics.md").write_text(render(measured), encoding="utf-8")


if __name__ == "__main__":
    main()

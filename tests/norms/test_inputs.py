"""What a method may be given: layouts in memory, dtypes, sizes at the edge. Nothing is modified."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

from normcourse.norms import METHODS, Method

from .cases import (
    SHAPES,
    TOLERANCE,
    arguments,
    as_dtype,
    assert_close,
    backward,
    every_case,
    every_method,
    first_input,
    upstream,
)
from .oracles import run_oracle


def strided(value: Any) -> Any:
    """Return the same values in every second place of a larger array."""
    if not isinstance(value, np.ndarray) or value.ndim == 0:
        return value
    holder = np.full((*value.shape[:-1], 2 * value.shape[-1]), 99, value.dtype)
    holder[..., ::2] = value
    return holder[..., ::2]


def read_only(value: Any) -> Any:
    """Return the same values in an array that cannot be written."""
    if isinstance(value, np.ndarray):
        value = value.copy()
        value.flags.writeable = False
    return value


def reversed_view(value: Any) -> Any:
    """Return the same values through negative strides."""
    if not isinstance(value, np.ndarray) or value.ndim == 0:
        return value
    return np.ascontiguousarray(value[::-1])[::-1]


LAYOUTS = {
    "strided": strided,
    "fortran": lambda value: np.array(value, order="F") if isinstance(value, np.ndarray) else value,
    "read-only": read_only,
    "reversed": reversed_view,
}


@pytest.mark.parametrize("layout", LAYOUTS)
@every_case()
def test_memory_layout_does_not_matter(method: Method, shape: tuple[int, ...], layout: str) -> None:
    drawn = arguments(method, shape)
    y = method.forward(**drawn)
    dy = upstream(y)
    expected = backward(method, dy, drawn)
    laid = {name: LAYOUTS[layout](value) for name, value in drawn.items()}
    before = {name: np.array(value) for name, value in laid.items()}
    laid_dy = LAYOUTS[layout](dy)
    assert_close(method.forward(**laid), y, 1e-13, "y")
    for name, gradient in backward(method, laid_dy, laid).items():
        assert_close(gradient, expected[name], 1e-12, f"d{name}")
    for name, value in laid.items():
        assert np.array_equal(value, before[name]), f"{name} was modified"
    assert np.array_equal(laid_dy, dy), "dy was modified"


@every_method()
def test_results_are_new_arrays(method: Method) -> None:
    """Writing to a result must not reach the caller's data."""
    drawn = arguments(method, SHAPES[method.layout][-1])
    y = method.forward(**drawn)
    results = [y, *backward(method, upstream(y), drawn).values()]
    inputs = [value for value in drawn.values() if isinstance(value, np.ndarray)]
    for result in results:
        assert isinstance(result, np.ndarray)
        assert not any(np.shares_memory(result, value) for value in inputs)


@every_method()
def test_lists_of_integers(method: Method) -> None:
    """Integers count as float64, like the same numbers in an array of floats."""
    shape = SHAPES[method.layout][0]
    drawn = arguments(method, shape)
    whole = {
        name: np.round(3 * value)
        if isinstance(value, np.ndarray) and value.dtype.kind == "f"
        else value
        for name, value in drawn.items()
    }
    if method.name == "dynamic_tanh":
        whole["alpha"] = np.array(1.0)
    x = first_input(method)
    listed = {**whole, x: whole[x].astype(int).tolist()}
    y = method.forward(**listed)
    assert y.dtype == np.float64
    assert_close(y, method.forward(**whole), 0)


@every_case()
def test_half_precision(method: Method, shape: tuple[int, ...]) -> None:
    """float16 in, statistics in float32, float16 out: one rounding at the end."""
    drawn = arguments(method, shape, "float16")
    y = method.forward(**drawn)
    dy = upstream(y)
    expected, expected_gradients = run_oracle(method, drawn, dy)
    assert y.dtype == np.float16
    assert_close(y, expected, TOLERANCE["float16"], "y")
    for name, gradient in backward(method, dy, drawn).items():
        assert gradient.dtype == (np.float16 if isinstance(drawn[name], np.ndarray) else y.dtype)
        assert_close(gradient, expected_gradients[name], TOLERANCE["float16"], f"d{name}")


@pytest.mark.parametrize("parameters", ["float32", "float64"])
@every_method()
def test_half_precision_beside_wider_parameters(method: Method, parameters: str) -> None:
    """y has the dtype of x, each gradient the dtype of what it belongs to."""
    drawn = arguments(method, SHAPES[method.layout][-1], parameters)
    x = first_input(method)
    drawn[x] = drawn[x].astype(np.float16)
    paired = {"adaptive_instance_norm": "style", "qk_norm_scores": "k"}.get(method.name)
    if paired:
        drawn[paired] = drawn[paired].astype(np.float16)
    y = method.forward(**drawn)
    assert y.dtype == np.float16
    for name, gradient in backward(method, upstream(y), drawn).items():
        if isinstance(drawn[name], np.ndarray):
            assert gradient.dtype == drawn[name].dtype, name


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@every_method()
def test_empty_batch(method: Method, dtype: str) -> None:
    """No examples: empty results, gradients of parameters are 0, no warning."""
    shape = {
        "(*, D)": (0, 3),
        "(*, T, D)": (0, 2, 3),
        "(O, *)": (0, 3),
    }.get(method.layout, (0, 4, 3, 2))
    drawn = arguments(method, shape, dtype)
    y = method.forward(**drawn)
    assert y.size == 0
    assert y.dtype == dtype
    for name, gradient in backward(method, upstream(y), drawn).items():
        assert gradient.shape == np.shape(drawn[name])
        assert not gradient.any()


@pytest.mark.parametrize(
    "name",
    [
        "batch_norm",
        "instance_norm",
        "layer_norm",
        "group_norm",
        "ghost_batch_norm",
        "conditional_instance_norm",
        "decorrelated_batch_norm",
    ],
)
def test_one_value_per_statistic_gives_beta(name: str) -> None:
    """A mean of one value takes all of it away: y is beta, and no change of x changes y."""
    method = METHODS[name]
    shape = (2, 3, 1) if name == "layer_norm" else (1, 4, 1)
    shape = (2, 4, 1) if name in ("instance_norm", "conditional_instance_norm") else shape
    drawn = arguments(method, shape)
    if name == "group_norm":
        drawn["num_groups"] = 4
    y = method.forward(**drawn)
    beta = drawn["beta"]
    if name == "conditional_instance_norm":
        beta = beta[drawn["labels"]]
    shaped = beta if name == "layer_norm" else beta[..., None]
    assert_close(y, np.broadcast_to(shaped, y.shape), 0)
    assert not backward(method, upstream(y), drawn)[method.gradients[0]].any()


@pytest.mark.parametrize("value", [0.0, 5.0, -1e4, 0.1])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("eps", [0.0, 1e-5])
@pytest.mark.parametrize("name", ["batch_norm", "layer_norm", "instance_norm", "group_norm"])
def test_constant_features_give_beta(name: str, eps: float, dtype: str, value: float) -> None:
    """Variance 0, also at eps = 0: beta, not NaN, and a gradient that is finite."""
    method = METHODS[name]
    drawn = arguments(method, (3, 4, 5), dtype)
    drawn["x"] = np.full((3, 4, 5), value, dtype)
    y = method.forward(**drawn, eps=eps)
    shaped = drawn["beta"] if name == "layer_norm" else drawn["beta"][:, None]
    assert_close(y, np.broadcast_to(shaped, y.shape), TOLERANCE[dtype])
    gradients = backward(method, upstream(y), {**drawn, "eps": eps})
    assert all(np.isfinite(gradient).all() for gradient in gradients.values())


@every_method()
def test_zeros_stay_finite(method: Method) -> None:
    """x = 0 everywhere and no eps or constant: 0 / 0 is answered by 0."""
    shape = SHAPES[method.layout][-1]
    drawn = arguments(method, shape)
    x = first_input(method)
    drawn[x] = np.zeros_like(drawn[x])
    defaults = inspect.signature(method.forward).parameters
    for name in ("eps", "k", "sigma"):
        if name in defaults and not isinstance(drawn.get(name), np.ndarray):
            drawn[name] = 0.0
    y = method.forward(**drawn)
    assert np.isfinite(y).all()
    for name, gradient in backward(method, upstream(y), drawn).items():
        assert np.isfinite(gradient).all(), name


@pytest.mark.parametrize("size", [1e-30, 1e30], ids=["tiny", "huge"])
@every_method()
def test_extreme_float32_stays_finite(method: Method, size: float) -> None:
    """Squares of 1e30 overflow float32 and those of 1e-30 vanish; the answer exists."""
    shape = SHAPES[method.layout][-1]
    drawn = arguments(method, shape, "float32")
    x = first_input(method)
    drawn[x] = drawn[x] * np.float32(size)
    y = method.forward(**drawn)
    expected, expected_gradients = run_oracle(method, drawn, upstream(y))
    assert_close(y, expected, TOLERANCE["float32"], "y")
    gradients = backward(method, upstream(y), drawn)
    for name, gradient in gradients.items():
        wanted = expected_gradients[name]
        scale = max(np.abs(wanted).max(), 1e-30)
        assert_close(gradient / scale, wanted / scale, TOLERANCE["float32"], f"d{name}")


def test_padding_may_hold_anything() -> None:
    """What stands at masked positions reaches neither values nor gradients, not even NaN."""
    method = METHODS["masked_batch_norm"]
    drawn = arguments(method, (2, 5, 3))
    y = method.forward(**drawn)
    dy = upstream(y)
    expected = backward(method, dy, drawn)
    padding = ~drawn["mask"]
    for filler in (np.nan, np.inf, 1e300):
        spoiled = {**drawn, "x": drawn["x"].copy()}
        spoiled["x"][padding] = filler
        assert_close(method.forward(**spoiled), y, 0)
        spoiled_dy = dy.copy()
        spoiled_dy[padding] = filler
        for name, gradient in backward(method, spoiled_dy, spoiled).items():
            assert_close(gradient, expected[name], 0, name)
    assert not method.forward(**{**drawn, "mask": np.zeros_like(drawn["mask"])}).any()


def test_as_dtype_leaves_masks_alone() -> None:
    assert as_dtype(np.array([True]), "float32").dtype == np.bool_


# Conditional InstanceNorm has no default: its gamma and beta say how many styles there are.
AFFINE = {n for n, method in METHODS.items() if {"gamma", "beta"} <= set(method.parameters)}
OPTIONAL = sorted(
    AFFINE - {"conditional_instance_norm"} | {"rms_norm", "scale_norm", "qk_norm_scores"}
)


@pytest.mark.parametrize("left_out", [("gamma",), ("beta",), ("gamma", "beta")], ids="+".join)
@pytest.mark.parametrize("name", OPTIONAL)
def test_parameters_left_out_are_ones_and_zeros(name: str, left_out: tuple[str, ...]) -> None:
    """None and the neutral array give the same values and the same gradients, dgamma included."""
    method = METHODS[name]
    drawn = arguments(method, SHAPES[method.layout][-1])
    wanted = [p for p in method.parameters if p.split("_")[0] in left_out]
    neutral = {p: (np.zeros_like if p == "beta" else np.ones_like)(drawn[p]) for p in wanted}
    missing: dict[str, Any] = dict.fromkeys(wanted)
    y = method.forward(**{**drawn, **neutral})
    assert_close(method.forward(**{**drawn, **missing}), y, 1e-15)
    expected = backward(method, upstream(y), {**drawn, **neutral})
    for gradient, found in backward(method, upstream(y), {**drawn, **missing}).items():
        assert_close(found, expected[gradient], 1e-15, gradient)

"""Table 1 of the LayerNorm paper, computed: what a layer does not see of its weights and data.

A layer is norm(x @ weight.T) at eps = 0. Each change is applied and the outputs compared.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from normcourse import norms

from .cases import Array

CHANGES: dict[str, Callable[[Array, Array], tuple[Array, Array]]] = {
    "weight matrix re-scaled": lambda x, w: (x, 2.5 * w),
    "weight matrix re-centered": lambda x, w: (x, w + np.array([0.7, -0.2, 1.1])),
    "one weight vector re-scaled": lambda x, w: (x, w * np.array([1.0, 3.0, 1, 1, 1, 1])[:, None]),
    "data re-scaled": lambda x, w: (2.5 * x, w),
    "data re-centered": lambda x, w: (x + np.array([0.7, -0.2, 1.1]), w),
    "one example re-scaled": lambda x, w: (x * np.array([1, 4.0, 1, 1, 1, 1])[:, None], w),
}

LAYERS: dict[str, Callable[[Array, Array], Array]] = {
    "batch_norm": lambda x, w: norms.batch_norm(x @ w.T, eps=0.0),
    "weight_norm": lambda x, w: x @ norms.weight_norm(w, np.linspace(0.5, 2, 6)).T,
    "layer_norm": lambda x, w: norms.layer_norm(x @ w.T, eps=0.0),
    "rms_norm": lambda x, w: norms.rms_norm(x @ w.T, eps=0.0),
    "scale_norm": lambda x, w: norms.scale_norm(x @ w.T, eps=0.0),
    "group_norm": lambda x, w: norms.group_norm(x @ w.T, 2, eps=0.0),
    "standardize_weight": lambda x, w: x @ norms.standardize_weight(w, eps=0.0).T,
    "spectral_norm": lambda x, w: x @ norms.spectral_norm(w).T,
    "decorrelated_batch_norm": lambda x, w: norms.decorrelated_batch_norm(x @ w[:2].T, eps=0.0),
    "dynamic_tanh": lambda x, w: norms.dynamic_tanh(x @ w.T, 0.5),
}

# One letter per change, in the order above: y the layer does not see it, n it does.
# The first three rows are Table 1 of Ba, Kiros & Hinton 2016; rms_norm is Zhang & Sennrich 2019.
EXPECTED = {
    "batch_norm": "ynyyyn",
    "weight_norm": "ynynnn",
    "layer_norm": "yynyny",
    "rms_norm": "ynnyny",
    "scale_norm": "ynnyny",
    "group_norm": "yynyny",
    "standardize_weight": "ynynnn",
    "spectral_norm": "ynnnnn",
    "decorrelated_batch_norm": "ynnyyn",
    "dynamic_tanh": "nnnnnn",
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", LAYERS)
def test_invariance_table(name: str, change: str) -> None:
    rng = np.random.default_rng(30)
    x, w = rng.standard_normal((6, 3)) + 0.4, rng.standard_normal((6, 3)) + 0.2
    before = LAYERS[name](x, w)
    after = LAYERS[name](*CHANGES[change](x, w))
    invariant = EXPECTED[name][list(CHANGES).index(change)] == "y"
    difference = np.abs(after - before).max()
    assert (difference < 1e-12) if invariant else (difference > 1e-2)


@pytest.mark.parametrize("name", ["batch_norm", "instance_norm", "layer_norm", "group_norm"])
def test_a_common_shift_and_scale_is_taken_away(name: str) -> None:
    """On (N, C, L): where all values of one mean change alike, the output stays."""
    forward = {
        "batch_norm": norms.batch_norm,
        "instance_norm": norms.instance_norm,
        "layer_norm": norms.layer_norm,
        "group_norm": lambda x, eps: norms.group_norm(x, 2, eps=eps),
    }[name]
    shape = {
        "batch_norm": (1, 4, 1),
        "instance_norm": (3, 4, 1),
        "layer_norm": (3, 4, 1),
        "group_norm": (3, 1, 1),
    }[name]
    rng = np.random.default_rng(31)
    x = rng.standard_normal((3, 4, 5))
    scale, shift = rng.uniform(0.5, 3, shape), 2 * rng.standard_normal(shape)
    assert np.allclose(forward(scale * x + shift, eps=0.0), forward(x, eps=0.0), atol=1e-12)


def test_instance_norm_removes_exposure_contrast_and_colour_cast() -> None:
    rng = np.random.default_rng(32)
    photo = rng.uniform(0, 1, (1, 3, 8, 9))
    cast = np.array([0.8, 1.1, 0.6]).reshape(1, 3, 1, 1)
    edited = 0.7 * cast * photo + 0.1
    assert np.allclose(
        norms.instance_norm(edited, eps=0.0), norms.instance_norm(photo, eps=0.0), atol=1e-12
    )


def test_two_features_collapse_under_layer_norm() -> None:
    """With D = 2 only the order of the two features survives."""
    x = np.random.default_rng(33).standard_normal((50, 2))
    y = norms.layer_norm(x, eps=0.0)
    assert np.allclose(y, np.where(x == x.max(1, keepdims=True), 1, -1))

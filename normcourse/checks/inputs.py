"""What cases are drawn from: parameters that hide nothing, and the same inputs in float32."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from normcourse.checks.exercise import Inputs


def scales(rng: np.random.Generator, shape: int | tuple[int, ...]) -> NDArray[np.float64]:
    """Return a gamma of both signs, different in every entry and away from 0 and 1.

    Example:
        >>> scales(np.random.default_rng(0), 3)
        array([ 2.13, -1.65,  1.35])
    """
    gamma = rng.uniform(1.3, 2.6, shape)
    signs = np.resize([1.0, -1.0], gamma.size).reshape(gamma.shape)
    return np.asarray(np.round(gamma * signs, 2))


def shifts(rng: np.random.Generator, shape: int | tuple[int, ...]) -> NDArray[np.float64]:
    """Return a beta that differs in every entry and is away from 0."""
    return np.asarray(np.round(rng.uniform(0.4, 1.9, shape), 2))


def parameters(rng: np.random.Generator, shape: int | tuple[int, ...]) -> dict[str, Any]:
    """Return gamma and beta by name."""
    return {"gamma": scales(rng, shape), "beta": shifts(rng, shape)}


def in_float32(inputs: Inputs) -> Inputs:
    """Return the inputs with every array of floats as float32."""
    return {
        name: value.astype(np.float32)
        if isinstance(value, np.ndarray) and value.dtype.kind == "f"
        else value
        for name, value in inputs.items()
    }

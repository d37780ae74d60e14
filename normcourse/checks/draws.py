"""What cases are made of: parameters that hide nothing, inputs in another dtype."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from normcourse.checks.exercise import Inputs


def gammas(rng: np.random.Generator, shape: int | tuple[int, ...]) -> NDArray[Any]:
    """Return scales of both signs, different in every entry and away from 0 and 1.

    Example:
        >>> gammas(np.random.default_rng(0), 3)
        array([ 2.13, -1.65,  1.35])
    """
    sizes = rng.uniform(1.3, 2.6, shape)
    signs = np.resize([1.0, -1.0], sizes.size).reshape(sizes.shape)
    return np.asarray(np.round(sizes * signs, 2))


def parameters(rng: np.random.Generator, shape: int | tuple[int, ...]) -> dict[str, NDArray[Any]]:
    """Return gamma as :func:`gammas` draws it, and beta different from it in every entry."""
    return {"gamma": gammas(rng, shape), "beta": np.round(rng.uniform(0.4, 1.9, shape), 2)}


def as_float32(inputs: Inputs) -> Inputs:
    """Return the inputs with every float64 array in float32.

    Example:
        >>> as_float32({"x": np.zeros(2), "eps": 1e-5})["x"].dtype
        dtype('float32')
    """
    return {
        name: value.astype(np.float32)
        if isinstance(value, np.ndarray) and value.dtype == np.float64
        else value
        for name, value in inputs.items()
    }

"""The row of the registry: what is known of a method beyond its functions.

Each file of ``norms`` ends in its row, ``METHOD``; ``norms/__init__.py`` lists the rows. Tables,
tests, benchmarks and figures loop over them, so a new method appears everywhere at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Shape = tuple[int, ...]
Example = Callable[[np.random.Generator, Shape], dict[str, Any]]


@dataclass(frozen=True)
class Method:
    """One normalization method.

    Args:
        name: key of the row and name of the NumPy function.
        title: name in text.
        kind: what it works on: "activation", "weight" or "attention".
        layout: the shape it takes, for example "(N, C, *)".
        axes: from the number of axes of x to the axes that one statistic pools (for GroupNorm of
            the view (N, G, C / G, *)); None where it pools no whole axes.
        pooled: the same in words, for an (N, C, H, W) array or the array in ``layout``.
        parameters: learned arrays in the order of the function's arguments.
        state: what the layer remembers between batches.
        gradients: arguments that ``backward`` returns gradients of, in order.
        formula: LaTeX of the forward pass.
        paper: key in book/references.bib.
        forward: the NumPy function.
        backward: its gradient by hand.
        module: import path of the PyTorch module, or empty.
        example: from a generator and a shape in ``layout`` to the arguments of one call by name,
            with a mean that is not 0 and parameters of both signs, different per channel.
    """

    name: str
    title: str
    kind: str
    layout: str
    axes: Callable[[int], tuple[int, ...]] | None
    pooled: str
    parameters: tuple[str, ...]
    state: tuple[str, ...]
    gradients: tuple[str, ...]
    formula: str
    paper: str
    forward: Callable[..., Any]
    backward: Callable[..., Any]
    module: str
    example: Example


def draw_input(rng: np.random.Generator, shape: Shape) -> Any:
    """Return values of mean 0.7 and standard deviation 1.5, the x of an example.

    Example:
        >>> import numpy as np
        >>> draw_input(np.random.default_rng(0), (2,)).round(4)
        array([0.8886, 0.5018])
    """
    return 0.7 + 1.5 * rng.standard_normal(shape)


def draw_parameter(rng: np.random.Generator, shape: Shape) -> Any:
    """Return values of both signs, away from 0, the gamma or beta of an example.

    Example:
        >>> import numpy as np
        >>> draw_parameter(np.random.default_rng(0), (3,)).round(4)
        array([-1.137 , -0.7698, -0.541 ])
    """
    return rng.uniform(0.5, 1.5, shape) * rng.choice([-1.0, 1.0], shape)


def per_channel_example(*names: str, **options: Any) -> Example:
    """Return an example maker for x of shape (N, C, *) with parameters of shape (C,)."""

    def example(rng: np.random.Generator, shape: Shape) -> dict[str, Any]:
        parameters = {name: draw_parameter(rng, shape[1:2]) for name in names}
        return {"x": draw_input(rng, shape), **options, **parameters}

    return example


def per_feature_example(*names: str, **options: Any) -> Example:
    """Return an example maker for x of shape (*, D) with parameters of shape (D,)."""

    def example(rng: np.random.Generator, shape: Shape) -> dict[str, Any]:
        parameters = {name: draw_parameter(rng, shape[-1:]) for name in names}
        return {"x": draw_input(rng, shape), **options, **parameters}

    return example

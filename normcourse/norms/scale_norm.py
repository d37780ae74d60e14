"""ScaleNorm: put each example on a sphere whose radius is one learned number.

    y = gamma * x / sqrt(sum(x^2) + eps)

It is RMSNorm with one gamma for all features: gamma = sqrt(D) gives the same values.

Source: Nguyen & Salazar, "Transformers without Tears: Improving the Normalization of
Self-Attention", 2019, section 2.3.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from normcourse.norms import core
from normcourse.norms._validate import Array, as_floats, as_parameter, check_eps, same_shape
from normcourse.norms.layer_norm import axes
from normcourse.norms.method import Method, Shape, draw_input

_LAYOUT = "(*, D), for example (N, D) or (B, T, D)"


def scale_norm(x: ArrayLike, gamma: ArrayLike | None = None, *, eps: float = 1e-5) -> Array:
    """Give each example the length gamma.

    Formula:
        y = gamma * x / sqrt(sum(x^2) + eps)

    Args:
        x: array of shape (*, D).
        gamma: the length, one number, or None for 1. Layers start at sqrt(D).
        eps: added to the squared length inside the root.

    Returns:
        y, like ``x`` in shape and dtype. Where all values are 0, y is 0.

    Raises:
        TypeError: an argument holds no real numbers.
        ValueError: x without axes, gamma of more than one number, or eps < 0.

    Differs from torch in:
        torch has no ScaleNorm; the authors' code bounds the length from below by eps, here eps
        is added inside the root as everywhere in this package.

    Source:
        Nguyen & Salazar 2019, section 2.3.

    Example:
        >>> scale_norm([[3.0, 4.0]], 10.0, eps=0.0)
        array([[6., 8.]])
    """
    x, gamma = _arguments(x, gamma)
    x_hat, _ = _on_sphere(x, check_eps(eps))
    return core.affine(x_hat, gamma, None).astype(x.dtype, copy=False)


def scale_norm_backward(
    dy: ArrayLike, x: ArrayLike, gamma: ArrayLike | None = None, *, eps: float = 1e-5
) -> tuple[Array, Array]:
    """Return the gradients of :func:`scale_norm` with respect to x and gamma.

    Formula, with sums over the features and inv_length = 1 / sqrt(sum(x^2) + eps):
        dx_hat = gamma * dy
        dx     = inv_length * (dx_hat - x_hat * sum(dx_hat * x_hat))
        dgamma = sum(dy * x_hat)                              sum over all values

    Args:
        dy: gradient with respect to y, like ``x``.
        x: as in the forward pass.
        gamma: as in the forward pass.
        eps: as in the forward pass.

    Returns:
        dx like ``x``; dgamma, an array of shape ().

    Raises:
        TypeError: as :func:`scale_norm`.
        ValueError: as :func:`scale_norm`, or ``dy`` is not shaped like ``x``.

    Source:
        Nguyen & Salazar 2019.

    Example:
        >>> dx, dgamma = scale_norm_backward([[1.0, 0.0]], [[3.0, 4.0]], 10.0, eps=0.0)
        >>> dx.round(4), round(float(dgamma), 4)
        (array([[ 1.28, -0.96]]), 0.6)
    """
    x, gamma = _arguments(x, gamma)
    dy = same_shape(dy, "dy", x, "x")
    x_hat, inv_length = _on_sphere(x, check_eps(eps))
    everything = tuple(range(x.ndim))
    dx_hat, dgamma, _ = core.affine_backward(dy, x_hat, gamma, shared_over=everything)
    dx = dx_hat - x_hat * np.sum(dx_hat * x_hat, axis=-1, keepdims=True)
    dx *= inv_length
    dtype = x.dtype if gamma is None else gamma.dtype
    return dx.astype(x.dtype, copy=False), np.asarray(dgamma, dtype)


def _on_sphere(x: Array, eps: float) -> tuple[Array, Array]:
    """Return x divided by its length, and the factor it was multiplied by."""
    squared_length = x.shape[-1] * core.mean_square(x, axes(x.ndim))  # (*, 1)
    inv_length = core.inverse_std(squared_length, eps)
    return np.multiply(x, inv_length, dtype=inv_length.dtype), inv_length


def _arguments(x: ArrayLike, gamma: ArrayLike | None) -> tuple[Array, Array | None]:
    """Return x and gamma as arrays, or say which of them does not fit."""
    return as_floats(x, "x", min_ndim=1, layout=_LAYOUT), as_parameter(gamma, "gamma", ())


def _example(rng: np.random.Generator, shape: Shape) -> dict[str, Any]:
    """Return the arguments of one call."""
    return {"x": draw_input(rng, shape), "gamma": rng.uniform(1.0, 3.0, ())}


METHOD = Method(
    name="scale_norm",
    title="ScaleNorm",
    kind="activation",
    layout="(*, D)",
    axes=axes,
    pooled="D: one length per example and position",
    parameters=("gamma",),
    state=(),
    gradients=("x", "gamma"),
    formula=r"y = \gamma \frac{x}{\sqrt{\sum_d x_d^2 + \epsilon}}",
    paper="nguyen2019transformers",
    forward=scale_norm,
    backward=scale_norm_backward,
    module="normcourse.modules.scale_norm:ScaleNorm",
    example=_example,
)

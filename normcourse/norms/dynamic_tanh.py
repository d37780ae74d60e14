"""Dynamic tanh: squash each value by itself. A substitute for a normalization, not one.

    y = gamma * tanh(alpha * x) + beta

No statistics are taken: alpha, one learned number, does for all inputs what 1 / std does for each.

Source: Zhu, Chen, He, LeCun & Liu, "Transformers without Normalization", 2025, equation 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from normcourse.norms import core
from normcourse.norms._validate import Array, as_floats, as_parameter, as_required, same_shape
from normcourse.norms.method import Method, Shape, per_feature_example
from normcourse.norms.precision import working_dtype

_LAYOUT = "(*, D), for example (N, D) or (B, T, D)"


def dynamic_tanh(
    x: ArrayLike,
    alpha: ArrayLike,
    gamma: ArrayLike | None = None,
    beta: ArrayLike | None = None,
) -> Array:
    """Squash each value, then scale and shift each feature.

    Formula:
        y = gamma * tanh(alpha * x) + beta

    Args:
        x: array of shape (*, D).
        alpha: slope at 0, one number.
        gamma: scale, array of shape (D,), or None for 1.
        beta: shift, array of shape (D,), or None for 0.

    Returns:
        y, like ``x`` in shape and dtype. No finite x overflows.

    Raises:
        TypeError: an argument holds no real numbers.
        ValueError: alpha of more than one number, or a parameter whose shape is not (D,).

    Differs from torch in:
        torch has no such layer.

    Source:
        Zhu et al. 2025, equation 1.

    Example:
        >>> dynamic_tanh([-1e308, 0.0, 1.0], 0.5).round(4)
        array([-1.    ,  0.    ,  0.4621])
    """
    x, alpha, gamma, beta = _arguments(x, alpha, gamma, beta)
    return core.affine(_squash(x, alpha), gamma, beta).astype(x.dtype, copy=False)


def dynamic_tanh_backward(
    dy: ArrayLike, x: ArrayLike, alpha: ArrayLike, gamma: ArrayLike | None = None
) -> tuple[Array, Array, Array, Array]:
    """Return the gradients of :func:`dynamic_tanh` with respect to x, alpha, gamma and beta.

    Formula, with t = tanh(alpha * x):
        dz     = gamma * dy * (1 - t^2)
        dx     = alpha * dz,  dalpha = sum(x * dz)
        dgamma = sum(dy * t),  dbeta = sum(dy)                sums over all leading axes

    Args:
        dy: gradient with respect to y, like ``x``.
        x: as in the forward pass.
        alpha: as in the forward pass.
        gamma: as in the forward pass.

    Returns:
        dx like ``x``; dalpha of shape (); dgamma and dbeta of shape (D,).

    Raises:
        TypeError: as :func:`dynamic_tanh`.
        ValueError: as :func:`dynamic_tanh`, or ``dy`` is not shaped like ``x``.

    Source:
        Zhu et al. 2025.

    Example:
        >>> dx, dalpha, dgamma, dbeta = dynamic_tanh_backward([1.0, 1.0], [0.0, 2.0], 0.5)
        >>> dx.round(4), round(float(dalpha), 4), dgamma.round(4), dbeta
        (array([0.5 , 0.21]), 0.8399, array([0.    , 0.7616]), array([1., 1.]))
    """
    x, alpha, gamma, _ = _arguments(x, alpha, gamma, None)
    dy = same_shape(dy, "dy", x, "x")
    t = _squash(x, alpha)
    leading = tuple(range(x.ndim - 1))
    dt, dgamma, dbeta = core.affine_backward(dy, t, gamma, shared_over=leading)
    dz = dt * (1 - t) * (1 + t)
    dtype = x.dtype if gamma is None else gamma.dtype
    return (
        (dz * alpha.astype(dz.dtype)).astype(x.dtype, copy=False),
        np.asarray(np.sum(x * dz), alpha.dtype),
        dgamma.astype(dtype, copy=False),
        dbeta.astype(dtype, copy=False),
    )


def _squash(x: Array, alpha: Array) -> Array:
    """Return tanh(alpha * x); a product beyond the largest number is as good as infinite."""
    dtype = working_dtype(x)
    with np.errstate(over="ignore"):
        return np.asarray(np.tanh(np.multiply(x, alpha.astype(dtype), dtype=dtype)))


def _arguments(
    x: ArrayLike, alpha: ArrayLike, gamma: ArrayLike | None, beta: ArrayLike | None
) -> tuple[Array, Array, Array | None, Array | None]:
    """Return the arguments as arrays, or say which of them does not fit."""
    x = as_floats(x, "x", min_ndim=1, layout=_LAYOUT)
    shape = x.shape[-1:]
    alpha = as_required(alpha, "alpha", ())
    return x, alpha, as_parameter(gamma, "gamma", shape), as_parameter(beta, "beta", shape)


def _example(rng: np.random.Generator, shape: Shape) -> dict[str, Any]:
    """Return the arguments of one call."""
    arguments = per_feature_example("gamma", "beta")(rng, shape)
    return {"x": arguments.pop("x"), "alpha": np.array(0.5), **arguments}


METHOD = Method(
    name="dynamic_tanh",
    title="dynamic tanh",
    kind="activation",
    layout="(*, D)",
    axes=lambda ndim: (),
    pooled="nothing",
    parameters=("alpha", "gamma", "beta"),
    state=(),
    gradients=("x", "alpha", "gamma", "beta"),
    formula=r"y = \gamma_d \tanh(\alpha x) + \beta_d",
    paper="zhu2025transformers",
    forward=dynamic_tanh,
    backward=dynamic_tanh_backward,
    module="normcourse.modules.dynamic_tanh:DynamicTanh",
    example=_example,
)

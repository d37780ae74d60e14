"""Conditional instance normalization: one network, many styles, one gamma and beta for each.

    y[n] = gamma[labels[n]] * (x[n] - mean) / sqrt(var + eps) + beta[labels[n]]

Source: Dumoulin, Shlens & Kudlur, "A Learned Representation for Artistic Style", 2017.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from normcourse.norms import core
from normcourse.norms._validate import Array, as_floats, as_required, check_eps, same_shape
from normcourse.norms.instance_norm import axes
from normcourse.norms.method import Method, Shape, draw_input, draw_parameter

_LAYOUT = "(N, C, *) with at least one position axis, for example (N, C, H, W)"


def conditional_instance_norm(
    x: ArrayLike, labels: ArrayLike, gamma: ArrayLike, beta: ArrayLike, *, eps: float = 1e-5
) -> Array:
    """Normalize each channel of each image, then scale and shift it as its style says.

    Formula:
        y = gamma[label] * (x - mean) / sqrt(var + eps) + beta[label]

    Args:
        x: array of shape (N, C, *).
        labels: the style of each image, whole numbers of shape (N,), 0 to S - 1.
        gamma: scales, array of shape (S, C).
        beta: shifts, array of shape (S, C).
        eps: added to the variance inside the root.

    Returns:
        y, like ``x`` in shape and dtype.

    Raises:
        TypeError: an argument holds no real numbers, or labels that are no whole numbers.
        ValueError: shapes that do not fit, a label outside 0 to S - 1, or eps < 0.

    Differs from torch in:
        torch has no conditional InstanceNorm.

    Source:
        Dumoulin, Shlens & Kudlur 2017.

    Example:
        >>> x = [[[2.0, 4.0]], [[6.0, 8.0]]]
        >>> conditional_instance_norm(x, [1, 0], [[1.0], [5.0]], [[0.0], [1.0]], eps=0.0)
        array([[[-4.,  6.]],
        <BLANKLINE>
               [[-1.,  1.]]])
    """
    x, labels, gamma, beta = _arguments(x, labels, gamma, beta)
    out = core.standardize(x, axes(x.ndim), check_eps(eps))
    scale, shift = _per_image(gamma, labels, x.ndim), _per_image(beta, labels, x.ndim)
    return core.affine(out.x_hat, scale, shift).astype(x.dtype, copy=False)


def conditional_instance_norm_backward(
    dy: ArrayLike, x: ArrayLike, labels: ArrayLike, gamma: ArrayLike, *, eps: float = 1e-5
) -> tuple[Array, Array, Array]:
    """Return the gradients of :func:`conditional_instance_norm` with respect to x, gamma and beta.

    Formula:
        dx as :func:`instance_norm_backward` with each image's own gamma
        dgamma[s] = sum(dy * x_hat),  dbeta[s] = sum(dy)      over the images of style s

    Args:
        dy: gradient with respect to y, like ``x``.
        x: as in the forward pass.
        labels: as in the forward pass.
        gamma: as in the forward pass.
        eps: as in the forward pass.

    Returns:
        dx like ``x``; dgamma and dbeta of shape (S, C), 0 for styles that are not in the batch.

    Raises:
        TypeError: as :func:`conditional_instance_norm`.
        ValueError: as the forward pass, or ``dy`` is not shaped like ``x``.

    Source:
        Dumoulin, Shlens & Kudlur 2017.

    Example:
        >>> x, dy = [[[2.0, 4.0]], [[6.0, 8.0]]], [[[1.0, 0.0]], [[0.0, 3.0]]]
        >>> dx, dgamma, dbeta = conditional_instance_norm_backward(
        ...     dy, x, [1, 1], [[1.0], [5.0]], eps=0.0
        ... )
        >>> dgamma.ravel(), dbeta.ravel()
        (array([0., 2.]), array([0., 4.]))
    """
    x, labels, gamma, _ = _arguments(x, labels, gamma, gamma)
    dy = same_shape(dy, "dy", x, "x")
    out = core.standardize(x, axes(x.ndim), check_eps(eps))
    dx_hat, dgamma_each, dbeta_each = core.affine_backward(  # (N, C) for each image
        dy, out.x_hat, _per_image(gamma, labels, x.ndim), shared_over=axes(x.ndim)
    )
    dx = core.standardize_backward(dx_hat, out.x_hat, out.inv_std, axes(x.ndim))
    dgamma, dbeta = np.zeros(gamma.shape, dx.dtype), np.zeros(gamma.shape, dx.dtype)
    np.add.at(dgamma, labels, dgamma_each)
    np.add.at(dbeta, labels, dbeta_each)
    return (
        dx.astype(x.dtype, copy=False),
        dgamma.astype(gamma.dtype, copy=False),
        dbeta.astype(gamma.dtype, copy=False),
    )


def _per_image(parameter: Array, labels: NDArray[np.intp], ndim: int) -> Array:
    """Return each image's row of a (S, C) parameter, ready to meet an (N, C, *) array."""
    rows = parameter[labels]  # (N, C)
    return rows.reshape(*rows.shape, *(1,) * (ndim - 2))  # (N, C, 1, ...)


def _arguments(
    x: ArrayLike, labels: ArrayLike, gamma: ArrayLike, beta: ArrayLike
) -> tuple[Array, NDArray[np.intp], Array, Array]:
    """Return the arguments as arrays, or say which of them does not fit."""
    x = as_floats(x, "x", min_ndim=3, layout=_LAYOUT)
    gamma = as_floats(gamma, "gamma", min_ndim=2, layout="(S, C), one row per style")
    gamma = as_required(gamma, "gamma", (len(gamma), x.shape[1]))
    beta = as_required(beta, "beta", gamma.shape)
    index = np.asarray(labels)
    if index.size == 0:
        index = index.astype(np.intp)
    if index.dtype.kind not in "iu":
        raise TypeError(
            f"labels: expected whole numbers, got dtype {index.dtype}. Give each image one style."
        )
    if index.shape != x.shape[:1] or np.any((index < 0) | (index >= len(gamma))):
        raise ValueError(
            f"labels: expected shape {x.shape[:1]} with values 0 to {len(gamma) - 1}, got shape "
            f"{index.shape} with {index.ravel()[:5].tolist()}. gamma has one row per style."
        )
    return x, index.astype(np.intp), gamma, beta


def _example(rng: np.random.Generator, shape: Shape) -> dict[str, Any]:
    """Return the arguments of one call with three styles."""
    return {
        "x": draw_input(rng, shape),
        "labels": rng.integers(3, size=shape[0]),
        "gamma": draw_parameter(rng, (3, shape[1])),
        "beta": draw_parameter(rng, (3, shape[1])),
    }


METHOD = Method(
    name="conditional_instance_norm",
    title="conditional InstanceNorm",
    kind="activation",
    layout="(N, C, L, *)",
    axes=axes,
    pooled="H and W: one mean per image and channel",
    parameters=("gamma", "beta"),
    state=(),
    gradients=("x", "gamma", "beta"),
    formula=r"y = \gamma_{s,c} \frac{x - \mu_{n,c}}{\sqrt{\sigma_{n,c}^2 + \epsilon}}"
    r" + \beta_{s,c}",
    paper="dumoulin2017learned",
    forward=conditional_instance_norm,
    backward=conditional_instance_norm_backward,
    module="normcourse.modules.conditional_instance_norm:ConditionalInstanceNorm",
    example=_example,
)

"""Spectral normalization: divide a weight by its largest singular value.

    weight_sn = weight / sigma,   sigma = uᵀ W v

W is the weight as a matrix of one row per output; u and v approximate its first singular vectors.
They are the layer's state: each training step improves them by one step of power iteration.

Source: Miyato, Kataoka, Koyama & Yoshida, "Spectral Normalization for Generative Adversarial
Networks", 2018, equation 8 and Algorithm 1.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from normcourse.norms._validate import (
    Array,
    as_floats,
    as_required,
    check_eps,
    check_whole,
    same_shape,
)
from normcourse.norms.method import Method, Shape, draw_input
from normcourse.norms.precision import working_dtype

_LAYOUT = "(O, *), for example (O, I) or (O, I, kH, kW)"


def spectral_norm(
    weight: ArrayLike, u: ArrayLike | None = None, v: ArrayLike | None = None
) -> Array:
    """Divide the weight by the singular value that u and v see.

    Formula:
        weight_sn = weight / (uᵀ W v)

    Args:
        weight: array of shape (O, *); W is its (O, M) matrix.
        u: unit vector of shape (O,).
        v: unit vector of shape (M,). With u and v both None they are the exact first singular
            vectors, and weight_sn has the largest singular value 1.

    Returns:
        weight_sn, like ``weight`` in shape and dtype; 0 where sigma is 0.

    Raises:
        TypeError: an argument holds no real numbers.
        ValueError: wrong shapes, or one of u and v without the other.

    Differs from torch in:
        u and v are arguments; :func:`power_iteration` returns the next ones.

    Source:
        Miyato et al. 2018, equation 8.

    Example:
        >>> spectral_norm([[0.0, 4.0], [2.0, 0.0]])
        array([[0. , 1. ],
               [0.5, 0. ]])
        >>> spectral_norm([[0.0, 4.0], [2.0, 0.0]], u=[0.0, 1.0], v=[1.0, 0.0])
        array([[0., 2.],
               [1., 0.]])
    """
    weight, matrix, u, v = _arguments(weight, u, v)
    w_hat = matrix * _inverse(u @ matrix @ v)
    return w_hat.reshape(weight.shape).astype(weight.dtype, copy=False)


def spectral_norm_backward(
    dw: ArrayLike, weight: ArrayLike, u: ArrayLike | None = None, v: ArrayLike | None = None
) -> Array:
    """Return the gradient of :func:`spectral_norm` with respect to the weight.

    Formula, with u and v constant:
        dweight = (dw - sum(dw * weight_sn) * u vᵀ) / sigma

    Args:
        dw: gradient with respect to weight_sn, like ``weight``.
        weight: as in the forward pass.
        u: as in the forward pass.
        v: as in the forward pass. For the exact singular vectors the formula is the whole
            gradient: to first order, turning them does not change sigma.

    Returns:
        dweight, like ``weight``.

    Raises:
        TypeError: as :func:`spectral_norm`.
        ValueError: as :func:`spectral_norm`, or ``dw`` is not shaped like ``weight``.

    Source:
        Miyato et al. 2018, section 2.3.

    Example:
        >>> spectral_norm_backward([[0.0, 1.0], [1.0, 0.0]], [[0.0, 4.0], [2.0, 0.0]])
        array([[ 0.   , -0.125],
               [ 0.25 ,  0.   ]])
    """
    weight, matrix, u, v = _arguments(weight, u, v)
    dw = same_shape(dw, "dw", weight, "weight").reshape(matrix.shape)
    inv_sigma = _inverse(u @ matrix @ v)
    along = np.sum(dw * matrix) * inv_sigma
    dweight: Array = (dw - along * np.outer(u, v)) * inv_sigma
    return dweight.reshape(weight.shape).astype(weight.dtype, copy=False)


def power_iteration(
    weight: ArrayLike, v: ArrayLike, *, num_iterations: int = 1, eps: float = 1e-12
) -> tuple[Array, Array]:
    """Return u and v after some steps of power iteration.

    Formula, each step:
        u = W v / max(|W v|, eps),  v = Wᵀ u / max(|Wᵀ u|, eps)

    Args:
        weight: array of shape (O, *).
        v: the vector so far, array of shape (M,).
        num_iterations: number of steps, at least 1.
        eps: smallest length to divide by.

    Returns:
        u of shape (O,) and v of shape (M,).

    Raises:
        TypeError: an argument holds no real numbers.
        ValueError: wrong shapes, no steps, or eps < 0.

    Differs from torch in:
        returns new arrays, nothing is changed in place. The paper's step starts from u and ends
        with u; torch's parametrization starts from v and ends with v, and so does this one.

    Source:
        Miyato et al. 2018, Algorithm 1.

    Example:
        >>> u, v = power_iteration([[0.0, 4.0], [2.0, 0.0]], [0.6, 0.8], num_iterations=20)
        >>> u.round(4), v.round(4)
        (array([1., 0.]), array([0., 1.]))
    """
    weight = as_floats(weight, "weight", min_ndim=2, layout=_LAYOUT)
    matrix = _matrix(weight)
    v = as_required(v, "v", matrix.shape[1:]).astype(matrix.dtype, copy=False)
    eps = check_eps(eps)
    for _ in range(check_whole(num_iterations, "num_iterations", at_least=1)):
        u = _unit(matrix @ v, eps)
        v = _unit(matrix.T @ u, eps)
    return u, v


def _matrix(weight: Array) -> Array:
    """Return the weight as a matrix of one row per output, in the working dtype."""
    columns = math.prod(weight.shape[1:])
    return weight.reshape(len(weight), columns).astype(working_dtype(weight), copy=False)


def _unit(vector: Array, eps: float) -> Array:
    """Return the vector with length 1; 0 stays 0."""
    length = max(float(np.linalg.norm(vector)), eps)
    return vector / vector.dtype.type(length) if length > 0 else vector


def _inverse(sigma: Array) -> Array:
    """Return 1 / sigma, and 0 where sigma is 0."""
    return np.divide(1, sigma, out=np.zeros_like(sigma), where=sigma != 0)


def _arguments(
    weight: ArrayLike, u: ArrayLike | None, v: ArrayLike | None
) -> tuple[Array, Array, Array, Array]:
    """Return the weight, its matrix and both vectors, exact ones where they are None."""
    weight = as_floats(weight, "weight", min_ndim=2, layout=_LAYOUT)
    matrix = _matrix(weight)
    if (u is None) != (v is None):
        missing = "v" if v is None else "u"
        raise ValueError(f"{missing}: got None beside the other vector. Give both or neither.")
    if u is None and matrix.size:
        left, _, right = np.linalg.svd(matrix, full_matrices=False)
        u, v = left[:, 0], right[0]
    elif u is None:
        u, v = np.zeros(matrix.shape[0]), np.zeros(matrix.shape[1])
    u = as_required(u, "u", matrix.shape[:1]).astype(matrix.dtype, copy=False)
    return weight, matrix, u, as_required(v, "v", matrix.shape[1:]).astype(matrix.dtype, copy=False)


def _example(rng: np.random.Generator, shape: Shape) -> dict[str, Any]:
    """Return the arguments of one call, after one step of power iteration."""
    weight = draw_input(rng, shape)
    u, v = power_iteration(weight, rng.standard_normal(math.prod(shape[1:])))
    return {"weight": weight, "u": u, "v": v}


METHOD = Method(
    name="spectral_norm",
    title="spectral normalization",
    kind="weight",
    layout="(O, *)",
    axes=None,
    pooled="the whole weight: one singular value",
    parameters=("weight",),
    state=("u", "v"),
    gradients=("weight",),
    formula=r"W_{SN} = \frac{W}{\sigma(W)}, \quad \sigma(W) = u^\top W v",
    paper="miyato2018spectral",
    forward=spectral_norm,
    backward=spectral_norm_backward,
    module="normcourse.modules.spectral_norm:SpectralNorm",
    example=_example,
)

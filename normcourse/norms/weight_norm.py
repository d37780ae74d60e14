"""Weight normalization: learn the length and the direction of each weight row apart.

    weight = g * v / |v|

The length is that of all entries that feed one output. Nothing is measured on the data.

Source: Salimans & Kingma, "Weight Normalization: A Simple Reparameterization to Accelerate Training
of Deep Neural Networks", 2016, equations 2 and 3.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from normcourse.norms import core
from normcourse.norms._validate import Array, as_floats, as_required, same_shape
from normcourse.norms.method import Method, Shape, draw_input, draw_parameter
from normcourse.norms.precision import Axes, working_dtype


def axes(ndim: int) -> Axes:
    """Return the axes that one length pools: all but the output axis 0.

    Example:
        >>> axes(2), axes(4)
        ((1,), (1, 2, 3))
    """
    return tuple(range(1, ndim))


def weight_norm(v: ArrayLike, g: ArrayLike, *, output_axis: int | None = 0) -> Array:
    """Return the weight whose rows have the direction of v and the length g.

    Formula:
        weight = g * v / |v|

    Args:
        v: array of shape (O, *), for example (O, I) or (O, I, kH, kW).
        g: lengths, array of shape (O,); one number where ``output_axis`` is None.
        output_axis: the axis of the outputs; None gives the whole array one length.

    Returns:
        The weight, like ``v`` in shape and dtype. A row of zeros stays 0.

    Raises:
        TypeError: an argument holds no real numbers.
        ValueError: g of another shape, or an axis that v does not have.

    Differs from torch in:
        torch keeps g as (O, 1, ...), and a row of zeros gives NaN there.

    Source:
        Salimans & Kingma 2016, equation 2.

    Example:
        >>> weight_norm([[3.0, 4.0], [0.0, 2.0]], [10.0, 1.0])
        array([[6., 8.],
               [0., 1.]])
    """
    v, g, axis = _arguments(v, g, output_axis)
    direction, _ = _direction(v, axis)
    weight: Array = direction * g.astype(direction.dtype)
    return weight.astype(v.dtype, copy=False)


def weight_norm_backward(
    dw: ArrayLike, v: ArrayLike, g: ArrayLike, *, output_axis: int | None = 0
) -> tuple[Array, Array]:
    """Return the gradients of :func:`weight_norm` with respect to v and g.

    Formula, with sums over the entries of one row:
        dg = sum(dw * v / |v|)
        dv = g / |v| * (dw - v / |v| * dg)

    Args:
        dw: gradient with respect to the weight, like ``v``.
        v: as in the forward pass.
        g: as in the forward pass.
        output_axis: as in the forward pass.

    Returns:
        dv like ``v``, orthogonal to each row of v; dg like ``g``. A row of zeros has dv = 0.

    Raises:
        TypeError: as :func:`weight_norm`.
        ValueError: as :func:`weight_norm`, or ``dw`` is not shaped like ``v``.

    Source:
        Salimans & Kingma 2016, equation 3.

    Example:
        >>> dv, dg = weight_norm_backward([[1.0, 0.0]], [[3.0, 4.0]], [10.0])
        >>> dv.round(4), dg
        (array([[ 1.28, -0.96]]), array([0.6]))
    """
    dw = as_floats(dw, "dw")
    v, lengths, axis = _arguments(v, g, output_axis)
    dw = same_shape(dw, "dw", v, "v")
    direction, inv_norm = _direction(v, axis)
    dg = np.sum(dw * direction, axis=axis, keepdims=True)  # (O, 1, ...)
    dv = lengths.astype(direction.dtype) * inv_norm * (dw - direction * dg)
    return dv.astype(v.dtype, copy=False), dg.reshape(np.shape(g)).astype(lengths.dtype, copy=False)


def _direction(v: Array, axis: Axes) -> tuple[Array, Array]:
    """Return v / |v| and 1 / |v|, with the axes kept."""
    dtype = working_dtype(v)
    largest = np.max(np.abs(v), axis=axis, keepdims=True, initial=0.0).astype(dtype)
    inv_largest = np.divide(1, largest, out=np.zeros_like(largest), where=largest > 0)
    direction = np.multiply(v, inv_largest, dtype=dtype)  # entries up to 1: squares stay in range
    inv_norm = core.inverse_std(np.sum(np.square(direction), axis=axis, keepdims=True), eps=0.0)
    direction *= inv_norm
    return direction, inv_norm * inv_largest


def _arguments(v: ArrayLike, g: ArrayLike, output_axis: int | None) -> tuple[Array, Array, Axes]:
    """Return v, g with the pooled axes as (O, 1, ...), and the pooled axes."""
    v = as_floats(v, "v", min_ndim=1, layout="(O, *), for example (O, I)")
    if output_axis is not None and not -v.ndim <= output_axis < v.ndim:
        raise ValueError(
            f"output_axis: expected an axis of v, whose shape is {v.shape}, got {output_axis}. "
            f"Outputs are axis 0 of linear and conv weights, 1 of transposed conv weights."
        )
    kept = () if output_axis is None else (output_axis % v.ndim,)
    axis = tuple(a for a in range(v.ndim) if a not in kept)
    g = as_required(g, "g", tuple(v.shape[a] for a in kept))
    return v, g.reshape([v.shape[a] if a in kept else 1 for a in range(v.ndim)]), axis


def _example(rng: np.random.Generator, shape: Shape) -> dict[str, Any]:
    """Return the arguments of one call."""
    return {"v": draw_input(rng, shape), "g": draw_parameter(rng, shape[:1])}


METHOD = Method(
    name="weight_norm",
    title="weight normalization",
    kind="weight",
    layout="(O, *)",
    axes=axes,
    pooled="I, kH and kW of the weight: one length per output",
    parameters=("v", "g"),
    state=(),
    gradients=("v", "g"),
    formula=r"w_o = g_o \frac{v_o}{\lVert v_o \rVert}",
    paper="salimans2016weight",
    forward=weight_norm,
    backward=weight_norm_backward,
    module="normcourse.modules.weight_norm:WeightNorm",
    example=_example,
)

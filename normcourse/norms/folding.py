"""BatchNorm in inference is one fixed affine map, so a linear or conv layer can swallow it.

    scale  = gamma / sqrt(running_var + eps)
    weight = weight * scale (per output channel)
    bias   = (bias - running_mean) * scale + beta

Exact in inference mode; in training the statistics change with each batch and nothing folds.

Source: Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", 2018, section 3.2.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from normcourse.norms import core
from normcourse.norms._validate import Array, as_floats, as_required, check_eps, same_shape
from normcourse.norms.precision import working_dtype


def fold_batch_norm(
    weight: ArrayLike,
    bias: ArrayLike | None,
    gamma: ArrayLike | None,
    beta: ArrayLike | None,
    running_mean: ArrayLike,
    running_var: ArrayLike,
    *,
    eps: float = 1e-5,
) -> tuple[Array, Array]:
    """Return weight and bias of the layer that does a linear layer and its BatchNorm at once.

    Formula:
        scale = gamma / sqrt(running_var + eps)
        weight' = weight * scale,  bias' = (bias - running_mean) * scale + beta

    Args:
        weight: array of shape (O, *), for example (O, I) or (O, I, kH, kW).
        bias: array of shape (O,), or None for 0.
        gamma: array of shape (O,), or None for 1.
        beta: array of shape (O,), or None for 0.
        running_mean: array of shape (O,).
        running_var: array of shape (O,).
        eps: the BatchNorm's.

    Returns:
        weight' like ``weight`` and bias' of shape (O,).

    Raises:
        TypeError: an argument holds no real numbers.
        ValueError: shapes that do not fit, or eps < 0.

    Differs from torch in:
        torch.nn.utils.fusion.fuse_conv_bn_weights takes the arguments in another order.

    Source:
        Jacob et al. 2018, section 3.2.

    Example:
        >>> fold_batch_norm([[2.0]], [1.0], [3.0], [0.5], [5.0], [4.0], eps=0.0)
        (array([[3.]]), array([-5.5]))
    """
    weight = as_floats(weight, "weight", min_ndim=2, layout="(O, *), for example (O, I)")
    shape = weight.shape[:1]
    eps = check_eps(eps)
    given = (bias, gamma, beta, running_mean, running_var)
    names = ("bias", "gamma", "beta", "running_mean", "running_var")
    defaults = (0.0, 1.0, 0.0, None, None)
    bias, gamma, beta, mean, var = (
        _filled(value, name, shape, default)
        for value, name, default in zip(given, names, defaults, strict=True)
    )
    scale = gamma * core.inverse_std(var, eps)
    columns = scale.reshape(-1, *(1,) * (weight.ndim - 1))  # (O, 1, ...)
    folded = (weight * columns).astype(weight.dtype, copy=False)
    return folded, ((bias - mean) * scale + beta).astype(weight.dtype, copy=False)


def affine_to_undo(mean: ArrayLike, var: ArrayLike, *, eps: float = 1e-5) -> tuple[Array, Array]:
    """Return the gamma and beta with which these fixed statistics give back x.

    Formula:
        gamma = sqrt(var + eps),  beta = mean

    Args:
        mean: array of shape (C,).
        var: biased variance, like ``mean``.
        eps: the layer's.

    Returns:
        gamma and beta, like ``mean``.

    Raises:
        TypeError: an argument holds no real numbers.
        ValueError: shapes that differ, or eps < 0.

    Source:
        Ioffe & Szegedy 2015, section 3; there without eps.

    Example:
        >>> affine_to_undo([5.0], [5.0], eps=4.0)
        (array([3.]), array([5.]))
    """
    mean = as_floats(mean, "mean")
    var = same_shape(var, "var", mean, "mean", why="Each mean has a variance.")
    return np.sqrt(var + check_eps(eps)), mean.copy()


def _filled(
    value: ArrayLike | None, name: str, shape: tuple[int, ...], default: float | None
) -> Array:
    """Return a parameter in at least float32, its default where it is None."""
    if value is None and default is not None:
        return np.full(shape, default, np.float32)
    array = as_required(value, name, shape)
    return array.astype(working_dtype(array), copy=False)

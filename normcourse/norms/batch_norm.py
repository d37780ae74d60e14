"""Batch normalization: one mean per feature, pooled over the batch and over all positions.

For x of shape (N, C, *) the axes are all but the second: (0,) for (N, D), (0, 2) for (N, C, L),
(0, 2, 3) for (N, C, H, W). One mean pools N·H·W values.

    training:   y = gamma * (x - mean) / sqrt(var + eps) + beta        statistics of this batch
    inference:  y = gamma * (x - running_mean) / sqrt(running_var + eps) + beta

Source: Ioffe & Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing
Internal Covariate Shift", 2015, Algorithms 1 and 2.
"""

from __future__ import annotations

from numpy.typing import ArrayLike

from normcourse.norms import core
from normcourse.norms._validate import (
    Array,
    as_floats,
    as_parameter,
    check_eps,
    same_shape,
)
from normcourse.norms.method import Method, per_channel_example
from normcourse.norms.precision import Axes, working_dtype

_LAYOUT = "(N, C, *), for example (N, D) or (N, C, H, W)"


def axes(ndim: int) -> Axes:
    """Return the axes that one mean pools: all but the channel axis 1.

    Example:
        >>> axes(2), axes(4)
        ((0,), (0, 2, 3))
    """
    return (0, *range(2, ndim))


def batch_norm(
    x: ArrayLike,
    gamma: ArrayLike | None = None,
    beta: ArrayLike | None = None,
    *,
    running_mean: ArrayLike | None = None,
    running_var: ArrayLike | None = None,
    training: bool = True,
    eps: float = 1e-5,
) -> Array:
    """Normalize each feature over the batch, then scale and shift it.

    Formula:
        y = gamma * (x - mean) / sqrt(var + eps) + beta

    Args:
        x: array of shape (N, C, *).
        gamma: scale, array of shape (C,), or None for 1.
        beta: shift, array of shape (C,), or None for 0.
        running_mean: array of shape (C,); used when ``training`` is False.
        running_var: array of shape (C,); used when ``training`` is False.
        training: True takes mean and biased variance from the batch, False the running ones. As
            in PyTorch, inference without running statistics uses the batch's.
        eps: added to the variance inside the root.

    Returns:
        y, like ``x`` in shape and dtype. With one value per channel y is beta.

    Raises:
        TypeError: an argument holds no real numbers.
        ValueError: wrong rank, a parameter whose shape is not (C,), one running statistic
            without the other, or eps < 0.

    Differs from torch in:
        running statistics are updated by :func:`update_running_stats`, in running_stats.py; one
        value per channel in training gives beta where torch raises.

    Source:
        Ioffe & Szegedy 2015, Algorithms 1 and 2.

    Example:
        >>> import numpy as np
        >>> x = np.array([[2.0], [4.0], [6.0], [8.0]])
        >>> batch_norm(x, eps=0.0).ravel().round(4)
        array([-1.3416, -0.4472,  0.4472,  1.3416])
        >>> batch_norm(x, running_mean=[5.0], running_var=[4.0], training=False, eps=0.0).ravel()
        array([-1.5, -0.5,  0.5,  1.5])
    """
    x, gamma, beta, running_mean, running_var = _arguments(
        x, gamma, beta, running_mean, running_var
    )
    out = _standardized(x, running_mean, running_var, training=training, eps=check_eps(eps))
    gamma, beta = core.per_channel(gamma, x.ndim), core.per_channel(beta, x.ndim)  # (1, C, 1, ...)
    return core.affine(out.x_hat, gamma, beta).astype(x.dtype, copy=False)


def batch_norm_backward(
    dy: ArrayLike,
    x: ArrayLike,
    gamma: ArrayLike | None = None,
    *,
    running_mean: ArrayLike | None = None,
    running_var: ArrayLike | None = None,
    training: bool = True,
    eps: float = 1e-5,
) -> tuple[Array, Array, Array]:
    """Return the gradients of :func:`batch_norm` with respect to x, gamma and beta.

    Formula, in training, with means over the pooled axes:
        dx_hat = gamma * dy
        dx     = inv_std * (dx_hat - mean(dx_hat) - x_hat * mean(dx_hat * x_hat))
        dgamma = sum(dy * x_hat),  dbeta = sum(dy)

    In inference the statistics are constants, so dx = inv_std * dx_hat.

    Args:
        dy: gradient with respect to y, like ``x``.
        x: the input of the forward pass, array of shape (N, C, *).
        gamma: scale, array of shape (C,), or None for 1.
        running_mean: as in the forward pass.
        running_var: as in the forward pass.
        training: as in the forward pass.
        eps: as in the forward pass.

    Returns:
        dx like ``x``; dgamma and dbeta of shape (C,). With one value per channel dx is 0.

    Raises:
        TypeError: an argument holds no real numbers.
        ValueError: as :func:`batch_norm`, or ``dy`` is not shaped like ``x``.

    Differs from torch in:
        dgamma and dbeta are returned also where gamma is None.

    Source:
        Ioffe & Szegedy 2015, section 3; chapter 03 derives it.

    Example:
        >>> import numpy as np
        >>> x = np.array([[2.0], [4.0], [6.0], [8.0]])
        >>> dx, dgamma, dbeta = batch_norm_backward([[1.0], [0.0], [0.0], [0.0]], x, eps=0.0)
        >>> dx.ravel().round(4), dgamma.round(4), dbeta
        (array([ 0.1342, -0.1789, -0.0447,  0.0894]), array([-1.3416]), array([1.]))
    """
    x, gamma, _, running_mean, running_var = _arguments(x, gamma, None, running_mean, running_var)
    dy = same_shape(dy, "dy", x, "x")
    out = _standardized(x, running_mean, running_var, training=training, eps=check_eps(eps))
    axis = axes(x.ndim)
    dx_hat, dgamma, dbeta = core.affine_backward(
        dy, out.x_hat, core.per_channel(gamma, x.ndim), shared_over=axis
    )
    if training or running_mean is None:
        dx = core.standardize_backward(dx_hat, out.x_hat, out.inv_std, axis)
    else:
        dx = dx_hat * out.inv_std
    parameter_dtype = x.dtype if gamma is None else gamma.dtype
    return (
        dx.astype(x.dtype, copy=False),
        dgamma.astype(parameter_dtype, copy=False),
        dbeta.astype(parameter_dtype, copy=False),
    )


def _standardized(
    x: Array,
    running_mean: Array | None,
    running_var: Array | None,
    *,
    training: bool,
    eps: float,
) -> core.Standardized:
    """Standardize with the statistics that the mode asks for."""
    if training or running_mean is None or running_var is None:
        return core.standardize(x, axes(x.ndim), eps)
    dtype = working_dtype(x)
    mean = core.per_channel(running_mean.astype(dtype), x.ndim)  # (1, C, 1, ...)
    inv_std = core.per_channel(core.inverse_std(running_var.astype(dtype), eps), x.ndim)
    assert mean is not None
    assert inv_std is not None
    return core.Standardized((x - mean) * inv_std, mean, inv_std)


def _arguments(
    x: ArrayLike,
    gamma: ArrayLike | None,
    beta: ArrayLike | None,
    running_mean: ArrayLike | None,
    running_var: ArrayLike | None,
) -> tuple[Array, Array | None, Array | None, Array | None, Array | None]:
    """Return the arguments as arrays, or say which of them does not fit."""
    x = as_floats(x, "x", min_ndim=2, layout=_LAYOUT)
    shape = (x.shape[1],)
    if (running_mean is None) != (running_var is None):
        missing = "running_var" if running_var is None else "running_mean"
        raise ValueError(f"{missing}: got None beside the other statistic. Give both or neither.")
    return (
        x,
        as_parameter(gamma, "gamma", shape),
        as_parameter(beta, "beta", shape),
        as_parameter(running_mean, "running_mean", shape),
        as_parameter(running_var, "running_var", shape),
    )


METHOD = Method(
    name="batch_norm",
    title="BatchNorm",
    kind="activation",
    layout="(N, C, *)",
    axes=axes,
    pooled="N, H and W: one mean per channel",
    parameters=("gamma", "beta"),
    state=("running_mean", "running_var", "num_batches_tracked"),
    gradients=("x", "gamma", "beta"),
    formula=r"y = \gamma_c \frac{x - \mu_c}{\sqrt{\sigma_c^2 + \epsilon}} + \beta_c",
    paper="ioffe2015batch",
    forward=batch_norm,
    backward=batch_norm_backward,
    module="normcourse.modules.batch_norm:BatchNorm",
    example=per_channel_example("gamma", "beta"),
)

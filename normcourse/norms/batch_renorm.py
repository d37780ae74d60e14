"""Batch renormalization: training outputs that already agree with inference.

    x_hat = (x - mean) / sqrt(var + eps) * r + d
    r = sqrt(var + eps) / sqrt(running_var + eps)          kept in [1 / r_max, r_max]
    d = (mean - running_mean) / sqrt(running_var + eps)    kept in [-d_max, d_max]

r and d are constants in the gradient. Where neither is clipped, x_hat is what inference would give.
At r_max = 1 and d_max = 0 this is BatchNorm.

Source: Ioffe, "Batch Renormalization: Towards Reducing Minibatch Dependence in Batch-Normalized
Models", 2017, Algorithm 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from normcourse.norms import core
from normcourse.norms._validate import (
    Array,
    as_floats,
    as_parameter,
    as_required,
    check_eps,
    check_number,
    same_shape,
)
from normcourse.norms.batch_norm import axes as axes_of_batch_norm
from normcourse.norms.batch_norm import batch_norm, batch_norm_backward
from normcourse.norms.method import Method, Shape, draw_parameter, per_channel_example

_LAYOUT = "(N, C, *), for example (N, D) or (N, C, H, W)"


def batch_renorm(
    x: ArrayLike,
    running_mean: ArrayLike,
    running_var: ArrayLike,
    gamma: ArrayLike | None = None,
    beta: ArrayLike | None = None,
    *,
    training: bool = True,
    r_max: float = 3.0,
    d_max: float = 5.0,
    eps: float = 1e-5,
) -> Array:
    """Normalize with the batch's statistics, corrected towards the running ones.

    Formula:
        y = gamma * ((x - mean) / sqrt(var + eps) * r + d) + beta

    Args:
        x: array of shape (N, C, *).
        running_mean: array of shape (C,).
        running_var: array of shape (C,).
        gamma: scale, array of shape (C,), or None for 1.
        beta: shift, array of shape (C,), or None for 0.
        training: False is :func:`batch_norm` in inference.
        r_max: bound of r and 1 / r, at least 1.
        d_max: bound of abs(d).
        eps: added to both variances inside the roots.

    Returns:
        y, like ``x``.

    Raises:
        TypeError: an argument holds no real numbers.
        ValueError: wrong rank, a shape that is not (C,), r_max < 1, d_max < 0 or eps < 0.

    Differs from torch in:
        torch has no BatchRenorm. The paper averages the standard deviation, here it is the root
        of the running variance, the state that BatchNorm has.

    Source:
        Ioffe 2017, Algorithm 1; r_max = 3 and d_max = 5 are the final values of section 4.

    Example:
        >>> import numpy as np
        >>> x = np.array([[2.0], [4.0], [6.0], [8.0]])
        >>> batch_renorm(x, [4.0], [4.0], eps=0.0).ravel()  # inference: (x - 4) / 2
        array([-1.,  0.,  1.,  2.])
    """
    x = as_floats(x, "x", min_ndim=2, layout=_LAYOUT)
    if not training:
        statistics: Any = {"running_mean": running_mean, "running_var": running_var}
        return batch_norm(x, gamma, beta, **statistics, training=False, eps=eps)
    scale = as_parameter(gamma, "gamma", x.shape[1:2])
    shift = as_parameter(beta, "beta", x.shape[1:2])
    out, r, d = _renormalized(x, running_mean, running_var, r_max, d_max, eps)
    x_hat = out.x_hat * r + d
    y = core.affine(x_hat, core.per_channel(scale, x.ndim), core.per_channel(shift, x.ndim))
    return y.astype(x.dtype, copy=False)


def batch_renorm_backward(
    dy: ArrayLike,
    x: ArrayLike,
    running_mean: ArrayLike,
    running_var: ArrayLike,
    gamma: ArrayLike | None = None,
    *,
    training: bool = True,
    r_max: float = 3.0,
    d_max: float = 5.0,
    eps: float = 1e-5,
) -> tuple[Array, Array, Array]:
    """Return the gradients of :func:`batch_renorm` with respect to x, gamma and beta.

    Formula:
        dx by :func:`core.standardize_backward` from gamma * r * dy, with r and d constant
        dgamma = sum(dy * (x_hat * r + d)),  dbeta = sum(dy)

    Args:
        dy: gradient with respect to y, like ``x``.
        x: as in the forward pass.
        running_mean: as in the forward pass.
        running_var: as in the forward pass.
        gamma: as in the forward pass.
        training: as in the forward pass.
        r_max: as in the forward pass.
        d_max: as in the forward pass.
        eps: as in the forward pass.

    Returns:
        dx like ``x``; dgamma and dbeta of shape (C,).

    Raises:
        TypeError: as :func:`batch_renorm`.
        ValueError: as :func:`batch_renorm`, or ``dy`` is not shaped like ``x``.

    Source:
        Ioffe 2017, section 3.

    Example:
        >>> import numpy as np
        >>> x, dy = np.array([[2.0], [4.0], [6.0], [8.0]]), np.array([[1.0], [0.0], [0.0], [0.0]])
        >>> dx, dgamma, dbeta = batch_renorm_backward(dy, x, [4.0], [4.0], eps=0.0)
        >>> dx.ravel(), dgamma, dbeta
        (array([ 0.15, -0.2 , -0.05,  0.1 ]), array([-1.]), array([1.]))
    """
    x = as_floats(x, "x", min_ndim=2, layout=_LAYOUT)
    if not training:
        statistics: Any = {"running_mean": running_mean, "running_var": running_var}
        return batch_norm_backward(dy, x, gamma, **statistics, training=False, eps=eps)
    dy, scale = same_shape(dy, "dy", x, "x"), as_parameter(gamma, "gamma", x.shape[1:2])
    out, r, d = _renormalized(x, running_mean, running_var, r_max, d_max, eps)
    axis = axes_of_batch_norm(x.ndim)
    dx_hat, dgamma, dbeta = core.affine_backward(
        dy, out.x_hat * r + d, core.per_channel(scale, x.ndim), shared_over=axis
    )
    dx = core.standardize_backward(dx_hat * r, out.x_hat, out.inv_std, axis)
    dtype = x.dtype if scale is None else scale.dtype
    return dx.astype(x.dtype, copy=False), dgamma.astype(dtype), dbeta.astype(dtype)


def _renormalized(
    x: Array,
    running_mean: ArrayLike,
    running_var: ArrayLike,
    r_max: float,
    d_max: float,
    eps: float,
) -> tuple[core.Standardized, Array, Array]:
    """Return the batch standardized by itself, and r and d of shape (1, C, 1, ...)."""
    eps = check_eps(eps)
    r_max = check_number(r_max, "r_max", at_least=1, usual="3")
    d_max = check_number(d_max, "d_max", at_least=0, usual="5")
    out = core.standardize(x, axes_of_batch_norm(x.ndim), eps)
    old_mean, old_var = (
        as_required(value, name, x.shape[1:2]).astype(out.mean.dtype).reshape(out.mean.shape)
        for value, name in ((running_mean, "running_mean"), (running_var, "running_var"))
    )
    inv_old = core.inverse_std(old_var, eps)
    std = np.divide(1, out.inv_std, out=np.zeros_like(out.inv_std), where=out.inv_std > 0)
    r = np.clip(std * inv_old, 1 / r_max, r_max)
    return out, r, np.clip((out.mean - old_mean) * inv_old, -d_max, d_max)


def _example(rng: np.random.Generator, shape: Shape) -> dict[str, Any]:
    """Return the arguments of one call; the running statistics clip some channels."""
    arguments = per_channel_example("gamma", "beta")(rng, shape)
    running = {
        "running_mean": 3 * draw_parameter(rng, shape[1:2]),
        "running_var": rng.uniform(0.2, 2.0, shape[1:2]),
    }
    return {"x": arguments.pop("x"), **running, **arguments, "r_max": 1.5, "d_max": 2.0}


METHOD = Method(
    name="batch_renorm",
    title="batch renormalization",
    kind="activation",
    layout="(N, C, *)",
    axes=axes_of_batch_norm,
    pooled="N, H and W: one mean per channel, corrected by the running one",
    parameters=("gamma", "beta"),
    state=("running_mean", "running_var", "num_batches_tracked"),
    gradients=("x", "gamma", "beta"),
    formula=r"y = \gamma_c \left(\frac{x - \mu_c}{\sqrt{\sigma_c^2 + \epsilon}} r_c + d_c\right)"
    r" + \beta_c",
    paper="ioffe2017batch",
    forward=batch_renorm,
    backward=batch_renorm_backward,
    module="normcourse.modules.batch_renorm:BatchRenorm",
    example=_example,
)

"""Ghost batch normalization: statistics of small slices of a large batch, on purpose.

The batch is cut into ghosts of ``ghost_size`` examples; each is normalized by its own moments, with
the same gamma and beta. The noise of small batches stays while the batch grows.

Source: Hoffer, Hubara & Soudry, "Train longer, generalize better: closing the generalization gap in
large batch training of neural networks", 2017, Algorithm 1.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike

from normcourse.norms._validate import Array, as_floats, as_parameter, check_whole, same_shape
from normcourse.norms.batch_norm import axes as axes_of_batch_norm
from normcourse.norms.batch_norm import batch_norm, batch_norm_backward
from normcourse.norms.method import Method, per_channel_example
from normcourse.norms.precision import working_dtype

_LAYOUT = "(N, C, *), for example (N, D) or (N, C, H, W)"


def ghost_batch_norm(
    x: ArrayLike,
    ghost_size: int,
    gamma: ArrayLike | None = None,
    beta: ArrayLike | None = None,
    *,
    eps: float = 1e-5,
) -> Array:
    """Normalize each slice of ``ghost_size`` examples by its own statistics.

    Formula:
        y = gamma * (x - mean_ghost) / sqrt(var_ghost + eps) + beta

    Args:
        x: array of shape (N, C, *).
        ghost_size: examples per ghost; the last ghost may be smaller.
        gamma: scale, array of shape (C,), or None for 1.
        beta: shift, array of shape (C,), or None for 0.
        eps: added to the variance inside the root.

    Returns:
        y, like ``x``. A ghost with one value per channel gives beta.

    Raises:
        TypeError: an argument holds no real numbers.
        ValueError: wrong rank, a parameter whose shape is not (C,), a ghost size below 1, or
            eps < 0.

    Differs from torch in:
        torch has no ghost BatchNorm. Inference is :func:`batch_norm` with running statistics.

    Source:
        Hoffer, Hubara & Soudry 2017, Algorithm 1.

    Example:
        >>> import numpy as np
        >>> x = np.array([[2.0], [4.0], [6.0], [9.0], [7.0]])
        >>> ghost_batch_norm(x, 2, eps=0.0).ravel()  # (2, 4), (6, 9), (7)
        array([-1.,  1., -1.,  1.,  0.])
    """
    x = as_floats(x, "x", min_ndim=2, layout=_LAYOUT)
    y = np.empty_like(x)
    for ghost in _ghosts(x, ghost_size):
        y[ghost] = batch_norm(x[ghost], gamma, beta, eps=eps)
    return y


def ghost_batch_norm_backward(
    dy: ArrayLike,
    x: ArrayLike,
    ghost_size: int,
    gamma: ArrayLike | None = None,
    *,
    eps: float = 1e-5,
) -> tuple[Array, Array, Array]:
    """Return the gradients of :func:`ghost_batch_norm` with respect to x, gamma and beta.

    Formula:
        dx by :func:`batch_norm_backward` in each ghost; dgamma and dbeta summed over the ghosts

    Args:
        dy: gradient with respect to y, like ``x``.
        x: as in the forward pass.
        ghost_size: as in the forward pass.
        gamma: as in the forward pass.
        eps: as in the forward pass.

    Returns:
        dx like ``x``; dgamma and dbeta of shape (C,).

    Raises:
        TypeError: as :func:`ghost_batch_norm`.
        ValueError: as :func:`ghost_batch_norm`, or ``dy`` is not shaped like ``x``.

    Source:
        Hoffer, Hubara & Soudry 2017.

    Example:
        >>> import numpy as np
        >>> x = np.array([[2.0], [4.0], [6.0], [9.0], [7.0]])
        >>> dy = np.array([[1.0], [2.0], [3.0], [5.0], [4.0]])
        >>> dx, dgamma, dbeta = ghost_batch_norm_backward(dy, x, 2, eps=0.0)
        >>> dx.ravel(), dgamma, dbeta
        (array([0., 0., 0., 0., 0.]), array([3.]), array([15.]))
    """
    x = as_floats(x, "x", min_ndim=2, layout=_LAYOUT)
    dy = same_shape(dy, "dy", x, "x")
    scale = as_parameter(gamma, "gamma", x.shape[1:2])
    dtype = x.dtype if scale is None else scale.dtype
    if scale is not None:  # sums over ghosts in at least float32
        scale = scale.astype(working_dtype(scale), copy=False)
    work = x.astype(working_dtype(x), copy=False)
    dx = np.empty_like(x)
    _, dgamma, dbeta = batch_norm_backward(dy[:0], work[:0], scale, eps=eps)  # zeros, (C,)
    for ghost in _ghosts(x, ghost_size):
        dx[ghost], dgamma_part, dbeta_part = batch_norm_backward(
            dy[ghost], work[ghost], scale, eps=eps
        )
        dgamma += dgamma_part
        dbeta += dbeta_part
    return dx, dgamma.astype(dtype, copy=False), dbeta.astype(dtype, copy=False)


def _ghosts(x: Array, ghost_size: int) -> Iterator[slice]:
    """Yield the slices of the batch; an empty batch has one, so that its arguments are checked."""
    size = check_whole(ghost_size, "ghost_size", at_least=1)
    return (slice(start, start + size) for start in range(0, max(len(x), 1), size))


METHOD = Method(
    name="ghost_batch_norm",
    title="ghost BatchNorm",
    kind="activation",
    layout="(N, C, *)",
    axes=axes_of_batch_norm,
    pooled="a slice of N, H and W: one mean per channel and ghost",
    parameters=("gamma", "beta"),
    state=("running_mean", "running_var", "num_batches_tracked"),
    gradients=("x", "gamma", "beta"),
    formula=r"y = \gamma_c \frac{x - \mu_{b,c}}{\sqrt{\sigma_{b,c}^2 + \epsilon}} + \beta_c",
    paper="hoffer2017train",
    forward=ghost_batch_norm,
    backward=ghost_batch_norm_backward,
    module="normcourse.modules.ghost_batch_norm:GhostBatchNorm",
    example=per_channel_example("gamma", "beta", ghost_size=2),
)

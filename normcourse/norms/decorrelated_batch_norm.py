"""Decorrelated batch normalization: BatchNorm that also removes the correlations of the channels.

    x_hat = W (x - mean),   W = U diag(1 / sqrt(lambda + eps)) Uᵀ      ZCA of the batch's covariance
    y     = gamma * x_hat + beta

The covariance of the C channels pools the batch and all positions. ZCA, not PCA: principal axes
swap places from batch to batch.

Source: Huang, Yang, Lang & Deng, "Decorrelated Batch Normalization", 2018. The gradient through the
eigenvectors is written in divided differences, which stay finite where eigenvalues meet.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from normcourse.norms import core
from normcourse.norms._validate import Array, as_floats, as_parameter, check_eps, same_shape
from normcourse.norms.batch_norm import axes as axes_of_batch_norm
from normcourse.norms.method import Method, per_channel_example
from normcourse.norms.precision import working_dtype
from normcourse.norms.whitening import covariance, eigen_inverse_root

_LAYOUT = "(N, C, *), for example (N, D) or (N, C, H, W)"


def decorrelated_batch_norm(
    x: ArrayLike,
    gamma: ArrayLike | None = None,
    beta: ArrayLike | None = None,
    *,
    running_mean: ArrayLike | None = None,
    running_cov: ArrayLike | None = None,
    training: bool = True,
    eps: float = 1e-5,
) -> Array:
    """Whiten the channels over the batch (ZCA), then scale and shift each.

    Formula:
        y = gamma * (W (x - mean)) + beta,  W = (cov + eps I)^(-1/2)

    Args:
        x: array of shape (N, C, *).
        gamma: scale, array of shape (C,), or None for 1.
        beta: shift, array of shape (C,), or None for 0.
        running_mean: array of shape (C,); used when ``training`` is False.
        running_cov: array of shape (C, C); used when ``training`` is False.
        training: True takes mean and biased covariance from the batch, False the running ones;
            inference without running statistics uses the batch's.
        eps: added to the eigenvalues of the covariance inside the root.

    Returns:
        y, like ``x`` in shape and dtype. Directions without variance give 0 at eps = 0.

    Raises:
        TypeError: an argument holds no real numbers.
        ValueError: wrong rank, shapes that do not fit, one running statistic without the other,
            or eps < 0.

    Differs from torch in:
        torch has no decorrelated BatchNorm. The paper's groups of channels are left out, and its
        code averages W over batches, here the covariance is what is kept.

    Source:
        Huang, Yang, Lang & Deng 2018.

    Example:
        >>> import numpy as np
        >>> x = np.array([[5.0, 10.0], [11.0, 2.0], [-11.0, -2.0], [-5.0, -10.0]])
        >>> decorrelated_batch_norm(x, eps=0.0).round(4)
        array([[ 0.2,  1.4],
               [ 1.4, -0.2],
               [-1.4,  0.2],
               [-0.2, -1.4]])
    """
    x, gamma, beta, mean, cov = _arguments(x, gamma, beta, running_mean, running_cov)
    centered, vectors, inv_std = _whitener(x, mean, cov, training=training, eps=check_eps(eps))
    x_hat = _channels_first(centered @ _zca(vectors, inv_std), x.shape)
    gamma, beta = core.per_channel(gamma, x.ndim), core.per_channel(beta, x.ndim)  # (1, C, 1, ...)
    return core.affine(x_hat, gamma, beta).astype(x.dtype, copy=False)


def decorrelated_batch_norm_backward(
    dy: ArrayLike,
    x: ArrayLike,
    gamma: ArrayLike | None = None,
    *,
    running_mean: ArrayLike | None = None,
    running_cov: ArrayLike | None = None,
    training: bool = True,
    eps: float = 1e-5,
) -> tuple[Array, Array, Array]:
    """Return the gradients of :func:`decorrelated_batch_norm` with respect to x, gamma and beta.

    Formula, for rows x_c of M centered values and a_i = 1 / sqrt(lambda_i + eps):
        dW    = x_cᵀ dx_hat
        K_ij  = -(a_i a_j)^2 / (a_i + a_j)                (a_i - a_j) / (lambda_i - lambda_j)
        dcov  = U (K * (Uᵀ sym(dW) U)) Uᵀ,  sym(A) = (A + Aᵀ) / 2
        dx    = dx_c - mean(dx_c),  dx_c = dx_hat W + 2 x_c dcov / M

    In inference W is constant, so dx = dx_hat W.

    Args:
        dy: gradient with respect to y, like ``x``.
        x: as in the forward pass.
        gamma: as in the forward pass.
        running_mean: as in the forward pass.
        running_cov: as in the forward pass.
        training: as in the forward pass.
        eps: as in the forward pass.

    Returns:
        dx like ``x``; dgamma and dbeta of shape (C,).

    Raises:
        TypeError: as :func:`decorrelated_batch_norm`.
        ValueError: as the forward pass, or ``dy`` is not shaped like ``x``.

    Source:
        Huang, Yang, Lang & Deng 2018; divided differences of a matrix function: Daleckii & Krein,
        1965.

    Example:
        >>> import numpy as np
        >>> x = np.array([[5.0, 10.0], [11.0, 2.0], [-11.0, -2.0], [-5.0, -10.0]])
        >>> dy = np.array([[1.0, 2.0], [0.0, 5.0], [3.0, 1.0], [2.0, 4.0]])
        >>> dx, dgamma, dbeta = decorrelated_batch_norm_backward(dy, x, eps=0.0)
        >>> dx.round(4), dgamma.round(4), dbeta
        (array([[-0.14,  0.02],
               [ 0.02,  0.14],
               [-0.02, -0.14],
               [ 0.14, -0.02]]), array([-4.4, -3.6]), array([ 6., 12.]))
    """
    x, gamma, _, mean, cov = _arguments(x, gamma, None, running_mean, running_cov)
    dy = same_shape(dy, "dy", x, "x")
    centered, vectors, inv_std = _whitener(x, mean, cov, training=training, eps=check_eps(eps))
    whitening = _zca(vectors, inv_std)
    scale = None if gamma is None else gamma[None]  # (1, C)
    dx_hat, dgamma, dbeta = core.affine_backward(
        _rows(dy), centered @ whitening, scale, shared_over=(0,)
    )
    dx = dx_hat @ whitening
    if training or mean is None:
        dcov_twice = _covariance_backward(centered.T @ dx_hat, vectors, inv_std)
        dx += centered @ dcov_twice / max(len(centered), 1)
        dx = core.centered_moments(dx, (0,))[0]
    dtype = x.dtype if gamma is None else gamma.dtype
    dx = _channels_first(dx, x.shape)
    return dx.astype(x.dtype, copy=False), dgamma.astype(dtype), dbeta.astype(dtype)


def _covariance_backward(dw: Array, vectors: Array, inv_std: Array) -> Array:
    """Return 2 dcov from the gradient of W."""
    a, b = inv_std[:, None], inv_std[None]
    kernel = np.divide(-np.square(a * b), a + b, out=np.zeros_like(a * b), where=a + b > 0)
    inner = kernel * (vectors.T @ (dw + dw.T) @ vectors)  # twice the symmetric part
    dcov: Array = vectors @ inner @ vectors.T
    return dcov


def _whitener(
    x: Array, mean: Array | None, cov: Array | None, *, training: bool, eps: float
) -> tuple[Array, Array, Array]:
    """Return the centered rows, (M, C), and eigenvectors and inverse roots of the covariance."""
    rows = _rows(x)
    if training or mean is None or cov is None:
        centered, _, _ = core.centered_moments(rows, (0,))
        return centered, *eigen_inverse_root(covariance(centered), eps)
    dtype = working_dtype(x)
    return rows - mean.astype(dtype), *eigen_inverse_root(cov.astype(dtype), eps)


def _zca(vectors: Array, inv_std: Array) -> Array:
    """Return U diag(inv_std) Uᵀ."""
    whitening: Array = vectors * inv_std @ vectors.T
    return whitening


def _rows(x: Array) -> Array:
    """Return (N, C, *) as rows of channels, (M, C)."""
    return np.moveaxis(x, 1, -1).reshape(x.size // max(x.shape[1], 1), x.shape[1])


def _channels_first(rows: Array, shape: tuple[int, ...]) -> Array:
    """Return rows of channels, (M, C), as (N, C, *)."""
    n, channels, *positions = shape
    return np.moveaxis(rows.reshape(n, *positions, channels), -1, 1)


def _arguments(
    x: ArrayLike,
    gamma: ArrayLike | None,
    beta: ArrayLike | None,
    running_mean: ArrayLike | None,
    running_cov: ArrayLike | None,
) -> tuple[Array, Array | None, Array | None, Array | None, Array | None]:
    """Return the arguments as arrays, or say which of them does not fit."""
    x = as_floats(x, "x", min_ndim=2, layout=_LAYOUT)
    shape = x.shape[1:2]
    if (running_mean is None) != (running_cov is None):
        missing = "running_cov" if running_cov is None else "running_mean"
        raise ValueError(f"{missing}: got None beside the other statistic. Give both or neither.")
    return (
        x,
        as_parameter(gamma, "gamma", shape),
        as_parameter(beta, "beta", shape),
        as_parameter(running_mean, "running_mean", shape),
        as_parameter(running_cov, "running_cov", shape * 2),
    )


METHOD = Method(
    name="decorrelated_batch_norm",
    title="decorrelated BatchNorm",
    kind="activation",
    layout="(N, C, *)",
    axes=axes_of_batch_norm,
    pooled="N, H and W: one mean per channel, one covariance for all",
    parameters=("gamma", "beta"),
    state=("running_mean", "running_cov", "num_batches_tracked"),
    gradients=("x", "gamma", "beta"),
    formula=r"y = \gamma_c \left[(\Sigma + \epsilon I)^{-1/2} (x - \mu)\right]_c + \beta_c",
    paper="huang2018decorrelated",
    forward=decorrelated_batch_norm,
    backward=decorrelated_batch_norm_backward,
    module="normcourse.modules.decorrelated_batch_norm:DecorrelatedBatchNorm",
    example=per_channel_example("gamma", "beta"),
)

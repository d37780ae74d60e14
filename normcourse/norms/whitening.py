"""Whitening: standardize and decorrelate, so that the covariance becomes the identity.

    cov = U diag(lambda) Uᵀ                               covariance of the centered x, divided by n
    PCA:  y = (x - mean) U diag(1 / sqrt(lambda + eps))       along the principal axes
    ZCA:  y = (x - mean) U diag(1 / sqrt(lambda + eps)) Uᵀ    turned back, nearest to x

Both have covariance eigenvalues lambda / (lambda + eps). Any rotation of y is as white.

Source: Kessy, Lewin & Strimmer, "Optimal Whitening and Decorrelation", 2018; for features of images
Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009, appendix A.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from normcourse.norms import core
from normcourse.norms._validate import Array, as_floats, check_eps

_LAYOUT = "(N, D)"


def whiten(x: ArrayLike, *, method: str = "pca", eps: float = 1e-5) -> Array:
    """Return x centered, decorrelated and with unit variance in every direction.

    Formula:
        y = (x - mean) U diag(1 / sqrt(lambda + eps)), for ZCA times Uᵀ

    Args:
        x: array of shape (N, D).
        method: "pca", columns in order of falling variance, or "zca", columns that belong to
            those of x.
        eps: added to the eigenvalues of the biased covariance inside the root.

    Returns:
        y, like ``x`` in shape and dtype. Directions without variance come out as 0 at eps = 0.

    Raises:
        TypeError: x holds no real numbers.
        ValueError: not two axes, another method, or eps < 0.

    Differs from torch in:
        torch has no whitening. Each principal axis points where its largest component is
        positive, so that the same data give the same y.

    Source:
        Kessy, Lewin & Strimmer 2018.

    Example:
        >>> import numpy as np
        >>> x = np.array([[5.0, 10.0], [11.0, 2.0], [-11.0, -2.0], [-5.0, -10.0]])
        >>> whiten(x, eps=0.0).round(4)
        array([[ 1.,  1.],
               [ 1., -1.],
               [-1.,  1.],
               [-1., -1.]])
        >>> whiten(x, method="zca", eps=0.0).round(4)
        array([[ 0.2,  1.4],
               [ 1.4, -0.2],
               [-1.4,  0.2],
               [-0.2, -1.4]])
    """
    x = as_floats(x, "x", min_ndim=2, layout=_LAYOUT)
    if x.ndim != 2:
        raise ValueError(f"x: expected shape {_LAYOUT}, got {x.shape}. Merge the leading axes.")
    if method not in _TURN_BACK:
        raise ValueError(
            f"method: expected one of {sorted(_TURN_BACK)}, got {method!r}. ZCA keeps the columns."
        )
    centered, _, _ = core.centered_moments(x, (0,))
    vectors, inv_std = eigen_inverse_root(covariance(centered), check_eps(eps))
    transform: Array = vectors * inv_std  # (D, D), column j scaled
    if _TURN_BACK[method]:
        transform = transform @ vectors.T
    y: Array = centered @ transform
    return y.astype(x.dtype, copy=False)


def covariance(centered: Array) -> Array:
    """Return the biased covariance of centered rows.

    Args:
        centered: array of shape (N, D) with column means 0.

    Returns:
        Array of shape (D, D); zeros where N = 0.

    Example:
        >>> import numpy as np
        >>> covariance(np.array([[1.0, 2.0], [-1.0, -2.0]]))
        array([[1., 2.],
               [2., 4.]])
    """
    cov: Array = np.asarray(centered.T @ centered / max(len(centered), 1))
    return cov


def eigen_inverse_root(cov: Array, eps: float) -> tuple[Array, Array]:
    """Return the eigenvectors of a covariance and 1 / sqrt(eigenvalue + eps).

    Args:
        cov: symmetric array of shape (D, D).
        eps: added to the eigenvalues inside the root.

    Returns:
        vectors, (D, D), one per column in order of falling variance, largest component positive;
        inv_std, (D,). At eps = 0 directions whose variance is rounding error have inv_std 0.

    Example:
        >>> import numpy as np
        >>> vectors, inv_std = eigen_inverse_root(np.array([[1.0, 0.0], [0.0, 4.0]]), eps=0.0)
        >>> vectors, inv_std
        (array([[0., 1.],
               [1., 0.]]), array([0.5, 1. ]))
    """
    values, vectors = np.linalg.eigh(cov)
    values, vectors = values[::-1], vectors[:, ::-1]
    noise = np.finfo(cov.dtype).eps * len(cov) * max(values.max(initial=0.0), 0.0)
    values = np.where(values > noise, values, 0.0).astype(cov.dtype, copy=False)
    largest = np.argmax(np.abs(vectors), axis=0) if len(cov) else np.zeros(0, np.intp)
    signs = np.sign(vectors[largest, np.arange(len(cov))])
    return vectors * signs, core.inverse_std(values, eps)


_TURN_BACK = {"pca": False, "zca": True}

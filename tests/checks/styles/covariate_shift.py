"""Right answers of chapter 01 in other styles."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def standardize_loop(x: Array, eps: float = 1e-5) -> Array:
    """Loop over features and examples in plain Python."""
    y = np.zeros_like(x)
    count, features = x.shape
    for j in range(features):
        mean = sum(float(v) for v in x[:, j]) / count
        var = sum((float(v) - mean) ** 2 for v in x[:, j]) / count
        for i in range(count):
            y[i, j] = (float(x[i, j]) - mean) / math.sqrt(var + eps)
    return y


def standardize_explicit(x: Array, eps: float = 1e-5) -> Array:
    """Mean of squared deviations, power −½."""
    centered = x - np.mean(x, 0, keepdims=True)
    return centered * (np.mean(centered**2, 0, keepdims=True) + eps) ** -0.5


def standardize_columns(data: Array, epsilon: float = 1e-5) -> Array:
    """Transposed in and out, arguments of other names."""
    rows = data.T
    centered = rows - rows.mean(axis=1)[:, None]
    return (centered / np.sqrt(centered.var(axis=1) + epsilon)[:, None]).T


def standardize_welford(x: Array, eps: float = 1e-5) -> Array:
    """Welford's running mean and variance."""
    mean, square = np.zeros(x.shape[1]), np.zeros(x.shape[1])
    for n, row in enumerate(x, 1):
        gap = row - mean
        mean = mean + gap / n
        square = square + gap * (row - mean)
    return (x - mean) / np.sqrt(square / len(x) + eps)


def standardize_unbiased_undone(x: Array, eps: float = 1e-5) -> Array:
    """Standard deviation squared, in Fortran order."""
    return np.asfortranarray((x - x.mean(0)) / np.sqrt(x.std(0) ** 2 + eps))


def whiten_zca(x: Array, eps: float = 1e-5) -> Array:
    """ZCA: rotated back."""
    centered = x - x.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(x, rowvar=False, bias=True).reshape(2 * x.shape[1:]))
    return centered @ (vectors / np.sqrt(values + eps)) @ vectors.T


def whiten_cholesky(x: Array, eps: float = 1e-5) -> Array:
    """Cholesky factor of the inverse covariance."""
    centered = x - x.mean(axis=0)
    cov = np.einsum("ni,nj->ij", centered, centered) / x.shape[0]
    return centered @ np.linalg.cholesky(np.linalg.inv(cov + eps * np.eye(x.shape[1])))


def whiten_triangular(x: Array, eps: float = 1e-5) -> Array:
    """Solve with the Cholesky factor of the covariance."""
    centered = x - x.mean(axis=0)
    cov = centered.T @ centered / len(x) + eps * np.eye(x.shape[1])
    return np.linalg.solve(np.linalg.cholesky(cov), centered.T).T


def whiten_svd(x: Array, eps: float = 1e-5) -> Array:
    """Singular values of the centered data."""
    centered = x - x.mean(axis=0)
    u, s, _ = np.linalg.svd(centered, full_matrices=False)
    return u * (s / np.sqrt(s**2 / len(x) + eps))


def whiten_general_eig(x: Array, eps: float = 1e-5) -> Array:
    """`np.linalg.eig`, directions in reverse order, one of them flipped."""
    centered = x - x.mean(axis=0)
    values, vectors = np.linalg.eig(centered.T @ centered / len(x))
    y = (centered @ vectors.real / np.sqrt(values.real + eps))[:, ::-1]
    y = y.copy()
    y[:, 0] *= -1
    return y


def signal_growth_loop(gain: float, depth: int) -> float:
    """Second moment layer by layer, root at the end."""
    second = 1.0
    for _ in range(depth):
        second *= gain * gain
    return math.sqrt(second)


def signal_growth_log(gain: float, depth: int) -> Any:
    """Through the logarithm, as a NumPy number."""
    return np.exp(depth * np.log(gain))


def signal_growth_prod(gain: float, depth: int) -> Any:
    """A product over a list, as an array without axes."""
    return np.asarray(math.prod([gain] * depth, start=1.0))


def saturated_loop(z: Array, threshold: float = 0.99) -> Array:
    """Loop over layers, count and divide."""
    found = []
    for layer in z:
        a = np.tanh(layer).ravel()
        found.append(sum(1 for v in a if v > threshold or v < -threshold) / a.size)
    return np.array(found)


def saturated_reshaped(z: Array, threshold: float = 0.99) -> Array:
    """One row per layer, booleans cast to numbers."""
    a = np.abs(np.tanh(z)).reshape(z.shape[0], -1)
    return (a > threshold).astype(np.float64).sum(axis=1) / a.shape[1]


def saturated_inverse(z: Array, threshold: float = 0.99) -> Array:
    """Compare z with the inverse of tanh at the threshold."""
    return np.count_nonzero(np.abs(z) > np.arctanh(threshold), axis=(1, 2)) / z[0].size


def saturated_nested_means(z: Array, threshold: float = 0.99) -> Array:
    """Mean of means, squares in place of absolute values, float32."""
    hit = np.tanh(z) ** 2 > threshold**2
    return hit.mean(axis=2).mean(axis=1).astype(z.dtype)


def shift_loop(reference: Array, current: Array, eps: float = 1e-5) -> tuple[Array, Array]:
    """Feature by feature with `statistics`-like helpers."""

    def two(values: Array) -> tuple[float, float]:
        mean = float(np.sum(values, dtype=np.float64)) / values.size
        return mean, sum((float(v) - mean) ** 2 for v in values) / values.size

    shift, change = [], []
    for old, new in zip(reference.T, current.T, strict=True):
        (mean_r, var_r), (mean_c, var_c) = two(old), two(new)
        shift.append((mean_c - mean_r) / math.sqrt(var_r + eps))
        change.append(math.log(var_c + eps) - math.log(var_r + eps))
    return np.array(shift), np.array(change)


def shift_standardized(reference: Array, current: Array, eps: float = 1e-5) -> dict[str, Array]:
    """Standardize current by reference first; returned by name."""
    scale = np.sqrt(np.var(reference, 0) + eps)
    z = (current - reference.mean(0)) / scale
    return {"mean_shift": z.mean(0), "log_ratio": 2 * np.log(np.sqrt(current.var(0) + eps) / scale)}


def shift_list(reference: Array, current: Array, eps: float = 1e-5) -> list[Array]:
    """A list of two arrays, power −½."""
    var_r, var_c = np.var(reference, axis=0), np.var(current, axis=0)
    shift = np.mean(current, axis=0) - np.mean(reference, axis=0)
    return [shift * (var_r + eps) ** -0.5, -np.log((var_r + eps) / (var_c + eps))]


def split_helper(train: Array, test: Array, eps: float = 1e-5) -> tuple[Array, Array]:
    """A helper that remembers the training set."""
    mean, std = train.mean(0), np.sqrt(train.var(0) + eps)

    def transform(x: Array) -> Array:
        return (x - mean) / std

    return transform(train), transform(test)


def split_together(train: Array, test: Array, eps: float = 1e-5) -> list[Array]:
    """Both sets at once, cut apart at the end."""
    both = np.vstack([train, test]) - np.mean(train, axis=0, keepdims=True)
    both = both / np.sqrt(np.mean(both[: len(train)] ** 2, axis=0) + eps)
    return np.split(both, [len(train)])


def split_rows(train: Array, test: Array, eps: float = 1e-5) -> tuple[Array, Array]:
    """Each test example on its own."""
    centered = train - train.mean(axis=0)
    scale = (np.square(centered).mean(axis=0) + eps) ** 0.5
    return centered / scale, np.stack([(row - train.mean(axis=0)) / scale for row in test])


STYLES = {
    "standardize": [
        standardize_loop,
        standardize_explicit,
        standardize_columns,
        standardize_welford,
        standardize_unbiased_undone,
    ],
    "whiten": [whiten_zca, whiten_cholesky, whiten_triangular, whiten_svd, whiten_general_eig],
    "signal_growth": [signal_growth_loop, signal_growth_log, signal_growth_prod],
    "saturated_fraction": [
        saturated_loop,
        saturated_reshaped,
        saturated_inverse,
        saturated_nested_means,
    ],
    "moment_shift": [shift_loop, shift_standardized, shift_list],
    "standardize_train_and_test": [split_helper, split_together, split_rows],
}

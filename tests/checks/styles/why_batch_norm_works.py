"""Right answers of chapter 05 in other styles."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def change_loop(grads: Array, step_lengths: Array) -> float:
    """A loop that keeps the largest so far."""
    largest = 0.0
    for t in range(len(step_lengths)):
        total = sum((float(b) - float(a)) ** 2 for a, b in zip(grads[t], grads[t + 1], strict=True))
        largest = max(largest, math.sqrt(total) / float(step_lengths[t]))
    return largest


def change_scaled_first(grads: Array, step_lengths: Array) -> Any:
    """Difference quotients first, their norms after."""
    quotients = (grads[1:] - grads[:-1]) / step_lengths[:, None]
    return np.sqrt(np.einsum("tp,tp->t", quotients, quotients)).max()


def change_sorted(grads: Array, step_lengths: Array) -> Any:
    """The last of the sorted changes, as an array without axes."""
    changes = [
        np.linalg.norm(after - before) / length
        for before, after, length in zip(grads[:-1], grads[1:], step_lengths, strict=True)
    ]
    return np.array(sorted(changes)[-1])


def change_squares(grads: Array, step_lengths: Array) -> Any:
    """The largest square, its root at the end."""
    squares = np.square(np.diff(grads, axis=0)).sum(axis=-1) / np.square(step_lengths)
    return np.sqrt(np.amax(squares))


def noise_power(sigma: float, batch_size: int) -> float:
    """Power −½ in plain Python."""
    return sigma * batch_size**-0.5


def noise_of_sum(std: float, n: int) -> float:
    """Standard deviation of the sum, divided by n."""
    return math.sqrt(n * std * std) / n


def noise_variance(sigma: float, batch_size: int) -> Any:
    """Root of the variance, as a NumPy number."""
    return np.sqrt(np.square(sigma) / batch_size)


def rate_loop(lr: float, weight: Array) -> Array:
    """Row by row."""
    return np.array([lr / float((row * row).sum()) for row in weight])


def rate_norm(lr: float, weight: Array) -> Array:
    """The norm of flattened rows, squared."""
    return lr / np.linalg.norm(weight.reshape(weight.shape[0], -1), axis=1) ** 2


def rate_einsum(lr: float, weight: Array) -> Array:
    """Einsum over flattened rows, power −1."""
    rows = weight.reshape(weight.shape[0], -1)
    return lr * np.einsum("oi,oi->o", rows, rows) ** -1.0


def rate_products(lr: float, weight: Array) -> Array:
    """The diagonal of the rows' products."""
    rows = weight.reshape(len(weight), -1)
    return np.true_divide(lr, np.diag(rows @ rows.T))


STYLES = {
    "gradient_change": [change_loop, change_scaled_first, change_sorted, change_squares],
    "batch_mean_noise": [noise_power, noise_of_sum, noise_variance],
    "effective_learning_rate": [rate_loop, rate_norm, rate_einsum, rate_products],
}

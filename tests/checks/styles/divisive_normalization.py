"""Right answers of chapter 12 in the styles that learners write."""

from __future__ import annotations

import numpy as np

# ---------------------------------------------------------------- local_response_norm


def channel_by_channel(x, size, alpha=1e-4, beta=0.75, k=1.0):
    """A slice of existing channels for each."""
    y = np.empty_like(x)
    for c in range(x.shape[1]):
        first, last = max(0, c - size // 2), min(x.shape[1], c + (size - 1) // 2 + 1)
        total = np.sum(x[:, first:last] ** 2, axis=1)
        y[:, c] = x[:, c] / (k + alpha * total / size) ** beta
    return y


def running_sum(x, size, alpha=1e-4, beta=0.75, k=1.0):
    """Differences of a cumulated sum, in float64."""
    square = np.square(x.astype(np.float64))
    summed = np.concatenate([np.zeros_like(square[:, :1]), np.cumsum(square, axis=1)], axis=1)
    c = np.arange(x.shape[1])
    upper = np.minimum(c + (size - 1) // 2 + 1, x.shape[1])
    lower = np.maximum(c - size // 2, 0)
    return x * (k + alpha / size * (summed[:, upper] - summed[:, lower])) ** -beta


def matrix_of_ones(x, size, alpha=1e-4, beta=0.75, k=1.0):
    """The window as a matrix of 0 and 1."""
    c = np.arange(x.shape[1])
    distance = c[None, :] - c[:, None]
    inside = (distance >= -(size // 2)) & (distance <= (size - 1) // 2)
    total = np.einsum("cj,nj...->nc...", inside.astype(x.dtype), x * x)
    return x / np.power(k + alpha / size * total, beta)


def by_logarithms(x, size, alpha=1e-4, beta=0.75, k=1.0):
    """The power by exp and log; neighbours one after the other."""
    total = x * x
    for step in range(1, x.shape[1]):
        if step <= size // 2:
            total[:, step:] += x[:, :-step] ** 2
        if step <= (size - 1) // 2:
            total[:, :-step] += x[:, step:] ** 2
    return x * np.exp(-beta * np.log(k + (alpha / size) * total))


# ---------------------------------------------------------------- divisive_normalize


def einsum(drive, pool, sigma, exponent=2.0, gain=1.0):
    """The pool by einsum."""
    powered = np.power(drive, exponent)
    return gain * powered / (sigma**exponent + np.einsum("ij,...j->...i", pool, powered))


def neuron_by_neuron(drive, pool, sigma, exponent=2.0, gain=1.0):
    """Loops."""
    y = np.zeros(drive.shape)
    for place in np.ndindex(drive.shape):
        row, i = drive[place[:-1]], place[-1]
        total = sum(pool[i, j] * row[j] ** exponent for j in range(len(row)))
        y[place] = gain * row[i] ** exponent / (sigma**exponent + total)
    return y


def relative_to_sigma(drive, pool, sigma, exponent=2.0, gain=1.0):
    """Numerator and divisor divided by sigmaⁿ."""
    relative = (drive / sigma) ** exponent
    return gain * relative / (1 + np.matmul(relative, np.transpose(pool)))


def columns(drive, pool, sigma, n=2.0, gain=1.0):
    """Neurons first; another name for the exponent."""
    powered = np.moveaxis(drive, -1, 0) ** n
    y = gain * powered / (sigma**n + np.tensordot(pool, powered, axes=(1, 0)))
    return np.moveaxis(y, 0, -1)


STYLES = {
    "local_response_norm": [channel_by_channel, running_sum, matrix_of_ones, by_logarithms],
    "divisive_normalize": [einsum, neuron_by_neuron, relative_to_sigma, columns],
}

"""Right answers of chapter 16 in other styles."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def value_by_value(stream: Any) -> float:
    """Welford, one value after the other."""
    n, mean, squares = 0, 0.0, 0.0
    for chunk in stream:
        for value in chunk.tolist():
            n += 1
            gap = value - mean
            mean += gap / n
            squares += gap * (value - mean)
    if not n:
        raise ValueError("no values")
    return squares / n


def shifted_sums(stream: Any) -> float:
    """Sums of x and x² after subtracting the first value."""
    first, n, total, squares = None, 0, 0.0, 0.0
    for chunk in stream:
        if chunk.size == 0:
            continue
        first = float(chunk[0]) if first is None else first
        moved = chunk.astype(np.float64) - first
        n, total, squares = n + moved.size, total + moved.sum(), squares + (moved @ moved)
    if first is None:
        raise ValueError
    return squares / n - (total / n) ** 2


def sums_of_squares(stream: Any) -> Any:
    """Chan's formula with sums of squares, returned as a NumPy number."""
    n_a, mean_a, m2_a = 0, np.float64(0), np.float64(0)
    for chunk in stream:
        n_b = chunk.shape[0]
        if n_b:
            values = np.array(chunk, dtype=float)
            mean_b = values.sum() / n_b
            m2_b = np.sum((values - mean_b) ** 2)
            delta = mean_b - mean_a
            m2_a = m2_a + m2_b + delta**2 * n_a * n_b / (n_a + n_b)
            mean_a = (n_a * mean_a + n_b * mean_b) / (n_a + n_b)
            n_a += n_b
    if n_a == 0:
        raise ValueError("empty stream")
    return m2_a / n_a


def exact_fractions(stream: Any) -> float:
    """Exact sums in Python integers of a fixed unit."""
    n, total, squares = 0, 0, 0
    for chunk in stream:
        for value in chunk:
            top, bottom = float(value).as_integer_ratio()
            units = top * (2**80 // bottom) if bottom <= 2**80 else round(float(value) * 2**80)
            n, total, squares = n + 1, total + units, squares + units * units
    if n == 0:
        raise ValueError("no values")
    return (n * squares - total * total) / (n * n * 2**160)


def parts_kept_and_merged(stream: Any) -> float:
    """Moments of each chunk kept, merged at the end around a weighted mean."""
    parts = [
        (c.size, np.mean(c, dtype=np.float64), np.var(c, dtype=np.float64))
        for c in stream
        if c.size
    ]
    n = sum(size for size, _, _ in parts)
    if n == 0:
        raise ValueError("no values")
    offset = parts[0][1]
    mean = sum(size * (m - offset) for size, m, _ in parts) / n + offset
    return math.fsum(size * (var + (m - mean) ** 2) for size, m, var in parts) / n


def float64_and_back(x: Any, gamma: Any, beta: Any, eps: float = 1e-5) -> Any:
    """Everything in float64."""
    wide, g, b = (np.asarray(value, dtype=np.float64) for value in (x, gamma, beta))
    centered = wide - wide.mean(-1, keepdims=True)
    y = g * centered / np.sqrt((centered**2).mean(-1, keepdims=True) + eps) + b
    return y.astype(np.float16)


def dtype_arguments(x: Any, gamma: Any, beta: Any, eps: float = 1e-5) -> Any:
    """float32 by NumPy's dtype= and promotion."""
    mean = np.mean(x, axis=-1, keepdims=True, dtype=np.float32)
    centered = x - mean
    std = np.sqrt(np.mean(centered * centered, axis=-1, keepdims=True, dtype=np.float32) + eps)
    return (np.float32(1) * gamma * (centered / std) + beta).astype(x.dtype)


def rows_in_a_loop(x: Any, gamma: Any, beta: Any, eps: float = 1e-5) -> Any:
    """Row by row, in Python floats for the statistics."""
    rows = x.reshape(-1, x.shape[-1])
    y = np.empty_like(rows)
    for i, row in enumerate(rows):
        values = row.astype(np.float32)
        mean = math.fsum(values) / len(values)
        var = math.fsum((float(v) - mean) ** 2 for v in values) / len(values)
        scale = gamma.astype(np.float32) / math.sqrt(var + eps) if var + eps else 0.0
        y[i] = (values - np.float32(mean)) * scale + beta
    return y.reshape(x.shape)


def transposed_einsum(x: Any, gamma: Any, beta: Any, eps: float = 1e-5) -> Any:
    """Features moved to the front, sums by einsum in float32."""
    front = np.moveaxis(x, -1, 0).astype("f4")
    centered = front - np.einsum("d...->...", front) / len(front)
    var = np.einsum("d...,d...->...", centered, centered) / len(front)
    y = np.moveaxis(centered / np.sqrt(var + np.float32(eps)), 0, -1)
    return np.float16(y * gamma.astype("f4") + beta)


def two_passes(x: Any, gamma: Any, beta: Any, eps: float = 1e-5) -> Any:
    """`np.var`."""
    return gamma * (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps) + beta


def shifted_once(x: Any, gamma: Any, beta: Any, eps: float = 1e-5) -> Any:
    """One pass over x minus the first value of each row."""
    moved = x - x[..., :1]
    mean = moved.mean(axis=-1, keepdims=True)
    var = np.maximum((moved * moved).mean(axis=-1, keepdims=True) - mean * mean, 0)
    return gamma * (moved - mean) / np.sqrt(var + eps) + beta


def centered_once(x: Any, gamma: Any, beta: Any, eps: float = 1e-5) -> Any:
    """Deviations named, squared and used again."""
    deviations = x - np.average(x, axis=-1)[..., None]
    power = (np.mean(np.square(deviations), axis=-1)[..., None] + eps) ** -0.5
    return deviations * power * gamma + beta


def welford_rows(x: Any, gamma: Any, beta: Any, eps: float = 1e-5) -> Any:
    """Welford along the features, all rows at once."""
    mean, squares = np.zeros(x.shape[:-1]), np.zeros(x.shape[:-1])
    for n in range(x.shape[-1]):
        gap = x[..., n] - mean
        mean = mean + gap / (n + 1)
        squares = squares + gap * (x[..., n] - mean)
    std = np.sqrt(squares / x.shape[-1] + eps)
    return gamma * (x - mean[..., None]) / std[..., None] + beta


STYLES = {
    "stable_variance": [
        value_by_value,
        shifted_sums,
        sums_of_squares,
        exact_fractions,
        parts_kept_and_merged,
    ],
    "layer_norm_half": [float64_and_back, dtype_arguments, rows_in_a_loop, transposed_einsum],
    "fused_layer_norm": [two_passes, shifted_once, centered_once, welford_rows],
}

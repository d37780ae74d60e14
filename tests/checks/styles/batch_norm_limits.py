"""Right answers of chapter 06 in other styles."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def merge_two_by_two(counts: Array, means: Array, variances: Array) -> tuple[Array, Array]:
    """Two sets at a time."""
    n, mean, square = 0.0, np.zeros(means.shape[1]), np.zeros(means.shape[1])
    for count, m, v in zip(counts.tolist(), means, variances, strict=True):
        if count == 0:
            continue
        gap = m - mean
        square = square + count * v + gap * gap * n * count / (n + count)
        mean = mean + gap * count / (n + count)
        n += count
    return mean, square / n


def merge_average(counts: Array, means: Array, variances: Array) -> tuple[Array, Array]:
    """`np.average` with weights."""
    mean = np.average(means, axis=0, weights=counts)
    inside = np.average(variances, axis=0, weights=counts)
    return mean, inside + np.average((means - mean) ** 2, axis=0, weights=counts)


def merge_einsum(counts: Array, means: Array, variances: Array) -> dict[str, Array]:
    """Einsum with shares; returned by name."""
    share = counts / np.sum(counts)
    mean = np.einsum("k,kd->d", share, means)
    gap = means - mean[None]
    return {"var": share @ variances + np.einsum("k,kd,kd->d", share, gap, gap), "mean": mean}


def merge_made_up_values(counts: Array, means: Array, variances: Array) -> tuple[Array, Array]:
    """Values with these moments, pooled: two per value, one standard deviation to each side."""
    rows: list[Array] = []
    for count, m, v in zip(counts.tolist(), means, variances, strict=True):
        rows += [m - np.sqrt(v), m + np.sqrt(v)] * count
    return np.mean(rows, axis=0), np.var(rows, axis=0)


def masked_where(x: Array, mask: Array, gamma: Array, beta: Array, eps: float = 1e-5) -> Array:
    """Sums over where, the count guarded."""
    real = mask[:, :, None]
    count = max(int(mask.sum()), 1)
    mean = np.where(real, x, 0).sum(axis=(0, 1)) / count
    gap = np.where(real, x - mean, 0)
    var = np.square(gap).sum(axis=(0, 1)) / count
    return np.where(real, gap / np.sqrt(var + eps) * gamma + beta, 0)


def masked_argument(x: Array, mask: Array, gamma: Array, beta: Array, eps: float = 1e-5) -> Array:
    """NumPy's own `where=` argument."""
    real = np.broadcast_to(mask[..., None], x.shape)
    mean = np.mean(x, axis=(0, 1), where=real)
    var = np.var(x, axis=(0, 1), where=real)
    return np.where(real, gamma * (x - mean) / np.sqrt(var + eps) + beta, np.zeros_like(x))


def masked_array(x: Array, mask: Array, gamma: Array, beta: Array, eps: float = 1e-5) -> Array:
    """A masked array, filled at the end."""
    padding = np.broadcast_to(~mask[..., None], x.shape)
    m = np.ma.masked_array(x, padding)
    rows = m.reshape(-1, x.shape[-1])
    y = (m - rows.mean(axis=0)) / np.ma.sqrt(rows.var(axis=0) + eps) * gamma + beta
    return np.asarray(y.filled(0.0))


def masked_nan(x: Array, mask: Array, gamma: Array, beta: Array, eps: float = 1e-5) -> Array:
    """NaN for padding and the functions that skip it."""
    marked = np.where(mask[..., None], x, np.nan).reshape(-1, x.shape[-1])
    y = (marked - np.nanmean(marked, axis=0)) / np.sqrt(np.nanvar(marked, axis=0) + eps)
    return np.nan_to_num(gamma * y + beta, nan=0.0).reshape(x.shape)


def masked_loop(x: Array, mask: Array, gamma: Array, beta: Array, eps: float = 1e-5) -> Array:
    """Lists of tokens, feature by feature."""
    y = np.zeros(x.shape)
    places = [(b, t) for b in range(x.shape[0]) for t in range(x.shape[1]) if mask[b, t]]
    for d in range(x.shape[2] if places else 0):
        values = [float(x[b, t, d]) for b, t in places]
        mean = sum(values) / len(values)
        var = sum((v - mean) ** 2 for v in values) / len(values)
        for b, t in places:
            y[b, t, d] = gamma[d] * (x[b, t, d] - mean) / (var + eps) ** 0.5 + beta[d]
    return y


def ghost_split(x: Array, gamma: Array, beta: Array, ghost_size: int, eps: float = 1e-5) -> Array:
    """`np.split` at the multiples, put together again."""
    parts = np.split(x, range(ghost_size, len(x), ghost_size))
    done = [(p - p.mean(0)) / np.sqrt(p.var(0) + eps) * gamma + beta for p in parts]
    return np.concatenate(done)


def ghost_labels(x: Array, gamma: Array, beta: Array, ghost_size: int, eps: float = 1e-5) -> Array:
    """A label per example and sums by label."""
    label = np.arange(len(x)) // ghost_size
    member = (label == np.arange(label[-1] + 1)[:, None]).astype(np.float64)  # (ghosts, N)
    member /= member.sum(axis=1, keepdims=True)
    gap = x - (member @ x)[label]
    gap = gap - (member @ gap)[label]
    return gamma * gap / np.sqrt((member @ gap**2)[label] + eps) + beta


def ghost_reshape_and_rest(
    x: Array, gamma: Array, beta: Array, ghost_size: int, eps: float = 1e-5
) -> Array:
    """Full ghosts by reshape, the rest by itself."""

    def normal(g: Array) -> Array:
        mean, var = g.mean(axis=1, keepdims=True), g.var(axis=1, keepdims=True)
        return gamma * (g - mean) / np.sqrt(var + eps) + beta

    n, d = x.shape
    whole = n - n % ghost_size
    parts = [normal(x[:whole].reshape(-1, ghost_size, d)).reshape(-1, d)] if whole else []
    parts += [normal(x[None, whole:])[0]] if whole < n else []
    return np.vstack(parts)


def ghost_recursive(
    x: Array, gamma: Array, beta: Array, ghost_size: int, eps: float = 1e-5
) -> Array:
    """The first ghost, then the rest by the same function."""
    head, tail = x[:ghost_size], x[ghost_size:]
    gap = head - np.mean(head, axis=0)
    y = gap * (np.mean(gap * gap, axis=0) + eps) ** -0.5 * gamma + beta
    return np.append(y, ghost_recursive(tail, gamma, beta, ghost_size, eps), 0) if len(tail) else y


def sequence_masked(
    x: Array, lengths: Array, gamma: Array, beta: Array, eps: float = 1e-5
) -> Array:
    """A mask, then tokens written into zeros."""
    real = np.arange(x.shape[1])[None, :] < lengths[:, None]
    return masked_where(x, real, gamma, beta, eps)


def sequence_lists(x: Array, lengths: Array, gamma: Array, beta: Array, eps: float = 1e-5) -> Array:
    """Sequences cut to their lengths and joined."""
    y = np.zeros_like(x)
    tokens = np.concatenate([row[:n] for row, n in zip(x, lengths, strict=True)])
    if not len(tokens):
        return y
    mean, std = tokens.mean(axis=0), np.sqrt(tokens.var(axis=0) + eps)
    for b, n in enumerate(lengths):
        y[b, :n] = gamma * (x[b, :n] - mean) / std + beta
    return y


def sequence_counted(
    x: Array, lengths: Array, gamma: Array, beta: Array, eps: float = 1e-5
) -> Array:
    """Sums over cleaned values, divided by the number of tokens."""
    real = (np.arange(x.shape[1]) < lengths[:, None])[..., None]
    count = np.maximum(lengths.sum(), 1)
    mean = (x * real).sum(axis=(0, 1)) / count
    var = (((x - mean) * real) ** 2).sum(axis=(0, 1)) / count
    return (gamma * (x - mean) / np.sqrt(var + eps) + beta) * real


STYLES = {
    "merge_moments": [merge_two_by_two, merge_average, merge_einsum, merge_made_up_values],
    "masked_batch_norm": [masked_where, masked_argument, masked_array, masked_nan, masked_loop],
    "ghost_batch_norm": [ghost_split, ghost_labels, ghost_reshape_and_rest, ghost_recursive],
    "sequence_batch_norm": [sequence_masked, sequence_lists, sequence_counted],
}

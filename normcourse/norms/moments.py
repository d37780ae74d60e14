"""Moments of a union, from the moments of its parts: no value is looked at twice.

    n    = sum(n_k)
    mean = sum(n_k * mean_k) / n
    var  = sum(n_k * (var_k + (mean_k - mean)^2)) / n        spread inside the parts + between them

This is how workers share statistics (SyncBN), and how a stream too long to keep gets its variance.

Source: Chan, Golub & LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample
Variances", 1979.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike

from normcourse.norms import core
from normcourse.norms._validate import Array, as_floats, same_shape
from normcourse.norms.precision import working_dtype


def merge_moments(counts: ArrayLike, means: ArrayLike, variances: ArrayLike) -> tuple[Array, Array]:
    """Return the mean and the biased variance of the union of K sets of values.

    Formula:
        mean = sum(n_k * mean_k) / n,  var = sum(n_k * (var_k + (mean_k - mean)^2)) / n

    Args:
        counts: how many values each set has, array of shape (K,).
        means: array of shape (K, *), for example (K, D).
        variances: biased variances, like ``means``.

    Returns:
        mean and var of shape (*). Sets of count 0 do not matter, whatever their moments; without
        any values both are 0.

    Raises:
        TypeError: an argument holds no real numbers.
        ValueError: shapes that do not fit, or a negative count.

    Differs from torch in:
        torch has this only inside SyncBatchNorm.

    Source:
        Chan, Golub & LeVeque 1979.

    Example:
        >>> merge_moments([1, 3], [[2.0], [6.0]], [[0.0], [8 / 3]])  # 2 and 4, 6, 8
        (array([5.]), array([5.]))
    """
    counts = as_floats(counts, "counts", min_ndim=1, layout="(K,)")
    means = as_floats(means, "means", min_ndim=1, layout="(K, *), for example (K, D)")
    variances = same_shape(variances, "variances", means, "means", why="Each mean has a variance.")
    if counts.shape != means.shape[:1]:
        raise ValueError(
            f"counts: expected shape {means.shape[:1]}, one number per set in means of shape "
            f"{means.shape}, got {counts.shape}. Put the sets on axis 0 of means."
        )
    if np.any(counts < 0):
        raise ValueError(f"counts: expected numbers >= 0, got {counts.min()}. Count the values.")
    dtype = np.result_type(working_dtype(means), working_dtype(variances))
    used = counts > 0
    counts, means, variances = counts[used].astype(dtype), means[used], variances[used]
    share = (counts / counts.sum()).reshape(-1, *(1,) * (means.ndim - 1))  # (K, 1, ...)
    offset = means[:1].sum(axis=0, dtype=dtype)  # any value near the means keeps their digits
    mean = offset + np.sum(share * (means - offset), axis=0)
    var = np.sum(share * (variances + np.square(means - mean)), axis=0)
    return mean, var


def stable_variance(stream: Iterable[ArrayLike]) -> float:
    """Return the biased variance of a stream of numbers, read once and never kept.

    Formula:
        merge the moments so far with the two-pass moments of each chunk, in float64, all counted
        from the stream's first value

    Args:
        stream: chunks, each an array of shape (n,); empty ones are allowed.

    Returns:
        The biased variance of all values.

    Raises:
        TypeError: a chunk holds no real numbers.
        ValueError: a chunk that is not one-dimensional, or a stream without values.

    Differs from torch in:
        torch.var needs all values at once.

    Source:
        Chan, Golub & LeVeque 1979.

    Example:
        >>> stable_variance([[1e9 + 2, 1e9 + 4], [], [1e9 + 6, 1e9 + 8]])
        5.0
    """
    count, mean, var, first = 0, 0.0, 0.0, 0.0
    for chunk in stream:
        values = as_floats(chunk, "chunk")
        if values.ndim != 1:
            raise ValueError(
                f"chunk: expected shape (n,), got {values.shape}. Flatten it: chunk.ravel()."
            )
        if values.size == 0:
            continue
        if count == 0:
            first = float(values[0])
        new_mean, new_var = core.moments(values.astype(np.float64) - first, (0,))
        merged = merge_moments([count, values.size], [mean, new_mean.item()], [var, new_var.item()])
        count, mean, var = count + values.size, float(merged[0]), float(merged[1])
    if count == 0:
        raise ValueError("stream: expected at least one value, got none. A variance needs data.")
    return var

"""Running statistics: what batch normalization remembers for inference.

    running = (1 - momentum) * running + momentum * batch

in PyTorch's convention: the momentum weighs the new batch (Keras and Flax weigh the old value), and
the variance stored is the unbiased one, divided by n - 1; the biased one normalizes the batch.

Source: Ioffe & Szegedy, "Batch Normalization", 2015, Algorithm 2; torch.nn.BatchNorm2d.
"""

from __future__ import annotations

from numpy.typing import ArrayLike

from normcourse.norms import core
from normcourse.norms._validate import (
    Array,
    as_floats,
    as_required,
    check_fraction,
    check_momentum,
    check_whole,
)


def update_running_stats(
    running_mean: ArrayLike,
    running_var: ArrayLike,
    x: ArrayLike,
    *,
    momentum: float | None = 0.1,
    num_batches_tracked: int = 0,
) -> tuple[Array, Array]:
    """Return the running statistics after one more training batch.

    Formula:
        running = (1 - momentum) * running + momentum * batch

    where the batch variance is the unbiased one, n / (n - 1) times the biased variance that
    normalizes the batch.

    Args:
        running_mean: array of shape (C,).
        running_var: array of shape (C,).
        x: the batch, array of shape (N, C, *).
        momentum: weight of the new batch; None averages all batches with equal weight.
        num_batches_tracked: batches seen before this one; only used when ``momentum`` is None.

    Returns:
        running_mean and running_var, new arrays of shape (C,).

    Raises:
        TypeError: an argument holds no real numbers.
        ValueError: fewer than two values per channel (their unbiased variance does not exist),
            wrong shapes, a momentum outside [0, 1], or a negative number of batches.

    Differs from torch in:
        returns new arrays, nothing is changed in place.

    Source:
        Ioffe & Szegedy 2015, Algorithm 2, in PyTorch's convention: torch.nn.BatchNorm2d.

    Example:
        >>> import numpy as np
        >>> x = np.array([[2.0], [4.0], [6.0], [8.0]])
        >>> mean, var = update_running_stats([0.0], [1.0], x, momentum=0.1)
        >>> mean, var.round(4)
        (array([0.5]), array([1.5667]))
    """
    x = as_floats(x, "x", min_ndim=2, layout="(N, C, *), for example (N, D) or (N, C, H, W)")
    old_mean = as_required(running_mean, "running_mean", (x.shape[1],))
    old_var = as_required(running_var, "running_var", (x.shape[1],))
    weight = _weight(momentum, num_batches_tracked)
    count = x.size // max(x.shape[1], 1)
    if count < 2:
        raise ValueError(
            f"x: expected at least 2 values per channel, got shape {x.shape} with {count}. "
            f"The unbiased variance divides by n - 1; use a larger batch or inference mode."
        )
    mean, var = core.moments(x, (0, *range(2, x.ndim)))
    unbiased = var.reshape(-1) * (count / (count - 1))
    new_mean = (1 - weight) * old_mean + weight * mean.reshape(-1)
    new_var = (1 - weight) * old_var + weight * unbiased
    return new_mean.astype(old_mean.dtype, copy=False), new_var.astype(old_var.dtype, copy=False)


def to_pytorch_momentum(momentum: float) -> float:
    """Return PyTorch's momentum for one of Keras or Flax, and the other way round.

    Formula:
        1 - momentum

    Args:
        momentum: weight of the old value, in [0, 1].

    Returns:
        The weight of the new value.

    Raises:
        ValueError: a momentum outside [0, 1].

    Source:
        documentation of keras.layers.BatchNormalization and torch.nn.BatchNorm2d.

    Example:
        >>> round(to_pytorch_momentum(0.99), 6)
        0.01
    """
    return 1 - check_fraction(momentum, "momentum")


def _weight(momentum: float | None, num_batches_tracked: int) -> float:
    """Return the weight of the new batch."""
    momentum = check_momentum(momentum)
    seen = check_whole(num_batches_tracked, "num_batches_tracked", at_least=0)
    return 1 / (seen + 1) if momentum is None else momentum

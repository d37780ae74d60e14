"""The one idea behind every normalization layer, in differentiable torch operations.

The same steps as ``norms.core``: moments over some axes, standardize, affine. Statistics are
computed in at least float32 and in two passes, with the mean corrected once by the mean of the
residuals, so that float32 data at mean 1e4 keep their digits.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def working_dtype(x: Tensor) -> torch.dtype:
    """Return the dtype in which statistics of ``x`` are computed: float32 or wider.

    Example:
        >>> working_dtype(torch.zeros(3, dtype=torch.bfloat16))
        torch.float32
    """
    return torch.promote_types(x.dtype, torch.float32)


def full_precision(x: Tensor) -> torch.autocast:
    """Return a context in which autocast does not lower products of float32 statistics."""
    return torch.autocast(x.device.type, enabled=False)


def centered_moments(x: Tensor, dim: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Return ``x - mean``, the mean and the biased variance of ``x`` over ``dim``, axes kept.

    Pooling no values at all gives mean 0 and variance 0.

    Example:
        >>> centered, mean, var = centered_moments(torch.tensor([2.0, 4.0, 6.0, 8.0]), dim=(0,))
        >>> centered, mean, var
        (tensor([-3., -1.,  1.,  3.]), tensor([5.]), tensor([5.]))
    """
    if any(x.shape[d] == 0 for d in dim):
        zero = x.sum(tuple(dim), keepdim=True)
        return x, zero, zero
    mean = x.mean(tuple(dim), keepdim=True)
    centered = x - mean
    residual = centered.mean(tuple(dim), keepdim=True)  # 0 but for rounding of the mean
    centered = centered - residual
    return centered, mean + residual, centered.square().mean(tuple(dim), keepdim=True)


def inverse_std(var: Tensor, eps: float) -> Tensor:
    """Return 1 / sqrt(var + eps), and 0 (with gradient 0) where var + eps is 0.

    Example:
        >>> inverse_std(torch.tensor([4.0, 0.0]), eps=0.0)
        tensor([0.5000, 0.0000])
    """
    total = var + eps
    return total.masked_fill(total == 0, torch.inf).rsqrt()


def standardize(x: Tensor, dim: Sequence[int], eps: float) -> Tensor:
    """Return ``(x - mean) / sqrt(var + eps)`` with statistics over ``dim``.

    Example:
        >>> standardize(torch.tensor([2.0, 4.0, 6.0, 8.0]), dim=(0,), eps=0.0)
        tensor([-1.3416, -0.4472,  0.4472,  1.3416])
    """
    centered, _, var = centered_moments(x, dim)
    return centered * inverse_std(var, eps)


def unbiased(var: Tensor, count: int | Tensor) -> Tensor:
    """Return the n - 1 variance, ``n / (n - 1) * var``; for one value ``var`` itself.

    Example:
        >>> unbiased(torch.tensor(3.0), count=4)
        tensor(4.)
    """
    below = (count - 1).clamp(min=1) if isinstance(count, Tensor) else max(count - 1, 1)
    return var * (count / below)


def affine(x_hat: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """Return ``weight * x_hat + bias``; a None leaves its step out. Shapes must broadcast.

    Example:
        >>> affine(torch.tensor([-1.0, 1.0]), torch.tensor(2.0), torch.tensor(0.5))
        tensor([-1.5000,  2.5000])
    """
    y = x_hat if weight is None else x_hat * weight
    return y if bias is None else y + bias


def per_channel(parameter: Tensor | None, ndim: int) -> Tensor | None:
    """Return a (C,) parameter with the axes that let it meet an (N, C, *) tensor.

    Example:
        >>> per_channel(torch.ones(3), ndim=4).shape
        torch.Size([1, 3, 1, 1])
    """
    if parameter is None:
        return None
    return parameter.view(1, -1, *(1,) * (ndim - 2))  # (1, C, 1, ...)


def merge_moments(counts: Tensor, means: Tensor, variances: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and biased variance of the union of K groups from their moments.

    Formula:
        n = sum(n_k),  mean = sum(n_k * mean_k) / n
        var = sum(n_k * (var_k + (mean_k - mean)^2)) / n

    Args:
        counts: numbers of values, tensor of shape (K,).
        means: tensor of shape (K, *).
        variances: biased variances, tensor of shape (K, *).

    Returns:
        Mean and biased variance, two tensors of shape (*). No values at all give zeros.

    Raises:
        ValueError: shapes that do not fit each other.

    Source:
        Chan, Golub & LeVeque, "Algorithms for computing the sample variance", 1983.

    Example:
        >>> import torch
        >>> mean, var = merge_moments(
        ...     torch.tensor([3, 1]), torch.tensor([[4.0], [8.0]]), torch.tensor([[8 / 3], [0.0]])
        ... )
        >>> mean, var
        (tensor([5.]), tensor([5.]))
    """
    if counts.ndim != 1 or means.shape[:1] != counts.shape or variances.shape != means.shape:
        raise ValueError(
            f"counts, means, variances: expected shapes (K,), (K, *), (K, *), got "
            f"{tuple(counts.shape)}, {tuple(means.shape)}, {tuple(variances.shape)}. "
            f"Stack the groups along axis 0."
        )
    share = counts.to(means.dtype) / counts.sum().clamp(min=1)
    share = share.view(-1, *(1,) * (means.ndim - 1))  # (K, 1, ...)
    mean = (share * means).sum(0)
    return mean, (share * (variances + (means - mean).square())).sum(0)

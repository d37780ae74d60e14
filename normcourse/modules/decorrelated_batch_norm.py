"""Decorrelated batch normalization: whitening in the place of standardizing."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from normcourse.modules._statistics import (
    affine,
    centered_moments,
    full_precision,
    per_channel,
    unbiased,
    working_dtype,
)
from normcourse.modules._validate import check_channels, check_eps, check_momentum, check_size


class DecorrelatedBatchNorm(nn.Module):
    """Give the channels mean 0, variance 1 and no correlation over the batch and all positions.

    Formula:
        cov = mean((x - mean)(x - mean)^T)
        training:   y = weight * (cov + eps I)^(-1/2) (x - mean) + bias
        inference:  the same with running_mean and running_cov

    The symmetric root (ZCA) turns the data as little as possible; with the eigenvectors alone
    (PCA), axes could swap from batch to batch.

    Args:
        num_features: number of channels C.
        eps: added to the diagonal of the covariance.
        momentum: weight of the new batch in the running statistics; None averages all batches.
        affine: learn ``weight`` and ``bias``, each of shape (C,).

    Shape:
        (N, C, *) in, the same out. Buffers ``running_mean`` (C,) and ``running_cov`` (C, C), the
        n - 1 covariance.

    Raises:
        ValueError: an input of another rank or number of channels, or one value per channel in
            training.
        TypeError: an input that is not floating point.

    Differs from torch in:
        torch has no such layer. The authors' code whitens groups of channels and averages the
        whitening matrix; here the whole covariance is averaged, as BatchNorm's variance is.

    Source:
        Huang et al., "Decorrelated Batch Normalization", 2018.

    Example:
        >>> import torch
        >>> x = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 0.0], [7.0, 6.0]])
        >>> y = DecorrelatedBatchNorm(2, eps=0.0)(x).detach()
        >>> torch.testing.assert_close(y.T @ y / 4, torch.eye(2))
    """

    running_mean: Tensor
    running_cov: Tensor
    num_batches_tracked: Tensor
    weight: nn.Parameter | None
    bias: nn.Parameter | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        *,
        affine: bool = True,
    ) -> None:
        super().__init__()
        self.num_features = check_size(num_features, "num_features")
        self.eps, self.momentum, self.affine = check_eps(eps), check_momentum(momentum), affine
        ones, zeros = torch.ones(num_features), torch.zeros(num_features)
        self.register_parameter("weight", nn.Parameter(ones) if affine else None)
        self.register_parameter("bias", nn.Parameter(zeros) if affine else None)
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_cov", torch.eye(num_features))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def reset_running_stats(self) -> None:
        """Forget all batches: mean 0, the identity as covariance, no batch tracked."""
        self.running_mean.zero_()
        self.running_cov.copy_(torch.eye(self.num_features))
        self.num_batches_tracked.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """Return the whitened batch; in training mode move the running statistics."""
        check_channels(x, self.num_features)
        columns = x.to(working_dtype(x)).movedim(1, 0)  # (C, N, *)
        flat = columns.flatten(1)  # (C, n)
        with full_precision(x):
            y = self._by_batch(flat) if self.training else self._by_running(flat)  # (C, n)
        y = y.view(columns.shape).movedim(0, 1)  # (N, C, *)
        weight, bias = per_channel(self.weight, x.ndim), per_channel(self.bias, x.ndim)
        return affine(y, weight, bias).to(x.dtype)

    def _by_batch(self, x: Tensor) -> Tensor:
        """Whiten (C, n) with its own moments and remember them."""
        count = x.shape[1]
        if count == 1:
            raise ValueError(
                "x: expected more than 1 value per channel when training, got 1. Its covariance "
                "is 0: use a larger batch, or eval() to use running statistics."
            )
        if count == 0:
            self.num_batches_tracked.add_(1)
            return x
        centered, mean, _ = centered_moments(x, dim=(1,))
        cov = centered @ centered.T / count
        self._track(mean, cov, count)
        return self._whitening(cov) @ centered

    def _by_running(self, x: Tensor) -> Tensor:
        """Whiten (C, n) with the running statistics: a fixed affine map."""
        centered = x - self.running_mean.to(x.dtype)[:, None]
        return self._whitening(self.running_cov.to(x.dtype)) @ centered

    def _whitening(self, cov: Tensor) -> Tensor:
        """Return (cov + eps I)^(-1/2)."""
        root: Tensor = _InverseRoot.apply(cov, self.eps)  # type: ignore[no-untyped-call]
        return root

    @torch.no_grad()
    def _track(self, mean: Tensor, cov: Tensor, count: int) -> None:
        """Move the running statistics towards this batch."""
        self.num_batches_tracked.add_(1)
        dtype = self.running_mean.dtype
        weight: float | Tensor = 0.0 if self.momentum is None else self.momentum
        if self.momentum is None:
            weight = 1 / self.num_batches_tracked.to(dtype)
        self.running_mean.lerp_(mean.flatten().to(dtype), weight)
        self.running_cov.lerp_(unbiased(cov, count).to(dtype), weight)

    def extra_repr(self) -> str:
        """Return the options, for print(model)."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}"
        )


class _InverseRoot(torch.autograd.Function):
    """S = A^(-1/2) of A = cov + eps I, differentiable as often as wanted.

    Not through the eigenvectors, whose gradient has 1 / (difference of eigenvalues), but through
    the equation S A S = 1: with R = A S = A^(1/2), its differential is R dS + dS R = -S dA S.
    Directions in which A is 0 (eps = 0, fewer values than channels) come out as 0.
    """

    @staticmethod
    def forward(ctx: Any, cov: Tensor, eps: float) -> Tensor:
        values, vectors = torch.linalg.eigh(cov)
        noise = values[-1:].abs() * len(cov) * torch.finfo(cov.dtype).eps
        values = values.masked_fill(values <= noise, 0) + eps
        values = values.masked_fill(values == 0, torch.inf)
        root: Tensor = (vectors * values.rsqrt()) @ vectors.T
        ctx.save_for_backward(cov, root)
        ctx.eps = eps
        return root

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        (grad,) = grad_outputs
        cov, root = ctx.saved_tensors
        square_root = cov @ root + ctx.eps * root
        solution = _Lyapunov.apply(square_root, grad)  # type: ignore[no-untyped-call]
        return -root @ solution @ root, None


class _Lyapunov(torch.autograd.Function):
    """X with R X + X R = G, for a symmetric R whose eigenvalues are positive."""

    @staticmethod
    def forward(ctx: Any, r: Tensor, g: Tensor) -> Tensor:
        values, vectors = torch.linalg.eigh(r)
        sums = values[:, None] + values
        inner = (vectors.T @ g @ vectors) / sums.masked_fill(sums <= 0, torch.inf)
        x: Tensor = vectors @ inner @ vectors.T
        ctx.save_for_backward(r, x)
        return x

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor]:
        (grad,) = grad_outputs
        r, x = ctx.saved_tensors
        y = _Lyapunov.apply(r, grad)  # type: ignore[no-untyped-call]
        return -(x.T @ y + y @ x.T), y

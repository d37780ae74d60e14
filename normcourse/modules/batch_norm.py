"""Batch normalization as a PyTorch module over (N, C, *)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class BatchNorm(nn.Module):
    """Normalize each channel over the batch and all positions.

    Formula:
        training:   y = weight * (x - mean) / sqrt(var + eps) + bias
        inference:  the same with running_mean and running_var

    Args:
        num_features: number of channels C.
        eps: added to the variance inside the root.
        momentum: weight of the new batch in the running statistics; None averages all batches.
        affine: learn ``weight`` and ``bias``, each of shape (C,).
        track_running_stats: keep ``running_mean`` and ``running_var``; without them inference
            uses the statistics of its own batch.

    Shape:
        (N, C, *) in, the same out.

    Raises:
        ValueError: an input of another rank or number of channels, or, in training, with one
            value per channel.

    Differs from torch in:
        one class for all ranks, where torch has BatchNorm1d, 2d and 3d.

    Source:
        Ioffe & Szegedy 2015; conventions of torch.nn.BatchNorm2d.

    Example:
        >>> layer = BatchNorm(1, eps=0.0)
        >>> layer(torch.tensor([[2.0], [4.0], [6.0], [8.0]])).flatten()
        tensor([-1.3416, -0.4472,  0.4472,  1.3416], grad_fn=<ViewBackward0>)
        >>> layer.running_mean, layer.running_var
        (tensor([0.5000]), tensor([1.5667]))
    """

    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        *,
        affine: bool = True,
        track_running_stats: bool = True,
    ) -> None:
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        self.weight = nn.Parameter(torch.ones(num_features)) if affine else None
        self.bias = nn.Parameter(torch.zeros(num_features)) if affine else None
        stats = track_running_stats
        self.register_buffer("running_mean", torch.zeros(num_features) if stats else None)
        self.register_buffer("running_var", torch.ones(num_features) if stats else None)
        self.register_buffer("num_batches_tracked", torch.tensor(0) if stats else None)

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalized batch; in training mode update the running statistics."""
        self._check(x)
        dims = [0, *range(2, x.ndim)]
        work = x.to(torch.promote_types(x.dtype, torch.float32))
        if self.training or self.running_mean is None or self.running_var is None:
            mean, centered, var = _centered_moments(work, dims)
            if self.training:
                self._update(mean.detach(), var.detach(), count=x.numel() // self.num_features)
        else:
            shape = self._shape(x)
            centered = work - self.running_mean.to(work.dtype).view(shape)
            var = self.running_var.to(work.dtype).view(shape)
        y = centered * torch.rsqrt(var + self.eps)
        if self.weight is not None and self.bias is not None:
            shape = self._shape(x)
            y = y * self.weight.view(shape) + self.bias.view(shape)
        return y.to(x.dtype)

    @torch.no_grad()
    def _update(self, mean: Tensor, var: Tensor, *, count: int) -> None:
        """Move the running statistics towards this batch, outside the graph."""
        if self.running_mean is None or self.running_var is None:
            return
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        weight = self.momentum
        if weight is None:
            weight = 1 / int(self.num_batches_tracked)
        unbiased = var.flatten() * (count / (count - 1))  # what is stored is the n - 1 variance
        self.running_mean.lerp_(mean.flatten().to(self.running_mean.dtype), weight)
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), weight)

    def _shape(self, x: Tensor) -> tuple[int, ...]:
        return (1, self.num_features, *(1,) * (x.ndim - 2))

    def _check(self, x: Tensor) -> None:
        if x.ndim < 2 or x.shape[1] != self.num_features:
            raise ValueError(
                f"expected input of shape (N, {self.num_features}, *), got {tuple(x.shape)}. "
                f"Channels are axis 1; for (N, L, C) transpose the last two axes."
            )
        if self.training and x.numel() // max(self.num_features, 1) < 2:
            raise ValueError(
                f"expected more than 1 value per channel when training, got input of shape "
                f"{tuple(x.shape)}. Use a larger batch, or eval() to use the running statistics."
            )

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
            f"affine={self.affine}, track_running_stats={self.track_running_stats}"
        )


def _centered_moments(x: Tensor, dims: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean, x - mean and the biased variance, in two passes, axes kept."""
    mean = x.mean(dims, keepdim=True)
    centered = x - mean
    residual = centered.mean(dims, keepdim=True)  # 0 but for rounding of the mean
    centered = centered - residual
    return mean + residual, centered, centered.square().mean(dims, keepdim=True)

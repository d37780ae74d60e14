"""Synchronized batch normalization: one batch spread over several workers."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from normcourse.modules.batch_norm import BatchNorm


class SyncBatchNorm(BatchNorm):
    """Normalize each channel with the moments of all workers' batches together.

    Formula:
        n = sum_k n_k,  mean = sum_k sum(x_k) / n,  var = sum_k sum((x_k - mean)^2) / n
        y_k = weight * (x_k - mean) / sqrt(var + eps) + bias

    Two sums cross the workers: (n, sum x) for the mean, then (sum, sum of squares) of what is left.
    No cancellation, and the gradient of each sum is the same sum of gradients, so the gradient of
    the workers' total loss is that of BatchNorm on the joined batch.

    Args:
        num_features: number of channels C.
        eps: added to the variance inside the root.
        momentum: weight of the new batch in the running statistics; None averages all batches.
        affine: learn ``weight`` and ``bias``, each of shape (C,).
        bias: False learns no ``bias``.
        track_running_stats: keep ``running_mean`` and ``running_var``.
        process_group: the workers that pool; None is all of them.

    Shape:
        (N, C, *) in, the same out. N and the positions may differ between workers; N may be 0.

    Raises:
        ValueError: an input of another rank or number of channels; without other workers, one
            value per channel in training.
        TypeError: an input that is not floating point.

    Differs from torch in:
        works with every backend of torch.distributed and on every device, where
        torch.nn.SyncBatchNorm synchronizes on accelerators only; two small all-reduces forward
        and two backward, where torch gathers once and reduces once; differentiable twice. As in
        torch, each worker's ``weight.grad`` and ``bias.grad`` are its own part, to be summed (or
        averaged, as DistributedDataParallel does), and inference never synchronizes.

    Source:
        Peng et al., "MegDet: A Large Mini-Batch Object Detector", 2018; torch.nn.SyncBatchNorm.

    Example:
        >>> import torch
        >>> layer = SyncBatchNorm(1, eps=0.0)  # one worker: BatchNorm
        >>> layer(torch.tensor([[2.0], [4.0], [6.0], [8.0]])).detach().flatten()
        tensor([-1.3416, -0.4472,  0.4472,  1.3416])
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        *,
        affine: bool = True,
        bias: bool = True,
        track_running_stats: bool = True,
        process_group: dist.ProcessGroup | None = None,
    ) -> None:
        super().__init__(
            num_features,
            eps,
            momentum,
            affine=affine,
            bias=bias,
            track_running_stats=track_running_stats,
        )
        self.process_group = process_group

    def _moments(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, int | Tensor]:
        """Return x - mean, mean, biased variance and count, pooled over all workers."""
        if not self._synchronizes():
            return super()._moments(x)
        dim = (0, *range(2, x.ndim))
        here = x.new_full((1,), x.numel() // self.num_features)
        first = self._sum_over_workers(torch.cat([here, x.sum(dim)]))  # (1 + C,)
        count = first[0].detach()
        at_least_one = count.clamp(min=1)
        mean = (first[1:] / at_least_one).view(1, -1, *(1,) * (x.ndim - 2))  # (1, C, 1, ...)
        centered = x - mean
        second = self._sum_over_workers(torch.cat([centered.sum(dim), centered.square().sum(dim)]))
        residual, square = (second / at_least_one).view(2, *mean.shape)
        return centered - residual, mean + residual, square - residual.square(), count

    def _sum_over_workers(self, local: Tensor) -> Tensor:
        total: Tensor = _SumOverWorkers.apply(self.process_group, local)  # type: ignore[no-untyped-call]
        return total

    def _synchronizes(self) -> bool:
        """Whether there are other workers to pool with: only ever in training."""
        if not self.training or not dist.is_available() or not dist.is_initialized():
            return False
        return dist.get_world_size(self.process_group) > 1

    def _check_count(self, x: Tensor) -> None:
        """Raise for one value per channel; with other workers it may be one of many."""
        if not self._synchronizes():
            super()._check_count(x)


class _SumOverWorkers(torch.autograd.Function):
    """Sum a tensor over all workers; the gradient is the same sum of the gradients."""

    @staticmethod
    def forward(ctx: Any, group: dist.ProcessGroup | None, local: Tensor) -> Tensor:
        ctx.group = group
        total = local.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[None, Tensor]:
        (grad,) = grad_outputs
        return None, _SumOverWorkers.apply(ctx.group, grad)  # type: ignore[no-untyped-call]

"""What the layers with one parameter per channel keep: parameters, buffers, their update."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from normcourse.modules._statistics import affine, per_channel
from normcourse.modules._validate import check_eps, check_momentum, check_size


class ChannelNorm(nn.Module):
    """Base of BatchNorm and InstanceNorm: bookkeeping only, no forward pass.

    Args:
        num_features: number of channels C.
        eps: added to the variance inside the root.
        momentum: weight of the new batch in the running statistics; None averages all batches.
        affine: learn ``weight`` of shape (C,).
        bias: learn ``bias`` of shape (C,) too; only used when ``affine``.
        track_running_stats: keep ``running_mean`` and ``running_var``.
    """

    weight: nn.Parameter | None
    bias: nn.Parameter | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    _version = 2  # of the state_dict: with num_batches_tracked, as torch's

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        *,
        affine: bool = True,
        bias: bool = True,
        track_running_stats: bool = True,
    ) -> None:
        super().__init__()
        self.num_features = check_size(num_features, "num_features")
        self.eps, self.momentum = check_eps(eps), check_momentum(momentum)
        self.affine, self.track_running_stats = affine, track_running_stats
        ones, zeros = torch.ones(num_features), torch.zeros(num_features)
        self.register_parameter("weight", nn.Parameter(ones) if affine else None)
        self.register_parameter("bias", nn.Parameter(zeros) if affine and bias else None)
        track = track_running_stats
        self.register_buffer("running_mean", torch.zeros(num_features) if track else None)
        self.register_buffer("running_var", torch.ones(num_features) if track else None)
        self.register_buffer("num_batches_tracked", torch.tensor(0) if track else None)

    def reset_running_stats(self) -> None:
        """Forget all batches: mean 0, variance 1, no batch tracked."""
        if self.running_mean is not None and self.running_var is not None:
            self.running_mean.zero_()
            self.running_var.fill_(1)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """Forget everything: weight 1, bias 0 and the running statistics of a new layer."""
        self.reset_running_stats()
        if self.weight is not None:
            nn.init.ones_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    @property
    def _uses_batch(self) -> bool:
        """Whether this mode normalizes with the statistics of the input itself."""
        return self.training or self.running_mean is None

    def _scale_and_shift(self, x_hat: Tensor) -> Tensor:
        """Return weight * x_hat + bias for x_hat of shape (N, C, *)."""
        ndim = x_hat.ndim
        return affine(x_hat, per_channel(self.weight, ndim), per_channel(self.bias, ndim))

    @torch.no_grad()
    def _move_running_stats(
        self, mean: Tensor, unbiased_var: Tensor, weight: float | Tensor
    ) -> None:
        """Move the running statistics by ``weight`` towards these, outside the graph."""
        assert self.running_mean is not None
        assert self.running_var is not None
        dtype = self.running_mean.dtype
        if isinstance(weight, Tensor):
            weight = weight.to(dtype)
        self.running_mean.lerp_(mean.flatten().to(dtype), weight)
        self.running_var.lerp_(unbiased_var.flatten().to(dtype), weight)

    def extra_repr(self) -> str:
        """Return the options, for print(model)."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
            f"affine={self.affine}, track_running_stats={self.track_running_stats}"
        )

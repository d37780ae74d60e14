"""Instance normalization as a PyTorch module over (N, C, *)."""

from __future__ import annotations

import torch
from torch import Tensor

from normcourse.modules._channel_norm import ChannelNorm
from normcourse.modules._statistics import (
    centered_moments,
    inverse_std,
    per_channel,
    unbiased,
    working_dtype,
)
from normcourse.modules._validate import check_channels


class InstanceNorm(ChannelNorm):
    """Normalize each channel of each example over its own positions.

    Formula:
        y = weight * (x - mean) / sqrt(var + eps) + bias

    with mean and biased variance per example and channel. With ``track_running_stats``, inference
    takes running_mean and running_var instead: averages over the examples of each batch.

    Args:
        num_features: number of channels C.
        eps: added to the variance inside the root.
        momentum: weight of the new batch in the running statistics; None never moves them, as in
            torch.
        affine: learn ``weight`` and ``bias``, each of shape (C,). Off by default, as in torch.
        bias: False learns no ``bias``.
        track_running_stats: keep ``running_mean`` and ``running_var``.

    Shape:
        (N, C, *) with at least one position axis in, the same out; memory format is kept.

    Raises:
        ValueError: an input of another rank or number of channels, or one position per channel
            where the input's own statistics are used.
        TypeError: an input that is not floating point.

    Differs from torch in:
        one class for all ranks, so the batch axis is needed; a wrong number of channels is always
        an error (torch warns when ``affine`` is False); an empty batch leaves the running
        statistics alone (torch makes them NaN); channels-last stays channels-last.
        As in torch, ``num_batches_tracked`` is kept but never counted.

    Source:
        Ulyanov, Vedaldi & Lempitsky, "Instance Normalization: The Missing Ingredient for Fast
        Stylization", 2016.

    Example:
        >>> import torch
        >>> layer = InstanceNorm(1, eps=0.0)
        >>> layer(torch.tensor([[[2.0, 4.0]], [[60.0, 80.0]]])).flatten()
        tensor([-1.,  1., -1.,  1.])
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        *,
        affine: bool = False,
        bias: bool = True,
        track_running_stats: bool = False,
    ) -> None:
        super().__init__(
            num_features,
            eps,
            momentum,
            affine=affine,
            bias=bias,
            track_running_stats=track_running_stats,
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalized input; in training mode move the running statistics, if any."""
        check_channels(x, self.num_features, min_ndim=3)
        work = x.to(working_dtype(x))
        if self._uses_batch:
            _check_positions(x)
            centered, mean, var = centered_moments(work, range(2, x.ndim))
            self._track(mean, var, count=x.shape[2:].numel())
        else:
            running_mean = per_channel(self.running_mean, x.ndim)
            running_var = per_channel(self.running_var, x.ndim)
            assert running_mean is not None
            assert running_var is not None
            centered, var = work - running_mean.to(work.dtype), running_var.to(work.dtype)
        return self._scale_and_shift(centered * inverse_std(var, self.eps)).to(x.dtype)

    @torch.no_grad()
    def _track(self, mean: Tensor, var: Tensor, *, count: int) -> None:
        """In training mode, move the running statistics towards the mean over the examples."""
        if self.running_mean is None or not self.training or self.momentum is None:
            return
        if mean.numel() == 0 or count == 0:
            return
        self._move_running_stats(mean.mean(0), unbiased(var, count).mean(0), self.momentum)


def _check_positions(x: Tensor) -> None:
    """Raise where one value would be its own mean."""
    if x.shape[2:].numel() == 1:
        raise ValueError(
            f"x: expected more than 1 position per channel, got shape {tuple(x.shape)}. Its "
            f"variance is 0 and every output would be the bias: normalize before the pooling that "
            f"leaves one position, or use GroupNorm."
        )

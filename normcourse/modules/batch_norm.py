"""Batch normalization as a PyTorch module over (N, C, *)."""

from __future__ import annotations

import torch
from torch import Tensor

from normcourse import kernels
from normcourse.modules._backend import check_backend, runs_fused, shown
from normcourse.modules._channel_norm import ChannelNorm
from normcourse.modules._statistics import (
    centered_moments,
    inverse_std,
    per_channel,
    unbiased,
    working_dtype,
)
from normcourse.modules._validate import check_channels


class BatchNorm(ChannelNorm):
    """Normalize each channel over the batch and all positions.

    Formula:
        training:   y = weight * (x - mean) / sqrt(var + eps) + bias
        inference:  the same with running_mean and running_var

    Args:
        num_features: number of channels C.
        eps: added to the variance inside the root.
        momentum: weight of the new batch in the running statistics; None averages all batches.
        affine: learn ``weight`` and ``bias``, each of shape (C,).
        bias: False learns no ``bias``.
        track_running_stats: keep ``running_mean`` and ``running_var``; without them inference
            uses the statistics of its own batch.
        backend: "torch", or "fused" for one kernel of :mod:`normcourse.kernels` where there is one.

    Shape:
        (N, C, *) in, the same out; memory format and dtype are kept.

    Raises:
        ValueError: an input of another rank or number of channels, or one value per channel where
            batch statistics are used.
        TypeError: an input that is not floating point.

    Differs from torch in:
        one class for all ranks, where torch has BatchNorm1d, 2d and 3d; no ``device`` and
        ``dtype`` arguments (use ``with torch.device(...)`` or ``.to(...)``); ``eps=0`` is allowed,
        and constant channels then give ``bias``, not NaN.

    Source:
        Ioffe & Szegedy 2015; conventions of torch.nn.BatchNorm2d.

    Example:
        >>> import torch
        >>> layer = BatchNorm(1, eps=0.0)
        >>> layer(torch.tensor([[2.0], [4.0], [6.0], [8.0]])).detach().flatten()
        tensor([-1.3416, -0.4472,  0.4472,  1.3416])
        >>> layer.running_mean, layer.running_var
        (tensor([0.5000]), tensor([1.5667]))
        >>> layer.eval()(torch.tensor([[0.5]])).item()
        0.0
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
        backend: str = "torch",
    ) -> None:
        super().__init__(
            num_features,
            eps,
            momentum,
            affine=affine,
            bias=bias,
            track_running_stats=track_running_stats,
        )
        self.backend = check_backend(backend)

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalized batch; in training mode move the running statistics."""
        check_channels(x, self.num_features)
        if runs_fused(self.backend):
            return self._fused(x)
        work = x.to(working_dtype(x))
        if self._uses_batch:
            self._check_count(x)
            x_hat = self._normalize_by_batch(work)
        else:
            x_hat = self._normalize_by_running(work)
        return self._scale_and_shift(x_hat).to(x.dtype)

    def _fused(self, x: Tensor) -> Tensor:
        """Do all of it in one kernel."""
        weight, bias, eps = self.weight, self.bias, self.eps
        if not self._uses_batch:
            assert self.running_mean is not None
            assert self.running_var is not None
            given = self.running_mean, self.running_var
            return kernels.batch_norm_inference(x, *given, weight, bias, eps=eps)
        self._check_count(x)
        y, mean, var = kernels.batch_norm(x, weight, bias, eps=eps)
        self._track(mean, var, x.numel() // self.num_features)
        return y

    def _normalize_by_batch(self, x: Tensor) -> Tensor:
        """Standardize with the moments of this batch and remember them."""
        centered, mean, var, count = self._moments(x)
        self._track(mean, var, count)
        return centered * inverse_std(var, self.eps)

    def _normalize_by_running(self, x: Tensor) -> Tensor:
        """Standardize with the running statistics: a fixed affine map."""
        assert self.running_mean is not None
        assert self.running_var is not None
        mean = per_channel(self.running_mean.to(x.dtype), x.ndim)
        var = per_channel(self.running_var.to(x.dtype), x.ndim)
        assert mean is not None
        assert var is not None
        return (x - mean) * inverse_std(var, self.eps)

    def _moments(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, int | Tensor]:
        """Return x - mean, mean, biased variance and the number of values behind each mean."""
        count = x.numel() // self.num_features
        return *centered_moments(x, (0, *range(2, x.ndim))), count

    @torch.no_grad()
    def _track(self, mean: Tensor, var: Tensor, count: int | Tensor) -> None:
        """In training mode, move the running statistics towards this batch."""
        if not self.training or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)  # an empty batch counts too, as in torch
        weight = self._weight_of_batch()
        if isinstance(count, Tensor):
            weight = weight * (count > 1)  # nothing pooled, nothing learned
        elif count == 0:
            return
        self._move_running_stats(mean, unbiased(var, count), weight)

    def _weight_of_batch(self) -> float | Tensor:
        """Return the momentum, or 1 / number of batches for a cumulative average."""
        if self.momentum is not None:
            return self.momentum
        assert self.num_batches_tracked is not None
        assert self.running_mean is not None
        return 1 / self.num_batches_tracked.to(self.running_mean.dtype)

    def extra_repr(self) -> str:
        """Return the options, for print(model)."""
        return super().extra_repr() + shown(self.backend)

    def _check_count(self, x: Tensor) -> None:
        """Raise where one value would be its own mean."""
        if x.numel() == self.num_features:
            raise ValueError(
                f"x: expected more than 1 value per channel when training, got shape "
                f"{tuple(x.shape)}. Its variance is 0 and every output would be the bias: use a "
                f"larger batch, or eval() to use running statistics."
            )

"""Masked batch normalization: statistics over real tokens only."""

from __future__ import annotations

import torch
from torch import Tensor

from normcourse.modules._channel_norm import ChannelNorm
from normcourse.modules._statistics import affine, inverse_std, unbiased, working_dtype
from normcourse.modules._validate import check_floating


class MaskedBatchNorm(ChannelNorm):
    """Normalize each feature over the real tokens of a padded batch; padding comes out as 0.

    Formula:
        n = sum(mask),  mean = sum(mask * x) / n,  var = sum(mask * (x - mean)^2) / n
        y = mask * (weight * (x - mean) / sqrt(var + eps) + bias)

    Args:
        num_features: number of features D.
        eps: added to the variance inside the root.
        momentum: weight of the new batch in the running statistics; None averages all batches.
        affine: learn ``weight`` and ``bias``, each of shape (D,).
        bias: False learns no ``bias``.
        track_running_stats: keep ``running_mean`` and ``running_var``.

    Shape:
        x (*, D) with its features last, usually (B, T, D), and a boolean mask (*), True for a
        real token; out like x.

    Raises:
        ValueError: features that are not last or a mask of another shape.
        TypeError: x is not floating point or the mask not boolean.

    Differs from torch in:
        torch has no such layer; nn.BatchNorm1d pools the padding too. The state fits
        BatchNorm's. A batch with fewer than two real tokens raises nothing (to know, the mask
        would have to be read back from the device): its real token comes out as ``bias`` and the
        running statistics stay as they are.

    Source:
        the batch normalization of Ioffe & Szegedy 2015 over a set of tokens.

    Example:
        >>> import torch
        >>> layer = MaskedBatchNorm(1, eps=0.0)
        >>> x = torch.tensor([[[2.0], [4.0]], [[6.0], [99.0]]])
        >>> layer(x, torch.tensor([[True, True], [True, False]])).detach().flatten()
        tensor([-1.2247,  0.0000,  1.2247,  0.0000])
        >>> layer.running_mean, layer.running_var
        (tensor([0.4000]), tensor([1.3000]))
    """

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return the normalized tokens; in training mode move the running statistics."""
        self._check(x, mask)
        real = mask[..., None]  # (*, 1)
        work = x.to(working_dtype(x)).masked_fill(~real, 0)
        if self._uses_batch:
            centered, mean, var, count = _masked_moments(work, real)
            self._track(mean, var, count)
        else:
            assert self.running_mean is not None
            assert self.running_var is not None
            centered, var = work - self.running_mean, self.running_var.to(work.dtype)
        x_hat = centered * inverse_std(var, self.eps)
        return affine(x_hat, self.weight, self.bias).masked_fill(~real, 0).to(x.dtype)

    @torch.no_grad()
    def _track(self, mean: Tensor, var: Tensor, count: Tensor) -> None:
        """In training mode, move the running statistics if there are at least two tokens."""
        if not self.training or self.num_batches_tracked is None:
            return
        enough = count > 1
        self.num_batches_tracked.add_(enough)
        assert self.running_mean is not None
        average = 1 / self.num_batches_tracked.clamp(min=1).to(self.running_mean.dtype)
        weight = average if self.momentum is None else self.momentum
        self._move_running_stats(mean, unbiased(var, count), enough * weight)

    def _check(self, x: Tensor, mask: Tensor) -> None:
        check_floating(x)
        if x.ndim < 2 or x.shape[-1] != self.num_features:
            raise ValueError(
                f"x: expected shape (*, {self.num_features}) with the features last, got "
                f"{tuple(x.shape)}. For (B, D, T) call x.transpose(1, 2)."
            )
        if mask.shape != x.shape[:-1]:
            raise ValueError(
                f"mask: expected shape {tuple(x.shape[:-1])}, got {tuple(mask.shape)}. "
                f"Give one truth value per token, without the feature axis."
            )
        if mask.dtype != torch.bool:
            raise TypeError(
                f"mask: expected a boolean tensor, True for real tokens, got {mask.dtype}. "
                f"Convert it, for example mask.bool()."
            )


def _masked_moments(x: Tensor, real: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return x - mean, mean (D,), biased variance (D,) and the number of real tokens.

    x is 0 where ``real`` is False; without any real token mean and variance are 0.
    """
    dim = tuple(range(x.ndim - 1))
    count = real.sum().to(x.dtype)
    at_least_one = count.clamp(min=1)
    mean = x.sum(dim) / at_least_one
    centered = (x - mean).masked_fill(~real, 0)
    residual = centered.sum(dim) / at_least_one  # 0 but for rounding of the mean
    centered = (centered - residual).masked_fill(~real, 0)
    return centered, mean + residual, centered.square().sum(dim) / at_least_one, count

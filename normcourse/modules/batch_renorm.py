"""Batch renormalization: batch statistics pulled towards the running ones."""

from __future__ import annotations

import torch
from torch import Tensor

from normcourse.modules._statistics import inverse_std, per_channel
from normcourse.modules.batch_norm import BatchNorm


class BatchRenorm(BatchNorm):
    """Normalize as inference would, as far as r and d may go; gradients as in BatchNorm.

    Formula:
        training:   y = weight * ((x - mean) / sqrt(var + eps) * r + d) + bias
                    r = clip(sqrt((var + eps) / (running_var + eps)), 1 / r_max, r_max)
                    d = clip((mean - running_mean) / sqrt(running_var + eps), -d_max, d_max)
        inference:  y = weight * (x - running_mean) / sqrt(running_var + eps) + bias

    r and d are constants in the gradient. Where neither is clipped, training gives what inference
    would give. With r_max = 1 and d_max = 0 it is BatchNorm: train so at first, then let both
    grow; they are plain attributes.

    Args:
        num_features: number of channels C.
        eps: added to the variance inside the root.
        momentum: weight of the new batch in the running statistics; None averages all batches.
        r_max: bound of the scale correction, at least 1.
        d_max: bound of the shift correction, at least 0.
        affine: learn ``weight`` and ``bias``, each of shape (C,).
        bias: False learns no ``bias``.

    Shape:
        (N, C, *) in, the same out.

    Raises:
        ValueError: an input of another rank or number of channels, one value per channel in
            training, r_max < 1 or d_max < 0.
        TypeError: an input that is not floating point.

    Differs from torch in:
        torch has no such layer; the state fits BatchNorm's. The paper averages standard
        deviations, this layer keeps BatchNorm's n - 1 variance in ``running_var``.

    Source:
        Ioffe, "Batch Renormalization: Towards Reducing Minibatch Dependence in Batch-Normalized
        Models", 2017.

    Example:
        >>> import torch
        >>> layer = BatchRenorm(1, eps=0.0)
        >>> layer(torch.tensor([[2.0], [4.0], [6.0], [8.0]])).detach().flatten()
        tensor([2.0000, 4.0000, 6.0000, 8.0000])
        >>> layer.r_max, layer.d_max = 1.0, 0.0
        >>> layer(torch.tensor([[2.0], [4.0], [6.0], [8.0]])).detach().flatten()
        tensor([-1.3416, -0.4472,  0.4472,  1.3416])
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        *,
        r_max: float = 3.0,
        d_max: float = 5.0,
        affine: bool = True,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine=affine, bias=bias)
        if not r_max >= 1 or not d_max >= 0:
            raise ValueError(
                f"r_max, d_max: expected r_max >= 1 and d_max >= 0, got {r_max} and {d_max}. "
                f"BatchNorm is r_max=1, d_max=0; the paper ends at 3 and 5."
            )
        self.r_max, self.d_max = r_max, d_max

    def _normalize_by_batch(self, x: Tensor) -> Tensor:
        """Standardize with the batch, correct towards the running statistics, remember."""
        centered, mean, var, count = self._moments(x)
        r, d = self._corrections(mean, var)
        self._track(mean, var, count)
        return centered * inverse_std(var, self.eps) * r + d

    @torch.no_grad()
    def _corrections(self, mean: Tensor, var: Tensor) -> tuple[Tensor, Tensor]:
        """Return r and d, each of shape (1, C, 1, ...), outside the graph."""
        assert self.running_mean is not None
        assert self.running_var is not None
        running_mean = per_channel(self.running_mean.to(mean.dtype), mean.ndim)
        running_var = per_channel(self.running_var.to(mean.dtype), mean.ndim)
        assert running_mean is not None
        assert running_var is not None
        inv_running_std = inverse_std(running_var, self.eps)
        r = (var + self.eps).sqrt() * inv_running_std
        d = (mean - running_mean) * inv_running_std
        return r.clamp(1 / self.r_max, self.r_max), d.clamp(-self.d_max, self.d_max)

    def extra_repr(self) -> str:
        """Return the options, for print(model)."""
        return f"{super().extra_repr()}, r_max={self.r_max}, d_max={self.d_max}"

"""Ghost batch normalization: BatchNorm on small parts of a large batch."""

from __future__ import annotations

import torch
from torch import Tensor

from normcourse.modules._validate import check_size
from normcourse.modules.batch_norm import BatchNorm


class GhostBatchNorm(BatchNorm):
    """Normalize each ghost batch of ``ghost_size`` examples with its own statistics.

    Formula:
        training:   y = BatchNorm(x[0:g]), BatchNorm(x[g:2g]), ... one after the other
        inference:  BatchNorm with the running statistics, whatever the batch

    Args:
        num_features: number of channels C.
        ghost_size: examples per ghost batch; the last ghost may be smaller.
        eps: added to the variance inside the root.
        momentum: weight of each new *ghost* in the running statistics; None averages all ghosts.
        affine: learn ``weight`` and ``bias``, each of shape (C,).
        bias: False learns no ``bias``.
        track_running_stats: keep ``running_mean`` and ``running_var``.

    Shape:
        (N, C, *) in, the same out.

    Raises:
        ValueError: an input of another rank or number of channels, or a ghost with one value per
            channel where batch statistics are used.
        TypeError: an input that is not floating point.

    Differs from torch in:
        torch has no such layer. The state fits BatchNorm's; ``num_batches_tracked`` counts ghosts.

    Source:
        Hoffer, Hubara & Soudry, "Train longer, generalize better: closing the generalization gap
        in large batch training of neural networks", 2017.

    Example:
        >>> import torch
        >>> layer = GhostBatchNorm(1, ghost_size=2, eps=0.0)
        >>> layer(torch.tensor([[2.0], [4.0], [6.0], [8.0]])).detach().flatten()
        tensor([-1.,  1., -1.,  1.])
        >>> layer.running_mean, layer.num_batches_tracked
        (tensor([0.9700]), tensor(2))
    """

    def __init__(
        self,
        num_features: int,
        ghost_size: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        *,
        affine: bool = True,
        bias: bool = True,
        track_running_stats: bool = True,
    ) -> None:
        super().__init__(
            num_features,
            eps,
            momentum,
            affine=affine,
            bias=bias,
            track_running_stats=track_running_stats,
        )
        self.ghost_size = check_size(ghost_size, "ghost_size")

    def _normalize_by_batch(self, x: Tensor) -> Tensor:
        """Standardize ghost by ghost; the running statistics see one ghost after the other."""
        ghosts = torch.split(x, self.ghost_size)
        return torch.cat([super(GhostBatchNorm, self)._normalize_by_batch(g) for g in ghosts])

    def _check_count(self, x: Tensor) -> None:
        """Raise where the smallest ghost has one value per channel."""
        smallest = x.shape[0] % self.ghost_size or min(self.ghost_size, x.shape[0])
        if smallest * x[:1, 0].numel() == 1:
            raise ValueError(
                f"x: expected more than 1 value per channel in every ghost when training, got "
                f"shape {tuple(x.shape)} with ghost_size={self.ghost_size}. Choose a ghost_size "
                f"that leaves no single example over, or drop the last examples."
            )

    def extra_repr(self) -> str:
        """Return the options, for print(model)."""
        return f"{super().extra_repr()}, ghost_size={self.ghost_size}"

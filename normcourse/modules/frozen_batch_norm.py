"""Frozen batch normalization: a BatchNorm that train() cannot wake."""

from __future__ import annotations

from typing import Self

from normcourse.modules.batch_norm import BatchNorm


class FrozenBatchNorm(BatchNorm):
    """Normalize with the running statistics in both modes: a fixed affine map per channel.

    Formula:
        y = weight * (x - running_mean) / sqrt(running_var + eps) + bias

    For fine-tuning with batches too small for statistics of their own.

    Args:
        num_features: number of channels C.
        eps: added to the variance inside the root.
        affine: have ``weight`` and ``bias``, each of shape (C,). They start frozen
            (``requires_grad`` is False); set it to True to train them alone.
        bias: False has no ``bias``.

    Shape:
        (N, C, *) in, the same out.

    Raises:
        ValueError: an input of another rank or number of channels.
        TypeError: an input that is not floating point.

    Differs from torch in:
        torch.nn has no such layer. The state is BatchNorm's, so either loads the other's.

    Source:
        He et al., "Deep Residual Learning for Image Recognition", 2015 (detection fine-tuning
        with fixed batch normalization).

    Example:
        >>> import torch
        >>> layer = FrozenBatchNorm(1, eps=0.0).train()
        >>> layer.training, layer(torch.tensor([[2.0], [4.0]])).flatten()
        (False, tensor([2., 4.]))
        >>> layer.running_mean
        tensor([0.])
    """

    def __init__(
        self, num_features: int, eps: float = 1e-5, *, affine: bool = True, bias: bool = True
    ) -> None:
        super().__init__(num_features, eps, momentum=0.0, affine=affine, bias=bias)
        self.requires_grad_(False)
        self.training = False

    def train(self, mode: bool = True) -> Self:
        """Stay in inference mode, whatever ``mode`` is."""
        del mode
        return super().train(False)

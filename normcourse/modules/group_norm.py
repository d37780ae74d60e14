"""Group normalization as a PyTorch module over (N, C, *)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from normcourse import kernels
from normcourse.modules._backend import check_backend, runs_fused, shown
from normcourse.modules._statistics import affine, per_channel, standardize, working_dtype
from normcourse.modules._validate import check_channels, check_eps, check_size


class GroupNorm(nn.Module):
    """Normalize each group of channels of each example over its channels and positions.

    Formula:
        y = weight * (x - mean) / sqrt(var + eps) + bias

    with mean and biased variance per example and group of C / G neighbouring channels, and weight
    and bias per channel. One group is LayerNorm's statistics over (C, *); C groups are
    InstanceNorm.

    Args:
        num_groups: number of groups G; divides C.
        num_channels: number of channels C.
        eps: added to the variance inside the root.
        affine: learn ``weight`` and ``bias``, each of shape (C,).
        bias: False learns no ``bias``.
        backend: "torch", or "fused" for one kernel of :mod:`normcourse.kernels` where there is one.

    Shape:
        (N, C, *) in, the same out; memory format and dtype are kept.

    Raises:
        ValueError: groups that do not divide the channels, an input of another rank or number of
            channels, or a single example with one value per group.
        TypeError: an input that is not floating point.

    Differs from torch in:
        nothing. As in torch, one value per group is an error for one example only; for more the
        output is ``bias``.

    Source:
        Wu & He, "Group Normalization", 2018.

    Example:
        >>> import torch
        >>> layer = GroupNorm(2, 4, eps=0.0)
        >>> layer(torch.tensor([[2.0, 4.0, 60.0, 80.0]])).detach()
        tensor([[-1.,  1., -1.,  1.]])
    """

    weight: nn.Parameter | None
    bias: nn.Parameter | None

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        *,
        affine: bool = True,
        bias: bool = True,
        backend: str = "torch",
    ) -> None:
        super().__init__()
        self.backend = check_backend(backend)
        self.num_groups = check_size(num_groups, "num_groups")
        self.num_channels = check_size(num_channels, "num_channels")
        if num_channels % num_groups:
            raise ValueError(
                f"num_groups: expected a divisor of num_channels={num_channels}, got "
                f"{num_groups}. Possible: "
                f"{[g for g in range(1, num_channels + 1) if num_channels % g == 0]}."
            )
        self.eps, self.affine = check_eps(eps), affine
        ones, zeros = torch.ones(num_channels), torch.zeros(num_channels)
        self.register_parameter("weight", nn.Parameter(ones) if affine else None)
        self.register_parameter("bias", nn.Parameter(zeros) if affine and bias else None)

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalized input; the same in both modes."""
        check_channels(x, self.num_channels)
        if x.numel() == self.num_groups:
            raise ValueError(
                f"x: expected more than 1 value per group, got shape {tuple(x.shape)} with "
                f"{self.num_groups} groups. Its variance is 0: choose fewer groups."
            )
        if runs_fused(self.backend):
            return kernels.group_norm(x, self.num_groups, self.weight, self.bias, eps=self.eps)
        work = x.to(working_dtype(x))
        groups = torch.unflatten(work, 1, (self.num_groups, -1))  # (N, G, C / G, *)
        x_hat = standardize(groups, range(2, groups.ndim), self.eps).flatten(1, 2)  # (N, C, *)
        weight, bias = per_channel(self.weight, x.ndim), per_channel(self.bias, x.ndim)
        return affine(x_hat, weight, bias).to(x.dtype)

    def extra_repr(self) -> str:
        """Return the options, for print(model)."""
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}"
            f"{shown(self.backend)}"
        )

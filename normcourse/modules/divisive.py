"""Canonical divisive normalization with a learned pool."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from normcourse.modules._statistics import full_precision, working_dtype
from normcourse.modules._validate import check_size, check_trailing


class DivisiveNorm(nn.Module):
    """Divide each unit's drive by the pooled drive of the others.

    Formula:
        y_i = gain * d_i^n / (sigma^n + sum_j pool_ij * d_j^n),  d = max(x, 0)

    ``pool`` (entries >= 0) and ``sigma`` (> 0) are learned through ``pool_root`` and
    ``log_sigma``: pool = pool_root^2, sigma = exp(log_sigma).

    Args:
        num_features: number of units D, the size of the last axis.
        exponent: n, at least 1.
        sigma: first value of the semi-saturation constant.
        gain: the response that a lone strong drive approaches with pool_ii = 1.
        pool: first value of the pool, (D, D) with entries >= 0; None weighs all units by 1 / D.

    Shape:
        (*, D) in, the same out. ``pool_root`` (D, D), ``log_sigma`` ().

    Raises:
        ValueError: a last axis of another size, or a constant outside its range.
        TypeError: an input that is not floating point.

    Differs from torch in:
        torch has no such layer. ``norms.divisive_normalize`` refuses a negative drive; this layer
        rectifies it first, as in the source.

    Source:
        Heeger, "Normalization of cell responses in cat striate cortex", 1992; Carandini & Heeger,
        "Normalization as a canonical neural computation", 2012.

    Example:
        >>> import torch
        >>> layer = DivisiveNorm(2, sigma=2.0, pool=torch.ones(2, 2))
        >>> layer(torch.tensor([4.0, 2.0])).detach()  # 16 and 4 over 4 + 20
        tensor([0.6667, 0.1667])
    """

    def __init__(
        self,
        num_features: int,
        exponent: float = 2.0,
        *,
        sigma: float = 1.0,
        gain: float = 1.0,
        pool: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.num_features = check_size(num_features, "num_features")
        if not exponent >= 1 or not sigma > 0:
            raise ValueError(
                f"exponent, sigma: expected exponent >= 1 and sigma > 0, got {exponent} and "
                f"{sigma}; usual are 2 and the drive of half the largest response."
            )
        self.exponent, self.gain = exponent, gain
        shape = (num_features, num_features)
        first = torch.full(shape, 1 / num_features) if pool is None else pool.detach()
        if tuple(first.shape) != shape or bool((first < 0).any()):
            raise ValueError(
                f"pool: expected shape {shape} and entries >= 0, got {tuple(first.shape)} with "
                f"smallest {first.min().item():g}. pool[i, j] weighs unit j for unit i."
            )
        self.pool_root = nn.Parameter(first.sqrt())
        self.log_sigma = nn.Parameter(torch.tensor(float(sigma)).log())

    @property
    def pool(self) -> Tensor:
        """The pool, (D, D) with entries >= 0."""
        return self.pool_root.square()

    @property
    def sigma(self) -> Tensor:
        """The semi-saturation constant, > 0."""
        return self.log_sigma.exp()

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalized responses; the same in both modes."""
        check_trailing(x, (self.num_features,))
        drive = x.to(working_dtype(x)).relu().pow(self.exponent)
        with full_precision(x):
            pooled = torch.matmul(drive, self.pool.to(drive.dtype).T)
        constant = torch.exp(self.exponent * self.log_sigma)
        return (self.gain * drive / (constant + pooled)).to(x.dtype)

    def extra_repr(self) -> str:
        """Return the options, for print(model)."""
        return f"{self.num_features}, exponent={self.exponent}, gain={self.gain}"

"""Local contrast normalization: mean and standard deviation of a neighbourhood."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from normcourse.modules._statistics import (
    centered_moments,
    full_precision,
    inverse_std,
    working_dtype,
)
from normcourse.modules._validate import check_eps, check_floating, check_size


class LocalContrastNorm(nn.Module):
    """Subtract the local mean of an image, then divide by the local standard deviation.

    Formula:
        v = x - local_mean(x),  y = v / sqrt(local_mean(v^2) + eps)

    local_mean weighs the neighbours by a Gaussian window and pools all channels; at the border
    the weights inside the image are scaled to sum 1.

    Args:
        size: side of the window, odd; its standard deviation is size / 4.
        eps: added to the local variance inside the root.

    Shape:
        (N, C, H, W) in, the same out.

    Raises:
        ValueError: an even size or an input of another rank.
        TypeError: an input that is not floating point.

    Differs from torch in:
        torch has no such layer. The paper divides by max(c, std), with c the mean std of the
        image; eps inside the root serves here, as everywhere else.

    Source:
        Jarrett et al., "What is the Best Multi-Stage Architecture for Object Recognition?", 2009.

    Example:
        >>> import torch
        >>> x, layer = torch.tensor([[[[0.0, 1.0, 5.0, 7.0]]]]), LocalContrastNorm(3, eps=0.0)
        >>> layer(x).flatten()
        tensor([-0.6621, -1.2031,  0.8355,  1.0640])
        >>> layer(5 * x + 3).flatten()  # contrast and brightness are gone
        tensor([-0.6621, -1.2031,  0.8355,  1.0640])
    """

    window: Tensor

    def __init__(self, size: int, eps: float = 1e-5) -> None:
        super().__init__()
        if check_size(size, "size") % 2 == 0:
            raise ValueError(f"size: expected an odd number, got {size}; a window has a centre.")
        self.size, self.eps = size, check_eps(eps)
        offsets = torch.arange(size, dtype=torch.float64) - size // 2
        window = torch.exp(-0.5 * (offsets / (size / 4)).square())
        self.register_buffer("window", torch.outer(window, window), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalized images; the same in both modes."""
        check_floating(x)
        if x.ndim != 4:
            raise ValueError(
                f"x: expected shape (N, C, H, W), got {tuple(x.shape)}. "
                f"For one image use x[None], for one channel x[:, None]."
            )
        work = x.to(working_dtype(x))
        centered, _, _ = centered_moments(work, (1, 2, 3))  # a constant image cancels exactly
        v = centered - self._local_mean(centered)
        return (v * inverse_std(self._local_mean(v.square()), self.eps)).to(x.dtype)

    def _local_mean(self, x: Tensor) -> Tensor:
        """Return the weighted mean around each position, over all channels: (N, 1, H, W)."""
        window = self.window.to(x.dtype)[None, None]  # (1, 1, size, size)
        inside = torch.ones_like(x[:1, :1])  # (1, 1, H, W)
        with full_precision(x):
            weight = F.conv2d(inside, window, padding="same")
            return F.conv2d(x.mean(1, keepdim=True), window, padding="same") / weight

    def extra_repr(self) -> str:
        """Return the options, for print(model)."""
        return f"{self.size}, eps={self.eps}"

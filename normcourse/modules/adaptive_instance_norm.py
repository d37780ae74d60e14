"""Adaptive instance normalization: the content's pattern with the style's moments."""

from __future__ import annotations

from torch import Tensor, nn

from normcourse.modules._statistics import centered_moments, inverse_std, working_dtype
from normcourse.modules._validate import check_channels, check_eps


class AdaptiveInstanceNorm(nn.Module):
    """Give each channel of the content the mean and standard deviation of the style's channel.

    Formula:
        y = std(style) * (content - mean(content)) / std(content) + mean(style)

    with std = sqrt(var + eps), biased, per example and channel.

    Args:
        eps: added to both variances inside the root.

    Shape:
        content (N, C, *) and style (N, C, *) with at least one position axis each; the positions
        may differ. Out like content.

    Raises:
        ValueError: too few axes, or another N or C.
        TypeError: an input that is not floating point.

    Differs from torch in:
        torch has no such layer. The authors' code takes the unbiased variance.

    Source:
        Huang & Belongie, "Arbitrary Style Transfer in Real-time with Adaptive Instance
        Normalization", 2017.

    Example:
        >>> import torch
        >>> content, style = torch.tensor([[[2.0, 4.0]]]), torch.tensor([[[10.0, 20.0, 30.0]]])
        >>> AdaptiveInstanceNorm(eps=0.0)(content, style).flatten()
        tensor([11.8350, 28.1650])
    """

    def __init__(self, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = check_eps(eps)

    def forward(self, content: Tensor, style: Tensor) -> Tensor:
        """Return the content with the style's moments; the same in both modes."""
        _check(content, style)
        work = content.to(working_dtype(content))
        centered, _, var = centered_moments(work, range(2, content.ndim))
        _, style_mean, style_var = centered_moments(style.to(work.dtype), range(2, style.ndim))
        shape = (*content.shape[:2], *(1,) * (content.ndim - 2))  # (N, C, 1, ...)
        style_std = (style_var + self.eps).sqrt().view(shape)
        y = centered * inverse_std(var, self.eps) * style_std + style_mean.view(shape)
        return y.to(content.dtype)

    def extra_repr(self) -> str:
        """Return the options, for print(model)."""
        return f"eps={self.eps}"


def _check(content: Tensor, style: Tensor) -> None:
    check_channels(content, content.shape[1] if content.ndim > 1 else 1, min_ndim=3)
    if style.ndim < 3 or style.shape[:2] != content.shape[:2]:
        raise ValueError(
            f"style: expected the N and C of content, shape {tuple(content.shape[:2])} and "
            f"positions, got {tuple(style.shape)}. "
            f"For one style image use style.expand({len(content)}, ...)."
        )
    check_channels(style, style.shape[1], min_ndim=3)

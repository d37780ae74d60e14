"""Dynamic tanh: a substitute for a norm, without statistics."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from normcourse.modules._statistics import affine, working_dtype
from normcourse.modules._validate import check_trailing, trailing_shape


class DynamicTanh(nn.Module):
    """Squash each value by itself, with one learned slope.

    Formula:
        y = weight * tanh(alpha * x) + bias

    Args:
        normalized_shape: sizes of the trailing axes that ``weight`` and ``bias`` cover.
        alpha: first value of the slope; the source takes 0.5 outside language models.

    Shape:
        (*, normalized_shape) in, the same out. ``alpha`` has shape (1,), as in the authors' code.

    Raises:
        ValueError: trailing axes of other sizes.
        TypeError: an input that is not floating point.

    Differs from torch in:
        torch has no such layer.

    Source:
        Zhu et al., "Transformers without Normalization", 2025.

    Example:
        >>> import torch
        >>> DynamicTanh(2, alpha=1.0)(torch.tensor([0.5, 1e30])).detach()
        tensor([0.4621, 1.0000])
    """

    def __init__(self, normalized_shape: int | Sequence[int], alpha: float = 0.5) -> None:
        super().__init__()
        self.normalized_shape = trailing_shape(normalized_shape)
        self.alpha = nn.Parameter(torch.full((1,), float(alpha)))
        self.weight = nn.Parameter(torch.ones(self.normalized_shape))
        self.bias = nn.Parameter(torch.zeros(self.normalized_shape))

    def forward(self, x: Tensor) -> Tensor:
        """Return the squashed input; the same in both modes."""
        check_trailing(x, self.normalized_shape)
        x_hat = torch.tanh(self.alpha * x.to(working_dtype(x)))
        return affine(x_hat, self.weight, self.bias).to(x.dtype)

    def extra_repr(self) -> str:
        """Return the options, for print(model)."""
        return f"{self.normalized_shape}"

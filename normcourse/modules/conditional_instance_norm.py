"""Conditional instance normalization: one scale and shift per style."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from normcourse.modules._statistics import full_precision, working_dtype
from normcourse.modules._validate import check_floating, check_size
from normcourse.modules.instance_norm import InstanceNorm


class ConditionalInstanceNorm(nn.Module):
    """Normalize each channel of each example, then scale and shift it as its style says.

    Formula:
        y_n = weight[s_n] * (x_n - mean) / sqrt(var + eps) + bias[s_n]

    A mixture of styles, with weights m_n, uses sum_s m_ns * weight[s], and so for the bias.

    Args:
        num_features: number of channels C.
        num_styles: number of styles S.
        eps: added to the variance inside the root.

    Shape:
        x (N, C, *) with at least one position axis; style (N,) whole numbers in [0, S), or (N, S)
        mixture weights; out like x. ``weight`` and ``bias`` have shape (S, C).

    Raises:
        ValueError: an input of another rank or number of channels, one position per channel, or a
            style of another shape.
        TypeError: x not floating point, or a style neither int64 of shape (N,) nor floating point.

    Differs from torch in:
        torch has no such layer. A style outside [0, S) is torch's IndexError.

    Source:
        Dumoulin, Shlens & Kudlur, "A Learned Representation for Artistic Style", 2017.

    Example:
        >>> import torch
        >>> layer = ConditionalInstanceNorm(1, num_styles=2, eps=0.0)
        >>> _ = layer.weight.data.copy_(torch.tensor([[1.0], [3.0]]))
        >>> x = torch.tensor([[[2.0, 4.0]], [[2.0, 4.0]]])
        >>> layer(x, torch.tensor([0, 1])).detach().flatten()
        tensor([-1.,  1., -3.,  3.])
        >>> layer(x[:1], torch.tensor([[0.5, 0.5]])).detach().flatten()
        tensor([-2.,  2.])
    """

    def __init__(self, num_features: int, num_styles: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.norm = InstanceNorm(num_features, eps)  # no parameters, no buffers
        shape = check_size(num_styles, "num_styles"), num_features
        self.num_styles, self.num_features = shape
        self.weight = nn.Parameter(torch.ones(shape))
        self.bias = nn.Parameter(torch.zeros(shape))

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """Return the normalized input in the given styles; the same in both modes."""
        check_floating(x)
        x_hat: Tensor = self.norm(x.to(working_dtype(x)))
        self._check_style(style, len(x))
        shape = (*x.shape[:2], *(1,) * (x.ndim - 2))  # (N, C, 1, ...)
        scale, shift = self._pick(self.weight, style), self._pick(self.bias, style)
        return (x_hat * scale.view(shape) + shift.view(shape)).to(x.dtype)

    def _pick(self, table: Tensor, style: Tensor) -> Tensor:
        """Return one row of the (S, C) table per example, or its mixture of rows: (N, C)."""
        if not style.is_floating_point():
            return table.index_select(0, style)
        with full_precision(table):
            return torch.mm(style.to(table.dtype), table)

    def _check_style(self, style: Tensor, batch: int) -> None:
        if style.dtype != torch.int64 and not style.is_floating_point():
            raise TypeError(
                f"style: expected int64 labels or floating-point mixture weights, got "
                f"{style.dtype}. Convert labels with style.long()."
            )
        wanted = (batch, self.num_styles) if style.is_floating_point() else (batch,)
        if tuple(style.shape) != wanted:
            raise ValueError(
                f"style: expected shape {wanted} for {batch} examples and dtype {style.dtype}, "
                f"got {tuple(style.shape)}. Give one label, or one row of mixture weights, each."
            )

    def extra_repr(self) -> str:
        """Return the options, for print(model)."""
        return f"{self.num_features}, num_styles={self.num_styles}"

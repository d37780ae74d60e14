"""Weight standardization: each output filter with mean 0 and variance 1."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from normcourse.modules._statistics import standardize, working_dtype
from normcourse.modules._validate import check_eps, check_floating


class WeightStandardization(nn.Module):
    """Standardize a weight per output row, as a parametrization.

    Formula:
        w_hat = (w - mean) / sqrt(var + eps)

    with mean and biased variance over all axes but the first. For
    ``torch.nn.utils.parametrize.register_parametrization(layer, "weight",
    WeightStandardization())``; w is then ``layer.parametrizations.weight.original``.

    Args:
        eps: added to the variance inside the root.

    Shape:
        (O, *) with at least two axes in, the same out.

    Raises:
        ValueError: a weight with a single axis.
        TypeError: a weight that is not floating point.

    Differs from torch in:
        torch has no weight standardization. The authors' code adds eps to the unbiased standard
        deviation, outside the root.

    Source:
        Qiao et al., "Micro-Batch Training with Batch-Channel Normalization and Weight
        Standardization", 2019.

    Example:
        >>> import torch
        >>> WeightStandardization(eps=0.0)(torch.tensor([[2.0, 4.0, 6.0, 8.0]]))
        tensor([[-1.3416, -0.4472,  0.4472,  1.3416]])
    """

    def __init__(self, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = check_eps(eps)

    def forward(self, weight: Tensor) -> Tensor:
        """Return the standardized weight."""
        check_floating(weight, "weight")
        if weight.ndim < 2:
            raise ValueError(
                f"weight: expected shape (O, *) with at least two axes, got {tuple(weight.shape)}. "
                f"Standardize the weight of a layer, not its bias."
            )
        work = weight.to(working_dtype(weight))
        return standardize(work, range(1, weight.ndim), self.eps).to(weight.dtype)

    def extra_repr(self) -> str:
        """Return the options, for print(model)."""
        return f"eps={self.eps}"


class WSConv2d(nn.Conv2d):
    """A 2-d convolution with standardized weight.

    Formula:
        y = conv(x, (w - mean) / sqrt(var + eps)) + bias

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: size of the kernel.
        stride: as in torch.nn.Conv2d.
        padding: as in torch.nn.Conv2d.
        dilation: as in torch.nn.Conv2d.
        groups: as in torch.nn.Conv2d.
        bias: learn a bias, which is not standardized.
        padding_mode: as in torch.nn.Conv2d.
        eps: added to the variance inside the root.

    Shape:
        as torch.nn.Conv2d. The state is Conv2d's, with the weight before standardization.

    Differs from torch in:
        torch.nn.Conv2d uses the weight as it is.

    Source:
        Qiao et al. 2019.

    Example:
        >>> import torch
        >>> conv = WSConv2d(1, 1, kernel_size=(1, 2), bias=False, eps=0.0)
        >>> _ = conv.weight.data.copy_(torch.tensor([[[[5.0, 9.0]]]]))
        >>> conv(torch.tensor([[[[1.0, 4.0]]]])).item()  # weight (-1, 1)
        3.0
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: str | int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: Literal["zeros", "reflect", "replicate", "circular"] = "zeros",
        *,
        eps: float = 1e-5,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            bias,
            padding_mode,
        )
        self.standardize = WeightStandardization(eps)

    def forward(self, input: Tensor) -> Tensor:
        """Return the convolution of ``input`` with the standardized weight."""
        y: Tensor = self._conv_forward(input, self.standardize(self.weight), self.bias)
        return y

    @torch.no_grad()
    def to_conv2d(self) -> nn.Conv2d:
        """Return a plain convolution with the standardized weight, for inference."""
        plain = nn.Conv2d(
            self.in_channels,
            self.out_channels,
            self.kernel_size,  # type: ignore[arg-type]
            self.stride,  # type: ignore[arg-type]
            self.padding,  # type: ignore[arg-type]
            self.dilation,  # type: ignore[arg-type]
            self.groups,
            self.bias is not None,
            self.padding_mode,
        ).to(self.weight)
        plain.weight.copy_(self.standardize(self.weight))
        if self.bias is not None and plain.bias is not None:
            plain.bias.copy_(self.bias)
        return plain.train(self.training)

"""Layer normalization as a PyTorch module over the trailing axes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from normcourse import kernels
from normcourse.modules._backend import check_backend, runs_fused, shown
from normcourse.modules._statistics import affine, standardize, working_dtype
from normcourse.modules._validate import check_eps, check_trailing, trailing_shape


class LayerNorm(nn.Module):
    """Normalize each example, or token, over its own features.

    Formula:
        y = weight * (x - mean) / sqrt(var + eps) + bias

    with mean and biased variance over the trailing axes that ``normalized_shape`` names.

    Args:
        normalized_shape: sizes of the normalized trailing axes; a number is one axis.
        eps: added to the variance inside the root.
        elementwise_affine: learn ``weight`` and ``bias``, each of shape ``normalized_shape``.
        bias: False learns no ``bias``.
        backend: "torch", or "fused" for one kernel of :mod:`normcourse.kernels` where there is one.

    Shape:
        (*, normalized_shape) in, the same out; dtype is kept.

    Raises:
        ValueError: trailing axes of other sizes.
        TypeError: an input that is not floating point.

    Differs from torch in:
        keeps the memory order of a transposed input, where torch returns a contiguous output; an
        empty ``normalized_shape`` is an error here.

    Source:
        Ba, Kiros & Hinton, "Layer Normalization", 2016.

    Example:
        >>> import torch
        >>> layer = LayerNorm(4, eps=0.0)
        >>> layer(torch.tensor([[2.0, 4.0, 6.0, 8.0], [1.0, 1.0, 1.0, 5.0]])).detach()
        tensor([[-1.3416, -0.4472,  0.4472,  1.3416],
                [-0.5774, -0.5774, -0.5774,  1.7321]])
    """

    weight: nn.Parameter | None
    bias: nn.Parameter | None

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        *,
        elementwise_affine: bool = True,
        bias: bool = True,
        backend: str = "torch",
    ) -> None:
        super().__init__()
        self.backend = check_backend(backend)
        self.normalized_shape = trailing_shape(normalized_shape)
        self.eps, self.elementwise_affine = check_eps(eps), elementwise_affine
        ones, zeros = torch.ones(self.normalized_shape), torch.zeros(self.normalized_shape)
        self.register_parameter("weight", nn.Parameter(ones) if elementwise_affine else None)
        self.register_parameter(
            "bias", nn.Parameter(zeros) if elementwise_affine and bias else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalized input; the same in both modes."""
        check_trailing(x, self.normalized_shape)
        if runs_fused(self.backend):
            shape, weight, bias = self.normalized_shape, self.weight, self.bias
            return kernels.layer_norm(x, shape, weight, bias, eps=self.eps)
        work = x.to(working_dtype(x))
        dim = range(x.ndim - len(self.normalized_shape), x.ndim)
        x_hat = standardize(work, dim, self.eps)
        return affine(x_hat, self.weight, self.bias).to(x.dtype)

    def extra_repr(self) -> str:
        """Return the options, for print(model)."""
        return (
            f"{self.normalized_shape}, eps={self.eps}, "
            f"elementwise_affine={self.elementwise_affine}, bias={self.bias is not None}"
            f"{shown(self.backend)}"
        )

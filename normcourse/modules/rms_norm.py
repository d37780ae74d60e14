"""Root mean square normalization as a PyTorch module over the trailing axes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from normcourse import kernels
from normcourse.modules._backend import check_backend, runs_fused, shown
from normcourse.modules._statistics import affine, inverse_std, working_dtype
from normcourse.modules._validate import check_eps, check_trailing, trailing_shape


class RMSNorm(nn.Module):
    """Divide each example, or token, by the root mean square of its own features.

    Formula:
        y = weight * x / sqrt(mean(x^2) + eps)

    No mean is subtracted and no bias learned: rescaling x changes nothing, shifting it does.

    Args:
        normalized_shape: sizes of the normalized trailing axes; a number is one axis.
        eps: added to the mean square inside the root; None is the machine epsilon of x's dtype.
        elementwise_affine: learn ``weight`` of shape ``normalized_shape``.
        backend: "torch", or "fused" for one kernel of :mod:`normcourse.kernels` where there is one.

    Shape:
        (*, normalized_shape) in, the same out; dtype is kept.

    Raises:
        ValueError: trailing axes of other sizes.
        TypeError: an input that is not floating point.

    Differs from torch in:
        ``eps`` is 1e-5, where torch.nn.RMSNorm takes None: the machine epsilon of the dtype,
        1.2e-7 in float32, which matters for small inputs.

    Source:
        Zhang & Sennrich, "Root Mean Square Layer Normalization", 2019.

    Example:
        >>> import torch
        >>> RMSNorm(2, eps=0.0)(torch.tensor([[3.0, 4.0], [30.0, 40.0]])).detach()
        tensor([[0.8485, 1.1314],
                [0.8485, 1.1314]])
    """

    weight: nn.Parameter | None

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = 1e-5,
        *,
        elementwise_affine: bool = True,
        backend: str = "torch",
    ) -> None:
        super().__init__()
        self.backend = check_backend(backend)
        self.normalized_shape = trailing_shape(normalized_shape)
        self.eps = None if eps is None else check_eps(eps)
        self.elementwise_affine = elementwise_affine
        ones = torch.ones(self.normalized_shape)
        self.register_parameter("weight", nn.Parameter(ones) if elementwise_affine else None)

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalized input; the same in both modes."""
        check_trailing(x, self.normalized_shape)
        eps = torch.finfo(x.dtype).eps if self.eps is None else self.eps
        if runs_fused(self.backend):
            return kernels.rms_norm(x, self.normalized_shape, self.weight, eps=eps)
        work = x.to(working_dtype(x))
        dim = tuple(range(x.ndim - len(self.normalized_shape), x.ndim))
        mean_square = work.square().mean(dim, keepdim=True)
        return affine(work * inverse_std(mean_square, eps), self.weight, None).to(x.dtype)

    def extra_repr(self) -> str:
        """Return the options, for print(model)."""
        return (
            f"{self.normalized_shape}, eps={self.eps}, "
            f"elementwise_affine={self.elementwise_affine}{shown(self.backend)}"
        )

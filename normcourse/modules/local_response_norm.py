"""Local response normalization: each channel divided by its neighbours' squares."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from normcourse.modules._statistics import working_dtype
from normcourse.modules._validate import check_floating, check_size


class LocalResponseNorm(nn.Module):
    """Divide each value by a power of the squares in a window of channels.

    Formula:
        y_c = x_c / (k + alpha / size * sum(x_j^2))^beta,  j = c - size // 2 ... c + (size - 1) // 2

    Channels outside count as 0.

    Args:
        size: number of channels in the window.
        alpha: weight of the mean square.
        beta: exponent of the denominator.
        k: constant of the denominator, positive.

    Shape:
        (N, C, *) with at least one position axis in, the same out; memory format is kept.

    Raises:
        ValueError: fewer than three axes, a size < 1 or k <= 0.
        TypeError: an input that is not floating point.

    Differs from torch in:
        bfloat16 and float16 work on the CPU; k must be positive (k = 0 divides 0 by 0).
        ONNX puts the extra channel of an even window on the other side.

    Source:
        Krizhevsky, Sutskever & Hinton, "ImageNet Classification with Deep Convolutional Neural
        Networks", 2012, section 3.3; the alpha / size of torch.nn.LocalResponseNorm (the paper
        has alpha).

    Example:
        >>> import torch
        >>> x = torch.tensor([[[1.0], [2.0], [3.0]]])
        >>> LocalResponseNorm(2, alpha=2.0, beta=1.0, k=1.0)(x).flatten()
        tensor([0.5000, 0.3333, 0.2143])
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size = check_size(size, "size")
        if not k > 0:
            raise ValueError(f"k: expected a positive number, got {k!r}; usual is 1 or 2.")
        self.alpha, self.beta, self.k = alpha, beta, k

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalized input; the same in both modes."""
        check_floating(x)
        if x.ndim < 3:
            raise ValueError(
                f"x: expected shape (N, C, *) with at least one position axis, got "
                f"{tuple(x.shape)}. For (N, C) use x[..., None]."
            )
        work = x.to(working_dtype(x))
        squares = work.square().movedim(1, -1)  # (N, *, C)
        padded = F.pad(squares, (self.size // 2, (self.size - 1) // 2))
        window: Tensor = padded.unfold(-1, self.size, 1).mean(-1)  # (N, *, C)
        return (work * (self.k + self.alpha * window.movedim(-1, 1)).pow(-self.beta)).to(x.dtype)

    def extra_repr(self) -> str:
        """Return the options, for print(model)."""
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"

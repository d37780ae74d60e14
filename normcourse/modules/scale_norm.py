"""ScaleNorm: every token onto a sphere whose radius is learned."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from normcourse.modules._statistics import inverse_std, working_dtype
from normcourse.modules._validate import check_eps, check_size, check_trailing


class ScaleNorm(nn.Module):
    """Divide each token by its length and multiply by one learned number.

    Formula:
        y = weight * x / sqrt(sum(x^2) + eps)

    With weight = sqrt(D), where it starts, this is RMSNorm with one scale for all features.

    Args:
        num_features: number of features D, the size of the last axis.
        eps: added to the sum of squares inside the root.

    Shape:
        (*, D) in, the same out; ``weight`` has shape ().

    Raises:
        ValueError: a last axis of another size.
        TypeError: an input that is not floating point.

    Differs from torch in:
        torch has no such layer. The paper's code divides by max(length, eps).

    Source:
        Nguyen & Salazar, "Transformers without Tears: Improving the Normalization of
        Self-Attention", 2019.

    Example:
        >>> import torch
        >>> layer = ScaleNorm(2, eps=0.0)
        >>> layer.weight.detach(), layer(torch.tensor([3.0, 4.0])).detach()
        (tensor(1.4142), tensor([0.8485, 1.1314]))
    """

    def __init__(self, num_features: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.num_features, self.eps = check_size(num_features, "num_features"), check_eps(eps)
        self.weight = nn.Parameter(torch.tensor(float(num_features) ** 0.5))

    def forward(self, x: Tensor) -> Tensor:
        """Return the rescaled input; the same in both modes."""
        check_trailing(x, (self.num_features,))
        work = x.to(working_dtype(x))
        sum_square = work.square().sum(-1, keepdim=True)
        return (self.weight * (work * inverse_std(sum_square, self.eps))).to(x.dtype)

    def extra_repr(self) -> str:
        """Return the options, for print(model)."""
        return f"{self.num_features}, eps={self.eps}"

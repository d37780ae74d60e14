"""Weight normalization as a parametrization: length and direction of a weight apart."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class WeightNorm(nn.Module):
    """Compute a weight from its lengths g and its directions v.

    Formula:
        weight = g * v / ||v||

    with the norm over all axes but ``dim``: one length per output row. For
    ``torch.nn.utils.parametrize.register_parametrization(layer, "weight", WeightNorm())``; g is
    then ``layer.parametrizations.weight.original0`` and v ``original1``.

    Args:
        dim: the axis that keeps one length per index (1 for transposed convolutions); None takes
            one length for the whole weight.

    Shape:
        v (O, *), g (O, 1, ...) in; weight (O, *) out. With ``dim=None`` g has shape ().

    Raises:
        IndexError: an axis that the weight does not have.

    Differs from torch in:
        torch.nn.utils.parametrizations.weight_norm reads ``dim=-1`` as None; here it is the last
        axis. A row v = 0 gives weight 0, not NaN. The state is the same.

    Source:
        Salimans & Kingma, "Weight Normalization: A Simple Reparameterization to Accelerate
        Training of Deep Neural Networks", 2016.

    Example:
        >>> import torch
        >>> v = torch.tensor([[3.0, 4.0], [0.0, 2.0]])
        >>> WeightNorm()(torch.tensor([[10.0], [1.0]]), v)
        tensor([[6., 8.],
                [0., 1.]])
        >>> WeightNorm().right_inverse(v)[0].flatten()
        tensor([5., 2.])
    """

    def __init__(self, dim: int | None = 0) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, g: Tensor, v: Tensor) -> Tensor:
        """Return the weight of lengths ``g`` and directions ``v``."""
        length = self._length(v)
        return v * (g / length.masked_fill(length == 0, torch.inf))

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Return g and v that give ``weight``."""
        return self._length(weight), weight

    def _length(self, v: Tensor) -> Tensor:
        """Return ||v|| over all axes but ``dim``, axes kept."""
        if self.dim is None:
            return _length(v, None)
        if not -v.ndim <= self.dim < v.ndim:
            raise IndexError(
                f"dim: expected an axis of a weight of shape {tuple(v.shape)}, got {self.dim}."
            )
        rest = [d for d in range(v.ndim) if d != self.dim % v.ndim]
        return _length(v, rest) if rest else v.abs()

    def extra_repr(self) -> str:
        """Return the options, for print(model)."""
        return f"dim={self.dim}"


def _length(v: Tensor, dim: list[int] | None) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(v, dim=dim, keepdim=dim is not None)
    return length

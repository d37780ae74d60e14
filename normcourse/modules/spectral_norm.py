"""Spectral normalization as a parametrization: largest singular value 1."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from normcourse.modules._statistics import full_precision
from normcourse.modules._validate import check_eps, check_size


class SpectralNorm(nn.Module):
    """Divide a weight by an estimate of its largest singular value.

    Formula:
        weight / (u^T W v),  each training forward first:  u = W v / ||W v||,  v = W^T u / ||W^T u||

    W is the weight as a matrix (outputs, rest); u and v are constants in the gradient. For
    ``torch.nn.utils.parametrize.register_parametrization(layer, "weight",
    SpectralNorm(layer.weight))``.

    Args:
        weight: the weight to normalize, for its shape and the first 15 iterations.
        n_power_iterations: steps of the power method per training forward.
        dim: the axis of the outputs (1 for transposed convolutions).
        eps: least length of u and v before the division.
        generator: draws the first u and v; None takes torch's global one.

    Shape:
        the shape of ``weight`` in, the same out. Buffers ``_u`` (rows,) and ``_v`` (columns,), as
        in torch. A weight with one axis has no buffers and is divided by its length.

    Raises:
        IndexError: an axis that the weight does not have.
        ValueError: n_power_iterations < 1 or a negative eps.

    Differs from torch in:
        nothing: values, state and random draws are those of
        torch.nn.utils.parametrizations.spectral_norm.

    Source:
        Miyato et al., "Spectral Normalization for Generative Adversarial Networks", 2018.

    Example:
        >>> import torch
        >>> weight = torch.tensor([[3.0, 0.0], [0.0, 1.0]])
        >>> layer = SpectralNorm(weight, generator=torch.Generator().manual_seed(0))
        >>> torch.testing.assert_close(layer(weight), weight / 3)
    """

    _u: Tensor
    _v: Tensor

    def __init__(
        self,
        weight: Tensor,
        n_power_iterations: int = 1,
        dim: int = 0,
        eps: float = 1e-12,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if not -weight.ndim <= dim < weight.ndim:
            raise IndexError(
                f"dim: expected an axis of a weight of shape {tuple(weight.shape)}, got {dim}."
            )
        self.n_power_iterations = check_size(n_power_iterations, "n_power_iterations")
        self.dim, self.eps = dim % weight.ndim, check_eps(eps)
        if weight.ndim > 1:
            matrix = self._matrix(weight.detach())  # (O, rest)
            u = matrix.new_empty(matrix.shape[0]).normal_(generator=generator)
            v = matrix.new_empty(matrix.shape[1]).normal_(generator=generator)
            self.register_buffer("_u", self._unit(u))
            self.register_buffer("_v", self._unit(v))
            self._iterate(matrix, 15)

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight over its spectral norm; in training mode refine the estimate first."""
        if weight.ndim == 1:
            return self._unit(weight)
        matrix = self._matrix(weight)
        with full_precision(weight):
            if self.training:
                self._iterate(matrix.detach(), self.n_power_iterations)
            u, v = self._u.clone(), self._v.clone()  # a later forward changes the buffers
            return weight / torch.dot(u, matrix @ v)

    @torch.no_grad()
    def _iterate(self, matrix: Tensor, steps: int) -> None:
        """Improve u and v in place by ``steps`` of the power method."""
        for _ in range(steps):
            self._u.copy_(self._unit(matrix @ self._v))
            self._v.copy_(self._unit(matrix.T @ self._u))

    def _matrix(self, weight: Tensor) -> Tensor:
        """Return the weight as a matrix with one row per output."""
        return weight.movedim(self.dim, 0).flatten(1)

    def _unit(self, vector: Tensor) -> Tensor:
        length: Tensor = torch.linalg.vector_norm(vector)
        return vector / length.clamp(min=self.eps)

    def extra_repr(self) -> str:
        """Return the options, for print(model)."""
        return f"n_power_iterations={self.n_power_iterations}, dim={self.dim}, eps={self.eps}"

"""QK-norm: queries and keys normalized before their product."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from normcourse.modules._statistics import full_precision, working_dtype
from normcourse.modules.rms_norm import RMSNorm


class QKNorm(nn.Module):
    """Normalize queries and keys of each head, so that their products stay bounded.

    Formula:
        q_hat = RMSNorm(q),  k_hat = RMSNorm(k)
        scores = softmax(q_hat k_hat^T / sqrt(D)) over the keys

    Args:
        head_dim: width of a head D.
        eps: added to the mean squares inside the root.

    Shape:
        q (*, Tq, D), k (*, Tk, D) in, the same out, for
        torch.nn.functional.scaled_dot_product_attention. ``scores`` gives (*, Tq, Tk).
        Parameters ``q_norm.weight`` and ``k_norm.weight``, each (D,).

    Raises:
        ValueError: a last axis of another size.
        TypeError: an input that is not floating point.

    Differs from torch in:
        torch has no such layer. Henry et al. divide by the length and learn one scale in the
        place of 1 / sqrt(D); LayerNorm serves in other models.

    Source:
        Henry et al., "Query-Key Normalization for Transformers", 2020; Dehghani et al., "Scaling
        Vision Transformers to 22 Billion Parameters", 2023.

    Example:
        >>> import torch
        >>> layer, k = QKNorm(2, eps=0.0), torch.tensor([[3.0, 4.0], [4.0, -3.0]])
        >>> layer.scores(torch.tensor([[300.0, 400.0]]), k).detach()
        tensor([[0.8044, 0.1956]])
    """

    def __init__(self, head_dim: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.q_norm, self.k_norm = RMSNorm(head_dim, eps), RMSNorm(head_dim, eps)

    def forward(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """Return the normalized queries and keys; the same in both modes."""
        return self.q_norm(q), self.k_norm(k)

    def scores(self, q: Tensor, k: Tensor) -> Tensor:
        """Return the attention weights of normalized queries and keys."""
        q_hat, k_hat = self(q.to(working_dtype(q)), k.to(working_dtype(k)))
        with full_precision(q):
            product = torch.matmul(q_hat, k_hat.mT) / q.shape[-1] ** 0.5
        return torch.softmax(product, dim=-1).to(q.dtype)

"""Small Transformers with their norms in five places, one alone or several trained side by side.

The nets of ``transformer`` and one place more: "deep" is Post-Norm with an amplified skip and
smaller initial weights in the branches (DeepNorm). ``SideBySide`` holds copies of one fresh net as
slices of the same arrays: each copy has its own learning rate and computes what it would alone,
and small nets cost far less so.

Sources: Wang et al., "DeepNet: Scaling Transformers to 1,000 Layers", 2022 (DeepNorm).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from normcourse.experiments.text import windows
from normcourse.experiments.transformer import (
    FINAL_NORM,
    PLACEMENTS,
    CausalAttention,
    CharTransformer,
    MakeNorm,
    Wrap,
)
from normcourse.modules import DeepNorm, PostNorm
from normcourse.norms import deep_norm_constants

PLACES = ("post", "pre", "res-post", "sandwich", "deep")


def wrapper(place: str, depth: int) -> Wrap:
    """Return what puts a norm around a sublayer at this place, for a net of ``depth`` blocks."""
    if place != "deep":
        return PLACEMENTS[place]
    alpha = deep_norm_constants(depth)[0]

    def wrap(sublayer: nn.Module, make: MakeNorm, width: int) -> nn.Module:
        return DeepNorm(sublayer, make(width), alpha)

    return wrap


def fresh(
    generator: torch.Generator,
    num_letters: int,
    place: str,
    *,
    depth: int,
    width: int,
    heads: int,
    length: int,
) -> CharTransformer:
    """Return a fresh net; all places but "deep" begin with the same weights for the same seed.

    Args:
        generator: draws the weights.
        num_letters: size of the alphabet.
        place: one of ``PLACES``.
        depth: number of blocks.
        width: features per position.
        heads: heads of the attention.
        length: positions at most.

    Example:
        >>> g = torch.Generator().manual_seed(0)
        >>> net = fresh(g, 94, "deep", depth=8, width=8, heads=2, length=16)
        >>> net.sublayers[0].alpha
        2.0
    """
    net = CharTransformer(
        generator,
        num_letters,
        length=length,
        depth=depth,
        width=width,
        heads=heads,
        norm=nn.LayerNorm,  # torch's own: the same function as the course's, in one kernel
        placement="post" if place == "deep" else place,
    )
    if place == "deep":
        alpha, beta = deep_norm_constants(depth)
        _scale_branches(net, beta)
        parts: list[nn.Module] = []
        for part in net.sublayers:
            assert isinstance(part, PostNorm)
            assert isinstance(part.sublayer, nn.Module)
            parts.append(DeepNorm(part.sublayer, part.norm, alpha))
        net.sublayers = nn.Sequential(*parts)
    return net


@torch.no_grad()
def _scale_branches(net: CharTransformer, beta: float) -> None:
    """Multiply values, the attention's output and both feed-forward matrices by ``beta``."""
    for name, weight in net.sublayers.named_parameters():
        if name.endswith("project_in.weight"):
            weight[2 * weight.shape[1] :].mul_(beta)  # queries and keys stay as they are
        elif weight.ndim == 2:
            weight.mul_(beta)


class _Linears(nn.Module):
    """As many linear layers without bias as there are nets."""

    def __init__(self, count: int, n_in: int, n_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(count, n_out, n_in))

    def forward(self, x: Tensor) -> Tensor:
        y = torch.bmm(x.flatten(1, -2), self.weight.mT)  # (K, B T, out)
        return y.view(*x.shape[:-1], -1)


class _Norms(nn.Module):
    """As many layer norms as there are nets."""

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(count, width))
        self.bias = nn.Parameter(torch.empty(count, width))

    def forward(self, x: Tensor) -> Tensor:
        x_hat = nn.functional.layer_norm(x, x.shape[-1:])
        return torch.addcmul(self.bias[:, None, None], x_hat, self.weight[:, None, None])


class _Attentions(nn.Module):
    """``CausalAttention`` of as many nets as there are."""

    def __init__(self, count: int, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.project_in = _Linears(count, width, 3 * width)
        self.project_out = _Linears(count, width, width)

    def forward(self, x: Tensor) -> Tensor:
        parts = self.project_in(x).unflatten(-1, (3, self.heads, -1))  # (K, B, T, 3, heads, d)
        q, k, v = parts.permute(3, 0, 1, 4, 2, 5).flatten(2, 3)  # each (K, B heads, T, d)
        y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        y = y.view(*x.shape[:2], self.heads, x.shape[2], -1).transpose(2, 3)
        read: Tensor = self.project_out(y.flatten(3))  # (K, B, T, D)
        return read


class SideBySide(nn.Module):
    """Copies of one fresh net, as slices of the same arrays.

    Args:
        net: of ``fresh``.
        place: where its norms stand.
        count: number of copies K.

    Shape:
        letters (B, T) as int64 in, scores (K, B, T, num_letters) out.

    Example:
        >>> g = torch.Generator().manual_seed(0)
        >>> net = fresh(g, 94, "pre", depth=1, width=8, heads=2, length=16)
        >>> SideBySide(net, "pre", 3)(torch.zeros(2, 16, dtype=torch.int64)).shape
        torch.Size([3, 2, 16, 94])
    """

    def __init__(self, net: CharTransformer, place: str, count: int) -> None:
        super().__init__()
        num_letters, width = net.letters.weight.shape
        depth = len(net.sublayers) // 2
        heads = next(part.heads for part in net.modules() if isinstance(part, CausalAttention))
        wrap = wrapper(place, depth)
        parts: list[nn.Module] = []
        for _ in range(depth):
            inner = _Linears(count, width, 4 * width), _Linears(count, 4 * width, width)
            feed = nn.Sequential(inner[0], nn.GELU(), inner[1])
            for sublayer in (_Attentions(count, width, heads), feed):
                parts.append(wrap(sublayer, lambda size: _Norms(count, size), width))
        self.letters = nn.ParameterDict({"weight": torch.empty(count, num_letters, width)})
        self.positions = nn.ParameterDict(
            {"weight": torch.empty(count, *net.positions.weight.shape)}
        )
        self.sublayers = nn.Sequential(*parts)
        self.final_norm = _Norms(count, width) if place in FINAL_NORM else nn.Identity()
        self.scores = _Linears(count, width, num_letters)
        self.load_state_dict({n: p.expand(count, *p.shape) for n, p in net.state_dict().items()})

    def streams(self, letters: Tensor) -> Iterator[Tensor]:
        """Yield what the first block reads and what each block returns, (K, B, T, D) each."""
        table = self.letters["weight"]
        count, size, width = table.shape
        rows = letters + size * torch.arange(count)[:, None, None]  # (K, B, T)
        x = nn.functional.embedding(rows, table.reshape(-1, width))
        x = x + self.positions["weight"][:, None, : letters.shape[1]]
        yield x
        for k in range(0, len(self.sublayers), 2):
            x = self.sublayers[k + 1](self.sublayers[k](x))
            yield x

    def forward(self, letters: Tensor) -> Tensor:
        """Return scores for the next letter, of each net."""
        *_, x = self.streams(letters)
        scores: Tensor = self.scores(self.final_norm(x))
        return scores

    def losses(self, pieces: Tensor) -> Tensor:
        """Return the mean loss in nats per letter of each net, shape (K,), for (B, T + 1)."""
        scores = self(pieces[:, :-1])  # (K, B, T, V)
        wanted = pieces[:, 1:].expand(len(scores), -1, -1)
        each = nn.functional.cross_entropy(
            scores.flatten(0, -2), wanted.flatten(), reduction="none"
        )
        return each.view(len(scores), -1).mean(1)


def train_side_by_side(
    nets: SideBySide,
    text: Tensor,
    *,
    rates: Sequence[float],
    warmups: Sequence[int],
    steps: int,
    length: int,
    batch_size: int,
    generator: torch.Generator,
) -> Tensor:
    """Train each net by Adam at its own rate, as ``train_language`` does one; all read the same.

    Args:
        nets: K copies.
        text: training letters, shape (M,).
        rates: learning rate of each.
        warmups: steps over which each one's rate grows from 0.
        steps: number of steps.
        length: letters that are read per sequence.
        batch_size: sequences per step.
        generator: draws the sequences.

    Returns:
        The loss of each net's batch before each step, shape (steps, K).
    """
    parameters = list(nets.parameters())
    first = [torch.zeros_like(p) for p in parameters]
    second = [torch.zeros_like(p) for p in parameters]
    losses = []
    for step in range(steps):
        loss = nets.losses(windows(text, length=length + 1, count=batch_size, generator=generator))
        losses.append(loss.detach())
        gradients = torch.autograd.grad(loss.sum(), parameters)
        shares = [min(1.0, (step + 1) / warm) if warm else 1.0 for warm in warmups]
        sizes = torch.tensor(rates) * torch.tensor(shares) / (1 - 0.9 ** (step + 1))
        root = math.sqrt(1 - 0.98 ** (step + 1))
        with torch.no_grad():
            for p, g, m, v in zip(parameters, gradients, first, second, strict=True):
                m.lerp_(g, 0.1)
                v.mul_(0.98).addcmul_(g, g, value=0.02)
                size = sizes.view(-1, *[1] * (p.ndim - 1))
                p.sub_(size * m / (v.sqrt().div_(root).add_(1e-8)))
    return torch.stack(losses)

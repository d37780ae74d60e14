"""A small causal Transformer over letters, with any norm at any place, and its training."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from normcourse.experiments.text import in_order, windows
from normcourse.experiments.train import Watch
from normcourse.modules import (
    BatchNorm,
    LayerNorm,
    PostNorm,
    PreNorm,
    ResPostNorm,
    RMSNorm,
    SandwichNorm,
)

MakeNorm = Callable[[int], nn.Module]
Wrap = Callable[[nn.Module, MakeNorm, int], nn.Module]


class FeaturesFirst(nn.Module):
    """A norm over (N, C, L) for sequences (B, T, D): features go to axis 1 and back.

    Example:
        >>> FeaturesFirst(BatchNorm(8))(torch.zeros(2, 5, 8)).shape
        torch.Size([2, 5, 8])
    """

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalized sequences, shape (B, T, D)."""
        y: Tensor = self.norm(x.transpose(1, 2))  # (B, D, T)
        return y.transpose(1, 2)


# The words that settings and rows use for a norm over sequences (B, T, D). "batch" pools the
# positions of all sequences, one mean per feature, with running statistics in inference.
SEQUENCE_NORMS: dict[str, MakeNorm] = {
    "none": lambda width: nn.Identity(),
    "layer": lambda width: LayerNorm(width),
    "rms": lambda width: RMSNorm(width),
    "batch": lambda width: FeaturesFirst(BatchNorm(width)),
}


class Residual(nn.Module):
    """x + f(x), no norm."""

    def __init__(self, sublayer: nn.Module) -> None:
        super().__init__()
        self.sublayer = sublayer

    def forward(self, x: Tensor) -> Tensor:
        """Return x + f(x)."""
        y: Tensor = x + self.sublayer(x)
        return y


PLACEMENTS: dict[str, Wrap] = {
    "none": lambda f, make, width: Residual(f),
    "post": lambda f, make, width: PostNorm(f, make(width)),
    "pre": lambda f, make, width: PreNorm(f, make(width)),
    "res-post": lambda f, make, width: ResPostNorm(f, make(width)),
    "sandwich": lambda f, make, width: SandwichNorm(f, make(width), make(width)),
}
FINAL_NORM = {"pre", "res-post", "sandwich"}  # whose stream no norm has seen at the end


class CausalAttention(nn.Module):
    """Self-attention with several heads; a position sees itself and what stands before it.

    Args:
        width: features per position, a multiple of ``heads``.
        heads: number of heads.
        qk_norm: makes the norm of queries and of keys, each over the features of one head; None
            leaves them as they are.
    """

    def __init__(self, width: int, heads: int, qk_norm: MakeNorm | None = None) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width: expected a multiple of heads = {heads}, got {width}.")
        self.heads = heads
        self.project_in = nn.Linear(width, 3 * width, bias=False)
        self.project_out = nn.Linear(width, width, bias=False)
        self.norm_q = qk_norm(width // heads) if qk_norm else nn.Identity()
        self.norm_k = qk_norm(width // heads) if qk_norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Return what each position reads, shape (B, T, D)."""
        parts = self.project_in(x).unflatten(-1, (3, self.heads, -1))  # (B, T, 3, heads, d)
        q, k, v = parts.permute(2, 0, 3, 1, 4)  # each (B, heads, T, d)
        y = nn.functional.scaled_dot_product_attention(
            self.norm_q(q), self.norm_k(k), v, is_causal=True
        )
        read: Tensor = self.project_out(y.transpose(1, 2).flatten(2))  # (B, T, D)
        return read


class FeedForward(nn.Sequential):
    """Two linear layers with GELU between them, four times as wide inside."""

    def __init__(self, width: int) -> None:
        super().__init__(
            nn.Linear(width, 4 * width, bias=False),
            nn.GELU(),
            nn.Linear(4 * width, width, bias=False),
        )


class CharTransformer(nn.Module):
    """A causal Transformer over letters: embeddings, blocks of attention and feed-forward, scores.

    Args:
        generator: draws the weights: embeddings with variance 1/2, matrices with variance
            gain² / fan_in, in every placement alike.
        num_letters: size of the alphabet.
        length: positions at most.
        depth: number of blocks; each holds two sublayers.
        width: features per position.
        heads: heads of the attention.
        norm: word of ``SEQUENCE_NORMS`` or a function from the width to a layer.
        placement: word of ``PLACEMENTS``: where the norm stands relative to the addition.
            "pre", "res-post" and "sandwich" have one more norm before the scores.
        qk_norm: makes a norm of queries and keys, or None.
        gain: of the matrices inside the blocks.

    Shape:
        letters (B, T) as int64 in, scores (B, T, num_letters) out.

    Example:
        >>> net = CharTransformer(torch.Generator().manual_seed(0), 94, length=16, depth=1, width=8)
        >>> net(torch.zeros(2, 16, dtype=torch.int64)).shape
        torch.Size([2, 16, 94])
    """

    def __init__(
        self,
        generator: torch.Generator,
        num_letters: int,
        *,
        length: int,
        depth: int,
        width: int,
        heads: int = 4,
        norm: str | MakeNorm = "layer",
        placement: str = "pre",
        qk_norm: MakeNorm | None = None,
        gain: float = 1.0,
    ) -> None:
        super().__init__()
        make = SEQUENCE_NORMS[norm] if isinstance(norm, str) else norm
        wrap = PLACEMENTS[placement]
        self.letters = nn.Embedding(num_letters, width)
        self.positions = nn.Embedding(length, width)
        sublayers: list[nn.Module] = []
        for _ in range(depth):
            attention = CausalAttention(width, heads, qk_norm)
            sublayers += [wrap(attention, make, width), wrap(FeedForward(width), make, width)]
        self.sublayers = nn.Sequential(*sublayers)
        self.final_norm = make(width) if placement in FINAL_NORM else nn.Identity()
        self.scores = nn.Linear(width, num_letters, bias=False)
        self._draw(generator, gain)

    @torch.no_grad()
    def _draw(self, generator: torch.Generator, gain: float) -> None:
        for embedding in (self.letters, self.positions):
            embedding.weight.normal_(0, math.sqrt(0.5), generator=generator)
        for layer in self.sublayers.modules():
            if isinstance(layer, nn.Linear):
                layer.weight.normal_(0, gain / math.sqrt(layer.in_features), generator=generator)
        std = 1 / math.sqrt(self.scores.in_features)
        self.scores.weight.normal_(0, std, generator=generator)

    def embed(self, letters: Tensor) -> Tensor:
        """Return what the first block reads, shape (B, T, D)."""
        places = self.positions.weight[: letters.shape[1]]
        embedded: Tensor = self.letters(letters) + places
        return embedded

    def forward(self, letters: Tensor) -> Tensor:
        """Return scores for the next letter at each position, shape (B, T, num_letters)."""
        stream = self.sublayers(self.embed(letters))
        scores: Tensor = self.scores(self.final_norm(stream))
        return scores


def next_letter_loss(net: nn.Module, pieces: Tensor) -> Tensor:
    """Return the mean cross-entropy in nats of each letter given those before it.

    Args:
        net: letters (B, T) to scores (B, T, num_letters).
        pieces: (B, T + 1); the last letter is only guessed.
    """
    scores = net(pieces[:, :-1])
    return nn.functional.cross_entropy(scores.flatten(0, 1), pieces[:, 1:].flatten())


def train_language(
    net: nn.Module,
    text: Tensor,
    *,
    steps: int,
    length: int,
    generator: torch.Generator,
    batch_size: int = 16,
    lr: float = 3e-3,
    warmup: int = 0,
    anneal: bool = False,
    watch: Watch | None = None,
    stop_at: float = math.inf,
) -> list[float]:
    """Train ``net`` in place by Adam to guess the next letter and return the loss of every step.

    Args:
        net: letters (B, T) to scores (B, T, num_letters).
        text: training letters, shape (M,).
        steps: number of steps.
        length: letters that are read per sequence.
        generator: draws the sequences.
        batch_size: sequences per step.
        lr: learning rate.
        warmup: steps over which the rate grows from 0 to ``lr``.
        anneal: let the rate fall to a tenth along half a cosine after that.
        watch: called with (step, loss) after the gradients are there and before the step is made.
        stop_at: ends the training at the first loss above it; one that is no number always ends it.

    Returns:
        The loss in nats per letter of each batch before its step; shorter than ``steps`` when
        stopped.
    """
    optimizer = torch.optim.Adam(net.parameters(), lr=lr, betas=(0.9, 0.98))
    net.train()
    losses: list[float] = []
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = lr * _share_of_rate(step, steps, warmup, anneal)
        pieces = windows(text, length=length + 1, count=batch_size, generator=generator)
        loss = next_letter_loss(net, pieces)
        losses.append(loss.item())
        if not losses[-1] <= stop_at or not math.isfinite(losses[-1]):
            break
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if watch is not None:
            watch(step, losses[-1])
        optimizer.step()
    return losses


def _share_of_rate(step: int, steps: int, warmup: int, anneal: bool) -> float:
    """Return the share of the learning rate at a step."""
    if step < warmup:
        return (step + 1) / warmup
    if not anneal:
        return 1.0
    done = (step - warmup) / max(1, steps - warmup)
    return 0.1 + 0.45 * (1 + math.cos(math.pi * done))


@torch.no_grad()
def language_loss(
    net: nn.Module,
    text: Tensor,
    *,
    length: int,
    batch_size: int = 64,
    training: bool = False,
) -> float:
    """Return the mean loss in nats per letter over a text, cut in order; nothing of ``net`` moves.

    Args:
        net: letters (B, T) to scores (B, T, num_letters).
        text: letters, shape (M,).
        length: letters that are read per sequence.
        batch_size: sequences at a time; it matters where statistics come from the batch.
        training: read in training mode: a batch is then normalized by its own statistics.
    """
    was_training = net.training
    kept = {name: buffer.clone() for name, buffer in net.named_buffers()}
    net.train(training)
    pieces = in_order(text, length=length + 1)
    batches = pieces.split(batch_size)  # type: ignore[no-untyped-call]
    loss = sum(next_letter_loss(net, batch).item() * len(batch) for batch in batches)
    net.train(was_training)
    for name, buffer in net.named_buffers():
        buffer.copy_(kept[name])
    return loss / len(pieces)

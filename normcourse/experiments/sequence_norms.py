"""Norms over sequences (B, T, D), the losses of both modes, and how far batch statistics wander."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from normcourse.experiments.transformer import CharTransformer, FeaturesFirst, MakeNorm

IGNORED = -100  # the target of a place that is not guessed


class Batch(NamedTuple):
    """Letters (B, T), the letters to guess (B, T), and a mask (B, T), True for a real letter."""

    letters: Tensor
    targets: Tensor
    mask: Tensor


Draw = Callable[[], Batch]


class MaskedTokens(nn.Module):
    """Batch normalization over the real tokens; ``mask`` (B, T) is set before each call."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width)
        self.mask: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalized tokens, shape (B, T, D); padding comes out as 0."""
        if self.mask is None:
            raise ValueError("mask: expected one of shape (B, T), got None. Set it first.")
        y = torch.zeros_like(x)
        y[self.mask] = self.norm(x[self.mask])  # (M, D)
        return y


class PerPosition(nn.Module):
    """Batch normalization with statistics for each position; scale and shift are shared.

    Example:
        >>> PerPosition(4, 8)(torch.randn(3, 5, 4)).shape
        torch.Size([3, 5, 4])
    """

    def __init__(self, width: int, length: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(length * width, affine=False)
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalized sequences, shape (B, T, D)."""
        norm, values = self.norm, x.flatten(1)  # (B, T·D)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        count = values.shape[1]
        running = norm.running_mean[:count], norm.running_var[:count]
        x_hat = nn.functional.batch_norm(values, *running, training=self.training)
        return self.weight * x_hat.view_as(x) + self.bias


class OverTime(nn.Module):
    """Each feature normalized over the positions of one sequence, as instance norm would."""

    def __init__(self, width: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalized sequences, shape (B, T, D)."""
        var, mean = torch.var_mean(x, dim=1, correction=0, keepdim=True)  # (B, 1, D)
        return self.weight * (x - mean) / (var + self.eps).sqrt() + self.bias


class OverPast(nn.Module):
    """Each feature normalized over the positions of one sequence up to its own."""

    def __init__(self, width: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalized sequences, shape (B, T, D)."""
        count = torch.arange(1, x.shape[1] + 1)[:, None]  # (T, 1)
        work = x.double()  # one pass over the past: in float32 its variance would be coarse
        mean = work.cumsum(1) / count
        var = (work.square().cumsum(1) / count - mean.square()).clamp(min=0)
        x_hat = ((work - mean) / (var + self.eps).sqrt()).to(x.dtype)
        return self.weight * x_hat + self.bias


def make_norm(word: str, length: int) -> MakeNorm:
    """Return what makes a norm over sequences of at most ``length`` positions.

    Args:
        word: "layer", "batch" (one mean per feature over all positions of all sequences),
            "masked" (without the padding), "per position", "over time" or "over the past".

    Raises:
        KeyError: there is no such word.
    """
    makes: dict[str, MakeNorm] = {
        "layer": nn.LayerNorm,
        "batch": lambda width: FeaturesFirst(nn.BatchNorm1d(width)),
        "masked": MaskedTokens,
        "per position": lambda width: PerPosition(width, length),
        "over time": OverTime,
        "over the past": OverPast,
    }
    return makes[word]


def norm_layers(net: nn.Module, word: str) -> list[nn.Module]:
    """Return the norms of a net over sequences, in their order."""
    kinds: dict[str, type[nn.Module]] = {
        "layer": nn.LayerNorm,
        "batch": FeaturesFirst,
        "masked": MaskedTokens,
        "per position": PerPosition,
        "over time": OverTime,
        "over the past": OverPast,
    }
    return [layer for layer in net.modules() if isinstance(layer, kinds[word])]


def scores_of(net: nn.Module, batch: Batch) -> Tensor:
    """Return scores (B, T, letters), with the mask given to the norms that want one."""
    for layer in net.modules():
        if isinstance(layer, MaskedTokens):
            layer.mask = batch.mask
    scores: Tensor = net(batch.letters)
    return scores


def batch_loss(net: nn.Module, batch: Batch) -> Tensor:
    """Return the mean cross-entropy in nats over the letters that are guessed."""
    scores = scores_of(net, batch)
    return nn.functional.cross_entropy(
        scores.flatten(0, 1), batch.targets.flatten(), ignore_index=IGNORED
    )


def fit(net: nn.Module, draw: Draw, *, steps: int, lr: float) -> list[float]:
    """Train in place by Adam, a tenth of the steps for warming up, then half a cosine.

    Returns:
        The loss of every step; shorter than ``steps`` where one was no number.
    """
    optimizer = torch.optim.Adam(net.parameters(), lr=lr)
    warmup, losses = max(1, steps // 10), []
    net.train()
    for step in range(steps):
        loss = batch_loss(net, draw())
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            break
        done = max(0, step - warmup) / max(1, steps - warmup)
        share = min(1.0, (step + 1) / warmup) * (0.1 + 0.45 * (1 + math.cos(math.pi * done)))
        for group in optimizer.param_groups:
            group["lr"] = lr * share
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
    return losses


@torch.no_grad()
def loss_in(net: nn.Module, batches: Iterable[Batch], *, training: bool) -> float:
    """Return the mean loss over batches in one mode; mode and running statistics are put back."""
    was_training = net.training
    kept = {name: buffer.clone() for name, buffer in net.named_buffers()}
    net.train(training)
    losses = [batch_loss(net, batch).item() for batch in batches]
    net.train(was_training)
    for name, buffer in net.named_buffers():
        buffer.copy_(kept[name])
    loss = sum(losses) / len(losses)
    return loss if math.isfinite(loss) else math.inf


class Wander(NamedTuple):
    """How far the means of batches wander, in standard deviations of single values.

    ``independent`` is how far they would if all values of a mean were independent.
    """

    mean: float
    independent: float


@torch.no_grad()
def wander(net: nn.Module, layers: list[nn.Module], inputs: Iterable[Tensor]) -> Wander:
    """Return how far batch means wander at the inputs of some layers, training mode.

    Args:
        net: from one of ``inputs`` to its output; nothing of it moves.
        layers: norms; the inputs of torch's batch norms are (N, C, *), those of others (*, D).
        inputs: batches of one size.

    Example:
        >>> g, net = torch.Generator().manual_seed(0), nn.Sequential(nn.BatchNorm1d(8))
        >>> found = wander(net, [net[0]], (torch.randn(50, 8, generator=g) for _ in range(200)))
        >>> [round(x, 2) for x in found]
        [0.14, 0.14]
    """
    seen: dict[int, list[tuple[Tensor, Tensor, int]]] = {k: [] for k in range(len(layers))}

    def keep(k: int) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(layer: nn.Module, given: tuple[Tensor, ...]) -> None:
            values = given[0]
            features = 1 if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) else -1
            rows = values.movedim(features, -1).flatten(0, -2)  # (values per mean, features)
            var, mean = torch.var_mean(rows, dim=0, correction=0)
            seen[k].append((mean, var, len(rows)))

        return hook

    handles = [layer.register_forward_pre_hook(keep(k)) for k, layer in enumerate(layers)]
    was_training = net.training
    kept = {name: buffer.clone() for name, buffer in net.named_buffers()}
    net.train()
    for x in inputs:
        net(x)
    net.train(was_training)
    for name, buffer in net.named_buffers():
        buffer.copy_(kept[name])
    for handle in handles:
        handle.remove()
    return _summary(seen.values())


def _summary(seen: Iterable[list[tuple[Tensor, Tensor, int]]]) -> Wander:
    """Return the root mean square over layers, features and batches."""
    found: list[tuple[float, float]] = []
    for layer in seen:
        means = torch.stack([mean for mean, _, _ in layer])  # (batches, features)
        within = torch.stack([var for _, var, _ in layer]).mean(dim=0)
        between = means.var(dim=0, correction=1)
        whole = within + between  # the variance of single values
        alive = whole > 1e-6
        found.append(((between / whole)[alive].mean().item(), 1 / layer[0][2]))
    mean, independent = (sum(column) / len(found) for column in zip(*found, strict=True))
    return Wander(math.sqrt(mean), math.sqrt(independent))


def pieces_of(
    text: Tensor, *, length: int, sequences: int, places: int, generator: torch.Generator
) -> Batch:
    """Return sequences from some random places of a text; those of one place follow each other.

    Args:
        text: letters, shape (M,).
        length: letters that are read per sequence.
        sequences: how many, a multiple of ``places``.
        places: how many places they come from.
        generator: draws the places.

    Example:
        >>> g = torch.Generator().manual_seed(0)
        >>> batch = pieces_of(torch.arange(99), length=3, sequences=2, places=1, generator=g)
        >>> (batch.letters - batch.letters[0, 0]).tolist()
        [[0, 1, 2], [3, 4, 5]]
    """
    row = sequences // places
    starts = torch.randint(len(text) - row * length, (places,), generator=generator)
    offsets = torch.arange(row) * length
    first = (starts[:, None] + offsets).flatten()  # (sequences,)
    at = first[:, None] + torch.arange(length)
    letters = text[at]
    return Batch(letters, text[at + 1], torch.ones_like(letters, dtype=torch.bool))


def lines_of(text: Tensor, newline: int, *, least: int, most: int) -> list[Tensor]:
    """Return the lines of a text, cut after ``most`` letters, without the shortest."""
    ends = (text == newline).nonzero().flatten().tolist()
    starts = [0, *(end + 1 for end in ends[:-1])]
    lines = (text[a : b + 1][:most] for a, b in zip(starts, ends, strict=True))
    return [line for line in lines if len(line) >= least]


def padded(lines: list[Tensor], padding: int) -> Batch:
    """Return lines as one batch, filled up with the letter ``padding`` to the longest.

    Example:
        >>> batch = padded([torch.tensor([1, 2, 3]), torch.tensor([4, 5])], padding=0)
        >>> batch.letters.tolist(), batch.targets.tolist()
        ([[1, 2], [4, 0]], [[2, 3], [5, -100]])
    """
    longest = max(len(line) for line in lines) - 1
    letters = torch.full((len(lines), longest), padding)
    targets = torch.full((len(lines), longest), IGNORED)
    for k, line in enumerate(lines):
        letters[k, : len(line) - 1] = line[:-1]
        targets[k, : len(line) - 1] = line[1:]
    return Batch(letters, targets, targets != IGNORED)


def draws(draw: Draw, count: int) -> Iterator[Batch]:
    """Yield some batches."""
    for _ in range(count):
        yield draw()


def language_net(
    seed: int, word: str, letters: int, *, length: int, depth: int, width: int = 32
) -> CharTransformer:
    """Return a causal Transformer with norms of one word before each sublayer."""
    generator = torch.Generator().manual_seed(seed)
    return CharTransformer(
        generator, letters, length=length, depth=depth, width=width, norm=make_norm(word, length)
    )

"""Padded sequences: statistics that count the padding, and statistics that do not.

Synthetic sequences: a sequence's class shifts the mean of its tokens a little; around it every
token varies on its own, and all features stand at an offset from zero. Lengths vary widely, and a
batch is filled up with zeros to its longest sequence. Two layers work on every token, then the
real tokens are averaged. Only the norm differs: batch statistics over all positions, batch
statistics over real tokens, or layer normalization, which looks at one token.

Source: the batch normalization of Ioffe & Szegedy 2015 over a set of tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from normcourse.experiments.experiment import Experiment
from normcourse.experiments.result import Effect, Result, Row, Spread, Verdict, spread
from normcourse.modules import BatchNorm, LayerNorm, MaskedBatchNorm

WORDS = ("padded", "masked", "layer")
FEATURES, CLASSES, WIDTH = 4, 4, 32
SIGNAL = 0.5  # how far a class shifts the mean of its tokens, in their standard deviations
BATCH, TEST = 16, 512
LENGTH = 9  # of the sequences that are filled up more and more


class Sequences(NamedTuple):
    """Tokens (N, T, D), zero where ``mask`` (N, T) is False, and labels (N,)."""

    x: Tensor
    mask: Tensor
    t: Tensor


def sequences(
    generator: torch.Generator, centers: Tensor, num: int, offset: float, longest: int
) -> Sequences:
    """Return sequences of lengths 2 to ``longest``, as many short ones as long ones by ratio.

    Args:
        generator: draws lengths, labels and tokens.
        centers: mean of each class's tokens, shape (classes, D).
        num: how many.
        offset: added to every real token.
        longest: of the lengths; the batch is as long as its longest sequence.

    Example:
        >>> g = torch.Generator().manual_seed(0)
        >>> made = sequences(g, torch.zeros(4, 3), 5, 1.0, 8)
        >>> made.x.shape[2], made.mask.any(dim=1).all().item()
        (3, True)
    """
    share = torch.rand(num, generator=generator)
    lengths = (2 * (longest / 2) ** share).round().long()
    t = torch.randint(len(centers), (num,), generator=generator)
    positions = int(lengths.max())
    noise = torch.randn(num, positions, centers.shape[1], generator=generator)
    mask = torch.arange(positions) < lengths[:, None]  # (N, T)
    x = (noise + centers[t][:, None] + offset) * mask[..., None]
    return Sequences(x, mask, t)


class TokenNet(nn.Module):
    """Two layers on each token with a norm each, the mean over real tokens, scores."""

    def __init__(self, word: str, generator: torch.Generator) -> None:
        super().__init__()
        self.linears = nn.ModuleList(nn.Linear(size, WIDTH) for size in (FEATURES, WIDTH))
        self.norms = nn.ModuleList(_norm(word) for _ in self.linears)
        self.scores = nn.Linear(WIDTH, CLASSES)
        for layer in (*self.linears, self.scores):
            with torch.no_grad():
                layer.weight.normal_(0, layer.in_features**-0.5, generator=generator)
                layer.bias.zero_()

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return scores (N, classes)."""
        for linear, norm in zip(self.linears, self.norms, strict=True):
            x = norm_of_tokens(norm, linear(x), mask).relu() * mask[..., None]
        scores: Tensor = self.scores(x.sum(dim=1) / mask.sum(dim=1, keepdim=True))
        return scores


def _norm(word: str) -> nn.Module:
    makes: dict[str, Callable[[int], nn.Module]]
    makes = {"padded": BatchNorm, "masked": MaskedBatchNorm, "layer": LayerNorm}
    return makes[word](WIDTH)


def norm_of_tokens(norm: nn.Module, x: Tensor, mask: Tensor) -> Tensor:
    """Return a norm's output for tokens (N, T, D), given in the layout that it wants."""
    if isinstance(norm, MaskedBatchNorm):
        y: Tensor = norm(x, mask)
    elif isinstance(norm, BatchNorm):
        y = norm(x.transpose(1, 2)).transpose(1, 2)
    else:
        y = norm(x)
    return y


def run(
    seed: int, *, words: list[str], offsets: list[float], longest: int, steps: int, lr: float
) -> Iterator[Row]:
    """Yield a row per norm and offset, and per norm and share of padding.

    ``error`` is the share of wrong answers in inference mode, ``error_batch`` that in training mode
    in batches like those of the training. Rows with ``padding`` tell how far the outputs of the
    first norm of the fresh net move for the same tokens, ``drift``, in units of their own spread,
    when the batch is filled up until that share of it is padding.
    """
    for offset in offsets:
        for word in words:
            generator = torch.Generator().manual_seed(seed)
            centers = SIGNAL * torch.randn(CLASSES, FEATURES, generator=generator)
            net = TokenNet(word, generator)
            yield from _drift(net, word, offset, centers, generator)
            optimizer = torch.optim.SGD(net.parameters(), lr=lr)
            for _ in range(steps):
                batch = sequences(generator, centers, BATCH, offset, longest)
                loss = nn.functional.cross_entropy(net(batch.x, batch.mask), batch.t)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            tests = [
                sequences(generator, centers, BATCH, offset, longest) for _ in range(TEST // BATCH)
            ]
            yield {
                "word": word,
                "offset": offset,
                "error": _error(net.eval(), tests),
                "error_batch": _error(net.train(), tests),
            }


@torch.no_grad()
def _error(net: nn.Module, tests: list[Sequences]) -> float:
    wrong = torch.cat([net(s.x, s.mask).argmax(1) != s.t for s in tests])
    return float(wrong.float().mean())


@torch.no_grad()
def _drift(
    net: TokenNet, word: str, offset: float, centers: Tensor, generator: torch.Generator
) -> Iterator[Row]:
    """Yield how far the same tokens' outputs move as the batch is filled up with zeros."""
    labels = torch.randint(len(centers), (BATCH,), generator=generator)
    tokens = torch.randn(BATCH, LENGTH, FEATURES, generator=generator)
    tokens = tokens + centers[labels][:, None] + offset
    real = torch.ones(BATCH, LENGTH, dtype=torch.bool)
    start = _first_norm(net, tokens, real)
    for extra in (0, 1, 3, 9, 27, 81):
        x = nn.functional.pad(tokens, (0, 0, 0, extra))
        mask = nn.functional.pad(real, (0, extra))
        moved = _first_norm(net, x, mask)[:, :LENGTH] - start
        yield {
            "word": word,
            "offset": offset,
            "padding": extra / (extra + LENGTH),
            "drift": (moved.square().mean().sqrt() / start.std(dim=(0, 1)).mean()).item(),
        }


def _first_norm(net: TokenNet, x: Tensor, mask: Tensor) -> Tensor:
    """Return what the first norm gives in training mode; its running statistics stay."""
    norm = net.norms[0]
    kept = {name: buffer.clone() for name, buffer in norm.named_buffers()}
    y = norm_of_tokens(norm.train(), net.linears[0](x), mask)
    for name, buffer in norm.named_buffers():
        buffer.copy_(kept[name])
    return y


def cost(result: Result, offset: float, word: str, against: str) -> Spread:
    """Return how much more often a net with one norm errs than with another, per seed."""
    rows = result.keep(lambda row: "error" in row and row["offset"] == offset).rows
    error = {(row["seed"], row["word"]): float(row["error"]) for row in rows}
    return spread(error[seed, word] - error[seed, against] for seed, kind in error if kind == word)


def mask_matters(result: Result) -> Verdict:
    """Does counting the padding cost accuracy, which a mask gives back?

    Supported if, at the largest offset, statistics that count the padding cost 5 points or more
    against masked ones in inference mode; refuted if less than 2; else mixed. Medians of
    differences within seeds.
    """
    offsets = result.distinct("offset")
    costs = {o: cost(result, o, "padded", "masked") for o in offsets}
    effects = tuple(Effect(f"extra error, offset {o:g}", costs[o]) for o in offsets)
    worst = costs[max(offsets)].median
    outcome = "supported" if worst >= 0.05 else "refuted" if worst < 0.02 else "mixed"
    return Verdict(outcome, effects)  # type: ignore[arg-type]


def padding_is_all(result: Result) -> Verdict:
    """Is batch normalization as good as layer normalization on sequences once padding is masked?

    Supported if masked batch normalization errs at most 2 points more than layer normalization at
    every offset, refuted if 5 points or more at every offset, else mixed.
    """
    costs = {o: cost(result, o, "masked", "layer") for o in result.distinct("offset")}
    effects = tuple(Effect(f"extra error, offset {o:g}", found) for o, found in costs.items())
    if all(found.median <= 0.02 for found in costs.values()):
        return Verdict("supported", effects)
    if all(found.median >= 0.05 for found in costs.values()):
        return Verdict("refuted", effects)
    return Verdict("mixed", effects)


EXPERIMENT = Experiment(
    name="padding",
    question="What do batch statistics lose when they count the padding of sequences?",
    run=run,
    live={
        "words": list(WORDS),
        "offsets": [2.0],
        "longest": 64,
        "steps": 100,
        "lr": 0.1,
    },
    full={
        "words": list(WORDS),
        "offsets": [0.0, 1.0, 2.0, 4.0],
        "longest": 64,
        "steps": 400,
        "lr": 0.1,
    },
    decisions={"mask_matters": mask_matters, "padding_is_all": padding_is_all},
)

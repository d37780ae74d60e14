"""One example in different company: how far its answer and its gradient hang on the others.

A trained net is asked in training mode about the same test images, each in many random batches.
How often does the answer change, how far do its scores move, and how much of the gradient of its
loss arrives at the inputs of the *other* examples?

Sources: Ioffe & Szegedy 2015, section 3.1 (the output is a function of the whole batch).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from normcourse.experiments.data import load_digits
from normcourse.experiments.experiment import Experiment
from normcourse.experiments.models import mlp
from normcourse.experiments.result import Effect, Result, Row, Verdict
from normcourse.experiments.train import train

WIDTH, DEPTH = 64, 2


def run(
    seed: int, *, norms: list[str], sizes: list[int], images: int, companies: int, steps: int
) -> Iterator[Row]:
    """Yield a row per norm and batch size.

    ``changed`` is the share of answers that differ from the image's most frequent one, ``moved``
    the standard deviation of a score over the companies, averaged over images and classes, and
    ``leaked`` the share of the squared input gradient of one image's loss that lies on others.
    """
    for norm in norms:
        generator = torch.Generator().manual_seed(seed)
        digits = load_digits(generator)
        net = mlp(generator, 64, 10, depth=DEPTH, width=WIDTH, norm=norm)
        train(net, digits.train_x, digits.train_t, steps=steps, lr=0.1, generator=generator)
        net.train()
        for size in sizes:
            scores = torch.stack(
                [
                    _scores(net, digits.test_x, image, size, companies, generator)
                    for image in range(images)
                ]
            )  # (images, companies, 10)
            guesses = scores.argmax(dim=2)
            usual = guesses.mode(dim=1, keepdim=True).values
            yield {
                "norm": norm,
                "size": size,
                "changed": (guesses != usual).float().mean().item(),
                "moved": scores.std(dim=1).mean().item(),
                "leaked": _leaked(net, digits.test_x, digits.test_t, size, images, generator),
            }


def _with_others(image: int, num: int, size: int, generator: torch.Generator) -> Tensor:
    """Return the indices of a batch: the image first, then others without repetition."""
    others = torch.randperm(num - 1, generator=generator)[: size - 1]
    others = others + (others >= image)
    return torch.cat([torch.tensor([image]), others])


@torch.no_grad()
def _scores(
    net: nn.Module, x: Tensor, image: int, size: int, companies: int, generator: torch.Generator
) -> Tensor:
    """Return the scores of one image in several random batches, shape (companies, 10)."""
    batches = [_with_others(image, len(x), size, generator) for _ in range(companies)]
    return torch.stack([net(x[batch])[0] for batch in batches])


def _leaked(
    net: nn.Module, x: Tensor, t: Tensor, size: int, images: int, generator: torch.Generator
) -> float:
    """Return how much of the squared gradient of one loss lies on the other inputs."""
    shares = []
    for image in range(images):
        batch = _with_others(image, len(x), size, generator)
        inputs = x[batch].requires_grad_()
        loss = nn.functional.cross_entropy(net(inputs)[:1], t[batch][:1])
        (gradient,) = torch.autograd.grad(loss, inputs)
        square = gradient.flatten(1).square().sum(1)  # (N,)
        shares.append((square[1:].sum() / square.sum().clamp(min=1e-30)).item())
    return sum(shares) / len(shares)


def leakage(result: Result) -> Verdict:
    """Does an example's answer hang on its neighbours, under batch normalization alone?

    Supported if with batch normalization scores move and gradient leaks in every seed at every
    size, less at the largest than at the smallest, and with layer normalization nothing moves
    nor leaks by more than 0.00001; refuted if in half of the seeds the scores move by less
    than that under batch normalization; else mixed.
    """
    batch, other = result.where(norm="batch"), result.keep(lambda row: row["norm"] != "batch")
    sizes = batch.distinct("size")
    small, large = batch.where(size=min(sizes)), batch.where(size=max(sizes))
    effects = (
        Effect(f"answers changed by company of {min(sizes) - 1}", small.spread("changed")),
        Effect(f"answers changed by company of {max(sizes) - 1}", large.spread("changed")),
        Effect(f"gradient on others, batch of {min(sizes)}", small.spread("leaked")),
        Effect("scores moved without batch statistics", other.spread("moved")),
    )
    tiny = 1e-5  # rounding alone moves float32 scores by about a tenth of this
    always = min(batch.values("moved")) > tiny and min(batch.values("leaked")) > tiny
    never = max(other.values("moved")) <= tiny and max(other.values("leaked")) <= tiny
    falls = all(
        small.spread(column).median > large.spread(column).median for column in ("moved", "leaked")
    )
    if always and never and falls:
        return Verdict("supported", effects)
    still = sum(float(value) <= tiny for value in small.values("moved"))
    return Verdict("refuted" if 2 * still >= len(small.rows) else "mixed", effects)


EXPERIMENT = Experiment(
    name="company",
    question="How far does an example's answer hang on the others in its batch?",
    run=run,
    live={
        "norms": ["batch", "layer"],
        "sizes": [2, 16, 128],
        "images": 10,
        "companies": 10,
        "steps": 100,
    },
    full={
        "norms": ["batch", "layer"],
        "sizes": [2, 4, 8, 16, 32, 64, 128, 256],
        "images": 40,
        "companies": 20,
        "steps": 300,
    },
    decisions={"leakage": leakage},
)

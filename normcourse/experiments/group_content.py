"""What shares a group: quiet channels beside loud ones, whose loudness differs from input to input.

An input has eight channels. Four see a digit, as differences to the neighbour in four directions;
four are noise, as of a sensor that has nothing to say, and how loud it is differs from image to
image. Two groups: of one kind each, or of two channels of either kind. Only the order of the
channels tells the two arms apart. Beside them one group, and one channel per group.

Source: Wu & He, "Group Normalization", 2018, section 3 (channels of one kind, as in HOG).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from normcourse.experiments.data import load_digits
from normcourse.experiments.experiment import Experiment
from normcourse.experiments.result import Effect, Result, Row, Spread, Verdict, spread
from normcourse.experiments.train import accuracy, train

KIND, WIDTH = 4, 16  # channels of each kind, channels of the convolution
# Word of an arm: number of groups, and whether the two kinds alternate.
ARMS: dict[str, tuple[int, bool]] = {
    "kinds apart": (2, False),
    "kinds mixed": (2, True),
    "one group": (1, False),
    "each alone": (2 * KIND, False),
}


def edges(x: Tensor) -> Tensor:
    """Return the differences to the neighbours right, below and on both diagonals.

    Args:
        x: images (N, 1, H, W).

    Returns:
        (N, 4, H, W), zero where there is no neighbour.

    Example:
        >>> edges(torch.tensor([[[[1.0, 4.0], [0.0, 2.0]]]]))[0, 0]
        tensor([[3., 0.],
                [2., 0.]])
    """
    h, w = x.shape[2:]
    padded = nn.functional.pad(x, (1, 1, 0, 1), mode="replicate")  # (N, 1, H + 1, W + 2)
    places = ((0, 2), (1, 1), (1, 2), (1, 0))
    neighbours = [padded[:, :, i : i + h, j : j + w] for i, j in places]
    return torch.cat(neighbours, dim=1) - x


def with_noise(x: Tensor, loudness: float, mixed: bool, generator: torch.Generator) -> Tensor:
    """Return edges of images and channels of noise, shape (N, 8, H, W).

    Args:
        x: images (N, 1, H, W).
        loudness: standard deviation of the logarithm of the noise's standard deviation.
        mixed: whether the two kinds alternate.
        generator: draws noise and loudness.
    """
    quiet = edges(x)
    factor = (loudness * torch.randn(len(x), 1, 1, 1, generator=generator)).exp()
    noise = factor * torch.randn(quiet.shape, generator=generator)
    both = torch.stack([quiet, noise], dim=2 if mixed else 1)
    return both.flatten(1, 2)  # mixed: quiet, noise, quiet, ...; else quiet four, noise four


def run(
    seed: int, *, arms: list[str], loudness: list[float], steps: int, lr: float
) -> Iterator[Row]:
    """Yield a row per arm and spread of the loudness: the share of wrong answers on test images."""
    digits = load_digits(torch.Generator().manual_seed(seed))
    for amount in loudness:
        for arm in arms:
            groups, mixed = ARMS[arm]
            generator = torch.Generator().manual_seed(seed)
            x = with_noise(digits.train_x, amount, mixed, generator)
            test_x = with_noise(digits.test_x, amount, mixed, generator)
            net = make_net(groups, mixed, generator)
            train(net, x, digits.train_t, steps=steps, batch_size=32, lr=lr, generator=generator)
            error = 1 - accuracy(net, test_x, digits.test_t)
            yield {"arm": arm, "loudness": amount, "error": error}


@torch.no_grad()
def make_net(groups: int, mixed: bool, generator: torch.Generator) -> nn.Sequential:
    """Return norm, convolution, ReLU and scores; the same weights in either order of channels."""
    conv = nn.Conv2d(2 * KIND, WIDTH, 3, padding=1)
    scores = nn.Linear(WIDTH * 64, 10)
    for layer in (conv, scores):
        layer.weight.normal_(0, layer.weight[0].numel() ** -0.5, generator=generator)
        assert layer.bias is not None
        layer.bias.zero_()
    if mixed:
        order = torch.arange(2 * KIND).view(2, KIND).T.flatten()  # 0, 4, 1, 5, ...
        conv.weight.copy_(conv.weight[:, order])
    return nn.Sequential(nn.GroupNorm(groups, 2 * KIND), conv, nn.ReLU(), nn.Flatten(), scores)


def cost(result: Result, loudness: float, arm: str, against: str) -> Spread:
    """Return how much more often one arm errs than another, per seed."""
    rows = result.where(loudness=loudness).rows
    error = {(row["seed"], row["arm"]): float(row["error"]) for row in rows}
    return spread(error[seed, arm] - error[seed, against] for seed in result.seeds)


def neighbours_matter(result: Result) -> Verdict:
    """Does it matter what shares a group, with the same channels and the same number of groups?

    Supported if at the largest spread of the loudness mixed kinds err 2 points or more oftener than
    kinds apart, refuted if less than half a point, else mixed. Medians of differences within seeds.
    """
    found = {
        amount: cost(result, amount, "kinds mixed", "kinds apart")
        for amount in result.distinct("loudness")
    }
    effects = tuple(
        Effect(f"extra error of mixed kinds, loudness {a:g}", s) for a, s in found.items()
    )
    worst = found[max(found)].median
    outcome = "supported" if worst >= 0.02 else "refuted" if worst < 0.005 else "mixed"
    return Verdict(outcome, effects)  # type: ignore[arg-type]


EXPERIMENT = Experiment(
    name="group_content",
    question="Does it matter which channels share a group?",
    run=run,
    live={"arms": ["kinds apart", "kinds mixed"], "loudness": [2.0], "steps": 100, "lr": 0.1},
    full={"arms": list(ARMS), "loudness": [0.0, 1.0, 2.0, 3.0], "steps": 200, "lr": 0.1},
    decisions={"neighbours_matter": neighbours_matter},
)

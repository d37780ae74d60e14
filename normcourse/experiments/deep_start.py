"""What do gradients and signals do in a fresh deep net, with and without BatchNorm and skips?

A batch of digits goes once forward and back through stacks of equal layers:

    plain        x -> relu(norm(W x))
    residual     x -> x + W relu(norm(x))

    gradient     norm of the loss' gradient with respect to the layer's output
    variance     of the layer's output over all its values
    share        variance of the branch / that of the sum it joins (residual stacks)

Sources: Yang et al. 2019 (gradients grow without skips); De & Smith 2020 (branches are damped).
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from normcourse.experiments.deep_digits import CLASSES, PIXELS, outcome, task
from normcourse.experiments.experiment import Experiment
from normcourse.experiments.result import Effect, Result, Row, Spread, Verdict, spread

SEEN = 256
THEORY = math.sqrt(math.pi / (math.pi - 1))  # growth per layer, wide net and large batch


class PlainLayer(nn.Module):
    """relu(norm(W x)) over (N, D), He's weights."""

    def __init__(self, generator: torch.Generator, width: int, norm: str) -> None:
        super().__init__()
        self.linear = linear(generator, width, width, math.sqrt(2))
        self.norm = nn.BatchNorm1d(width) if norm == "batch" else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output, (N, D)."""
        return torch.relu(self.norm(self.linear(x)))


class ResidualLayer(nn.Module):
    """x + alpha * W relu(norm(x)) over (N, D), He's weights.

    Args:
        generator: draws the weights.
        width: units, D.
        norm: "batch" or "none".
        learn_alpha: alpha is learned and starts at 0 (SkipInit); else it is 1.
    """

    def __init__(
        self, generator: torch.Generator, width: int, norm: str, *, learn_alpha: bool = False
    ) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width) if norm == "batch" else nn.Identity()
        self.linear = linear(generator, width, width, math.sqrt(2))
        self.alpha = nn.Parameter(torch.zeros(())) if learn_alpha else None

    def branch(self, x: Tensor) -> Tensor:
        """Return what is added to x, (N, D)."""
        y: Tensor = self.linear(torch.relu(self.norm(x)))
        return y if self.alpha is None else self.alpha * y

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output, (N, D)."""
        return x + self.branch(x)


def linear(generator: torch.Generator, num_in: int, num_out: int, gain: float) -> nn.Linear:
    """Return a linear layer with normal weights of std gain / sqrt(num_in) and biases 0."""
    layer = nn.Linear(num_in, num_out)
    with torch.no_grad():
        layer.weight.normal_(0, gain / math.sqrt(num_in), generator=generator)
        layer.bias.zero_()
    return layer


def stack(generator: torch.Generator, name: str, depth: int, width: int) -> nn.Sequential:
    """Return a stack for the digits: a linear layer, ``depth`` layers, scores.

    Args:
        generator: draws the weights.
        name: "plain none", "plain batch", "residual none", "residual batch" or "residual alpha".
        depth: layers.
        width: units.
    """
    kind, norm = name.split()
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        flatten=nn.Flatten(), read=linear(generator, PIXELS, width, 1.0)
    )
    for k in range(1, depth + 1):
        if kind == "plain":
            layers[f"layer{k}"] = PlainLayer(generator, width, norm)
        else:
            layers[f"layer{k}"] = ResidualLayer(generator, width, norm, learn_alpha=norm == "alpha")
    if name == "residual batch":  # as nets of this kind end
        layers["norm"] = nn.BatchNorm1d(width)
    layers["scores"] = linear(generator, width, CLASSES, 1.0)
    return nn.Sequential(layers)


def run(seed: int, *, stacks: Sequence[str], depth: int, width: int, every: int) -> Iterator[Row]:
    """Yield a row per stack and every so many layers, counted from 1."""
    for name in stacks:
        generator = torch.Generator().manual_seed(seed)
        digits = task(generator)
        net = stack(generator, name, depth, width)
        x, outputs, shares = digits.train_x[:SEEN], [], []
        for part in net.children():
            if isinstance(part, PlainLayer | ResidualLayer):
                if isinstance(part, ResidualLayer):
                    with torch.no_grad():
                        branch = part.branch(x)
                        shares.append((branch.var() / (x + branch).var()).item())
                x = part(x)
                x.retain_grad()
                outputs.append(x)
            else:
                x = part(x)
        cross_entropy(x, digits.train_t[:SEEN]).backward()  # type: ignore[no-untyped-call]
        for layer in range(1, depth + 1, every):
            output = outputs[layer - 1]
            assert output.grad is not None
            row: Row = {
                "stack": name,
                "layer": layer,
                "gradient": output.grad.norm().item(),
                "variance": output.var().item(),
            }
            yield {**row, "share": shares[layer - 1]} if shares else row


def growth(result: Result, stack: str) -> Spread:
    """Return the factor by which the gradient's norm grows per layer on its way back.

    It is the geometric mean over the layers between a fifth and nine tenths of the depth.
    """
    chosen = result.where(stack=stack)
    layers = chosen.distinct("layer")
    deepest = max(layers)
    inner = [k for k in layers if 0.2 * deepest <= k <= 0.9 * deepest]
    early, late = (
        dict(zip(chosen.seeds, chosen.where(layer=k).values("gradient"), strict=True))
        for k in (inner[0], inner[-1])
    )
    way = inner[-1] - inner[0]
    return spread((early[seed] / late[seed]) ** (1 / way) for seed in chosen.seeds)


def better_flow(result: Result) -> Verdict:
    """Does BatchNorm even out gradients over the layers of a fresh plain net?

    Compared is how far the growth per layer is from 1, as abs(log growth). Supported if with
    BatchNorm it is less than half of that without (medians over seeds), refuted if more than twice
    that, else mixed.
    """
    without, with_norm = growth(result, "plain none"), growth(result, "plain batch")
    far, near = abs(math.log(with_norm.median)), abs(math.log(without.median))
    return Verdict(
        outcome(far < near / 2, far > 2 * near),
        (
            Effect("growth per layer, plain without norm", without),
            Effect("growth per layer, plain with BatchNorm", with_norm),
            Effect("growth per layer, residual with BatchNorm", growth(result, "residual batch")),
        ),
    )


def as_computed(result: Result) -> Verdict:
    """Do gradients of the plain net with BatchNorm grow by sqrt(pi / (pi - 1)) per layer?

    Supported if the median is within 3 % of it, refuted if off by more than 10 %, else mixed.
    """
    seen = growth(result, "plain batch")
    off = abs(seen.median / THEORY - 1)
    return Verdict(
        outcome(off < 0.03, off > 0.1),
        (Effect("growth per layer, plain with BatchNorm", seen),),
    )


def damps_branches(result: Result) -> Verdict:
    """Does BatchNorm make the residual branches of a fresh deep net small beside the skip?

    Supported if in the last layer the branch's share of the variance is below 3 / depth with
    BatchNorm and above 0.25 without (medians), refuted if it is no smaller with than without, else
    mixed.
    """
    last = max(result.distinct("layer"))
    with_norm, without = (
        result.spread("share", stack=f"residual {norm}", layer=last) for norm in ("batch", "none")
    )
    return Verdict(
        outcome(
            with_norm.median < 3 / last and without.median > 0.25,
            with_norm.median >= without.median,
        ),
        (
            Effect(f"share of the branch in layer {last}, with BatchNorm", with_norm),
            Effect(f"share of the branch in layer {last}, without", without),
        ),
    )


_STACKS = ["plain none", "plain batch", "residual none", "residual batch"]
EXPERIMENT = Experiment(
    name="deep_start",
    question="What do gradients and signals do in a fresh deep net?",
    run=run,
    live={"stacks": _STACKS, "depth": 49, "width": 64, "every": 4},
    full={"stacks": _STACKS, "depth": 49, "width": 128, "every": 2},
    decisions={
        "better_flow": better_flow,
        "as_computed": as_computed,
        "damps_branches": damps_branches,
    },
)

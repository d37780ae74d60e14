"""Digits in styles, and small nets that read them: shared by the experiments of chapter 10.

A style is a change of contrast, exposure or colour: a gain and an offset per channel. A digit in a
style has two labels, what it shows and how it is lit.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from normcourse.experiments.models import NORMS
from normcourse.experiments.train import accuracy, mean_loss, train
from normcourse.modules import InstanceNorm

CHOOSING = 300  # images that choose the learning rate
CHANNELS = 16
KINDS = ("contrast", "exposure", "cast")


class Arm(NamedTuple):
    """Where a net has its norms: at the input, after each convolution; and how it pads."""

    first: bool
    inside: str
    padding: Literal["zeros", "replicate"] = "zeros"


ARMS: dict[str, Arm] = {
    "none": Arm(False, "none"),
    "batch": Arm(False, "batch"),
    "instance": Arm(False, "instance"),
    "instance, edges repeated": Arm(False, "instance", "replicate"),
    "instance first": Arm(True, "batch"),
}


def gains_and_offset(kind: str, strength: Tensor, order: Tensor) -> tuple[Tensor, Tensor]:
    """Return gains (N, 3) and offset (N, 1) of styles; strength 0 changes nothing.

    Args:
        kind: a word of ``KINDS``.
        strength: shape (N,), 0 to below 1.
        order: (N, 3), the channels from the one that keeps its light to the one that loses most;
            only a cast looks at it.
    """
    gain = (1 - strength)[:, None]
    if kind == "contrast":
        return gain.expand(-1, 3), (1 - gain) / 2
    if kind == "exposure":
        return gain.expand(-1, 3), torch.zeros_like(gain)
    steps = torch.stack([torch.ones_like(strength), 1 - strength / 2, 1 - strength], dim=1)
    return torch.zeros_like(steps).scatter_(1, order, steps), torch.zeros_like(gain)


def styled(x: Tensor, kind: str, strength: Tensor, order: Tensor) -> Tensor:
    """Return grey digits (N, 1, H, W) as colour images (N, 3, H, W) in the given styles.

    Example:
        >>> x = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2)
        >>> order = torch.tensor([[2, 1, 0]])
        >>> styled(x, "contrast", torch.tensor([0.5]), order)[0, 0]
        tensor([[0.2500, 0.7500]])
        >>> styled(x, "cast", torch.tensor([0.5]), order)[0, :, 0, 1]
        tensor([0.5000, 0.7500, 1.0000])
    """
    gains, offset = gains_and_offset(kind, strength, order)
    return gains[:, :, None, None] * x + offset[:, :, None, None]  # (N, 3, H, W)


def orders(num: int, generator: torch.Generator) -> Tensor:
    """Return a random order of the three channels for each of ``num`` images, shape (num, 3)."""
    return torch.rand(num, 3, generator=generator).argsort(dim=1)


def style_net(generator: torch.Generator, num_outputs: int, arm: Arm) -> nn.Sequential:
    """Return a net for (N, 3, 8, 8): two convolutions to maps of 8x8 and 4x4, then scores.

    Example:
        >>> net = style_net(torch.Generator().manual_seed(0), 10, ARMS["instance first"])
        >>> net(torch.rand(5, 3, 8, 8)).shape
        torch.Size([5, 10])
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    if arm.first:
        layers["first"] = InstanceNorm(3)
    for k in (1, 2):
        conv = nn.Conv2d(
            3 if k == 1 else CHANNELS,
            CHANNELS,
            kernel_size=3,
            stride=k,
            padding=1,
            padding_mode=arm.padding,
        )
        _draw(conv, math.sqrt(2), generator)
        layers[f"conv{k}"] = conv
        layers[f"norm{k}"] = NORMS[arm.inside](CHANNELS)
        layers[f"act{k}"] = nn.ReLU()
    layers["flatten"] = nn.Flatten()
    scores = nn.Linear(16 * CHANNELS, num_outputs)
    _draw(scores, 1.0, generator)
    layers["scores"] = scores
    return nn.Sequential(layers)


@torch.no_grad()
def _draw(layer: nn.Conv2d | nn.Linear, gain: float, generator: torch.Generator) -> None:
    """Draw normal weights of standard deviation gain / sqrt(fan_in); biases are 0."""
    layer.weight.normal_(0, gain / math.sqrt(layer.weight[0].numel()), generator=generator)
    assert layer.bias is not None
    layer.bias.zero_()


class Part(NamedTuple):
    """Images (N, 3, 8, 8) with labels (N,)."""

    x: Tensor
    t: Tensor


def best_net(
    seed: int, arm: Arm, learn: Part, choose: Part, *, rates: list[float], steps: int
) -> tuple[nn.Sequential, float]:
    """Return the net, of one per learning rate, with the least loss on the choosing images.

    Returns:
        The trained net and its learning rate. All nets start from the same weights.
    """
    found: list[tuple[float, float, nn.Sequential]] = []
    for rate in rates:
        generator = torch.Generator().manual_seed(seed)
        net = style_net(generator, int(learn.t.max()) + 1, arm)
        train(net, learn.x, learn.t, steps=steps, lr=rate, generator=generator)
        loss = mean_loss(net, choose.x, choose.t)
        found.append((loss if math.isfinite(loss) else math.inf, rate, net))
    _, rate, net = min(found, key=lambda one: one[:2])
    return net, rate


def percent_right(net: nn.Module, part: Part) -> float:
    """Return the right answers in per cent, in inference mode."""
    return 100 * accuracy(net, part.x, part.t)

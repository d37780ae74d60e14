"""Residual nets of small maps on digits: where the norm stands, and what the skip carries."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import Tensor, nn

from normcourse.modules import ConvNormReLU, PostActivationBlock, PreActivationBlock

CHANNELS, SIZE = 16, 8
MakeNorm = Callable[[int], nn.Module]
# torch's own layer: the same function as the course's, in one kernel
NORMS: dict[str, MakeNorm] = {"batch": nn.BatchNorm2d, "none": lambda channels: nn.Identity()}
# What the skip of a pre-activation block carries.
SKIPS = ("clean", "halved", "normalized", "activated", "relu on the sum")


class AlteredBlock(PreActivationBlock):
    """A pre-activation block whose skip does something to x, or whose sum meets a ReLU.

    Args:
        skip: word of ``SKIPS``.
        norm: from a number of channels to a norm layer.
    """

    def __init__(self, skip: str, norm: MakeNorm) -> None:
        super().__init__(CHANNELS, norm=norm, zero_init=False)
        self.skip_word = skip
        self.norm_skip = norm(CHANNELS) if skip == "normalized" else None

    def forward(self, x: Tensor) -> Tensor:
        """Return skip(x) + branch(x)."""
        activated = self.relu(self.norm1(x))
        branch = self.conv2(self.relu(self.norm2(self.conv1(activated))))
        if self.norm_skip is not None:
            return self.norm_skip(x) + branch  # type: ignore[no-any-return]
        if self.skip_word == "relu on the sum":
            return torch.relu(x + branch)
        skip = {"clean": x, "halved": 0.5 * x, "activated": activated}[self.skip_word]
        return skip + branch  # type: ignore[no-any-return]


def make_block(kind: str, norm: str, skip: str) -> nn.Module:
    """Return a block whose convolutions and scales are still as torch draws them.

    Args:
        kind: "post", "pre", or "plain": conv, norm, relu without a skip.
        norm: word of ``NORMS``.
        skip: word of ``SKIPS``; those but "clean" are for "pre".
    """
    if kind == "plain":
        return ConvNormReLU(CHANNELS, CHANNELS, norm=NORMS[norm])
    if kind == "post":
        return PostActivationBlock(CHANNELS, norm=NORMS[norm], zero_init=False)
    if skip == "clean":
        return PreActivationBlock(CHANNELS, norm=NORMS[norm], zero_init=False)
    return AlteredBlock(skip, NORMS[norm])


def residual_net(
    generator: torch.Generator,
    kind: str,
    depth: int,
    *,
    norm: str = "batch",
    zero: bool = False,
    skip: str = "clean",
    head: str = "mean",
    stride: int = 2,
) -> nn.Sequential:
    """Return a residual net for 8x8 digits: a stem, blocks, scores.

    Args:
        generator: draws the weights, by He's rule; the same for every arm.
        kind: "post", ReLU after the addition, "pre", norm and ReLU before each convolution, or
            "plain", without a skip.
        depth: number of blocks, of two convolutions each ("plain": of one).
        norm: word of ``NORMS``.
        zero: start with branches that add nothing: the last gamma at 0 (with a norm), the last
            convolution at 0 ("pre").
        skip: word of ``SKIPS``.
        head: whether the scores read the "mean" of each map or its "places".
        stride: of the stem; 2 leaves maps of 4x4.

    Example:
        >>> net = residual_net(torch.Generator().manual_seed(0), "pre", 2)
        >>> [name for name, _ in net.named_children()]
        ['stem', 'start', 'block1', 'block2', 'end', 'pool', 'flatten', 'scores']
        >>> net(torch.zeros(5, 1, 8, 8)).shape
        torch.Size([5, 10])
    """
    make = NORMS[norm]
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["stem"] = nn.Conv2d(1, CHANNELS, 3, stride=stride, padding=1, bias=False)
    start, end = nn.Identity(), nn.Sequential(make(CHANNELS), nn.ReLU())
    layers["start"], layers["end"] = (start, end) if kind == "pre" else (end, start)
    last = layers.pop("end")
    for k in range(1, depth + 1):
        layers[f"block{k}"] = make_block(kind, norm, skip)
    layers["end"] = last
    layers["pool"] = nn.AdaptiveAvgPool2d(1) if head == "mean" else nn.Identity()
    layers["flatten"] = nn.Flatten()
    places = 1 if head == "mean" else (SIZE // stride) ** 2
    layers["scores"] = nn.Linear(CHANNELS * places, 10)
    net = nn.Sequential(layers)
    _draw(net, generator)
    if zero:
        for block in blocks(net):
            nn.init.zeros_(last_scale(block))
    return net


@torch.no_grad()
def _draw(net: nn.Sequential, generator: torch.Generator) -> None:
    """Draw weights of standard deviation sqrt(2 / fan_in), 1 / sqrt(fan_in) for the scores."""
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            gain = math.sqrt(2) if isinstance(layer, nn.Conv2d) else 1.0
            std = gain / math.sqrt(layer.weight[0].numel())
            layer.weight.normal_(0, std, generator=generator)
            if layer.bias is not None:
                layer.bias.zero_()


def blocks(net: nn.Sequential) -> list[nn.Module]:
    """Return the blocks of a net, in order."""
    return [part for name, part in net.named_children() if name.startswith("block")]


def last_scale(block: nn.Module) -> nn.Parameter:
    """Return what scales all that leaves a branch: the last gamma, or the last weights."""
    part = {ConvNormReLU: "1", PostActivationBlock: "norm2"}.get(type(block), "conv2")
    weight = block.get_submodule(part).weight
    assert isinstance(weight, nn.Parameter)
    return weight


def finite(value: float) -> float:
    """Return a number, infinity for one that is none: a run that was lost.

    Example:
        >>> finite(0.5), finite(math.nan)
        (0.5, inf)
    """
    return value if math.isfinite(value) else math.inf

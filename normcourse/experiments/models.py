"""Small nets, initialised from a generator that is passed in."""

from __future__ import annotations

import math
from collections import OrderedDict

import torch
from torch import nn


def digit_net(generator: torch.Generator, *, channels: int = 4, width: int = 24) -> nn.Sequential:
    """Return a small convolutional net for 8x8 digits, without any normalization.

    Args:
        generator: draws the weights.
        channels: number of feature maps after the convolution.
        width: number of hidden units after it.

    Returns:
        A net with named layers: ``conv`` gives (N, channels, 6, 6), ``hidden`` (N, width) and
        ``scores`` (N, 10). Weights and biases are drawn as torch draws them.

    Example:
        >>> net = digit_net(torch.Generator().manual_seed(0))
        >>> net(torch.zeros(5, 1, 8, 8)).shape
        torch.Size([5, 10])
    """
    net = nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(1, channels, kernel_size=3),  # (N, C, 6, 6)
            conv_relu=nn.ReLU(),
            flatten=nn.Flatten(),  # (N, C·36)
            hidden=nn.Linear(channels * 36, width),  # (N, D)
            hidden_relu=nn.ReLU(),
            scores=nn.Linear(width, 10),  # (N, 10)
        )
    )
    for layer in net:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            _draw(layer, generator)
    return net


@torch.no_grad()
def _draw(layer: nn.Conv2d | nn.Linear, generator: torch.Generator) -> None:
    """Draw weight and bias uniformly within 1 / sqrt(fan_in), torch's own rule."""
    bound = 1 / math.sqrt(layer.weight[0].numel())
    layer.weight.uniform_(-bound, bound, generator=generator)
    if layer.bias is not None:
        layer.bias.uniform_(-bound, bound, generator=generator)

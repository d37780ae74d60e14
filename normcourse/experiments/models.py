"""Small nets, initialised from a generator that is passed in."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import nn

from normcourse.modules import BatchNorm, GroupNorm, InstanceNorm, LayerNorm, RMSNorm

MakeNorm = Callable[[int], nn.Module]

# The words that settings and rows use for a normalization. "layer" and "rms" pool the last axis:
# they are for inputs (N, D); the others take (N, C, *) too, where "one group" is LayerNorm's pool.
NORMS: dict[str, MakeNorm] = {
    "none": lambda num_features: nn.Identity(),
    "batch": lambda num_features: BatchNorm(num_features),
    "layer": lambda num_features: LayerNorm(num_features),
    "rms": lambda num_features: RMSNorm(num_features),
    "instance": lambda num_features: InstanceNorm(num_features, affine=True),
    "group": lambda num_features: GroupNorm(math.gcd(4, num_features), num_features),
    "one group": lambda num_features: GroupNorm(1, num_features),
}
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "linear": nn.Identity,
}


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


def mlp(
    generator: torch.Generator,
    num_inputs: int,
    num_outputs: int,
    *,
    depth: int,
    width: int,
    norm: str | MakeNorm = "none",
    activation: str = "relu",
    gain: float | None = None,
) -> nn.Sequential:
    """Return a fully connected net: ``depth`` hidden layers, then scores.

    Args:
        generator: draws the weights.
        num_inputs: values per input, after flattening.
        num_outputs: values per output.
        depth: number of hidden layers.
        width: units in each.
        norm: word of ``NORMS`` or a function from the number of features to a layer, put between
            the linear layer and its activation.
        activation: word of ``ACTIVATIONS``.
        gain: weights are normal with standard deviation ``gain / sqrt(fan_in)``; by default that
            which keeps the scale of the signal: sqrt(2) for ReLU, 1 for the others. Biases are 0.

    Returns:
        A net over (N, *) with layers named ``linear1``, ``norm1``, ``act1`` … and ``scores``.

    Source:
        He et al. 2015 (ReLU), Glorot & Bengio 2010: how large weights are drawn.

    Example:
        >>> net = mlp(torch.Generator().manual_seed(0), 64, 10, depth=2, width=32, norm="batch")
        >>> net(torch.zeros(5, 1, 8, 8)).shape
        torch.Size([5, 10])
    """
    make = NORMS[norm] if isinstance(norm, str) else norm
    scale = gain if gain is not None else (math.sqrt(2) if activation == "relu" else 1.0)
    layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    for k in range(1, depth + 1):
        linear = nn.Linear(num_inputs if k == 1 else width, width)
        _draw_normal(linear, scale, generator)
        layers[f"linear{k}"] = linear
        layers[f"norm{k}"] = make(width)
        layers[f"act{k}"] = ACTIVATIONS[activation]()
    scores = nn.Linear(width if depth else num_inputs, num_outputs)
    _draw_normal(scores, 1.0, generator)
    layers["scores"] = scores
    return nn.Sequential(layers)


def conv_net(
    generator: torch.Generator,
    num_outputs: int,
    *,
    in_channels: int = 1,
    channels: int = 16,
    depth: int = 3,
    dims: int = 2,
    norm: str | MakeNorm = "none",
    gain: float = math.sqrt(2),
) -> nn.Sequential:
    """Return a convolutional net: ``depth`` layers of size 3, ReLU, mean over positions, scores.

    Args:
        generator: draws the weights.
        num_outputs: values per output.
        in_channels: channels of the input.
        channels: channels of every layer.
        depth: number of convolutions; the first keeps the size, each further one halves it.
        dims: 1 for inputs (N, C, L), 2 for (N, C, H, W).
        norm: as in :func:`mlp`, between convolution and ReLU.
        gain: weights are normal with standard deviation ``gain / sqrt(fan_in)``. Biases are 0.

    Returns:
        A net with layers named ``conv1``, ``norm1``, ``act1`` …, ``pool``, ``flatten``, ``scores``.

    Raises:
        ValueError: ``dims`` is neither 1 nor 2.

    Example:
        >>> net = conv_net(torch.Generator().manual_seed(0), 10, dims=1, norm="batch")
        >>> net(torch.zeros(5, 1, 40)).shape
        torch.Size([5, 10])
    """
    if dims not in (1, 2):
        raise ValueError(f"dims: expected 1 for (N, C, L) or 2 for (N, C, H, W), got {dims}.")
    make = NORMS[norm] if isinstance(norm, str) else norm
    conv_of = nn.Conv1d if dims == 1 else nn.Conv2d
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for k in range(1, depth + 1):
        conv = conv_of(
            in_channels if k == 1 else channels,
            channels,
            kernel_size=3,
            stride=1 if k == 1 else 2,
            padding=1,
        )
        _draw_normal(conv, gain, generator)
        layers[f"conv{k}"] = conv
        layers[f"norm{k}"] = make(channels)
        layers[f"act{k}"] = nn.ReLU()
    layers["pool"] = nn.AdaptiveAvgPool1d(1) if dims == 1 else nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    scores = nn.Linear(channels, num_outputs)
    _draw_normal(scores, 1.0, generator)
    layers["scores"] = scores
    return nn.Sequential(layers)


@torch.no_grad()
def _draw_normal(
    layer: nn.Conv1d | nn.Conv2d | nn.Linear, gain: float, generator: torch.Generator
) -> None:
    """Draw normal weights of standard deviation gain / sqrt(fan_in); biases are 0."""
    layer.weight.normal_(0, gain / math.sqrt(layer.weight[0].numel()), generator=generator)
    if layer.bias is not None:
        layer.bias.zero_()

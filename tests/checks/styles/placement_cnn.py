"""Right answers of chapter 13 in other styles."""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def appended(in_channels: int, out_channels: int) -> Any:
    """Layers appended one by one, padding named."""
    layers: list[nn.Module] = []
    layers.append(nn.Conv2d(in_channels, out_channels, kernel_size=3, padding="same", bias=False))
    layers.append(nn.BatchNorm2d(num_features=out_channels))
    layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


def named_layers(in_channels: int, out_channels: int) -> Any:
    """Layers with names of their own."""
    conv = nn.Conv2d(in_channels, out_channels, (3, 3), (1, 1), (1, 1), bias=False)
    return nn.Sequential(
        OrderedDict(convolution=conv, norm=nn.BatchNorm2d(out_channels), activation=nn.ReLU())
    )


class _Unit(nn.Sequential):
    """A subclass of nn.Sequential."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            nn.Sequential(nn.ZeroPad2d(1), nn.Conv2d(in_channels, out_channels, 3, bias=False)),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
        )


def subclass(in_channels: int, out_channels: int) -> Any:
    """A subclass of nn.Sequential, nested, with a padding layer."""
    return _Unit(in_channels, out_channels)


def bias_taken_away(in_channels: int, out_channels: int) -> Any:
    """The bias set to None afterwards."""
    conv = nn.Conv2d(in_channels, out_channels, 3, padding=1)
    conv.bias = None
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels), nn.ReLU())


class _Sum(nn.Module):
    def __init__(self, branch: nn.Module) -> None:
        super().__init__()
        self.branch = branch

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.branch(x) + x)


def branch_as_sequence(channels: int) -> Any:
    """The branch as one nn.Sequential, the last gamma by fill_."""
    branch = nn.Sequential(
        appended(channels, channels),
        nn.Conv2d(channels, channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels),
    )
    branch[-1].weight.data.fill_(0.0)
    return _Sum(branch)


class _LastFirst(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.b = nn.BatchNorm2d(channels)
        self.d = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.a = nn.BatchNorm2d(channels)
        self.c = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        nn.init.constant_(self.b.weight, 0)

    def forward(self, x: Tensor) -> Tensor:
        residual = x
        x = self.c(x)
        x = self.a(x).clamp(min=0)
        x = self.b(self.d(x))
        x += residual
        return torch.clamp_min(x, 0)


def other_names_and_order(channels: int) -> Any:
    """Layers made in another order than they are used, sum in place."""
    return _LastFirst(channels)


def zero_by_assignment(channels: int) -> Any:
    """The gamma replaced by a new parameter, modules in a list."""

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            make = [lambda: nn.Conv2d(channels, channels, 3, 1, 1, bias=False)] * 2
            self.convs = nn.ModuleList(one() for one in make)
            self.norms = nn.ModuleList(nn.BatchNorm2d(channels) for _ in range(2))
            self.norms[1].weight = nn.Parameter(torch.zeros(channels))

        def forward(self, x: Tensor) -> Tensor:
            h = x
            for k, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
                h = norm(conv(h)) if k else norm(conv(h)).relu()
            return (x + h).relu()

    return Block()


class _PreActivation(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        steps = []
        for _ in range(2):
            conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
            steps += [nn.BatchNorm2d(channels), nn.ReLU(inplace=True), conv]
        self.branch = nn.Sequential(*steps)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x)


class _Cloned(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        identity = x.clone()
        x = self.conv1(F.relu(self.norm1(x)))
        x = self.conv2(F.relu(self.norm2(x)))
        return torch.add(identity, x)


class _Halves(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)])
        same = {"kernel_size": 3, "padding": "same", "bias": False}
        self.convs = nn.ModuleList([nn.Conv2d(channels, channels, **same) for _ in range(2)])

    def _half(self, h: Tensor, k: int) -> Tensor:
        return self.convs[k](self.norms[k](h).clamp(min=0.0))

    def forward(self, x: Tensor) -> Tensor:
        return self._half(self._half(x, 0), 1).add_(x)


def _named(cls: type, name: str, style: str) -> type:
    cls.__name__, cls.__doc__ = name, style
    return cls


_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def _flat(model: Any) -> Any:
    for child in model:
        yield from _flat(child) if isinstance(child, nn.Sequential) else (child,)


def flattened_by_hand(model: Any) -> None:
    """A recursive generator, pairs by pairwise, running_mean replaced."""
    for layer, norm in pairwise(_flat(model)):
        if isinstance(norm, _BATCH_NORMS) and getattr(layer, "bias", None) is not None:
            if norm.running_mean is not None:
                norm.running_mean = (norm.running_mean - layer.bias).detach()
            layer.register_parameter("bias", None)


def remembering_the_last(model: Any) -> Any:
    """A walk that remembers the layer before; the model is returned."""
    last = None

    def walk(module: Any) -> None:
        nonlocal last
        if isinstance(module, nn.Sequential):
            for child in module.children():
                walk(child)
            return
        if isinstance(module, _BATCH_NORMS) and isinstance(last, nn.Linear | nn.Conv2d):
            if last.bias is not None and module.track_running_stats:
                module.running_mean.data.sub_(last.bias.data)
            last.bias = None
        last = module

    walk(model)
    return model


@torch.no_grad()
def by_index(model: Any) -> list[int]:
    """By index from the end, numbers of the layers returned."""
    layers = [m for m in model.modules() if not list(m.children())]
    dropped = []
    for i in reversed(range(len(layers) - 1)):
        layer, norm = layers[i], layers[i + 1]
        if not hasattr(layer, "weight") or not hasattr(norm, "running_mean"):
            continue
        if layer.bias is None:
            continue
        if norm.running_mean is not None:
            norm.running_mean.copy_(norm.running_mean - layer.bias)
        layer.bias = None
        dropped.append(i)
    return dropped


STYLES = {
    "conv_norm_relu": [appended, named_layers, subclass, bias_taken_away],
    "residual_block": [branch_as_sequence, other_names_and_order, zero_by_assignment],
    "PreActivationBlock": [
        _named(_PreActivation, "PreActivationBlock", "The branch as one nn.Sequential."),
        _named(_Cloned, "PreActivationBlock", "x kept as a clone."),
        _named(_Halves, "PreActivationBlock", "One half as a method, sum in place."),
    ],
    "drop_redundant_biases": [flattened_by_hand, remembering_the_last, by_index],
}

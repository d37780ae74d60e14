"""Five known architectures, rebuilt on torch's meta device: shapes and names, no numbers.

Each is the published layout at full size, and its number of parameters is that of the original, so
that what is counted in it can be trusted. Nothing is allocated: a net of seven billion parameters
takes no memory here.

Sources: He et al. 2016 (ResNet-50, with the stride at the 3x3 convolution as in torchvision);
Liu et al. 2022 (ConvNeXt-T, as in torchvision); Dosovitskiy et al. 2021 (ViT-B/16, as in
torchvision); Radford et al. 2019 (GPT-2, smallest); Touvron et al. 2023 (LLaMA 7B).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn


class Bottleneck(nn.Module):
    """ResNet's block: 1x1, 3x3 and 1x1 convolution, each with batch norm, around a skip."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.skip = nn.Sequential()
        if inputs != 4 * width:
            conv = nn.Conv2d(inputs, 4 * width, 1, stride, bias=False)
            self.skip = nn.Sequential(conv, nn.BatchNorm2d(4 * width))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn1(self.conv1(x)).relu()
        y = self.bn2(self.conv2(y)).relu()
        y = self.bn3(self.conv3(y)) + self.skip(x)
        return torch.relu(y)


def resnet50() -> nn.Sequential:
    """Return ResNet-50 for images (N, 3, 224, 224)."""
    stem = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    layers: list[nn.Module] = [*stem, nn.MaxPool2d(3, 2, 1)]
    inputs = 64
    for stage, (width, count) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3))):
        for k in range(count):
            layers.append(Bottleneck(inputs, width, 2 if stage and not k else 1))
            inputs = 4 * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 1000))


class LastAxis(nn.LayerNorm):
    """LayerNorm over the channels of (N, C, H, W), at each pixel."""

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = super().forward(x.movedim(1, -1)).movedim(-1, 1)
        return y


class ConvNextBlock(nn.Module):
    """A 7x7 convolution per channel, one LayerNorm, two linear layers, around a skip."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.scale = nn.Parameter(torch.empty(width, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.conv(x).movedim(1, -1))
        branch: Tensor = self.narrow(nn.functional.gelu(self.wide(y))).movedim(-1, 1)
        return x + self.scale * branch


def convnext_tiny() -> nn.Sequential:
    """Return ConvNeXt-T for images (N, 3, 224, 224)."""
    layers: list[nn.Module] = [nn.Conv2d(3, 96, 4, 4), LastAxis(96, eps=1e-6)]
    widths, counts = (96, 192, 384, 768), (3, 3, 9, 3)
    for stage, (width, count) in enumerate(zip(widths, counts, strict=True)):
        if stage:
            before = widths[stage - 1]
            layers += [LastAxis(before, eps=1e-6), nn.Conv2d(before, width, 2, 2)]
        layers += [ConvNextBlock(width) for _ in range(count)]
    layers += [nn.AdaptiveAvgPool2d(1), LastAxis(768, eps=1e-6), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(768, 1000))


class Block(nn.Module):
    """A Transformer block with the norm inside each branch: attention, then two linear layers."""

    def __init__(self, width: int, heads: int, *, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.norm1 = nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.out(attend(self.qkv(self.norm1(x)).chunk(3, -1), self.heads, self.causal))
        y: Tensor = self.narrow(nn.functional.gelu(self.wide(self.norm2(x))))
        return x + y


def attend(parts: tuple[Tensor, ...], heads: int, causal: bool) -> Tensor:
    """Return attention of queries, keys and values (N, T, D)."""
    q, k, v = (p.reshape(*p.shape[:2], heads, -1).transpose(1, 2) for p in parts)
    y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal)
    return y.transpose(1, 2).flatten(2)


class VitB16(nn.Module):
    """ViT-B/16 for images (N, 3, 224, 224): 196 patches and a class token."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 768, 16, 16)
        self.token = nn.Parameter(torch.empty(1, 1, 768))
        self.places = nn.Parameter(torch.empty(1, 197, 768))
        self.blocks = nn.Sequential(*[Block(768, 12, causal=False) for _ in range(12)])
        self.norm = nn.LayerNorm(768)
        self.head = nn.Linear(768, 1000)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(x), -1, -1), tokens], 1) + self.places
        scores: Tensor = self.head(self.norm(self.blocks(tokens))[:, 0])
        return scores


class Gpt2(nn.Module):
    """The smallest GPT-2, for tokens (N, T); its scores share the table of the tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(50257, 768), nn.Embedding(1024, 768)
        self.blocks = nn.Sequential(*[Block(768, 12, causal=True) for _ in range(12)])
        self.norm = nn.LayerNorm(768)

    def forward(self, x: Tensor) -> Tensor:
        h = self.tokens(x) + self.places.weight[: x.shape[1]]
        scores: Tensor = self.norm(self.blocks(h)) @ self.tokens.weight.mT
        return scores


class LlamaBlock(nn.Module):
    """LLaMA's block: RMSNorm inside each branch, no biases, a gated pair of linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1 = nn.RMSNorm(4096, eps=1e-6)
        self.qkv = nn.ModuleList([nn.Linear(4096, 4096, bias=False) for _ in range(3)])
        self.out = nn.Linear(4096, 4096, bias=False)
        self.norm2 = nn.RMSNorm(4096, eps=1e-6)
        self.gate = nn.Linear(4096, 11008, bias=False)
        self.wide = nn.Linear(4096, 11008, bias=False)
        self.narrow = nn.Linear(11008, 4096, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm1(x)  # rotary positions change no shape and have no parameters
        x = x + self.out(attend(tuple(part(h) for part in self.qkv), 32, True))
        h = self.norm2(x)
        y: Tensor = self.narrow(nn.functional.silu(self.gate(h)) * self.wide(h))
        return x + y


class Llama7B(nn.Module):
    """LLaMA with 32 blocks of width 4096, for tokens (N, T)."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(32000, 4096)
        self.blocks = nn.Sequential(*[LlamaBlock() for _ in range(32)])
        self.norm = nn.RMSNorm(4096, eps=1e-6)
        self.scores = nn.Linear(4096, 32000, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.scores(self.norm(self.blocks(self.tokens(x))))
        return scores


@dataclass(frozen=True)
class Architecture:
    """How to build one, an input's shape, and what its publishers say of its size.

    Attributes:
        make: returns the net.
        shape: of an input; a pair stands for tokens.
        published: number of parameters, as far as digits are published.
        source: key of the bibliography for that number.
    """

    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    published: str
    source: str


ARCHITECTURES: dict[str, Architecture] = {
    "ResNet-50": Architecture(resnet50, (1, 3, 224, 224), "25557032", "torchvision_resnet"),
    "ConvNeXt-T": Architecture(convnext_tiny, (1, 3, 224, 224), "28589128", "torchvision_convnext"),
    "ViT-B/16": Architecture(VitB16, (1, 3, 224, 224), "86567656", "torchvision_vit"),
    "GPT-2": Architecture(Gpt2, (1, 1024), "124M", "gpt2_card"),
    "LLaMA 7B": Architecture(Llama7B, (1, 2048), "7B", "touvron2023llama"),
}

NORMS = (nn.BatchNorm2d, nn.LayerNorm, nn.RMSNorm)


@dataclass(frozen=True)
class Audit:
    """What the norms of a net are and what passes through them.

    Attributes:
        name: of the architecture.
        parameters: in all.
        norms: kind to how many.
        norm_parameters: trained numbers in norms.
        values: numbers that the norms put out for one input.
        per_mean: the least number of values that one mean pools, for one input.
    """

    name: str
    parameters: int
    norms: dict[str, int]
    norm_parameters: int
    values: int
    per_mean: int


def build(name: str) -> nn.Module:
    """Return an architecture on the meta device, in inference mode.

    Example:
        >>> sum(p.numel() for p in build("ResNet-50").parameters())
        25557032
    """
    with torch.device("meta"):
        return ARCHITECTURES[name].make().eval()


def audit(name: str) -> Audit:
    """Count the norms of an architecture and what passes through them for one input.

    Example:
        >>> audit("ResNet-50").norms
        {'BatchNorm2d': 53}
    """
    net = build(name)
    found: dict[str, int] = {}
    values: list[int] = []
    per_mean: list[int] = []

    def seen(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        values.append(output.numel())
        if isinstance(module, nn.LayerNorm | nn.RMSNorm):
            per_mean.append(math.prod(module.normalized_shape))
        else:  # batch norm: the positions of a channel
            per_mean.append(output[0, 0].numel())

    norms = [module for module in net.modules() if isinstance(module, NORMS)]
    for module in norms:
        kind = "LayerNorm" if isinstance(module, nn.LayerNorm) else type(module).__name__
        found[kind] = found.get(kind, 0) + 1
        module.register_forward_hook(seen)
    shape = ARCHITECTURES[name].shape
    kinds = torch.long if len(shape) == 2 else torch.float32
    net(torch.empty(shape, dtype=kinds, device="meta"))
    return Audit(
        name,
        sum(p.numel() for p in net.parameters()),
        found,
        sum(p.numel() for module in norms for p in module.parameters()),
        sum(values),
        min(per_mean),
    )

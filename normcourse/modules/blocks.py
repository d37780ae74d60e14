"""Where the norm stands in a convolutional net: conv-norm-ReLU and two residual blocks."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from normcourse.modules._validate import check_size
from normcourse.modules.batch_norm import BatchNorm

MakeNorm = Callable[[int], nn.Module]
"""From a number of channels to a norm: BatchNorm, or lambda c: GroupNorm(8, c)."""


class ConvNormReLU(nn.Sequential):
    """Convolution, norm, ReLU, in this order and without a bias before the norm.

    Formula:
        y = relu(norm(conv(x)))

    The norm's mean would cancel a bias of the convolution; ``norm.bias`` takes its place.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: odd, so that padding can keep the size of the map.
        stride: step of the convolution.
        dilation: spacing of the kernel.
        groups: blocks of connections of the convolution.
        norm: from a number of channels to a norm layer.

    Shape:
        (N, in_channels, H, W) in, (N, out_channels, ceil(H / stride), ceil(W / stride)) out.

    Raises:
        ValueError: an even kernel_size.

    Differs from torch in:
        torch.nn has no such block; torchvision's Conv2dNormActivation is the same in spirit.

    Source:
        Ioffe & Szegedy 2015, section 3.2.

    Example:
        >>> import torch
        >>> block = ConvNormReLU(3, 8)
        >>> [type(layer).__name__ for layer in block], block[0].bias
        (['Conv2d', 'BatchNorm', 'ReLU'], None)
        >>> block(torch.zeros(2, 3, 5, 7)).shape
        torch.Size([2, 8, 5, 7])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        *,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        norm: MakeNorm = BatchNorm,
    ) -> None:
        if check_size(kernel_size, "kernel_size") % 2 == 0:
            raise ValueError(
                f"kernel_size: expected an odd number, got {kernel_size}. With an even kernel no "
                f"equal padding on both sides keeps the size of the map."
            )
        conv = nn.Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=dilation * (kernel_size // 2),
            dilation=dilation,
            groups=groups,
            bias=False,
        )
        super().__init__(conv, norm(out_channels), nn.ReLU())


class PostActivationBlock(nn.Module):
    """Residual block of the first ResNet: ReLU after the addition.

    Formula:
        y = relu(skip(x) + norm2(conv2(relu(norm1(conv1(x))))))

    skip is the identity, or a 1x1 convolution with a norm where channels or stride change.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output; None keeps those of the input.
        stride: step of the first convolution.
        norm: from a number of channels to a norm layer.
        zero_init: start with ``norm2.weight = 0``, so that the block begins as relu(skip(x)).

    Shape:
        (N, in_channels, H, W) in, (N, out_channels, ceil(H / stride), ceil(W / stride)) out.

    Raises:
        ValueError: ``zero_init`` with a norm that has no ``weight``.

    Differs from torch in:
        torch.nn has no such block; torchvision's BasicBlock starts without ``zero_init``.

    Source:
        He et al., "Deep Residual Learning for Image Recognition", 2015; zero-initialised last
        gamma: Goyal et al., "Accurate, Large Minibatch SGD", 2017, section 5.1.

    Example:
        >>> import torch
        >>> x = torch.randn(2, 3, 5, 7)
        >>> bool((PostActivationBlock(3)(x) == x.relu()).all())
        True
        >>> PostActivationBlock(3, 6, stride=2)(x).shape
        torch.Size([2, 6, 3, 4])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int | None = None,
        *,
        stride: int = 1,
        norm: MakeNorm = BatchNorm,
        zero_init: bool = True,
    ) -> None:
        super().__init__()
        out_channels = out_channels or in_channels
        self.conv1, self.norm1 = _conv3x3(in_channels, out_channels, stride), norm(out_channels)
        self.conv2, self.norm2 = _conv3x3(out_channels, out_channels), norm(out_channels)
        self.relu = nn.ReLU()
        self.skip: nn.Module = nn.Identity()
        if stride != 1 or out_channels != in_channels:
            self.skip = nn.Sequential(
                _conv1x1(in_channels, out_channels, stride), norm(out_channels)
            )
        if zero_init:
            nn.init.zeros_(_gamma(self.norm2))

    def forward(self, x: Tensor) -> Tensor:
        """Return relu(skip(x) + branch(x))."""
        hidden = self.relu(self.norm1(self.conv1(x)))
        y: Tensor = self.relu(self.skip(x) + self.norm2(self.conv2(hidden)))
        return y


class PreActivationBlock(nn.Module):
    """Residual block with norm and ReLU before each convolution: nothing after the addition.

    Formula:
        y = skip(x) + conv2(relu(norm2(conv1(relu(norm1(x))))))

    skip is the identity, or a 1x1 convolution of relu(norm1(x)) where channels or stride change.

    The block starts as an identity by ``conv2.weight = 0``, not by ``norm2.weight = 0``: a ReLU
    follows norm2, and its derivative at 0 is 0, so with gamma = beta = 0 the branch would get no
    gradient at all, ever. A zero conv2 gets one in the first step.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output; None keeps those of the input.
        stride: step of the first convolution.
        norm: from a number of channels to a norm layer.
        zero_init: start with ``conv2.weight = 0``, so that the block begins as skip(x).

    Shape:
        (N, in_channels, H, W) in, (N, out_channels, ceil(H / stride), ceil(W / stride)) out.

    Differs from torch in:
        torch.nn has no such block.

    Source:
        He et al., "Identity Mappings in Deep Residual Networks", 2016.

    Example:
        >>> import torch
        >>> x = torch.randn(2, 3, 5, 7)
        >>> bool((PreActivationBlock(3)(x) == x).all())
        True
        >>> PreActivationBlock(3, 6, stride=2)(x).shape
        torch.Size([2, 6, 3, 4])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int | None = None,
        *,
        stride: int = 1,
        norm: MakeNorm = BatchNorm,
        zero_init: bool = True,
    ) -> None:
        super().__init__()
        out_channels = out_channels or in_channels
        self.norm1, self.conv1 = norm(in_channels), _conv3x3(in_channels, out_channels, stride)
        self.norm2, self.conv2 = norm(out_channels), _conv3x3(out_channels, out_channels)
        self.relu = nn.ReLU()
        self.skip: nn.Module | None = None
        if stride != 1 or out_channels != in_channels:
            self.skip = _conv1x1(in_channels, out_channels, stride)
        if zero_init:
            nn.init.zeros_(self.conv2.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Return skip(x) + branch(x)."""
        activated = self.relu(self.norm1(x))
        skip = x if self.skip is None else self.skip(activated)
        y: Tensor = skip + self.conv2(self.relu(self.norm2(self.conv1(activated))))
        return y


def _conv3x3(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    """Return a 3x3 convolution that keeps the size of the map at stride 1, without a bias."""
    return nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)


def _conv1x1(in_channels: int, out_channels: int, stride: int) -> nn.Conv2d:
    """Return the projection of a skip, without a bias."""
    return nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False)


def _gamma(norm: nn.Module) -> Tensor:
    """Return the norm's scale, or say that there is none to set to 0."""
    weight = getattr(norm, "weight", None)
    if not isinstance(weight, Tensor):
        raise ValueError(
            f"norm: expected a layer with a weight that can start at 0, got {norm}. "
            f"Use an affine norm or zero_init=False."
        )
    return weight

"""Find and drop the biases that a following norm cancels."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from normcourse.surgery._flow import Feed, feeds
from normcourse.surgery._kinds import INSTANCE_NORMS, out_features


def find_redundant_biases(model: nn.Module) -> list[str]:
    """Return the names of the layers whose bias a following norm cancels.

    Formula:
        norm(W x + b) = norm(W x), for the mean that norm subtracts contains b

    A bias of a linear layer or convolution is redundant if everything that uses the layer's
    output is a batch normalization, or after a convolution an instance normalization, of the same
    width. torch.fx follows the data, so that nested ``nn.Sequential`` and ordinary forward methods
    are both seen through, and nn.Identity in between. ReLU, dropout, a second use of the output,
    a norm shared with another layer: the bias is kept.

    Args:
        model: any module that torch.fx can trace, followed in the mode it is in. A linear layer
            before a batch normalization is taken to give shape (N, D).

    Returns:
        Names as in ``model.named_modules()``, in the order of the forward pass.

    Raises:
        ValueError: torch.fx cannot follow the forward method.

    Source:
        Ioffe & Szegedy 2015, section 3.2.

    Example:
        >>> from torch import nn
        >>> find_redundant_biases(
        ...     nn.Sequential(
        ...         nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(),
        ...         nn.Conv2d(4, 4, 3), nn.ReLU(), nn.BatchNorm2d(4),
        ...     )
        ... )
        ['0']
    """
    return [feed.name for feed in feeds(model) if _is_redundant(feed)]


@torch.no_grad()
def drop_redundant_biases(model: nn.Module) -> list[str]:
    """Remove, in place, the biases that a following norm cancels; outputs stay as they are.

    Formula:
        b = None,  running_mean = running_mean - b

    The running mean has learned the bias too. Without its correction the model would change in
    inference mode. Parameters go, so make the optimizer afterwards.

    Args:
        model: any module that torch.fx can trace, see :func:`find_redundant_biases`.

    Returns:
        The names of the layers that lost their bias.

    Raises:
        ValueError: torch.fx cannot follow the forward method.

    Source:
        Ioffe & Szegedy 2015, section 3.2.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)).eval()
        >>> x = torch.tensor([[1.0, 2.0]])
        >>> before = net(x)
        >>> drop_redundant_biases(net), net[0].bias
        (['0'], None)
        >>> torch.testing.assert_close(net(x), before)
    """
    redundant = [feed for feed in feeds(model) if _is_redundant(feed)]
    for feed in redundant:
        for norm in feed.norms:
            running_mean = getattr(norm, "running_mean", None)
            if isinstance(running_mean, Tensor):
                assert feed.layer.bias is not None
                running_mean -= feed.layer.bias.to(running_mean.dtype)
        feed.layer.bias = None
    return [feed.name for feed in redundant]


def _is_redundant(feed: Feed) -> bool:
    """Whether each norm subtracts a mean that contains the whole bias of the layer."""
    layer = feed.layer
    if layer.bias is None or parametrize.is_parametrized(layer, "bias"):
        return False
    if isinstance(layer, nn.Linear):  # its features are channels in (N, D) only
        not_there = (*INSTANCE_NORMS, nn.BatchNorm2d, nn.BatchNorm3d)
        if any(isinstance(norm, not_there) for norm in feed.norms):
            return False
    return all(getattr(norm, "num_features", None) == out_features(layer) for norm in feed.norms)

"""Small nets with BatchNorm, trained on the digits: where experiments on inference start from."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from normcourse.experiments.data import Digits, load_digits
from normcourse.experiments.models import conv_net, mlp
from normcourse.experiments.train import train
from normcourse.modules import BatchNorm

BATCH, RATE = 64, 0.2

# The words that settings and rows use for a net, and for a change of the images.
NETS: dict[str, Callable[[torch.Generator], nn.Sequential]] = {
    "mlp": lambda generator: mlp(generator, 64, 10, depth=3, width=64, norm="batch"),
    "conv": lambda generator: conv_net(generator, 10, norm="batch"),
}
SHIFTS: dict[str, Callable[[Tensor], Tensor]] = {
    "same": lambda x: x,
    "dim": lambda x: 0.4 * x,
    "pale": lambda x: 0.5 * x + 0.3,
    "inverse": lambda x: 1 - x,
}


class Trained(NamedTuple):
    """A net, the digits that it was trained on and held from, and the generator to go on with."""

    net: nn.Sequential
    digits: Digits
    generator: torch.Generator


def trained_net(seed: int, net: str, steps: int) -> Trained:
    """Return a net of ``NETS`` after some steps of SGD on the digits, in training mode.

    Args:
        seed: decides the split, the weights and the batches.
        net: word of ``NETS``.
        steps: batches of 64 at a learning rate of 0.2.

    Example:
        >>> made = trained_net(0, "mlp", 2)
        >>> int(made.net.norm1.num_batches_tracked)
        2
    """
    generator = torch.Generator().manual_seed(seed)
    digits = load_digits(generator)
    made = NETS[net](generator)
    train(
        made,
        digits.train_x,
        digits.train_t,
        steps=steps,
        generator=generator,
        batch_size=BATCH,
        lr=RATE,
    )
    return Trained(made, digits, generator)


def batch_norms(net: nn.Module) -> list[BatchNorm]:
    """Return the batch normalizations of a net, in order."""
    return [module for module in net.modules() if isinstance(module, BatchNorm)]


@torch.no_grad()
def share_right(net: nn.Module, x: Tensor, t: Tensor, batches: Iterable[Tensor]) -> float:
    """Return the fraction of right answers over batches of indices, in the mode the net is in."""
    right = [(net(x[batch]).argmax(dim=1) == t[batch]).float() for batch in batches]
    share: float = torch.cat(right).mean().item()
    return share

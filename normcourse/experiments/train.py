"""Plain training and testing of a classifier."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def train(
    net: nn.Module,
    x: Tensor,
    t: Tensor,
    *,
    steps: int,
    generator: torch.Generator,
    batch_size: int = 64,
    lr: float = 0.1,
) -> list[float]:
    """Train ``net`` in place by plain SGD and return the loss of every step.

    Args:
        net: maps (N, *) to scores of shape (N, classes).
        x: training inputs of shape (M, *).
        t: labels of shape (M,).
        steps: number of steps.
        generator: draws each batch, without repetition inside a batch.
        batch_size: inputs per step.
        lr: learning rate.

    Returns:
        The cross-entropy of each batch before its step.
    """
    optimizer = torch.optim.SGD(net.parameters(), lr=lr)
    net.train()
    losses = []
    for _ in range(steps):
        batch = torch.randperm(len(x), generator=generator)[:batch_size]
        loss = nn.functional.cross_entropy(net(x[batch]), t[batch])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    return losses


@torch.no_grad()
def accuracy(net: nn.Module, x: Tensor, t: Tensor) -> float:
    """Return the fraction of right answers, in inference mode; the mode is put back after."""
    was_training = net.training
    net.eval()
    right: float = (net(x).argmax(dim=1) == t).float().mean().item()
    net.train(was_training)
    return right

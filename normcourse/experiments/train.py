"""Plain training and testing of a classifier."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

Watch = Callable[[int, float], None]
Draw = Callable[[int], Tensor]


def train(
    net: nn.Module,
    x: Tensor,
    t: Tensor,
    *,
    steps: int,
    generator: torch.Generator,
    batch_size: int = 64,
    lr: float = 0.1,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    draw: Draw | None = None,
    watch: Watch | None = None,
    stop_at: float = math.inf,
) -> list[float]:
    """Train ``net`` in place by SGD and return the loss of every step.

    Args:
        net: maps (N, *) to scores of shape (N, classes).
        x: training inputs of shape (M, *).
        t: labels of shape (M,).
        steps: number of steps.
        generator: draws each batch, without repetition inside a batch.
        batch_size: inputs per step.
        lr: learning rate.
        momentum: of SGD; 0 is plain SGD.
        weight_decay: of SGD: this times the weight is added to each gradient.
        draw: the indices of the batch of a step, shape (N,), in place of random ones.
        watch: called with (step, loss) after the gradients are there and before the step is made.
        stop_at: ends the training at the first loss above it; one that is no number always ends it.

    Returns:
        The cross-entropy of each batch before its step; shorter than ``steps`` when stopped.
    """
    optimizer = torch.optim.SGD(
        net.parameters(), lr=lr, momentum=momentum, weight_decay=weight_decay
    )
    net.train()
    losses: list[float] = []
    for step in range(steps):
        if draw is None:
            batch = torch.randperm(len(x), generator=generator)[:batch_size]
        else:
            batch = draw(step)
        loss = nn.functional.cross_entropy(net(x[batch]), t[batch])
        losses.append(loss.item())
        if not losses[-1] <= stop_at or not math.isfinite(losses[-1]):
            break
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if watch is not None:
            watch(step, losses[-1])
        optimizer.step()
    return losses


@torch.no_grad()
def mean_loss(net: nn.Module, x: Tensor, t: Tensor, *, training: bool = False) -> float:
    """Return the mean cross-entropy over one batch; mode and running statistics are put back.

    With ``training=True`` the batch is normalized by its own statistics.
    """
    was_training = net.training
    kept = {name: buffer.clone() for name, buffer in net.named_buffers()}
    net.train(training)
    loss: float = nn.functional.cross_entropy(net(x), t).item()
    net.train(was_training)
    for name, buffer in net.named_buffers():
        buffer.copy_(kept[name])
    return loss


@torch.no_grad()
def accuracy(net: nn.Module, x: Tensor, t: Tensor) -> float:
    """Return the fraction of right answers, in inference mode; the mode is put back after."""
    was_training = net.training
    net.eval()
    right: float = (net(x).argmax(dim=1) == t).float().mean().item()
    net.train(was_training)
    return right

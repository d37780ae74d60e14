"""Recalibrate the running statistics of a model, or freeze them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from normcourse.modules import FrozenBatchNorm, MaskedBatchNorm
from normcourse.modules._statistics import (
    centered_moments,
    merge_moments,
    unbiased,
    working_dtype,
)
from normcourse.surgery._kinds import AnyBatchNorm, is_batch_norm
from normcourse.surgery._swap import swap


@torch.no_grad()
def recalibrate(model: nn.Module, batches: Iterable[Any]) -> nn.Module:
    """Set the running statistics to the pooled moments of these batches, in place.

    Formula:
        running_mean = mean of all values,  running_var = their n - 1 variance

    pooled over all batches, of what each batch normalization is given while all of them normalize
    with batch statistics and everything else is in inference mode. Larger batches weigh more, and
    the spread between batch means counts, which an average of batch variances leaves out.

    Args:
        model: any model with batch normalizations that track running statistics; frozen ones are
            left alone.
        batches: inputs, each given as ``model(batch)``. From a loader of pairs:
            ``(x for x, _ in loader)``.

    Returns:
        The model, in the modes it was in. ``num_batches_tracked`` is the number of batches.

    Raises:
        ValueError: no batch, or no batch normalization that tracks running statistics.

    Source:
        Ioffe & Szegedy 2015, Algorithm 2; Wu & Johnson, "Rethinking 'Batch' in BatchNorm", 2021.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> norm = nn.BatchNorm1d(1)
        >>> batches = [torch.tensor([[2.0], [4.0], [6.0]]), torch.tensor([[7.0], [9.0]])]
        >>> recalibrate(norm, batches).running_mean, norm.running_var
        (tensor([5.6000]), tensor([7.3000]))
    """
    norms = [module for module in model.modules() if _tracks(module)]
    if not norms:
        raise ValueError(
            "model: expected a batch normalization with running statistics, got none. "
            "Layers with track_running_stats=False have nothing to calibrate."
        )
    seen: dict[nn.Module, list[tuple[Tensor, Tensor, int]]] = {norm: [] for norm in norms}
    with _collecting(model, seen):
        count = sum(1 for batch in batches if model(batch) is not None)
    if count == 0:
        raise ValueError("batches: expected at least one batch, got none. Is the loader used up?")
    for norm, moments in seen.items():
        if moments:
            _set_running_stats(norm, moments)
    return model


def freeze_batch_norm(model: nn.Module, *, affine: bool = True) -> nn.Module:
    """Put a FrozenBatchNorm in the place of every batch normalization over (N, C, *).

    MaskedBatchNorm and DecorrelatedBatchNorm, which take or do something else, are left alone.

    Formula:
        y = weight * (x - running_mean) / sqrt(running_var + eps) + bias    in both modes

    Args:
        model: changed in place. Parameters stay the same objects, so an optimizer keeps its hold.
        affine: freeze weight and bias too; False leaves them as trainable as they were.

    Returns:
        The model; the new layer if the model is itself a batch normalization.

    Raises:
        ValueError: a batch normalization that tracks no running statistics.

    Source:
        He et al. 2015 (detection fine-tuning with fixed batch normalization).

    Example:
        >>> from torch import nn
        >>> net = freeze_batch_norm(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))).train()
        >>> net[1].training, net[1].weight.requires_grad
        (False, False)
    """
    norms = [module for module in model.modules() if is_batch_norm(module)]
    return swap(model, {norm: _frozen(norm, affine=affine) for norm in norms})


def _frozen(norm: AnyBatchNorm, *, affine: bool) -> FrozenBatchNorm:
    """Return a FrozenBatchNorm with the parameters and buffers of ``norm`` themselves."""
    if norm.running_mean is None:
        raise ValueError(
            "model: expected batch normalizations with running statistics, got one with "
            "track_running_stats=False. There is nothing that it could be frozen to."
        )
    frozen = FrozenBatchNorm(norm.num_features, norm.eps, affine=norm.weight is not None)
    frozen.weight, frozen.bias = norm.weight, norm.bias
    frozen.running_mean, frozen.running_var = norm.running_mean, norm.running_var
    frozen.num_batches_tracked = norm.num_batches_tracked
    return frozen.requires_grad_(False) if affine else frozen


def _tracks(module: nn.Module) -> bool:
    """Whether ``module`` has running statistics that training would move."""
    if isinstance(module, FrozenBatchNorm):
        return False
    known = is_batch_norm(module) or isinstance(module, MaskedBatchNorm)
    return known and module.running_mean is not None


@contextmanager
def _collecting(
    model: nn.Module, seen: dict[nn.Module, list[tuple[Tensor, Tensor, int]]]
) -> Iterator[None]:
    """While open, normalize with batch statistics and note the moments of each norm's input."""
    modes = {module: module.training for module in model.modules()}
    momenta = {norm: norm.momentum for norm in seen}

    def note(norm: nn.Module, inputs: tuple[Any, ...]) -> None:
        seen[norm].append(_channel_moments(*inputs))

    hooks = [norm.register_forward_pre_hook(note) for norm in seen]
    try:
        model.eval()
        for norm in seen:
            norm.training = True  # batch statistics
            norm.momentum = 0.0  # type: ignore[assignment]  # running ones at rest
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in modes.items():
            module.training = mode
        for norm, momentum in momenta.items():
            norm.momentum = momentum


def _channel_moments(x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor, int]:
    """Return mean (C,), biased variance (C,) and count of x: (N, C, *), or (*, C) with a mask."""
    values = x if mask is None else x[mask]
    dim = (0, *range(2, values.ndim))
    _, mean, var = centered_moments(values.to(working_dtype(values)), dim)
    return mean.flatten(), var.flatten(), values.numel() // max(values.shape[1], 1)


def _set_running_stats(norm: nn.Module, moments: list[tuple[Tensor, Tensor, int]]) -> None:
    """Give ``norm`` the moments of the union of its batches."""
    means, variances, counts = zip(*moments, strict=True)
    total = torch.tensor(counts, device=means[0].device)
    mean, var = merge_moments(total, torch.stack(means), torch.stack(variances))
    for buffer, value in (
        (norm.running_mean, mean),
        (norm.running_var, unbiased(var, sum(counts))),
        (norm.num_batches_tracked, torch.tensor(len(counts))),
    ):
        if isinstance(buffer, Tensor):
            buffer.copy_(value)

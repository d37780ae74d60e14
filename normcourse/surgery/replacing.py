"""Replace one norm by another in a model."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from normcourse.surgery._swap import swap


def replace_norm(
    model: nn.Module,
    old: type[nn.Module] | tuple[type[nn.Module], ...],
    make: Callable[..., nn.Module],
    *,
    keep_affine: bool = True,
) -> nn.Module:
    """Put ``make(module)`` in the place of every module of type ``old``.

    The new layer gets the device, dtype and mode of the old one and, where both have them in the
    same shape, copies of its parameters and buffers (weight, bias, running statistics).

    Args:
        model: changed in place.
        old: type, or tuple of types, of the modules to replace; subclasses count.
        make: from the old module to its replacement.
        keep_affine: False starts the new layers from their own initial values.

    Returns:
        The model; the new layer if the model is itself of type ``old``.

    Raises:
        TypeError: ``make`` returns something else than a module.
        ValueError: the model has no module of type ``old``.

    Differs from torch in:
        torch.nn.SyncBatchNorm.convert_sync_batchnorm is this for one pair of types.

    Source:
        torch.nn.SyncBatchNorm.convert_sync_batchnorm.

    Example:
        >>> from torch import nn
        >>> from normcourse.modules import GroupNorm
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        >>> replace_norm(net, nn.BatchNorm2d, lambda norm: GroupNorm(2, norm.num_features))[1]
        GroupNorm(2, 4, eps=1e-05, affine=True)
    """
    found = [module for module in model.modules() if isinstance(module, old)]
    if not found:
        kinds = old if isinstance(old, tuple) else (old,)
        raise ValueError(
            f"old: expected a type of module that the model has, got "
            f"{', '.join(kind.__name__ for kind in kinds)}; it has "
            f"{', '.join(sorted({type(module).__name__ for module in model.modules()}))}."
        )
    return swap(model, {module: _successor(module, make, keep_affine) for module in found})


@torch.no_grad()
def _successor(module: nn.Module, make: Callable[..., nn.Module], keep_affine: bool) -> nn.Module:
    """Return the replacement of one module, with what it inherits."""
    new = make(module)
    if not isinstance(new, nn.Module):
        raise TypeError(f"make: expected a function to a module, got {type(new).__name__} from it.")
    theirs = _tensors(module)
    for like in theirs.values():
        if like.is_floating_point():
            new = new.to(device=like.device, dtype=like.dtype)
            break
    if keep_affine:
        for name, tensor in _tensors(new).items():
            if name in theirs and theirs[name].shape == tensor.shape:
                tensor.copy_(theirs[name])
    return new.train(module.training)


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    """Return the module's own parameters and buffers by name."""
    own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
    return dict(own)

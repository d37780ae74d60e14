"""Exchange modules of a model, wherever they are registered."""

from __future__ import annotations

from torch import nn


def swap(model: nn.Module, exchange: dict[nn.Module, nn.Module]) -> nn.Module:
    """Put new modules in the place of old ones, under every name; return the model.

    A model that is itself to be exchanged is returned as the new module.
    """
    for parent in list(model.modules()):
        for name, child in list(parent._modules.items()):  # named_children() hides second names
            if child in exchange:
                setattr(parent, name, exchange[child])
    return exchange.get(model, model)

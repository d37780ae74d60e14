"""What the layers of a net give for a batch."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Activations = dict[str, NDArray[Any]]


@torch.no_grad()
def record(net: nn.Module, x: Tensor, names: tuple[str, ...]) -> Activations:
    """Return the outputs of the named layers for one batch, as NumPy arrays.

    Args:
        net: the net; its mode is left as it is.
        x: the batch.
        names: names of layers, as in ``net.named_modules()``.

    Returns:
        Name of layer to array, in the order of ``names``.

    Raises:
        KeyError: the net has no layer of such a name.

    Example:
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
        >>> record(net, torch.zeros(2, 2, 2), ("1",))["1"].shape
        (2, 3)
    """
    layers = dict(net.named_modules())
    missing = [name for name in names if name not in layers]
    if missing:
        known = ", ".join(name for name in layers if name)
        raise KeyError(f"no layer named {missing[0]!r}; this net has {known}.")
    seen: dict[str, NDArray[Any]] = {}

    def keep(name: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            seen[name] = output.cpu().numpy().copy()

        return hook

    handles = [layers[name].register_forward_hook(keep(name)) for name in names]
    try:
        net(x)
    finally:
        for handle in handles:
            handle.remove()
    return {name: seen[name] for name in names}

"""The arithmetic of folding: change a layer's weight and bias, grouped and transposed or not."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from normcourse.modules import WSConv2d
from normcourse.modules._statistics import working_dtype
from normcourse.surgery._kinds import TRANSPOSED, Layer

L = TypeVar("L", bound=nn.Module)


def fold_after(layer: Layer, scale: Tensor, shift: Tensor) -> None:
    """Change ``layer`` in place into x -> scale * layer(x) + shift."""
    bias = torch.zeros_like(shift) if layer.bias is None else layer.bias.to(scale.dtype)
    weight = _by_group(layer)
    _set(layer, weight * _along(scale, layer, "output"), scale * bias + shift)


def fold_before(layer: Layer, scale: Tensor, shift: Tensor) -> None:
    """Change ``layer`` in place into x -> layer(scale * x + shift)."""
    if bool((shift != 0).any()) and not _sees_no_zero_padding(layer):
        raise ValueError(
            f"layer: expected no zero padding after a norm with a shift, got {layer}. The padding "
            f"is 0 behind the norm, so border outputs need another bias: fold this norm into the "
            f"layer before it, use padding=0 or padding_mode='circular', 'reflect' or "
            f"'replicate', or keep the norm."
        )
    weight = _by_group(layer)
    added = weight * _along(shift, layer, "input")
    pooled = [d for d in range(1, weight.ndim) if d != _axis(layer, "output")]
    bias = added.sum(pooled).flatten()  # (O,)
    if layer.bias is not None:
        bias = bias + layer.bias
    _set(layer, weight * _along(scale, layer, "input"), bias)


FOLDS: dict[str, Callable[[Layer, Tensor, Tensor], None]] = {
    "after": fold_after,
    "before": fold_before,
}


def _by_group(layer: Layer) -> Tensor:
    """Return the weight with a group axis first: (G, O/G, I/G, *), transposed (G, I/G, O/G, *)."""
    weight = layer.weight.to(working_dtype(layer.weight))
    groups = 1 if isinstance(layer, nn.Linear) else layer.groups
    return weight.unflatten(0, (groups, -1))  # type: ignore[no-untyped-call, no-any-return]


def _axis(layer: Layer, side: str) -> int:
    """Return the axis of the grouped weight that holds the outputs or the inputs."""
    return 1 if (side == "output") != isinstance(layer, TRANSPOSED) else 2


def _along(values: Tensor, layer: Layer, side: str) -> Tensor:
    """Return one value per output (or input) channel so that it meets the grouped weight."""
    groups = 1 if isinstance(layer, nn.Linear) else layer.groups
    shape = [1] * (layer.weight.ndim + 1)
    shape[0], shape[_axis(layer, side)] = groups, -1
    return values.view(shape)


def _set(layer: Layer, weight: Tensor, bias: Tensor) -> None:
    """Give ``layer`` these parameters in its own dtype."""
    like = layer.weight
    trained = like.requires_grad
    layer.weight = nn.Parameter(weight.flatten(0, 1).to(like.dtype), requires_grad=trained)
    layer.bias = nn.Parameter(bias.to(like.dtype), requires_grad=trained)


def _sees_no_zero_padding(layer: Layer) -> bool:
    """Whether each output of ``layer`` adds up all taps of its kernel, none of them padding."""
    if isinstance(layer, nn.Linear):
        return True
    spans = [d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
    if isinstance(layer, TRANSPOSED):
        unit = all(s == 1 for s in layer.stride) and not any(layer.output_padding)
        padding = [p for p in layer.padding if not isinstance(p, str)]
        return unit and all(p >= span for p, span in zip(padding, spans, strict=True))
    if layer.padding_mode != "zeros" or layer.padding == "valid":
        return True
    return not any(spans if layer.padding == "same" else map(int, layer.padding))


def plain_copy(layer: L) -> L:
    """Return a copy with plain weights, as they are after any parametrization."""
    plain = copy.deepcopy(layer)
    if isinstance(plain, WSConv2d):
        return plain.to_conv2d()  # type: ignore[return-value]
    if parametrize.is_parametrized(plain):
        # Not remove_parametrizations: it changes the class, which the original shares.
        names = cast(nn.ModuleDict, plain.parametrizations).keys()
        computed = {name: getattr(plain, name).detach() for name in names}
        plain.__class__ = parametrize.type_before_parametrizations(plain)
        del plain.parametrizations
        for name, value in computed.items():
            plain.register_parameter(name, nn.Parameter(value))
    return plain

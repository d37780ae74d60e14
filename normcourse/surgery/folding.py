"""Fold a norm's fixed affine map into a neighbouring layer, for inference."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from normcourse.modules import LayerNorm, RMSNorm
from normcourse.modules._statistics import inverse_std, working_dtype
from normcourse.surgery._flow import feeds
from normcourse.surgery._fold import FOLDS, fold_before, plain_copy
from normcourse.surgery._kinds import (
    LAYERS,
    AnyBatchNorm,
    Layer,
    in_features,
    is_batch_norm,
    is_layer,
    out_features,
)
from normcourse.surgery._swap import swap

AnyLayerNorm = LayerNorm | nn.LayerNorm | RMSNorm | nn.RMSNorm


@torch.no_grad()
def fold_batch_norm(layer: Layer, norm: AnyBatchNorm, *, order: str = "after") -> Layer:
    """Return a copy of ``layer`` that does the work of ``norm`` in inference mode too.

    Formula:
        scale = gamma / sqrt(running_var + eps),  shift = beta - scale * running_mean
        norm after:   W' = scale * W (per output),  b' = scale * b + shift
        norm before:  W' = W * scale (per input),   b' = b + sum(W * shift)

    Args:
        layer: Linear, Conv1d-3d or ConvTranspose1d-3d, grouped and dilated too. A layer with
            parametrized or standardized weights is folded into a plain one.
        norm: a batch normalization with running statistics, ours or torch's.
        order: "after" for norm(layer(x)), "before" for layer(norm(x)).

    Returns:
        A layer of the same kind, with a bias. It equals the pair in inference mode only.

    Raises:
        TypeError: another kind of layer or norm.
        ValueError: widths that do not fit, no running statistics, another ``order``; or a norm
            before a convolution whose zero padding stands for values that the norm would not have
            made 0 (some outputs would need another bias than the rest).

    Differs from torch in:
        torch.nn.utils.fuse_conv_bn_eval folds after the layer only.

    Source:
        Jacob et al., "Quantization and Training of Neural Networks for Efficient
        Integer-Arithmetic-Only Inference", 2018, section 3.2.

    Example:
        >>> from torch import nn
        >>> norm = nn.BatchNorm1d(1, eps=0.0).eval()
        >>> _ = norm.running_mean.fill_(5.0), norm.running_var.fill_(4.0)
        >>> layer = nn.Linear(1, 1)
        >>> _ = nn.init.constant_(layer.weight, 3.0), nn.init.constant_(layer.bias, 1.0)
        >>> folded = fold_batch_norm(layer, norm)
        >>> folded.weight.item(), folded.bias.item()  # (3 x + 1 - 5) / 2
        (1.5, -2.0)
        >>> folded = fold_batch_norm(layer, norm, order="before")
        >>> folded.weight.item(), folded.bias.item()  # 3 (x - 5) / 2 + 1
        (1.5, -6.5)
    """
    _check_kinds(layer, norm)
    if order not in FOLDS:
        raise ValueError(f"order: expected one of {sorted(FOLDS)}, got {order!r}.")
    _check_widths(layer, norm, order)
    folded = plain_copy(layer)
    scale, shift = _affine_of(norm, folded.weight)
    FOLDS[order](folded, scale, shift)
    return folded


def fold_batch_norms(model: nn.Module) -> nn.Module:
    """Return a copy of ``model`` for inference, its batch norms folded into the layers before.

    Each batch normalization that alone uses the output of one linear layer or convolution becomes
    nn.Identity; all others stay. torch.fx follows the data.

    Args:
        model: any module that torch.fx can trace. A linear layer before a batch normalization is
            taken to give shape (N, D).

    Returns:
        A copy in inference mode. It must stay there: what train() would change is gone.

    Raises:
        ValueError: torch.fx cannot follow the forward method.

    Differs from torch in:
        torch.fx.experimental.optimization.fuse knows torch's layers only.

    Source:
        Jacob et al. 2018, section 3.2.

    Example:
        >>> from torch import nn
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        >>> [type(layer).__name__ for layer in fold_batch_norms(net)]
        ['Conv2d', 'Identity', 'ReLU']
    """
    folded = copy.deepcopy(model).eval()
    exchange: dict[nn.Module, nn.Module] = {}
    for feed in feeds(folded):
        norm = feed.norms[0]
        if len(feed.norms) == 1 and is_batch_norm(norm) and _fits(norm, out_features(feed.layer)):
            exchange |= {feed.layer: fold_batch_norm(feed.layer, norm), norm: nn.Identity()}
    return swap(folded, exchange)


@torch.no_grad()
def fold_layer_norm_affine(norm: AnyLayerNorm, *linears: nn.Linear) -> tuple[nn.Module, ...]:
    """Return the norm without its affine step and linear layers that do that step instead.

    Formula:
        W (gamma * x_hat + beta) + b = (W * gamma) x_hat + (b + W beta)

    Exact in both modes, since the affine step is the same for every input; the statistics stay.

    Args:
        norm: LayerNorm or RMSNorm over one axis, ours or torch's.
        linears: all the linear layers that use its output (query, key and value, say).

    Returns:
        A norm without weight and bias, then the folded linear layers: copies.

    Raises:
        TypeError: another kind of norm or layer.
        ValueError: no linear layer, a norm over several axes, or widths that do not fit.

    Source:
        Ashkboos et al., "SliceGPT: Compress Large Language Models by Deleting Rows and Columns",
        2024, section 3.

    Example:
        >>> from torch import nn
        >>> norm, linear = nn.LayerNorm(2, eps=0.0), nn.Linear(2, 1)
        >>> _ = norm.weight.data.fill_(3.0), norm.bias.data.fill_(0.5)
        >>> _ = nn.init.ones_(linear.weight), nn.init.zeros_(linear.bias)
        >>> plain, folded = fold_layer_norm_affine(norm, linear)
        >>> plain.weight, folded.weight.tolist(), folded.bias.tolist()
        (None, [[3.0, 3.0]], [1.0])
    """
    if not isinstance(norm, AnyLayerNorm):
        raise TypeError(f"norm: expected a LayerNorm or RMSNorm, got {type(norm).__name__}.")
    if not linears or len(norm.normalized_shape) != 1:
        raise ValueError(
            f"norm, linears: expected a norm over one axis and the linear layers after it, got "
            f"normalized_shape {tuple(norm.normalized_shape)} and {len(linears)} layers."
        )
    plain = copy.deepcopy(norm)
    gamma, beta = plain.weight, getattr(plain, "bias", None)
    folded = tuple(_fold_affine(linear, gamma, beta, *norm.normalized_shape) for linear in linears)
    plain.weight, plain.elementwise_affine = None, False
    if beta is not None:
        plain.register_parameter("bias", None)
    return plain, *folded


def _fold_affine(
    linear: nn.Linear, gamma: Tensor | None, beta: Tensor | None, width: int
) -> nn.Linear:
    """Return a copy of ``linear`` that scales and shifts its input by itself."""
    if not isinstance(linear, nn.Linear):
        raise TypeError(f"linears: expected nn.Linear, got {type(linear).__name__}.")
    if linear.in_features != width:
        raise ValueError(
            f"linears: expected in_features {width}, the norm's width, got {linear.in_features}. "
            f"Give the layers that take the norm's output."
        )
    folded = plain_copy(linear)
    ones, zeros = torch.ones(width), torch.zeros(width)
    scale = (ones if gamma is None else gamma).to(folded.weight)
    shift = (zeros if beta is None else beta).to(folded.weight)
    fold_before(folded, scale, shift)
    bias: Tensor | None = linear.bias
    if bias is None and beta is None:
        folded.register_parameter("bias", None)
    return folded


def _affine_of(norm: AnyBatchNorm, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return scale and shift of ``norm`` in inference mode, in at least float32."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    dtype = working_dtype(like)
    scale = inverse_std(norm.running_var.to(dtype), norm.eps)
    if norm.weight is not None:
        scale = scale * norm.weight
    shift = -scale * norm.running_mean
    return scale, shift if norm.bias is None else shift + norm.bias


def _fits(norm: AnyBatchNorm, width: int) -> bool:
    return norm.num_features == width and norm.running_mean is not None


def _check_kinds(layer: Layer, norm: AnyBatchNorm) -> None:
    """Raise unless ``layer`` and ``norm`` are of the kinds that can be folded."""
    if not is_layer(layer):
        names = ", ".join(kind.__name__ for kind in LAYERS)
        raise TypeError(f"layer: expected one of {names}, got {type(layer).__name__}.")
    if not is_batch_norm(norm):
        raise TypeError(
            f"norm: expected a batch normalization, got {type(norm).__name__}. Only BatchNorm is "
            f"a fixed map in inference mode; for LayerNorm see fold_layer_norm_affine."
        )
    if norm.running_mean is None:
        raise ValueError(
            "norm: expected running statistics, got track_running_stats=False. Without them the "
            "norm is no fixed map: track them, or recalibrate a model that does."
        )


def _check_widths(layer: Layer, norm: AnyBatchNorm, order: str) -> None:
    """Raise unless the norm is as wide as the side of the layer that it stands on."""
    width = out_features(layer) if order == "after" else in_features(layer)
    if norm.num_features != width:
        raise ValueError(
            f"norm: expected num_features {width}, the layer's width on this side, got "
            f"{norm.num_features}. order='after' is norm(layer(x)), 'before' is layer(norm(x))."
        )

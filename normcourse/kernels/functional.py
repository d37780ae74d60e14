"""Fused normalization as functions of tensors, differentiable, one call each."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from normcourse.kernels.activations import check_activation
from normcourse.kernels.autograd import FULL, engine_and_dtype, run_pooled, run_rows

SMALL_SEGMENT = 16  # positions below which GroupNorm's groups are handled as rows
_CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


def layer_norm(
    x: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    eps: float = 1e-5,
    activation: str | None = None,
) -> Tensor:
    """Normalize each example over its trailing axes, in one pass over memory.

    Formula:
        y = activation(weight * (x - mean) / sqrt(var + eps) + bias)

    Args:
        x: tensor of shape (*, *normalized_shape), of any floating dtype.
        normalized_shape: sizes of the trailing axes that one mean pools.
        weight: tensor of ``normalized_shape``, or None for 1.
        bias: tensor of ``normalized_shape``, or None for 0.
        eps: added to the variance inside the root.
        activation: None, "relu", "silu" or "gelu".

    Returns:
        y, like ``x`` in shape and dtype, contiguous.

    Raises:
        ValueError: an activation that the kernels do not know.

    Differs from torch in:
        the activation; on the CPU sums of 512 values are added in float64; eps = 0 gives bias, not
        NaN, for constant rows.

    Source:
        Ba, Kiros & Hinton, "Layer Normalization", 2016.

    Example:
        >>> layer_norm(torch.tensor([[2.0, 4.0, 6.0, 8.0]]), (4,), eps=0.0)
        tensor([[-1.3416, -0.4472,  0.4472,  1.3416]])
        >>> layer_norm(torch.tensor([[2.0, 4.0, 6.0, 8.0]]), (4,), eps=0.0, activation="relu")
        tensor([[0.0000, 0.0000, 0.4472, 1.3416]])
    """
    y, _ = _rows(x, None, normalized_shape, weight, bias, eps, True, activation)
    return y


def rms_norm(
    x: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    *,
    eps: float = 1e-5,
    activation: str | None = None,
) -> Tensor:
    """Divide each example by its root mean square over the trailing axes.

    Formula:
        y = activation(weight * x / sqrt(mean(x^2) + eps))

    Args:
        x: tensor of shape (*, *normalized_shape), of any floating dtype.
        normalized_shape: sizes of the trailing axes that one mean pools.
        weight: tensor of ``normalized_shape``, or None for 1.
        eps: added to the mean square inside the root.
        activation: None, "relu", "silu" or "gelu".

    Returns:
        y, like ``x`` in shape and dtype, contiguous.

    Raises:
        ValueError: an activation that the kernels do not know.

    Differs from torch in:
        ``eps`` is 1e-5, where torch takes the machine epsilon of the dtype; the activation.

    Source:
        Zhang & Sennrich, "Root Mean Square Layer Normalization", 2019.

    Example:
        >>> rms_norm(torch.tensor([[3.0, 4.0]]), (2,), eps=0.0)
        tensor([[0.8485, 1.1314]])
    """
    y, _ = _rows(x, None, normalized_shape, weight, None, eps, False, activation)
    return y


def add_layer_norm(
    x: Tensor,
    residual: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    eps: float = 1e-5,
) -> tuple[Tensor, Tensor]:
    """Add a branch to the residual stream and normalize the sum: one kernel for two steps.

    Formula:
        total = x + residual,  y = layer_norm(total)

    Args:
        x: what the branch gives, tensor of shape (*, *normalized_shape).
        residual: the stream, like ``x``.
        normalized_shape: sizes of the trailing axes that one mean pools.
        weight: tensor of ``normalized_shape``, or None for 1.
        bias: tensor of ``normalized_shape``, or None for 0.
        eps: added to the variance inside the root.

    Returns:
        y and total, both like ``x``.

    Raises:
        ValueError: x and residual of different shapes or dtypes.

    Differs from torch in:
        torch has no such function.

    Source:
        Ba, Kiros & Hinton 2016; the two steps around every sublayer of a Transformer.

    Example:
        >>> y, total = add_layer_norm(torch.ones(1, 2), torch.tensor([[2.0, 4.0]]), (2,), eps=0.0)
        >>> y, total
        (tensor([[-1.,  1.]]), tensor([[3., 5.]]))
    """
    return _rows(x, residual, normalized_shape, weight, bias, eps, True, None)


def add_rms_norm(
    x: Tensor,
    residual: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    *,
    eps: float = 1e-5,
) -> tuple[Tensor, Tensor]:
    """Add a branch to the residual stream and divide the sum by its root mean square.

    Formula:
        total = x + residual,  y = rms_norm(total)

    Args:
        x: what the branch gives, tensor of shape (*, *normalized_shape).
        residual: the stream, like ``x``.
        normalized_shape: sizes of the trailing axes that one mean pools.
        weight: tensor of ``normalized_shape``, or None for 1.
        eps: added to the mean square inside the root.

    Returns:
        y and total, both like ``x``.

    Raises:
        ValueError: x and residual of different shapes or dtypes.

    Differs from torch in:
        torch has no such function.

    Source:
        Zhang & Sennrich 2019; the two steps before every sublayer of a pre-norm Transformer.

    Example:
        >>> add_rms_norm(torch.zeros(1, 2), torch.tensor([[3.0, 4.0]]), (2,), eps=0.0)
        (tensor([[0.8485, 1.1314]]), tensor([[3., 4.]]))
    """
    return _rows(x, residual, normalized_shape, weight, None, eps, False, None)


def group_norm(
    x: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    eps: float = 1e-5,
    activation: str | None = None,
) -> Tensor:
    """Normalize each group of channels of each example over its channels and positions.

    Formula:
        y = activation(weight * (x - mean) / sqrt(var + eps) + bias)

    Args:
        x: tensor of shape (N, C, *), of any floating dtype.
        num_groups: number of groups G; divides C. C of them is InstanceNorm.
        weight: tensor of shape (C,), or None for 1.
        bias: tensor of shape (C,), or None for 0.
        eps: added to the variance inside the root.
        activation: None, "relu", "silu" or "gelu".

    Returns:
        y, like ``x`` in shape and dtype; channels-last stays channels-last, at the price of two
        copies.

    Raises:
        ValueError: groups that do not divide the channels, or an unknown activation.

    Differs from torch in:
        the activation; a missing batch axis is an error.

    Source:
        Wu & He, "Group Normalization", 2018.

    Example:
        >>> group_norm(torch.tensor([[2.0, 4.0, 60.0, 80.0]]), 2, eps=0.0)
        tensor([[-1.,  1., -1.,  1.]])
    """
    check_activation(activation)
    channels = x.shape[1]
    if num_groups < 1 or channels % num_groups:
        raise ValueError(
            f"num_groups: expected a divisor of {channels} channels, got {num_groups}."
        )
    engine, dtype = engine_and_dtype(x)
    work, size = _like(x, dtype, x.shape).contiguous(), math.prod(x.shape[2:])
    w, b = _parameters(x, (channels,), weight, bias)
    if size < SMALL_SEGMENT:
        rows = (x.shape[0] * num_groups, channels // num_groups * size)
        w, b = (one.repeat_interleave(size).view(num_groups, rows[1]) for one in (w, b))
        y, _ = run_rows(engine, work.view(rows), None, w, b, eps, True, activation)
    else:
        y, _, _ = run_pooled(engine, work, w, b, None, num_groups, eps, activation)
    y = _like(y, x.dtype, x.shape)
    last = x.ndim in _CHANNELS_LAST and x.is_contiguous(memory_format=_CHANNELS_LAST[x.ndim])
    return y.contiguous(memory_format=_CHANNELS_LAST[x.ndim]) if last else y


def batch_norm(
    x: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    eps: float = 1e-5,
    activation: str | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Normalize each channel over the batch and all positions, as in training.

    Formula:
        y = activation(weight * (x - mean) / sqrt(var + eps) + bias)

    Args:
        x: tensor of shape (N, C, *), of any floating dtype; channels-last costs no copy.
        weight: tensor of shape (C,), or None for 1.
        bias: tensor of shape (C,), or None for 0.
        eps: added to the variance inside the root.
        activation: None, "relu", "silu" or "gelu".

    Returns:
        y like ``x`` in shape, dtype and memory order; mean and biased variance (C,) of the batch,
        for the running statistics, outside the graph.

    Raises:
        ValueError: an activation that the kernels do not know.

    Differs from torch in:
        running statistics are the caller's; the variance is the biased one.

    Source:
        Ioffe & Szegedy, "Batch Normalization", 2015.

    Example:
        >>> y, mean, var = batch_norm(torch.tensor([[2.0], [4.0], [6.0], [8.0]]), eps=0.0)
        >>> y.flatten(), mean, var
        (tensor([-1.3416, -0.4472,  0.4472,  1.3416]), tensor([5.]), tensor([5.]))
    """
    return _batch(x, None, weight, bias, eps, activation)


def batch_norm_inference(
    x: Tensor,
    mean: Tensor,
    var: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    eps: float = 1e-5,
    activation: str | None = None,
) -> Tensor:
    """Normalize each channel with statistics that are given, as at inference.

    Formula:
        y = activation(weight * (x - mean) / sqrt(var + eps) + bias)

    Args:
        x: tensor of shape (N, C, *), of any floating dtype.
        mean: tensor of shape (C,); no gradient flows into it.
        var: tensor of shape (C,); no gradient flows into it.
        weight: tensor of shape (C,), or None for 1.
        bias: tensor of shape (C,), or None for 0.
        eps: added to the variance inside the root.
        activation: None, "relu", "silu" or "gelu".

    Returns:
        y, like ``x`` in shape, dtype and memory order.

    Raises:
        ValueError: an activation that the kernels do not know.

    Differs from torch in:
        the activation.

    Source:
        Ioffe & Szegedy, "Batch Normalization", 2015.

    Example:
        >>> x, mean, var = torch.tensor([[3.0]]), torch.tensor([1.0]), torch.tensor([4.0])
        >>> batch_norm_inference(x, mean, var, eps=0.0)
        tensor([[1.]])
    """
    y, _, _ = _batch(x, (mean, var), weight, bias, eps, activation)
    return y


def _rows(
    x: Tensor,
    residual: Tensor | None,
    normalized_shape: Sequence[int],
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    centered: bool,
    activation: str | None,
) -> tuple[Tensor, Tensor]:
    """Return y and what was normalized, both shaped like x."""
    check_activation(activation)
    shape, leading = tuple(normalized_shape), x.ndim - len(normalized_shape)
    if leading < 0 or tuple(x.shape[leading:]) != shape:
        wanted = ", ".join(map(str, shape))
        raise ValueError(f"x: expected shape (*, {wanted}), got {tuple(x.shape)}.")
    if residual is not None and (residual.shape, residual.dtype) != (x.shape, x.dtype):
        raise ValueError(
            f"residual: expected {tuple(x.shape)} of {x.dtype}, as x, got "
            f"{tuple(residual.shape)} of {residual.dtype}."
        )
    if residual is not None and residual.device != x.device:
        raise ValueError(f"residual: expected a tensor on {x.device}, as x, got {residual.device}.")
    engine, dtype = engine_and_dtype(x)
    w, *rest = _parameters(x, shape, weight, *((bias,) if centered else ()))
    b = rest[0] if centered else None
    flat = x.shape
    if len(shape) != 1:
        flat = torch.Size([math.prod(x.shape[:leading]), math.prod(shape)])
        w, b = w.reshape(-1), None if b is None else b.reshape(-1)
    stream = None if residual is None else _like(residual, dtype, flat)
    y, total = run_rows(engine, _like(x, dtype, flat), stream, w, b, eps, centered, activation)
    return _like(y, x.dtype, x.shape), _like(total, x.dtype, x.shape)


def _batch(
    x: Tensor,
    given: tuple[Tensor, Tensor] | None,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    activation: str | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return y like x, and mean and variance per channel."""
    check_activation(activation)
    channels = x.shape[1]
    engine, dtype = engine_and_dtype(x)
    last = channels > 1 and not x.is_contiguous() and x.movedim(1, -1).is_contiguous()
    laid_out, shape = x.movedim(1, -1) if last else x, x.shape
    if last:
        shape = torch.Size((x.numel() // channels, channels))
    if x.numel() == 0:
        shape = torch.Size((0, channels))
    w, b = _parameters(x, (channels,), weight, bias)
    work = _like(laid_out, dtype, shape)
    for name, one in zip(("mean", "var"), given or (), strict=False):
        _check(x, name, one, (channels,))
    y, mean, var = run_pooled(engine, work, w, b, given, 0, eps, activation)
    if work is not x:
        y = _like(y, x.dtype, laid_out.shape)
        y = y.movedim(-1, 1) if last else y
    if mean.dtype == var.dtype == x.dtype in FULL:
        return y, mean, var
    kept = x.dtype if x.dtype in FULL else torch.promote_types(x.dtype, torch.float32)
    return y, _like(mean, kept, mean.shape), _like(var, kept, var.shape)


def _like(x: Tensor, dtype: torch.dtype, shape: Sequence[int]) -> Tensor:
    """Return x in a dtype and a shape; x itself, where it is so already, costs no call."""
    if x.dtype != dtype:
        x = x.to(dtype)
    return x if x.shape == shape else x.reshape(shape)


def _parameters(
    x: Tensor, shape: tuple[int, ...], weight: Tensor | None, *bias: Tensor | None
) -> list[Tensor]:
    """Return weight, and bias, in the dtype of the statistics; ones and zeros for None."""
    dtype = x.dtype if x.dtype in FULL else torch.promote_types(x.dtype, torch.float32)
    found = []
    for name, one, missing in zip(("weight", "bias"), (weight, *bias), (1.0, 0.0), strict=False):
        if one is None:
            found.append(x.new_full(shape, missing, dtype=dtype))
            continue
        if one.shape != shape or one.device != x.device:
            _check(x, name, one, shape)
        found.append(one if one.dtype == dtype else one.to(dtype))
    return found


def _check(x: Tensor, name: str, one: Tensor, shape: tuple[int, ...]) -> None:
    """Refuse a parameter of another shape; compiled loops read it without looking where it ends."""
    if one.shape != shape or one.device != x.device:
        raise ValueError(
            f"{name}: expected shape {shape} on {x.device}, as x, got {tuple(one.shape)} "
            f"on {one.device}."
        )

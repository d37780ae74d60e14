"""The kernels as autograd functions: what is kept, what is computed again, and second gradients.

Kept for the backward pass: what was normalized, its mean and inv_std, the parameters. x_hat and
what went into the activation are computed again, because arithmetic is cheaper than memory. When a
gradient is itself to be differentiated, the backward pass runs in plain torch operations.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from normcourse.kernels import plain
from normcourse.kernels.engines import engine_for

FULL = (torch.float32, torch.float64)  # kept as they are


def engine_and_dtype(x: Tensor) -> tuple[ModuleType, torch.dtype]:
    """Return what computes a norm of x, and the dtype in which it takes x.

    Example:
        >>> engine, dtype = engine_and_dtype(torch.zeros(0, 3, dtype=torch.bfloat16))
        >>> engine.__name__, dtype
        ('normcourse.kernels.plain', torch.float32)
    """
    engine, dtype = (engine_for(x) if x.numel() else None) or plain, x.dtype
    if dtype in FULL or getattr(engine, "TAKES_HALF", False):
        return engine, dtype
    return engine, torch.promote_types(dtype, torch.float32)


def _differentiated(*tensors: Tensor | None) -> bool:
    """Return whether somebody may ask for a derivative; else nothing need be kept for it."""
    if forward_ad._current_level >= 0 or torch._C._are_functorch_transforms_active():
        return True
    return torch.is_grad_enabled() and any(one is not None and one.requires_grad for one in tensors)


def run_rows(
    engine: ModuleType,
    x: Tensor,
    residual: Tensor | None,
    weight: Tensor,
    bias: Tensor | None,
    eps: float,
    centered: bool,
    activation: str | None,
) -> tuple[Tensor, Tensor]:
    """Return y and what was normalized, for x (*, M) and parameters (M,) or (P, M).

    A norm without a mean, not ``centered``, has no bias.
    """
    x, weight = x.contiguous(), weight.contiguous()
    bias = None if bias is None else bias.contiguous()
    stream = None if residual is None else residual.contiguous()
    if not _differentiated(x, stream, weight, bias):
        options: dict[str, Any] = {"eps": eps, "centered": centered, "activation": activation}
        y, total, _ = engine.rows_forward(x, stream, weight, bias, keeps=False, **options)
        return y, total
    found: Any = _Rows.apply(  # type: ignore[no-untyped-call]
        x, stream, weight, bias, engine, eps, centered, activation
    )
    return found if residual is not None else (found, x)


def run_pooled(
    engine: ModuleType,
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    given: tuple[Tensor, Tensor] | None,
    num_groups: int,
    eps: float,
    activation: str | None,
) -> tuple[Tensor, Any, Any]:
    """Return y for x (N, C, *) and parameters (C,), and the mean and variance of a batch."""
    x, weight, bias = x.contiguous(), weight.contiguous(), bias.contiguous()
    if _differentiated(x, weight, bias):
        found: Any = _Pooled.apply(  # type: ignore[no-untyped-call]
            x, weight, bias, *(given or (None, None)), engine, num_groups, eps, activation
        )
        return found if isinstance(found, tuple) else (found, *(given or (None, None)))
    options: dict[str, Any] = {"num_groups": num_groups, "activation": activation}
    y, mean, var, _ = engine.pooled_forward(x, weight, bias, given, eps=eps, keeps=False, **options)
    return y, mean, var


class _Rows(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        residual: Tensor | None,
        weight: Tensor,
        bias: Tensor | None,
        engine: ModuleType,
        eps: float,
        centered: bool,
        activation: str | None,
    ) -> Any:
        options = {"centered": centered, "activation": activation}
        y, total, kept = engine.rows_forward(x, residual, weight, bias, eps=eps, **options)
        ctx.save_for_backward(x if residual is None else total, weight, bias, *kept)
        ctx.engine, ctx.eps, ctx.options = engine, eps, options
        ctx.set_materialize_grads(False)
        return y if residual is None else (y, total)

    @staticmethod
    def backward(ctx: Any, dy: Tensor | None, dtotal: Tensor | None = None) -> Any:
        x, weight, bias, mean, inv_std = ctx.saved_tensors
        dy = torch.zeros_like(x) if dy is None else dy.contiguous()
        dtotal = None if dtotal is None else dtotal.contiguous()
        engine = ctx.engine
        if torch.is_grad_enabled():  # create_graph=True
            engine = plain
            mean, inv_std = plain.rows_moments(x, eps=ctx.eps, centered=ctx.options["centered"])
        dx, dweight, dbias = engine.rows_backward(
            dy, x, mean, inv_std, weight, bias, dtotal, **ctx.options
        )
        dresidual = dx if ctx.needs_input_grad[1] else None
        return dx, dresidual, dweight, dbias, None, None, None, None


class _Pooled(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        given_mean: Tensor | None,
        given_var: Tensor | None,
        engine: ModuleType,
        num_groups: int,
        eps: float,
        activation: str | None,
    ) -> Any:
        given = None if given_mean is None else (given_mean, given_var)
        options = {"num_groups": num_groups, "activation": activation}
        y, mean, var, kept = engine.pooled_forward(x, weight, bias, given, eps=eps, **options)
        ctx.save_for_backward(x, weight, bias, *kept)
        ctx.engine, ctx.eps, ctx.options = engine, eps, {**options, "given": given is not None}
        ctx.set_materialize_grads(False)
        if num_groups or given is not None:  # no statistics of a batch
            return y
        ctx.mark_non_differentiable(mean, var)
        return y, mean, var

    @staticmethod
    def backward(ctx: Any, dy: Tensor | None, *unused: None) -> Any:
        x, weight, bias, mean, inv_std = ctx.saved_tensors
        if dy is None:
            return (None,) * 9
        engine = ctx.engine
        if torch.is_grad_enabled():
            engine = plain
            if not ctx.options["given"]:
                mean, inv_std = plain.pooled_moments(
                    x, num_groups=ctx.options["num_groups"], eps=ctx.eps
                )
        dx, dweight, dbias = engine.pooled_backward(
            dy.contiguous(), x, mean, inv_std, weight, bias, **ctx.options
        )
        return dx, dweight, dbias, *(None,) * 6

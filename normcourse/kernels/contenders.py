"""Who is measured: NumPy as one writes it, torch, torch.compile, and the fused kernels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from normcourse import kernels
from normcourse.kernels.activations import ACTIVATIONS
from normcourse.kernels.cases import Case

Array = np.ndarray[Any, np.dtype[Any]]
Outputs = tuple[Tensor, ...]
EPS = 1e-5


def draw(case: Case, device: str = "cpu", dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """Return x, the residual stream where there is one, weight and bias, wanting gradients."""
    generator = torch.Generator().manual_seed(0)
    width = case.shape[-1] if len(case.shape) == 2 else case.shape[1]
    shapes = [case.shape, (width,), (width,)]
    if case.method in ("rms_norm", "add_rms_norm"):
        shapes = [case.shape] * (1 + (case.method == "add_rms_norm")) + [(width,)]
    tensors = (torch.randn(shape, generator=generator) + 0.5 for shape in shapes)
    return [one.to(device, dtype).requires_grad_() for one in tensors]


def eager(case: Case) -> Callable[..., Outputs]:
    """Return the norm in torch's own functions."""
    activation = ACTIVATIONS[case.activation]

    def add_rms(x: Tensor, residual: Tensor, weight: Tensor) -> Outputs:
        total = x + residual
        return F.rms_norm(total, (total.shape[-1],), weight, EPS), total

    def given(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return F.batch_norm(x, _zeros(x), _zeros(x) + 1, weight, bias, False, eps=EPS)

    functions: dict[str, Callable[..., Tensor]] = {
        "layer_norm": lambda x, w, b: F.layer_norm(x, (x.shape[-1],), w, b, EPS),
        "rms_norm": lambda x, w: F.rms_norm(x, (x.shape[-1],), w, EPS),
        "batch_norm": lambda x, w, b: F.batch_norm(x, None, None, w, b, True, eps=EPS),
        "inference": given,
        "group_norm": lambda x, w, b: F.group_norm(x, case.groups, w, b, EPS),
    }
    if case.method == "add_rms_norm":
        return add_rms
    return lambda *tensors: (activation(functions[case.method](*tensors)),)


def fused(case: Case) -> Callable[..., Outputs]:
    """Return the norm by the kernels of this course."""
    options: dict[str, Any] = {"eps": EPS, "activation": case.activation}

    def given(x: Tensor, weight: Tensor, bias: Tensor) -> Outputs:
        moments = _zeros(x), _zeros(x) + 1
        return (kernels.batch_norm_inference(x, *moments, weight, bias, **options),)

    functions: dict[str, Callable[..., Outputs]] = {
        "layer_norm": lambda x, w, b: (kernels.layer_norm(x, x.shape[-1:], w, b, **options),),
        "rms_norm": lambda x, w: (kernels.rms_norm(x, x.shape[-1:], w, **options),),
        "add_rms_norm": lambda x, r, w: kernels.add_rms_norm(x, r, x.shape[-1:], w, eps=EPS),
        "batch_norm": lambda x, w, b: kernels.batch_norm(x, w, b, **options)[:1],
        "inference": given,
        "group_norm": lambda x, w, b: (kernels.group_norm(x, case.groups, w, b, **options),),
    }
    return functions[case.method]


class _Nothing(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *tensors: Tensor) -> Tensor:
        ctx.save_for_backward(*tensors)
        return torch.empty_like(tensors[0])

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        return tuple(torch.empty_like(one) for one in ctx.saved_tensors)


def nothing(*tensors: Tensor) -> Outputs:
    """Return a new tensor, as the least that a norm with gradients in Python has to do."""
    return (_Nothing.apply(*tensors),)  # type: ignore[no-untyped-call]


class Textbook:
    """The formula in NumPy as one writes it: an array for every step."""

    def __init__(self, case: Case) -> None:
        self.case, self.axis = case, _pooled(case)

    def forward(self, *arrays: Array) -> tuple[Array, ...]:
        """Return what :func:`eager` returns; keep x_hat and std for the backward pass."""
        x, *rest = arrays
        total: tuple[Array, ...] = ()
        if self.case.method == "add_rms_norm":
            x, rest = x + rest[0], rest[1:]
            total = (x,)
        x = self._grouped(x)
        eps = np.float32(EPS)
        if self.case.method.endswith("rms_norm"):
            self.std = np.sqrt(np.mean(x**2, axis=self.axis, keepdims=True) + eps)
            self.x_hat = x / self.std
        elif self.case.method == "inference":
            zero = np.zeros((1, x.shape[1], 1, 1), x.dtype)
            self.std = np.sqrt(zero + 1 + eps)
            self.x_hat = (x - zero) / self.std
        else:
            mean = np.mean(x, axis=self.axis, keepdims=True)
            self.std = np.sqrt(np.var(x, axis=self.axis, keepdims=True) + eps)
            self.x_hat = (x - mean) / self.std
        self.z = self._meet(rest[0]) * self.x_hat.reshape(self.case.shape)
        if len(rest) > 1:
            self.z = self.z + self._meet(rest[1])
        y = np.maximum(self.z, 0) if self.case.activation == "relu" else self.z
        return (y, *total)

    def backward(self, dys: Sequence[Array], weight: Array) -> tuple[Array, ...]:
        """Return the gradients of x, weight and bias."""
        dy = dys[0] * (self.z > 0) if self.case.activation == "relu" else dys[0]
        x_hat = self.x_hat.reshape(self.case.shape)
        shared = (0,) if x_hat.ndim == 2 else (0, 2, 3)
        dweight, dbias = np.sum(dy * x_hat, axis=shared), np.sum(dy, axis=shared)
        dx_hat = self._grouped(dy * self._meet(weight))
        dx = dx_hat
        if self.case.method != "inference":
            dx = dx - self.x_hat * np.mean(dx_hat * self.x_hat, axis=self.axis, keepdims=True)
        if self.case.method in ("layer_norm", "batch_norm", "group_norm"):
            dx = dx - np.mean(dx_hat, axis=self.axis, keepdims=True)
        dx = (dx / self.std).reshape(self.case.shape)
        return dx + dys[1] if len(dys) > 1 else dx, dweight, dbias

    def _grouped(self, x: Array) -> Array:
        if self.case.method != "group_norm":
            return x
        return x.reshape(len(x), self.case.groups, -1, *x.shape[2:])

    def _meet(self, parameter: Array) -> Array:
        return parameter if len(self.case.shape) == 2 else parameter[:, None, None]


def _pooled(case: Case) -> tuple[int, ...]:
    if len(case.shape) == 2:
        return (-1,)
    return (2, 3, 4) if case.method == "group_norm" else (0, 2, 3)


def _zeros(x: Tensor) -> Tensor:
    return torch.zeros(x.shape[1], dtype=x.dtype, device=x.device)

"""The same methods by other hands: torch.nn.functional where it has them, autograd formulas else.

Each oracle takes the arguments of the NumPy function as tensors, by the same names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from normcourse.norms import Method

EPS = 1e-5  # the default of every NumPy function with an eps


def _batch_norm(x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    return F.batch_norm(x, None, None, gamma, beta, training=True, eps=EPS)


def _masked_batch_norm(x: Tensor, mask: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    y = F.batch_norm(x[mask], None, None, gamma, beta, training=True, eps=EPS)
    return torch.zeros_like(x).masked_scatter(mask[..., None], y)


def _ghost_batch_norm(x: Tensor, ghost_size: int, gamma: Tensor, beta: Tensor) -> Tensor:
    """Standardize each chunk with torch.var, since F.batch_norm refuses chunks of one value."""
    parts = []
    for part in x.split(ghost_size):
        dims = [0, *range(2, x.ndim)]
        var = part.var(dims, unbiased=False, keepdim=True)
        parts.append((part - part.mean(dims, keepdim=True)) / torch.sqrt(var + EPS))
    shape = (1, -1, *(1,) * (x.ndim - 2))
    return torch.cat(parts) * gamma.view(shape) + beta.view(shape)


def _batch_renorm(
    x: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    gamma: Tensor,
    beta: Tensor,
    r_max: float,
    d_max: float,
) -> Tensor:
    dims, shape = [0, *range(2, x.ndim)], (1, -1, *(1,) * (x.ndim - 2))
    mean = x.mean(dims).detach()
    std = torch.sqrt(x.var(dims, unbiased=False) + EPS).detach()
    old_std = torch.sqrt(running_var + EPS)
    r = (std / old_std).clamp(1 / r_max, r_max).view(shape)
    d = ((mean - running_mean) / old_std).clamp(-d_max, d_max).view(shape)
    x_hat = F.batch_norm(x, None, None, training=True, eps=EPS)
    return (x_hat * r + d) * gamma.view(shape) + beta.view(shape)


def _layer_norm(x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], gamma, beta, eps=EPS)


def _rms_norm(x: Tensor, gamma: Tensor) -> Tensor:
    return F.rms_norm(x, x.shape[-1:], gamma, eps=EPS)


def _scale_norm(x: Tensor, gamma: Tensor) -> Tensor:
    return gamma * x / torch.sqrt(x.square().sum(-1, keepdim=True) + EPS)


def _instance_norm(x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    return F.instance_norm(x, weight=gamma, bias=beta, eps=EPS)


def _adaptive_instance_norm(content: Tensor, style: Tensor) -> Tensor:
    flat = style.flatten(2)
    shape = (*style.shape[:2], *(1,) * (content.ndim - 2))
    std = torch.sqrt(flat.var(-1, unbiased=False) + EPS).view(shape)
    return F.instance_norm(content, eps=EPS) * std + flat.mean(-1).view(shape)


def _conditional_instance_norm(x: Tensor, labels: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    one_hot = F.one_hot(labels, len(gamma)).to(x.dtype)
    shape = (*x.shape[:2], *(1,) * (x.ndim - 2))
    x_hat = F.instance_norm(x, eps=EPS)
    return x_hat * (one_hot @ gamma).view(shape) + (one_hot @ beta).view(shape)


def _group_norm(x: Tensor, num_groups: int, gamma: Tensor, beta: Tensor) -> Tensor:
    return F.group_norm(x, num_groups, gamma, beta, eps=EPS)


def _weight_norm(v: Tensor, g: Tensor) -> Tensor:
    return torch._weight_norm(v, g.view(-1, *(1,) * (v.ndim - 1)), 0)


def _standardize_weight(weight: Tensor) -> Tensor:
    rows = weight.flatten(1)
    return F.layer_norm(rows, rows.shape[1:], eps=EPS).view_as(weight)


def _spectral_norm(weight: Tensor, u: Tensor, v: Tensor) -> Tensor:
    return weight / torch.dot(u, weight.flatten(1) @ v)


def _local_response_norm(x: Tensor, size: int, alpha: float, beta: float, k: float) -> Tensor:
    if x.ndim == 2:  # torch wants a position axis
        return F.local_response_norm(x[..., None], size, alpha, beta, k)[..., 0]
    return F.local_response_norm(x, size, alpha, beta, k)


def _local_contrast_norm(x: Tensor, size: int) -> Tensor:
    """Convolve with a two-dimensional window; a convolution of ones counts what is inside."""
    offsets = torch.arange(size, dtype=x.dtype) - size // 2
    line = torch.exp(-0.5 * (4 * offsets / size) ** 2)
    kernel = torch.outer(line, line).expand(1, x.shape[1], size, size)

    def local_mean(values: Tensor) -> Tensor:
        inside = F.conv2d(torch.ones_like(values), kernel, padding=size // 2)
        return F.conv2d(values, kernel, padding=size // 2) / inside

    v = x - local_mean(x)
    return v / torch.sqrt(local_mean(v.square()) + EPS)


def _divisive_normalize(
    drive: Tensor, pool: Tensor, sigma: Tensor, exponent: float, gain: float
) -> Tensor:
    powered = drive**exponent
    return gain * powered / (sigma**exponent + torch.einsum("ij,...j->...i", pool, powered))


def _decorrelated_batch_norm(x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    rows = x.movedim(1, -1).flatten(0, -2)
    centered = rows - rows.mean(0)
    white = centered @ inverse_root(centered.T @ centered / len(rows), EPS) * gamma + beta
    return white.view(x.movedim(1, -1).shape).movedim(-1, 1)


def inverse_root(cov: Tensor, eps: float) -> Tensor:
    """Return (cov + eps I)^(-1/2) by a coupled Newton iteration.

    Autograd through eigenvectors divides by the distances of the eigenvalues; this does not.
    """
    identity = torch.eye(len(cov), dtype=cov.dtype)
    cov = cov + eps * identity
    trace = cov.trace()
    root, inverse = cov / trace, identity
    for _ in range(60):
        step = 1.5 * identity - 0.5 * inverse @ root
        root, inverse = root @ step, step @ inverse
    return inverse / trace.sqrt()


def _dynamic_tanh(x: Tensor, alpha: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    return gamma * torch.tanh(alpha * x) + beta


def _qk_norm_scores(q: Tensor, k: Tensor, gamma_q: Tensor, gamma_k: Tensor) -> Tensor:
    q = F.rms_norm(q, q.shape[-1:], gamma_q, eps=EPS)
    k = F.rms_norm(k, k.shape[-1:], gamma_k, eps=EPS)
    return torch.softmax(q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5, dim=-1)


ORACLES: dict[str, Callable[..., Tensor]] = {
    "batch_norm": _batch_norm,
    "masked_batch_norm": _masked_batch_norm,
    "ghost_batch_norm": _ghost_batch_norm,
    "batch_renorm": _batch_renorm,
    "layer_norm": _layer_norm,
    "rms_norm": _rms_norm,
    "scale_norm": _scale_norm,
    "instance_norm": _instance_norm,
    "adaptive_instance_norm": _adaptive_instance_norm,
    "conditional_instance_norm": _conditional_instance_norm,
    "group_norm": _group_norm,
    "weight_norm": _weight_norm,
    "standardize_weight": _standardize_weight,
    "spectral_norm": _spectral_norm,
    "local_response_norm": _local_response_norm,
    "local_contrast_norm": _local_contrast_norm,
    "divisive_normalize": _divisive_normalize,
    "decorrelated_batch_norm": _decorrelated_batch_norm,
    "dynamic_tanh": _dynamic_tanh,
    "qk_norm_scores": _qk_norm_scores,
}


def run_oracle(
    method: Method, drawn: dict[str, Any], dy: Any | None = None
) -> tuple[Any, dict[str, Any]]:
    """Return torch's y and its gradients for the upstream ``dy``, in float64."""
    tensors = {name: _as_tensor(value, name in method.gradients) for name, value in drawn.items()}
    y = ORACLES[method.name](**tensors)
    if dy is None:
        return y.detach().numpy(), {}
    wanted = [tensors[name] for name in method.gradients]
    found = torch.autograd.grad(y, wanted, torch.as_tensor(np.asarray(dy, np.float64)))
    return y.detach().numpy(), {
        name: gradient.numpy() for name, gradient in zip(method.gradients, found, strict=True)
    }


def _as_tensor(value: Any, differentiable: bool) -> Any:
    if differentiable or (isinstance(value, np.ndarray) and value.dtype.kind == "f"):
        tensor = torch.tensor(np.array(value, np.float64))
        return tensor.requires_grad_(differentiable)
    return torch.as_tensor(value) if isinstance(value, np.ndarray) else value

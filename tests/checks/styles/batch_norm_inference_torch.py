"""Right answers of chapter 04 in PyTorch, in other styles."""

from __future__ import annotations

import copy
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# ---------------------------------------------------------------- evaluate


def on_a_copy(model: Any, x: Any) -> Any:
    """A deep copy in inference mode."""
    with torch.no_grad():
        return copy.deepcopy(model).eval()(x)


@contextmanager
def _inference(model: Any) -> Any:
    before = [(m, m.training) for m in model.modules()]
    try:
        model.eval()
        yield
    finally:
        for module, training in before:
            module.training = training


def context_manager(model: Any, x: Any) -> Any:
    """A context manager of one's own, inference_mode in place of no_grad."""
    with _inference(model), torch.inference_mode():
        return model(x)


def detached(model: Any, x: Any) -> Any:
    """Detached afterwards, modes by name."""
    modes = {name: module.training for name, module in model.named_modules()}
    model.train(False)
    y = model(x).detach()
    for name, module in model.named_modules():
        module.training = modes[name]
    return y


def switched_by_hand(model: Any, x: Any) -> Any:
    """Gradients switched off and back by hand."""
    gradients, modes = torch.is_grad_enabled(), [m.training for m in model.modules()]
    torch.set_grad_enabled(False)
    y = model.eval().forward(x)
    torch.set_grad_enabled(gradients)
    for module, training in zip(model.modules(), modes, strict=True):
        module.training = training
    return y


# ---------------------------------------------------------------- train_and_validate


def own_functions(
    model: Any, optimizer: Any, train_batches: Any, val_batches: Any, epochs: Any
) -> Any:
    """Two functions, losses as an array of tensors."""

    def train() -> None:
        model.train()
        for x, target in train_batches:
            loss = ((model(x) - target) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    @torch.no_grad()
    def validate() -> Tensor:
        model.eval()
        return torch.stack([nn.MSELoss()(model(x), target) for x, target in val_batches]).mean()

    losses = []
    for _ in range(epochs):
        train()
        losses.append(validate())
    return torch.stack(losses)


def back_after_validation(
    model: Any, optimizer: Any, train_batches: Any, val_batches: Any, epochs: Any
) -> Any:
    """Training mode at first and again after each validation."""
    losses = []
    model.train()
    for _ in range(epochs):
        for x, target in train_batches:
            optimizer.zero_grad()
            F.mse_loss(model(x), target).backward()
            optimizer.step()
        losses.append(sum(F.mse_loss(on_a_copy(model, x), t).item() for x, t in val_batches))
    return [loss / len(val_batches) for loss in losses]


def modes_as_numbers(
    model: Any, optimizer: Any, train_batches: Any, val_batches: Any, epochs: Any
) -> Any:
    """`train(False)`, gradients of validation not switched off."""
    losses = ()
    for _ in range(epochs):
        for x, target in train_batches:
            optimizer.zero_grad()
            F.mse_loss(model.train(True)(x), target).backward()
            optimizer.step()
        parts = [F.mse_loss(model.train(False)(x), t).item() for x, t in val_batches]
        losses = (*losses, sum(parts) / len(parts))
    return losses


# ---------------------------------------------------------------- fine_tune


def features_first(backbone: Any, head: Any, optimizer: Any, batches: Any) -> None:
    """All features computed beforehand, without a graph."""
    backbone.eval()
    with torch.no_grad():
        features = [(backbone(x), target) for x, target in batches]
    head.train()
    for h, target in features:
        optimizer.zero_grad()
        F.mse_loss(head(h), target).backward()
        optimizer.step()


def requires_grad_off(backbone: Any, head: Any, optimizer: Any, batches: Any) -> None:
    """`requires_grad_`, one module after the other into inference mode."""
    backbone.requires_grad_(False)
    for module in backbone.modules():
        module.training = False
    head.train()
    for x, target in batches:
        loss = torch.mean((head(backbone(x)) - target) ** 2)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def on_a_frozen_copy(backbone: Any, head: Any, optimizer: Any, batches: Any) -> None:
    """A frozen copy of the backbone, zero_grad after the step."""
    frozen = copy.deepcopy(backbone).eval().requires_grad_(False)
    head.train()
    optimizer.zero_grad()
    for x, target in batches:
        F.mse_loss(head(frozen(x)), target).backward()
        optimizer.step()
        optimizer.zero_grad()


# ---------------------------------------------------------------- RunningNorm


def _named(cls: type, name: str, style: str) -> type:
    """Give a class the exercise's name and a description for the table."""
    cls.__name__, cls.__doc__ = name, style
    return cls


class _Detached(nn.Module):
    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return (x - self.running_mean) * torch.rsqrt(self.running_var + self.eps)
        mean, var = x.mean(0), x.var(0, unbiased=False)
        m, n = self.momentum, x.shape[0]
        self.running_mean = self.running_mean * (1 - m) + m * mean.detach()
        self.running_var = self.running_var * (1 - m) + m * var.detach() * n / (n - 1)
        return (x - mean) * torch.rsqrt(var + self.eps)


class _Lerp(nn.Module):
    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.eps, self.momentum = eps, momentum
        for name, value in (("running_mean", 0.0), ("running_var", 1.0)):
            self.register_buffer(name, torch.full((num_features,), value))

    def forward(self, x: Tensor) -> Tensor:
        mean, var = self.running_mean, self.running_var
        if self.training:
            var, mean = torch.var_mean(x, dim=0, correction=0)
            with torch.no_grad():
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(x.var(0), self.momentum)
        return (x - mean) / (var + self.eps).sqrt()


class _ByTorch(nn.Module):
    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(
            x,
            self.running_mean,
            self.running_var,
            training=self.training,
            momentum=self.momentum,
            eps=self.eps,
        )


# ---------------------------------------------------------------- BatchNorm


class _Buffers(nn.Module):
    """Parameters and buffers as every right answer has them."""

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.weight = nn.Parameter(torch.ones(num_features))
        self.bias = nn.Parameter(torch.zeros(num_features))
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))
        self.register_buffer("num_batches_tracked", torch.zeros((), dtype=torch.long))

    def _move(self, mean: Tensor, unbiased: Tensor) -> None:
        with torch.no_grad():
            m = self.momentum
            self.running_mean.mul_(1 - m).add_(mean, alpha=m)
            self.running_var.mul_(1 - m).add_(unbiased, alpha=m)
            self.num_batches_tracked.add_(1)


class _ChannelsLast(_Buffers):
    def forward(self, x: Tensor) -> Tensor:
        last = x.movedim(1, -1)
        rows = last.reshape(-1, self.num_features)
        if self.training:
            if len(rows) < 2:
                raise ValueError("more than one value per channel, please")
            mean, var = rows.mean(0), ((rows - rows.mean(0)) ** 2).mean(0)
            self._move(mean, rows.var(0, correction=1))
        else:
            mean, var = self.running_mean, self.running_var
        y = (rows - mean) / torch.sqrt(var + self.eps) * self.weight + self.bias
        return y.view(last.shape).movedim(-1, 1)


class _ChannelsFirst(_Buffers):
    def forward(self, x: Tensor) -> Tensor:
        flat = x.transpose(0, 1).flatten(1)
        mean, var = self.running_mean, self.running_var
        if self.training:
            n = flat.shape[1]
            if n == 1:
                raise ValueError(f"expected more than 1 value per channel, got {tuple(x.shape)}")
            var, mean = torch.var_mean(flat, dim=1, unbiased=False)
            self._move(mean.detach(), var.detach() * (n / (n - 1)))
        flat = (flat - mean[:, None]) * (self.weight * (var + self.eps).rsqrt())[:, None]
        y = (flat + self.bias[:, None]).view(x.shape[1], x.shape[0], *x.shape[2:])
        return y.transpose(0, 1)


class _Folded(_Buffers):
    def forward(self, x: Tensor) -> Tensor:
        letters = "ncdhw"[: x.ndim]
        if self.training:
            count = x.numel() / x.shape[1]
            if count < 2:
                raise ValueError
            mean = torch.einsum(f"{letters}->c", x) / count
            centered = x - self._shaped(mean, x)
            var = torch.einsum(f"{letters},{letters}->c", centered, centered) / count
            self._move(mean, var * count / (count - 1))
        else:
            mean, var = self.running_mean, self.running_var
            centered = x - self._shaped(mean, x)
        scale = self.weight / torch.sqrt(var + self.eps)
        return torch.einsum(f"{letters},c->{letters}", centered, scale) + self._shaped(self.bias, x)

    @staticmethod
    def _shaped(value: Tensor, x: Tensor) -> Tensor:
        return value[(None, slice(None), *(None,) * (x.ndim - 2))]


class _Function(torch.autograd.Function):
    """The closed form of the gradient, by hand."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float) -> Any:
        axes = (0, *range(2, x.ndim))
        mean, var = x.mean(axes, keepdim=True), x.var(axes, unbiased=False, keepdim=True)
        inv_std = (var + eps).rsqrt()
        x_hat = (x - mean) * inv_std
        ctx.save_for_backward(x_hat, inv_std)
        ctx.axes = axes
        ctx.mark_non_differentiable(mean, var)
        return x_hat, mean, var

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        x_hat, inv_std = ctx.saved_tensors
        g = gradients[0]
        along_one = g.mean(ctx.axes, keepdim=True)
        along_x_hat = (g * x_hat).mean(ctx.axes, keepdim=True)
        return inv_std * (g - along_one - x_hat * along_x_hat), None


class _ByHand(_Buffers):
    def forward(self, x: Tensor) -> Tensor:
        shape = [1, -1] + [1] * (x.ndim - 2)
        if self.training:
            count = x.numel() // x.size(1)
            if count <= 1:
                raise ValueError("one value")
            x_hat, mean, var = _Function.apply(x, self.eps)
            self._move(mean.flatten(), var.flatten() * count / (count - 1))
        else:
            std = (self.running_var + self.eps).sqrt()
            x_hat = (x - self.running_mean.view(shape)) / std.view(shape)
        return torch.addcmul(self.bias.view(shape), x_hat, self.weight.view(shape))


STYLES = {
    "evaluate": [on_a_copy, context_manager, detached, switched_by_hand],
    "train_and_validate": [own_functions, back_after_validation, modes_as_numbers],
    "fine_tune": [features_first, requires_grad_off, on_a_frozen_copy],
    "RunningNorm": [
        _named(_Detached, "RunningNorm", "Buffers assigned anew, statistics detached."),
        _named(_Lerp, "RunningNorm", "`var_mean` and `lerp_`."),
        _named(_ByTorch, "RunningNorm", "`F.batch_norm` with one's own buffers."),
    ],
    "BatchNorm": [
        _named(_ChannelsLast, "BatchNorm", "Rows of channels."),
        _named(_ChannelsFirst, "BatchNorm", "One row per channel, scale and 1/std in one factor."),
        _named(_Folded, "BatchNorm", "Means by einsum."),
        _named(_ByHand, "BatchNorm", "An autograd function with the closed form."),
    ],
}

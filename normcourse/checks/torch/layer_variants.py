"""A BatchNorm module with switches: right by default, wrong in the ways learners are.

The mistakes of the exercises that ask for a layer are these switches; two at once make a layer with
two mistakes. PyTorch is loaded when a class is made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Choices:
    """What one writes when writing a BatchNorm module, each with its right value.

    Args:
        affine: "per channel", "one for all", "ignored" or "absent".
        pool: what one mean pools: "batch and positions", "positions" or "batch".
        ddof: what is taken from n in the variance that normalizes.
        eps_place: "inside" the root, "outside" or "nowhere".
        one_pass: variance as E[x²] − E[x]².
        follow: which statistics the gradient goes through: "both", "mean" or "none".
        mode: what decides between the batch's and the running statistics: "training" (the module's
            mode), "gradients" (whether they are recorded), "batch" or "running".
        inference: "plain", or "debiased" as if the running statistics had begun at 0.
        updates: when the running statistics move: "in training", "always" or "never".
        stored: what running_var takes in: "unbiased", "biased", "with eps", "std" or "nothing".
        weight: of the new batch: "momentum", "complement", "one", "tenth" or "cumulative", the
            average over all batches so far.
        old: what becomes of the running statistics: "reduced", or "whole", with the new added.
        graph: whether running statistics are "free" of the graph or hold on to it: "kept".
        kept_as: "buffers", "plain" tensors or "parameters".
        counts: "batches", "examples", "nothing" or "absent".
        lone: one value per channel in training "raises" or "passes".
        rank: "any" or "maps" of four axes alone.
        in_place: writes into x.
        default_eps: default of eps.
        default_momentum: default of momentum.
    """

    affine: str = "per channel"
    pool: str = "batch and positions"
    ddof: int = 0
    eps_place: str = "inside"
    one_pass: bool = False
    follow: str = "both"
    mode: str = "training"
    inference: str = "plain"
    updates: str = "in training"
    stored: str = "unbiased"
    weight: str = "momentum"
    old: str = "reduced"
    graph: str = "free"
    kept_as: str = "buffers"
    counts: str = "batches"
    lone: str = "raises"
    rank: str = "any"
    in_place: bool = False
    default_eps: float = 1e-5
    default_momentum: float = 0.1


def channel_norm(choices: Choices) -> type:
    """Return a BatchNorm class over (N, C, *) that is written as the choices say."""
    import torch
    from torch import Tensor, nn

    def axes(x: Tensor) -> tuple[int, ...]:
        positions = (2, 3) if choices.rank == "maps" else tuple(range(2, x.ndim))
        return {
            "batch and positions": (0, *positions),
            "positions": positions,
            "batch": (0,),
        }[choices.pool]

    def moments(x: Tensor) -> tuple[Tensor, Tensor, int]:
        """Return mean, the variance that normalizes, and the number of values behind each."""
        pooled = axes(x)
        count = 1
        for axis in pooled:
            count *= x.shape[axis]
        if not pooled:
            return x, torch.zeros_like(x), 1
        mean = x.mean(pooled, keepdim=True)
        if choices.one_pass:
            var = (x * x).mean(pooled, keepdim=True) - mean * mean
        else:
            var = (x - mean).square().mean(pooled, keepdim=True)
        return mean, var * (count / max(count - choices.ddof, 1)), count

    def shaped(parameter: Tensor, x: Tensor) -> Tensor:
        ones = (1, 1) if choices.rank == "maps" else (1,) * (x.ndim - 2)
        return parameter.view(1, -1, *ones)

    class BatchNorm(nn.Module):
        weight: nn.Parameter
        bias: nn.Parameter
        running_mean: Tensor
        running_var: Tensor
        num_batches_tracked: Tensor

        def __init__(
            self,
            num_features: int,
            eps: float = choices.default_eps,
            momentum: float = choices.default_momentum,
        ) -> None:
            super().__init__()
            self.eps, self.momentum = eps, momentum
            self._seen = 0
            if choices.affine != "absent":
                size = 1 if choices.affine == "one for all" else num_features
                self.weight = nn.Parameter(torch.ones(size))
                self.bias = nn.Parameter(torch.zeros(size))
            state = {
                "running_mean": torch.zeros(num_features),
                "running_var": torch.ones(num_features),
                "num_batches_tracked": torch.tensor(0),
            }
            if choices.counts == "absent":
                del state["num_batches_tracked"]
            for name, value in state.items():
                if choices.kept_as == "plain":
                    setattr(self, name, value)
                elif choices.kept_as == "parameters":
                    setattr(self, name, nn.Parameter(value, requires_grad=False))
                else:
                    self.register_buffer(name, value)

        def forward(self, x: Tensor) -> Tensor:
            by_batch = {
                "training": self.training,
                "gradients": torch.is_grad_enabled(),
                "batch": True,
                "running": False,
            }[choices.mode]
            mean, var, count = moments(x)
            moves = by_batch if choices.mode == "gradients" else self.training
            if moves and count == 1 and choices.lone == "raises" and choices.pool != "positions":
                raise ValueError("one value per channel has no variance")
            if choices.updates == "always" or (choices.updates == "in training" and moves):
                self._move(mean, var, count, len(x))
            if not by_batch:
                mean, var = self._running(x)
            elif choices.follow != "both":
                mean = mean if choices.follow == "mean" else mean.detach()
                var = var.detach()
            if choices.in_place:
                x -= mean
                return self._scaled(x / self._std(var))
            return self._scaled((x - mean) / self._std(var))

        def _std(self, var: Tensor) -> Tensor:
            if choices.eps_place == "inside":
                return (var + self.eps).sqrt()
            return var.sqrt() + (self.eps if choices.eps_place == "outside" else 0.0)

        def _running(self, x: Tensor) -> tuple[Tensor, Tensor]:
            mean, var = self.running_mean, self.running_var
            if choices.inference == "debiased" and self.num_batches_tracked > 0:
                share = 1 - (1 - self.momentum) ** self.num_batches_tracked
                mean, var = mean / share, var / share
            return shaped(mean, x), shaped(var, x)

        def _scaled(self, x_hat: Tensor) -> Tensor:
            if choices.affine in ("ignored", "absent"):
                return x_hat
            return x_hat * shaped(self.weight, x_hat) + shaped(self.bias, x_hat)

        def _move(self, mean: Tensor, var: Tensor, count: int, examples: int) -> None:
            if choices.counts in ("batches", "examples"):
                step = examples if choices.counts == "examples" else 1
                self.num_batches_tracked.data += step
            self._seen += 1
            if choices.graph == "free":
                mean, var = mean.detach(), var.detach()
            new_mean, new_var = self._to_store(mean, var, count)
            share = {
                "momentum": self.momentum,
                "complement": 1 - self.momentum,
                "one": 1.0,
                "tenth": 0.1,
                "cumulative": 1.0 / max(self._seen, 1),
            }[choices.weight]
            self._blend("running_mean", new_mean, share)
            if choices.stored != "nothing":
                self._blend("running_var", new_var, share)

        def _to_store(self, mean: Tensor, var: Tensor, count: int) -> tuple[Tensor, Tensor]:
            """Return the moments of this batch per channel, as running statistics take them in."""
            biased = var * (max(count - choices.ddof, 1) / count)
            stored = {
                "unbiased": biased * (count / max(count - 1, 1)),
                "biased": biased,
                "with eps": biased * (count / max(count - 1, 1)) + self.eps,
                "std": biased.sqrt(),
                "nothing": biased,
            }[choices.stored]
            others = [axis for axis in range(mean.ndim) if axis != 1]
            return mean.mean(others), stored.mean(others)  # size 1 each, but where pool is wrong

        def _blend(self, name: str, new: Tensor, share: float) -> None:
            old: Any = getattr(self, name)
            kept = old if choices.old == "whole" else (1 - share) * old
            value = kept + share * new.to(old.dtype)
            if choices.graph == "free" or choices.kept_as == "parameters":
                old.data.copy_(value)  # a parameter takes no result of a computation
            else:
                setattr(self, name, value)

    return BatchNorm

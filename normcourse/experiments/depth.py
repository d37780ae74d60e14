"""How gradients and activations change from layer to layer in a fresh deep net.

Five stacks at initialization: a Transformer with its LayerNorm in four places, and a plain net of
Linear, BatchNorm and ReLU without skips. One batch of random inputs and labels goes forward and
back once; nothing is trained.

Sources: Xiong et al., "On Layer Normalization in the Transformer Architecture", 2020 (gradients by
layer at initialization); Yang et al., "A Mean Field Theory of Batch Normalization", 2019 (gradients
grow without skips).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, scaled_dot_product_attention

from normcourse.experiments.experiment import Experiment
from normcourse.experiments.result import Row
from normcourse.modules import (
    BatchNorm,
    LayerNorm,
    PostNorm,
    PreNorm,
    ResPostNorm,
    SandwichNorm,
)

DEPTHS = (4, 16, 64)
WIDTH, HEADS = 64, 4
EXAMPLES, POSITIONS, CLASSES = 8, 16, 10

Series = NDArray[np.float64]


@dataclass(frozen=True)
class Profile:
    """One fresh net seen once, layer by layer: arrays of shape (depth,).

    Args:
        gradient: norm of the loss' gradient with respect to the layer's last weight matrix.
        variance: variance of the layer's output over all its values.
    """

    gradient: Series
    variance: Series


class _Attention(nn.Module):
    """Attention of several heads over the positions of one example."""

    def __init__(self) -> None:
        super().__init__()
        self.read = nn.Linear(WIDTH, 3 * WIDTH)
        self.write = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        num, length, width = x.shape
        parts = self.read(x).reshape(num, length, 3, HEADS, width // HEADS)
        query, key, value = parts.permute(2, 0, 3, 1, 4)  # each (N, heads, T, D / heads)
        mixed = scaled_dot_product_attention(query, key, value).transpose(1, 2)
        y: Tensor = self.write(mixed.reshape(num, length, width))
        return y


def _feed_forward() -> nn.Sequential:
    return nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.ReLU(), nn.Linear(4 * WIDTH, WIDTH))


def _norm() -> LayerNorm:
    return LayerNorm(WIDTH)


PLACEMENTS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "post": lambda f: PostNorm(f, _norm()),
    "pre": lambda f: PreNorm(f, _norm()),
    "res_post": lambda f: ResPostNorm(f, _norm()),
    "sandwich": lambda f: SandwichNorm(f, _norm(), _norm()),
}
PLAIN = "plain_batch_norm"
STACKS = (*PLACEMENTS, PLAIN)


def stack(name: str, depth: int) -> tuple[nn.ModuleList, nn.Module]:
    """Return the layers of a stack and what follows them; weights as torch draws them.

    A stack whose main path no norm stands on ends with one before the scores.
    """
    scores: nn.Module = nn.Linear(WIDTH, CLASSES)
    if name == PLAIN:
        layers = [
            nn.Sequential(nn.Linear(WIDTH, WIDTH, bias=False), BatchNorm(WIDTH), nn.ReLU())
            for _ in range(depth)
        ]
        return nn.ModuleList(layers), scores
    place = PLACEMENTS[name]
    blocks = [nn.Sequential(place(_Attention()), place(_feed_forward())) for _ in range(depth)]
    return nn.ModuleList(blocks), scores if name == "post" else nn.Sequential(_norm(), scores)


def _draw(net: nn.Module, generator: torch.Generator, *, plain: bool) -> None:
    """Draw every weight matrix: Xavier's rule, He's for the plain net with ReLU; biases are 0."""
    for layer in net.modules():
        if not isinstance(layer, nn.Linear):
            continue
        if plain:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
        else:
            nn.init.xavier_uniform_(layer.weight, generator=generator)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def _last_weight(layer: nn.Module) -> Tensor:
    return [part.weight for part in layer.modules() if isinstance(part, nn.Linear)][-1]


def profile(name: str, depth: int, generator: torch.Generator) -> Profile:
    """Return what one fresh stack shows, layer by layer.

    Args:
        name: one of ``STACKS``.
        depth: number of layers.
        generator: draws weights, inputs and labels.

    Returns:
        ``Profile`` with two arrays of shape (depth,).

    Raises:
        KeyError: no stack of that name.

    Example:
        >>> seen = profile("pre", 3, torch.Generator().manual_seed(0))
        >>> seen.gradient.shape, bool((np.diff(seen.variance) > 0).all())
        ((3,), True)
    """
    if name not in STACKS:
        raise KeyError(f"no stack {name!r}; there are {', '.join(STACKS)}.")
    layers, head = stack(name, depth)
    _draw(layers, generator, plain=name == PLAIN)
    _draw(head, generator, plain=False)
    shape = (EXAMPLES * POSITIONS, WIDTH) if name == PLAIN else (EXAMPLES, POSITIONS, WIDTH)
    x = torch.randn(shape, generator=generator)
    labels = torch.randint(CLASSES, (EXAMPLES * POSITIONS,), generator=generator)
    variances = []
    for layer in layers:
        x = layer(x)
        variances.append(x.detach().var(correction=0).item())
    loss = cross_entropy(head(x).reshape(-1, CLASSES), labels)
    gradients = torch.autograd.grad(loss, [_last_weight(layer) for layer in layers])
    norms = [gradient.norm().item() for gradient in gradients]
    return Profile(np.array(norms), np.array(variances))


def run(seed: int, *, depths: Sequence[int], stacks: Sequence[str] = STACKS) -> Iterator[Row]:
    """Yield a row per stack, depth and layer (counted from 1)."""
    for name in stacks:
        for depth in depths:
            seen = profile(name, depth, torch.Generator().manual_seed(seed))
            pairs = zip(seen.gradient.tolist(), seen.variance.tolist(), strict=True)
            for layer, (gradient, variance) in enumerate(pairs, start=1):
                yield {
                    "stack": name,
                    "depth": depth,
                    "layer": layer,
                    "gradient": gradient,
                    "variance": variance,
                }


EXPERIMENT = Experiment(
    name="depth",
    question="How do gradients and activations change from layer to layer in a fresh deep net?",
    run=run,
    live={"depths": (4, 16)},
    full={"depths": DEPTHS},
)

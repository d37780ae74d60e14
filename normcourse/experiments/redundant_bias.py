"""What becomes of a bias before a norm?

Three convolutions with biases learn digits; the biases start at random, as torch draws them. Layers
behind each convolution, in their order:

    batch first    norm, relu       with batch norm
    batch second   relu, norm       the bias acts before the ReLU
    group first    norm, relu       with group norm, four channels to a group
    instance first norm, relu       with instance norm
    no norm        relu

    gradient   root mean square of the biases' gradients / that of the weights', first ten steps
    moved      root mean square of how far the biases went / that of the weights, after training
    effect     largest change of a score when the biases are taken out of the trained net, running
               means following, / the largest score; inference mode

Source: Ioffe & Szegedy 2015, section 3.2 (the bias can be left out).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from normcourse.experiments.deep_digits import outcome, task
from normcourse.experiments.experiment import Experiment
from normcourse.experiments.models import MakeNorm, _draw, conv_net
from normcourse.experiments.result import Effect, Result, Row, Verdict, spread

CHANNELS, DEPTH, GROUPS, BATCH_SIZE, FIRST = 16, 3, 4, 32, 10
NORMS: dict[str, MakeNorm] = {
    "batch": nn.BatchNorm2d,
    "group": lambda channels: nn.GroupNorm(GROUPS, channels),
    "instance": lambda channels: nn.GroupNorm(channels, channels),
    "no": lambda channels: nn.Identity(),
}
OPTIMIZERS: dict[str, Callable[[Iterable[Tensor]], torch.optim.Optimizer]] = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.3),
    "adam": lambda parameters: torch.optim.Adam(parameters, lr=0.01),
}


def make_net(generator: torch.Generator, arm: str) -> nn.Sequential:
    """Return a ``conv_net`` with random biases and the layers of an arm behind each convolution."""
    norm, place = arm.split()
    net = conv_net(generator, 10, channels=CHANNELS, depth=DEPTH, norm=NORMS[norm])
    for conv in convolutions(net):
        _draw(conv, generator)
    if place != "second":
        return net
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    held: tuple[str, nn.Module] | None = None
    for name, layer in net.named_children():
        if name.startswith("norm"):
            held = (name, layer)
            continue
        layers[name] = layer
        if name.startswith("act") and held is not None:
            layers[held[0]] = held[1]
    return nn.Sequential(layers)


def convolutions(net: nn.Module) -> list[nn.Conv2d]:
    """Return the convolutions of a net, in order."""
    return [layer for layer in net.modules() if isinstance(layer, nn.Conv2d)]


def biases(net: nn.Module) -> list[Tensor]:
    """Return the biases of the convolutions."""
    return [conv.bias for conv in convolutions(net) if conv.bias is not None]


def run(seed: int, *, arms: Sequence[str], optimizers: Sequence[str], steps: int) -> Iterator[Row]:
    """Yield a row per arm and optimizer.

    Args:
        seed: of split, weights and batches.
        arms: a norm and its place, as at the head of this file.
        optimizers: "sgd", "adam".
        steps: of training.
    """
    for arm in arms:
        for optimizer in optimizers:
            generator = torch.Generator().manual_seed(seed)
            digits = task(generator)
            net = make_net(generator, arm)
            before = [p.detach().clone() for p in (*biases(net), *_weights(net))]
            shares = _train(net, digits.train_x, digits.train_t, optimizer, steps, generator)
            moved = [
                p.detach() - q for p, q in zip((*biases(net), *_weights(net)), before, strict=True)
            ]
            yield {
                "arm": arm,
                "optimizer": optimizer,
                "gradient": sum(shares) / len(shares),
                "moved": _rms(moved[:DEPTH]) / _rms(moved[DEPTH:]),
                "effect": effect(net, digits.test_x),
            }


def _weights(net: nn.Module) -> list[Tensor]:
    return [conv.weight for conv in convolutions(net)]


def _train(
    net: nn.Sequential, x: Tensor, t: Tensor, optimizer: str, steps: int, generator: torch.Generator
) -> list[float]:
    """Train in place; return the biases' gradient over the weights' in each of the first steps."""
    stepper = OPTIMIZERS[optimizer](net.parameters())
    shares = []
    net.train()
    for step in range(steps):
        batch = torch.randperm(len(x), generator=generator)[:BATCH_SIZE]
        stepper.zero_grad()
        loss = nn.functional.cross_entropy(net(x[batch]), t[batch])
        loss.backward()  # type: ignore[no-untyped-call]
        if step < FIRST:
            shares.append(_rms(_grads(biases(net))) / _rms(_grads(_weights(net))))
        stepper.step()
    return shares


def _grads(parameters: Sequence[Tensor]) -> list[Tensor]:
    return [p.grad for p in parameters if p.grad is not None]


def _rms(tensors: Sequence[Tensor]) -> float:
    values = torch.cat([tensor.detach().double().flatten() for tensor in tensors])
    return values.square().mean().sqrt().item()


@torch.no_grad()
def effect(net: nn.Sequential, x: Tensor) -> float:
    """Return the largest change of a score without the biases, over the largest score.

    A running mean that comes directly behind a bias is lowered by it. The net is changed in place.
    """
    net.eval()
    before = net(x)
    parts = list(net.children())
    for conv, behind in pairwise(parts):
        if not isinstance(conv, nn.Conv2d) or conv.bias is None:
            continue
        if isinstance(behind, nn.BatchNorm2d) and behind.running_mean is not None:
            behind.running_mean -= conv.bias
        conv.bias.zero_()
    changed: float = ((net(x) - before).abs().max() / before.abs().max()).item()
    return changed


# ------------------------------------------------------------------------------------ decisions


def useless_before_batch_norm(result: Result) -> Verdict:
    """Is a bias directly before batch norm useless?

    Supported if with batch norm behind the convolution the biases' gradient is below 1e-5 of the
    weights' and taking the biases out changes no score by more than 1e-4 of the largest, in every
    seed and for every optimizer; refuted if in every seed the gradient is above 1e-3 of the
    weights'; else mixed.
    """
    rows = result.where(arm="batch first").rows
    gradients = [float(row["gradient"]) for row in rows]
    changes = [float(row["effect"]) for row in rows]
    return Verdict(
        outcome(max(gradients) < 1e-5 and max(changes) < 1e-4, min(gradients) > 1e-3),
        (
            Effect(
                "gradient of biases / of weights, batch norm directly behind", spread(gradients)
            ),
            Effect("change of scores without the biases, share of the largest", spread(changes)),
        ),
    )


def useless_elsewhere(result: Result) -> Verdict:
    """Is it useless before a group norm, or where the ReLU comes first?

    Supported if for both, in every seed, the gradient is below 1e-5 of the weights'; refuted if for
    both, in every seed, it is above 0.01 of the weights' and taking the biases out changes scores
    by more than 1 % of the largest (medians over seeds, SGD); else mixed.
    """
    effects, none, much = [], [], []
    for arm in ("group first", "batch second"):
        rows = result.where(arm=arm, optimizer="sgd").rows
        gradient = spread(float(row["gradient"]) for row in rows)
        change = spread(float(row["effect"]) for row in rows)
        effects.append(Effect(f"gradient of biases / of weights, {arm}", gradient))
        effects.append(Effect(f"change of scores without the biases, {arm}", change))
        none.append(all(float(row["gradient"]) < 1e-5 for row in rows))
        much.append(all(float(row["gradient"]) > 0.01 for row in rows) and change.median > 0.01)
    return Verdict(outcome(all(none), all(much)), tuple(effects))


def stays_where_it_was(result: Result) -> Verdict:
    """Does a bias that gets no gradient stay where it was?

    With batch norm directly behind. Supported if after training with SGD and with Adam it has moved
    by less than 1 % of the weights' way, refuted if with both by more than 10 %, else mixed.
    Medians over seeds.
    """
    words = result.distinct("optimizer")
    found = {w: result.spread("moved", arm="batch first", optimizer=w) for w in words}
    return Verdict(
        outcome(
            all(s.median < 0.01 for s in found.values()),
            all(s.median > 0.1 for s in found.values()),
        ),
        tuple(Effect(f"way of the biases / of the weights, {w}", s) for w, s in found.items()),
    )


_ARMS = ["batch first", "batch second", "group first", "instance first", "no norm"]
EXPERIMENT = Experiment(
    name="redundant_bias",
    question="What becomes of a bias before a norm?",
    run=run,
    live={"arms": _ARMS, "optimizers": ["sgd"], "steps": 10},
    full={"arms": _ARMS, "optimizers": ["sgd", "adam"], "steps": 40},
    decisions={
        "useless_before_batch_norm": useless_before_batch_norm,
        "useless_elsewhere": useless_elsewhere,
        "stays_where_it_was": stays_where_it_was,
    },
)

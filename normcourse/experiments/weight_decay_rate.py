"""What does weight decay do to weights whose scale has no effect?

BatchNorm after a layer makes a unit's weights w scale-invariant: the gradient at a·w is that at w
divided by a. A step of rate lr then turns w like a step of rate lr / norm(w)² turns w / norm(w):
the effective learning rate. Decay shrinks w and so raises that rate. With w_t = c^t v_t and
c = 1 - lr·decay, training w with decay and training v without it at the growing rate
lr·c^-(2t+1) pass through the same functions; at eps = 0 that is an identity.

Ways to train the hidden weights of a net; all else has one learning rate and no decay:

    "decay"         SGD with weight decay
    "growing rate"  no decay, the rate of the identity above
    "fixed norm"    no decay, each unit's weights kept at norm 1, at the effective rate that this
                    unit had under "decay" in the same step
    "no decay"      SGD

    loss, held_out  mean over the last steps' batches; of the held-out images, in training mode
    length          root mean square over units of the norm of a unit's weights
    rate            mean over units of learning rate / (c·norm²)
    angle           mean angle between a unit's weights before and after one step, in radians
    difference      largest difference of a held-out probability from that of "decay"

Length, rate and angle are those of the last hidden layer.

Some labels are random, so that the gradients do not die out.

Sources: van Laarhoven 2017; Hoffer et al. 2018; Li & Arora 2020 (the growing rate).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from normcourse.experiments.data import load_digits
from normcourse.experiments.experiment import Experiment
from normcourse.experiments.models import MakeNorm, mlp
from normcourse.experiments.result import Effect, Outcome, Result, Row, Spread, Verdict, spread
from normcourse.modules import BatchNorm

WAYS = ("decay", "growing rate", "fixed norm", "no decay")
BATCH = 64

Rate = float | Tensor


def hidden_weights(net: nn.Sequential) -> list[nn.Parameter]:
    """Return the weight matrices of the hidden layers of an ``mlp``, those before its norms."""
    hidden = [name for name, _ in net.named_children() if name.startswith("linear")]
    return [net.get_parameter(f"{name}.weight") for name in hidden]


def row_norms(weight: Tensor) -> Tensor:
    """Return the norm of each unit's incoming weights, (O, I) -> (O, 1)."""
    norms: Tensor = weight.detach().norm(dim=1, keepdim=True)
    return norms


def angles(before: Tensor, after: Tensor) -> Tensor:
    """Return the angle between each row before and after, in radians, exact also when small.

    Example:
        >>> round(angles(torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 1.0]])).item(), 4)
        0.7854
    """
    a, b = before / row_norms(before), after / row_norms(after)
    result: Tensor = 2 * torch.atan2((a - b).norm(dim=1), (a + b).norm(dim=1))
    return result


@dataclass
class Way:
    """How the hidden weights are stepped.

    Attributes:
        rates: of step t, for each hidden layer one learning rate or one per unit, shape (O, 1).
        decay: times the weight is added to each gradient.
        unit_norm: every unit's weights have norm 1 at the start and after each step.
    """

    rates: Callable[[int], Sequence[Rate]]
    decay: float = 0.0
    unit_norm: bool = False


@torch.no_grad()
def step_weights(weights: Sequence[nn.Parameter], way: Way, step: int) -> None:
    """Make one step of SGD with the gradients that the weights hold."""
    for weight, rate in zip(weights, way.rates(step), strict=True):
        assert weight.grad is not None
        weight.sub_(rate * (weight.grad + way.decay * weight))
        if way.unit_norm:
            weight.div_(row_norms(weight))


def train_hidden(
    net: nn.Sequential,
    x: Tensor,
    t: Tensor,
    way: Way,
    *,
    steps: int,
    lr: float,
    generator: torch.Generator,
) -> Iterator[tuple[float, list[Tensor]]]:
    """Train an ``mlp`` by SGD, its hidden weights in a way of their own.

    Args:
        net: trained in place.
        x: inputs, shape (M, *).
        t: labels, shape (M,).
        way: of the hidden weights.
        steps: how many; a loss that is no number ends the training.
        lr: learning rate of all other parameters.
        generator: draws the batches.

    Yields:
        after each step, the loss of its batch and the hidden weights before it.
    """
    weights = hidden_weights(net)
    if way.unit_norm:
        with torch.no_grad():
            for weight in weights:
                weight.div_(row_norms(weight))
    own = {id(weight) for weight in weights}
    optimizer = torch.optim.SGD([p for p in net.parameters() if id(p) not in own], lr=lr)
    net.train()
    for step in range(steps):
        batch = torch.randperm(len(x), generator=generator)[:BATCH]
        loss = nn.functional.cross_entropy(net(x[batch]), t[batch])
        if not math.isfinite(loss.item()):
            return
        net.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        before = [weight.detach().clone() for weight in weights]
        optimizer.step()
        step_weights(weights, way, step)
        yield loss.item(), before


@dataclass
class _Decayed:
    """What the run with decay leaves for the others, by step."""

    seen: dict[int, Tensor] = field(default_factory=dict)  # held-out probabilities
    rates: list[list[Tensor]] = field(default_factory=list)  # effective, (O, 1) per hidden layer


def run(
    seed: int,
    *,
    arms: Sequence[Sequence[str]],
    depth: int,
    width: int,
    lr: float,
    decay: float,
    steps: int,
    every: int,
    random_labels: float,
) -> Iterator[Row]:
    """Yield a row per arm and checkpoint.

    Args:
        seed: draws split, random labels, weights and batches, the same for every arm.
        arms: pairs of a norm ("batch", with eps = 0, or "none") and a word of ``WAYS``; of each
            norm "decay" comes first, the others refer to it.
        depth: hidden layers, with tanh, in double precision.
        width: units in each.
        lr: learning rate.
        decay: weight decay.
        steps: of training.
        every: steps between rows.
        random_labels: fraction of the training labels that are drawn anew.

    Yields:
        ``norm``, ``way``, ``step`` (steps made) and the quantities of the head of this
        file. A run whose loss is no number ends with an infinite loss and difference.
    """
    decayed = {norm: _Decayed() for norm, _ in arms}
    for norm, name in arms:
        generator = torch.Generator().manual_seed(seed)
        digits = load_digits(generator)
        t = _relabel(digits.train_t, random_labels, generator)
        make: str | MakeNorm = _exact_batch_norm if norm == "batch" else norm
        sizes = {"depth": depth, "width": width}
        net = mlp(generator, 64, 10, **sizes, norm=make, activation="tanh").double()
        told, done = decayed[norm], 0
        way = _way(name, lr, decay, depth, told.rates)
        training = train_hidden(
            net, digits.train_x.double(), t, way, steps=steps, lr=lr, generator=generator
        )
        losses: list[float] = []
        turns: list[float] = []
        for done, (loss, before) in enumerate(training, start=1):
            losses.append(loss)
            turns.append(angles(before[-1], hidden_weights(net)[-1].detach()).mean().item())
            rates = _effective(way, done - 1, before, 1 - lr * way.decay)
            if name == "decay":
                told.rates.append(rates)
            if done % every:
                continue
            p = _probabilities(net, digits.test_x.double())
            if name == "decay":
                told.seen[done] = p
            yield {
                "norm": norm,
                "way": name,
                "step": done,
                "loss": sum(losses) / len(losses),
                "held_out": nn.functional.nll_loss(p.log(), digits.test_t).item(),
                "length": row_norms(before[-1]).square().mean().sqrt().item(),
                "rate": rates[-1].mean().item(),
                "angle": sum(turns) / len(turns),
                "difference": (p - told.seen[done]).abs().max().item(),
            }
            losses, turns = [], []
        if done < steps:
            lost = {"loss": math.inf, "held_out": math.inf, "difference": math.inf}
            yield {"norm": norm, "way": name, "step": steps, **lost}


def _way(name: str, lr: float, decay: float, depth: int, told: Sequence[Sequence[Tensor]]) -> Way:
    """Return a way by its word; ``told`` are the effective rates of the run with decay."""
    shrink = 1 - lr * decay
    ways = {
        "decay": Way(lambda _: [lr] * depth, decay=decay),
        "growing rate": Way(lambda t: [lr * shrink ** -(2 * t + 1)] * depth),
        "fixed norm": Way(lambda t: told[t], unit_norm=True),
        "no decay": Way(lambda _: [lr] * depth),
    }
    return ways[name]


def _effective(way: Way, step: int, weights: Sequence[Tensor], shrink: float) -> list[Tensor]:
    """Return rate / (c·norm²) of each unit of each layer, shape (O, 1)."""
    return [
        rate / (shrink * row_norms(weight).square())
        for rate, weight in zip(way.rates(step), weights, strict=True)
    ]


def _exact_batch_norm(num_features: int) -> nn.Module:
    return BatchNorm(num_features, eps=0.0)


@torch.no_grad()
def _probabilities(net: nn.Sequential, x: Tensor) -> Tensor:
    """Return the probabilities for a batch by its own statistics; running ones stay."""
    scores: Tensor = copy.deepcopy(net).train()(x)
    return scores.softmax(dim=1)


def _relabel(t: Tensor, fraction: float, generator: torch.Generator) -> Tensor:
    """Return labels of which a fraction is drawn anew from the ten classes."""
    chosen = torch.rand(len(t), generator=generator) < fraction
    return torch.where(chosen, torch.randint(10, t.shape, generator=generator), t)


# ------------------------------------------------------------------------------------ decisions


def decay_only_sets_the_rate(result: Result) -> Verdict:
    """On scale-invariant weights, does decay do the same as a growing learning rate without decay?

    Supported if with BatchNorm no held-out probability of the two runs ever differs by more than
    0.001 (largest over checkpoints, median over seeds), while without decay and with a constant
    rate one differs by more than 0.01; refuted if the two differ by more than 0.01; else mixed.
    """
    growing, plain = (_largest_difference(result, way) for way in ("growing rate", "no decay"))
    effects = (
        Effect("difference, growing rate against decay", growing),
        Effect("difference, no decay against decay", plain),
    )
    if growing.median < 0.001 and plain.median > 0.01:
        return Verdict("supported", effects)
    return Verdict("refuted" if growing.median > 0.01 else "mixed", effects)


def decay_regularizes(result: Result) -> Verdict:
    """With BatchNorm, does decay lower the held-out loss other than by the effective rate?

    Unit norm at the effective rates that the run with decay had serves as comparison. Supported if
    the held-out loss at the end with decay is more than 2 % lower than that (median over seeds of
    the ratio), refuted if it is within 2 % or higher.
    """
    end = result.where(norm="batch", step=max(result.distinct("step")))
    ours, fixed = (
        {int(row["seed"]): float(row["held_out"]) for row in end.where(way=way).rows}
        for way in ("decay", "fixed norm")
    )
    ratio = spread(ours[seed] / fixed[seed] for seed in ours)
    effect = Effect("held-out loss, decay / fixed norm at the same effective rate", ratio)
    return Verdict("supported" if ratio.median < 0.98 else "refuted", (effect,))


def angle_finds_its_balance(result: Result) -> Verdict:
    """Does decay bring the turn per step to sqrt(2·lr·decay), whatever the weights began with?

    Supported if in the last quarter of the steps the angle per step is within 15 % of it (median
    over seeds), refuted if it is off by more than half of it, else mixed.
    """
    end = result.where(norm="batch", way="decay")
    late = 0.75 * max(end.distinct("step"))
    angle = end.keep(lambda row: float(row["step"]) > late).spread("angle")
    wanted = math.sqrt(2 * result.settings["lr"] * result.settings["decay"])
    off = abs(angle.median / wanted - 1)
    outcome: Outcome = "supported" if off < 0.15 else "refuted" if off > 0.5 else "mixed"
    relative = spread(value / wanted for value in angle[:3])
    return Verdict(
        outcome, (Effect("angle / sqrt(2·lr·decay)", relative._replace(seeds=angle.seeds)),)
    )


def _largest_difference(result: Result, way: str) -> Spread:
    rows = result.where(norm="batch", way=way)
    return spread(
        max(float(value) for value in rows.where(seed=seed).values("difference"))
        for seed in rows.seeds
    )


_SIZES = {"depth": 3, "width": 48, "lr": 0.1, "decay": 0.05, "random_labels": 0.2}
EXPERIMENT = Experiment(
    name="weight_decay_rate",
    question="What does weight decay do to weights whose scale has no effect?",
    run=run,
    live={
        **_SIZES,
        "arms": [["batch", "decay"], ["batch", "growing rate"], ["batch", "no decay"]],
        "steps": 160,
        "every": 20,
    },
    full={
        **_SIZES,
        "arms": [["batch", way] for way in WAYS] + [["none", "decay"], ["none", "growing rate"]],
        "steps": 800,
        "every": 40,
    },
    decisions={
        "decay_only_sets_the_rate": decay_only_sets_the_rate,
        "decay_regularizes": decay_regularizes,
        "angle_finds_its_balance": angle_finds_its_balance,
    },
)

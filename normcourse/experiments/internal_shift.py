"""How far does the input of a layer move while the layers before it are trained?

A deep net reads digits, with or without BatchNorm, from pixels as they are or standardized. What
two of its layers are given for the same images is compared before and after single steps:

    mean_shift    median over units of abs(mean' - mean) / std
    spread_shift  median over units of abs(log(std' / std))
    wasserstein   median over units of the Wasserstein distance of their values / std
    moved         median over units of the root mean square change of a value / std
    gradient      norm(G' - G) / norm(G) for the gradient G of the layer's weights, when only the
                  layers before it make their step

and with what they were given at the start:

    total_mean         as mean_shift
    total_shape        as wasserstein, once both sides are standardized
    total_correlation  norm(C' - C) / norm(C) for the correlations between different units
    total_moved        median over units of the root mean square change of a standardized value

Sources: Ioffe & Szegedy 2015 (the hypothesis); Santurkar et al. 2018 (the measure by gradients).
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from normcourse.experiments.data import load_digits
from normcourse.experiments.experiment import Experiment
from normcourse.experiments.models import mlp
from normcourse.experiments.result import Effect, Outcome, Result, Row, Spread, Verdict, spread
from normcourse.experiments.train import mean_loss, train

EPS = 1e-5
MEASURES = ("mean_shift", "spread_shift", "wasserstein", "moved", "gradient")
COUNTS = 16  # a pixel of the digits is a count of 0 to 16


def standardized(x: Tensor, like: Tensor) -> Tensor:
    """Return x shifted and scaled by mean and spread of each value of ``like``; both (N, *)."""
    mean = like.mean(dim=0, keepdim=True)
    return (x - mean) / (like.var(dim=0, correction=0, keepdim=True) + EPS).sqrt()


def wasserstein(a: Tensor, b: Tensor) -> Tensor:
    """Return the Wasserstein distance of each column, (N, D) twice: the mean gap once sorted."""
    gaps: Tensor = (a.sort(dim=0).values - b.sort(dim=0).values).abs().mean(dim=0)
    return gaps


def step_shift(before: Tensor, after: Tensor) -> dict[str, float]:
    """Return how far the values of some units moved, in units of the spread they had.

    Args:
        before: what the units gave for N examples, shape (N, D).
        after: what they give for the same examples.

    Example:
        >>> x = torch.tensor([[2.0], [4.0], [6.0], [8.0]])
        >>> {name: round(value, 2) for name, value in step_shift(x, x + 5).items()}
        {'mean_shift': 2.24, 'spread_shift': 0.0, 'wasserstein': 2.24, 'moved': 2.24}
    """
    std = (before.var(dim=0, correction=0) + EPS).sqrt()  # (D,)
    std_after = (after.var(dim=0, correction=0) + EPS).sqrt()
    by_unit = {
        "mean_shift": (after.mean(dim=0) - before.mean(dim=0)).abs() / std,
        "spread_shift": (std_after / std).log().abs(),
        "wasserstein": wasserstein(before, after) / std,
        "moved": (after - before).square().mean(dim=0).sqrt() / std,
    }
    return {name: values.median().item() for name, values in by_unit.items()}


def total_shift(start: Tensor, now: Tensor) -> dict[str, float]:
    """Return what changed since the start in the values of some units, (N, D) twice."""
    old, new = standardized(start, start), standardized(now, now)
    c_old, c_new = _correlations(old), _correlations(new)
    return {
        "total_mean": step_shift(start, now)["mean_shift"],
        "total_shape": wasserstein(old, new).median().item(),
        "total_correlation": ((c_new - c_old).norm() / c_old.norm()).item(),
        "total_moved": (new - old).square().mean(dim=0).sqrt().median().item(),
    }


def _correlations(x_hat: Tensor) -> Tensor:
    """Return the correlations of different columns; 0 on the diagonal."""
    c = x_hat.T @ x_hat / len(x_hat)  # (D, D)
    return c - torch.diag(c.diagonal())


@torch.no_grad()
def layer_input(net: nn.Sequential, x: Tensor, layer: int) -> Tensor:
    """Return what a hidden layer (counted from 1) of an ``mlp`` in training mode is given.

    Running statistics are left as they are.
    """
    net = copy.deepcopy(net).train()
    for name, part in net.named_children():
        if name == f"linear{layer}":
            break
        x = part(x)
    return x


def gradient_shift(
    before: nn.Sequential, after: nn.Sequential, x: Tensor, t: Tensor, layer: int
) -> float:
    """Return norm(G' - G) / norm(G) of a layer's weights when only the layers before it step.

    Args:
        before: an ``mlp`` before the step.
        after: the same net after it.
        x: inputs, shape (N, *).
        t: labels, shape (N,).
        layer: hidden layer, counted from 1.
    """
    mixed = copy.deepcopy(before)
    weights, stepped = dict(mixed.named_parameters()), dict(after.named_parameters())
    earlier = {f"{part}{k}" for part in ("linear", "norm") for k in range(1, layer)}
    with torch.no_grad():
        for name, weight in weights.items():
            if name.split(".")[0] in earlier:
                weight.copy_(stepped[name])
    old, new = (_gradient(net, x, t, f"linear{layer}.weight") for net in (before, mixed))
    return float((new - old).norm() / old.norm())


def _gradient(net: nn.Sequential, x: Tensor, t: Tensor, name: str) -> Tensor:
    net = copy.deepcopy(net).train()
    loss = nn.functional.cross_entropy(net(x), t)
    return torch.autograd.grad(loss, dict(net.named_parameters())[name])[0]


def run(
    seed: int,
    *,
    arms: Sequence[Mapping[str, Any]],
    depth: int,
    width: int,
    layers: Sequence[int],
    checkpoints: Sequence[int],
) -> Iterator[Row]:
    """Yield a row per arm, layer and checkpoint: the shift that the step after it makes.

    Args:
        seed: draws split, weights and batches.
        arms: each with ``norm``, ``activation``, ``inputs`` ("raw" counts 0 to 16, or
            "standardized" by the training images) and ``lr``.
        depth: hidden layers.
        width: units in each.
        layers: whose input is looked at, counted from 1.
        checkpoints: numbers of steps made, rising.

    Yields:
        the arm, ``layer``, ``step``, the measures of the head of this file, and ``loss``, that of
        the held-out images in training mode.
    """
    for arm in arms:
        generator = torch.Generator().manual_seed(seed)
        digits = load_digits(generator)
        x, seen = COUNTS * digits.train_x, COUNTS * digits.test_x
        if arm["inputs"] == "standardized":
            x, seen = standardized(x, x), standardized(seen, x)
        kinds = {"norm": arm["norm"], "activation": arm["activation"]}
        net = mlp(generator, 64, 10, depth=depth, width=width, **kinds)
        start = {k: layer_input(net, seen, k) for k in layers}
        done = 0
        for step in checkpoints:
            common = {"lr": arm["lr"], "generator": generator}
            train(net, x, digits.train_t, steps=step - done, **common)
            before, done = copy.deepcopy(net), step + 1
            train(net, x, digits.train_t, steps=1, **common)
            loss = mean_loss(before, seen, digits.test_t, training=True)
            for k in layers:
                given = layer_input(before, seen, k)
                yield {
                    **arm,
                    "layer": k,
                    "step": step,
                    **step_shift(given, layer_input(net, seen, k)),
                    "gradient": gradient_shift(before, net, seen, digits.test_t, k),
                    **total_shift(start[k], given),
                    "loss": loss,
                }


# ------------------------------------------------------------------------------------ decisions


def per_step(result: Result, column: str, **wanted: str | float) -> dict[int, float]:
    """Return, for the last of the layers, seed to the mean of a column over the steps."""
    layer = max(result.distinct("layer"))
    chosen = result.where(layer=layer, **wanted)
    return {seed: _mean(chosen.where(seed=seed).values(column)) for seed in chosen.seeds}


def ratio(result: Result, column: str, over: Mapping[str, Any], under: Mapping[str, Any]) -> Spread:
    """Return the spread over seeds of one arm's mean shift per step divided by another's."""
    top, bottom = per_step(result, column, **over), per_step(result, column, **under)
    return spread(top[seed] / bottom[seed] for seed in top)


WITHOUT: dict[str, Any] = {
    "norm": "none",
    "activation": "tanh",
    "inputs": "standardized",
    "lr": 0.05,
}
WITH: dict[str, Any] = {**WITHOUT, "norm": "batch"}
FASTER: dict[str, Any] = {**WITH, "lr": 0.5}
RAW: dict[str, Any] = {**WITHOUT, "inputs": "raw"}


def reduces_shift(result: Result) -> Verdict:
    """Does BatchNorm reduce internal covariate shift, at the same learning rate?

    Supported if by every measure the shift per step with BatchNorm is below 0.8 of that without
    (median of the ratio over seeds), refuted if by every measure it is above 1.25, else mixed: it
    depends on the measure.
    """
    spreads = {name: ratio(result, name, WITH, WITHOUT) for name in MEASURES}
    medians = [value.median for value in spreads.values()]
    return Verdict(
        _outcome(all(m < 0.8 for m in medians), all(m > 1.25 for m in medians)),
        tuple(Effect(f"{name}, with / without", value) for name, value in spreads.items()),
    )


def holds_moments(result: Result) -> Verdict:
    """Does BatchNorm hold mean and spread of a layer's inputs steadier, at the same learning rate?

    Supported if for both the median ratio is below 0.5, refuted if for both above 1, else mixed.
    """
    spreads = [ratio(result, name, WITH, WITHOUT) for name in ("mean_shift", "spread_shift")]
    return Verdict(
        _outcome(all(s.median < 0.5 for s in spreads), all(s.median > 1 for s in spreads)),
        (
            Effect("shift of the mean, with / without", spreads[0]),
            Effect("shift of the spread, with / without", spreads[1]),
        ),
    )


def same_distribution(result: Result) -> Verdict:
    """With BatchNorm, does a layer get inputs of the same distribution throughout training?

    Supported if at the last checkpoint shape and correlations both differ from the start by less
    than 0.1 (medians over seeds), refuted if one of them by more than 0.3, else mixed.
    """
    end = result.where(
        step=max(result.distinct("step")), layer=max(result.distinct("layer")), **WITH
    )
    shape, correlation = end.spread("total_shape"), end.spread("total_correlation")
    both = (shape.median, correlation.median)
    return Verdict(
        _outcome(max(both) < 0.1, max(both) > 0.3),
        (
            Effect("shape, distance since the start", shape, "std"),
            Effect("correlations, relative change since the start", correlation),
            Effect(
                "the same example's value, change since the start", end.spread("total_moved"), "std"
            ),
        ),
    )


def less_shift_is_faster(result: Result) -> Verdict:
    """Does the arm that shifts less learn faster?

    BatchNorm at the large learning rate is compared with no norm at the small one; an arm learns
    faster if its loss, averaged over the checkpoints, is lower in three quarters of the seeds.
    Refuted if BatchNorm shifts more by at least four of the five measures (median ratio above 1)
    and yet learns faster; supported if it shifts less by at least four and learns faster; else
    mixed.
    """
    spreads = {name: ratio(result, name, FASTER, WITHOUT) for name in MEASURES}
    fast, slow = (per_step(result, "loss", **arm) for arm in (FASTER, WITHOUT))
    lower = sum(fast[seed] < slow[seed] for seed in fast) >= 0.75 * len(fast)
    more = sum(value.median > 1 for value in spreads.values())
    less = sum(value.median < 1 for value in spreads.values())
    return Verdict(
        _outcome(lower and less >= 4, lower and more >= 4),
        (
            *(Effect(f"{name}, fast with / slow without", v) for name, v in spreads.items()),
            Effect("loss, fast with / slow without", ratio(result, "loss", FASTER, WITHOUT)),
        ),
    )


def inputs_suffice(result: Result) -> Verdict:
    """Without any norm, does standardizing the images alone make a late layer's inputs steadier?

    Supported if the shift of the mean per step, standardized / raw, has a median below 0.5,
    refuted if above 1, else mixed.
    """
    means = ratio(result, "mean_shift", WITHOUT, RAW)
    return Verdict(
        _outcome(means.median < 0.5, means.median > 1),
        (Effect("shift of the mean, standardized / raw inputs", means),),
    )


def _outcome(supported: bool, refuted: bool) -> Outcome:
    return "supported" if supported else "refuted" if refuted else "mixed"


def _mean(values: Iterable[float]) -> float:
    numbers = [float(value) for value in values]
    return sum(numbers) / len(numbers)


_RELU = {"activation": "relu", "lr": 0.02}
EXPERIMENT = Experiment(
    name="internal_shift",
    question="How far does the input of a late layer move while the layers before it are trained?",
    run=run,
    live={
        "arms": [WITHOUT, WITH],
        "depth": 8,
        "width": 64,
        "layers": [8],
        "checkpoints": [0, 5, 20, 50, 100],
    },
    full={
        "arms": [
            *(WITHOUT, WITH, FASTER, RAW, {**RAW, "norm": "batch"}, {**WITHOUT, "lr": 0.2}),
            *({**WITHOUT, **_RELU}, {**WITH, **_RELU}),
        ],
        "depth": 8,
        "width": 64,
        "layers": [2, 8],
        "checkpoints": [0, 2, 5, 10, 20, 50, 100, 150, 200, 300],
    },
    decisions={
        "reduces_shift": reduces_shift,
        "holds_moments": holds_moments,
        "same_distribution": same_distribution,
        "less_shift_is_faster": less_shift_is_faster,
        "inputs_suffice": inputs_suffice,
    },
)

"""How large are signals and gradients, layer by layer, in a fresh deep net?

A deep net reads digits before its first training step. Weights are drawn with standard deviation
gain / sqrt(fan_in). One batch goes forward and its gradient back; nothing is trained, so nothing
has shifted.

    size       root mean square of what the layer's weights give, before norm and activation
    fed        the same after the norm: what the activation is given
    saturated  fraction of activations beyond 0.99 of their range (tanh, sigmoid)
    gradient   root mean square of the loss' gradient with respect to the layer's activations
    passed     gradient before the activation / gradient after it, where it is saturated
    passed_else  the same where it is not

Sources: Glorot & Bengio 2010 (saturation, gradients by layer); He et al. 2015 (gain for ReLU).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from normcourse.experiments.data import load_digits
from normcourse.experiments.experiment import Experiment
from normcourse.experiments.internal_shift import COUNTS, standardized
from normcourse.experiments.models import mlp
from normcourse.experiments.result import Effect, Result, Row, Spread, Verdict, spread

# range of an activation that saturates: its lower and its upper end
ENDS = {"tanh": (-1.0, 1.0), "sigmoid": (0.0, 1.0)}


def run(
    seed: int,
    *,
    arms: Sequence[Mapping[str, Any]],
    depth: int,
    width: int,
    examples: int,
    layers: Sequence[int],
) -> Iterator[Row]:
    """Yield a row per arm and layer.

    Args:
        seed: draws images and weights.
        arms: each with ``norm``, ``activation``, ``inputs`` ("raw" counts 0 to 16, or
            "standardized") and ``gain``.
        depth: hidden layers.
        width: units in each.
        examples: images in the batch.
        layers: which of the layers to report, counted from 1.

    Yields:
        the arm, ``layer`` (counted from 1) and the quantities of the head of this file.
    """
    for arm in arms:
        generator = torch.Generator().manual_seed(seed)
        digits = load_digits(generator)
        x, t = COUNTS * digits.train_x[:examples], digits.train_t[:examples]
        if arm["inputs"] == "standardized":
            x = standardized(x, COUNTS * digits.train_x)
        kinds = {"norm": arm["norm"], "activation": arm["activation"], "gain": arm["gain"]}
        net = mlp(generator, 64, 10, depth=depth, width=width, **kinds)
        for layer, seen in enumerate(_layers(net, x, t), start=1):
            if layer in layers:
                yield {**arm, "layer": layer, **_measures(*seen, arm["activation"])}


def _layers(net: nn.Sequential, x: Tensor, t: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Return of each layer what its weights, its norm and its activation give, with gradients."""
    layers, parts = [], {}
    for name, part in net.named_children():
        x = part(x)
        kind = name.rstrip("0123456789")
        if kind in ("linear", "norm", "act"):
            x.retain_grad()
            parts[kind] = x
        if kind == "act":
            layers.append((parts["linear"], parts["norm"], parts["act"]))
    nn.functional.cross_entropy(x, t).backward()  # type: ignore[no-untyped-call]
    return layers


def _measures(z: Tensor, fed: Tensor, a: Tensor, activation: str) -> dict[str, float]:
    assert a.grad is not None
    assert fed.grad is not None
    measures = {"size": _rms(z), "fed": _rms(fed), "gradient": _rms(a.grad)}
    if activation in ENDS:
        low, high = ENDS[activation]
        middle, reach = (low + high) / 2, (high - low) / 2
        stuck = (a - middle).abs() > 0.99 * reach
        measures["saturated"] = stuck.float().mean().item()
        for name, where in (("passed", stuck), ("passed_else", ~stuck)):
            if where.any() and _rms(a.grad[where]) > 0:
                measures[name] = _rms(fed.grad[where]) / _rms(a.grad[where])
    return measures


def _rms(x: Tensor) -> float:
    return x.detach().double().square().mean().sqrt().item()


# ------------------------------------------------------------------------------------ decisions


def end_to_end(result: Result, column: str, **arm: Any) -> Spread:
    """Return the spread over seeds of a column in the first layer divided by that in the last."""
    chosen = result.where(**arm)
    first, last = min(chosen.distinct("layer")), max(chosen.distinct("layer"))
    return spread(
        float(chosen.where(seed=seed, layer=first).values(column)[0])
        / float(chosen.where(seed=seed, layer=last).values(column)[0])
        for seed in chosen.seeds
    )


LINEAR: dict[str, Any] = {"norm": "none", "activation": "linear", "inputs": "standardized"}
TANH: dict[str, Any] = {"norm": "none", "activation": "tanh", "inputs": "standardized"}


def gain_to_the_depth(result: Result) -> Verdict:
    """Does a signal in a linear net grow as gain to the power of depth?

    Supported if for every gain the growth per layer, a root, is within 3 % of it (median over
    seeds), refuted if for none, else mixed.
    """
    effects, near = [], []
    for gain in result.where(**LINEAR).distinct("gain"):
        chosen = result.where(gain=gain, **LINEAR)
        layers = max(chosen.distinct("layer")) - min(chosen.distinct("layer"))
        ends = end_to_end(result, "size", gain=gain, **LINEAR)
        power = -1 / layers
        growth = Spread(ends.median**power, ends.high**power, ends.low**power, ends.seeds)
        effects.append(Effect(f"growth per layer at gain {gain:g}", growth))
        near.append(abs(growth.median / gain - 1) < 0.03)
    return Verdict(
        "supported" if all(near) else "mixed" if any(near) else "refuted", tuple(effects)
    )


def shift_makes_gradients_vanish(result: Result) -> Verdict:
    """Is internal covariate shift what makes gradients vanish or explode?

    It has not begun in a fresh net. Refuted if there the gradient of a linear net changes between
    its last and its first layer by more than a factor of 100, downward at the smallest gain and
    upward at the largest (medians over seeds); supported if both stay within a factor of 10; else
    mixed.
    """
    gains = sorted(result.where(**LINEAR).distinct("gain"))
    down, up = (end_to_end(result, "gradient", gain=g, **LINEAR) for g in (gains[0], gains[-1]))
    effects = (
        Effect(f"gradient, first / last layer, gain {gains[0]:g}", down),
        Effect(f"gradient, first / last layer, gain {gains[-1]:g}", up),
    )
    if down.median < 0.01 and up.median > 100:
        return Verdict("refuted", effects)
    calm = all(0.1 < value.median < 10 for value in (down, up))
    return Verdict("supported" if calm else "mixed", effects)


def saturation_needs_large_gradients(result: Result) -> Verdict:
    """Do units saturate because gradients are massive, or keep massive gradients while saturated?

    Refuted if in a fresh tanh net at the largest gain, where no gradient has acted yet, more than
    a quarter of the last layer's units are saturated, and these pass less than 5 % of the gradient
    they receive (medians over seeds); supported if fewer than 1 % are saturated at every gain; else
    mixed.
    """
    chosen = result.where(**TANH)
    gains, last = sorted(chosen.distinct("gain")), max(chosen.distinct("layer"))
    stuck = [chosen.spread("saturated", gain=gain, layer=last) for gain in gains]
    effects = [Effect(f"saturated in the last layer, gain {gains[-1]:g}", stuck[-1])]
    if all(value.median < 0.01 for value in stuck):
        return Verdict("supported", tuple(effects))
    passed = chosen.spread("passed", gain=gains[-1], layer=last)
    effects.append(Effect("share of the gradient that saturated units pass", passed))
    both = stuck[-1].median > 0.25 and passed.median < 0.05
    return Verdict("refuted" if both else "mixed", tuple(effects))


def _arms(base: Mapping[str, Any], gains: Sequence[float]) -> list[dict[str, Any]]:
    return [{**base, "gain": gain} for gain in gains]


_RAW = {"inputs": "raw"}
_BATCH = {"norm": "batch"}
_ARMS = [
    *_arms(LINEAR, [0.8, 1.0, 1.25]),
    *_arms({**LINEAR, **_BATCH}, [0.8, 1.0, 1.25]),
    *_arms(TANH, [1.0, 1.5, 3.0]),
    *_arms({**TANH, **_RAW}, [1.0]),
    *_arms({**TANH, **_BATCH}, [1.0, 3.0]),
    *_arms({**TANH, "activation": "sigmoid"}, [1.0, 4.0]),
]
EXPERIMENT = Experiment(
    name="signal_depth",
    question="How large are signals and gradients, layer by layer, in a fresh deep net?",
    run=run,
    live={
        "arms": _ARMS[:3] + _ARMS[6:9],
        "depth": 20,
        "width": 64,
        "examples": 128,
        "layers": [1, 2, 5, 10, 15, 20],
    },
    full={
        "arms": _ARMS,
        "depth": 30,
        "width": 128,
        "examples": 256,
        "layers": [1, 2, 3, 5, 7, 10, 15, 20, 25, 30],
    },
    decisions={
        "gain_to_the_depth": gain_to_the_depth,
        "shift_makes_gradients_vanish": shift_makes_gradients_vanish,
        "saturation_needs_large_gradients": saturation_needs_large_gradients,
    },
)

"""Which changes of weights and inputs leave the output of a norm as it was?

A linear layer without bias is followed by a norm without scale and shift, at eps = 0, in double
precision. Each change is made to random weights and inputs; what is recorded is the largest change
of the output, relative to the largest output.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from normcourse.experiments.experiment import Experiment
from normcourse.experiments.result import Effect, Result, Row, Verdict
from normcourse.norms.batch_norm import batch_norm
from normcourse.norms.group_norm import group_norm
from normcourse.norms.instance_norm import instance_norm
from normcourse.norms.layer_norm import layer_norm
from normcourse.norms.rms_norm import rms_norm

Array = NDArray[np.float64]
Change = Callable[[Array, Array, np.random.Generator], tuple[Array, Array]]

SAME = 1e-6  # relative: rounding is far below, every real change far above


def _positions_last(norm: Callable[[Array], Array]) -> Callable[[Array, Array], Array]:
    """Return x, W -> norm(x W) for a norm over (N, C, L)."""

    def layer(x: Array, w: Array) -> Array:
        z = np.moveaxis(x @ w, 2, 1)  # (N, D, L)
        return np.moveaxis(norm(z), 1, 2)  # (N, L, D)

    return layer


def _weight_norm(x: Array, w: Array) -> Array:
    """Weight normalization: each column of W is divided by its own length, x is left alone."""
    y: Array = x @ (w / np.linalg.norm(w, axis=0, keepdims=True))
    return y


LAYERS: dict[str, Callable[[Array, Array], Array]] = {
    "batch": _positions_last(lambda z: batch_norm(z, eps=0.0)),
    "layer": lambda x, w: layer_norm(x @ w, eps=0.0),
    "rms": lambda x, w: rms_norm(x @ w, eps=0.0),
    "instance": _positions_last(lambda z: instance_norm(z, eps=0.0)),
    "group": _positions_last(lambda z: group_norm(z, 2, eps=0.0)),
    "weight": _weight_norm,
}


def _columns(w: Array, scale: float) -> Array:
    """Scale the first column of W, the weights of one feature."""
    factor = np.ones(w.shape[1])
    factor[0] = scale
    return w * factor


def _examples(x: Array, scale: float) -> Array:
    """Scale the first example, all of its positions."""
    factor = np.ones((len(x), 1, 1))
    factor[0] = scale
    return x * factor


CHANGES: dict[str, Change] = {
    "W times 3": lambda x, w, g: (x, 3 * w),
    "one column of W times 3": lambda x, w, g: (x, _columns(w, 3.0)),
    "a vector added to every column of W": lambda x, w, g: (x, w + g.normal(size=(len(w), 1))),
    "all examples times 3": lambda x, w, g: (3 * x, w),
    "one example times 3": lambda x, w, g: (_examples(x, 3.0), w),
    "a vector added to every example": lambda x, w, g: (x + g.normal(size=x.shape[-1]), w),
}


def run(seed: int, *, examples: int, positions: int, inputs: int, features: int) -> list[Row]:
    """Return for every layer and change the relative change of the output.

    Args:
        seed: draws inputs, weights and added vectors.
        examples: N.
        positions: L, positions of each example.
        inputs: width of the input.
        features: D, even: group norm has two groups of them.
    """
    rng = np.random.default_rng(seed)
    x = rng.normal(1.0, 2.0, size=(examples, positions, inputs))
    w = rng.normal(0.2, 1.0, size=(inputs, features))
    rows: list[Row] = []
    for name, change in CHANGES.items():
        new_x, new_w = change(x, w, np.random.default_rng([seed, 1]))
        for norm, layer in LAYERS.items():
            before = layer(x, w)
            moved = np.abs(layer(new_x, new_w) - before).max() / np.abs(before).max()
            rows.append({"norm": norm, "change": name, "moved": float(moved)})
    return rows


def unchanged(result: Result, norm: str, change: str) -> bool:
    """Return whether no seed shows more than rounding.

    Raises:
        ValueError: some seeds show rounding and others a real change.
    """
    moved = [value <= SAME for value in result.where(norm=norm, change=change).values("moved")]
    if any(moved) != all(moved):
        raise ValueError(f"{norm}, {change}: the seeds do not agree.")
    return all(moved)


def one_goal(result: Result) -> Verdict:
    """Decide whether batch norm and layer norm undo the same changes.

    Supported if every change that one of them undoes the other undoes too; refuted if some change
    is undone by one alone.
    """
    differ = [
        change
        for change in CHANGES
        if unchanged(result, "batch", change) != unchanged(result, "layer", change)
    ]
    spreads = [
        Effect(f"{change}, {norm} norm", result.spread("moved", norm=norm, change=change))
        for change in differ[:1]
        for norm in ("batch", "layer")
    ]
    return Verdict("refuted" if differ else "supported", tuple(spreads))


EXPERIMENT = Experiment(
    name="invariances",
    question="Which changes of weights and inputs leave the output of a norm as it was?",
    run=run,
    live={"examples": 6, "positions": 5, "inputs": 7, "features": 8},
    full={"examples": 6, "positions": 5, "inputs": 7, "features": 8},
    decisions={"one_goal": one_goal},
)

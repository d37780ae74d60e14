"""How many steps does gradient descent need for inputs that are raw, standardized or whitened?

A linear classifier (softmax regression) reads the thirteen measurements of 178 wines, which come
in different units. It is trained by gradient descent on all training wines at once, from zero,
with the best of several step sizes, until its loss falls to a target.

    condition  largest / smallest eigenvalue of the inputs' second moments, the constant 1 of the
               bias included
    steps      until the loss is at the target, at the best step size; infinite where none got there
    loss       at the end, the target or what the best step size reached
    right      fraction of held-out wines that are classified right then

Mean, spread and covariance are those of the training wines.

Sources: LeCun et al. 1998 (why inputs are standardized); Aeberhard & Forina, Wine, 1992 (data).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_wine

from normcourse.experiments.experiment import Experiment
from normcourse.experiments.result import Effect, Result, Row, Spread, Verdict, spread

Array = NDArray[np.float64]

PREPARED = ("raw", "centered", "standardized", "whitened")


def prepare(train: Array, test: Array, how: str) -> tuple[Array, Array]:
    """Return training and test inputs, (N, D) and (M, D), prepared by the training ones.

    Args:
        train: training inputs, shape (N, D).
        test: held-out inputs, shape (M, D).
        how: word of ``PREPARED``.

    Raises:
        KeyError: another word.

    Example:
        >>> x = np.array([[2.0], [4.0], [6.0], [8.0]])
        >>> prepare(x, np.array([[5.0], [10.0]]), "standardized")[1].round(3).ravel().tolist()
        [0.0, 2.236]
    """
    mean, width = train.mean(axis=0), train.shape[1]
    values, vectors = np.linalg.eigh(np.cov(train.T, bias=True).reshape(width, width))
    maps = {
        "raw": (np.zeros(width), np.eye(width)),
        "centered": (mean, np.eye(width)),
        "standardized": (mean, np.diag(1 / train.std(axis=0))),
        "whitened": (mean, vectors / np.sqrt(values)),
    }
    offset, matrix = maps[how]
    return (train - offset) @ matrix, (test - offset) @ matrix


def run(
    seed: int,
    *,
    prepared: Sequence[str],
    target: float,
    max_steps: int,
    step_sizes: Sequence[float],
) -> Iterator[Row]:
    """Yield a row per preparation.

    Args:
        seed: draws which wines are held out.
        prepared: words of ``PREPARED``.
        target: the mean cross-entropy to reach.
        max_steps: where a run is given up.
        step_sizes: to try, in units of 1 / (largest eigenvalue of the second moments).

    Yields:
        ``prepared``, ``condition``, ``steps``, ``loss``, ``step_size``, ``right``.
    """
    wine = load_wine()
    order = np.random.default_rng(seed).permutation(len(wine.target))
    held_out, kept = order[:58], order[58:]
    t = np.eye(3)[wine.target]
    for how in prepared:
        train, test = prepare(wine.data[kept], wine.data[held_out], how)
        x, x_test = (np.column_stack([part, np.ones(len(part))]) for part in (train, test))
        eigenvalues = np.linalg.eigvalsh(x.T @ x / len(x))
        runs = [
            (*_descend(x, t[kept], size / eigenvalues[-1], target, max_steps), size)
            for size in step_sizes
        ]
        steps, loss, w, size = min(runs, key=lambda found: found[:2])
        scores: Any = x_test @ w
        yield {
            "prepared": how,
            "condition": float(eigenvalues[-1] / eigenvalues[0]),
            "steps": steps,
            "loss": loss,
            "step_size": size,
            "right": float(np.mean(scores.argmax(axis=1) == wine.target[held_out])),
        }


def _descend(
    x: Array, t: Array, lr: float, target: float, max_steps: int
) -> tuple[float, float, Array]:
    """Return the steps to the target (or infinity), the last loss and the weights."""
    w = np.zeros((x.shape[1], t.shape[1]))
    for step in range(max_steps + 1):
        scores = x @ w
        scores -= scores.max(axis=1, keepdims=True)
        log_p = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
        loss = float(-(log_p * t).sum(axis=1).mean())
        if loss <= target:
            return float(step), loss, w
        w = w - lr * (x.T @ (np.exp(log_p) - t)) / len(x)
    return math.inf, loss, w


# ------------------------------------------------------------------------------------ decisions


def standardizing_saves_steps(result: Result) -> Verdict:
    """Does gradient descent need fewer steps on standardized inputs than on raw ones?

    Supported if the median ratio of steps, raw / standardized, is above 10, refuted if below 2,
    else mixed. A run on raw inputs that is given up counts as infinitely long.
    """
    raw, ready = (
        {int(row["seed"]): float(row["steps"]) for row in result.where(prepared=how).rows}
        for how in ("raw", "standardized")
    )
    ratio = spread(raw[seed] / ready[seed] for seed in raw)
    outcome = _outcome(ratio, above=10, below=2)
    return Verdict(outcome, (Effect("steps, raw / standardized", ratio),))


def _outcome(value: Spread, *, above: float, below: float) -> Any:
    if value.median > above:
        return "supported"
    return "refuted" if value.median < below else "mixed"


EXPERIMENT = Experiment(
    name="input_scale",
    question="How many steps does gradient descent need for raw, standardized or whitened inputs?",
    run=run,
    live={
        "prepared": ["standardized", "whitened"],
        "target": 0.01,
        "max_steps": 1000,
        "step_sizes": [1.0, 4.0],
    },
    full={
        "prepared": list(PREPARED),
        "target": 0.01,
        "max_steps": 5000,
        "step_sizes": [1.0, 2.0, 4.0, 8.0],
    },
    decisions={"standardizing_saves_steps": standardizing_saves_steps},
)

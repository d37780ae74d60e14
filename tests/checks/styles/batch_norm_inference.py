"""Right answers of chapter 04 in other styles."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.checks.styles import batch_norm_inference_torch as in_torch

Array = np.ndarray[Any, Any]
Two = tuple[Array, Array]


def update_by_difference(
    running_mean: Array, running_var: Array, x: Array, momentum: float = 0.1
) -> Two:
    """Old plus momentum times the difference."""
    n = x.shape[0]
    if n == 1:
        raise ValueError("one example")
    mean = x.sum(axis=0) / n
    var = ((x - mean) ** 2).sum(axis=0) / (n - 1)
    return (
        running_mean + momentum * (mean - running_mean),
        running_var + momentum * (var - running_var),
    )


def update_corrected(
    running_mean: Array, running_var: Array, x: Array, momentum: float = 0.1
) -> dict[str, Array]:
    """The biased variance times n/(n − 1); returned by name."""
    n = len(x)
    if n <= 1:
        raise ValueError
    blend = {"old": 1.0 - momentum, "new": momentum}
    return {
        "running_var": blend["old"] * running_var + blend["new"] * np.var(x, 0) * n / (n - 1),
        "running_mean": blend["old"] * running_mean + blend["new"] * np.mean(x, 0),
    }


def update_average(m: Array, v: Array, batch: Array, momentum: float = 0.1) -> Two:
    """`np.average` with two weights, copies written in place."""
    if batch.shape[0] < 2:
        raise ValueError("need two examples")
    weights = [1 - momentum, momentum]
    mean, var = m.copy(), v.copy()
    mean[:] = np.average([m, batch.mean(axis=0)], axis=0, weights=weights)
    var[:] = np.average([v, np.std(batch, axis=0, ddof=1) ** 2], axis=0, weights=weights)
    return mean, var


def update_error_of_division(
    running_mean: Array, running_var: Array, x: Array, momentum: float = 0.1
) -> Two:
    """Another error turned into ValueError; a loop over features."""
    try:
        correction = 1 / (len(x) - 1)
    except ZeroDivisionError as error:
        raise ValueError("a batch of one") from error
    mean, var = [], []
    for j in range(x.shape[1]):
        centre = float(x[:, j].mean())
        square = sum((float(v) - centre) ** 2 for v in x[:, j])
        mean.append((1 - momentum) * running_mean[j] + momentum * centre)
        var.append((1 - momentum) * running_var[j] + momentum * square * correction)
    return np.array(mean), np.array(var)


def eval_scale_and_shift(
    x: Array,
    gamma: Array,
    beta: Array,
    running_mean: Array,
    running_var: Array,
    eps: float = 1e-5,
) -> Array:
    """One scale and one shift per feature."""
    scale = gamma * (running_var + eps) ** -0.5
    return x * scale + (beta - running_mean * scale)


def eval_rows(x: Array, g: Array, b: Array, mean: Array, var: Array, eps: float = 1e-5) -> Array:
    """Row by row."""
    return np.stack([(row - mean) / np.sqrt(var + eps) * g + b for row in x])


def eval_matrix(x: Array, g: Array, b: Array, mean: Array, var: Array, eps: float = 1e-5) -> Array:
    """A diagonal matrix."""
    return (x - mean[None, :]) @ np.diag(g / np.sqrt(var + eps)) + b


def eval_transposed(
    x: Array, g: Array, b: Array, mean: Array, var: Array, eps: float = 1e-5
) -> Array:
    """Transposed in and out, results in Fortran order."""
    t = (x.T - mean[:, None]) / np.sqrt(var + eps)[:, None]
    return (t * g[:, None] + b[:, None]).T


def fold_einsum(
    weight: Array,
    bias: Array | None,
    gamma: Array,
    beta: Array,
    running_mean: Array,
    running_var: Array,
    eps: float = 1e-5,
) -> Two:
    """Einsum with an ellipsis."""
    s = gamma * np.power(running_var + eps, -0.5)
    shift = beta - running_mean * s
    return np.einsum("o...,o->o...", weight, s), shift if bias is None else bias * s + shift


def fold_filters(
    weight: Array,
    bias: Array | None,
    gamma: Array,
    beta: Array,
    running_mean: Array,
    running_var: Array,
    eps: float = 1e-5,
) -> dict[str, Array]:
    """Filter by filter; returned by name."""
    folded, shifts = np.zeros_like(weight), np.zeros_like(beta)
    for o in range(len(weight)):
        factor = gamma[o] / (running_var[o] + eps) ** 0.5
        folded[o] = weight[o] * factor
        shifts[o] = ((bias[o] if bias is not None else 0) - running_mean[o]) * factor + beta[o]
    return {"bias": shifts, "weight": folded}


def fold_rows(
    weight: Array,
    bias: Array | None,
    gamma: Array,
    beta: Array,
    running_mean: Array,
    running_var: Array,
    eps: float = 1e-5,
) -> Two:
    """A diagonal matrix before the flattened weight."""
    scale = np.diag(gamma / np.sqrt(running_var + eps))
    start = -running_mean if bias is None else bias - running_mean
    rows = weight.reshape(weight.shape[0], -1)
    return (scale @ rows).reshape(weight.shape), scale @ start + beta


def fold_probed(
    weight: Array,
    bias: Array | None,
    gamma: Array,
    beta: Array,
    running_mean: Array,
    running_var: Array,
    eps: float = 1e-5,
) -> Two:
    """Read off from what BatchNorm makes of 0 and of 1."""

    def normal(z: Any) -> Array:
        return gamma * (z - running_mean) / np.sqrt(running_var + eps) + beta

    base = normal(0.0 if bias is None else bias)
    slope = normal(1.0) - normal(0.0)
    return np.moveaxis(np.moveaxis(weight, 0, -1) * slope, -1, 0), base


def momentum_negated(momentum: float) -> float:
    """Minus the difference."""
    return -(momentum - 1)


def momentum_numpy(momentum: float) -> Any:
    """A NumPy number."""
    return np.float64(1.0) - momentum


def momentum_array(keras_momentum: float) -> Any:
    """An array without axes."""
    return np.subtract(1.0, np.asarray(keras_momentum))


def step_two_variables(
    x: Array,
    gamma: Array,
    beta: Array,
    running_mean: Array,
    running_var: Array,
    training: bool,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> tuple[Array, Array, Array]:
    """One normalizing line for both modes."""
    mean, var = (x.mean(0), x.var(0)) if training else (running_mean, running_var)
    if training:
        running_mean = running_mean * (1 - momentum) + mean * momentum
        running_var = running_var * (1 - momentum) + x.var(0, ddof=1) * momentum
    return (x - mean) / np.sqrt(var + eps) * gamma + beta, running_mean, running_var


def step_taken_off_again(
    x: Array,
    gamma: Array,
    beta: Array,
    running_mean: Array,
    running_var: Array,
    training: bool,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> tuple[Array, Array, Array]:
    """eps stays in the variable and is taken off where it is stored."""
    if not training:
        y = gamma * (x - running_mean) / np.sqrt(running_var + eps) + beta
        return y, running_mean, running_var
    n, mean = len(x), x.mean(axis=0)
    var = x.var(axis=0) + eps
    y = gamma * (x - mean) / np.sqrt(var) + beta
    running_mean = (1 - momentum) * running_mean + momentum * mean
    running_var = (1 - momentum) * running_var + momentum * (var - eps) * n / (n - 1)
    return y, running_mean, running_var


def step_through_helpers(
    x: Array,
    gamma: Array,
    beta: Array,
    running_mean: Array,
    running_var: Array,
    training: bool,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> list[Array]:
    """Two helpers; copies of the running statistics; a list is returned."""
    if not training:
        y = eval_rows(x, gamma, beta, running_mean, running_var, eps)
        return [y, running_mean.copy(), running_var.copy()]
    y = eval_scale_and_shift(x, gamma, beta, x.mean(axis=0), x.var(axis=0), eps)
    return [y, *update_by_difference(running_mean, running_var, x, momentum)]


STYLES = {
    "update_running_stats": [
        update_by_difference,
        update_corrected,
        update_average,
        update_error_of_division,
    ],
    "batch_norm_eval": [eval_scale_and_shift, eval_rows, eval_matrix, eval_transposed],
    "fold_batch_norm": [fold_einsum, fold_filters, fold_rows, fold_probed],
    "to_pytorch_momentum": [momentum_negated, momentum_numpy, momentum_array],
    "batch_norm_step": [step_two_variables, step_taken_off_again, step_through_helpers],
    **in_torch.STYLES,
}

"""Weight standardization: give each output filter of a weight mean 0 and variance 1.

    w_hat = (weight - mean) / sqrt(var + eps)              moments over the entries of one filter

Made for GroupNorm, which it brings near to BatchNorm at small batches.

Source: Qiao, Wang, Liu, Shen & Yuille, "Micro-Batch Training with Batch-Channel Normalization and
Weight Standardization", 2019.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from normcourse.norms import core
from normcourse.norms._validate import Array, as_floats, check_eps, same_shape
from normcourse.norms.method import Method, Shape, draw_input
from normcourse.norms.weight_norm import axes

_LAYOUT = "(O, *), for example (O, I) or (O, I, kH, kW)"


def standardize_weight(weight: ArrayLike, *, eps: float = 1e-5) -> Array:
    """Give each output filter mean 0 and variance 1.

    Formula:
        w_hat = (weight - mean) / sqrt(var + eps)

    Args:
        weight: array of shape (O, *), for example (O, I, kH, kW).
        eps: added to the biased variance inside the root.

    Returns:
        w_hat, like ``weight`` in shape and dtype. A filter of equal entries gives 0.

    Raises:
        TypeError: weight holds no real numbers.
        ValueError: fewer than two axes, or eps < 0.

    Differs from torch in:
        torch has no weight standardization. The authors' code divides by the unbiased standard
        deviation plus eps, outside the root.

    Source:
        Qiao et al. 2019.

    Example:
        >>> standardize_weight([[2.0, 4.0, 6.0, 8.0]], eps=0.0).round(4)
        array([[-1.3416, -0.4472,  0.4472,  1.3416]])
    """
    weight = as_floats(weight, "weight", min_ndim=2, layout=_LAYOUT)
    out = core.standardize(weight, axes(weight.ndim), check_eps(eps))
    return out.x_hat.astype(weight.dtype, copy=False)


def standardize_weight_backward(
    dw_hat: ArrayLike, weight: ArrayLike, *, eps: float = 1e-5
) -> Array:
    """Return the gradient of :func:`standardize_weight` with respect to the weight.

    Formula, with means over one filter:
        dweight = inv_std * (dw_hat - mean(dw_hat) - w_hat * mean(dw_hat * w_hat))

    Args:
        dw_hat: gradient with respect to w_hat, like ``weight``.
        weight: as in the forward pass.
        eps: as in the forward pass.

    Returns:
        dweight, like ``weight``.

    Raises:
        TypeError: as :func:`standardize_weight`.
        ValueError: as the forward pass, or ``dw_hat`` is not shaped like ``weight``.

    Source:
        Qiao et al. 2019.

    Example:
        >>> dw_hat, weight = [[1.0, 0.0, 0.0, 0.0]], [[2.0, 4.0, 6.0, 8.0]]
        >>> standardize_weight_backward(dw_hat, weight, eps=0.0).round(4)
        array([[ 0.1342, -0.1789, -0.0447,  0.0894]])
    """
    weight = as_floats(weight, "weight", min_ndim=2, layout=_LAYOUT)
    dw_hat = same_shape(dw_hat, "dw_hat", weight, "weight")
    axis = axes(weight.ndim)
    out = core.standardize(weight, axis, check_eps(eps))
    dw_hat = dw_hat.astype(out.x_hat.dtype, copy=False)
    dweight = core.standardize_backward(dw_hat, out.x_hat, out.inv_std, axis)
    return dweight.astype(weight.dtype, copy=False)


def _example(rng: np.random.Generator, shape: Shape) -> dict[str, Any]:
    """Return the arguments of one call."""
    return {"weight": draw_input(rng, shape)}


METHOD = Method(
    name="standardize_weight",
    title="weight standardization",
    kind="weight",
    layout="(O, *)",
    axes=axes,
    pooled="I, kH and kW of the weight: one mean per output filter",
    parameters=("weight",),
    state=(),
    gradients=("weight",),
    formula=r"\hat w = \frac{w - \mu_o}{\sqrt{\sigma_o^2 + \epsilon}}",
    paper="qiao2019micro",
    forward=standardize_weight,
    backward=standardize_weight_backward,
    module="normcourse.modules.standardize_weight:WeightStandardization",
    example=_example,
)

"""Placement: where a norm stands relative to a sublayer and its skip connection.

    post-norm       norm(x + f(x))              original Transformer, GPT-1
    pre-norm        x + f(norm(x))              GPT-2 and most after it; needs a final norm
    res-post-norm   x + norm(f(x))              Swin v2, OLMo 2
    sandwich-norm   x + norm_out(f(norm_in(x))) CogView; Peri-LN
    deep-norm       norm(alpha * x + f(x))      DeepNet

``f`` is the sublayer (attention, feed-forward), ``norm`` the normalization with its parameters
bound: both are callables from an array to an array of the same shape.

Sources: Vaswani et al., "Attention Is All You Need", 2017; Xiong et al., "On Layer Normalization in
the Transformer Architecture", 2020; Liu et al., "Swin Transformer V2", 2022; Ding et al.,
"CogView", 2021; Wang et al., "DeepNet: Scaling Transformers to 1,000 Layers", 2022; Kim et al.,
"Peri-LN", 2025.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import ArrayLike

from normcourse.norms._validate import Array, as_floats, check_number, check_whole

Layer = Callable[[Array], ArrayLike]


def post_norm(x: ArrayLike, f: Layer, norm: Layer) -> Array:
    """Normalize the sum: the norm stands on the main path.

    Formula:
        y = norm(x + f(x))

    Args:
        x: array of any shape.
        f: the sublayer, array to array of the same shape.
        norm: the normalization, array to array of the same shape.

    Returns:
        y, like ``x``.

    Raises:
        ValueError: f or norm returns another shape.

    Source:
        Vaswani et al. 2017, section 3.1.

    Example:
        >>> post_norm([1.0, 2.0], f=lambda x: 2 * x, norm=lambda x: x - x.mean())
        array([-1.5,  1.5])
    """
    x = as_floats(x, "x")
    return _call(norm, "norm", x + _call(f, "f", x))


def pre_norm(x: ArrayLike, f: Layer, norm: Layer) -> Array:
    """Normalize what enters the sublayer: the skip path stays clean.

    Formula:
        y = x + f(norm(x))

    Args:
        x: array of any shape.
        f: the sublayer, array to array of the same shape.
        norm: the normalization, array to array of the same shape.

    Returns:
        y, like ``x``.

    Raises:
        ValueError: f or norm returns another shape.

    Source:
        Xiong et al. 2020.

    Example:
        >>> pre_norm([1.0, 2.0], f=lambda x: 2 * x, norm=lambda x: x - x.mean())
        array([0., 3.])
    """
    x = as_floats(x, "x")
    return x + _call(f, "f", _call(norm, "norm", x))


def res_post_norm(x: ArrayLike, f: Layer, norm: Layer) -> Array:
    """Normalize what leaves the sublayer, before it joins the skip path.

    Formula:
        y = x + norm(f(x))

    Args:
        x: array of any shape.
        f: the sublayer, array to array of the same shape.
        norm: the normalization, array to array of the same shape.

    Returns:
        y, like ``x``.

    Raises:
        ValueError: f or norm returns another shape.

    Source:
        Liu et al. 2022 (Swin Transformer V2), section 3.2.

    Example:
        >>> res_post_norm([1.0, 2.0], f=lambda x: 2 * x, norm=lambda x: x - x.mean())
        array([0., 3.])
    """
    x = as_floats(x, "x")
    return x + _call(norm, "norm", _call(f, "f", x))


def sandwich_norm(x: ArrayLike, f: Layer, norm_in: Layer, norm_out: Layer) -> Array:
    """Normalize what enters the sublayer and what leaves it.

    Formula:
        y = x + norm_out(f(norm_in(x)))

    Args:
        x: array of any shape.
        f: the sublayer, array to array of the same shape.
        norm_in: the normalization before it.
        norm_out: the normalization after it.

    Returns:
        y, like ``x``.

    Raises:
        ValueError: a callable returns another shape.

    Source:
        Ding et al. 2021 (CogView); Kim et al. 2025 (Peri-LN).

    Example:
        >>> sandwich_norm([1.0, 2.0], lambda x: x * x, lambda x: x + 1, lambda x: x / 2)
        array([3. , 6.5])
    """
    x = as_floats(x, "x")
    return x + _call(norm_out, "norm_out", _call(f, "f", _call(norm_in, "norm_in", x)))


def deep_norm(x: ArrayLike, f: Layer, norm: Layer, *, alpha: float) -> Array:
    """Post-norm with a louder skip path, for very deep stacks.

    Formula:
        y = norm(alpha * x + f(x))

    Args:
        x: array of any shape.
        f: the sublayer, array to array of the same shape.
        norm: the normalization, array to array of the same shape.
        alpha: weight of the skip path, from :func:`deep_norm_constants`.

    Returns:
        y, like ``x``.

    Raises:
        ValueError: f or norm returns another shape, or alpha < 0.

    Source:
        Wang et al. 2022 (DeepNet), section 3.

    Example:
        >>> deep_norm([1.0, 2.0], lambda x: 2 * x, lambda x: x - x.mean(), alpha=2.0)
        array([-2.,  2.])
    """
    x = as_floats(x, "x")
    alpha = check_number(alpha, "alpha", at_least=0, usual="deep_norm_constants(num_layers)[0]")
    return _call(norm, "norm", alpha * x + _call(f, "f", x))


def deep_norm_constants(num_layers: int) -> tuple[float, float]:
    """Return DeepNorm's alpha and beta for a stack that is encoder only or decoder only.

    Formula:
        alpha = (2 num_layers)^(1/4),  beta = (8 num_layers)^(-1/4)

    beta is the gain of the initial weights of the feed-forward layers, the values and the output
    projection.

    Args:
        num_layers: number of layers, each of an attention and a feed-forward sublayer.

    Returns:
        alpha and beta.

    Raises:
        ValueError: fewer than one layer.

    Source:
        Wang et al. 2022 (DeepNet), figure 2.

    Example:
        >>> alpha, beta = deep_norm_constants(8)
        >>> round(alpha, 4), round(beta, 4)
        (2.0, 0.3536)
    """
    layers = check_whole(num_layers, "num_layers", at_least=1)
    return (2 * layers) ** 0.25, (8 * layers) ** -0.25


def pre_norm_stack(x: ArrayLike, layers: Iterable[tuple[Layer, Layer]], final_norm: Layer) -> Array:
    """Run a stack of pre-norm sublayers and the final norm that such a stack needs.

    Formula:
        x = x + f(norm(x)) for each (f, norm),  y = final_norm(x)

    Args:
        x: array of any shape.
        layers: pairs of sublayer and norm, in order.
        final_norm: the normalization of the last sum, which nothing else normalizes.

    Returns:
        y, like ``x``.

    Raises:
        ValueError: a callable returns another shape.

    Source:
        Radford et al., "Language Models are Unsupervised Multitask Learners", 2019 (GPT-2).

    Example:
        >>> layers = [(lambda x: 2 * x, lambda x: x + 1), (lambda x: -x, lambda x: x / 2)]
        >>> pre_norm_stack([0.0, 2.0], layers, final_norm=lambda x: x - x.mean())
        array([-1.5,  1.5])
    """
    x = as_floats(x, "x")
    for f, norm in layers:
        x = pre_norm(x, f, norm)
    return _call(final_norm, "final_norm", x)


def _call(layer: Layer, name: str, x: Array) -> Array:
    """Return layer(x), which must keep the shape."""
    y = np.asarray(layer(x))
    if y.shape != x.shape:
        raise ValueError(
            f"{name}: expected it to keep the shape {x.shape}, got {y.shape}. "
            f"A skip connection adds arrays of one shape; project in f."
        )
    return y


PLACEMENTS: dict[str, Callable[..., Array]] = {
    "post_norm": post_norm,
    "pre_norm": pre_norm,
    "res_post_norm": res_post_norm,
    "sandwich_norm": sandwich_norm,
    "deep_norm": deep_norm,
}

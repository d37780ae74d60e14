"""Adaptive instance normalization: the content's shapes with the style's contrast and colour.

    y = sqrt(style_var + eps) * (content - mean) / sqrt(var + eps) + style_mean

All moments are per image and channel, over positions. Scale and shift are not learned, they are
measured on another image.

Source: Huang & Belongie, "Arbitrary Style Transfer in Real-time with Adaptive Instance
Normalization", 2017, equation 8.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from normcourse.norms import core
from normcourse.norms._validate import Array, as_floats, check_eps, same_shape
from normcourse.norms.instance_norm import axes
from normcourse.norms.method import Method, Shape, draw_input

_LAYOUT = "(N, C, *) with at least one position axis, for example (N, C, H, W)"


def adaptive_instance_norm(content: ArrayLike, style: ArrayLike, *, eps: float = 1e-5) -> Array:
    """Give each channel of each content image the mean and standard deviation of the style's.

    Formula:
        y = sqrt(style_var + eps) * (content - mean) / sqrt(var + eps) + style_mean

    Args:
        content: array of shape (N, C, *).
        style: array of shape (N, C, *); its positions may differ in number from the content's.
        eps: added to both variances inside the roots.

    Returns:
        y, like ``content`` in shape and dtype.

    Raises:
        TypeError: an argument holds no real numbers.
        ValueError: no position axes, another N or C in style than in content, or eps < 0.

    Differs from torch in:
        torch has no AdaIN. Variances are biased; torch.var and torch.std divide by n - 1.

    Source:
        Huang & Belongie 2017, equation 8.

    Example:
        >>> adaptive_instance_norm([[[2.0, 4.0, 6.0, 8.0]]], [[[9.0, 11.0]]], eps=0.0).round(4)
        array([[[ 8.6584,  9.5528, 10.4472, 11.3416]]])
    """
    content, style = _arguments(content, style)
    eps = check_eps(eps)
    out = core.standardize(content, axes(content.ndim), eps)
    mean, std = _mean_and_std(style, content.ndim, eps)
    return (out.x_hat * std + mean).astype(content.dtype, copy=False)


def adaptive_instance_norm_backward(
    dy: ArrayLike, content: ArrayLike, style: ArrayLike, *, eps: float = 1e-5
) -> tuple[Array, Array]:
    """Return the gradients of :func:`adaptive_instance_norm` with respect to content and style.

    Formula, with s_hat the standardized style and n its number of positions:
        dcontent = :func:`core.standardize_backward` from style_std * dy
        dstyle   = (sum(dy) + s_hat * sum(dy * x_hat)) / n

    Args:
        dy: gradient with respect to y, like ``content``.
        content: as in the forward pass.
        style: as in the forward pass.
        eps: as in the forward pass.

    Returns:
        dcontent like ``content`` and dstyle like ``style``.

    Raises:
        TypeError: as :func:`adaptive_instance_norm`.
        ValueError: as the forward pass, or ``dy`` is not shaped like ``content``.

    Source:
        Huang & Belongie 2017.

    Example:
        >>> dy, content, style = [[[1.0, 0.0, 0.0, 0.0]]], [[[2.0, 4.0, 6.0, 8.0]]], [[[9.0, 11.0]]]
        >>> dcontent, dstyle = adaptive_instance_norm_backward(dy, content, style, eps=0.0)
        >>> dcontent.round(4), dstyle.round(4)
        (array([[[ 0.1342, -0.1789, -0.0447,  0.0894]]]), array([[[ 1.1708, -0.1708]]]))
    """
    content, style = _arguments(content, style)
    dy = same_shape(dy, "dy", content, "content")
    eps = check_eps(eps)
    positions = axes(content.ndim)
    out = core.standardize(content, positions, eps)
    _, std = _mean_and_std(style, content.ndim, eps)
    dx_hat = dy.astype(out.x_hat.dtype, copy=False) * std
    dcontent = core.standardize_backward(dx_hat, out.x_hat, out.inv_std, positions)
    dstyle = _style_backward(
        np.sum(dy, axis=positions, dtype=out.x_hat.dtype),
        np.sum(dy * out.x_hat, axis=positions),
        style,
        eps,
    )
    return dcontent.astype(content.dtype, copy=False), dstyle.astype(style.dtype, copy=False)


def _mean_and_std(style: Array, ndim: int, eps: float) -> tuple[Array, Array]:
    """Return mean and standard deviation of the style, for content of ``ndim`` axes."""
    mean, var = core.moments(style, axes(style.ndim))
    shape = (*style.shape[:2], *(1,) * (ndim - 2))  # (N, C, 1, ...)
    return mean.reshape(shape), np.sqrt(var + var.dtype.type(eps)).reshape(shape)


def _style_backward(dmean: Array, dstd: Array, style: Array, eps: float) -> Array:
    """Return dstyle from the gradients of its mean and standard deviation, each (N, C)."""
    out = core.standardize(style, axes(style.ndim), eps)
    shape = (*style.shape[:2], *(1,) * (style.ndim - 2))  # (N, C, 1, ...)
    positions = max(int(np.prod(style.shape[2:])), 1)
    dstyle: Array = (dmean.reshape(shape) + out.x_hat * dstd.reshape(shape)) / positions
    return dstyle


def _arguments(content: ArrayLike, style: ArrayLike) -> tuple[Array, Array]:
    """Return both images as arrays, or say what does not fit."""
    content = as_floats(content, "content", min_ndim=3, layout=_LAYOUT)
    style = as_floats(style, "style", min_ndim=3, layout=_LAYOUT)
    if style.shape[:2] != content.shape[:2]:
        raise ValueError(
            f"style: expected N and C of content, {content.shape[:2]}, got {style.shape[:2]}. "
            f"Repeat one style with np.repeat(style, {content.shape[0]}, axis=0)."
        )
    return content, style


def _example(rng: np.random.Generator, shape: Shape) -> dict[str, Any]:
    """Return the arguments of one call; the style has one position more along the last axis."""
    style = 2 * draw_input(rng, (*shape[:-1], shape[-1] + 1)) - 1
    return {"content": draw_input(rng, shape), "style": style}


METHOD = Method(
    name="adaptive_instance_norm",
    title="adaptive InstanceNorm",
    kind="activation",
    layout="(N, C, L, *)",
    axes=axes,
    pooled="H and W: one mean per image and channel, of content and of style",
    parameters=(),
    state=(),
    gradients=("content", "style"),
    formula=r"y = \sqrt{\sigma_{n,c}^2(s) + \epsilon}"
    r" \frac{x - \mu_{n,c}(x)}{\sqrt{\sigma_{n,c}^2(x) + \epsilon}} + \mu_{n,c}(s)",
    paper="huang2017arbitrary",
    forward=adaptive_instance_norm,
    backward=adaptive_instance_norm_backward,
    module="normcourse.modules.adaptive_instance_norm:AdaptiveInstanceNorm",
    example=_example,
)

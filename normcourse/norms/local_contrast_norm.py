"""Local contrast normalization: subtract and divide by what is near, over all channels.

    v = x - local mean of x
    y = v / sqrt(local mean of v^2 + eps)

The local mean weighs positions by a Gaussian window and all channels equally. At the border the
weights inside the image are scaled to sum to 1, so that a constant image gives 0 everywhere.

Source: Jarrett, Kavukcuoglu, Ranzato & LeCun, "What is the Best Multi-Stage Architecture for Object
Recognition?", 2009, section 2.1; with Ren et al., 2017, for the constant inside the root.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from normcourse.norms import core
from normcourse.norms._validate import Array, as_floats, check_eps, check_whole, same_shape
from normcourse.norms.method import Method, per_channel_example
from normcourse.norms.precision import wide_dtype

_LAYOUT = "(N, C, H, W)"
Window = tuple[Array, Array]


def local_contrast_norm(x: ArrayLike, size: int, *, eps: float = 1e-5) -> Array:
    """Give each neighbourhood of an image about mean 0 and contrast 1.

    Formula:
        v = x - local_mean(x),  y = v / sqrt(local_mean(v^2) + eps)

    Args:
        x: array of shape (N, C, H, W).
        size: width of the window in positions, odd; the Gaussian has standard deviation size / 4.
        eps: added to the local variance inside the root.

    Returns:
        y, like ``x`` in shape and dtype. A constant image gives 0.

    Raises:
        TypeError: x holds no real numbers.
        ValueError: not four axes, a size that is even or below 1, or eps < 0.

    Differs from torch in:
        torch has no local contrast normalization. Jarrett et al. divide by max(c, sigma), with c
        the image's mean sigma and without eps.

    Source:
        Jarrett et al. 2009, section 2.1.

    Example:
        >>> import numpy as np
        >>> x = np.array([[[[0.0, 1.0, 5.0, 7.0]]]])
        >>> local_contrast_norm(x, 3, eps=0.0).round(2)
        array([[[[-0.66, -1.2 ,  0.84,  1.06]]]])
        >>> local_contrast_norm(5 * x + 3, 3, eps=0.0).round(2)  # contrast and brightness are gone
        array([[[[-0.66, -1.2 ,  0.84,  1.06]]]])
    """
    x, work, window = _arguments(x, size)
    centered, inv_std = _standardized(work, window, check_eps(eps))
    return (centered * inv_std).astype(x.dtype, copy=False)


def local_contrast_norm_backward(
    dy: ArrayLike, x: ArrayLike, size: int, *, eps: float = 1e-5
) -> Array:
    """Return the gradient of :func:`local_contrast_norm` with respect to x.

    Formula, with the transposed window spreading where the window gathers:
        dv = inv_std * dy - v * spread(mean over C of dy * v * inv_std^3)
        dx = dv - spread(mean over C of dv)

    Args:
        dy: gradient with respect to y, like ``x``.
        x: as in the forward pass.
        size: as in the forward pass.
        eps: as in the forward pass.

    Returns:
        dx, like ``x``.

    Raises:
        TypeError: as :func:`local_contrast_norm`.
        ValueError: as the forward pass, or ``dy`` is not shaped like ``x``.

    Source:
        Jarrett et al. 2009.

    Example:
        >>> import numpy as np
        >>> x, dy = np.array([[[[1.0, 2.0, 4.0]]]]), np.array([[[[1.0, 0.0, 0.0]]]])
        >>> local_contrast_norm_backward(dy, x, 3, eps=1.0).round(4)
        array([[[[ 0.2691, -0.273 ,  0.0039]]]])
    """
    x, work, window = _arguments(x, size)
    dy = same_shape(dy, "dy", x, "x")
    v, inv_std = _standardized(work, window, check_eps(eps))
    spread = (window[0].T, window[1].T)
    dv = dy * inv_std
    dv -= v * _local_mean(dv * v * np.square(inv_std), spread)
    return (dv - _local_mean(dv, spread)).astype(x.dtype, copy=False)


def _standardized(x: Array, window: Window, eps: float) -> tuple[Array, Array]:
    """Return v = x - local mean, (N, C, H, W), and 1 / local std, (N, 1, H, W)."""
    shift = core.moments(x, (1, 2, 3))[0]  # constant images cancel exactly
    v = x - shift
    v -= _local_mean(v, window)
    return v, core.inverse_std(_local_mean(np.square(v), window), eps)


def _local_mean(values: Array, window: Window) -> Array:
    """Return the mean over channels and the window, (N, 1, H, W)."""
    over_channels = np.sum(values, axis=1, keepdims=True) / max(values.shape[1], 1)  # (N, 1, H, W)
    rows, columns = window
    local: Array = rows @ over_channels @ columns.T
    return local


def _gaussian(positions: int, size: int, dtype: np.dtype[np.floating]) -> Array:
    """Return the window along one axis as a matrix whose rows sum to 1."""
    place = np.arange(positions)
    distance = place - place[:, None]
    weights = np.exp(-0.5 * np.square(distance / (size / 4))) * (np.abs(distance) <= size // 2)
    matrix: Array = weights / weights.sum(axis=1, keepdims=True)
    return matrix.astype(dtype)


def _arguments(x: ArrayLike, size: int) -> tuple[Array, Array, Window]:
    """Return x, x in the dtype in which it is squared, and the window along H and W."""
    x = as_floats(x, "x", min_ndim=4, layout=_LAYOUT)
    if x.ndim != 4:
        raise ValueError(f"x: expected shape {_LAYOUT}, got {x.shape}. Merge the leading axes.")
    size = check_whole(size, "size", at_least=1)
    if size % 2 == 0:
        raise ValueError(f"size: expected an odd number, got {size}. Use {size + 1}.")
    work = x.astype(wide_dtype(x), copy=False)
    height, width = x.shape[2:]
    return x, work, (_gaussian(height, size, work.dtype), _gaussian(width, size, work.dtype))


METHOD = Method(
    name="local_contrast_norm",
    title="local contrast normalization",
    kind="activation",
    layout="(N, C, H, W)",
    axes=None,
    pooled="C and a window of H and W",
    parameters=(),
    state=(),
    gradients=("x",),
    formula=r"v = x - \sum w x, \quad y = \frac{v}{\sqrt{\sum w v^2 + \epsilon}}",
    paper="jarrett2009best",
    forward=local_contrast_norm,
    backward=local_contrast_norm_backward,
    module="normcourse.modules.local_contrast_norm:LocalContrastNorm",
    example=per_channel_example(size=3),
)

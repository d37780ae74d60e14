"""Local response normalization: divide each channel by its neighbours at the same position.

    y_c = x_c / (k + alpha / size * sum(x_j^2))^beta

The sum runs over the channels j from c - size // 2 to c + (size - 1) // 2. Channels
beyond the ends count as 0.

Source: Krizhevsky, Sutskever & Hinton, "ImageNet Classification with Deep Convolutional Neural
Networks", 2012, section 3.3.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from normcourse.norms._validate import Array, as_floats, check_number, check_whole, same_shape
from normcourse.norms.method import Method, per_channel_example
from normcourse.norms.precision import wide_dtype

_LAYOUT = "(N, C, *), for example (N, C, H, W)"


def local_response_norm(
    x: ArrayLike, size: int, *, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Array:
    """Divide each value by a power of the mean square of its neighbouring channels.

    Formula:
        y_c = x_c / (k + alpha / size * sum of x_j^2 over the window of c)^beta

    Args:
        x: array of shape (N, C, *).
        size: channels in the window, c - size // 2 to c + (size - 1) // 2.
        alpha: weight of the window's mean square, >= 0.
        beta: exponent of the divisor, >= 0.
        k: constant of the divisor, >= 0.

    Returns:
        y, like ``x`` in shape and dtype. Where the divisor is 0, y is 0.

    Raises:
        TypeError: x holds no real numbers.
        ValueError: fewer than two axes, a window below one channel, or a negative number.

    Differs from torch in:
        also takes (N, C). ONNX puts the longer half of an even window behind c; the paper does
        not divide alpha by size.

    Source:
        Krizhevsky, Sutskever & Hinton 2012, section 3.3; convention of
        torch.nn.LocalResponseNorm.

    Example:
        >>> local_response_norm([[1.0, 2.0, 3.0]], 3, alpha=3.0, beta=1.0).round(4)
        array([[0.1667, 0.1333, 0.2143]])
    """
    x, size, work = _arguments(x, size)
    inv = _inverse_divisor(work, size, *_constants(alpha, beta, k))
    return (work * inv**beta).astype(x.dtype, copy=False)


def local_response_norm_backward(
    dy: ArrayLike,
    x: ArrayLike,
    size: int,
    *,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 1.0,
) -> Array:
    """Return the gradient of :func:`local_response_norm` with respect to x.

    Formula, with s the divisor before its power:
        dx_c = dy_c / s_c^beta - 2 alpha beta / size * x_c * sum(dy_j * x_j / s_j^(beta + 1))

    The sum runs over the channels j whose window holds c: the mirrored window.

    Args:
        dy: gradient with respect to y, like ``x``.
        x: as in the forward pass.
        size: as in the forward pass.
        alpha: as in the forward pass.
        beta: as in the forward pass.
        k: as in the forward pass.

    Returns:
        dx, like ``x``.

    Raises:
        TypeError: as :func:`local_response_norm`.
        ValueError: as the forward pass, or ``dy`` is not shaped like ``x``.

    Source:
        Krizhevsky, Sutskever & Hinton 2012.

    Example:
        >>> dy, x = [[1.0, 0.0, 0.0]], [[1.0, 2.0, 3.0]]
        >>> local_response_norm_backward(dy, x, 3, alpha=3.0, beta=1.0).round(4)
        array([[ 0.1111, -0.1111,  0.    ]])
    """
    x, size, work = _arguments(x, size)
    dy = same_shape(dy, "dy", x, "x")
    alpha, beta, k = _constants(alpha, beta, k)
    inv = _inverse_divisor(work, size, alpha, beta, k)
    direct = dy * inv**beta
    around = _window_sum(direct * work * inv, before=(size - 1) // 2, after=size // 2)
    dx = direct - (2 * alpha * beta / size) * work * around
    return dx.astype(x.dtype, copy=False)


def _inverse_divisor(x: Array, size: int, alpha: float, beta: float, k: float) -> Array:
    """Return 1 / (k + alpha / size * window sum of squares), and 0 where that divides by 0."""
    squares = _window_sum(np.square(x), before=size // 2, after=(size - 1) // 2)
    squares *= alpha / size
    squares += k
    return np.divide(1, squares, out=np.zeros_like(squares), where=squares > 0)


def _window_sum(values: Array, *, before: int, after: int) -> Array:
    """Return the sum over the channels c - before to c + after, those beyond the ends being 0."""
    total = values.copy()
    for shift in range(1, after + 1):
        total[:, :-shift] += values[:, shift:]
    for shift in range(1, before + 1):
        total[:, shift:] += values[:, :-shift]
    return total


def _arguments(x: ArrayLike, size: int) -> tuple[Array, int, Array]:
    """Return x, the window and x in the dtype in which it is squared."""
    x = as_floats(x, "x", min_ndim=2, layout=_LAYOUT)
    return x, check_whole(size, "size", at_least=1), x.astype(wide_dtype(x), copy=False)


def _constants(alpha: float, beta: float, k: float) -> tuple[float, float, float]:
    """Return the three constants if none is negative."""
    return (
        check_number(alpha, "alpha", at_least=0, usual="1e-4"),
        check_number(beta, "beta", at_least=0, usual="0.75"),
        check_number(k, "k", at_least=0, usual="1"),
    )


METHOD = Method(
    name="local_response_norm",
    title="local response normalization",
    kind="activation",
    layout="(N, C, *)",
    axes=None,
    pooled="a window of C at one position",
    parameters=(),
    state=(),
    gradients=("x",),
    formula=r"y_c = \frac{x_c}{\left(k + \frac{\alpha}{n} \sum_j x_j^2\right)^\beta}",
    paper="krizhevsky2012imagenet",
    forward=local_response_norm,
    backward=local_response_norm_backward,
    module="normcourse.modules.local_response_norm:LocalResponseNorm",
    example=per_channel_example(size=2, alpha=0.5, beta=0.75, k=2.0),
)

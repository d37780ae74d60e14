"""In which precision statistics are computed: at least float32, and float64 where squares overflow.

float16 ends at 65504 and carries three digits, so its sums and squares are taken in float32. The
squares of float32 values beyond 1e19 overflow; then float64 does the work.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Axes = tuple[int, ...]


def working_dtype(x: Array) -> np.dtype[Any]:
    """Return the dtype in which statistics of ``x`` are computed: float32 or wider.

    Example:
        >>> import numpy as np
        >>> working_dtype(np.zeros(3, np.float16)), working_dtype(np.zeros(3))
        (dtype('float32'), dtype('float64'))
    """
    return np.result_type(x.dtype, np.float32)


def wide_dtype(x: Array) -> np.dtype[Any]:
    """Return the dtype in which ``x`` can be squared: float64 where float32 would overflow.

    Example:
        >>> import numpy as np
        >>> wide_dtype(np.ones(2, np.float32)), wide_dtype(np.full(2, 1e30, np.float32))
        (dtype('float32'), dtype('float64'))
    """
    dtype = working_dtype(x)
    if x.dtype == np.float32 and x.size and max(float(x.max()), -float(x.min())) > 1e18:
        return np.dtype(np.float64)
    return dtype


def in_range(
    statistic: Callable[[Array, Axes, np.dtype[Any]], tuple[Array, ...]], x: Array, axis: Axes
) -> tuple[Array, ...]:
    """Return ``statistic(x, axis, dtype)`` in the working dtype, or wider where that overflows.

    Args:
        statistic: returns arrays, the squared one last.
        x: array of any shape.
        axis: the axes that are pooled.

    Returns:
        What ``statistic`` returns, computed once more in float64 if float32 gave infinity.

    Example:
        >>> import numpy as np
        >>> square = lambda x, axis, dtype: (np.sum(np.square(x, dtype=dtype), axis),)
        >>> bool(np.isfinite(in_range(square, np.full(2, 1e30, np.float32), (0,))[0]))
        True
    """
    dtype = working_dtype(x)
    if dtype != np.float32:
        return statistic(x, axis, dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        result = statistic(x, axis, dtype)
    if np.all(np.isfinite(result[-1])):
        return result
    return statistic(x, axis, np.dtype(np.float64))

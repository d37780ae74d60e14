"""BatchNorm and GroupNorm on (N, C, S): one mean per group of segments, one weight per segment.

A segment is the S positions of one channel of one example. GroupNorm pools neighbouring segments
of one example, BatchNorm the same channel's segments of all examples; the loops are the same, only
the step from segment to segment differs. Groups are independent; each thread takes a range.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from normcourse.kernels.cpu import vectors as v
from normcourse.kernels.cpu.compiled import compiled
from normcourse.kernels.cpu.memory import fetch, stream


@compiled()
def _place(group: int, k: int, groups: int, channels: int) -> tuple[int, int]:
    """Return segment and channel of the k-th segment of a group; 0 groups is BatchNorm."""
    if groups == 0:
        return k * channels + group, group
    size = channels // groups
    channel = (group % groups) * size + k
    return (group // groups) * channels + channel, channel


@compiled()
def _moments(x: Any, group: int, count: int, groups: int, channels: int) -> Any:
    """Return mean and variance of a group: one pass over its segments."""
    shift = np.float64(x[_place(group, 0, groups, channels)[0], 0])
    total, squares = 0.0, 0.0
    for k in range(count):
        sums = v.shifted_sums(x[_place(group, k, groups, channels)[0]], shift)
        total += sums[0]
        squares += sums[1]
    return v.from_sums(total, squares, shift, count * x.shape[1])


@compiled()
def forward(
    x: Any, weight: Any, bias: Any, y: Any, mean: Any, var: Any, groups: int, count: int,
    given: bool, eps: float, kind: int, streaming: bool, start: int, stop: int,
) -> None:  # fmt: skip
    """Write y, mean and var of groups ``start`` to ``stop``; x and y are (N * C, S).

    ``given``: mean and var are inputs, as BatchNorm's at inference.
    """
    channels, near = weight.size, np.empty(x.shape[1], x.dtype)
    for group in range(start, stop):
        if not given:
            mean[group], var[group] = _moments(x, group, count, groups, channels)
        inv_std = v.inverse_root(var[group], eps)
        high = x.dtype.type(mean[group])
        low = x.dtype.type(mean[group] - np.float64(high))
        for k in range(count):
            segment, channel = _place(group, k, groups, channels)
            scale = x.dtype.type(inv_std * np.float64(weight[channel]))
            if streaming:
                coming = _place(group, min(k + 1, count - 1), groups, channels)[0]
                v.affine_one(x[segment], high, low, scale, bias[channel], near)
                if kind != v.NONE:
                    v.activate(near, kind)
                stream(near, y[segment], x[coming])
            else:
                v.affine_one(x[segment], high, low, scale, bias[channel], y[segment])
                if kind != v.NONE:
                    v.activate(y[segment], kind)


@compiled()
def _before(
    dy: Any, x: Any, high: Any, low: Any, scale: Any, shift: Any, kind: int, out: Any
) -> Any:
    """Return the gradient with respect to what went into the activation, computed anew."""
    if kind == v.NONE:
        return dy
    v.affine_one(x, high, low, scale, shift, out)
    v.chain(dy, out, kind)
    return out


@compiled()
def backward(
    dy: Any, x: Any, mean: Any, inv_std: Any, weight: Any, bias: Any, dx: Any, sums: Any,
    groups: int, count: int, given: bool, kind: int, streaming: bool, start: int, stop: int,
) -> None:  # fmt: skip
    """Write dx of groups ``start`` to ``stop`` and, per segment, sums of dz and dz * x_hat.

    Two passes: no dx can be written before both sums over the whole group are known.
    """
    channels, size = weight.size, x.shape[1]
    near, before = np.empty(size, x.dtype), np.empty(size, x.dtype)
    for group in range(start, stop):
        root = inv_std[group]
        high = x.dtype.type(mean[group])
        low = x.dtype.type(mean[group] - np.float64(high))
        total, product = 0.0, 0.0
        for k in range(count):
            segment, channel = _place(group, k, groups, channels)
            gamma = np.float64(weight[channel])
            scale, shift = x.dtype.type(root * gamma), bias[channel]
            dz = _before(dy[segment], x[segment], high, low, scale, shift, kind, before)
            found = v.gradient_sums(dz, x[segment], high, low, root)
            sums[segment, 0], sums[segment, 1] = found
            total += gamma * found[0]
            product += gamma * found[1]
        share = 0.0 if given else root / (count * size)  # given statistics do not depend on x
        slope = x.dtype.type(-share * root * product)
        offset = x.dtype.type(-share * total)
        for k in range(count):
            segment, channel = _place(group, k, groups, channels)
            scale, shift = x.dtype.type(root * np.float64(weight[channel])), bias[channel]
            dz = _before(dy[segment], x[segment], high, low, scale, shift, kind, before)
            if streaming:
                coming = _place(group, min(k + 1, count - 1), groups, channels)[0]
                fetch(dy[coming])
                v.gradient_one(dz, x[segment], high, low, scale, slope, offset, near)
                stream(near, dx[segment], x[coming])
            else:
                v.gradient_one(dz, x[segment], high, low, scale, slope, offset, dx[segment])

"""Right answers of chapter 14 in other styles."""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np


def post_in_steps(x: Any, f: Any, norm: Any) -> Any:
    """One name per step."""
    branch = f(x)
    total = np.add(x, branch)
    y = norm(total)
    return y


def post_branch_changed(x: Any, f: Any, norm: Any) -> Any:
    """The skip path added to the sublayer's own array."""
    h = np.array(f(x))
    h += x
    return norm(h)


def post_other_names(inputs: Any, sublayer: Any, normalization: Any) -> Any:
    """Other names, a copy of x, Fortran order."""
    residual = inputs.copy()
    return np.asfortranarray(normalization(residual + sublayer(inputs)))


def pre_in_steps(x: Any, f: Any, norm: Any) -> Any:
    """One name per step."""
    h = norm(x)
    h = f(h)
    return h + x


def pre_changed_copy(x: Any, f: Any, norm: Any) -> Any:
    """A copy of x that is added to in place."""
    y = x.copy()
    y += f(norm(x))
    return y


def pre_composed(x: Any, f: Any, norm: Any) -> Any:
    """The branch composed as a function."""

    def branch(value: Any) -> Any:
        return f(norm(value))

    return sum([x, branch(x)])


def res_post_in_steps(x: Any, f: Any, norm: Any) -> Any:
    """One name per step."""
    h = f(x)
    h = norm(h)
    return np.add(h, x)


def res_post_of_a_copy(x: Any, f: Any, norm: Any) -> Any:
    """Everything computed on a copy."""
    own = np.copy(x)
    return own + norm(f(own))


def res_post_stacked(x: Any, f: Any, norm: Any) -> Any:
    """Both summands stacked and summed."""
    return np.stack([x, norm(f(x))]).sum(axis=0)


def sandwich_in_steps(x: Any, f: Any, norm_in: Any, norm_out: Any) -> Any:
    """One name per step."""
    inner = norm_in(x)
    outer = norm_out(f(inner))
    return outer + x


def sandwich_loop(x: Any, f: Any, norm_in: Any, norm_out: Any) -> Any:
    """A loop over the three functions."""
    h = x
    for function in (norm_in, f, norm_out):
        h = function(h)
    return x + h


def sandwich_as_pre_norm(x: Any, f: Any, norm_in: Any, norm_out: Any) -> Any:
    """Pre-norm of the composition of f and norm_out."""
    return pre_in_steps(x, lambda h: norm_out(f(h)), norm_in)


def stack_by_reduce(x: Any, layers: Any, final_norm: Any) -> Any:
    """`functools.reduce` over the pairs."""
    return final_norm(reduce(lambda h, pair: h + pair[0](pair[1](h)), layers, x))


def stack_recursive(x: Any, layers: Any, final_norm: Any) -> Any:
    """Recursion over the list."""
    if not layers:
        return final_norm(x)
    (f, norm), *rest = layers
    return stack_recursive(x + f(norm(x)), rest, final_norm)


def stack_in_a_copy(x: Any, layers: Any, final_norm: Any) -> Any:
    """A copy of x as the running sum, by index, with prints."""
    stream = np.array(x)
    for i in range(len(layers)):
        stream += layers[i][0](layers[i][1](stream))
        print(i, stream.var())
    return final_norm(stream)


def encoder_by_post_norm(x: Any, attention: Any, feed_forward: Any, norm1: Any, norm2: Any) -> Any:
    """Twice the function of the first exercise."""
    return post_in_steps(post_in_steps(x, attention, norm1), feed_forward, norm2)


def encoder_loop(x: Any, attention: Any, feed_forward: Any, norm1: Any, norm2: Any) -> Any:
    """A loop over the two halves."""
    for f, norm in zip((attention, feed_forward), (norm1, norm2), strict=True):
        x = norm(f(x) + x)
    return x


def encoder_one_line(x: Any, attention: Any, feed_forward: Any, norm1: Any, norm2: Any) -> Any:
    """One expression with a named middle."""
    return norm2((h := norm1(x + attention(x))) + feed_forward(h))


STYLES = {
    "post_norm": [post_in_steps, post_branch_changed, post_other_names],
    "pre_norm": [pre_in_steps, pre_changed_copy, pre_composed],
    "res_post_norm": [res_post_in_steps, res_post_of_a_copy, res_post_stacked],
    "sandwich_norm": [sandwich_in_steps, sandwich_loop, sandwich_as_pre_norm],
    "pre_norm_stack": [stack_by_reduce, stack_recursive, stack_in_a_copy],
    "encoder_layer": [encoder_by_post_norm, encoder_loop, encoder_one_line],
}

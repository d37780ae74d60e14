"""What is taught: NumPy references, one file per method, and the registry that lists them.

A method is one row. Tables, tests and figures loop over the rows; there are no branches by name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from normcourse.norms import batch_norm as _batch_norm
from normcourse.norms.batch_norm import batch_norm, batch_norm_backward, update_running_stats

__all__ = [
    "METHODS",
    "Method",
    "batch_norm",
    "batch_norm_backward",
    "update_running_stats",
]


@dataclass(frozen=True)
class Method:
    """One normalization method.

    Args:
        name: key of the row and name of the NumPy function.
        title: name in text.
        axes: from the number of axes of x to the axes that one mean pools.
        pooled: the same in words, for an (N, C, H, W) array.
        parameters: learned arrays in the order of the function's arguments.
        state: what the layer remembers between batches.
        formula: LaTeX of the forward pass.
        paper: key in book/references.bib.
        forward: the NumPy function.
        backward: its gradient by hand.
        module: import path of the PyTorch module, or empty.
    """

    name: str
    title: str
    axes: Callable[[int], tuple[int, ...]]
    pooled: str
    parameters: tuple[str, ...]
    state: tuple[str, ...]
    formula: str
    paper: str
    forward: Callable[..., Any]
    backward: Callable[..., Any]
    module: str


METHODS: dict[str, Method] = {
    row.name: row
    for row in (
        Method(
            name="batch_norm",
            title="BatchNorm",
            axes=_batch_norm.axes,
            pooled="N, H and W: one mean per channel",
            parameters=("gamma", "beta"),
            state=("running_mean", "running_var", "num_batches_tracked"),
            formula=r"y = \gamma_c \frac{x - \mu_c}{\sqrt{\sigma_c^2 + \epsilon}} + \beta_c",
            paper="ioffe2015batch",
            forward=batch_norm,
            backward=batch_norm_backward,
            module="normcourse.modules.batch_norm:BatchNorm",
        ),
    )
}

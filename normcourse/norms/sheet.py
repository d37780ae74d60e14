"""The registry on one page: what the cheat sheet shows, as a page of the book and as a PDF."""

from __future__ import annotations

import inspect
import math
import re
from dataclasses import dataclass

from normcourse.norms import PLACEMENTS
from normcourse.norms.method import Method, Shape

MAIN = ("batch_norm", "layer_norm", "instance_norm", "group_norm", "rms_norm")
IMAGES: Shape = (8, 12, 5, 5)  # (N, C, H, W)
TOKENS: Shape = (8, 10, 64)  # (N, T, D)
GROUPS = 3
KINDS = {
    "activation": "Activations",
    "weight": "Weights",
    "attention": "Attention scores",
}
TITLES = {"Deep-Norm": "DeepNorm", "Sandwich-Norm": "Sandwich"}
FORWARD = r"\hat x = \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}}, \quad y = \gamma \hat x + \beta"
BACKWARD = (
    r"dx = \frac{1}{\sqrt{\sigma^2 + \epsilon}}"
    r"\left(g - \overline{g} - \hat x \, \overline{g \hat x}\right), \quad g = \gamma \, dy"
)
# What the line of the gradient leaves unsaid, in Markdown that matplotlib reads, too.
GRADIENT = (
    r"Bars: means over what shares $\mu$. RMSNorm: $\mu = 0$, no $\overline{g}$.",
    r"$d\gamma = \sum dy\,\hat x$, $d\beta = \sum dy$, over what shares $\gamma$ and $\beta$.",
    r"BatchNorm in inference: fixed $\mu$, $\sigma$; $dx = g / \sqrt{\sigma^2 + \epsilon}$.",
)
# What to think of before a run: the sentence, and the chapters that show why.
CHECKS: tuple[tuple[str, tuple[int, ...]], ...] = (
    ("The variance is the biased one, divided by n, and eps stands inside the root.", (2,)),
    ("Count the values per mean, N·H·W, not the images: two per mean ruined a net.", (6,)),
    ("`train()` before training and `eval()` before answering, each time.", (4,)),
    ("PyTorch's momentum weighs the new batch, Keras's the old value: use 1 − m.", (4,)),
    ("A bias before BatchNorm cancels. Leave it out.", (2, 13)),
    ("A scale of the weights before a norm cancels; it sets their learning rate.", (3,)),
    ("Fold BatchNorm into the layer before it for inference only.", (4,)),
    ("Padding enters a mean over batch or time, not that of one token.", (6, 8)),
    ("Groups are neighbours: their order belongs to the trained net.", (11,)),
    ("Pre-Norm needs one more norm at the end of the stack.", (14,)),
)


@dataclass(frozen=True)
class Counts:
    """How the values of one array are shared out among means.

    Args:
        shape: of the array.
        means: how many means (or lengths) there are.
        values: how many values each of them pools.
        learned: how many numbers the layer learns.
    """

    shape: Shape
    means: int
    values: int
    learned: int


def counts(method: Method) -> Counts:
    """Return the counts of one of the main methods for images, or tokens where it pools D.

    Example:
        >>> from normcourse.norms import METHODS
        >>> counts(METHODS["batch_norm"])
        Counts(shape=(8, 12, 5, 5), means=12, values=200, learned=24)
        >>> counts(METHODS["group_norm"]).means
        24
    """
    if method.axes is None:
        raise ValueError(f"{method.name} pools no whole axes, so that its means cannot be counted.")
    shape = TOKENS if method.layout.endswith("D)") else IMAGES
    view = shape
    if method.name == "group_norm":
        view = (shape[0], GROUPS, shape[1] // GROUPS, *shape[2:])
    pooled = method.axes(len(shape))
    values = math.prod(view[axis] for axis in pooled)
    width = shape[-1] if shape is TOKENS else shape[1]
    return Counts(shape, math.prod(shape) // values, values, width * len(method.parameters))


def placements() -> dict[str, str]:
    """Return where a norm stands: name to the formula in its docstring.

    Example:
        >>> placements()["Pre-Norm"]
        'y = x + f(norm(x))'
    """
    found = {}
    for name, function in PLACEMENTS.items():
        formula = re.search(r"Formula:\n\s+(.+)", inspect.getdoc(function) or "")
        if formula is None:
            raise ValueError(f"{name}: its docstring has no formula.")
        title = "-".join(part.capitalize() for part in name.split("_"))
        found[TITLES.get(title, title)] = formula[1].strip()
    return found


def kept(method: Method) -> tuple[str, ...]:
    """Return what a layer remembers; that batches are counted goes without saying."""
    return tuple(name for name in method.state if name != "num_batches_tracked")

"""The interactive figures: name and caption."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CATALOGUE", "Entry"]


@dataclass(frozen=True)
class Entry:
    """What a page says of a figure where the text says nothing of its own."""

    caption: str


CATALOGUE: dict[str, Entry] = {
    "axes-explorer": Entry(
        "Choose a method and a value: shaded are the values that share its mean. Move the value, "
        "and see which outputs follow."
    ),
    "batch-composition": Entry(
        "Put images into the batch and take them out. The watched image never changes; its "
        "BatchNorm output does, its LayerNorm output does not."
    ),
    "running-statistics": Entry(
        "Running statistics follow the batches at the pace of the momentum. In evaluation they "
        "replace the batch's own, and the gap between the two shows in the output."
    ),
    "depth": Entry(
        "Fresh nets of 4, 16 and 64 layers: gradient norm and variance, layer by layer, median "
        "and middle half of ten seeds."
    ),
    "choose": Entry(
        "Describe the situation; the methods that nothing speaks against come first. The rules "
        "are those that judge the exercise of chapter 15."
    ),
    "backward": Entry(
        "What the backward pass does to a gradient, for one feature of three examples: remove the "
        "mean, remove the part along x_hat, divide by the standard deviation."
    ),
}

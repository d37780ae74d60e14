"""Data sets that come with the installed packages."""

from __future__ import annotations

from typing import NamedTuple

import torch
from sklearn.datasets import load_digits as _load_digits
from torch import Tensor


class Digits(NamedTuple):
    """Handwritten digits as images of shape (N, 1, 8, 8) in [0, 1] with labels of shape (N,)."""

    train_x: Tensor
    train_t: Tensor
    test_x: Tensor
    test_t: Tensor


def load_digits(generator: torch.Generator, *, num_test: int = 360) -> Digits:
    """Return scikit-learn's 1797 digits, shuffled and split.

    Args:
        generator: decides which images are test images.
        num_test: how many test images are held out.

    Returns:
        ``Digits``: float32 images in [0, 1] (the counts 0..16 divided by 16) and int64 labels.

    Raises:
        ValueError: ``num_test`` leaves no image for one of the two parts.

    Source:
        Alpaydin & Kaynak, Optical Recognition of Handwritten Digits, 1998.

    Example:
        >>> digits = load_digits(torch.Generator().manual_seed(0))
        >>> digits.train_x.shape, digits.test_t.shape
        (torch.Size([1437, 1, 8, 8]), torch.Size([360]))
    """
    bundle = _load_digits()
    x = torch.tensor(bundle.images, dtype=torch.float32).unsqueeze(1) / 16  # (1797, 1, 8, 8)
    t = torch.tensor(bundle.target, dtype=torch.int64)
    if not 0 < num_test < len(x):
        raise ValueError(
            f"num_test: expected 1 to {len(x) - 1} of the {len(x)} images, got {num_test}."
        )
    order = torch.randperm(len(x), generator=generator)
    test, rest = order[:num_test], order[num_test:]
    return Digits(x[rest], t[rest], x[test], t[test])

"""The text of Python's language reference, letter by letter, for small language models."""

from __future__ import annotations

import functools
from importlib.resources import files
from typing import NamedTuple

import torch
from torch import Tensor

_PIECE = 4096  # letters that stay together; one piece of ten is for testing


class Text(NamedTuple):
    """A text as numbers of letters, int64 of shape (M,), and the letters that they number."""

    train: Tensor
    test: Tensor
    letters: str


@functools.lru_cache(maxsize=1)
def load_text() -> Text:
    """Return Python's language reference, split into pieces for training and for testing.

    Returns:
        ``Text``: 336 thousand letters to train on, 37 thousand to test with. Every tenth piece of
        4096 letters is test text; no paragraph stands in the text twice.

    Source:
        The topics of CPython 3.11.7's ``pydoc_data``, Python Software Foundation; a copy, its
        licence and what was changed lie in ``text_data``.

    Example:
        >>> text = load_text()
        >>> len(text.letters), tuple(text.train.shape), tuple(text.test.shape)
        (94, (336288,), (36864,))
        >>> "".join(text.letters[i] for i in text.train[:22].tolist())
        'The "assert" statement'
    """
    folder = files("normcourse.experiments") / "text_data"
    words = (folder / "language_reference.txt").read_text(encoding="utf-8")
    letters = "".join(sorted(set(words)))
    number = {letter: k for k, letter in enumerate(letters)}
    pieces = torch.tensor([number[letter] for letter in words]).split(_PIECE)  # type: ignore[no-untyped-call]
    test = [piece for k, piece in enumerate(pieces) if k % 10 == 9]
    train = [piece for k, piece in enumerate(pieces) if k % 10 != 9]
    return Text(torch.cat(train), torch.cat(test), letters)


def windows(text: Tensor, *, length: int, count: int, generator: torch.Generator) -> Tensor:
    """Return pieces of a text from random places, int64 of shape (count, length).

    Raises:
        ValueError: the text is shorter than one piece.
    """
    _check_length(text, length)
    starts = torch.randint(len(text) - length + 1, (count,), generator=generator)
    return text[starts[:, None] + torch.arange(length)]


def in_order(text: Tensor, *, length: int) -> Tensor:
    """Return a text cut into pieces one after the other, shape (M // length, length).

    Raises:
        ValueError: the text is shorter than one piece.
    """
    _check_length(text, length)
    return text[: len(text) // length * length].view(-1, length)


def guessing_loss(text: Text) -> float:
    """Return the loss in nats of guessing by how often each letter stands in the training text."""
    count = torch.bincount(text.train, minlength=len(text.letters)).double() + 1
    seen = torch.bincount(text.test, minlength=len(text.letters)).double()
    loss: float = -(seen / seen.sum() * (count / count.sum()).log()).sum().item()
    return loss


def _check_length(text: Tensor, length: int) -> None:
    """Raise unless a text holds one piece of this length."""
    if len(text) < length:
        raise ValueError(f"length: expected at most {len(text)}, the text's, got {length}.")

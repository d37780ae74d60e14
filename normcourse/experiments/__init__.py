"""What is measured: data that every machine has, small nets, and what they are seen to do.

Nothing is downloaded. Randomness comes from a generator that the caller passes in.
"""

from __future__ import annotations

from normcourse.experiments.activations import Activations, record
from normcourse.experiments.data import Digits, load_digits
from normcourse.experiments.models import digit_net
from normcourse.experiments.train import accuracy, train

__all__ = [
    "Activations",
    "Digits",
    "accuracy",
    "digit_net",
    "load_digits",
    "record",
    "train",
]

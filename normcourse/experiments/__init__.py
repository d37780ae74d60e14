"""What is measured: data that every machine has, small nets, and what they are seen to do.

One file per experiment; each defines ``EXPERIMENT``. Nothing is downloaded. Randomness comes from a
generator or a seed that the caller passes in.
"""

from __future__ import annotations

from normcourse.experiments.activations import Activations, record
from normcourse.experiments.data import Digits, Signals, load_digits, load_mnist1d, load_photographs
from normcourse.experiments.experiment import Experiment, load, names
from normcourse.experiments.models import ACTIVATIONS, NORMS, conv_net, digit_net, mlp
from normcourse.experiments.result import Curve, Effect, Result, Row, Spread, Verdict, spread
from normcourse.experiments.train import accuracy, mean_loss, train

__all__ = [
    "ACTIVATIONS",
    "NORMS",
    "Activations",
    "Curve",
    "Digits",
    "Effect",
    "Experiment",
    "Result",
    "Row",
    "Signals",
    "Spread",
    "Verdict",
    "accuracy",
    "conv_net",
    "digit_net",
    "load",
    "load_digits",
    "load_mnist1d",
    "load_photographs",
    "mean_loss",
    "mlp",
    "names",
    "record",
    "spread",
    "train",
]

"""The guide of chapter 15 as data: which normalization works in which situation, and why.

One source for the judge of ``choose_norm``, the table on the page and the interactive figure. A
situation is a dict with an entry for each of the seven questions. ``RULES`` say what speaks against
a method, ``ORDERS`` in which order those that are left are worth a try; both name their sources
(keys of ``book/references.bib``) and the chapter that looks at the matter.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Situation = dict[str, Any]

METHODS = ("batch", "group", "layer", "rms", "instance")
SMALL_BATCH = 8

# The seven questions: key of the situation, and what is asked.
QUESTIONS: dict[str, str] = {
    "data": "What are the data: images, tokens of a sequence, rows of a table?",
    "batch": "How many examples does one device see per step?",
    "padded": "Are sequences filled up to one length?",
    "causal": "Must a position not depend on later ones?",
    "shift": "Do the inputs in use come from elsewhere than those in training?",
    "contrast": "Is an image's contrast neutral, a nuisance, or what tells the classes apart?",
    "free": "Must the norm cost nothing at inference?",
}
# What the answers can be; batch sizes stand for all.
VALUES: dict[str, tuple[Any, ...]] = {
    "data": ("images", "tokens", "table"),
    "batch": (1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
    "padded": (False, True),
    "causal": (False, True),
    "shift": (False, True),
    "contrast": ("neutral", "nuisance", "label"),
    "free": (False, True),
}
# Questions that one kind of data alone is asked; elsewhere their answer is the calm one.
ONLY = {"padded": "tokens", "causal": "tokens", "contrast": "images"}
CALM: Situation = {
    "data": "images",
    "batch": 64,
    "padded": False,
    "causal": False,
    "shift": False,
    "contrast": "neutral",
    "free": False,
}


@dataclass(frozen=True)
class Rule:
    """What speaks against some methods.

    Attributes:
        question: the one that it answers.
        said: the answer, in few words.
        when: entries of a situation with the values for which the rule holds.
        against: the methods that it rules out.
        reason: continues "it does not work here: "; may name {count}, the examples per batch.
        chapter: where the reason is shown.
        sources: keys of the bibliography.
        below: holds if there are fewer examples per batch than this.
    """

    question: str
    said: str
    when: Mapping[str, tuple[Any, ...]]
    against: tuple[str, ...]
    reason: str
    chapter: str
    sources: tuple[str, ...]
    below: int | None = None

    def holds(self, situation: Situation) -> bool:
        """Return whether the rule speaks in a situation."""
        if self.below is not None and situation["batch"] >= self.below:
            return False
        return all(situation[key] in values for key, values in self.when.items())

    def words(self, situation: Situation) -> str:
        """Return the reason with the numbers of a situation."""
        size = situation["batch"]
        return self.reason.format(count="1 example" if size == 1 else f"{size} examples")


@dataclass(frozen=True)
class Place:
    """What speaks for a method on one kind of data, where nothing speaks against it.

    Attributes:
        reason: why it stands where it stands among the others.
        sources: keys of the bibliography.
        chapter: where it was looked at, if it was.
    """

    reason: str
    sources: tuple[str, ...] = ()
    chapter: str = ""


RULES: tuple[Rule, ...] = (
    Rule(
        "free",
        "the norm must cost nothing at inference",
        {"free": (True,)},
        ("group", "layer", "rms", "instance"),
        "it computes its statistics from each input; only BatchNorm's fixed ones can be folded "
        "into the layer before and cost nothing",
        "04_batch_norm_inference",
        ("jacob2018quantization",),
    ),
    Rule(
        "contrast",
        "contrast tells the classes apart",
        {"contrast": ("label",)},
        ("group", "layer", "rms", "instance"),
        "its statistics come from the one image, so an image and its brighter copy look the "
        "same to it, and here contrast tells the classes apart",
        "10_instance_norm",
        ("ulyanov2016instance",),
    ),
    Rule(
        "contrast",
        "contrast is a nuisance",
        {"contrast": ("nuisance",)},
        ("batch", "group", "layer", "rms"),
        "it does not standardize each channel of each image by itself, so a colour cast stays, and "
        "under BatchNorm the contrast too",
        "10_instance_norm",
        ("ulyanov2016instance", "huang2017arbitrary"),
    ),
    Rule(
        "data",
        "images, contrast neutral",
        {"data": ("images",), "contrast": ("neutral",)},
        ("instance",),
        "it throws away the contrast of each channel, which a task may need; nothing here asks "
        "for that",
        "10_instance_norm",
        ("ulyanov2016instance", "pan2018two"),
    ),
    Rule(
        "data",
        "tokens",
        {"data": ("tokens",)},
        ("instance",),
        "it pools each feature over the whole sequence, past and future",
        "10_instance_norm",
        ("pytorch_instancenorm2d",),
    ),
    Rule(
        "data",
        "rows of a table",
        {"data": ("table",)},
        ("instance",),
        "a feature of one row is one value: its own mean, and every output is the same",
        "10_instance_norm",
        ("pytorch_instancenorm2d",),
    ),
    Rule(
        "batch",
        "fewer than 8 examples per batch",
        {},
        ("batch",),
        "a batch of {count} is too small for its statistics",
        "06_batch_norm_limits",
        ("wu2018group", "ioffe2017batch"),
        below=SMALL_BATCH,
    ),
    Rule(
        "shift",
        "inputs in use come from elsewhere",
        {"shift": (True,)},
        ("batch",),
        "its running statistics describe the training data, and these inputs come from elsewhere",
        "04_batch_norm_inference",
        ("li2016revisiting", "nado2020evaluating"),
    ),
    Rule(
        "padded",
        "tokens, padded",
        {"data": ("tokens",), "padded": (True,)},
        ("batch", "group"),
        "its statistics pool the padding with the real tokens",
        "06_batch_norm_limits",
        ("pytorch_batchnorm1d",),
    ),
    Rule(
        "causal",
        "tokens, causal",
        {"data": ("tokens",), "causal": (True,)},
        ("batch", "group"),
        "its statistics pool all positions in training, so each one sees what comes later",
        "08_layer_norm_sequences",
        ("pytorch_batchnorm1d",),
    ),
)

# For each kind of data all methods, the first choice first.
ORDERS: dict[str, dict[str, Place]] = {
    "images": {
        "batch": Place(
            "folds away at inference, and was ahead of any number of groups in three small nets",
            ("ioffe2015batch", "wu2018group"),
            "11_group_norm",
        ),
        "group": Place(
            "needs no batch, and keeps a loud channel from setting the scale of all",
            ("wu2018group",),
            "11_group_norm",
        ),
        "layer": Place(
            "needs no batch; one mean for the whole image", ("ba2016layer",), "07_layer_norm"
        ),
        "rms": Place("as layer, without the mean", ("zhang2019root",)),
        "instance": Place(
            "standardizes each channel of each image: contrast and colour cast go",
            ("ulyanov2016instance",),
            "10_instance_norm",
        ),
    },
    "tokens": {
        "layer": Place(
            "looks at one token: no neighbour, no padding and no batch can reach it",
            ("ba2016layer",),
            "07_layer_norm",
        ),
        "rms": Place(
            "as layer, without mean and shift; the default of Llama-like models",
            ("zhang2019root", "touvron2023llama"),
        ),
        "group": Place("pools positions too, so its output hangs on the length", ("wu2018group",)),
        "batch": Place(
            "can train well, but its statistics fluctuate more on language than on images",
            ("shen2020powernorm",),
        ),
        "instance": Place("pools each feature over the whole sequence"),
    },
    "table": {
        "batch": Place(
            "columns have units of their own, and each gets its own mean",
            ("ioffe2015batch",),
            "02_batch_norm",
        ),
        "layer": Place("needs no batch; pools all columns of a row", ("ba2016layer",)),
        "rms": Place("as layer, without the mean", ("zhang2019root",)),
        "group": Place("as layer, but which columns are neighbours is an accident of the table"),
        "instance": Place("has one value per mean"),
    },
}

# The situations of the exercise, by name.
SITUATIONS: dict[str, Situation] = {
    "photographs, 128 per device": {**CALM, "batch": 128},
    "an object detector, 2 large images per device": {**CALM, "batch": 2},
    "a classifier that runs on a phone: the norm must cost nothing": {**CALM, "free": True},
    "pictures redrawn in another style": {**CALM, "batch": 4, "contrast": "nuisance"},
    "materials told apart by contrast alone": {**CALM, "batch": 32, "contrast": "label"},
    "a classifier for cameras that it has never seen": {**CALM, "shift": True},
    "sentences of different lengths, padded": {**CALM, "data": "tokens", "padded": True},
    "a language model": {**CALM, "data": "tokens", "batch": 16, "causal": True},
    "a language model, 512 sequences per device": {
        **CALM,
        "data": "tokens",
        "batch": 512,
        "causal": True,
    },
    "a net on a table, 256 rows per batch": {**CALM, "data": "table", "batch": 256},
    "a net on a table that learns row by row": {**CALM, "data": "table", "batch": 1},
    "a table from a hospital that was not in the training data": {
        **CALM,
        "data": "table",
        "shift": True,
    },
}


@dataclass(frozen=True)
class Ranked:
    """A method's place in a situation: does it work, and what speaks against it or puts it here.

    Attributes:
        method: word of ``METHODS``.
        works: nothing speaks against it.
        reason: what speaks against it, or for it where it works.
        sources: keys of the bibliography for the reason.
    """

    method: str
    works: bool
    reason: str
    sources: tuple[str, ...]


def every_situation() -> Iterator[Situation]:
    """Yield each combination of answers once, without questions that the data are not asked.

    Example:
        >>> len(list(every_situation()))
        320
    """
    for answers in itertools.product(*VALUES.values()):
        situation = dict(zip(VALUES, answers, strict=True))
        asked = {key for key, data in ONLY.items() if situation["data"] == data}
        if all(situation[key] == CALM[key] for key in ONLY.keys() - asked):
            yield situation


def objections(situation: Situation, *, without: tuple[str, ...] = ()) -> Iterator[Rule]:
    """Yield the rules that speak in a situation, in their order.

    Args:
        situation: an entry for each of the seven questions.
        without: questions that are not asked.
    """
    for rule in RULES:
        if rule.question not in without and rule.holds(situation):
            yield rule


def rank(situation: Situation) -> list[Ranked]:
    """Return all methods: those that nothing speaks against by rank, then the others.

    Example:
        >>> [(one.method, one.works) for one in rank({**CALM, "batch": 2})][:2]
        [('group', True), ('layer', True)]
        >>> rank({**CALM, "batch": 2})[-2].reason
        'a batch of 2 examples is too small for its statistics'
    """
    order = ORDERS[situation["data"]]
    against: dict[str, Rule] = {}
    for rule in objections(situation):
        for method in rule.against:
            against.setdefault(method, rule)
    left = [
        Ranked(method, True, place.reason, place.sources)
        for method, place in order.items()
        if method not in against
    ]
    return left + [
        Ranked(method, False, against[method].words(situation), against[method].sources)
        for method in order
        if method in against
    ]

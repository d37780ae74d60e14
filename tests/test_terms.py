"""In every chapter each word of the glossary is linked where the text first uses it."""

from __future__ import annotations

import pytest

from tests.chapter_prose import CHAPTERS, Use, chapter_text, glossary, prose, uses

# Phrases in which a word of the glossary means something else, and what.
OTHERWISE: dict[str, dict[str, str]] = {
    "01_covariate_shift": {
        "scale each axis": "of the principal axes of a cloud, none of an array",
    },
    "02_batch_norm": {
        "drawn by one rule": "a way to draw weights",
        "The rule of": "which axes are pooled",
        "is folded here": "a cell of the page that opens on a click",
    },
    "04_batch_norm_inference": {"the fixed map of": "a function"},
    "05_why_batch_norm_works": {"He's rule": "a way to draw weights"},
    "10_instance_norm": {"fold the images into": "to move an axis into another"},
    "11_group_norm": {
        "no rule in": "a regularity",
        "hand-made features": "descriptors of image patches, which no layer computes",
    },
    "12_divisive_normalization": {"The same rule has since": "a law of how neurons respond"},
    "15_choosing": {"A start, no rule": "advice"},
}


def found(name: str) -> list[Use]:
    """Return the words of the glossary that a chapter uses in their sense."""
    return list(uses(chapter_text(name), tuple(OTHERWISE.get(name, {}))))


@pytest.mark.parametrize("name", CHAPTERS)
class TestChapters:
    def test_each_word_is_linked_where_it_is_first_used(self, name: str) -> None:
        first: dict[str, Use] = {}
        for use in found(name):
            first.setdefault(use.term, use)
        text = chapter_text(name)
        missing = {
            term: text[max(0, use.start - 40) : use.start + 40]
            for term, use in first.items()
            if not use.linked
        }
        assert not missing

    def test_a_word_is_linked_again_only_where_it_is_introduced(self, name: str) -> None:
        """Where a chapter explains a word its link is bold; any further one would be too many."""
        plain = [use.term for use in found(name) if use.linked and not use.bold]
        bold = [use.term for use in found(name) if use.linked and use.bold]
        assert len(set(plain)) == len(plain)
        assert len(set(bold)) == len(bold)

    def test_links_lead_to_the_glossary(self, name: str) -> None:
        assert {use.term for use in found(name) if use.linked} <= set(glossary())

    def test_every_phrase_that_is_let_through_is_there(self, name: str) -> None:
        text = prose(chapter_text(name))
        assert not [phrase for phrase in OTHERWISE.get(name, {}) if phrase not in text]


class TestReading:
    """What counts as the use of a word."""

    @pytest.mark.parametrize(
        "text",
        [
            "## The batch",
            "`batch` or $batch$",
            "```python\nbatch = 1\n```",
            "$$\nbatch\n$$ (eq-batch)",
            'Called "a batch" there.',
            "Batch norm, batch and group norm, batch normalization.",
            "An affine map, a chain rule, in a moment, mini-batches.",
            "Scale the input and shift it.",
            "# Title\n\nA batch?\n\n*Of a batch.*",
            '```{admonition} Said: "batch"\n:class: often-said\nNo.\n```',
            "[the batch](02_batch_norm.ipynb)",
            "{cite}`batch2015`",
        ],
    )
    def test_no_use(self, text: str) -> None:
        assert not list(uses(text))

    @pytest.mark.parametrize(
        ("text", "terms"),
        [
            ("Two batches, all axes.", ["batch", "axis"]),
            ("Standardized or recalibrating.", ["standardize", "recalibrate"]),
            ("Batch statistics of a batch", ["batch statistics", "batch"]),
            ("one learned scale $\\gamma$ and one learned shift", ["scale", "shift"]),
            ("$a$ batch $b$ `c` feature `d`", ["batch", "feature"]),
            ('```{admonition} Said: "x"\n:class: often-said\nOne batch.\n```', ["batch"]),
            ("# Title\n\nA batch?\n\n*A map.*\n\nOne channel.", ["channel"]),
        ],
    )
    def test_uses(self, text: str, terms: list[str]) -> None:
        read = list(uses(text))
        assert [use.term for use in read] == terms
        assert not any(use.linked for use in read)

    def test_links(self) -> None:
        text = "A {term}`batch`, **{term}`maps <map>`** and {term}`axes <axis>`."
        assert [(use.term, use.linked, use.bold) for use in uses(text)] == [
            ("batch", True, False),
            ("map", True, True),
            ("axis", True, False),
        ]

    def test_places_stay(self) -> None:
        text = "`code` and {cite}`key2020` **then** a batch."
        (use,) = uses(text)
        assert text[use.start :] == "batch."

"""The quiz without a script: every answer in a fold, every option explained, broken files named."""

from __future__ import annotations

import pytest

from normcourse.site.quiz import shuffled

from .conftest import Build, find, text

PAGE = "# Means\n\n```{quiz} 02_means\n```\n"
CHOOSE = """
[[question]]
id = "what"
kind = "choose"
prompt = "What is $\\\\mu$?"
explanation = "A sum over $N$."
[[question.option]]
text = "The `mean`."
correct = true
why = "By definition."
[[question.option]]
text = "The median."
correct = false
why = "That is the middle value."
"""
NUMBER = """
[[question]]
id = "how-much"
kind = "number"
prompt = "The mean of 2, 4, 6, 8?"
answer = 5
tolerance = 0.01
unit = "apples"
[[question.wrong]]
value = 6.5
why = "You left out the 2 and one more."
"""
ORDER = """
[[question]]
id = "steps"
kind = "order"
prompt = "In which order?"
items = ["add", "count", "divide"]
why = "You divide by the count."
"""
HEAD = 'schema = 1\nchapter = "means"\n'


def test_every_kind_is_complete_without_a_script(build: Build) -> None:
    built = build({"index": PAGE}, {"quiz/02_means.toml": HEAD + CHOOSE + NUMBER + ORDER})
    assert built.complaints == ""
    (quiz,) = find(built.body(), "section", class_="nc-quiz")
    questions = find(quiz, "div", class_="nc-question")
    kinds = [(question.get("data-question"), question.get("data-kind")) for question in questions]
    assert kinds == [
        ("02_means/what", "choose"), ("02_means/how-much", "number"), ("02_means/steps", "order"),
    ]  # fmt: skip
    for number, question in enumerate(questions, start=1):
        (label,) = find(question, "p", id=question.get("aria-labelledby", ""))
        assert text(label) == f"Question {number}"
        assert not any("open" in fold.attrib for fold in find(question, "details"))


def test_an_option_tells_right_or_wrong_and_why(build: Build) -> None:
    body = build({"index": PAGE}, {"quiz/02_means.toml": HEAD + CHOOSE}).body()
    options = find(body, "details", class_="nc-option")
    told = [(option.get("data-correct"), text(option)) for option in options]
    assert told == [
        ("true", "The mean. ✓ Right. By definition."),
        ("false", "The median. ✗ Not this one. That is the middle value."),
    ]
    (after,) = find(body, "details", class_="nc-answer")
    assert text(after).startswith("Explanation A sum over")


def test_a_number_names_the_wrong_ones(build: Build) -> None:
    body = build({"index": PAGE}, {"quiz/02_means.toml": HEAD + NUMBER}).body()
    (question,) = find(body, "div", class_="nc-question")
    assert (question.get("data-answer"), question.get("data-tolerance")) == ("5.0", "0.01")
    (answer,) = find(question, "details")
    assert text(answer) == (
        "Show the answer 5 apples If you found 6.5 apples You left out the 2 and one more."
    )


def test_an_order_is_shown_mixed_and_told_in_the_fold(build: Build) -> None:
    body = build({"index": PAGE}, {"quiz/02_means.toml": HEAD + ORDER}).body()
    (mixed,) = find(body, "ul", class_="nc-order")
    assert sorted(text(item) for item in mixed) == ["add", "count", "divide"]
    positions = [item.get("data-position") for item in mixed]
    assert positions != ["1", "2", "3"]
    (answer,) = find(body, "details")
    assert text(answer) == "Show the right order add count divide You divide by the count."


@pytest.mark.parametrize("seed", [f"seed-{number}" for number in range(20)])
def test_a_mixed_order_is_never_the_right_one(seed: str) -> None:
    items = ("add", "count", "divide")
    assert shuffled(items, seed) != list(items)
    assert sorted(shuffled(items, seed)) == sorted(items)


BROKEN = {
    "missing-file": (None, "no such file"),
    "not-toml": ("[[", "not TOML"),
    "schema": (CHOOSE, "write `schema = 1`"),
    "no-question": (HEAD, "'question' is missing"),
    "typo": (HEAD + CHOOSE.replace("prompt", "promt"), "unknown key 'promt'"),
    "typo-in-option": (HEAD + CHOOSE.replace("why =", "reason =", 1), "unknown key 'reason'"),
    "kind": (HEAD + CHOOSE.replace('"choose"', '"pick"'), "kind is 'pick', expected one of choose"),
    "no-right-option": (HEAD + CHOOSE.replace("true", "false"), "0 of 2 options are right"),
    "no-wrong-option": (HEAD + CHOOSE.replace("false", "true"), "2 of 2 options are right"),
    "unexplained": (HEAD + CHOOSE.replace("By definition.", ""), "option 1: 'why' is missing"),
    "correct-as-text": (HEAD + CHOOSE.replace("true", '"yes"'), "'correct' is 'yes'"),
    "id": (HEAD + CHOOSE.replace('"what"', '"what?"'), "the id 'what?' must be letters"),
    "same-id": (HEAD + CHOOSE + CHOOSE, "the id 'what' is used twice"),
    "answer-as-text": (HEAD + NUMBER.replace("= 5", '= "5"'), "'answer' is '5', expected a number"),
    "no-tolerance": (HEAD + NUMBER.replace("tolerance = 0.01", ""), "'tolerance' is missing"),
    "negative": (HEAD + NUMBER.replace("0.01", "-1"), "must not be negative"),
    "wrong-is-right": (HEAD + NUMBER.replace("6.5", "5.001"), "is within 0.01 of the answer 5"),
    "two-items": (HEAD + ORDER.replace('"add", ', ""), "at least three texts"),
    "same-items": (HEAD + ORDER.replace("count", "add"), "two items are the same"),
    "blocks": (HEAD + CHOOSE.replace("The median.", "one\\n\\ntwo"), "must be one paragraph"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_one_clear_error(build: Build, name: str) -> None:
    data, complaint = BROKEN[name]
    files = {} if data is None else {"quiz/02_means.toml": data}
    built = build({"index": PAGE}, files)
    assert complaint in built.complaints
    assert "index.md:3: ERROR: quiz: " in built.complaints
    assert built.complaints.count("ERROR") == 1

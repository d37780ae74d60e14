"""``{quiz} 02_batch_norm``: the quiz of a chapter, answered by opening folds.

Without a script every option is a fold: opening it says whether it is right and why. The
``data-`` attributes (``data-quiz``, ``data-question``, ``data-kind``, ``data-correct``,
``data-answer``, ``data-tolerance``, ``data-position``) let a script keep the score.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from normcourse.site.html import Tag
from normcourse.site.markdown import blocks, inline
from normcourse.site.quiz_data import (
    Choice,
    Number,
    Order,
    Question,
    Quiz,
    QuizError,
    Wrong,
    load_quiz,
)

if TYPE_CHECKING:
    from sphinx.application import Sphinx

__all__ = ["QuizDirective", "register", "shuffled"]

FOLDER = "book/quiz"


class QuizDirective(SphinxDirective):
    """The questions of one quiz file."""

    required_arguments = 1
    has_content = False

    def run(self) -> list[nodes.Node]:
        """Return the quiz, or say clearly what is wrong with its file."""
        name = self.arguments[0]
        path = Path(self.env.srcdir, self.config.normcourse_quiz_folder, f"{name}.toml")
        self.env.note_dependency(str(path))
        try:
            return [self._quiz(name, load_quiz(path))]
        except QuizError as error:
            raise self.error(f"quiz: {error}") from error

    def _quiz(self, name: str, quiz: Quiz) -> Tag:
        questions = [
            self._question(question, number, name)
            for number, question in enumerate(quiz.questions, start=1)
        ]
        return Tag(
            "section", {"class": "nc-quiz", "aria-label": "Quiz", "data-quiz": name}, questions
        )

    def _question(self, question: Question, number: int, name: str) -> Tag:
        head = f"quiz-{question.id}"
        heading = Tag(
            "p", {"class": "nc-question-number", "id": head}, [nodes.Text(f"Question {number}")]
        )
        prompt = Tag("div", {"class": "nc-prompt"}, blocks(self, question.prompt))
        attributes = {
            "class": "nc-question",
            "role": "group",
            "aria-labelledby": head,
            "data-question": f"{name}/{question.id}",
            "data-kind": question.kind,
        }
        body: list[nodes.Node]
        match question.answer:
            case Number() as answer:
                attributes |= {
                    "data-answer": repr(answer.answer),
                    "data-tolerance": repr(answer.tolerance),
                }
                body = [self._number(answer, question)]
            case Order() as answer:
                body = [self._shuffled(answer, question), self._order(answer, question)]
            case choices:
                body = [self._choices(choices, question)]
                if question.explanation:
                    body.append(_fold("Explanation", self._after(question), "nc-answer"))
        return Tag("div", attributes, [heading, prompt, *body])

    def _choices(self, choices: tuple[Choice, ...], question: Question) -> Tag:
        options = [Tag("li", children=[self._choice(choice, question)]) for choice in choices]
        return Tag("ol", {"class": "nc-options"}, options)

    def _choice(self, choice: Choice, question: Question) -> Tag:
        verdict = "✓ Right." if choice.correct else "✗ Not this one."
        mark = "right" if choice.correct else "wrong"
        line = Tag("p", {"class": f"nc-verdict nc-{mark}"}, [nodes.Text(verdict)])
        return Tag(
            "details",
            {
                "class": f"nc-fold nc-option nc-is-{mark}",
                "data-correct": str(choice.correct).lower(),
            },
            [
                Tag("summary", children=self._inline(choice.text, question)),
                Tag("div", {"class": "nc-fold-body"}, [line, *blocks(self, choice.why)]),
            ],
        )

    def _number(self, number: Number, question: Question) -> Tag:
        unit = f" {number.unit}" if number.unit else ""
        answer = nodes.paragraph("", "", nodes.strong("", f"{number.answer:g}{unit}"))
        body = [answer, *self._after(question)]
        if number.wrong:
            body.append(
                Tag(
                    "dl",
                    {"class": "nc-wrong-list"},
                    [node for wrong in number.wrong for node in self._wrong(wrong, unit)],
                )
            )
        return _fold("Show the answer", body, "nc-answer")

    def _wrong(self, wrong: Wrong, unit: str) -> list[nodes.Node]:
        return [
            Tag(
                "dt",
                {"data-value": repr(wrong.value)},
                [nodes.Text(f"If you found {wrong.value:g}{unit}")],
            ),
            Tag("dd", children=blocks(self, wrong.why)),
        ]

    def _shuffled(self, order: Order, question: Question) -> Tag:
        items = [
            Tag(
                "li",
                {"data-position": str(order.items.index(text) + 1)},
                self._inline(text, question),
            )
            for text in shuffled(order.items, question.id)
        ]
        return Tag("ul", {"class": "nc-order"}, items)

    def _order(self, order: Order, question: Question) -> Tag:
        steps = Tag(
            "ol",
            {"class": "nc-order"},
            [Tag("li", children=self._inline(text, question)) for text in order.items],
        )
        body = [steps, *blocks(self, order.why), *self._after(question)]
        return _fold("Show the right order", body, "nc-answer")

    def _after(self, question: Question) -> list[nodes.Node]:
        return blocks(self, question.explanation) if question.explanation else []

    def _inline(self, text: str, question: Question) -> list[nodes.Node]:
        try:
            return inline(self, text)
        except ValueError as error:
            raise QuizError(f"question {question.id!r}: an option or item {error}") from error


def shuffled(items: tuple[str, ...], seed: str) -> list[str]:
    """Return the items in another order than the right one, the same in every build.

    >>> shuffled(("mean", "variance", "divide"), "steps") != ["mean", "variance", "divide"]
    True
    """
    mixed = list(items)
    random.Random(seed).shuffle(mixed)
    return mixed if tuple(mixed) != items else [*mixed[1:], mixed[0]]


def _fold(summary: str, body: list[nodes.Node], name: str) -> Tag:
    return Tag(
        "details",
        {"class": f"nc-fold {name}"},
        [
            Tag("summary", children=[nodes.Text(summary)]),
            Tag("div", {"class": "nc-fold-body"}, body),
        ],
    )


def register(app: Sphinx) -> None:
    """Add the directive; its folder can be set for tests."""
    app.add_config_value("normcourse_quiz_folder", FOLDER, "env", (str,))
    app.add_directive("quiz", QuizDirective)

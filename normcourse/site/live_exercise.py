"""``{live-exercise} id``: a card; ``{exercise-cards} chapter``: all cards of a chapter;
``{exercise-list}``: a table of all of them.

The card is complete without a script: statement, stub, how to check it, three hints that open
one after the other, and the solution with its reason. Its ``data-`` attributes say what a script
needs to put an editor in the place of the stub: ``data-exercise`` (the id), ``data-runtime``,
``data-version`` on the card and ``data-part`` on each of its parts.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from docutils import nodes
from sphinx import addnodes
from sphinx.domains.std import StandardDomain
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.docutils import SphinxDirective, SphinxRole
from sphinx.util.nodes import make_refnode

from normcourse.site.exercise_data import (
    Chapter,
    DataError,
    ExerciseText,
    data_folder,
    find_exercise,
    load_chapters,
)
from normcourse.site.html import Tag, pass_through
from normcourse.site.markdown import blocks

if TYPE_CHECKING:
    from sphinx.application import Sphinx

__all__ = ["ExerciseCard", "ExerciseList", "LiveExercise", "register"]

LEVELS = {1: "easy", 2: "medium", 3: "hard", 4: "very hard"}
HERE = "an editor takes the place of the code where scripts run and the book is served over http"
RUNTIMES = {"numpy": "NumPy", "torch": "PyTorch"}


class ExerciseCard(nodes.General, nodes.Element):  # type: ignore[misc]
    """The card; numbered like a figure ("Exercise 2.1"), so that text can refer to it."""


def folder_of(directive: SphinxDirective | SphinxRole) -> Path:
    """Return where the texts of exercises are: as configured, else the package data."""
    configured = directive.config.normcourse_exercise_data
    return Path(directive.env.srcdir, configured) if configured else data_folder()


class LiveExercise(SphinxDirective):
    """The card of one exercise, where the chapter asks for it."""

    required_arguments = 1
    has_content = False

    def run(self) -> list[nodes.Node]:
        """Return the card, or say clearly what is wrong with the data."""
        try:
            chapter, exercise = find_exercise(self.arguments[0], folder_of(self))
        except DataError as error:
            raise self.error(f"live-exercise: {error}") from error
        self.env.note_dependency(str(chapter.path))
        return [self._card(chapter, exercise)]

    def _card(self, chapter: Chapter, exercise: ExerciseText) -> ExerciseCard:
        card = ExerciseCard(
            "",
            Tag(
                "div",
                {"class": "nc-part nc-statement", "data-part": "statement"},
                blocks(self, exercise.statement),
            ),
            Tag("div", {"class": "nc-part nc-stub", "data-part": "stub"}, [_code(exercise.stub)]),
            self._how_to_check(chapter, exercise),
            Tag("div", {"class": "nc-folds"}, [self._hints(exercise), self._solution(exercise)]),
            exercise=exercise.id,
            title=exercise.title,
            chapter=chapter.name,
            runtime=exercise.runtime,
            version=str(exercise.version),
            facts=_facts(exercise),
            ids=[exercise.id],
            names=[nodes.fully_normalize_name(exercise.id)],
        )
        self.set_source_info(card)
        self.state.document.note_explicit_target(card, card)
        return card

    def _how_to_check(self, chapter: Chapter, exercise: ExerciseText) -> Tag:
        file = f"{chapter.notebook}.ipynb"
        notebook = f"exercises/{file}"
        present = Path(self.env.srcdir, notebook).is_file()
        rows = [
            (
                "Notebook",
                [
                    _download(notebook, file) if present else nodes.literal("", file),
                    nodes.Text(": run "),
                    nodes.literal("", f"check({exercise.id})"),
                ],
            ),
            ("Terminal", [nodes.literal("", f"normcourse check {file} {exercise.id}")]),
        ]
        if self.config.normcourse_live and exercise.runtime == "numpy":
            rows.append(("This page", [nodes.Text(HERE)]))  # a script puts the editor there
        colab = colab_address(self.config, notebook)
        if colab:
            link = nodes.reference("", "open the notebook there", refuri=colab)
            rows.append(("Colab", [nodes.inline("", "", link)]))
        items: list[nodes.Node] = []
        for name, how in rows:
            items += [Tag("dt", children=[nodes.Text(name)]), Tag("dd", children=how)]
        return Tag(
            "dl",
            {
                "class": "nc-part nc-check",
                "data-part": "check",
                "aria-label": "How to check your solution",
            },
            items,
        )

    def _hints(self, exercise: ExerciseText) -> Tag:
        """Each hint lies inside the one before it: nobody reads the third by accident."""
        inner: list[Tag] = []
        total = len(exercise.hints)
        for number in range(total, 0, -1):
            body = [*blocks(self, exercise.hints[number - 1]), *inner]
            inner = [
                _fold(
                    f"Hint {number} of {total}",
                    body,
                    "nc-hint",
                    {"data-part": "hint", "data-hint": str(number)},
                )
            ]
        return inner[0]

    def _solution(self, exercise: ExerciseText) -> Tag:
        insight = Tag(
            "div", {"class": "nc-insight", "data-part": "insight"}, blocks(self, exercise.insight)
        )
        body = [_code(exercise.solution), *blocks(self, exercise.reason), insight]
        return _fold(
            "Solution, and why it is right", body, "nc-solution", {"data-part": "solution"}
        )


class ExerciseCards(LiveExercise):
    """The cards of all exercises of a chapter without a text, as in a course of one's own."""

    def run(self) -> list[nodes.Node]:
        """Return the cards, in the chapter's order."""
        name = self.arguments[0]
        try:
            chapters = {chapter.name: chapter for chapter in load_chapters(folder_of(self))}
        except DataError as error:
            raise self.error(f"exercise-cards: {error}") from error
        if name not in chapters:
            raise self.error(
                f"exercise-cards: no chapter {name!r} in {folder_of(self)}; "
                f"there are {', '.join(chapters)}"
            )
        chapter = chapters[name]
        self.env.note_dependency(str(chapter.path))
        return [self._card(chapter, exercise) for exercise in chapter.exercises]


class ExerciseList(SphinxDirective):
    """A table of all exercises, chapter by chapter, with their minutes and difficulty."""

    has_content = False

    def run(self) -> list[nodes.Node]:
        """Return a section with a table per chapter."""
        self.env.note_dependency(str(folder_of(self)))
        try:
            chapters = load_chapters(folder_of(self))
        except DataError as error:
            raise self.error(f"exercise-list: {error}") from error
        if not chapters:
            raise self.error(
                f"exercise-list: no exercises in {folder_of(self)}; run `make exercises`"
            )
        return [self._chapter(chapter) for chapter in chapters]

    def _chapter(self, chapter: Chapter) -> nodes.section:
        self.env.note_dependency(str(chapter.path))
        heading = chapter.title.removeprefix("Exercises of ")
        name = f"exercises-{chapter.name}".replace("_", "-")
        section = nodes.section(ids=[name], names=[name])
        section += nodes.title("", heading[:1].upper() + heading[1:])
        count = _counted(len(chapter.exercises), "exercise")
        time = _counted(sum(exercise.minutes for exercise in chapter.exercises), "minute")
        line = nodes.paragraph("", f"{count}, about {time}.")
        notebook = f"exercises/{chapter.notebook}.ipynb"
        if Path(self.env.srcdir, notebook).is_file():
            line += [nodes.Text(" Notebook: "), _download(notebook, f"{chapter.notebook}.ipynb")]
        rows = [
            [
                ExerciseLink("", exercise.title, exercise=exercise.id),
                nodes.Text(f"{exercise.minutes} min"),
                nodes.Text(LEVELS.get(exercise.difficulty, str(exercise.difficulty))),
                nodes.Text(RUNTIMES[exercise.runtime]),
            ]
            for exercise in chapter.exercises
        ]
        section += [line, _table(["Exercise", "Time", "Difficulty", "With"], rows)]
        return section


class ExerciseLink(nodes.Inline, nodes.TextElement):  # type: ignore[misc]
    """The title of an exercise, which becomes a link where a page shows its card."""


class LinkExercises(SphinxPostTransform):
    """Link the titles in the list; an exercise that only a notebook has stays plain text."""

    default_priority = 8

    def run(self, **kwargs: Any) -> None:
        """Replace each title by a link to its card, if there is one."""
        domain = cast(StandardDomain, self.env.get_domain("std"))
        builder = self.app.builder
        for title in list(self.document.findall(ExerciseLink)):
            text = nodes.inline("", title.astext())
            page, label = domain.anonlabels.get(title["exercise"], ("", ""))
            link = make_refnode(builder, self.env.docname, page, label, text) if page else text
            title.replace_self(link)


def colab_address(config: Any, notebook: str) -> str | None:
    """Return where Colab opens ``notebook``; None unless _config.yml names both addresses."""
    options = config.html_theme_options
    colab = (options.get("launch_buttons") or {}).get("colab_url")
    repository = options.get("repository_url")
    if not colab or not repository:
        return None
    path = "/".join(repository.rstrip("/").split("/")[-2:])
    branch = options.get("repository_branch") or "main"
    return f"{colab.rstrip('/')}/github/{path}/blob/{branch}/{notebook}"


def _facts(exercise: ExerciseText) -> list[str]:
    level = LEVELS.get(exercise.difficulty, str(exercise.difficulty))
    return [_counted(exercise.minutes, "minute"), level, RUNTIMES[exercise.runtime]]


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _code(source: str) -> nodes.literal_block:
    text = source.strip("\n")
    return nodes.literal_block(text, text, language="python")


def _fold(summary: str, body: list[nodes.Node], name: str, attributes: dict[str, str]) -> Tag:
    children = [
        Tag("summary", children=[nodes.Text(summary)]),
        Tag("div", {"class": "nc-fold-body"}, body),
    ]
    return Tag("details", {"class": f"nc-fold {name}", **attributes}, children)


def _download(path: str, text: str) -> addnodes.download_reference:
    return addnodes.download_reference(
        "",
        "",
        nodes.literal("", text, classes=["xref", "download"]),
        reftarget=f"/{path}",
        refdoc="",
        refdomain="",
        reftype="download",
        refexplicit=True,
        refwarn=False,
    )


def _table(head: list[str], rows: list[list[nodes.Node]]) -> nodes.table:
    group = nodes.tgroup("", cols=len(head))
    group += [nodes.colspec("", colwidth=1) for _ in head]
    group += nodes.thead("", _row([nodes.Text(cell) for cell in head]))
    group += nodes.tbody("", *(_row(row) for row in rows))
    return nodes.table("", group, classes=["nc-exercise-list"])


def _row(cells: list[nodes.Node]) -> nodes.row:
    return nodes.row("", *(nodes.entry("", nodes.paragraph("", "", cell)) for cell in cells))


def visit_card(translator: Any, node: ExerciseCard) -> None:
    """Open the card with its heading: number, title, minutes, difficulty, library."""
    body, name = translator.body, node["exercise"]
    level = min(translator.section_level + 1, 6)
    body.append(
        translator.starttag(
            node,
            "section",
            "",
            CLASS="nc-exercise",
            **{
                "aria-labelledby": f"{name}-title",
                "data-exercise": name,
                "data-chapter": node["chapter"],
                "data-runtime": node["runtime"],
                "data-version": node["version"],
            },
        )
    )
    body.append(f'<header class="nc-head">\n<h{level} class="nc-title" id="{name}-title">')
    translator.add_fignumber(node)
    body.append(f'<span class="nc-name">{translator.encode(node["title"])}</span>')
    translator.add_permalink_ref(node, "Link to this exercise")
    facts = "".join(f"<li>{translator.encode(fact)}</li>" for fact in node["facts"])
    body.append(f'</h{level}>\n<ul class="nc-facts">{facts}</ul>\n</header>\n')


def depart_card(translator: Any, node: ExerciseCard) -> None:
    """Close the card."""
    translator.body.append("</section>\n")


def _title(node: nodes.Element) -> str:
    return str(node["title"])


def register(app: Sphinx) -> None:
    """Add both directives and the numbered card."""
    other = (pass_through, pass_through)
    app.add_config_value("normcourse_exercise_data", "", "env", (str,))
    app.add_enumerable_node(
        ExerciseCard,
        "exercise",
        _title,
        html=(visit_card, depart_card),
        latex=other,
        text=other,
        man=other,
        texinfo=other,
    )
    app.add_node(ExerciseLink)
    app.add_post_transform(LinkExercises)
    app.add_directive("live-exercise", LiveExercise)
    app.add_directive("exercise-cards", ExerciseCards)
    app.add_directive("exercise-list", ExerciseList)

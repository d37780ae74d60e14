"""``{api} normcourse.norms``: the reference of a package; ``{methods}``: the registry as a table.

Every public function and class of the package's ``__all__`` becomes a section (records do not):
signature, meaning, and the parts of its docstring (Formula, Args, Returns, Raises, Differs, Source,
Example) as the code has them.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterable
from dataclasses import dataclass, is_dataclass
from typing import TYPE_CHECKING, Any

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from normcourse.site.markdown import blocks

if TYPE_CHECKING:
    from sphinx.application import Sphinx

__all__ = ["Api", "Docstring", "Methods", "parse_docstring", "register"]

_HEADER = re.compile(r"^([A-Z][A-Za-z ]*?)(?:, ([^:\n]*))?:\s*$")
_ITEM = re.compile(r"^(\*{0,2}[A-Za-z_][\w, ]*?):\s+(.*)$")
_INLINE = re.compile(r"``(.+?)``|:\w+:`~?(.+?)`|`([^`]+)`")
_ROLE = re.compile(r":\w+:`~?(?:[\w.]*\.)?(\w+)`")
_LISTS = ("Args", "Raises")
_LITERAL = ("Formula", "Example", "Examples", "Shape")


@dataclass(frozen=True)
class Docstring:
    """A docstring in its parts.

    Args:
        summary: its first paragraph.
        text: further paragraphs before the first part.
        parts: heading (with what follows it after a comma) and lines, in order.
    """

    summary: str
    text: tuple[str, ...]
    parts: tuple[tuple[str, str], ...]


def parse_docstring(text: str) -> Docstring:
    r"""Return a docstring in its parts.

    Example:
        >>> parse_docstring("Add.\n\nFormula:\n    y = x + 1\n\nSource:\n    Peano.").parts
        (('Formula', 'y = x + 1'), ('Source', 'Peano.'))
    """
    lead: list[str] = []
    parts: list[tuple[str, list[str]]] = []
    for line in inspect.cleandoc(text).splitlines():
        header = _HEADER.match(line)
        if header:
            parts.append((": ".join(filter(None, header.groups())), []))
        elif parts and (line.startswith(" ") or not line):
            parts[-1][1].append(line)
        elif parts:
            parts.append(("", [line]))
        else:
            lead.append(line)
    paragraphs = [" ".join(p.split()) for p in re.split(r"\n\s*\n", "\n".join(lead)) if p.strip()]
    told = tuple((name, inspect.cleandoc("\n" + "\n".join(lines))) for name, lines in parts)
    return Docstring(paragraphs[0] if paragraphs else "", tuple(paragraphs[1:]), told)


def signature_of(name: str, value: Any) -> str:
    """Return the call of a function or class as it is written, types left out."""
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        return name
    listed: list[str] = []
    starred = False
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            starred = True
        elif parameter.kind is parameter.KEYWORD_ONLY and not starred:
            listed.append("*")
            starred = True
        listed.append(_parameter(parameter))
    line = f"{name}({', '.join(listed)})"
    return line if len(line) <= 72 else f"{name}(\n    " + ",\n    ".join(listed) + ",\n)"


def _parameter(parameter: inspect.Parameter) -> str:
    """Return a parameter with its default; a class stands for itself by its name."""
    bare = parameter.replace(annotation=parameter.empty)
    if inspect.isclass(parameter.default) and parameter.default is not parameter.empty:
        return f"{parameter.name}={parameter.default.__name__}"
    return str(bare)


def inline(text: str) -> list[nodes.Node]:
    """Return text with its code marked; nothing else of it is markup."""
    found: list[nodes.Node] = []
    place = 0
    for match in _INLINE.finditer(text):
        found.append(nodes.Text(text[place : match.start()]))
        code = next(group for group in match.groups() if group)
        found.append(nodes.literal("", code.rpartition(".")[2] if match.group(2) else code))
        place = match.end()
    return [*found, nodes.Text(text[place:])]


def paragraph(text: str) -> nodes.paragraph:
    """Return one paragraph of a docstring."""
    return nodes.paragraph("", "", *inline(" ".join(text.split())))


def part(heading: str, text: str) -> list[nodes.Node]:
    """Return one part of a docstring under its heading."""
    kind = heading.partition(":")[0]
    if not heading:
        return [paragraph(text)]
    title = nodes.rubric("", kind, classes=["nc-api-part"])
    condition = heading.partition(": ")[2]
    if condition:
        title += nodes.inline("", "", nodes.Text(", "), *inline(condition), classes=["nc-api-when"])
    if kind in _LISTS:
        return [title, _definitions(text)]
    if kind in _LITERAL:
        language = "pycon" if kind.startswith("Example") else "text"
        text = _ROLE.sub(r"\1", text)
        return [title, nodes.literal_block(text, text, language=language)]
    return [title, *(paragraph(block) for block in re.split(r"\n\s*\n", text) if block.strip())]


def _definitions(text: str) -> nodes.Element:
    """Return "name: meaning" lines, with their continuations, as a definition list."""
    items: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        item = None if line.startswith(" ") else _ITEM.match(line)
        if item:
            items.append((item.group(1), [item.group(2)]))
        elif items:
            items[-1][1].append(line.strip())
    found = nodes.definition_list(classes=["nc-api-list"])
    for name, lines in items:
        term = nodes.term("", "", nodes.literal("", name))
        found += nodes.definition_list_item(
            "", term, nodes.definition("", paragraph(" ".join(lines)))
        )
    return found


class Api(SphinxDirective):
    """The reference of one package, or of the names that are given."""

    required_arguments = 1
    has_content = False

    def run(self) -> list[nodes.Node]:
        """Return a section per public name, in the order of ``__all__``."""
        name = self.arguments[0]
        try:
            module = importlib.import_module(name)
        except ImportError as error:
            raise self.error(f"api: cannot import {name}: {error}") from error
        self.env.note_dependency(inspect.getfile(module))
        sections: list[nodes.Node] = []
        for public in getattr(module, "__all__", ()):
            value = getattr(module, public)
            if inspect.isfunction(value) or (inspect.isclass(value) and not is_dataclass(value)):
                sections.append(self._section(f"{name}.{public}", public, value))
        if not sections:
            raise self.error(f"api: {name} has no public functions or classes in __all__")
        return sections

    def _section(self, path: str, name: str, value: Any) -> nodes.section:
        label = nodes.make_id(path)
        section = nodes.section(ids=[label], names=[label])
        self.state.document.note_explicit_target(section, section)  # text may link to it
        section += nodes.title("", "", nodes.literal("", name))
        call = signature_of(name, value)
        section += nodes.literal_block(call, call, language="python", classes=["nc-api-call"])
        doc = parse_docstring(inspect.getdoc(value) or "")
        if not doc.summary:
            raise self.error(f"api: {path} has no docstring")
        for text in (doc.summary, *doc.text):
            section += paragraph(text)
        for heading, text in doc.parts:
            section.extend(part(heading, text))
        return section


class Methods(SphinxDirective):
    """The table of all methods, a row each, from the registry of ``normcourse.norms``."""

    has_content = False

    def run(self) -> list[nodes.Node]:
        """Return the table."""
        registry = importlib.import_module("normcourse.norms").METHODS
        return blocks(self, methods_table(registry.values()))


def methods_table(rows: Iterable[Any]) -> str:
    """Return the rows of the registry as a MyST list table."""
    heads = ("method", "formula", "one statistic pools", "learned; kept")
    lines = ["```{list-table}", ":header-rows: 1", ":class: nc-methods", ""]
    lines += _table_row(heads)
    for row in rows:
        link = f"[{row.title}](#{nodes.make_id('normcourse.norms.' + row.name)})"
        names = "; ".join(", ".join(f"`{n}`" for n in part) for part in _names(row) if part) or "–"
        paper = "{cite:t}`" + row.paper + "`"
        lines += _table_row((f"{link}; {paper}", f"${row.formula}$", row.pooled, names))
    return "\n".join([*lines, "```"])


def _names(row: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what a method learns and what it keeps; the count of batches goes without saying."""
    kept = tuple(name for name in row.state if name != "num_batches_tracked")
    return row.parameters, kept


def _table_row(cells: Iterable[str]) -> list[str]:
    first, *others = cells
    return [f"* - {first}", *(f"  - {cell}" for cell in others)]


def register(app: Sphinx) -> None:
    """Add the directives."""
    app.add_directive("api", Api)
    app.add_directive("methods", Methods)

"""Chapters are numbered by their file names, and references to numbered things show the number.

``book/02_batch_norm.ipynb`` is chapter 2 wherever it stands in the table of contents, so its
figures, equations and exercises are 2.1, 2.2, … also while other chapters are still missing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, cast

from docutils import nodes
from sphinx import addnodes
from sphinx.domains.std import StandardDomain
from sphinx.environment.collectors.toctree import TocTreeCollector
from sphinx.transforms import SphinxTransform
from sphinx.transforms.post_transforms import SphinxPostTransform

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

__all__ = ["chapter_number", "register"]


def chapter_number(docname: str) -> int | None:
    """Return the number in the file name of a chapter, None for any other page.

    >>> chapter_number("book/02_batch_norm"), chapter_number("book/glossary")
    (2, None)
    """
    match = re.match(r"(\d\d)_", docname.rsplit("/", 1)[-1])
    return int(match[1]) if match else None


def number_chapters(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Replace the running number of each numbered chapter by that of its file.

    What belongs to a chapter but stands on a page without a number in the table of contents, as
    exercises on a page of their own, is numbered within that chapter too.
    """
    changed = []
    for docname, sections in env.toc_secnumbers.items():
        chapter = chapter_number(docname)
        if chapter is None:
            continue
        for anchor, number in sections.items():
            sections[anchor] = (chapter, *number[1:]) if number else number
        for numbered in (env.titles[docname], *env.tocs[docname].findall(nodes.reference)):
            if numbered.get("secnumber"):
                numbered["secnumber"] = [chapter, *numbered["secnumber"][1:]]
        changed.append(docname)
    others = {name: chapter_number(name) for name in env.found_docs - set(env.toc_secnumbers)}
    by_file: dict[str, dict[str, tuple[int, ...]]] = {
        name: {"": (number,)} for name, number in others.items() if number is not None
    }
    env.toc_secnumbers.update(by_file)  # while figures are numbered: their titles stay without
    changed += TocTreeCollector().assign_figure_numbers(env)
    for name in by_file:
        del env.toc_secnumbers[name]
    return changed


class LocalReferences(SphinxTransform):
    """``[](#label)`` within a page waits until numbers are known, as across pages."""

    default_priority = 878  # just before MyST resolves links within the page

    def apply(self, **kwargs: Any) -> None:
        """Turn empty links to numbered things into pending references."""
        domain = self.env.get_domain("std")
        for link in list(self.document.findall(nodes.reference)):
            target = str(link.get("refuri", ""))[1:]
            if not link.get("id_link") or link.children or not self.document.nametypes.get(target):
                continue
            node = self.document.ids.get(self.document.nameids[target])
            if node is not None and domain.get_enumerable_node_type(node) not in (None, "section"):
                link.replace_self(_numbered(target, self.env.docname, link))


class NumberedReferences(SphinxPostTransform):
    """An empty link or a ``{ref}`` to an exercise or figure reads "Exercise 2.1", not its title."""

    default_priority = 4  # before sphinx-exercise (5) and every resolver

    def run(self, **kwargs: Any) -> None:
        """Hand such references to ``numref``."""
        domain = cast(StandardDomain, self.env.get_domain("std"))
        for link in list(self.document.findall(addnodes.pending_xref)):
            target = str(link.get("reftarget", "")).lower()
            if link.get("refexplicit") or link.get("reftype") not in ("myst", "ref"):
                continue
            document, label = domain.anonlabels.get(target, ("", ""))
            kinds = self.env.toc_fignumbers.get(document, {})
            if any(label in numbers for numbers in kinds.values()):
                link.replace_self(_numbered(target, link.get("refdoc", self.env.docname), link))


def _numbered(target: str, docname: str, link: nodes.Element) -> addnodes.pending_xref:
    pending = addnodes.pending_xref(
        "",
        nodes.literal("", target, classes=["xref", "std", "std-numref"]),
        refdoc=docname,
        refdomain="std",
        reftype="numref",
        reftarget=target,
        refexplicit=False,
        refwarn=True,
    )
    pending.source, pending.line = link.source, link.line
    return pending


def register(app: Sphinx) -> None:
    """Number after Sphinx has (its collectors run at priority 500)."""
    app.connect("env-get-updated", number_chapters, priority=900)
    app.add_transform(LocalReferences)
    app.add_post_transform(NumberedReferences)

"""Rules of a style sheet that no page can use are left out.

The theme brings Bootstrap, Font Awesome and the looks of a dozen extensions, of which a page of the
book uses a third. A selector is kept if every class and every id that it asks for is named by some
page or some script of the site; what stands in ``:not()``, ``:is()`` and the like asks for nothing.
Selectors by element and by attribute are always kept, and so is every class in ``KEPT``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import tinycss2

__all__ = ["names_used", "prune"]

#: Classes that a script puts together from parts.
KEPT = re.compile(r"(nc-|bs-popover|bs-tooltip|cm-|theme-)")
NESTED = ("media", "supports", "layer", "container")
VALUE = re.compile(r"\b(?:class|id)=(?:\"([^\"]*)\"|'([^']*)')")
SCRIPT = re.compile(r"<script\b[^>]*>(.*?)</script>", re.DOTALL)
WORD = re.compile(r"[A-Za-z_][\w-]*")


def names_used(pages: Iterable[str], scripts: Iterable[str]) -> set[str]:
    """Return what pages name as class or id, and every word of scripts, theirs and others.

    Example:
        >>> sorted(names_used(['<p class="a b" id="c"><script>add("d-e")</script>'], ["f(1)"]))
        ['a', 'add', 'b', 'c', 'd-e', 'f']
    """
    names: set[str] = set()
    code = list(scripts)
    for page in pages:
        for match in VALUE.finditer(page):
            names.update((match[1] or match[2] or "").split())
        code += SCRIPT.findall(page)
    return names.union(*(WORD.findall(text) for text in code)) if code else names


def prune(style: str, used: set[str]) -> str:
    """Return a style sheet without comments and without the selectors that need other names.

    Args:
        style: text of the style sheet.
        used: classes and ids that occur, as ``names_used`` finds them.

    Example:
        >>> print(prune(".a, p .b { color: red } .b::before { color: blue }", {"a"}))
        .a{ color: red }
        >>> print(prune("@media print { .b:not(.c) { color: red } }", {"b"}))
        @media print {.b:not(.c){ color: red }}
    """
    rules = tinycss2.parse_stylesheet(style, skip_comments=True, skip_whitespace=True)
    return "\n".join(_kept(rules, used))


def _kept(rules: Iterable[Any], used: set[str]) -> Iterator[str]:
    for rule in rules:
        if rule.type == "qualified-rule":
            selectors = [part for part in _split(rule.prelude) if _needs(part) <= used]
            if selectors and not any(token.type == "error" for token in rule.prelude):
                names = ",".join(tinycss2.serialize(part).strip() for part in selectors)
                yield f"{names}{{{tinycss2.serialize(rule.content)}}}"
        elif rule.type == "at-rule" and rule.lower_at_keyword in NESTED and rule.content:
            inner = tinycss2.parse_rule_list(rule.content, skip_comments=True, skip_whitespace=True)
            kept = "\n".join(_kept(inner, used))
            if kept:
                yield f"@{rule.at_keyword}{tinycss2.serialize(rule.prelude)}{{{kept}}}"
        elif rule.type == "at-rule":  # what cannot be read is left out, as browsers do
            yield rule.serialize()


def _split(prelude: list[Any]) -> list[list[Any]]:
    """Return the selectors between the commas."""
    parts: list[list[Any]] = [[]]
    for token in prelude:
        if token == ",":
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def _needs(selector: list[Any]) -> set[str]:
    """Return the classes and ids that a selector asks for."""
    needed = set()
    for before, token in zip([None, *selector], selector, strict=False):
        is_class = token.type == "ident" and before is not None and before == "."
        if is_class or token.type == "hash":
            needed.add(str(token.value))
    return {name for name in needed if not KEPT.match(name)}

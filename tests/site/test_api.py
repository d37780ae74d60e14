"""The API pages are made from docstrings, and every public name has one."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from docutils import nodes

from normcourse.site.api import inline, methods_table, parse_docstring, part, signature_of

PACKAGES = ("normcourse.norms", "normcourse.modules", "normcourse.surgery")


def public(package: str) -> list[Any]:
    module = importlib.import_module(package)
    values = ((name, getattr(module, name)) for name in module.__all__)
    return [
        pytest.param(value, id=f"{package}.{name}")
        for name, value in values
        if inspect.isfunction(value) or inspect.isclass(value)
    ]


@pytest.mark.parametrize("value", [v for package in PACKAGES for v in public(package)])
def test_every_public_name_is_documented_in_full(value: Any) -> None:
    doc = parse_docstring(inspect.getdoc(value) or "")
    headings = {heading.partition(":")[0] for heading, _ in doc.parts}
    assert doc.summary.endswith(".")
    assert "Args" in headings
    assert headings & {"Example", "Examples"} or dataclasses.is_dataclass(value)
    for heading, text in doc.parts:
        if heading in ("Args", "Raises"):
            (_, listed) = part(heading, text)
            assert len(listed.children) > 0, f"{heading} lists nothing"


def test_every_method_has_its_row_and_its_paper_in_the_bibliography() -> None:
    from normcourse.norms import METHODS

    table = methods_table(METHODS.values())
    bib = Path(__file__).parents[2] / "book" / "references.bib"
    keys = set(re.findall(r"@\w+\{([^,]+),", bib.read_text(encoding="utf-8")))
    for row in METHODS.values():
        assert row.title in table
        assert row.paper in keys, row.paper


def test_parts_keep_order_and_layout() -> None:
    doc = parse_docstring(
        """Scale.

        More about it.

        Formula, in training:
            y = a *
                x

        Args:
            x: first
                goes on.
            eps: second.
        """
    )
    assert doc.summary == "Scale."
    assert doc.text == ("More about it.",)
    assert doc.parts[0] == ("Formula: in training", "y = a *\n    x")
    title, listed = part(*doc.parts[1])
    assert title.astext() == "Args"
    assert [item.astext() for item in listed.children] == ["x\n\nfirst goes on.", "eps\n\nsecond."]


def test_only_code_is_markup() -> None:
    found = inline("(N, C, *) and *more* of ``x`` by :func:`normcourse.norms.batch_norm`")
    assert [node.astext() for node in found if isinstance(node, nodes.literal)] == [
        "x",
        "batch_norm",
    ]
    assert "(N, C, *) and *more* of " in found[0].astext()


def test_signature_is_short_or_one_parameter_a_line() -> None:
    def f(x: int, *, eps: float = 1e-5, kind: type = dict) -> int:
        return x

    def g(
        first_of_the_names: int, second_of_the_names: tuple[int, int] = (1, 2), *rest: int
    ) -> int:
        return 0

    assert signature_of("f", f) == "f(x, *, eps=1e-05, kind=dict)"
    assert signature_of("a_long_name_of_a_function", g).splitlines() == [
        "a_long_name_of_a_function(",
        "    first_of_the_names,",
        "    second_of_the_names=(1, 2),",
        "    *rest,",
        ")",
    ]

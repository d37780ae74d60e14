"""The conventions page says what the libraries do, as they are installed here."""

from __future__ import annotations

import importlib.util
import json

import pytest

from tests.norms.conventions import LIBRARIES, PAGE, RECORD, page

KNOWN = json.loads(RECORD.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", LIBRARIES)
def test_what_is_recorded_is_what_the_library_does(name: str) -> None:
    _, measure, packages = LIBRARIES[name]
    absent = [package for package in packages if importlib.util.find_spec(package) is None]
    if absent:
        pytest.skip(f"{absent[0]} is not installed; its record is of {KNOWN[name]['date']}")
    assert measure() == KNOWN[name]["facts"]


def test_every_library_is_recorded() -> None:
    assert list(KNOWN) == list(LIBRARIES)


def test_the_page_is_made_from_the_record() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(KNOWN)


def test_the_course_follows_torch() -> None:
    facts = KNOWN["torch"]["facts"]["BatchNorm"]
    assert facts["variance stored"] == "n − 1"
    assert facts["weight of the new batch"] == "0.1"
    assert facts["divisor, place of eps"] == "n, inside the root"

"""The published table of errors: measured again, compared, and small."""

from __future__ import annotations

import json
from typing import Any

import pytest

from normcourse.norms import METHODS

from . import numerics

# float32 keeps 24 bits (6e-8), float16 11 bits (5e-4) and less below 6e-5.
WORST = {"float32": 1e-5, "float16": 2e-3}


@pytest.fixture(scope="module")
def measured() -> Any:
    return numerics.measure()


@pytest.fixture(scope="module")
def published() -> Any:
    return json.loads((numerics.FOLDER / "numerics.json").read_text(encoding="utf-8"))


def test_every_method_is_measured(published: Any) -> None:
    assert list(published["errors"]) == list(METHODS)
    for row in published["errors"].values():
        assert list(row) == list(numerics.CONDITIONS)


def test_errors_are_small_and_finite(measured: Any) -> None:
    for name, row in measured["errors"].items():
        for title, (dtype, _, _) in numerics.CONDITIONS.items():
            for what, error in row[title].items():
                assert error <= WORST[dtype], f"{name}, {title}, {what}: {error:.1e}"


def test_one_pass_loses_everything(measured: Any) -> None:
    """The condition is a hard one: the usual shortcut has no digit left."""
    assert all(error > 0.1 for error in measured["one_pass"].values())


def test_the_published_errors_are_today_s(measured: Any, published: Any) -> None:
    """Within a factor of 8, or a few units in the last place: sums differ between machines."""
    for name, row in measured["errors"].items():
        for title, found in row.items():
            last_place = 1e-6 if numerics.CONDITIONS[title][0] == "float32" else 1e-3
            for what, error in found.items():
                recorded = published["errors"][name][title][what]
                where = f"{name}, {title}, {what}: {error:.1e}, published {recorded:.1e}"
                assert error <= 8 * recorded + last_place, where
                assert recorded <= 8 * error + last_place, where


def test_the_published_page_is_rendered_from_the_numbers(published: Any) -> None:
    page = (numerics.FOLDER / "numerics.md").read_text(encoding="utf-8")
    assert page == numerics.render(published)

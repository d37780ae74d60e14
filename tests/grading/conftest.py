"""One real sandbox for all tests of a process; where there can be none, they say so and skip."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from normcourse.checks import find
from normcourse.checks.texts import text_of
from normcourse.grading.sandbox import Kind, Limits, NoSandbox
from normcourse.grading.selftest import choose
from normcourse.grading.verdict import Boxes, Verdict, grade, read_papers, seeds

QUICK = Limits(load_seconds=3.0, run_seconds=3.0, memory_mb=512)
RIGHT = "import numpy as np\n\n" + text_of(find("batch_norm_forward")).solution + "\n"
SECRET = bytes(range(32))

Judge = Callable[..., Verdict]


@pytest.fixture(scope="session")
def kind() -> Kind:
    """The strongest sandbox that this machine has."""
    try:
        found = choose()
    except NoSandbox as reason:
        pytest.skip(str(reason))
    assert found.safe
    return found


@pytest.fixture(scope="session")
def boxes(kind: Kind) -> Iterator[Boxes]:
    """Warm sandboxes, shared: what one answer does to them is what the tests look for."""
    warm = Boxes(kind)
    yield warm
    warm.close()


@pytest.fixture
def judge(boxes: Boxes) -> Judge:
    """Return a grader of one Python file (or of several by name)."""

    def run(
        code: str | bytes | dict[str, bytes],
        exercise: str = "batch_norm_forward",
        *,
        limits: Limits = QUICK,
        name: str = "answers.py",
        secret: bytes = SECRET,
    ) -> Verdict:
        if isinstance(code, str):
            code = code.encode("utf-8", "surrogatepass")
        files = code if isinstance(code, dict) else {name: code}
        inputs = seeds(secret, "digest", exercise)
        return grade(boxes, read_papers(files, []), exercise, inputs, limits)

    return run


@pytest.fixture(autouse=True)
def own_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test touches the secret of whoever runs it."""
    monkeypatch.setenv("NORMCOURSE_GRADING_SECRET", str(tmp_path / "secret" / "grading"))


def notebook(*cells: str) -> bytes:
    """Return a notebook with these code cells."""
    made = [
        {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None, "source": c}
        for c in cells
    ]
    return json.dumps({"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}).encode()

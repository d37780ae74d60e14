"""The classes that are measured: right, wrong, empty and hostile answers of many learners."""

from __future__ import annotations

import json
import random
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from normcourse.checks.catalogue import chapters, entry
from normcourse.checks.handout import learner_notebook

EXERCISE, CHAPTER = "batch_norm_forward", "batch_norm"
EVERY, FIRST = 50, 7  # one in so many learners is hostile, from this one on
_HEAD = f"def {EXERCISE}(x, gamma, beta, eps=1e-5):\n"
_WRONG = f"{_HEAD}    return x\n"
HOSTILE = {
    "ends its process": f"import os\nos._exit(0)\n{_WRONG}",
    "raises SystemExit": f"{_WRONG}raise SystemExit\n",
    "replaces NumPy's comparisons": (
        f"np.allclose = np.array_equal = lambda *a, **k: True\n{_WRONG}"
    ),
    "asks for 800 GB": f"{_HEAD}    return [0] * 10**11\n",
    "prints 100 MB a call": f"{_HEAD}    print('x' * 10**8)\n    return x\n",
    "never ends": f"{_HEAD}    while True: pass\n",
}


def answer(exercise: str, rng: random.Random) -> tuple[str, str]:
    """Return an answer and what has to come of it: most are right, some wrong, some not begun."""
    texts, draw = entry(exercise), rng.random()
    if draw < 0.7:
        return texts.solution, "passed"
    if draw < 0.85:
        return texts.solution.replace("return ", "return 1.1 * "), "failed"
    if draw < 0.95:
        return texts.solution.replace("eps)", "2 * eps)"), "failed"
    return texts.stub, "not_started"


def answers(learners: int) -> Iterator[tuple[str, str, str]]:
    """Yield name, code and due outcome of each learner's answer; no two are the same text."""
    for number in range(learners):
        code, due = answer(EXERCISE, random.Random(number))
        yield f"learner{number:05}", f"{code}\n# learner {number}\n", due


def crowd(learners: int) -> Iterator[tuple[str, str, str, str]]:
    """Yield name, code, due outcome and, for one learner in fifty, the kind of poison."""
    kinds = list(HOSTILE)
    for number, (name, code, due) in enumerate(answers(learners)):
        if number % EVERY != FIRST:
            yield name, code, due, ""
            continue
        kind = kinds[number // EVERY % len(kinds)]
        yield name, f"{HOSTILE[kind]}# {number}\n", "", kind


def write_class(folder: Path, learners: int) -> None:
    """Write one notebook of a chapter per learner."""
    folder.mkdir(parents=True)
    data = chapters()[CHAPTER]
    for number in range(learners):
        rng = random.Random(number)
        notebook = learner_notebook(data)
        for cell in notebook["cells"]:
            tag = cell["metadata"].get("normcourse", {})
            if tag.get("role") == "answer":
                code = answer(tag["exercise"], rng)[0] + f"\n# learner {number}\n"
                cell["source"] = code.splitlines(keepends=True)
        text = json.dumps(notebook)
        (folder / f"learner{number:05}.ipynb").write_text(text, encoding="utf-8")


def write_notebooks(folder: Path, learners: int) -> None:
    """Write one notebook per learner with an answer to the one exercise."""
    folder.mkdir(parents=True)
    for name, code, _ in answers(learners):
        (folder / f"{name}.ipynb").write_text(notebook(code), encoding="utf-8")


def notebook(code: str, *more: dict[str, Any]) -> str:
    """Return a notebook with one answer; ``more`` are cells after it."""
    cells = [cell("import numpy as np"), cell(code), *more]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return json.dumps({"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5})


def cell(source: str, **nbgrader: Any) -> dict[str, Any]:
    """Return a code cell, with nbgrader's words about it if there are any."""
    metadata = {"nbgrader": {"schema_version": 3, **nbgrader}} if nbgrader else {}
    return {
        "cell_type": "code",
        "id": f"c{zlib.crc32(source.encode())}",
        "metadata": metadata,
        "execution_count": None,
        "outputs": [],
        "source": source,
    }

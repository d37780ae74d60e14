"""``make exercises``: from the authored solutions to what learners get.

``exercises/solutions/NN_name.ipynb`` is the one source. Its cells say in their metadata which part
of an exercise they are:

    {"normcourse": {"exercise": "batch_norm_forward", "role": "statement"}}

with the roles statement (Markdown), answer (code with ``### BEGIN SOLUTION`` and
``### END SOLUTION``), check (code) and reason (Markdown, why the solution is as it is). From it
this module writes ``checks/data/<chapter>.json``, and from that the learner's notebook
(:mod:`handout`).
"""

from __future__ import annotations

import ast
import json
import re
import sys
from pathlib import Path
from typing import Any

from normcourse.checks.exercise import Exercise
from normcourse.checks.handout import dump, learner_notebook

ROOT = Path(__file__).parents[2]
ROLES = ("statement", "answer", "check", "reason")
_REGION = re.compile(
    r"^(?P<indent>[ \t]*)### BEGIN SOLUTION\n.*?^[ \t]*### END SOLUTION[ \t]*\n?",
    flags=re.MULTILINE | re.DOTALL,
)
_MARKER = re.compile(r"^[ \t]*### (?:BEGIN|END) SOLUTION[ \t]*\n?", flags=re.MULTILINE)


class BadSolutions(ValueError):
    """A solutions notebook that breaks the rules above; the message says where."""


def stub_of(code: str) -> str:
    """Return the code with each solution replaced by ``raise NotImplementedError``.

    A region that opens with a ``### STUB: text`` line leaves that text instead: find-the-bug
    exercises hand out code that runs.

    Example:
        >>> body = "    ### BEGIN SOLUTION\\n    return x\\n    ### END SOLUTION"
        >>> print(stub_of("def f(x):\\n" + body))
        def f(x):
            raise NotImplementedError
    """

    def replace(match: re.Match[str]) -> str:
        indent = match.group("indent")
        kept = re.findall(r"^[ \t]*### STUB: ?(.*)$", match.group(0), flags=re.MULTILINE)
        lines = kept or ["raise NotImplementedError"]
        return "".join(f"{indent}{line}\n" for line in lines)

    if not _REGION.search(code + "\n"):
        raise BadSolutions("an answer cell has no ### BEGIN SOLUTION … ### END SOLUTION")
    return _REGION.sub(replace, code + "\n").rstrip()


def solution_of(code: str) -> str:
    """Return the code without the markers."""
    code = re.sub(r"^[ \t]*### STUB:.*\n", "", code + "\n", flags=re.MULTILINE)
    return _MARKER.sub("", code).rstrip()


def build(solutions: dict[str, Any], exercises: tuple[Exercise, ...]) -> tuple[Any, Any]:
    """Return the learner's notebook and the package data of one chapter.

    Raises:
        BadSolutions: parts are missing, or the notebook and ``checks`` name other exercises.
    """
    parts = _parts(solutions)
    known = {exercise.id: exercise for exercise in exercises}
    if list(parts) != list(known):
        raise BadSolutions(f"notebook holds {list(parts)}, checks hold {list(known)}")
    records = [_record(known[name], parts[name]) for name in parts]
    first = exercises[0]
    data = {
        "schema": 1,
        "chapter": first.chapter,
        "notebook": first.notebook,
        "title": _title(solutions),
        "metadata": solutions["metadata"],
        "cells": _skeleton(solutions),
        "exercises": records,
    }
    return learner_notebook(data), data


def _parts(notebook: dict[str, Any]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for cell in notebook["cells"]:
        tag = cell["metadata"].get("normcourse")
        if tag is None:
            continue
        if set(tag) != {"exercise", "role"} or tag["role"] not in ROLES:
            raise BadSolutions(f"cell {cell.get('id')}: metadata {tag} is not exercise and role")
        parts = found.setdefault(tag["exercise"], {})
        if tag["role"] in parts:
            raise BadSolutions(f"{tag['exercise']}: two cells with the role {tag['role']}")
        parts[tag["role"]] = _text(cell)
    for name, parts in found.items():
        missing = [role for role in ROLES if role not in parts]
        if missing:
            raise BadSolutions(f"{name}: no cell with the role {', '.join(missing)}")
    return found


def _record(exercise: Exercise, parts: dict[str, str]) -> dict[str, Any]:
    stub, solution = stub_of(parts["answer"]), solution_of(parts["answer"])
    for code in (stub, solution):
        names = [getattr(node, "name", None) for node in ast.parse(code).body]
        if exercise.id not in names:
            raise BadSolutions(f"{exercise.id}: the answer cell does not define it")
    return {
        "id": exercise.id,
        "title": exercise.title,
        "statement": parts["statement"].strip(),
        "stub": stub,
        "solution": solution,
        "reason": parts["reason"].strip(),
        "section": exercise.section,
        "minutes": exercise.minutes,
        "difficulty": exercise.difficulty,
        "hints": list(exercise.hints),
        "insight": exercise.insight,
        "runtime": exercise.runtime,
        "version": exercise.version,
    }


def _skeleton(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the learner's cells; statements and answers without the text that records hold."""
    cells = []
    for cell in notebook["cells"]:
        role = cell["metadata"].get("normcourse", {}).get("role")
        if role == "reason":
            continue
        kept = {"id": cell["id"], "cell_type": cell["cell_type"], "metadata": cell["metadata"]}
        if role not in ("statement", "answer"):
            kept["source"] = _text(cell)
        cells.append(kept)
    return cells


def _title(notebook: dict[str, Any]) -> str:
    for cell in notebook["cells"]:
        match = re.match(r"# (.+)", _text(cell)) if cell["cell_type"] == "markdown" else None
        if match:
            return match.group(1).strip()
    raise BadSolutions("the notebook has no title (# …)")


def _text(cell: dict[str, Any]) -> str:
    source = cell["source"]
    return source if isinstance(source, str) else "".join(source)


def outputs(root: Path = ROOT) -> dict[Path, str]:
    """Return every generated file with its text, without writing anything."""
    from normcourse.checks import all_exercises

    by_notebook: dict[str, list[Exercise]] = {}
    for exercise in all_exercises():
        by_notebook.setdefault(exercise.notebook, []).append(exercise)
    files: dict[Path, str] = {}
    for name, exercises in by_notebook.items():
        source = root / "exercises" / "solutions" / f"{name}.ipynb"
        try:
            learner, data = build(json.loads(source.read_text("utf-8")), tuple(exercises))
        except BadSolutions as error:
            raise BadSolutions(f"{source.relative_to(root)}: {error}") from None
        files[root / "exercises" / f"{name}.ipynb"] = dump(learner)
        folder = root / "normcourse" / "checks" / "data"
        files[folder / f"{exercises[0].chapter}.json"] = dump(data)
    return files


def main(arguments: list[str]) -> int:
    """Write the generated files, or with ``--check`` say which are out of date."""
    stale = 0
    for path, text in outputs().items():
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale += 1
        name = path.relative_to(ROOT)
        if "--check" in arguments:
            print(f"{name} is out of date: run `make exercises`", file=sys.stderr)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(f"wrote {name}")
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

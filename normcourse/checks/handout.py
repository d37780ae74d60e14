"""The learner's notebook of a chapter, put together from the package data.

``make exercises`` writes it to ``exercises/``; ``normcourse start`` writes the same to a folder of
the learner's, also where the package was installed without the course around it.
"""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any


def learner_notebook(data: dict[str, Any]) -> dict[str, Any]:
    """Return the notebook that the learner edits.

    Args:
        data: one chapter of the package data. Its ``cells`` hold every cell of the notebook;
            those of a statement or an answer take their text from the exercise.
    """
    records = {record["id"]: record for record in data["exercises"]}
    cells = [_cell(cell, records, data["notebook"]) for cell in data["cells"]]
    metadata = deepcopy(data["metadata"])
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def dump(value: Any) -> str:
    """Return JSON as Jupyter writes it, so that opening a notebook changes nothing."""
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def _cell(cell: dict[str, Any], records: dict[str, Any], notebook: str) -> dict[str, Any]:
    """Return one cell with its keys in Jupyter's order."""
    tag = cell["metadata"].get("normcourse", {})
    record = records.get(tag.get("exercise"), {})
    match tag.get("role"):
        case "statement":
            text = _heading(record, notebook) + record["statement"]
        case "answer":
            text = record["stub"]
        case _:
            text = cell["source"]
    source = text.splitlines(keepends=True)
    common = {"id": cell["id"], "metadata": deepcopy(cell["metadata"])}
    if cell["cell_type"] != "code":
        return {"cell_type": cell["cell_type"], **common, "source": source}
    return {
        "cell_type": "code",
        "execution_count": None,
        **common,
        "outputs": [],
        "source": source,
    }


def _heading(record: dict[str, Any], notebook: str) -> str:
    """Return the title and the line that says how long, how hard and with what."""
    tools = "NumPy" if record["runtime"] == "numpy" else "PyTorch"
    return (
        f"## {record['title']}\n\n"
        f"`{record['id']}` · about {record['minutes']} minutes · difficulty "
        f"{record['difficulty']} of 4 · use {tools} · chapter {notebook[:2]}, "
        f"“{record['section']}”\n\n"
    )

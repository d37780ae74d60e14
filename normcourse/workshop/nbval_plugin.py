"""A pytest plug-in beside nbval: what the tests executed is what the book shows.

Loaded with ``-p normcourse.workshop.nbval_plugin`` by the notebook stage of ``make test``. It

* keeps the outputs of each notebook whose cells all passed and puts them into the store from which
  the book is built, so that no notebook runs twice;
* lets nbval compare the outputs that are kept in a notebook (tag ``keep_output``): nbstripout
  empties their execution counts, and nbval takes a cell without a count for one never run;
* fails a cell that asks for a comparison and holds nothing to compare with.
"""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Generator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbval.plugin import IPyNbCell

from normcourse.workshop.execute import _number
from normcourse.workshop.notebooks import Store

_DONE = pytest.StashKey[dict[int, list[Any]]]()
_SECONDS = pytest.StashKey[float]()


def _spool(config: pytest.Config) -> Path:
    """Where workers leave executed notebooks; only the main process writes the store."""
    return config.rootpath / "_build" / "executed"


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


def pytest_configure(config: pytest.Config) -> None:
    if not _is_worker(config):
        shutil.rmtree(_spool(config), ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, IPyNbCell) and item.cell.outputs and not item.cell.execution_count:
            item.cell.execution_count = item.cell_num + 1


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    if isinstance(item, IPyNbCell) and item.options["check"] and not item.cell.outputs:
        item.raise_cell_error("marked NBVAL_CHECK_OUTPUT, but the notebook keeps no output of it")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if isinstance(item, IPyNbCell) and report.when == "call" and report.passed:
        stash = item.parent.stash
        done = stash.setdefault(_DONE, {})
        done[item.cell_num] = item.test_outputs
        stash[_SECONDS] = stash.get(_SECONDS, 0.0) + report.duration
        if len(done) == sum(cell.cell_type == "code" for cell in item.parent.nb.cells):
            _keep(item.config, item.parent.path, item.parent.nb, done, stash[_SECONDS])
    return report


def _keep(
    config: pytest.Config, path: Path, source: Any, outputs: dict[int, list[Any]], seconds: float
) -> None:
    executed = copy.deepcopy(source)
    code = [cell for cell in executed.cells if cell.cell_type == "code"]
    for number, cell in enumerate(code):
        cell.outputs = [nbformat.from_dict(dict(output)) for output in outputs[number]]
    _number(executed)
    name = path.relative_to(config.rootpath).as_posix()
    target = _spool(config) / (name.replace("/", "__") + ".json")
    target.parent.mkdir(parents=True, exist_ok=True)
    record = {"path": name, "seconds": seconds, "notebook": executed}
    target.write_text(json.dumps(record), encoding="utf-8")


def pytest_sessionfinish(session: pytest.Session) -> None:
    spool = _spool(session.config)
    if _is_worker(session.config) or not spool.is_dir():
        return
    store = Store(session.config.rootpath)
    for file in sorted(spool.glob("*.json")):
        record = json.loads(file.read_text(encoding="utf-8"))
        path = session.config.rootpath / record["path"]
        store.put(path, nbformat.from_dict(record["notebook"]), record["seconds"])
    shutil.rmtree(spool)

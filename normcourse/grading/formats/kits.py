"""Ready-made set-ups for platforms that run the grader themselves: Gradescope, GitHub Classroom."""

from __future__ import annotations

import io
import secrets
import zipfile
from pathlib import Path

_PACKAGE = Path(__file__).parents[2]
_PARTS = ("checks", "norms", "grading")
_SETUP = """#!/usr/bin/env bash
# Runs once, when Gradescope builds the image.
set -euo pipefail
apt-get update
apt-get install -y --no-install-recommends python3 python3-venv bubblewrap
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' \\
  || {{ echo "Python 3.11 or newer is needed: choose Ubuntu 24.04 as base image"; exit 1; }}
python3 -m venv /autograder/venv
/autograder/venv/bin/pip install --no-cache-dir {requirements}
chmod 700 /autograder/source
"""
_RUN = """#!/usr/bin/env bash
# Runs for every submission. Gradescope's containers usually lack user namespaces: the grader takes
# bubblewrap where it can be had, else Landlock, seccomp and limits, and each result says which.
set -euo pipefail
cd /autograder/source
export PYTHONPATH=/autograder/source NORMCOURSE_GRADING_SECRET=/autograder/source/secret
exec /autograder/venv/bin/python -m normcourse.grading.command /autograder/submission \\
  --single submission --out /tmp/graded --assignment assignment.toml --jobs 1 --unsafe \\
  --gradescope-result /autograder/results/results.json
"""
_WORKFLOW = """name: Exercises
on: [push, workflow_dispatch]
permissions:
  contents: read
jobs:
  grade:
    runs-on: ubuntu-latest
    timeout-minutes: 20
    steps:
      - uses: actions/checkout@v4
      - uses: actions/setup-python@v5
        with:
          python-version: "3.12"
      - name: Install the grader and its sandbox
        run: |
          sudo apt-get update
          sudo apt-get install -y bubblewrap
          # the runner's AppArmor profile keeps user namespaces from programs without one
          sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0 || true
          pip install "{package}"
      - name: Grade
        run: >-
          normcourse grade . --single "${{{{ github.actor }}}}"
          --out "$RUNNER_TEMP/graded"{selection} --strict
      - name: Show the report
        if: always()
        run: |
          echo '```' >> "$GITHUB_STEP_SUMMARY"
          cat "$RUNNER_TEMP"/graded/feedback.txt >> "$GITHUB_STEP_SUMMARY"
          echo '```' >> "$GITHUB_STEP_SUMMARY"
"""


def gradescope_zip(assignment: str, *, torch: bool) -> bytes:
    """Return Gradescope's autograder: ``setup.sh``, ``run_autograder``, the package, a secret.

    Args:
        assignment: text of the assignment file.
        torch: whether PyTorch exercises are among them.
    """
    out = io.BytesIO()
    needed = "numpy typer rich platformdirs" + (" torch" if torch else "")
    files: dict[str, tuple[str, int]] = {
        "setup.sh": (_SETUP.format(requirements=needed), 0o755),
        "run_autograder": (_RUN, 0o755),
        "assignment.toml": (assignment, 0o644),
        "secret": (secrets.token_hex(32), 0o600),
    }
    parts = [*_PARTS, "modules"] if torch else list(_PARTS)
    for path in package_files(parts):
        name = f"normcourse/{path.relative_to(_PACKAGE).as_posix()}"
        files[name] = (path.read_text(encoding="utf-8"), 0o644)
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            text, mode = files[name]
            entry = zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0))
            entry.external_attr = (0o100000 | mode) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, text)
    return out.getvalue()


def package_files(parts: list[str]) -> list[Path]:
    """Return the files of the package that grading needs."""
    found = [_PACKAGE / "__init__.py", _PACKAGE / "py.typed"]
    for part in parts:
        found += [p for p in (_PACKAGE / part).rglob("*") if p.suffix in (".py", ".json")]
    return sorted(p for p in found if p.exists() and "__pycache__" not in p.parts)


def github_workflow(selection: list[str], *, package: str) -> str:
    """Return a workflow for GitHub Classroom: grades on every push, fails until all have passed.

    Args:
        selection: exercises, none for those that are found.
        package: what pip installs: the address of the course's package or repository.
    """
    chosen = "".join(f" --exercise {name}" for name in selection)
    return _WORKFLOW.format(package=package, selection=chosen)

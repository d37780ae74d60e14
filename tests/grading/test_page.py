"""The instructor's page shows what the commands really say: the same class, graded again here."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

from normcourse.checks.catalogue import chapters, entry
from normcourse.checks.handout import learner_notebook
from normcourse.grading.sandbox import Kind

PAGE = Path(__file__).resolve().parents[2] / "book" / "grading.md"
FORWARD, MAPS = "batch_norm_forward", "batch_norm_forward_nchw"


def notebook(**answers: str) -> str:
    """Return a learner's notebook: the solutions, but for the answers that are given."""
    made = learner_notebook(chapters()["batch_norm"])
    for cell in made["cells"]:
        tag = cell["metadata"].get("normcourse", {})
        if tag.get("role") == "answer":
            code = answers.get(tag["exercise"], entry(tag["exercise"]).solution)
            cell["source"] = code.splitlines(keepends=True)
    return json.dumps(made)


def write_submissions(path: Path) -> None:
    """Write the zip file of the page, with names as Canvas gives them."""
    right = entry(FORWARD).solution
    outside = right.replace("np.sqrt(var + eps)", "(np.sqrt(var) + eps)")
    unbiased = right.replace("x.var(axis=0,", "x.var(axis=0, ddof=1,")
    assert unbiased != right
    assert outside != right
    endless = f"def {FORWARD}(x, gamma, beta, eps=1e-5):\n    while True:\n        pass\n"
    books = {
        "learner01_101_9001": notebook(),
        "learner02_102_9002": notebook(**{FORWARD: outside}),
        "learner03_103_9003": notebook(**{FORWARD: outside, MAPS: entry(MAPS).stub}),
        "learner04_104_9004": notebook(**{FORWARD: unbiased}),
        "learner05_LATE_105_9005": notebook() + " ",
        "learner06_106_9006": notebook(**{FORWARD: endless}),
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in books.items():
            entry_ = zipfile.ZipInfo(f"{name}_02_batch_norm.ipynb", (2026, 11, 20, 12, 0, 0))
            archive.writestr(entry_, text)


def blocks(language: str) -> list[str]:
    """Return the code blocks of the page in one language."""
    text = PAGE.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def timeless(text: str) -> str:
    """Return output without times."""
    return re.sub(r"\d+\.\d s\b", "… s", text).strip()


def test_the_page_shows_what_the_commands_say(kind: Kind, tmp_path: Path) -> None:
    write_submissions(tmp_path / "submissions.zip")
    (tmp_path / "week2.toml").write_text(blocks("toml")[0])
    rows = [f"Learner {n:02},{100 + n},,,A,4," for n in range(1, 7)]
    head = "Student,ID,SIS User ID,SIS Login ID,Section,Week 1 (7700),Week 2 (7701)"
    (tmp_path / "export.csv").write_text("\n".join([head, *rows]) + "\n")
    (command,) = (b for b in blocks("sh") if b.startswith("normcourse grade submissions.zip"))
    words = command.replace("\\\n", " ").split()[2:]
    shown = blocks("text")
    for expected in shown[:2]:  # the first call, and the same again
        done = subprocess.run(
            [sys.executable, "-m", "normcourse.grading.command", *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert timeless(done.stdout) == timeless(expected)
    filled = (tmp_path / "graded" / "canvas.csv").read_text()
    assert filled.strip() == shown[2].strip()

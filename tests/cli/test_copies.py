"""start and reset: notebooks handed out, stubs put back, and no work of a learner's lost."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from normcourse.checks.catalogue import chapters, listed
from normcourse.checks.source import read_source
from normcourse.terminal import BadInput
from normcourse.terminal.copies import reset_file, start, with_stubs
from normcourse.terminal.task import is_stub
from tests.cli.conftest import (
    EXAMPLE,
    FORWARD,
    NCHW,
    Cli,
    answers,
    fancy_screen,
    files,
    saying,
    shown,
    solution,
    stub,
)


def test_start_hands_out_the_notebooks(cli: Cli, here: Path, root: Path) -> None:
    done = cli("start")
    assert done.code == 0
    handed = files(here / "my_normcourse")
    assert sorted(handed) == [f"{data['notebook']}.ipynb" for data in chapters().values()]
    for name, data in handed.items():
        assert data == (root / "exercises" / name).read_bytes()
    assert f"my_normcourse: {len(handed)} notebooks written." in done.out


def test_start_again_keeps_what_was_changed_and_brings_what_is_missing(
    cli: Cli, here: Path
) -> None:
    cli("start", "mine")
    changed, missing = here / "mine" / "02_batch_norm.ipynb", here / "mine" / "07_layer_norm.ipynb"
    changed.write_text("my work")
    missing.unlink()
    done = cli("start", "mine")
    assert changed.read_text() == "my work"
    assert missing.exists()
    assert "1 notebook written" in done.out
    assert "1 kept as you left it" in done.out
    assert f"kept {Path('mine/02_batch_norm.ipynb')}: it holds your work" in done.out
    assert sorted(files(here / "mine")) == [f"{d['notebook']}.ipynb" for d in chapters().values()]


def test_the_course_s_own_folders_are_never_worked_in(
    here: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root)
    for folder in (root / "exercises", root / "exercises" / "solutions", Path("book")):
        with pytest.raises(BadInput, match="belongs to the course itself"):
            start(folder, fancy_screen())
    path = Path("exercises/solutions/02_batch_norm.ipynb")
    with pytest.raises(BadInput, match="belongs to the course itself"):
        reset_file(path, [], fancy_screen(), saying(True, []))


def test_another_folder_in_the_clone_is_one_that_git_ignores(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("normcourse.terminal.copies._course", lambda: here.resolve())
    start(Path("mine"), fancy_screen())
    start(Path("my_normcourse"), fancy_screen())
    assert (here / "mine" / ".gitignore").read_text() == "*\n"
    assert not (here / "my_normcourse" / ".gitignore").exists(), "git ignores that one anyway"


def test_start_in_a_place_that_cannot_be_written(here: Path) -> None:
    (here / "file").write_text("")
    with pytest.raises(BadInput, match=r"cannot be written|is a file"):
        start(Path("file/folder"), fancy_screen())


MINE = """\
# my notes above

@staticmethod
def batch_norm_forward(x, gamma, beta, eps=1e-5):
    \"\"\"Mine.\"\"\"
    helper = lambda: 1  # inside

    return x


def my_helper(x):
    return x * 2
"""


def test_reset_puts_one_stub_back_and_leaves_the_rest(here: Path) -> None:
    path = answers(here / "a.py", MINE, solution(NCHW))
    old, out, asked = path.read_text(), fancy_screen(), list[str]()
    assert reset_file(path, [FORWARD], out, saying(True, asked)) == 0
    assert asked == [f"Replace your code of {FORWARD} in {path} by the stub?"]
    new = path.read_text()
    assert stub(FORWARD) in new
    for kept in ("# my notes above", "def my_helper(x):\n    return x * 2", solution(NCHW)):
        assert kept in new
    assert "@staticmethod" not in new
    assert (here / "a.py.1.bak").read_text() == old
    assert "a.py.1.bak" in shown(out)


def test_reset_of_a_file_puts_every_stub_back(here: Path) -> None:
    path = answers(here / "a.py", solution(EXAMPLE), MINE, stub(NCHW))
    out, asked = fancy_screen(), list[str]()
    assert reset_file(path, [], out, saying(True, asked)) == 0
    assert asked == [f"Replace your code of {EXAMPLE}, {FORWARD} in {path} by the stub?"]
    source = read_source(path)
    assert all(is_stub(listed()[name], source) for name in (EXAMPLE, FORWARD, NCHW))
    assert reset_file(path, [], out, saying(True, asked)) == 0
    assert "nothing to reset" in shown(out)
    assert len(asked) == 1
    assert sorted(files(here)) == ["a.py", "a.py.1.bak"]


def test_reset_unasked_changes_nothing(cli: Cli, here: Path) -> None:
    path = answers(here / "a.py", MINE)
    before = files(here)
    done = cli("reset", path)
    assert (done.code, done.out) == (1, "Nothing changed.\n")
    assert files(here) == before


def test_reset_twice_keeps_both_old_files(cli: Cli, here: Path) -> None:
    path = answers(here / "a.py", MINE)
    cli("reset", path, "--yes")
    answers(path, solution(FORWARD))
    cli("reset", path, "--yes")
    assert "helper" in (here / "a.py.1.bak").read_text()
    assert solution(FORWARD) in (here / "a.py.2.bak").read_text()


def test_reset_of_a_notebook_changes_one_cell_alone(cli: Cli, here: Path, root: Path) -> None:
    path = Path(shutil.copy(root / "exercises" / "02_batch_norm.ipynb", here))
    handed = path.read_text()
    notebook = json.loads(handed)
    cell = next(c for c in notebook["cells"] if c["id"] == "batch-norm-forward-answer")
    cell["source"] = ["%time\n", "import math\n", *solution(FORWARD).splitlines(keepends=True)]
    cell["outputs"], cell["execution_count"] = [{"output_type": "stream"}], 7
    path.write_text(json.dumps(notebook))
    assert cli("reset", path, FORWARD, "--yes").code == 0
    new = json.loads(path.read_text())
    fresh = next(c for c in new["cells"] if c["id"] == "batch-norm-forward-answer")
    assert "".join(fresh["source"]) == "%time\nimport math\n" + stub(FORWARD)
    assert (fresh["outputs"], fresh["execution_count"]) == ([], None)
    others = [c for c in new["cells"] if c["id"] != fresh["id"]]
    assert others == [c for c in json.loads(handed)["cells"] if c["id"] != fresh["id"]]


def test_reset_mends_a_cell_that_does_not_parse(here: Path) -> None:
    broken = "# note\ndef batch_norm_forward(x, gamma):\n    return (x\n"
    path = answers(here / "a.py", broken, solution(NCHW))
    assert reset_file(path, [FORWARD], fancy_screen(), saying(True, [])) == 0
    source = read_source(path)
    assert is_stub(listed()[FORWARD], source)
    assert source.definition(NCHW) == solution(NCHW)


def test_reset_does_not_guess_in_a_broken_cell_with_other_code(here: Path) -> None:
    cell = "def my_helper(x):\n    return 1\ndef batch_norm_forward(x):\n    return (x\n"
    path = here / "a.ipynb"
    path.write_text(json.dumps({"cells": [{"cell_type": "code", "source": cell}]}))
    before = files(here)
    with pytest.raises(BadInput, match="cell 1 does not parse"):
        reset_file(path, [], fancy_screen(), saying(True, []))
    assert files(here) == before


def test_reset_keeps_the_line_ends_of_windows(here: Path) -> None:
    path = here / "a.py"
    path.write_bytes(b"x = 1\r\n\r\ndef batch_norm_forward(x):\r\n    return x\r\n\r\ny = 2\r\n")
    reset_file(path, [FORWARD], fancy_screen(), saying(True, []))
    data = path.read_bytes()
    assert data.startswith(b"x = 1\r\n\r\ndef batch_norm_forward(x, gamma, beta, eps=1e-5):\r\n")
    assert data.endswith(b"raise NotImplementedError\r\n\r\ny = 2\r\n")
    assert data.count(b"\n") == data.count(b"\r\n")


def test_reset_of_a_file_saved_meanwhile_changes_nothing(here: Path) -> None:
    path = answers(here / "a.py", MINE)

    def saves(question: str) -> bool:
        path.write_text("newer work")
        return True

    with pytest.raises(BadInput, match="was saved meanwhile"):
        reset_file(path, [], fancy_screen(), saves)
    assert path.read_text() == "newer work"


@pytest.mark.parametrize("name", list(listed()))
def test_every_stub_can_be_put_back_over_its_solution(here: Path, name: str) -> None:
    path = answers(here / "a.py", solution(name), "after = 1")
    source = read_source(path)
    path.write_text(with_stubs(path.read_text(), source, [listed()[name]]))
    assert is_stub(listed()[name], read_source(path))
    assert path.read_text().endswith("after = 1\n")

"""Notebooks run once, failures are named, and the built pages are counted: on tiny books."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest

from normcourse.workshop import book as book_module
from normcourse.workshop.book import Book, check_pages, entries, sources
from normcourse.workshop.console import Trouble
from normcourse.workshop.execute import execute
from normcourse.workshop.notebooks import Store, environment, notebooks, package_hash

KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
#: Leaves a mark for each run, so that a test can count runs instead of believing a message.
MARK = (
    "from pathlib import Path\nwith Path('../runs.txt').open('a') as file:\n    _ = file.write('x')"
)


def write_notebook(path: Path, *cells: str, kept: str | None = None) -> Path:
    """A notebook with a heading and these code cells; ``kept`` is the kept output of the last."""
    code = [nbformat.v4.new_code_cell(cell) for cell in cells]
    if kept is not None:
        code[-1].metadata["tags"] = ["keep_output"]
        data = {"text/plain": kept}
        code[-1].outputs = [nbformat.v4.new_output("execute_result", data, execution_count=None)]
    heading = nbformat.v4.new_markdown_cell(f"# {path.stem}")
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=[heading, *code], metadata=KERNEL), path)
    return path


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A course of two pages: an index and one notebook."""
    (tmp_path / "normcourse").mkdir()
    (tmp_path / "normcourse" / "lesson.py").write_text("VALUE = 1\n")
    (tmp_path / "requirements.txt").write_text("numpy==1.0\n")
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\n")
    (tmp_path / "_config.yml").write_text(
        "title: Tiny\nexecute:\n  execute_notebooks: cache\nonly_build_toc_files: true\n"
    )
    (tmp_path / "_toc.yml").write_text(
        "format: jb-book\nroot: book/index\nchapters:\n  - file: book/one\n"
    )
    write_notebook(tmp_path / "book" / "one.ipynb", MARK, "value = 6 * 7\nvalue")
    (tmp_path / "book" / "index.md").write_text("# Tiny\n\nHello.\n")
    return tmp_path


def runs(root: Path) -> int:
    """How often the notebook of the tiny course was executed."""
    mark = root / "runs.txt"
    return len(mark.read_text()) if mark.exists() else 0


def nbval(root: Path, workers: int = 0) -> subprocess.CompletedProcess[str]:
    """The notebook stage of ``make test``, in the tiny course."""
    command = [sys.executable, "-m", "pytest", "--nbval-lax", "--nbval-current-env", "-q"]
    command += ["-p", "normcourse.workshop.nbval_plugin", "-n", str(workers), "--dist", "loadfile"]
    command += ["-p", "no:cacheprovider", *map(str, notebooks(root))]
    env = environment(root)
    return subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, timeout=120)


# --- running notebooks ---------------------------------------------------------------------------


def test_a_notebook_runs_once_until_something_it_depends_on_changes(tiny: Path) -> None:
    one = tiny / "book" / "one.ipynb"
    assert (execute(tiny, [one]), execute(tiny, [one]), runs(tiny)) == (1, 0, 1)
    lesson = tiny / "normcourse" / "lesson.py"
    lesson.write_text("VALUE = 2\n")
    assert (execute(tiny, [one]), execute(tiny, [one]), runs(tiny)) == (1, 0, 2)
    write_notebook(one, MARK, "value = 6 * 8\nvalue")
    assert (execute(tiny, [one]), execute(tiny, [one]), runs(tiny)) == (1, 0, 3)


def test_what_no_output_depends_on_reruns_nothing(tiny: Path) -> None:
    before = package_hash(tiny)
    for name in ("workshop/book.py", "site/quiz.py", "cli.py", "__pycache__/lesson.pyc"):
        file = tiny / "normcourse" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text("# changed\n")
    assert package_hash(tiny) == before
    (tiny / "normcourse" / "norms.py").write_text("# changed\n")
    assert package_hash(tiny) != before


def test_a_failing_notebook_names_itself_the_cell_and_the_error(tiny: Path) -> None:
    good = tiny / "book" / "one.ipynb"
    bad = write_notebook(tiny / "book" / "two.ipynb", "x = 1", "y = x / 0\nprint(y)")
    with pytest.raises(Trouble) as caught:
        execute(tiny, [good, bad])
    message = str(caught.value)
    assert message.startswith("book/two.ipynb failed in code cell 2 of 2: y = x / 0\n")
    assert message.endswith("ZeroDivisionError: division by zero")
    assert "\x1b" not in message
    store = Store(tiny)
    assert (store.holds(good), store.holds(bad)) == (True, False)


def test_outputs_that_became_false_are_taken_out(tiny: Path) -> None:
    """jupyter-book finds outputs by the code cells alone: stale ones must not lie there."""
    from jupyter_cache import get_cache

    lesson = tiny / "normcourse" / "lesson.py"
    one = write_notebook(tiny / "book" / "one.ipynb", f"exec(open({str(lesson)!r}).read())")
    execute(tiny, [one])
    lesson.write_text("raise SystemError('broken now')\n")
    with pytest.raises(Trouble, match="SystemError: broken now"):
        execute(tiny, [one])
    assert get_cache(str(tiny / "_build" / ".jupyter_cache")).list_cache_records() == []


def test_notebooks_run_with_one_thread_and_record_no_progress(tiny: Path) -> None:
    code = "import os\nassert os.environ['OMP_NUM_THREADS'] == '1'"
    code += "\nassert os.environ['NORMCOURSE_PROGRESS'] == 'off'"
    assert execute(tiny, [write_notebook(tiny / "book" / "two.ipynb", code)]) == 1


@pytest.mark.skipif(os.name == "nt", reason="a signal to one process, as Ctrl-C is, needs POSIX")
def test_an_interruption_is_no_failed_cell_and_leaves_no_kernel(tiny: Path) -> None:
    code = "import os, time\nopen('../kernel', 'w').write(str(os.getpid()))\ntime.sleep(60)"
    one = write_notebook(tiny / "book" / "one.ipynb", code)
    lines = f"from pathlib import Path\nfrom {execute.__module__} import execute\n"
    lines += f"execute(Path({str(tiny)!r}), [Path({str(one)!r})])"
    command = [sys.executable, "-c", lines]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        mark = tiny / "kernel"
        wait_until(lambda: mark.exists() and mark.read_text() != "")
        process.send_signal(signal.SIGINT)
        output = process.communicate(timeout=30)[0].decode()
    assert "FAILED" not in output
    assert output.rstrip().endswith("KeyboardInterrupt")
    with pytest.raises(ProcessLookupError):
        os.kill(int(mark.read_text()), 0)
    assert not Store(tiny).holds(one)


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for something another process does."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.05)


# --- nbval ---------------------------------------------------------------------------------------


def test_what_nbval_executed_is_not_executed_again_by_the_book(tiny: Path) -> None:
    done = nbval(tiny, workers=2)
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout
    book = Book(tiny)
    assert book.make(fresh=True) == 0
    assert runs(tiny) == 1
    assert ">42<" in (book.html / "book" / "one.html").read_text(encoding="utf-8").replace("\n", "")


def test_nbval_and_nbclient_store_the_same_outputs(tiny: Path) -> None:
    one = write_notebook(
        tiny / "book" / "one.ipynb",
        "print('a')\nprint('b')",
        "from IPython.display import HTML, display\ndisplay(HTML('<b>bold</b>'))\n'last'",
    )

    def stored() -> dict[str, object]:
        (base,) = (tiny / "_build" / ".jupyter_cache" / "executed").rglob("base.ipynb")
        found = json.loads(base.read_text(encoding="utf-8"))
        for cell in found["cells"]:
            cell.pop("id", None)
        return found

    execute(tiny, [one])
    by_nbclient = stored()
    assert nbval(tiny).returncode == 0
    assert stored() == by_nbclient


def test_a_notebook_with_a_failing_cell_is_not_stored(tiny: Path) -> None:
    one = write_notebook(tiny / "book" / "one.ipynb", "1 / 0", "2")
    done = nbval(tiny)
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stdout
    assert not Store(tiny).holds(one)


@pytest.mark.parametrize(
    ("kept", "says"),
    [("42", "1 passed"), ("43", "Cell outputs differ"), (None, "keeps no output")],
    ids=["true", "false", "absent"],
)
def test_a_kept_output_is_compared(tiny: Path, kept: str | None, says: str) -> None:
    """Stripped of its execution count, as nbstripout leaves it."""
    write_notebook(tiny / "book" / "one.ipynb", "# NBVAL_CHECK_OUTPUT\n6 * 7", kept=kept)
    done = nbval(tiny)
    assert says in done.stdout
    assert done.returncode == (0 if kept == "42" else 1)


# --- building ------------------------------------------------------------------------------------


def test_a_second_build_with_nothing_changed_does_nothing(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    book = Book(tiny)
    book.ensure()
    monkeypatch.setattr(book_module, "stream", None)  # whoever builds now, fails
    book.ensure()
    assert "nothing changed, 2 pages are up to date" in capsys.readouterr().out
    assert book.html.is_dir()
    (tiny / "book" / "index.md").write_text("# Tiny\n\nGood evening.\n")
    with pytest.raises(TypeError):
        book.ensure()


def test_new_outputs_of_an_unchanged_notebook_reach_the_page(tiny: Path) -> None:
    value = tiny / "normcourse" / "lesson.py"
    code = f"exec(open({str(value)!r}).read())\nprint('the value is', VALUE)"
    write_notebook(tiny / "book" / "one.ipynb", code)
    book = Book(tiny)
    for number in ("1", "2"):
        value.write_text(f"VALUE = {number}\n")
        book.ensure()
        page = (book.html / "book" / "one.html").read_text(encoding="utf-8")
        assert f"the value is {number}" in page


def test_a_warning_fails_the_build_and_is_shown_and_fails_it_again(tiny: Path) -> None:
    (tiny / "book" / "index.md").write_text("# Tiny\n\n{ref}`nowhere`\n")
    for _ in range(2):  # the second build must not be fooled by pages read before
        with pytest.raises(Trouble, match=r"index\.md:3: WARNING: .*nowhere"):
            Book(tiny).ensure()


def test_a_light_book_runs_no_notebook_and_tolerates_open_references(tiny: Path) -> None:
    write_notebook(tiny / "book" / "one.ipynb", MARK, "import a_package_that_is_not_here")
    (tiny / "book" / "index.md").write_text("# Tiny\n\n{ref}`a-figure`\n")
    book = Book(tiny, light=True)
    book.ensure()
    assert runs(tiny) == 0
    assert "a_package_that_is_not_here" in (book.html / "book" / "one.html").read_text()
    assert not (tiny / "_build" / "html").exists()


# --- counting pages ------------------------------------------------------------------------------

NESTED = """
format: jb-book
root: book/index
parts:
  - caption: Lessons
    chapters:
      - file: book/one
        sections:
          - file: book/deep
      - url: https://example.invalid
"""


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """A table of contents of three pages, and the pages."""
    (tmp_path / "_toc.yml").write_text(NESTED)
    for name in ("book/index", "book/one", "book/deep"):
        for file, text in ((f"{name}.html", "<h1>x</h1>"), (f"_sources/{name}.md", "# x")):
            path = tmp_path / "html" / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    return tmp_path


def test_all_pages_are_counted_at_any_depth(built: Path) -> None:
    assert entries(built) == ["book/index", "book/one", "book/deep"]
    assert check_pages(built, built / "html") == 3


@pytest.mark.parametrize(
    ("action", "says"),
    [
        (lambda html: (html / "book/deep.html").unlink(), "book/deep: not built"),
        (lambda html: (html / "book/one.html").write_text(""), "book/one: built without a heading"),
        (
            lambda html: (html / "_sources/book/more.md").write_text("x"),
            "book/more: built, but not in _toc.yml",
        ),
    ],
    ids=["missing", "empty", "unlisted"],
)
def test_a_page_too_few_or_too_many_is_named(built: Path, action: object, says: str) -> None:
    assert callable(action)
    action(built / "html")
    with pytest.raises(Trouble) as caught:
        check_pages(built, built / "html")
    assert says in str(caught.value)


def test_a_page_listed_twice_is_named(built: Path) -> None:
    (built / "_toc.yml").write_text(NESTED + "      - file: book/one\n")
    with pytest.raises(Trouble, match="book/one: listed twice"):
        check_pages(built, built / "html")


def test_a_listed_page_without_a_source_is_named(tiny: Path) -> None:
    (tiny / "book" / "one.ipynb").unlink()
    with pytest.raises(Trouble, match="lists book/one: there is neither"):
        sources(tiny)


def test_globs_in_the_table_of_contents_are_refused(built: Path) -> None:
    (built / "_toc.yml").write_text("root: book/index\nchapters:\n  - glob: book/*\n")
    with pytest.raises(Trouble, match="name each page"):
        entries(built)

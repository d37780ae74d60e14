"""The command as people run it: a process of its own, with hostile answers and odd terminals."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.conftest import FORWARD, NCHW, WRONG, answers, solution

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and terminals of POSIX")


def command(*words: object) -> list[str]:
    """Return the words of a process that runs the command."""
    return [sys.executable, "-m", "normcourse", *map(str, words)]


def run(*words: object, **variables: str) -> subprocess.CompletedProcess[bytes]:
    """Run the command to its end."""
    environment = {**os.environ, **variables}
    return subprocess.run(command(*words), capture_output=True, timeout=60, env=environment)


def hostile(*lines: str) -> str:
    """Return an answer to batch_norm_forward_nchw with these lines as its body."""
    inside = "\n".join(f"    {line}" for line in lines)
    return f"def {NCHW}(x, gamma, beta, eps=1e-5):\n{inside}\n"


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["while True: pass"], b"took too long"),
        (["return " + NCHW + "(x, gamma, beta)"], b"RecursionError"),
        (["return np.ones((50_000, 1_000_000))"], b"asked for more memory than there is"),
        (["import sys", "sys.exit(0)"], b"your code raised SystemExit"),
        (["import os", "os._exit(0)"], b"ended the process that ran it (it exited with code 0)"),
        (["for _ in range(100): print('x' * 10**6)", "return x"], b"xxx ..."),
        (["import warnings", "warnings.warn('w')", "return x"], b"not yet right"),
        (["np.allclose = np.array_equal = lambda *a: True", "return x"], b"not yet right"),
        (["return x + np.random.rand()"], b"another result each time"),
        (["import os", "os.kill(os.getppid(), 9)", "return x"], b"not yet right"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_a_clear_verdict_within_the_time_limit_and_the_rest_is_judged(
    here: Path, lines: list[str], words: bytes
) -> None:
    path = answers(here / "a.py", hostile(*lines), solution(FORWARD))
    begun = time.perf_counter()
    done = run("check", path, "--time-limit", 1)
    assert time.perf_counter() - begun < 15
    assert done.returncode == 1
    assert words in b" ".join(done.stdout.split())
    assert f"[ok] {FORWARD}: passed".encode() in done.stdout
    assert done.stderr == b""
    assert len(done.stdout) < 5000


def test_a_lone_answer_that_ends_its_parent_is_judged(here: Path) -> None:
    """The parent of the process that runs an answer is never the judge."""
    path = answers(here / "a.py", hostile("import os", "os.kill(os.getppid(), 9)", "return x"))
    done = run("check", path)
    assert (done.returncode, done.stderr) == (1, b"")
    assert b"not yet right" in done.stdout


def test_a_file_that_ends_its_parent_as_it_loads_gets_a_verdict(here: Path) -> None:
    path = answers(here / "a.py", "import os\nos.kill(os.getppid(), 9)\n", solution(FORWARD))
    done = run("check", path)
    assert (done.returncode, done.stderr) == (0, b"")  # its definitions alone are right
    assert f"{FORWARD}: passed".encode() in done.stdout
    assert b"did not end well (it was ended by SIGKILL)" in b" ".join(done.stdout.split())


def test_exit_codes(here: Path) -> None:
    right, wrong = answers(here / "right.py", solution(FORWARD)), answers(here / "wrong.py", WRONG)
    codes = [run("check", path).returncode for path in (right, wrong, here / "missing.py")]
    assert codes == [0, 1, 2]


def test_bad_input_before_anything_is_loaded(here: Path) -> None:
    done = run("check", "missing.py")
    assert (done.stdout, done.stderr.count(b"\n")) == (b"", 1)


def test_stubs_are_answered_without_numpy(here: Path, root: Path) -> None:
    code = (
        "import sys; from normcourse.cli import main; "
        f"main(['check', {str(root / 'exercises' / '02_batch_norm.ipynb')!r}]); "
        "print(sorted({'numpy', 'rich', 'typer', 'torch'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60)
    assert done.stdout.endswith(b"[]\n"), done


def test_a_verdict_needs_neither_typer_nor_rich(here: Path) -> None:
    path = answers(here / "a.py", solution(FORWARD))
    code = (
        f"import sys; from normcourse.cli import main; main(['check', {str(path)!r}]); "
        "print(sorted({'rich', 'typer', 'torch', 'matplotlib'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60)
    assert done.stdout.endswith(b"[]\n"), done


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_pipe_gets_plain_ascii_in_every_encoding(here: Path, encoding: str) -> None:
    path = answers(here / "a.py", WRONG)
    done = run("check", path, PYTHONIOENCODING=encoding)
    assert done.returncode == 1
    assert done.stdout.isascii()
    assert b"\x1b" not in done.stdout
    assert b"expected 1.64, got 1.42" in done.stdout


def test_a_pipe_that_closes_early_is_no_error(here: Path) -> None:
    path = answers(here / "a.py", solution(FORWARD))
    process = subprocess.Popen(
        command("check", path), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.close()
    errors = process.stderr.read()
    assert process.wait(30) in (0, 1)
    assert errors == b""
    process.stderr.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_no_loop_behind(here: Path, number: int) -> None:
    mark = here / "pid"
    loop = hostile(f"import os; open({str(mark)!r}, 'w').write(str(os.getpid()))", "while True: 1")
    process = subprocess.Popen(
        command("check", answers(here / "a.py", loop)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    until(lambda: mark.exists() and mark.read_text() != "")
    process.send_signal(number)
    _, errors = process.communicate(timeout=20)
    assert process.returncode in (130, 128 + number)
    assert b"Traceback" not in errors
    until(lambda: not alive(int(mark.read_text())))


def until(holds: object, seconds: float = 20.0) -> None:
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    """Say whether a process runs; one that only waits to be collected does not."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] != "Z"


class Session:
    """The command on a terminal of its own."""

    def __init__(self, *words: object) -> None:
        self._main, terminal = os.openpty()
        environment = {**os.environ, "TERM": "xterm", "PYTHONUTF8": "1"}
        environment.pop("NO_COLOR", None)
        self.process = subprocess.Popen(
            command(*words), stdin=terminal, stdout=terminal, stderr=terminal, env=environment
        )
        os.close(terminal)
        self.text = ""

    def read_until(self, words: str, seconds: float = 30.0) -> None:
        """Read what is shown until some words are."""
        end = time.monotonic() + seconds
        while words not in self.text:
            assert time.monotonic() < end, self.text
            if select.select([self._main], [], [], 0.2)[0]:
                try:
                    self.text += os.read(self._main, 65536).decode(errors="replace")
                except OSError:  # the other end is closed
                    assert words in self.text, self.text

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._main, keys.encode())

    def close(self) -> None:
        """Leave the terminal."""
        self.process.kill()
        self.process.wait()
        os.close(self._main)


def test_colours_on_a_terminal(here: Path) -> None:
    session = Session("check", answers(here / "a.py", WRONG))
    try:
        session.read_until("0 of 1 passed.")
        assert session.process.wait(10) == 1
    finally:
        session.close()
    assert f"\x1b[31m✗ {FORWARD}: not yet right\x1b[0m" in session.text
    assert "mean((x −" in session.text


def test_watch_on_a_terminal(here: Path) -> None:
    path = answers(here / "a.py", WRONG)
    session = Session("watch", path)
    try:
        session.read_until("q quit")
        session.type("h")
        session.read_until("Hint 1 of 3")
        answers(path, solution(FORWARD))
        session.read_until("1 of 1 passed.")
        session.type("q")
        assert session.process.wait(10) == 0
    finally:
        session.close()


def test_a_question_on_a_terminal(here: Path) -> None:
    session = Session("solution", FORWARD)
    try:
        session.read_until("Show its solution?")
        session.type("y\n")
        session.read_until("biased variance")
        assert session.process.wait(10) == 0
    finally:
        session.close()

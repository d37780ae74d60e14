"""A learner's code in a child process: whatever it does ends in a trial, in time."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from normcourse.checks import find
from normcourse.checks.child import ended
from normcourse.checks.exercise import Case
from normcourse.checks.forked import may_fork
from normcourse.checks.judge import judge
from normcourse.checks.runners import ChildRunner, Host, LoadError, time_limit_from_environment
from normcourse.checks.source import read_source

FORWARD = find("batch_norm_forward")
RIGHT = """\
import numpy as np
def batch_norm_forward(x, gamma, beta, eps=1e-5):
    return gamma * (x - x.mean(0)) / np.sqrt(x.var(0) + eps) + beta
"""
CASE = Case("one", {"x": np.ones((2, 3)), "gamma": np.ones(3), "beta": np.zeros(3)})

MakeHost = Callable[..., Host]


@pytest.fixture
def host(tmp_path: Path):
    """Return a maker of hosts that are closed at the end."""
    hosts = []

    def make(code: str, **options: object) -> Host:
        path = tmp_path / "answers.py"
        path.write_text(code, encoding="utf-8")
        hosts.append(Host(read_source(path), **options))
        return hosts[-1]

    yield make
    for made in hosts:
        made.close()


def body(*lines: str) -> str:
    """Return an answer with these lines as its body."""
    inside = "\n".join(f"    {line}" for line in lines)
    return f"import numpy as np\ndef batch_norm_forward(x, gamma, beta, eps=1e-5):\n{inside}\n"


def run(host: Host, *, time_limit: float = 5.0, case: Case = CASE):
    """Return the trial of one call."""
    with ChildRunner(host, FORWARD, time_limit=time_limit) as runner:
        return runner.run(case)


def test_right_answer_passes(host: MakeHost) -> None:
    with ChildRunner(host(RIGHT), FORWARD) as runner:
        assert judge(FORWARD, runner).passed


@pytest.mark.parametrize(
    ("lines", "status", "words"),
    [
        (["import os", "os._exit(3)"], "crashed", "it exited with code 3"),
        (["import os, signal", "os.kill(os.getpid(), 9)"], "crashed", "ended by SIGKILL"),
        (["import sys", "sys.exit('bye')"], "raised", "SystemExit"),
        (["raise KeyboardInterrupt"], "raised", "KeyboardInterrupt"),
        (["raise GeneratorExit"], "raised", "GeneratorExit"),
        (["return batch_norm_forward(x, gamma, beta)"], "raised", "RecursionError"),
        (["return np.ones((50_000, 1_000_000))"], "memory", "MemoryError"),
        (["return np.ones(20_000_000)"], "raised", "value too large"),
        (["while True: pass"], "timeout", "time limit"),
        (["while True:", "    try: np.ones(3)", "    except BaseException: pass"], "timeout", ""),
        (["import time", "time.sleep(60)"], "timeout", ""),
        (["import os", "os.closerange(3, 50)"], "crashed", ""),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_every_end_is_a_trial(host: MakeHost, lines: list[str], status: str, words: str) -> None:
    if sys.platform == "darwin" and status == "memory":
        pytest.skip("macOS has no cap on address space")
    begun = time.perf_counter()
    trial = run(host(body(*lines)), time_limit=0.4 if status == "timeout" else 20)
    assert trial.status == status, trial
    assert words in f"{trial.error.get('type')} {trial.error.get('message')}"
    assert time.perf_counter() - begun < 10


def test_a_crash_in_c_is_a_trial(host: MakeHost) -> None:
    trial = run(host(body("import ctypes", "ctypes.string_at(0)")))
    assert (trial.status, trial.error["message"]) == ("crashed", "it was ended by SIGSEGV")


def test_a_flood_of_prints_is_cut(host: MakeHost) -> None:
    trial = run(host(body("for _ in range(100): print('x' * 1_000_000)", "return x")))
    assert trial.status == "returned"
    assert 20_000 <= len(trial.output) < 20_100
    assert "99980100 more characters" in trial.output


def test_raw_writes_do_not_reach_the_channel(host: MakeHost) -> None:
    trial = run(host(body("import os", "os.write(1, b'x' * 100_000)", "return x")))
    assert trial.status == "returned"


def test_a_copy_of_the_process_says_nothing(host: MakeHost) -> None:
    lines = ("import os", "os.fork()", "return x + 1")
    with ChildRunner(host(body(*lines)), FORWARD, time_limit=5) as runner:
        for value in (1.0, 2.0, 3.0):
            case = Case("one", {**CASE.inputs, "x": np.full((2, 3), value)})
            np.testing.assert_array_equal(runner.run(case).value, value + 1)


def test_a_daemon_that_keeps_the_channel_open_does_not_hang_us(host: MakeHost) -> None:
    daemon = (
        "import os, time",
        "if os.fork() == 0:",
        "    os.setsid()",
        "    time.sleep(8)",
        "    os._exit(0)",
        "while True: pass",
    )
    begun = time.perf_counter()
    assert run(host(body(*daemon)), time_limit=0.5).status == "timeout"
    assert time.perf_counter() - begun < 6


def test_one_answer_does_not_reach_the_next(host: MakeHost) -> None:
    """What one exercise does to NumPy, to the module or to its globals is gone for the next."""
    spoil = "\ndef normalized_example():\n    np.sqrt = batch_norm_forward.__globals__['COUNT'] = 0"
    made = host("COUNT = 1\n" + RIGHT + spoil + "\n    return [0, 0, 0, 0]\n")
    for name, passed in (("normalized_example", False), ("batch_norm_forward", True)):
        with ChildRunner(made, find(name)) as runner:
            assert judge(find(name), runner).passed is passed


def test_patched_comparisons_change_no_verdict(host: MakeHost) -> None:
    patches = (
        "np.allclose = np.array_equal = lambda *a, **k: True\n"
        "np.testing.assert_allclose = lambda *a, **k: None\n"
        "import builtins; builtins.abs = builtins.max = lambda *a, **k: 0\n"
    )
    with ChildRunner(host("import numpy as np\n" + patches + body("return x")), FORWARD) as runner:
        assert judge(FORWARD, runner).status == "failed"


def test_results_that_change_from_call_to_call_are_seen(host: MakeHost) -> None:
    code = RIGHT.replace("return", "return np.random.normal(1, 1e-3) *")
    with ChildRunner(host(code), FORWARD) as runner:
        feedback = judge(FORWARD, runner)
    assert "another result" in feedback.message or "gives another result" in str(feedback)


def test_warnings_turned_into_errors_are_no_matter(host: MakeHost) -> None:
    code = "import warnings\nwarnings.simplefilter('error')\nnp = __import__('numpy')\n"
    code += "np.seterr(all='raise')\nwarnings.warn('at load')\n" + RIGHT
    with ChildRunner(host(code), FORWARD) as runner:
        assert judge(FORWARD, runner).passed


@pytest.mark.parametrize("end", ["while True: pass", "import os\nos._exit(1)"])
def test_code_outside_the_functions_that_does_not_end_is_left_out(host: MakeHost, end: str) -> None:
    made = host(RIGHT + f"for _ in range(1):\n    {end.replace(chr(10), '; ')}\n", time_limit=0.5)
    with ChildRunner(made, FORWARD) as runner:
        assert judge(FORWARD, runner).passed
    assert made.fallen_back in ("the time limit was reached", "it exited with code 1")


def test_code_that_cannot_be_loaded_at_all_is_said(host: MakeHost) -> None:
    made = host(
        "x = next(iter(lambda: 0, 1)) or [0 for _ in iter(int, 1)]\n" + RIGHT, time_limit=0.4
    )
    with ChildRunner(made, FORWARD) as runner, pytest.raises(LoadError, match="time limit"):
        runner.signature()


def test_errors_of_other_statements_are_kept_apart(host: MakeHost) -> None:
    made = host("1 / 0\nimport does_not_exist\nsys.exit()\n" + RIGHT)
    with ChildRunner(made, FORWARD) as runner:
        assert judge(FORWARD, runner).passed
    assert [text.split(":")[1].strip() for text in made.load_errors] == [
        "ZeroDivisionError",
        "ModuleNotFoundError",
        "NameError",
    ]


def test_an_answer_that_was_never_defined_names_the_reason(host: MakeHost) -> None:
    made = host("from nowhere import decorator\n@decorator\n" + RIGHT.partition("\n")[2])
    with ChildRunner(made, FORWARD) as runner, pytest.raises(LoadError, match="nowhere"):
        runner.signature()


def test_own_modules_are_found_and_python_s_own_are_not_replaced(
    host: MakeHost, tmp_path: Path
) -> None:
    (tmp_path / "helpers.py").write_text("scale = 1.0\n")
    for name in ("numpy", "json", "sitecustomize"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('not this one')\n")
    with ChildRunner(host("from helpers import scale\n" + RIGHT), FORWARD) as runner:
        assert judge(FORWARD, runner).passed
    assert not (tmp_path / "__pycache__").exists()


def test_the_notebooks_own_imports_work_and_hold_no_answers(host: MakeHost) -> None:
    code = "from normcourse import check, hint, progress, solution\ncheck(1); progress()\n"
    made = host(code + "from normcourse.norms import batch_norm\n" + RIGHT)
    with ChildRunner(made, FORWARD) as runner:
        assert runner.run(CASE).status == "returned"
    assert len(made.load_errors) == 1
    assert "not a package" in made.load_errors[0]


def test_supplied_callees_serve_their_exercise_alone(host: MakeHost) -> None:
    made = host(RIGHT)
    with ChildRunner(made, FORWARD, supplied="def batch_norm_forward(*a): return a[0] + 7") as one:
        assert one.run(CASE).value[0, 0] == 8
    with ChildRunner(made, FORWARD) as other:
        assert other.run(CASE).value[0, 0] == 0


def test_torch_does_not_count_towards_the_memory_cap(host: MakeHost) -> None:
    pytest.importorskip("torch")
    code = "import torch\n" + RIGHT.replace("return", "torch.ones(1000, 1000)\n    return")
    made = host(code, preload=("torch",), memory_mb=512)
    assert run(made).status == "returned"
    code = "import torch\n" + RIGHT.replace("return", "torch.ones(50_000, 1_000_000)\n    return")
    trial = run(host(code, preload=("torch",)))
    assert trial.status in ("memory", "raised")
    assert "memory" in f"{trial.error}".lower()


def test_how_a_process_ended_is_said() -> None:
    assert ended(0) == "it exited with code 0"
    assert ended(-11) == "it was ended by SIGSEGV"
    assert ended(None) == "it ended early"


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "soon"])
def test_time_limit_of_the_environment_must_be_seconds(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("NORMCOURSE_TIME_LIMIT", text)
    with pytest.raises(ValueError, match="NORMCOURSE_TIME_LIMIT"):
        time_limit_from_environment()


FRESH = """
import sys
from pathlib import Path
from normcourse.checks.child import Child, Settings
from normcourse.checks.forked import Forked
child = Child(Settings(Path(sys.argv[1])))
kind = type(child._process) is Forked
from normcourse.checks.worker import write_message
import normcourse.checks.exercise
cells = [["a", "import sys, os, signal, helpers\\n" + sys.argv[2]]]
print(kind, child.ask({"do": "load", "cells": cells, "definitions_only": False}, 5.0))
child.end()
print(child._process.poll())
"""


def fresh(folder: Path, code: str) -> list[str]:
    """Run code in the first child of a fresh process and return what became of it."""
    (folder / "helpers.py").write_text("")
    done = subprocess.run(
        [sys.executable, "-c", FRESH, str(folder), code],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "NORMCOURSE_PROGRESS": "secret"},
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


on_linux = pytest.mark.skipif(sys.platform != "linux", reason="copies itself on Linux alone")


@on_linux
@pytest.mark.parametrize(
    "holds",
    [
        "'normcourse.checks.exercise' not in sys.modules",
        "'normcourse.checks.judge' not in sys.modules",
        "not hasattr(sys.modules['normcourse'], '__path__')",
        "os.getcwd() == sys.path[-1]",
        "'' not in sys.path",
        "sys.argv == ['']",
        "not any(name.startswith('NORMCOURSE') for name in os.environ)",
        "os.getsid(0) == os.getpgid(0) == os.getppid()",
        "signal.getsignal(signal.SIGTERM) is signal.SIG_DFL",
        "os.environ['OPENBLAS_NUM_THREADS'] == '1'",
        "len(os.listdir('/proc/self/fd')) <= 6",
    ],
)
def test_a_copy_of_a_fresh_process_is_like_a_new_one(tmp_path: Path, holds: str) -> None:
    first, last = fresh(tmp_path, f"assert {holds}")
    assert first == "True ({'errors': []}, '')"
    assert last == "-9"


@on_linux
def test_a_copy_that_ends_is_noticed(tmp_path: Path) -> None:
    first, last = fresh(tmp_path, "os._exit(7)")
    assert first == "True (None, 'it exited with code 7')"
    assert last == "7"


def test_a_process_that_has_loaded_more_starts_a_new_one() -> None:
    assert not may_fork(), "NumPy is loaded here"

"""One of the processes that grade side by side: holds its own sandbox, grades what it is sent.

``python -m normcourse.grading.slot`` reads messages from standard input and writes its answers to
standard output. The first says what kind of sandbox to build, or has it choose and prove one and
say which; each further one is a task in the codec of the judges. It is a process of its own so that
whatever a submission does to the one that reads it costs no other.

It is started before the grader has loaded NumPy and the judges, and loads them itself while its
sandbox starts: here they are imported in functions.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from io import FileIO

    from normcourse.grading.sandbox import Kind
    from normcourse.grading.verdict import Boxes

_PR_SET_PDEATHSIG, _SIGKILL = 1, 9
_OWN_MEMORY_MB = 6144
_START_SECONDS = 600.0


def pack(task: dict[str, Any]) -> bytes:
    """Return a task with its files as one message."""
    import numpy as np

    from normcourse.checks import codec

    files = {name: np.frombuffer(data, np.uint8) for name, data in task["files"].items()}
    rest = json.dumps({k: v for k, v in task.items() if k != "files"})
    names = list(files)
    return codec.encode({"task": rest, "names": json.dumps(names), "data": list(files.values())})


def unpack(message: bytes) -> dict[str, Any]:
    """Return what :func:`pack` packed."""
    from normcourse.checks import codec

    wire = codec.decode(message)
    names = json.loads(wire["names"])
    files = {n: d.tobytes() for n, d in zip(names, wire["data"], strict=True)}
    return {**json.loads(wire["task"]), "files": files}


def work(boxes: Boxes, task: dict[str, Any]) -> list[dict[str, Any]]:
    """Grade the exercises of one submission; returns a record for each, with its time."""
    from normcourse.grading.sandbox import Limits
    from normcourse.grading.verdict import grade, read_papers

    papers = read_papers(task["files"], task["problems"])
    limits = Limits(**task["limits"])
    records = []
    for exercise, seeds in task["exercises"]:
        begun = time.perf_counter()
        verdict = grade(
            boxes, papers, exercise, tuple(seeds), limits, enforce=task["policy"] == "fail"
        )
        seconds = round(time.perf_counter() - begun, 4)
        records.append({**verdict.to_plain(), "seconds": seconds})
    return records


def main() -> None:
    """Serve until standard input ends."""
    from normcourse.checks.worker import read_message, write_message

    with suppress(OSError):  # a killed grader leaves no slot behind
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, _SIGKILL)
    requests = os.fdopen(os.dup(0), "rb", buffering=0)
    replies = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    first = read_message(requests)
    boxes = None if first is None else _boxes(json.loads(first), replies)
    if boxes is None:
        return
    _bound_memory()
    try:
        while (message := read_message(requests)) is not None:
            records = work(boxes, unpack(message))
            write_message(replies, json.dumps(records).encode())
    finally:
        boxes.close()


def _boxes(first: dict[str, Any], replies: FileIO) -> Boxes | None:
    """Return sandboxes of the kind that was named, or of the strongest that holds, and say which.

    None where none holds; the reason is said.
    """
    gc.disable()  # a tenth of the time of the imports
    from normcourse.checks.worker import write_message
    from normcourse.grading import cgroups
    from normcourse.grading.sandbox import Kind, NoSandbox

    cgroups.sweep()
    try:
        if "kind" in first:
            from normcourse.grading.verdict import Boxes

            return Boxes(Kind(**first["kind"]))
        from normcourse.grading.selftest import proven

        sandbox = proven(unsafe=first["unsafe"], meanwhile=_load_judges)
    except NoSandbox as refusal:
        write_message(replies, json.dumps({"refused": str(refusal)}).encode())
        return None
    finally:
        gc.enable()
    from normcourse.grading.verdict import Boxes

    write_message(replies, json.dumps({"kind": asdict(sandbox.kind)}).encode())
    return Boxes(sandbox.kind, sandbox)


def _load_judges() -> None:
    import_module("normcourse.grading.verdict")


def _bound_memory() -> None:
    """Bound what reading a hostile file may cost this process: it fails, the machine does not."""
    import resource  # not on Windows, where there is no sandbox either

    with open("/proc/self/statm", encoding="ascii") as file:
        mapped = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (mapped + _OWN_MEMORY_MB * 2**20, hard))


class Slot:
    """The other side of such a process; renewed when lost.

    Args:
        kind: how its sandbox is built; else it is :meth:`chosen` before the first task.
    """

    def __init__(self, kind: Kind | None = None) -> None:
        self.kind = kind
        self._told = False
        self._starter = threading.main_thread()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process."""
        if self._process is None:
            self._told, self._starter = False, threading.current_thread()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "normcourse.grading.slot"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
                env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            )

    def choose(self, *, unsafe: bool) -> None:
        """Start the process and have it build the strongest sandbox that holds.

        Args:
            unsafe: whether one without namespaces will do.
        """
        self.start()
        with suppress(OSError):  # it has ended: chosen() says so
            self._tell({"unsafe": unsafe})

    def chosen(self) -> Kind:
        """Return the kind of the sandbox that the process was to choose.

        Raises:
            NoSandbox: there is none; the message says what to do.
        """
        from normcourse.grading.sandbox import Kind, NoSandbox

        reply = self._heard(_START_SECONDS)
        said: dict[str, Any] = (
            json.loads(reply) if reply else {"refused": "the grading process ended at its start"}
        )
        if "refused" in said:
            raise NoSandbox(said["refused"])
        self.kind = Kind(**said["kind"])
        return self.kind

    def grade(self, task: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the records of a task; where the process is lost twice, infra_error for each."""
        reason = ""
        for _ in range(2):
            records, reason = self._try(task)
            if records is not None:
                return records
        from normcourse.grading.verdict import Verdict

        lost = [
            Verdict(name, "infra_error", None, (reason,), seeds=tuple(seeds)).to_plain()
            for name, seeds in task["exercises"]
        ]
        return [{**record, "seconds": 0.0} for record in lost]

    def dismiss(self) -> None:
        """Have the process end by itself; :meth:`close` waits for it.

        One that was renewed on the way is waited for here: it would be killed with its thread.
        """
        if self._starter is not threading.main_thread():
            self.close()
        self._hang_up()

    def close(self) -> None:
        """End the process and its sandbox with it."""
        self._hang_up()
        process, self._process = self._process, None
        if process is None:
            return
        try:
            process.wait(5.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()

    def _hang_up(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()

    def _try(self, task: dict[str, Any]) -> tuple[list[dict[str, Any]] | None, str]:
        self.start()
        assert self._process is not None
        try:
            if not self._told:
                self._tell({"kind": asdict(self._known_kind())})
            reply = self._heard(_patience(task), pack(task))
            lost = "the grading process ended or took too long"
        except (OSError, ValueError) as error:  # ValueError: a message that is none
            reply, lost = None, f"the grading process was lost ({error})"
        if reply is None:
            self._process.kill()
            self.close()
            return None, lost
        return list(json.loads(reply)), ""

    def _known_kind(self) -> Kind:
        if self.kind is None:
            raise TypeError("kind: expected the kind of sandbox before the first task, got None.")
        return self.kind

    def _tell(self, first: dict[str, Any]) -> None:
        """Say how the sandbox is to be built, once for each process."""
        from normcourse.checks.worker import write_message

        assert self._process is not None
        write_message(self._process.stdin, json.dumps(first).encode())  # type: ignore[arg-type]
        self._told = True

    def _heard(self, patience: float, message: bytes | None = None) -> bytes | None:
        """Return the next reply, to a message if one is given; None if none comes in time."""
        from normcourse.checks.worker import read_message, write_message

        process = self._process
        assert process is not None
        timer = threading.Timer(patience, process.kill)
        timer.start()
        try:
            if message is not None:
                write_message(process.stdin, message)  # type: ignore[arg-type]
            return read_message(process.stdout)  # type: ignore[arg-type]
        finally:
            timer.cancel()


def _patience(task: dict[str, Any]) -> float:
    """Return how long a task may take in all before its process counts as lost."""
    from normcourse.grading.sandbox import Limits

    limits = Limits(**task["limits"])
    each = 4 * (limits.load_seconds + limits.run_seconds) + 30.0
    return 300.0 + each * len(task["exercises"])


if __name__ == "__main__":
    main()
    os._exit(0)  # taking NumPy apart first would have the grader wait

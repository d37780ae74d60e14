"""One of the processes that grade side by side: holds its own sandbox, grades what it is sent.

``python -m normcourse.grading.slot`` reads messages from standard input and writes its answers to
standard output. The first says what kind of sandbox to build, each further one is a task in the
codec of the judges. It is a process of its own so that whatever a submission does to the one that
reads it costs no other; it starts while the grader still looks at what was handed in.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import numpy as np

from normcourse.checks import codec
from normcourse.checks.worker import read_message, write_message
from normcourse.grading import cgroups
from normcourse.grading.sandbox import Kind, Limits
from normcourse.grading.verdict import Boxes, Verdict, grade, read_papers

_PR_SET_PDEATHSIG, _SIGKILL = 1, 9
_OWN_MEMORY_MB = 6144


def pack(task: dict[str, Any]) -> bytes:
    """Return a task with its files as one message."""
    files = {name: np.frombuffer(data, np.uint8) for name, data in task["files"].items()}
    rest = json.dumps({k: v for k, v in task.items() if k != "files"})
    names = list(files)
    return codec.encode({"task": rest, "names": json.dumps(names), "data": list(files.values())})


def unpack(message: bytes) -> dict[str, Any]:
    """Return what :func:`pack` packed."""
    wire = codec.decode(message)
    names = json.loads(wire["names"])
    files = {n: d.tobytes() for n, d in zip(names, wire["data"], strict=True)}
    return {**json.loads(wire["task"]), "files": files}


def work(boxes: Boxes, task: dict[str, Any]) -> list[dict[str, Any]]:
    """Grade the exercises of one submission; returns a record for each, with its time."""
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
    with suppress(OSError):  # a killed grader leaves no slot behind
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, _SIGKILL)
    requests = os.fdopen(os.dup(0), "rb", buffering=0)
    replies = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    _bound_memory()
    cgroups.sweep()
    first = read_message(requests)
    if first is None:  # the grader found nothing to grade
        return
    boxes = Boxes(Kind(**json.loads(first)))
    try:
        while (message := read_message(requests)) is not None:
            records = work(boxes, unpack(message))
            write_message(replies, json.dumps(records).encode())
    finally:
        boxes.close()


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
        kind: how its sandbox is built; may be set later, before the first task.
    """

    def __init__(self, kind: Kind | None = None) -> None:
        self.kind = kind
        self._told = False
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process, which loads what it needs in the meantime."""
        if self._process is None:
            self._told = False
            self._process = subprocess.Popen(
                [sys.executable, "-m", "normcourse.grading.slot"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
                env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            )

    def grade(self, task: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the records of a task; where the process is lost twice, infra_error for each."""
        reason = ""
        for _ in range(2):
            records, reason = self._try(task)
            if records is not None:
                return records
        lost = [
            Verdict(name, "infra_error", None, (reason,), seeds=tuple(seeds)).to_plain()
            for name, seeds in task["exercises"]
        ]
        return [{**record, "seconds": 0.0} for record in lost]

    def close(self) -> None:
        """End the process and its sandbox with it."""
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(OSError):
            assert process.stdin is not None
            process.stdin.close()
        try:
            process.wait(5.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()

    def _try(self, task: dict[str, Any]) -> tuple[list[dict[str, Any]] | None, str]:
        self.start()
        process = self._process
        assert process is not None
        timer = threading.Timer(_patience(task), process.kill)
        timer.start()
        try:
            self._tell_kind()
            write_message(process.stdin, pack(task))  # type: ignore[arg-type]
            reply = read_message(process.stdout)  # type: ignore[arg-type]
        except (OSError, codec.CodecError) as error:
            reply, lost = None, f"the grading process was lost ({error})"
        else:
            lost = "the grading process ended or took too long"
        finally:
            timer.cancel()
        if reply is None:
            process.kill()
            self.close()
            return None, lost
        return list(json.loads(reply)), ""

    def _tell_kind(self) -> None:
        """Say how the sandbox is to be built, once for each process."""
        if self._told:
            return
        if self.kind is None or self._process is None:
            raise ValueError("kind: expected the kind of sandbox before the first task, got None.")
        write_message(self._process.stdin, json.dumps(asdict(self.kind)).encode())  # type: ignore[arg-type]
        self._told = True


def _patience(task: dict[str, Any]) -> float:
    """Return how long a task may take in all before its process counts as lost."""
    limits = Limits(**task["limits"])
    each = 4 * (limits.load_seconds + limits.run_seconds) + 30.0
    return 300.0 + each * len(task["exercises"])


if __name__ == "__main__":
    main()

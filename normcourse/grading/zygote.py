"""The process inside the sandbox that is warm: Python and NumPy are loaded, no learner's code is.

For each (submission, exercise) it is handed two pipes and makes one copy of itself, which gives up
its rights (:mod:`confine`), serves that one answer over the two pipes and dies. The submission goes
through the pipes, never through this process, so that no copy holds a trace of another learner.

It takes its orders from a socket: ``{"serve": {...}}`` with two descriptors, then
``{"kill": true}`` if the answer is to end early. For each it says ``{"ended": exit code, "clean":
bool, ...}``; one that is not clean is thrown away, sandbox and all.

Beside it lie ``confine.py`` and ``syscalls.py`` and, of the judges, ``codec.py``, ``probes.py`` and
``worker.py``: all that the sandbox holds of the course.
"""

from __future__ import annotations

import array
import ctypes
import gc
import json
import os
import random
import select
import signal
import socket
import sys
from contextlib import suppress
from io import FileIO
from typing import Any

SPARE_USER = 65534  # "nobody"
_SCRATCH_ENTRIES = 200  # more than these are not tidied up, the sandbox is thrown away
_NEW_USER_NAMESPACE = 0x10000000


def main() -> None:
    """Load what is heavy, then make one copy after the other until the socket closes."""
    settings: dict[str, Any] = json.loads(sys.argv[1])
    control = socket.socket(fileno=settings["control"])
    if settings["drop"]:
        _become_nobody(own_namespace=settings["own_namespace"])
    sys.path[:] = [*sys.path, *settings["path"]]
    os.environ.clear()
    os.environ.update(settings["environment"])
    from normcourse.checks import codec, probes, worker  # noqa: F401 - the copies find them loaded

    for name in settings["preload"]:
        with suppress(ImportError):  # the learner's own import says the same with its line
            __import__(name)
    from normcourse.grading import confine  # noqa: F401

    gc.collect()
    gc.freeze()  # shared pages stay shared
    _say(control, {"ready": os.getuid()})
    while (order := _hear(control)) is not None:
        request, descriptors = order
        if "serve" in request and len(descriptors) == 2:
            _serve(control, request["serve"], descriptors, settings)


def _become_nobody(*, own_namespace: bool) -> None:
    """Leave root for good: a spare user, in a user namespace of its own where there can be one."""
    libc = ctypes.CDLL(None, use_errno=True)
    os.setgroups([])
    os.setresgid(SPARE_USER, SPARE_USER, SPARE_USER)
    os.setresuid(SPARE_USER, SPARE_USER, SPARE_USER)
    if own_namespace and libc.unshare(_NEW_USER_NAMESPACE) != 0:
        raise OSError(ctypes.get_errno(), "no user namespace")


def _serve(
    control: socket.socket, order: dict[str, Any], pipes: list[int], settings: dict[str, Any]
) -> None:
    """Make a copy, wait for its end and say how it ended."""
    pid = os.fork()
    if pid == 0:
        _branch(order, pipes, settings)
    for descriptor in pipes:
        os.close(descriptor)
    watch = os.pidfd_open(pid)
    killed = False
    while True:
        ready, _, _ = select.select([watch, control.fileno()], [], [])
        if watch in ready:
            break
        if _hear(control) is None:  # the grader is gone
            os.kill(pid, signal.SIGKILL)
            os._exit(0)
        killed = True
        os.kill(pid, signal.SIGKILL)
    os.close(watch)
    _, status, used = os.wait4(pid, 0)
    ended = {
        "ended": os.waitstatus_to_exitcode(status),
        "killed": killed,
        "clean": _tidy(settings["scratch"]),
        "peak_kb": used.ru_maxrss,
        "cpu": used.ru_utime + used.ru_stime,
    }
    _say(control, ended)


def _branch(order: dict[str, Any], pipes: list[int], settings: dict[str, Any]) -> None:
    """Serve one answer in this copy; never returns."""
    status = 1
    with suppress(BaseException):
        _prepare(pipes)
        os.chdir(settings["scratch"])
        from normcourse.checks import codec, probes, worker
        from normcourse.grading import confine

        requests, replies = FileIO(3, "rb", closefd=False), FileIO(4, "wb", closefd=False)
        _seed()
        in_force = confine.confine(
            confine.Limits(**order["limits"]),
            readable=settings["readable"],
            writable=[settings["scratch"], "/dev/null"],
        )
        in_force["uid"] = os.getuid()
        worker.write_message(replies, codec.encode(in_force))
        files = codec.decode(worker.read_message(requests) or b"")
        for name, data in files.items():
            with suppress(OSError):  # a file where another has its folder
                _write(name, data.tobytes())
        worker.install_shim()
        sys.path.append(settings["scratch"])
        sys.argv[:] = ["answers"]
        worker.Server(codec, probes, requests, replies).serve()
        status = 0
    os._exit(status)


def _prepare(pipes: list[int]) -> None:
    """Keep the two pipes and nothing else that is open."""
    os.setsid()
    for handled in (signal.SIGINT, signal.SIGPIPE):
        signal.signal(handled, signal.SIG_DFL)
    kept = [os.dup2(os.dup(pipe), 10 + n) for n, pipe in enumerate(pipes)]
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    for wanted, descriptor in zip((3, 4), kept, strict=True):
        os.dup2(descriptor, wanted)
    os.closerange(5, 4096)


def _seed() -> None:
    """Start the global generators alike each time, so that the same answer does the same."""
    random.seed(0)
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed(0)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(0)


def _write(name: str, data: bytes) -> None:
    folder = os.path.dirname(name)
    if folder:
        os.makedirs(folder, exist_ok=True)
    with open(name, "xb") as file:
        file.write(data)


def _tidy(scratch: str) -> bool:
    """Empty the scratch folder if that is simple; say whether it is as empty as before."""
    left = _SCRATCH_ENTRIES
    waiting, folders = [scratch], []
    try:
        while waiting:
            folder = waiting.pop()
            folders.append(folder)
            with os.scandir(folder) as entries:
                for entry in entries:
                    left -= 1
                    if left < 0 or len(entry.path) > 2000:
                        return False
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    else:
                        os.unlink(entry.path)
        for folder in reversed(folders[1:]):
            os.rmdir(folder)
    except OSError:
        return False
    return not os.listdir(scratch)


def _say(control: socket.socket, message: dict[str, Any]) -> None:
    control.send(json.dumps(message).encode())


def _hear(control: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """Return the next order with its descriptors, or None when the grader has gone."""
    try:
        data, extras, _, _ = control.recvmsg(65536, socket.CMSG_SPACE(2 * 4))
    except OSError:
        return None
    if not data:
        return None
    descriptors = array.array("i")
    for level, kind, content in extras:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(content[: len(content) - len(content) % 4])
    return json.loads(data), list(descriptors)


if __name__ == "__main__":
    main()

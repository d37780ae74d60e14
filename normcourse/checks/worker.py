"""The process in which a learner's code runs: loads cells, answers one call at a time.

It reads messages (:mod:`codec`) from standard input and writes the replies to a descriptor of its
own; what the learner's code prints goes nowhere near it. It holds no reference, no expected value
and no case but the one it is given.

Where the platform can fork, one process loads the file and a branch of it serves each exercise, so
that what one answer does to NumPy or to its module never reaches the next.

The file stands alone beside ``codec.py`` and ``probes.py``.
"""

from __future__ import annotations

import ast
import gc
import linecache
import os
import sys
import types
import warnings
from collections.abc import Callable
from typing import Any, BinaryIO

MAX_MESSAGE = 80 * 1024 * 1024
_CHUNK = 1024 * 1024
CAN_BRANCH = sys.platform.startswith("linux")  # elsewhere system libraries dislike fork()


def read_message(stream: BinaryIO) -> bytes | None:
    """Return the next message, or None at the end of the stream."""
    head = _read(stream, 8)
    if len(head) < 8:
        return None
    length = int.from_bytes(head, "little")
    if length > MAX_MESSAGE:
        return None
    body = _read(stream, length)
    return body if len(body) == length else None


def write_message(stream: BinaryIO, body: bytes) -> None:
    """Write one message, its length first."""
    left = memoryview(len(body).to_bytes(8, "little") + body)
    while left:
        left = left[stream.write(left) :]


def _read(stream: BinaryIO, size: int) -> bytes:
    """Return ``size`` bytes, fewer only at the end; the streams have no buffer of their own."""
    parts = []
    while size and (part := stream.read(min(size, _CHUNK))):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def load_cells(
    cells: list[list[str]], *, definitions_only: bool = False
) -> tuple[dict[str, Any], list[str]]:
    """Run the cells of a file, statement by statement, and return the names and the errors.

    A statement that fails costs itself alone. ``definitions_only`` runs imports, definitions and
    assignments, for files whose other statements do not end.
    """
    module = types.ModuleType("answers")
    sys.modules["answers"] = module
    namespace = module.__dict__
    errors: list[str] = []
    for number, (label, code) in enumerate(cells):
        name = f"<{label}#{number}>"
        linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)
        for statement in _statements(code):
            if definitions_only and not isinstance(statement, _DEFINITIONS):
                continue
            try:
                exec(compile(ast.Module([statement], []), name, "exec"), namespace)
            except BaseException as error:
                text = " ".join(str(part) for part in error.args if isinstance(part, str))[:300]
                errors.append(f"{label}, line {statement.lineno}: {type(error).__name__}: {text}")
    return namespace, errors


_DEFINITIONS = (
    ast.Import,
    ast.ImportFrom,
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.ClassDef,
    ast.Assign,
    ast.AnnAssign,
)


def _statements(code: str) -> list[ast.stmt]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(code).body


def install_shim() -> None:
    """Make ``import normcourse`` work with a check and a hint that do nothing."""
    shim = types.ModuleType("normcourse")
    for name in ("check", "hint", "solution", "progress", "reset"):
        setattr(shim, name, lambda *args, **kwargs: None)
    sys.modules["normcourse"] = shim


class Server:
    """Answers load, supply, signature, call, branch and end messages until the stream ends."""

    def __init__(
        self,
        codec: Any,
        probes: Any,
        requests: BinaryIO,
        replies: BinaryIO,
        settle: Callable[[], None] = lambda: None,
    ) -> None:
        self._codec, self._probes = codec, probes
        self._requests, self._replies = requests, replies
        self._settle = settle  # what is called when the file is loaded
        self._namespace: dict[str, Any] = {}
        self._owner = os.getpid()
        self._on_branch = False

    def serve(self) -> None:
        """Answer one message after the other."""
        while (message := read_message(self._requests)) is not None:
            request = self._codec.decode(message)
            if request["do"] == "end" and self._on_branch:
                os._exit(0)  # the trunk answers
            reply = getattr(self, f"_{request['do']}")(request)
            if os.getpid() != self._owner:
                os._exit(0)  # a copy that the learner's code made of this process
            self._reply(reply)

    def _reply(self, reply: dict[str, Any]) -> None:
        try:
            body = self._codec.encode(reply)
        except self._codec.CodecError as error:
            body = self._codec.encode({"too_large": str(error)})
        write_message(self._replies, body)

    def _load(self, request: dict[str, Any]) -> dict[str, Any]:
        self._namespace, errors = load_cells(
            request["cells"], definitions_only=request["definitions_only"]
        )
        if os.getpid() == self._owner:
            self._settle()
        return {"errors": errors[:50]}

    def _supply(self, request: dict[str, Any]) -> dict[str, Any]:
        exec(compile(request["code"], "<supplied>", "exec"), self._namespace)
        return {}

    def _signature(self, request: dict[str, Any]) -> dict[str, Any]:
        reply: dict[str, Any] = self._probes.describe_signature(
            self._namespace.get(request["name"])
        )
        return reply

    def _call(self, request: dict[str, Any]) -> dict[str, Any]:
        answer = self._namespace.get(request["name"])
        try:
            trial = self._probes.run_trial(
                answer, request["probe"], request["inputs"], request["layout"]
            )
        except KeyboardInterrupt as error:  # nobody presses keys here: the code raised it
            trial = self._probes.Trial("raised", error=self._probes.describe_error(error, answer))
        reply: dict[str, Any] = trial.to_wire()
        return reply

    def _branch(self, request: dict[str, Any]) -> dict[str, Any]:
        """Go on in a copy of this process; the trunk waits for its end and says how it ended."""
        if not CAN_BRANCH:
            return {"branched": False}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # threads of the learner's code are not copied
                pid = os.fork()
        except OSError:
            return {"branched": False}
        if pid == 0:
            self._on_branch, self._owner = True, os.getpid()
            return {"branched": True}
        _, status = os.waitpid(pid, 0)
        return {"ended": os.waitstatus_to_exitcode(status)}


def _step_behind() -> Callable[[], None]:
    """Go on in a copy: what a file ends as its parent is this process, and never the judge.

    This process answers one call, waits, and ends as the copy ended; the copy ends with it. What
    is returned makes that call: a process that a file has ended does not answer, and the copy ends
    there, so that the file's fate does not hang on who is faster.
    """
    import ctypes
    import signal
    import socket

    own = os.getpid()
    try:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind("")  # a name that the system makes up and that is no file
        listener.listen(1)
        name, pid = listener.getsockname(), os.fork()
    except OSError:
        return lambda: None
    if pid == 0:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != own:  # it ended in between
            os._exit(1)
        listener.close()

        def settle() -> None:
            try:
                with socket.socket(socket.AF_UNIX) as caller:
                    caller.connect(name)
                    answered = caller.recv(1)
            except OSError:
                answered = b""
            if not answered:
                os.kill(os.getpid(), signal.SIGKILL)

        return settle
    kept = os.dup2(listener.fileno(), 64)
    os.closerange(0, 64)  # the channel is the copy's alone
    listener.detach()
    listener = socket.socket(fileno=kept)
    listener.settimeout(0.02)
    status = None
    while status is None:  # until the copy calls or ends
        try:
            caller, _ = listener.accept()
        except TimeoutError:
            ended, code = os.waitpid(pid, os.WNOHANG)
            status = code if ended else None
        else:
            caller.send(b"!")
            caller.close()
            _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        if -code not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(own, -code)
    os._exit(code if code >= 0 else 1)


def limit_resources(memory_mb: int, cpu_seconds: int) -> None:
    """Cap further memory, processor time, file size and core dumps where the platform can.

    What is loaded already does not count: PyTorch alone maps more than an exercise ever needs.
    """
    try:
        import resource
    except ImportError:  # Windows: the parent's time limit still holds
        return
    for kind, value in (
        (resource.RLIMIT_AS, _mapped_bytes() + memory_mb * 2**20),
        (resource.RLIMIT_CPU, cpu_seconds),  # where the parent was killed and cannot see to it
        (resource.RLIMIT_FSIZE, 16 * 2**20),
        (resource.RLIMIT_CORE, 0),
    ):
        try:
            _, hard = resource.getrlimit(kind)
            resource.setrlimit(kind, (value if hard < 0 else min(value, hard), hard))
        except (ValueError, OSError):  # macOS refuses RLIMIT_AS
            continue


def _mapped_bytes() -> int:
    """Return the size of this process's address space, 0 where it cannot be read."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0


def main(folder: str, memory_mb: int, cpu_seconds: int, preload: list[str]) -> None:
    """Move the channel off standard output, load what is heavy, say so, then serve.

    Args:
        folder: the learner's, for modules of their own.
        memory_mb: cap on what is allocated from now on.
        cpu_seconds: cap on processor time.
        preload: names of packages to import before the first time limit runs.
    """
    requests = os.fdopen(os.dup(0), "rb", buffering=0)
    replies = os.fdopen(os.dup(1), "wb", buffering=0)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)
    from normcourse.checks import codec, probes

    for name in preload:
        try:
            __import__(name)
        except Exception:  # the learner's own import says the same with its line
            continue
    install_shim()
    sys.path.append(folder)
    limit_resources(memory_mb, cpu_seconds)
    gc.freeze()  # what is imported stays, and a branch shares it as long as nobody looks at it
    gc.enable()  # off while the imports ran, which it makes slower
    settle = _step_behind() if CAN_BRANCH else lambda: None
    write_message(replies, b"ready")
    Server(codec, probes, requests, replies, settle).serve()
    os._exit(0)  # threads and exit handlers of the learner's code end here

"""The process in which a learner's code runs: loads cells, answers one call at a time.

It reads messages (:mod:`codec`) from standard input and writes the replies to a descriptor of its
own; what the learner's code prints goes nowhere near it. It holds no reference, no expected value
and no case but the one it is given.

The file stands alone beside ``codec.py`` and ``probes.py``.
"""

from __future__ import annotations

import ast
import linecache
import os
import sys
import types
from typing import Any, BinaryIO

MAX_MESSAGE = 80 * 1024 * 1024


def read_message(stream: BinaryIO) -> bytes | None:
    """Return the next message, or None at the end of the stream."""
    head = stream.read(8)
    if len(head) < 8:
        return None
    length = int.from_bytes(head, "little")
    if length > MAX_MESSAGE:
        return None
    body = stream.read(length)
    return body if len(body) == length else None


def write_message(stream: BinaryIO, body: bytes) -> None:
    """Write one message, its length first."""
    stream.write(len(body).to_bytes(8, "little") + body)
    stream.flush()


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
    for label, code in cells:
        name = f"<{label}>"
        linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)
        for statement in ast.parse(code).body:
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


def install_shim() -> None:
    """Make ``import normcourse`` work with a check and a hint that do nothing."""
    shim = types.ModuleType("normcourse")
    for name in ("check", "hint", "solution", "progress", "reset"):
        setattr(shim, name, lambda *args, **kwargs: None)
    sys.modules["normcourse"] = shim


def serve(codec: Any, probes: Any, requests: BinaryIO, replies: BinaryIO) -> None:
    """Answer load, supply and call messages until the stream ends."""
    namespace: dict[str, Any] = {}
    while (message := read_message(requests)) is not None:
        request = codec.decode(message)
        reply: dict[str, Any]
        match request["do"]:
            case "load":
                namespace, errors = load_cells(
                    request["cells"], definitions_only=request["definitions_only"]
                )
                reply = {"errors": errors[:50]}
            case "supply":
                exec(compile(request["code"], "<supplied>", "exec"), namespace)
                reply = {}
            case "signature":
                answer = namespace.get(request["name"])
                reply = probes.describe_signature(answer)
            case _:
                answer = namespace.get(request["name"])
                trial = probes.run_trial(
                    answer, request["probe"], request["inputs"], request["layout"]
                )
                reply = trial.to_wire()
        try:
            body = codec.encode(reply)
        except codec.CodecError as error:
            body = codec.encode({"too_large": str(error)})
        write_message(replies, body)


def limit_resources(memory_mb: int) -> None:
    """Cap address space, file size and core dumps where the platform can."""
    try:
        import resource
    except ImportError:  # Windows: the parent's time limit still holds
        return
    for kind, value in (
        (resource.RLIMIT_AS, memory_mb * 2**20),
        (resource.RLIMIT_FSIZE, 16 * 2**20),
        (resource.RLIMIT_CORE, 0),
    ):
        try:
            _, hard = resource.getrlimit(kind)
            resource.setrlimit(kind, (value if hard < 0 else min(value, hard), hard))
        except (ValueError, OSError):  # macOS refuses RLIMIT_AS
            continue


def main(memory_mb: int = 4096) -> None:
    """Move the channel off standard output, then serve."""
    requests = os.fdopen(os.dup(0), "rb")
    replies = os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    from normcourse.checks import codec, probes

    install_shim()
    limit_resources(memory_mb)
    serve(codec, probes, requests, replies)
    os._exit(0)  # threads and exit handlers of the learner's code end here


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 4096)

"""The grader's side of the sandbox: what kind there can be, starting one, talking to one answer.

Two kinds, strongest first. ``bubblewrap`` has namespaces of its own for users, processes, network,
mounts and System V objects: nothing of this machine is there but the interpreter, NumPy and an
empty folder. ``confined`` does without namespaces (Landlock, seccomp and limits only) and has to be
asked for by name. Inside either, each answer is a process that has given up what :mod:`confine`
names.

NumPy, and the codec with it, are imported where an answer is talked to: until then the sandbox has
long been started and loads its own.
"""

from __future__ import annotations

import array
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib.util import cache_from_source
from pathlib import Path
from typing import Any

from normcourse.grading import cgroups, machine

START_LIMIT = 120.0
SCRATCH_MB = 32
_HERE = Path(__file__).parent
_ENVIRONMENT = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    "PATH": "/nowhere",
    "HOME": "/scratch",
    "TMPDIR": "/scratch",
    "LANG": "C.UTF-8",
    "MPLBACKEND": "Agg",
}


class NoSandbox(RuntimeError):
    """No sandbox worth the name can be had here; the message says what to do."""


class SandboxLost(RuntimeError):
    """The sandbox itself failed, which says nothing about the answer."""


@dataclass(frozen=True)
class Limits:
    """What one answer may use.

    Args:
        load_seconds: wall clock for running the file's own statements.
        run_seconds: wall clock for all calls of one exercise together.
        memory_mb: memory beyond what is loaded already.
        file_mb: size of one file; the scratch folder as a whole has 32 MB.
        threads: at a time.
        descriptors: open files.
    """

    load_seconds: float = 10.0
    run_seconds: float = 10.0
    memory_mb: int = 2048
    file_mb: int = 16
    threads: int = 32
    descriptors: int = 64

    def inside(self) -> dict[str, int]:
        """Return the limits that the process sets on itself."""
        seconds = int(self.load_seconds + self.run_seconds) + 2  # the wall clock comes first
        return {
            "memory_mb": self.memory_mb,
            "cpu_seconds": seconds,
            "file_mb": self.file_mb,
            "threads": self.threads,
            "descriptors": self.descriptors,
        }


@dataclass(frozen=True)
class Kind:
    """A way to build a sandbox.

    Args:
        name: "bubblewrap" or "confined".
        drop: whether root becomes a spare user inside.
    """

    name: str
    drop: bool

    @property
    def safe(self) -> bool:
        """True where namespaces hide the machine."""
        return self.name == "bubblewrap"

    @property
    def counted(self) -> bool:
        """True where the kernel counts the threads of a user; it does not count root's."""
        return self.drop or os.getuid() != 0

    def __str__(self) -> str:
        return f"{self.name}{', spare user' if self.drop else ''}"


def kinds(*, unsafe: bool = False) -> list[Kind]:
    """Return the kinds that may work here, strongest first."""
    root = hasattr(os, "getuid") and os.getuid() == 0
    found = []
    if shutil.which("bwrap"):
        found += [Kind("bubblewrap", True)] if root else []
        found += [Kind("bubblewrap", False)]
    if unsafe and sys.platform == "linux":
        found += [Kind("confined", True)] if root else []
        found += [Kind("confined", False)]
    return found


class Sandbox:
    """One warm sandbox; its answers come one after the other.

    It is started at once and waited for at its first answer: whoever makes one has that time for
    something else.

    Args:
        kind: how it is built.
        runtime: "numpy" or "torch".
    """

    def __init__(self, kind: Kind, runtime: str = "numpy") -> None:
        self.kind, self.runtime = kind, runtime
        self.worn = False  # what an answer left behind could not be tidied up: use a new one
        self._folder = tempfile.TemporaryDirectory(prefix="normcourse-box-")
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the sandbox
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._group = cgroups.create()
        self._ready = False
        try:
            with theirs:
                self._process = self._start(theirs)
        except BaseException:
            self.close()
            raise

    def cell(self, files: dict[str, bytes], limits: Limits) -> Cell:
        """Return a fresh process with the files in its folder and no rights to speak of.

        Raises:
            SandboxLost: there is none to be had; the message says what came.
        """
        self._await_ready()
        inward, outward = os.pipe(), os.pipe()
        try:
            inside = limits.inside()
            inside["threads"] *= self.kind.counted
            self._order({"serve": {"limits": inside}}, [inward[0], outward[1]])
        except OSError as error:
            for descriptor in (inward[1], outward[0]):
                os.close(descriptor)
            raise SandboxLost(f"the sandbox is gone ({error})") from None
        finally:
            os.close(inward[0])
            os.close(outward[1])
        cell = Cell(self, _Pipes(write=inward[1], read=outward[0]))
        cell.stage(files)
        return cell

    def close(self) -> None:
        """End the sandbox and everything in it."""
        self._control.close()
        process = getattr(self, "_process", None)
        if process is not None:
            process.kill()
            process.wait()
        self._errors.close()
        self._folder.cleanup()
        cgroups.remove(self._group)

    @property
    def in_group(self) -> bool:
        """True where a control group bounds the sandbox as a whole."""
        return bool(self._group)

    def _start(self, theirs: socket.socket) -> subprocess.Popen[bytes]:
        box = Path(self._folder.name)
        box.chmod(0o755)
        _fill(box)
        inside = self.kind.name == "bubblewrap"
        if not inside:
            self._link_packages(box)
            os.chmod(_made(box / "scratch"), 0o777)
        scratch = "/scratch" if inside else str(box / "scratch")
        root = "" if inside else str(box)
        settings = {
            "control": theirs.fileno(),
            "drop": self.kind.drop,
            "own_namespace": inside,
            "path": [f"{root}/box", f"{root}/site"],
            "preload": machine.PRELOAD[self.runtime],
            "environment": {**_ENVIRONMENT, "HOME": scratch, "TMPDIR": scratch},
            "scratch": scratch,
            "readable": self._readable(root),
        }
        words = [
            machine.interpreter(),
            "-I",
            "-S",
            "-B",
            f"{root}/box/normcourse/grading/zygote.py",
        ]
        words.append(json.dumps(settings))
        if inside:
            words = [*_bubblewrap(self.kind, box, self.runtime), *words]
        return subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            pass_fds=[theirs.fileno()],
            env={"PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            cwd="/",
            start_new_session=True,
            preexec_fn=cgroups.entrance(self._group),
        )

    def _link_packages(self, box: Path) -> None:
        site = _made(box / "site")
        for package in machine.packages(self.runtime):
            (site / package.name).symlink_to(package)

    def _readable(self, root: str) -> list[str]:
        own = [f"{root}/box", f"{root}/site", "/dev/urandom"]
        linked = [] if not root else [str(path) for path in machine.packages(self.runtime)]
        return [*machine.system_paths(), *own, *linked]

    def _await_ready(self) -> None:
        """Wait, once, until the warm process has loaded what it needs."""
        if self._ready:
            return
        message = self.hear(START_LIMIT)
        if message is None or "ready" not in message:
            self._errors.seek(0)
            lines = self._errors.read().decode(errors="replace").strip().splitlines()
            raise SandboxLost(lines[-1][:300] if lines else "it ended without a word")
        self._ready = True
        if self.kind.name == "bubblewrap":
            self._folder.cleanup()  # all of it is loaded: a killed grader leaves nothing

    def _order(self, order: dict[str, Any], descriptors: list[int]) -> None:
        extras = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
        self._control.sendmsg([json.dumps(order).encode()], extras if descriptors else [])

    def kill_cell(self) -> None:
        """Have the process of the answer in hand ended."""
        with suppress(OSError):
            self._order({"kill": True}, [])

    def hear(self, limit: float) -> dict[str, Any] | None:
        """Return what the warm process says next, or None if it says nothing in time."""
        self._control.settimeout(limit)
        try:
            data = self._control.recv(65536)
        except OSError:
            return None
        return dict(json.loads(data)) if data else None


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _fill(folder: Path) -> None:
    """Copy the files that stand alone, and none that knows an answer, into ``folder/box``."""
    checks, box = _HERE.parent / "checks", _made(folder / "box")
    package = _made(box / "normcourse")
    inner, own = _made(package / "checks"), _made(package / "grading")
    for name in ("zygote.py", "confine.py", "syscalls.py"):
        _copy(_HERE / name, own)
    for name in ("codec.py", "probes.py", "worker.py"):
        _copy(checks / name, inner)
    for empty in (package, inner, own):
        (empty / "__init__.py").touch()
    if (checks / "torch" / "probes.py").exists():
        torch = _made(inner / "torch")
        (torch / "__init__.py").touch()
        _copy(checks / "torch" / "probes.py", torch)


def _copy(file: Path, folder: Path) -> None:
    """Copy a module, and what it was compiled to, which Python takes if times and sizes agree."""
    shutil.copy2(file, folder / file.name)
    compiled = Path(cache_from_source(str(file)))
    if compiled.exists():
        (folder / compiled.parent.name).mkdir(exist_ok=True)
        shutil.copy(compiled, folder / compiled.parent.name / compiled.name)


def _bubblewrap(kind: Kind, folder: Path, runtime: str) -> list[str]:
    """Return the words that build the namespaces and their files, before the interpreter's own."""
    words = ["bwrap", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"]
    words += ["--unshare-cgroup-try", "--die-with-parent", "--new-session", "--clearenv"]
    words += ["--hostname", "sandbox", "--cap-drop", "ALL", "--setenv", "PYTHONHASHSEED", "0"]
    words += ["--setenv", "OMP_NUM_THREADS", "1", "--setenv", "OPENBLAS_NUM_THREADS", "1"]
    if kind.drop:  # root becomes a spare user inside, and enters a user namespace as that
        words += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    else:
        words += ["--unshare-user", "--uid", "65534", "--gid", "65534"]
    for parent in _parents(machine.system_paths()):
        words += ["--perms", "0755", "--dir", parent]  # else the spare user could not pass
    for path in machine.system_paths():
        words += ["--ro-bind", path, path]
    for name in ("lib", "lib32", "lib64", "libx32"):
        if os.path.islink(f"/{name}"):
            words += ["--symlink", os.readlink(f"/{name}"), f"/{name}"]
        elif os.path.isdir(f"/{name}"):
            words += ["--ro-bind", f"/{name}", f"/{name}"]
    for path in machine.hidden_paths():
        words += ["--tmpfs", path, "--remount-ro", path]
    words += ["--ro-bind", str(folder / "box"), "/box", "--dir", "/site"]
    for package in machine.packages(runtime):
        words += ["--ro-bind", str(package), f"/site/{package.name}"]
    words += ["--perms", "0755", "--dir", "/dev"]
    for device in ("null", "urandom"):
        words += ["--dev-bind", f"/dev/{device}", f"/dev/{device}"]
    words += ["--size", str(SCRATCH_MB * 2**20), "--perms", "0777", "--tmpfs", "/scratch"]
    return [*words, "--remount-ro", "/", "--chdir", "/scratch", "--"]


def _parents(paths: tuple[str, ...]) -> list[str]:
    """Return the folders above the paths, from the top."""
    found = {str(parent) for path in paths for parent in Path(path).parents}
    return sorted(found - {"/"})


@dataclass
class Ended:
    """How an answer's process ended.

    Args:
        code: exit code, or minus the signal.
        killed: whether the grader had it ended.
        peak_kb: most memory it held.
        cpu: processor seconds it took.
    """

    code: int = 0
    killed: bool = False
    peak_kb: int = 0
    cpu: float = 0.0


@dataclass
class _Pipes:
    write: int
    read: int
    closed: bool = field(default=False)

    def __post_init__(self) -> None:
        for descriptor in (self.write, self.read):
            os.set_blocking(descriptor, False)

    def close(self) -> None:
        if not self.closed:
            os.close(self.write)
            os.close(self.read)
            self.closed = True


class Cell:
    """One answer's process, from the grader's side."""

    def __init__(self, sandbox: Sandbox, pipes: _Pipes) -> None:
        self._sandbox, self._pipes = sandbox, pipes
        self.in_force: dict[str, Any] = {}
        self.ended: Ended | None = None

    def stage(self, files: dict[str, bytes]) -> None:
        """Wait for the process, note what is in force, hand it the learner's files."""
        import numpy as np

        from normcourse.checks import codec

        message = self._receive(time.monotonic() + 30.0)
        if message is None:
            raise SandboxLost("the process for an answer did not come up")
        try:
            self.in_force = dict(codec.decode(message))
        except (codec.CodecError, TypeError, ValueError):
            raise SandboxLost("the process for an answer did not report its state") from None
        blobs = {name: np.frombuffer(data, np.uint8) for name, data in files.items()}
        self._send(codec.encode(blobs), time.monotonic() + 30.0)

    def ask(self, request: dict[str, Any], limit: float) -> tuple[Any, str]:
        """Send a request, wait for its reply.

        Returns:
            The reply and "", or None and the reason: "timeout", "ended" or "protocol".
        """
        from normcourse.checks import codec

        deadline = time.monotonic() + limit
        if not self._send(codec.encode(request), deadline):
            return None, self._lost(deadline)
        message = self._receive(deadline)
        if message is None:
            return None, self._lost(deadline)
        try:
            return codec.decode(message), ""
        except codec.CodecError:
            return None, "protocol"

    def end(self) -> Ended:
        """End the process for sure, and say how it ended.

        Raises:
            SandboxLost: the warm process does not answer.
        """
        if self.ended is not None:
            return self.ended
        self._pipes.close()
        message = self._sandbox.hear(0.05)
        if message is None:
            self._sandbox.kill_cell()
            message = self._sandbox.hear(10.0)
        if message is None or "ended" not in message:
            raise SandboxLost("the warm process does not answer")
        self.ended = Ended(
            int(message["ended"]), bool(message["killed"]), message["peak_kb"], message["cpu"]
        )
        self._sandbox.worn = not message["clean"]
        return self.ended

    def _lost(self, deadline: float) -> str:
        return "timeout" if time.monotonic() >= deadline else "ended"

    def _send(self, body: bytes, deadline: float) -> bool:
        left = memoryview(len(body).to_bytes(8, "little") + body)
        while left:
            try:
                left = left[os.write(self._pipes.write, left) :]
            except BlockingIOError:
                if not self._wait(self._pipes.write, select.POLLOUT, deadline):
                    return False
            except OSError:
                return False
        return True

    def _receive(self, deadline: float) -> bytes | None:
        from normcourse.checks import codec

        head = self._read(8, deadline)
        if head is None:
            return None
        size = int.from_bytes(head, "little")
        if size > codec.MAX_BYTES + codec.MAX_HEADER + 64:
            return b""  # decodes to an error
        return self._read(size, deadline)

    def _read(self, size: int, deadline: float) -> bytes | None:
        parts = []
        while size:
            try:
                part = os.read(self._pipes.read, min(size, 2**20))
            except BlockingIOError:
                if not self._wait(self._pipes.read, select.POLLIN, deadline):
                    return None
                continue
            except OSError:
                return None
            if not part:
                return None
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def _wait(self, descriptor: int, event: int, deadline: float) -> bool:
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        poll = select.poll()
        poll.register(descriptor, event)
        return bool(poll.poll(left * 1000))


def settings_of(limits: Limits) -> dict[str, Any]:
    """Return the limits as plain data, for the journal."""
    return asdict(limits)

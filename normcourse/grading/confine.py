"""What a process gives up before it meets a learner's code: files, network, processes, memory.

Three layers, each of which would do for most of what follows: resource limits, Landlock (which
files may be opened, no TCP, no signals to others) and a seccomp filter that knows only the system
calls of :mod:`syscalls`. None needs a privilege, none can be taken back, and each holds for every
thread that the process starts.

The file stands alone (standard library and ``syscalls.py``), since the sandbox carries a copy.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import resource
import struct
from dataclasses import dataclass
from typing import Any

from normcourse.grading import syscalls

_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _PR_SET_NAME, _PR_GET_NAME = 38, 22, 15, 16
_PR_SET_VMA = 0x53564D41  # glibc names its memory areas with it
_CLONE_THREAD = 0x10000
# copies, flags, locks, size of a pipe; not whom a descriptor's signals go to, which may be another
_FCNTLS = (*range(8), 36, 37, 38, 1030, 1032)
_IOCTLS = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)  # terminal? size? bytes waiting? flags


@dataclass(frozen=True)
class Limits:
    """What one process may use.

    Args:
        memory_mb: memory beyond what is loaded when the limit is set.
        cpu_seconds: processor time.
        file_mb: size of one file.
        threads: threads at a time; 0 forbids to start any.
        descriptors: open files.
    """

    memory_mb: int = 2048
    cpu_seconds: int = 30
    file_mb: int = 16
    threads: int = 32
    descriptors: int = 64


def confine(limits: Limits, *, readable: list[str], writable: list[str]) -> dict[str, Any]:
    """Give up everything but the listed paths and the process' own business.

    Args:
        limits: of resources.
        readable: files and folders that may be read.
        writable: folders in which files may be made, changed and removed.

    Returns:
        What is in force: "landlock" (its version, 0 for none), "seccomp" and "threads".
    """
    set_limits(limits)
    _LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    return {
        "landlock": restrict_files(readable, writable),
        "seccomp": filter_calls(threads=limits.threads > 0),
        "threads": limits.threads,
    }


# --- resource limits ------------------------------------------------------------------------


def set_limits(limits: Limits) -> None:
    """Set resource limits, soft and hard."""
    megabyte = 2**20
    values = {
        resource.RLIMIT_AS: mapped_bytes() + limits.memory_mb * megabyte,
        resource.RLIMIT_CPU: limits.cpu_seconds,
        resource.RLIMIT_FSIZE: limits.file_mb * megabyte,
        resource.RLIMIT_NOFILE: limits.descriptors,
        resource.RLIMIT_NPROC: limits.threads + 1,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
    }
    for kind, value in values.items():
        _, hard = resource.getrlimit(kind)
        value = value if hard < 0 else min(value, hard)
        resource.setrlimit(kind, (value, value))


def mapped_bytes() -> int:
    """Return the size of this process's address space, found without /proc.

    The smallest limit under which one more page can be mapped is what is mapped already.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    low, high = 0, 1 << 46
    while high - low > mmap.PAGESIZE:
        middle = (low + high) // 2
        resource.setrlimit(resource.RLIMIT_AS, (middle, hard))
        page = _map_page()
        if page is None:
            low = middle
        else:
            _unmap(page)
            high = middle
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
    return high


_LIBC.mmap.restype = ctypes.c_void_p
_LIBC.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
_LIBC.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]


def _map_page() -> int | None:
    place: int | None = _LIBC.mmap(
        None, mmap.PAGESIZE, mmap.PROT_READ, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0
    )
    return None if place in (None, ctypes.c_void_p(-1).value) else place


def _unmap(place: int) -> None:
    _LIBC.munmap(place, mmap.PAGESIZE)


# --- Landlock -------------------------------------------------------------------------------

_CREATE, _ADD, _RESTRICT = 444, 445, 446  # the same on every architecture
_WRITE, _READ, _READ_DIR = 1 << 1, 1 << 2, 1 << 3
_REMOVE_DIR, _REMOVE_FILE, _MAKE_DIR, _MAKE_FILE = 1 << 4, 1 << 5, 1 << 7, 1 << 8
_TRUNCATE = 1 << 14
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}  # number of file rights by version; 16 from 5 on
_TCP, _SCOPES = 0b11, 0b11  # bind and connect; abstract sockets and signals


def landlock_version() -> int:
    """Return the version of Landlock that the kernel offers, 0 for none."""
    return max(0, int(_LIBC.syscall(_CREATE, None, ctypes.c_size_t(0), 1)))


def restrict_files(readable: list[str], writable: list[str]) -> int:
    """Allow reading and writing below the listed paths alone; return Landlock's version or 0."""
    version = landlock_version()
    if not version:
        return 0
    handled = (1 << _FILE_RIGHTS.get(version, 16)) - 1
    net = _TCP if version >= 4 else 0
    scoped = _SCOPES if version >= 6 else 0
    attributes = struct.pack("=QQQ", handled, net, scoped)
    size = 8 if version < 4 else 16 if version < 6 else 24
    ruleset = _LIBC.syscall(_CREATE, attributes[:size], ctypes.c_size_t(size), 0)
    if ruleset < 0:
        return 0
    write = _READ | _READ_DIR | _WRITE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_FILE
    write |= _TRUNCATE
    for path in readable:
        _allow(ruleset, path, _READ | _READ_DIR, handled)
    for path in writable:
        _allow(ruleset, path, write, handled)
    done = _LIBC.syscall(_RESTRICT, ruleset, 0)
    os.close(ruleset)
    return version if done == 0 else 0


def _allow(ruleset: int, path: str, rights: int, handled: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # what is not there need not be allowed
    if not os.path.isdir(path):
        rights &= _READ | _WRITE | _TRUNCATE
    rule = struct.pack("=Qi", rights & handled, place)
    _LIBC.syscall(_ADD, ruleset, 1, rule, 0)
    os.close(place)


# --- seccomp --------------------------------------------------------------------------------

_LOAD, _EQUAL, _SET, _RETURN = 0x20, 0x15, 0x45, 0x06
_AT_LEAST = 0x35
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_DENY, _UNKNOWN = _ERRNO | errno.EPERM, _ERRNO | errno.ENOSYS
_RECENT = 424  # calls from here on are new: libraries try them and know what ENOSYS means

Instruction = tuple[int, int, int, int]


def filter_calls(*, threads: bool) -> bool:
    """Refuse every system call that is not on the list; say whether the filter is in force."""
    architecture = syscalls.machine()
    if architecture is None:
        return False
    program = filter_program(architecture, os.getpid(), threads=threads)
    packed = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(packed, len(packed))

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))

    wanted = Program(len(program), ctypes.addressof(buffer))
    mode_filter = 2
    return bool(_LIBC.prctl(_PR_SET_SECCOMP, mode_filter, ctypes.byref(wanted), 0, 0) == 0)


def filter_program(architecture: str, own: int, *, threads: bool) -> list[Instruction]:
    """Return the filter as instructions of the kernel's small packet-filter machine.

    Args:
        architecture: "x86_64" or "aarch64".
        own: id of the process, the only one that it may signal.
        threads: whether threads may be started; processes never.
    """
    numbers = syscalls.guarded(architecture)
    program: list[Instruction] = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, syscalls.AUDIT_ARCH[architecture]),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
    ]
    for number in syscalls.allowed(architecture):
        program += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ALLOW)]
    if threads:
        program += _guard(numbers["clone"], 0, [], flag=_CLONE_THREAD)
    program += [(_EQUAL, 0, 1, numbers["clone3"]), (_RETURN, 0, 0, _UNKNOWN)]
    for name, argument, values in (
        ("kill", 0, (own,)),
        ("tgkill", 0, (own,)),
        ("prlimit64", 0, (0, own)),
        ("prctl", 0, (_PR_SET_NAME, _PR_GET_NAME, _PR_SET_VMA)),
        ("fcntl", 1, _FCNTLS),
        ("ioctl", 1, _IOCTLS),
    ):
        program += _guard(numbers[name], argument, list(values))
    program += [
        (_AT_LEAST, 0, 1, _RECENT),
        (_RETURN, 0, 0, _UNKNOWN),
        (_RETURN, 0, 0, _DENY),
    ]
    return program


def _guard(number: int, argument: int, values: list[int], *, flag: int = 0) -> list[Instruction]:
    """Allow one call if the low half of an argument is one of the values or has the flag set."""
    tests: list[Instruction] = [(_LOAD, 0, 0, _ARGUMENTS + 8 * argument)]
    for value in values:
        tests += [(_EQUAL, 0, 1, value), (_RETURN, 0, 0, _ALLOW)]
    if flag:
        tests += [(_SET, 0, 1, flag), (_RETURN, 0, 0, _ALLOW)]
    tests += [(_RETURN, 0, 0, _DENY)]
    return [(_EQUAL, 0, len(tests), number), *tests]

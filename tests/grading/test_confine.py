"""The seccomp filter, run instruction by instruction as the kernel would, on both architectures."""

from __future__ import annotations

import doctest
import importlib
import struct
import subprocess
import sys
from pathlib import Path

import pytest

import normcourse.grading as package

if sys.platform != "linux":
    pytest.skip("Linux alone has seccomp and Landlock", allow_module_level=True)

from normcourse.grading import confine, syscalls

ALLOW, EPERM, ENOSYS, KILL = 0x7FFF0000, 0x00050001, 0x00050026, 0x80000000
OWN = 4321
MODULES = sorted(
    f"{package.__name__}.{path.relative_to(Path(package.__path__[0])).with_suffix('')}".replace(
        "/", "."
    )
    for path in Path(package.__path__[0]).rglob("*.py")
    if path.stem not in ("__init__", "zygote")
)


def answer(
    architecture: str, number: int, *arguments: int, threads: bool = True, audit: int | None = None
) -> int:
    """Return what the filter says to one system call."""
    audit = syscalls.AUDIT_ARCH[architecture] if audit is None else audit
    padded = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("=IIQ6Q", number, audit, 0, *(a % 2**64 for a in padded))
    program = confine.filter_program(architecture, OWN, threads=threads)
    place, loaded = 0, 0
    while True:
        code, if_true, if_false, value = program[place]
        place += 1
        if code == 0x06:
            return value
        if code == 0x20:
            (loaded,) = struct.unpack_from("=I", data, value)
            continue
        holds = {0x15: loaded == value, 0x45: bool(loaded & value), 0x35: loaded >= value}[code]
        place += if_true if holds else if_false


@pytest.mark.parametrize("architecture", ["x86_64", "aarch64"])
def test_what_the_filter_lets_through(architecture: str) -> None:
    for number in syscalls.allowed(architecture):
        assert answer(architecture, number) == ALLOW
    special = syscalls.guarded(architecture)
    allowed = {
        "clone": (0x10F00,),
        "kill": (OWN,),
        "tgkill": (OWN,),
        "prctl": (15,),
        "prlimit64": (0,),
        "fcntl": (1, 3),
        "ioctl": (1, 0x5401),
    }
    denied = {
        "clone": (17,),
        "kill": (-1,),
        "tgkill": (1,),
        "prctl": (22,),
        "prlimit64": (1,),
        "fcntl": (1, 8, 1),  # has another process be sent a descriptor's signals
        "ioctl": (1, 0x5412),  # puts characters into a terminal's input
    }
    for name, arguments in allowed.items():
        assert answer(architecture, special[name], *arguments) == ALLOW, name
    for name, arguments in denied.items():
        assert answer(architecture, special[name], *arguments) == EPERM, name
    assert answer(architecture, special["clone"], 0x10F00, threads=False) == EPERM
    assert answer(architecture, special["clone3"]) == ENOSYS
    for command in (10, 15, 1024, 1026):  # which signal, to whom again, leases, notices
        assert answer(architecture, special["fcntl"], 1, command) == EPERM
    assert answer(architecture, 0, audit=0x40000003) == KILL  # 32-bit calls
    assert answer(architecture, 0x40000000 + 59) == ENOSYS  # the same calls by x32's numbers


@pytest.mark.parametrize(
    ("architecture", "names"),
    [
        (
            "x86_64",
            {"socket": 41, "connect": 42, "fork": 57, "vfork": 58, "execve": 59, "ptrace": 101}
            | {"unshare": 272, "mount": 165, "process_vm_writev": 311, "memfd_create": 319}
            | {"bpf": 321, "execveat": 322, "userfaultfd": 323, "chmod": 90, "symlink": 88}
            | {"shmget": 29, "setuid": 105, "keyctl": 250, "perf_event_open": 298},
        ),
        (
            "aarch64",
            {"socket": 198, "connect": 203, "execve": 221, "ptrace": 117, "unshare": 97}
            | {"mount": 40, "process_vm_writev": 271, "memfd_create": 279, "bpf": 280}
            | {"execveat": 281, "userfaultfd": 282, "fchmodat": 53, "setuid": 146, "keyctl": 219},
        ),
    ],
)
def test_what_the_filter_refuses(architecture: str, names: dict[str, int]) -> None:
    for name, number in names.items():
        assert answer(architecture, number) == EPERM, name
    for recent in (425, 434, 437, 441, 449, 462):  # io_uring, pidfd_open, openat2 and what follows
        expected = ALLOW if recent in syscalls.allowed(architecture) else ENOSYS
        assert answer(architecture, recent) == expected
    assert answer(architecture, 425) == ENOSYS


def test_the_address_space_is_measured_without_proc() -> None:
    """Within a few pages of what /proc says; in a process of its own, limits are not given back."""
    code = (
        "from normcourse.grading.confine import mapped_bytes\nimport os\n"
        "said = int(open('/proc/self/statm').read().split()[0]) * os.sysconf('SC_PAGE_SIZE')\n"
        "print(abs(mapped_bytes() - said))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 2**20


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name: str) -> None:
    results = doctest.testmod(importlib.import_module(name))
    assert results.failed == 0

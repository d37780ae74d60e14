"""The system calls that a learner's process may make, with their numbers, and nothing else.

A list of what is allowed, not of what is forbidden: a call that a new kernel brings is refused
until somebody writes it down here. Each entry is a name with its number on x86_64 and on aarch64
("-" where the architecture has no such call), from the kernel's own headers.

The file stands alone (standard library), since the sandbox carries a copy.
"""

from __future__ import annotations

import platform

_ALLOWED = """
# files that are open, and opening those that Landlock allows
read 0 63, write 1 64, readv 19 65, writev 20 66, pread64 17 67, pwrite64 18 68, close 3 57,
close_range 436 436, lseek 8 62, fstat 5 80, stat 4 -, lstat 6 -, newfstatat 262 79,
statx 332 291, access 21 -, faccessat 269 48, faccessat2 439 439, open 2 -, openat 257 56,
readlink 89 -, readlinkat 267 78, getcwd 79 17, chdir 80 49, fchdir 81 50, getdents 78 -,
getdents64 217 61, mkdir 83 -, mkdirat 258 34, rmdir 84 -, unlink 87 -, unlinkat 263 35,
rename 82 -, renameat 264 38, renameat2 316 276, ftruncate 77 46, truncate 76 45,
fsync 74 82, fdatasync 75 83, fallocate 285 47, dup 32 23, dup2 33 -, dup3 292 24,
pipe 22 -, pipe2 293 59, flock 73 32, poll 7 -, ppoll 271 73, select 23 -,
pselect6 270 72, epoll_create1 291 20, epoll_ctl 233 21, epoll_wait 232 -,
epoll_pwait 281 22, eventfd2 290 19, copy_file_range 326 285, sendfile 40 71, statfs 137 43,
fstatfs 138 44, umask 95 166, fadvise64 221 223
# its own memory
mmap 9 222, munmap 11 215, mprotect 10 226, mremap 25 216, madvise 28 233, brk 12 214,
msync 26 227, mincore 27 232
# its own threads, their locks and their end
futex 202 98, set_robust_list 273 99, get_robust_list 274 100, rseq 334 293,
set_tid_address 218 96, exit 60 93, exit_group 231 94, membarrier 324 283,
restart_syscall 219 128, sched_yield 24 124, sched_getaffinity 204 123,
sched_getparam 143 121, sched_getscheduler 145 120, sched_get_priority_max 146 125,
sched_get_priority_min 147 126
# its own signals and clocks
rt_sigaction 13 134, rt_sigprocmask 14 135, rt_sigreturn 15 139, rt_sigpending 127 136,
rt_sigtimedwait 128 137, rt_sigsuspend 130 133, sigaltstack 131 132, alarm 37 -,
setitimer 38 103, getitimer 36 102, pause 34 -, nanosleep 35 101, clock_nanosleep 230 115,
clock_gettime 228 113, clock_getres 229 114, gettimeofday 96 169, time 201 -, times 100 153
# who and where it is
getpid 39 172, getppid 110 173, gettid 186 178, getuid 102 174, geteuid 107 175,
getgid 104 176, getegid 108 177, getgroups 115 158, getresuid 118 148, getresgid 120 150,
getpgrp 111 -, getpgid 121 155, getsid 124 156, getrlimit 97 163, getrusage 98 165,
sysinfo 99 179, uname 63 160, getrandom 318 278, getcpu 309 168, getpriority 140 141,
arch_prctl 158 -
"""
# Allowed with certain arguments alone; ``confine.py`` says which.
_GUARDED = """
clone 56 220, clone3 435 435, fcntl 72 25, ioctl 16 29, kill 62 129, prctl 157 167,
prlimit64 302 261, tgkill 234 131
"""
_COLUMN = {"x86_64": 1, "aarch64": 2}
AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}


def machine() -> str | None:
    """Return the name of the architecture if its numbers are known, else None."""
    name = platform.machine()
    return name if name in _COLUMN else None


def allowed(architecture: str) -> list[int]:
    """Return the numbers of the calls that are always allowed, in order.

    Example:
        >>> allowed("x86_64")[:3], 41 in allowed("x86_64")  # read, write, open; no socket
        ([0, 1, 2], False)
    """
    return sorted(_numbers(_ALLOWED, architecture).values())


def guarded(architecture: str) -> dict[str, int]:
    """Return the numbers of the calls whose arguments are looked at.

    Example:
        >>> guarded("aarch64")["clone"]
        220
    """
    return _numbers(_GUARDED, architecture)


def _numbers(table: str, architecture: str) -> dict[str, int]:
    lines = [line for line in table.splitlines() if not line.startswith("#")]
    words = " ".join(lines).replace(",", " ").split()
    rows = [words[n : n + 3] for n in range(0, len(words), 3)]
    column = _COLUMN[architecture]
    return {row[0]: int(row[column]) for row in rows if row[column] != "-"}

"""Reading what learners handed in: folders and zip files, nothing followed, everything bounded.

A submission folder holds, for each learner, a file (``alice.ipynb``), a folder (``alice/…``) or a
zip file; folders named ``attempt…`` or by a date inside a learner's folder are attempts. The names
that Canvas, Moodle and Gradescope give to downloads are understood. Links, devices, paths that
climb out, and files beyond the limits are left where they are, and said.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import time
import zipfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from normcourse.checks.letters import cleaned
from normcourse.grading import zips
from normcourse.grading.zips import Archives, open_regular

MEGABYTE = 2**20
MAX_CODE = 16 * MEGABYTE  # a notebook with its pictures
MAX_HELPER = 2 * MEGABYTE
MAX_TOTAL = 32 * MEGABYTE
MAX_FILES = 100
MAX_ENTRIES = 2000  # looked at in one learner's folder or zip file
MAX_PROBLEMS = 30  # told of one submission
_CODE = (".ipynb", ".py")
_PASSED_OVER = {"__pycache__", "__MACOSX", "node_modules", "venv", "site-packages"}
_ATTEMPT = re.compile(r"^(?:attempt\W?.*|\d{4}-\d\d-\d\d.*)$", re.IGNORECASE)
_DATE = re.compile(r"(\d{4}-\d\d-\d\d)(?:[T_ ](\d\d)[-:](\d\d)(?:[-:](\d\d))?)?")
_CANVAS = re.compile(r"^(?P<name>[^_]+)_(?P<late>LATE_)?(?P<id>\d+)_\d+_(?P<file>.+)$")
_MOODLE = re.compile(r"^(?P<name>.+)_(?P<id>\d+)_assignsubmission_(?:file|onlinetext)_?$")


class BadSubmissions(ValueError):
    """There is nothing here that could be graded; the message says what is expected."""


@dataclass(frozen=True)
class Entry:
    """One file that was handed in.

    Args:
        name: path inside the submission, with "/".
        place: file on disk, or the zip file that holds it.
        member: name inside the zip file, or empty.
        size: bytes, as the folder or the zip file says.
        modified: seconds since 1970.
    """

    name: str
    place: Path
    member: str
    size: int
    modified: float


@dataclass(frozen=True)
class Submission:
    """What one learner handed in at one time.

    Args:
        learner: who, as files, folders or the roster name them; unique.
        attempt: name of the attempt, empty where there is one.
        files: contents by path; code and helper files.
        problems: what was left out, in words.
        submitted: seconds since 1970.
        marked_late: whether the platform's file name says that it came late.
    """

    learner: str
    attempt: str
    files: dict[str, bytes]
    problems: tuple[str, ...] = ()
    submitted: float = 0.0
    marked_late: bool = False

    @property
    def digest(self) -> str:
        """Hash of the files' names and contents; equal submissions have equal digests."""
        total = hashlib.sha256()
        for name in sorted(self.files):
            for part in (name.encode("utf-8", "surrogateescape"), self.files[name]):
                total.update(hashlib.sha256(part).digest())
        return total.hexdigest()


@dataclass
class Handed:
    """One attempt before its files are read.

    Args:
        learner: who.
        attempt: which.
        entries: its files.
        problems: what was left out so far.
        marked_late: see :class:`Submission`.
    """

    learner: str
    attempt: str = ""
    entries: list[Entry] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    marked_late: bool = False

    def read(self, archives: Archives | None = None) -> Submission:
        """Read the files within the limits.

        Args:
            archives: where zip files stay open between one submission and the next.
        """
        if archives is None:
            with closing(Archives()) as own:
                return self.read(own)
        files: dict[str, bytes] = {}
        problems = list(self.problems)
        room, newest = MAX_TOTAL, 0.0
        code_first = sorted(self.entries, key=lambda e: (not _is_code(e.name), e.name))
        if len(code_first) > MAX_FILES:
            problems.append(f"{len(code_first) - MAX_FILES} files too many were left out")
        for entry in code_first[:MAX_FILES]:
            limit = min(MAX_CODE if _is_code(entry.name) else MAX_HELPER, room)
            data, problem = _read(entry, limit, archives)
            name = _own_name(entry.name)
            if data is None or name in files:
                problems.append(f"{name}: {problem or 'a second file of this name'}")
                continue
            files[name] = data
            room -= len(data)
            newest = max(newest, entry.modified if _is_code(entry.name) else 0.0)
        if len(problems) > MAX_PROBLEMS:
            problems[MAX_PROBLEMS:] = [f"and {len(problems) - MAX_PROBLEMS} problems more"]
        submitted = date_in(self.attempt) or newest
        return Submission(
            self.learner, self.attempt, files, tuple(problems), submitted, self.marked_late
        )


def find(path: Path, *, single: str = "") -> list[Handed]:
    """Return what was handed in, one item per learner and attempt, in order of their names.

    Args:
        path: a folder, a zip file, or one notebook or Python file.
        single: name of the learner to whom everything belongs; empty where there are many.

    Raises:
        BadSubmissions: nothing is there, or nothing that can be read.
    """
    if not path.exists():
        raise BadSubmissions(f"{path}: no such file or folder.")
    if path.is_file() and path.suffix.lower() in _CODE:
        handed = Handed(single or legible(path.stem))
        handed.entries.append(_entry(path, path.name))
        return [handed]
    if path.is_file():
        if not zipfile.is_zipfile(path):
            raise BadSubmissions(
                f"{path}: expected a folder, a zip file, a notebook or a .py file."
            )
        problems: list[str] = []
        entries = list(_zip_entries(path, "", problems, 100 * MAX_ENTRIES))
    else:
        problems = []
        entries = list(_walk(path, problems, depth=0 if single else -1))
    one = bool(single)
    found = _attempts(single, entries, problems) if one else _by_learner(path, entries, problems)
    if not found:
        raise BadSubmissions(
            f"{path}: no submissions. Expected a folder or zip file per learner, or files such as "
            "alice.ipynb."
        )
    return sorted(found, key=lambda handed: (handed.learner, handed.attempt))


def _by_learner(path: Path, entries: list[Entry], problems: list[str]) -> list[Handed]:
    groups: dict[str, list[Entry]] = {}
    for entry in _without_common_folder(entries):
        groups.setdefault(PurePosixPath(entry.name).parts[0], []).append(entry)
    said = _problems_by_first_part(problems)
    learners: dict[str, tuple[list[Entry], list[str], bool]] = {}
    for top in sorted(groups.keys() | said.keys()):
        name, late, prefix = _whose(top)
        held, wrong, was_late = learners.setdefault(name, ([], [], False))
        for entry in groups.get(top, []):
            held += _expanded(_renamed(entry, top, prefix), wrong)
        wrong += said.get(top, [])
        learners[name] = (held, wrong, was_late or late)
    found: list[Handed] = []
    for name, (held, wrong, late) in learners.items():
        attempts = _attempts(name, held, wrong)
        for handed in attempts:
            handed.marked_late = late
        found += attempts
    return found


def _whose(top: str) -> tuple[str, bool, str]:
    """Return the learner that a top-level name stands for, lateness, and the file's own name."""
    canvas, moodle = _CANVAS.match(top), _MOODLE.match(top)
    if canvas:
        return legible(f"{canvas['name']}_{canvas['id']}"), bool(canvas["late"]), canvas["file"]
    if moodle:
        return legible(f"{moodle['name']}_{moodle['id']}"), False, ""
    suffix = PurePosixPath(top).suffix.lower()
    if suffix in (*_CODE, ".zip"):
        return legible(PurePosixPath(top).stem), False, top
    return legible(top), False, ""


def _renamed(entry: Entry, top: str, own: str) -> Entry:
    """Return the entry with its path inside the learner's submission."""
    inner = "/".join(PurePosixPath(entry.name).parts[1:])
    return Entry(inner or own or top, entry.place, entry.member, entry.size, entry.modified)


def _expanded(entry: Entry, problems: list[str]) -> list[Entry]:
    """Return an entry, or what a zip file handed in as a submission holds."""
    if not entry.name.lower().endswith(".zip") or entry.member:
        return [entry]
    return list(_zip_entries(entry.place, "", problems))


def _attempts(learner: str, entries: list[Entry], problems: list[str]) -> list[Handed]:
    """Divide a learner's files by attempt; those outside any attempt are one of their own."""
    found: dict[str, Handed] = {}
    for entry in entries:
        first, *rest = PurePosixPath(entry.name).parts
        attempt = first if rest and _ATTEMPT.match(first) else ""
        inner = "/".join(rest) if attempt else entry.name
        handed = found.setdefault(attempt, Handed(learner, legible(attempt)))
        handed.entries.append(Entry(inner, entry.place, entry.member, entry.size, entry.modified))
    if not any(_is_code(e.name) for handed in found.values() for e in handed.entries):
        return [Handed(learner, "", [], problems)]
    attempts = [h for h in found.values() if any(_is_code(e.name) for e in h.entries)]
    attempts[0].problems += problems
    return attempts


def _without_common_folder(entries: list[Entry]) -> list[Entry]:
    """Drop a single folder around everything, which zipping a folder makes."""
    parts = [PurePosixPath(entry.name).parts for entry in entries]
    from_zip = bool(entries) and all(entry.member for entry in entries)
    if not from_zip or len({p[0] for p in parts}) != 1 or min(map(len, parts)) < 3:
        return entries
    return [
        Entry("/".join(p[1:]), e.place, e.member, e.size, e.modified)
        for e, p in zip(entries, parts, strict=True)
    ]


def _problems_by_first_part(problems: list[str]) -> dict[str, list[str]]:
    """Give each learner the problems of their own files: a problem begins with its path."""
    found: dict[str, list[str]] = {}
    for problem in problems:
        top = problem.partition(": ")[0].split("/")[0]
        found.setdefault(top, []).append(problem)
    return found


def _walk(folder: Path, problems: list[str], *, depth: int, inside: str = "") -> Iterator[Entry]:
    """Yield the regular files below a folder; links are not followed and nothing is opened."""
    budget = [MAX_ENTRIES]
    with os.scandir(folder) as listing:
        ordered = sorted(listing, key=lambda entry: entry.name)
    for entry in ordered:
        if depth < 0:
            budget[0] = MAX_ENTRIES  # anew for every learner
        yield from _walk_entry(entry, inside, problems, depth + 1, budget)


def _walk_entry(
    entry: os.DirEntry[str], inside: str, problems: list[str], depth: int, budget: list[int]
) -> Iterator[Entry]:
    name = f"{inside}{entry.name}"
    budget[0] -= 1
    if entry.name.startswith(".") or entry.name in _PASSED_OVER:
        return
    if budget[0] < 0 or depth > 12:
        if budget[0] == -1:
            problems.append(f"{name}: too many files, the rest was left out")
        return
    try:
        found = entry.stat(follow_symlinks=False)
        if stat.S_ISDIR(found.st_mode):
            with os.scandir(entry.path) as listing:
                inner = sorted(listing, key=lambda e: e.name)
            for one in inner:
                yield from _walk_entry(one, f"{name}/", problems, depth + 1, budget)
            return
    except OSError as error:
        problems.append(f"{name}: cannot be read ({error.strerror})")
        return
    if not stat.S_ISREG(found.st_mode):
        kind = "a link" if stat.S_ISLNK(found.st_mode) else "not a regular file"
        problems.append(f"{name}: {kind}, left out")
        return
    yield Entry(name, Path(entry.path), "", found.st_size, found.st_mtime)


def _zip_entries(
    path: Path, inside: str, problems: list[str], most: int = MAX_ENTRIES
) -> Iterator[Entry]:
    """Yield the files that a zip file says it holds, with safe names; nothing is unpacked."""
    try:
        members = zips.members(path)
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        problems.append(f"{inside or path.name}: not a zip file that can be read ({error})")
        return
    if len(members) > most:
        problems.append(f"{inside or path.name}: a zip file with {len(members)} entries, left out")
        return
    for member in members:
        name = member.filename
        if member.is_dir():
            continue
        parts = PurePosixPath(name).parts
        if name.startswith(("/", "\\")) or ".." in parts or "\\" in name or ":" in name:
            problems.append(f"{name}: a path that leads out of the zip file, left out")
            continue
        if stat.S_ISLNK(member.external_attr >> 16):
            problems.append(f"{name}: a link, left out")
            continue
        if not parts or any(p.startswith(".") or p in _PASSED_OVER for p in parts):
            continue
        when = time.mktime((*member.date_time, 0, 0, -1)) if member.date_time[1] else 0.0
        yield Entry("/".join(parts), path, name, member.file_size, when)


def _read(entry: Entry, limit: int, archives: Archives) -> tuple[bytes | None, str]:
    """Return at most ``limit`` bytes of a file, or None and the reason."""
    too_large = f"larger than {limit // MEGABYTE} MB, left out"
    if entry.size > limit:
        return None, too_large
    try:
        if entry.member:  # a bomb is cut at the limit
            data = archives.read(entry.place, entry.member, limit + 1)
        else:
            with open_regular(entry.place) as stream:
                data = stream.read(limit + 1)
    except (OSError, zipfile.BadZipFile, ValueError, RuntimeError, EOFError, KeyError) as error:
        return None, f"cannot be read ({type(error).__name__})"
    except Exception as error:  # zlib.error, lzma and whatever a codec invents
        return None, f"cannot be unpacked ({type(error).__name__})"
    return (None, too_large) if len(data) > limit else (data, "")


def _entry(path: Path, name: str) -> Entry:
    found = path.stat()
    return Entry(name, path, "", found.st_size, found.st_mtime)


def _own_name(name: str) -> str:
    """Return a file's path with parts that can be shown and stored."""
    path = PurePosixPath(*map(legible, PurePosixPath(name).parts))
    suffix = PurePosixPath(name).suffix.lower()
    if len(str(path)) > 160 or (suffix in _CODE and path.suffix.lower() != suffix):
        return f"file-{hashlib.sha256(os.fsencode(name)).hexdigest()[:12]}{suffix[:8]}"
    return str(path)


def _is_code(name: str) -> bool:
    return name.lower().endswith(_CODE)


def legible(name: str) -> str:
    """Return a name that can be shown and stored; one that had to change keeps a mark of its own.

    Example:
        >>> legible("alice"), legible("bad\\nname")
        ('alice', 'badname~594521c7')
    """
    raw = name.encode("utf-8", "surrogateescape")
    text = cleaned(raw.decode("utf-8", "replace")).replace("\t", "").replace("\n", "")[:120]
    text = text.replace("\r", "").strip()
    if text == name:
        return name
    return f"{text}~{hashlib.sha256(raw).hexdigest()[:8]}"


def date_in(text: str) -> float:
    """Return the time that a name states, in seconds since 1970 (UTC), 0 where it states none.

    Example:
        >>> date_in("2026-11-21T18-30")
        1795285800.0
    """
    match = _DATE.search(text)
    if match is None:
        return 0.0
    day, hour, minute, second = match.groups()
    clock = f"{hour or '00'}:{minute or '00'}:{second or '00'}"
    try:
        return datetime.fromisoformat(f"{day}T{clock}").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return 0.0

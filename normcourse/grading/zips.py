"""Zip files that strangers made: what they hold, and one file of it, within bounds."""

from __future__ import annotations

import io
import os
import stat
import zipfile
from pathlib import Path

MAX_LIST = 32 * 2**20  # bytes of a zip file's list of what it holds; zipfile reads it at once


class _ShortList(io.FileIO):
    """A zip file whose list of what it holds may not be longer than memory is worth."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > MAX_LIST:
            raise zipfile.BadZipFile(f"its list of files takes more than {MAX_LIST // 2**20} MB")
        return super().read(size)


def open_regular(path: Path, opened: type[io.FileIO] = io.FileIO) -> io.FileIO:
    """Open a regular file that is no link, without ever waiting for one that is a pipe.

    Raises:
        OSError: it is something else.
    """
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    descriptor = os.open(path, flags)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError("not a regular file")
    return opened(descriptor)


def members(path: Path) -> list[zipfile.ZipInfo]:
    """Return what a zip file says it holds.

    Raises:
        OSError, zipfile.BadZipFile, ValueError, NotImplementedError: it cannot be read.
    """
    with open_regular(path, _ShortList) as stream, zipfile.ZipFile(stream) as archive:
        return archive.infolist()


class Archives:
    """Zip files for reading; the last one stays open, so that a class in one has it listed once."""

    def __init__(self) -> None:
        self._mark: tuple[object, ...] = ()
        self._stream: io.FileIO | None = None
        self._archive: zipfile.ZipFile | None = None

    def read(self, path: Path, member: str, limit: int) -> bytes:
        """Return at most ``limit`` bytes of a file in a zip file, whatever its header says."""
        with self._open(path).open(member) as file:
            return file.read(limit)

    def close(self) -> None:
        """Let the last one go."""
        if self._archive is not None:
            self._archive.close()
        if self._stream is not None:
            self._stream.close()
        self._mark, self._stream, self._archive = (), None, None

    def _open(self, path: Path) -> zipfile.ZipFile:
        found = os.stat(path, follow_symlinks=False)
        mark = (path, found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size)
        if self._archive is None or mark != self._mark:
            self.close()
            self._stream = open_regular(path, _ShortList)
            self._archive = zipfile.ZipFile(self._stream)
            self._mark = mark
        return self._archive

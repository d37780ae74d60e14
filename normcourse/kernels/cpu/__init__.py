"""Kernels for the CPU, compiled by Numba: loops over rows, groups and columns, on all threads.

The loops are in :mod:`.rows`, :mod:`.groups`, :mod:`.planes` and :mod:`.columns`; :mod:`.engine`
hands them tensors without copying. Importing this package imports Numba.

Compiled code is kept between runs. Numba looks only at the file of the function itself to see
whether it is still fresh, but the loops are inlined from file to file; so the folder of what is
kept carries the checksum of all of them.
"""

from __future__ import annotations

import zlib
from pathlib import Path

from numba import config

_HERE = Path(__file__).parent


def _checksum() -> str:
    sources = sorted(path.read_bytes() for path in _HERE.glob("*.py"))
    return f"{zlib.crc32(b''.join(sources)):08x}"


_before = config.CACHE_DIR
_base = Path(_before) if _before else _HERE / "__pycache__"
config.CACHE_DIR = str(_base / f"numba-{_checksum()}")
try:
    from normcourse.kernels.cpu import columns, groups, planes, rows
finally:
    config.CACHE_DIR = _before

__all__ = ["columns", "groups", "planes", "rows"]

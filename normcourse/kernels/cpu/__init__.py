"""Kernels for the CPU, compiled by Numba: loops over rows, groups and columns, on all threads.

The loops are in :mod:`.rows`, :mod:`.groups`, :mod:`.planes` and :mod:`.columns`; :mod:`.engine`
hands them tensors without copying. Importing this package imports Numba. Compiled code is kept
between runs.
"""

from __future__ import annotations

from normcourse.kernels.cpu.compiled import kept

with kept():
    from normcourse.kernels.cpu import columns, groups, planes, rows

__all__ = ["columns", "groups", "planes", "rows"]

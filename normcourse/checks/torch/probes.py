"""What runs beside a PyTorch answer: arrays in, named arrays out; modules are made in here.

The file stands alone (standard library, NumPy and torch).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

PROBES: dict[str, Callable[[Any, dict[str, Any]], Any]] = {}

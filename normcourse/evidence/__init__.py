"""What is claimed about normalization, and what the experiments say.

``claims.toml`` holds the claims, ``results/`` what was measured; :mod:`ledger` puts the two
together, and ``normcourse evidence`` runs, lists and shows them. What needs PyTorch is loaded when
it is asked for, so that the command line stays light.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from normcourse.evidence.records import has_record, recorded, run_full

__all__ = ["has_record", "recorded", "run_full"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from normcourse.evidence import records

    return getattr(records, name)

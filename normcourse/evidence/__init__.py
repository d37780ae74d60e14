"""What is claimed about normalization, and what the experiments say."""

from __future__ import annotations

from normcourse.evidence.records import has_record, recorded, run_full

__all__ = ["has_record", "recorded", "run_full"]

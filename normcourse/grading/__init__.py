"""Grading submissions that nobody has looked at: sandbox, batch, reports."""

from __future__ import annotations

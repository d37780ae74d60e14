"""Tests of the NumPy references: one set of questions, asked of every row of the registry."""

"""Exercises in PyTorch: loaded when they are asked for, not part of the browser's package."""

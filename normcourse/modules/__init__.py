"""What is trained: PyTorch modules, one file per method, with the file names of ``norms``.

Parameters and buffers carry torch's names, so a ``state_dict`` fits ``torch.nn`` both ways.
"""

from __future__ import annotations

from normcourse.modules.batch_norm import BatchNorm

__all__ = ["BatchNorm"]

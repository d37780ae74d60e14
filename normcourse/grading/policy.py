"""What an answer may be made of: imports and library routes that an exercise rules out.

A look at the code, not a barrier: what the sandbox does not hold cannot be imported anyway (NumPy
exercises have no PyTorch, nobody has the course's references). It catches the answer that is a call
of the library's own layer, and says so. Only what the answer itself reaches counts, through the
functions and classes of the same file; an import that stands about unused is no fault.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from normcourse.checks.exercise import Exercise
from normcourse.checks.source import Source

_SHIM = ("normcourse.check", "normcourse.hint", "normcourse.progress", "normcourse.solution")
_FUNCTIONS = ("batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm")
_LAYERS = (
    *(f"torch.{name}" for name in _FUNCTIONS),
    *(f"torch.native_{name}" for name in _FUNCTIONS),
    *(f"torch.nn.functional.{name}" for name in _FUNCTIONS),
    *(f"torch.nn.BatchNorm{n}d" for n in (1, 2, 3)),
    *(f"torch.nn.InstanceNorm{n}d" for n in (1, 2, 3)),
    *(f"torch.nn.{name}" for name in ("LayerNorm", "GroupNorm", "RMSNorm", "SyncBatchNorm")),
    "torch.nn.modules.batchnorm",
    "torch.nn.modules.normalization",
    "torch.nn.functional.local_response_norm",
    "torch.nn.LocalResponseNorm",
)
# PyTorch exercises whose answer is a normalization layer itself; the others are built of layers.
FROM_SCRATCH = frozenset({"BatchNorm", "RunningNorm"})


@dataclass(frozen=True)
class Policy:
    """What an answer may use.

    Args:
        packages: outside packages that may be used, beside the standard library.
        forbidden: dotted names that may not be used although their package may.
        words: how a message says it.
    """

    packages: frozenset[str]
    forbidden: tuple[str, ...]
    words: str


def policy_of(exercise: Exercise) -> Policy:
    """Return what an exercise allows."""
    if exercise.runtime == "torch":
        layers = _LAYERS if exercise.id in FROM_SCRATCH else ()
        words = "PyTorch without its normalization layers" if layers else "PyTorch and NumPy"
        return Policy(frozenset({"numpy", "torch"}), layers, words)
    return Policy(frozenset({"numpy"}), (), "NumPy alone")


def violations(exercise: Exercise, source: Source, own_files: frozenset[str]) -> list[str]:
    """Return the dotted names that the answer reaches and the exercise rules out, in order.

    Args:
        exercise: what is asked.
        source: the learner's file.
        own_files: names of the learner's own modules.
    """
    policy = policy_of(exercise)
    standard = sys.stdlib_module_names | policy.packages | own_files
    found: dict[str, None] = {}
    for name in reached(source, exercise.id):
        package = name.partition(".")[0]
        outside = package not in standard and name not in _SHIM
        if outside or any(name == f or name.startswith(f"{f}.") for f in policy.forbidden):
            found[name] = None
    return list(found)


def reached(source: Source, name: str) -> Iterator[str]:
    """Yield the dotted names from imported modules that a definition uses, directly or not."""
    bound: dict[str, str] = {}
    defined: dict[str, ast.stmt] = {}
    for cell in source.cells:
        for node in cell.tree.body if cell.tree else ():
            bound |= _imports(node)
            for own in _names(node):
                defined[own] = node
                bound.pop(own, None)
    waiting, seen = [name], {name}
    while waiting:
        found = defined.get(waiting.pop())
        if found is None:
            continue
        local = bound | {k: v for inner in ast.walk(found) for k, v in _imports(inner).items()}
        for dotted in _dotted(found):
            first, _, rest = dotted.partition(".")
            if first in local:
                yield local[first] + (f".{rest}" if rest else "")
            elif first in defined and first not in seen:
                seen.add(first)
                waiting.append(first)


def _imports(node: ast.AST) -> dict[str, str]:
    """Return the names that an import binds, with what they stand for."""
    if isinstance(node, ast.Import):
        return {
            (a.asname or a.name.partition(".")[0]): (a.name if a.asname else a.name.split(".")[0])
            for a in node.names
        }
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        return {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
    return {}


def _names(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    return []


def _dotted(node: ast.AST) -> Iterator[str]:
    """Yield the names that are read below a node, with their attributes: ``torch.nn.Linear``."""
    inner = set()
    for part in ast.walk(node):
        if isinstance(part, ast.Attribute) and id(part) not in inner:
            chain, base = [part.attr], part.value
            while isinstance(base, ast.Attribute):
                inner.add(id(base))
                chain.append(base.attr)
                base = base.value
            if isinstance(base, ast.Name):
                inner.add(id(base))
                yield ".".join([base.id, *reversed(chain)])
        elif isinstance(part, ast.Name) and id(part) not in inner:
            yield part.id

"""What the NumPy references cost beside the textbook formula and beside torch on one thread.

    python -m tests.benchmarks.bench_norms [--quick] [--only batch_norm,layer_norm] [--json FILE]

Ours, the textbook in NumPy and torch take turns in one process; the best of a few rounds counts and
only ratios are shown. Memory is tracemalloc's peak over one call in units of the input, results
included. Nothing here is asserted. Shapes are those of a ResNet block and a Transformer block.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import numpy as np  # noqa: E402
import torch  # noqa: E402

from normcourse.norms import METHODS, Method  # noqa: E402
from tests.norms.cases import Array, arguments, backward, first_input, upstream  # noqa: E402
from tests.norms.oracles import ORACLES  # noqa: E402

RESNET, TRANSFORMER = (32, 64, 56, 56), (8, 512, 768)
SHAPES = {
    "(N, C, *)": RESNET,
    "(N, C, L, *)": RESNET,
    "(N, C, H, W)": (8, 64, 56, 56),
    "(*, D)": TRANSFORMER,
    "(*, T, D)": (8, 12, 512, 64),
    "(O, *)": (512, 512, 3, 3),
}
QUICK = {
    "(N, C, *)": (4, 8, 9, 7),
    "(N, C, L, *)": (4, 8, 9, 7),
    "(N, C, H, W)": (2, 8, 9, 7),
    "(*, D)": (4, 16, 24),
    "(*, T, D)": (2, 8, 16),
    "(O, *)": (16, 8, 3, 3),
}
OF_THEIR_OWN = {"masked_batch_norm": TRANSFORMER}


@dataclass(frozen=True)
class Textbook:
    """The formula as it is usually written: mean, var, one expression; nothing saved, no checks."""

    axis: tuple[int, ...]
    channel: int
    centered: bool = True
    groups: int = 0

    def forward(self, x: Array, gamma: Array, beta: Array | float) -> Array:
        y = self._x_hat(x)[0].reshape(x.shape) * self._meet(gamma, x.ndim)
        return y + self._meet(beta, x.ndim)

    def backward(self, dy: Array, x: Array, gamma: Array, beta: Array | float) -> tuple[Array, ...]:
        x_hat, std = self._x_hat(x)
        shared = tuple(a for a in range(x.ndim) if a != self.channel % x.ndim)
        dgamma, dbeta = np.sum(dy * x_hat.reshape(x.shape), axis=shared), np.sum(dy, axis=shared)
        dx_hat = (dy * self._meet(gamma, x.ndim)).reshape(x_hat.shape)
        dx = dx_hat - x_hat * np.mean(dx_hat * x_hat, axis=self.axis, keepdims=True)
        if self.centered:
            dx = dx - np.mean(dx_hat, axis=self.axis, keepdims=True)
        return (dx / std).reshape(x.shape), dgamma, dbeta

    def _x_hat(self, x: Array) -> tuple[Array, Array]:
        if self.groups:
            x = x.reshape(len(x), self.groups, -1, *x.shape[2:])
        eps = np.float32(1e-5)
        if not self.centered:
            std = np.sqrt(np.mean(x**2, axis=self.axis, keepdims=True) + eps)
            return x / std, std
        std = np.sqrt(np.var(x, axis=self.axis, keepdims=True) + eps)
        return (x - np.mean(x, axis=self.axis, keepdims=True)) / std, std

    def _meet(self, parameter: Array | float, ndim: int) -> Any:
        shape = [1] * ndim
        shape[self.channel] = -1
        return np.reshape(parameter, shape) if np.ndim(parameter) else parameter


TEXTBOOK = {
    "batch_norm": Textbook((0, 2, 3), 1),
    "layer_norm": Textbook((-1,), -1),
    "rms_norm": Textbook((-1,), -1, centered=False),
    "scale_norm": Textbook((-1,), -1, centered=False),
    "instance_norm": Textbook((2, 3), 1),
    "group_norm": Textbook((2, 3, 4), 1, groups=2),
    "standardize_weight": Textbook((1, 2, 3), 0),
}


def calls(method: Method, shape: tuple[int, ...]) -> dict[str, dict[str, Callable[[], Any]]]:
    """Return what is timed: forward and forward with backward, by each implementation."""
    drawn = arguments(method, shape, "float32", seed=80)
    y = method.forward(**drawn)
    dy = upstream(y)

    def ours_both() -> None:
        method.forward(**drawn)
        backward(method, dy, drawn)

    tensors = {
        name: torch.from_numpy(np.asarray(value)) if isinstance(value, np.ndarray) else value
        for name, value in drawn.items()
    }
    for name in method.gradients:
        tensors[name] = torch.as_tensor(tensors[name], dtype=torch.float32).requires_grad_()
    inputs, torch_dy = [tensors[name] for name in method.gradients], torch.from_numpy(dy)

    def torch_forward() -> None:
        with torch.no_grad():
            ORACLES[method.name](**tensors)

    def torch_both() -> None:
        torch.autograd.grad(ORACLES[method.name](**tensors), inputs, torch_dy)

    found = {
        "ours": {"forward": lambda: method.forward(**drawn), "both": ours_both},
        "torch": {"forward": torch_forward, "both": torch_both},
    }
    if method.name in TEXTBOOK:
        book = TEXTBOOK[method.name]
        given = (drawn[first_input(method)], drawn.get("gamma", 1.0), drawn.get("beta", 0.0))

        def textbook_both() -> None:
            book.forward(*given)
            book.backward(dy, *given)

        found["textbook"] = {"forward": lambda: book.forward(*given), "both": textbook_both}
    return found


def best(work: list[Callable[[], Any]], rounds: int) -> list[float]:
    """Return the shortest time of each, in seconds; they take turns."""
    seconds = [float("inf")] * len(work)
    for function in work:
        function()
    for _ in range(rounds):
        for place, function in enumerate(work):
            start = time.perf_counter()
            function()
            seconds[place] = min(seconds[place], time.perf_counter() - start)
    return seconds


def peak(function: Callable[[], Any]) -> int:
    """Return the peak of memory that NumPy asks for during one call, in bytes."""
    tracemalloc.start()
    function()
    _, highest = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return highest


def measure(method: Method, shape: tuple[int, ...], rounds: int) -> dict[str, Any]:
    """Return the ratios of one method."""
    found = calls(method, shape)
    nbytes = 4 * int(np.prod(shape))
    row: dict[str, Any] = {"shape": list(shape)}
    for what in ("forward", "both"):
        seconds = dict(
            zip(found, best([each[what] for each in found.values()], rounds), strict=True)
        )
        row[what] = {
            "ns_per_value": 1e9 * seconds["ours"] / np.prod(shape),
            **{
                f"over_{name}": seconds["ours"] / seconds[name]
                for name in seconds
                if name != "ours"
            },
            "peak": peak(found["ours"][what]) / nbytes,
        }
        if "textbook" in found:
            row[what]["peak_textbook"] = peak(found["textbook"][what]) / nbytes
    return row


def show(name: str, row: dict[str, Any]) -> str:
    """Return one line of the table."""
    cells = [f"{name:26} {'x'.join(map(str, row['shape'])):>14}"]
    for what in ("forward", "both"):
        one = row[what]
        textbook = f"{one['over_textbook']:5.2f}" if "over_textbook" in one else "    -"
        books = f"{one['peak_textbook']:4.1f}" if "peak_textbook" in one else "   -"
        cells.append(
            f"{one['ns_per_value']:7.2f} {textbook} {one['over_torch']:6.2f}"
            f" {one['peak']:4.1f} {books}"
        )
    return " | ".join(cells)


def main() -> None:
    """Measure all methods and print one line for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="tiny shapes, one round")
    parser.add_argument("--only", default="", help="names of methods, separated by commas")
    parser.add_argument("--json", help="write the numbers to this file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    columns = "ns/val /book /torch peak book"
    print(f"{'':41} | forward: {columns:>20} | forward and backward")
    table = {}
    for name in options.only.split(",") if options.only else METHODS:
        method = METHODS[name]
        shape = QUICK[method.layout] if options.quick else SHAPES[method.layout]
        shape = shape if options.quick else OF_THEIR_OWN.get(name, shape)
        table[name] = measure(method, shape, rounds=1 if options.quick else 5)
        print(show(name, table[name]), flush=True)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(table, file, indent=1)


if __name__ == "__main__":
    main()

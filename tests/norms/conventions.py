"""How libraries differ, found by running them: the ground of ``book/conventions.md``.

Each ``measure_<library>`` runs small arrays through a library's layers and reports what came out.
``python -m tests.norms.conventions torch onnx`` records the libraries that are installed in
``book/generated/conventions.json`` and writes the page; libraries measured elsewhere (Keras and
Flax need an environment of their own) keep their record, with versions and date.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
RECORD = ROOT / "book" / "generated" / "conventions.json"
PAGE = ROOT / "book" / "conventions.md"

X = np.array([[2.0], [4.0], [6.0], [8.0]], np.float32)  # mean 5, variance 5, unbiased 20/3
BIG = (1e4 + np.random.default_rng(0).normal(size=(64, 1))).astype(np.float32)
ROWS = np.array([[2.0, 4.0, 6.0, 8.0]], np.float32)
Norm = Callable[[Any], Any]


def normalizer(norm: Norm, x: Any, eps: float) -> str:
    """Say which variance and which place of a large eps a normalization uses."""
    y = np.asarray(norm(x), np.float64).ravel()
    centered = np.asarray(x, np.float64).ravel() - np.mean(x)
    for word, var in (("n", 5.0), ("n − 1", 20 / 3)):
        for place, divisor in (
            ("inside the root", np.sqrt(var + eps)),
            ("outside the root", np.sqrt(var) + eps),
        ):
            if np.allclose(y, centered / divisor, atol=1e-4):
                return f"{word}, {place}"
    return "something else"


def stored(mean: float, var: float, start: float = 1.0) -> tuple[str, str]:
    """Return the weight of the new batch and the variance that one step stored."""
    weight = float(mean) / 5.0
    new = (float(var) - (1 - weight) * start) / weight
    kinds = {"n": 5.0, "n − 1": 20 / 3}
    kind = next((k for k, v in kinds.items() if abs(new - v) < 0.02), f"{new:.3g}")
    return f"{weight:.2g}", kind


def big_mean(norm: Norm, x: Any = BIG) -> str:
    """Say what is left of float32 data with mean 10,000 and standard deviation 1."""
    wide = x.astype(np.float64)
    exact = (wide - wide.mean()) / np.sqrt(wide.var() + 1e-5)
    error = np.abs(np.asarray(norm(x), np.float64) - exact).max()
    return "digits kept" if error < 0.01 else f"off by up to {error:.0f}"


def rms_place(norm: Norm, eps: float) -> str:
    """Say where a large eps stands in a root-mean-square norm."""
    x = np.array([[3.0, 4.0]], np.float32)
    y = float(np.asarray(norm(x)).ravel()[0])
    square = 12.5
    places = {
        "inside the root": 3 / np.sqrt(square + eps),
        "outside the root": 3 / (np.sqrt(square) + eps),
    }
    return next((k for k, v in places.items() if abs(y - v) < 1e-4), "something else")


def groups_of_affine(size: int, num_channels: int, num_groups: int) -> str:
    """Say what one entry of a group norm's scale belongs to."""
    return {num_channels: "per channel", num_groups: "per group"}.get(size, str(size))


def measure_torch() -> dict[str, dict[str, str]]:
    """Run torch.nn."""
    import torch
    from torch import nn

    def run(layer: Any) -> Norm:
        return lambda x: layer(torch.from_numpy(np.asarray(x))).detach().numpy()

    bn = nn.BatchNorm1d(1)
    bn(torch.from_numpy(X))
    assert bn.running_mean is not None
    assert bn.running_var is not None
    weight, kind = stored(float(bn.running_mean), float(bn.running_var))
    try:
        nn.BatchNorm1d(1)(torch.ones(1, 1))
        alone = "gives beta"
    except ValueError:
        alone = "an error"
    ln, gn = nn.LayerNorm(4), nn.GroupNorm(2, 4)
    rms = nn.RMSNorm(2, eps=0.5)
    lrn = nn.LocalResponseNorm(2, alpha=1.0, beta=1.0, k=1.0)
    reach = lrn(torch.tensor([[[0.0], [1.0], [0.0]]]) + 1e-3).ravel().numpy()
    return {
        "BatchNorm": {
            "name": "`BatchNorm1d`",
            "channel axis": "1",
            "scale, shift": "`weight`, `bias`",
            "eps": f"{bn.eps:g}",
            "divisor, place of eps": normalizer(run(nn.BatchNorm1d(1, eps=0.5)), X, 0.5),
            "`momentum` by default": f"{bn.momentum:g}",
            "weight of the new batch": weight,
            "variance stored": kind,
            "one value per channel": alone,
            "float32 at mean 10,000": big_mean(run(nn.BatchNorm1d(1, eps=1e-5))),
        },
        "LayerNorm": {
            "name": "`LayerNorm`",
            "axes": "the trailing ones, named by `normalized_shape`",
            "eps": f"{ln.eps:g}",
            "divisor, place of eps": normalizer(run(nn.LayerNorm(4, eps=0.5)), ROWS, 0.5),
            "float32 at mean 10,000": big_mean(run(nn.LayerNorm(64, eps=1e-5)), BIG.T),
        },
        "RMSNorm": {
            "name": "`RMSNorm`",
            "eps": "the dtype's smallest step" if nn.RMSNorm(2).eps is None else "a number",
            "place of eps": rms_place(run(rms), 0.5),
        },
        "GroupNorm": {
            "name": "`GroupNorm`",
            "groups by default": "none",
            "eps": f"{gn.eps:g}",
            "affine": groups_of_affine(gn.weight.numel(), 4, 2),
        },
        "InstanceNorm": {
            "name": "`InstanceNorm1d`",
            "eps": f"{nn.InstanceNorm2d(3).eps:g}",
            "affine by default": "yes" if nn.InstanceNorm2d(3).affine else "no",
        },
        "Local response norm": {
            "name": "`LocalResponseNorm`",
            "window of size 2 at channel c": _window(reach),
        },
    }


def measure_onnx() -> dict[str, dict[str, str]]:
    """Run the reference evaluator of ONNX."""
    import onnx
    from onnx import TensorProto, helper
    from onnx.reference import ReferenceEvaluator

    def run(
        operator: str, inputs: dict[str, Any], outputs: int = 1, opset: int = 21, **attributes: Any
    ) -> list[Any]:
        node = helper.make_node(
            operator, list(inputs), [f"y{i}" for i in range(outputs)], **attributes
        )
        ends = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
            for name in (*inputs, *node.output)
        ]
        graph = helper.make_graph([node], "g", ends[: len(inputs)], ends[len(inputs) :])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
        session = ReferenceEvaluator(model)
        return list(session.run(None, {k: np.asarray(v, np.float32) for k, v in inputs.items()}))

    one, zero = [1.0], [0.0]

    def batch_norm(x: Any, eps: float, outputs: int = 3) -> list[Any]:
        inputs = {"x": x, "s": one, "b": zero, "m": zero, "v": one}
        return run("BatchNormalization", inputs, outputs, epsilon=eps, training_mode=1)

    _, mean, var = batch_norm(X, 0.5)
    weight, kind = stored(float(mean[0]), float(var[0]))
    schema = {name: onnx.defs.get_schema(name, 21) for name in _ONNX}

    def default(operator: str, attribute: str) -> str:
        return (
            f"{helper.get_attribute_value(schema[operator].attributes[attribute].default_value):g}"
        )

    def layer_norm(x: Any, eps: float) -> Any:
        width = np.shape(x)[-1]
        inputs = {"x": x, "s": np.ones(width), "b": np.zeros(width)}
        return run("LayerNormalization", inputs, epsilon=eps)[0]

    def rms_norm(x: Any) -> Any:
        return run("RMSNormalization", {"x": x, "s": [1.0, 1.0]}, opset=23, epsilon=0.5)[0]

    affine = {opset: _onnx_group_affine(run, opset) for opset in (18, 21)}
    bump = np.array([[[0.0], [1.0], [0.0]]]) + 1e-3
    three = np.repeat(bump[..., None], 3, axis=0)  # onnx 1.23 loops over N where C is meant
    reach = run("LRN", {"x": three}, size=2, alpha=1.0, beta=1.0, bias=1.0)[0][0].ravel()
    rms_eps = onnx.defs.get_schema("RMSNormalization", 23).attributes["epsilon"].default_value
    return {
        "BatchNorm": {
            "name": "`BatchNormalization`-15",
            "channel axis": "1",
            "scale, shift": "`scale`, `B`",
            "eps": default("BatchNormalization", "epsilon"),
            "divisor, place of eps": normalizer(lambda x: batch_norm(x, 0.5)[0], X, 0.5),
            "`momentum` by default": default("BatchNormalization", "momentum"),
            "weight of the new batch": weight,
            "variance stored": kind,
            "one value per channel": _alone(lambda x: batch_norm(x, 1e-5)[0]),
            "float32 at mean 10,000": big_mean(lambda x: batch_norm(x, 1e-5)[0]),
        },
        "LayerNorm": {
            "name": "`LayerNormalization`-17",
            "axes": "from `axis` to the last",
            "eps": default("LayerNormalization", "epsilon"),
            "divisor, place of eps": normalizer(lambda x: layer_norm(x, 0.5), ROWS, 0.5),
            "float32 at mean 10,000": big_mean(lambda x: layer_norm(x, 1e-5), BIG.T),
        },
        "RMSNorm": {
            "name": "`RMSNormalization`-23",
            "eps": f"{helper.get_attribute_value(rms_eps):g}",
            "place of eps": rms_place(rms_norm, 0.5),
        },
        "GroupNorm": {
            "name": "`GroupNormalization`-18, -21",
            "groups by default": "none",
            "eps": default("GroupNormalization", "epsilon"),
            "affine": f"{affine[18]} (-18), {affine[21]} (-21)",
        },
        "InstanceNorm": {
            "name": "`InstanceNormalization`-6",
            "eps": default("InstanceNormalization", "epsilon"),
            "affine by default": "yes (scale and B are inputs)",
        },
        "Local response norm": {
            "name": "`LRN`-13",
            "window of size 2 at channel c": _window(reach),
        },
    }


_ONNX = ("BatchNormalization", "LayerNormalization", "GroupNormalization", "InstanceNormalization")


def _onnx_group_affine(run: Callable[..., list[Any]], opset: int) -> str:
    """Find which size of scale the operator takes for 4 channels in 2 groups."""
    x = np.arange(8.0).reshape(1, 4, 2)
    for size in (4, 2):
        inputs = {"x": x, "s": np.ones(size), "b": np.zeros(size)}
        try:
            (y,) = run("GroupNormalization", inputs, opset=opset, num_groups=2)
        except Exception:
            continue
        if y.shape == x.shape:
            return groups_of_affine(size, 4, 2)
    return "neither"


def measure_keras() -> dict[str, dict[str, str]]:
    """Run keras.layers."""
    os.environ.setdefault("KERAS_BACKEND", "jax")
    import keras

    layers = keras.layers

    def run(layer: Any, **options: Any) -> Norm:
        return lambda x: keras.ops.convert_to_numpy(layer(np.asarray(x), **options))

    bn = layers.BatchNormalization()
    bn(X, training=True)
    mean, var = (keras.ops.convert_to_numpy(v).item() for v in (bn.moving_mean, bn.moving_variance))
    weight, kind = stored(mean, var)
    gn = layers.GroupNormalization(groups=2)
    gn(np.ones((1, 2, 4), np.float32))
    train = {"training": True}
    return {
        "BatchNorm": {
            "name": "`BatchNormalization`",
            "channel axis": str(bn.axis),
            "scale, shift": "`gamma`, `beta`",
            "eps": f"{bn.epsilon:g}",
            "divisor, place of eps": normalizer(
                run(layers.BatchNormalization(epsilon=0.5), **train), X, 0.5
            ),
            "`momentum` by default": f"{bn.momentum:g}",
            "weight of the new batch": weight,
            "variance stored": kind,
            "one value per channel": _alone(run(layers.BatchNormalization(), **train)),
            "float32 at mean 10,000": big_mean(
                run(layers.BatchNormalization(epsilon=1e-5), **train)
            ),
        },
        "LayerNorm": {
            "name": "`LayerNormalization`",
            "axes": f"`axis`, by default {layers.LayerNormalization().axis}",
            "eps": f"{layers.LayerNormalization().epsilon:g}",
            "divisor, place of eps": normalizer(
                run(layers.LayerNormalization(epsilon=0.5)), ROWS, 0.5
            ),
            "float32 at mean 10,000": big_mean(run(layers.LayerNormalization(epsilon=1e-5)), BIG.T),
        },
        "RMSNorm": {
            "name": "`RMSNormalization`",
            "eps": f"{layers.RMSNormalization().epsilon:g}",
            "place of eps": rms_place(run(layers.RMSNormalization(epsilon=0.5)), 0.5),
        },
        "GroupNorm": {
            "name": "`GroupNormalization`",
            "groups by default": str(layers.GroupNormalization().groups),
            "eps": f"{gn.epsilon:g}",
            "affine": groups_of_affine(int(np.prod(gn.gamma.shape)), 4, 2),
        },
    }


def measure_flax() -> dict[str, dict[str, str]]:
    """Run flax.linen."""
    import jax
    from flax import linen as nn

    key = jax.random.key(0)

    def run(layer: Any) -> Norm:
        return lambda x: np.asarray(layer.init_with_output(key, x)[0])

    def train(**options: Any) -> Norm:
        layer = nn.BatchNorm(use_running_average=False, **options)
        return lambda x: np.asarray(layer.apply(layer.init(key, x), x, mutable="batch_stats")[0])

    bn = nn.BatchNorm(use_running_average=False)
    _, state = bn.apply(bn.init(key, X), X, mutable="batch_stats")
    stats = state["batch_stats"]
    weight, kind = stored(float(stats["mean"][0]), float(stats["var"][0]))
    gn = nn.GroupNorm(num_groups=2)
    scale = gn.init(key, np.ones((1, 2, 4), np.float32))["params"]["scale"]
    return {
        "BatchNorm": {
            "name": "`BatchNorm`",
            "channel axis": str(bn.axis),
            "scale, shift": "`scale`, `bias`",
            "eps": f"{bn.epsilon:g}",
            "divisor, place of eps": normalizer(train(epsilon=0.5), X, 0.5),
            "`momentum` by default": f"{bn.momentum:g}",
            "weight of the new batch": weight,
            "variance stored": kind,
            "one value per channel": _alone(train()),
            "float32 at mean 10,000": big_mean(train(epsilon=1e-5)),
        },
        "LayerNorm": {
            "name": "`LayerNorm`",
            "axes": f"`reduction_axes`, by default {nn.LayerNorm().reduction_axes}",
            "eps": f"{nn.LayerNorm().epsilon:g}",
            "divisor, place of eps": normalizer(run(nn.LayerNorm(epsilon=0.5)), ROWS, 0.5),
            "float32 at mean 10,000": big_mean(run(nn.LayerNorm(epsilon=1e-5)), BIG.T),
        },
        "RMSNorm": {
            "name": "`RMSNorm`",
            "eps": f"{nn.RMSNorm().epsilon:g}",
            "place of eps": rms_place(run(nn.RMSNorm(epsilon=0.5)), 0.5),
        },
        "GroupNorm": {
            "name": "`GroupNorm`",
            "groups by default": str(nn.GroupNorm().num_groups),
            "eps": f"{nn.GroupNorm().epsilon:g}",
            "affine": groups_of_affine(int(scale.size), 4, 2),
        },
        "InstanceNorm": {
            "name": "`InstanceNorm`",
            "eps": f"{nn.InstanceNorm().epsilon:g}",
            "affine by default": "yes" if nn.InstanceNorm().use_scale else "no",
        },
    }


def _alone(norm: Norm) -> str:
    """Say what training on one value per channel gives."""
    try:
        y = np.asarray(norm(np.ones((1, 1), np.float32)))
    except Exception:
        return "an error"
    return "gives beta" if np.allclose(y, 0) else f"gives {y.item():.3g}"


def _window(reach: Any) -> str:
    """Say which neighbour a window of two channels holds, from a bump in the middle of three."""
    low = 1e-3 / (1 + 1e-3**2)  # what a channel without the bump in its window keeps
    damped = [bool(value < 0.9 * low) for value in reach]
    if damped[0] and not damped[2]:
        return "c and c + 1"
    return "c − 1 and c" if damped[2] and not damped[0] else "neither"


LIBRARIES: dict[str, tuple[str, Callable[[], dict[str, dict[str, str]]], tuple[str, ...]]] = {
    "torch": ("PyTorch", measure_torch, ("torch",)),
    "keras": ("Keras", measure_keras, ("keras", "jax")),
    "flax": ("Flax", measure_flax, ("flax", "jax")),
    "onnx": ("ONNX", measure_onnx, ("onnx",)),
}

# What the papers say; not measured. Keys are those of book/references.bib.
PAPERS = {
    "BatchNorm": {
        "name": "{cite:t}`ioffe2015batch`",
        "scale, shift": "γ, β",
        "eps": "ε, no value",
        "divisor, place of eps": "n, inside the root",
        "variance stored": "n − 1",
    },
    "LayerNorm": {
        "name": "{cite:t}`ba2016layer`",
        "axes": "the hidden units of a layer",
        "divisor, place of eps": "n, no ε",
    },
    "GroupNorm": {
        "name": "{cite:t}`wu2018group`",
        "groups by default": "32",
        "affine": "per channel",
    },
}

_DEFINITIONS = {  # labels in the chapters
    "BatchNorm": "def-batch-norm",
    "LayerNorm": "def-layer-norm",
    "RMSNorm": "def-rms-norm",
    "GroupNorm": "def-group-norm",
    "InstanceNorm": "def-instance-norm",
}


def record(names: list[str]) -> dict[str, Any]:
    """Measure libraries and return the whole record, theirs renewed."""
    known = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
    for name in names:
        _, measure, packages = LIBRARIES[name]
        versions = {p: importlib.metadata.version(p).partition("+")[0] for p in packages}
        date = datetime.date.today().isoformat()
        facts = measure()
        old = known.get(name)
        if old and old["facts"] == facts and old["versions"] == versions:
            continue  # nothing new: keep the date
        known[name] = {"versions": versions, "date": date, "facts": facts}
    return {name: known[name] for name in LIBRARIES if name in known}


def page(known: dict[str, Any]) -> str:
    """Return the page as MyST Markdown."""
    named = {name: LIBRARIES[name][0] for name in known}
    lines = [
        "# Conventions",
        "",
        "*The same names stand for different arithmetic: which variance is stored, which way "
        "momentum points, where eps stands.*",
        "",
        "Every entry of a library was found by running it on small arrays, such as 2, 4, 6, 8 "
        "(mean 5, variance 5 over n, 6.67 over n − 1). This course follows PyTorch.",
        "",
    ]
    for method, facts in known["torch"]["facts"].items():
        columns = {named[name]: known[name]["facts"].get(method, {}) for name in known}
        columns["paper"] = PAPERS.get(method, {})
        columns = {title: column for title, column in columns.items() if column}
        heads = [f"{title} {column['name']}" for title, column in columns.items()]
        lines += [f"## {method}", ""]
        if method in _DEFINITIONS:
            lines += [f"What the layer computes: {{prf:ref}}`{_DEFINITIONS[method]}`.", ""]
        lines.append("| what | " + " | ".join(heads) + " |")
        lines.append("|---|" + "---|" * len(columns))
        for row in facts:
            if row != "name":
                cells = [column.get(row, "") for column in columns.values()]
                lines.append(f"| {row} | " + " | ".join(cells) + " |")
        lines += ["", *_NOTES.get(method, ()), ""]
    sources = [
        f"{named[name]} ({', '.join(f'{p} {v}' for p, v in entry['versions'].items())}; "
        f"{entry['date']})"
        for name, entry in known.items()
    ]
    lines += ["## What was run", "", "; ".join(sources) + "."]
    return "\n".join(lines).rstrip() + "\n"


_NOTES = {
    "BatchNorm": (
        "To carry running statistics from one library to another:",
        "",
        "- **momentum**: PyTorch's number weighs the new batch, the others' the old value. Use "
        "1 − m.",
        "- **running variance**: PyTorch stores the n − 1 variance. Multiply a stored n variance "
        "by n / (n − 1), with n the number of values per channel, to get PyTorch's; the trained "
        "weights need nothing.",
        "- **bias**: the bias of a layer before a BatchNorm cancels and may go, but only if "
        "the running mean is lowered by it; `normcourse.surgery.drop_redundant_biases` does both.",
        "- **eps**: copy it along. Keras's default is a hundred times PyTorch's.",
        "- **float32 at mean 10,000**: a one-pass variance, E[x²] − E[x]², loses what a two-pass "
        "one keeps. Flax takes one pass unless told `use_fast_variance=False`.",
    ),
    "GroupNorm": (
        "ONNX's first GroupNormalization scaled each group by one number; a model exported from "
        "PyTorch needs version 21, which scales each channel.",
    ),
    "Local response norm": (
        "The window of an even size reaches to one side. It is the other side in ONNX: an exported "
        "model with an even size differs.",
    ),
}


def main(names: list[str]) -> int:
    """Record the libraries named, or those installed, and write record and page."""
    known = record(names or ["torch", "onnx"])
    RECORD.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    PAGE.write_text(page(known), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

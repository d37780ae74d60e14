"""The numbers of the interactive figures: ``python -m normcourse.site.interactive.export``.

Writes ``data/<name>.json`` and ``data/<name>.svg`` for every figure of the catalogue; ``--check``
compares instead. Inputs are drawn from seeded generators, real digits, the record of an experiment
or the rules of a judge; results come from ``normcourse.norms``. Under ``expected`` stands what the
page's script must compute from the inputs by itself; that part is for the tests and is not put on
the page.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from normcourse import norms
from normcourse.checks import choosing, guide
from normcourse.norms import METHODS, core

__all__ = ["EXPORTS", "export", "files", "main"]

DATA = Path(__file__).parent / "data"
ASSETS = Path(__file__).parent / "assets"
CARD = Path(__file__).parents[1] / "assets" / "card.png"
EPS = 1e-5
Array = NDArray[Any]
Data = dict[str, Any]


def _plain(value: Any, digits: int = 10) -> Any:
    """Return arrays and NumPy numbers as lists and floats of at most ``digits`` decimals."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item, digits) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist(), digits)
    if isinstance(value, list | tuple):
        return [_plain(item, digits) for item in value]
    if isinstance(value, float | np.floating):
        return round(float(value), digits) + 0.0
    return value.item() if isinstance(value, np.generic) else value


# ---------------------------------------------------------------- which values one mean pools

GROUPS = (1, 2, 4)
_LETTERS = ("N", "C", "L")


def _explorer() -> Data:
    rng = np.random.default_rng(3)
    num, channels, length = 3, 4, 4
    level = rng.normal(0, 1.6, (1, channels, 1)) + rng.normal(0, 1.0, (num, 1, 1))
    x = (1.5 + level + rng.normal(0, 1.2, (num, channels, length))).round(1)
    turned = x.transpose(0, 2, 1)  # (N, L, C): features last, as for tokens
    whole = {"normalized_shape": (channels, length)}
    expected = {
        "batch_norm": norms.batch_norm(x, eps=EPS),
        "layer_norm/example": norms.layer_norm(x, **whole, eps=EPS),
        "layer_norm/position": norms.layer_norm(turned, eps=EPS).transpose(0, 2, 1),
        "instance_norm": norms.instance_norm(x, eps=EPS),
        "rms_norm/example": norms.rms_norm(x, **whole, eps=EPS),
        "rms_norm/position": norms.rms_norm(turned, eps=EPS).transpose(0, 2, 1),
        **{f"group_norm/{g}": norms.group_norm(x, num_groups=g, eps=EPS) for g in GROUPS},
    }
    return {
        "shape": x.shape,
        "x": x,
        "eps": EPS,
        "groups": GROUPS,
        "methods": [_method(name) for name in ("batch_norm", "layer_norm", "rms_norm")]
        + [_method(name) for name in ("instance_norm", "group_norm")],
        "expected": expected,
    }


def _method(name: str) -> Data:
    """Return what the explorer says of a method; its axes are those of the registry.

    LayerNorm and RMSNorm pool trailing axes: here the features of one position (axis 1, since
    channels stand before positions), or all of one example.
    """
    row = METHODS[name]
    assert row.axes is not None
    scopes = {"": row.axes(3)}
    if name in ("layer_norm", "rms_norm"):
        scopes = {"position": (1,), "example": (1, 2)}
    shown = {scope: {"axes": axes, "code": _code(name, axes)} for scope, axes in scopes.items()}
    return {"name": name, "title": row.title, "scopes": shown}


def _code(name: str, axes: tuple[int, ...]) -> list[str]:
    """Return the line that computes the statistic, for x of shape (N, C, L)."""
    letters, lines, source = list(_LETTERS), [], "x"
    if name == "group_norm":
        lines, source = ["groups = x.reshape(N, G, C // G, L)"], "groups"
        letters = ["N", "G", "C // G", "L"]
    kept = ", ".join("1" if axis in axes else letter for axis, letter in enumerate(letters))
    where = f"axis={axes if len(axes) > 1 else axes[0]}, keepdims=True"
    if name == "rms_norm":
        return [f"mean_square = np.square(x).mean({where})  # ({kept})"]
    return [*lines, f"mean = {source}.mean({where})  # ({kept})"]


# ---------------------------------------------------------------- who is in the batch

_COMPANY = {"ones": (1, 4), "zeros": (0, 4), "threes": (3, 2)}  # name, label, how many
_FEATURES = ("upper left", "upper right", "lower left", "lower right")


def _batch() -> Data:
    from sklearn.datasets import load_digits

    bundle = load_digits()
    images, labels = bundle.images.astype(int), bundle.target
    threes = np.flatnonzero(labels == 3)
    chosen = [threes[0]]
    for label, count in _COMPANY.values():
        chosen += [at for at in np.flatnonzero(labels == label) if at not in chosen][:count]
    samples = [
        {"label": int(labels[at]), "image": images[at], "x": _ink(images[at])} for at in chosen
    ]
    x = np.array([sample["x"] for sample in samples])
    groups = {
        "ones": [k for k, s in enumerate(samples) if k and s["label"] == 1],
        "zeros": [k for k, s in enumerate(samples) if k and s["label"] == 0],
        "all": list(range(1, len(samples))),
        "nobody": [],
    }
    expected = []
    for company in groups.values():
        rows = [0, *company]
        y = norms.batch_norm(x[rows], eps=EPS)[0]
        expected.append({"batch": rows, "batch_norm": y})
    return {
        "features": _FEATURES,
        "samples": samples,
        "groups": groups,
        "eps": EPS,
        "expected": {"batches": expected, "layer_norm": norms.layer_norm(x, eps=EPS)},
    }


def _ink(image: NDArray[Any]) -> Array:
    """Return the mean ink (0 to 16) of the four quarters of an 8x8 image."""
    quarters = image.reshape(2, 4, 2, 4).mean(axis=(1, 3))
    ink: Array = quarters.reshape(-1).round(2)
    return ink


# ---------------------------------------------------------------- running statistics

_STEPS, _SIZE = 120, 8
MOMENTA: tuple[float | None, ...] = (0.01, 0.1, 0.5, None)


def _running() -> Data:
    rng = np.random.default_rng(0)
    step = np.arange(_STEPS)
    scenarios: dict[str, tuple[Array, Array]] = {
        "still": (np.full(_STEPS, 2.0), np.full(_STEPS, 1.5)),
        "drift": (0.035 * step, 1.0 + 0.01 * step),
        "jump": (np.where(step < _STEPS // 2, 0.0, 3.0), np.where(step < _STEPS // 2, 1.0, 2.0)),
    }
    drawn = {
        name: (mean[:, None] + std[:, None] * rng.standard_normal((_STEPS, _SIZE))).round(2)
        for name, (mean, std) in scenarios.items()
    }
    expected = [
        {"scenario": name, "momentum": momentum, **_follow(batches, momentum)}
        for name, batches in drawn.items()
        for momentum in MOMENTA
    ]
    return {"eps": EPS, "momenta": MOMENTA, "scenarios": drawn, "expected": expected}


def _follow(batches: Array, momentum: float | None) -> Data:
    """Return the running statistics after chosen steps, and both outputs of the last batch."""
    mean, var = np.zeros(1), np.ones(1)
    kept = []
    for step, batch in enumerate(batches):
        mean, var = norms.update_running_stats(
            mean, var, batch[:, None], momentum=momentum, num_batches_tracked=step
        )
        if step in (0, 1, 20, _STEPS - 1):
            kept.append({"step": step + 1, "mean": mean[0], "var": var[0]})
    last = batches[-1][:, None]
    frozen = norms.batch_norm(last, running_mean=mean, running_var=var, training=False, eps=EPS)
    trained = norms.batch_norm(last, eps=EPS)
    return {"kept": kept, "train": trained.ravel(), "eval": frozen.ravel()}


# ---------------------------------------------------------------- choosing

_TITLES = {
    "batch": "batch_norm",
    "group": "group_norm",
    "layer": "layer_norm",
    "rms": "rms_norm",
    "instance": "instance_norm",
}


def _choose() -> Data:
    """Return what the judge's rules say of every situation that the form can describe."""
    fields = guide.VALUES
    objections: list[tuple[str, tuple[str, ...], str]] = []
    verdicts = []
    for values in itertools.product(*fields.values()):
        situation = dict(zip(fields, values, strict=True))
        raised = []
        for rule in guide.objections(situation):
            objection = (rule.question, rule.against, rule.words(situation))
            if objection not in objections:
                objections.append(objection)
            raised.append(objections.index(objection))
        verdicts.append("".join(_DIGITS[number] for number in raised))
    cases = {
        name: row for name, row in guide.SITUATIONS.items() if row["batch"] in guide.VALUES["batch"]
    }
    right = {name: choosing.right_methods(situation) for name, situation in cases.items()}
    return {
        "fields": fields,
        "methods": [
            {
                "key": key,
                "title": METHODS[_TITLES[key]].title,
                "pooled": METHODS[_TITLES[key]].pooled,
            }
            for key in guide.METHODS
        ],
        "orders": {
            data: {method: place.reason for method, place in order.items()}
            for data, order in guide.ORDERS.items()
        },
        "objections": [
            {"question": question, "against": methods, "reason": reason}
            for question, methods, reason in objections
        ],
        "verdicts": verdicts,
        "digits": _DIGITS,
        "cases": cases,
        "expected": right,
    }


_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


# ---------------------------------------------------------------- the gradient

_X = (2.0, 3.0, 5.0)
_DY = (0.7, -0.3, 1.8)


def _backward() -> Data:
    rng = np.random.default_rng(5)
    pairs = [(np.array(_X), np.array(_DY))]
    pairs += [(rng.normal(2, 2, 3).round(1), rng.normal(0, 1, 3).round(1)) for _ in range(6)]
    return {"x": _X, "dy": _DY, "eps": EPS, "expected": [_stages(x, dy) for x, dy in pairs]}


def _stages(x: Array, dy: Array) -> Data:
    """Return the gradient after each step; the last one is that of the reference."""
    out = core.standardize(x[:, None], (0,), EPS)
    x_hat = out.x_hat.ravel()
    centered = dy - dy.mean()
    rest = centered - x_hat * (dy * x_hat).mean()
    dx, _, _ = norms.batch_norm_backward(dy[:, None], x[:, None], eps=EPS)
    stages = [dy, centered, rest, dx.ravel()]
    return {"x": x, "dy": dy, "x_hat": x_hat, "inv_std": out.inv_std.item(), "stages": stages}


# ---------------------------------------------------------------- depth

_WORDS = {
    "post": ("Post-Norm", "norm(x + f(x))"),
    "pre": ("Pre-Norm", "x + f(norm(x))"),
    "res_post": ("Res-Post-Norm", "x + norm(f(x))"),
    "sandwich": ("Sandwich", "x + norm(f(norm(x)))"),
    "plain_batch_norm": ("BatchNorm, no skips", "relu(norm(f(x)))"),
}


def _depth() -> Data:
    from normcourse.evidence import recorded

    result = recorded("depth")
    stacks = []
    for name in result.distinct("stack"):
        title, formula = _WORDS[name]
        by_depth = {
            depth: {
                quantity: _curve(result, name, depth, quantity)
                for quantity in ("gradient", "variance")
            }
            for depth in result.distinct("depth")
        }
        stacks.append({"name": name, "title": title, "formula": formula, "depths": by_depth})
    return {
        "depths": result.distinct("depth"),
        "seeds": len(result.seeds),
        "date": result.environment.date,
        "stacks": stacks,
    }


def _curve(result: Any, name: str, depth: int, quantity: str) -> Data:
    curve = result.curve("layer", quantity, stack=name, depth=depth)
    return {
        part: [float(f"{value:.4g}") for value in getattr(curve, part)]
        for part in ("low", "median", "high")
    }


EXPORTS: dict[str, Callable[[], Data]] = {
    "axes-explorer": _explorer,
    "batch-composition": _batch,
    "running-statistics": _running,
    "depth": _depth,
    "choose": _choose,
    "backward": _backward,
}


def export(name: str) -> tuple[str, str]:
    """Return the JSON and the still picture of a figure."""
    from normcourse.figures import interactive

    data = _plain(EXPORTS[name]())
    picture = interactive.STILLS[name](data)
    text = json.dumps({"alt": picture.alt, **data}, ensure_ascii=False, indent=1)
    return _tight(text) + "\n", picture.svg()


def _tight(text: str) -> str:
    """Put the innermost lists on one line each, so that a change of data can be read.

    >>> _tight('[\\n [\\n  1,\\n  2\\n ]\\n]')
    '[\\n [1, 2]\\n]'
    """

    def joined(match: re.Match[str]) -> str:
        return "[" + ", ".join(part.strip() for part in match[1].split(",")) + "]"

    return re.sub(r"\[\s+([-\d.e+,\s]+?)\s+\]", joined, text)


def palette() -> str:
    """Return the course's colours as custom properties of the figures' frames."""
    from normcourse.figures import palette as colors

    plain = ("raw", "highlight", "card", "ink", "faint", "other")
    names = {**colors.METHOD_COLORS, **{name: getattr(colors, name.upper()) for name in plain}}
    lines = "".join(f"  --nci-{name}: {color};\n" for name, color in names.items())
    return (
        "/* Written by site/interactive/export.py from figures/palette.py. */\n"
        f".nci-frame {{\n{lines}}}\n"
    )


def draw_card() -> bytes:
    """Return the picture that other sites show beside a link to the book."""
    from normcourse.figures import interactive

    return interactive.social_card(_plain(_explorer()), "Normalization, computed")


def files() -> dict[Path, str]:
    """Return what the command writes as text: path to content."""
    found = {ASSETS / "palette.css": palette()}
    for name in EXPORTS:
        found[DATA / f"{name}.json"], found[DATA / f"{name}.svg"] = export(name)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files, or with ``--check`` say which of them are not as they would be written."""
    parser = argparse.ArgumentParser(prog="python -m normcourse.site.interactive.export")
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    options = parser.parse_args(arguments)
    stale = []
    for path, text in files().items():
        if not options.check:
            path.write_text(text, encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            stale.append(path.name)
    if not options.check:
        CARD.write_bytes(draw_card())
    print("\n".join(f"{name} is not as its sources say" for name in stale) or "up to date")
    return 1 if stale else 0


if __name__ == "__main__":
    raise SystemExit(main())

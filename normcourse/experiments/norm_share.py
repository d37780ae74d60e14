"""What share of the time of small nets goes into their norms, training and in inference.

Each net is built with a norm and without any (identities in its place), from the same weights. All
variants of a net take turns, each is run once before it is timed, so that all find the same caches,
and the fastest turn counts, in seconds of the processor. The share is what the net without norms
does not need. "course" are this course's layers, plain torch
operations one after the other; "torch" are those of ``torch.nn``; "folded" is batch norm folded
into the layer before it.

Rows of ``net`` "memory" hold single operations on one large array, in units of its copy.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn

from normcourse.experiments.experiment import Experiment
from normcourse.experiments.models import NORMS, MakeNorm, conv_net, mlp
from normcourse.experiments.result import Effect, Result, Row, Spread, Verdict, spread
from normcourse.experiments.transformer import SEQUENCE_NORMS, CharTransformer
from normcourse.surgery import fold_batch_norms

Work = Callable[[], object]
FIFTH = 0.2
# The layers of torch.nn by the words of ``NORMS``: for inputs (N, D) or (B, T, D), and for images.
TORCH_FLAT: dict[str, MakeNorm] = {
    "batch": nn.BatchNorm1d,
    "layer": nn.LayerNorm,
    "rms": nn.RMSNorm,
}
TORCH_IMAGES: dict[str, MakeNorm] = {
    "batch": nn.BatchNorm2d,
    "group": lambda channels: nn.GroupNorm(4, channels),
    "instance": lambda channels: nn.InstanceNorm2d(channels, affine=True),
}
LETTERS = 96


def make_net(kind: str, size: int, make: MakeNorm, generator: torch.Generator) -> nn.Module:
    """Return a net: "mlp" of a width, "conv" with as many channels, "transformer" of a width."""
    if kind == "mlp":
        return mlp(generator, 64, 10, depth=4, width=size, norm=make)
    if kind == "conv":
        return conv_net(generator, 10, channels=size, depth=3, norm=make)
    return CharTransformer(
        generator, LETTERS, length=64, depth=2, width=size, norm=make, placement="pre"
    )


def inputs(kind: str, batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return a batch that a net of this kind reads, and a label for each row of its scores."""
    if kind == "transformer":
        pieces = torch.randint(LETTERS, (batch, 65), generator=generator)
        return pieces[:, :-1], pieces[:, 1:].flatten()
    x = torch.randn(batch, 1, 8, 8, generator=generator)
    return x, torch.randint(10, (batch,), generator=generator)


def makers(kind: str, norms: Iterable[str]) -> dict[tuple[str, str], MakeNorm]:
    """Return what makes each norm, of this course and of torch; ("none", "none") first."""
    ours = SEQUENCE_NORMS if kind == "transformer" else NORMS
    theirs = TORCH_IMAGES if kind == "conv" else TORCH_FLAT
    found: dict[tuple[str, str], MakeNorm] = {("none", "none"): ours["none"]}
    for name in norms:
        found[name, "course"], found[name, "torch"] = ours[name], theirs[name]
    return found


def variants(
    kind: str, size: int, norms: Iterable[str], batch: int, seed: int
) -> dict[tuple[str, str, str], Work]:
    """Return the work of each (norm, layers, pass): a training step or a look without gradients."""
    x, t = inputs(kind, batch, torch.Generator().manual_seed(seed))
    works: dict[tuple[str, str, str], Work] = {}
    for (name, layers), make in makers(kind, norms).items():
        net = make_net(kind, size, make, torch.Generator().manual_seed(seed))
        works[name, layers, "step"] = _step(net, x, t)
        still = make_net(kind, size, make, torch.Generator().manual_seed(seed)).eval()
        works[name, layers, "inference"] = _look(still, x)
        if name == "batch" and layers == "torch":
            works[name, "folded", "inference"] = _look(fold_batch_norms(still).eval(), x)
    return works


def _step(net: nn.Module, x: Tensor, t: Tensor) -> Work:
    def work() -> None:
        for parameter in net.parameters():
            parameter.grad = None
        scores = net(x)
        loss = nn.functional.cross_entropy(scores.flatten(0, -2), t)
        loss.backward()  # type: ignore[no-untyped-call]

    return work


def _look(net: nn.Module, x: Tensor) -> Work:
    def work() -> None:
        with torch.no_grad():
            net(x)

    return work


def fastest(works: dict[tuple[str, str, str], Work], rounds: int) -> dict[tuple[str, ...], float]:
    """Return the least seconds of the processor that each work took; all take turns."""
    seconds: dict[tuple[str, ...], float] = dict.fromkeys(works, float("inf"))
    for _ in range(rounds):
        for name, work in works.items():
            work()
            begun = time.process_time()
            work()
            seconds[name] = min(seconds[name], time.process_time() - begun)
    return seconds


def memory_works(rows: int, width: int, seed: int) -> dict[tuple[str, str, str], Work]:
    """Return operations on an array of shape (rows, width); each makes a new array."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, width, generator=generator)
    weight, bias = torch.ones(width), torch.zeros(width)
    matrix = torch.randn(width, width, generator=generator)

    def by_steps() -> Tensor:
        centered = x - x.mean(dim=-1, keepdim=True)
        var = centered.square().mean(dim=-1, keepdim=True)
        return centered / torch.sqrt(var + 1e-5) * weight + bias

    works: dict[str, Work] = {
        "copy": x.clone,
        "ReLU": x.relu,
        "layer norm, torch": lambda: nn.functional.layer_norm(x, (width,), weight, bias),
        "layer norm, step by step": by_steps,
        "matrix product": lambda: x @ matrix,
    }
    return {(name, "", ""): work for name, work in works.items()}


def run(
    seed: int,
    *,
    nets: dict[str, list[int]],
    norms: dict[str, list[str]],
    batch: dict[str, int],
    rounds: int,
    memory: list[int],
) -> Iterator[Row]:
    """Yield a row per net, size, norm, kind of layers and pass, then one per single operation.

    ``ms`` is the time, ``share`` that of the norms. Single operations have ``copies``: their time
    over that of a copy; the copy has its speed in GB/s, the product its own in GFLOP/s.
    """
    for kind, sizes in nets.items():
        for size in sizes:
            works = variants(kind, size, norms[kind], batch[kind], seed)
            seconds = fastest(works, rounds)
            for (name, layers, what), found in seconds.items():
                yield {
                    "net": kind,
                    "size": size,
                    "norm": name,
                    "layers": layers,
                    "pass": what,
                    "ms": 1e3 * found,
                    "share": 1 - seconds["none", "none", what] / found,
                }
    if memory:
        height, width = memory
        seconds = fastest(memory_works(height, width, seed), max(1, rounds // 2))
        copy = seconds["copy", "", ""]
        speeds = {
            "copy": 8e-9 * height * width / copy,
            "matrix product": 2e-9 * height * width**2 / seconds["matrix product", "", ""],
        }
        for (name, *_), found in seconds.items():
            yield {
                "net": "memory",
                "norm": name,
                "ms": 1e3 * found,
                "copies": found / copy,
                "speed": speeds.get(name, 0.0),
            }


def shares(result: Result, what: str) -> dict[tuple[str, int, str, str], Spread]:
    """Return the share of each (net, size, norm, layers) in one kind of pass."""
    rows = result.keep(lambda row: row.get("pass") == what and row["norm"] != "none").rows
    names = dict.fromkeys((r["net"], r["size"], r["norm"], r["layers"]) for r in rows)
    return {
        (str(net), int(size), str(norm), str(layers)): result.spread(
            "share", net=net, size=size, norm=norm, layers=layers, **{"pass": what}
        )
        for net, size, norm, layers in names
    }


def cheap(result: Result) -> Verdict:
    """Does normalization take at most a fifth of a training step?

    Supported if its share is at most a fifth in every net, with every norm, by torch's layers and
    by this course's; refuted if above a fifth in all of them; else mixed. Medians over seeds.
    """
    found = shares(result, "step")
    effects = []
    for layers in ("torch", "course"):
        for net, size in dict.fromkeys((key[0], key[1]) for key in found):
            here = {k[2]: s for k, s in found.items() if k[:2] == (net, size) and k[3] == layers}
            norm = max(here, key=lambda name: here[name].median)
            words = f"largest share, {net} {size}, {layers} ({norm})"
            effects.append(Effect(words, here[norm]))
    medians = [s.median for s in found.values()]
    if all(m <= FIFTH for m in medians):
        return Verdict("supported", tuple(effects))
    return Verdict("refuted" if min(medians) > FIFTH else "mixed", tuple(effects))


def falls_with_width(result: Result) -> Verdict:
    """Is the share smaller in wider nets?

    Supported if with every norm of torch the share of a step of the fully connected net is at the
    largest width at most half of that at the smallest; refuted if it is no smaller with any; else
    mixed. Medians over seeds.
    """
    found = {k: s for k, s in shares(result, "step").items() if k[0] == "mlp" and k[3] == "torch"}
    sizes = sorted({size for _, size, _, _ in found})
    norms = dict.fromkeys(norm for _, _, norm, _ in found)
    ends = {n: [found["mlp", size, n, "torch"] for size in (sizes[0], sizes[-1])] for n in norms}
    effects = tuple(
        Effect(f"share, {norm}, width {size}", s)
        for norm, pair in ends.items()
        for size, s in zip((sizes[0], sizes[-1]), pair, strict=True)
    )
    if all(wide.median <= narrow.median / 2 for narrow, wide in ends.values()):
        return Verdict("supported", effects)
    none = all(wide.median >= narrow.median for narrow, wide in ends.values())
    return Verdict("refuted" if none else "mixed", effects)


def folding_is_free(result: Result) -> Verdict:
    """Is batch norm alone without cost in inference, once it is folded?

    Supported if in every net the share of folded batch norm is below a twentieth, and that of every
    norm with statistics of its own above a tenth, by torch's layers; refuted if in every net no
    such norm costs a twentieth more than the folded one; else mixed. Medians over seeds.
    """
    found = shares(result, "inference")
    folded = {key[:2]: s for key, s in found.items() if key[3] == "folded"}
    others = {
        key: s
        for key, s in found.items()
        if key[:2] in folded and key[2] != "batch" and key[3] == "torch"
    }
    effects = tuple(Effect(f"share, {n} {size}, folded", s) for (n, size), s in folded.items())
    effects += tuple(Effect(f"share, {k[0]} {k[1]}, {k[2]}", s) for k, s in others.items())
    free = all(s.median < 0.05 for s in folded.values())
    if free and all(s.median > 0.1 for s in others.values()):
        return Verdict("supported", effects)
    more = [s.median - folded[key[:2]].median for key, s in others.items()]
    return Verdict("refuted" if max(more) < 0.05 else "mixed", effects)


def rms_is_faster(result: Result) -> Verdict:
    """Is a training step with RMSNorm faster than one with layer norm?

    Supported if in every net that has both, by torch's layers and by this course's, it takes at
    most 98 % of the time; refuted if it takes at least as long in all; else mixed. Medians of
    ratios within seeds.
    """
    rows = result.keep(lambda row: row.get("pass") == "step" and row["norm"] in ("rms", "layer"))
    ms = {(r["seed"], r["net"], r["size"], r["layers"], r["norm"]): r["ms"] for r in rows.rows}
    places = dict.fromkeys(key[1:4] for key in ms)
    found = {
        place: spread(
            float(ms[(seed, *place, "rms")]) / float(ms[(seed, *place, "layer")])
            for seed in rows.seeds
        )
        for place in places
    }
    effects = tuple(Effect(f"RMS over layer, {p[0]} {p[1]}, {p[2]}", s) for p, s in found.items())
    if all(s.median <= 0.98 for s in found.values()):
        return Verdict("supported", effects)
    return Verdict("refuted" if min(s.median for s in found.values()) >= 1 else "mixed", effects)


def memory_bound(result: Result) -> Verdict:
    """Does layer norm cost what its bytes cost?

    It must read and write what a copy reads and writes. Supported if torch's layer norm takes at
    most 1.5 copies of a large array, refuted if 3 or more, else mixed. Medians over seeds.
    """
    names = [name for name in result.where(net="memory").distinct("norm") if name != "copy"]
    found = {name: result.spread("copies", net="memory", norm=name) for name in names}
    effects = tuple(Effect(name, s, "copies") for name, s in found.items())
    median = found["layer norm, torch"].median
    outcome = "supported" if median <= 1.5 else "refuted" if median >= 3 else "mixed"
    return Verdict(outcome, effects)  # type: ignore[arg-type]


EXPERIMENT = Experiment(
    name="norm_share",
    question="What share of the time of small nets goes into their norms?",
    run=run,
    live={
        "nets": {"mlp": [32, 512]},
        "norms": {"mlp": ["batch", "layer"]},
        "batch": {"mlp": 64},
        "rounds": 10,
        "memory": [],
    },
    full={
        "nets": {"mlp": [32, 128, 512], "conv": [16, 64], "transformer": [64]},
        "norms": {
            "mlp": ["batch", "layer", "rms"],
            "conv": ["batch", "group", "instance"],
            "transformer": ["layer", "rms"],
        },
        "batch": {"mlp": 64, "conv": 32, "transformer": 16},
        "rounds": 12,
        "memory": [16384, 768],
    },
    decisions={
        "cheap": cheap,
        "falls_with_width": falls_with_width,
        "folding_is_free": folding_is_free,
        "rms_is_faster": rms_is_faster,
        "memory_bound": memory_bound,
    },
)

"""Group normalization and the rest of the batch: the same to the last bit?

One image goes through a normalization layer, and through a whole convolutional net, three times:
with other companions, at another place of the batch, and in batches of other sizes. How far does
its output move? A convolution or a matrix product may sum in another order where the batch has
another size, and so round otherwise; so layers and nets are told apart, and a convolution and a
matrix product without any norm stand beside them.

Source: Wu & He, "Group Normalization", 2018 (independent of the batch by its formula).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from normcourse.experiments.data import load_digits
from normcourse.experiments.experiment import Experiment
from normcourse.experiments.models import NORMS, conv_net
from normcourse.experiments.result import Effect, Result, Row, Verdict
from normcourse.norms import batch_norm, group_norm

CHANNELS = 16
ROUNDING = 1e-5  # of the largest output, float32
Forward = Callable[[Tensor], Tensor]
# Word of a norm to its number of groups; 0 is batch normalization, in training mode.
GROUPS = {"batch": 0, "one group": 1, "group": 4, "instance": CHANNELS}
PARTS = ("NumPy layer", "course layer", "torch layer", "net")
PLAIN = ("convolution", "matrix product")  # parts without a norm


def forward_of(part: str, norm: str, generator: torch.Generator) -> Forward:
    """Return a function of a batch: a layer for (N, 16, H, W), or a net for digits."""
    if part == "convolution":
        return nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
    if part == "matrix product":
        return nn.Sequential(nn.Flatten(), nn.Linear(CHANNELS * 64, 10))
    groups = GROUPS[norm]
    if part == "net":
        return conv_net(generator, 10, channels=CHANNELS, norm=norm)
    if part == "course layer":
        return NORMS[norm](CHANNELS)
    if part == "torch layer":
        return nn.GroupNorm(groups, CHANNELS) if groups else nn.BatchNorm2d(CHANNELS)

    def by_numpy(x: Tensor) -> Tensor:
        batch = x.numpy()
        y = group_norm(batch, groups) if groups else batch_norm(batch)
        return torch.from_numpy(y)

    return by_numpy


def batches(x: Tensor, sizes: list[int]) -> Iterator[tuple[str, Tensor, int]]:
    """Yield what changes, a batch, and the place of image 0 of ``x`` in it; the first is plain."""
    usual = 16
    yield "nothing", x[:usual], 0
    for start in (usual, 2 * usual, 3 * usual):
        yield "companions", torch.cat([x[:1], x[start + 1 : start + usual]]), 0
    for place in (1, 7, usual - 1):
        yield "place", torch.cat([x[1 : place + 1], x[:1], x[place + 1 : usual]]), place
    for size in sizes:
        yield "size", x[:size], 0


@torch.no_grad()
def run(seed: int, *, norms: list[str], parts: list[str], sizes: list[int]) -> Iterator[Row]:
    """Yield a row per norm, part and kind of change: the largest change of one image's output.

    ``moved`` is in units of the largest output; ``bits`` says whether any bit is another.
    """
    digits = load_digits(torch.Generator().manual_seed(seed)).train_x
    for norm in (*norms, "none"):
        for part in PLAIN if norm == "none" else parts:
            torch.manual_seed(seed)  # torch draws the weights of plain layers by itself
            generator = torch.Generator().manual_seed(seed)
            forward = forward_of(part, norm, generator)
            if part == "net":
                x = digits
            else:
                x = torch.randn(max(64, *sizes), CHANNELS, 8, 8, generator=generator)
            moved: dict[str, float] = {}
            first: Tensor | None = None
            for change, batch, place in batches(x, sizes):
                y = forward(batch)[place].clone()
                if first is None:
                    first = y
                    continue
                gap = ((y - first).abs().max() / first.abs().max()).item()
                moved[change] = max(gap, moved.get(change, 0.0))
            for change, gap in moved.items():
                yield {
                    "norm": norm, "part": part, "change": change, "moved": gap, "bits": gap > 0,
                }  # fmt: skip


def ignores_the_batch(result: Result) -> Verdict:
    """Is an image's output under group normalization the same in any company, up to rounding?

    Supported if nothing changes it by more than a hundred-thousandth of the largest output, in
    layers and nets, from one group to one channel per group, while batch normalization moves by
    more; refuted if something does; mixed if batch normalization did not move either.
    """
    groups = result.keep(lambda row: row["norm"] not in ("batch", "none"))
    worst = max(groups.values("moved"))
    control = min(
        float(row["moved"]) for row in result.where(norm="batch").rows if row["change"] != "place"
    )
    effects = (
        Effect("largest change, any number of groups", groups.spread("moved")),
        Effect("change under batch norm", result.where(norm="batch").spread("moved")),
    )
    if worst > ROUNDING:
        return Verdict("refuted", effects)
    return Verdict("supported" if control > ROUNDING else "mixed", effects)


def to_the_last_bit(result: Result) -> Verdict:
    """Is it the same to the last bit?

    Supported if under group normalization no bit of any output is another, in layers and in nets;
    mixed if that holds for the layers and not for the nets; refuted if a layer's bits change.
    """
    groups = result.keep(lambda row: row["norm"] not in ("batch", "none"))
    layers = groups.keep(lambda row: row["part"] != "net")
    effects = (
        Effect("layers: share of cases with another bit", layers.spread("bits")),
        Effect("nets: share of cases with another bit", groups.where(part="net").spread("bits")),
    )
    if any(layers.values("bits")):
        return Verdict("refuted", effects)
    return Verdict("mixed" if any(groups.values("bits")) else "supported", effects)


EXPERIMENT = Experiment(
    name="group_company",
    question="Does an image's output under group normalization depend on its batch?",
    run=run,
    live={"norms": list(GROUPS), "parts": list(PARTS), "sizes": [1, 2, 3, 64]},
    full={
        "norms": list(GROUPS),
        "parts": list(PARTS),
        "sizes": [1, 2, 3, 5, 8, 31, 32, 64, 100, 256],
    },
    decisions={"ignores_the_batch": ignores_the_batch, "to_the_last_bit": to_the_last_bit},
)

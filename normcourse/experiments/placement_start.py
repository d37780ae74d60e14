"""What a fresh Transformer does with its norm in five places, block by block.

Nets over letters with 4, 16 and 64 blocks; for one seed all but "deep" have the same weights. One
batch of text goes forward and back once, nothing is trained:

    stream      mean square of what a block returns, over all its values
    gradient    norm of the loss' gradient by the block's last weight matrix
    flow        root mean square of the loss' gradient by what the block returns, over that by what
                the last block returns

Source: Xiong et al., "On Layer Normalization in the Transformer Architecture", 2020 (the gradient
by layer at initialization, Post-Norm against Pre-Norm).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from normcourse.experiments.experiment import Experiment
from normcourse.experiments.placement_nets import PLACES, fresh
from normcourse.experiments.result import Effect, Result, Row, Spread, Verdict, spread
from normcourse.experiments.text import load_text, windows
from normcourse.experiments.transformer import next_letter_loss

WIDTH, HEADS, LENGTH, BATCH_SIZE = 64, 4, 32, 8


def run(seed: int, *, places: Sequence[str], depths: Sequence[int]) -> Iterator[Row]:
    """Yield a row per place, depth and block; block 0 is what the first block reads."""
    text = load_text()
    for place in places:
        for depth in depths:
            generator = torch.Generator().manual_seed(seed)
            sizes = {"depth": depth, "width": WIDTH, "heads": HEADS, "length": LENGTH}
            net = fresh(generator, len(text.letters), place, **sizes)
            generator.manual_seed(seed)
            pieces = windows(text.train, length=LENGTH + 1, count=BATCH_SIZE, generator=generator)
            streams: list[torch.Tensor] = []
            blocks = list(net.sublayers)[1::2]
            handles = [net.sublayers[0].register_forward_pre_hook(_keep_input(streams))]
            handles += [block.register_forward_hook(_keep_output(streams)) for block in blocks]
            loss = next_letter_loss(net, pieces)
            weights = [block.sublayer[-1].weight for block in blocks]  # type: ignore[index, union-attr]
            gradients = torch.autograd.grad(loss, [*weights, *streams])
            for handle in handles:
                handle.remove()
            flows = [g.square().mean().sqrt().item() for g in gradients[depth:]]
            for block, (x, flow) in enumerate(zip(streams, flows, strict=True)):
                row: Row = {
                    "place": place,
                    "depth": depth,
                    "block": block,
                    "stream": x.detach().square().mean().item(),
                    "flow": flow / flows[-1],
                }
                if block:
                    row["gradient"] = gradients[block - 1].norm().item()
                yield row


def _keep_input(streams: list[torch.Tensor]):  # type: ignore[no-untyped-def]
    return lambda module, args: streams.append(args[0])


def _keep_output(streams: list[torch.Tensor]):  # type: ignore[no-untyped-def]
    return lambda module, args, output: streams.append(output)


def ends(result: Result, place: str, depth: int, column: str) -> tuple[list[float], list[float]]:
    """Return a column at the first and at the last block, a value per seed."""
    chosen = result.where(place=place, depth=depth)
    first, last = (chosen.where(block=block).values(column) for block in (1, depth))
    return [float(value) for value in first], [float(value) for value in last]


def growth(result: Result, place: str, depth: int) -> Spread:
    """Return how many times larger the stream is after the last block than after the first."""
    first, last = ends(result, place, depth, "stream")
    return spread(b / a for a, b in zip(first, last, strict=True))


def near_output(result: Result, depth: int) -> Spread:
    """Return how many times larger the last block's gradient is after Post-Norm than Pre-Norm."""
    post, pre = (ends(result, place, depth, "gradient")[1] for place in ("post", "pre"))
    return spread(a / b for a, b in zip(post, pre, strict=True))


def unevenness(result: Result, place: str, depth: int) -> Spread:
    """Return the largest gradient of any block over the smallest, per seed."""
    chosen = result.where(place=place, depth=depth).keep(lambda row: "gradient" in row)
    return spread(
        max(values) / min(values)
        for seed in chosen.seeds
        if (values := [float(v) for v in chosen.where(seed=seed).values("gradient")])
    )


def large_near_the_output(result: Result) -> Verdict:
    """Are the gradients near the output larger in a fresh Post-Norm net than in a Pre-Norm one?

    Supported if at every depth the last block's gradient is 1.5 times as large or more with
    Post-Norm, refuted if at every depth it is no larger, else mixed. Medians within seeds.
    """
    found = {depth: near_output(result, depth) for depth in result.distinct("depth")}
    effects = tuple(
        Effect(f"last gradient, Post-Norm over Pre-Norm, {n} blocks", s) for n, s in found.items()
    )
    if all(s.median >= 1.5 for s in found.values()):
        return Verdict("supported", effects)
    return Verdict("refuted" if all(s.median <= 1 for s in found.values()) else "mixed", effects)


def even_in_pre_norm(result: Result) -> Verdict:
    """Are the gradients of a fresh Pre-Norm net even, from the first block to the last?

    Supported if at every depth the largest gradient of a block is less than twice the smallest,
    refuted if at every depth it is twice as large or more, else mixed. Medians over seeds.
    """
    found = {depth: unevenness(result, "pre", depth) for depth in result.distinct("depth")}
    effects = tuple(
        Effect(f"largest gradient over smallest, Pre-Norm, {n} blocks", s) for n, s in found.items()
    )
    even = [s.median < 2 for s in found.values()]
    if all(even):
        return Verdict("supported", effects)
    return Verdict("mixed" if any(even) else "refuted", effects)


def controls_gradients(result: Result) -> Verdict:
    """Does a norm in every sublayer keep the gradients of all blocks alike?

    Supported if in every place, at the greatest depth, the largest gradient of a block is less than
    four times the smallest, refuted if in no place, else mixed. Medians over seeds.
    """
    depth = max(result.distinct("depth"))
    found = {place: unevenness(result, place, depth) for place in result.distinct("place")}
    effects = tuple(
        Effect(f"largest gradient over smallest, {p}, {depth} blocks", s) for p, s in found.items()
    )
    alike = [s.median < 4 for s in found.values()]
    if all(alike):
        return Verdict("supported", effects)
    return Verdict("mixed" if any(alike) else "refuted", effects)


def stream_grows(result: Result) -> Verdict:
    """Does Pre-Norm let the residual stream grow with depth?

    Supported if at every depth the stream is larger after the last block than after the first in
    nine seeds of ten or more, refuted if at every depth in half of the seeds or fewer, else mixed.
    """
    shares, effects = [], []
    for depth in result.distinct("depth"):
        first, last = ends(result, "pre", depth, "stream")
        shares.append(sum(b > a for a, b in zip(first, last, strict=True)) / len(first))
        found = growth(result, "pre", depth)
        effects.append(Effect(f"stream after last block over first, Pre-Norm, {depth}", found))
    if all(share >= 0.9 for share in shares):
        return Verdict("supported", tuple(effects))
    outcome = "refuted" if all(share <= 0.5 for share in shares) else "mixed"
    return Verdict(outcome, tuple(effects))  # type: ignore[arg-type]


def reset_at_every_block(result: Result) -> Verdict:
    """Is the stream set back to the same size in every block, wherever the norm stands?

    Supported if in every place, at the greatest depth, the stream after the last block is within a
    tenth of that after the first, refuted if in no place, else mixed. Medians over seeds.
    """
    depth = max(result.distinct("depth"))
    found = {place: growth(result, place, depth) for place in result.distinct("place")}
    effects = tuple(
        Effect(f"stream after last block over first, {p}, {depth} blocks", s)
        for p, s in found.items()
    )
    level = [0.9 <= s.median <= 1.1 for s in found.values()]
    if all(level):
        return Verdict("supported", effects)
    return Verdict("mixed" if any(level) else "refuted", effects)


EXPERIMENT = Experiment(
    name="placement_start",
    question="What does a fresh Transformer do with its norm in five places, block by block?",
    run=run,
    live={"places": list(PLACES), "depths": [4, 16]},
    full={"places": list(PLACES), "depths": [4, 16, 64]},
    decisions={
        "large_near_the_output": large_near_the_output,
        "even_in_pre_norm": even_in_pre_norm,
        "controls_gradients": controls_gradients,
        "stream_grows": stream_grows,
        "reset_at_every_block": reset_at_every_block,
    },
)

"""Does folding batch normalization into the layers before it change the net?

A trained net is folded, and its scores compared with those of the net it came from: in inference
mode, in three number formats; in training mode; and in inference mode again after more batches have
passed the unfolded net in training mode.

Source: Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", 2018, section 3.2.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from normcourse.experiments.data import Digits
from normcourse.experiments.experiment import Experiment
from normcourse.experiments.result import Effect, Result, Row, Verdict
from normcourse.experiments.trained import SHIFTS, trained_net
from normcourse.surgery import fold_batch_norms

DTYPES = {"float64": torch.float64, "float32": torch.float32, "bfloat16": torch.bfloat16}
SIZE = 32


def run(
    seed: int,
    *,
    nets: list[str],
    dtypes: list[str],
    batch_sizes: list[int],
    later: list[int],
    steps: int,
) -> Iterator[Row]:
    """Yield rows of three parts: "inference", "training" and "later"."""
    for name in nets:
        net, digits, generator = trained_net(seed, name, steps)
        for row in _parts(net, digits, generator, dtypes, batch_sizes, later):
            yield {"net": name, **row}


@torch.no_grad()
def _parts(
    net: nn.Sequential,
    digits: Digits,
    generator: torch.Generator,
    dtypes: list[str],
    batch_sizes: list[int],
    later: list[int],
) -> Iterator[Row]:
    x = digits.test_x
    exact = copy.deepcopy(net).double().eval()(x.double())
    for dtype in dtypes:
        cast = copy.deepcopy(net).to(DTYPES[dtype]).eval()
        whole = cast(x.to(DTYPES[dtype]))
        row = _compare(fold_batch_norms(cast)(x.to(DTYPES[dtype])), whole)
        rounding = _compare(whole, exact)["error"]
        yield {"part": "inference", "dtype": dtype, **row, "rounding": rounding}
    folded = fold_batch_norms(net)
    for size in batch_sizes:
        batches = torch.split(torch.randperm(len(x), generator=generator), size)
        used = copy.deepcopy(net).train()
        seen = torch.cat([batch for batch in batches if len(batch) == size])
        by_batch = torch.cat([used(x[batch]) for batch in batches if len(batch) == size])
        yield {"part": "training", "batch_size": size, **_compare(folded(x[seen]), by_batch)}
    moving = copy.deepcopy(net)
    for passed in range(max(later) + 1):
        if passed in later:
            row = _compare(folded(x), moving.eval()(x))
            yield {"part": "later", "batches": passed, **row}
        batch = torch.randperm(len(digits.train_x), generator=generator)[:SIZE]
        moving.train()(SHIFTS["pale"](digits.train_x[batch]))


def _compare(scores: Tensor, expected: Tensor) -> dict[str, float]:
    """Return the largest difference in units of the scores' spread, and the share of new answers.

    Scores that are no more than equal in the first place count as an answer kept.
    """
    a, b = scores.double(), expected.double()
    error = ((a - b).abs().max() / b.std()).item()
    chosen = b.gather(1, a.argmax(dim=1, keepdim=True))
    changed = (chosen.squeeze(1) < b.amax(dim=1)).double().mean().item()
    return {"error": error, "changed": changed}


def exact_in_inference(result: Result) -> Verdict:
    """Does folding leave a net in inference mode as it is, up to rounding?

    Supported if in float64 the largest difference of any seed stays below 1e-12 of the scores'
    spread, in float32 below 1e-4, and no answer changes in either; refuted if a median exceeds ten
    times these; else mixed.
    """
    allowed = {"float64": 1e-12, "float32": 1e-4}
    part = result.where(part="inference")
    worst = {dtype: max(part.where(dtype=dtype).values("error")) for dtype in allowed}
    changed = max(max(part.where(dtype=dtype).values("changed")) for dtype in allowed)
    effects = tuple(
        Effect(f"largest difference, {net}, {dtype}", part.spread("error", net=net, dtype=dtype))
        for net in part.distinct("net")
        for dtype in part.distinct("dtype")
    )
    if changed == 0 and all(worst[dtype] < allowed[dtype] for dtype in allowed):
        return Verdict("supported", effects)
    medians = {dtype: part.spread("error", dtype=dtype).median for dtype in allowed}
    far = any(medians[dtype] > 10 * allowed[dtype] for dtype in allowed)
    return Verdict("refuted" if far else "mixed", effects)


def same_in_training(result: Result) -> Verdict:
    """Does the folded net do what the unfolded one does in training mode?

    Refuted if at every batch size the largest difference exceeds a tenth of the scores' spread;
    supported if it stays below 1e-4 at every size; else mixed.
    """
    part = result.where(part="training")
    cases = [(n, s) for n in part.distinct("net") for s in part.distinct("batch_size")]
    spreads = {case: part.spread("error", net=case[0], batch_size=case[1]) for case in cases}
    effects = tuple(
        Effect(f"largest difference, {net}, batches of {size}", seen)
        for (net, size), seen in spreads.items()
    )
    if all(seen.low > 0.1 for seen in spreads.values()):
        return Verdict("refuted", effects)
    same = all(seen.high < 1e-4 for seen in spreads.values())
    return Verdict("supported" if same else "mixed", effects)


EXPERIMENT = Experiment(
    name="folding_error",
    question="Does folding batch normalization into the layers before it change the net?",
    run=run,
    live={
        "nets": ["mlp"],
        "dtypes": ["float64", "float32", "bfloat16"],
        "batch_sizes": [8, 360],
        "later": [0, 10],
        "steps": 300,
    },
    full={
        "nets": ["mlp", "conv"],
        "dtypes": ["float64", "float32", "bfloat16"],
        "batch_sizes": [4, 8, 24, 72, 180, 360],
        "later": [0, 1, 2, 5, 10, 20],
        "steps": 300,
    },
    decisions={"exact_in_inference": exact_in_inference, "same_in_training": same_in_training},
)

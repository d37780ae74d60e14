"""Does ``requires_grad = False`` freeze a backbone that is left in training mode?

A net trained on ten digits keeps its hidden layers, without gradients, and gets a new head: even or
odd, learned from 300 images of another look in batches of 8. Meanwhile the old head answers the old
test images.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from normcourse.experiments.data import Digits
from normcourse.experiments.experiment import Experiment
from normcourse.experiments.result import Effect, Result, Row, Verdict, spread
from normcourse.experiments.trained import SHIFTS, trained_net

BATCH, RATE, IMAGES = 8, 0.1, 300
MODES = {"training": True, "inference": False}  # of the backbone while the head learns


def run(
    seed: int, *, nets: list[str], shifts: list[str], marks: list[int], steps: int
) -> Iterator[Row]:
    """Yield one row per net, look of the new images, mode of the backbone and step of the head."""
    for name in nets:
        net, digits, generator = trained_net(seed, name, steps)
        state = generator.get_state()
        for shift in shifts:
            for mode in MODES:
                generator.set_state(state)  # both modes see the same batches
                for row in _fine_tune(net, digits, generator, shift, mode, marks):
                    yield {"net": name, "shift": shift, "mode": mode, **row}


def _fine_tune(
    net: nn.Sequential,
    digits: Digits,
    generator: torch.Generator,
    shift: str,
    mode: str,
    marks: list[int],
) -> Iterator[Row]:
    """Train a head of two classes; yield old and new accuracy at the marks, in inference mode."""
    backbone, old = copy.deepcopy(net)[:-1], net[-1]
    head = nn.Linear(old.in_features, 2)  # type: ignore[arg-type]
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    backbone.requires_grad_(False)
    optimizer = torch.optim.SGD(head.parameters(), lr=RATE)
    x = SHIFTS[shift](digits.train_x)
    new_x, new_t = SHIFTS[shift](digits.test_x), digits.test_t % 2
    for step in range(max(marks) + 1):
        if step in marks:
            backbone.eval()
            yield {
                "step": step,
                "old": _share(backbone, old, digits.test_x, digits.test_t),
                "new": _share(backbone, head, new_x, new_t),
                "weights_moved": _moved(backbone, net),
            }
        backbone.train(MODES[mode])
        batch = torch.randperm(IMAGES, generator=generator)[:BATCH]
        loss = nn.functional.cross_entropy(head(backbone(x[batch])), digits.train_t[batch] % 2)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()


@torch.no_grad()
def _share(backbone: nn.Module, head: nn.Module, x: Tensor, t: Tensor) -> float:
    right: float = (head(backbone(x)).argmax(dim=1) == t).float().mean().item()
    return right


@torch.no_grad()
def _moved(backbone: nn.Module, net: nn.Module) -> float:
    """Return the largest change of a weight of the backbone."""
    pairs = zip(backbone.parameters(), net.parameters(), strict=False)  # net has the head too
    return max((a - b).abs().max().item() for a, b in pairs)


def _lost(result: Result) -> list[float]:
    """Return the points that the old task has lost at the end, seed by seed."""
    ends = [result.where(step=end) for end in (0, max(result.distinct("step")))]
    first, last = ({int(row["seed"]): float(row["old"]) for row in end.rows} for end in ends)
    return [100 * (first[seed] - last[seed]) for seed in sorted(first)]


def requires_grad_freezes(result: Result) -> Verdict:
    """Does ``requires_grad = False`` keep the backbone's answers as they were?

    Refuted if in training mode the old task loses 5 points or more for some look of the new images
    in every net, and in inference mode nothing, while no weight moves; supported if it loses less
    than 1 point throughout; else mixed.
    """
    losses = {
        (net, shift): spread(_lost(result.where(net=net, shift=shift, mode="training")))
        for net in result.distinct("net")
        for shift in result.distinct("shift")
    }
    effects = tuple(
        Effect(f"old task lost, {net}, new images: {shift}", loss, "points")
        for (net, shift), loss in losses.items()
    )
    still = max(result.values("weights_moved")) == 0
    for net in result.distinct("net"):
        for shift in result.distinct("shift"):
            kept = _lost(result.where(net=net, shift=shift, mode="inference"))
            still = still and not any(kept)
    hurt = all(
        max(loss.median for (name, _), loss in losses.items() if name == net) >= 5
        for net in result.distinct("net")
    )
    if still and hurt:
        return Verdict("refuted", effects)
    small = all(loss.median < 1 for loss in losses.values())
    return Verdict("supported" if small else "mixed", effects)


def new_task_suffers(result: Result) -> Verdict:
    """Is the new task worse off, too, with the backbone in training mode?

    Supported if at the end it lies 2 points or more lower than with the backbone in inference mode,
    for every look of the images and every net; refuted if it lies as high or higher for all of
    them that differ from the old images; else mixed.
    """
    last = result.where(step=max(result.distinct("step")))
    losses = {}
    for net in result.distinct("net"):
        for shift in result.distinct("shift"):
            chosen = last.where(net=net, shift=shift)
            wrong, right = (
                {int(row["seed"]): float(row["new"]) for row in chosen.where(mode=mode).rows}
                for mode in MODES
            )
            losses[net, shift] = spread(100 * (right[seed] - wrong[seed]) for seed in right)
    effects = tuple(
        Effect(f"new task lost, {net}, new images: {shift}", loss, "points")
        for (net, shift), loss in losses.items()
    )
    if all(loss.median >= 2 for loss in losses.values()):
        return Verdict("supported", effects)
    better = all(loss.median <= 0 for (_, shift), loss in losses.items() if shift != "same")
    return Verdict("refuted" if better else "mixed", effects)


EXPERIMENT = Experiment(
    name="frozen_backbone",
    question="Does requires_grad = False freeze a backbone that is left in training mode?",
    run=run,
    live={"nets": ["mlp"], "shifts": ["same", "dim"], "marks": [0, 10, 30, 100], "steps": 300},
    full={
        "nets": ["mlp", "conv"],
        "shifts": ["same", "dim", "pale", "inverse"],
        "marks": [0, 1, 3, 10, 30, 100, 300],
        "steps": 300,
    },
    decisions={
        "requires_grad_freezes": requires_grad_freezes,
        "new_task_suffers": new_task_suffers,
    },
)

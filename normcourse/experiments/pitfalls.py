"""Pitfalls of normalization layers, each failing and mended on the digits.

Every pitfall is a function that yields the share of right answers on 360 test images for two arms
that differ in the lines the pitfall is about: ``failing`` and ``mended``. Sizes and rates were
chosen so that a failure, where there is one, shows within seconds; how much is lost belongs to
these small nets. A row that was refused, by an error of the layer, says so and has 0 right answers.

What each looks like, why, and the cure: :mod:`normcourse.experiments.pitfall_cards`.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from normcourse.experiments.data import Digits, load_digits
from normcourse.experiments.experiment import Experiment
from normcourse.experiments.models import MakeNorm, conv_net, mlp
from normcourse.experiments.result import Effect, Result, Row, Spread, Verdict, spread
from normcourse.experiments.train import accuracy, train
from normcourse.experiments.trained import SHIFTS, share_right, trained_net
from normcourse.modules import BatchNorm
from normcourse.surgery import fold_batch_norms

ARMS = ("failing", "mended")
EVERY = 20  # steps between two tests of a net in training

Rows = Iterator[Row]


def _digits(seed: int) -> tuple[Digits, torch.Generator]:
    generator = torch.Generator().manual_seed(seed)
    return load_digits(generator), generator


def _learning(
    arm: str,
    net: nn.Module,
    digits: Digits,
    generator: torch.Generator,
    *,
    steps: int,
    batch_size: int = 64,
    lr: float = 0.1,
    weight_decay: float = 0.0,
) -> Rows:
    """Train a net and yield its share of right test answers every few steps, in inference mode."""
    rows: list[Row] = []

    def watch(step: int, loss: float) -> None:
        if step % EVERY == 0:
            rows.append(_row(arm, step, accuracy(net, digits.test_x, digits.test_t)))

    train(
        net,
        digits.train_x,
        digits.train_t,
        steps=steps,
        generator=generator,
        batch_size=batch_size,
        lr=lr,
        weight_decay=weight_decay,
        watch=watch,
    )
    yield from rows
    last = accuracy(net, digits.test_x, digits.test_t)
    # training stops at a loss that is no number; the net stays as it is
    done = [int(row["x"]) for row in rows]
    for step in range(0, steps + 1, EVERY):
        if step not in done:
            yield _row(arm, step, last)


def _row(arm: str, x: float, right: float, refused: bool = False) -> Row:
    return {"arm": arm, "x": x, "right": right, "refused": refused}


# ---------------------------------------------------------------- the four classic ones


def tiny_batches(seed: int, steps: int) -> Rows:
    """Two images per batch: batch norm, then layer norm."""
    for arm, norm in zip(ARMS, ("batch", "layer"), strict=True):
        digits, generator = _digits(seed)
        net = mlp(generator, 64, 10, depth=2, width=64, norm=norm)
        yield from _learning(arm, net, digits, generator, steps=2 * steps, batch_size=2, lr=0.05)


def wrong_domain(seed: int, steps: int) -> Rows:
    """Five strengths of ink are the classes: instance norm, then batch norm."""
    for arm, norm in zip(ARMS, ("instance", "batch"), strict=True):
        digits, generator = _digits(seed)
        strengths = [torch.randint(5, t.shape, generator=generator) for t in digits[1::2]]
        x, test_x = (
            image * (0.2 * (level + 1)).view(-1, 1, 1, 1)
            for image, level in zip(digits[0::2], strengths, strict=True)
        )
        net = conv_net(generator, 5, norm=norm)
        told = Digits(x, strengths[0], test_x, strengths[1])
        yield from _learning(arm, net, told, generator, steps=steps)


def forgotten_eval(seed: int, steps: int) -> Rows:
    """A trained net answers in batches of a size, in training mode, then in inference mode."""
    net, digits, generator = trained_net(seed, "mlp", steps)
    order = torch.randperm(len(digits.test_x), generator=generator)
    for arm in ARMS:
        for size in (2, 4, 8, 16, 32, 64):
            used = copy.deepcopy(net).train(arm == "failing")
            batches = [batch for batch in torch.split(order, size) if len(batch) > 1]
            yield _row(arm, size, share_right(used, digits.test_x, digits.test_t, batches))


def initial_scale(seed: int, steps: int) -> Rows:
    """Every scale starts at 0 in a net without skips; then at 1."""
    for arm, scale in zip(ARMS, (0.0, 1.0), strict=True):
        digits, generator = _digits(seed)
        net = mlp(generator, 64, 10, depth=4, width=64, norm="batch")
        for name, value in net.named_parameters():
            if name.startswith("norm") and name.endswith("weight"):
                nn.init.constant_(value, scale)
        yield from _learning(arm, net, digits, generator, steps=steps)


# ---------------------------------------------------------------- axes and shapes


class ChannelNorm(nn.Module):
    """LayerNorm over the channels of (N, C, H, W), for each pixel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(x.movedim(1, -1)).movedim(-1, 1)
        return y


def layer_norm_axis(seed: int, steps: int) -> Rows:
    """LayerNorm(8) on 8 channels of 8x8 maps, tested on wider images; then one group of channels.

    The wider images have empty columns on both sides.
    """
    makes: tuple[MakeNorm, MakeNorm] = (nn.LayerNorm, lambda channels: nn.GroupNorm(1, channels))
    for arm, make in zip(ARMS, makes, strict=True):
        digits, generator = _digits(seed)
        made = conv_net(generator, 10, channels=8, depth=1, norm=make)
        first, last = made[:3], made[-2:]
        second = nn.Conv2d(8, 8, 3, padding=1)
        nn.init.normal_(second.weight, std=(2 / 72) ** 0.5, generator=generator)
        net = nn.Sequential(first, second, make(8), nn.ReLU(), nn.AdaptiveMaxPool2d(1), last)
        train(net, digits.train_x, digits.train_t, steps=2 * steps, generator=generator, lr=0.3)
        for margin in range(4):
            x = nn.functional.pad(digits.test_x, (margin, margin))
            yield _answers(arm, 8 + 2 * margin, net, x, digits.test_t)


def batch_norm_axis(seed: int, steps: int) -> Rows:
    """BatchNorm1d on (B, T, D) as it is, tested on shorter sequences; then transposed.

    A sequence is the eight rows of a digit, from the top; a shorter one lacks rows at the bottom.
    """
    for arm in ARMS:
        digits, generator = _digits(seed)
        net = RowNet(generator, transposed=arm == "mended")
        x, test_x = digits.train_x[:, 0], digits.test_x[:, 0]  # (B, T, D)
        train(net, x, digits.train_t, steps=steps, generator=generator, lr=0.1)
        for length in (8, 7, 6, 5):
            yield _answers(arm, length, net, test_x[:, :length], digits.test_t)


class RowNet(nn.Module):
    """Rows of a digit as tokens: embedding, batch norm, ReLU, weights of its place, scores."""

    def __init__(self, generator: torch.Generator, *, transposed: bool, width: int = 32) -> None:
        super().__init__()
        self.transposed = transposed
        self.embed = nn.Linear(8, width)
        self.norm = nn.BatchNorm1d(width if transposed else 8)
        self.scores = nn.Parameter(torch.empty(8, width, 10))
        nn.init.normal_(self.embed.weight, std=8**-0.5, generator=generator)
        nn.init.zeros_(self.embed.bias)
        nn.init.normal_(self.scores, std=(8 * width) ** -0.5, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x)  # (B, T, D)
        h = self.norm(h.transpose(1, 2)).transpose(1, 2) if self.transposed else self.norm(h)
        return torch.einsum("btd,tdk->bk", h.relu(), self.scores[: x.shape[1]])


def _answers(arm: str, at: float, net: nn.Module, x: Tensor, t: Tensor) -> Row:
    """Return a row of the answers to ``x``; a refusal has no right answers."""
    try:
        return _row(arm, at, accuracy(net, x, t))
    except (RuntimeError, ValueError):
        return _row(arm, at, 0.0, refused=True)


def one_pixel_maps(seed: int, steps: int) -> Rows:
    """Maps shrink to 1x1 under one channel per group; then under four groups."""
    for arm, groups in zip(ARMS, (16, 4), strict=True):
        digits, generator = _digits(seed)
        make = functools.partial(nn.GroupNorm, groups)
        net = conv_net(generator, 10, depth=4, norm=make)
        yield from _learning(arm, net, digits, generator, steps=steps, lr=0.3)


class PaddedNet(nn.Module):
    """Rows of a digit as a sequence: two convolutions with a norm; padding is cut after each.

    Args:
        per_position: LayerNorm over the channels of each position, else GroupNorm, whose groups
            pool all positions.
    """

    def __init__(self, generator: torch.Generator, *, per_position: bool) -> None:
        super().__init__()
        make: MakeNorm = ChannelNorm if per_position else lambda width: nn.GroupNorm(4, width)
        convs = [nn.Conv1d(8, 32, 3, padding=1), nn.Conv1d(32, 32, 3, padding=1)]
        self.convs = nn.ModuleList(convs)
        self.norms = nn.ModuleList([make(32), make(32)])
        self.scores = nn.Linear(32 * 8, 10)
        for weight in (*[conv.weight for conv in convs], self.scores.weight):
            fan_in = weight[0].numel()
            nn.init.normal_(weight, std=(2 / fan_in) ** 0.5, generator=generator)
        for bias in (*[conv.bias for conv in convs], self.scores.bias):
            if bias is not None:
                nn.init.zeros_(bias)

    def forward(self, x: Tensor) -> Tensor:
        real = (torch.arange(x.shape[-1]) < 8).float()
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = norm(conv(x)).relu() * real
        scores: Tensor = self.scores(x[..., :8].flatten(1))
        return scores


def padding(seed: int, steps: int) -> Rows:
    """Sequences of 8, padded to the length of others: statistics of all positions, then of each.

    The padding is a symbol of its own, 3 where pixels go from 0 to 1. A third arm is the failing
    one padded with zeros.
    """
    for arm, symbol in (("failing", 3.0), ("mended", 3.0), ("failing, zeros", 0.0)):
        digits, generator = _digits(seed)
        net = PaddedNet(generator, per_position=arm == "mended")
        x, test_x = digits.train_x[:, 0], digits.test_x[:, 0]
        train(net, x, digits.train_t, steps=steps, generator=generator, lr=0.1)
        for length in (8, 16, 32, 64):
            padded = nn.functional.pad(test_x, (0, length - 8), value=symbol)
            yield _answers(arm, length, net, padded, digits.test_t)


# ---------------------------------------------------------------- batches and modes


def last_batch(seed: int, steps: int) -> Rows:
    """Epochs of 129 images in batches of 16: the last has one; then it is dropped."""
    for arm in ARMS:
        digits, generator = _digits(seed)
        net = mlp(generator, 64, 10, depth=2, width=64, norm="batch")
        x, t = digits.train_x[:129], digits.train_t[:129]
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        step = 0
        while step <= steps:
            for batch in torch.split(torch.randperm(len(x), generator=generator), 16):
                if arm == "mended" and len(batch) == 1:
                    continue
                if step % 4 == 0 and step <= steps:
                    yield _row(arm, step, accuracy(net, digits.test_x, digits.test_t))
                net.train()
                try:
                    loss = nn.functional.cross_entropy(net(x[batch]), t[batch])
                except ValueError:  # one value per feature
                    for left in range(step + 1, steps + 1):
                        if left % 4 == 0:
                            yield _row(arm, left, 0.0, refused=True)
                    step = steps + 1
                    break
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                step += 1


def momentum(seed: int, steps: int) -> Rows:
    """Momentum 0.99, which another library calls slow; then 0.01 of PyTorch. Batches of 8."""
    for arm, share in zip(ARMS, (0.99, 0.01), strict=True):
        digits, generator = _digits(seed)
        net = mlp(
            generator,
            64,
            10,
            depth=3,
            width=64,
            norm=functools.partial(nn.BatchNorm1d, momentum=share),
        )
        yield from _learning(arm, net, digits, generator, steps=2 * steps, batch_size=8, lr=0.05)


def accumulation(seed: int, steps: int) -> Rows:
    """Gradients of 16 batches of two are added up: batch norm, then layer norm."""
    for arm, norm in zip(ARMS, ("batch", "layer"), strict=True):
        digits, generator = _digits(seed)
        net = mlp(generator, 64, 10, depth=2, width=64, norm=norm)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        for step in range(steps // 2 + 1):
            if step % 10 == 0:
                yield _row(arm, step, accuracy(net, digits.test_x, digits.test_t))
            batch = torch.randperm(len(digits.train_x), generator=generator)[:32]
            optimizer.zero_grad()
            for part in torch.split(batch, 2):
                scores = net.train()(digits.train_x[part])
                loss = nn.functional.cross_entropy(scores, digits.train_t[part]) / 16
                loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()


def polluted_statistics(seed: int, steps: int) -> Rows:
    """Pale images pass under no_grad in training mode; then in inference mode."""
    for arm in ARMS:
        net, digits, generator = trained_net(seed, "mlp", steps)
        for passed in range(41):
            if passed % 5 == 0:
                yield _row(arm, passed, accuracy(net, digits.test_x, digits.test_t))
            net.train(arm == "failing")
            picked = torch.randperm(len(digits.test_x), generator=generator)[:32]
            with torch.no_grad():
                net(SHIFTS["pale"](digits.test_x[picked]))


def frozen_backbone(seed: int, steps: int) -> Rows:
    """A new head learns inverse images on frozen weights; the old head answers the old images.

    The backbone is in training mode; then in inference mode.
    """
    for arm in ARMS:
        net, digits, generator = trained_net(seed, "mlp", steps)
        backbone, head = net[:-1].requires_grad_(False), nn.Linear(64, 10)
        nn.init.normal_(head.weight, std=1 / 8, generator=generator)
        optimizer = torch.optim.SGD(head.parameters(), lr=0.1)
        for step in range(41):
            if step % 5 == 0:
                yield _row(arm, step, accuracy(net, digits.test_x, digits.test_t))
            backbone.train(arm == "failing")
            batch = torch.randperm(len(digits.train_x), generator=generator)[:64]
            scores = head(backbone(SHIFTS["inverse"](digits.train_x[batch])))
            optimizer.zero_grad()
            nn.functional.cross_entropy(scores, digits.train_t[batch]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()


def folded_batch(seed: int, steps: int) -> Rows:
    """A net is folded with the statistics of the batch at hand; then with the running ones."""
    net, digits, _ = trained_net(seed, "mlp", steps)
    for arm in ARMS:
        for size in (4, 8, 16, 32, 64):
            used = copy.deepcopy(net).eval()
            if arm == "failing":
                _take_statistics(used, digits.train_x[:size])
            folded = fold_batch_norms(used)
            yield _row(arm, size, accuracy(folded, digits.test_x, digits.test_t))


@torch.no_grad()
def _take_statistics(net: nn.Sequential, x: Tensor) -> None:
    """Put the statistics of one batch in the place of the running ones."""
    for layer in net:
        if isinstance(layer, BatchNorm):
            assert layer.running_mean is not None
            assert layer.running_var is not None
            layer.running_mean.copy_(x.mean(0))
            layer.running_var.copy_(x.var(0, unbiased=False))
        x = layer(x)


# ---------------------------------------------------------------- numbers and optimizers


class HalfNorm(nn.Module):
    """Standardizes each feature over the batch, with statistics in a dtype of its own."""

    def __init__(self, dtype: torch.dtype, eps: float) -> None:
        super().__init__()
        self.dtype, self.eps = dtype, eps

    def forward(self, x: Tensor) -> Tensor:
        h = x.to(self.dtype)
        mean = h.mean(0)
        var = ((h - mean) ** 2).mean(0)
        return ((h - mean) / (var + self.eps).sqrt()).to(x.dtype)


def half_precision(seed: int, steps: int) -> Rows:
    """Pixels are standardized in float16 with an eps of 1e-8; then in float32 with 1e-5.

    Some pixels are empty in every image, so that their variance is 0.
    """
    kinds = ((torch.float16, 1e-8), (torch.float32, 1e-5))
    for arm, (dtype, eps) in zip(ARMS, kinds, strict=True):
        digits, generator = _digits(seed)
        net = mlp(generator, 64, 10, depth=1, width=64)
        whole = nn.Sequential(nn.Flatten(), HalfNorm(dtype, eps), net)
        yield from _learning(arm, whole, digits, generator, steps=steps, lr=0.05)


def weight_decay(seed: int, steps: int) -> Rows:
    """Weight decay of 0.1 on everything; then on weights of linear layers alone."""
    for arm in ARMS:
        digits, generator = _digits(seed)
        net = mlp(generator, 64, 10, depth=6, width=64, norm="batch")
        spared = [v for n, v in net.named_parameters() if v.ndim == 1]
        rest = [v for n, v in net.named_parameters() if v.ndim > 1]
        decay = 0.1
        optimizer = torch.optim.SGD(
            [
                {"params": rest, "weight_decay": decay},
                {"params": spared, "weight_decay": decay if arm == "failing" else 0.0},
            ],
            lr=0.1,
        )
        for step in range(steps + 1):
            if step % EVERY == 0:
                yield _row(arm, step, accuracy(net, digits.test_x, digits.test_t))
            batch = torch.randperm(len(digits.train_x), generator=generator)[:64]
            loss = nn.functional.cross_entropy(net(digits.train_x[batch]), digits.train_t[batch])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()


PITFALLS: dict[str, Callable[[int, int], Rows]] = {
    "tiny_batches": tiny_batches,
    "wrong_domain": wrong_domain,
    "forgotten_eval": forgotten_eval,
    "initial_scale": initial_scale,
    "layer_norm_axis": layer_norm_axis,
    "batch_norm_axis": batch_norm_axis,
    "one_pixel_maps": one_pixel_maps,
    "padding": padding,
    "last_batch": last_batch,
    "momentum": momentum,
    "accumulation": accumulation,
    "polluted_statistics": polluted_statistics,
    "frozen_backbone": frozen_backbone,
    "folded_batch": folded_batch,
    "half_precision": half_precision,
    "weight_decay": weight_decay,
}

# ---------------------------------------------------------------- what the rows say

# Where a sweep is hardest; elsewhere the last place of a curve counts.
HARDEST = {"forgotten_eval": 2, "folded_batch": 4}
# Pitfalls that are a choice of a norm for a situation, not a slip in its use.
CHOICES = ("tiny_batches", "wrong_domain", "one_pixel_maps", "padding", "accumulation")
CHANCE = {"wrong_domain": 0.2}  # of five classes; of ten elsewhere
CLEAR = 0.05


def run(seed: int, *, pitfalls: Sequence[str], steps: int) -> Iterator[Row]:
    """Yield the rows of some pitfalls: arm, place on the curve, share of right answers, refused.

    Args:
        seed: of split, weights and batches; both arms start alike.
        pitfalls: words of ``PITFALLS``.
        steps: of training; some pitfalls make twice or half as many.
    """
    for name in pitfalls:
        for row in PITFALLS[name](seed, steps):
            yield {"pitfall": name, **row}


def ends(result: Result, name: str) -> dict[str, dict[int, float]]:
    """Return for each arm of a pitfall the share of right answers, by seed, where it counts."""
    chosen = result.where(pitfall=name)
    at = HARDEST.get(name, max(chosen.distinct("x")))
    return {
        arm: {int(row["seed"]): float(row["right"]) for row in chosen.where(arm=arm, x=at).rows}
        for arm in ARMS
    }


def cost(result: Result, name: str) -> Spread:
    """Return what the failing arm of a pitfall loses to the mended one, within seeds."""
    found = ends(result, name)
    return spread(found["mended"][seed] - found["failing"][seed] for seed in result.seeds)


def each_fails(result: Result) -> Verdict:
    """Does each pitfall cost right answers, and does its cure bring them back?

    Supported if in every pitfall the failing arm is 5 points or more below the mended one, refuted
    if in none, else mixed. Medians of differences within seeds, at the end of a curve (forgotten
    eval, folded batch: at the smallest batch).
    """
    costs = {name: cost(result, name) for name in result.distinct("pitfall")}
    effects = tuple(Effect(f"lost to {name}", s) for name, s in costs.items())
    clear = [s.median >= CLEAR for s in costs.values()]
    if all(clear):
        return Verdict("supported", effects)
    return Verdict("mixed" if any(clear) else "refuted", effects)


def wrong_choice_breaks(result: Result) -> Verdict:
    """Does a norm that does not fit its situation break the net?

    Of five pitfalls that are a wrong choice rather than a slip. Broken is a net that keeps a tenth
    or less of the mended net's lead over chance. Supported if the wrong choice breaks the net in
    all five, refuted if in none, else mixed. Medians within seeds.
    """
    effects, broken = [], []
    for name in CHOICES:
        found, chance = ends(result, name), CHANCE.get(name, 0.1)
        kept = spread(
            (found["failing"][seed] - chance) / max(found["mended"][seed] - chance, 1e-9)
            for seed in result.seeds
        )
        effects.append(Effect(f"share of the lead over chance kept, {name}", kept))
        broken.append(kept.median <= 0.1)
    if all(broken):
        return Verdict("supported", tuple(effects))
    return Verdict("mixed" if any(broken) else "refuted", tuple(effects))


EXPERIMENT = Experiment(
    name="pitfalls",
    question="Does each pitfall fail as it is told, and does its cure help?",
    run=run,
    live={"pitfalls": ["initial_scale", "one_pixel_maps", "half_precision"], "steps": 60},
    full={"pitfalls": list(PITFALLS), "steps": 160},
    decisions={"each_fails": each_fails, "wrong_choice_breaks": wrong_choice_breaks},
)

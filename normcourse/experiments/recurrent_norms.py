"""A recurrent net over letters: no norm, layer normalization, batch normalization.

The norm stands before the tanh of every step, on the sum of what comes from the input and from the
state. In training batch normalization pools the sequences of a batch, step by step. For inference
it keeps running statistics, once for all steps together and once for each step of its own; behind
the last step of the training those of that step are used on.

With a gain of 4 the first weights are four times too large. Tested on sequences as long as those of
the training and four times as long. Where several learning rates are given, every arm
has the one that serves it best on text that is neither trained on nor tested with.

Sources: Ba, Kiros & Hinton, "Layer Normalization", 2016; Cooijmans et al., "Recurrent Batch
Normalization", 2017.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from normcourse.experiments.experiment import Experiment
from normcourse.experiments.result import Effect, Result, Row, Spread, Verdict, spread
from normcourse.experiments.sequence_norms import IGNORED, Batch, Draw, fit, loss_in, pieces_of
from normcourse.experiments.text import load_text

LENGTH, LONGER, WIDTH, TEST = 16, 64, 48, 256
READINGS = {"none": ["own"], "layer": ["own"], "batch": ["together", "per step"]}


class StepNorm(nn.Module):
    """Batch normalization at a step; running statistics for all steps and for each one."""

    mean: Tensor
    var: Tensor

    def __init__(self, width: int, steps: int, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__()
        self.steps, self.momentum, self.eps, self.reading = steps, momentum, eps, "per step"
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.register_buffer("mean", torch.zeros(steps, width))
        self.register_buffer("var", torch.ones(steps, width))

    def forward(self, x: Tensor, step: int) -> Tensor:
        """Return the normalized pre-activations (B, D) of a step."""
        step = min(step, self.steps - 1)
        if self.training or self.reading == "per step":
            running = self.mean[step], self.var[step]
        else:  # the moments of all steps together
            mean = self.mean.mean(dim=0)
            running = mean, self.var.mean(dim=0) + (self.mean - mean).square().mean(dim=0)
        return nn.functional.batch_norm(
            x, *running, self.weight, self.bias, self.training, self.momentum, self.eps
        )


class RecurrentNet(nn.Module):
    """Letters to scores through tanh(norm(h wᵀ + u[letter])).

    Args:
        generator: draws the weights.
        letters: size of the alphabet.
        word: "none", "layer" or "batch".
        gain: factor of the weights before the norm.

    Example:
        >>> net = RecurrentNet(torch.Generator().manual_seed(0), 9, "layer")
        >>> net(torch.zeros(2, 5, dtype=torch.int64)).shape
        torch.Size([2, 5, 9])
    """

    def __init__(
        self, generator: torch.Generator, letters: int, word: str, gain: float = 1.0
    ) -> None:
        super().__init__()
        self.u = nn.Embedding(letters, WIDTH)
        self.w = nn.Linear(WIDTH, WIDTH, bias=word == "none")
        self.norm: nn.Module = nn.Identity()
        if word == "layer":
            self.norm = nn.LayerNorm(WIDTH)
        elif word == "batch":
            self.norm = StepNorm(WIDTH, LENGTH)
        self.scores = nn.Linear(WIDTH, letters)
        with torch.no_grad():
            self.u.weight.normal_(0, 0.5 * gain, generator=generator)
            for layer, factor in ((self.w, gain), (self.scores, 1.0)):
                layer.weight.normal_(0, factor * WIDTH**-0.5, generator=generator)
                if layer.bias is not None:
                    layer.bias.zero_()

    def forward(self, letters: Tensor) -> Tensor:
        """Return scores (B, T, letters)."""
        given = self.u(letters)  # (B, T, D)
        h, states = torch.zeros_like(given[:, 0]), []
        for t in range(letters.shape[1]):
            summed = self.w(h) + given[:, t]
            normed = self.norm(summed, t) if isinstance(self.norm, StepNorm) else self.norm(summed)
            h = torch.tanh(normed)
            states.append(h)
        scores: Tensor = self.scores(torch.stack(states, dim=1))
        return scores


def _draw(text: Tensor, length: int, sequences: int, generator: torch.Generator) -> Draw:
    def draw() -> Batch:
        return pieces_of(
            text, length=length, sequences=sequences, places=sequences, generator=generator
        )

    return draw


def run(
    seed: int,
    *,
    norms: list[str],
    settings: list[tuple[int, float]],
    rates: list[float],
    steps: int,
) -> Iterator[Row]:
    """Yield a row per norm, batch size, gain and reading of the running statistics.

    ``loss`` is the test loss in nats at the length of the training, ``longer`` that of the later
    letters of sequences four times as long, ``loss_batch`` that in training mode.

    Args:
        seed: of weights and text.
        norms: "none", "layer", "batch".
        settings: pairs of sequences per batch and gain of the first weights.
        rates: learning rates to choose from.
        steps: of training.
    """
    text = load_text()
    held, train = text.train[:20000], text.train[20000:]
    for word in norms:
        for size, gain in settings:
            best: tuple[float, float, RecurrentNet | None] = (math.inf, rates[0], None)
            for rate in rates:
                generator = torch.Generator().manual_seed(seed)
                net = RecurrentNet(generator, len(text.letters), word, gain)
                fit(net, _draw(train, LENGTH, size, generator), steps=steps, lr=rate)
                chosen = [_draw(held, LENGTH, TEST, torch.Generator().manual_seed(seed))()]
                loss = loss_in(net, chosen, training=False)
                if best[2] is None or loss < best[0]:
                    best = (loss, rate, net)
            assert best[2] is not None
            tested = torch.Generator().manual_seed(1000 + seed)
            usual = [_draw(text.test, LENGTH, size, tested)() for _ in range(TEST // size)]
            arm: Row = {"norm": word, "size": size, "gain": gain, "rate": best[1]}
            for losses in _losses(best[2], word, usual, text.test, tested):
                yield {**arm, **losses}


def _losses(
    net: RecurrentNet, word: str, usual: list[Batch], test: Tensor, generator: torch.Generator
) -> Iterator[Row]:
    """Yield the losses with each reading of the running statistics."""
    at_once = [Batch(*(torch.cat(parts) for parts in zip(*usual, strict=True)))]
    long = _draw(test, LONGER, TEST // 2, generator)()
    later = long.targets.clone()
    later[:, :LENGTH] = IGNORED  # letters that a training sequence has too
    for reading in READINGS[word]:
        if isinstance(net.norm, StepNorm):
            net.norm.reading = reading
        yield {
            "reading": reading,
            "loss": loss_in(net, at_once, training=False),
            "longer": loss_in(net, [long._replace(targets=later)], training=False),
            "loss_batch": loss_in(net, usual, training=True),
        }


def gap(result: Result, norm: str, against: str, size: int, gain: float = 1.0) -> Spread:
    """Return by how much one norm's loss lies below another's, per seed; batch norm per step."""
    rows = result.where(size=size, gain=gain).keep(lambda row: row["reading"] != "together").rows
    loss = {(row["seed"], row["norm"]): float(row["loss"]) for row in rows}
    return spread(loss[seed, against] - loss[seed, norm] for seed in result.seeds)


def layer_norm_helps(result: Result) -> Verdict:
    """Does layer normalization help a recurrent net whose weights start at a good size?

    Supported if at every batch size its loss lies 0.03 nats or more below that without a norm,
    refuted if at none it lies below, else mixed. Medians of differences within seeds.
    """
    sizes = result.where(gain=1.0).distinct("size")
    found = {size: gap(result, "layer", "none", size) for size in sizes}
    effects = tuple(
        Effect(f"layer norm below no norm, {n} sequences", s, "nats") for n, s in found.items()
    )
    if all(s.median >= 0.03 for s in found.values()):
        return Verdict("supported", effects)
    return Verdict("refuted" if all(s.median <= 0 for s in found.values()) else "mixed", effects)


def layer_norm_forgives(result: Result) -> Verdict:
    """Does layer normalization undo weights that start too large?

    Supported if the largest gain costs a net without norm 0.1 nats or more and one with layer
    normalization at most a third of that; refuted if it costs both alike, within 0.03 nats, or the
    one without at most 0.03; else mixed. Medians of differences within seeds.
    """
    most = max(result.distinct("gain"))
    size = max(result.where(gain=most).distinct("size"))
    costs = {}
    for norm in ("none", "layer"):
        rows = result.where(norm=norm, size=size).rows
        loss = {(row["seed"], row["gain"]): float(row["loss"]) for row in rows}
        costs[norm] = spread(loss[seed, most] - loss[seed, 1.0] for seed in result.seeds)
    effects = tuple(
        Effect(f"cost of weights {most:g} times as large, norm: {n}", s, "nats")
        for n, s in costs.items()
    )
    plain, layer = costs["none"].median, costs["layer"].median
    if plain <= 0.03 or abs(plain - layer) <= 0.03:
        return Verdict("refuted", effects)
    return Verdict("supported" if plain >= 0.1 and layer <= plain / 3 else "mixed", effects)


def batch_norm_works(result: Result) -> Verdict:
    """Does batch normalization with statistics for each step work in a recurrent net?

    Supported if at the largest batch its loss lies at most 0.03 nats above that of layer
    normalization, refuted if it lies above that without a norm, else mixed. Medians of differences
    within seeds.
    """
    sizes = result.where(gain=1.0).distinct("size")
    found = {size: gap(result, "batch", "layer", size) for size in sizes}
    plain = gap(result, "batch", "none", max(sizes))
    effects = (
        *(
            Effect(f"batch norm below layer norm, {n} sequences", s, "nats")
            for n, s in found.items()
        ),
        Effect(f"batch norm below no norm, {max(sizes)} sequences", plain, "nats"),
    )
    if plain.median < 0:
        return Verdict("refuted", effects)
    return Verdict("supported" if found[max(sizes)].median >= -0.03 else "mixed", effects)


def steps_differ(result: Result) -> Verdict:
    """Is it needed that each step has running statistics of its own?

    Supported if one set for all steps costs 0.03 nats or more at every batch size, refuted if at
    most 0.01 at every one, else mixed. Medians of differences within seeds.
    """
    found = {}
    for size in result.where(gain=1.0).distinct("size"):
        rows = result.where(norm="batch", size=size, gain=1.0).rows
        loss = {(row["seed"], row["reading"]): float(row["loss"]) for row in rows}
        found[size] = spread(loss[s, "together"] - loss[s, "per step"] for s in result.seeds)
    effects = tuple(
        Effect(f"cost of one set for all steps, {n} sequences", s, "nats") for n, s in found.items()
    )
    if all(s.median >= 0.03 for s in found.values()):
        return Verdict("supported", effects)
    return Verdict("refuted" if all(s.median <= 0.01 for s in found.values()) else "mixed", effects)


EXPERIMENT = Experiment(
    name="recurrent_norms",
    question="What do norms do in a recurrent net, and which statistics does inference need?",
    run=run,
    live={
        "norms": ["none", "layer", "batch"],
        "settings": [[16, 1.0]],
        "rates": [1e-2],
        "steps": 40,
    },
    full={
        "norms": ["none", "layer", "batch"],
        "settings": [[4, 1.0], [32, 1.0], [32, 4.0]],
        "rates": [1e-2],
        "steps": 100,
    },
    decisions={
        "layer_norm_helps": layer_norm_helps,
        "layer_norm_forgives": layer_norm_forgives,
        "batch_norm_works": batch_norm_works,
        "steps_differ": steps_differ,
    },
)

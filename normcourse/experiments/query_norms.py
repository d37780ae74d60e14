"""Attention whose queries and keys are normalized, at ordinary and at too large learning rates.

The same small pre-norm Transformer with layer norm, with and without RMSNorm of queries and keys.
After training at each rate:

    loss    nats per letter of test text
    score   the largest absolute product of a query and a key, over sqrt(d), on test text

Sources: Henry et al. 2020 (queries and keys on a sphere); Dehghani et al. 2023 (against growing
attention scores in large vision Transformers).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from normcourse.experiments.experiment import Experiment
from normcourse.experiments.leaner_norms import BATCH_SIZE, LENGTH, SAME, TEST_LETTERS, make_net
from normcourse.experiments.result import Effect, Result, Row, Spread, Verdict, spread
from normcourse.experiments.text import in_order, load_text
from normcourse.experiments.transformer import CausalAttention, language_loss, train_language


@torch.no_grad()
def largest_score(net: nn.Module, letters: Tensor) -> float:
    """Return the largest absolute score before the softmax, over all layers, heads and pairs."""
    found: list[float] = []

    def look(layer: nn.Module, inputs: tuple[Tensor, ...], _: Tensor) -> None:
        if isinstance(layer, CausalAttention):
            parts = layer.project_in(inputs[0]).unflatten(-1, (3, layer.heads, -1))
            q, k, _v = parts.permute(2, 0, 3, 1, 4)  # each (B, heads, T, d)
            product = layer.norm_q(q) @ layer.norm_k(k).mT
            seen = product.tril() / q.shape[-1] ** 0.5
            found.append(seen.abs().max().item())

    layers = [layer for layer in net.modules() if isinstance(layer, CausalAttention)]
    handles = [layer.register_forward_hook(look) for layer in layers]
    net(letters)
    for handle in handles:
        handle.remove()
    return max(found)


def run(seed: int, *, rates: Sequence[float], depth: int, steps: int) -> Iterator[Row]:
    """Yield a row per rate, with and without QK-norm: ``loss`` and ``score``."""
    text = load_text()
    letters = in_order(text.test, length=LENGTH)[:32]
    for rate in rates:
        for queries in (False, True):
            generator = torch.Generator().manual_seed(seed)
            net = make_net(generator, "layer", depth=depth, queries=queries)
            train_language(
                net,
                text.train,
                steps=steps,
                length=LENGTH,
                generator=generator,
                batch_size=BATCH_SIZE,
                lr=rate,
                warmup=10,
            )
            yield {
                "rate": rate,
                "qk_norm": queries,
                "loss": language_loss(net, text.test[:TEST_LETTERS], length=LENGTH),
                "score": largest_score(net, letters),
            }


def gain(result: Result, rate: float) -> Spread:
    """Return by how many nats QK-norm lowers the test loss at a rate, seed by seed."""
    plain, normed = (
        {int(row["seed"]): float(row["loss"]) for row in result.where(rate=rate, qk_norm=on).rows}
        for on in (False, True)
    )
    return spread(plain[seed] - normed[seed] for seed in result.seeds)


def scores_stay_bounded(result: Result) -> Verdict:
    """Do normalized queries and keys keep the scores small where they grow without?

    Supported if at the largest rate the largest score is at least ten times as large without as
    with QK-norm (medians over seeds), refuted if it is at most twice as large, else mixed.
    """
    rate = max(result.distinct("rate"))
    plain, normed = (result.spread("score", rate=rate, qk_norm=on) for on in (False, True))
    effects = (
        Effect(f"largest score without, rate {rate:g}", plain),
        Effect(f"largest score with QK-norm, rate {rate:g}", normed),
    )
    ratio = plain.median / normed.median
    if ratio >= 10:
        return Verdict("supported", effects)
    return Verdict("refuted" if ratio <= 2 else "mixed", effects)


def helps_at_large_rates_only(result: Result) -> Verdict:
    """Does QK-norm lower the loss at the largest rate, and hardly at the smallest?

    Supported if the gain is more than 0.1 nats per letter at the largest rate in three seeds of
    four and its median at most 0.02 at the smallest; refuted if the median gain at the largest rate
    is at most 0.02; else mixed.
    """
    rates = sorted(result.distinct("rate"))
    small, large = gain(result, rates[0]), gain(result, rates[-1])
    effects = (
        Effect(f"gain at rate {rates[0]:g}", small, "nats"),
        Effect(f"gain at rate {rates[-1]:g}", large, "nats"),
    )
    if large.low > 0.1 and small.median <= SAME:
        return Verdict("supported", effects)
    return Verdict("refuted" if large.median <= SAME else "mixed", effects)


EXPERIMENT = Experiment(
    name="query_norms",
    question="What does normalizing queries and keys change, at which learning rates?",
    run=run,
    live={"rates": [0.1], "depth": 2, "steps": 60},
    full={"rates": [0.01, 0.03, 0.1], "depth": 2, "steps": 80},
    decisions={
        "scores_stay_bounded": scores_stay_bounded,
        "helps_at_large_rates_only": helps_at_large_rates_only,
    },
)

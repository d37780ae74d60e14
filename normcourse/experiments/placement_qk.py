"""Why a norm at the end of the branch alone wants queries and keys normalized too.

Fresh nets over letters, Res-Post-Norm and Sandwich, each plain and with QK-norm (RMSNorm on the
queries and keys of every head). With Res-Post-Norm attention reads the stream as large as it has
become; its products of queries and keys grow with the stream's square.

    gradient    norm of the loss' gradient by the block's last weight matrix
    sharpness   largest weight that a position gives another, mean over those that see eight or more

Sources: Henry et al., "Query-Key Normalization for Transformers", 2020; Liu et al., "Swin
Transformer V2", 2022 (cosine attention beside Res-Post-Norm).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from normcourse.experiments.experiment import Experiment
from normcourse.experiments.result import Effect, Result, Row, Spread, Verdict, spread
from normcourse.experiments.text import load_text, windows
from normcourse.experiments.transformer import CausalAttention, CharTransformer, next_letter_loss

WIDTH, HEADS, LENGTH, BATCH_SIZE = 64, 4, 32, 8
SEEN = 8  # positions that a position sees at least, where sharpness is taken


def run(seed: int, *, places: Sequence[str], depths: Sequence[int]) -> Iterator[Row]:
    """Yield a row per place, depth, with and without QK-norm, and block."""
    text = load_text()
    for place in places:
        for depth in depths:
            for qk in (False, True):
                generator = torch.Generator().manual_seed(seed)
                net = CharTransformer(
                    generator,
                    len(text.letters),
                    length=LENGTH,
                    depth=depth,
                    width=WIDTH,
                    heads=HEADS,
                    norm=nn.LayerNorm,
                    placement=place,
                    qk_norm=nn.RMSNorm if qk else None,
                )
                generator.manual_seed(seed)
                pieces = windows(
                    text.train, length=LENGTH + 1, count=BATCH_SIZE, generator=generator
                )
                for block, (gradient, sharp) in enumerate(profile(net, pieces), start=1):
                    yield {
                        "place": place,
                        "depth": depth,
                        "qk": qk,
                        "block": block,
                        "gradient": gradient,
                        "sharpness": sharp,
                    }


def profile(net: CharTransformer, pieces: Tensor) -> list[tuple[float, float]]:
    """Return the gradient and the sharpness of each block."""
    sharp: list[float] = []
    attentions = [part for part in net.modules() if isinstance(part, CausalAttention)]
    handles = [
        part.register_forward_pre_hook(lambda part, args: sharp.append(sharpness(part, args[0])))
        for part in attentions
    ]
    loss = next_letter_loss(net, pieces)
    for handle in handles:
        handle.remove()
    weights = [part.sublayer[-1].weight for part in list(net.sublayers)[1::2]]  # type: ignore[index, union-attr]
    gradients = torch.autograd.grad(loss, weights)
    return [(g.norm().item(), s) for g, s in zip(gradients, sharp, strict=True)]


@torch.no_grad()
def sharpness(attention: nn.Module, x: Tensor) -> float:
    """Return the mean of the largest attention weight, for positions that see enough others."""
    assert isinstance(attention, CausalAttention)
    q, k, _ = attention.project_in(x).unflatten(-1, (3, attention.heads, -1)).unbind(2)
    q, k = (attention.norm_q(q).transpose(1, 2), attention.norm_k(k).transpose(1, 2))
    products = q @ k.mT / q.shape[-1] ** 0.5  # (B, heads, T, T)
    hidden = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
    weights = products.masked_fill(hidden, -torch.inf).softmax(-1)
    sharp: float = weights.amax(-1)[..., SEEN - 1 :].mean().item()
    return sharp


def unevenness(result: Result, place: str, depth: int, *, qk: bool) -> Spread:
    """Return the largest gradient of any block over the smallest, per seed."""
    chosen = result.where(place=place, depth=depth, qk=qk)
    each = [[float(v) for v in chosen.where(seed=s).values("gradient")] for s in chosen.seeds]
    return spread(max(values) / min(values) for values in each)


def evens_res_post(result: Result) -> Verdict:
    """Does QK-norm make the gradients of a deep fresh Res-Post-Norm net more even?

    Supported if at the greatest depth the largest gradient over the smallest is, with QK-norm, a
    tenth or less of what it is without; refuted if it is half of that or more; else mixed. Medians
    over seeds.
    """
    depth = max(result.distinct("depth"))
    plain, normed = (unevenness(result, "res-post", depth, qk=qk) for qk in (False, True))
    effects = (
        Effect(f"largest gradient over smallest, plain, {depth} blocks", plain),
        Effect(f"largest gradient over smallest, QK-norm, {depth} blocks", normed),
    )
    if normed.median <= 0.1 * plain.median:
        return Verdict("supported", effects)
    return Verdict("refuted" if normed.median >= 0.5 * plain.median else "mixed", effects)


def attention_sharpens(result: Result) -> Verdict:
    """In a deep fresh Res-Post-Norm net, does attention become nearly hard toward the output?

    Supported if at the greatest depth the largest weight is above 0.9 in the last block without
    QK-norm and below 0.5 with it, refuted if it is below 0.5 without, else mixed. Medians over
    seeds.
    """
    depth = max(result.distinct("depth"))
    last = result.where(place="res-post", depth=depth, block=depth)
    plain, normed = (last.spread("sharpness", qk=qk) for qk in (False, True))
    effects = (
        Effect(f"largest attention weight, plain, last of {depth} blocks", plain),
        Effect(f"largest attention weight, QK-norm, last of {depth} blocks", normed),
    )
    if plain.median > 0.9 and normed.median < 0.5:
        return Verdict("supported", effects)
    return Verdict("refuted" if plain.median < 0.5 else "mixed", effects)


EXPERIMENT = Experiment(
    name="placement_qk",
    question="What does QK-norm do to a deep fresh net with its norms at the end of the branch?",
    run=run,
    live={"places": ["res-post"], "depths": [16]},
    full={"places": ["res-post", "sandwich"], "depths": [16, 64]},
    decisions={"evens_res_post": evens_res_post, "attention_sharpens": attention_sharpens},
)

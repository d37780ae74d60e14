"""Chapter 06: when the batch is the problem, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from normcourse.checks.draws import as_float32, parameters
from normcourse.checks.exercise import Case, Exercise, Inputs, Mistake, Stage
from normcourse.checks.variants import (
    affine_mistakes,
    default_eps_mistakes,
    normalize,
    statistics_mistakes,
)
from normcourse.norms.ghost_batch_norm import ghost_batch_norm
from normcourse.norms.masked_batch_norm import masked_batch_norm
from normcourse.norms.moments import merge_moments

_NOTEBOOK = "06_batch_norm_limits"

# ---------------------------------------------------------------- merge_moments

_MERGE_SECTION = "Merging moments across workers"


def _merge_reference(counts: Any, means: Any, variances: Any) -> Any:
    return merge_moments(counts, means, variances)


def _merge_variant(
    counts: Any,
    means: Any,
    variances: Any,
    *,
    mean_weights: str = "counts",
    within: str = "counts",
    between: str = "counts",
    center: str = "merged",
    square: bool = True,
    ddof: int = 0,
    parts_ddof: int = 0,
    spread: str = "variance",
    one_pass: bool = False,
    order: str = "mean_first",
) -> Any:
    n = np.asarray(counts, dtype=float)[:, None]
    total, sets = n.sum(), len(n)
    weights = {"counts": n, "equal": np.full_like(n, total / sets), "none": np.zeros_like(n)}
    mean = (weights[mean_weights] * means).sum(axis=0) / total
    middle = {"merged": mean, "plain": means.mean(axis=0), "first": means[0]}[center]
    inside = variances if spread == "variance" else np.sqrt(variances)
    if one_pass:
        square_means = (weights[within] * (inside + means**2)).sum(axis=0) / total
        var = square_means - mean**2
    else:
        gap = (means - middle) ** 2 if square else np.abs(means - middle)
        own = n - parts_ddof if within == "counts" else weights[within]
        var = ((own * inside).sum(axis=0) + (weights[between] * gap).sum(axis=0)) / (total - ddof)
    var = var if spread == "variance" else var**2
    return (mean, var) if order == "mean_first" else (var, mean)


def _merge_cases(rng: np.random.Generator) -> Iterator[Case]:
    def sets(number: int, features: int, centre: float = 2.0) -> Inputs:
        return {
            "counts": rng.permutation(np.arange(2, 2 + 3 * number, 3)),
            "means": rng.normal(centre, 2.0, (number, features)),
            "variances": rng.uniform(0.3, 3.0, (number, features)),
        }

    yield Case(
        "the value 1, and the values 5, 9, 13",
        {
            "counts": np.array([1, 3]),
            "means": np.array([[1.0], [9.0]]),
            "variances": np.array([[0.0], [32.0 / 3.0]]),
        },
        about="Together they are 1, 5, 9, 13: mean 7, variance 20.",
    )
    yield Case("three sets, two features", sets(3, 2))
    yield Case("as many sets as features", sets(4, 4))
    yield Case("five sets, three features", sets(5, 3))
    equal = sets(3, 2)
    equal["means"][:] = equal["means"][0]
    yield Case(
        "sets with equal means",
        equal,
        Stage.SPECIAL,
        about="Without a gap between the means only the spread inside the sets is left.",
    )
    yield Case("one set alone", sets(1, 3), Stage.SPECIAL)
    empty = sets(4, 2)
    empty["counts"][2] = 0
    empty["means"][2] = 50.0
    yield Case(
        "a worker without any data",
        empty,
        Stage.SPECIAL,
        about="A set of count 0 holds no values, whatever its moments are said to be.",
    )
    yield Case("inputs that must not be written to", sets(3, 4), Stage.SPECIAL, layout="read-only")
    yield Case("float32 moments", as_float32(sets(4, 3)), Stage.NUMERICS)
    yield Case(
        "means a million times the spread",
        sets(3, 2, 1e6),
        Stage.NUMERICS,
        about="Square the small gaps between the means, not the means.",
    )


_MERGE_MOMENTS = Exercise(
    id="merge_moments",
    title="Moments of a union",
    section=_MERGE_SECTION,
    signature="counts, means, variances",
    outputs=("mean", "var"),
    minutes=12,
    difficulty=3,
    hints=(
        "Two sets have variance 0 each and different means. What is the variance of their union?",
        "Every value counts once, so sets weigh by their counts. The union spreads inside the sets "
        "and between their means. Chapter 06, “Merging moments across workers”.",
        "mean = Σ nₖ·meanₖ / n, then var = Σ nₖ·(varₖ + (meanₖ − mean)²) / n, sums over axis 0 "
        "with `counts[:, None]`.",
    ),
    insight=(
        "You never used how the values are split: merge all at once, two by two or in a tree, the "
        "result is the same. That is why a ring of workers and a stream too long to keep can both "
        "have exact statistics."
    ),
    cases=_merge_cases,
    reference=_merge_reference,
    variant=_merge_variant,
    mistakes=(
        Mistake(
            "between_missing",
            "You average the variances alone. The means differ too: add (meanₖ − mean)² inside "
            "the sum.",
            {"between": "none"},
        ),
        Mistake(
            "plain_averages",
            "You average means and variances as if all sets were of one size and lay at one place. "
            "Weigh by the counts, and add the spread of the means.",
            wrong=lambda counts, means, variances: (means.mean(axis=0), variances.mean(axis=0)),
        ),
        Mistake(
            "plain_mean",
            "You average the means without weights. A set of nₖ values counts nₖ times.",
            {"mean_weights": "equal"},
        ),
        Mistake(
            "plain_variances",
            "You average the variances without weights. A set of nₖ values counts nₖ times.",
            {"within": "equal"},
        ),
        Mistake(
            "plain_gaps",
            "You average the squared gaps between the means without weights. A set of nₖ values "
            "counts nₖ times.",
            {"between": "equal"},
        ),
        Mistake(
            "gaps_from_plain_mean",
            "You measure the gaps from the unweighted mean of the means. Measure them from the "
            "mean of the union.",
            {"center": "plain"},
        ),
        Mistake(
            "gaps_from_first",
            "You measure the gaps from the first set's mean. Measure them from the mean of the "
            "union.",
            {"center": "first"},
        ),
        Mistake(
            "gaps_not_squared",
            "You add the gaps between the means without squaring them. A variance is a mean of "
            "squares.",
            {"square": False},
        ),
        Mistake(
            "total_minus_1",
            "You divide by n − 1. Asked is the biased variance of the union.",
            {"ddof": 1},
        ),
        Mistake(
            "unbiased_parts",
            "You weigh the variances by nₖ − 1. They are biased, so nₖ·varₖ is the sum of squares.",
            {"parts_ddof": 1},
        ),
        Mistake(
            "unbiased_throughout",
            "You use the formula for unbiased variances, with nₖ − 1 and n − 1. Here they are "
            "biased: nₖ and n.",
            {"ddof": 1, "parts_ddof": 1},
        ),
        Mistake(
            "standard_deviations",
            "You merge standard deviations. Variances add up, their roots do not.",
            {"spread": "std"},
        ),
        Mistake(
            "one_pass",
            "You take mean(x²) − mean(x)², the difference of two huge numbers when the means are "
            "large. Square the gaps between the means instead.",
            {"one_pass": True},
        ),
        Mistake(
            "order",
            "You return the variance first. The order is mean, var.",
            {"order": "var_first"},
        ),
    ),
    notebook=_NOTEBOOK,
)

# ---------------------------------------------------------------- masked_batch_norm

_MASK_SECTION = "Padding and masked statistics"


def _masked_reference(x: Any, mask: Any, gamma: Any, beta: Any, eps: float = 1e-5) -> Any:
    return masked_batch_norm(x, mask, gamma, beta, eps=eps)


def _masked_variant(
    x: Any,
    mask: Any,
    gamma: Any,
    beta: Any,
    eps: float | None = None,
    *,
    default_eps: float = 1e-5,
    invert: bool = False,
    statistics: str = "real",
    axis: tuple[int, ...] = (0, 1),
    fill: str = "where",
    out: str = "zero",
    guard: bool = False,
    ddof: int = 0,
    one_pass: bool = False,
    affine: str = "after",
    **faults: Any,
) -> Any:
    eps = default_eps if eps is None else eps
    real = (~mask if invert else mask)[..., None]  # (B, T, 1)
    if affine == "before":
        x, gamma, beta = x * gamma + beta, None, None
        faults = {name: value for name, value in faults.items() if name not in ("scale", "shift")}
    filled = np.where(real, x, 0.0) if fill == "where" else x * real
    every = np.broadcast_to(real, x.shape)
    if statistics == "all":
        given = x.mean(axis=axis, keepdims=True), x.var(axis=axis, keepdims=True, ddof=ddof)
    else:
        given = _masked_moments(filled, every, axis, statistics, ddof, one_pass, guard)
    faults["affine"] = "after" if affine == "before" else affine
    source = filled if out in ("kept_zeros", "multiply") else x
    y = normalize(source, gamma, beta, eps, axis=axis, channel_axis=2, given=given, **faults)
    shown = {"zero": 0.0, "kept": y, "kept_zeros": y, "input": x, "multiply": y * real}[out]
    return y * real if out == "multiply" else np.where(real, y, shown)


def _masked_moments(
    filled: Any,
    real: Any,
    axis: tuple[int, ...],
    statistics: str,
    ddof: int,
    one_pass: bool,
    guard: bool,
) -> tuple[Any, Any]:
    """Return mean and variance of the real tokens, or of too many, with kept axes."""
    everything = np.prod([filled.shape[a] for a in axis])
    count = {"real": real.sum(axis=axis, keepdims=True), "all": np.asarray(everything)}
    if guard:
        count = {of: np.maximum(number, 1) for of, number in count.items()}
    in_mean, in_var = {
        "real": ("real", "real"),
        "zeros": ("all", "all"),
        "counted": ("all", "all"),
        "variance_counted": ("real", "all"),
        "variance_of_zeros": ("real", "all"),
    }[statistics]
    mean = filled.sum(axis=axis, keepdims=True) / count[in_mean]
    if one_pass:
        square_mean = (filled * filled).sum(axis=axis, keepdims=True) / count[in_var]
        return mean, square_mean - mean * mean
    gap = filled - mean
    if statistics in ("real", "counted", "variance_counted"):
        gap = np.where(real, gap, 0.0)
    return mean, (gap * gap).sum(axis=axis, keepdims=True) / (count[in_var] - ddof)


def _masks(rng: np.random.Generator, batch: int, length: int) -> Any:
    """Return which tokens are real: sequences of different length, the longest one whole."""
    lengths = np.resize(rng.permutation(np.arange(1, length + 1))[: max(batch, 1)], batch)
    lengths[rng.integers(batch)] = length
    return np.arange(length) < lengths[:, None]


def _masked_inputs(
    rng: np.random.Generator, batch: int, length: int, features: int, spread: float = 1.5
) -> Inputs:
    x, mask = rng.normal(2.0, spread, (batch, length, features)), _masks(rng, batch, length)
    x[~mask] = rng.normal(-7.0, 3.0, (int((~mask).sum()), features))
    return {"x": x, "mask": mask, **parameters(rng, features)}


def _masked_cases(rng: np.random.Generator) -> Iterator[Case]:
    x = np.array([[[2.0, 1.0], [4.0, 0.0], [99.0, 99.0]], [[6.0, 3.0], [8.0, 4.0], [99.0, 99.0]]])
    mask = np.array([[True, True, False], [True, True, False]])
    plain = {"gamma": np.ones(2), "beta": np.zeros(2)}
    yield Case(
        "two sequences, the last token of both is padding",
        {"x": x, "mask": mask, **plain, "eps": 0.0},
    )
    yield Case(
        "sequences of different length, a gamma and a beta per feature",
        {**_masked_inputs(rng, 3, 5, 4), "eps": 0.1},
    )
    yield Case("small spread and a large eps", {**_masked_inputs(rng, 4, 3, 2, 0.4), "eps": 0.3})
    yield Case(
        "eps left to its default",
        _masked_inputs(rng, 3, 4, 2, 2e-3),
        about="The default of eps is 1e-5.",
    )
    yield Case(
        "as many sequences as tokens and features",
        {**_masked_inputs(rng, 3, 3, 3), "eps": 1e-3},
    )
    gaps = _masked_inputs(rng, 3, 6, 2)
    gaps["mask"] = rng.permuted(gaps["mask"], axis=1)
    yield Case("padding at the front and between", {**gaps, "eps": 1e-5})
    whole = _masked_inputs(rng, 2, 4, 3)
    whole["mask"] = np.ones((2, 4), dtype=bool)
    yield Case(
        "no padding at all",
        {**whole, "eps": 1e-5},
        Stage.SPECIAL,
        about="Without padding this is BatchNorm over all tokens of the batch.",
    )
    single = _masked_inputs(rng, 2, 3, 3)
    single["mask"] = np.zeros((2, 3), dtype=bool)
    single["mask"][1, 1] = True
    yield Case(
        "one real token",
        {**single, "eps": 1e-5},
        Stage.SPECIAL,
        about="One token is its own mean, so y is beta there and 0 elsewhere.",
    )
    nothing = _masked_inputs(rng, 2, 3, 2)
    nothing["mask"] = np.zeros((2, 3), dtype=bool)
    yield Case(
        "nothing but padding",
        {**nothing, "eps": 1e-5},
        Stage.SPECIAL,
        about="Without a real token every position is padding, so all of y is 0.",
    )
    unset = _masked_inputs(rng, 3, 4, 2)
    unset["x"][~unset["mask"]] = np.nan
    yield Case(
        "padding that holds NaN",
        {**unset, "eps": 1e-5},
        Stage.SPECIAL,
        about="0 times NaN is NaN, so a mask must select; it does not help to multiply.",
    )
    yield Case(
        "inputs that must not be written to",
        {**_masked_inputs(rng, 3, 4, 5), "eps": 1e-5},
        Stage.SPECIAL,
        layout="read-only",
    )
    yield Case(
        "float32 input",
        as_float32({**_masked_inputs(rng, 4, 5, 3), "eps": 1e-5}),
        Stage.NUMERICS,
    )
    far = _masked_inputs(rng, 3, 5, 2)
    far["x"] = far["x"] + 1e7
    yield Case(
        "a mean ten million times the spread",
        {**far, "eps": 1e-5},
        Stage.NUMERICS,
        tolerance=1e-4,
        about="Subtract the mean before you square.",
    )


_STATISTICS_OF_MASKED = (
    Mistake(
        "mask_ignored_in_statistics",
        "Your statistics run over padded positions too. Use the real tokens alone.",
        {"statistics": "all"},
    ),
    Mistake(
        "zeros_counted",
        "You set padding to 0 and then average over all positions: the zeros count as tokens. "
        "Average over the real ones.",
        {"statistics": "zeros"},
    ),
    Mistake(
        "divides_by_all_positions",
        "You sum over real tokens but divide by B·T. Divide by the number of real tokens.",
        {"statistics": "counted"},
    ),
    Mistake(
        "variance_divides_by_all",
        "Your mean is right, but the variance divides by B·T. Divide by the number of real tokens.",
        {"statistics": "variance_counted"},
    ),
    Mistake(
        "variance_over_zeros",
        "Your mean is right, but the variance runs over padding set to 0 as well. Use the real "
        "tokens alone.",
        {"statistics": "variance_of_zeros"},
    ),
    Mistake(
        "per_position",
        "You use one mean per position. All real tokens of a feature share one mean: pool the "
        "positions too.",
        {"axis": (0,)},
    ),
    Mistake(
        "per_sequence",
        "You use one mean per sequence. All real tokens of a feature share one mean: pool the "
        "batch too.",
        {"axis": (1,)},
    ),
    Mistake(
        "over_features",
        "You use one mean per token, over its features: that is LayerNorm. BatchNorm keeps the "
        "features apart and pools the tokens.",
        {"axis": (2,)},
    ),
    Mistake(
        "one_mean_for_all",
        "You use one mean for all features together. Each feature has its own.",
        {"axis": (0, 1, 2)},
    ),
)

_SHOWN_AT_PADDING = (
    Mistake(
        "padding_kept",
        "Your statistics are right, but padded positions come out normalized like tokens. They "
        "must be 0.",
        {"out": "kept"},
    ),
    Mistake(
        "padding_becomes_shift",
        "You set padding to 0 before normalizing, which makes it something else again. Set it to "
        "0 at the end.",
        {"out": "kept_zeros"},
    ),
    Mistake(
        "padding_unchanged",
        "You leave the input standing at padded positions. They must be 0.",
        {"out": "input"},
    ),
)

_MASKED_BATCH_NORM = Exercise(
    id="masked_batch_norm",
    title="BatchNorm of padded sequences",
    section=_MASK_SECTION,
    signature="x, mask, gamma, beta, eps=1e-5",
    minutes=15,
    difficulty=3,
    hints=(
        "Write the real tokens of all sequences below each other: which table do you get, and "
        "what would BatchNorm do with it?",
        "Statistics come from the real tokens alone; padding is set to 0 at the very end. Select "
        "with the mask, since 0 · NaN is NaN. Chapter 06, “Padding and masked statistics”.",
        "`tokens = x[mask]` is (M, D). Normalize it as in chapter 02 and write it into zeros: "
        "`y = np.zeros_like(x); y[mask] = …`.",
    ),
    insight=(
        "The mask mends the statistics, not the company: a sentence still comes out differently "
        "beside other sentences. LayerNorm needs no mask here, because a token never pools with "
        "another."
    ),
    cases=_masked_cases,
    reference=_masked_reference,
    variant=_masked_variant,
    mistakes=(
        *_STATISTICS_OF_MASKED,
        *_SHOWN_AT_PADDING,
        Mistake(
            "mask_inverted",
            "You read the mask the other way round. True marks a real token.",
            {"invert": True},
        ),
        Mistake(
            "multiplies_by_mask",
            "You multiply by the mask, and 0 · NaN is NaN. Select: `x[mask]` or `np.where`.",
            {"fill": "multiply", "out": "multiply"},
        ),
        Mistake(
            "multiplies_x_by_mask",
            "You multiply x by the mask, and 0 · NaN is NaN. Select: `x[mask]` or `np.where`.",
            {"fill": "multiply"},
        ),
        Mistake(
            "multiplies_with_guard",
            "You guard the count, but multiply by the mask, and 0 · NaN is NaN. Select: `x[mask]` "
            "or `np.where`.",
            {"fill": "multiply", "out": "multiply", "guard": True},
        ),
        Mistake(
            "multiplies_at_the_end",
            "You multiply y by the mask. Without real tokens y is NaN, and 0 · NaN is NaN: select "
            "with `np.where`.",
            {"out": "multiply"},
        ),
        *statistics_mistakes("BatchNorm"),
        *affine_mistakes(),
        *default_eps_mistakes(),
    ),
    notebook=_NOTEBOOK,
)

# ---------------------------------------------------------------- sequence_batch_norm


def _sequence_reference(x: Any, lengths: Any, gamma: Any, beta: Any, eps: float = 1e-5) -> Any:
    mask = np.arange(x.shape[1]) < lengths[:, None]
    return masked_batch_norm(x, mask, gamma, beta, eps=eps)


def _sequence_variant(
    x: Any,
    lengths: Any,
    gamma: Any,
    beta: Any,
    eps: float | None = None,
    *,
    tokens_more: int = 0,
    **faults: Any,
) -> Any:
    mask = np.arange(x.shape[1]) < lengths[:, None] + tokens_more
    return _masked_variant(x, mask, gamma, beta, eps, **faults)


def _sequence_cases(rng: np.random.Generator) -> Iterator[Case]:
    def inputs(batch: int, length: int, features: int, spread: float = 1.5) -> Inputs:
        made = _masked_inputs(rng, batch, length, features, spread)
        lengths = made.pop("mask").sum(axis=1)
        return {"x": made.pop("x"), "lengths": lengths, **made}

    x = np.array([[[2.0, 1.0], [4.0, 0.0], [0.0, 0.0]], [[6.0, 3.0], [8.0, 4.0], [7.0, 2.0]]])
    plain = {"gamma": np.ones(2), "beta": np.zeros(2)}
    yield Case(
        "sequences of two and of three tokens",
        {"x": x, "lengths": np.array([2, 3]), **plain, "eps": 0.0},
    )
    yield Case("a gamma and a beta per feature", {**inputs(3, 5, 4), "eps": 0.1})
    yield Case("small spread and a large eps", {**inputs(4, 3, 2, 0.4), "eps": 0.3})
    yield Case(
        "eps left to its default", inputs(3, 4, 2, 2e-3), about="The default of eps is 1e-5."
    )
    yield Case("as many sequences as tokens and features", {**inputs(3, 3, 3), "eps": 1e-3})
    longer = inputs(2, 3, 2)
    padded = np.concatenate([longer["x"], np.zeros((2, 6, 2))], axis=1)
    yield Case(
        "padded to three times the length",
        {**longer, "x": padded, "eps": 1e-5},
        Stage.SPECIAL,
        about="More padding must not change what the real tokens become.",
    )
    whole = inputs(2, 4, 3)
    whole["lengths"][:] = 4
    yield Case("no padding at all", {**whole, "eps": 1e-5}, Stage.SPECIAL)
    nothing = inputs(2, 3, 2)
    nothing["lengths"][:] = 0
    yield Case(
        "sequences without a token",
        {**nothing, "eps": 1e-5},
        Stage.SPECIAL,
        about="Every position is padding, so all of y is 0.",
    )
    yield Case(
        "inputs that must not be written to",
        {**inputs(3, 4, 5), "eps": 1e-5},
        Stage.SPECIAL,
        layout="read-only",
    )
    yield Case("float32 input", as_float32({**inputs(4, 5, 3), "eps": 1e-5}), Stage.NUMERICS)


def _still_counts_zeros(mistakes: tuple[Mistake, ...]) -> tuple[Mistake, ...]:
    """Return the mistakes with other words for the one that the given code holds."""
    still = Mistake(
        "zeros_counted",
        "The fault is still in: pad the same sequences further, and the real tokens change. By "
        "how many values is a mean divided here?",
        {"statistics": "zeros"},
    )
    return tuple(still if mistake.id == still.id else mistake for mistake in mistakes)


_SEQUENCE_BATCH_NORM = Exercise(
    id="sequence_batch_norm",
    title="Find the bug: more padding, other results",
    section=_MASK_SECTION,
    signature="x, lengths, gamma, beta, eps=1e-5",
    minutes=8,
    difficulty=2,
    kind="repair",
    hints=(
        "Padding is set to 0 here. Is a zero nothing, for a mean?",
        "`mean` and `var` over axes (0, 1) divide by B·T, whatever the positions hold. How many "
        "tokens are real? Chapter 06, “Padding and masked statistics”.",
        "`tokens = x[real]` is (M, D): take mean and variance of it over axis 0.",
    ),
    insight=(
        "With a share p of padding the faulty mean is (1 − p) times the true one, so the result "
        "hangs on the longest sentence of the batch. Sorting sentences by length lowers p and "
        "hides the fault in training; inference in arrival order brings it out."
    ),
    cases=_sequence_cases,
    reference=_sequence_reference,
    variant=_sequence_variant,
    mistakes=(
        *_still_counts_zeros(_STATISTICS_OF_MASKED),
        *_SHOWN_AT_PADDING,
        Mistake(
            "multiplies_at_the_end",
            "You multiply y by the mask. Without real tokens y is NaN, and 0 · NaN is NaN: select "
            "with `np.where`.",
            {"out": "multiply"},
        ),
        Mistake(
            "one_token_more",
            "You count the first padded position as a token. Positions 0 … length − 1 are real.",
            {"tokens_more": 1},
        ),
        Mistake(
            "one_token_less",
            "You leave out the last real token. Positions 0 … length − 1 are real.",
            {"tokens_more": -1},
        ),
        *(m for m in statistics_mistakes("BatchNorm") if m.id != "one_pass_variance"),
        *affine_mistakes(),
        *default_eps_mistakes(),
    ),
    notebook=_NOTEBOOK,
)

# ---------------------------------------------------------------- ghost_batch_norm

_GHOST_SECTION = "Ghost batches"


def _ghost_reference(x: Any, gamma: Any, beta: Any, ghost_size: int, eps: float = 1e-5) -> Any:
    return ghost_batch_norm(x, ghost_size, gamma, beta, eps=eps)


def _in_order(x: Any, size: int) -> list[Any]:
    return [np.arange(start, min(start + size, len(x))) for start in range(0, len(x), size)]


def _merged_rest(x: Any, size: int) -> list[Any]:
    *whole, last = _in_order(x, size)
    if len(last) == size or not whole:
        return [*whole, last]
    return [*whole[:-1], np.concatenate([whole[-1], last])]


def _must_divide(x: Any, size: int) -> list[Any]:
    return list(np.arange(len(x)).reshape(-1, size))


_SPLITS: dict[str, Callable[[Any, int], list[Any]]] = {
    "in_order": _in_order,
    "whole": lambda x, size: [np.arange(len(x))],
    "number": lambda x, size: [
        part for part in np.array_split(np.arange(len(x)), size) if len(part)
    ],
    "even": lambda x, size: np.array_split(np.arange(len(x)), -(-len(x) // size)),
    "every": lambda x, size: [
        np.arange(start, len(x), -(-len(x) // size)) for start in range(-(-len(x) // size))
    ],
    "merged": _merged_rest,
    "must_divide": _must_divide,
}


def _ghost_variant(
    x: Any,
    gamma: Any,
    beta: Any,
    ghost_size: int,
    eps: float | None = None,
    *,
    default_eps: float = 1e-5,
    split: str = "in_order",
    rest: str = "own",
    axis: tuple[int, ...] = (0,),
    statistics: str = "own",
    **faults: Any,
) -> Any:
    eps = default_eps if eps is None else eps
    y = np.zeros(x.shape, dtype=x.dtype)
    first = x[:ghost_size]
    for rows in _SPLITS[split](x, ghost_size):
        part, given = x[rows], None
        if len(rows) < ghost_size and rest != "own":
            if rest == "dropped":
                return y[: rows[0]]
            y[rows] = part if rest == "unchanged" else 0.0
            if rest == "whole":
                given = x.mean(axis=0, keepdims=True), x.var(axis=0, keepdims=True)
            elif rest == "padded":
                part = np.concatenate([part, np.zeros((ghost_size - len(rows), x.shape[1]))])
            else:
                continue
        if statistics == "first":
            given = first.mean(axis=0, keepdims=True), first.var(axis=0, keepdims=True)
        out = normalize(part, gamma, beta, eps, axis=axis, channel_axis=1, given=given, **faults)
        y[rows] = out[: len(rows)]
    return y


def _ghost_cases(rng: np.random.Generator) -> Iterator[Case]:
    def inputs(rows: int, columns: int, ghost_size: int, spread: float = 1.5) -> Inputs:
        drift = np.linspace(-3.0, 3.0, rows)[:, None] * spread
        x = 2.0 + drift + rng.normal(0.0, spread, (rows, columns))
        return {"x": x, **parameters(rng, columns), "ghost_size": ghost_size}

    x = np.array([[2.0, 0.0], [4.0, 1.0], [6.0, 9.0], [9.0, 5.0], [7.0, 3.0], [1.0, 4.0]])
    plain = {"gamma": np.ones(2), "beta": np.zeros(2)}
    yield Case("six examples in ghosts of two", {"x": x, **plain, "ghost_size": 2, "eps": 0.0})
    yield Case("a gamma and a beta per feature", {**inputs(12, 3, 4), "eps": 0.1})
    yield Case("small spread and a large eps", {**inputs(9, 2, 3, 0.3), "eps": 0.3})
    yield Case(
        "eps left to its default", inputs(10, 2, 5, 2e-3), about="The default of eps is 1e-5."
    )
    yield Case(
        "a smaller ghost at the end",
        {**inputs(10, 3, 4), "eps": 1e-5},
        about="Ten examples in ghosts of four are 4, 4 and 2.",
    )
    yield Case("ghosts as large as the number of features", {**inputs(8, 4, 4), "eps": 1e-3})
    yield Case(
        "one example left over",
        {**inputs(7, 3, 3), "eps": 1e-5},
        Stage.SPECIAL,
        about="A ghost of one example gives beta.",
    )
    yield Case("one ghost holds the batch", {**inputs(6, 2, 6), "eps": 1e-5}, Stage.SPECIAL)
    yield Case(
        "a ghost larger than the batch",
        {**inputs(5, 3, 8), "eps": 1e-5},
        Stage.SPECIAL,
        about="The only ghost is the batch itself.",
    )
    yield Case(
        "an input that must not be written to",
        {**inputs(7, 3, 2), "eps": 1e-5},
        Stage.SPECIAL,
        layout="read-only",
    )
    yield Case("float32 input", as_float32({**inputs(11, 3, 4), "eps": 1e-5}), Stage.NUMERICS)
    far = inputs(8, 2, 3)
    far["x"] = far["x"] + 1e8
    yield Case(
        "a mean a hundred million times the spread",
        {**far, "eps": 1e-5},
        Stage.NUMERICS,
        tolerance=1e-3,
        about="Subtract the mean before you square.",
    )


_GHOST_BATCH_NORM = Exercise(
    id="ghost_batch_norm",
    title="BatchNorm in ghosts",
    section=_GHOST_SECTION,
    signature="x, gamma, beta, ghost_size, eps=1e-5",
    minutes=10,
    difficulty=2,
    hints=(
        "A ghost is a slice of the batch that does as if it were a batch. What happens to the "
        "examples left over at the end?",
        "Step through the rows by `ghost_size` and normalize each slice with its own statistics; "
        "slices may run past the end. Chapter 06, “Ghost batches”.",
        "`for start in range(0, len(x), ghost_size):` then normalize "
        "`x[start : start + ghost_size]` as in chapter 02 and put the parts together.",
    ),
    insight=(
        "Each ghost draws its own noise, so the noise is that of a batch of `ghost_size`, however "
        "large the batch is: small-batch regularization at large-batch speed. Data-parallel "
        "training without SyncBN does the same without saying so."
    ),
    cases=_ghost_cases,
    reference=_ghost_reference,
    variant=_ghost_variant,
    mistakes=(
        Mistake(
            "whole_batch",
            "You normalize the whole batch at once. Each ghost has its own statistics.",
            {"split": "whole"},
        ),
        Mistake(
            "size_as_number",
            "You make `ghost_size` ghosts. It is the number of examples in one ghost.",
            {"split": "number"},
        ),
        Mistake(
            "even_parts",
            "You cut the batch into parts as even as possible (`np.array_split`). Ghosts are "
            "full, and only the last may be smaller.",
            {"split": "even"},
        ),
        Mistake(
            "every_kth",
            "Your ghosts take every k-th example. A ghost is a slice of neighbours.",
            {"split": "every"},
        ),
        Mistake(
            "rest_merged",
            "You add the examples left over to the ghost before. They are a smaller ghost of "
            "their own.",
            {"split": "merged"},
        ),
        Mistake(
            "must_divide",
            "Your reshape works only if `ghost_size` divides the batch. The last ghost may be "
            "smaller.",
            {"split": "must_divide"},
        ),
        Mistake(
            "rest_dropped",
            "You drop the examples left over. They are a smaller ghost of their own.",
            {"rest": "dropped"},
        ),
        Mistake(
            "rest_unchanged",
            "You leave the examples at the end as they are. They are a smaller ghost of their own.",
            {"rest": "unchanged"},
        ),
        Mistake(
            "rest_zero",
            "The examples at the end stay 0. They are a smaller ghost of their own.",
            {"rest": "zero"},
        ),
        Mistake(
            "rest_with_whole",
            "You normalize the last, smaller ghost with the statistics of the whole batch. It has "
            "its own.",
            {"rest": "whole"},
        ),
        Mistake(
            "rest_padded",
            "You fill the last ghost up with zeros, which then count in its statistics.",
            {"rest": "padded"},
        ),
        Mistake(
            "first_ghost_for_all",
            "You use the first ghost's statistics for all. Each ghost has its own.",
            {"statistics": "first"},
        ),
        Mistake(
            "wrong_axis",
            "You average over axis 1, each example on its own. Within a ghost each feature is "
            "averaged over the examples: axis 0.",
            {"axis": (1,)},
        ),
        Mistake(
            "one_mean_for_all",
            "You use one mean and one variance for a whole ghost. It has one per feature: axis 0.",
            {"axis": (0, 1)},
        ),
        *statistics_mistakes("BatchNorm"),
        *affine_mistakes(),
        *default_eps_mistakes(),
    ),
    notebook=_NOTEBOOK,
)

EXERCISES = (_MERGE_MOMENTS, _MASKED_BATCH_NORM, _SEQUENCE_BATCH_NORM, _GHOST_BATCH_NORM)

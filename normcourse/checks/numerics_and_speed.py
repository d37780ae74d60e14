"""Chapter 16: variances that do not cancel, statistics of half-precision values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from normcourse.checks.draws import as_float32, parameters
from normcourse.checks.exercise import Case, Exercise, Mismatch, Mistake, Outputs, Stage
from normcourse.checks.variants import (
    affine_mistakes,
    default_eps_mistakes,
    normalize,
    statistics_mistakes,
)
from normcourse.norms.layer_norm import layer_norm
from normcourse.norms.moments import stable_variance

_NOTEBOOK = "16_numerics_and_speed"
_CANCELS = "One pass, and what cancels"
_MERGING = "Merging the moments of chunks"
_HALF = "Half precision, float32 statistics"

# ---------------------------------------------------------------- stable_variance


def _stream_variant(
    stream: Iterable[Any],
    *,
    method: str = "merge",
    weight: str = "count",
    between: str = "added",
    ddof: int = 0,
    root: bool = False,
    empty: str = "skipped",
    keeps: bool = False,
    nothing: str = "raises",
) -> float:
    chunks = list(stream) if keeps else stream
    if method == "two passes":
        return _second_pass_finds_nothing(iter(chunks))
    if method.startswith("squares"):
        count, var = _mean_of_squares(chunks, narrow=method.endswith("narrow"))
    else:
        count, var = _merged(chunks, method, weight, between, empty)
    if count == 0:
        if nothing == "raises":
            raise ValueError("no values")
        return math.nan
    var = var * count / max(count - ddof, 1)
    return math.sqrt(max(var, 0.0)) if root else var


def _merged(
    chunks: Iterable[Any], method: str, weight: str, between: str, empty: str
) -> tuple[int, float]:
    """Return the count and the variance, merged chunk by chunk as the switches say."""
    count, groups, mean, var = 0, 0, 0.0, 0.0
    for chunk in chunks:
        if chunk.size == 0 and empty == "skipped":
            continue
        values = chunk.astype(np.float64)
        new, groups = values.size, groups + 1
        count = count + new if method == "merge" else new
        share = new / count if weight == "count" else 1 / groups
        gap, spread = float(values.mean()) - mean, float(values.var())
        if method == "last":
            mean, var = mean + gap, spread
            continue
        factor = {"added": 1 - share, "missing": 0.0, "whole": 1.0}[between]
        mean, var = mean + share * gap, var + share * (spread - var + factor * gap * gap)
    return count, var


def _mean_of_squares(chunks: Iterable[Any], *, narrow: bool) -> tuple[int, float]:
    count, total, squares = 0, 0.0, 0.0
    for chunk in chunks:
        values = chunk if narrow else chunk.astype(np.float64)
        count += values.size
        total += float(values.sum())
        squares += float((values * values).sum())
    return count, squares / max(count, 1) - (total / max(count, 1)) ** 2


def _second_pass_finds_nothing(stream: Iterator[Any]) -> float:
    seen: list[tuple[int, float]] = [(chunk.size, float(chunk.sum())) for chunk in stream]
    count = sum(size for size, _ in seen)
    mean = sum(total for _, total in seen) / count if count else math.nan
    squares = sum(float(((chunk - mean) ** 2).sum()) for chunk in stream)
    return squares / max(count, 1)


def _stream_cases(rng: np.random.Generator) -> Iterator[Case]:
    def chunks(*sizes: int, mean: float = 3.0, moves: float = 2.0) -> list[Any]:
        return [rng.normal(mean + moves * k, 1.5, size) for k, size in enumerate(sizes)]

    yield Case(
        "2 and 4, then 6 and 8",
        {"stream": [np.array([2.0, 4.0]), np.array([6.0, 8.0])]},
    )
    yield Case("one chunk", {"stream": chunks(7)})
    yield Case("chunks of different sizes", {"stream": chunks(5, 1, 9, 2)})
    yield Case("one value per chunk", {"stream": chunks(1, 1, 1, 1, 1)})
    yield Case(
        "chunks that lie far apart",
        {"stream": chunks(4, 6, 3, moves=40.0)},
        about="Most of the variance lies between the chunks here, not inside them.",
    )
    empty = np.zeros(0)
    yield Case(
        "empty chunks, also at both ends",
        {"stream": [empty, *chunks(4, 3), empty, *chunks(5), empty]},
        Stage.SPECIAL,
        about="A chunk without values changes nothing; its mean is not a number.",
    )
    yield Case(
        "values that never change",
        {"stream": [np.full(3, 7.0), np.full(4, 7.0)]},
        Stage.SPECIAL,
    )
    yield Case(
        "no values at all",
        {"stream": [empty, empty]},
        Stage.SPECIAL,
        raises="ValueError",
        about="Without a value there is no variance.",
    )
    yield Case(
        "chunks that must not be written to",
        {"stream": chunks(4, 5)},
        Stage.SPECIAL,
        layout="read-only",
    )
    yield Case(
        "float32, mean a million, spread one",
        {"stream": [rng.normal(1e6, 1.0, n).astype(np.float32) for n in (40, 25, 60)]},
        Stage.NUMERICS,
        tolerance=2e-2,
        about="Near a million the float32 numbers are 0.06 apart, their squares 65,536.",
    )
    yield Case(
        "float64, mean a billion, spread one",
        {"stream": [rng.normal(1e9, 1.0, n) for n in (30, 50, 20)]},
        Stage.NUMERICS,
        tolerance=1e-4,
        about="Near a billion squared the float64 numbers are 128 apart.",
    )
    yield Case(
        "a stream too long to keep",
        {
            "seed": int(rng.integers(1, 1000)),
            "chunks": 25,
            "size": 320,
            "mean": 5.0,
            "spread": 2.0,
        },
        Stage.NUMERICS,
        probe="exhaust long",
        outputs=("var", "keeps the whole stream"),
        about="Only a few numbers may stay from one chunk to the next.",
    )


_STABLE_VARIANCE = Exercise(
    id="stable_variance",
    title="The variance of a stream",
    section=_MERGING,
    signature="stream",
    outputs=("var",),
    minutes=15,
    difficulty=3,
    probe="exhaust",
    hints=(
        "You know count, mean and variance of what came so far, and of the new chunk. What else "
        "makes the variance of both together?",
        "The spread inside the parts, and the distance of their means: merge two sets of moments. "
        "Chapter 16, “Merging the moments of chunks”.",
        "With share = n_new / n_total and gap = mean_new − mean: mean += share · gap, "
        "var += share · (var_new − var + (1 − share) · gap²).",
    ),
    insight=(
        "Doubles near 10¹⁸, a billion squared, are 128 apart. A sum of such squares has lost a "
        "variance of 1 before anything is subtracted: no order of summation and no library brings "
        "it back."
    ),
    cases=_stream_cases,
    reference=stable_variance,
    variant=_stream_variant,
    mistakes=(
        Mistake(
            "one_pass",
            "Your variance is the mean of squares minus the square of the mean. Where the mean is "
            "large, the digits you want cancel: merge squared distances instead.",
            {"method": "squares"},
            section=_CANCELS,
        ),
        Mistake(
            "one_pass_in_the_chunks_dtype",
            "You sum squares in the dtype of the chunks. That overflows or loses all digits: merge "
            "squared distances, in float64.",
            {"method": "squares narrow"},
            section=_CANCELS,
        ),
        Mistake(
            "reads_twice",
            "Your second loop finds the stream empty: it can be read once. Update the moments "
            "while you read.",
            {"method": "two passes"},
        ),
        Mistake(
            "last_chunk_only",
            "You return the variance of the last chunk. Merge it with what came before.",
            {"method": "last"},
        ),
        Mistake(
            "between_missing",
            "You average the variances inside the chunks. The distance between their means belongs "
            "to the variance too.",
            {"between": "missing"},
        ),
        Mistake(
            "between_too_large",
            "You add the whole squared distance of the means. Merging two sets takes it times "
            "both shares: n_old · n_new / n_total².",
            {"between": "whole"},
        ),
        Mistake(
            "chunks_weigh_the_same",
            "Every chunk has the same weight. A chunk counts as often as it has values.",
            {"weight": "chunk"},
        ),
        Mistake(
            "divides_by_n_minus_1",
            "You divide by n − 1. Asked for is the biased variance, which divides by n.",
            {"ddof": 1},
        ),
        Mistake(
            "returns_std",
            "You return the standard deviation. Asked for is its square, the variance.",
            {"root": True},
        ),
        Mistake(
            "empty_chunk_counts",
            "An empty chunk makes your result NaN: its mean is 0/0. Skip it.",
            {"empty": "counted"},
        ),
        Mistake(
            "keeps_everything",
            "You keep the whole stream in memory. Keep count, mean and variance, and let each "
            "chunk go.",
            {"keeps": True},
        ),
        Mistake(
            "value_for_nothing",
            "You return a number for a stream without values. Nothing has no variance: raise "
            "ValueError, so that the caller learns where it came from.",
            {"nothing": "nan"},
        ),
    ),
    notebook=_NOTEBOOK,
)

# ---------------------------------------------------------------- layer_norm_half


def _half_reference(x: Any, gamma: Any, beta: Any, eps: float = 1e-5) -> Any:
    return layer_norm(x, gamma, beta, eps=eps)


def _half_variant(
    x: Any,
    gamma: Any,
    beta: Any,
    eps: float | None = None,
    *,
    default_eps: float = 1e-5,
    pool: str = "last",
    compute: str = "float32",
    statistics: str = "float32",
    affine_in: str = "float32",
    eps_in: str = "float32",
    out: str = "float16",
    **faults: Any,
) -> Any:
    """Return LayerNorm of float16 values; the switches say what is computed in which dtype."""
    eps = default_eps if eps is None else eps
    axis = (x.ndim - 1,) if pool == "last" else (0,)
    work = x.astype(compute)
    if eps_in == "float16":
        eps = float(np.float16(eps))
    if statistics == "float16":
        moments = work.mean(axis=axis, keepdims=True), work.var(axis=axis, keepdims=True)
        faults["given"] = tuple(value.astype(np.float16) for value in moments)
    elif statistics == "sums":
        faults["given"] = _moments_by_half_sums(x, axis)
    if affine_in == "float16":
        x_hat = normalize(work, None, None, eps, axis=axis, channel_axis=-1, **faults)
        return x_hat.astype(np.float16) * gamma + beta
    gamma, beta = gamma.astype(compute), beta.astype(compute)
    y = normalize(work, gamma, beta, eps, axis=axis, channel_axis=-1, **faults)
    return y.astype(out)


def _moments_by_half_sums(x: Any, axis: tuple[int, ...]) -> tuple[Any, Any]:
    count = math.prod(x.shape[a] for a in axis)
    mean = x.sum(axis=axis, keepdims=True, dtype=np.float16) / count
    return mean, np.square(x - mean).sum(axis=axis, keepdims=True, dtype=np.float16) / count


def _as_half(inputs: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value.astype(np.float16) if isinstance(value, np.ndarray) else value
        for name, value in inputs.items()
    }


def _half_cases(rng: np.random.Generator) -> Iterator[Case]:
    def case(name: str, x: Any, eps: float | None = 1e-5, **options: Any) -> Case:
        inputs = {"x": x, **parameters(rng, x.shape[-1])}
        inputs |= {} if eps is None else {"eps": eps}
        return Case(name, _as_half(inputs), **{"tolerance": 1e-4, **options})

    x = np.array([[2.0, 4.0, 6.0, 8.0]])
    plain = {"x": x, "gamma": np.ones(4), "beta": np.zeros(4), "eps": 0.0}
    yield Case("2, 4, 6, 8", _as_half(plain), tolerance=1e-4)
    yield case("tokens, a gamma and a beta per feature", rng.normal(1.0, 2.0, (2, 3, 5)))
    yield case("small spread and a large eps", rng.normal(1.0, 0.4, (3, 6)), 0.3)
    yield case(
        "eps left to its default",
        rng.normal(0.0, 2e-3, (3, 8)),
        None,
        about="The default of eps is 1e-5.",
    )
    yield case("as many examples as features", rng.normal(0.5, 2.0, (5, 5)))
    yield case(
        "squares beyond 65,504",
        rng.normal(0.0, 900.0, (3, 16)),
        about="float16 ends at 65,504, and 256 squared is 65,536.",
    )
    yield case(
        "a sum beyond 65,504",
        rng.normal(60.0, 10.0, (2, 2048)),
        about="2048 values of about 60 add up to more than float16 can hold.",
    )
    yield case("values near the largest float16", rng.uniform(2e4, 6e4, (2, 6)))
    constant = rng.normal(1.0, 1.0, (3, 4))
    constant[1] = 1.5
    yield case(
        "an example whose features are all equal",
        constant,
        stage=Stage.SPECIAL,
        about="Equal features have variance 0, so y is beta.",
    )
    yield case(
        "an eps that float16 does not know",
        constant,
        1e-8,
        stage=Stage.SPECIAL,
        about="The smallest float16 above 0 is 6e-8: there 1e-8 is 0, and 0 / 0 is no number.",
    )
    yield case(
        "an input that must not be written to",
        rng.normal(0.5, 1.0, (3, 6)),
        stage=Stage.SPECIAL,
        layout="read-only",
    )
    yield case(
        "a mean far from zero",
        rng.normal(1500.0, 3.0, (4, 32)),
        stage=Stage.NUMERICS,
        about="Subtract the mean before you square, in float32 too.",
    )
    yield case(
        "six hundred values, each as near as float16 allows",
        rng.normal(0.3, 1.0, (6, 100)),
        stage=Stage.NUMERICS,
        about="Round once, at the end.",
    )


def _half_compare(case: Case, expected: Outputs, got: Outputs) -> Mismatch | None:
    """Ask for float16, each value within three quarters of a step of the exact one."""
    want, have = np.asarray(expected["y"], dtype=np.float64), got["y"]
    if have.dtype != np.float16:
        message = f"y is {have.dtype}, expected float16 as the input. Cast back at the end."
        return Mismatch("y", message=message)
    step = np.spacing(np.abs(want).astype(np.float16)).astype(np.float64)
    allowed = 0.75 * step + 2e-6 * np.abs(want).max()
    gap = np.abs(have.astype(np.float64) - want)
    if (gap <= allowed).all():
        return None
    index = tuple(int(i) for i in np.unravel_index(int(np.argmax(gap / allowed)), want.shape))
    why = (
        f"y is {gap[index] / step[index]:.1f} steps of float16 from the exact value there, and "
        "half a step is the best possible"
    )
    return Mismatch("y", index, want[index].item(), have[index].item(), gap[index].item(), why=why)


def _changes_x(x: Any, gamma: Any, beta: Any, eps: float = 1e-5) -> Any:
    wide = x.astype(np.float32)
    x -= wide.mean(axis=-1, keepdims=True).astype(x.dtype)
    return layer_norm(wide, gamma, beta, eps=eps).astype(np.float16)


_LAYER_NORM_HALF = Exercise(
    id="layer_norm_half",
    title="LayerNorm of float16 values",
    section=_HALF,
    signature="x, gamma, beta, eps=1e-5",
    minutes=8,
    difficulty=2,
    hints=(
        "float16 ends at 65,504 and keeps about three digits. Which intermediate results of "
        "LayerNorm need more?",
        "All of them: mean, squares, variance, and the affine step. Only the input and the result "
        "are float16. Chapter 16, “Half precision, float32 statistics”.",
        "Cast first, `x.astype(np.float32)`, gamma and beta too; compute as usual; end with "
        "`.astype(np.float16)`.",
    ),
    insight=(
        "Add ones in float16, one after the other, and the sum stops at 2048: 2049 is no float16. "
        "In bfloat16 it stops at 256. The range of a format says nothing about its sums."
    ),
    cases=_half_cases,
    reference=_half_reference,
    variant=_half_variant,
    compare=_half_compare,
    mistakes=(
        Mistake(
            "everything_in_half",
            "You compute in float16 all the way. Cast to float32 first and back once at the end.",
            {"compute": "float16"},
        ),
        Mistake(
            "sums_in_half",
            "Your sums run in float16: they overflow at 65,504 and drop small terms before. Sum in "
            "float32.",
            {"statistics": "sums"},
        ),
        Mistake(
            "statistics_rounded",
            "You round mean and variance to float16 before you use them. Keep them in float32.",
            {"statistics": "float16"},
        ),
        Mistake(
            "affine_in_half",
            "You round x_hat to float16 before gamma and beta. Each rounding costs half a step: "
            "cast once, after the affine step.",
            {"affine_in": "float16"},
        ),
        Mistake(
            "eps_in_half",
            "You round eps to float16, where 1e-8 is 0. Add it to the float32 variance as it is.",
            {"eps_in": "float16"},
        ),
        Mistake(
            "not_cast_back",
            "You return more digits than came in. Cast back: the next layer expects float16.",
            {"out": "float32"},
        ),
        Mistake(
            "wrong_axis",
            "You average over axis 0. LayerNorm normalizes each example over its last axis.",
            {"pool": "first"},
        ),
        *statistics_mistakes("LayerNorm"),
        *affine_mistakes(),
        *default_eps_mistakes(),
        Mistake(
            "changes_x",
            "Your function changes its argument x.",
            wrong=_changes_x,
            named_by="judge",
        ),
    ),
    notebook=_NOTEBOOK,
)

# ---------------------------------------------------------------- fused_layer_norm


def _fused_variant(
    x: Any,
    gamma: Any,
    beta: Any,
    eps: float | None = None,
    *,
    default_eps: float = 1e-5,
    pool: str = "last",
    variance: str = "two passes",
    **faults: Any,
) -> Any:
    eps = default_eps if eps is None else eps
    axis = (x.ndim - 1,) if pool == "last" else (0,)
    if variance != "two passes":
        wide = x.astype(np.float64) if variance == "double" else x
        mean = wide.mean(axis=axis, keepdims=True)
        var = np.square(wide).mean(axis=axis, keepdims=True) - np.square(mean)
        if variance == "clipped":
            var = np.maximum(var, 0.0)
        elif variance == "absolute":
            var = np.abs(var)
        faults["given"] = (mean, var)
    return normalize(x, gamma, beta, eps, axis=axis, channel_axis=-1, **faults)


def _fused_cases(rng: np.random.Generator) -> Iterator[Case]:
    def draw(shape: tuple[int, ...], mean: float = 1.0, spread: float = 2.0) -> dict[str, Any]:
        return {"x": rng.normal(mean, spread, shape), **parameters(rng, shape[-1])}

    x = np.array([[2.0, 4.0, 6.0, 8.0], [1.0, 1.0, 2.0, 4.0]])
    yield Case("2, 4, 6, 8", {"x": x, "gamma": np.ones(4), "beta": np.zeros(4), "eps": 1e-5})
    yield Case("a gamma and a beta per feature", {**draw((3, 5)), "eps": 1e-5})
    yield Case("tokens", {**draw((2, 3, 4)), "eps": 1e-3})
    yield Case("as many examples as features", {**draw((4, 4)), "eps": 1e-5})
    yield Case("small spread and a large eps", {**draw((3, 6), 0.5, 0.4), "eps": 0.3})
    yield Case(
        "eps left to its default",
        draw((2, 6), 0.0, 2e-3),
        about="The default of eps is 1e-5.",
    )
    constant = draw((3, 5))
    constant["x"][1] = 7.0
    yield Case(
        "an example whose features are all equal",
        {**constant, "eps": 1e-5},
        Stage.SPECIAL,
        about="Equal features have variance 0, so y is beta.",
    )
    yield Case(
        "float32, a mean ten thousand times the spread",
        as_float32({**draw((4, 64), 1e4, 1.0), "eps": 1e-5}),
        Stage.NUMERICS,
        tolerance=2e-2,
        about="Near 10⁸ the float32 numbers are 8 apart: a variance of 1 has nowhere to be.",
    )
    yield Case(
        "float64, a mean a hundred million times the spread",
        {**draw((4, 64), 1e8, 1.0), "eps": 1e-5},
        Stage.NUMERICS,
        tolerance=1e-4,
        about="More digits move the problem, they do not end it.",
    )


_FUSED_LAYER_NORM = Exercise(
    id="fused_layer_norm",
    title="Find the bug: a negative variance",
    section=_CANCELS,
    signature="x, gamma, beta, eps=1e-5",
    minutes=5,
    difficulty=2,
    kind="repair",
    hints=(
        "Add 10,000 to every value. Which line of the code still gives the same, on paper, and "
        "which does in float32?",
        "Squares of large numbers have lost their last digits before they are subtracted. Chapter "
        "16, “One pass, and what cancels”.",
        "Square distances, not values: `((x - mean) ** 2).mean(axis=-1, keepdims=True)`.",
    ),
    insight=(
        "A kernel may still read x once: subtract the first value of each row before summing "
        "values and squares. A variance does not care what is subtracted, and near the mean "
        "nothing large is left to cancel."
    ),
    cases=_fused_cases,
    reference=_half_reference,
    variant=_fused_variant,
    mistakes=(
        Mistake(
            "one_pass_variance",
            "Your variance is still mean(x²) − mean(x)², the difference of two huge numbers. "
            "Subtract the mean first, then square.",
            {"variance": "one pass"},
        ),
        Mistake(
            "clipped_at_zero",
            "You clip the negative variance to 0. That hides the sign; the digits are lost all the "
            "same.",
            {"variance": "clipped"},
        ),
        Mistake(
            "absolute_value",
            "You take the absolute value of the variance. What is left of it is rounding error, "
            "with either sign.",
            {"variance": "absolute"},
        ),
        Mistake(
            "only_wider",
            "You compute the same difference in float64. That serves up to a mean of about 10⁷ "
            "spreads; subtract before you square.",
            {"variance": "double"},
        ),
        Mistake(
            "wrong_axis",
            "You average over axis 0. LayerNorm normalizes each example over its last axis.",
            {"pool": "first"},
        ),
        *statistics_mistakes("LayerNorm")[:5],
        *affine_mistakes()[:2],
        *default_eps_mistakes(),
    ),
    notebook=_NOTEBOOK,
)

EXERCISES = (_STABLE_VARIANCE, _LAYER_NORM_HALF, _FUSED_LAYER_NORM)

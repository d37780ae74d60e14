"""Chapter 08: LayerNorm in recurrent nets and Transformers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from normcourse.checks.draws import as_float32, parameters
from normcourse.checks.exercise import Case, Exercise, Mistake, Stage
from normcourse.checks.probes import with_functions
from normcourse.checks.variants import (
    EPS_FIXED,
    affine_mistakes,
    chosen_eps,
    default_eps_mistakes,
    normalize,
    statistics_mistakes,
)
from normcourse.norms.layer_norm import layer_norm, layer_norm_rnn_step

_NOTEBOOK = "08_layer_norm_sequences"
_RECURRENT = "A recurrent net, normalized at every step"
_PADDING = "Who sees the padding?"
_FUTURE = "Statistics over time see the future"

# ---------------------------------------------------------------- layer_norm_rnn_step


def _step_reference(
    x: Any, h: Any, w: Any, u: Any, gamma: Any, beta: Any, eps: float = 1e-5
) -> Any:
    return layer_norm_rnn_step(x, h, w, u, gamma, beta, eps=eps)


_SQUASHES: dict[str, Any] = {
    "tanh": np.tanh,
    "none": lambda a: a,
    "sigmoid": lambda a: 1 / (1 + np.exp(-a)),
    "relu": lambda a: np.maximum(a, 0),
}


def _each_standardized(
    x: Any, h: Any, w: Any, u: Any, gamma: Any, beta: Any, eps: float = 1e-5
) -> Any:
    parts = (
        normalize(part, None, None, eps, axis=(1,), channel_axis=1) for part in (h @ w.T, x @ u.T)
    )
    return np.tanh(gamma * sum(parts) + beta)


def _step_variant(
    x: Any,
    h: Any,
    w: Any,
    u: Any,
    gamma: Any,
    beta: Any,
    eps: float | None = None,
    *,
    w_transposed: bool = True,
    u_transposed: bool = True,
    parts: str = "both",
    place: str = "sum",
    squash: str = "tanh",
    pool: int = 1,
    add_state: bool = False,
    default_eps: float = 1e-5,
    fixed_eps: float | None = None,
    **faults: Any,
) -> Any:
    eps = chosen_eps(eps, default_eps, fixed_eps)

    def norm(a: Any) -> Any:
        return normalize(a, gamma, beta, eps, axis=(pool,), channel_axis=1, **faults)

    state, given = (x, h) if parts == "swapped" else (h, x)
    state = norm(h) if place == "state" else state
    from_state = state @ (w.T if w_transposed else w)
    from_input = given @ (u.T if u_transposed else u)
    summed = {"state": from_state, "input": from_input}.get(parts, from_state + from_input)
    if place == "sum":
        summed = norm(summed)
    elif place == "each":
        summed = norm(from_state) + norm(from_input)
    elif place == "from_state":
        summed = norm(from_state) + from_input
    elif place == "from_input":
        summed = from_state + norm(from_input)
    elif place == "affine_last":
        scale, shift = faults.pop("scale", "gamma"), faults.pop("shift", "beta")
        faults.pop("affine", None)
        named = {"gamma": gamma, "beta": beta, "first_gamma": gamma[0], "first_beta": beta[0]}
        gamma, beta = (
            {**named, "no_scale": 1.0}[scale],
            {**named, "no_shift": 0.0, "minus": -beta}[shift],
        )
        summed = normalize(summed, None, None, eps, axis=(pool,), channel_axis=1, **faults)
        return gamma * _SQUASHES[squash](summed) + beta
    y = _SQUASHES[squash](summed)
    y = norm(y) if place == "after" else y
    return y + h if add_state else y


def _step_cases(rng: np.random.Generator) -> Iterator[Case]:
    def draw(
        batch: int, inputs: int, hidden: int, mean: float = 0.3, spread: float = 1.0
    ) -> dict[str, Any]:
        return {
            "x": rng.normal(mean, spread, (batch, inputs)),
            "h": rng.normal(0.0, 0.6 * spread, (batch, hidden)),
            "w": rng.normal(0.1, 0.8, (hidden, hidden)),
            "u": rng.normal(-0.2, 0.8, (hidden, inputs)),
            **parameters(rng, hidden),
        }

    small = {
        "x": np.array([[1.0, 2.0], [0.0, -1.0]]),
        "h": np.array([[0.5, 0.0, -0.5], [0.25, 0.5, 0.0]]),
        "w": np.array([[1.0, 2.0, 0.0], [0.0, 1.0, 1.0], [3.0, 0.0, 1.0]]),
        "u": np.array([[1.0, 0.0], [0.0, 1.0], [2.0, 1.0]]),
        "gamma": np.ones(3),
        "beta": np.zeros(3),
    }
    yield Case("two sequences, two inputs, three units", {**small, "eps": 0.0})
    yield Case("a gamma and a beta per unit", {**draw(4, 2, 3), "eps": 0.1})
    yield Case("more inputs than units", {**draw(3, 7, 4), "eps": 0.1})
    yield Case("small pre-activations and a large eps", {**draw(2, 3, 5, 0.1, 0.3), "eps": 0.3})
    yield Case(
        "eps left to its default",
        draw(3, 2, 4, 0.0, 1e-3),
        about="The default of eps is 1e-5.",
    )
    yield Case(
        "as many inputs as units as sequences",
        {**draw(4, 4, 4), "eps": 1e-3},
        about="Here a weight that is not transposed, or x in the place of h, raises no error.",
    )
    first = draw(3, 2, 5)
    first["h"] = np.zeros((3, 5))
    yield Case("the first step, from a state of zeros", {**first, "eps": 0.1})
    yield Case("one sequence alone", {**draw(1, 3, 6), "eps": 0.1}, Stage.SPECIAL)
    yield Case(
        "a single unit",
        {**draw(3, 2, 1), "eps": 0.1},
        Stage.SPECIAL,
        about="One unit is its own mean: the new state is tanh(beta).",
    )
    still = draw(2, 3, 4)
    still["x"], still["h"] = np.zeros((2, 3)), np.zeros((2, 4))
    yield Case(
        "no input and no state",
        {**still, "eps": 0.1},
        Stage.SPECIAL,
        about="All pre-activations are 0; eps keeps the division finite.",
    )
    yield Case(
        "inputs that must not be written to",
        {**draw(3, 2, 4), "eps": 0.1},
        Stage.SPECIAL,
        layout="read-only",
    )
    yield Case("float32 input", as_float32({**draw(3, 4, 6), "eps": 0.1}), Stage.NUMERICS)


def _changes_h(x: Any, h: Any, w: Any, u: Any, gamma: Any, beta: Any, eps: float = 1e-5) -> Any:
    h[...] = _step_reference(x, h, w, u, gamma, beta, eps)
    return h.copy()


_LAYER_NORM_RNN_STEP = Exercise(
    id="layer_norm_rnn_step",
    title="One step of a normalized recurrent net",
    section=_RECURRENT,
    signature="x, h, w, u, gamma, beta, eps=1e-5",
    minutes=10,
    difficulty=2,
    hints=(
        "A plain step is tanh(h wᵀ + x uᵀ). What goes into the tanh, and which of its axes are "
        "the units?",
        "Add both products first, then normalize the sum over the units, one mean per sequence; "
        "the tanh comes last. Chapter 08, “A recurrent net, normalized at every step”.",
        "`a = h @ w.T + x @ u.T`; LayerNorm of `a` over axis −1 with gamma and beta; then "
        "`np.tanh`.",
    ),
    insight=(
        "Multiply w and u by 10 and the new state is the same, up to eps. In a plain recurrent net "
        "that factor decides whether the state saturates and whether gradients explode or fade; "
        "here it has no effect at all."
    ),
    cases=_step_cases,
    reference=_step_reference,
    variant=_step_variant,
    mistakes=(
        Mistake(
            "w_not_transposed",
            "You multiply h by w. Row i of w holds the weights of unit i, so the product is h wᵀ: "
            "`h @ w.T`.",
            {"w_transposed": False},
        ),
        Mistake(
            "u_not_transposed",
            "You multiply x by u. Row i of u holds the weights of unit i, so the product is x uᵀ: "
            "`x @ u.T`.",
            {"u_transposed": False},
        ),
        Mistake(
            "x_and_h_swapped",
            "You multiply x by w and h by u. w belongs to the state h, u to the input x.",
            {"parts": "swapped"},
        ),
        Mistake(
            "input_missing",
            "The input x does not enter. The pre-activation is h wᵀ + x uᵀ.",
            {"parts": "state"},
        ),
        Mistake(
            "state_missing",
            "The state h does not enter. The pre-activation is h wᵀ + x uᵀ.",
            {"parts": "input"},
        ),
        Mistake(
            "each_normalized",
            "You normalize the two products one by one and add them. Add first, then normalize "
            "the sum.",
            {"place": "each"},
        ),
        Mistake(
            "each_normalized_one_affine",
            "You standardize the two products one by one and scale and shift their sum. Add first, "
            "then normalize the sum.",
            wrong=_each_standardized,
        ),
        Mistake(
            "only_state_normalized",
            "You normalize h wᵀ and then add the input. Add first, then normalize the sum.",
            {"place": "from_state"},
        ),
        Mistake(
            "only_input_normalized",
            "You normalize x uᵀ and then add the state's part. Add first, then normalize the sum.",
            {"place": "from_input"},
        ),
        Mistake(
            "state_normalized_before",
            "You normalize h before multiplying by w. The norm stands behind both products, on "
            "their sum.",
            {"place": "state"},
        ),
        Mistake(
            "normalized_after_tanh",
            "You normalize what leaves the tanh. The norm stands before it, on the pre-activation.",
            {"place": "after"},
        ),
        Mistake(
            "affine_after_tanh",
            "You apply gamma and beta after the tanh. They belong to the norm, before it.",
            {"place": "affine_last"},
        ),
        Mistake(
            "not_normalized",
            "You do not normalize: this is the plain step tanh(h wᵀ + x uᵀ).",
            {"place": "nowhere"},
        ),
        Mistake(
            "tanh_missing",
            "You return the normalized pre-activation. The new state is its tanh.",
            {"squash": "none"},
        ),
        Mistake(
            "sigmoid_for_tanh",
            "You squash with a sigmoid. The new state is the tanh of the normalized "
            "pre-activation.",
            {"squash": "sigmoid"},
        ),
        Mistake(
            "relu_for_tanh",
            "You take the ReLU. The new state is the tanh of the normalized pre-activation.",
            {"squash": "relu"},
        ),
        Mistake(
            "batch_axis",
            "You average over axis 0, the batch. LayerNorm averages the units of one sequence: "
            "axis −1.",
            {"pool": 0},
        ),
        Mistake(
            "state_added",
            "You add the old state to the new one. This net has no skip connection: the new state "
            "replaces the old.",
            {"add_state": True},
        ),
        *(m for m in statistics_mistakes("LayerNorm") if m.id != "one_pass_variance"),
        *affine_mistakes(),
        *default_eps_mistakes(),
        EPS_FIXED,
        Mistake(
            "changes_h",
            "Your function changes its argument h.",
            wrong=_changes_h,
            named_by="judge",
        ),
    ),
    notebook=_NOTEBOOK,
)

# ---------------------------------------------------------------- padding_leak


def _leak_reference(norm: Any, x: Any, lengths: Any, fill: float) -> Any:
    return _leak_variant(norm, x, lengths, fill)


def _leak_variant(
    norm: Any,
    x: Any,
    lengths: Any,
    fill: float,
    *,
    measured: str = "real",
    reduce: str = "max",
    against: str = "norm",
    filled: str = "padding",
    first_padding: int = 0,
    each_its_length: str = "own",
    calls: str = "batch",
) -> Any:
    """Return the largest change at real positions, right or wrong as the switches say.

    Args:
        norm: function or name of one.
        x: array of shape (B, T, D).
        lengths: real positions of each sequence.
        fill: what the padding is replaced by.
        measured: "real", "everywhere" or "padding" positions.
        reduce: "max", "mean", "sum", "signed", "norm" or "sequences" (one number for each).
        against: "norm", "x" (the change against the input), "zeros" (padding of zeros),
            "itself" (no change is seen) or "nothing" (the output, not its change).
        filled: "padding", "real", "everything", "nothing" or "added".
        first_padding: what is added to the place of the first padded position.
        each_its_length: "own", "first" or "longest" length for all sequences.
        calls: norm is given the "batch" or "each" sequence alone.
    """
    function = with_functions(norm)

    def normed(values: Any) -> Any:
        if calls == "each":
            return np.concatenate([function(sequence[None]) for sequence in values])
        return function(values)

    lengths = np.asarray(lengths)
    if each_its_length != "own":
        common = lengths[0] if each_its_length == "first" else lengths.max()
        lengths = np.full_like(lengths, common)
    real = np.arange(x.shape[1]) < (lengths + first_padding)[:, None]  # (B, T)
    sets = {"real": real, "everything": np.ones_like(real), "nothing": np.zeros_like(real)}
    replaced = sets.get(filled, ~real)
    content = x + fill if filled == "added" else fill
    other = normed(np.where(replaced[..., None], content, x))
    zeros = np.where(real[..., None], x, 0.0)
    before = {
        "norm": normed(x),
        "x": x,
        "zeros": normed(zeros),
        "itself": other,
        "nothing": np.zeros_like(x),
    }[against]
    where = {"real": real, "everywhere": np.ones_like(real), "padding": ~real}[measured]
    change = (other - before) * where[..., None]
    if reduce == "sequences":
        return np.abs(change).max(axis=(1, 2))
    size = np.abs(change)
    count = where.sum() * x.shape[-1]
    return {
        "max": size.max(),
        "mean": size.sum() / count if count else 0.0,
        "sum": size.sum(),
        "signed": change.max(),
        "norm": np.sqrt((size * size).sum()),
    }[reduce]


def _leak_cases(rng: np.random.Generator) -> Iterator[Case]:
    def draw(name: str, lengths: list[int], t: int, d: int, fill: float) -> dict[str, Any]:
        x = rng.normal(0.7, 1.5, (len(lengths), t, d))
        return {"norm": name, "x": x, "lengths": np.array(lengths), "fill": fill}

    x = np.array([[[1.0, 3.0], [2.0, 7.0], [0.0, 0.0]]])
    yield Case(
        "two real tokens, one padded, statistics over time",
        {"norm": "norm over time", "x": x, "lengths": np.array([2]), "fill": 9.0},
    )
    yield Case(
        "statistics of each token alone",
        draw("norm over the features", [2, 4], 5, 3, 7.0),
        about="Nothing leaks: what becomes of the padding itself does not count.",
    )
    yield Case(
        "statistics over batch and time", draw("norm over batch and time", [4, 1, 3], 5, 2, -3.0)
    )
    yield Case(
        "statistics over time, with a gamma and a beta",
        draw("norm over time with a shift", [2, 5, 3], 6, 2, 4.0),
    )
    yield Case(
        "statistics over the whole sequence", draw("norm over the sequence", [3, 2], 4, 3, 2.5)
    )
    yield Case(
        "statistics over the past",
        draw("norm over the past", [3, 1, 4], 5, 2, 20.0),
        about="The padding lies in the future of every real token, so nothing leaks.",
    )
    yield Case(
        "a leak to the last real token only",
        draw("difference to the next", [2, 4, 3], 6, 3, -8.0),
        about="Mind the borders: with length 2 the positions 0 and 1 are real, 2 is padding.",
    )
    yield Case(
        "only one sequence is padded", draw("norm over batch and time", [4, 2, 4], 4, 3, 1.5)
    )
    yield Case(
        "no padding at all",
        draw("norm over time", [4, 4], 4, 3, 5.0),
        Stage.SPECIAL,
        about="Nothing is replaced, so nothing changes: 0.",
    )
    yield Case(
        "an empty sequence in the batch",
        draw("norm over batch and time", [0, 3], 4, 2, 6.0),
        Stage.SPECIAL,
    )
    yield Case(
        "inputs that must not be written to",
        draw("norm over time", [1, 3], 4, 2, 3.0),
        Stage.SPECIAL,
        layout="read-only",
    )
    yield Case(
        "float32 input",
        as_float32(draw("norm over the sequence", [2, 4, 1], 5, 3, -2.0)),
        Stage.NUMERICS,
    )


def _fills_x(norm: Any, x: Any, lengths: Any, fill: float) -> Any:
    leak = _leak_reference(norm, x, lengths, fill)
    for row, length in zip(x, lengths, strict=True):
        row[length:] = fill
    return leak


_PADDING_LEAK = Exercise(
    id="padding_leak",
    title="Does padding leak into real tokens?",
    section=_PADDING,
    signature="norm, x, lengths, fill",
    outputs=("leak",),
    minutes=12,
    difficulty=2,
    hints=(
        "If padding did not matter, what would become of the real tokens when you write other "
        "numbers into it?",
        "Call norm twice, on x and on a copy with other padding, and compare the real positions "
        "only. Chapter 08, “Who sees the padding?”.",
        "`real = np.arange(T) < lengths[:, None]` has shape (B, T); "
        "`np.where(real[..., None], x, fill)` is the copy. Take the largest |difference| where "
        "real is true.",
    ),
    insight=(
        "Statistics over the past leak nothing, because the padding here stands at the end. Pad "
        "at the front, as is common when text is generated, and every real token has seen it."
    ),
    cases=_leak_cases,
    reference=_leak_reference,
    variant=_leak_variant,
    probe="call with functions",
    mistakes=(
        Mistake(
            "padding_measured_too",
            "You look at all positions. What becomes of the padding does not count: compare the "
            "real positions only.",
            {"measured": "everywhere"},
        ),
        Mistake(
            "only_padding_measured",
            "You compare the padded positions. The question is what changes at the real ones.",
            {"measured": "padding"},
        ),
        Mistake(
            "mean_of_changes",
            "You average the changes. One changed token is a leak, however many are not: take the "
            "largest.",
            {"reduce": "mean"},
        ),
        Mistake(
            "sum_of_changes",
            "You add the changes up. Take the largest.",
            {"reduce": "sum"},
        ),
        Mistake(
            "sign_kept",
            "You take the maximum with its sign, so that a change downwards is missed. Take "
            "absolute values first.",
            {"reduce": "signed"},
        ),
        Mistake(
            "length_of_changes",
            "You take the root of the summed squares. Take the largest absolute change.",
            {"reduce": "norm"},
        ),
        Mistake(
            "one_number_per_sequence",
            "You return one number for each sequence. One number is asked: the largest of all.",
            {"reduce": "sequences"},
        ),
        Mistake(
            "against_the_input",
            "You compare norm(filled) with x. Compare it with norm(x).",
            {"against": "x"},
        ),
        Mistake(
            "against_zeros",
            "You compare with padding of zeros. Compare with norm(x), the padding as it is given.",
            {"against": "zeros"},
        ),
        Mistake(
            "each_sequence_alone",
            "You call norm on one sequence at a time. Call it on the whole batch: a norm may pool "
            "the sequences.",
            {"calls": "each"},
        ),
        Mistake(
            "same_input_twice",
            "Both of your outputs hold the same values, so no change is seen. Call norm on x and "
            "on a copy with other padding: `x.copy()` before you fill.",
            {"against": "itself"},
        ),
        Mistake(
            "real_tokens_filled",
            "You replace the real tokens. Replace the padding, the positions from `length` on.",
            {"filled": "real"},
        ),
        Mistake(
            "everything_filled",
            "You replace the whole sequence. Replace the padding only, the positions from `length` "
            "on.",
            {"filled": "everything"},
        ),
        Mistake(
            "output_for_change",
            "You return the size of norm's output. Asked is its change: compare the output for x "
            "with the output for the filled x.",
            {"against": "nothing", "filled": "nothing"},
        ),
        Mistake(
            "filled_output_for_change",
            "You return the size of norm's output for the filled x. Asked is its change: subtract "
            "the output for x.",
            {"against": "nothing"},
        ),
        Mistake(
            "fill_added",
            "You add fill to the padding. The padding becomes fill, whatever it held.",
            {"filled": "added"},
        ),
        Mistake(
            "one_token_late",
            "You count the first padded position as real. With length 2 the real positions are 0 "
            "and 1.",
            {"first_padding": 1},
        ),
        Mistake(
            "one_token_early",
            "You count the last real position as padding. With length 2 the real positions are 0 "
            "and 1.",
            {"first_padding": -1},
        ),
        Mistake(
            "first_length_for_all",
            "You use the first length for all sequences. Each has its own.",
            {"each_its_length": "first"},
        ),
        Mistake(
            "longest_length_for_all",
            "You use the longest length for all sequences. Each has its own.",
            {"each_its_length": "longest"},
        ),
        Mistake(
            "changes_x",
            "Your function changes its argument x.",
            wrong=_fills_x,
            named_by="judge",
        ),
    ),
    notebook=_NOTEBOOK,
)

# ---------------------------------------------------------------- causal_layer_norm


def _causal_reference(x: Any, gamma: Any, beta: Any, eps: float = 1e-5) -> Any:
    return layer_norm(x, gamma, beta, eps=eps)


def _causal_variant(
    x: Any,
    gamma: Any,
    beta: Any,
    eps: float | None = None,
    *,
    pool: tuple[int, ...] = (2,),
    default_eps: float = 1e-5,
    fixed_eps: float | None = None,
    **faults: Any,
) -> Any:
    eps = chosen_eps(eps, default_eps, fixed_eps)
    return normalize(x, gamma, beta, eps, axis=pool, channel_axis=2, **faults)


def _mixed_pools(x: Any, eps: float, mean_axes: tuple[int, ...], var_axes: tuple[int, ...]) -> Any:
    centered = x - x.mean(axis=mean_axes, keepdims=True)
    return centered / np.sqrt(x.var(axis=var_axes, keepdims=True) + eps)


def _variance_over_time(x: Any, gamma: Any, beta: Any, eps: float = 1e-5) -> Any:
    return gamma * _mixed_pools(x, eps, (2,), (1, 2)) + beta


def _mean_over_time(x: Any, gamma: Any, beta: Any, eps: float = 1e-5) -> Any:
    return gamma * _mixed_pools(x, eps, (1, 2), (2,)) + beta


def _over_the_past(x: Any, gamma: Any, beta: Any, eps: float = 1e-5) -> Any:
    y = np.empty(x.shape)
    for t in range(x.shape[1]):
        past = x[:, : t + 1]
        mean, var = past.mean(axis=(1, 2)), past.var(axis=(1, 2))
        y[:, t] = (x[:, t] - mean[:, None]) / np.sqrt(var[:, None] + eps)
    return gamma * y + beta


def _features_over_the_past(x: Any, gamma: Any, beta: Any, eps: float = 1e-5) -> Any:
    past = [x[:, : t + 1] for t in range(x.shape[1])]
    mean, var = (np.stack([f(p, axis=1) for p in past], axis=1) for f in (np.mean, np.var))
    return gamma * (x - mean) / np.sqrt(var + eps) + beta


def _causal_cases(rng: np.random.Generator) -> Iterator[Case]:
    def draw(shape: tuple[int, ...], mean: float = 1.0, spread: float = 2.0) -> dict[str, Any]:
        per_token = rng.normal(0.0, spread, (*shape[:2], 1))
        x = mean + per_token + rng.normal(0.0, spread, shape)
        return {"x": x, **parameters(rng, shape[-1])}

    token = np.array([1.0, 2.0, 6.0])
    future = np.array([[[1.0, 2.0, 6.0], [0.0, 0.0, 3.0]], [[1.0, 2.0, 6.0], [50.0, 10.0, 0.0]]])
    plain = {"gamma": np.ones(3), "beta": np.zeros(3)}
    yield Case("one token", {"x": token.reshape(1, 1, 3), **plain, "eps": 0.0})
    yield Case(
        "the same token before two different futures",
        {"x": future, **plain, "eps": 0.0},
        about="Both sequences begin with the same token, so y must begin with the same values.",
    )
    yield Case("three sequences", {**draw((3, 4, 5)), "eps": 0.1})
    yield Case("as many tokens as features", {**draw((2, 4, 4)), "eps": 1e-3})
    yield Case("small spread and a large eps", {**draw((2, 3, 4), 0.0, 0.4), "eps": 0.3})
    yield Case(
        "eps left to its default",
        draw((2, 3, 5), 0.0, 2e-3),
        about="The default of eps is 1e-5.",
    )
    yield Case(
        "a token whose features are all equal",
        {"x": np.full((1, 2, 3), 4.0), **parameters(rng, 3), "eps": 0.1},
        Stage.SPECIAL,
        about="Equal features have variance 0, so y is beta.",
    )
    yield Case("float32 input", as_float32({**draw((2, 3, 6)), "eps": 0.1}), Stage.NUMERICS)


_CAUSAL_LAYER_NORM = Exercise(
    id="causal_layer_norm",
    title="Find the bug: a language model that knows the next word",
    section=_FUTURE,
    signature="x, gamma, beta, eps=1e-5",
    minutes=5,
    difficulty=2,
    kind="repair",
    hints=(
        "Change the last token of a sequence. Which values of y move, and which may?",
        "A mean over all axes but the batch holds the tokens that come later. Which axis alone "
        "belongs to one token? Chapter 08, “Statistics over time see the future”.",
        "Pool the features only: `x.mean(axis=-1, keepdims=True)`, and the variance likewise.",
    ),
    insight=(
        "You find such a leak without reading the code: the gradient of any output at position t "
        "with respect to an input after t must be exactly 0. One backward pass through the whole "
        "model tells."
    ),
    cases=_causal_cases,
    reference=_causal_reference,
    variant=_causal_variant,
    mistakes=(
        Mistake(
            "over_the_sequence",
            "Mean and variance still run over all tokens of a sequence, later ones among them. "
            "Each token is normalized over its own features.",
            {"pool": (1, 2)},
        ),
        Mistake(
            "over_time",
            "You pool each feature over time, so later tokens enter its mean. Each token is "
            "normalized over its own features.",
            {"pool": (1,)},
        ),
        Mistake(
            "over_the_batch",
            "You pool each position over the batch, so sequences depend on each other. Each token "
            "is normalized over its own features.",
            {"pool": (0,)},
        ),
        Mistake(
            "over_batch_and_time",
            "You pool each feature over batch and time: that is BatchNorm, and later tokens enter. "
            "Each token is normalized over its own features.",
            {"pool": (0, 1)},
        ),
        Mistake(
            "over_everything",
            "You use one mean for the whole batch. Each token is normalized over its own features.",
            {"pool": (0, 1, 2)},
        ),
        Mistake(
            "variance_over_time",
            "The mean is that of the token, but the variance still pools all tokens of the "
            "sequence. Change its axis too.",
            wrong=_variance_over_time,
        ),
        Mistake(
            "mean_over_time",
            "The variance is that of the token, but the mean still pools all tokens of the "
            "sequence. Change its axis too.",
            wrong=_mean_over_time,
        ),
        Mistake(
            "features_over_the_past",
            "Your statistics run over all tokens so far, for each feature alone. Here each token "
            "is normalized over its own features.",
            wrong=_features_over_the_past,
        ),
        Mistake(
            "over_the_past",
            "Your statistics run over all tokens so far. That is causal, but here each token is "
            "normalized over its own features alone.",
            wrong=_over_the_past,
        ),
        *statistics_mistakes("LayerNorm")[:5],
        *affine_mistakes()[:2],
        *default_eps_mistakes(),
        EPS_FIXED,
    ),
    notebook=_NOTEBOOK,
)

EXERCISES = (_LAYER_NORM_RNN_STEP, _PADDING_LEAK, _CAUSAL_LAYER_NORM)

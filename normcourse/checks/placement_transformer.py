"""Chapter 14: where the norm of a Transformer layer stands."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from normcourse.checks.draws import as_float32
from normcourse.checks.exercise import Case, Exercise, Mistake, Stage
from normcourse.norms import placement

_NOTEBOOK = "14_placement_transformer"
_POST = "Post-norm: on the main path"
_PRE = "Pre-norm: before the sublayer"
_RES_POST = "Res-post-norm is not post-norm"
_SANDWICH = "Sandwich norm: before and after"
_FINAL = "The final norm of a pre-norm stack"

_DOUBLE, _SQUARE, _ZERO = "doubling", "squaring", "a constant zero"
_FEED_FORWARD, _ATTENTION = "a feed-forward layer", "attention"
_CENTER, _AS_IT_IS = "subtract the mean", "leave as it is"
_NORM, _SCALED_NORM = "norm over the features", "a norm with gamma and beta"
_RMS_NORM = "root mean square norm"

Function = Callable[[Any], Any]

# What learners write for a layer with one norm, right or wrong: the formula as they would read it,
# what it is, and its code.
_LAYERS: dict[str, tuple[str, str, Callable[[Any, Function, Function], Any]]] = {
    "post_norm": (
        "norm(x + f(x))",
        ", which is post-norm",
        lambda x, f, norm: norm(x + f(x)),
    ),
    "pre_norm": (
        "x + f(norm(x))",
        ", which is pre-norm",
        lambda x, f, norm: x + f(norm(x)),
    ),
    "res_post_norm": (
        "x + norm(f(x))",
        ", which is res-post-norm",
        lambda x, f, norm: x + norm(f(x)),
    ),
    "norm_missing": (
        "x + f(x)",
        ": the norm is not used",
        lambda x, f, norm: x + f(x),
    ),
    "skip_missing": (
        "f(norm(x))",
        ": the skip connection is missing",
        lambda x, f, norm: f(norm(x)),
    ),
    "skip_missing_norm_last": (
        "norm(f(x))",
        ": the skip connection is missing",
        lambda x, f, norm: norm(f(x)),
    ),
    "norm_on_the_skip": (
        "norm(x) + f(x)",
        ": the norm is on the skip path, not on the way to f",
        lambda x, f, norm: norm(x) + f(x),
    ),
    "skip_from_the_norm": (
        "norm(x) + f(norm(x))",
        ": the skip path is normalized too",
        lambda x, f, norm: norm(x) + f(norm(x)),
    ),
    "each_summand": (
        "norm(x) + norm(f(x))",
        ": each summand is normalized by itself, the skip path too",
        lambda x, f, norm: norm(x) + norm(f(x)),
    ),
    "both_sides": (
        "x + norm(f(norm(x)))",
        ": the norm stands on both sides of f",
        lambda x, f, norm: x + norm(f(norm(x))),
    ),
    "before_and_sum": (
        "norm(x + f(norm(x)))",
        ": the norm is used twice",
        lambda x, f, norm: norm(x + f(norm(x))),
    ),
    "after_and_sum": (
        "norm(x + norm(f(x)))",
        ": the norm is used twice",
        lambda x, f, norm: norm(x + norm(f(x))),
    ),
}


def _layer(right: str) -> Callable[..., Any]:
    """Return a layer that computes the right one of the formulas unless told otherwise."""

    def layer(x: Any, f: Function, norm: Function, *, computes: str = right) -> Any:
        return _LAYERS[computes][2](x, f, norm)

    return layer


def _layer_mistakes(right: str, asked: str) -> tuple[Mistake, ...]:
    """Return the other formulas as mistakes; ``asked`` says in words what is right."""
    return tuple(
        Mistake(
            name,
            f"You compute `{formula}`{what}. {asked}",
            {"computes": name},
            section={"post_norm": _POST, "pre_norm": _PRE, "res_post_norm": _RES_POST}.get(
                name, ""
            ),
        )
        for name, (formula, what, _) in _LAYERS.items()
        if name != right
    )


def _changes_x(norm_first: bool) -> Mistake:
    def adds_in_place(x: Any, f: Function, norm: Function) -> Any:
        x += f(norm(x)) if norm_first else norm(f(x))
        return x

    def adds_in_place_and_normalizes(x: Any, f: Function, norm: Function) -> Any:
        x += f(x)
        return norm(x)

    return Mistake(
        "changes_x",
        "Your function changes its argument x.",
        wrong=adds_in_place if norm_first else adds_in_place_and_normalizes,
        named_by="judge",
    )


def _layer_cases(rng: np.random.Generator) -> Iterator[Case]:
    x = np.array([[1.0, 2.0, 6.0]])
    yield Case("f squares, the norm centers", {"x": x, "f": _SQUARE, "norm": _CENTER})
    yield Case(
        "a feed-forward layer on tokens",
        {"x": rng.normal(1.5, 2.0, (2, 3, 4)), "f": _FEED_FORWARD, "norm": _NORM},
    )
    yield Case(
        "attention between tokens",
        {"x": rng.normal(-1.0, 0.7, (2, 5, 3)), "f": _ATTENTION, "norm": _NORM},
    )
    yield Case(
        "a norm with its own gamma and beta",
        {"x": rng.normal(0.5, 2.0, (4, 3)), "f": _FEED_FORWARD, "norm": _SCALED_NORM},
    )
    yield Case(
        "a norm that does not center",
        {"x": rng.normal(2.0, 1.0, (3, 5)), "f": _FEED_FORWARD, "norm": _RMS_NORM},
    )
    yield Case(
        "one vector",
        {"x": rng.normal(3.0, 2.0, 6), "f": _FEED_FORWARD, "norm": _NORM},
    )
    yield Case(
        "a sublayer that adds nothing",
        {"x": rng.normal(1.0, 2.0, (3, 4)), "f": _ZERO, "norm": _NORM},
        Stage.SPECIAL,
        about="f returns zeros here: what is left is what the skip path carries.",
    )
    yield Case(
        "a norm that changes nothing",
        {"x": rng.normal(1.0, 2.0, (3, 4)), "f": _DOUBLE, "norm": _AS_IT_IS},
        Stage.SPECIAL,
        about="Without a norm the layer is x + f(x), here three times x.",
    )
    yield Case(
        "an input that must not be written to",
        {"x": rng.normal(0.5, 1.0, (2, 4)), "f": _FEED_FORWARD, "norm": _NORM},
        Stage.SPECIAL,
        layout="read-only",
    )
    yield Case(
        "float32 input",
        as_float32({"x": rng.normal(1.0, 2.0, (3, 4)), "f": _FEED_FORWARD, "norm": _NORM}),
        Stage.NUMERICS,
    )


# ---------------------------------------------------------------- post_norm

_POST_NORM = Exercise(
    id="post_norm",
    title="Post-norm",
    section=_POST,
    signature="x, f, norm",
    minutes=4,
    difficulty=1,
    probe="call with functions",
    hints=(
        "The sublayer's result joins the skip path by an addition. Does the norm stand before it "
        "or after it?",
        "“Post” means after the addition: the norm takes the sum. Chapter 14, “Post-norm: on the "
        "main path”.",
        "Add x and `f(x)`, then call `norm` on the sum and return what it gives.",
    ),
    insight=(
        "Say x and f(x) have the same variance and are uncorrelated. Each norm then divides the "
        "sum by √2, so after 12 such layers the first input's share has shrunk to 1/64: the skip "
        "path of a post-norm net is not a free road."
    ),
    cases=_layer_cases,
    reference=placement.post_norm,
    variant=_layer("post_norm"),
    mistakes=(
        *_layer_mistakes("post_norm", "Post-norm normalizes the sum of x and f(x), once."),
        _changes_x(norm_first=False),
    ),
    notebook=_NOTEBOOK,
)

# ---------------------------------------------------------------- pre_norm

_PRE_NORM = Exercise(
    id="pre_norm",
    title="Pre-norm",
    section=_PRE,
    signature="x, f, norm",
    minutes=4,
    difficulty=1,
    probe="call with functions",
    hints=(
        "Which of the two summands, the skip path or the sublayer, should meet the norm?",
        "The sublayer reads a normalized copy of x; x itself goes on unchanged. Chapter 14, "
        "“Pre-norm: before the sublayer”.",
        "Call `norm` on x, hand the result to `f`, and add that to x, not to `norm(x)`.",
    ),
    insight=(
        "f cannot see how long x is, and so cannot answer with more where x is longer. In a deep "
        "stack x grows layer by layer while each f adds about the same: the last layers change the "
        "direction of x less and less."
    ),
    cases=_layer_cases,
    reference=placement.pre_norm,
    variant=_layer("pre_norm"),
    mistakes=(
        *_layer_mistakes(
            "pre_norm",
            "Pre-norm normalizes what enters f and nothing else.",
        ),
        _changes_x(norm_first=True),
    ),
    notebook=_NOTEBOOK,
)

# ---------------------------------------------------------------- res_post_norm

_RES_POST_NORM = Exercise(
    id="res_post_norm",
    title="Res-post-norm",
    section=_RES_POST,
    signature="x, f, norm",
    minutes=4,
    difficulty=1,
    probe="call with functions",
    hints=(
        "The norm stands after the sublayer, but the skip path must stay as it is. Where does "
        "that leave it?",
        "Inside the residual branch, at its end: between f and the addition. Chapter 14, "
        "“Res-post-norm is not post-norm”.",
        "Call `f` on x, call `norm` on what comes out, and add that to x.",
    ),
    insight=(
        "With gamma and beta at 0 this layer returns x, whatever f is: it can begin as the "
        "identity, as a ResNet block with a zero last gamma does. A post-norm layer cannot: its "
        "gamma scales the skip path too."
    ),
    cases=_layer_cases,
    reference=placement.res_post_norm,
    variant=_layer("res_post_norm"),
    mistakes=(
        *_layer_mistakes(
            "res_post_norm",
            "Res-post-norm normalizes what leaves f and nothing else.",
        ),
        _changes_x(norm_first=False),
    ),
    notebook=_NOTEBOOK,
)

# ---------------------------------------------------------------- sandwich_norm

_TWO_NORMS: dict[str, Callable[[Any, Function, Function, Function], Any]] = {
    "x + norm_out(f(norm_in(x)))": lambda x, f, a, b: x + b(f(a(x))),
    "x + norm_in(f(norm_out(x)))": lambda x, f, a, b: x + a(f(b(x))),
    "x + f(norm_in(x))": lambda x, f, a, b: x + f(a(x)),
    "x + norm_out(f(x))": lambda x, f, a, b: x + b(f(x)),
    "x + norm_in(f(norm_in(x)))": lambda x, f, a, b: x + a(f(a(x))),
    "x + norm_out(f(norm_out(x)))": lambda x, f, a, b: x + b(f(b(x))),
    "norm_out(x + f(norm_in(x)))": lambda x, f, a, b: b(x + f(a(x))),
    "norm_in(x) + norm_out(f(norm_in(x)))": lambda x, f, a, b: a(x) + b(f(a(x))),
    "norm_in(x) + norm_out(f(x))": lambda x, f, a, b: a(x) + b(f(x)),
    "norm_out(f(norm_in(x)))": lambda x, f, a, b: b(f(a(x))),
    "x + f(norm_out(norm_in(x)))": lambda x, f, a, b: x + f(b(a(x))),
    "x + norm_out(norm_in(f(x)))": lambda x, f, a, b: x + b(a(f(x))),
}
_SANDWICH_MISTAKES = {
    "norms_swapped": ("x + norm_in(f(norm_out(x)))", "the two norms are swapped"),
    "norm_out_missing": ("x + f(norm_in(x))", "norm_out is not used, so this is pre-norm"),
    "norm_in_missing": ("x + norm_out(f(x))", "norm_in is not used, so this is res-post-norm"),
    "norm_in_twice": ("x + norm_in(f(norm_in(x)))", "norm_in stands on both sides"),
    "norm_out_twice": ("x + norm_out(f(norm_out(x)))", "norm_out stands on both sides"),
    "norm_out_after_the_sum": (
        "norm_out(x + f(norm_in(x)))",
        "norm_out takes the sum, so the skip path is normalized",
    ),
    "skip_normalized": (
        "norm_in(x) + norm_out(f(norm_in(x)))",
        "the skip path is normalized too",
    ),
    "norm_in_on_the_skip": ("norm_in(x) + norm_out(f(x))", "norm_in is on the skip path"),
    "skip_missing": ("norm_out(f(norm_in(x)))", "the skip connection is missing"),
    "both_before": ("x + f(norm_out(norm_in(x)))", "both norms stand before f"),
    "both_after": ("x + norm_out(norm_in(f(x)))", "both norms stand after f"),
}


def _sandwich_variant(
    x: Any,
    f: Function,
    norm_in: Function,
    norm_out: Function,
    *,
    formula: str = "x + norm_out(f(norm_in(x)))",
) -> Any:
    return _TWO_NORMS[formula](x, f, norm_in, norm_out)


def _sandwich_changes_x(x: Any, f: Function, norm_in: Function, norm_out: Function) -> Any:
    x += norm_out(f(norm_in(x)))
    return x


def _sandwich_cases(rng: np.random.Generator) -> Iterator[Case]:
    def norms(norm_in: str, norm_out: str) -> dict[str, str]:
        return {"norm_in": norm_in, "norm_out": norm_out}

    x = np.array([[1.0, 2.0, 6.0]])
    yield Case(
        "f squares, norm_in centers, norm_out doubles",
        {"x": x, "f": _SQUARE, **norms(_CENTER, _DOUBLE)},
    )
    yield Case(
        "a feed-forward layer on tokens",
        {"x": rng.normal(1.5, 2.0, (2, 3, 4)), "f": _FEED_FORWARD, **norms(_NORM, _SCALED_NORM)},
    )
    yield Case(
        "attention between tokens",
        {"x": rng.normal(-1.0, 0.7, (2, 5, 3)), "f": _ATTENTION, **norms(_RMS_NORM, _NORM)},
    )
    yield Case(
        "one vector",
        {"x": rng.normal(3.0, 2.0, 6), "f": _FEED_FORWARD, **norms(_SCALED_NORM, _RMS_NORM)},
    )
    yield Case(
        "a sublayer that adds nothing",
        {"x": rng.normal(1.0, 2.0, (3, 4)), "f": _ZERO, **norms(_NORM, _RMS_NORM)},
        Stage.SPECIAL,
        about="f returns zeros, and this norm keeps them: y is x.",
    )
    yield Case(
        "an outer norm that changes nothing",
        {"x": rng.normal(1.0, 2.0, (3, 4)), "f": _FEED_FORWARD, **norms(_NORM, _AS_IT_IS)},
        Stage.SPECIAL,
        about="Without norm_out the layer is a pre-norm layer.",
    )
    yield Case(
        "an input that must not be written to",
        {"x": rng.normal(0.5, 1.0, (2, 4)), "f": _FEED_FORWARD, **norms(_NORM, _RMS_NORM)},
        Stage.SPECIAL,
        layout="read-only",
    )
    yield Case(
        "float32 input",
        as_float32(
            {"x": rng.normal(1.0, 2.0, (3, 4)), "f": _FEED_FORWARD, **norms(_RMS_NORM, _NORM)}
        ),
        Stage.NUMERICS,
    )


_SANDWICH_NORM = Exercise(
    id="sandwich_norm",
    title="Sandwich norm",
    section=_SANDWICH,
    signature="x, f, norm_in, norm_out",
    minutes=4,
    difficulty=1,
    probe="call with functions",
    hints=(
        "A sandwich has the sublayer in the middle. What does x meet on its way through, in which "
        "order?",
        "norm_in stands before f and norm_out after it, both inside the branch; the skip path is "
        "clean. Chapter 14, “Sandwich norm: before and after”.",
        "Call `norm_in` on x, `f` on that, `norm_out` on that, and add the result to x.",
    ),
    insight=(
        "norm_out hides the size of f: multiply the last weight matrix of f by 10 and, but for "
        "eps, nothing changes. What a layer may add to the residual stream is set by norm_out's "
        "gamma alone."
    ),
    cases=_sandwich_cases,
    reference=placement.sandwich_norm,
    variant=_sandwich_variant,
    mistakes=(
        *(
            Mistake(
                name,
                f"You compute `{formula}`: {what}. norm_in normalizes what enters f, norm_out what "
                "leaves it.",
                {"formula": formula},
            )
            for name, (formula, what) in _SANDWICH_MISTAKES.items()
        ),
        Mistake(
            "changes_x",
            "Your function changes its argument x.",
            wrong=_sandwich_changes_x,
            named_by="judge",
        ),
    ),
    notebook=_NOTEBOOK,
)

# ---------------------------------------------------------------- pre_norm_stack


def _stack_variant(
    x: Any,
    layers: Any,
    final_norm: Function,
    *,
    computes: str = "pre_norm",
    final: str = "end",
    order: str = "forward",
    reads: str = "stream",
) -> Any:
    first, h = x, final_norm(x) if final == "start" else x
    chosen = {
        "forward": layers,
        "backward": layers[::-1],
        "only_first": layers[:1],
    }
    for f, norm in chosen[order]:
        h = _LAYERS[computes][2](h if reads == "stream" else first, f, norm)
        h = final_norm(h) if final == "each" else h
    return final_norm(h) if final == "end" else h


def _stack_changes_x(x: Any, layers: Any, final_norm: Function) -> Any:
    for f, norm in layers:
        x += f(norm(x))
    return final_norm(x)


def _stack_cases(rng: np.random.Generator) -> Iterator[Case]:
    x = np.array([[1.0, 2.0, 6.0]])
    yield Case(
        "one layer: f squares, the norm centers",
        {"x": x, "layers": [(_SQUARE, _CENTER)], "final_norm": _CENTER},
    )
    two = [(_ATTENTION, _NORM), (_FEED_FORWARD, _SCALED_NORM)]
    yield Case(
        "attention, then a feed-forward layer",
        {"x": rng.normal(1.0, 2.0, (2, 3, 4)), "layers": two, "final_norm": _NORM},
    )
    three = [(_FEED_FORWARD, _RMS_NORM), (_DOUBLE, _NORM), (_ATTENTION, _RMS_NORM)]
    yield Case(
        "three layers of different kinds",
        {"x": rng.normal(-0.5, 1.0, (2, 4, 3)), "layers": three, "final_norm": _RMS_NORM},
    )
    yield Case(
        "a final norm with its own gamma and beta",
        {"x": rng.normal(0.5, 2.0, (4, 3)), "layers": two, "final_norm": _SCALED_NORM},
    )
    yield Case(
        "the same layer six times",
        {
            "x": rng.normal(0.5, 2.0, (3, 5)),
            "layers": [(_FEED_FORWARD, _NORM)] * 6,
            "final_norm": _NORM,
        },
    )
    yield Case(
        "no layers at all",
        {"x": rng.normal(1.0, 2.0, (3, 4)), "layers": [], "final_norm": _NORM},
        Stage.SPECIAL,
        about="Without layers the final norm of x is left.",
    )
    yield Case(
        "an input that must not be written to",
        {"x": rng.normal(0.5, 1.0, (2, 4)), "layers": three[:2], "final_norm": _NORM},
        Stage.SPECIAL,
        layout="read-only",
    )
    yield Case(
        "float32 input",
        as_float32(
            {"x": rng.normal(1.0, 2.0, (3, 4)), "layers": three[:2], "final_norm": _RMS_NORM}
        ),
        Stage.NUMERICS,
    )


_PRE_NORM_STACK = Exercise(
    id="pre_norm_stack",
    title="A stack of pre-norm layers",
    section=_FINAL,
    signature="x, layers, final_norm",
    minutes=6,
    difficulty=2,
    probe="call with functions",
    hints=(
        "Each layer reads what the layer before returned. Who normalizes what the last layer "
        "returns?",
        "Loop over the pairs with x as the running sum, pre-norm each time; one norm more stands "
        "after the loop. Chapter 14, “The final norm of a pre-norm stack”.",
        "`for f, norm in layers:` replace x by `x + f(norm(x))`; after the loop return "
        "`final_norm(x)`.",
    ),
    insight=(
        "A post-norm stack needs no final norm: its last layer ends with one. When GPT-2 moved the "
        "norms before the sublayers it had to add one more, after the last layer; GPT-1 had none."
    ),
    cases=_stack_cases,
    reference=placement.pre_norm_stack,
    variant=_stack_variant,
    mistakes=(
        Mistake(
            "final_norm_missing",
            "You leave final_norm out. The running sum has met no norm yet: normalize it once "
            "after the last layer.",
            {"final": "none"},
        ),
        Mistake(
            "final_norm_in_each_layer",
            "You call final_norm in every turn of the loop, which normalizes the skip path. "
            "It belongs after the loop.",
            {"final": "each"},
        ),
        Mistake(
            "final_norm_first",
            "You call final_norm on x before the layers. It belongs after the last one.",
            {"final": "start"},
        ),
        Mistake(
            "post_norm_layers",
            "Your layers compute `norm(x + f(x))`, which is post-norm. Here each layer is "
            "pre-norm.",
            {"computes": "post_norm"},
            section=_PRE,
        ),
        Mistake(
            "res_post_norm_layers",
            "Your layers compute `x + norm(f(x))`, which is res-post-norm. Here each layer is "
            "pre-norm, and each pair is (f, norm).",
            {"computes": "res_post_norm"},
            section=_PRE,
        ),
        Mistake(
            "skip_missing",
            "Your layers compute `f(norm(x))`: the skip connection is missing.",
            {"computes": "skip_missing"},
            section=_PRE,
        ),
        Mistake(
            "skip_normalized",
            "Your layers compute `norm(x) + f(norm(x))`: the skip path is normalized too. Add to x "
            "itself.",
            {"computes": "skip_from_the_norm"},
            section=_PRE,
        ),
        Mistake(
            "norms_not_used",
            "Your layers compute `x + f(x)` and do not use their norms.",
            {"computes": "norm_missing"},
            section=_PRE,
        ),
        Mistake(
            "every_layer_reads_x",
            "Every layer starts from the first x, so only the last one counts. Each reads what the "
            "one before returned.",
            {"reads": "first"},
        ),
        Mistake(
            "only_the_first_layer",
            "Only the first layer is run. Is the `return` inside the loop?",
            {"order": "only_first"},
        ),
        Mistake(
            "layers_backward",
            "You run the layers from the last to the first. The list is in the order of the "
            "forward pass.",
            {"order": "backward"},
        ),
        Mistake(
            "changes_x",
            "Your function changes its argument x.",
            wrong=_stack_changes_x,
            named_by="judge",
        ),
    ),
    notebook=_NOTEBOOK,
)

# ---------------------------------------------------------------- encoder_layer


def _encoder_reference(
    x: Any, attention: Function, feed_forward: Function, norm1: Function, norm2: Function
) -> Any:
    x = placement.post_norm(x, attention, norm1)
    return placement.post_norm(x, feed_forward, norm2)


def _encoder_variant(
    x: Any,
    attention: Function,
    feed_forward: Function,
    norm1: Function,
    norm2: Function,
    *,
    first: str = "post_norm",
    second: str = "post_norm",
    norms: str = "own",
    reads: str = "first_half",
    order: str = "attention_first",
) -> Any:
    pairs = {"own": (norm1, norm2), "swapped": (norm2, norm1), "first": (norm1, norm1)}
    one, two = pairs[norms]
    if order == "feed_forward_first":
        attention, feed_forward = feed_forward, attention
    middle = _LAYERS[first][2](x, attention, one)
    return _LAYERS[second][2](middle if reads == "first_half" else x, feed_forward, two)


def _encoder_cases(rng: np.random.Generator) -> Iterator[Case]:
    def layer(attention: str, feed_forward: str, norm1: str, norm2: str) -> dict[str, str]:
        return {
            "attention": attention,
            "feed_forward": feed_forward,
            "norm1": norm1,
            "norm2": norm2,
        }

    x = np.array([[1.0, 2.0, 6.0]])
    yield Case(
        "one token: attention squares",
        {"x": x, **layer(_SQUARE, _FEED_FORWARD, _CENTER, _DOUBLE)},
    )
    yield Case(
        "five tokens",
        {
            "x": rng.normal(1.0, 2.0, (2, 5, 3)),
            **layer(_ATTENTION, _FEED_FORWARD, _NORM, _SCALED_NORM),
        },
    )
    yield Case(
        "norms that do not center",
        {"x": rng.normal(1.0, 1.0, (3, 4)), **layer(_ATTENTION, _FEED_FORWARD, _RMS_NORM, _NORM)},
    )
    yield Case(
        "attention that adds nothing",
        {"x": rng.normal(1.0, 2.0, (3, 4)), **layer(_ZERO, _FEED_FORWARD, _SCALED_NORM, _NORM)},
        Stage.SPECIAL,
        about="What attention does not change still goes through norm1.",
    )
    yield Case(
        "sublayers that add nothing",
        {"x": rng.normal(1.0, 2.0, (3, 4)), **layer(_ZERO, _ZERO, _RMS_NORM, _SCALED_NORM)},
        Stage.SPECIAL,
        about="Post-norm normalizes the skip path, so even an idle layer returns normalized "
        "tokens.",
    )
    yield Case(
        "an input that must not be written to",
        {
            "x": rng.normal(0.5, 1.0, (2, 4)),
            **layer(_ATTENTION, _FEED_FORWARD, _NORM, _SCALED_NORM),
        },
        Stage.SPECIAL,
        layout="read-only",
    )
    yield Case(
        "float32 input",
        as_float32(
            {
                "x": rng.normal(1.0, 2.0, (3, 4)),
                **layer(_ATTENTION, _FEED_FORWARD, _NORM, _RMS_NORM),
            }
        ),
        Stage.NUMERICS,
    )


def _encoder_mistakes() -> Iterator[Mistake]:
    halves = {"first": ("attention", "norm1"), "second": ("feed_forward", "norm2")}
    sections = {"res_post_norm": _RES_POST, "pre_norm": _PRE}
    for half, (f, norm) in halves.items():
        for kind in ("res_post_norm", "pre_norm", "skip_missing_norm_last", "norm_missing"):
            formula, what, _ = _LAYERS[kind]
            shown = formula.replace("norm(", f"{norm}(").replace("f(", f"{f}(")
            yield Mistake(
                f"{half}_half_{kind}",
                f"Your {half} half computes `{shown}`{what}. Post-norm normalizes the sum.",
                {half: kind},
                section=sections.get(kind, ""),
            )


_ENCODER_LAYER = Exercise(
    id="encoder_layer",
    title="Find the bug: a post-norm layer that is none",
    section=_RES_POST,
    signature="x, attention, feed_forward, norm1, norm2",
    minutes=5,
    difficulty=2,
    kind="repair",
    probe="call with functions",
    hints=(
        "Suppose attention returns zeros. What should a post-norm layer make of x, and what does "
        "this code make of it?",
        "In post-norm the skip path goes through the norm as well. Which brackets must move? "
        "Chapter 14, “Res-post-norm is not post-norm”.",
        "`norm1(x + attention(x))` first; then the same with `feed_forward` and `norm2` on its "
        "result.",
    ),
    insight=(
        "The mix-up has a name on each side: papers on Swin V2 and OLMo 2 chose the form you "
        "repaired on purpose. Their reason was training at scale, so the bug was not a bad layer, "
        "only not the one its name says."
    ),
    cases=_encoder_cases,
    reference=_encoder_reference,
    variant=_encoder_variant,
    mistakes=(
        *_encoder_mistakes(),
        Mistake(
            "norms_swapped",
            "You use norm2 after attention and norm1 after the feed-forward layer. They have "
            "parameters of their own: norm1 comes first.",
            {"norms": "swapped"},
        ),
        Mistake(
            "norm1_twice",
            "You use norm1 for both halves. norm2 has parameters of its own.",
            {"norms": "first"},
        ),
        Mistake(
            "second_half_reads_x",
            "Your second half starts from x again. It reads what the first half returned.",
            {"reads": "x"},
        ),
        Mistake(
            "feed_forward_first",
            "You run the feed-forward layer before attention. Attention comes first.",
            {"order": "feed_forward_first"},
        ),
    ),
    notebook=_NOTEBOOK,
)

EXERCISES = (
    _POST_NORM,
    _PRE_NORM,
    _RES_POST_NORM,
    _SANDWICH_NORM,
    _PRE_NORM_STACK,
    _ENCODER_LAYER,
)

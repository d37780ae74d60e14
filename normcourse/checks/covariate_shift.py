"""Chapter 01: what happens to signals on their way, and what standardizing the input mends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from normcourse.checks.draws import as_float32
from normcourse.checks.exercise import Case, Exercise, Inputs, Mistake, Outputs, Stage
from normcourse.checks.variants import default_eps_mistakes, normalize, statistics_mistakes
from normcourse.norms import core
from normcourse.norms.whitening import covariance
from normcourse.norms.whitening import whiten as norms_whiten

_NOTEBOOK = "01_covariate_shift"

# ---------------------------------------------------------------- standardize

_STANDARDIZE_SECTION = "Standardizing the inputs"


def _standardize_reference(x: Any, eps: float = 1e-5) -> Any:
    return core.standardize(x, (0,), eps).x_hat


def _standardize_variant(
    x: Any,
    eps: float | None = None,
    *,
    axis: tuple[int, ...] = (0,),
    default_eps: float = 1e-5,
    **faults: Any,
) -> Any:
    eps = default_eps if eps is None else eps
    return normalize(x, None, None, eps, axis=axis, channel_axis=1, **faults)


def _standardize_cases(rng: np.random.Generator) -> Iterator[Case]:
    x = np.array([[150.0, 0.5, -2.0], [160.0, 0.7, 1.0], [185.0, 0.6, 0.0], [165.0, 1.4, 3.0]])
    yield Case("three features in different units", {"x": x, "eps": 0.0})
    yield Case("small spread and a large eps", {"x": rng.normal(2.0, 0.4, (5, 3)), "eps": 0.3})
    yield Case(
        "eps left to its default",
        {"x": rng.normal(1.0, 2e-3, (6, 2))},
        about="The default of eps is 1e-5.",
    )
    yield Case("as many examples as features", {"x": rng.normal(1.5, 2.0, (4, 4)), "eps": 1e-3})
    yield Case("many examples, one feature", {"x": rng.normal(-3.0, 5.0, (40, 1)), "eps": 1e-5})
    yield Case(
        "one example",
        {"x": rng.normal(4.0, 2.0, (1, 3)), "eps": 1e-5},
        Stage.SPECIAL,
        about="One example is its own mean, so all of it becomes 0.",
    )
    constant = rng.normal(1.0, 1.0, (5, 3))
    constant[:, 1] = 7.0
    yield Case(
        "a feature that never changes",
        {"x": constant, "eps": 1e-5},
        Stage.SPECIAL,
        about="A constant feature has variance 0; eps keeps the division finite.",
    )
    yield Case(
        "an input that must not be written to",
        {"x": rng.normal(0.5, 1.0, (6, 4)), "eps": 1e-5},
        Stage.SPECIAL,
        layout="read-only",
    )
    yield Case(
        "float32 input",
        as_float32({"x": rng.normal(3.0, 2.0, (7, 3)), "eps": 1e-5}),
        Stage.NUMERICS,
    )
    yield Case(
        "a mean a hundred million times the spread",
        {"x": rng.normal(1e8, 1.0, (8, 3)), "eps": 1e-5},
        Stage.NUMERICS,
        tolerance=1e-3,
        about="Subtract the mean before you square.",
    )


def _changes_x(x: Any, eps: float = 1e-5) -> Any:
    x -= x.mean(axis=0)
    x /= np.sqrt(x.var(axis=0) + eps)
    return x


_STANDARDIZE = Exercise(
    id="standardize",
    title="Standardize the inputs",
    section=_STANDARDIZE_SECTION,
    signature="x, eps=1e-5",
    minutes=6,
    difficulty=1,
    hints=(
        "Height in centimetres and weight in tonnes stand side by side. Over which axis does each "
        "keep its own mean?",
        "Each column is one feature: mean and variance over axis 0, then one formula for all. "
        "Chapter 01, “Standardizing the inputs”.",
        "`(x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + eps)`; `np.var` divides by n.",
    ),
    insight=(
        "With n examples no standardized value can exceed √(n − 1): one outlier among ten reaches "
        "3 at most, however far away it lies. It does so by pushing all the others together."
    ),
    cases=_standardize_cases,
    reference=_standardize_reference,
    variant=_standardize_variant,
    mistakes=(
        Mistake(
            "wrong_axis",
            "You average over axis 1, each example on its own. Units differ between columns: "
            "average each feature over the examples, axis 0.",
            {"axis": (1,)},
        ),
        Mistake(
            "one_mean_for_all",
            "You use one mean and one variance for the whole array. Each feature has its own: "
            "axis 0.",
            {"axis": (0, 1)},
        ),
        *statistics_mistakes("This exercise"),
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

# ---------------------------------------------------------------- whiten

_WHITEN_SECTION = "Whitening and what it costs"


def _whiten_reference(x: Any, eps: float = 1e-5) -> Any:
    return norms_whiten(x, eps=eps)


def _whiten_view(inputs: Inputs, outputs: Outputs) -> Outputs:
    """Return what any rotation of a white y leaves alone, so that every rotation is right."""
    x, y = inputs["x"], np.asarray(outputs["y"], dtype=np.float64)
    names = ("the mean of y", "the eigenvalues of y's covariance", "what x does not explain of y")
    if not np.isfinite(y).all():
        return {name: np.full(y.shape[1], np.nan) for name in names}
    centered, own = x - x.mean(axis=0), y - y.mean(axis=0)
    fit, *_ = np.linalg.lstsq(centered, own, rcond=None)
    left = np.sqrt(np.mean((own - centered @ fit) ** 2, axis=0))
    values = np.linalg.eigvalsh(covariance(own))
    found = (y.mean(axis=0), values, left)
    return {name: np.round(value, 12) for name, value in zip(names, found, strict=True)}


def _whiten_variant(
    x: Any,
    eps: float | None = None,
    *,
    default_eps: float = 1e-5,
    center: bool = True,
    cov_of: str = "centered",
    divisor: str = "n",
    rotation: str = "vectors",
    scale: str = "inverse_root",
    eps_place: str = "inside",
) -> Any:
    eps = default_eps if eps is None else eps
    centered = x - x.mean(axis=0)
    if cov_of == "standardized":
        centered = centered / np.sqrt(centered.var(axis=0) + eps)
    basis = x if cov_of == "x" else centered
    count = {"n": len(x), "n - 1": len(x) - 1, "one": 1}[divisor]
    cov = basis.T @ basis / count
    values, vectors = np.linalg.eigh(np.diag(np.diag(cov)) if cov_of == "variances" else cov)
    inside = values + eps if eps_place == "inside" else values
    root = np.sqrt(inside) + (eps if eps_place == "outside" else 0.0)
    factor = {"inverse_root": 1 / root, "inverse": 1 / inside, "root": root, "none": 1.0}[scale]
    turn = {"vectors": vectors, "transposed": vectors.T, "none": np.eye(len(vectors))}[rotation]
    return ((centered if center else x) @ turn) * factor


def _correlated(rng: np.random.Generator, rows: int, columns: int, spread: float = 1.0) -> Any:
    """Return correlated features of different spread and with means away from 0."""
    mix = np.eye(columns) + rng.uniform(0.3, 0.9, (columns, columns))
    mix *= rng.uniform(0.6, 1.8, columns)
    return rng.uniform(1.0, 3.0, columns) + spread * rng.normal(0.0, 1.0, (rows, columns)) @ mix


def _whiten_cases(rng: np.random.Generator) -> Iterator[Case]:
    x = np.array([[2.0, 1.0], [4.0, 5.0], [6.0, 6.0], [8.0, 12.0], [5.0, 1.0]])
    yield Case("five points in the plane", {"x": x, "eps": 0.0})
    yield Case("four correlated features", {"x": _correlated(rng, 9, 4), "eps": 0.1})
    yield Case("small spread and a large eps", {"x": _correlated(rng, 8, 3, 0.4), "eps": 0.3})
    yield Case(
        "eps left to its default",
        {"x": _correlated(rng, 7, 3, 2e-3)},
        about="The default of eps is 1e-5.",
    )
    yield Case("one feature", {"x": rng.normal(4.0, 3.0, (6, 1)), "eps": 1e-3})
    twins = _correlated(rng, 9, 3)
    twins[:, 2] = twins[:, 0]
    yield Case(
        "a feature that repeats another",
        {"x": twins, "eps": 1e-2},
        Stage.SPECIAL,
        about="The direction in which two equal features differ has variance 0; eps keeps the "
        "division finite.",
    )
    yield Case(
        "an input that must not be written to",
        {"x": _correlated(rng, 10, 3), "eps": 1e-5},
        Stage.SPECIAL,
        layout="read-only",
    )
    yield Case(
        "float32 input", as_float32({"x": _correlated(rng, 12, 3), "eps": 1e-2}), Stage.NUMERICS
    )


_WHITEN = Exercise(
    id="whiten",
    title="Whiten the inputs",
    section=_WHITEN_SECTION,
    signature="x, eps=1e-5",
    minutes=12,
    difficulty=3,
    hints=(
        "Along which directions are correlated features uncorrelated, and how much do they vary "
        "along each of them?",
        "`np.linalg.eigh` of the covariance gives the directions (columns) and the variances along "
        "them. Rotate, then standardize each. Chapter 01, “Whitening and what it costs”.",
        "With `values, vectors = np.linalg.eigh(cov)`: "
        "`(x - mean) @ vectors / np.sqrt(values + eps)`; cov is the centered x, "
        "`c.T @ c / len(c)`.",
    ),
    insight=(
        "PCA, ZCA and Cholesky whitening all pass this check: nothing in a white cloud prefers one "
        "rotation. For a layer the choice matters, since PCA may reorder or flip its axes from one "
        "batch to the next; ZCA moves the data least."
    ),
    cases=_whiten_cases,
    reference=_whiten_reference,
    variant=_whiten_variant,
    view=_whiten_view,
    mistakes=(
        Mistake(
            "standardized_only",
            "You standardize each feature by itself, which leaves the correlations in. Rotate to "
            "the eigenvectors of the covariance too.",
            {"cov_of": "variances"},
        ),
        Mistake(
            "standardized_first",
            "You standardize before you whiten, so eps enters twice. Take the covariance of the "
            "centered x itself.",
            {"cov_of": "standardized"},
        ),
        Mistake(
            "covariance_not_centered",
            "Your covariance is computed from x with its mean in it. Subtract the mean first.",
            {"cov_of": "x"},
        ),
        Mistake(
            "not_centered",
            "You rotate and scale x itself, so y keeps a mean. Subtract the mean of x first.",
            {"center": False},
        ),
        Mistake(
            "only_rotated",
            "You rotate to the eigenvectors but do not scale. Divide each direction by "
            "sqrt(eigenvalue + eps).",
            {"scale": "none"},
        ),
        Mistake(
            "divides_by_eigenvalue",
            "You divide by the eigenvalues. They are variances: divide by their roots.",
            {"scale": "inverse"},
        ),
        Mistake(
            "multiplies_by_root",
            "You multiply by sqrt(eigenvalue + eps). Whitening divides by it.",
            {"scale": "root"},
        ),
        Mistake(
            "not_rotated",
            "You divide the columns of x by the roots of the eigenvalues without rotating first. "
            "The eigenvalues belong to the eigenvectors, not to the features.",
            {"rotation": "none"},
        ),
        Mistake(
            "vectors_transposed",
            "You multiply by the transposed eigenvectors. `eigh` returns them as columns: "
            "`centered @ vectors`.",
            {"rotation": "transposed"},
        ),
        Mistake(
            "divides_by_n_minus_1",
            "You divide the covariance by n − 1 (`np.cov` does so by default). Here it is divided "
            "by n.",
            {"divisor": "n - 1"},
        ),
        Mistake(
            "not_divided_by_n",
            "You do not divide the covariance by n. Squared singular values are n times the "
            "variances too.",
            {"divisor": "one"},
        ),
        Mistake(
            "eps_outside_root",
            "You add eps to the root of the eigenvalue. It belongs inside: sqrt(eigenvalue + eps).",
            {"eps_place": "outside"},
        ),
        Mistake(
            "eps_missing",
            "You leave eps out. Divide by sqrt(eigenvalue + eps).",
            {"eps_place": "nowhere"},
        ),
        *default_eps_mistakes(),
    ),
    notebook=_NOTEBOOK,
)

# ---------------------------------------------------------------- signal_growth

_GROWTH_SECTION = "Signals grow or fade with depth"


def _growth_reference(gain: float, depth: int) -> float:
    return float(gain**depth)


def _growth_variant(
    gain: float, depth: int, *, exponent: float = 1.0, layers: int = 0, linear: bool = False
) -> float:
    if linear:
        return float(gain * (depth + layers))
    return float(gain ** (exponent * (depth + layers)))


def _growth_cases(rng: np.random.Generator) -> Iterator[Case]:
    yield Case("three layers that double", {"gain": 2.0, "depth": 3})
    yield Case("no layer at all", {"gain": 3.0, "depth": 0}, about="Without a layer nothing grows.")
    yield Case("a gain of one", {"gain": 1.0, "depth": 50})
    yield Case("a signal that fades", {"gain": 0.5, "depth": 8}, tolerance=1e-9)
    gain = float(np.round(rng.uniform(1.15, 1.35), 2))
    yield Case("eleven layers, a gain between one and two", {"gain": gain, "depth": 11})
    yield Case("fifty layers, a gain a tenth above one", {"gain": 1.1, "depth": 50})
    yield Case(
        "a hundred layers that fade",
        {"gain": 0.9, "depth": 100},
        Stage.NUMERICS,
        tolerance=1e-12,
    )


_SIGNAL_GROWTH = Exercise(
    id="signal_growth",
    title="How fast a signal grows",
    section=_GROWTH_SECTION,
    signature="gain, depth",
    outputs=("size",),
    minutes=4,
    difficulty=1,
    hints=(
        "One output is a sum of fan_in products of a weight and an input. What is the variance of "
        "one product, and of the sum?",
        "A weight has variance gain²/fan_in and there are fan_in of them: the second moment grows "
        "by gain² per layer. Chapter 01, “Signals grow or fade with depth”.",
        "After `depth` layers the second moment is gain² multiplied `depth` times. You are asked "
        "for its root.",
    ),
    insight=(
        "This is the root of a mean over draws of the weights. A single draw of a narrow, deep net "
        "lies below it nearly always: a few rare draws carry the mean."
    ),
    cases=_growth_cases,
    reference=_growth_reference,
    variant=_growth_variant,
    accepts=frozenset({"scalar"}),
    mistakes=(
        Mistake(
            "second_moment",
            "You return the second moment, gain^(2·depth). Asked is its root, the size of a "
            "typical value.",
            {"exponent": 2.0},
        ),
        Mistake(
            "root_twice",
            "You return gain^(depth/2). The weights' standard deviation, not their variance, is "
            "gain/√fan_in, so each layer multiplies by gain.",
            {"exponent": 0.5},
        ),
        Mistake(
            "inverted",
            "You divide by the gain in each layer. A gain above 1 makes signals grow.",
            {"exponent": -1.0},
        ),
        Mistake(
            "linear",
            "You multiply gain by depth. Each layer multiplies what the one before it gives, so "
            "the gains multiply: gain^depth.",
            {"linear": True},
        ),
        Mistake(
            "one_layer_more",
            "You count one layer too many. The input itself has size 1 and is no layer.",
            {"layers": 1},
        ),
        Mistake(
            "one_layer_less",
            "You count one layer too few. The first matrix multiplies by gain already.",
            {"layers": -1},
        ),
    ),
    notebook=_NOTEBOOK,
)

# ---------------------------------------------------------------- saturated_fraction

_SATURATED_SECTION = "When tanh saturates"


def _saturated_reference(z: Any, threshold: float = 0.99) -> Any:
    return np.mean(np.abs(np.tanh(z)) > threshold, axis=(1, 2))


_ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "tanh": np.tanh,
    "none": np.array,
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
}


def _saturated_variant(
    z: Any,
    threshold: float | None = None,
    *,
    default: float = 0.99,
    fixed: float | None = None,
    function: str = "tanh",
    sign: str = "both",
    below: bool = False,
    equal: bool = False,
    axis: tuple[int, ...] = (1, 2),
    divisor: str = "all",
) -> Any:
    threshold = default if threshold is None else threshold
    threshold = threshold if fixed is None else fixed
    a = _ACTIVATIONS[function](z)
    size = {"both": np.abs(a), "positive": a, "negative": -a}[sign]
    beyond = size >= threshold if equal else size > threshold
    hit = ~beyond if below else beyond
    if divisor == "any":
        return hit.any(axis=1).mean(axis=1)
    pooled = int(np.prod([z.shape[i] for i in axis]))
    count = {"all": pooled, "one": 1, "examples": z.shape[1], "units": z.shape[2]}[divisor]
    total = hit.sum(axis=axis) / count
    return np.full(len(z), total) if total.ndim == 0 else total


def _saturated_cases(rng: np.random.Generator) -> Iterator[Case]:
    z = np.array([[[0.5, 3.0, -4.0], [-0.2, 1.5, 2.0]], [[5.0, -3.0, 0.1], [-6.0, -2.8, 4.0]]])
    yield Case("two layers, two examples, three units", {"z": z, "threshold": 0.99})
    yield Case("a lower threshold", {"z": rng.normal(0.0, 1.0, (3, 5, 4)), "threshold": 0.6})
    spread = np.array([0.5, 1.5, 3.0, 9.0]).reshape(4, 1, 1)
    yield Case(
        "four layers, the threshold left to its default",
        {"z": rng.normal(0.3, 1.0, (4, 40, 30)) * spread},
        about="The default of the threshold is 0.99.",
    )
    yield Case(
        "as many layers as examples and units",
        {"z": rng.normal(0.0, 3.0, (4, 4, 4)), "threshold": 0.9},
    )
    yield Case("one layer", {"z": rng.normal(-1.0, 2.0, (1, 6, 2)), "threshold": 0.8})
    calm = np.stack([np.full((3, 2), 0.1), np.full((3, 2), -30.0)])
    yield Case(
        "one layer with none, one with all saturated",
        {"z": calm, "threshold": 0.99},
        Stage.SPECIAL,
        about="A unit at −1 is as saturated as one at +1.",
    )
    yield Case(
        "units exactly at the threshold",
        {"z": np.array([[[0.0, 0.5], [0.0, -0.5]], [[0.0, 0.0], [0.0, 2.0]]]), "threshold": 0.0},
        Stage.SPECIAL,
        about="Saturated is what lies beyond the threshold.",
    )
    yield Case(
        "an input that must not be written to",
        {"z": rng.normal(0.0, 3.0, (2, 5, 3)), "threshold": 0.95},
        Stage.SPECIAL,
        layout="read-only",
    )
    yield Case("float32 input", as_float32({"z": rng.normal(0.0, 2.0, (3, 4, 5))}), Stage.NUMERICS)


_SATURATED_FRACTION = Exercise(
    id="saturated_fraction",
    title="How much of a net is saturated",
    section=_SATURATED_SECTION,
    signature="z, threshold=0.99",
    outputs=("fraction",),
    minutes=5,
    difficulty=1,
    hints=(
        "A unit can be stuck at two ends. Which one test finds both, and which axes does one "
        "fraction pool?",
        "Apply tanh, take the absolute value, compare; the mean of booleans is a fraction. "
        "Chapter 01, “When tanh saturates”.",
        "`np.mean(np.abs(np.tanh(z)) > threshold, axis=(1, 2))`.",
    ),
    insight=(
        "Where |tanh(z)| > 0.99 its derivative 1 − tanh² is below 0.02. Five such units in a row "
        "multiply the gradient by less than 0.02⁵, about three billionths, weights aside."
    ),
    cases=_saturated_cases,
    reference=_saturated_reference,
    variant=_saturated_variant,
    mistakes=(
        Mistake(
            "tanh_missing",
            "You compare z itself with the threshold. Saturated is what tanh makes of it: "
            "abs(tanh(z)).",
            {"function": "none"},
        ),
        Mistake(
            "sigmoid",
            "You apply the sigmoid. The units are tanh units.",
            {"function": "sigmoid"},
        ),
        Mistake(
            "positive_side_only",
            "You count the units near +1 alone. Those near −1 are saturated too: take the "
            "absolute value.",
            {"sign": "positive"},
        ),
        Mistake(
            "negative_side_only",
            "You count the units near −1 alone. Those near +1 are saturated too: take the "
            "absolute value.",
            {"sign": "negative"},
        ),
        Mistake(
            "complement",
            "You return the fraction that is not saturated. Count values above the threshold.",
            {"below": True},
        ),
        Mistake(
            "threshold_itself_counts",
            "You count a unit that lies exactly at the threshold. Saturated is what lies beyond "
            "it: `>`.",
            {"equal": True},
        ),
        Mistake(
            "threshold_ignored",
            "You always compare with 0.99. Use the argument `threshold`.",
            {"fixed": 0.99},
        ),
        Mistake(
            "count",
            "You return how many are saturated. Divide by the number of values in the layer, N·D.",
            {"divisor": "one"},
        ),
        Mistake(
            "per_example",
            "You divide by the number of examples alone. A layer holds N·D values.",
            {"divisor": "examples"},
        ),
        Mistake(
            "per_unit",
            "You divide by the number of units alone. A layer holds N·D values.",
            {"divisor": "units"},
        ),
        Mistake(
            "units_that_ever_saturate",
            "You count the units that are saturated for at least one example. Asked is the "
            "fraction of all values.",
            {"divisor": "any"},
        ),
        Mistake(
            "one_number_alone",
            "You pool all layers and return one number. Pool axes 1 and 2: one fraction per layer.",
            wrong=lambda z, threshold=0.99: np.mean(np.abs(np.tanh(z)) > threshold),
        ),
        Mistake(
            "one_number",
            "You pool all layers into one fraction. Keep axis 0: one fraction per layer.",
            {"axis": (0, 1, 2)},
        ),
        Mistake(
            "fraction_per_unit",
            "You return one fraction per unit of each layer. Pool the units too: axes (1, 2).",
            {"axis": (1,)},
        ),
        Mistake(
            "fraction_per_example",
            "You return one fraction per example of each layer. Pool the examples too: "
            "axes (1, 2).",
            {"axis": (2,)},
        ),
        Mistake(
            "wrong_axes",
            "You pool layers and examples. One fraction belongs to one layer: pool axes (1, 2).",
            {"axis": (0, 1)},
        ),
        *(
            Mistake(
                f"default_{value:g}",
                f"Your default is threshold={value:g}. The exercise asks for 0.99.",
                {"default": value},
            )
            for value in (0.9, 0.95, 0.999)
        ),
    ),
    notebook=_NOTEBOOK,
)

# ---------------------------------------------------------------- moment_shift

_SHIFT_SECTION = "Measuring a shift"


def _shift_reference(reference: Any, current: Any, eps: float = 1e-5) -> Any:
    mean_r, var_r = (m[0] for m in core.moments(reference, (0,)))
    mean_c, var_c = (m[0] for m in core.moments(current, (0,)))
    return (mean_c - mean_r) / np.sqrt(var_r + eps), np.log((var_c + eps) / (var_r + eps))


_LOGARITHMS: dict[str, Callable[[Any], Any]] = {
    "natural": np.log,
    "two": np.log2,
    "ten": np.log10,
    "none": np.array,
}


def _shift_variant(
    reference: Any,
    current: Any,
    eps: float | None = None,
    *,
    default_eps: float = 1e-5,
    ddof: int = 0,
    axis: int = 0,
    direction: str = "current",
    absolute: bool = False,
    unit: str = "reference",
    denominator: str = "std",
    eps_place: str = "inside",
    log_eps: bool = True,
    log: str = "natural",
    of: str = "variance",
    order: str = "mean_first",
) -> Any:
    eps = default_eps if eps is None else eps
    if direction == "reference":
        reference, current = current, reference
    mean_r, mean_c = reference.mean(axis=axis), current.mean(axis=axis)
    var_r, var_c = reference.var(axis=axis, ddof=ddof), current.var(axis=axis, ddof=ddof)
    inner = eps if eps_place == "inside" else 0.0
    var = {"reference": var_r, "current": var_c, "both": (var_r + var_c) / 2}[unit]
    root = np.sqrt(var + inner) if denominator == "std" else var + inner
    shift = (mean_c - mean_r) / (root + (eps if eps_place == "outside" else 0.0))
    added = eps if log_eps else 0.0
    ratio = (var_c + added) / (var_r + added)
    ratio = ratio if of == "variance" else np.sqrt(ratio)
    change = _LOGARITHMS[log](ratio)
    if absolute:
        shift, change = np.abs(shift), np.abs(change)
    return (shift, change) if order == "mean_first" else (change, shift)


def _shift_cases(rng: np.random.Generator) -> Iterator[Case]:
    reference = np.array([[2.0, 0.0], [4.0, 1.0], [6.0, 2.0], [8.0, 5.0]])
    current = np.array([[7.0, 1.0], [9.0, 1.5], [5.0, 2.0]])

    def pair(rows: int, others: int, features: int, spread: float = 1.0) -> Inputs:
        centre = rng.uniform(-4.0, 4.0, features)
        scale = rng.uniform(0.5, 1.5, features) * spread
        moved = centre + spread * rng.uniform(0.5, 2.0, features) * rng.choice([-1, 1], features)
        wider = scale * np.resize([0.4, 2.2], features)
        return {
            "reference": rng.normal(centre, scale, (rows, features)),
            "current": rng.normal(moved, wider, (others, features)),
        }

    both = {"reference": reference, "current": current}
    yield Case("two features, four and three examples", {**both, "eps": 0.0})
    yield Case("five features", {**pair(7, 9, 5), "eps": 0.1})
    yield Case("small spread and a large eps", {**pair(6, 5, 3, 0.4), "eps": 0.3})
    yield Case("eps left to its default", pair(5, 8, 2, 2e-3), about="The default of eps is 1e-5.")
    yield Case("as many examples as features", {**pair(4, 4, 4), "eps": 1e-3})
    same = rng.normal(2.0, 3.0, (6, 3))
    yield Case(
        "the same data twice",
        {"reference": same, "current": same.copy(), "eps": 1e-5},
        Stage.SPECIAL,
        about="Nothing shifted: both results are 0.",
    )
    constant = pair(6, 4, 2)
    constant["reference"][:, 0] = 3.0
    yield Case(
        "a feature that never changed before",
        {**constant, "eps": 0.1},
        Stage.SPECIAL,
        about="The reference has variance 0 there; eps keeps both results finite.",
    )
    yield Case(
        "inputs that must not be written to",
        {**pair(5, 6, 3), "eps": 1e-5},
        Stage.SPECIAL,
        layout="read-only",
    )
    yield Case("float32 input", as_float32({**pair(8, 6, 4), "eps": 1e-3}), Stage.NUMERICS)
    far = pair(8, 7, 2)
    yield Case(
        "a mean a million times the spread",
        {name: values + 1e6 for name, values in far.items()} | {"eps": 1e-5},
        Stage.NUMERICS,
        about="Subtract the mean before you square.",
    )


_MOMENT_SHIFT = Exercise(
    id="moment_shift",
    title="Measure a shift",
    section=_SHIFT_SECTION,
    signature="reference, current, eps=1e-5",
    outputs=("mean_shift", "log_ratio"),
    minutes=8,
    difficulty=2,
    hints=(
        "A mean moved by 3. Is that much or little? In which unit would you say it?",
        "The unit is the spread of the reference data, sqrt(var + eps); variances are compared by "
        "the logarithm of their ratio. Chapter 01, “Measuring a shift”.",
        "`(mean_c - mean_r) / np.sqrt(var_r + eps)` and "
        "`np.log((var_c + eps) / (var_r + eps))`, all moments over axis 0.",
    ),
    insight=(
        "Two data sets of different sizes from one source do not give 0: with n examples each a "
        "mean shift of about √(2/n) is normal, 0.5 for 8 examples. Measure what no shift looks "
        "like before you call something a shift."
    ),
    cases=_shift_cases,
    reference=_shift_reference,
    variant=_shift_variant,
    mistakes=(
        Mistake(
            "direction",
            "You measure from current to reference. A positive shift means that current lies "
            "above reference, in units of reference's spread.",
            {"direction": "reference"},
        ),
        Mistake(
            "absolute",
            "You return absolute values. The sign tells in which direction the data moved.",
            {"absolute": True},
        ),
        Mistake(
            "unit_current",
            "You divide the shift by the spread of current. Reference is the yardstick.",
            {"unit": "current"},
        ),
        Mistake(
            "unit_both",
            "You divide the shift by the pooled spread. Reference alone is the yardstick here.",
            {"unit": "both"},
        ),
        Mistake(
            "divides_by_variance",
            "You divide the shift by the variance. Divide by its root, sqrt(var + eps).",
            {"denominator": "var"},
        ),
        Mistake(
            "divides_by_n_minus_1",
            "Your variances divide by n − 1. Here they are biased: mean((x − mean)²).",
            {"ddof": 1},
        ),
        Mistake(
            "eps_outside_root",
            "You add eps to the standard deviation. It belongs inside the root: sqrt(var_r + eps).",
            {"eps_place": "outside"},
        ),
        Mistake(
            "eps_missing_in_shift",
            "You leave eps out of the mean shift. Divide by sqrt(var_r + eps).",
            {"eps_place": "nowhere"},
        ),
        Mistake(
            "eps_missing_in_ratio",
            "You leave eps out of the ratio. It is (var_c + eps) / (var_r + eps).",
            {"log_eps": False},
        ),
        Mistake(
            "ratio_of_stds",
            "You take the ratio of standard deviations, half of what is asked: take the variances.",
            {"of": "std"},
        ),
        Mistake(
            "log_missing",
            "You return the ratio of the variances without its logarithm.",
            {"log": "none"},
        ),
        Mistake(
            "log_base_two",
            "You take the logarithm to base 2. Asked is the natural one, `np.log`.",
            {"log": "two"},
        ),
        Mistake(
            "log_base_ten",
            "You take the logarithm to base 10. Asked is the natural one, `np.log`.",
            {"log": "ten"},
        ),
        Mistake(
            "wrong_axis",
            "You pool axis 1, each example on its own. One shift belongs to one feature: axis 0.",
            {"axis": 1},
        ),
        Mistake(
            "order",
            "You return the variance's change first. The order is mean shift, log ratio.",
            {"order": "log_first"},
        ),
        *default_eps_mistakes(),
    ),
    notebook=_NOTEBOOK,
)

# ---------------------------------------------------------------- standardize_train_and_test

_SPLIT_SECTION = "Training data and test data"


def _split_reference(train: Any, test: Any, eps: float = 1e-5) -> Any:
    out = core.standardize(train, (0,), eps)
    return out.x_hat, (test - out.mean) * out.inv_std


def _split_variant(
    train: Any,
    test: Any,
    eps: float | None = None,
    *,
    default_eps: float = 1e-5,
    train_from: str = "train",
    mean_from: str = "train",
    spread_from: str = "train",
    order: str = "train_first",
    **faults: Any,
) -> Any:
    eps = default_eps if eps is None else eps
    ddof = faults.pop("ddof", 0)
    sources = {"train": train, "test": test, "both": np.concatenate([train, test])}

    def standardized(x: Any, mean_of: Any, spread_of: Any) -> Any:
        given = (mean_of.mean(axis=0), spread_of.var(axis=0, ddof=ddof))
        return normalize(x, None, None, eps, axis=(0,), channel_axis=1, given=given, **faults)

    first = standardized(train, sources[train_from], sources[train_from])
    second = standardized(test, sources[mean_from], sources[spread_from])
    return (first, second) if order == "train_first" else (second, first)


def _split_cases(rng: np.random.Generator) -> Iterator[Case]:
    def split(rows: int, others: int, features: int, spread: float = 1.0) -> Inputs:
        scale = rng.uniform(0.5, 1.5, features) * spread
        return {
            "train": rng.normal(rng.uniform(1.0, 4.0, features), scale, (rows, features)),
            "test": rng.normal(rng.uniform(-3.0, 3.0, features), 2 * scale, (others, features)),
        }

    train = np.array([[2.0, 1.0], [4.0, 0.0], [6.0, 3.0], [8.0, 2.0]])
    test = np.array([[5.0, 1.5], [11.0, 4.0]])
    yield Case("four training and two test examples", {"train": train, "test": test, "eps": 0.0})
    yield Case("five features", {**split(8, 6, 5), "eps": 0.1})
    yield Case("small spread and a large eps", {**split(6, 7, 3, 0.3), "eps": 0.3})
    yield Case("eps left to its default", split(5, 4, 2, 2e-3), about="The default of eps is 1e-5.")
    yield Case(
        "one test example",
        {**split(6, 1, 3), "eps": 1e-5},
        Stage.SPECIAL,
        about="A single test example must come out as it does in company.",
    )
    yield Case(
        "a test set that equals the training set",
        {"train": train, "test": train.copy(), "eps": 1e-5},
        Stage.SPECIAL,
    )
    yield Case(
        "inputs that must not be written to",
        {**split(6, 4, 3), "eps": 1e-5},
        Stage.SPECIAL,
        layout="read-only",
    )
    yield Case("float32 input", as_float32({**split(7, 5, 3), "eps": 1e-3}), Stage.NUMERICS)


_STANDARDIZE_TRAIN_AND_TEST = Exercise(
    id="standardize_train_and_test",
    title="Find the bug: a test score too good to be true",
    section=_SPLIT_SECTION,
    signature="train, test, eps=1e-5",
    outputs=("train_hat", "test_hat"),
    minutes=5,
    difficulty=2,
    kind="repair",
    hints=(
        "When the model is in use, one example arrives at a time. Which of the numbers in this "
        "code do you know by then?",
        "Everything fitted to data is fitted to the training data alone, mean and variance "
        "included. Chapter 01, “Training data and test data”.",
        "Take `mean` and `std` from `train`, and use these two for both data sets.",
    ),
    insight=(
        "The same leak has a second face in chapter 04: a model left in training mode computes "
        "its batch statistics from the test set, and every prediction depends on its neighbours."
    ),
    cases=_split_cases,
    reference=_split_reference,
    variant=_split_variant,
    mistakes=(
        Mistake(
            "statistics_of_both",
            "The fault is still in: test examples move the statistics. At test time, what would a "
            "single example be standardized with?",
            {"train_from": "both", "mean_from": "both", "spread_from": "both"},
        ),
        Mistake(
            "test_with_both",
            "The test set is still standardized with statistics that it entered. Use those of the "
            "training set.",
            {"mean_from": "both", "spread_from": "both"},
        ),
        Mistake(
            "test_by_itself",
            "You standardize the test set with its own statistics. That hides every shift and "
            "fails for a single example: use those of the training set.",
            {"mean_from": "test", "spread_from": "test"},
        ),
        Mistake(
            "mean_of_test",
            "You center the test set with its own mean. Use the mean of the training set.",
            {"mean_from": "test"},
        ),
        Mistake(
            "spread_of_test",
            "You scale the test set by its own spread. Use the spread of the training set.",
            {"spread_from": "test"},
        ),
        Mistake(
            "train_with_test",
            "You standardize the training set with the statistics of the test set. Use its own.",
            {"train_from": "test"},
        ),
        Mistake(
            "statistics_of_test",
            "You take all statistics from the test set. They come from the training set.",
            {"train_from": "test", "mean_from": "test", "spread_from": "test"},
        ),
        Mistake(
            "order",
            "You return the test set first. The order is train, test.",
            {"order": "test_first"},
        ),
        *(m for m in statistics_mistakes("This exercise") if m.id != "one_pass_variance"),
        *default_eps_mistakes(),
    ),
    notebook=_NOTEBOOK,
)

EXERCISES = (
    _STANDARDIZE,
    _WHITEN,
    _SIGNAL_GROWTH,
    _SATURATED_FRACTION,
    _MOMENT_SHIFT,
    _STANDARDIZE_TRAIN_AND_TEST,
)

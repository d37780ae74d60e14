"""Chapter 04: two modes, one layer. The NumPy exercises; those in PyTorch are in ``torch/``."""

from __future__ import annotations

from collections.abc import Iterator
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
from normcourse.norms.batch_norm import batch_norm
from normcourse.norms.folding import fold_batch_norm
from normcourse.norms.running_stats import to_pytorch_momentum, update_running_stats

_NOTEBOOK = "04_batch_norm_inference"


def _running(rng: np.random.Generator, size: int, spread: float = 1.0) -> Inputs:
    """Return running statistics away from 0 and 1, as if from many batches."""
    return {
        "running_mean": np.round(rng.uniform(1.0, 3.0, size) * np.resize([-1.0, 1.0], size), 2),
        "running_var": spread**2 * np.round(rng.uniform(1.4, 3.5, size), 2),
    }


# ---------------------------------------------------------------- update_running_stats

_RUNNING_SECTION = "Running statistics"
_CONVENTIONS_SECTION = "Two conventions for momentum"


def _update_reference(running_mean: Any, running_var: Any, x: Any, momentum: float = 0.1) -> Any:
    return update_running_stats(running_mean, running_var, x, momentum=momentum)


def _update_variant(
    running_mean: Any,
    running_var: Any,
    x: Any,
    momentum: float | None = None,
    *,
    default_momentum: float = 0.1,
    weight: str = "new",
    keep: str = "blend",
    updated: str = "both",
    correction: str = "n - 1",
    spread: str = "variance",
    added: float = 0.0,
    axis: tuple[int, ...] = (0,),
    one_pass: bool = False,
    guard: bool = True,
    order: str = "mean_first",
) -> Any:
    momentum = default_momentum if momentum is None else momentum
    count = int(np.prod([x.shape[a] for a in axis]))
    if guard and len(x) < 2:
        raise ValueError("the unbiased variance of one example does not exist")
    mean = x.mean(axis=axis)
    var = (x * x).mean(axis=axis) - mean * mean if one_pass else x.var(axis=axis)
    n = np.float64(count)
    factor = {"n - 1": n / (n - 1), "none": 1.0, "inverted": (n - 1) / n}
    var = var * (factor["n - 1"] ** 2 if correction == "twice" else factor[correction])
    var = (var if spread == "variance" else np.sqrt(var)) + added
    share = momentum if weight == "new" else 1 - momentum

    def blend(old: Any, new: Any) -> Any:
        return {
            "blend": (1 - share) * old + share * new,
            "overwrite": new + 0 * old,
            "unchanged": old + 0 * new,
            "added": old + share * new,
            "old_lost": share * new + 0 * old,
            "average": (old + new) / 2,
        }[keep]

    new_mean = blend(running_mean, mean) if updated in ("both", "mean") else running_mean
    new_var = blend(running_var, var) if updated in ("both", "variance") else running_var
    return (new_mean, new_var) if order == "mean_first" else (new_var, new_mean)


def _update_cases(rng: np.random.Generator) -> Iterator[Case]:
    def inputs(rows: int, columns: int, spread: float = 1.5) -> Inputs:
        x = rng.normal(4.0, spread, (rows, columns))
        return {**_running(rng, columns, spread), "x": x}

    x = np.array([[2.0, 10.0], [4.0, 30.0], [6.0, 20.0], [8.0, 60.0]])
    start = {"running_mean": np.zeros(2), "running_var": np.ones(2)}
    yield Case("the first batch of four", {**start, "x": x, "momentum": 0.1})
    yield Case("statistics of earlier batches", {**inputs(8, 3), "momentum": 0.6})
    yield Case(
        "momentum left to its default", inputs(7, 4), about="The default of momentum is 0.1."
    )
    yield Case("as many examples as features", {**inputs(4, 4), "momentum": 0.3})
    yield Case("many examples, one feature", {**inputs(40, 1), "momentum": 0.2})
    yield Case(
        "small spread",
        {**inputs(6, 3, 1e-3), "momentum": 0.4},
        tolerance=1e-9,
        about="What is stored is the variance itself, without eps.",
    )
    yield Case("two examples", {**inputs(2, 3), "momentum": 0.25}, Stage.SPECIAL)
    yield Case(
        "momentum 0",
        {**inputs(5, 2), "momentum": 0.0},
        Stage.SPECIAL,
        about="A momentum of 0 gives the new batch no weight.",
    )
    yield Case(
        "momentum 1",
        {**inputs(5, 2), "momentum": 1.0},
        Stage.SPECIAL,
        about="A momentum of 1 forgets all earlier batches.",
    )
    yield Case(
        "a batch of one",
        {**inputs(1, 3), "momentum": 0.1},
        Stage.SPECIAL,
        raises="ValueError",
        about="n − 1 is 0: one example has no unbiased variance, so raise ValueError.",
    )
    yield Case(
        "inputs that must not be written to",
        {**inputs(6, 4), "momentum": 0.1},
        Stage.SPECIAL,
        layout="read-only",
    )
    yield Case("float32 input", as_float32({**inputs(8, 3), "momentum": 0.1}), Stage.NUMERICS)
    far = inputs(7, 2)
    far["x"] = far["x"] + 1e7
    yield Case(
        "a mean ten million times the spread",
        {**far, "momentum": 0.5},
        Stage.NUMERICS,
        tolerance=1e-5,
        about="Subtract the mean before you square.",
    )


def _updates_in_place(running_mean: Any, running_var: Any, x: Any, momentum: float = 0.1) -> Any:
    if len(x) < 2:
        raise ValueError("the unbiased variance of one example does not exist")
    running_mean += momentum * (x.mean(axis=0) - running_mean)
    running_var += momentum * (x.var(axis=0, ddof=1) - running_var)
    return running_mean, running_var


_UPDATE_RUNNING_STATS = Exercise(
    id="update_running_stats",
    title="Running statistics",
    section=_RUNNING_SECTION,
    signature="running_mean, running_var, x, momentum=0.1",
    outputs=("running_mean", "running_var"),
    minutes=10,
    difficulty=2,
    hints=(
        "Which of the two is multiplied by 0.1 in PyTorch: what was known before, or the new "
        "batch?",
        "new = (1 − momentum) · old + momentum · batch. What is stored estimates the variance of "
        "all data, so it divides by n − 1. Chapter 04, “Running statistics”.",
        "`x.var(axis=0, ddof=1)` is the unbiased variance; with a single row raise ValueError "
        "before you use it.",
    ),
    insight=(
        "After t batches the starting value still weighs (1 − momentum)^t: at 0.1 that is 35 % "
        "after ten batches, 0.003 % after a hundred. A model evaluated after a handful of steps is "
        "judged by statistics that are mostly the initial 0 and 1."
    ),
    cases=_update_cases,
    reference=_update_reference,
    variant=_update_variant,
    mistakes=(
        Mistake(
            "momentum_complement",
            "You give the old value the weight momentum, as Keras does. In PyTorch's convention "
            "momentum weighs the new batch.",
            {"weight": "old"},
            section=_CONVENTIONS_SECTION,
        ),
        Mistake(
            "biased_variance",
            "You store the biased variance. PyTorch normalizes with it, but stores the unbiased "
            "one, divided by n − 1.",
            {"correction": "none"},
        ),
        Mistake(
            "correction_inverted",
            "You multiply the biased variance by (n − 1)/n. The unbiased one is larger: times "
            "n/(n − 1).",
            {"correction": "inverted"},
        ),
        Mistake(
            "correction_twice",
            "You correct the variance twice: `ddof=1` and the factor n/(n − 1) do the same.",
            {"correction": "twice"},
        ),
        Mistake(
            "standard_deviation",
            "You store the standard deviation. What is stored is the variance.",
            {"spread": "std"},
        ),
        Mistake(
            "eps_stored",
            "You store the variance with eps in it. eps belongs to the division alone, or it is "
            "added twice in inference.",
            {"added": 1e-5},
        ),
        Mistake(
            "overwritten",
            "You replace the running statistics by those of the batch. Blend: "
            "(1 − momentum) · old + momentum · batch.",
            {"keep": "overwrite"},
        ),
        Mistake(
            "unchanged",
            "You return the old statistics unchanged. The batch must enter with weight momentum.",
            {"keep": "unchanged"},
        ),
        Mistake(
            "old_not_reduced",
            "You add momentum · batch to the old value without reducing it. The weights must add "
            "up to 1.",
            {"keep": "added"},
        ),
        Mistake(
            "old_lost",
            "You return momentum · batch and lose the old value: add (1 − momentum) · old.",
            {"keep": "old_lost"},
        ),
        Mistake(
            "plain_average",
            "You average old and new with equal weights. The new batch weighs momentum.",
            {"keep": "average"},
        ),
        Mistake(
            "mean_not_updated",
            "You return the old running mean. It is blended as the variance is.",
            {"updated": "variance"},
        ),
        Mistake(
            "variance_not_updated",
            "You return the old running variance. It is blended as the mean is.",
            {"updated": "mean"},
        ),
        Mistake(
            "wrong_axis",
            "You average over the features of each example. Statistics belong to features: axis 0.",
            {"axis": (1,)},
        ),
        Mistake(
            "one_mean_for_all",
            "You use one mean and one variance for all features. Each feature has its own: axis 0.",
            {"axis": (0, 1)},
        ),
        Mistake(
            "one_pass_variance",
            "Your variance is mean(x²) − mean(x)², the difference of two huge numbers when the "
            "mean is large. Subtract the mean first, then square.",
            {"one_pass": True},
        ),
        Mistake(
            "batch_of_one_accepted",
            "You let a batch of one pass, whose variance would divide by 0. Raise ValueError, "
            "before the running statistics are spoiled.",
            {"guard": False},
        ),
        Mistake(
            "order",
            "You return the variance first. The order is mean, variance.",
            {"order": "var_first"},
        ),
        *(
            Mistake(
                f"default_momentum_{value:g}",
                f"Your default is momentum={value:g}. The exercise asks for 0.1, "
                "PyTorch's default.",
                {"default_momentum": value},
                section=_CONVENTIONS_SECTION,
            )
            for value in (0.9, 0.99, 0.01)
        ),
        Mistake(
            "changes_running_statistics",
            "Your function changes its arguments running_mean and running_var.",
            wrong=_updates_in_place,
            named_by="judge",
        ),
    ),
    notebook=_NOTEBOOK,
)

# ---------------------------------------------------------------- batch_norm_eval

_EVAL_SECTION = "Inference is one fixed affine map"


def _eval_reference(
    x: Any, gamma: Any, beta: Any, running_mean: Any, running_var: Any, eps: float = 1e-5
) -> Any:
    return batch_norm(
        x,
        gamma,
        beta,
        running_mean=running_mean,
        running_var=running_var,
        training=False,
        eps=eps,
    )


def _eval_variant(
    x: Any,
    gamma: Any,
    beta: Any,
    running_mean: Any,
    running_var: Any,
    eps: float | None = None,
    *,
    default_eps: float = 1e-5,
    mean_of: str = "running",
    var_of: str = "running",
    correction: str = "none",
    axis: tuple[int, ...] = (0,),
    **faults: Any,
) -> Any:
    eps = default_eps if eps is None else eps
    mean = {"running": running_mean, "batch": x.mean(axis=0), "variance": running_var}[mean_of]
    var = {"running": running_var, "batch": x.var(axis=0), "mean": running_mean}[var_of]
    n = np.float64(len(x))
    var = var * {"none": 1.0, "biased": (n - 1) / n, "unbiased": n / (n - 1)}[correction]
    return normalize(
        x, gamma, beta, eps, axis=axis, channel_axis=1, given=(mean[None], var[None]), **faults
    )


def _eval_cases(rng: np.random.Generator) -> Iterator[Case]:
    def inputs(rows: int, columns: int, spread: float = 1.5) -> Inputs:
        x = rng.normal(4.0, 2 * spread, (rows, columns))
        return {"x": x, **parameters(rng, columns), **_running(rng, columns, spread)}

    x = np.array([[2.0, 10.0], [4.0, 30.0], [6.0, 20.0]])
    yield Case(
        "three examples, two features",
        {
            "x": x,
            "gamma": np.ones(2),
            "beta": np.zeros(2),
            "running_mean": np.array([5.0, 15.0]),
            "running_var": np.array([4.0, 100.0]),
            "eps": 0.0,
        },
    )
    yield Case("a gamma and a beta per feature", {**inputs(5, 3), "eps": 0.1})
    yield Case("a small variance and a large eps", {**inputs(6, 4, 0.3), "eps": 0.3})
    yield Case("eps left to its default", inputs(4, 2, 2e-3), about="The default of eps is 1e-5.")
    yield Case("as many examples as features", {**inputs(4, 4), "eps": 1e-3})
    yield Case(
        "one example",
        {**inputs(1, 3), "eps": 1e-5},
        Stage.SPECIAL,
        about="In inference one example is as good as a thousand: the statistics are given.",
    )
    constant = inputs(5, 3)
    constant["running_var"][1] = 0.0
    yield Case(
        "a feature that never changed in training",
        {**constant, "eps": 1e-2},
        Stage.SPECIAL,
        about="A running variance of 0 leaves √eps to divide by.",
    )
    yield Case(
        "inputs that must not be written to",
        {**inputs(6, 4), "eps": 1e-5},
        Stage.SPECIAL,
        layout="read-only",
    )
    yield Case("float32 input", as_float32({**inputs(8, 3), "eps": 1e-5}), Stage.NUMERICS)


_BATCH_NORM_EVAL = Exercise(
    id="batch_norm_eval",
    title="BatchNorm in inference",
    section=_EVAL_SECTION,
    signature="x, gamma, beta, running_mean, running_var, eps=1e-5",
    minutes=5,
    difficulty=1,
    hints=(
        "If x holds a single example, where can mean and variance come from?",
        "The formula of chapter 02 with the running statistics in the place of the batch's; "
        "nothing is computed from the batch. Chapter 04, “Inference is one fixed affine map”.",
        "gamma · (x − running_mean) / sqrt(running_var + eps) + beta.",
    ),
    insight=(
        "No example can influence another here: shuffle, split or repeat the batch, and each row "
        "comes out the same. It is also linear in x up to a constant, which the layer in training "
        "mode never is."
    ),
    cases=_eval_cases,
    reference=_eval_reference,
    variant=_eval_variant,
    mistakes=(
        Mistake(
            "batch_statistics",
            "You normalize with the statistics of this batch. In inference the running ones take "
            "their place.",
            {"mean_of": "batch", "var_of": "batch"},
        ),
        Mistake(
            "batch_mean",
            "You subtract the mean of this batch. In inference the running mean takes its place.",
            {"mean_of": "batch"},
        ),
        Mistake(
            "batch_variance",
            "You divide by the spread of this batch. In inference the running variance takes its "
            "place.",
            {"var_of": "batch"},
        ),
        Mistake(
            "mean_variance_swapped",
            "You swap running_mean and running_var: subtract the mean, divide by the root of the "
            "variance.",
            {"mean_of": "variance", "var_of": "mean"},
        ),
        Mistake(
            "made_biased",
            "You turn the running variance into a biased one. It is used as it is stored.",
            {"correction": "biased"},
        ),
        Mistake(
            "made_unbiased_again",
            "You correct the running variance by n/(n − 1). It is unbiased already and has nothing "
            "to do with this batch's n.",
            {"correction": "unbiased"},
        ),
        *(
            m
            for m in statistics_mistakes("BatchNorm")
            if m.id not in ("divides_by_n_minus_1", "one_pass_variance")
        ),
        *affine_mistakes(),
        *default_eps_mistakes(),
    ),
    notebook=_NOTEBOOK,
)

# ---------------------------------------------------------------- fold_batch_norm

_FOLD_SECTION = "Folding into the layer before"


def _fold_reference(
    weight: Any,
    bias: Any,
    gamma: Any,
    beta: Any,
    running_mean: Any,
    running_var: Any,
    eps: float = 1e-5,
) -> Any:
    return fold_batch_norm(weight, bias, gamma, beta, running_mean, running_var, eps=eps)


def _fold_variant(
    weight: Any,
    bias: Any,
    gamma: Any,
    beta: Any,
    running_mean: Any,
    running_var: Any,
    eps: float | None = None,
    *,
    default_eps: float = 1e-5,
    eps_place: str = "inside",
    denominator: str = "std",
    use_gamma: bool = True,
    along: str = "outputs",
    scale_weight: bool = True,
    scaled: str = "both",
    mean: str = "minus",
    add_beta: str = "after",
    without_bias: str = "zero",
    order: str = "weight_first",
) -> Any:
    eps = default_eps if eps is None else eps
    inside = running_var + eps if eps_place == "inside" else running_var
    root = np.sqrt(inside) if denominator == "std" else inside
    root = root + eps if eps_place == "outside" else root
    root = np.ones_like(root) if denominator == "none" else root
    scale = (gamma if use_gamma else 1.0) / root
    lift = {
        "outputs": scale.reshape(-1, *(1,) * (weight.ndim - 1)),
        "two_axes": scale[:, None],
        "last_axis": scale,
        "inputs": scale.reshape(1, -1, *(1,) * (weight.ndim - 2)),
    }[along]
    folded = weight * lift if scale_weight else weight
    if bias is None and without_bias == "beta":
        new = beta + 0.0
    elif bias is None and without_bias == "error":
        raise TypeError("unsupported operand type(s) for -: 'NoneType' and 'float'")
    else:
        own = np.zeros_like(beta) if bias is None else bias
        away = {"minus": running_mean, "plus": -running_mean, "none": 0.0}[mean]
        shift = {"after": beta, "none": 0.0, "scaled": beta * scale, "minus": -beta}[add_beta]
        new = {
            "both": (own - away) * scale,
            "neither": own - away,
            "mean_alone": own - away * scale,
            "bias_alone": own * scale - away,
        }[scaled] + shift
    return (folded, new) if order == "weight_first" else (new, folded)


def _fold_cases(rng: np.random.Generator) -> Iterator[Case]:
    def inputs(shape: tuple[int, ...], spread: float = 1.5, biased: bool = True) -> Inputs:
        outputs = shape[0]
        return {
            "weight": rng.normal(0.2, 1.0, shape),
            "bias": rng.normal(0.8, 0.5, outputs) if biased else None,
            **parameters(rng, outputs),
            **_running(rng, outputs, spread),
        }

    yield Case(
        "a linear layer with two inputs and two outputs",
        {
            "weight": np.array([[2.0, 1.0], [0.0, 4.0]]),
            "bias": np.array([1.0, 3.0]),
            "gamma": np.array([3.0, 2.0]),
            "beta": np.array([0.5, -1.0]),
            "running_mean": np.array([5.0, 1.0]),
            "running_var": np.array([4.0, 16.0]),
            "eps": 0.0,
        },
    )
    yield Case("a linear layer with more inputs than outputs", {**inputs((3, 5)), "eps": 0.1})
    yield Case("small variances and a large eps", {**inputs((4, 2), 0.3), "eps": 0.3})
    yield Case("eps left to its default", inputs((3, 4), 2e-3), about="The default of eps is 1e-5.")
    yield Case("a convolution", {**inputs((4, 3, 2, 5)), "eps": 1e-5})
    yield Case("a convolution with all sizes equal", {**inputs((3, 3, 3, 3)), "eps": 1e-3})
    yield Case(
        "a linear layer without a bias",
        {**inputs((3, 2), biased=False), "eps": 1e-5},
        Stage.SPECIAL,
        about="A missing bias counts as 0, and the folded layer has one all the same.",
    )
    yield Case(
        "a convolution without a bias",
        {**inputs((2, 3, 4, 1), biased=False), "eps": 1e-3},
        Stage.SPECIAL,
    )
    yield Case(
        "inputs that must not be written to",
        {**inputs((4, 3)), "eps": 1e-5},
        Stage.SPECIAL,
        layout="read-only",
    )
    yield Case("float32 weights", as_float32({**inputs((3, 2, 2, 2)), "eps": 1e-5}), Stage.NUMERICS)


def _changes_weight(
    weight: Any,
    bias: Any,
    gamma: Any,
    beta: Any,
    running_mean: Any,
    running_var: Any,
    eps: float = 1e-5,
) -> Any:
    scale = gamma / np.sqrt(running_var + eps)
    weight *= scale.reshape(-1, *(1,) * (weight.ndim - 1))
    return weight, ((0.0 if bias is None else bias) - running_mean) * scale + beta


_FOLD_BATCH_NORM = Exercise(
    id="fold_batch_norm",
    title="Fold BatchNorm into the layer before",
    section=_FOLD_SECTION,
    signature="weight, bias, gamma, beta, running_mean, running_var, eps=1e-5",
    outputs=("weight", "bias"),
    minutes=12,
    difficulty=3,
    hints=(
        "In inference BatchNorm multiplies channel o by one number and adds another. What does a "
        "factor on output o do to the weights that make it?",
        "Call the factor s = gamma / sqrt(running_var + eps). Put W·x + b for x into BatchNorm and "
        "sort by x. Chapter 04, “Folding into the layer before”.",
        "weight · s along axis 0, bias (b − running_mean) · s + beta, b = 0 where there is none.",
    ),
    insight=(
        "Fold the other way, BatchNorm before a convolution, and zero padding breaks it: the "
        "padded zeros were put in after the BatchNorm, and the folded layer puts them in before."
    ),
    cases=_fold_cases,
    reference=_fold_reference,
    variant=_fold_variant,
    mistakes=(
        Mistake(
            "bias_not_scaled",
            "You add the old bias without scaling it. BatchNorm scales W·x + b as a whole: "
            "(b − running_mean) · s + beta.",
            {"scaled": "mean_alone"},
        ),
        Mistake(
            "mean_not_scaled",
            "You subtract the running mean after scaling. It is subtracted before: "
            "(b − running_mean) · s + beta.",
            {"scaled": "bias_alone"},
        ),
        Mistake(
            "bias_and_mean_not_scaled",
            "Your bias lacks the factor s. It is (b − running_mean) · s + beta.",
            {"scaled": "neither"},
        ),
        Mistake(
            "mean_added",
            "You add the running mean. BatchNorm subtracts it.",
            {"mean": "plus"},
        ),
        Mistake(
            "mean_missing",
            "You leave the running mean out of the bias. It is (b − running_mean) · s + beta.",
            {"mean": "none"},
        ),
        Mistake("beta_missing", "You leave beta out of the bias.", {"add_beta": "none"}),
        Mistake(
            "beta_scaled",
            "You scale beta. It is added after everything else.",
            {"add_beta": "scaled"},
        ),
        Mistake("beta_subtracted", "You subtract beta. BatchNorm adds it.", {"add_beta": "minus"}),
        Mistake(
            "gamma_missing",
            "Your factor lacks gamma. It is gamma / sqrt(running_var + eps).",
            {"use_gamma": False},
        ),
        Mistake(
            "divides_by_variance",
            "Your factor divides by the variance. Divide by its root, sqrt(running_var + eps).",
            {"denominator": "var"},
        ),
        Mistake(
            "only_gamma",
            "Your factor is gamma alone. Divide it by sqrt(running_var + eps).",
            {"denominator": "none"},
        ),
        Mistake(
            "eps_outside_root",
            "You add eps to the standard deviation. It belongs inside the root: "
            "sqrt(running_var + eps).",
            {"eps_place": "outside"},
        ),
        Mistake(
            "eps_missing",
            "You leave eps out. The layer divides by sqrt(running_var + eps), so the folded one "
            "must too.",
            {"eps_place": "nowhere"},
        ),
        Mistake(
            "weight_not_scaled",
            "You return the weight as it was. Each output's weights are multiplied by s.",
            {"scale_weight": False},
        ),
        Mistake(
            "scale_along_last_axis",
            "Your factors meet the last axis of the weight. They belong to the outputs, axis 0: "
            "give them the shape (O, 1, …).",
            {"along": "last_axis"},
        ),
        Mistake(
            "scale_along_inputs",
            "Your factors meet the inputs, axis 1. They belong to the outputs, axis 0.",
            {"along": "inputs"},
        ),
        Mistake(
            "only_for_linear",
            "`scale[:, None]` meets the right axis of (O, I) alone. For (O, I, kH, kW) it needs "
            "the shape (O, 1, 1, 1).",
            {"along": "two_axes"},
        ),
        Mistake(
            "beta_for_missing_bias",
            "Without a bias you return beta. A missing bias counts as 0, so the bias is "
            "beta − running_mean · s.",
            {"without_bias": "beta"},
        ),
        Mistake(
            "missing_bias_fails",
            "Your function fails where bias is None. A missing bias counts as 0.",
            {"without_bias": "error"},
        ),
        Mistake(
            "order",
            "You return the bias first. The order is weight, bias.",
            {"order": "bias_first"},
        ),
        *default_eps_mistakes(),
        Mistake(
            "changes_weight",
            "Your function changes its argument weight.",
            wrong=_changes_weight,
            named_by="judge",
        ),
    ),
    notebook=_NOTEBOOK,
)

# ---------------------------------------------------------------- to_pytorch_momentum


def _momentum_reference(momentum: float) -> float:
    return to_pytorch_momentum(momentum)


def _momentum_variant(momentum: float, *, how: str = "complement") -> float:
    m = np.float64(momentum)
    return float(
        {
            "complement": 1 - m,
            "same": m,
            "negative": m - 1,
            "inverse": 1 / m,
            "inverse_complement": 1 / (1 - m),
            "sum": 1 + m,
            "constant": np.float64(0.1),
            "root": np.sqrt(1 - m),
        }[how]
    )


def _momentum_cases(rng: np.random.Generator) -> Iterator[Case]:
    yield Case("0.99, the default of Keras and Flax", {"momentum": 0.99}, tolerance=1e-9)
    yield Case("0.9", {"momentum": 0.9}, tolerance=1e-9)
    between = float(np.round(rng.uniform(0.6, 0.85), 3))
    yield Case("a value between", {"momentum": between}, tolerance=1e-9)
    yield Case(
        "1, nothing new is learned",
        {"momentum": 1.0},
        Stage.SPECIAL,
        about="There the old value keeps all the weight.",
    )
    yield Case(
        "0, nothing old is kept",
        {"momentum": 0.0},
        Stage.SPECIAL,
        about="There the new batch has all the weight.",
    )


_TO_PYTORCH_MOMENTUM = Exercise(
    id="to_pytorch_momentum",
    title="Momentum from Keras to PyTorch",
    section=_CONVENTIONS_SECTION,
    signature="momentum",
    outputs=("pytorch_momentum",),
    minutes=2,
    difficulty=1,
    hints=(
        "In Keras 0.99 means slow, in PyTorch 0.01 does. What do the two numbers weigh?",
        "Keras and Flax weigh the old value, PyTorch the new one, and the two weights add up to 1. "
        "Chapter 04, “Two conventions for momentum”.",
        "The weight of the new value is what the old one leaves of 1.",
    ),
    insight=(
        "A ported model hides this slip in training, where running statistics play no part. It "
        "shows at the first evaluation, as noise: with 0.99 read as PyTorch's the statistics are "
        "those of the last batch, nearly alone."
    ),
    cases=_momentum_cases,
    reference=_momentum_reference,
    variant=_momentum_variant,
    mistakes=(
        Mistake(
            "unchanged",
            "You return the momentum as it is. The conventions weigh opposite values: take the "
            "complement.",
            {"how": "same"},
        ),
        Mistake(
            "negative",
            "You subtract 1 from the momentum; a weight lies between 0 and 1. Turn it round.",
            {"how": "negative"},
        ),
        Mistake(
            "inverse",
            "You return the reciprocal. The two weights add up to 1; they do not multiply to it.",
            {"how": "inverse"},
        ),
        Mistake(
            "inverse_complement",
            "You return 1 / (1 − momentum), about how many batches are remembered. Asked is the "
            "weight of the new one.",
            {"how": "inverse_complement"},
        ),
        Mistake(
            "sum",
            "You add 1. The two weights add up to 1, so subtract from it.",
            {"how": "sum"},
        ),
        Mistake(
            "constant",
            "You always return 0.1, PyTorch's default. Convert the value you are given.",
            {"how": "constant"},
        ),
        Mistake(
            "root",
            "You take a root of the complement. A momentum weighs means and variances alike: no "
            "root.",
            {"how": "root"},
        ),
    ),
    notebook=_NOTEBOOK,
)

# ---------------------------------------------------------------- batch_norm_step

_BUGS_SECTION = "Train and eval bugs"


def _step_reference(
    x: Any,
    gamma: Any,
    beta: Any,
    running_mean: Any,
    running_var: Any,
    training: bool,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    given = {"running_mean": running_mean, "running_var": running_var}
    y = batch_norm(x, gamma, beta, **given, training=training, eps=eps)
    if not training:
        return y, running_mean, running_var
    return (y, *update_running_stats(**given, x=x, momentum=momentum))


def _step_variant(
    x: Any,
    gamma: Any,
    beta: Any,
    running_mean: Any,
    running_var: Any,
    training: bool,
    momentum: float | None = None,
    eps: float | None = None,
    *,
    stored: str = "unbiased",
    stored_eps: str = "no",
    weight: str = "new",
    update: str = "training",
    training_uses: str = "batch",
    inference_uses: str = "running",
    training_eps: str = "inside",
    inference_eps: str = "inside",
    inference_affine: str = "both",
) -> Any:
    momentum, eps = 0.1 if momentum is None else momentum, 1e-5 if eps is None else eps
    mean, var = x.mean(axis=0), x.var(axis=0)
    n = np.float64(len(x))
    own_var = {"unbiased": var * n / (n - 1), "biased": var}[stored]
    extra = {"no": 0.0, "before": eps * n / (n - 1), "after": eps}[stored_eps]
    share = momentum if weight == "new" else 1 - momentum
    new_mean = (1 - share) * running_mean + share * mean
    new_var = (1 - share) * running_var + share * (own_var + extra)
    uses = training_uses if training else inference_uses
    given = {
        "batch": (mean, var),
        "unbiased": (mean, var * n / (n - 1)),
        "running": (running_mean, running_var),
        "updated": (new_mean, new_var),
    }[uses]
    faults: dict[str, Any] = {"eps_place": training_eps if training else inference_eps}
    if not training and inference_affine == "none":
        faults |= {"scale": "no_scale", "shift": "no_shift"}
    if not training and inference_affine == "minus":
        faults |= {"shift": "minus"}
    y = normalize(
        x,
        gamma,
        beta,
        eps,
        axis=(0,),
        channel_axis=1,
        given=(given[0][None], given[1][None]),
        **faults,
    )
    updates = {"training": training, "always": True, "never": False, "inference": not training}
    return (y, new_mean, new_var) if updates[update] else (y, running_mean, running_var)


def _step_cases(rng: np.random.Generator) -> Iterator[Case]:
    def inputs(rows: int, columns: int, training: bool, spread: float = 1.5) -> Inputs:
        x = rng.normal(4.0, 2 * spread, (rows, columns))
        running = _running(rng, columns, spread)
        return {"x": x, **parameters(rng, columns), **running, "training": training}

    x = np.array([[2.0, 10.0], [4.0, 30.0], [6.0, 20.0], [8.0, 60.0]])
    plain = {"gamma": np.array([1.0, 2.0]), "beta": np.array([0.0, 1.0])}
    start = {"running_mean": np.array([1.0, 5.0]), "running_var": np.array([2.0, 50.0])}
    yield Case(
        "one step of training",
        {"x": x, **plain, **start, "training": True, "momentum": 0.1, "eps": 0.1},
    )
    yield Case(
        "one step of inference",
        {"x": x, **plain, **start, "training": False, "momentum": 0.1, "eps": 0.1},
        about="Inference leaves the running statistics as they are.",
    )
    rest = {"momentum": 0.6, "eps": 0.3}
    yield Case("training with a small spread and a large eps", {**inputs(8, 3, True, 0.3), **rest})
    yield Case(
        "inference with small variances and a large eps", {**inputs(3, 4, False, 0.3), **rest}
    )
    yield Case(
        "momentum and eps left to their defaults, in training",
        inputs(6, 2, True, 2e-3),
        tolerance=1e-9,
        about="The defaults are momentum 0.1 and eps 1e-5.",
    )
    yield Case("momentum and eps left to their defaults, in inference", inputs(5, 2, False, 2e-3))
    yield Case("as many examples as features", {**inputs(4, 4, True), "momentum": 0.3, "eps": 1e-3})
    yield Case(
        "inference on one example",
        {**inputs(1, 3, False), "momentum": 0.1, "eps": 1e-3},
        Stage.SPECIAL,
    )
    yield Case(
        "inputs that must not be written to",
        {**inputs(5, 3, True), "momentum": 0.2, "eps": 1e-3},
        Stage.SPECIAL,
        layout="read-only",
    )
    yield Case(
        "float32 input",
        as_float32({**inputs(7, 3, True), "momentum": 0.1, "eps": 1e-3}),
        Stage.NUMERICS,
    )


_BATCH_NORM_STEP = Exercise(
    id="batch_norm_step",
    title="Find the bug: inference comes out too small",
    section=_BUGS_SECTION,
    signature="x, gamma, beta, running_mean, running_var, training, momentum=0.1, eps=1e-5",
    outputs=("y", "running_mean", "running_var"),
    minutes=8,
    difficulty=2,
    kind="repair",
    hints=(
        "The running mean is right, the running variance is not. What went into it besides the "
        "batch's variance?",
        "Follow `var` from where it is made to both places where it is used. In one of them eps "
        "has no business. Chapter 04, “Train and eval bugs”.",
        "Keep `var = x.var(axis=0)` clean and add eps only under the root.",
    ),
    insight=(
        "Of 35 wrong forward passes found in public course repositories six had just this slip. "
        "No test with eps = 1e-5 and unit variance sees it, and training never does: eps is "
        "counted twice in inference alone."
    ),
    cases=_step_cases,
    reference=_step_reference,
    variant=_step_variant,
    mistakes=(
        Mistake(
            "eps_stored",
            "The fault is still in: what is stored depends on eps. Which variable carries it into "
            "the running variance?",
            {"stored_eps": "before"},
        ),
        Mistake(
            "eps_stored_uncorrected",
            "eps is still stored, though without the factor n/(n − 1). It belongs under the root "
            "alone.",
            {"stored_eps": "after"},
        ),
        Mistake(
            "biased_stored",
            "You store the biased variance. The factor n/(n − 1) was right: only what it "
            "multiplies was not.",
            {"stored": "biased"},
            section=_RUNNING_SECTION,
        ),
        Mistake(
            "training_eps_missing",
            "In training you divide without eps. Take it out of what is stored, and leave it under "
            "the root.",
            {"training_eps": "nowhere"},
        ),
        Mistake(
            "training_eps_outside",
            "In training you add eps to the standard deviation. It belongs inside the root: "
            "sqrt(var + eps).",
            {"training_eps": "outside"},
        ),
        Mistake(
            "inference_eps_missing",
            "In inference you divide without eps. The stored variance is to be free of it, so it "
            "must be added under the root.",
            {"inference_eps": "nowhere"},
        ),
        Mistake(
            "inference_eps_outside",
            "In inference you add eps to the standard deviation. It belongs inside the root: "
            "sqrt(running_var + eps).",
            {"inference_eps": "outside"},
        ),
        Mistake(
            "momentum_complement",
            "You swapped the weights of old and new. momentum weighs the new batch.",
            {"weight": "old"},
            section=_CONVENTIONS_SECTION,
        ),
        Mistake(
            "inference_updates",
            "You update the running statistics in inference too. Test data must leave no trace.",
            {"update": "always"},
        ),
        Mistake(
            "never_updates",
            "You never update the running statistics. Training must.",
            {"update": "never"},
        ),
        Mistake(
            "mode_inverted",
            "You update the running statistics in inference instead of in training.",
            {"update": "inference"},
        ),
        Mistake(
            "training_uses_running",
            "In training you normalize with the running statistics. Use the batch's own.",
            {"training_uses": "running"},
        ),
        Mistake(
            "training_uses_unbiased",
            "In training you normalize with the variance that divides by n − 1. That one is "
            "stored; the batch is normalized with the biased one.",
            {"training_uses": "unbiased"},
        ),
        Mistake(
            "training_uses_updated",
            "In training you normalize with the updated running statistics. Use the batch's own.",
            {"training_uses": "updated"},
        ),
        Mistake(
            "inference_uses_batch",
            "In inference you normalize with the batch's statistics. Use the running ones.",
            {"inference_uses": "batch"},
        ),
        Mistake(
            "inference_affine_missing",
            "In inference you leave out gamma and beta. They belong to both modes.",
            {"inference_affine": "none"},
        ),
        Mistake(
            "inference_beta_subtracted",
            "In inference you subtract beta. It is added in both modes.",
            {"inference_affine": "minus"},
        ),
    ),
    notebook=_NOTEBOOK,
)

EXERCISES = (
    _UPDATE_RUNNING_STATS,
    _BATCH_NORM_EVAL,
    _FOLD_BATCH_NORM,
    _TO_PYTORCH_MOMENTUM,
    _BATCH_NORM_STEP,
)
